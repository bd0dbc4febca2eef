/*
 * tree/select.c - a COPY source to the entries it stands for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/glob.h"
#include "base/map.h"
#include "tree/tree.h"

typedef struct Walker {
    const View *view;
    const TreeFilter *filter;
    Arena *arena;
    Selection *out;
    Map inodes; /* "layer:dev:ino" -> entry index + 1, of files with several names */
    Err *e;
} Walker;

static bool add_entry(Walker *w, const ViewNode *node, const char *path, bool passage)
{
    TreeEntry t;
    Tree *tree = &w->out->tree;
    if (tree->n >= TREE_MAX_ENTRIES)
        return err_set(w->e, ERR_DOCKERFILE, "more than %d files", TREE_MAX_ENTRIES);
    if (!view_entry(w->view, w->arena, node, &t, w->e))
        return false;
    t.path = path;
    t.passage = passage;
    if (t.type == TREE_FILE && node->st.st_nlink > 1) {
        uint64_t first;
        const char *id =
            arena_printf(w->arena, "%zu:%llu:%llu", node->layer,
                         (unsigned long long)node->st.st_dev, (unsigned long long)node->st.st_ino);
        if (map_get(&w->inodes, id, &first)) {
            t.link_group = (uint32_t)first;
            tree->v[first - 1].link_group = (uint32_t)first;
        } else {
            map_put(&w->inodes, id, tree->n + 1);
        }
    }
    *ARENA_PUSH(w->arena, tree->v, tree->n, tree->cap) = t;
    return true;
}

static bool walk(Walker *w, const ViewNode *dir, const char *prefix, unsigned depth);

/* One name in a directory, and all below it. `node` is room for it. */
static bool walk_name(Walker *w, const ViewNode *dir, const char *prefix, const char *name,
                      unsigned depth, ViewNode *node)
{
    const char *path = *prefix ? arena_printf(w->arena, "%s/%s", prefix, name) : name;
    const char *full = dir->path[0] ? arena_printf(w->arena, "%s/%s", dir->path, name) : name;
    if (!view_lookup(w->view, full, VIEW_NOFOLLOW, node, w->e))
        return false;
    if (!node->exists || S_ISSOCK(node->st.st_mode)) /* no archive can hold a socket */
        return true;
    bool is_dir = S_ISDIR(node->st.st_mode);
    ViewSight seen = w->filter ? w->filter->sight(w->filter->arg, path, is_dir) : SIGHT_SEEN;
    if (seen == SIGHT_HIDDEN)
        return true;
    if (!add_entry(w, node, path, seen == SIGHT_PASSAGE))
        return false;
    if (!is_dir)
        return true;
    bool passage = node->passage || seen == SIGHT_PASSAGE;
    size_t own = w->out->tree.n;
    if (!walk(w, node, path, depth + 1))
        return false;
    if (passage && w->out->tree.n == own)
        w->out->tree.n--;
    return true;
}

/*
 * The entries from `first` on are a reader's, who numbers the inodes as he likes: each file that
 * has more than one name here gets the number of the first of them, the others none.
 */
static void regroup(Walker *w, size_t first)
{
    Tree *t = &w->out->tree;
    uint32_t max = 0;
    for (size_t i = first; i < t->n; i++)
        max = t->v[i].link_group > max ? t->v[i].link_group : max;
    if (!max)
        return;
    size_t *firsts = NEW_N(w->arena, size_t, (size_t)max + 1); /* group -> index + 1 */
    for (size_t i = first; i < t->n; i++) {
        uint32_t group = t->v[i].link_group;
        if (!group)
            continue;
        t->v[i].link_group = (uint32_t)firsts[group];
        if (firsts[group])
            t->v[firsts[group] - 1].link_group = (uint32_t)firsts[group];
        else
            firsts[group] = i + 1;
    }
}

/* All that is below a directory that was named, by the view's own way if it has one. */
static bool walk_root(Walker *w, const ViewNode *dir)
{
    const View *v = w->view;
    size_t first = w->out->tree.n;
    if (!v->reader || (w->filter && !w->filter->name))
        return walk(w, dir, "", 0);
    if (!v->reader->below(v->arg, w->arena, dir->path, w->filter, &w->out->tree, w->e))
        return false;
    regroup(w, first);
    return true;
}

/* A directory that the ignore file leaves out may be closed to us: nothing in it is looked for. */
static bool is_closed(const Walker *w, const ViewNode *dir)
{
    return faccessat(w->view->dirfds[dir->layer], dir->path[0] ? dir->path : ".", R_OK | X_OK,
                     AT_EACCESS) < 0 &&
           errno == EACCES;
}

static bool walk(Walker *w, const ViewNode *dir, const char *prefix, unsigned depth)
{
    StrList names;
    if (dir->passage && is_closed(w, dir))
        return true;
    if (depth > TREE_MAX_DEPTH)
        return err_set(w->e, ERR_DOCKERFILE, "'%s': directories are nested too deep", dir->path);
    if (!view_list(w->view, w->arena, dir, &names, w->e))
        return false;
    ViewNode *node = malloc(sizeof *node); /* 4 KiB, so not one a directory in the arena */
    if (!node)
        die_nomem();
    bool ok = true;
    for (size_t i = 0; ok && i < names.n; i++)
        ok = walk_name(w, dir, prefix, names.v[i], depth, node);
    free(node);
    return ok;
}

