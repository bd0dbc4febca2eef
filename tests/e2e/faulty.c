/*
 * e2e/faulty.c - a library put before libc, in which the n-th change of the store goes wrong.
 *
 * What counts is every call that writes below FAULTY_STORE, from any process and thread that has
 * the library: the count is in the file FAULTY_STATE, which all of them map. One of the calls, or
 * all from there on, fail; or a write is cut in two; or the process that makes it is killed. The
 * file FAULTY_BOOT stands for the kernel's name of this boot.
 *
 * Used by: test_store_faults.py, test_power_cuts.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
    ONCE = 1,    /* the call fails */
    ONWARDS = 2, /* so do all after it, as on a disk that is full or was made read-only */
    TORN = 3,    /* half of what is written is written, and all after it fails */
    KILL = 4,    /* the process is killed before the call */
    KILLED = 5,  /* and after it; a write is cut in two */
    SYNCS = 6,   /* syncfs fails, at any time */
};

/* In FAULTY_STATE; made by the test. */
typedef struct State {
    unsigned count, at, how;
    int err;
    unsigned fired;
    unsigned log_synced; /* how long the database's log was when it was synced last */
    char what[488];      /* the call it was, for messages */
} State;

static State *state;
static const char *store;
static size_t store_len;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTY_STATE");
    store = getenv("FAULTY_STORE");
    if (!path || !store)
        return;
    store_len = strlen(store);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    void *p =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED)
        state = p;
    if (fd >= 0)
        close(fd);
}

static int below(const char *path)
{
    return strncmp(path, store, store_len) == 0 && (path[store_len] == '/' || !path[store_len]);
}

/* Where a descriptor leads, "" when nobody knows. */
static void place_of(int fd, char *out, size_t cap)
{
    char proc[40];
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    ssize_t n =
        fd == AT_FDCWD ? readlink("/proc/self/cwd", out, cap - 1) : readlink(proc, out, cap - 1);
    out[n < 0 ? 0 : n] = 0;
}

/* Whether this call goes wrong: 0, or how. */
static unsigned hit(const char *call, const char *place, const char *path)
{
    if (!state || !below(place))
        return 0;
    if (state->how == SYNCS)
        return !strcmp(call, "syncfs") ? ONCE : 0;
    unsigned n = __atomic_add_fetch(&state->count, 1, __ATOMIC_SEQ_CST);
    if (!state->at || n < state->at)
        return 0;
    unsigned how = state->how;
    if (n > state->at)
        return how == ONWARDS || how == TORN ? ONWARDS : 0;
    (void)snprintf(state->what, sizeof state->what, "%s %.300s%s%.150s", call, place + store_len,
                   *path ? " " : "", path);
    state->fired = 1;
    return how;
}

static unsigned hit_fd(const char *call, int fd)
{
    char place[4096];
    int saved = errno;
    if (!state)
        return 0;
    place_of(fd, place, sizeof place);
    errno = saved;
    return hit(call, place, "");
}

static unsigned hit_at(const char *call, int dirfd, const char *path)
{
    char place[4096];
    int saved = errno;
    if (!state || !path)
        return 0;
    if (*path == '/')
        (void)snprintf(place, sizeof place, "%s", path);
    else
        place_of(dirfd, place, sizeof place);
    /* A file opened by its number is what it leads to. */
    if (!strncmp(path, "/proc/self/fd/", 14))
        place_of(atoi(path + 14), place, sizeof place);
    errno = saved;
    return hit(call, place, *path == '/' ? "" : path);
}

static void die(void)
{
    (void)syscall(SYS_kill, getpid(), SIGKILL);
    __builtin_trap(); /* the first process of a namespace is not killed by its own signals */
}

