/*
 * analyze/contents.c - layers to lists of what they hold.
 *
 * A layer is read as the tar that goes out: packed bytes where they are the layer's only form, else
 * its snapshot, packed by the layer's own rule for times.
 */
#include <stdlib.h>

#include "analyze/parts.h"
#include "base/cancel.h"
#include "base/fs.h"
#include "base/map.h"

enum { CONTENTS_MAX = TREE_MAX_ENTRIES };

static const char OPAQUE[] = ".wh..wh..opq", WHITEOUT[] = ".wh.";

/* ---- streams ---- */

/* A file of the store's that nobody else sees. */
static bool scratch(Store *s, int *ret_fd, Err *e)
{
    char tmp[STORE_TMP_MAX];
    if (!store_tmp(s, "compare", tmp, e))
        return false;
    int fd = openat(store_dirfd(s), tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), tmp);
    (void)unlinkat(store_dirfd(s), tmp, 0);
    *ret_fd = fd;
    return true;
}

static bool packed_stream(Store *s, const StoreLayer *l, int *ret_fd, Err *e)
{
    static const Compression FORMS[] = {COMP_GZIP, COMP_ZSTD, COMP_NONE};
    for (size_t i = 0; i < NELEM(FORMS); i++) {
        Digest blob;
        uint64_t size;
        bool found, have = false;
        if (!store_packed_get(s, &l->diff_id, FORMS[i], &blob, &size, &found, e) ||
            (found && !store_has_blob(s, &blob, &have, e)))
            return false;
        if (have)
            return store_open_blob(s, &blob, ret_fd, &size, e);
    }
    return err_set(e, ERR_STORE, "a layer's bytes are not in the store");
}

