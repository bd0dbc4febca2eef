/*
 * layer/unpack.c - a tar stream into one directory, in overlay form.
 *
 * Parents are opened with the layer's directory as root, so no name and no link that the archive
 * made can lead out of it.
 */
#include <errno.h>
#include <sys/sysmacros.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "base/owner.h"
#include "layer/layer.h"

/* A directory whose time is set when nothing is written into it any more. */
typedef struct DirTime {
    char *path;
    struct timespec mtime;
} DirTime;

typedef struct Unpacker {
    TarReader *tar;
    int dirfd;
    bool in_userns;
    const View *below;
    bool implied;
    Arena arena;
    DirTime *dirs;
    size_t ndir, cap;
    int parent; /* the last parent opened, and its name */
    char *parent_name;
    Err *e;
} Unpacker;

static bool imply_dir(Unpacker *u, int parent, const char *base, const char *dir);

static bool open_parent(Unpacker *u, const char *name, int *ret_fd, const char **ret_base)
{
    const char *base = path_base(name);
    size_t len = base == name ? 0 : (size_t)(base - name - 1);
    *ret_base = base;
    if (u->parent < 0 || strlen(u->parent_name) != len || memcmp(u->parent_name, name, len) != 0) {
        char *dir = arena_strndup(&u->arena, name, len);
        if (u->parent >= 0)
            close(u->parent);
        u->parent = fs_open_in_root(u->dirfd, *dir ? dir : ".", O_RDONLY | O_DIRECTORY, 0);
        if (u->parent < 0 && errno == ENOENT) {
            /* Archives may leave parents out; each is made where the one above really is. */
            int fd;
            const char *last;
            if (!open_parent(u, dir, &fd, &last))
                return false;
            if (!imply_dir(u, fd, last, dir))
                return false;
            close(u->parent);
            u->parent = fs_open_in_root(u->dirfd, dir, O_RDONLY | O_DIRECTORY, 0);
        }
        if (u->parent < 0)
            return err_errno(u->e, ERR_STORE, "open directory '%s' of the layer", dir);
        u->parent_name = dir;
    }
    *ret_fd = u->parent;
    return true;
}

/* Make a directory that the archive has entries in and no entry of: as the layers below have it. */
static bool imply_dir(Unpacker *u, int parent, const char *base, const char *dir)
{
    struct stat st = {.st_mode = 0755};
    ViewNode node = {.exists = false};
    if (u->below && !view_lookup(u->below, dir, VIEW_NOFOLLOW, &node, u->e))
        return false;
    if (node.exists && S_ISDIR(node.st.st_mode))
        st = node.st;
    u->implied = true;
    if (mkdirat(parent, base, 0700) < 0 ||
        owner_chown(u->dirfd, parent, base, st.st_uid, st.st_gid) < 0 ||
        fchmodat(parent, base, st.st_mode & 07777, 0) < 0)
        return err_errno(u->e, ERR_STORE, "create directory '%s'", dir);
    if (node.exists)
        *ARENA_PUSH(&u->arena, u->dirs, u->ndir, u->cap) =
            (DirTime){arena_strdup(&u->arena, dir), st.st_mtim};
    return true;
}

static bool set_xattr(Unpacker *u, int fd, const char *name, const char *key, const void *value,
                      size_t n)
{
    if (fs_setxattr(fd, key, value, n) == 0)
        return true;
    return err_errno(u->e, ERR_STORE, "set attribute %s of '%s'", key, name);
}

static bool mark_opaque(Unpacker *u, int parent, const char *name)
{
    const char *key = u->in_userns ? "user.overlay.opaque" : "trusted.overlay.opaque";
    return set_xattr(u, parent, name, key, "y", 1);
}

static bool own(Unpacker *u, int parent, const char *base, const TarEntry *t)
{
    if (owner_chown(u->dirfd, parent, base, t->uid, t->gid) == 0)
        return true;
    if (errno == EINVAL && u->in_userns)
        return err_set(u->e, ERR_ENV,
                       "'%s' belongs to %u:%u, outside the ids this user may use: give the user "
                       "more in /etc/subuid and /etc/subgid",
                       t->name, t->uid, t->gid);
    return err_errno(u->e, ERR_STORE, "change owner of '%s'", t->name);
}

