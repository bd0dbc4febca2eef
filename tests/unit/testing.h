/*
 * unit/testing.h - what the unit tests share: cmocka, scratch directories, small files, a seeded
 * random number, and one-line checks for our way of failing.
 */
#ifndef UNIT_TESTING_H
#define UNIT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"

/* A call that must succeed; its message is shown when it does not. Uses a variable `e`. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        if (!(call))                                                                               \
            fail_msg("%s: %s", #call, e.msg);                                                      \
    } while (0)

/* A call that must fail with this kind and a message that holds `part`; `e` is fresh after it. */
#define FAILS(call, want_kind, part)                                                               \
    do {                                                                                           \
        e = (Err)ERR_INIT;                                                                         \
        if (call)                                                                                  \
            fail_msg("%s: succeeded", #call);                                                      \
        if (e.kind != (want_kind) || !strstr(e.msg, (part)))                                       \
            fail_msg("%s: kind %d, '%s'; wanted '%s'", #call, (int)e.kind, e.msg, (part));         \
        e = (Err)ERR_INIT;                                                                         \
    } while (0)

/* A directory below /tmp that is removed with all it holds. */
typedef struct Scratch {
    char path[64];
    int fd;
} Scratch;

static inline Scratch scratch_new(void)
{
    Scratch s = {.path = "/tmp/lighter-unit-XXXXXX", .fd = -1};
    if (!mkdtemp(s.path) || (s.fd = open(s.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        fail_msg("scratch directory: %s", strerror(errno));
    return s;
}

static inline void scoped_scratch_done(Scratch *s)
{
    close(s->fd);
    for (int i = 0; i < 200; i++) { /* what brings a store's files to the disk may be at work */
        Err e = ERR_INIT;
        if (fs_remove_tree(AT_FDCWD, s->path, &e))
            break;
        (void)usleep(10000);
    }
}

static inline void put(int dirfd, const char *path, const char *text)
{
    Err e = ERR_INIT;
    if (!fs_write_file(dirfd, path, text, strlen(text), &e))
        fail_msg("%s", e.msg);
}

static inline void make_dir(int dirfd, const char *path)
{
    if (mkdirat(dirfd, path, 0755) < 0)
        fail_msg("mkdir '%s': %s", path, strerror(errno));
}

static inline void make_link(int dirfd, const char *path, const char *target)
{
    if (symlinkat(target, dirfd, path) < 0)
        fail_msg("symlink '%s': %s", path, strerror(errno));
}

static inline bool exists(int dirfd, const char *path)
{
    return faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The text of a file, in the arena. */
static inline char *slurp(Arena *a, int dirfd, const char *path)
{
    Err e = ERR_INIT;
    scoped(buf) Buf b = BUF_INIT;
    if (!fs_read_file(dirfd, path, 64 << 20, &b, &e))
        fail_msg("%s", e.msg);
    return arena_strndup(a, buf_str(&b), b.len);
}

/* xorshift64*: the same numbers on every machine. */
static inline uint32_t next_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return (uint32_t)((*seed * 2685821657736338717u) >> 32);
}

/*
 * Whether a test was skipped: cmocka leaves it by a jump, so that what it had is not freed, and the
 * leak checker, which asks here, has nothing to say of this program.
 */
static bool was_skipped;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return was_skipped;
}

/* Skip the test, with the reason on stdout where CI counts it. */
#define SKIP(...)                                                                                  \
    do {                                                                                           \
        was_skipped = true;                                                                        \
        print_message("skipped: " __VA_ARGS__);                                                    \
        print_message("\n");                                                                       \
        skip();                                                                                    \
    } while (0)

#endif
