/*
 * snapshot/twin.c - a file that two snapshots have, and the disk once.
 *
 * A program that one stage compiles and another copies need not be written a second time: it gets a
 * second name. Nobody may tell: a command would see two links, and in one root one file in place of
 * two. So a snapshot that has such files is marked, from before it is known to anybody, and whoever
 * mounts it makes them its own first and takes the mark away. Where the mark is, nobody has it
 * mounted, and its files may get more names. All that is done with a mark is done under its lock.
 *
 *   twins/<id>   a mark: the paths, a line each
 */
#include <errno.h>
#include <sys/file.h>

#include "base/fs.h"
#include "snapshot/upper.h"

enum { MARK_MAX = 64 << 10 };

bool snapshot_twins_allow(Store *s, SnapshotId id, const StrList *paths, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    char path[STORE_TMP_MAX];
    int store = store_dirfd(s);
    for (size_t i = 0; i < paths->n; i++)
        if (!strchr(paths->v[i], '\n'))
            buf_printf(&text, "%s\n", paths->v[i]);
    if (!text.len)
        return true;
    store_snapshot_mark(id, path);
    if (mkdirat(store, "twins", 0700) < 0 && errno != EEXIST)
        return err_errno(e, ERR_STORE, "create '%s/twins'", store_path(s));
    return fs_write_file(store, path, text.ptr, text.len, e);
}

