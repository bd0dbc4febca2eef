/*
 * base/owner.c - owners as attributes and as records of a table.
 */
#include "base/owner.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/str.h"

enum { TEXT_MAX = 80, ID_SIZE = 16, TABLE_MAX_SIZE = 256 << 20 };

static bool remembered;

void owners_remember(bool on)
{
    remembered = on;
}

bool owners_remembered(void)
{
    return remembered;
}

/* ---- one file: "uid:gid", or "uid:gid:c:1:3" ---- */

int owner_put(const char *path, const Owner *o)
{
    char text[TEXT_MAX];
    if (!o->uid && !o->gid && !o->type)
        return removexattr(path, OWNER_XATTR) < 0 && errno != ENODATA ? -1 : 0;
    int n = snprintf(text, sizeof text, "%u:%u", o->uid, o->gid);
    if (o->type)
        n += snprintf(text + n, sizeof text - (size_t)n, ":%c:%u:%u", S_ISCHR(o->type) ? 'c' : 'b',
                      o->major, o->minor);
    return setxattr(path, OWNER_XATTR, text, (size_t)n, 0);
}

bool owner_get(const char *path, Owner *ret)
{
    char text[TEXT_MAX], kind = 0;
    Owner o = {0};
    ssize_t n = getxattr(path, OWNER_XATTR, text, sizeof text - 1);
    if (n < 0)
        return false;
    text[n] = 0;
    int got = sscanf(text, "%u:%u:%c:%u:%u", &o.uid, &o.gid, &kind, &o.major, &o.minor);
    if (got != 2 && got != 5)
        return false;
    if (got == 5)
        o.type = kind == 'c' ? S_IFCHR : S_IFBLK;
    *ret = o;
    return true;
}

void owner_show(const Owner *o, struct stat *st)
{
    st->st_uid = o->uid;
    st->st_gid = o->gid;
    if (!o->type)
        return;
    st->st_mode = (st->st_mode & 07777) | o->type;
    st->st_rdev = makedev(o->major, o->minor);
    st->st_size = 0;
    st->st_blocks = 0;
}

/* ---- tables: an id, then "uid gid path" and a NUL each ---- */

/* A table as far as it has been read; tables only grow. */
typedef struct Table {
    Map owner; /* path -> uid << 32 | gid */
    off_t read;
} Table;

static struct {
    pthread_mutex_t lock;
    Arena arena;
    Map tables; /* id -> Table */
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

int owner_links_add(int dirfd, const char *name, const char *path, uint32_t uid, uint32_t gid)
{
    char line[PATH_MAX + 64];
    int n = snprintf(line, sizeof line, "%u %u %s", uid, gid, path);
    if (n < 0 || (size_t)n >= sizeof line) {
        errno = ENAMETOOLONG;
        return -1;
    }
    scoped(fd) int fd =
        openat(dirfd, name, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!st.st_size) {
        uint64_t id;
        char text[ID_SIZE + 1];
        if (getrandom(&id, sizeof id, 0) != sizeof id)
            return -1;
        (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)id);
        if (write(fd, text, ID_SIZE) != ID_SIZE)
            return -1;
    }
    return write(fd, line, (size_t)n + 1) == n + 1 ? 0 : -1;
}

static void table_line(Table *t, const char *line)
{
    uint64_t uid, gid;
    char *end;
    uid = strtoul(line, &end, 10);
    if (*end++ != ' ')
        return;
    gid = strtoul(end, &end, 10);
    if (*end++ != ' ')
        return;
    map_put(&t->owner, arena_strdup(&known.arena, end), uid << 32 | (gid & UINT32_MAX));
}

/* Read what was added since the last time. */
static void table_more(Table *t, int fd)
{
    scoped(buf) Buf b = BUF_INIT;
    Err ignored = ERR_INIT;
    if (lseek(fd, t->read, SEEK_SET) < 0 || !fs_read_all(fd, TABLE_MAX_SIZE, &b, &ignored))
        return;
    for (size_t i = 0; i < b.len;) {
        size_t n = strnlen(b.ptr + i, b.len - i);
        if (i + n == b.len) /* half a record: its writer was killed */
            break;
        table_line(t, b.ptr + i);
        i += n + 1;
        t->read += (off_t)n + 1;
    }
}

