/*
 * snapshot/squash.c - several snapshots over a stack as one.
 */
#include "base/cancel.h"
#include "base/fs.h"
#include "base/key.h"
#include "base/owner.h"
#include "snapshot/snapshot.h"

/* One of the snapshots being laid over what was squashed before. */
typedef struct Laying {
    Upper *u;
    const View *own;
    bool raw;   /* one directory, whose marks of overlayfs are of what lies below it */
    Arena kept; /* names of files with several */
    Map inodes; /* "dev:ino" -> address of the first name */
    Err *e;
} Laying;

static bool lay_entries(Laying *l, const ViewNode *dir, unsigned depth);

static const char *twin_of(Laying *l, const ViewNode *node)
{
    uint64_t first;
    if (!S_ISREG(node->st.st_mode) || node->st.st_nlink < 2)
        return NULL;
    char *id = arena_printf(&l->kept, "%zu:%llu", node->layer, (unsigned long long)node->st.st_ino);
    if (map_get(&l->inodes, id, &first))
        return (const char *)(uintptr_t)first;
    map_put(&l->inodes, id, (uint64_t)(uintptr_t)arena_strdup(&l->kept, node->path));
    return NULL;
}

/* Make way for what a layer has there, as an overlay would hide it. */
static bool make_way(Laying *l, const ViewNode *node)
{
    ViewNode there;
    bool dir = S_ISDIR(node->st.st_mode);
    if (!view_lookup(&l->u->all.view, node->path, VIEW_NOFOLLOW, &there, l->e))
        return false;
    bool hides = dir && l->raw && overlay_opaque(l->own->dirfds[node->layer], node->path);
    bool other = S_ISDIR(there.st.st_mode) != dir;
    return !there.exists || !(hides || other) || upper_remove(l->u, node->path, l->e);
}

static bool lay_node(Laying *l, Arena *a, const ViewNode *node, unsigned depth)
{
    TreeEntry t;
    if (l->raw && overlay_whiteout(&node->st))
        return upper_remove(l->u, node->path, l->e);
    if (S_ISSOCK(node->st.st_mode))
        return true;
    return make_way(l, node) && view_entry(l->own, a, node, &t, l->e) &&
           upper_put(l->u, l->own, &t, node->path, twin_of(l, node), l->e) &&
           (!S_ISDIR(node->st.st_mode) || lay_entries(l, node, depth + 1));
}

static bool names_in(Laying *l, Arena *a, const ViewNode *dir, StrList *ret)
{
    if (!l->raw)
        return view_list(l->own, a, dir, ret, l->e);
    scoped(fd) int fd = openat(l->own->dirfds[0], *dir->path ? dir->path : ".",
                               O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(l->e, ERR_STORE, "open directory '%s'", dir->path);
    return fs_list(a, fd, ret, l->e);
}

static bool lay_entries(Laying *l, const ViewNode *dir, unsigned depth)
{
    scoped(arena) Arena a = {0};
    StrList names;
    if (depth > TREE_MAX_DEPTH)
        return err_set(l->e, ERR_STEP, "'%s': directories are nested too deep", dir->path);
    if (cancel_wanted())
        return err_set(l->e, ERR_STEP, "cancelled");
    if (!names_in(l, &a, dir, &names))
        return false;
    ViewNode *node = NEW(&a, ViewNode);
    for (size_t i = 0; i < names.n; i++) {
        const char *path = arena_printf(&a, "%s%s%s", dir->path, *dir->path ? "/" : "", names.v[i]);
        if (!*dir->path && owners_remembered() && !strcmp(path, OWNER_LINKS))
            continue;
        if (!view_lookup(l->own, path, VIEW_NOFOLLOW, node, l->e) ||
            (node->exists && !lay_node(l, &a, node, depth)))
            return false;
    }
    return true;
}

static bool lay(Store *s, Upper *u, SnapshotId id, Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(stack_view) StackView parts = {0};
    Stack st = {0};
    ViewNode *top = NEW(&a, ViewNode);
    if (!id)
        return true;
    if (!stack_push_parts(s, &a, &st, id, &st, e) || !stack_view(s, &st, -1, &parts, e))
        return false;
    parts.view.overlay = parts.nfd > 1;
    Laying l = {.u = u, .own = &parts.view, .raw = parts.nfd == 1, .e = e};
    bool ok = view_lookup(l.own, "", VIEW_NOFOLLOW, top, e) && lay_entries(&l, top, 0);
    map_done(&l.inodes);
    arena_done(&l.kept);
    return ok;
}

static void memo_key(const Digest *name, Digest *ret)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, "squash 1");
    key_digest(&k, "of", name);
    key_end(&k, ret);
}

bool snapshot_squash_known(Store *s, const Digest *name, SnapshotId *ret, Err *e)
{
    scoped(buf) Buf value = BUF_INIT;
    Digest key;
    SnapshotId id;
    bool found;
    memo_key(name, &key);
    if (!store_memo_get(s, &key, &value, &found, e) || !found || value.len != sizeof id)
        return false;
    memcpy(&id, value.ptr, sizeof id);
    if (id && (!store_snapshot_exists(s, id, &found, e) || !found))
        return false;
    *ret = id;
    return true;
}

bool snapshot_squash(Store *s, const Stack *below, const SnapshotId *ids, size_t n, bool in_userns,
                     const Digest *name, SnapshotId *ret, Err *e)
{
    scoped(upper) Upper u = {0};
    Digest key;
    SnapshotId id;
    if (!upper_begin(s, below, &u, e))
        return false;
    u.in_userns = in_userns;
    for (size_t i = 0; i < n; i++)
        if (!lay(s, &u, ids[i], e))
            return false;
    if (!upper_commit(&u, &id, e))
        return false;
    memo_key(name, &key);
    store_describe(s, id, "regular", "layers of a build with --squash");
    *ret = id;
    return store_memo_put(s, &key, &id, sizeof id, e);
}