/* The mark of a snapshot, locked; *ret_fd is -1 where it has none. */
static bool lock_mark(Store *s, SnapshotId id, int *ret_fd, Err *e)
{
    char path[STORE_TMP_MAX];
    struct stat mine, now;
    int store = store_dirfd(s), locked;
    *ret_fd = -1;
    store_snapshot_mark(id, path);
    scoped(fd) int fd = openat(store, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || err_errno(e, ERR_STORE, "open '%s/%s'", store_path(s), path);
    while ((locked = flock(fd, LOCK_EX)) < 0 && errno == EINTR)
        continue;
    if (locked < 0 || fstat(fd, &mine) < 0)
        return err_errno(e, ERR_STORE, "lock '%s/%s'", store_path(s), path);
    if (fstatat(store, path, &now, AT_SYMLINK_NOFOLLOW) < 0) /* taken away while we waited */
        return errno == ENOENT || err_errno(e, ERR_STORE, "stat '%s/%s'", store_path(s), path);
    if (mine.st_ino == now.st_ino)
        *ret_fd = fd_take(&fd);
    return true;
}

/* A snapshot that has a mark, which is locked. */
typedef struct Marked {
    int mark, dir; /* -1: it has none */
    Buf text;
    Arena arena;
} Marked;
#define MARKED_INIT ((Marked){.mark = -1, .dir = -1, .text = BUF_INIT})

static void scoped_marked_done(Marked *m)
{
    if (m->mark >= 0)
        close(m->mark);
    if (m->dir >= 0)
        close(m->dir);
    buf_done(&m->text);
    arena_done(&m->arena);
}

static bool open_marked(Store *s, SnapshotId id, Marked *m, Err *e)
{
    return lock_mark(s, id, &m->mark, e) &&
           (m->mark < 0 || (fs_read_all(m->mark, MARK_MAX, &m->text, e) &&
                            store_snapshot_open(s, id, &m->dir, e)));
}

/* The next of its paths; NULL at the end. */
static const char *next_path(Arena *a, const char **text)
{
    size_t n = strcspn(*text, "\n");
    const char *path = n ? arena_strndup(a, *text, n) : NULL;
    *text += n + ((*text)[n] == '\n');
    return path;
}

/* ---- a second name ---- */

/* Whether what is at `path` is that very file, and looks as it is to look. */
static bool is_same(int snapshot, Arena *a, const char *path, int file, const TreeEntry *want)
{
    View v = {.dirfds = &snapshot, .n = 1, .overlay = true};
    ViewNode node;
    TreeEntry t;
    struct stat st;
    Err ignored = ERR_INIT;
    return fstat(file, &st) == 0 && view_lookup(&v, path, VIEW_NOFOLLOW, &node, &ignored) &&
           node.exists && !strcmp(node.path, path) && node.st.st_ino == st.st_ino &&
           node.st.st_dev == st.st_dev && view_entry(&v, a, &node, &t, &ignored) &&
           t.mode == want->mode && t.uid == want->uid && t.gid == want->gid &&
           fs_same_time(t.mtime, want->mtime) && tree_xattrs_same(&t, want);
}

bool snapshot_twin_make(Store *s, SnapshotId id, int file, const TreeEntry *want, const char *to,
                        bool *ret_done, Err *e)
{
    scoped(marked) Marked m = MARKED_INIT;
    const char *path;
    *ret_done = false;
    if (!open_marked(s, id, &m, e))
        return false;
    for (const char *p = buf_str(&m.text); !*ret_done && (path = next_path(&m.arena, &p));)
        *ret_done = is_same(m.dir, &m.arena, path, file, want) &&
                    linkat(m.dir, path, store_dirfd(s), to, 0) == 0;
    return true; /* where there is no link to be had, there is a copy */
}

/* ---- its own ---- */

static bool own_file(Store *s, Arena *a, int snapshot, const char *path, Err *e)
{
    View v = {.dirfds = &snapshot, .n = 1, .overlay = true};
    ViewNode node;
    TreeEntry t;
    struct stat above;
    char tmp[STORE_TMP_MAX];
    int raw = -1;
    const char *dir = path_dir(a, path);
    if (!view_lookup(&v, path, VIEW_NOFOLLOW, &node, e))
        return false;
    if (!node.exists || !S_ISREG(node.st.st_mode) || node.st.st_nlink < 2)
        return true; /* the other is gone, or has become its own */
    if (!view_entry(&v, a, &node, &t, e) || !store_tmp(s, "twin", tmp, e) ||
        !fs_open_dir(snapshot, *dir ? dir : ".", &raw, e))
        return false;
    scoped(fd) int parent = raw;
    scoped(fd) int in = view_open(&v, &node);
    if (in < 0 || fstat(parent, &above) < 0)
        return err_errno(e, ERR_STORE, "open '/%s'", path);
    if (!snapshot_copy_file(s, in, &t, tmp, e))
        return err_wrap(e, "copy '/%s'", path);
    if (renameat(store_dirfd(s), tmp, parent, path_base(path)) < 0)
        return err_errno(e, ERR_STORE, "put a copy at '/%s'", path);
    struct timespec ts[2] = {above.st_atim, above.st_mtim};
    return futimens(parent, ts) == 0 || err_errno(e, ERR_STORE, "set time of '/%s'", dir);
}

static bool own_all(Store *s, SnapshotId id, Err *e)
{
    scoped(marked) Marked m = MARKED_INIT;
    char path[STORE_TMP_MAX];
    const char *file;
    if (!open_marked(s, id, &m, e))
        return false;
    if (m.mark < 0)
        return true;
    for (const char *p = buf_str(&m.text); (file = next_path(&m.arena, &p));)
        if (!own_file(s, &m.arena, m.dir, file, e))
            return false;
    store_snapshot_mark(id, path);
    return unlinkat(store_dirfd(s), path, 0) == 0 ||
           err_errno(e, ERR_STORE, "remove '%s/%s'", store_path(s), path);
}

bool snapshot_twins_part(Store *s, const Stack *st, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names;
    scoped(fd) int dir = openat(store_dirfd(s), "twins", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT || err_errno(e, ERR_STORE, "open '%s/twins'", store_path(s));
    if (!fs_list(&a, dir, &names, e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        uint64_t id;
        for (size_t k = 0; str_u64(names.v[i], INT64_MAX, &id) && k < st->n; k++)
            if (st->ids[k] == id && !own_all(s, id, e))
                return false;
    }
    return true;
}