static bool table_find(int fd, off_t size, const char *path, uint64_t *ret)
{
    char id[ID_SIZE + 1] = "";
    uint64_t at;
    if (pread(fd, id, ID_SIZE, 0) != ID_SIZE)
        return false;
    if (!map_get(&known.tables, id, &at)) {
        Table *fresh = NEW(&known.arena, Table);
        fresh->read = ID_SIZE;
        at = (uint64_t)(uintptr_t)fresh;
        map_put(&known.tables, arena_strdup(&known.arena, id), at);
    }
    Table *t = (Table *)(uintptr_t)at;
    if (t->read < size)
        table_more(t, fd);
    return map_get(&t->owner, path, ret);
}

bool owner_links_get(int rootfd, const char *path, uint32_t *ret_uid, uint32_t *ret_gid)
{
    struct stat st;
    uint64_t both;
    scoped(fd) int fd = openat(rootfd, OWNER_LINKS, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    pthread_mutex_lock(&known.lock);
    bool found = table_find(fd, st.st_size, path, &both);
    pthread_mutex_unlock(&known.lock);
    if (!found)
        return false;
    *ret_uid = (uint32_t)(both >> 32);
    *ret_gid = (uint32_t)both;
    return true;
}

/* ---- trees ---- */

static bool takes_attribute(mode_t mode)
{
    return S_ISREG(mode) || S_ISDIR(mode);
}

/* Where dirfd/name is below rootfd; names on the way may have been links. */
static bool name_below(int rootfd, int dirfd, const char *name, char out[static PATH_MAX])
{
    char proc[32], root[PATH_MAX], dir[PATH_MAX];
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", rootfd);
    ssize_t n = readlink(proc, root, sizeof root - 1);
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", dirfd);
    ssize_t m = readlink(proc, dir, sizeof dir - 1);
    if (n < 0 || m < n || memcmp(root, dir, (size_t)n) != 0) {
        errno = EXDEV;
        return false;
    }
    dir[m] = 0;
    const char *rest = dir + n;
    rest += *rest == '/';
    return snprintf(out, PATH_MAX, "%s%s%s", rest, *rest ? "/" : "", name) < PATH_MAX;
}

static int link_chown(int rootfd, int dirfd, const char *name, uint32_t uid, uint32_t gid)
{
    char path[PATH_MAX];
    /* 0:0 is what is read where no record is; a record that there may be is of a file replaced. */
    if (!uid && !gid && faccessat(rootfd, OWNER_LINKS, F_OK, 0) < 0)
        return 0;
    if (!name_below(rootfd, dirfd, name, path))
        return -1;
    return owner_links_add(rootfd, OWNER_LINKS, path, uid, gid);
}

int owner_chown(int rootfd, int dirfd, const char *name, uint32_t uid, uint32_t gid)
{
    char proc[32];
    struct stat st;
    Owner o = {0};
    if (!remembered)
        return fchownat(dirfd, name, uid, gid, AT_SYMLINK_NOFOLLOW);
    scoped(fd) int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    /* The kernel's own change of owner also takes setuid bits and capabilities away. */
    if (fd < 0 || fstat(fd, &st) < 0 ||
        fchownat(dirfd, name, geteuid(), getegid(), AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (!takes_attribute(st.st_mode))
        return link_chown(rootfd, dirfd, name, uid, gid);
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    (void)owner_get(proc, &o);
    o.uid = uid;
    o.gid = gid;
    return owner_put(proc, &o);
}

int owner_fchown(int fd, uint32_t uid, uint32_t gid)
{
    char proc[32];
    if (!remembered)
        return fchown(fd, uid, gid);
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    return owner_put(proc, &(Owner){.uid = uid, .gid = gid}) < 0 && errno != EOPNOTSUPP ? -1 : 0;
}

int owner_mknod(int dirfd, const char *name, mode_t mode, dev_t dev)
{
    char proc[32];
    if (!remembered || !(S_ISCHR(mode) || S_ISBLK(mode)))
        return mknodat(dirfd, name, mode, dev);
    Owner o = {.type = mode & S_IFMT, .major = major(dev), .minor = minor(dev)};
    scoped(fd) int fd =
        openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 07777);
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    return fd < 0 ? -1 : owner_put(proc, &o);
}

void owner_read(int rootfd, const char *path, struct stat *st)
{
    char proc[32];
    Owner o = {0};
    if (!remembered)
        return;
    if (takes_attribute(st->st_mode)) {
        scoped(fd) int fd = openat(rootfd, *path ? path : ".", O_PATH | O_NOFOLLOW | O_CLOEXEC);
        (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
        if (fd >= 0)
            (void)owner_get(proc, &o);
    } else {
        (void)owner_links_get(rootfd, path, &o.uid, &o.gid);
    }
    owner_show(&o, st);
}