static bool hide_below(Unpacker *u, int parent, const char *base, const TarEntry *t)
{
    scoped(fd) int fd = openat(parent, base, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(u->e, ERR_STORE, "open directory '%s'", t->name);
    return mark_opaque(u, fd, t->name);
}

/* Owner, mode, attributes, time; in that order, for a new owner clears setuid and capabilities. */
static bool dress(Unpacker *u, int parent, const char *base, const TarEntry *t)
{
    if (!own(u, parent, base, t))
        return false;
    if (t->type != '2' && fchmodat(parent, base, t->mode, 0) < 0)
        return err_errno(u->e, ERR_STORE, "change mode of '%s'", t->name);
    if (t->type == '0' || t->type == '5') {
        scoped(fd) int fd = -1;
        for (size_t i = 0; i < t->nxattr; i++) {
            if (!xattr_kept(t->xattrs[i].name))
                continue;
            if (fd < 0 && (fd = openat(parent, base, O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0)
                return err_errno(u->e, ERR_STORE, "open '%s'", t->name);
            if (!set_xattr(u, fd, t->name, t->xattrs[i].name, t->xattrs[i].value.ptr,
                           t->xattrs[i].value.len))
                return false;
        }
    }
    struct timespec ts[2] = {t->mtime, t->mtime};
    if (t->type == '5') {
        *ARENA_PUSH(&u->arena, u->dirs, u->ndir, u->cap) =
            (DirTime){arena_strdup(&u->arena, t->name), t->mtime};
        return true;
    }
    if (utimensat(parent, base, ts, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(u->e, ERR_STORE, "set time of '%s'", t->name);
    return true;
}

static bool put_file(Unpacker *u, int parent, const char *base, const TarEntry *t)
{
    char block[64 << 10];
    scoped(fd) int fd =
        openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(u->e, ERR_STORE, "create '%s'", t->name);
    for (size_t n = 1; n;) {
        if (cancel_wanted())
            return err_set(u->e, ERR_STEP, "cancelled");
        if (!tar_read(u->tar, block, sizeof block, &n, u->e))
            return err_wrap(u->e, "'%s'", t->name);
        if (!fs_write_all(fd, block, n, u->e))
            return err_wrap(u->e, "'%s'", t->name);
    }
    return true;
}

static bool put_link(Unpacker *u, int parent, const char *base, const TarEntry *t)
{
    const char *last = path_base(t->link);
    char *dir =
        arena_strndup(&u->arena, t->link, last == t->link ? 0 : (size_t)(last - t->link - 1));
    scoped(fd) int from = fs_open_in_root(u->dirfd, *dir ? dir : ".", O_RDONLY | O_DIRECTORY, 0);
    struct stat st;
    if (from < 0 || fstatat(from, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(u->e, ERR_STORE, "hard link '%s' to '%s'", t->name, t->link);
    if (S_ISDIR(st.st_mode) || overlay_whiteout(&st))
        return err_set(u->e, ERR_STORE, "hard link '%s' to '%s', which is no file", t->name,
                       t->link);
    if (linkat(from, last, parent, base, 0) < 0)
        return err_errno(u->e, ERR_STORE, "hard link '%s' to '%s'", t->name, t->link);
    return true;
}

static bool put_node(Unpacker *u, int parent, const char *base, const TarEntry *t,
                     bool *ret_skipped)
{
    mode_t type = t->type == '3' ? S_IFCHR : t->type == '4' ? S_IFBLK : S_IFIFO;
    if (type == S_IFCHR && t->major == 0 && t->minor == 0)
        return err_set(u->e, ERR_STORE,
                       "'%s' is a device 0:0, which overlayfs takes for a deletion", t->name);
    dev_t dev = type == S_IFIFO ? 0 : makedev(t->major, t->minor);
    if (owner_mknod(parent, base, type | 0600, dev) == 0)
        return true;
    /* /dev is mounted over in every step, so its nodes are never seen; the layer's own bytes keep
     * them. */
    if (errno == EPERM && u->in_userns && str_starts(t->name, "dev/")) {
        *ret_skipped = true;
        return true;
    }
    return err_errno(u->e, ERR_STORE, "create device '%s'", t->name);
}

/* *ret_opaque: the name was deleted in this layer, so a directory made there shows nothing from
 * below. */
static bool make_room(Unpacker *u, int parent, const char *base, const TarEntry *t,
                      bool *ret_opaque)
{
    struct stat st;
    if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? true : err_errno(u->e, ERR_STORE, "stat '%s'", t->name);
    if (t->type == '5' && S_ISDIR(st.st_mode))
        return true;
    *ret_opaque = overlay_whiteout(&st) && t->type == '5';
    return fs_remove_tree(parent, base, u->e);
}

static bool put_whiteout(Unpacker *u, int parent, const char *base, const TarEntry *t)
{
    if (!strcmp(base, ".wh..wh..opq"))
        return mark_opaque(u, parent, t->name);
    if (str_starts(base, ".wh..wh.")) /* aufs' own files, left out by every reader */
        return true;
    const char *gone = base + 4;
    if (!*gone || !strcmp(gone, ".") || !strcmp(gone, ".."))
        return err_set(u->e, ERR_STORE, "'%s' is a deletion without a name", t->name);
    struct stat st;
    if (fstatat(parent, gone, &st, AT_SYMLINK_NOFOLLOW) == 0) /* made anew in this layer as well */
        return !S_ISDIR(st.st_mode) || hide_below(u, parent, gone, t);
    if (mknodat(parent, gone, S_IFCHR, makedev(0, 0)) < 0)
        return err_errno(u->e, ERR_STORE, "create whiteout for '%s'", t->name);
    return true;
}

static bool put_entry(Unpacker *u, const TarEntry *t)
{
    int parent;
    const char *base;
    if (!*t->name) {
        if (t->type != '5')
            return err_set(u->e, ERR_STORE,
                           "tar archive replaces its root by something that is no directory");
        return dress(u, u->dirfd, ".", t);
    }
    if (!open_parent(u, t->name, &parent, &base))
        return false;
    if (str_starts(base, ".wh."))
        return put_whiteout(u, parent, base, t);
    bool ok = true, skipped = false, hides = false;
    if (!make_room(u, parent, base, t, &hides))
        return false;
    switch (t->type) {
    case '0':
        ok = put_file(u, parent, base, t);
        break;
    case '1':
        return put_link(u, parent, base, t);
    case '2':
        ok = symlinkat(t->link, parent, base) == 0 ||
             err_errno(u->e, ERR_STORE, "create link '%s'", t->name);
        break;
    case '5':
        ok = mkdirat(parent, base, 0700) == 0 || errno == EEXIST ||
             err_errno(u->e, ERR_STORE, "create directory '%s'", t->name);
        break;
    default:
        ok = put_node(u, parent, base, t, &skipped);
        break;
    }
    return ok && (skipped || dress(u, parent, base, t)) &&
           (!hides || hide_below(u, parent, base, t));
}

static bool set_dir_times(Unpacker *u)
{
    for (size_t i = u->ndir; i-- > 0;) {
        struct timespec ts[2] = {u->dirs[i].mtime, u->dirs[i].mtime};
        scoped(fd) int fd = fs_open_in_root(u->dirfd, *u->dirs[i].path ? u->dirs[i].path : ".",
                                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        /* A later entry may have replaced it by something else. */
        if (fd >= 0 && futimens(fd, ts) < 0)
            return err_errno(u->e, ERR_STORE, "set time of '%s'", u->dirs[i].path);
    }
    return true;
}

bool layer_unpack(LayerIn *in, int dirfd, bool in_userns, const View *below, bool *ret_implied,
                  Err *e)
{
    TarReader tar;
    tar_reader_init(&tar, in);
    Unpacker u = {
        .tar = &tar, .dirfd = dirfd, .in_userns = in_userns, .below = below, .parent = -1, .e = e};
    bool ok = true, got = true;
    while (ok && got) {
        TarEntry t;
        ok = tar_next(&tar, &t, &got, e) && (!got || put_entry(&u, &t));
    }
    ok = ok && set_dir_times(&u);
    if (u.parent >= 0)
        close(u.parent);
    arena_done(&u.arena);
    tar_reader_done(&tar);
    if (ok)
        *ret_implied = u.implied;
    return ok;
}
