/*
 * sandbox/extra.c - what a step has mounted besides its root: `RUN --mount`, `lighter run -v`.
 *
 * Each mount is first a detached copy of its source, which gets its flags there, and is then moved
 * onto its mount point. Sources that need a place of their own (overlays, files in memory) have it
 * in the scratch directory, outside the new root: once that root is "/", no name leads to them.
 */
#include <errno.h>

#include "base/owner.h"
#include "sandbox/mount.h"
#include "sandbox/relay.h"
#include "sandbox/single.h"

typedef struct Extra {
    Arena *a;
    const SandboxSpec *spec;
    const Root *root;
    const SandboxMount *m;
    const char *target; /* clean */
    size_t number;      /* names its files in the scratch directory */
    int files;          /* directory in memory, -1 when no mount needs it */
} Extra;

/* ---- mount points ---- */

/*
 * Open the mount point. What hides /proc is refused as runc does, and what replaces the root would
 * not be the step's result any more; both also where a link of the image leads there.
 */
static bool open_target(const Extra *x, bool dir, bool *ret_made, int *ret_fd, Err *e)
{
    char name[4096];
    scoped(fd) int at = point_open(x->root, x->target, dir, ret_made);
    if (at < 0)
        return err_errno(e, ERR_STEP, "make the mount point '%s'", x->target);
    if (!point_name(x->root, at, name, sizeof name))
        return err_set(e, ERR_STEP, "'%s' is the root directory and cannot be mounted on",
                       x->target);
    if (!strncmp(name, "proc", 4) && (!name[4] || name[4] == '/'))
        return err_set(e, ERR_STEP, "'%s' is in /proc and cannot be mounted on", x->target);
    *ret_fd = fd_take(&at);
    return true;
}

/* Give a detached mount its flags and its place. Devices are for /dev: see mount.c. */
static bool attach(const Extra *x, int tree, uint64_t attrs, Err *e)
{
    struct mount_attr attr = {.attr_set = attrs | (x->spec->insecure ? 0 : MOUNT_ATTR_NODEV)};
    struct stat st;
    int raw = -1;
    if (fstat(tree, &st) < 0 || (attr.attr_set && sys_mount_setattr(tree, AT_RECURSIVE, &attr) < 0))
        return err_errno(e, ERR_ENV, "set mount flags for '%s'", x->target);
    if (!open_target(x, S_ISDIR(st.st_mode), NULL, &raw, e))
        return false;
    scoped(fd) int at = raw;
    if (sys_move_mount(tree, at) < 0)
        return errno == ENOTDIR || errno == EINVAL
                   ? err_set(e, ERR_STEP, "a %s cannot be mounted on '%s', which is none",
                             S_ISDIR(st.st_mode) ? "directory" : "file", x->target)
                   : err_errno(e, ERR_ENV, "mount on '%s'", x->target);
    return true;
}

