/*
 * sandbox/target.c - what a calling process means: its memory, its paths, who it is.
 */
#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/fs.h"
#include "sandbox/warden.h"

enum { PAGE = 4096 };

bool call_valid(const Call *c)
{
    return ioctl(c->w->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &c->req->id) == 0;
}

/* ---- memory ---- */

int call_read(const Call *c, uint64_t address, void *out, size_t n)
{
    struct iovec mine = {out, n}, theirs = {(void *)(uintptr_t)address, n};
    if (process_vm_readv((pid_t)c->req->pid, &mine, 1, &theirs, 1, 0) != (ssize_t)n)
        return -EFAULT;
    return call_valid(c) ? 0 : -ESRCH;
}

int call_write(const Call *c, uint64_t address, const void *bytes, size_t n)
{
    struct iovec mine = {(void *)(uintptr_t)bytes, n}, theirs = {(void *)(uintptr_t)address, n};
    if (!call_valid(c))
        return -ESRCH;
    return process_vm_writev((pid_t)c->req->pid, &mine, 1, &theirs, 1, 0) == (ssize_t)n ? 0
                                                                                        : -EFAULT;
}

/* A page at a time, for the one after the text may not be there. */
int call_text(const Call *c, uint64_t address, char *out, size_t cap)
{
    for (size_t have = 0; have < cap;) {
        size_t n = PAGE - (address + have) % PAGE;
        if (n > cap - have)
            n = cap - have;
        int rc = call_read(c, address + have, out + have, n);
        if (rc < 0)
            return rc;
        if (memchr(out + have, 0, n))
            return 0;
        have += n;
    }
    return -ENAMETOOLONG;
}

/* ---- paths ---- */

static int proc_open(const Call *c, const char *what, int flags)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%u/%s", c->req->pid, what);
    int fd = openat(c->w->proc, path, O_PATH | O_CLOEXEC | flags);
    if (fd < 0)
        return -errno;
    if (call_valid(c))
        return fd;
    close(fd);
    return -ESRCH;
}

int call_fd(const Call *c, int fd)
{
    char what[32];
    if (fd < 0)
        return -EBADF;
    (void)snprintf(what, sizeof what, "fd/%d", fd);
    int got = proc_open(c, what, 0);
    return got == -ENOENT ? -EBADF : got;
}

/* The directory that a relative path starts at. */
static int base_dir(const Call *c, int dirfd)
{
    return dirfd == AT_FDCWD ? proc_open(c, "cwd", O_DIRECTORY) : call_fd(c, dirfd);
}

static int walk(int dirfd, const char *path, bool follow, uint64_t resolve)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW),
                           .resolve = resolve | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

