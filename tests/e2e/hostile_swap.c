/*
 * hostile_swap.c - somebody beside a build who is always just in time. Preloaded, it exchanges the directory $SWAP/d with
 * the link $SWAP/link before each call that goes through d by name, and exchanges them again after it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long (*real_syscall)(long, ...);

__attribute__((constructor)) static void find(void)
{
    *(void **)&real_syscall = dlsym(RTLD_NEXT, "syscall");
}

static void swap(const char *path)
{
    char d[4096], l[4096];
    const char *top = getenv("SWAP");
    if (!top || !path || strncmp(path, "d/", 2) != 0)
        return;
    snprintf(d, sizeof d, "%s/d", top);
    snprintf(l, sizeof l, "%s/link", top);
    real_syscall(SYS_renameat2, AT_FDCWD, d, AT_FDCWD, l, 2);
}

int fstatat64(int dirfd, const char *path, struct stat64 *st, int flags)
{
    swap(path);
    int rc = (int)real_syscall(SYS_newfstatat, dirfd, path, st, flags);
    swap(path);
    return rc;
}

int openat64(int dirfd, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    swap(path);
    int fd = (int)real_syscall(SYS_openat, dirfd, path, flags, mode);
    swap(path);
    return fd;
}

ssize_t readlinkat(int dirfd, const char *path, char *out, size_t n)
{
    swap(path);
    ssize_t rc = real_syscall(SYS_readlinkat, dirfd, path, out, n);
    swap(path);
    return rc;
}

long syscall(long nr, ...)
{
    va_list ap;
    long a[6];
    va_start(ap, nr);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    const char *path = nr == SYS_openat2 ? (const char *)a[1] : NULL;
    swap(path);
    long rc = real_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    swap(path);
    return rc;
}
