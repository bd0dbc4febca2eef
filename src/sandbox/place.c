/*
 * sandbox/place.c - calls that make files or give them away.
 *
 * The kernel does both as its one id, so a new file is only made here when it is not root's: when
 * the caller is somebody else, or the directory hands its group down.
 */
#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "base/fs.h"
#include "sandbox/warden.h"

enum { KEEP = UINT32_MAX };

/* ---- giving away ---- */

static bool in_groups(const Cred *c, uint32_t gid)
{
    for (uint32_t i = 0; i < c->ngroup; i++)
        if (c->groups[i] == gid)
            return true;
    return c->gid[CRED_FS] == gid;
}

/* What only root may do fails for others, because programs count on it: cp -a keeps owners where it
 * can. Source: Linux, fs/attr.c, chown_ok and chgrp_ok. */
static bool may_chown(const Cred *c, const Owner *now, uint32_t uid, uint32_t gid)
{
    if (!c->uid[CRED_FS])
        return true;
    if (uid != KEEP && (uid != now->uid || c->uid[CRED_FS] != now->uid))
        return false;
    return gid == KEEP || (c->uid[CRED_FS] == now->uid && (gid == now->gid || in_groups(c, gid)));
}

/* The kernel's own change to the one id copies the file up, takes setuid bits and capabilities
 * away, and refuses what cannot be written. */
static int64_t give(const Call *c, int fd, uint32_t uid, uint32_t gid)
{
    Owner now = {0};
    struct stat st;
    (void)owner_of(c->w, fd, &now);
    if (!may_chown(call_cred(c), &now, uid, gid))
        return -EPERM;
    if (fchownat(fd, "", uid == KEEP ? KEEP : 0, gid == KEEP ? KEEP : 0, AT_EMPTY_PATH) < 0) {
        /* The host's devices that are mounted in /dev: nobody's here. */
        if (errno == EPERM && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode))
            return 0;
        return -errno;
    }
    now.uid = uid == KEEP ? now.uid : uid;
    now.gid = gid == KEEP ? now.gid : gid;
    return owner_note(c->w, fd, &now);
}

static int64_t chown_path(const Call *c, int dirfd, uint64_t path, uint64_t uid, uint64_t gid,
                          int flags)
{
    char text[PATH_MAX] = "";
    if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    int rc = path || !(flags & AT_EMPTY_PATH) ? call_text(c, path, text, sizeof text) : 0;
    if (rc < 0)
        return rc;
    scoped(fd) int fd = -1;
    if (!*text && flags & AT_EMPTY_PATH && dirfd != AT_FDCWD)
        fd = call_fd(c, dirfd);
    else
        fd = call_open(c, dirfd, *text || !(flags & AT_EMPTY_PATH) ? text : ".",
                       !(flags & AT_SYMLINK_NOFOLLOW));
    return fd < 0 ? fd : give(c, fd, (uint32_t)uid, (uint32_t)gid);
}

int64_t on_chown(const Call *c)
{
    return chown_path(c, AT_FDCWD, c->arg[0], c->arg[1], c->arg[2], 0);
}

int64_t on_lchown(const Call *c)
{
    return chown_path(c, AT_FDCWD, c->arg[0], c->arg[1], c->arg[2], AT_SYMLINK_NOFOLLOW);
}

int64_t on_fchownat(const Call *c)
{
    return chown_path(c, (int)c->arg[0], c->arg[1], c->arg[2], c->arg[3], (int)c->arg[4]);
}

int64_t on_fchown(const Call *c)
{
    scoped(fd) int fd = call_fd(c, (int)c->arg[0]);
    return fd < 0 ? fd : give(c, fd, (uint32_t)c->arg[1], (uint32_t)c->arg[2]);
}

/* ---- new files ---- */

/* Where a new file goes and whose it will be. */
typedef struct Place {
    int parent;
    char base[256];
    Owner owner;
} Place;

