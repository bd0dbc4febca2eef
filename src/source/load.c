/*
 * source/load.c - images from OCI layouts and archives into the store.
 *
 * A layout is read through a Door: blobs come from its directory, or, for an archive, are in the
 * store already because the stream is read once and index.json may stand anywhere in it.
 */
#include <errno.h>

#include "base/fs.h"
#include "source/door.h"

char *door_blob_name(Arena *a, const Digest *d)
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(d, hex);
    return arena_printf(a, "blobs/sha256/%s", hex);
}

/* Open a file of the layout: inside it, and nothing that would block or is no file. */
static bool open_file(Door *x, const char *path, int *ret_fd)
{
    struct stat st;
    scoped(fd) int fd = fs_open_in_root(x->dirfd, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(x->e, ERR_STORE, "%s: open '%s'", x->name, path);
    if (!S_ISREG(st.st_mode))
        return err_set(x->e, ERR_STORE, "%s: '%s' is not a regular file", x->name, path);
    *ret_fd = fd_take(&fd);
    return true;
}

/* A descriptor's size ends up in manifests that we write, so it must be the blob's. */
static bool right_size(Door *x, const Descriptor *d)
{
    int raw;
    uint64_t size;
    if (!store_open_blob(x->store, &d->digest, &raw, &size, x->e))
        return false;
    close(raw);
    if (size == d->size)
        return true;
    return err_set(x->e, ERR_STORE, "%s: '%s' has %llu bytes and its descriptor says %llu", x->name,
                   door_blob_name(x->arena, &d->digest), (unsigned long long)size,
                   (unsigned long long)d->size);
}

/* Copy a blob of the layout into the store, checking size and digest. */
static bool take_blob(Door *x, const Descriptor *d)
{
    BlobWriter w;
    Digest got;
    char block[64 << 10];
    bool have;
    const char *path = door_blob_name(x->arena, &d->digest);
    if (!store_has_blob(x->store, &d->digest, &have, x->e))
        return false;
    if (have)
        return right_size(x, d);
    if (x->dirfd < 0)
        return err_set(x->e, ERR_STORE, "%s: the archive lacks '%s'", x->name, path);
    int raw;
    if (!open_file(x, path, &raw))
        return false;
    scoped(fd) int fd = raw;
    if (!blob_begin(x->store, &w, x->e))
        return false;
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            blob_abort(&w);
            return err_errno(x->e, ERR_STORE, "%s: read '%s'", x->name, path);
        }
        if (n == 0)
            break;
        if (w.size + (uint64_t)n > d->size) {
            blob_abort(&w);
            return err_set(x->e, ERR_STORE, "%s: '%s' is larger than its descriptor says", x->name,
                           path);
        }
        if (!blob_write(&w, block, (size_t)n, x->e)) {
            blob_abort(&w);
            return false;
        }
    }
    if (w.size != d->size) {
        blob_abort(&w);
        return err_set(x->e, ERR_STORE, "%s: '%s' is smaller than its descriptor says", x->name,
                       path);
    }
    return blob_commit(&w, &d->digest, &got, NULL, x->e) || err_wrap(x->e, "%s", x->name);
}

/* A document of the layout, taken into the store first. */
static bool take_doc(Door *x, const Descriptor *d, Buf *ret)
{
    if (d->size > DOC_MAX)
        return err_set(x->e, ERR_STORE, "%s: document of %llu bytes is over the limit", x->name,
                       (unsigned long long)d->size);
    return take_blob(x, d) && store_read_blob(x->store, &d->digest, ret, x->e);
}

/* Unpack a layer into nothing: are its bytes what the config says, and how many are they? */
static bool measure_layer(Door *x, const Descriptor *d, Compression how, const Digest *diff_id,
                          uint64_t *ret_size)
{
    int raw;
    uint64_t size;
    Digest plain, packed;
    if (!store_open_blob(x->store, &d->digest, &raw, &size, x->e))
        return false;
    scoped(fd) int fd = raw;
    scoped(layer_in) LayerIn *in = layer_in_new(fd, snapshot_format(how));
    if (!layer_in_finish(in, &plain, &packed, ret_size, x->e))
        return err_wrap(x->e, "%s: layer '%s'", x->name, door_blob_name(x->arena, &d->digest));
    if (!digest_eq(&plain, diff_id) || !digest_eq(&packed, &d->digest))
        return err_set(x->e, ERR_STORE,
                       "%s: layer '%s' does not unpack to what the image config says", x->name,
                       door_blob_name(x->arena, &d->digest));
    return true;
}

