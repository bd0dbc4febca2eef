/*
 * steps/stacked.c - differences instead of copies.
 */
#include "steps/stacked.h"

#include "base/cancel.h"
#include "base/fs.h"
#include "steps/kinds.h"

enum {
    WORTH = 256,    /* entries: fewer are copied in no time */
    MAX_PARTS = 16, /* of one COPY: looking up an absent name costs as much as the stack is high */
    MAX_STACK = 64, /* with all that is below */
    MAX_SHARE = 4,  /* a difference of more than a quarter is none */
    MAX_KEPT = 1 << 30,
    MAX_FOOTING = 64, /* files and directories of a parent that are looked at */
};

/* What a step's list is named by: the same line of the same build, whatever is in the files. */
static void place_of(StepWork *w, Digest *ret)
{
    const PlanCopy *c = &w->step->u.copy;
    Str stage = plan_stage_place(w->step);
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, "place 3");
    key_text(&k, "scope", w->env->scope ? w->env->scope : "");
    key_text(&k, "stage", arena_strndup(&w->arena, stage.ptr, stage.len));
    key_text(&k, "dest", c->dest);
    for (size_t i = 0; i < c->nsource; i++)
        key_text(&k, "source", c->sources[i].path.text);
    key_end(&k, ret);
}

/* All that a difference must have in common with what it lies on, the parent aside. */
static void basis_of(StepWork *w, Digest *ret)
{
    const PlanCopy *c = &w->step->u.copy;
    const PlanSource *p = &c->sources[0];
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, "basis 2");
    key_text(&k, "chown", c->chown ? c->chown : "");
    key_text(&k, "chmod", c->chmod.text ? c->chmod.text : "");
    key_text(&k, "below", p->below ? p->below : "");
    key_list(&k, "exclude", &c->excludes);
    key_text(&k, "from", p->from ? p->from : "");
    key_end(&k, ret);
}

/* ---- what is copied to ---- */

typedef struct Footing {
    const View *below;
    Arena *a;
    Tree tree;
    KeyBuilder *times;
    bool all; /* nothing was left out */
} Footing;

/* What a directory is like is copied up with it; of what else lies there only the kind counts. */
static bool add_node(Footing *f, const ViewNode *node, Err *e)
{
    TreeEntry t, *out = ARENA_PUSH(f->a, f->tree.v, f->tree.n, f->tree.cap);
    if (!view_entry(f->below, f->a, node, &t, e))
        return false;
    t.path = arena_strdup(f->a, node->path);
    *out = t.type == TREE_DIR ? t : (TreeEntry){.path = t.path, .type = t.type, .link = t.link};
    if (t.type == TREE_DIR && *t.path)
        key_text(f->times, t.path,
                 arena_printf(f->a, "%lld.%09ld", (long long)t.mtime.tv_sec, t.mtime.tv_nsec));
    return true;
}

static bool add_below(Footing *f, const ViewNode *dir, Err *e)
{
    StrList names;
    ViewNode *node = NEW(f->a, ViewNode);
    if (!view_list(f->below, f->a, dir, &names, e))
        return false;
    for (size_t i = 0; i < names.n && f->all; i++) {
        const char *path =
            *dir->path ? arena_printf(f->a, "%s/%s", dir->path, names.v[i]) : names.v[i];
        f->all = f->tree.n < MAX_FOOTING;
        if (!view_lookup(f->below, path, VIEW_NOFOLLOW, node, e) || !add_node(f, node, e))
            return false;
        if (S_ISDIR(node->st.st_mode) && f->all && !add_below(f, node, e))
            return false;
    }
    return true;
}

static bool add_above(Footing *f, const char *path, Err *e)
{
    ViewNode *node = NEW(f->a, ViewNode);
    for (size_t i = 0; i <= strlen(path); i++) {
        if (i && path[i] && path[i] != '/')
            continue;
        if (!view_lookup(f->below, arena_strndup(f->a, path, i), VIEW_NOFOLLOW, node, e))
            return false;
        if (!node->exists)
            break;
        if (!add_node(f, node, e))
            return false;
    }
    return true;
}

/*
 * All that a copy to a directory takes from its parent: over another with the same footing it is
 * the same. Zeros where that would be long to say, or is known of the parent alone: whom a name
 * of --chown means.
 */
