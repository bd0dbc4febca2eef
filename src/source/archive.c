/*
 * source/archive.c - archives of OCI layouts, and docker's own, from a stream that is read once.
 *
 * Blobs of a layout have their digest as name. In docker's archives of before version 25 any file
 * may turn out to be a layer or a config, for manifest.json, which says it, comes last: all of them
 * go into the store under the digests they have, and what no image names is cache.
 */
#include "base/fs.h"
#include "source/door.h"

/* Files beside the blobs that an archive may have. */
enum { FILES_MAX = 4096 };

/* What was found in an archive. */
typedef struct Found {
    Buf index, manifest; /* index.json, docker's manifest.json */
    DockerFile *files;
    size_t n, cap;
} Found;

static void scoped_found_done(Found *f)
{
    buf_done(&f->index);
    buf_done(&f->manifest);
}

/* A file of the stream into the store, under the name it must hash to, or the one it has. */
static bool stream_file(Door *x, TarReader *t, const Digest *want, Digest *ret, uint64_t *ret_size)
{
    BlobWriter w;
    char block[64 << 10];
    if (!blob_begin(x->store, &w, x->e))
        return false;
    for (size_t n = 1; n;) {
        if (!tar_read(t, block, sizeof block, &n, x->e) || !blob_write(&w, block, n, x->e)) {
            blob_abort(&w);
            return false;
        }
    }
    return blob_commit(&w, want, ret, ret_size, x->e);
}

/* One blob of a layout. */
static bool stream_blob(Door *x, TarReader *t, const TarEntry *ent, Found *f)
{
    Digest want, got;
    uint64_t size = ent->size;
    bool have;
    const char *hex = path_base(ent->name);
    if (!digest_parse(arena_printf(x->arena, "sha256:%s", hex), &want))
        return true; /* another algorithm; whoever needs it says so */
    if (!store_has_blob(x->store, &want, &have, x->e) ||
        (!have && !stream_file(x, t, &want, &got, &size)))
        return false;
    *ARENA_PUSH(x->arena, f->files, f->n, f->cap) =
        (DockerFile){.path = arena_strdup(x->arena, ent->name), .digest = want, .size = size};
    return true;
}

static bool stream_doc(TarReader *t, const char *name, Buf *ret, Err *e)
{
    char block[16 << 10];
    ret->len = 0; /* of two the last counts, as for who unpacks the archive */
    for (size_t n = 1; n;) {
        if (!tar_read(t, block, sizeof block, &n, e))
            return false;
        buf_add(ret, block, n);
        if (ret->len > DOC_MAX)
            return err_set(e, ERR_STORE, "%s is over the limit of %d bytes", name, DOC_MAX);
    }
    return true;
}

/* "<id>.json", "<id>/layer.tar", "<id>.tar": what docker's older archives are made of. */
static bool is_part(const char *name)
{
    const char *base = path_base(name);
    return str_ends(base, ".tar") || (base == name && str_ends(base, ".json"));
}

static bool other_file(Door *x, TarReader *t, const TarEntry *ent, Found *f)
{
    DockerFile file = {.path = arena_strdup(x->arena, ent->name)};
    if (!is_part(ent->name) || (ent->type != '0' && ent->type != '2'))
        return true;
    if (f->n >= FILES_MAX)
        return err_set(x->e, ERR_STORE, "more than %d files", FILES_MAX);
    if (ent->type == '2') {
        const char *dir = path_dir(x->arena, ent->name);
        file.link = path_clean(x->arena, arena_printf(x->arena, "%s%s", dir, ent->link));
    } else if (!stream_file(x, t, NULL, &file.digest, &file.size)) {
        return false;
    }
    *ARENA_PUSH(x->arena, f->files, f->n, f->cap) = file;
    return true;
}

static bool take_entry(Door *x, TarReader *t, const TarEntry *ent, Found *f)
{
    bool file = ent->type == '0';
    if (file && !strcmp(ent->name, "index.json"))
        return stream_doc(t, "index.json", &f->index, x->e);
    if (file && !strcmp(ent->name, "manifest.json"))
        return stream_doc(t, "manifest.json", &f->manifest, x->e);
    if (file && str_starts(ent->name, "blobs/sha256/"))
        return stream_blob(x, t, ent, f);
    return other_file(x, t, ent, f);
}

static Door door_for(Store *s, Arena *a, const Platform *platform, Err *e)
{
    return (Door){.store = s,
                  .arena = a,
                  .dirfd = -1,
                  .name = "archive",
                  .platform = platform ? *platform : image_platform_host(),
                  .e = e};
}

/* All files of the archive into the store; the documents that say what they are stay in `ret`. */
static bool read_archive(Door *x, LayerIn *in, Found *ret)
{
    TarReader t;
    bool ok = true, got = true;
    tar_reader_init(&t, in);
    while (ok && got) {
        TarEntry ent;
        ok = tar_next(&t, &ent, &got, x->e) && (!got || take_entry(x, &t, &ent, ret));
    }
    tar_reader_done(&t);
    return ok || err_wrap(x->e, "archive");
}

bool source_load_stream(Store *s, Arena *a, LayerIn *in, const Platform *platform, Loaded **ret,
                        size_t *ret_n, Err *e)
{
    scoped(found) Found f = {0};
    Door x = door_for(s, a, platform, e);
    if (!read_archive(&x, in, &f))
        return false;
    if (f.index.len)
        return door_take_index(&x, buf_str(&f.index), f.index.len, NULL, ret, ret_n);
    if (f.manifest.len)
        return docker_take(&x, buf_str(&f.manifest), f.manifest.len, f.files, f.n, ret, ret_n);
    return err_set(e, ERR_USAGE,
                   "archive: holds neither index.json nor manifest.json, so it is no archive of "
                   "images");
}

bool source_load_archive(Store *s, Arena *a, int fd, const Platform *platform, Loaded **ret,
                         size_t *ret_n, Err *e)
{
    scoped(layer_in) LayerIn *in = layer_in_new(fd, LAYER_SNIFF);
    return source_load_stream(s, a, in, platform, ret, ret_n, e);
}

bool source_docs_archive(Store *s, Arena *a, int fd, const char *which, const Platform *platform,
                         SourceDocs *ret, Err *e)
{
    scoped(found) Found f = {0};
    scoped(layer_in) LayerIn *in = layer_in_new(fd, LAYER_SNIFF);
    Door x = door_for(s, a, platform, e);
    Descriptor top = {.media_type = NULL};
    if (!read_archive(&x, in, &f))
        return false;
    if (!f.index.len)
        return err_set(e, ERR_USAGE, "archive: holds no index.json, so it is no OCI archive");
    if (!door_take_docs(&x, buf_str(&f.index), f.index.len, which, platform, &top))
        return false;
    *ret = (SourceDocs){.top = top};
    return true;
}