/* A detached copy of `source`, or of what `sub` names inside it. */
static bool clone_tree(const Extra *x, const char *source, const char *sub, int *ret_fd, Err *e)
{
    unsigned flags = OPEN_TREE_CLONE | AT_RECURSIVE;
    bool whole = !sub || !sub[strspn(sub, "/")];
    scoped(fd) int at = -1;
    if (!whole) {
        scoped(fd) int dir = open(source, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            return err_errno(e, ERR_STEP, "mount '%s' on '%s'", source, x->target);
        at = fs_open_in_root(dir, sub, O_PATH, 0);
        if (at < 0)
            return err_errno(e, ERR_STEP, "mount on '%s': source '%s'", x->target, sub);
    }
    int tree = whole ? sys_open_tree(AT_FDCWD, source, flags)
                     : sys_open_tree(at, "", flags | AT_EMPTY_PATH);
    if (tree < 0)
        return err_errno(e, errno == ENOENT ? ERR_STEP : ERR_ENV, "mount '%s' on '%s'", source,
                         x->target);
    *ret_fd = tree;
    return true;
}

static bool mount_from(const Extra *x, const char *source, Err *e)
{
    int raw = -1;
    if (!clone_tree(x, source, x->m->sub, &raw, e))
        return false;
    scoped(fd) int tree = raw;
    return attach(x, tree, x->m->readonly ? MOUNT_ATTR_RDONLY : 0, e);
}

/* ---- kinds ---- */

/* A directory for writes, which is what the top of the stack is: an overlay shows its upper's. */
static bool make_upper(const char *path, const StrList *lowers, Err *e)
{
    struct stat st;
    if (mkdir(path, 0755) < 0)
        return err_errno(e, ERR_STORE, "create '%s'", path);
    if (!lowers->n)
        return true;
    if (stat(lowers->v[0], &st) < 0)
        return err_errno(e, ERR_STORE, "stat '%s'", lowers->v[0]);
    owner_read(AT_FDCWD, lowers->v[0], &st);
    if (owner_chown(AT_FDCWD, AT_FDCWD, path, st.st_uid, st.st_gid) < 0 ||
        chmod(path, st.st_mode & 07777) < 0 ||
        utimensat(AT_FDCWD, path, (struct timespec[2]){st.st_atim, st.st_mtim}, 0) < 0)
        return err_errno(e, ERR_STORE, "make '%s' like '%s'", path, lowers->v[0]);
    return true;
}

/* Tables of links are not for the step to see. */
static bool hide_links(const Extra *x, const char *dir, StrList *lowers, Err *e)
{
    const char *top = arena_printf(x->a, "%s/hide", dir);
    StrList all = {0};
    if (!links_any(AT_FDCWD, lowers))
        return true;
    if (!make_upper(top, lowers, e) || !links_hide(AT_FDCWD, top, e))
        return false;
    strlist_add(x->a, &all, top);
    for (size_t i = 0; i < lowers->n; i++)
        strlist_add(x->a, &all, lowers->v[i]);
    *lowers = all;
    return true;
}

static bool mount_overlay(const Extra *x, Err *e)
{
    const char *dir = arena_printf(x->a, "%s/m%zu", x->spec->scratch, x->number),
               *root = arena_printf(x->a, "%s/root", dir),
               *work = arena_printf(x->a, "%s/work", dir);
    StrList lowers = strlist_copy(x->a, &x->m->lowers);
    Overlay o = {.lowers = &lowers, .userxattr = x->spec->in_userns};
    if (mkdir(dir, 0700) < 0 || mkdir(root, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s'", root);
    if (!hide_links(x, dir, &lowers, e))
        return false;
    if (!x->m->readonly) {
        o.upper = arena_printf(x->a, "%s/upper", dir);
        o.work = work;
        if (mkdir(work, 0700) < 0)
            return err_errno(e, ERR_STORE, "create '%s'", work);
        if (!make_upper(o.upper, &lowers, e))
            return false;
    }
    while (lowers.n < (o.upper ? 1 : 2)) { /* what overlayfs wants at least */
        const char *empty = arena_printf(x->a, "%s/empty%zu", dir, lowers.n);
        if (mkdir(empty, 0755) < 0)
            return err_errno(e, ERR_STORE, "create '%s'", empty);
        strlist_add(x->a, &lowers, empty);
    }
    return overlay_mount(&o, root, e) && mount_from(x, root, e);
}

/* As runc does: with the mode of the directory that is mounted over, else that of /tmp. */
static bool mount_tmpfs(const Extra *x, Err *e)
{
    char proc[40], opts[64];
    struct stat st;
    bool made = false;
    int raw = -1;
    if (!open_target(x, true, &made, &raw, e))
        return false;
    scoped(fd) int at = raw;
    if (fstat(at, &st) < 0)
        return err_errno(e, ERR_ENV, "stat '%s'", x->target);
    int n = snprintf(opts, sizeof opts, "mode=%04o", made ? 01777u : st.st_mode & 07777u);
    if (x->m->size)
        (void)snprintf(opts + n, sizeof opts - (size_t)n, ",size=%llu",
                       (unsigned long long)x->m->size);
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", at);
    if (mount("tmpfs", proc, "tmpfs",
              MS_NOSUID | (x->spec->insecure ? 0u : MS_NODEV) | (x->m->readonly ? MS_RDONLY : 0u),
              opts) < 0)
        return err_errno(e, ERR_ENV, "mount tmpfs on '%s'", x->target);
    return true;
}

static bool write_memory(int fd, const SandboxMount *m, Err *e)
{
    if (!fs_write_all(fd, m->bytes, m->size, e))
        return err_wrap(e, "mount '%s'", m->target);
    if (owner_fchown(fd, m->uid, m->gid) < 0)
        return errno == EINVAL ? err_set(e, ERR_ENV,
                                         "owner %u:%u is outside the ids this user may use: give "
                                         "the user more in /etc/subuid and /etc/subgid",
                                         m->uid, m->gid)
                               : err_errno(e, ERR_ENV, "chown to %u:%u", m->uid, m->gid);
    if (fchmod(fd, m->mode & 0777) < 0)
        return err_errno(e, ERR_ENV, "chmod to %o", m->mode);
    return true;
}

/* Flags as BuildKit sets them for a secret: not executable unless its mode says so. */
static bool mount_file(const Extra *x, Err *e)
{
    char name[24];
    uint64_t attrs = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    (void)snprintf(name, sizeof name, "%zu", x->number);
    scoped(fd) int fd = openat(x->files, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_ENV, "create a file in memory for '%s'", x->target);
    if (!write_memory(fd, x->m, e))
        return err_wrap(e, "mount a file on '%s'", x->target);
    scoped(fd) int tree = sys_open_tree(x->files, name, OPEN_TREE_CLONE);
    if (tree < 0)
        return err_errno(e, ERR_ENV, "bind a file in memory for '%s'", x->target);
    return attach(x, tree, attrs | (x->m->mode & 0111 ? 0 : MOUNT_ATTR_NOEXEC), e);
}

static bool mount_one(const Extra *x, Err *e)
{
    switch (x->m->kind) {
    case SANDBOX_BIND:
        return mount_from(x, x->m->source, e);
    case SANDBOX_OVERLAY:
        return mount_overlay(x, e);
    case SANDBOX_TMPFS:
        return mount_tmpfs(x, e);
    case SANDBOX_FILE:
        return mount_file(x, e);
    case SANDBOX_SOCKET:
        return mount_from(x, relay_socket(x->a, x->spec, x->number), e);
    }
    return err_set(e, ERR_ENV, "the step's description is damaged");
}

/* ---- all of them ---- */

/*
 * A file system in memory that holds all SANDBOX_FILEs and no more; kept from swap where the kernel
 * can do that (6.4) and lets us, which it does not in a user namespace.
 */
static bool files_open(Arena *a, const SandboxSpec *spec, int *ret_fd, Err *e)
{
    const char *dir = arena_printf(a, "%s/files", spec->scratch);
    const unsigned long flags = MS_NOSUID | MS_NODEV;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size = page;
    for (size_t i = 0; i < spec->nmount; i++)
        if (spec->mounts[i].kind == SANDBOX_FILE)
            size += (spec->mounts[i].size + page - 1) / page * page;
    const char *opts = arena_printf(a, "mode=0700,size=%llu,nr_inodes=%zu",
                                    (unsigned long long)size, spec->nmount + 8);
    if (mkdir(dir, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s'", dir);
    if (mount("tmpfs", dir, "tmpfs", flags, arena_printf(a, "%s,noswap", opts)) < 0 &&
        mount("tmpfs", dir, "tmpfs", flags, opts) < 0)
        return err_errno(e, ERR_ENV, "mount a tmpfs for files in memory");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_ENV, "open '%s'", dir);
    *ret_fd = fd;
    return true;
}

/* Bytewise by target, which puts every directory before what is in it; equals stay in order. */
static void sort_by_target(Extra *x, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && strcmp(x[k - 1].target, x[k].target) > 0; k--) {
            Extra swap = x[k];
            x[k] = x[k - 1];
            x[k - 1] = swap;
        }
}

bool mount_extras(Arena *a, const SandboxSpec *spec, const Root *r, Err *e)
{
    scoped(fd) int files = -1;
    bool any_file = false;
    Extra *all = NEW_N(a, Extra, spec->nmount + 1);
    for (size_t i = 0; i < spec->nmount; i++) {
        const SandboxMount *m = &spec->mounts[i];
        if (m->target[0] != '/')
            return err_set(e, ERR_STEP, "mount target '%s' is not absolute", m->target);
        all[i] = (Extra){.a = a,
                         .spec = spec,
                         .root = r,
                         .m = m,
                         .target = path_clean(a, m->target),
                         .number = i};
        any_file = any_file || m->kind == SANDBOX_FILE;
    }
    sort_by_target(all, spec->nmount);
    if (any_file && !files_open(a, spec, &files, e))
        return false;
    for (size_t i = 0; i < spec->nmount; i++) {
        all[i].files = files;
        if (!mount_one(&all[i], e))
            return false;
    }
    return true;
}
