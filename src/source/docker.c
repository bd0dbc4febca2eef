/*
 * source/docker.c - the images of a docker archive, by its manifest.json.
 */
#include "base/fs.h"
#include "base/json.h"
#include "source/door.h"

enum { LINKS_MAX = 8, IMAGES_MAX = 4096 };

/* The file that a path of manifest.json means; links lead to other files of the archive. */
static const DockerFile *find(const DockerFile *files, size_t n, const char *path)
{
    for (int hops = 0; hops < LINKS_MAX; hops++) {
        const DockerFile *f = NULL;
        for (size_t i = n; i-- > 0 && !f;)
            f = !strcmp(files[i].path, path) ? &files[i] : NULL;
        if (!f || !f->link)
            return f;
        path = f->link;
    }
    return NULL;
}

/* How a layer's bytes are packed, by their first ones. */
static bool sniff(Door *x, const Digest *d, Compression *ret)
{
    static const uint8_t GZIP[] = {0x1f, 0x8b}, ZSTD[] = {0x28, 0xb5, 0x2f, 0xfd};
    uint8_t head[4] = {0};
    uint64_t size;
    int raw;
    if (!store_open_blob(x->store, d, &raw, &size, x->e))
        return false;
    scoped(fd) int fd = raw;
    if (read(fd, head, sizeof head) < 0)
        return err_errno(x->e, ERR_STORE, "read a layer");
    *ret = !memcmp(head, GZIP, sizeof GZIP)   ? COMP_GZIP
           : !memcmp(head, ZSTD, sizeof ZSTD) ? COMP_ZSTD
                                              : COMP_NONE;
    return true;
}

static bool take_layer(Door *x, const DockerFile *f, const Digest *diff_id, uint64_t *ret_size)
{
    Descriptor d = {.digest = f->digest, .size = f->size};
    Compression how = COMP_NONE;
    return sniff(x, &f->digest, &how) && door_check_layer(x, &d, how, diff_id, ret_size) &&
           store_packed_put(x->store, diff_id, how, &f->digest, f->size, x->e);
}

static bool missing(Door *x, const char *path)
{
    return err_set(x->e, ERR_STORE, "%s: the archive lacks '%s'", x->name, path ? path : "Config");
}

static bool take_layers(Door *x, const json_t *paths, const ImageConfig *c, const DockerFile *files,
                        size_t nfile, StoreImage *img)
{
    size_t n = json_array_size(paths);
    if (n != c->ndiff)
        return err_set(x->e, ERR_STORE, "%s: manifest.json has %zu layers and config %zu", x->name,
                       n, c->ndiff);
    img->layers = NEW_N(x->arena, StoreLayer, n + 1);
    img->nlayer = n;
    for (size_t i = 0; i < n; i++) {
        const char *path = json_string_value(json_array_get(paths, i));
        const DockerFile *f = path ? find(files, nfile, path_clean(x->arena, path)) : NULL;
        uint64_t size;
        if (!f)
            return missing(x, path ? path : "a layer");
        if (!take_layer(x, f, &c->diff_ids[i], &size))
            return false;
        img->layers[i] = (StoreLayer){.diff_id = c->diff_ids[i], .times = ""};
        img->size += size;
    }
    return true;
}

static bool take_image(Door *x, const json_t *entry, const DockerFile *files, size_t nfile,
                       Digest *ret)
{
    scoped(buf) Buf text = BUF_INIT;
    StoreImage img = {0};
    ImageConfig c;
    const char *path = json_str(entry, "Config");
    const DockerFile *f = path ? find(files, nfile, path_clean(x->arena, path)) : NULL;
    if (!f)
        return missing(x, path);
    if (f->size > DOC_MAX)
        return err_set(x->e, ERR_STORE, "%s: a config of %llu bytes is over the limit", x->name,
                       (unsigned long long)f->size);
    if (!store_read_blob(x->store, &f->digest, &text, x->e) ||
        !image_config_parse(x->arena, buf_str(&text), text.len, &c, x->e))
        return err_wrap(x->e, "%s", x->name);
    img.id = *ret = f->digest;
    img.created = image_time_parse(c.created);
    return door_known(x, &img.id, &x->have) &&
           take_layers(x, json_object_get(entry, "Layers"), &c, files, nfile, &img) &&
           (x->have || store_image_put(x->store, &img, x->e));
}

static void add_names(Door *x, const json_t *tags, const Digest *id, Loaded **v, size_t *n,
                      size_t *cap)
{
    bool any = false;
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const char *tag = json_string_value(json_array_get(tags, i));
        ImageRef ref;
        Err ignored = ERR_INIT;
        if (!tag || !image_ref_parse(x->arena, tag, &ref, &ignored))
            continue;
        *ARENA_PUSH(x->arena, *v, *n, *cap) = (Loaded){*id, image_ref_tagged(x->arena, &ref)};
        any = true;
    }
    if (!any)
        *ARENA_PUSH(x->arena, *v, *n, *cap) = (Loaded){*id, NULL};
}

bool docker_take(Door *x, const char *text, size_t len, const DockerFile *files, size_t nfile,
                 Loaded **ret, size_t *ret_n)
{
    scoped(json) json_t *j = NULL;
    Loaded *v = NULL;
    size_t n = 0, cap = 0;
    if (!json_parse(text, len, &j, x->e))
        return err_wrap(x->e, "%s: manifest.json", x->name);
    if (!json_is_array(j) || !json_array_size(j) || json_array_size(j) > IMAGES_MAX)
        return err_set(x->e, ERR_STORE, "%s: manifest.json lists no images, or too many", x->name);
    for (size_t i = 0; i < json_array_size(j); i++) {
        const json_t *entry = json_array_get(j, i);
        Digest id;
        if (!take_image(x, entry, files, nfile, &id))
            return false;
        add_names(x, json_object_get(entry, "RepoTags"), &id, &v, &n, &cap);
    }
    *ret = v;
    *ret_n = n;
    return true;
}
