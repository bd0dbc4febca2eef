/*
 * sandbox/chroot_place.c - what other modes mount, put into a copied root: moved there before the
 * command starts, and away when its last process is gone.
 *
 * What the image has at a place waits in the scratch directory. Directories keep their times, and
 * those that the command did not touch are reported, so that none of this reaches a layer.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/sysmacros.h>

#include "sandbox/chroot.h"
#include "sandbox/relay.h"

/* ---- watched directories ---- */

static const char *at(const char *path)
{
    return *path ? path : ".";
}

/* A place changes all directories on the way to it, if only by a mount point made in one. */
static void watch(Places *p, const char *path, bool stub)
{
    size_t i = 0;
    while (i < p->nwatched && strcmp(p->watched[i].path, path) != 0)
        i++;
    if (i == p->nwatched)
        ARENA_PUSH(p->a, p->watched, p->nwatched, p->watched_cap)->path = arena_strdup(p->a, path);
    p->watched[i].stub = p->watched[i].stub || stub;
}

static void watch_parents(Places *p, const char *name, bool stub)
{
    watch(p, "", false);
    for (size_t i = 1; name[i]; i++)
        if (name[i] == '/')
            watch(p, arena_strndup(p->a, name, i), stub);
}

/*
 * Where a mount point was made, mode root removes a directory from the layer that is there for its
 * sake; whether a command made and removed something in it cannot be told there.
 */
static bool same_state(const struct Watched *w, const struct stat *b)
{
    const struct stat *a = &w->st;
    if (a->st_ino != b->st_ino || a->st_mode != b->st_mode || a->st_uid != b->st_uid ||
        a->st_gid != b->st_gid)
        return false;
    return w->stub ||
           (fs_same_time(a->st_mtim, b->st_mtim) && fs_same_time(a->st_ctim, b->st_ctim));
}

static void look_at_watched(Places *p)
{
    for (size_t i = 0; i < p->nwatched; i++)
        if (fstatat(p->root.fd, at(p->watched[i].path), &p->watched[i].st, AT_SYMLINK_NOFOLLOW) < 0)
            p->watched[i].st = (struct stat){0};
}

static void report_untouched(const Places *p)
{
    for (size_t i = 0; i < p->nwatched; i++) {
        struct stat st;
        const struct Watched *w = &p->watched[i];
        if (fstatat(p->root.fd, at(w->path), &st, AT_SYMLINK_NOFOLLOW) == 0 && same_state(w, &st) &&
            strlen(w->path) < REPORT_TEXT_SIZE)
            report(REPORT_OWN, 0, w->path);
    }
}

static void keep_times(int dir, const struct stat *st)
{
    (void)futimens(dir, (struct timespec[2]){st->st_atim, st->st_mtim});
}

/* ---- one place ---- */

static bool open_parent(const Places *p, Place *x, Err *e)
{
    const char *base = path_base(x->name);
    const char *dir =
        base == x->name ? "." : arena_strndup(p->a, x->name, (size_t)(base - x->name - 1));
    x->parent = fs_open_beneath(p->root.fd, dir, O_RDONLY | O_DIRECTORY, 0);
    return x->parent >= 0 || err_errno(e, ERR_ENV, "open the directory of '/%s'", x->name);
}

