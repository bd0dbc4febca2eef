/*
 * tree/view.c - one file tree seen through a stack of directories.
 *
 * Every system call gets a path without links relative to one of the directories, because lookup
 * resolves links itself, component by component. Somebody may put a link into a context meanwhile,
 * so whatever is read is opened without following any: nothing outside can be reached by name.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/owner.h"
#include "tree/tree.h"

enum { MAX_LINKS = 40, MAX_STACK = 512 }; /* 40 is the kernel's own limit for links */

bool overlay_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

bool overlay_opaque(int dirfd, const char *path)
{
    static const char *const NAMES[] = {"trusted.overlay.opaque", "user.overlay.opaque"};
    scoped(fd) int fd =
        openat(dirfd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char v;
    for (size_t i = 0; fd >= 0 && i < NELEM(NAMES); i++)
        if (fgetxattr(fd, NAMES[i], &v, 1) == 1 && v == 'y')
            return true;
    return false;
}

/* Open what lookup found; a link that has come in the way since is ELOOP. */
static int open_in(int dirfd, const char *path, int flags)
{
    return fs_open_beneath(dirfd, path[0] ? path : ".", flags, 0);
}

/* The directories of the stack that contribute to one merged directory, top first. */
typedef struct Levels {
    uint16_t v[MAX_STACK];
    size_t n;
} Levels;

static void all_levels(const View *v, Levels *l)
{
    l->n = v->n < MAX_STACK ? v->n : MAX_STACK;
    for (size_t i = 0; i < l->n; i++)
        l->v[i] = (uint16_t)i;
}

/*
 * Find `path`, a name directly below the directory that `in` describes. `out` gets the levels of
 * the merged directory when it is one.
 */
static bool step(const View *v, const Levels *in, const char *path, ViewNode *node, Levels *out,
                 Err *e)
{
    Levels found = {.n = 0};
    node->exists = node->passage = false;
    for (size_t i = 0; i < in->n; i++) {
        struct stat st;
        int fd = v->dirfds[in->v[i]];
        if (fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno == ENOENT || errno == ENOTDIR)
                continue;
            return err_errno(e, ERR_STORE, "stat '%s'", path);
        }
        if (v->overlay && overlay_whiteout(&st))
            break;
        bool dir = S_ISDIR(st.st_mode);
        if (node->exists && !dir)
            break;
        if (!node->exists) {
            node->exists = true;
            node->layer = in->v[i];
            node->st = st;
        }
        if (!dir)
            break;
        found.v[found.n++] = in->v[i];
        if (!v->overlay || overlay_opaque(fd, path))
            break;
    }
    if (node->exists && v->sight) {
        ViewSight sight = v->sight(v->arg, path, S_ISDIR(node->st.st_mode));
        node->exists = sight != SIGHT_HIDDEN;
        node->passage = sight == SIGHT_PASSAGE;
    }
    *out = found;
    return true;
}

/* The walk of one look-up: what is left to read, and where it stands. */
typedef struct Walk {
    struct stat dir_st; /* of the directory `levels` describes, and where its top is */
    size_t dir_layer;
    Levels levels; /* of the directory `node->path` */
    char todo[2 * TREE_PATH_MAX];
    unsigned nlink;
} Walk;

static bool restart(const View *v, Walk *w, ViewNode *node)
{
    node->path[0] = 0;
    node->passage = false;
    node->exists = fstat(v->dirfds[0], &node->st) == 0;
    node->layer = 0;
    all_levels(v, &w->levels);
    return node->exists;
}

/* Go back to the parent of node->path by walking there again: `..` is rare. */
static bool go_up(const View *v, Walk *w, ViewNode *node, Err *e)
{
    char path[TREE_PATH_MAX];
    strcpy(path, node->path);
    char *slash = strrchr(path, '/');
    *(slash ? slash : path) = 0;
    restart(v, w, node);
    for (size_t i = 0; path[0] && i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        char c = path[i];
        path[i] = 0;
        strcpy(node->path, path);
        Levels next;
        if (!step(v, &w->levels, path, node, &next, e))
            return false;
        w->levels = next;
        path[i] = c;
        if (!c)
            break;
    }
    return true;
}

