/*
 * base/fs.c - files by directory descriptor.
 */
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

bool fs_write_all(int fd, const void *bytes, size_t n, Err *e)
{
    const char *p = bytes;
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return err_errno(e, ERR_STORE, "write");
        p += w;
        n -= (size_t)w;
    }
    return true;
}

bool fs_read_all(int fd, size_t max, Buf *b, Err *e)
{
    size_t start = b->len;
    for (;;) {
        char *p = buf_reserve(b, 16 << 10);
        ssize_t n = read(fd, p, 16 << 10);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, ERR_STORE, "read");
        if (n == 0)
            return true;
        b->len += (size_t)n;
        b->ptr[b->len] = 0;
        if (b->len - start > max)
            return err_set(e, ERR_STORE, "larger than the limit of %zu bytes", max);
    }
}

bool fs_read_file(int dirfd, const char *path, size_t max, Buf *b, Err *e)
{
    scoped(fd) int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open '%s'", path);
    if (!fs_read_all(fd, max, b, e))
        return err_wrap(e, "'%s'", path);
    return true;
}

bool fs_write_file(int dirfd, const char *path, const void *bytes, size_t n, Err *e)
{
    scoped(fd) int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "create '%s'", path);
    if (!fs_write_all(fd, bytes, n, e))
        return err_wrap(e, "'%s'", path);
    return true;
}

bool fs_replace_file(int dirfd, const char *path, const void *bytes, size_t n, Err *e)
{
    static atomic_uint serial; /* two writers of one file must not share a temporary one */
    scoped(buf) Buf tmp = BUF_INIT;
    buf_printf(&tmp, "%s.tmp-%d-%u", path, (int)getpid(), atomic_fetch_add(&serial, 1));
    if (!fs_write_file(dirfd, tmp.ptr, bytes, n, e) || renameat(dirfd, tmp.ptr, dirfd, path) < 0) {
        err_errno(e, ERR_STORE, "rename to '%s'", path);
        (void)unlinkat(dirfd, tmp.ptr, 0);
        return false;
    }
    return true;
}

bool out_begin(const char *path, OutFile *ret, Err *e)
{
    struct stat st;
    OutFile f = {.fd = -1};
    bool there = stat(path, &st) == 0;
    f.path = there ? realpath(path, NULL) : strdup(path);
    if (!f.path)
        return err_errno(e, ERR_USAGE, "'%s'", path);
    if (there && S_ISDIR(st.st_mode)) {
        free(f.path);
        return err_set(e, ERR_USAGE, "'%s' is a directory", path);
    }
    bool direct = there && !S_ISREG(st.st_mode);
    if (!direct && asprintf(&f.tmp, "%s.tmp-%d", f.path, (int)getpid()) < 0)
        die_nomem();
    f.fd = direct ? open(f.path, O_WRONLY | O_CLOEXEC)
                  : open(f.tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (f.fd < 0) {
        err_errno(e, ERR_USAGE, "create '%s'", path);
        free(f.path);
        free(f.tmp);
        return false;
    }
    *ret = f;
    return true;
}

bool out_commit(OutFile *f, Err *e)
{
    if (f->tmp && rename(f->tmp, f->path) < 0)
        return err_errno(e, ERR_USAGE, "rename to '%s'", f->path);
    free(f->tmp);
    f->tmp = NULL;
    return true;
}

void out_abort(OutFile *f)
{
    if (f->tmp)
        (void)unlink(f->tmp);
    close(f->fd);
    free(f->path);
    free(f->tmp);
    *f = (OutFile){.fd = -1};
}

bool fs_mkdirs(int dirfd, const char *path, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    if (mkdirat(dirfd, path, 0755) == 0) /* mostly the others are there */
        return true;
    bool there = errno == EEXIST;
    buf_puts(&b, path);
    for (size_t i = 1; !there && i <= b.len; i++) {
        if (b.ptr[i] != '/' && b.ptr[i] != 0)
            continue;
        char c = b.ptr[i];
        b.ptr[i] = 0;
        if (mkdirat(dirfd, b.ptr, 0755) < 0 && errno != EEXIST)
            return err_errno(e, ERR_STORE, "create directory '%s'", b.ptr);
        b.ptr[i] = c;
    }
    struct stat st;
    if (fstatat(dirfd, path, &st, 0) < 0)
        return err_errno(e, ERR_STORE, "create directory '%s'", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_STORE, "create directory '%s': a file is in the way", path);
    return true;
}

/* Deeper directories are moved up before they are emptied, so that open descriptors stay few. */
enum { REMOVE_DEPTH = 64 };

/* One removal: where it began, for directories to be moved to. */
typedef struct Removal {
    int top; /* the directory being removed; -1 until it is open */
    unsigned moved;
    Err *e;
} Removal;

static bool remove_at(Removal *r, int dirfd, const char *path, unsigned depth);

/* Open a directory for emptying. Go's module cache has read-only ones; their owner may open them
 * again. */
static int open_for_removal(int dirfd, const char *path)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dirfd, path, flags);
    if (fd < 0 && errno == EACCES && fchmodat(dirfd, path, 0700, 0) == 0)
        fd = openat(dirfd, path, flags);
    return fd;
}