bool door_check_layer(Door *x, const Descriptor *d, Compression how, const Digest *diff_id,
                      uint64_t *ret_size)
{
    Digest blob;
    bool found;
    if (!store_packed_get(x->store, diff_id, how, &blob, ret_size, &found, x->e))
        return false;
    if (found && digest_eq(&blob, &d->digest) && x->have)
        return true;
    return measure_layer(x, d, how, diff_id, ret_size);
}

static bool take_layers(Door *x, const ImageManifest *m, const ImageConfig *c, StoreImage *img)
{
    if (m->nlayer != c->ndiff)
        return err_set(x->e, ERR_STORE, "%s: manifest has %zu layers and config %zu", x->name,
                       m->nlayer, c->ndiff);
    img->layers = NEW_N(x->arena, StoreLayer, m->nlayer + 1);
    img->nlayer = m->nlayer;
    for (size_t i = 0; i < m->nlayer; i++) {
        Compression how;
        uint64_t size;
        if (!image_layer_compression(m->layers[i].media_type, &how))
            return err_set(x->e, ERR_STORE, "%s: layer of media type '%s' is not supported",
                           x->name, m->layers[i].media_type ? m->layers[i].media_type : "");
        if (!take_blob(x, &m->layers[i]) ||
            !door_check_layer(x, &m->layers[i], how, &c->diff_ids[i], &size) ||
            !store_packed_put(x->store, &c->diff_ids[i], how, &m->layers[i].digest,
                              m->layers[i].size, x->e))
            return false;
        img->layers[i] = (StoreLayer){.diff_id = c->diff_ids[i], .times = ""};
        img->size += size;
    }
    return true;
}

bool door_known(Door *x, const Digest *id, bool *ret_known)
{
    StoreImage img;
    return store_image_get(x->store, x->arena, id, &img, ret_known, x->e);
}

static bool take_image(Door *x, const Descriptor *d, Digest *ret_id)
{
    scoped(buf) Buf mtext = BUF_INIT, ctext = BUF_INIT;
    ImageManifest m;
    ImageConfig c;
    StoreImage img = {0};
    if (!take_doc(x, d, &mtext) ||
        !image_manifest_parse(x->arena, buf_str(&mtext), mtext.len, &m, x->e))
        return err_wrap(x->e, "%s", x->name);
    img.id = *ret_id = m.config.digest;
    if (!door_known(x, &img.id, &x->have) || !take_doc(x, &m.config, &ctext) ||
        !image_config_parse(x->arena, buf_str(&ctext), ctext.len, &c, x->e))
        return err_wrap(x->e, "%s", x->name);
    img.created = image_time_parse(c.created);
    if (!take_layers(x, &m, &c, &img) || (!x->have && !store_image_put(x->store, &img, x->e)))
        return false;
    return store_image_packed(x->store, &img.id, &d->digest, d->size, x->e);
}

/* ---- choosing ---- */

static bool for_us(const Door *x, const Descriptor *d)
{
    ImageIndex one = {.manifests = (Descriptor *)d, .nmanifest = 1};
    size_t i;
    return image_platform_pick(&one, &x->platform, &i);
}

/* The manifest of this platform behind a descriptor that may be an index. */
static bool to_manifest(Door *x, const Descriptor *d, unsigned depth, Descriptor *ret)
{
    scoped(buf) Buf text = BUF_INIT;
    ImageIndex idx;
    if (!image_is_index(d->media_type)) {
        *ret = *d;
        return image_is_manifest(d->media_type) ||
               err_set(x->e, ERR_STORE, "%s: media type '%s' is no image", x->name,
                       d->media_type ? d->media_type : "");
    }
    if (depth > MAX_DEPTH)
        return err_set(x->e, ERR_STORE, "%s: indexes are nested too deep", x->name);
    if (!take_doc(x, d, &text) ||
        !image_index_parse(x->arena, buf_str(&text), text.len, &idx, x->e))
        return err_wrap(x->e, "%s", x->name);
    size_t i;
    if (image_platform_pick(&idx, &x->platform, &i))
        return to_manifest(x, &idx.manifests[i], depth + 1, ret);
    return err_set(x->e, ERR_STORE, "%s: has no image for %s", x->name,
                   image_platform_text(x->arena, &x->platform));
}

