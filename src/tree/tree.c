/*
 * tree/tree.c - entries and their digest.
 */
#include "tree/tree.h"

#include <sys/sysmacros.h>

TreeType tree_type(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return TREE_DIR;
    case S_IFLNK:
        return TREE_SYMLINK;
    case S_IFIFO:
        return TREE_FIFO;
    case S_IFCHR:
        return TREE_CHAR;
    case S_IFBLK:
        return TREE_BLOCK;
    case S_IFSOCK:
        return TREE_SOCKET;
    default:
        return TREE_FILE;
    }
}

static void add_u64(Hasher *h, uint64_t v)
{
    uint8_t b[8];
    for (size_t i = 0; i < 8; i++)
        b[i] = (uint8_t)(v >> (8 * i));
    hash_add(h, b, sizeof b);
}

/* Every field is framed by its length, so that "a-b"+"c" is not "a"+"b-c". */
static void add_bytes(Hasher *h, const void *p, size_t n)
{
    add_u64(h, n);
    hash_add(h, p, n);
}

static void add_text(Hasher *h, const char *s)
{
    add_bytes(h, s ? s : "", s ? strlen(s) : 0);
}

static void add_entry(Hasher *h, const TreeEntry *t)
{
    add_text(h, t->path);
    add_u64(h, (uint64_t)t->type | (uint64_t)t->passage << 8);
    add_u64(h, t->mode);
    add_u64(h, t->uid);
    add_u64(h, t->gid);
    add_u64(h, t->type == TREE_FILE ? t->size : 0);
    add_text(h, t->link);
    add_u64(h, t->major);
    add_u64(h, t->minor);
    add_u64(h, t->link_group);
    add_u64(h, t->nxattr);
    for (size_t i = 0; i < t->nxattr; i++) {
        add_text(h, t->xattrs[i].name);
        add_bytes(h, t->xattrs[i].value.ptr, t->xattrs[i].value.len);
    }
    add_bytes(h, t->content.b, DIGEST_SIZE);
}

void tree_digest(const Tree *t, Digest *ret)
{
    Hasher h;
    hash_init(&h);
    add_text(&h, "lighter tree 1");
    add_u64(&h, t->n);
    for (size_t i = 0; i < t->n; i++)
        add_entry(&h, &t->v[i]);
    hash_end(&h, ret);
}

void selection_digest_of(const Selected *roots, size_t nroot, const Digest *entries, Digest *ret)
{
    Hasher h;
    hash_init(&h);
    add_text(&h, "lighter selection 1");
    add_u64(&h, nroot);
    for (size_t i = 0; i < nroot; i++) {
        const char *slash = strrchr(roots[i].name, '/');
        add_text(&h, slash ? slash + 1 : roots[i].name);
        add_u64(&h, roots[i].is_dir);
        add_u64(&h, roots[i].first);
        add_u64(&h, roots[i].n);
    }
    add_bytes(&h, entries->b, DIGEST_SIZE);
    hash_end(&h, ret);
}

void selection_digest(const Selection *s, Digest *ret)
{
    Digest entries;
    tree_digest(&s->tree, &entries);
    selection_digest_of(s->roots, s->nroot, &entries, ret);
}

static bool text_same(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

bool tree_xattrs_same(const TreeEntry *a, const TreeEntry *b)
{
    if (a->nxattr != b->nxattr)
        return false;
    for (size_t i = 0; i < a->nxattr; i++)
        if (strcmp(a->xattrs[i].name, b->xattrs[i].name) != 0 ||
            a->xattrs[i].value.len != b->xattrs[i].value.len ||
            memcmp(a->xattrs[i].value.ptr, b->xattrs[i].value.ptr, a->xattrs[i].value.len) != 0)
            return false;
    return true;
}

bool tree_entry_same(const TreeEntry *a, const TreeEntry *b)
{
    if (a->type != b->type || a->mode != b->mode || a->uid != b->uid || a->gid != b->gid ||
        !text_same(a->link, b->link) || a->major != b->major || a->minor != b->minor)
        return false;
    if (a->type == TREE_FILE && (a->size != b->size || !digest_eq(&a->content, &b->content)))
        return false;
    return tree_xattrs_same(a, b);
}