static bool remove_children(Removal *r, int dirfd, const char *path, unsigned depth)
{
    scoped(fd) int fd = open_for_removal(dirfd, path);
    int again = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    if (!d)
        return err_errno(r->e, ERR_STORE, "open directory '%s'", path);
    if (depth == 0)
        r->top = fd;
    bool ok = true;
    for (struct dirent *de; ok && (de = readdir(d));) {
        if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
            continue;
        if (de->d_type != DT_DIR && unlinkat(fd, de->d_name, 0) == 0)
            continue;
        if (de->d_type != DT_DIR && errno == EACCES && fchmod(fd, 0700) == 0 &&
            unlinkat(fd, de->d_name, 0) == 0)
            continue;
        ok = remove_at(r, fd, de->d_name, depth + 1);
    }
    closedir(d);
    return ok;
}

/* Move a deep directory to the top of the removal; the top is emptied until nothing is left. */
static bool move_up(Removal *r, int dirfd, const char *path)
{
    char name[40];
    (void)fchmodat(dirfd, path, 0700, 0); /* its ".." changes, which wants write permission */
    for (unsigned i = 0; i < 10000; i++) {
        (void)snprintf(name, sizeof name, ".lighter-removes-%u", r->moved++);
        if (renameat2(dirfd, path, r->top, name, RENAME_NOREPLACE) == 0)
            return true;
        if (errno == EACCES && fchmod(dirfd, 0700) == 0 && fchmod(r->top, 0700) == 0)
            continue;
        if (errno != EEXIST)
            break;
    }
    return err_errno(r->e, ERR_STORE, "move '%s' up to remove it", path);
}

static bool remove_at(Removal *r, int dirfd, const char *path, unsigned depth)
{
    if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM && errno != EACCES)
        return err_errno(r->e, ERR_STORE, "remove '%s'", path);
    if (depth > REMOVE_DEPTH)
        return unlinkat(dirfd, path, AT_REMOVEDIR) == 0 || move_up(r, dirfd, path);
    while (unlinkat(dirfd, path, AT_REMOVEDIR) < 0) {
        if (errno == EACCES && fchmod(dirfd, 0700) == 0 && unlinkat(dirfd, path, AT_REMOVEDIR) == 0)
            return true;
        if (errno != ENOTEMPTY && errno != EEXIST && errno != EACCES)
            return err_errno(r->e, ERR_STORE, "remove directory '%s'", path);
        unsigned before = r->moved;
        if (!remove_children(r, dirfd, path, depth))
            return false;
        if (unlinkat(dirfd, path, AT_REMOVEDIR) == 0)
            return true;
        if (depth || r->moved == before) /* only the top gets directories while it is emptied */
            return err_errno(r->e, ERR_STORE, "remove directory '%s'", path);
    }
    return true;
}

