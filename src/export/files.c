/*
 * export/files.c - OCI layouts and archives of them, and docker's archives, which are both.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "export/parts.h"

static const char LAYOUT[] = "{\"imageLayoutVersion\":\"1.0.0\"}";

/* Every blob that the images need, each once, in order of first use. */
typedef struct Blobs {
    Descriptor *v;
    size_t n, cap;
} Blobs;

/* Everything that is written. */
typedef struct Files {
    Store *s;
    Arena *a;
    ExportForm form;
    Blobs blobs;
    ImageIndex index;
    json_t *manifests, *repositories; /* docker's manifest.json and repositories, else NULL */
} Files;

static void scoped_files_done(Files *f)
{
    json_decref(f->manifests);
    json_decref(f->repositories);
}

static void add_blob(Arena *a, Blobs *b, const Descriptor *d)
{
    for (size_t i = 0; i < b->n; i++)
        if (digest_eq(&b->v[i].digest, &d->digest))
            return;
    *ARENA_PUSH(a, b->v, b->n, b->cap) = *d;
}

static char *blob_path(Arena *a, const Digest *d)
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(d, hex);
    return arena_printf(a, "blobs/sha256/%s", hex);
}

/* The blobs of one image. */
static bool add_image(Files *f, const Descriptor *d, ImageManifest *ret, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    if (!store_read_blob(f->s, &d->digest, &text, e) ||
        !image_manifest_parse(f->a, buf_str(&text), text.len, ret, e))
        return false;
    add_blob(f->a, &f->blobs, d);
    add_blob(f->a, &f->blobs, &ret->config);
    /* What is not to be distributed goes along only if it is here. */
    for (size_t i = 0; i < ret->nlayer; i++) {
        const Descriptor *l = &ret->layers[i];
        bool have = true;
        if (image_layer_foreign(l->media_type) && !store_has_blob(f->s, &l->digest, &have, e))
            return false;
        if (have)
            add_blob(f->a, &f->blobs, l);
    }
    return true;
}

/* ---- docker's documents ---- */

/* The entry of an image in manifest.json; one image has one, however many names. */
static json_t *docker_entry(Files *f, const ImageManifest *m)
{
    const char *config = blob_path(f->a, &m->config.digest);
    size_t i;
    json_t *j;
    json_array_foreach(f->manifests, i, j) if (!strcmp(json_str(j, "Config"), config)) return j;
    json_t *layers = json_array();
    for (size_t k = 0; k < m->nlayer; k++)
        json_array_append_new(layers, json_string(blob_path(f->a, &m->layers[k].digest)));
    j = json_object();
    json_set_str(j, "Config", config);
    json_object_set_new(j, "RepoTags", json_array());
    json_object_set_new(j, "Layers", layers);
    json_array_append_new(f->manifests, j);
    return j;
}

/* Names as docker shows them: its load takes them so. */
static bool docker_name(Files *f, const ImageManifest *m, json_t *entry, const char *name, Err *e)
{
    ImageRef ref;
    if (!name)
        return true;
    if (!image_ref_parse(f->a, name, &ref, e))
        return false;
    const char *tag = ref.tag ? ref.tag : "latest", *full = image_ref_familiar(f->a, &ref);
    ref.tag = NULL;
    const char *repo = image_ref_familiar(f->a, &ref);
    json_t *tags = json_object_get(f->repositories, repo);
    char hex[DIGEST_HEX_SIZE];
    digest_hex(m->nlayer ? &m->layers[m->nlayer - 1].digest : &m->config.digest, hex);
    if (!tags) {
        tags = json_object();
        json_set_lossy(f->repositories, repo, tags);
    }
    json_set_str(tags, tag, hex);
    json_array_append_new(json_object_get(entry, "RepoTags"), json_string_lossy(full));
    return true;
}

static bool docker_item(Files *f, const ImageManifest *m, const char *name, Descriptor *d, Err *e)
{
    ImageLabel *note = NEW(f->a, ImageLabel);
    if (!docker_name(f, m, docker_entry(f, m), name, e))
        return false;
    if (name) {
        *note = (ImageLabel){ANNOTATION_IMAGE_NAME, name};
        d->notes = note;
        d->nnote = 1;
    }
    return true;
}

/* ---- what is written ---- */

static bool add_item(Files *f, const ExportItem *it, const ExportStyle *style, Err *e)
{
    ExportDoc doc;
    ImageManifest m;
    if (it->nid > 1 && f->form == EXPORT_DOCKER)
        return err_set(e, ERR_USAGE,
                       "docker's archives hold no index of several platforms: use type=oci, or one "
                       "--platform");
    if (!export_document(f->s, f->a, it, style, &doc, e))
        return false;
    if (it->nid > 1)
        add_blob(f->a, &f->blobs, &doc.top);
    for (size_t i = 0; i < doc.nmanifest; i++)
        if (!add_image(f, &doc.manifests[i], &m, e))
            return false;
    if (f->form == EXPORT_DOCKER && !docker_item(f, &m, it->name, &doc.top, e))
        return false;
    doc.top.ref_name = it->name;
    f->index.manifests[f->index.nmanifest++] = doc.top;
    return true;
}

