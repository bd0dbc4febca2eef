/*
 * base/fs.h - files by directory descriptor.
 *
 * Paths are relative to a directory fd, descriptors are close-on-exec, and a path that comes from
 * an image is opened with fs_open_in_root, so that a link in the image stays in the image.
 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"

static inline void scoped_fd_done(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
/* fd_take - move a descriptor out of its variable, so that the scope's end leaves it open. */
static inline int fd_take(int *fd)
{
    int v = *fd;
    *fd = -1;
    return v;
}

NODISCARD bool fs_write_all(int fd, const void *bytes, size_t n, Err *e);
/* fs_read_all - append the rest of `fd` to `b`; more than `max` bytes is an error. */
NODISCARD bool fs_read_all(int fd, size_t max, Buf *b, Err *e);
/* fs_read_file - a whole file below `dirfd`, at most `max` bytes, appended to `b`. */
NODISCARD bool fs_read_file(int dirfd, const char *path, size_t max, Buf *b, Err *e);
/* fs_write_file - make or replace a file with these bytes, mode 0644 less umask. Not atomic. */
NODISCARD bool fs_write_file(int dirfd, const char *path, const void *bytes, size_t n, Err *e);
/* fs_replace_file - as fs_write_file, through a temporary file beside it and rename(2), so that
 * readers see old or new. */
NODISCARD bool fs_replace_file(int dirfd, const char *path, const void *bytes, size_t n, Err *e);
/*
 * A file the user asked for. A regular one appears whole or not at all; a link is written through;
 * a device or pipe is written into, never replaced.
 */
typedef struct OutFile {
    int fd;
    char *path; /* links resolved */
    char *tmp;  /* NULL: written directly */
} OutFile;

/* out_begin - fails with ERR_USAGE, naming the path. */
NODISCARD bool out_begin(const char *path, OutFile *ret, Err *e);
NODISCARD bool out_commit(OutFile *f, Err *e);
/* out_abort - drop what was not committed, and free. */
void out_abort(OutFile *f);

static inline bool fs_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* fs_mkdirs - make a directory and its parents, mode 0755; existing ones are fine. */
NODISCARD bool fs_mkdirs(int dirfd, const char *path, Err *e);
/*
 * fs_remove_tree - remove a file or directory with all below, never following links; absence is
 * fine. The result may be ignored where a sweep comes by later.
 */
bool fs_remove_tree(int dirfd, const char *path, Err *e);
/* fs_open_dir - open a directory for *at() calls. */
NODISCARD bool fs_open_dir(int dirfd, const char *path, int *ret_fd, Err *e);

/*
 * fs_open_in_root - open `path` with `rootfd` as its root: absolute links and `..` stay inside.
 * Returns a descriptor, or -1 with errno. Source: openat2(2), RESOLVE_IN_ROOT.
 */
int fs_open_in_root(int rootfd, const char *path, int flags, mode_t mode);
/* fs_open_beneath - as above, but any symbolic link on the way is ELOOP and any escape is EXDEV. */
int fs_open_beneath(int rootfd, const char *path, int flags, mode_t mode);

/* fs_setxattr - set an attribute through any descriptor, O_PATH included. 0, or -1 with errno. */
int fs_setxattr(int fd, const char *name, const void *value, size_t n);

/* fs_list - names in a directory, without "." and "..", sorted bytewise, in the arena. */
NODISCARD bool fs_list(Arena *a, int dirfd, StrList *ret, Err *e);
/* fs_copy_data - copy all bytes of `in` to `out` (reflink or in-kernel copy where possible). */
NODISCARD bool fs_copy_data(int in, int out, uint64_t *ret_size, Err *e);

/* path_clean - Go's path.Clean: shortest equal name; "" is ".". Result in the arena. */
char *path_clean(Arena *a, const char *path);
/* path_join - clean(base "/" path), or clean(path) when it is absolute. */
char *path_join(Arena *a, const char *base, const char *path);
const char *path_base(const char *path);
/* path_dir - what is in front of path_base(), with its slash; "" where there is nothing. */
char *path_dir(Arena *a, const char *path);

/* clock_ns - monotonic nanoseconds, for durations. */
uint64_t clock_ns(void);

#endif
