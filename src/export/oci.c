/*
 * export/oci.c - OCI layouts and archives of them.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "export/export.h"

static const char LAYOUT[] = "{\"imageLayoutVersion\":\"1.0.0\"}";

/* Every blob that the images need, each once, in order of first use. */
typedef struct Blobs {
    Descriptor *v;
    size_t n, cap;
} Blobs;

static void add_blob(Arena *a, Blobs *b, const Descriptor *d)
{
    for (size_t i = 0; i < b->n; i++)
        if (digest_eq(&b->v[i].digest, &d->digest))
            return;
    *ARENA_PUSH(a, b->v, b->n, b->cap) = *d;
}

static bool collect(Store *s, Arena *a, const ExportItem *it, ImageIndex *idx, Blobs *blobs, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    Descriptor d;
    ImageManifest m;
    ImageConfig config;
    if (!export_pack(s, &it->id, &d, e) || !store_read_blob(s, &d.digest, &text, e) ||
        !image_manifest_parse(a, buf_str(&text), text.len, &m, e))
        return false;
    add_blob(a, blobs, &d);
    add_blob(a, blobs, &m.config);
    /* What is not to be distributed goes along only if it is here. */
    for (size_t i = 0; i < m.nlayer; i++) {
        bool have = true;
        if (image_layer_foreign(m.layers[i].media_type) &&
            !store_has_blob(s, &m.layers[i].digest, &have, e))
            return false;
        if (have)
            add_blob(a, blobs, &m.layers[i]);
    }
    text.len = 0;
    if (!store_read_blob(s, &it->id, &text, e) ||
        !image_config_parse(a, buf_str(&text), text.len, &config, e))
        return false;
    d.ref_name = it->name;
    d.os = config.os;
    d.architecture = config.architecture;
    d.variant = config.variant;
    idx->manifests[idx->nmanifest++] = d;
    return true;
}

/* ---- the archive ---- */

static bool put_blob_tar(Store *s, const Descriptor *d, int out, Err *e)
{
    int raw;
    uint64_t size, copied;
    char hex[DIGEST_HEX_SIZE], name[96];
    digest_hex(&d->digest, hex);
    (void)snprintf(name, sizeof name, "blobs/sha256/%s", hex);
    if (!store_open_blob(s, &d->digest, &raw, &size, e))
        return false;
    scoped(fd) int fd = raw;
    if (!tar_put_header(out, name, size, e) || !fs_copy_data(fd, out, &copied, e))
        return false;
    if (copied != size)
        return err_set(e, ERR_STORE, "blob %s changed its size while it was read", hex);
    return tar_put_padding(out, size, e);
}

static bool put_text_tar(int out, const char *name, const char *text, size_t n, Err *e)
{
    return tar_put_header(out, name, n, e) && fs_write_all(out, text, n, e) &&
           tar_put_padding(out, n, e);
}

static bool write_tar(Store *s, const Blobs *blobs, const Buf *index, int out, Err *e)
{
    if (!put_text_tar(out, "oci-layout", LAYOUT, sizeof LAYOUT - 1, e) ||
        !put_text_tar(out, "index.json", index->ptr, index->len, e))
        return false;
    /* Readers that unpack as an ordinary user make missing directories for root, and fail. */
    if (!tar_put_dir(out, "blobs", e) || !tar_put_dir(out, "blobs/sha256", e))
        return false;
    for (size_t i = 0; i < blobs->n; i++)
        if (!put_blob_tar(s, &blobs->v[i], out, e))
            return false;
    return tar_put_end(out, e);
}

static bool write_tar_file(Store *s, const Blobs *blobs, const Buf *index, const char *dest, Err *e)
{
    OutFile f;
    if (!strcmp(dest, "-"))
        return write_tar(s, blobs, index, STDOUT_FILENO, e);
    if (!out_begin(dest, &f, e))
        return false;
    bool ok = write_tar(s, blobs, index, f.fd, e) && out_commit(&f, e);
    out_abort(&f);
    return ok || err_wrap(e, "write '%s'", dest);
}