static bool collect(Files *f, const ExportItem *items, size_t n, const ExportStyle *style, Err *e)
{
    f->index.manifests = NEW_N(f->a, Descriptor, n + 1);
    if (f->form == EXPORT_DOCKER) {
        f->manifests = json_array();
        f->repositories = json_object();
    }
    for (size_t i = 0; i < n; i++)
        if (!add_item(f, &items[i], style, e))
            return false;
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

static bool put_json_tar(int out, const char *name, const json_t *j, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    json_text(j, &text);
    return put_text_tar(out, name, text.ptr, text.len, e);
}

static bool write_tar(const Files *f, int out, Err *e)
{
    scoped(buf) Buf index = BUF_INIT;
    image_index_text(&f->index, &index);
    if (!put_text_tar(out, "oci-layout", LAYOUT, sizeof LAYOUT - 1, e) ||
        !put_text_tar(out, "index.json", index.ptr, index.len, e) ||
        (f->manifests && (!put_json_tar(out, "manifest.json", f->manifests, e) ||
                          !put_json_tar(out, "repositories", f->repositories, e))))
        return false;
    /* Readers that unpack as an ordinary user make missing directories for root, and fail. */
    if (!tar_put_dir(out, "blobs", e) || !tar_put_dir(out, "blobs/sha256", e))
        return false;
    for (size_t i = 0; i < f->blobs.n; i++)
        if (!put_blob_tar(f->s, &f->blobs.v[i], out, e))
            return false;
    return tar_put_end(out, e);
}

static bool write_tar_file(const Files *f, const char *dest, Err *e)
{
    OutFile out;
    if (!strcmp(dest, "-"))
        return write_tar(f, STDOUT_FILENO, e);
    if (!out_begin(dest, &out, e))
        return false;
    bool ok = write_tar(f, out.fd, e) && out_commit(&out, e);
    out_abort(&out);
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

static bool put_json_dir(int dir, const char *name, const json_t *j, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    if (!j)
        return true;
    json_text(j, &text);
    return fs_replace_file(dir, name, text.ptr, text.len, e);
}

static bool write_layout(Files *f, const char *dest, Err *e)
{
    scoped(buf) Buf index = BUF_INIT;
    int raw;
    if (!fs_mkdirs(AT_FDCWD, dest, e) || !fs_open_dir(AT_FDCWD, dest, &raw, e))
        return false;
    scoped(fd) int dir = raw;
    if (!fs_mkdirs(dir, "blobs/sha256", e) || !merge_index(f->a, dir, &f->index, e))
        return false;
    for (size_t i = 0; i < f->blobs.n; i++)
        if (!put_blob_dir(f->s, &f->blobs.v[i], dir, e))
            return false;
    image_index_text(&f->index, &index);
    return fs_replace_file(dir, "oci-layout", LAYOUT, sizeof LAYOUT - 1, e) &&
           put_json_dir(dir, "manifest.json", f->manifests, e) &&
           put_json_dir(dir, "repositories", f->repositories, e) &&
           fs_replace_file(dir, "index.json", index.ptr, index.len, e);
}

bool export_files(Store *s, Arena *a, const ExportItem *items, size_t n, const ExportStyle *style,
                  ExportForm form, const char *dest, bool dir, Err *e)
{
    scoped(files) Files f = {.s = s, .a = a, .form = form};
    if (!collect(&f, items, n, style, e))
        return false;
    if (dir)
        return write_layout(&f, dest, e) || err_wrap(e, "write '%s'", dest);
    return write_tar_file(&f, dest, e);
}

bool export_stream(Store *s, Arena *a, const ExportItem *items, size_t n, const ExportStyle *style,
                   ExportForm form, int fd, Err *e)
{
    scoped(files) Files f = {.s = s, .a = a, .form = form};
    return collect(&f, items, n, style, e) && write_tar(&f, fd, e);
}

bool files_as_they_are(Store *s, Arena *a, const Descriptor *blobs, size_t n, const Descriptor *top,
                       const char *dest, bool dir, Err *e)
{
    scoped(files) Files f = {.s = s, .a = a, .form = EXPORT_OCI};
    Descriptor one = *top;
    for (size_t i = 0; i < n; i++)
        add_blob(a, &f.blobs, &blobs[i]);
    f.index = (ImageIndex){.manifests = &one, .nmanifest = 1};
    if (dir)
        return write_layout(&f, dest, e) || err_wrap(e, "write '%s'", dest);
    return write_tar_file(&f, dest, e);
}
