/*
 * snapshot/snapshot.h - the door of the snapshot room: stacks of directories.
 *
 * A snapshot is a directory in overlay form that one layer or one step wrote; a file system is a
 * stack of them. This room unpacks layers into snapshots, looks at stacks without mounting them,
 * and writes new ones without mounting them (COPY, WORKDIR). A mounted root is the sandbox's
 * affair: it gets the names from here.
 *
 * Used by: source, steps, export, analyze, cmd.  Uses: base, tree, layer, store.
 */
#ifndef SNAPSHOT_SNAPSHOT_H
#define SNAPSHOT_SNAPSHOT_H

#include "layer/layer.h"
#include "store/store.h"
#include "tree/tree.h"

/* Directories one mount may have; overlayfs ends at 500. */
enum { STACK_MAX = 480 };

/* Bottom first; without empty snapshots. */
typedef struct Stack {
    SnapshotId *ids;
    size_t n;
} Stack;

/* stack_push - a new stack in the arena with `id` on top; the empty snapshot and one that is there
 * already add nothing. */
Stack stack_push(Arena *a, const Stack *s, SnapshotId id);

/*
 * stack_lowers - the stack's directories relative to store_dirfd(), top first, as a mount wants
 * them. Fails with ERR_ENV when there are more than STACK_MAX.
 */
NODISCARD bool stack_lowers(Arena *a, const Stack *s, StrList *ret, Err *e);

/* A stack opened for reading. */
typedef struct StackView {
    View view;
    int *fds;
    size_t nfd;
} StackView;

/* stack_view - open a stack; `top` (borrowed, -1 for none) is a directory above all others. */
NODISCARD bool stack_view(Store *s, const Stack *stack, int top, StackView *ret, Err *e);
void stack_view_done(StackView *v);
static inline void scoped_stack_view_done(StackView *v)
{
    stack_view_done(v);
}

/*
 * snapshot_make_root - make the empty directory a step will write into, at `path` relative to
 * store_dirfd().
 *
 * It becomes the top of its stack, and the root directory has the top's mode and owner: those of
 * the stack below, else 0755 root.
 */
NODISCARD bool snapshot_make_root(Store *s, const Stack *below, const char *path, Err *e);

/*
 * snapshot_unpack - unpack a layer's blob into a snapshot and remember it as the layer's.
 *
 *   diff_id    what the unpacked stream must hash to; anything else is ERR_STORE and leaves nothing
 *   below      the layers under it
 *   chain      chain ID up to this layer: its name if it is good over this stack only
 *   in_userns  see layer_unpack()
 */
NODISCARD bool snapshot_unpack(Store *s, const Digest *diff_id, const Digest *blob, Compression how,
                               const Stack *below, const Digest *chain, bool in_userns,
                               SnapshotId *ret, Err *e);

/* ---- writing a snapshot without a mount ---- */

/* A directory whose time is set when the snapshot is finished. */
typedef struct UpperTime {
    const char *path;
    struct timespec mtime;
} UpperTime;

/* A snapshot being written over a stack. What it reads is the merged view, what it writes is its
 * own. */
typedef struct Upper {
    Store *store;
    Arena arena;
    char tmp[STORE_TMP_MAX];
    int dirfd;
    StackView all; /* the new directory over the stack */
    char *parent;  /* the last directory made sure of */
    UpperTime *times;
    size_t ntime, time_cap;
} Upper;

NODISCARD bool upper_begin(Store *s, const Stack *below, Upper *ret, Err *e);
/* upper_commit - publish; *ret is the empty snapshot when nothing was written. */
NODISCARD bool upper_commit(Upper *u, SnapshotId *ret, Err *e);
/* upper_abort - drop; after upper_commit it only frees. */
void upper_abort(Upper *u);
static inline void scoped_upper_done(Upper *u)
{
    upper_abort(u);
}

/*
 * upper_mkdirs - make a directory and its missing parents, mode 0755, owner as given; links are
 * followed. What exists is left alone. Fails with ERR_STEP when a part of the path is no directory.
 */
NODISCARD bool upper_mkdirs(Upper *u, const char *path, uint32_t uid, uint32_t gid, Err *e);

/*
 * upper_put - write one entry at `target`.
 *
 *   src     the view that has the entry's data (t->from)
 *   target  resolved path (no links), without leading slash;
 *           its parent must exist in the merged view
 *   twin    NULL, or the target that an earlier entry of the same link group got
 *
 * Fails with ERR_STEP when a directory would be replaced by a file or the reverse, or when the
 * source changed since its digest was taken.
 */
NODISCARD bool upper_put(Upper *u, const View *src, const TreeEntry *t, const char *target,
                         const char *twin, Err *e);

#endif
