/*
 * snapshot/compare.c - whether two snapshots hold the same, times aside.
 */
#include "snapshot/snapshot.h"

enum { SHOWN = 5 };

/* All entries, with digests. A deletion is an entry too. */
static bool read_all(Store *s, Arena *a, SnapshotId id, Tree *ret, Err *e)
{
    scoped(stack_view) StackView v = {0};
    Stack st = {0};
    Selection sel = {0};
    bool any;
    if (!stack_push_parts(s, a, &st, id, &st, e) || !stack_view(s, &st, -1, &v, e))
        return false;
    if (!st.n)
        return true;
    v.view.overlay = v.nfd > 1;
    if (!tree_select(&v.view, a, ".", NULL, &sel, &any, e) || !tree_hash(&v.view, &sel.tree, e))
        return false;
    *ret = sel.tree;
    return true;
}

static const char *difference(Arena *a, const TreeChange *c)
{
    const TreeEntry *t = c->now ? c->now : c->old, *o = c->old;
    const char *what = !o                   ? "is there now, and was not"
                       : !c->now            ? "is not there now, and was"
                       : o->type != t->type ? "is of another type"
                       : o->size != t->size || !digest_eq(&o->content, &t->content)
                           ? "has other content"
                       : o->mode != t->mode                   ? "has another mode"
                       : o->uid != t->uid || o->gid != t->gid ? "has another owner"
                                                              : "has other attributes";
    return arena_printf(a, "/%s %s", t->path, what);
}

bool snapshot_compare(Store *s, Arena *a, SnapshotId one, SnapshotId two, StrList *ret, Err *e)
{
    Tree x = {0}, y = {0};
    scoped(buf) Buf bytes = BUF_INIT;
    TreeSteps steps = {.now = &y, .arena = a};
    size_t found = 0;
    if (!read_all(s, a, one, &x, e) || !read_all(s, a, two, &y, e))
        return false;
    tree_write(&x, (Str){"", 0}, &bytes);
    if (!tree_read((Str){bytes.ptr, bytes.len}, &steps.old))
        return err_set(e, ERR_STORE, "compare two snapshots: too many files");
    for (TreeChange c; tree_step(&steps, &c);)
        if (!(c.old && c.now && tree_entry_same(c.old, c.now)) && found++ < SHOWN)
            strlist_add(a, ret, difference(a, &c));
    if (found > SHOWN)
        strlist_add(a, ret, arena_printf(a, "and %zu more files", found - SHOWN));
    return true;
}
