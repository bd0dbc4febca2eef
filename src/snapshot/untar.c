/*
 * snapshot/untar.c - a tar archive written over a stack, as ADD unpacks it.
 *
 * Names are resolved here, component by component, with the destination as root; what is written
 * then has a path without links. So neither the image's links nor the archive's lead out of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "base/owner.h"
#include "snapshot/upper.h"

enum {
    MAX_LINKS = 40,             /* the kernel's own limit */
    NAMES_MAX_BYTES = 512 << 20 /* of directories, which are remembered until the end */
};

/* A directory of a context, whose mode is set at the end: its owner may have to write into it. */
typedef struct DirMode {
    const char *path;
    mode_t mode;
    size_t i;
} DirMode;

typedef struct Untar {
    Upper *up;
    const UntarOpts *opts;
    bool context; /* owners mean nothing, devices are left out */
    TarReader tar;
    Arena arena;
    size_t name_bytes;
    Map fresh; /* directories made here: nothing of the stack shows in them */
    DirMode *modes;
    size_t nmode, mode_cap;
    ViewNode node; /* what look() found */
    char dest[TREE_PATH_MAX];
    /* The last parent: as the archive names it, and where that is. */
    bool parent_known;
    char parent_name[TREE_PATH_MAX], parent[TREE_PATH_MAX];
    Err *e;
} Untar;

static bool remember_dir(Untar *u, const char *path)
{
    u->name_bytes += strlen(path) + sizeof(UpperTime) + 2 * sizeof(MapSlot);
    if (u->name_bytes > NAMES_MAX_BYTES)
        return err_set(u->e, ERR_STEP,
                       "the directories of the archive have more than %d MiB of names",
                       NAMES_MAX_BYTES >> 20);
    return true;
}

static bool is_fresh(const Untar *u, const char *path)
{
    uint64_t v;
    return map_get(&u->fresh, path, &v);
}

/* Find `path` in u->node; `dir`, its parent, exists. */
static bool look(Untar *u, const char *dir, const char *path)
{
    ViewNode *n = &u->node;
    if (!is_fresh(u, dir))
        return view_lookup(&u->up->all.view, path, VIEW_NOFOLLOW, n, u->e);
    n->layer = 0;
    strcpy(n->path, path);
    n->exists = fstatat(u->up->dirfd, path, &n->st, AT_SYMLINK_NOFOLLOW) == 0;
    return n->exists || errno == ENOENT || err_errno(u->e, ERR_STORE, "stat '/%s'", path);
}

/* `out` must not be `dir`. */
static bool join(Untar *u, char out[static TREE_PATH_MAX], const char *dir, const char *name,
                 size_t n)
{
    int len = snprintf(out, TREE_PATH_MAX, "%s%s%.*s", dir, *dir ? "/" : "", (int)n, name);
    if (len < 0 || len >= TREE_PATH_MAX)
        return err_set(u->e, ERR_STEP, "'/%s/%.80s...': path is too long", dir, name);
    return true;
}

static bool shallow(Untar *u, const char *path)
{
    unsigned depth = 1;
    for (const char *p = path; *p; p++)
        depth += *p == '/';
    if (depth <= TREE_MAX_DEPTH)
        return true;
    return err_set(u->e, ERR_STEP, "'/%.200s...': directories are nested deeper than %d", path,
                   TREE_MAX_DEPTH);
}

/* ---- fields ---- */

static bool own(Untar *u, const char *path, uint32_t uid, uint32_t gid)
{
    if (u->context)
        return true;
    if (u->opts->chown) {
        uid = u->opts->uid;
        gid = u->opts->gid;
    }
    if (owner_chown(u->up->dirfd, u->up->dirfd, path, uid, gid) == 0)
        return true;
    if (errno == EINVAL && u->up->in_userns)
        return err_set(u->e, ERR_ENV,
                       "'/%s' belongs to %u:%u, outside the ids this user may use: give the user "
                       "more in /etc/subuid and /etc/subgid",
                       path, uid, gid);
    return err_errno(u->e, ERR_STORE, "give '/%s' to %u:%u", path, uid, gid);
}