static bool footing_of(StepWork *w, const Stack *below, Digest *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(stack_view) StackView view = {0};
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    const PlanCopy *c = &w->step->u.copy;
    ViewNode node;
    Digest tree;
    *ret = (Digest){{0}};
    if (c->chown)
        return true;
    if (!stack_view(w->env->store, below, -1, &view, e) ||
        !view_lookup(&view.view, c->dest, VIEW_FOLLOW, &node, e))
        return false;
    Footing f = {.below = &view.view, .a = &a, .times = &k, .all = true};
    key_begin(&k, "footing 1");
    key_text(&k, "target", node.path);
    if (!add_above(&f, node.path, e) ||
        (node.exists && S_ISDIR(node.st.st_mode) && !add_below(&f, &node, e)))
        return false;
    tree_digest(&f.tree, &tree);
    key_digest(&k, "tree", &tree);
    if (f.all)
        key_end(&k, ret);
    return true;
}

bool stacked_lists(const StepWork *w)
{
    const PlanCopy *c = &w->step->u.copy;
    if (w->step->kind != STEP_COPY || w->trial)
        return false;
    for (size_t i = 0; i < c->nsource; i++)
        if (c->sources[i].origin != PLAN_CONTEXT && c->sources[i].origin != PLAN_NAMED &&
            c->sources[i].origin != PLAN_STEP)
            return false;
    return true;
}

bool stacked_is_able(const StepWork *w)
{
    const PlanCopy *c = &w->step->u.copy;
    return stacked_lists(w) && !c->link && c->nsource == 1;
}

TreeEntry copied_entry(const PlanCopy *c, uint32_t uid, uint32_t gid, const TreeEntry *t)
{
    TreeEntry out = *t;
    if (c->chown) {
        out.uid = uid;
        out.gid = gid;
    }
    if (t->type != TREE_SYMLINK)
        out.mode = plan_chmod(&c->chmod, t->mode, t->type == TREE_DIR);
    return out;
}

/* ---- the list that is kept ---- */

typedef struct Note {
    SnapshotId snapshot;
    int64_t time;
    uint32_t time_ns, uid, gid, made, one_dir, unused;
    Digest key;             /* of the step, whose record must name the snapshot */
    Digest parent, footing; /* zeros: see footing_of() */
    Digest basis, ignored;  /* `ignored`: the ignore file's text */
} Note;

static bool list_path(StepWork *w, char out[static STORE_TMP_MAX], Err *e)
{
    char hex[DIGEST_HEX_SIZE];
    Digest place;
    place_of(w, &place);
    digest_hex(&place, hex);
    return store_index(w->env->store, "copy", hex, out, e);
}

static void ignore_of(const StepWork *w, Digest *ret)
{
    const Context *c = w->env->context;
    Str text = c ? context_ignore_text(c) : (Str){"", 0};
    digest_of(text.ptr, text.len, ret);
}

/* The list of the same line's last run. No list, or one that is not whole, is none. */
static bool read_list(StepWork *w, Buf *bytes, TreeReader *ret, Note *ret_note, bool *ret_found,
                      Err *e)
{
    char path[STORE_TMP_MAX];
    Err ignored = ERR_INIT;
    *ret_found = false;
    if (!list_path(w, path, e))
        return false;
    if (!fs_read_file(store_dirfd(w->env->store), path, MAX_KEPT, bytes, &ignored) ||
        !tree_read((Str){buf_str(bytes), bytes->len}, ret) || ret->note.len < sizeof *ret_note)
        return true;
    memcpy(ret_note, ret->note.ptr, sizeof *ret_note);
    *ret_found = true;
    return true;
}

/* `last` is the list that is there, or NULL: over the same parent its footing is this one's. */
static bool note_parent(StepWork *w, const Copied *c, const Note *last, Note *n, Err *e)
{
    Stack below;
    if (!c->one_dir)
        return true;
    n->parent = w->parent->id;
    if (last && last->one_dir && digest_eq(&last->parent, &n->parent)) {
        n->footing = last->footing;
        return true;
    }
    return steps_stack(w->env, &w->arena, w->parent, &below, e) &&
           footing_of(w, &below, &n->footing, e);
}