/* Whether there is something of that type (0: of any) under just that name; a directory that is
 * left out and closed is as good as none. */
static bool is_there(Walker *w, const char *path, mode_t type, bool *ret)
{
    ViewNode node;
    if (!view_lookup(w->view, path, VIEW_NOFOLLOW, &node, w->e))
        return false;
    *ret = node.exists && (!type || (node.st.st_mode & S_IFMT) == type) &&
           !(type == S_IFDIR && node.passage && is_closed(w, &node));
    return true;
}

/* One thing that a source names, or that its pattern `matched`. */
static bool add_root(Walker *w, const char *name, bool matched)
{
    ViewNode node;
    bool dangling = false;
    if (!view_lookup(w->view, name, VIEW_FOLLOW, &node, w->e))
        return false;
    if (!node.exists && matched && !is_there(w, name, S_IFLNK, &dangling))
        return false;
    if (dangling)
        return err_set(w->e, ERR_DOCKERFILE,
                       "'%s' matches, and is a link to '%s', which does not exist: exclude the "
                       "link or name the sources",
                       name, node.path);
    if (!node.exists || S_ISSOCK(node.st.st_mode))
        return true;
    map_done(&w->inodes); /* each thing that is copied keeps the hard links within itself */
    Selection *s = w->out;
    size_t first = s->tree.n;
    bool is_dir = S_ISDIR(node.st.st_mode);
    if (!(is_dir ? walk_root(w, &node) : add_entry(w, &node, "", false)))
        return false;
    if (node.passage && s->tree.n == first) /* nothing in it is to be seen, so neither is it */
        return true;
    *ARENA_PUSH(w->arena, s->roots, s->nroot, s->root_cap) =
        (Selected){.name = arena_strdup(w->arena, name),
                   .is_dir = is_dir,
                   .first = first,
                   .n = s->tree.n - first};
    return true;
}

/*
 * Match the components of `pattern` below `dir` one by one, so that only directories it names are
 * read. Once a component was `matched`, links to directories are names like others, for the
 * reference walks there and never follows.
 */
static bool expand(Walker *w, const char *dir, const char *pattern, bool matched)
{
    size_t n = strcspn(pattern, "/");
    const char *rest = pattern[n] ? pattern + n + 1 : NULL;
    const char *part = arena_strndup(w->arena, pattern, n);
    if (!glob_has_meta(part)) {
        const char *path = *dir ? arena_printf(w->arena, "%s/%s", dir, part) : part;
        bool there = true;
        if (matched && !is_there(w, path, rest ? S_IFDIR : 0, &there))
            return false;
        if (!there)
            return true;
        return rest ? expand(w, path, rest, matched) : add_root(w, path, matched);
    }
    ViewNode *node = NEW(w->arena, ViewNode);
    StrList names;
    if (!view_lookup(w->view, dir, VIEW_FOLLOW, node, w->e))
        return false;
    if (!node->exists || !S_ISDIR(node->st.st_mode) || (node->passage && is_closed(w, node)))
        return true;
    if (!view_list(w->view, w->arena, node, &names, w->e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        bool match;
        if (!glob_match(part, names.v[i], &match))
            return err_set(w->e, ERR_DOCKERFILE, "malformed pattern '%s'", part);
        if (!match)
            continue;
        const char *path = *dir ? arena_printf(w->arena, "%s/%s", dir, names.v[i]) : names.v[i];
        bool there = true;
        if (rest && !is_there(w, path, S_IFDIR, &there))
            return false;
        if (there && !(rest ? expand(w, path, rest, true) : add_root(w, path, true)))
            return false;
    }
    return true;
}

bool tree_select(const View *v, Arena *a, const char *source, const TreeFilter *filter,
                 Selection *out, bool *ret_any, Err *e)
{
    const char *clean = path_clean(a, arena_printf(a, "/%s", source)) + 1;
    size_t before = out->nroot;
    Walker w = {.view = v, .filter = filter, .arena = a, .out = out, .e = e};
    bool ok = expand(&w, "", clean, false);
    map_done(&w.inodes);
    if (ok)
        *ret_any = out->nroot > before;
    return ok;
}

bool tree_hash(const View *v, Tree *t, Err *e)
{
    for (size_t i = 0; i < t->n; i++) {
        TreeEntry *x = &t->v[i];
        if (x->type != TREE_FILE || !digest_is_zero(&x->content))
            continue;
        if (x->link_group && x->link_group - 1 < i) {
            x->content = t->v[x->link_group - 1].content;
            x->racy = t->v[x->link_group - 1].racy;
            continue;
        }
        ViewNode node;
        if (!view_lookup(v, x->from, VIEW_NOFOLLOW, &node, e))
            return false;
        if (v->reader && node.exists) {
            if (!v->reader->content(v->arg, &node, &x->content, &x->racy, e))
                return false;
            continue;
        }
        scoped(fd) int fd = node.exists ? view_open(v, &node) : -1;
        uint64_t size;
        if (!node.exists)
            errno = ENOENT;
        if (fd < 0)
            return err_errno(e, ERR_DOCKERFILE, "open '%s'", x->from);
        if (!digest_fd(fd, &x->content, &size, e))
            return err_wrap(e, "'%s'", x->from);
        if (size != x->size)
            return err_set(e, ERR_DOCKERFILE,
                           "'%s' changed while it was read; build again when nobody writes to it",
                           x->from);
    }
    return true;
}
