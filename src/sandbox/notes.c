/*
 * sandbox/notes.c - what the warden remembers, and where.
 *
 * Files and directories carry it themselves. Links and fifos of the step's root are known by their
 * inode in the upper directory and when that was born, because a rename changes neither; at the end
 * they become records by path. What the layers below remember is in their tables.
 */
#include <errno.h>
#include <limits.h>
#include <sys/sysmacros.h>

#include "base/fs.h"
#include "sandbox/warden.h"

enum { KEY_SIZE = 80, ALL = STATX_TYPE | STATX_INO | STATX_BTIME | STATX_MNT_ID };

static void self_name(int fd, char out[static 16])
{
    (void)snprintf(out, 16, "%d", fd);
}

static void key_of(const struct statx *x, char out[static KEY_SIZE])
{
    (void)snprintf(out, KEY_SIZE, "%u:%u:%llu:%lld.%u", x->stx_dev_major, x->stx_dev_minor,
                   (unsigned long long)x->stx_ino, (long long)x->stx_btime.tv_sec,
                   x->stx_btime.tv_nsec);
}

/* The topmost layer below that has the path, which the mounted root does show. */
static bool below_get(Warden *w, const char *path, Owner *ret)
{
    for (size_t i = 0; w->lower_links && i < w->spec->lowers.n; i++) {
        struct stat st;
        scoped(fd) int layer =
            openat(w->store, w->spec->lowers.v[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (layer >= 0 && fstatat(layer, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
            return owner_links_get(layer, path, &ret->uid, &ret->gid);
    }
    return false;
}

/*
 * What names the file: its own inode, or in the step's root that of the upper. With `ret_path`: it
 * is in no upper, but in a layer below, at that path.
 */
static bool find_key(Warden *w, int fd, char key[static KEY_SIZE], char ret_path[static PATH_MAX])
{
    struct statx x;
    char name[16];
    ret_path[0] = 0;
    if (statx(fd, "", AT_EMPTY_PATH, ALL, &x) < 0)
        return false;
    if (x.stx_mnt_id == w->root_mount) {
        self_name(fd, name);
        ssize_t n = readlink(name, ret_path, PATH_MAX - 1);
        if (n < 2)
            return false;
        ret_path[n] = 0;
        memmove(ret_path, ret_path + 1, (size_t)n);
        if (statx(w->upper, ret_path, AT_SYMLINK_NOFOLLOW, ALL, &x) < 0)
            return false;
        ret_path[0] = 0;
    }
    key_of(&x, key);
    return true;
}

static bool note_get(Warden *w, int fd, Owner *ret)
{
    char key[KEY_SIZE], path[PATH_MAX];
    uint64_t i;
    struct stat st;
    if ((!w->nnote && !w->lower_links) || fstat(fd, &st) < 0 || S_ISDIR(st.st_mode))
        return false;
    if (!find_key(w, fd, key, path))
        return *path && below_get(w, path, ret);
    if (!map_get(&w->note_of, key, &i))
        return false;
    ret->uid = w->notes[i].uid;
    ret->gid = w->notes[i].gid;
    return true;
}

bool owner_of(Warden *w, int fd, Owner *ret)
{
    char name[16];
    Owner o = {0};
    self_name(fd, name);
    if (!owner_get(name, &o) && !note_get(w, fd, &o))
        return false;
    *ret = o;
    return true;
}

static int note_put(Warden *w, int fd, const Owner *o)
{
    char key[KEY_SIZE], path[PATH_MAX];
    uint64_t i;
    if (!find_key(w, fd, key, path))
        return -EIO;
    if (!map_get(&w->note_of, key, &i)) {
        if (!o->uid && !o->gid)
            return 0;
        i = w->nnote;
        Note *n = ARENA_PUSH(w->arena, w->notes, w->nnote, w->note_cap);
        n->key = arena_strdup(w->arena, key);
        map_put(&w->note_of, n->key, i);
    }
    w->notes[i].uid = o->uid;
    w->notes[i].gid = o->gid;
    return 0;
}

int owner_note(Warden *w, int fd, const Owner *o)
{
    char name[16];
    struct stat st;
    self_name(fd, name);
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return note_put(w, fd, o);
    if (owner_put(name, o) == 0)
        return 0;
    /* A file system in memory before Linux 6.6, which ends with the step. */
    return errno == EOPNOTSUPP && !o->type ? note_put(w, fd, o) : -errno;
}

int owner_lift(Warden *w, int fd)
{
    char key[KEY_SIZE], path[PATH_MAX];
    Owner o = {0};
    if (find_key(w, fd, key, path) || !*path || !below_get(w, path, &o))
        return 0;
    if (fchownat(fd, "", 0, 0, AT_EMPTY_PATH) < 0) /* to whom it belongs already */
        return -errno;
    return note_put(w, fd, &o);
}

/* ---- the table ---- */

typedef struct Emit {
    Warden *w;
    Arena arena;
    Err *e;
} Emit;

static bool emit_dir(Emit *m, int up, const char *name, const char *path);

static bool emit_name(Emit *m, int dir, const char *name, const char *path)
{
    struct statx x;
    char key[KEY_SIZE];
    uint64_t i;
    if (statx(dir, name, AT_SYMLINK_NOFOLLOW, ALL, &x) < 0)
        return true;
    if (S_ISDIR(x.stx_mode))
        return emit_dir(m, dir, name, path);
    key_of(&x, key);
    if (S_ISREG(x.stx_mode) || !map_get(&m->w->note_of, key, &i))
        return true;
    const Note *n = &m->w->notes[i];
    if ((!n->uid && !n->gid) ||
        owner_links_add(m->w->scratch, OWNER_LINKS, path, n->uid, n->gid) == 0)
        return true;
    return err_errno(m->e, ERR_STORE, "remember the owner of '/%s'", path);
}

static bool emit_dir(Emit *m, int up, const char *name, const char *path)
{
    scoped(arena) Arena a = {0};
    StrList names;
    scoped(fd) int dir = openat(up, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return err_errno(m->e, ERR_STORE, "open directory '/%s'", path);
    if (!fs_list(&a, dir, &names, m->e))
        return false;
    for (size_t i = 0; i < names.n; i++)
        if (!emit_name(m, dir, names.v[i],
                       arena_printf(&a, "%s%s%s", path, *path ? "/" : "", names.v[i])))
            return false;
    return true;
}

bool notes_write(Warden *w, Err *e)
{
    Emit m = {.w = w, .e = e};
    return !w->nnote || emit_dir(&m, w->upper, ".", "");
}
