/*
 * tree/select.c - a COPY source to the entries it stands for.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/glob.h"
#include "base/map.h"
#include "tree/tree.h"

typedef struct Walker {
    const View *view;
    Arena *arena;
    Selection *out;
    Map inodes; /* "layer:dev:ino" -> entry index + 1, of files with several names */
    Err *e;
} Walker;

static bool add_entry(Walker *w, const ViewNode *node, const char *path, bool overwrite)
{
    TreeEntry t;
    Tree *tree = &w->out->tree;
    if (tree->n >= TREE_MAX_ENTRIES)
        return err_set(w->e, ERR_DOCKERFILE, "more than %d files", TREE_MAX_ENTRIES);
    if (!view_entry(w->view, w->arena, node, &t, w->e))
        return false;
    t.path = path;
    t.overwrite = overwrite;
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
    if (!add_entry(w, node, path, true))
        return false;
    if (!S_ISDIR(node->st.st_mode))
        return true;
    bool passage = node->passage;
    size_t own = w->out->tree.n;
    if (!walk(w, node, path, depth + 1))
        return false;
    if (passage && w->out->tree.n == own)
        w->out->tree.n--;
    return true;
}

static bool walk(Walker *w, const ViewNode *dir, const char *prefix, unsigned depth)
{
    StrList names;
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

static bool add_root(Walker *w, const char *name)
{
    ViewNode node;
    if (!view_lookup(w->view, name, VIEW_FOLLOW, &node, w->e))
        return false;
    if (!node.exists)
        return true;
    Selection *s = w->out;
    size_t first = s->tree.n;
    bool is_dir = S_ISDIR(node.st.st_mode);
    if (!(is_dir ? walk(w, &node, "", 0) : add_entry(w, &node, "", false)))
        return false;
    *ARENA_PUSH(w->arena, s->roots, s->nroot, s->root_cap) =
        (Selected){.name = arena_strdup(w->arena, name),
                   .is_dir = is_dir,
                   .first = first,
                   .n = s->tree.n - first};
    return true;
}

/* Match the components of `pattern` below `dir` one by one, so that only directories it names are
 * read. */
static bool expand(Walker *w, const char *dir, const char *pattern)
{
    size_t n = strcspn(pattern, "/");
    const char *rest = pattern[n] ? pattern + n + 1 : NULL;
    const char *part = arena_strndup(w->arena, pattern, n);
    if (!glob_has_meta(part)) {
        const char *path = *dir ? arena_printf(w->arena, "%s/%s", dir, part) : part;
        return rest ? expand(w, path, rest) : add_root(w, path);
    }
    ViewNode *node = NEW(w->arena, ViewNode);
    StrList names;
    if (!view_lookup(w->view, dir, VIEW_FOLLOW, node, w->e))
        return false;
    if (!node->exists || !S_ISDIR(node->st.st_mode))
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
        if (!(rest ? expand(w, path, rest) : add_root(w, path)))
            return false;
    }
    return true;
}

bool tree_select(const View *v, Arena *a, const char *source, Selection *out, bool *ret_any, Err *e)
{
    const char *clean = path_clean(a, arena_printf(a, "/%s", source)) + 1;
    size_t before = out->nroot;
    Walker w = {.view = v, .arena = a, .out = out, .e = e};
    bool ok = expand(&w, "", clean);
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
            continue;
        }
        ViewNode node;
        if (!view_lookup(v, x->from, VIEW_NOFOLLOW, &node, e))
            return false;
        scoped(fd) int fd = node.exists ? view_open(v, &node) : -1;
        uint64_t size;
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
