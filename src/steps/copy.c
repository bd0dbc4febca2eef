/*
 * steps/copy.c - COPY: from the context or another step, without mounting anything.
 *
 * The rules for sources and destinations are those of docker's builder (features.md I16 to I18): a
 * directory gives its contents, a file goes into an existing directory or one named with a final
 * slash, parents are made.
 */
#include "base/fs.h"
#include "base/glob.h"
#include "base/map.h"
#include "steps/kinds.h"

/* The files a COPY reads: the context, or a stage's directories opened for it. */
static bool open_source(StepWork *w, StackView *stage, const View **ret, Err *e)
{
    const PlanCopy *c = &w->step->u.copy;
    Stack st;
    if (c->from == STEP_NONE) {
        if (!w->env->context)
            return df_err(w->env->file, &w->step->src, e, "COPY: this build has no context");
        *ret = context_view(w->env->context);
        return true;
    }
    if (!steps_stack(w->env, &w->arena, w->source, &st, e) ||
        !stack_view(w->env->store, &st, -1, stage, e))
        return false;
    *ret = &stage->view;
    return true;
}

static bool missing(StepWork *w, const DfWord *source, Err *e)
{
    const PlanCopy *c = &w->step->u.copy;
    const char *why = c->from == STEP_NONE
                          ? context_why_missing(w->env->context, &w->arena, source->text)
                          : arena_printf(&w->arena, "not found in '%s'", c->from_name);
    return err_set(e, ERR_DOCKERFILE, "%s:%u: COPY %s: %s%s%s", w->env->file->name,
                   source->src.line, source->text,
                   c->from == STEP_NONE ? "not in the context (" : "", why,
                   c->from == STEP_NONE ? ")" : "");
}

/* Resolve one source and digest it. */
static bool select_source(StepWork *w, const View *v, size_t i, Err *e)
{
    const DfWord *source = &w->step->u.copy.sources[i];
    bool any;
    w->selections[i] = (Selection){0};
    if (!tree_select(v, &w->arena, source->text, &w->selections[i], &any, e) ||
        !tree_hash(v, &w->selections[i].tree, e))
        return err_wrap(e, "%s:%u: COPY %s", w->env->file->name, source->src.line, source->text);
    if (!any && !glob_has_meta(source->text))
        return missing(w, source, e);
    if (!any)
        event_send(
            &w->env->sink,
            &(Event){.kind = EV_WARNING,
                     .text = arena_printf(&w->arena, "%s:%u: COPY %s: nothing matches",
                                          w->env->file->name, source->src.line, source->text)});
    selection_digest(&w->selections[i], &w->selected[i]);
    return true;
}

static bool select_all(StepWork *w, const View *v, Err *e)
{
    for (size_t i = 0; i < w->step->u.copy.nsource; i++)
        if (!select_source(w, v, i, e))
            return false;
    return true;
}

/* A stage's files never change, so what a source of it digests to is remembered by the stage's
 * result. */
static void memo_key(const StepWork *w, size_t i, Digest *ret)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, "selection 1");
    key_digest(&k, "of", &w->source->id);
    key_text(&k, "source", w->step->u.copy.sources[i].text);
    key_end(&k, ret);
}

static bool recall_all(StepWork *w, bool *ret_all, Err *e)
{
    *ret_all = true;
    for (size_t i = 0; i < w->step->u.copy.nsource && *ret_all; i++) {
        scoped(buf) Buf value = BUF_INIT;
        Digest key;
        memo_key(w, i, &key);
        if (!store_memo_get(w->env->store, &key, &value, ret_all, e))
            return false;
        *ret_all = *ret_all && value.len == DIGEST_SIZE;
        if (*ret_all)
            memcpy(w->selected[i].b, value.ptr, DIGEST_SIZE);
    }
    return true;
}

static bool remember_all(const StepWork *w, Err *e)
{
    for (size_t i = 0; i < w->step->u.copy.nsource; i++) {
        Digest key;
        memo_key(w, i, &key);
        if (!store_memo_put(w->env->store, &key, w->selected[i].b, DIGEST_SIZE, e))
            return false;
    }
    return true;
}

/* Digest the sources of a --from; false in *ret_known when that must wait for the namespaces. */
static bool digest_stage(StepWork *w, bool *ret_known, Err *e)
{
    bool all;
    if (!recall_all(w, &all, e))
        return false;
    if (all)
        return true;
    *ret_known = w->env->entered;
    if (!w->env->entered)
        return true;
    scoped(stack_view) StackView stage = {0};
    const View *v;
    return open_source(w, &stage, &v, e) && select_all(w, v, e) && remember_all(w, e);
}

bool copy_key(StepWork *w, bool *ret_known, Err *e)
{
    const PlanCopy *c = &w->step->u.copy;
    KeyBuilder *k = &w->key_parts;
    if (!w->selections) {
        w->selections = NEW_N(&w->arena, Selection, c->nsource);
        w->selected = NEW_N(&w->arena, Digest, c->nsource);
        if (c->from == STEP_NONE) {
            scoped(stack_view) StackView none = {0};
            const View *v;
            if (!open_source(w, &none, &v, e) || !select_all(w, v, e))
                return false;
        }
    }
    if (c->from != STEP_NONE && !digest_stage(w, ret_known, e))
        return false;
    key_text(k, "dest", c->dest);
    for (size_t i = 0; i < c->nsource; i++)
        key_digest(k, c->sources[i].text, &w->selected[i]);
    return true;
}