bool fs_remove_tree(int dirfd, const char *path, Err *e)
{
    Removal r = {.top = -1, .e = e};
    return remove_at(&r, dirfd, path, 0);
}

bool fs_open_dir(int dirfd, const char *path, int *ret_fd, Err *e)
{
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open directory '%s'", path);
    *ret_fd = fd;
    return true;
}

static int open_how(int rootfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = (flags & O_CREAT) ? mode : 0,
        .resolve = resolve,
    };
    for (;;) {
        long fd = syscall(SYS_openat2, rootfd, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            return (int)fd;
    }
}

int fs_open_in_root(int rootfd, const char *path, int flags, mode_t mode)
{
    return open_how(rootfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int fs_open_beneath(int rootfd, const char *path, int flags, mode_t mode)
{
    return open_how(rootfd, path, flags, mode,
                    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

int fs_setxattr(int fd, const char *name, const void *value, size_t n)
{
    char proc[32];
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    return setxattr(proc, name, value, n, 0);
}

bool fs_list(Arena *a, int dirfd, StrList *ret, Err *e)
{
    int again = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    if (!d) {
        err_errno(e, ERR_STORE, "read directory");
        if (again >= 0)
            close(again);
        return false;
    }
    StrList l = {0};
    errno = 0;
    for (struct dirent *de; (de = readdir(d)); errno = 0)
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
            strlist_add(a, &l, de->d_name);
    bool ok = errno == 0 || err_errno(e, ERR_STORE, "read directory");
    closedir(d);
    if (!ok)
        return false;
    strlist_sort(&l);
    *ret = l;
    return true;
}

static bool copy_by_read(int in, int out, uint64_t *size, Err *e)
{
    char block[64 << 10];
    for (;;) {
        ssize_t n = read(in, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, ERR_STORE, "read");
        if (n == 0)
            return true;
        if (!fs_write_all(out, block, (size_t)n, e))
            return false;
        *size += (uint64_t)n;
    }
}

bool fs_copy_data(int in, int out, uint64_t *ret_size, Err *e)
{
    uint64_t size = 0;
    for (;;) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0);
        if (n < 0 && errno == EINTR)
            continue;
        /* Other file systems, odd files: the plain way continues where this one stopped. */
        if (n < 0 || (n == 0 && size == 0)) {
            if (!copy_by_read(in, out, &size, e))
                return false;
            break;
        }
        if (n == 0)
            break;
        size += (uint64_t)n;
    }
    if (ret_size)
        *ret_size = size;
    return true;
}

char *path_clean(Arena *a, const char *path)
{
    bool rooted = path[0] == '/';
    size_t len = strlen(path);
    char *out = arena_alloc(a, len + 2);
    size_t w = 0, floor = 0; /* `floor`: what `..` may not remove */
    if (rooted) {
        out[w++] = '/';
        floor = 1;
    }
    for (size_t r = 0; r < len;) {
        while (r < len && path[r] == '/')
            r++;
        size_t start = r;
        while (r < len && path[r] != '/')
            r++;
        size_t n = r - start;
        if (n == 0 || (n == 1 && path[start] == '.'))
            continue;
        if (n == 2 && path[start] == '.' && path[start + 1] == '.') {
            if (w > floor) {
                while (w > floor && out[w - 1] != '/')
                    w--;
                if (w > floor)
                    w--;
                continue;
            }
            if (rooted)
                continue;
        }
        if (w > 0 && out[w - 1] != '/')
            out[w++] = '/';
        memcpy(out + w, path + start, n);
        w += n;
        if (n == 2 && !memcmp(path + start, "..", 2))
            floor = w;
    }
    if (w == 0)
        out[w++] = '.';
    out[w] = 0;
    return out;
}

char *path_join(Arena *a, const char *base, const char *path)
{
    if (path[0] == '/')
        return path_clean(a, path);
    return path_clean(a, arena_printf(a, "%s/%s", base, path));
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *path_dir(Arena *a, const char *path)
{
    return arena_strndup(a, path, (size_t)(path_base(path) - path));
}

uint64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