/* "/proc/self/fd/7" and its other names are the caller's descriptor 7, or -1. */
static int own_fd(const char *path)
{
    static const char *const NAMES[] = {"/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/"};
    static const char *const STD[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
    uint64_t n;
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (str_starts(path, NAMES[i]) && str_u64(path + strlen(NAMES[i]), INT_MAX, &n))
            return (int)n;
    for (size_t i = 0; i < NELEM(STD); i++)
        if (!strcmp(path, STD[i]))
            return (int)i;
    return -1;
}

/* Where an O_PATH descriptor is, as the warden sees it. The working directory is its own fd/. */
static bool where_is(int fd, char out[static PATH_MAX])
{
    char name[16];
    (void)snprintf(name, sizeof name, "%d", fd);
    ssize_t n = readlinkat(AT_FDCWD, name, out, PATH_MAX - 1);
    if (n <= 0)
        return false;
    out[n] = 0;
    return out[0] == '/';
}

/* In a step where somebody called chroot, every caller's root is looked up. */
static int open_below_root(const Call *c, int dir, const char *path, bool follow)
{
    char top[PATH_MAX], at[PATH_MAX], whole[2 * PATH_MAX];
    scoped(fd) int root = proc_open(c, "root", O_DIRECTORY);
    if (root < 0)
        return root;
    if (path[0] == '/')
        return walk(root, path, follow, RESOLVE_IN_ROOT);
    if (!where_is(root, top) || !where_is(dir, at))
        return -ENOENT;
    size_t n = strcmp(top, "/") == 0 ? 0 : strlen(top);
    if (strncmp(at, top, n) != 0 || (at[n] && at[n] != '/')) /* a directory outside its root */
        return walk(dir, path, follow, 0);
    (void)snprintf(whole, sizeof whole, "%s/%s", at + n, path);
    return walk(root, whole, follow, RESOLVE_IN_ROOT);
}

int call_open(const Call *c, int dirfd, const char *path, bool follow)
{
    if (!*path)
        return -ENOENT;
    int own = follow ? own_fd(path) : -1;
    if (own >= 0)
        return call_fd(c, own);
    scoped(fd) int dir = -1;
    if (path[0] != '/' && (dir = base_dir(c, dirfd)) < 0)
        return dir;
    return c->w->chrooted ? open_below_root(c, dir, path, follow) : walk(dir, path, follow, 0);
}

int call_parent(const Call *c, int dirfd, const char *path, char base[static 256])
{
    char dir[PATH_MAX];
    size_t n = strlen(path);
    while (n && path[n - 1] == '/')
        n--;
    size_t start = n;
    while (start && path[start - 1] != '/')
        start--;
    if (start == n || n - start > 255 || n >= sizeof dir)
        return -ENOENT;
    memcpy(base, path + start, n - start);
    base[n - start] = 0;
    if (!strcmp(base, ".") || !strcmp(base, ".."))
        return -EEXIST;
    memcpy(dir, path, start);
    dir[start] = 0;
    if (start)
        return call_open(c, dirfd, dir, true);
    return base_dir(c, dirfd);
}

mode_t call_umask(const Call *c)
{
    char path[32], text[512];
    (void)snprintf(path, sizeof path, "%u/status", c->req->pid);
    scoped(fd) int fd = openat(c->w->proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = 0;
    const char *line = strstr(text, "\nUmask:");
    return line ? (mode_t)strtoul(line + 7, NULL, 8) & 0777 : 022;
}

/* ---- who it is ----
 *
 * The kernel hands a thread's timer slack down to what it forks and over exec, as it does with ids;
 * so it carries the number of the thread's Cred. A nanosecond more or less changes no timer.
 */

static int open_slack(const Call *c)
{
    char path[40];
    (void)snprintf(path, sizeof path, "%u/timerslack_ns", c->req->pid);
    return openat(c->w->proc, path, O_RDWR | O_CLOEXEC);
}

const Cred *call_cred(const Call *c)
{
    Warden *w = c->w;
    char text[32];
    if (w->ncred == 1)
        return &w->creds[0];
    scoped(fd) int fd = open_slack(c);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = 0;
    unsigned long v = strtoul(text, NULL, 10);
    /* A program that sets its own slack is who the command was. */
    return v >= CRED_SLACK && v - CRED_SLACK < w->ncred ? &w->creds[v - CRED_SLACK] : &w->creds[0];
}

int call_become(const Call *c, const Cred *cred)
{
    Warden *w = c->w;
    Cred now = *cred; /* it may lie in the array that grows */
    char text[32];
    size_t i = 0;
    while (i < w->ncred && memcmp(&w->creds[i], &now, sizeof now) != 0)
        i++;
    if (i == MAX_CREDS)
        return -EAGAIN;
    scoped(fd) int fd = open_slack(c);
    int n = snprintf(text, sizeof text, "%zu", CRED_SLACK + i);
    if (fd < 0 || !call_valid(c) || write(fd, text, (size_t)n) != n)
        return -EAGAIN;
    if (i == w->ncred)
        *ARENA_PUSH(w->arena, w->creds, w->ncred, w->cred_cap) = now;
    return 0;
}