/*
 * Whether the index entry `d` is what the caller asked for: a tag, a whole reference, or a digest.
 */
static bool asked_for(Arena *a, const Descriptor *d, const char *which)
{
    char text[DIGEST_TEXT_SIZE];
    digest_text(&d->digest, text);
    if (!strcmp(which, text))
        return true;
    if (!d->ref_name)
        return false;
    if (!strcmp(d->ref_name, which))
        return true;
    ImageRef r;
    Err ignored = ERR_INIT;
    return image_ref_parse(a, d->ref_name, &r, &ignored) && r.tag && !strcmp(r.tag, which);
}

/* The full reference an index entry is named by; a mere tag names no repository. */
static const char *full_name(Arena *a, const Descriptor *d)
{
    ImageRef r;
    Err ignored = ERR_INIT;
    if (d->image_name && image_ref_parse(a, d->image_name, &r, &ignored))
        return image_ref_tagged(a, &r);
    if (!d->ref_name || (!strchr(d->ref_name, ':') && !strchr(d->ref_name, '/')))
        return NULL;
    return image_ref_parse(a, d->ref_name, &r, &ignored) ? image_ref_tagged(a, &r) : NULL;
}

bool door_take_index(Door *x, const char *text, size_t len, const char *which, Loaded **ret,
                     size_t *ret_n)
{
    ImageIndex idx;
    Loaded *v = NULL;
    size_t n = 0, cap = 0;
    if (!image_index_parse(x->arena, text, len, &idx, x->e))
        return err_wrap(x->e, "%s", x->name);
    for (size_t i = 0; i < idx.nmanifest; i++) {
        Descriptor d;
        Loaded one;
        if (!for_us(x, &idx.manifests[i]) ||
            (which && !asked_for(x->arena, &idx.manifests[i], which)))
            continue;
        if (!to_manifest(x, &idx.manifests[i], 0, &d) || !take_image(x, &d, &one.id))
            return false;
        one.name = full_name(x->arena, &idx.manifests[i]);
        *ARENA_PUSH(x->arena, v, n, cap) = one;
    }
    if (!n)
        return err_set(x->e, ERR_STORE, "%s: holds no image%s%s%s for %s", x->name,
                       which ? " '" : "", which ? which : "", which ? "'" : "",
                       image_platform_text(x->arena, &x->platform));
    *ret = v;
    *ret_n = n;
    return true;
}

/* ---- documents as they are ---- */

static bool take_docs(Door *x, const Descriptor *d, unsigned depth);

static bool take_manifest_blobs(Door *x, const Buf *text)
{
    ImageManifest m;
    if (!image_manifest_parse(x->arena, buf_str(text), text->len, &m, x->e) ||
        !take_blob(x, &m.config))
        return false;
    for (size_t i = 0; i < m.nlayer; i++) {
        Err why = ERR_INIT, *e = x->e;
        bool foreign = image_layer_foreign(m.layers[i].media_type);
        x->e = foreign ? &why : e; /* such a layer may stay where it is */
        bool ok = take_blob(x, &m.layers[i]);
        x->e = e;
        if (!ok && !foreign)
            return false;
    }
    return true;
}

/* A document and all that it names, into the store. */
static bool take_docs(Door *x, const Descriptor *d, unsigned depth)
{
    scoped(buf) Buf text = BUF_INIT;
    ImageIndex idx;
    if (depth > MAX_DEPTH)
        return err_set(x->e, ERR_STORE, "%s: indexes are nested too deep", x->name);
    if (!image_is_index(d->media_type) && !image_is_manifest(d->media_type))
        return err_set(x->e, ERR_STORE, "%s: media type '%s' is no image", x->name,
                       d->media_type ? d->media_type : "");
    if (!take_doc(x, d, &text))
        return false;
    if (!image_is_index(d->media_type))
        return take_manifest_blobs(x, &text) || err_wrap(x->e, "%s", x->name);
    if (!image_index_parse(x->arena, buf_str(&text), text.len, &idx, x->e))
        return err_wrap(x->e, "%s", x->name);
    for (size_t i = 0; i < idx.nmanifest; i++)
        if (!take_docs(x, &idx.manifests[i], depth + 1))
            return false;
    return true;
}

