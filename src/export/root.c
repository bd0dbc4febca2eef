/*
 * export/root.c - file systems of results as a tar, or as files below a directory.
 */
#include <errno.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "base/map.h"
#include "export/export.h"
#include "tree/tree.h"

/* ---- as a tar ---- */

static bool write_roots(const ExportRoot *roots, size_t n, LayerTimes times, int out, Err *e)
{
    for (size_t i = 0; i < n; i++)
        if (!layer_pack_root(roots[i].view, roots[i].below, times, out, i + 1 == n, e))
            return false;
    return true;
}

bool export_roots_tar(const ExportRoot *roots, size_t n, LayerTimes times, const char *dest, Err *e)
{
    OutFile out;
    if (!strcmp(dest, "-"))
        return write_roots(roots, n, times, STDOUT_FILENO, e);
    if (!out_begin(dest, &out, e))
        return false;
    bool ok = write_roots(roots, n, times, out.fd, e) && out_commit(&out, e);
    out_abort(&out);
    return ok || err_wrap(e, "write '%s'", dest);
}

/* ---- as files ---- */

/* What is being written, and what is written when that is its name. */
static const char TMP[] = ".lighter-unfinished", TMP_OF_TMP[] = ".lighter-unfinished-2";

typedef struct Writer {
    const View *view;
    LayerTimes times;
    Arena kept; /* paths of files with several names */
    Map inodes; /* "dev:ino" -> address of the first name's path below `top` */
    int top;
    const char *tmp; /* the name that the entry has until it is whole */
    Err *e;
} Writer;

static bool write_entries(Writer *w, const ViewNode *dir, int dirfd, unsigned depth);

static struct timespec rule_time(const Writer *w, struct timespec t)
{
    bool fixed =
        w->times.kind == TIMES_FIXED || (w->times.kind == TIMES_CLAMP && t.tv_sec > w->times.at);
    return fixed ? (struct timespec){w->times.at, 0} : t;
}

static bool failed(Writer *w, const char *what, const char *path)
{
    return err_errno(w->e, ERR_USAGE, "%s '%s'", what, path);
}

/* Put what was made under w->tmp in its place. */
static bool settle(Writer *w, int dirfd, const char *name, const char *path)
{
    struct stat st;
    if (renameat(dirfd, w->tmp, dirfd, name) == 0) {
        (void)unlinkat(dirfd, w->tmp, 0); /* two names of one file: rename leaves both */
        return true;
    }
    int why = errno;
    (void)unlinkat(dirfd, w->tmp, 0);
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
        return err_set(w->e, ERR_USAGE,
                       "'%s' is a directory there and no directory in the image: remove it first",
                       path);
    errno = why;
    return failed(w, "write", path);
}

