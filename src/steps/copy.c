/*
 * steps/copy.c - COPY, ADD and WORKDIR: files from anywhere, without mounting anything.
 *
 * The rules for sources and destinations are those of docker's builder (features.md I16 to I27): a
 * directory gives its contents, a file goes into an existing directory or one named with a final
 * slash, parents are made.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "steps/kinds.h"
#include "steps/sources.h"
#include "steps/stacked.h"

/* ---- keys ---- */

void key_source(KeyBuilder *k, const PlanSource *p, const Digest *content)
{
    static const char *const ORIGINS[] = {
        [PLAN_CONTEXT] = "file",  [PLAN_STEP] = "file", [PLAN_NAMED] = "file",
        [PLAN_INLINE] = "inline", [PLAN_URL] = "url",   [PLAN_GIT] = "git",
        [PLAN_EMPTY] = "nothing"};
    key_text(k, "source", p->origin == PLAN_GIT ? "" : p->path.text);
    key_digest(k, ORIGINS[p->origin], content);
}

bool copy_key(StepWork *w, bool *ret_known, Err *e)
{
    const PlanCopy *c = &w->step->u.copy;
    KeyBuilder *k = &w->key_parts;
    *ret_known = true;
    if (!w->sources) {
        w->sources = NEW_N(&w->arena, StepSource, c->nsource);
        w->seen_ns = clock_ns();
    }
    copy_early(w);
    for (size_t i = 0; i < c->nsource && *ret_known; i++)
        if (!source_name(w, &c->sources[i], &w->sources[i], ret_known, e))
            return false;
    if (!*ret_known)
        return true;
    key_text(k, "dest", c->dest);
    key_text(k, "chown", c->chown ? c->chown : "");
    key_text(k, "chmod", c->chmod.text ? c->chmod.text : "");
    key_text(k, "unpack", c->unpack_urls ? "all" : c->unpack ? "files" : "no");
    key_text(k, "link", c->link ? "yes" : "no");
    for (size_t i = 0; i < c->nsource; i++)
        key_source(k, &c->sources[i], &w->sources[i].content);
    return true;
}

/* ---- owners ---- */

static bool read_in_view(const View *v, const char *path, Buf *out, Err *e)
{
    ViewNode node;
    if (!view_lookup(v, path, VIEW_FOLLOW, &node, e))
        return false;
    scoped(fd) int fd = node.exists && S_ISREG(node.st.st_mode) ? view_open(v, &node) : -1;
    if (fd < 0 || fs_read_all(fd, 4 << 20, out, e))
        return true;
    e->kind = ERR_STEP;
    return err_wrap(e, "the image's '%s'", path);
}

bool step_owner(const View *v, const char *owner, uint32_t *ret_uid, uint32_t *ret_gid,
                bool *ret_known, Err *e)
{
    scoped(buf) Buf passwd = BUF_INIT, group = BUF_INIT;
    if (!read_in_view(v, "/etc/passwd", &passwd, e) || !read_in_view(v, "/etc/group", &group, e))
        return false;
    *ret_known = sandbox_new_owner(owner, buf_str(&passwd), buf_str(&group), ret_uid, ret_gid);
    return true;
}

/* ---- writing ---- */

typedef struct Copier {
    StepWork *w;
    const PlanCopy *copy;
    Upper *up;
    const View *src;
    const PlanSource *from;
    uint32_t uid, gid; /* of --chown */
    uint32_t dir_mode; /* of directories that are made for the destination */
    Copied *written;   /* NULL, or what of the step may be remembered */
    Err *e;
} Copier;

static bool make_dirs(Copier *c, const char *path)
{
    return upper_mkdirs(c->up, path, c->dir_mode, c->uid, c->gid, c->e);
}

/* Where the copied thing goes, as a resolved path; its parent exists after this. */
static bool target_of(Copier *c, const Selected *root, char out[static TREE_PATH_MAX],
                      bool *ret_made)
{
    const char *dest = c->copy->dest;
    Arena *a = &c->w->arena;
    ViewNode node;
    const View *merged = &c->up->all.view;
    size_t cut = strlen(dest) - strlen(path_base(dest)); /* all of it when it ends in a slash */
    if (!view_lookup(merged, dest, VIEW_FOLLOW, &node, c->e))
        return false;
    *ret_made = root->is_dir && !node.exists;
    if (!make_dirs(c, arena_strndup(a, dest, cut)) ||
        !view_lookup(merged, dest, VIEW_FOLLOW, &node, c->e))
        return false;
    bool dir = node.exists && S_ISDIR(node.st.st_mode);
    if (root->is_dir) {
        if (node.exists && !dir)
            return err_set(c->e, ERR_STEP, "cannot copy to non-directory: '%s'", dest);
        if (!make_dirs(c, dest))
            return false;
    } else if (dir) {
        const char *name = arena_printf(a, "%s/%s", dest, path_base(root->name));
        if (!view_lookup(merged, name, VIEW_NOFOLLOW, &node, c->e))
            return false;
    } else {
        size_t up = strlen(node.path) - strlen(path_base(node.path));
        if (!make_dirs(c, arena_printf(a, "/%.*s", (int)up, node.path)))
            return false;
    }
    if (root->is_dir && !view_lookup(merged, dest, VIEW_FOLLOW, &node, c->e))
        return false;
    memcpy(out, node.path, TREE_PATH_MAX);
    return true;
}