static inline void scoped_place_done(Place *p)
{
    scoped_fd_done(&p->parent);
}

static int64_t find_place(const Call *c, int dirfd, uint64_t path, Place *p)
{
    char text[PATH_MAX];
    const Cred *cred = call_cred(c);
    Owner dir = {0};
    struct stat st;
    int rc = call_text(c, path, text, sizeof text);
    if (rc < 0)
        return rc;
    if ((p->parent = call_parent(c, dirfd, text, p->base)) < 0 || fstat(p->parent, &st) < 0)
        return PASS; /* the kernel says what is wrong with it */
    p->owner.uid = cred->uid[CRED_FS];
    p->owner.gid = cred->gid[CRED_FS];
    if (st.st_mode & S_ISGID && owner_of(c->w, p->parent, &dir))
        p->owner.gid = dir.gid;
    else if (st.st_mode & S_ISGID)
        p->owner.gid = 0;
    return 0;
}

/* The same, and whether the kernel would do it right. */
static int64_t need_place(const Call *c, int dirfd, uint64_t path, Place *p)
{
    int64_t rc = find_place(c, dirfd, path, p);
    return rc == 0 && !p->owner.uid && !p->owner.gid ? PASS : rc;
}

/* Remember the owner of what was made, which `fd` is if that is open already. */
static int64_t note_new(const Call *c, const Place *p, int fd)
{
    scoped(fd) int opened = -1;
    if (fd < 0)
        fd = opened = openat(p->parent, p->base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? 0 : owner_note(c->w, fd, &p->owner);
}

static int64_t make_dir(const Call *c, int dirfd, uint64_t path, uint64_t mode)
{
    scoped(place) Place p = {.parent = -1};
    int64_t rc = need_place(c, dirfd, path, &p);
    if (rc != 0)
        return rc;
    if (mkdirat(p.parent, p.base, (mode_t)mode & 07777 & ~call_umask(c)) < 0)
        return -errno;
    return note_new(c, &p, -1);
}

int64_t on_mkdir(const Call *c)
{
    return make_dir(c, AT_FDCWD, c->arg[0], c->arg[1]);
}

int64_t on_mkdirat(const Call *c)
{
    return make_dir(c, (int)c->arg[0], c->arg[1], c->arg[2]);
}

static int64_t make_symlink(const Call *c, uint64_t target, int dirfd, uint64_t path)
{
    scoped(place) Place p = {.parent = -1};
    char text[PATH_MAX];
    int64_t rc = need_place(c, dirfd, path, &p);
    if (rc == 0)
        rc = call_text(c, target, text, sizeof text);
    if (rc != 0)
        return rc;
    return symlinkat(text, p.parent, p.base) < 0 ? -errno : note_new(c, &p, -1);
}

int64_t on_symlink(const Call *c)
{
    return make_symlink(c, c->arg[0], AT_FDCWD, c->arg[1]);
}

int64_t on_symlinkat(const Call *c)
{
    return make_symlink(c, c->arg[0], (int)c->arg[1], c->arg[2]);
}

/* A device is an empty file that says what it stands for; as root, too, overlayfs lets nobody make
 * its mark of a deletion. */
static int64_t make_node(const Call *c, int dirfd, uint64_t path, uint64_t mode64, uint64_t dev)
{
    scoped(place) Place p = {.parent = -1};
    mode_t mode = (mode_t)mode64;
    bool device = S_ISCHR(mode) || S_ISBLK(mode);
    if (device && call_cred(c)->uid[CRED_EFFECTIVE] != 0)
        return -EPERM;
    if (S_ISCHR(mode) && dev == 0)
        return -EPERM;
    int64_t rc = device ? find_place(c, dirfd, path, &p) : need_place(c, dirfd, path, &p);
    if (rc != 0)
        return rc;
    mode &= ~call_umask(c);
    if (!device)
        return mknodat(p.parent, p.base, mode, 0) < 0 ? -errno : note_new(c, &p, -1);
    scoped(fd) int fd = openat(p.parent, p.base,
                               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 07777);
    if (fd < 0)
        return -errno;
    p.owner.type = mode & S_IFMT;
    p.owner.major = major(dev);
    p.owner.minor = minor(dev);
    rc = note_new(c, &p, fd);
    if (rc < 0)
        (void)unlinkat(p.parent, p.base, 0);
    return rc < 0 ? -EPERM : 0;
}

int64_t on_mknod(const Call *c)
{
    return make_node(c, AT_FDCWD, c->arg[0], c->arg[1], (uint32_t)c->arg[2]);
}

int64_t on_mknodat(const Call *c)
{
    return make_node(c, (int)c->arg[0], c->arg[1], c->arg[2], (uint32_t)c->arg[3]);
}

/* ---- open ---- */

/* Give the caller our descriptor as the answer. Kernels before 5.14 do that in two steps. */
static int64_t hand_over(const Call *c, int fd, uint64_t flags)
{
    struct seccomp_notif_addfd add = {.id = c->req->id,
                                      .flags = SECCOMP_ADDFD_FLAG_SEND,
                                      .srcfd = (uint32_t)fd,
                                      .newfd_flags = (uint32_t)(flags & O_CLOEXEC)};
    if (ioctl(c->w->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0)
        return ANSWERED;
    add.flags = 0;
    int got = errno == EINVAL ? ioctl(c->w->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) : -1;
    return got < 0 ? -errno : got;
}

/* A file that is there already is the kernel's affair, so nothing here ever waits for a fifo. */
static int64_t make_file(const Call *c, int dirfd, uint64_t path, uint64_t flags, uint64_t mode)
{
    scoped(place) Place p = {.parent = -1};
    bool nameless = (flags & O_TMPFILE) == O_TMPFILE;
    char text[PATH_MAX];
    if (!nameless && (flags & O_DIRECTORY || !(flags & O_CREAT)))
        return PASS;
    int64_t rc = need_place(c, dirfd, path, &p);
    if (rc != 0)
        return rc == PASS ? PASS : rc;
    int want = (int)(flags & INT_MAX) | O_CLOEXEC | O_NOCTTY;
    mode_t bits = (mode_t)mode & 07777 & ~call_umask(c);
    scoped(fd) int fd = -1;
    if (nameless) {
        if (call_text(c, path, text, sizeof text) < 0)
            return PASS;
        scoped(fd) int dir = call_open(c, dirfd, text, true);
        fd = dir < 0 ? -1 : openat(dir, ".", want, bits);
    } else {
        fd = openat(p.parent, p.base, want | O_EXCL | O_NOFOLLOW, bits);
    }
    if (fd < 0)
        return PASS;
    rc = note_new(c, &p, fd);
    if (rc == 0)
        rc = hand_over(c, fd, flags);
    if (rc < 0 && rc != ANSWERED && !nameless)
        (void)unlinkat(p.parent, p.base, 0);
    return rc;
}

int64_t on_open(const Call *c)
{
    return make_file(c, AT_FDCWD, c->arg[0], c->arg[1], c->arg[2]);
}

int64_t on_openat(const Call *c)
{
    return make_file(c, (int)c->arg[0], c->arg[1], c->arg[2], c->arg[3]);
}

int64_t on_creat(const Call *c)
{
    return make_file(c, AT_FDCWD, c->arg[0], O_CREAT | O_WRONLY | O_TRUNC, c->arg[1]);
}

int64_t on_openat2(const Call *c)
{
    struct open_how how;
    if (c->arg[3] < sizeof how || call_read(c, c->arg[2], &how, sizeof how) < 0 || how.resolve)
        return PASS;
    return make_file(c, (int)c->arg[0], c->arg[1], how.flags, how.mode);
}