static bool write_list(StepWork *w, const Copied *c, const Note *last, Err *e)
{
    Store *s = w->env->store;
    char path[STORE_TMP_MAX], tmp[STORE_TMP_MAX];
    Note n = {.snapshot = c->snapshot,
              .time = c->time.tv_sec,
              .time_ns = (uint32_t)c->time.tv_nsec,
              .uid = c->uid,
              .gid = c->gid,
              .made = c->made,
              .one_dir = c->one_dir,
              .key = w->key};
    scoped(buf) Buf note = BUF_INIT, bytes = BUF_INIT;
    basis_of(w, &n.basis);
    ignore_of(w, &n.ignored);
    if (!note_parent(w, c, last, &n, e) || !list_path(w, path, e) || !store_tmp(s, "copy", tmp, e))
        return false;
    buf_add(&note, &n, sizeof n);
    buf_puts(&note, c->target ? c->target : "");
    tree_write(&c->tree, (Str){note.ptr, note.len}, &bytes);
    bool fresh = faccessat(store_dirfd(s), path, F_OK, 0) < 0;
    if (!fs_write_file(store_dirfd(s), tmp, bytes.ptr, bytes.len, e))
        return false;
    if (renameat(store_dirfd(s), tmp, store_dirfd(s), path) < 0)
        return err_errno(e, ERR_STORE, "rename '%s' to '%s/%s'", tmp, store_path(s), path);
    return !fresh || store_use(s, path, arena_printf(&w->arena, "files of %s", w->step->title), e);
}

/* ---- what has changed, in words ---- */

static void add_change_text(Buf *b, const char *in, const TreeChange *c)
{
    const TreeEntry *t = c->now ? c->now : c->old, *o = c->old;
    buf_printf(b, "%s%s%s ", in, *in ? "/" : "", t->path);
    if (!o)
        buf_puts(b, "is new");
    else if (!c->now)
        buf_puts(b, "is gone");
    else if (o->type != t->type)
        buf_puts(b, "is of another type");
    else if (t->type == TREE_SYMLINK && strcmp(o->link, t->link) != 0)
        buf_printf(b, "is a link to %s, and was one to %s", t->link, o->link);
    else if (t->type == TREE_FILE && !digest_eq(&o->content, &t->content))
        buf_puts(b, "changed");
    else if (o->mode != t->mode)
        buf_printf(b, "has mode %04o, and had %04o", t->mode, o->mode);
    else if (o->uid != t->uid || o->gid != t->gid)
        buf_printf(b, "belongs to %u:%u, and belonged to %u:%u", t->uid, t->gid, o->uid, o->gid);
    else if (o->link_group != t->link_group)
        buf_puts(b, "shares its content with other names than before");
    else
        buf_puts(b, "has other attributes");
}

/* "main.go changed, go.sum is new and 3 more"; NULL when the lists are alike. */
static const char *changes_text(StepWork *w, TreeReader old, const Note *n, const Copied *now)
{
    enum { SHOWN = 3 };
    TreeSteps s = {.old = old, .now = &now->tree, .arena = &w->arena};
    scoped(buf) Buf b = BUF_INIT;
    const Selection *sel = &w->sources[0].selection;
    const char *in = now->one_dir && sel->nroot ? sel->roots[0].name : "";
    Digest ignored;
    size_t found = 0;
    for (TreeChange c; tree_step(&s, &c);) {
        if (c.old && c.now && tree_entry_same(c.old, c.now) &&
            c.old->link_group == c.now->link_group)
            continue;
        if (found++ >= SHOWN)
            continue;
        buf_puts(&b, found > 1 ? ", " : "");
        add_change_text(&b, in, &c);
    }
    if (found > SHOWN)
        buf_printf(&b, " and %zu more", found - SHOWN);
    ignore_of(w, &ignored);
    bool moved = found && !digest_eq(&ignored, &n->ignored);
    return !found ? NULL
                  : arena_printf(&w->arena, "%s%s", moved ? "the ignore file changed, and so " : "",
                                 buf_str(&b));
}

bool stacked_keep(StepWork *w, Copied *c, Err *e)
{
    scoped(buf) Buf bytes = BUF_INIT;
    TreeReader old;
    Note n;
    bool found;
    if (!read_list(w, &bytes, &old, &n, &found, e))
        return false;
    if (found && n.one_dir == c->one_dir)
        w->changes = changes_text(w, old, &n, c);
    return write_list(w, c, found ? &n : NULL, e);
}

/*
 * Whether the list's snapshot is still what the step led to. Numbers begin again with a new
 * database, and a snapshot that has lost one it stood on is there, and not whole: neither has a
 * record.
 */
