/*
 * fuzz_dockerarchive - manifest.json and a config of docker's archives, as somebody else wrote
 * them: what is taken is an image whose layers are those that the config names.
 *
 * Input: manifest.json, a NUL, the config. The archive holds the config as "c.json", one layer as
 * "l/layer.tar", and links "a" -> "b" -> "a" and "t/layer.tar" -> "l/layer.tar".
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "source/door.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static Store *store;
static char place[] = "/tmp/lighter-fuzz-XXXXXX";
static Digest layer;
static const char LAYER[1024]; /* the tar of nothing */

static void leave(void)
{
    Err ignored = ERR_INIT;
    store_done(store);
    (void)fs_remove_tree(AT_FDCWD, place, &ignored);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    Err e = ERR_INIT;
    (void)argc, (void)argv;
    if (!mkdtemp(place) || !store_open(place, NULL, &store, &e) ||
        !store_put_blob(store, LAYER, sizeof LAYER, &layer, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        exit(1);
    }
    (void)atexit(leave);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    const uint8_t *nul = memchr(bytes, 0, n);
    size_t nmanifest = nul ? (size_t)(nul - bytes) : n, nconfig = nul ? n - nmanifest - 1 : 0;
    DockerFile files[] = {{.path = "c.json", .size = nconfig},
                          {.path = "l/layer.tar", .digest = layer, .size = sizeof LAYER},
                          {.path = "a", .link = "b"},
                          {.path = "b", .link = "a"},
                          {.path = "t/layer.tar", .link = "l/layer.tar"}};
    Door x = {.store = store, .arena = &a, .dirfd = -1, .name = "archive", .e = &e};
    Loaded *v;
    size_t count;

    if (!store_put_blob(store, nul ? nul + 1 : (const uint8_t *)"", nconfig, &files[0].digest, &e))
        abort();
    if (!docker_take(&x, (const char *)bytes, nmanifest, files, NELEM(files), &v, &count)) {
        assert(e.kind != ERR_NONE);
        return 0;
    }
    assert(count);
    for (size_t i = 0; i < count; i++) {
        StoreImage img;
        bool found;
        assert(digest_eq(&v[i].id, &files[0].digest));
        assert(store_image_get(store, &a, &v[i].id, &img, &found, &e) && found);
        for (size_t k = 0; k < img.nlayer; k++)
            assert(digest_eq(&img.layers[k].diff_id, &layer));
    }
    return 0;
}
