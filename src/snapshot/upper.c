/*
 * snapshot/upper.c - write over a stack without mounting it.
 *
 * The new directory gets just what an overlay mount would have put into its upper directory, except
 * that directories copied up keep their times: a COPY beside a file is no change of the directory a
 * reader cares for.
 */
#include <errno.h>
#include <sys/sysmacros.h>

#include "base/fs.h"
#include "base/owner.h"
#include "snapshot/upper.h"

enum { OWN_MAX = STORE_TMP_MAX + 4 };

/* Where the copy of a file is made that was lent. */
static void own_path(const Upper *u, char out[static OWN_MAX])
{
    (void)snprintf(out, OWN_MAX, "%s.own", u->tmp);
}

static void forget_lent(Upper *u)
{
    if (u->lent.path)
        (void)close(u->lent.fd);
    u->lent = (LayerLent){0};
}

bool upper_begin(Store *s, const Stack *below, Upper *ret, Err *e)
{
    scoped(upper) Upper u = {.store = s, .dirfd = -1};
    if (!store_tmp(s, "upper", u.tmp, e))
        return false;
    if (!snapshot_make_root(s, below, u.tmp, e) ||
        !fs_open_dir(store_dirfd(s), u.tmp, &u.dirfd, e) ||
        !stack_view(s, below, u.dirfd, &u.all, e))
        return false;
    *ret = u;
    u = (Upper){.dirfd = -1};
    return true;
}

void upper_abort(Upper *u)
{
    char own[OWN_MAX];
    Err ignored = ERR_INIT;
    forget_lent(u);
    stack_view_done(&u->all);
    map_done(&u->time_of);
    arena_done(&u->arena);
    if (u->dirfd < 0)
        return;
    close(u->dirfd);
    u->dirfd = -1;
    fs_remove_tree(store_dirfd(u->store), u->tmp, &ignored);
    own_path(u, own);
    fs_remove_tree(store_dirfd(u->store), own, &ignored);
}

void upper_remember_time(Upper *u, const char *path, struct timespec mtime)
{
    uint64_t i;
    if (!map_get(&u->time_of, path, &i)) {
        UpperTime *t = ARENA_PUSH(&u->arena, u->times, u->ntime, u->time_cap);
        t->path = arena_strdup(&u->arena, path);
        i = u->ntime - 1;
        map_put(&u->time_of, t->path, i);
    }
    u->times[i].mtime = mtime;
    u->times[i].wanted = true;
}