/* A directory that was made for a directory's contents has its time. */
static bool keep_time(Copier *c, const Selected *root, const char *target)
{
    ViewNode node;
    if (!view_lookup(c->src, root->name, VIEW_FOLLOW, &node, c->e))
        return false;
    if (node.exists && c->src->n) /* an empty stage has no time */
        upper_remember_time(c->up, target, node.st.st_mtim);
    return true;
}

/*
 * What --chown and --chmod make of an entry that goes to `to`. A directory that is only passed
 * through gives one that exists its own mode, whatever the flags say.
 * Source: github.com/tonistiigi/fsutil/copy, createParentDirs.
 */
static bool change(const Copier *c, const TreeEntry *t, const char *to, TreeEntry *ret)
{
    ViewNode node = {.exists = false};
    *ret = *t;
    if (t->passage && !view_lookup(&c->up->all.view, to, VIEW_NOFOLLOW, &node, c->e))
        return false;
    if (!node.exists)
        *ret = copied_entry(c->copy, c->uid, c->gid, t);
    return true;
}

/* Unpack a file of the source if it is an archive; *ret_done is false when it is none. */
static bool unpack(Copier *c, const TreeEntry *t, bool *ret_done)
{
    ViewNode node;
    *ret_done = false;
    if (t->type != TREE_FILE || !view_lookup(c->src, t->from, VIEW_NOFOLLOW, &node, c->e))
        return t->type != TREE_FILE;
    errno = ENOENT;
    scoped(fd) int fd = node.exists ? view_open(c->src, &node) : -1;
    if (fd < 0)
        return err_errno(c->e, ERR_STEP, "open '%s'", t->from);
    bool archive;
    if (!layer_archive_detect(fd, &archive, c->e))
        return false;
    if (!archive)
        return true;
    UntarOpts o = {.chown = c->copy->chown != NULL, .uid = c->uid, .gid = c->gid};
    *ret_done = true;
    return upper_untar(c->up, fd, c->copy->dest, &o, c->e) && upper_still(fd, t, c->e);
}

/* What the next build may write a difference to. */
static bool remember(Copier *c, const Selection *sel, const Selected *root, const char *target,
                     bool made)
{
    Arena *a = &c->w->arena;
    Copied *out = c->written;
    ViewNode node;
    if (!stacked_is_able(c->w) || sel->nroot != 1 || !root->is_dir)
        return true;
    if (!view_lookup(c->src, root->name, VIEW_FOLLOW, &node, c->e))
        return false;
    *out = (Copied){.one_dir = true,
                    .target = arena_strdup(a, target),
                    .made = made,
                    .time = node.st.st_mtim,
                    .uid = c->uid,
                    .gid = c->gid};
    out->tree = (Tree){.v = NEW_N(a, TreeEntry, root->n + 1), .n = root->n, .cap = root->n};
    for (size_t i = 0; i < root->n; i++) {
        const TreeEntry *t = &sel->tree.v[root->first + i];
        out->one_dir = out->one_dir && !t->passage;
        out->tree.v[i] = copied_entry(c->copy, c->uid, c->gid, t);
    }
    return true;
}

static bool copy_root(Copier *c, const Selection *sel, const Selected *root)
{
    Arena *a = &c->w->arena;
    char target[TREE_PATH_MAX];
    bool made = false;
    bool remote = c->from->origin == PLAN_URL || c->from->origin == PLAN_GIT;
    bool done = false, here = remote ? c->copy->unpack_urls && c->from->origin == PLAN_URL
                                     : c->copy->unpack && c->from->origin != PLAN_INLINE;
    if (here && !root->is_dir && !unpack(c, &sel->tree.v[root->first], &done))
        return false;
    if (done)
        return true;
    if (!target_of(c, root, target, &made) || (made && !keep_time(c, root, target)))
        return false;
    if (c->written && !remember(c, sel, root, target, made))
        return false;
    const char **twins =
        NEW_N(a, const char *, root->n + 1); /* where each entry went, for hard links to it */
    for (size_t i = 0; i < root->n; i++) {
        const TreeEntry *from = &sel->tree.v[root->first + i];
        TreeEntry t;
        const char *to = !*from->path ? target
                         : *target    ? arena_printf(a, "%s/%s", target, from->path)
                                      : from->path;
        if (cancel_wanted())
            return err_set(c->e, ERR_STEP, "cancelled");
        if (!change(c, from, to, &t))
            return false;
        uint64_t first = t.link_group ? t.link_group - 1 : UINT64_MAX;
        bool twin = t.link_group && first >= root->first && first < root->first + i;
        twins[i] = to;
        if (!upper_put(c->up, c->src, &t, to, twin ? twins[first - root->first] : NULL, c->e))
            return false;
    }
    return true;
}

