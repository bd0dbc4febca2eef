/*
 * store/turn.c - one process at a time runs a step of one key.
 *
 * The lock is that of a file below turns/, which its holder removes: whoever waited looks whether
 * the file is still there, and makes another if not.
 */
#include <errno.h>
#include <sys/file.h>
#include <time.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "store/keep.h"

enum { FIRST_NAP_MS = 2, LONGEST_NAP_MS = 100 };

static void path_of(const Digest *key, char out[static STORE_TMP_MAX])
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(key, hex);
    (void)snprintf(out, STORE_TMP_MAX, "turns/%.32s", hex);
}

static int open_file(Store *s, const char *path)
{
    int fd = openat(s->dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == ENOENT && (mkdirat(s->dirfd, "turns", 0700) == 0 || errno == EEXIST))
        fd = openat(s->dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd;
}

static bool is_the_file(Store *s, const char *path, int fd)
{
    struct stat mine, there;
    return fstat(fd, &mine) == 0 && fstatat(s->dirfd, path, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

bool store_take_turn(Store *s, const Digest *key, bool wait, StoreTurn *ret, bool *ret_taken,
                     Err *e)
{
    StoreTurn t = {.fd = -1};
    long nap = FIRST_NAP_MS;
    path_of(key, t.path);
    *ret_taken = false;
    for (;;) {
        scoped(fd) int fd = open_file(s, t.path);
        if (fd < 0)
            return err_errno(e, ERR_STORE, "open '%s/%s'", s->path, t.path);
        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno != EWOULDBLOCK && errno != EINTR)
                return err_errno(e, ERR_STORE, "lock '%s/%s'", s->path, t.path);
            if (!wait)
                return true;
            if (cancel_wanted())
                return err_set(e, ERR_STEP, "cancelled");
            /* flock(2) cannot be waited for together with anything else. */
            (void)nanosleep(&(struct timespec){.tv_nsec = nap * 1000000}, NULL);
            nap = nap * 2 < LONGEST_NAP_MS ? nap * 2 : LONGEST_NAP_MS;
        }
        if (!is_the_file(s, t.path, fd))
            continue;
        t.fd = fd_take(&fd);
        t.store = s;
        *ret = t;
        *ret_taken = true;
        return true;
    }
}

void store_end_turn(StoreTurn *t)
{
    if (t->fd < 0)
        return;
    (void)unlinkat(t->store->dirfd, t->path, 0);
    close(t->fd);
    t->fd = -1;
}