/* Replace the link at node->path by its target in front of what is left to read. */
static bool follow_link(const View *v, Walk *w, ViewNode *node, const char *rest, Err *e)
{
    char target[TREE_PATH_MAX], todo[2 * TREE_PATH_MAX];
    if (++w->nlink > MAX_LINKS)
        return err_set(e, ERR_STORE, "'%s': too many levels of symbolic links", node->path);
    ssize_t n = readlinkat(v->dirfds[node->layer], node->path, target, sizeof target - 1);
    if (n < 0)
        return err_errno(e, ERR_STORE, "read link '%s'", node->path);
    target[n] = 0;
    int len = snprintf(todo, sizeof todo, "%s%s%s", target, *rest ? "/" : "", rest);
    if (len < 0 || (size_t)len >= TREE_PATH_MAX)
        return err_set(e, ERR_STORE, "'%s': path is too long", node->path);
    strcpy(w->todo, todo);
    if (target[0] == '/') {
        restart(v, w, node);
    } else {
        char *slash = strrchr(node->path, '/');
        *(slash ? slash : node->path) = 0;
        node->exists = true;
        node->st = w->dir_st;
        node->layer = w->dir_layer;
    }
    return true;
}

static bool append_name(ViewNode *node, const char *name, size_t n, Err *e)
{
    size_t len = strlen(node->path);
    if (len + n + 2 > sizeof node->path)
        return err_set(e, ERR_STORE, "'%s': path is too long", node->path);
    if (len)
        node->path[len++] = '/';
    memcpy(node->path + len, name, n);
    node->path[len + n] = 0;
    return true;
}

bool view_lookup(const View *v, const char *path, ViewFollow follow, ViewNode *node, Err *e)
{
    Walk w = {.nlink = 0};
    if (strlen(path) >= TREE_PATH_MAX)
        return err_set(e, ERR_STORE, "path of %zu bytes is too long", strlen(path));
    strcpy(w.todo, path);
    bool missing = !v->n || !restart(v, &w, node);
    node->path[0] = 0;
    if (!v->n) { /* FROM scratch: a root, and nothing in it */
        node->passage = false;
        node->layer = 0;
        node->st = (struct stat){.st_mode = S_IFDIR | 0755};
    }

    while (w.todo[0]) {
        char todo[sizeof w.todo];
        strcpy(todo, w.todo);
        const char *p = todo;
        while (*p == '/')
            p++;
        size_t n = strcspn(p, "/");
        const char *rest = p + n;
        bool last = !rest[strspn(rest, "/")];
        bool wants_dir = *rest == '/';
        if (!n)
            break;
        if (n == 1 && *p == '.') {
            strcpy(w.todo, rest);
            continue;
        }
        if (n == 2 && !memcmp(p, "..", 2)) {
            if (!missing && !go_up(v, &w, node, e))
                return false;
            if (missing) { /* what does not exist has a parent by name only */
                char *slash = strrchr(node->path, '/');
                *(slash ? slash : node->path) = 0;
            }
            strcpy(w.todo, rest);
            continue;
        }
        if (!append_name(node, p, n, e))
            return false;
        Levels next = {.n = 0};
        w.dir_st = node->st;
        w.dir_layer = node->layer;
        node->exists = false;
        if (!missing && !step(v, &w.levels, node->path, node, &next, e))
            return false;
        if (node->exists && S_ISLNK(node->st.st_mode) &&
            (!last || wants_dir || follow == VIEW_FOLLOW)) {
            if (!follow_link(v, &w, node, rest, e))
                return false;
            continue;
        }
        if ((!last || wants_dir) && (!node->exists || !S_ISDIR(node->st.st_mode)))
            missing = true;
        w.levels = next;
        strcpy(w.todo, rest);
    }
    bool is_root = node->path[0] == 0;
    if (missing)
        node->exists = !v->n && is_root && !path[strspn(path, "/.")];
    else if (is_root)
        node->exists = true;
    if (node->exists && !v->zero_owner)
        owner_read(v->dirfds[node->layer], node->path, &node->st);
    return true;
}

/* Levels of a directory whose resolved path is known. */
static bool levels_of(const View *v, const char *path, Levels *ret, Err *e)
{
    char part[TREE_PATH_MAX];
    all_levels(v, ret);
    for (size_t i = 0; path[0] && i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        ViewNode node;
        Levels next;
        if (!step(v, ret, part, &node, &next, e))
            return false;
        *ret = next;
    }
    return true;
}