static bool is_known(StepWork *w, const Note *n, bool *ret, Err *e)
{
    StoreRecord r;
    bool found;
    if (!store_record_get(w->env->store, &n->key, &r, &found, e))
        return false;
    *ret = found && r.snapshot == n->snapshot;
    return true;
}

static bool same_footing(StepWork *w, const Stack *below, const Note *n, bool *ret, Err *e)
{
    static const Digest UNKNOWN;
    Digest footing;
    *ret = digest_eq(&n->parent, &w->parent->id);
    if (*ret || digest_eq(&n->footing, &UNKNOWN))
        return true;
    if (!footing_of(w, below, &footing, e))
        return false;
    *ret = digest_eq(&n->footing, &footing);
    return true;
}

/* What this step wrote last, if a difference may lie on it. */
static bool read_last(StepWork *w, const Stack *below, Buf *bytes, Copied *ret, bool *ret_found,
                      Err *e)
{
    Note n;
    Digest basis;
    if (!read_list(w, bytes, &ret->kept, &n, ret_found, e))
        return false;
    if (!*ret_found)
        return true;
    Str text = ret->kept.note;
    basis_of(w, &basis);
    ret->one_dir = true;
    ret->snapshot = n.snapshot;
    ret->time = (struct timespec){n.time, n.time_ns};
    ret->uid = n.uid;
    ret->gid = n.gid;
    ret->made = n.made;
    ret->target = arena_strndup(&w->arena, text.ptr + sizeof n, text.len - sizeof n);
    *ret_found = n.snapshot && n.one_dir && digest_eq(&basis, &n.basis);
    return !*ret_found || (same_footing(w, below, &n, ret_found, e) &&
                           (!*ret_found || is_known(w, &n, ret_found, e)));
}

/* ---- the difference ---- */

typedef struct Stacker {
    StepWork *w;
    const Copied *last;
    Copied now;
    const View *below;
    Stack parts;
    TreeChange *changes;
    size_t nchange, cap;
    Err *e;
} Stacker;

static bool is_unchanged(const TreeChange *c)
{
    return c->old && c->now && tree_entry_same(c->old, c->now) &&
           c->old->link_group == c->now->link_group && fs_same_time(c->old->mtime, c->now->mtime);
}

static const char *place_in(const Stacker *x, const char *path)
{
    return *x->now.target ? arena_printf(&x->w->arena, "%s/%s", x->now.target, path) : path;
}

/* Whether a path that goes away, or changes what it is, would come to light again further down. */
static bool comes_to_light(const Stacker *x, const char *path, bool *ret)
{
    ViewNode node;
    if (!view_lookup(x->below, place_in(x, path), VIEW_NOFOLLOW, &node, x->e))
        return false;
    *ret = node.exists;
    return true;
}

static bool is_below(const char *dir, const char *path)
{
    size_t n = dir ? strlen(dir) : 0;
    return dir && !strncmp(path, dir, n) && path[n] == '/';
}

static void add_change(Stacker *x, const TreeEntry *old, const TreeEntry *now)
{
    TreeEntry *copy = old ? NEW(&x->w->arena, TreeEntry) : NULL;
    if (copy)
        *copy = *old;
    *ARENA_PUSH(&x->w->arena, x->changes, x->nchange, x->cap) = (TreeChange){copy, now};
}

/* The changes in the order of the walk; *ret_ok is false when a difference cannot say them. */
static bool find_changes(Stacker *x, bool *ret_ok)
{
    TreeSteps s = {.old = x->last->kept, .now = &x->now.tree, .arena = &x->w->arena};
    const char *gone = NULL; /* the last directory that went away as a whole */
    *ret_ok = false;
    for (TreeChange c; tree_step(&s, &c);) {
        bool lost = c.old && (!c.now || c.now->type != c.old->type), shows = false;
        if ((c.now && c.now->passage) || is_unchanged(&c))
            continue;
        if ((c.old && c.old->link_group) || (c.now && c.now->link_group))
            return true;
        /* A directory that is copied up keeps what it had. */
        if (c.old && c.now && c.now->type == TREE_DIR && !tree_xattrs_same(c.old, c.now))
            return true;
        bool within = c.old && is_below(gone, c.old->path);
        if (lost && !within && !comes_to_light(x, c.old->path, &shows))
            return false;
        if (shows)
            return true;
        if (lost && !within && c.old->type == TREE_DIR)
            gone = c.old->path;
        if (!within || c.now)
            add_change(x, within ? NULL : c.old, c.now);
        if (x->nchange > x->now.tree.n / MAX_SHARE)
            return true;
    }
    *ret_ok = !s.damaged;
    return true;
}