/* The layer's tar, packed or not. */
static bool open_layer(Store *s, const StoreLayer *l, int *ret_fd, Err *e)
{
    LayerTimes times;
    LayerFacts facts;
    int raw;
    if (!layer_times_parse(l->times, &times))
        return packed_stream(s, l, ret_fd, e);
    if (!scratch(s, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    if (!snapshot_pack(s, l->snapshot, times, (LayerForm){PACK_PLAIN, LAYER_LEVEL_OWN}, fd, 1,
                       &facts, e))
        return false;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return err_errno(e, ERR_STORE, "read a layer again");
    *ret_fd = fd_take(&fd);
    return true;
}

/* ---- entries ---- */

static TreeType type_of(char type)
{
    return type == '5'   ? TREE_DIR
           : type == '2' ? TREE_SYMLINK
           : type == '3' ? TREE_CHAR
           : type == '4' ? TREE_BLOCK
           : type == '6' ? TREE_FIFO
                         : TREE_FILE;
}

static void keep_xattrs(Arena *a, const TarEntry *ent, TreeEntry *t)
{
    t->nxattr = ent->nxattr;
    t->xattrs = NEW_N(a, TreeXattr, ent->nxattr + 1);
    for (size_t i = 0; i < ent->nxattr; i++) {
        const TreeXattr *x = &ent->xattrs[i];
        char *value = arena_strndup(a, x->value.ptr, x->value.len);
        t->xattrs[i] = (TreeXattr){arena_strdup(a, x->name), {value, x->value.len}};
    }
}

static bool hash_file(TarReader *t, Digest *ret, Err *e)
{
    char block[64 << 10];
    Hasher h;
    hash_init(&h);
    for (size_t n = 1; n;) {
        if (!tar_read(t, block, sizeof block, &n, e))
            return false;
        hash_add(&h, block, n);
    }
    hash_end(&h, ret);
    return true;
}

/* A name that is no entry: true, and `it` says what it means. */
static bool is_mark(Arena *a, const char *name, Item *it)
{
    const char *base = path_base(name);
    size_t dir = (size_t)(base - name);
    if (!str_starts(base, WHITEOUT))
        return false;
    it->opaque = !strcmp(base, OPAQUE);
    it->gone = !it->opaque;
    it->path = it->opaque ? arena_strndup(a, name, dir ? dir - 1 : 0)
                          : arena_printf(a, "%.*s%s", (int)dir, name, base + strlen(WHITEOUT));
    return true;
}

/* Entries of one layer being read. */
typedef struct Reading {
    Arena *a;
    Contents *out;
    Map names; /* files of this layer -> index */
    size_t layer;
    Err *e;
} Reading;

static bool take(Reading *r, TarReader *t, const TarEntry *ent)
{
    Item it = {.layer = r->layer, .order = r->out->n};
    uint64_t at;
    if (r->out->n >= CONTENTS_MAX)
        return err_set(r->e, ERR_STORE, "more than %d entries", CONTENTS_MAX);
    if (!is_mark(r->a, ent->name, &it)) {
        it.path = arena_strdup(r->a, ent->name);
        it.hard = ent->type == '1';
        it.t = (TreeEntry){.type = type_of(ent->type),
                           .mode = ent->mode & 07777,
                           .uid = ent->uid,
                           .gid = ent->gid,
                           .size = ent->size,
                           .link = ent->link ? arena_strdup(r->a, ent->link) : "",
                           .major = ent->major,
                           .minor = ent->minor,
                           .mtime = ent->mtime};
        keep_xattrs(r->a, ent, &it.t);
        if (it.hard && map_get(&r->names, it.t.link, &at)) {
            const char *link = it.t.link;
            it.t = r->out->v[at].t;
            it.t.link = link;
        } else if (it.t.type == TREE_FILE && !hash_file(t, &it.t.content, r->e)) {
            return false;
        }
        map_put(&r->names, it.path, r->out->n);
    }
    *ARENA_PUSH(r->a, r->out->v, r->out->n, r->out->cap) = it;
    return true;
}

bool contents_layer(Store *s, Arena *a, const StoreImage *img, size_t layer, Contents *ret, Err *e)
{
    Reading r = {.a = a, .out = ret, .layer = layer, .e = e};
    TarReader t;
    int raw;
    bool ok = true, got = true;
    if (!open_layer(s, &img->layers[layer], &raw, e))
        return err_wrap(e, "layer %zu", layer + 1);
    scoped(fd) int fd = raw;
    scoped(layer_in) LayerIn *in = layer_in_new(fd, LAYER_SNIFF);
    tar_reader_init(&t, in);
    while (ok && got) {
        TarEntry ent;
        if (cancel_wanted())
            ok = err_set(e, ERR_STEP, "cancelled");
        ok = ok && tar_next(&t, &ent, &got, e) && (!got || take(&r, &t, &ent));
    }
    tar_reader_done(&t);
    map_done(&r.names);
    return ok || err_wrap(e, "layer %zu", layer + 1);
}

bool contents_file(Store *s, const StoreImage *img, const Item *it, int *ret_fd, Err *e)
{
    const char *want = it->hard ? it->t.link : it->path;
    TarReader t;
    int raw;
    bool ok = true, got = true, found = false;
    if (!open_layer(s, &img->layers[it->layer], &raw, e))
        return false;
    scoped(fd) int fd = raw;
    if (!scratch(s, &raw, e))
        return false;
    scoped(fd) int out = raw;
    scoped(layer_in) LayerIn *in = layer_in_new(fd, LAYER_SNIFF);
    tar_reader_init(&t, in);
    while (ok && got) {
        char block[64 << 10];
        TarEntry ent;
        ok = tar_next(&t, &ent, &got, e);
        if (!ok || !got || strcmp(ent.name, want) != 0 || type_of(ent.type) != TREE_FILE)
            continue;
        found = true; /* of two the last counts */
        ok = (ftruncate(out, 0) == 0 && lseek(out, 0, SEEK_SET) == 0) ||
             err_errno(e, ERR_STORE, "write a file to compare");
        for (size_t n = 1; ok && n;)
            ok = tar_read(&t, block, sizeof block, &n, e) && fs_write_all(out, block, n, e);
    }
    tar_reader_done(&t);
    if (!ok || !found)
        return ok ? err_set(e, ERR_STORE, "'/%s' is not in its layer any more", it->path) : false;
    *ret_fd = fd_take(&out);
    return true;
}

/* ---- order ---- */

/* What is in a directory follows it at once. */
static int by_path(const char *x, const char *y)
{
    for (;; x++, y++) {
        unsigned a = *x == '/' ? 1 : (unsigned char)*x, b = *y == '/' ? 1 : (unsigned char)*y;
        if (a != b)
            return a < b ? -1 : 1;
        if (!a)
            return 0;
    }
}

int contents_order(const char *x, const char *y)
{
    return by_path(x, y);
}

static int by_place(const void *x, const void *y)
{
    const Item *a = x, *b = y;
    int order = by_path(a->path, b->path);
    if (order)
        return order;
    if (a->layer != b->layer)
        return a->layer < b->layer ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

void contents_sort(Contents *c)
{
    if (c->n)
        qsort(c->v, c->n, sizeof *c->v, by_place);
}

/* A path on the way down, and which layers' entries below it are hidden. */
typedef struct Above {
    const char *path;
    size_t len, hidden; /* entries of layers below this number are */
} Above;

static bool is_below(const char *path, const Above *dir)
{
    return !dir->len || (!strncmp(path, dir->path, dir->len) && path[dir->len] == '/');
}

/* The items of one path, of which there are n: what is seen of them, and what they hide below. */
static bool settle(const Item *v, size_t n, size_t hidden, Item *ret, size_t *ret_hidden)
{
    const Item *seen = NULL;
    for (size_t i = 0; i < n; i++) {
        if (v[i].layer < hidden)
            continue;
        if (v[i].opaque || v[i].gone) {
            *ret_hidden = v[i].layer > *ret_hidden ? v[i].layer : *ret_hidden;
            /* A deletion is of lower layers; what the same layer has there stays. */
            if (v[i].gone && seen && seen->layer < v[i].layer)
                seen = NULL;
            continue;
        }
        if (v[i].t.type != TREE_DIR || (seen && seen->t.type != TREE_DIR))
            *ret_hidden = v[i].layer > *ret_hidden ? v[i].layer : *ret_hidden;
        seen = &v[i];
    }
    if (seen)
        *ret = *seen;
    return seen != NULL;
}

void contents_flatten(Contents *c)
{
    Above above[TREE_PATH_MAX / 2 + 2];
    size_t depth = 0, kept = 0;
    contents_sort(c);
    for (size_t i = 0, n; i < c->n; i += n) {
        const char *path = c->v[i].path;
        Item seen;
        for (n = 1; i + n < c->n && !strcmp(c->v[i + n].path, path); n++)
            ;
        while (depth && !is_below(path, &above[depth - 1]))
            depth--;
        size_t hidden = depth ? above[depth - 1].hidden : 0;
        bool any = settle(&c->v[i], n, hidden, &seen, &hidden);
        if (depth < NELEM(above))
            above[depth++] = (Above){path, strlen(path), hidden};
        if (any)
            c->v[kept++] = seen;
    }
    c->n = kept;
}