bool view_list(const View *v, Arena *a, const ViewNode *dir, StrList *ret, Err *e)
{
    Levels levels;
    scoped(map) Map seen = {0};
    StrList names = {0};
    if (!levels_of(v, dir->path, &levels, e))
        return false;
    for (size_t i = 0; i < levels.n; i++) {
        int fd = open_in(v->dirfds[levels.v[i]], dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        if (!d) {
            err_errno(e, ERR_STORE, "read directory '%s'", dir->path);
            if (fd >= 0)
                close(fd);
            return false;
        }
        errno = 0;
        for (struct dirent *de; (de = readdir(d)); errno = 0) {
            uint64_t hidden;
            struct stat st;
            if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") ||
                (v->overlay && !dir->path[0] && !strcmp(de->d_name, OWNER_LINKS)) ||
                map_get(&seen, de->d_name, &hidden))
                continue;
            bool gone = v->overlay && de->d_type == DT_CHR &&
                        fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                        overlay_whiteout(&st);
            char *name = arena_strdup(a, de->d_name);
            map_put(&seen, name, gone);
            if (!gone)
                *ARENA_PUSH(a, names.v, names.n, names.cap) = name;
        }
        bool ok = errno == 0 || err_errno(e, ERR_STORE, "read directory '%s'", dir->path);
        closedir(d);
        if (!ok)
            return false;
    }
    strlist_sort(&names);
    *ret = names;
    return true;
}

int view_open(const View *v, const ViewNode *file)
{
    /* O_NONBLOCK: a FIFO that came in the file's place must not hold the build up. */
    return open_in(v->dirfds[file->layer], file->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
}

bool xattr_kept(const char *name)
{
    if (!strcmp(name, "security.capability"))
        return true;
    return str_starts(name, "user.") && !str_starts(name, "user.overlay.") &&
           !str_starts(name, "user.containers.");
}

static int by_xattr(const void *a, const void *b)
{
    return strcmp(((const TreeXattr *)a)->name, ((const TreeXattr *)b)->name);
}

bool tree_xattrs(int dirfd, const char *path, Arena *a, TreeEntry *t, Err *e)
{
    /* An O_PATH descriptor needs no read permission; its /proc name reaches the file itself. */
    scoped(fd) int fd = open_in(dirfd, path, O_PATH | O_NOFOLLOW);
    char proc[32], names[16 << 10];
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open '%s'", path);
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    ssize_t n = listxattr(proc, names, sizeof names);
    if (n < 0 && errno == ERANGE)
        return err_errno(e, ERR_STORE, "list attributes of '%s'", path);
    if (n <= 0)
        return true;
    size_t cap = 0;
    for (const char *name = names; name < names + n; name += strlen(name) + 1) {
        char value[64 << 10];
        if (!xattr_kept(name))
            continue;
        ssize_t len = getxattr(proc, name, value, sizeof value);
        if (len < 0)
            return err_errno(e, ERR_STORE, "read attribute %s of '%s'", name, path);
        *ARENA_PUSH(a, t->xattrs, t->nxattr, cap) =
            (TreeXattr){arena_strdup(a, name), {arena_strndup(a, value, (size_t)len), (size_t)len}};
    }
    if (t->nxattr)
        qsort(t->xattrs, t->nxattr, sizeof *t->xattrs, by_xattr);
    return true;
}

bool view_entry(const View *v, Arena *a, const ViewNode *node, TreeEntry *ret, Err *e)
{
    const struct stat *st = &node->st;
    TreeEntry t = {
        .type = tree_type(st->st_mode),
        .mode = st->st_mode & 07777,
        .uid = v->zero_owner ? 0 : st->st_uid,
        .gid = v->zero_owner ? 0 : st->st_gid,
        .mtime = st->st_mtim,
        .ctime = st->st_ctim,
        .from = arena_strdup(a, node->path),
    };
    if (t.type == TREE_FILE)
        t.size = (uint64_t)st->st_size;
    if (t.type == TREE_CHAR || t.type == TREE_BLOCK) {
        t.major = major(st->st_rdev);
        t.minor = minor(st->st_rdev);
    }
    if (t.type == TREE_SYMLINK) {
        char target[TREE_PATH_MAX];
        scoped(fd) int fd = open_in(v->dirfds[node->layer], node->path, O_PATH | O_NOFOLLOW);
        ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", target, sizeof target - 1);
        if (n < 0)
            return err_errno(e, ERR_STORE, "read link '%s'", node->path);
        t.link = arena_strndup(a, target, (size_t)n);
        t.mode = 0777;
    }
    /* Other types have none that are kept. */
    if (v->n && (t.type == TREE_FILE || t.type == TREE_DIR) &&
        !tree_xattrs(v->dirfds[node->layer], node->path, a, &t, e))
        return false;
    *ret = t;
    return true;
}