bool upper_open_dir(const Upper *u, const char *path, int *ret_fd, Err *e)
{
    int fd = fs_open_beneath(u->dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    bool replaced = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
    if (fd < 0 && !(u->removed && replaced))
        return err_errno(e, ERR_STORE, "open directory '/%s'", path);
    *ret_fd = fd;
    return true;
}

bool upper_set_times(Upper *u, Err *e)
{
    for (size_t i = 0; i < u->ntime; i++) {
        struct timespec ts[2] = {u->times[i].mtime, u->times[i].mtime};
        scoped(fd) int fd = -1;
        if (u->times[i].wanted && !upper_open_dir(u, u->times[i].path, &fd, e))
            return false;
        if (fd >= 0 && futimens(fd, ts) < 0)
            return err_errno(e, ERR_STORE, "set time of '/%s'", u->times[i].path);
    }
    return true;
}

bool upper_move(Upper *u, const char *path, Err *e)
{
    int dirfd = store_dirfd(u->store);
    if (!upper_set_times(u, e))
        return false;
    if (renameat(dirfd, u->tmp, dirfd, path) < 0)
        return err_errno(e, ERR_STORE, "rename '%s' to '%s/%s'", u->tmp, store_path(u->store),
                         path);
    close(u->dirfd);
    u->dirfd = -1;
    upper_abort(u);
    return true;
}

bool upper_commit(Upper *u, SnapshotId *ret, Err *e)
{
    return upper_commit_over(u, &(Stack){0}, ret, e);
}

bool upper_commit_over(Upper *u, const Stack *parts, SnapshotId *ret, Err *e)
{
    StrList names;
    if (!upper_set_times(u, e) || !fs_list(&u->arena, u->dirfd, &names, e))
        return false;
    if (!names.n) {
        *ret = parts->n ? parts->ids[parts->n - 1] : 0;
        upper_abort(u);
        return true;
    }
    if (!store_snapshot_add_over(u->store, u->tmp, parts->ids, parts->n, ret, e))
        return false;
    close(u->dirfd);
    u->dirfd = -1;
    upper_abort(u);
    return true;
}

static bool set_xattrs(int dirfd, const char *path, const TreeEntry *t, Err *e)
{
    if (!t->nxattr)
        return true;
    scoped(fd) int fd = openat(dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open '/%s'", path);
    for (size_t i = 0; i < t->nxattr; i++)
        if (fs_setxattr(fd, t->xattrs[i].name, t->xattrs[i].value.ptr, t->xattrs[i].value.len) < 0)
            return err_errno(e, ERR_STORE, "set attribute %s of '/%s'", t->xattrs[i].name, path);
    return true;
}

/* Owner first: a change of owner clears setuid bits and capabilities. */
static bool dress(int dirfd, const char *path, const TreeEntry *t, Err *e)
{
    if (owner_chown(dirfd, dirfd, path, t->uid, t->gid) < 0)
        return err_errno(e, ERR_STORE, "give '/%s' to %u:%u", path, t->uid, t->gid);
    if (t->type != TREE_SYMLINK && fchmodat(dirfd, path, t->mode, 0) < 0)
        return err_errno(e, ERR_STORE, "change mode of '/%s'", path);
    return set_xattrs(dirfd, path, t, e);
}

static bool set_time(int dirfd, const char *path, const TreeEntry *t, Err *e)
{
    struct timespec ts[2] = {t->mtime, t->mtime};
    return utimensat(dirfd, path, ts, AT_SYMLINK_NOFOLLOW) == 0 ||
           err_errno(e, ERR_STORE, "set time of '/%s'", path);
}

/* Copy one directory up: an equal, empty one in the new snapshot. */
static bool copy_up_dir(Upper *u, const ViewNode *node, Err *e)
{
    TreeEntry t;
    if (!view_entry(&u->all.view, &u->arena, node, &t, e))
        return false;
    if (mkdirat(u->dirfd, node->path, 0700) < 0)
        return err_errno(e, ERR_STORE, "create directory '/%s'", node->path);
    upper_remember_time(u, node->path, t.mtime);
    return dress(u->dirfd, node->path, &t, e);
}

/* A deletion that the new snapshot has at `path` is taken back. */
static bool take_back(const Upper *u, const char *path, bool *ret_was, Err *e)
{
    struct stat st;
    bool was = fstatat(u->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && overlay_whiteout(&st);
    if (was && unlinkat(u->dirfd, path, 0) < 0)
        return err_errno(e, ERR_STORE, "replace '/%s'", path);
    *ret_was = was;
    return true;
}

bool upper_clear(Upper *u, const char *path, Err *e)
{
    bool was = false;
    return take_back(u, path, &was, e);
}

static bool mark_opaque(const Upper *u, const char *path, Err *e)
{
    const char *key = u->in_userns ? "user.overlay.opaque" : "trusted.overlay.opaque";
    scoped(fd) int fd = openat(u->dirfd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fs_setxattr(fd, key, "y", 1) < 0)
        return err_errno(e, ERR_STORE, "set attribute %s of '/%s'", key, path);
    return true;
}

bool upper_new_dir(Upper *u, const char *path, Err *e)
{
    bool was = false;
    uint64_t i;
    if (!take_back(u, path, &was, e))
        return false;
    if (mkdirat(u->dirfd, path, 0700) < 0)
        return err_errno(e, ERR_STORE, "create directory '/%s'", path);
    if (map_get(&u->time_of, path, &i)) /* of one that was removed */
        u->times[i].wanted = false;
    return !was || mark_opaque(u, path, e);
}

static bool make_dir(Upper *u, const char *path, uint32_t mode, uint32_t uid, uint32_t gid, Err *e)
{
    TreeEntry t = {.type = TREE_DIR, .mode = mode, .uid = uid, .gid = gid};
    if (!upper_new_dir(u, path, e))
        return false;
    return dress(u->dirfd, path, &t, e);
}

bool upper_own_dir(Upper *u, const char *path, Err *e)
{
    char part[TREE_PATH_MAX];
    if (!*path || !strcmp(u->parent, path))
        return true;
    for (size_t i = 0; i <= strlen(path); i++) {
        struct stat st;
        ViewNode node;
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (fstatat(u->dirfd, part, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
            continue;
        if (!view_lookup(&u->all.view, part, VIEW_NOFOLLOW, &node, e))
            return false;
        if (!node.exists || !S_ISDIR(node.st.st_mode))
            return err_set(e, ERR_STEP, "'/%s' is not a directory", part);
        if (!copy_up_dir(u, &node, e))
            return false;
    }
    (void)snprintf(u->parent, sizeof u->parent, "%s", path);
    return true;
}

bool upper_touch_dir(Upper *u, const char *path, struct timespec mtime, Err *e)
{
    if (!upper_own_dir(u, path, e))
        return false;
    upper_remember_time(u, path, mtime);
    return true;
}

static char *dir_of(Upper *u, const char *path)
{
    const char *slash = strrchr(path, '/');
    return arena_strndup(&u->arena, path, slash ? (size_t)(slash - path) : 0);
}

bool upper_mkdirs(Upper *u, const char *path, uint32_t mode, uint32_t uid, uint32_t gid, Err *e)
{
    char *clean = path_clean(&u->arena, arena_printf(&u->arena, "/%s", path));
    for (size_t i = 1, n = strlen(clean); n > 1 && i <= n; i++) {
        ViewNode node;
        if (clean[i] != '/' && clean[i] != 0)
            continue;
        const char *part = arena_strndup(&u->arena, clean, i);
        if (!view_lookup(&u->all.view, part, VIEW_FOLLOW, &node, e))
            return false;
        if (node.exists && !S_ISDIR(node.st.st_mode))
            return err_set(e, ERR_STEP, "'%s' is not a directory", part);
        if (node.exists)
            continue;
        /* A link may name a place whose parents are missing as well. */
        const char *parent = dir_of(u, node.path);
        if (!upper_mkdirs(u, parent, mode, uid, gid, e) || !upper_own_dir(u, parent, e) ||
            !make_dir(u, node.path, mode, uid, gid, e))
            return false;
    }
    return true;
}

static bool unchanged(int fd, const TreeEntry *t)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (uint64_t)st.st_size == t->size &&
           fs_same_time(st.st_mtim, t->mtime) && fs_same_time(st.st_ctim, t->ctime);
}

/* Whether a file has the bytes whose digest is in the key; of a racy one nothing but the bytes can
 * tell. */
static bool has_bytes(int fd, const TreeEntry *t, bool *ret, Err *e)
{
    Digest got;
    *ret = true;
    if (!t->racy)
        return true;
    if (lseek(fd, 0, SEEK_SET) < 0 || !digest_fd(fd, &got, NULL, e))
        return false;
    *ret = digest_eq(&got, &t->content);
    return true;
}

/* The file that an entry is of, and a new one. */
static bool open_both(const Upper *u, const View *src, const TreeEntry *t, const char *target,
                      int *ret_in, int *ret_out, Err *e)
{
    ViewNode node;
    if (!view_lookup(src, t->from, VIEW_NOFOLLOW, &node, e))
        return false;
    errno = ENOENT;
    scoped(fd) int in = node.exists ? view_open(src, &node) : -1;
    bool gone = in < 0 && errno == ENOENT;
    if (in < 0)
        return err_errno(e, ERR_STEP, "open '%s'", t->from) || (gone && err_moved(e, MOVED_GONE));
    int out = openat(u->dirfd, target, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return err_errno(e, ERR_STORE, "create '/%s'", target);
    *ret_in = fd_take(&in);
    *ret_out = out;
    return true;
}

static bool put_file(Upper *u, const View *src, const TreeEntry *t, const char *target, Err *e)
{
    int raw_in, raw_out;
    uint64_t size;
    if (!open_both(u, src, t, target, &raw_in, &raw_out, e))
        return false;
    scoped(fd) int in = raw_in, out = raw_out;
    bool before = unchanged(in, t), same;
    if (!fs_copy_data(in, out, &size, e) || !has_bytes(out, t, &same, e))
        return err_wrap(e, "copy '%s' into the store '%s'", t->from, store_path(u->store));
    if (before && unchanged(in, t) && size == t->size && same)
        return true;
    err_set(e, ERR_STEP, "'%s' changed while it was copied; build again when nobody writes to it",
            t->from);
    return err_moved(e, MOVED_CHANGED);
}

bool upper_still(int fd, const TreeEntry *t, Err *e)
{
    bool same = unchanged(fd, t);
    if (same && !has_bytes(fd, t, &same, e))
        return false;
    if (same)
        return true;
    err_set(e, ERR_STEP, "'%s' changed while it was read; build again when nobody writes to it",
            t->from);
    return err_moved(e, MOVED_CHANGED);
}

static bool put_new(Upper *u, const View *src, const TreeEntry *t, const char *target, Err *e)
{
    static const mode_t NODES[] = {
        [TREE_FIFO] = S_IFIFO, [TREE_CHAR] = S_IFCHR, [TREE_BLOCK] = S_IFBLK, [TREE_SOCKET] = 0};
    switch (t->type) {
    case TREE_FILE:
        return put_file(u, src, t, target, e);
    case TREE_SYMLINK:
        return symlinkat(t->link, u->dirfd, target) == 0 ||
               err_errno(e, ERR_STORE, "create link '/%s'", target);
    case TREE_DIR:
        return upper_new_dir(u, target, e);
    case TREE_FIFO:
    case TREE_CHAR:
    case TREE_BLOCK:
        return owner_mknod(u->dirfd, target, NODES[t->type] | 0600, makedev(t->major, t->minor)) ==
                   0 ||
               err_errno(e, ERR_STORE, "create device '/%s'", target);
    case TREE_SOCKET:
        return true;
    }
    return true;
}

/* ---- bytes that come later ---- */

/* An empty file that looks like it, and its bytes where they are now. */
static bool put_lent(Upper *u, const View *src, const TreeEntry *t, const char *target, Err *e)
{
    int raw_in, raw_out;
    if (!open_both(u, src, t, target, &raw_in, &raw_out, e))
        return false;
    scoped(fd) int in = raw_in, out = raw_out;
    if (ftruncate(out, (off_t)t->size) < 0)
        return err_errno(e, ERR_STORE, "create '/%s'", target);
    u->lent = (LayerLent){arena_strdup(&u->arena, target), fd_take(&in)};
    u->lent_entry = *t;
    return true;
}

bool snapshot_copy_file(Store *s, int in, const TreeEntry *t, const char *to, Err *e)
{
    uint64_t size;
    int store = store_dirfd(s);
    scoped(fd) int out = openat(store, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), to);
    if (!fs_copy_data(in, out, &size, e))
        return false;
    if (size != t->size)
        return err_set(e, ERR_STORE, "its size changed");
    return dress(store, to, t, e) && set_time(store, to, t, e);
}

bool upper_copy_lent(Upper *u, Err *e)
{
    char own[OWN_MAX];
    own_path(u, own);
    return snapshot_copy_file(u->store, u->lent.fd, &u->lent_entry, own, e) ||
           err_wrap(e, "copy '/%s'", u->lent.path);
}

bool upper_link_lent(Upper *u, SnapshotId from, bool *ret_done, Err *e)
{
    char own[OWN_MAX];
    own_path(u, own);
    return snapshot_twin_make(u->store, from, u->lent.fd, &u->lent_entry, own, ret_done, e);
}

bool upper_own_lent(Upper *u, Err *e)
{
    char own[OWN_MAX];
    struct stat st;
    int raw = -1;
    const char *path = u->lent.path, *dir = dir_of(u, path);
    own_path(u, own);
    forget_lent(u);
    if (!fs_open_dir(u->dirfd, *dir ? dir : ".", &raw, e))
        return false;
    scoped(fd) int fd = raw;
    if (fstat(fd, &st) < 0 || renameat(store_dirfd(u->store), own, fd, path_base(path)) < 0)
        return err_errno(e, ERR_STORE, "put a copy at '/%s'", path);
    struct timespec ts[2] = {st.st_atim, st.st_mtim};
    return futimens(fd, ts) == 0 || err_errno(e, ERR_STORE, "set time of '/%s'", dir);
}

static bool put_dir(Upper *u, const TreeEntry *t, const ViewNode *there, const char *target, Err *e)
{
    if (!there->exists && !upper_new_dir(u, target, e))
        return false;
    if (there->exists && !upper_own_dir(u, target, e))
        return false;
    if (there->exists && t->passage)
        return fchmodat(u->dirfd, target, t->mode, 0) == 0 ||
               err_errno(e, ERR_STORE, "change mode of '/%s'", target);
    upper_remember_time(u, target, t->mtime);
    return dress(u->dirfd, target, t, e);
}

bool upper_put(Upper *u, const View *src, const TreeEntry *t, const char *target, const char *twin,
               Err *e)
{
    ViewNode there;
    if (!view_lookup(&u->all.view, target, VIEW_NOFOLLOW, &there, e) ||
        !upper_own_dir(u, dir_of(u, target), e))
        return false;
    bool there_dir = there.exists && S_ISDIR(there.st.st_mode);
    if (t->type == TREE_DIR && there.exists && !there_dir)
        return err_set(e, ERR_STEP, "cannot copy to non-directory: '/%s'", target);
    if (t->type != TREE_DIR && there_dir)
        return err_set(e, ERR_STEP, "cannot replace to directory '/%s' with file", target);
    if (t->type == TREE_DIR)
        return put_dir(u, t, &there, target, e);
    if (t->type == TREE_CHAR && t->major == 0 && t->minor == 0)
        return err_set(e, ERR_STEP, "'%s' is a device 0:0, which overlayfs takes for a deletion",
                       t->from);
    if (unlinkat(u->dirfd, target, 0) < 0 &&
        errno != ENOENT) /* an earlier source wrote it in this same step */
        return err_errno(e, ERR_STORE, "replace '/%s'", target);
    if (twin)
        return linkat(u->dirfd, twin, u->dirfd, target, 0) == 0 ||
               err_errno(e, ERR_STORE, "hard link '/%s'", target);
    bool lend = u->lend && !u->lent.path && t->type == TREE_FILE;
    return (lend ? put_lent(u, src, t, target, e) : put_new(u, src, t, target, e)) &&
           dress(u->dirfd, target, t, e) && set_time(u->dirfd, target, t, e);
}

bool upper_copy_up(Upper *u, const ViewNode *node, Err *e)
{
    TreeEntry t;
    if (node->layer == 0)
        return true;
    return view_entry(&u->all.view, &u->arena, node, &t, e) &&
           upper_put(u, &u->all.view, &t, node->path, NULL, e);
}

bool upper_remove(Upper *u, const char *path, Err *e)
{
    ViewNode node;
    if (!view_lookup(&u->all.view, path, VIEW_NOFOLLOW, &node, e))
        return false;
    if (!node.exists)
        return true;
    if (!*node.path)
        return err_set(e, ERR_STEP, "the root directory cannot be removed");
    if (!upper_own_dir(u, dir_of(u, node.path), e) || !fs_remove_tree(u->dirfd, node.path, e))
        return false;
    u->parent[0] = 0;
    u->removed = true;
    if (!view_lookup(&u->all.view, path, VIEW_NOFOLLOW, &node, e))
        return false;
    if (node.exists && mknodat(u->dirfd, node.path, S_IFCHR, makedev(0, 0)) < 0)
        return err_errno(e, ERR_STORE, "create whiteout for '/%s'", path);
    return true;
}