static int fails(unsigned how)
{
    if (how == KILL)
        die();
    if (how == ONCE || how == ONWARDS || how == TORN) {
        errno = state->err;
        return 1;
    }
    return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* A call that changes something: it fails, or it is the last one. */
#define CHANGE(type, name, params, args, how)                                                      \
    type name params                                                                               \
    {                                                                                              \
        static __typeof__(&name) real;                                                             \
        if (!real)                                                                                 \
            real = REAL(name);                                                                     \
        unsigned h = how;                                                                          \
        if (fails(h))                                                                              \
            return (type)-1;                                                                       \
        type r = real args;                                                                        \
        if (h == KILLED)                                                                           \
            die();                                                                                 \
        return r;                                                                                  \
    }

static unsigned hit_sync(const char *call, int fd)
{
    static const char LOG[] = "meta.db-wal";
    char place[4096];
    struct stat st;
    if (!state)
        return 0;
    place_of(fd, place, sizeof place);
    size_t len = strlen(place);
    if (len > sizeof LOG && !strcmp(place + len - (sizeof LOG - 1), LOG) && fstat(fd, &st) == 0)
        state->log_synced = (unsigned)st.st_size;
    return hit(call, place, "");
}

CHANGE(int, fsync, (int fd), (fd), hit_sync("fsync", fd))
CHANGE(int, fdatasync, (int fd), (fd), hit_sync("fdatasync", fd))
CHANGE(int, syncfs, (int fd), (fd), hit_fd("syncfs", fd))
CHANGE(int, ftruncate, (int fd, off_t n), (fd, n), hit_fd("ftruncate", fd))
CHANGE(int, ftruncate64, (int fd, off64_t n), (fd, n), hit_fd("ftruncate", fd))
CHANGE(int, fallocate, (int fd, int m, off_t o, off_t n), (fd, m, o, n), hit_fd("fallocate", fd))
CHANGE(int, fchmod, (int fd, mode_t m), (fd, m), hit_fd("fchmod", fd))
CHANGE(int, fchown, (int fd, uid_t u, gid_t g), (fd, u, g), hit_fd("fchown", fd))
CHANGE(int, futimens, (int fd, const struct timespec t[2]), (fd, t), hit_fd("futimens", fd))
CHANGE(int, chmod, (const char *p, mode_t m), (p, m), hit_at("chmod", AT_FDCWD, p))
CHANGE(int, chown, (const char *p, uid_t u, gid_t g), (p, u, g), hit_at("chown", AT_FDCWD, p))
CHANGE(int, fchmodat, (int d, const char *p, mode_t m, int f), (d, p, m, f),
       hit_at("fchmodat", d, p))
CHANGE(int, fchownat, (int d, const char *p, uid_t u, gid_t g, int f), (d, p, u, g, f),
       hit_at("fchownat", d, p))
CHANGE(int, utimensat, (int d, const char *p, const struct timespec t[2], int f), (d, p, t, f),
       hit_at("utimensat", d, p))
CHANGE(int, mkdir, (const char *p, mode_t m), (p, m), hit_at("mkdir", AT_FDCWD, p))
CHANGE(int, mkdirat, (int d, const char *p, mode_t m), (d, p, m), hit_at("mkdirat", d, p))
CHANGE(int, mknodat, (int d, const char *p, mode_t m, dev_t v), (d, p, m, v),
       hit_at("mknodat", d, p))
CHANGE(int, unlink, (const char *p), (p), hit_at("unlink", AT_FDCWD, p))
CHANGE(int, unlinkat, (int d, const char *p, int f), (d, p, f), hit_at("unlinkat", d, p))
CHANGE(int, rmdir, (const char *p), (p), hit_at("rmdir", AT_FDCWD, p))
CHANGE(int, symlinkat, (const char *t, int d, const char *p), (t, d, p), hit_at("symlinkat", d, p))
CHANGE(int, linkat, (int d, const char *p, int e, const char *q, int f), (d, p, e, q, f),
       hit_at("linkat", e, q))
CHANGE(int, rename, (const char *p, const char *q), (p, q), hit_at("rename", AT_FDCWD, q))
CHANGE(int, renameat, (int d, const char *p, int e, const char *q), (d, p, e, q),
       hit_at("renameat", e, q))
CHANGE(int, renameat2, (int d, const char *p, int e, const char *q, unsigned f), (d, p, e, q, f),
       hit_at("renameat2", e, q))
CHANGE(int, fsetxattr, (int fd, const char *n, const void *v, size_t s, int f), (fd, n, v, s, f),
       hit_fd("fsetxattr", fd))
CHANGE(int, setxattr, (const char *p, const char *n, const void *v, size_t s, int f),
       (p, n, v, s, f), hit_at("setxattr", AT_FDCWD, p))

/* ---- writes: the half of one may be there ---- */

static size_t torn(unsigned how, size_t n)
{
    return how == TORN || how == KILLED ? n / 2 : n;
}

#define WRITE(name, params, args, n, fd)                                                           \
    ssize_t name params                                                                            \
    {                                                                                              \
        static __typeof__(&name) real;                                                             \
        if (!real)                                                                                 \
            real = REAL(name);                                                                     \
        unsigned h = hit_fd(#name, fd);                                                            \
        if ((h != TORN || n < 2) && fails(h))                                                      \
            return -1;                                                                             \
        n = torn(h, n);                                                                            \
        ssize_t r = real args;                                                                     \
        if (h == KILLED)                                                                           \
            die();                                                                                 \
        return r;                                                                                  \
    }

WRITE(write, (int fd, const void *b, size_t n), (fd, b, n), n, fd)
WRITE(pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), n, fd)
WRITE(pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o), n, fd)
WRITE(copy_file_range, (int in, off64_t *i, int fd, off64_t *o, size_t n, unsigned f),
      (in, i, fd, o, n, f), n, fd)

/* ---- opening: it counts where a file may be made or is emptied ---- */

static const char *real_path(const char *path)
{
    const char *boot =
        !strcmp(path, "/proc/sys/kernel/random/boot_id") ? getenv("FAULTY_BOOT") : NULL;
    return boot ? boot : path;
}

static unsigned hit_open(int dirfd, const char *path, int flags)
{
    return flags & (O_CREAT | O_TRUNC) ? hit_at("open", dirfd, path) : 0;
}

#define OPEN(name, params, args, dirfd)                                                            \
    int name params                                                                                \
    {                                                                                              \
        static __typeof__(&name) real;                                                             \
        mode_t mode = 0;                                                                           \
        if (!real)                                                                                 \
            real = REAL(name);                                                                     \
        if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {                                      \
            va_list ap;                                                                            \
            va_start(ap, flags);                                                                   \
            mode = va_arg(ap, mode_t);                                                             \
            va_end(ap);                                                                            \
        }                                                                                          \
        path = real_path(path);                                                                    \
        unsigned h = hit_open(dirfd, path, flags);                                                 \
        if (fails(h))                                                                              \
            return -1;                                                                             \
        int r = real args;                                                                         \
        if (h == KILLED)                                                                           \
            die();                                                                                 \
        return r;                                                                                  \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int d, const char *path, int flags, ...), (d, path, flags, mode), d)
OPEN(openat64, (int d, const char *path, int flags, ...), (d, path, flags, mode), d)
