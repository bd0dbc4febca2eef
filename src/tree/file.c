/*
 * tree/file.c - entries as bytes, to be kept beside what they describe.
 *
 * All that a TreeEntry holds, `from` and the ctime aside, in the machine's byte order: what does
 * not fit the machine or the program is as good as nothing.
 */
#include <libdeflate.h>
#include <stdlib.h>

#include "tree/tree.h"

static const char MAGIC[16] = "lighter tree 1\n";

/* The fixed part of an entry; its strings follow, each with its NUL. */
typedef struct Fixed {
    uint64_t size;
    int64_t mtime;
    uint32_t mtime_ns, mode, uid, gid, major, minor, link_group;
    uint32_t path_len, link_len, nxattr;
    uint8_t type, passage, has_link, unused[5];
    Digest content;
} Fixed;

typedef struct Head {
    char magic[sizeof MAGIC];
    uint64_t n, note_len;
    uint32_t crc, unused; /* of all that follows */
} Head;

static void put_string(Buf *out, const char *s, size_t len)
{
    buf_add(out, s, len);
    buf_putc(out, 0);
}

static void put_entry(Buf *out, const TreeEntry *t)
{
    Fixed f = {.size = t->size,
               .mtime = t->mtime.tv_sec,
               .mtime_ns = (uint32_t)t->mtime.tv_nsec,
               .mode = t->mode,
               .uid = t->uid,
               .gid = t->gid,
               .major = t->major,
               .minor = t->minor,
               .link_group = t->link_group,
               .path_len = (uint32_t)strlen(t->path),
               .link_len = t->link ? (uint32_t)strlen(t->link) : 0,
               .nxattr = (uint32_t)t->nxattr,
               .type = (uint8_t)t->type,
               .passage = t->passage,
               .has_link = t->link != NULL,
               .content = t->content};
    buf_add(out, &f, sizeof f);
    put_string(out, t->path, f.path_len);
    if (t->link)
        put_string(out, t->link, f.link_len);
    for (size_t i = 0; i < t->nxattr; i++) {
        uint64_t len = t->xattrs[i].value.len;
        put_string(out, t->xattrs[i].name, strlen(t->xattrs[i].name));
        buf_add(out, &len, sizeof len);
        put_string(out, t->xattrs[i].value.ptr, len);
    }
}

void tree_write(const Tree *t, Str note, Buf *out)
{
    Head h = {.n = t->n, .note_len = note.len};
    size_t at = out->len;
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    buf_add(out, &h, sizeof h);
    put_string(out, note.ptr, note.len);
    for (size_t i = 0; i < t->n; i++)
        put_entry(out, &t->v[i]);
    h.crc = libdeflate_crc32(0, out->ptr + at + sizeof h, out->len - at - sizeof h);
    memcpy(out->ptr + at, &h, sizeof h);
}

static bool take(Str *l, void *to, size_t n)
{
    if (l->len < n)
        return false;
    memcpy(to, l->ptr, n);
    l->ptr += n;
    l->len -= n;
    return true;
}

/* A string of known length. It stays where it is. */
static bool take_string(Str *l, uint64_t len, const char **ret)
{
    if (len >= l->len || l->ptr[len] != 0)
        return false;
    *ret = l->ptr;
    l->ptr += len + 1;
    l->len -= len + 1;
    return true;
}

static bool take_xattrs(Str *l, Arena *a, uint32_t n, TreeEntry *t)
{
    if (n > l->len)
        return false;
    t->xattrs = NEW_N(a, TreeXattr, n);
    for (t->nxattr = 0; t->nxattr < n; t->nxattr++) {
        TreeXattr *x = &t->xattrs[t->nxattr];
        uint64_t len;
        const char *end = memchr(l->ptr, 0, l->len);
        if (!end || !take_string(l, (uint64_t)(end - l->ptr), &x->name) ||
            !take(l, &len, sizeof len) || !take_string(l, len, &x->value.ptr))
            return false;
        x->value.len = len;
    }
    return true;
}

static bool take_entry(Str *l, Arena *a, TreeEntry *t)
{
    Fixed f;
    if (!take(l, &f, sizeof f) || f.type > TREE_SOCKET || f.passage > 1 || f.has_link > 1)
        return false;
    *t = (TreeEntry){.type = f.type,
                     .mode = f.mode,
                     .uid = f.uid,
                     .gid = f.gid,
                     .size = f.size,
                     .major = f.major,
                     .minor = f.minor,
                     .link_group = f.link_group,
                     .content = f.content,
                     .passage = f.passage,
                     .mtime = {f.mtime, f.mtime_ns}};
    if (!take_string(l, f.path_len, &t->path) ||
        (f.has_link && !take_string(l, f.link_len, &t->link)))
        return false;
    t->from = t->path;
    return !f.nxattr || take_xattrs(l, a, f.nxattr, t);
}

bool tree_read(Str bytes, TreeReader *ret)
{
    TreeReader r = {.left = bytes};
    Head h;
    if (!take(&r.left, &h, sizeof h) || memcmp(h.magic, MAGIC, sizeof MAGIC) != 0 ||
        libdeflate_crc32(0, r.left.ptr, r.left.len) != h.crc ||
        !take_string(&r.left, h.note_len, &r.note.ptr) || h.n > TREE_MAX_ENTRIES)
        return false;
    r.note.len = h.note_len;
    r.n = h.n;
    *ret = r;
    return true;
}

/* ---- differences ---- */

/* The order of a walk: a directory comes right before what is in it. */
static int path_order(const char *a, const char *b)
{
    for (;; a++, b++) {
        int x = *a == '/' ? 1 : *a ? (unsigned char)*a + 1 : 0;
        int y = *b == '/' ? 1 : *b ? (unsigned char)*b + 1 : 0;
        if (x != y)
            return x - y;
        if (!x)
            return 0;
    }
}

static int by_path(const void *a, const void *b)
{
    return path_order(((const TreeEntry *)a)->path, ((const TreeEntry *)b)->path);
}

void tree_sort(Tree *t)
{
    if (t->n)
        qsort(t->v, t->n, sizeof *t->v, by_path);
}

bool tree_step(TreeSteps *s, TreeChange *ret)
{
    if (!s->has_next && s->old.n) {
        s->damaged = !take_entry(&s->old.left, s->arena, &s->next);
        s->has_next = !s->damaged;
        s->old.n--;
    }
    bool has_now = s->k < s->now->n;
    if (s->damaged || (!s->has_next && !has_now))
        return false;
    int order = !s->has_next ? 1 : !has_now ? -1 : path_order(s->next.path, s->now->v[s->k].path);
    *ret = (TreeChange){0};
    if (order <= 0) {
        s->given = s->next;
        s->has_next = false;
        ret->old = &s->given;
    }
    if (order >= 0)
        ret->now = &s->now->v[s->k++];
    return true;
}