static bool copy_source(Copier *c, size_t i)
{
    StepWork *w = c->w;
    StepSource *s = &w->sources[i];
    scoped(open_source) OpenSource o = OPEN_SOURCE_INIT;
    c->from = &c->copy->sources[i];
    if (!source_open(w, c->from, s, &o, c->e))
        return false;
    /* The name came from memory or from something shorter: only now are the files looked at. */
    if (!s->selected && !source_select(w, c->from, o.view, s, c->e))
        return false;
    c->src = o.view;
    for (size_t k = 0; k < s->selection.nroot; k++)
        if (!copy_root(c, &s->selection, &s->selection.roots[k]))
            return err_wrap(c->e, "%s", source_place(w, c->from));
    return true;
}

/* Names are looked up in what is copied to: a link has nothing below it. */
static bool set_owner(Copier *c)
{
    bool known;
    if (!c->copy->chown)
        return true;
    if (!step_owner(&c->up->all.view, c->copy->chown, &c->uid, &c->gid, &known, c->e))
        return err_wrap(c->e, "%s:%u: --chown=%s", c->w->env->file->name, c->w->step->src.line,
                        c->copy->chown);
    return known || err_set(c->e, ERR_DOCKERFILE,
                            "%s:%u: --chown=%s: no such user or group in the image's /etc/passwd "
                            "and /etc/group",
                            c->w->env->file->name, c->w->step->src.line, c->copy->chown);
}

/* Several sources, or single files: by the names they have there. */
static void list_sources(const Copier *c, Copied *out)
{
    Arena *a = &c->w->arena;
    for (size_t i = 0; i < c->copy->nsource; i++) {
        const Tree *t = &c->w->sources[i].selection.tree;
        for (size_t k = 0; k < t->n; k++) {
            TreeEntry *x = ARENA_PUSH(a, out->tree.v, out->tree.n, out->tree.cap);
            *x = copied_entry(c->copy, c->uid, c->gid, &t->v[k]);
            x->path = x->from;
        }
    }
    tree_sort(&out->tree);
}

bool copy_fill(StepWork *w, const Stack *below, Copied *written, bool lend, Upper *up, Err *e)
{
    const PlanCopy *c = &w->step->u.copy;
    if (!upper_begin(w->env->store, below, up, e))
        return false;
    up->in_userns = sandbox_in_userns(&w->env->host);
    up->lend = lend;
    Copier x = {.w = w, .copy = c, .up = up, .dir_mode = 0755, .written = written, .e = e};
    if (c->chmod.octal)
        x.dir_mode = c->chmod.mode & 0777;
    if (!set_owner(&x))
        return false;
    for (size_t i = 0; i < c->nsource; i++)
        if (!copy_source(&x, i))
            return false;
    if (written && !written->target)
        list_sources(&x, written);
    return true;
}

bool copy_write(StepWork *w, SnapshotId *ret, Err *e)
{
    const PlanCopy *c = &w->step->u.copy;
    Stack below = {0};
    Copied written = {0};
    bool lists = stacked_lists(w), able = stacked_is_able(w), done = false;
    if (!copy_early_take(w, ret, &done, e))
        return false;
    if (done)
        return true;
    if (!c->link && !steps_stack(w->env, &w->arena, w->parent, &below, e))
        return false;
    if (able && !w->anew && !stacked_write(w, &below, ret, &done, e))
        return false;
    if (done)
        return true;
    scoped(upper) Upper up = {.dirfd = -1};
    if (!copy_fill(w, &below, lists ? &written : NULL, false, &up, e) || !upper_commit(&up, ret, e))
        return false;
    written.snapshot = *ret;
    return !lists || stacked_keep(w, &written, e);
}

/* ---- WORKDIR ---- */

bool workdir_write(StepWork *w, SnapshotId *ret, Err *e)
{
    Stack below;
    uint32_t uid = 0, gid = 0;
    bool known;
    const char *user = w->step->u.workdir.user;
    scoped(upper) Upper up = {.dirfd = -1};
    if (!steps_stack(w->env, &w->arena, w->parent, &below, e) ||
        !upper_begin(w->env->store, &below, &up, e))
        return false;
    if ((*user && !step_owner(&up.all.view, user, &uid, &gid, &known, e)) ||
        !upper_mkdirs(&up, w->step->u.workdir.path, 0755, uid, gid, e))
        return err_wrap(e, "%s:%u: WORKDIR %s", w->env->file->name, w->step->src.line,
                        w->step->u.workdir.path);
    return upper_commit(&up, ret, e);
}