static bool copy_file(Writer *w, const ViewNode *node, int dirfd, mode_t mode)
{
    uint64_t size;
    struct timespec at = rule_time(w, node->st.st_mtim), ts[2] = {at, at};
    scoped(fd) int in = view_open(w->view, node);
    if (in < 0)
        return err_errno(w->e, ERR_STORE, "open '/%s'", node->path);
    scoped(fd) int out =
        openat(dirfd, w->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return failed(w, "create", node->path);
    if (!fs_copy_data(in, out, &size, w->e))
        return err_wrap(w->e, "'%s'", node->path);
    return (fchmod(out, mode) == 0 && futimens(out, ts) == 0) || failed(w, "write", node->path);
}

/* Whether an earlier name of the same file was written, which this one then is a link to. */
static bool link_file(Writer *w, const ViewNode *node, int dirfd, bool *ret_linked)
{
    uint64_t first;
    *ret_linked = false;
    if (node->st.st_nlink < 2)
        return true;
    char *id = arena_printf(&w->kept, "%llu:%llu", (unsigned long long)node->st.st_dev,
                            (unsigned long long)node->st.st_ino);
    if (!map_get(&w->inodes, id, &first)) {
        map_put(&w->inodes, id, (uint64_t)(uintptr_t)arena_strdup(&w->kept, node->path));
        return true;
    }
    *ret_linked = true;
    return linkat(w->top, (const char *)(uintptr_t)first, dirfd, w->tmp, 0) == 0 ||
           failed(w, "link", node->path);
}

static bool write_file(Writer *w, const ViewNode *node, int dirfd, const char *name)
{
    bool linked;
    return link_file(w, node, dirfd, &linked) &&
           (linked || copy_file(w, node, dirfd, node->st.st_mode & 07777)) &&
           settle(w, dirfd, name, node->path);
}

static bool write_link(Writer *w, const ViewNode *node, int dirfd, const char *name)
{
    scoped(arena) Arena a = {0};
    TreeEntry t;
    struct timespec at = rule_time(w, node->st.st_mtim), ts[2] = {at, at};
    if (!view_entry(w->view, &a, node, &t, w->e))
        return false;
    if (symlinkat(t.link, dirfd, w->tmp) < 0 ||
        utimensat(dirfd, w->tmp, ts, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(w, "create link", node->path);
    return settle(w, dirfd, name, node->path);
}

static bool write_fifo(Writer *w, const ViewNode *node, int dirfd, const char *name)
{
    if (mkfifoat(dirfd, w->tmp, 0600) < 0 ||
        fchmodat(dirfd, w->tmp, node->st.st_mode & 07777, 0) < 0)
        return failed(w, "create pipe", node->path);
    return settle(w, dirfd, name, node->path);
}

/* A directory that is there is added to; anything else of its name gives way. */
static bool write_dir(Writer *w, const ViewNode *node, int dirfd, const char *name, unsigned depth)
{
    struct stat st;
    struct timespec at = rule_time(w, node->st.st_mtim), ts[2] = {at, at};
    bool there = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && !S_ISDIR(st.st_mode) && unlinkat(dirfd, name, 0) < 0)
        return failed(w, "replace", node->path);
    if ((!there || !S_ISDIR(st.st_mode)) && mkdirat(dirfd, name, 0700) < 0)
        return failed(w, "create directory", node->path);
    scoped(fd) int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return failed(w, "open directory", node->path);
    if (!write_entries(w, node, fd, depth + 1))
        return false;
    return (fchmod(fd, node->st.st_mode & 07777) == 0 && futimens(fd, ts) == 0) ||
           failed(w, "set mode of", node->path);
}

static bool write_node(Writer *w, const ViewNode *node, int dirfd, const char *name, unsigned depth)
{
    w->tmp = strcmp(name, TMP) != 0 ? TMP : TMP_OF_TMP;
    switch (tree_type(node->st.st_mode)) {
    case TREE_FILE:
        return write_file(w, node, dirfd, name);
    case TREE_DIR:
        return write_dir(w, node, dirfd, name, depth);
    case TREE_SYMLINK:
        return write_link(w, node, dirfd, name);
    case TREE_FIFO:
        return write_fifo(w, node, dirfd, name);
    case TREE_CHAR:
    case TREE_BLOCK:
        return err_set(w->e, ERR_USAGE,
                       "'/%s' is a device node, which a directory cannot be given: use type=tar",
                       node->path);
    case TREE_SOCKET:
        return true;
    }
    return true;
}

static bool write_entries(Writer *w, const ViewNode *dir, int dirfd, unsigned depth)
{
    scoped(arena) Arena a = {0};
    StrList names;
    if (depth > TREE_MAX_DEPTH)
        return err_set(w->e, ERR_STEP, "'%s': directories are nested too deep", dir->path);
    if (cancel_wanted())
        return err_set(w->e, ERR_STEP, "cancelled");
    (void)unlinkat(dirfd, TMP, 0); /* of one that was killed */
    if (!view_list(w->view, &a, dir, &names, w->e))
        return false;
    ViewNode *node = NEW(&a, ViewNode);
    for (size_t i = 0; i < names.n; i++) {
        const char *path = arena_printf(&a, "%s%s%s", dir->path, *dir->path ? "/" : "", names.v[i]);
        if (!view_lookup(w->view, path, VIEW_NOFOLLOW, node, w->e))
            return false;
        if (node->exists && !write_node(w, node, dirfd, names.v[i], depth))
            return false;
    }
    return true;
}

static bool write_root(const ExportRoot *root, LayerTimes times, const char *dest, Err *e)
{
    scoped(arena) Arena a = {0};
    const char *path = root->below ? arena_printf(&a, "%s/%s", dest, root->below) : dest;
    ViewNode *node = NEW(&a, ViewNode);
    int raw;
    if (!fs_mkdirs(AT_FDCWD, path, e) || !fs_open_dir(AT_FDCWD, path, &raw, e))
        return false;
    scoped(fd) int top = raw;
    Writer w = {.view = root->view, .times = times, .top = top, .e = e};
    bool ok =
        view_lookup(root->view, "", VIEW_NOFOLLOW, node, e) && write_entries(&w, node, top, 0);
    map_done(&w.inodes);
    arena_done(&w.kept);
    return ok;
}

bool export_roots_dir(const ExportRoot *roots, size_t n, LayerTimes times, const char *dest, Err *e)
{
    for (size_t i = 0; i < n; i++)
        if (!write_root(&roots[i], times, dest, e)) {
            if (e->kind == ERR_STORE || e->kind == ERR_STEP)
                return err_wrap(e, "write to '%s'", dest);
            e->kind = ERR_USAGE;
            return err_wrap(e, "write to '%s'", dest);
        }
    return true;
}