/* ---- the directory ---- */

static bool put_blob_dir(Store *s, const Descriptor *d, int dir, Err *e)
{
    int raw;
    uint64_t size, copied;
    struct stat st;
    char hex[DIGEST_HEX_SIZE], name[96], tmp[128];
    digest_hex(&d->digest, hex);
    (void)snprintf(name, sizeof name, "blobs/sha256/%s", hex);
    (void)snprintf(tmp, sizeof tmp, "%s.tmp-%d", name, (int)getpid());
    if (fstatat(dir, name, &st, 0) == 0 && (uint64_t)st.st_size == d->size)
        return true;
    if (!store_open_blob(s, &d->digest, &raw, &size, e))
        return false;
    scoped(fd) int in = raw;
    scoped(fd) int out = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0)
        return err_errno(e, ERR_USAGE, "create '%s'", tmp);
    if (!fs_copy_data(in, out, &copied, e) || renameat(dir, tmp, dir, name) < 0) {
        (void)unlinkat(dir, tmp, 0);
        return e->kind != ERR_NONE ? false : err_errno(e, ERR_USAGE, "rename to '%s'", name);
    }
    return true;
}

/* Entries of an index that is there already stay, unless one of ours takes their name. */
static bool merge_index(Arena *a, int dir, ImageIndex *idx, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    ImageIndex old;
    scoped(fd) int fd = openat(dir, "index.json", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    if (!fs_read_all(fd, 4 << 20, &text, e) ||
        !image_index_parse(a, buf_str(&text), text.len, &old, e))
        return false;
    ImageIndex all = {.manifests = NEW_N(a, Descriptor, old.nmanifest + idx->nmanifest)};
    for (size_t i = 0; i < old.nmanifest; i++) {
        bool replaced = false;
        for (size_t k = 0; k < idx->nmanifest; k++)
            replaced = replaced || digest_eq(&old.manifests[i].digest, &idx->manifests[k].digest) ||
                       (old.manifests[i].ref_name && idx->manifests[k].ref_name &&
                        !strcmp(old.manifests[i].ref_name, idx->manifests[k].ref_name));
        if (!replaced)
            all.manifests[all.nmanifest++] = old.manifests[i];
    }
    for (size_t k = 0; k < idx->nmanifest; k++)
        all.manifests[all.nmanifest++] = idx->manifests[k];
    *idx = all;
    return true;
}

static bool write_layout(Store *s, Arena *a, const Blobs *blobs, ImageIndex *idx, const char *dest,
                         Err *e)
{
    scoped(buf) Buf index = BUF_INIT;
    int raw;
    if (!fs_mkdirs(AT_FDCWD, dest, e) || !fs_open_dir(AT_FDCWD, dest, &raw, e))
        return false;
    scoped(fd) int dir = raw;
    if (!fs_mkdirs(dir, "blobs/sha256", e) || !merge_index(a, dir, idx, e))
        return false;
    for (size_t i = 0; i < blobs->n; i++)
        if (!put_blob_dir(s, &blobs->v[i], dir, e))
            return false;
    image_index_text(idx, &index);
    return fs_replace_file(dir, "oci-layout", LAYOUT, sizeof LAYOUT - 1, e) &&
           fs_replace_file(dir, "index.json", index.ptr, index.len, e);
}

bool export_oci(Store *s, const ExportItem *items, size_t n, ExportForm form, const char *dest,
                Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf index = BUF_INIT;
    Blobs blobs = {0};
    ImageIndex idx = {.manifests = NEW_N(&a, Descriptor, n + 1)};
    for (size_t i = 0; i < n; i++)
        if (!collect(s, &a, &items[i], &idx, &blobs, e))
            return false;
    if (form == EXPORT_LAYOUT)
        return write_layout(s, &a, &blobs, &idx, dest, e) || err_wrap(e, "write '%s'", dest);
    image_index_text(&idx, &index);
    return write_tar_file(s, &blobs, &index, dest, e);
}