static bool write_changes(Stacker *x, Upper *up, const View *src)
{
    for (size_t i = 0; i < x->nchange; i++) {
        const TreeChange *c = &x->changes[i];
        const char *to = place_in(x, c->old ? c->old->path : c->now->path);
        if (cancel_wanted())
            return err_set(x->e, ERR_STEP, "cancelled");
        if (c->old && (!c->now || c->now->type != c->old->type) && !upper_remove(up, to, x->e))
            return false;
        if (c->now && !upper_put(up, src, c->now, to, NULL, x->e))
            return false;
    }
    return !x->now.made || fs_same_time(x->now.time, x->last->time) ||
           upper_touch_dir(up, x->now.target, x->now.time, x->e);
}

/* The tree as it is to be written. */
static bool final_tree(Stacker *x, const Selection *sel)
{
    Arena *a = &x->w->arena;
    const PlanCopy *c = &x->w->step->u.copy;
    Tree *t = &x->now.tree;
    *t = sel->tree;
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i].passage)
            return false;
    if (!c->chown && !c->chmod.text)
        return true;
    *t = (Tree){.v = NEW_N(a, TreeEntry, sel->tree.n + 1), .n = sel->tree.n, .cap = sel->tree.n};
    for (size_t i = 0; i < t->n; i++)
        t->v[i] = copied_entry(c, x->last->uid, x->last->gid, &sel->tree.v[i]);
    return true;
}

static bool write_over(Stacker *x, const Stack *below, const View *src, SnapshotId *ret)
{
    Stack st = *below;
    for (size_t i = 0; i < x->parts.n; i++)
        st = stack_push(&x->w->arena, &st, x->parts.ids[i]);
    scoped(upper) Upper up = {.dirfd = -1};
    if (!upper_begin(x->w->env->store, &st, &up, x->e))
        return false;
    up.in_userns = sandbox_in_userns(&x->w->env->host);
    return write_changes(x, &up, src) && upper_commit_over(&up, &x->parts, ret, x->e);
}

static bool try_over(Stacker *x, const Stack *below, const OpenSource *o, SnapshotId *ret,
                     bool *ret_done)
{
    StepWork *w = x->w;
    const Selection *sel = &w->sources[0].selection;
    scoped(stack_view) StackView view = {0};
    ViewNode root;
    bool ok;
    if (sel->nroot != 1 || !sel->roots[0].is_dir || sel->tree.n < WORTH || !final_tree(x, sel))
        return true;
    if (!stack_push_parts(w->env->store, &w->arena, &x->parts, x->last->snapshot, &x->parts, x->e))
        return false;
    if (x->parts.n >= MAX_PARTS || x->parts.n + below->n >= MAX_STACK)
        return true;
    if (!stack_view(w->env->store, below, -1, &view, x->e) ||
        !view_lookup(o->view, sel->roots[0].name, VIEW_FOLLOW, &root, x->e))
        return false;
    x->below = &view.view;
    x->now.time = root.st.st_mtim;
    if (!find_changes(x, &ok))
        return false;
    if (!ok)
        return true;
    *ret_done = true;
    if (!write_over(x, below, o->view, ret))
        return false;
    x->now.snapshot = *ret;
    return stacked_keep(w, &x->now, x->e);
}

bool stacked_write(StepWork *w, const Stack *below, SnapshotId *ret, bool *ret_done, Err *e)
{
    const PlanSource *p = &w->step->u.copy.sources[0];
    StepSource *s = &w->sources[0];
    scoped(buf) Buf bytes = BUF_INIT;
    scoped(open_source) OpenSource o = OPEN_SOURCE_INIT;
    Copied last = {0};
    bool found;
    *ret_done = false;
    if (!read_last(w, below, &bytes, &last, &found, e))
        return false;
    if (!found)
        return true;
    if (!source_open(w, p, s, &o, e) || (!s->selected && !source_select(w, p, o.view, s, e)))
        return false;
    Stacker x = {.w = w, .last = &last, .now = last, .e = e};
    return try_over(&x, below, &o, ret, ret_done) || err_wrap(e, "%s", source_place(w, p));
}