bool door_take_docs(Door *x, const char *text, size_t len, const char *which,
                    const Platform *platform, Descriptor *ret)
{
    ImageIndex idx;
    Descriptor top = {.media_type = NULL};
    size_t n = 0;
    if (!image_index_parse(x->arena, text, len, &idx, x->e))
        return err_wrap(x->e, "%s", x->name);
    for (size_t i = 0; i < idx.nmanifest; i++)
        if (!which || asked_for(x->arena, &idx.manifests[i], which)) {
            top = idx.manifests[i];
            n++;
        }
    if (n != 1)
        return err_set(x->e, ERR_USAGE,
                       n ? "%s: holds %zu images%s%s: say which one, by its tag"
                         : "%s: holds %zu images%s%s",
                       x->name, n, which ? " called " : "", which ? which : "");
    if (platform && !to_manifest(x, &top, 0, &top))
        return false;
    *ret = (Descriptor){.media_type = top.media_type, .digest = top.digest, .size = top.size};
    return take_docs(x, ret, 0);
}

/* ---- the layout ---- */

static bool open_layout(Door *x, const char *dir, int *ret_fd, Buf *ret_index)
{
    int raw;
    scoped(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(x->e, ERR_USAGE, "OCI layout '%s'", dir);
    x->dirfd = fd;
    x->name = dir;
    if (!open_file(x, "index.json", &raw))
        return err_wrap(x->e, "no OCI layout");
    scoped(fd) int index = raw;
    if (!fs_read_all(index, DOC_MAX, ret_index, x->e))
        return err_wrap(x->e, "'%s/index.json'", dir);
    *ret_fd = fd_take(&fd);
    return true;
}

bool source_docs_layout(Store *s, Arena *a, const char *dir, const char *which,
                        const Platform *platform, SourceDocs *ret, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    Door x = {
        .store = s, .arena = a, .platform = platform ? *platform : image_platform_host(), .e = e};
    Descriptor top = {.media_type = NULL};
    int raw;
    if (!open_layout(&x, dir, &raw, &text))
        return false;
    scoped(fd) int fd = raw;
    x.dirfd = fd;
    if (!door_take_docs(&x, buf_str(&text), text.len, which, platform, &top))
        return false;
    *ret = (SourceDocs){.top = top};
    return true;
}

bool source_keep_docs(Store *s, Arena *a, const SourceDocs *d, Loaded **ret, size_t *ret_n, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    Door x = {.store = s, .arena = a, .dirfd = -1, .name = "image", .e = e};
    ImageIndex idx = {.manifests = (Descriptor *)&d->top, .nmanifest = 1};
    Loaded *v = NULL;
    size_t n = 0, cap = 0;
    if (image_is_index(d->top.media_type) &&
        (!store_read_blob(s, &d->top.digest, &text, e) ||
         !image_index_parse(a, buf_str(&text), text.len, &idx, e)))
        return false;
    for (size_t i = 0; i < idx.nmanifest; i++) {
        const Descriptor *m = &idx.manifests[i];
        Loaded one = {.name = NULL};
        if (m->attestation || !image_is_manifest(m->media_type))
            continue;
        if (!take_image(&x, m, &one.id))
            return false;
        *ARENA_PUSH(a, v, n, cap) = one;
    }
    *ret = v;
    *ret_n = n;
    return n || err_set(e, ERR_STORE, "it holds no image");
}

bool source_load_layout(Store *s, Arena *a, const char *dir, const char *which,
                        const Platform *platform, Loaded **ret, size_t *ret_n, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    Door x = {
        .store = s, .arena = a, .platform = platform ? *platform : image_platform_host(), .e = e};
    int raw;
    if (!open_layout(&x, dir, &raw, &text))
        return false;
    scoped(fd) int fd = raw;
    x.dirfd = fd;
    return door_take_index(&x, buf_str(&text), text.len, which, ret, ret_n);
}