static bool set_mode(Untar *u, const char *path, mode_t mode, bool is_dir)
{
    if (u->context && is_dir) {
        if (!remember_dir(u, path))
            return false;
        *ARENA_PUSH(&u->arena, u->modes, u->nmode, u->mode_cap) =
            (DirMode){arena_strdup(&u->arena, path), mode, u->nmode};
        return true;
    }
    return fchmodat(u->up->dirfd, path, mode, 0) == 0 ||
           err_errno(u->e, ERR_STORE, "change mode of '/%s'", path);
}

/* Best effort, as docker: the file system may not have them, the kernel may not let us. */
static bool set_xattrs(Untar *u, const char *path, const TarEntry *t)
{
    scoped(fd) int fd = -1;
    for (size_t i = 0; i < t->nxattr; i++) {
        const TreeXattr *x = &t->xattrs[i];
        if (!xattr_kept(x->name))
            continue;
        if (fd < 0 && (fd = openat(u->up->dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0)
            return err_errno(u->e, ERR_STORE, "open '/%s'", path);
        if (fs_setxattr(fd, x->name, x->value.ptr, x->value.len) < 0 && errno != EOPNOTSUPP &&
            errno != EPERM)
            return err_errno(u->e, ERR_STORE, "set attribute %s of '/%s'", x->name, path);
    }
    return true;
}

/* Times before 1970 become 1970. Source: moby/go-archive, boundTime. */
static struct timespec bound(struct timespec t)
{
    return t.tv_sec < 0 ? (struct timespec){0} : t;
}

/* Owner, attributes, mode, time; the owner first, for a new one clears setuid and capabilities. */
static bool dress(Untar *u, const char *path, const TarEntry *t, mode_t type)
{
    struct timespec m = bound(t->mtime), ts[2] = {m, m};
    if (!own(u, path, t->uid, t->gid))
        return false;
    if ((S_ISREG(type) || S_ISDIR(type)) && !set_xattrs(u, path, t))
        return false;
    if (!S_ISLNK(type) && !set_mode(u, path, t->mode, S_ISDIR(type)))
        return false;
    if (S_ISDIR(type)) {
        upper_remember_time(u->up, path, m);
        return true;
    }
    if (t->type == '1' && S_ISLNK(type))
        return true;
    return utimensat(u->up->dirfd, path, ts, AT_SYMLINK_NOFOLLOW) == 0 ||
           err_errno(u->e, ERR_STORE, "set time of '/%s'", path);
}

/* ---- places ---- */

static bool new_dir(Untar *u, const char *path)
{
    if (!shallow(u, path) || !remember_dir(u, path) || !upper_new_dir(u->up, path, u->e))
        return false;
    if (!is_fresh(u, path))
        map_put(&u->fresh, arena_strdup(&u->arena, path), 1);
    return true;
}

/* A directory the archive has entries in and no entry of. */
static bool imply(Untar *u, const char *dir, const char *path)
{
    if (!upper_own_dir(u->up, dir, u->e) || !new_dir(u, path))
        return false;
    if (!u->context && owner_chown(u->up->dirfd, u->up->dirfd, path, 0, 0) < 0)
        return err_errno(u->e, ERR_STORE, "give '/%s' to 0:0", path);
    return set_mode(u, path, 0755, true);
}

static void go_up(const Untar *u, char *at)
{
    if (!strcmp(at, u->dest))
        return;
    char *slash = strrchr(at, '/');
    *(slash ? slash : at) = 0;
}

/* What is left to resolve of a directory's name. */
typedef struct Todo {
    char text[TREE_PATH_MAX];
    size_t own; /* length of the end that the archive wrote; what is before came from links */
    unsigned nlink;
} Todo;

/* Put the target of the link u->node in front of `rest`. */
static bool push_link(Untar *u, Todo *todo, const char *rest, char *at)
{
    char target[TREE_PATH_MAX], text[TREE_PATH_MAX];
    if (++todo->nlink > MAX_LINKS)
        return err_set(u->e, ERR_STEP, "'/%s': too many levels of symbolic links", u->node.path);
    ssize_t n =
        readlinkat(u->up->all.view.dirfds[u->node.layer], u->node.path, target, sizeof target - 1);
    if (n < 0)
        return err_errno(u->e, ERR_STORE, "read link '/%s'", u->node.path);
    target[n] = 0;
    int len = snprintf(text, sizeof text, "%s/%s", target, rest);
    if (len < 0 || (size_t)len >= sizeof text)
        return err_set(u->e, ERR_STEP, "'/%s': path is too long", u->node.path);
    if (todo->own > strlen(rest))
        todo->own = strlen(rest);
    strcpy(todo->text, text);
    if (target[0] == '/')
        strcpy(at, u->dest);
    return true;
}

/*
 * Find the directory that the archive calls `name`, links followed, in `at`. What the archive names
 * and nobody has is made when `make`; what only a link names is not.
 */
static bool resolve_dir(Untar *u, const char *name, bool make, char at[static TREE_PATH_MAX])
{
    Todo todo = {.own = strlen(name)};
    char next[TREE_PATH_MAX];
    strcpy(todo.text, name);
    strcpy(at, u->dest);
    for (char *p = todo.text; *p;) {
        size_t n = strcspn(p, "/");
        char *rest = p + n + strspn(p + n, "/");
        bool linked = strlen(p) > todo.own;
        if (n == 2 && !memcmp(p, "..", 2))
            go_up(u, at);
        if (n == 0 || (n == 1 && *p == '.') || (n == 2 && !memcmp(p, "..", 2))) {
            p = rest;
            continue;
        }
        if (!join(u, next, at, p, n) || !look(u, at, next))
            return false;
        if (u->node.exists && S_ISLNK(u->node.st.st_mode)) {
            if (!push_link(u, &todo, rest, at))
                return false;
            p = todo.text;
            continue;
        }
        if (!u->node.exists && (linked || !make))
            return err_set(u->e, ERR_STEP, "'/%s' does not exist", next);
        if (u->node.exists && !S_ISDIR(u->node.st.st_mode))
            return err_set(u->e, ERR_STEP, "'/%s' is not a directory", next);
        if (!u->node.exists && !imply(u, at, next))
            return false;
        strcpy(at, next);
        p = rest;
    }
    return true;
}

/* Where the name of an entry is to be, in `path`; its parent is in u->parent and exists. */
static bool place(Untar *u, const char *name, char path[static TREE_PATH_MAX])
{
    const char *base = path_base(name);
    size_t n = base == name ? 0 : (size_t)(base - name - 1);
    char dir[TREE_PATH_MAX];
    memcpy(dir, name, n);
    dir[n] = 0;
    if (!u->parent_known || strcmp(dir, u->parent_name) != 0) {
        u->parent_known = false;
        if (!resolve_dir(u, dir, true, u->parent))
            return false;
        strcpy(u->parent_name, dir);
        u->parent_known = true;
    }
    return join(u, path, u->parent, base, strlen(base));
}

/* ---- entries ---- */

static bool copy_data(Untar *u, int fd, const char *path)
{
    char block[64 << 10];
    for (size_t n = 1; n;) {
        if (cancel_wanted())
            return err_set(u->e, ERR_STEP, "cancelled");
        if (!tar_read(&u->tar, block, sizeof block, &n, u->e)) {
            if (!layer_in_trouble(u->tar.in))
                u->e->kind = ERR_STEP;
            return err_wrap(u->e, "'/%s'", path);
        }
        if (!fs_write_all(fd, block, n, u->e))
            return err_wrap(u->e, "'/%s'", path);
    }
    return true;
}

static bool put_file(Untar *u, const char *path)
{
    scoped(fd) int fd =
        openat(u->up->dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(u->e, ERR_STORE, "create '/%s'", path);
    return copy_data(u, fd, path);
}

/* A hard link to a file of the image copies that up first, as overlayfs does. */
static bool put_link(Untar *u, const char *path, const TarEntry *t, mode_t *ret_type)
{
    const char *base = path_base(t->link);
    char dir[TREE_PATH_MAX], at[TREE_PATH_MAX], from[TREE_PATH_MAX];
    size_t n = base == t->link ? 0 : (size_t)(base - t->link - 1);
    memcpy(dir, t->link, n);
    dir[n] = 0;
    if (!resolve_dir(u, dir, false, at) || !join(u, from, at, base, strlen(base)) ||
        !look(u, at, from))
        return err_wrap(u->e, "hard link '/%s' to '%s'", path, t->link);
    if (!u->node.exists || S_ISDIR(u->node.st.st_mode))
        return err_set(u->e, ERR_STEP,
                       "hard link '/%s' to '%s', which is no file in the archive's "
                       "root",
                       path, t->link);
    *ret_type = u->node.st.st_mode;
    if (!upper_copy_up(u->up, &u->node, u->e))
        return err_wrap(u->e, "hard link '/%s' to '%s'", path, t->link);
    return linkat(u->up->dirfd, from, u->up->dirfd, path, 0) == 0 ||
           err_errno(u->e, ERR_STORE, "hard link '/%s' to '%s'", path, t->link);
}

static bool put_node(Untar *u, const char *path, const TarEntry *t, mode_t type, bool *ret_skipped)
{
    if (u->context && type != S_IFIFO) {
        *ret_skipped = true;
        return true;
    }
    if (type == S_IFCHR && t->major == 0 && t->minor == 0)
        return err_set(u->e, ERR_STEP,
                       "'/%s' is a device 0:0, which overlayfs takes for a deletion", path);
    dev_t dev = type == S_IFIFO ? 0 : makedev(t->major, t->minor);
    if (owner_mknod(u->up->dirfd, path, type | 0600, dev) == 0)
        return true;
    /* /dev is mounted over in every step, so its nodes are never seen. */
    if (errno == EPERM && u->up->in_userns && str_starts(path, "dev/")) {
        *ret_skipped = true;
        return true;
    }
    return err_errno(u->e, ERR_STORE, "create device '/%s'", path);
}

static mode_t type_of(char type)
{
    static const struct {
        char type;
        mode_t mode;
    } TYPES[] = {{'2', S_IFLNK}, {'3', S_IFCHR}, {'4', S_IFBLK}, {'5', S_IFDIR}, {'6', S_IFIFO}};
    for (size_t i = 0; i < NELEM(TYPES); i++)
        if (TYPES[i].type == type)
            return TYPES[i].mode;
    return S_IFREG;
}

static bool put_new(Untar *u, const char *path, const TarEntry *t)
{
    mode_t type = type_of(t->type);
    bool ok = true, skipped = false;
    switch (t->type) {
    case '0':
        ok = put_file(u, path);
        break;
    case '1':
        ok = put_link(u, path, t, &type);
        break;
    case '2':
        ok = symlinkat(t->link, u->up->dirfd, path) == 0 ||
             err_errno(u->e, ERR_STEP, "create link '/%s'", path);
        break;
    case '5':
        ok = new_dir(u, path);
        break;
    default:
        ok = put_node(u, path, t, type, &skipped);
        break;
    }
    return ok && (skipped || dress(u, path, t, type));
}

/* The destination itself. Names that come to "." leave it alone; "/" and ".." mean it. */
static bool put_root(Untar *u, const TarEntry *t)
{
    scoped(arena) Arena a = {0};
    if (!strcmp(path_clean(&a, t->raw), "."))
        return true;
    if (t->type != '5')
        return err_set(u->e, ERR_STEP, "the archive replaces its root '%s' by something else",
                       t->raw);
    /* No layer has an entry of the image's own root. */
    return !*u->dest || (upper_own_dir(u->up, u->dest, u->e) && dress(u, u->dest, t, S_IFDIR));
}

static bool put_entry(Untar *u, const TarEntry *t)
{
    char path[TREE_PATH_MAX];
    if (!*t->name)
        return put_root(u, t);
    if (!place(u, t->name, path) || !look(u, u->parent, path))
        return false;
    if (u->node.exists && S_ISDIR(u->node.st.st_mode) && t->type == '5')
        return upper_own_dir(u->up, path, u->e) && dress(u, path, t, S_IFDIR);
    if (u->node.exists) {
        if (!upper_remove(u->up, path, u->e))
            return false;
        u->parent_known = false; /* a link on the way there may have been replaced */
    }
    return upper_own_dir(u->up, u->parent, u->e) &&
           (t->type == '5' || upper_clear(u->up, path, u->e)) && put_new(u, path, t);
}

static bool next_entry(Untar *u, TarEntry *ret, bool *ret_got)
{
    if (cancel_wanted())
        return err_set(u->e, ERR_STEP, "cancelled");
    if (tar_next(&u->tar, ret, ret_got, u->e))
        return true;
    if (!layer_in_trouble(u->tar.in))
        u->e->kind = ERR_STEP;
    return false;
}

static bool untar(Untar *u, int fd)
{
    scoped(layer_in) LayerIn *in = layer_in_new(fd, LAYER_SNIFF);
    tar_reader_init(&u->tar, in);
    u->tar.clip = true;
    bool ok = true, got = true;
    while (ok && got) {
        TarEntry t;
        ok = next_entry(u, &t, &got) && (!got || put_entry(u, &t));
    }
    tar_reader_done(&u->tar);
    return ok;
}

static void scoped_untar_done(Untar *u)
{
    map_done(&u->fresh);
    arena_done(&u->arena);
}

bool upper_untar(Upper *up, int fd, const char *dest, const UntarOpts *o, Err *e)
{
    scoped(untar) Untar u = {.up = up, .opts = o, .e = e};
    uint32_t uid = o->chown ? o->uid : 0, gid = o->chown ? o->gid : 0;
    if (!upper_mkdirs(up, dest, 0755, uid, gid, e) ||
        !view_lookup(&up->all.view, dest, VIEW_FOLLOW, &u.node, e))
        return false;
    strcpy(u.dest, u.node.path);
    return untar(&u, fd);
}

/* ---- contexts ---- */

/* What is below comes first, for its path ends to be reachable; of equal ones the earlier. */
static int deepest_first(const void *a, const void *b)
{
    const DirMode *x = a, *y = b;
    int order = strcmp(y->path, x->path);
    return order ? order : x->i < y->i ? -1 : x->i > y->i;
}

/* Times first: a directory may lose the right to be entered. */
static bool finish_dirs(Untar *u)
{
    if (!upper_set_times(u->up, u->e))
        return false;
    u->up->ntime = 0;
    if (u->nmode)
        qsort(u->modes, u->nmode, sizeof *u->modes, deepest_first);
    for (size_t i = 0; i < u->nmode; i++) {
        const char *path = u->modes[i].path;
        bool latest = i + 1 == u->nmode || strcmp(u->modes[i + 1].path, path) != 0;
        scoped(fd) int fd = -1;
        if (latest && !upper_open_dir(u->up, path, &fd, u->e))
            return false;
        if (fd >= 0 && fchmod(fd, u->modes[i].mode) < 0)
            return err_errno(u->e, ERR_STORE, "change mode of '/%s'", path);
    }
    return true;
}

static bool begin_context(Store *s, Upper *ret, Err *e)
{
    const Stack nothing = {0};
    scoped(upper) Upper u = {.store = s, .dirfd = -1};
    if (!store_tmp(s, "context", u.tmp, e))
        return false;
    if (mkdirat(store_dirfd(s), u.tmp, 0700) < 0 || fchmodat(store_dirfd(s), u.tmp, 0755, 0) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), u.tmp);
    if (!fs_open_dir(store_dirfd(s), u.tmp, &u.dirfd, e) ||
        !stack_view(s, &nothing, u.dirfd, &u.all, e))
        return false;
    *ret = u;
    u = (Upper){.dirfd = -1};
    return true;
}

bool snapshot_from_tar(Store *s, int fd, SnapshotId *ret, Err *e)
{
    const UntarOpts opts = {0};
    scoped(upper) Upper up = {.dirfd = -1};
    if (!begin_context(s, &up, e))
        return false;
    scoped(untar) Untar u = {.up = &up, .opts = &opts, .context = true, .e = e};
    map_put(&u.fresh, "", 1);
    return untar(&u, fd) && finish_dirs(&u) && upper_commit(&up, ret, e);
}