/* Exchange what is at the place for the source. */
static bool swap_in(Places *p, Place *x, bool made, Err *e)
{
    struct stat up;
    const char *base = path_base(x->name);
    x->aside = arena_printf(p->a, "%s/aside%zu", p->spec->scratch, p->n);
    if (!open_parent(p, x, e))
        return false;
    if (fstat(x->parent, &up) < 0 || fstatat(AT_FDCWD, x->source, &x->was, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, ERR_STORE, "stat '%s'", x->source);
    watch_parents(p, x->name, made);
    if (renameat(x->parent, base, AT_FDCWD, x->aside) < 0)
        return err_errno(e, ERR_STORE, "move '/%s' aside", x->name);
    if (renameat(AT_FDCWD, x->source, x->parent, base) < 0) {
        int saved = errno;
        (void)renameat(AT_FDCWD, x->aside, x->parent, base);
        errno = saved;
        return err_errno(e, ERR_STORE, "move '%s' to '/%s'", x->source, x->name);
    }
    keep_times(x->parent, &up);
    *ARENA_PUSH(p->a, p->v, p->n, p->cap) = *x;
    return true;
}

/* Put `x->source` at `target`, a path of the image whose links stay inside. */
static bool put(Places *p, Place x, const char *target, bool system, Err *e)
{
    char name[4096];
    struct stat st;
    bool made = false;
    scoped(fd) int point = point_open(&p->root, target, x.is_dir, &made);
    if (point < 0)
        return err_errno(e, ERR_STEP, "make the mount point '%s'", target);
    if (!point_name(&p->root, point, name, sizeof name))
        return err_set(e, ERR_STEP, "'%s' is the root directory and cannot be mounted on", target);
    if (!system && !strncmp(name, "proc", 4) && (!name[4] || name[4] == '/'))
        return err_set(e, ERR_STEP, "'%s' is in /proc and cannot be mounted on", target);
    if (fstat(point, &st) < 0 || S_ISDIR(st.st_mode) != x.is_dir)
        return err_set(e, ERR_STEP, "a %s cannot be mounted on '%s', which is none",
                       x.is_dir ? "directory" : "file", target);
    x.name = arena_strdup(p->a, name);
    x.parent = -1;
    /* What every step has is below the image in other modes, so no step leaves a trace of it. */
    if (swap_in(p, &x, made && !system, e))
        return true;
    if (x.parent >= 0)
        close(x.parent);
    return false;
}

/* A secret must not be found on the disk afterwards, as far as a file system lets one see to it. */
static void shred(int dir, const char *name)
{
    static const char ZERO[4096];
    struct stat st;
    scoped(fd) int fd = openat(dir, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    for (off_t i = 0; i < st.st_size; i += (off_t)sizeof ZERO) {
        off_t left = st.st_size - i;
        (void)!pwrite(fd, ZERO, left < (off_t)sizeof ZERO ? (size_t)left : sizeof ZERO, i);
    }
    (void)fdatasync(fd);
}

static void take_away(const Place *x)
{
    struct stat up, st;
    Err ignored = ERR_INIT;
    const char *base = path_base(x->name);
    bool known = fstat(x->parent, &up) == 0;
    bool same = fstatat(x->parent, base, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                st.st_ino == x->was.st_ino && st.st_dev == x->was.st_dev;
    if (same && x->shred)
        shred(x->parent, base);
    if (!(same && x->keep && renameat(x->parent, base, AT_FDCWD, x->source) == 0))
        fs_remove_tree(x->parent, base, &ignored);
    (void)renameat(AT_FDCWD, x->aside, x->parent, base);
    if (known)
        keep_times(x->parent, &up);
    if (strlen(x->name) < REPORT_TEXT_SIZE)
        report(REPORT_OWN, 0, x->name);
    close(x->parent);
    if (x->lock >= 0)
        close(x->lock);
}

void places_take_away(Places *p)
{
    report_untouched(p);
    while (p->n)
        take_away(&p->v[--p->n]);
    scoped_root_done(&p->root);
}

/* ---- what every step has ---- */

static bool make_nodes(const char *dir, Err *e)
{
    static const struct {
        const char *name;
        unsigned major, minor;
    } NODES[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                 {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
    scoped(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; fd >= 0 && i < NELEM(NODES); i++) {
        dev_t dev = makedev(NODES[i].major, NODES[i].minor);
        if (mknodat(fd, NODES[i].name, S_IFCHR | 0666, dev) == 0 &&
            fchmodat(fd, NODES[i].name, 0666, 0) == 0) {
            scoped(fd) int works = openat(fd, NODES[i].name, O_RDWR | O_NOCTTY | O_CLOEXEC);
            if (works >= 0 || (errno != EACCES && errno != EPERM))
                continue;
            (void)unlinkat(fd, NODES[i].name, 0);
        }
        /* No device can be had: what is thrown away into null goes into a file, others are absent
         */
        scoped(fd) int file = i ? -1 : openat(fd, "null", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (!i && (file < 0 || fchmod(file, 0666) < 0))
            return err_errno(e, ERR_STORE, "create '%s/null'", dir);
    }
    return fd >= 0 || err_errno(e, ERR_STORE, "open '%s'", dir);
}

/*
 * Without /proc there is no /proc/self/fd/1. All that the command prints goes through one pipe with
 * a name, so its order is kept.
 */
static bool make_fifo(Places *p, const char *dir, Err *e)
{
    const char *path = arena_printf(p->a, "%s/stdout", dir);
    if (mkfifo(path, 0666) < 0 || chmod(path, 0666) < 0 ||
        symlink("stdout", arena_printf(p->a, "%s/stderr", dir)) < 0 ||
        symlink("null", arena_printf(p->a, "%s/stdin", dir)) < 0)
        return err_errno(e, ERR_STORE, "create '%s'", path);
    p->fifo = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    return p->fifo >= 0 || err_errno(e, ERR_STORE, "open '%s'", path);
}

/*
 * Some files of the container's /proc as they are now; what tells about a process would be wrong
 * for all but one.
 */
static bool copy_proc(Places *p, const char *dir, Err *e)
{
    static const char *const FILES[] = {"cpuinfo", "filesystems", "loadavg", "meminfo",
                                        "stat",    "uptime",      "version"};
    for (size_t i = 0; i < NELEM(FILES); i++) {
        scoped(buf) Buf text = BUF_INIT;
        Err ignored = ERR_INIT;
        if (fs_read_file(AT_FDCWD, arena_printf(p->a, "/proc/%s", FILES[i]), 4 << 20, &text,
                         &ignored) &&
            !fs_write_file(AT_FDCWD, arena_printf(p->a, "%s/%s", dir, FILES[i]), buf_str(&text),
                           text.len, e))
            return false;
    }
    static const char MOUNTS[] = "overlay / overlay rw,relatime 0 0\n";
    return fs_write_file(AT_FDCWD, arena_printf(p->a, "%s/mounts", dir), MOUNTS, sizeof MOUNTS - 1,
                         e);
}

static bool put_system(Places *p, Err *e)
{
    static const char *const EMPTY[] = {"proc", "sys", "dev"};
    static const struct {
        const char *name;
        mode_t mode;
    } DIRS[] = {{"pts", 0755}, {"shm", 01777}, {"mqueue", 01777}};
    const char *scratch = p->spec->scratch, *dev = arena_printf(p->a, "%s/dev", scratch);
    for (size_t i = 0; i < NELEM(EMPTY); i++) {
        const char *dir = arena_printf(p->a, "%s/%s", scratch, EMPTY[i]);
        if (mkdir(dir, 0755) < 0)
            return err_errno(e, ERR_STORE, "create '%s'", dir);
        if (strcmp(dir, dev) != 0 && chmod(dir, 0555) < 0)
            return err_errno(e, ERR_STORE, "change mode of '%s'", dir);
    }
    for (size_t i = 0; i < NELEM(DIRS); i++) {
        const char *dir = arena_printf(p->a, "%s/%s", dev, DIRS[i].name);
        if (mkdir(dir, 0755) < 0 || chmod(dir, DIRS[i].mode) < 0)
            return err_errno(e, ERR_STORE, "create '%s'", dir);
    }
    if (!copy_proc(p, arena_printf(p->a, "%s/proc", scratch), e) || !make_nodes(dev, e) ||
        (!p->spec->interactive && !make_fifo(p, dev, e)))
        return false;
    for (size_t i = 0; i < NELEM(EMPTY); i++) {
        Place x = {
            .source = arena_printf(p->a, "%s/%s", scratch, EMPTY[i]), .is_dir = true, .lock = -1};
        if (!put(p, x, arena_printf(p->a, "/%s", EMPTY[i]), true, e))
            return false;
    }
    return true;
}

static bool put_files(Places *p, Err *e)
{
    scoped(buf) Buf resolv = BUF_INIT, text = BUF_INIT;
    Err ignored = ERR_INIT;
    const char *hosts = arena_printf(p->a, "%s/hosts", p->spec->scratch),
               *names = arena_printf(p->a, "%s/resolv.conf", p->spec->scratch);
    spec_hosts(p->spec->hostname, &p->spec->shape, &text);
    if (!fs_read_file(AT_FDCWD, "/etc/resolv.conf", 1 << 20, &resolv, &ignored))
        buf_done(&resolv); /* a host without name service: the step gets an empty file */
    return fs_write_file(AT_FDCWD, hosts, text.ptr, text.len, e) &&
           fs_write_file(AT_FDCWD, names, buf_str(&resolv), resolv.len, e) &&
           put(p, (Place){.source = hosts, .lock = -1}, "/etc/hosts", true, e) &&
           put(p, (Place){.source = names, .lock = -1}, "/etc/resolv.conf", true, e);
}

/* ---- mounts of the step ---- */

/* Signals are blocked here, so the one that ends the step is looked for. */
static bool wait_lock(const Place *x, Err *e)
{
    bool told = false;
    while (flock(x->lock, LOCK_EX | LOCK_NB) < 0) {
        sigset_t pending;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_errno(e, ERR_STORE, "flock");
        if (sigpending(&pending) == 0 && sigismember(&pending, CHROOT_END))
            return err_set(e, ERR_STEP, "cancelled");
        if (!told)
            (void)dprintf(1, "waiting for a cache that another step has\n");
        told = true;
        usleep(20000);
    }
    return true;
}

/*
 * A cache can be in one root at a time. The lock is a file beside it, which also remembers mode and
 * owner for the case that a killed build took the cache away with it.
 */
static bool lock_cache(const Places *p, Place *x, Err *e)
{
    const char *name = arena_printf(p->a, "%s.lock", x->source);
    struct stat st;
    x->lock = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (x->lock < 0)
        return err_errno(e, ERR_STORE, "create '%s'", name);
    if (!wait_lock(x, e))
        return err_wrap(e, "lock '%s'", name);
    if (stat(x->source, &st) == 0)
        return (fchown(x->lock, st.st_uid, st.st_gid) == 0 &&
                fchmod(x->lock, st.st_mode & 07777) == 0) ||
               err_errno(e, ERR_STORE, "change owner of '%s'", name);
    if (errno != ENOENT || fstat(x->lock, &st) < 0 || mkdir(x->source, 0700) < 0 ||
        chown(x->source, st.st_uid, st.st_gid) < 0 || chmod(x->source, st.st_mode & 07777) < 0)
        return err_errno(e, ERR_STORE, "make '%s'", x->source);
    return true;
}

static bool put_bind(Places *p, const SandboxMount *m, const char *target, Err *e)
{
    struct stat st;
    Place x = {.source = m->source, .lock = -1};
    if (m->source[0] == '/' || *m->sub)
        return err_set(e, ERR_ENV,
                       "mode chroot cannot mount '%s' on '%s' for writing, only a copy of it: say "
                       "':ro', or use another mode",
                       m->source, target);
    x.keep = !str_starts(m->source, p->spec->scratch);
    if (x.keep && !lock_cache(p, &x, e))
        return false;
    if (stat(m->source, &st) < 0)
        return err_errno(e, ERR_STEP, "mount '%s' on '%s'", m->source, target);
    x.is_dir = S_ISDIR(st.st_mode);
    return put(p, x, target, false, e);
}

static bool put_tmpfs(Places *p, const char *target, size_t i, Err *e)
{
    struct stat st;
    const char *dir = arena_printf(p->a, "%s/tmp%zu", p->spec->scratch, i);
    scoped(fd) int there = fs_open_in_root(p->root.fd, target, O_PATH | O_DIRECTORY, 0);
    mode_t mode = there >= 0 && fstat(there, &st) == 0 ? st.st_mode & 07777 : 01777;
    if (mkdir(dir, 0700) < 0 || chmod(dir, mode) < 0)
        return err_errno(e, ERR_STORE, "create '%s'", dir);
    return put(p, (Place){.source = dir, .is_dir = true, .lock = -1}, target, false, e);
}

static bool put_file(Places *p, const SandboxMount *m, const char *target, size_t i, Err *e)
{
    const char *name = arena_printf(p->a, "%s/file%zu", p->spec->scratch, i);
    scoped(fd) int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "create '%s'", name);
    if (!fs_write_all(fd, m->bytes, m->size, e))
        return false;
    if (fchown(fd, m->uid, m->gid) < 0 || fchmod(fd, m->mode & 0777) < 0)
        return err_errno(e, ERR_ENV, "give '%s' to %u:%u", target, m->uid, m->gid);
    Place x = {.source = name, .shred = true, .lock = -1};
    if (put(p, x, target, false, e))
        return true;
    shred(AT_FDCWD, name);
    return false;
}

static bool put_mount(Places *p, const SandboxMount *m, size_t i, Err *e)
{
    const char *target = path_clean(p->a, m->target);
    if (target[0] != '/')
        return err_set(e, ERR_STEP, "mount target '%s' is not absolute", target);
    switch (m->kind) {
    case SANDBOX_BIND:
        return put_bind(p, m, target, e);
    case SANDBOX_TMPFS:
        if (m->size)
            return err_set(e, ERR_ENV,
                           "tmpfs '%s': a size cannot be held in mode chroot, which has no mounts: "
                           "leave it out, or see 'lighter doctor' for a better mode",
                           m->target);
        return put_tmpfs(p, target, i, e);
    case SANDBOX_FILE:
        return put_file(p, m, target, i, e);
    case SANDBOX_SOCKET:
        return put(p, (Place){.source = relay_socket(p->a, p->spec, i), .lock = -1}, target, false,
                   e);
    case SANDBOX_OVERLAY:
        break;
    }
    return err_set(e, ERR_ENV, "the step's description is damaged");
}

/* Bytewise by target, which puts every directory before what is in it; equals stay in order. */
static void sort_by_target(Arena *a, size_t *order, const SandboxSpec *spec)
{
    const char **names = NEW_N(a, const char *, spec->nmount + 1);
    for (size_t i = 0; i < spec->nmount; i++) {
        size_t k = i;
        names[i] = path_clean(a, spec->mounts[i].target);
        for (; k > 0 && strcmp(names[order[k - 1]], names[i]) > 0; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
}

bool places_put(Places *p, Err *e)
{
    const SandboxSpec *spec = p->spec;
    size_t *order = NEW_N(p->a, size_t, spec->nmount + 1);
    if (!root_open(spec->upper, &p->root, e) || !put_system(p, e) || !put_files(p, e))
        return false;
    sort_by_target(p->a, order, spec);
    for (size_t i = 0; i < spec->nmount; i++)
        if (!put_mount(p, &spec->mounts[order[i]], order[i], e))
            return false;
    look_at_watched(p);
    return true;
}