/* ---- writing ---- */

typedef struct Copier {
    StepWork *w;
    Upper *up;
    const View *src;
    Err *e;
} Copier;

/* Where the copied thing goes, as a resolved path; its parent exists after this. */
static bool target_of(Copier *c, const Selected *root, char out[static TREE_PATH_MAX])
{
    const char *dest = c->w->step->u.copy.dest;
    Arena *a = &c->w->arena;
    ViewNode node;
    const View *merged = &c->up->all.view;
    size_t cut = strlen(dest) - strlen(path_base(dest)); /* all of it when it ends in a slash */
    if (!upper_mkdirs(c->up, arena_strndup(a, dest, cut), 0, 0, c->e) ||
        !view_lookup(merged, dest, VIEW_FOLLOW, &node, c->e))
        return false;
    bool dir = node.exists && S_ISDIR(node.st.st_mode);
    if (root->is_dir) {
        if (node.exists && !dir)
            return err_set(c->e, ERR_STEP, "cannot copy to non-directory: '%s'", dest);
        if (!upper_mkdirs(c->up, dest, 0, 0, c->e))
            return false;
    } else if (dir) {
        const char *name = arena_printf(a, "%s/%s", dest, path_base(root->name));
        if (!view_lookup(merged, name, VIEW_NOFOLLOW, &node, c->e))
            return false;
    } else if (!upper_mkdirs(c->up,
                             arena_printf(a, "/%.*s",
                                          (int)(strlen(node.path) - strlen(path_base(node.path))),
                                          node.path),
                             0, 0, c->e)) {
        return false;
    }
    if (root->is_dir && !view_lookup(merged, dest, VIEW_FOLLOW, &node, c->e))
        return false;
    memcpy(out, node.path, TREE_PATH_MAX);
    return true;
}

static bool copy_root(Copier *c, const Selection *sel, const Selected *root)
{
    Arena *a = &c->w->arena;
    char target[TREE_PATH_MAX];
    if (!target_of(c, root, target))
        return false;
    const char **twins =
        NEW_N(a, const char *, root->n + 1); /* where each entry went, for hard links to it */
    for (size_t i = 0; i < root->n; i++) {
        const TreeEntry *t = &sel->tree.v[root->first + i];
        const char *to = !*t->path ? target
                         : *target ? arena_printf(a, "%s/%s", target, t->path)
                                   : t->path;
        uint64_t first = t->link_group ? t->link_group - 1 : UINT64_MAX;
        bool twin = t->link_group && first >= root->first && first < root->first + i;
        twins[i] = to;
        if (!upper_put(c->up, c->src, t, to, twin ? twins[first - root->first] : NULL, c->e))
            return false;
    }
    return true;
}

bool copy_write(StepWork *w, SnapshotId *ret, Err *e)
{
    const PlanCopy *c = &w->step->u.copy;
    scoped(stack_view) StackView stage = {0};
    const View *src;
    Stack below;
    if (!open_source(w, &stage, &src, e))
        return false;
    /* The digests came from memory: only now are the files themselves looked at. */
    for (size_t i = 0; i < c->nsource; i++)
        if (!w->selections[i].nroot && !select_source(w, src, i, e))
            return false;
    if (!steps_stack(w->env, &w->arena, w->parent, &below, e))
        return false;
    scoped(upper) Upper up = {.dirfd = -1};
    if (!upper_begin(w->env->store, &below, &up, e))
        return false;
    Copier x = {w, &up, src, e};
    for (size_t i = 0; i < c->nsource; i++)
        for (size_t k = 0; k < w->selections[i].nroot; k++)
            if (!copy_root(&x, &w->selections[i], &w->selections[i].roots[k]))
                return err_wrap(e, "%s:%u: COPY %s", w->env->file->name, c->sources[i].src.line,
                                c->sources[i].text);
    return upper_commit(&up, ret, e);
}

/* ---- WORKDIR ---- */

static bool read_in_view(const View *v, const char *path, Buf *out, Err *e)
{
    ViewNode node;
    if (!view_lookup(v, path, VIEW_FOLLOW, &node, e))
        return false;
    scoped(fd) int fd = node.exists && S_ISREG(node.st.st_mode) ? view_open(v, &node) : -1;
    return fd < 0 || fs_read_all(fd, 4 << 20, out, e);
}

bool workdir_write(StepWork *w, SnapshotId *ret, Err *e)
{
    Stack below;
    uint32_t uid = 0, gid = 0;
    scoped(upper) Upper up = {.dirfd = -1};
    if (!steps_stack(w->env, &w->arena, w->parent, &below, e) ||
        !upper_begin(w->env->store, &below, &up, e))
        return false;
    if (*w->step->u.workdir.user) {
        scoped(buf) Buf passwd = BUF_INIT, group = BUF_INIT;
        if (!read_in_view(&up.all.view, "/etc/passwd", &passwd, e) ||
            !read_in_view(&up.all.view, "/etc/group", &group, e))
            return false;
        sandbox_new_owner(w->step->u.workdir.user, buf_str(&passwd), buf_str(&group), &uid, &gid);
    }
    if (!upper_mkdirs(&up, w->step->u.workdir.path, uid, gid, e))
        return err_wrap(e, "%s:%u: WORKDIR %s", w->env->file->name, w->step->src.line,
                        w->step->u.workdir.path);
    return upper_commit(&up, ret, e);
}
