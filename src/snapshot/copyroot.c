/*
 * snapshot/copyroot.c - a stack as one directory, where overlayfs cannot be mounted; and the copies
 * that a build keeps.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/fs.h"
#include "snapshot/copyroot.h"

/* Each is as large as an image. */
enum { MAX_KEPT = 3 };

struct CopyRoots {
    pthread_mutex_t lock;
    CopyRoot *first; /* newest first */
};

CopyRoots *copyroots_new(void)
{
    CopyRoots *c = calloc(1, sizeof *c);
    if (!c)
        die_nomem();
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void copyroots_done(CopyRoots *c)
{
    if (!c)
        return;
    while (c->first) {
        CopyRoot *r = c->first;
        c->first = r->next;
        copyroot_drop(r);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void copyroot_drop(CopyRoot *r)
{
    Err ignored = ERR_INIT;
    if (!r)
        return;
    if (r->dirfd >= 0)
        close(r->dirfd);
    if (r->rootfd >= 0)
        close(r->rootfd);
    if (r->dir[0])
        fs_remove_tree(store_dirfd(r->store), r->dir, &ignored);
    map_done(&r->dirs);
    arena_done(&r->arena);
    free(r->ids);
    free(r);
}

static void remember_ids(CopyRoot *r, const Stack *st)
{
    free(r->ids);
    r->ids = calloc(st->n + 1, sizeof *r->ids);
    if (!r->ids)
        die_nomem();
    if (st->n)
        memcpy(r->ids, st->ids, st->n * sizeof *r->ids);
    r->n = st->n;
}

void copyroot_keep(CopyRoots *c, CopyRoot *r, const Stack *below, SnapshotId top)
{
    scoped(arena) Arena a = {0};
    Stack now = stack_push(&a, below, top);
    CopyRoot *old = NULL;
    if (!c) {
        copyroot_drop(r);
        return;
    }
    remember_ids(r, &now);
    pthread_mutex_lock(&c->lock);
    r->next = c->first;
    c->first = r;
    size_t n = 1;
    for (CopyRoot *k = r; k->next; k = k->next) {
        if (++n <= MAX_KEPT)
            continue;
        old = k->next;
        k->next = old->next;
        break;
    }
    pthread_mutex_unlock(&c->lock);
    copyroot_drop(old);
}

/* Whether the copy shows the lower part of the stack. */
static bool fits(const CopyRoot *r, const Stack *st)
{
    return r->n <= st->n && (!r->n || !memcmp(r->ids, st->ids, r->n * sizeof *r->ids));
}

/* The one that lacks least; NULL when none fits. */
static CopyRoot *find_kept(CopyRoots *c, const Stack *st)
{
    CopyRoot **best = NULL, *r = NULL;
    if (!c)
        return NULL;
    pthread_mutex_lock(&c->lock);
    for (CopyRoot **k = &c->first; *k; k = &(*k)->next)
        if (fits(*k, st) && (!best || (*k)->n > (*best)->n))
            best = k;
    if (best) {
        r = *best;
        *best = r->next;
        r->next = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

/* ---- making one ---- */

static bool open_new(Store *s, CopyRoot *r, Err *e)
{
    int dirfd = store_dirfd(s);
    if (!store_tmp(s, "root", r->dir, e))
        return false;
    if (snprintf(r->root, sizeof r->root, "%s/root", r->dir) >= (int)sizeof r->root)
        return err_set(e, ERR_STORE, "'%s': path is too long", r->dir);
    if (mkdirat(dirfd, r->dir, 0700) < 0 || mkdirat(dirfd, r->root, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), r->dir);
    return fs_open_dir(dirfd, r->dir, &r->dirfd, e) && fs_open_dir(dirfd, r->root, &r->rootfd, e);
}

/* Lay one directory of a stack over `dst`; the root takes its mode, owner and time as well. */
static bool lay(Store *s, const char *path, int dst, Err *e)
{
    struct stat st;
    scoped(copier) Copier c = {.src = -1, .dst = dst};
    scoped(fd) int src = openat(store_dirfd(s), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (src < 0 || fstat(src, &st) < 0)
        return err_errno(e, ERR_STORE, "open '%s/%s'", store_path(s), path);
    c.src = src;
    return copy_layer(&c, "", e) && copy_dress(&c, "", &st, e) && copy_time(&c, "", &st, e);
}

static bool lay_rest(CopyRoot *r, const Stack *st, Err *e)
{
    if (!st->n && fchmod(r->rootfd, 0755) < 0)
        return err_errno(e, ERR_STORE, "change mode of '%s'", r->root);
    for (size_t i = r->n; i < st->n; i++) {
        char path[STORE_TMP_MAX];
        store_snapshot_path(st->ids[i], path);
        if (!lay(r->store, path, r->rootfd, e))
            return err_wrap(e, "copy the step's root");
    }
    return true;
}

/* Every directory's inode: one that is elsewhere after the command was moved there. */
static bool list_dirs(CopyRoot *r, const char *dir, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names = {0};
    scoped(fd) int fd =
        openat(r->rootfd, *dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open directory '/%s'", dir);
    if (!fs_list(&a, fd, &names, e))
        return err_wrap(e, "'/%s'", dir);
    for (size_t i = 0; i < names.n; i++) {
        struct stat st;
        if (fstatat(fd, names.v[i], &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
            continue;
        const char *path = arena_printf(&r->arena, "%s%s%s", dir, *dir ? "/" : "", names.v[i]);
        map_put(&r->dirs, path, st.st_ino);
        if (!list_dirs(r, path, e))
            return false;
    }
    return true;
}

int64_t copyroot_clock(void)
{
    struct timespec real, boot;
    clock_gettime(CLOCK_REALTIME, &real);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return (real.tv_sec - boot.tv_sec) * 1000000000LL + real.tv_nsec - boot.tv_nsec;
}

/*
 * Wait until the file system's clock has gone on (4 ms on most kernels), so that whatever the
 * command touches gets a later change time than all that is there.
 */
bool copyroot_mark(CopyRoot *r, Err *e)
{
    struct stat st;
    scoped(fd) int fd = openat(r->dirfd, "clock", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, 0600) < 0 || fstat(fd, &st) < 0)
        return err_errno(e, ERR_STORE, "create '%s/clock'", r->dir);
    r->mark = st.st_ctim;
    r->clock = copyroot_clock();
    while (!time_after(&st.st_ctim, &r->mark)) {
        if (copyroot_clock() < r->clock - CLOCK_SLACK)
            return err_set(e, ERR_ENV, "the clock was set back: build again");
        usleep(500);
        if (fchmod(fd, 0600) < 0 || fstat(fd, &st) < 0)
            return err_errno(e, ERR_STORE, "stat '%s/clock'", r->dir);
    }
    return true;
}

bool copyroot_take(CopyRoots *c, Store *s, const Stack *stack, CopyRoot **ret, Err *e)
{
    scoped(copyroot) CopyRoot *r = find_kept(c, stack);
    bool same = r && r->n == stack->n;
    if (!r) {
        r = calloc(1, sizeof *r);
        if (!r)
            die_nomem();
        *r = (CopyRoot){.store = s, .dirfd = -1, .rootfd = -1};
        if (!open_new(s, r, e))
            return false;
    }
    if (!same) {
        if (!lay_rest(r, stack, e))
            return false;
        map_done(&r->dirs);
        arena_done(&r->arena);
        r->dirs = (Map){0};
        r->arena = (Arena){0};
        if (!list_dirs(r, "", e))
            return false;
        remember_ids(r, stack);
    }
    if (!copyroot_mark(r, e))
        return false;
    *ret = r;
    r = NULL;
    return true;
}

/* ---- parts of a stack ---- */

/*
 * Whether a snapshot says something about `path`; what lies below is hidden if it says so on the
 * way.
 */
static bool look_at(int src, const char *path, bool *ret_has, bool *ret_hides, Err *e)
{
    char part[TREE_PATH_MAX];
    *ret_has = *ret_hides = false;
    for (size_t i = 1; i <= strlen(path); i++) {
        struct stat st;
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (fstatat(src, part, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return errno == ENOENT || err_errno(e, ERR_STORE, "stat '/%s'", part);
        bool dir = S_ISDIR(st.st_mode);
        *ret_hides = *ret_hides || !dir || overlay_opaque(src, part);
        if (!dir && (path[i] || overlay_whiteout(&st)))
            return true;
    }
    *ret_has = true;
    return true;
}

static bool lay_part(Store *s, const char *layer, const char *path, int dst, Err *e)
{
    char up[TREE_PATH_MAX];
    const char *base = path_base(path);
    bool has = false, hides = false;
    scoped(fd) int src = openat(store_dirfd(s), layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (src < 0)
        return err_errno(e, ERR_STORE, "open '%s/%s'", store_path(s), layer);
    if (!look_at(src, path, &has, &hides, e) || (hides && !fs_remove_tree(dst, base, e)))
        return false;
    if (!has)
        return true;
    (void)snprintf(up, sizeof up, "%.*s", (int)(base - path), path);
    scoped(fd) int dir =
        openat(src, *up ? up : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return err_errno(e, ERR_STORE, "open '/%s'", up);
    scoped(copier) Copier c = {.src = dir, .dst = dst};
    return copy_one(&c, base, e);
}

/* Where `sub` is in the merged view. */
static bool find_sub(Store *s, const StrList *lowers, const char *sub, ViewNode *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    View v = {.n = lowers->n, .overlay = true};
    int *fds = NEW_N(&a, int, lowers->n + 1);
    bool ok = true;
    size_t n = 0;
    for (; ok && n < lowers->n; n++) {
        fds[n] = openat(store_dirfd(s), lowers->v[n], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ok = fds[n] >= 0 || err_errno(e, ERR_STORE, "open '%s/%s'", store_path(s), lowers->v[n]);
    }
    v.dirfds = fds;
    ok = ok && view_lookup(&v, sub, VIEW_FOLLOW, ret, e);
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return ok;
}

bool snapshot_copy(Store *s, Arena *a, const StrList *lowers, const char *sub, const char *dest,
                   const char **ret_path, Err *e)
{
    ViewNode *node = NEW(a, ViewNode);
    if (sub && lowers->n && !find_sub(s, lowers, sub, node, e))
        return false;
    bool whole = !sub || (node->exists && !*node->path);
    if (!whole && !node->exists)
        return err_set(e, ERR_STEP, "source '%s' does not exist", sub);
    if (mkdirat(store_dirfd(s), dest, 0755) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), dest);
    scoped(fd) int dst = openat(store_dirfd(s), dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dst < 0)
        return err_errno(e, ERR_STORE, "open '%s/%s'", store_path(s), dest);
    for (size_t i = lowers->n; i-- > 0;)
        if (whole ? !lay(s, lowers->v[i], dst, e) : !lay_part(s, lowers->v[i], node->path, dst, e))
            return false;
    *ret_path = whole ? dest : arena_printf(a, "%s/%s", dest, path_base(node->path));
    return true;
}
