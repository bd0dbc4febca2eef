/*
 * snapshot/snapshot.h - the door of the snapshot room: stacks of directories.
 *
 * A snapshot is a directory in overlay form that one layer or one step wrote; a file system is a
 * stack of them. This room unpacks layers into snapshots, looks at stacks without mounting them,
 * and writes new ones without mounting them (COPY, ADD, WORKDIR). A mounted root is the sandbox's
 * affair: it gets the names from here.
 *
 * Used by: source, steps, export, analyze, cmd.  Uses: base, tree, layer, store.
 */
#ifndef SNAPSHOT_SNAPSHOT_H
#define SNAPSHOT_SNAPSHOT_H

#include "base/map.h"
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

/* stack_push_parts - the same with all directories of a snapshot of the store's. */
NODISCARD bool stack_push_parts(Store *s, Arena *a, const Stack *st, SnapshotId id, Stack *ret,
                                Err *e);

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
 * snapshot_twins_allow - from now on files of a snapshot may be second names of files in another,
 * and get such. Nobody may know of the snapshot yet, and each of the files has one name. Fails with
 * ERR_STORE.
 */
NODISCARD bool snapshot_twins_allow(Store *s, SnapshotId id, const StrList *paths, Err *e);
/*
 * snapshot_twins_part - give each snapshot of a stack files of its own: to be called before it is
 * mounted, for a command could tell. Fails with ERR_STORE.
 */
NODISCARD bool snapshot_twins_part(Store *s, const Stack *st, Err *e);

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

/* snapshot_format - how a layer's blob is to be read. */
LayerFormat snapshot_format(Compression how);

/*
 * snapshot_unpack_stream - the same in two steps, for bytes that come in while others do.
 *
 *   in       gives the blob's bytes, and fails when they are not those
 *   ret_tmp  the directory, relative to store_dirfd(); it belongs to the caller
 *   ret_set  whether every directory was in the archive. If not, what was made is good over no
 *            stack: drop it, and unpack again when the layers below are there
 *
 * Nothing is left when it fails.
 */
NODISCARD bool snapshot_unpack_stream(Store *s, const Digest *diff_id, LayerIn *in, bool in_userns,
                                      char ret_tmp[static STORE_TMP_MAX], bool *ret_set, Err *e);
/* snapshot_keep - publish what snapshot_unpack_stream() made as the layer's snapshot. */
NODISCARD bool snapshot_keep(Store *s, const Digest *diff_id, const char *tmp, SnapshotId *ret,
                             Err *e);

/*
 * snapshot_pack - the layer that a snapshot stands for, as layer_pack() writes it. The namespaces
 * must be entered.
 */
NODISCARD bool snapshot_pack(Store *s, SnapshotId id, LayerTimes times, LayerForm form, int outfd,
                             unsigned nthread, LayerFacts *ret, Err *e);

/* What the layer of a snapshot is called, and the bytes of its tar stream. */
typedef struct SnapshotDiff {
    Digest id;
    uint64_t size;
} SnapshotDiff;

/*
 * snapshot_diff_id - the diff ID of a snapshot packed by the rule, remembered after the first time.
 * The empty snapshot is the layer without entries. Fails as snapshot_pack().
 */
NODISCARD bool snapshot_diff_id(Store *s, SnapshotId id, LayerTimes times, SnapshotDiff *ret,
                                Err *e);
/* snapshot_diff_known - whether snapshot_diff_id() would answer from memory, without reading the
 * snapshot. */
bool snapshot_diff_known(Store *s, SnapshotId id, LayerTimes times);
/* snapshot_diff_of - that of a directory that will be a snapshot. snapshot_diff_keep - it has
 * become this one, and snapshot_diff_id() knows it. */
NODISCARD bool snapshot_diff_of(int dirfd, LayerTimes times, LayerLent lent, SnapshotDiff *ret,
                                Err *e);
NODISCARD bool snapshot_diff_keep(Store *s, SnapshotId id, LayerTimes times, const SnapshotDiff *d,
                                  Err *e);

/*
 * snapshot_squash - what several snapshots, bottom first, change of the stack below, as one.
 *
 *   name  of the result that they lead to, under which it is remembered
 *
 * The namespaces must be entered. Fails with ERR_STORE, ERR_STEP.
 */
NODISCARD bool snapshot_squash(Store *s, const Stack *below, const SnapshotId *ids, size_t n,
                               bool in_userns, const Digest *name, SnapshotId *ret, Err *e);
/* snapshot_squash_known - the one that is remembered; false when there is none, and when looking
 * failed. */
bool snapshot_squash_known(Store *s, const Digest *name, SnapshotId *ret, Err *e);

/*
 * snapshot_compare - what differs between two snapshots, times aside: a line for each of the first
 * few files, in the arena. The namespaces must be entered. Fails with ERR_STORE.
 */
NODISCARD bool snapshot_compare(Store *s, Arena *a, SnapshotId one, SnapshotId two, StrList *ret,
                                Err *e);

/* ---- writing a snapshot without a mount ---- */

/* A directory whose time is set when the snapshot is finished. */
typedef struct UpperTime {
    const char *path;
    struct timespec mtime;
    bool wanted; /* false: the directory was removed since, and another is there */
} UpperTime;

/* A snapshot being written over a stack. What it reads is the merged view, what it writes is its
 * own. */
typedef struct Upper {
    Store *store;
    Arena arena;
    char tmp[STORE_TMP_MAX];
    int dirfd;
    StackView all;              /* the new directory over the stack */
    char parent[TREE_PATH_MAX]; /* the last directory made sure of */
    UpperTime *times;
    size_t ntime, time_cap;
    Map time_of;    /* path -> index in times */
    bool removed;   /* something was removed */
    bool in_userns; /* opaque directories get user.overlay.opaque; the caller sets it */
    /*
     * Set by the caller: the first file that is put gets its bytes by upper_copy_lent(), and until
     * then has none. So whoever reads them where they come from need not wait for the copy.
     */
    bool lend;
    LayerLent lent;       /* that file */
    TreeEntry lent_entry; /* what it will be */
} Upper;

NODISCARD bool upper_begin(Store *s, const Stack *below, Upper *ret, Err *e);
/* upper_set_times - give all directories their times: then it is as it will be. */
NODISCARD bool upper_set_times(Upper *u, Err *e);
/* upper_commit - publish; *ret is the empty snapshot when nothing was written. */
NODISCARD bool upper_commit(Upper *u, SnapshotId *ret, Err *e);
/* upper_commit_over - the same for what holds only a difference: see store_snapshot_add_over(). */
NODISCARD bool upper_commit_over(Upper *u, const Stack *parts, SnapshotId *ret, Err *e);
/* upper_move - end it as a directory at `path`, relative to store_dirfd(), that is no snapshot. */
NODISCARD bool upper_move(Upper *u, const char *path, Err *e);
/* upper_abort - drop; after upper_commit it only frees. */
void upper_abort(Upper *u);
static inline void scoped_upper_done(Upper *u)
{
    upper_abort(u);
}

/*
 * upper_copy_lent - make the copy that takes the place of `u->lent`, which is there; other threads
 * may read the new snapshot meanwhile. Fails with ERR_STORE.
 */
NODISCARD bool upper_copy_lent(Upper *u, Err *e);
/*
 * upper_link_lent - the same without a copy: a second name of the file in the snapshot it is from.
 * *ret_done is false where that may not be. The new snapshot is to be marked, see
 * snapshot_twins_allow(). Fails with ERR_STORE.
 */
NODISCARD bool upper_link_lent(Upper *u, SnapshotId from, bool *ret_done, Err *e);
/* upper_own_lent - put it there. Nothing else changes, neither do times of directories. Fails with
 * ERR_STORE. */
NODISCARD bool upper_own_lent(Upper *u, Err *e);

/*
 * upper_mkdirs - make a directory and its missing parents, mode and owner as given; links are
 * followed, and what they name is made too. What exists is left alone. Fails with ERR_STEP when a
 * part of the path is no directory.
 */
NODISCARD bool upper_mkdirs(Upper *u, const char *path, uint32_t mode, uint32_t uid, uint32_t gid,
                            Err *e);

/* upper_remember_time - the time a directory of the new snapshot gets when it is finished. */
void upper_remember_time(Upper *u, const char *path, struct timespec mtime);

/* upper_touch_dir - give a directory of the merged view, at a resolved path, another time. */
NODISCARD bool upper_touch_dir(Upper *u, const char *path, struct timespec mtime, Err *e);

/*
 * upper_put - write one entry at `target`.
 *
 *   src     the view that has the entry's data (t->from)
 *   target  resolved path (no links), without leading slash;
 *           its parent must exist in the merged view
 *   t->passage  a directory that exists takes its mode, and keeps owner, time and attributes
 *   twin    NULL, or the target that an earlier entry of the same link group got
 *
 * Fails with ERR_STEP when a directory would be replaced by a file or the reverse, or when the
 * source changed since its digest was taken.
 */
NODISCARD bool upper_put(Upper *u, const View *src, const TreeEntry *t, const char *target,
                         const char *twin, Err *e);

/* upper_still - whether an open file is what its entry says, and was while it was read. Fails with
 * ERR_STEP when it is not. */
NODISCARD bool upper_still(int fd, const TreeEntry *t, Err *e);

/*
 * upper_remove - remove what is at `path` (resolved, as for upper_put) with all below; absence is
 * fine. What lower snapshots have there is hidden by a whiteout; a directory made there later hides
 * what they have in it. Set u->in_userns before.
 */
NODISCARD bool upper_remove(Upper *u, const char *path, Err *e);

/* ---- archives ---- */

typedef struct UntarOpts {
    bool chown; /* everything belongs to uid:gid, whatever the archive says */
    uint32_t uid, gid;
} UntarOpts;

/*
 * upper_untar - unpack a tar archive, packed or not, as ADD does.
 *
 *   fd    read from where it stands to the archive's end; what follows that is not looked at
 *   dest  the directory to unpack into; links of the image are followed. It and its missing parents
 *         are made, mode 0755, owner as chown says, else 0:0
 *
 * `dest` is the archive's root, as in a chroot: `..`, absolute names, links of the image and links
 * of the archive lead nowhere else. Parents that the archive leaves out are made 0755 0:0. A
 * directory over a directory is merged and takes the entry's mode, owner and time; anything else
 * that is in the way is removed. An entry "." leaves `dest` as it is. `.wh.` names are names.
 * Hard links give their fields to the file they share. Attributes that the file system does not
 * take are left out. Device nodes below /dev are left out where the kernel refuses them to a user
 * namespace.
 *
 * Set up->in_userns before. Fails with ERR_STEP for what the archive says, ERR_STORE or ERR_ENV for
 * what this machine cannot do; the Upper is then good for upper_abort only.
 * Source: moby/go-archive, Unpack, as BuildKit calls it.
 */
NODISCARD bool upper_untar(Upper *up, int fd, const char *dest, const UntarOpts *o, Err *e);

/*
 * snapshot_from_tar - unpack a build context that came as an archive, packed or not, into a
 * snapshot that stands for itself (no layer lies under it, and it has no marks of overlayfs).
 *
 * Needs no rights: files belong to the caller, owners in the archive mean nothing, and device nodes
 * are left out, so that the result does not depend on who builds. Modes and times are the
 * archive's. *ret is the empty snapshot when the archive has no entry. Fails as upper_untar, and
 * leaves nothing.
 */
NODISCARD bool snapshot_from_tar(Store *s, int fd, SnapshotId *ret, Err *e);

/*
 * snapshot_tidy - take away from `upper`, which a command wrote over `below`, what says nothing:
 * marks of opaque directories that hide nothing (overlayfs marks each directory that was renamed),
 * and entries that are in all what lies below them, as files that were only opened for writing.
 *
 * A layer is so the same whether the command ran over an overlay or in a copied root.
 * Source: BuildKit, util/overlay, sameDirent, which passes over such entries too.
 */
NODISCARD bool snapshot_tidy(Store *s, const Stack *below, const char *upper, Err *e);

/* ---- roots without overlayfs ---- */

/*
 * A copy of what a stack shows, which a command may change as its root.
 *
 * What the command changed is found by inode and change time, as overlayfs would have copied it up:
 * whatever was touched is written, whether or not it is equal.
 */
typedef struct CopyRoot {
    Store *store;
    char dir[STORE_TMP_MAX];  /* ours, relative to store_dirfd() */
    char root[STORE_TMP_MAX]; /* the copy */
    int dirfd, rootfd;
    SnapshotId *ids; /* the stack it is a copy of */
    size_t n;
    Arena arena;
    Map dirs;             /* path -> inode of every directory */
    struct timespec mark; /* nothing in it has a later change time */
    int64_t clock;        /* real time less time since boot, when the mark was set */
    struct CopyRoot *next;
} CopyRoot;

/* Copies of one build that wait for the step after the one they were made for. Any thread. */
typedef struct CopyRoots CopyRoots;

CopyRoots *copyroots_new(void);
/* copyroots_done - remove all that is kept; NULL is fine. */
void copyroots_done(CopyRoots *c);

/*
 * copyroot_take - a root that shows `stack`, for one command.
 *
 *   c  NULL, or copies of this build: the one that fits best is taken and what it lacks is copied
 *      over it
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool copyroot_take(CopyRoots *c, Store *s, const Stack *stack, CopyRoot **ret, Err *e);

/*
 * copyroot_diff - write what the command changed into `upper`, in overlay form, as mode root's
 * overlay would have it there.
 *
 *   upper  made by snapshot_make_root(), relative to store_dirfd()
 *   own    paths that the sandbox changed and put back, and the command did not touch
 *
 * Fails with ERR_STORE, and with ERR_ENV where the clock was set back meanwhile.
 */
NODISCARD bool copyroot_diff(CopyRoot *r, const char *upper, const StrList *own, Err *e);

/* copyroot_keep - keep it for the next step, now that it shows `below` and `top` over it. */
void copyroot_keep(CopyRoots *c, CopyRoot *r, const Stack *below, SnapshotId top);
/* copyroot_drop - remove it; NULL is fine. */
void copyroot_drop(CopyRoot *r);
static inline void scoped_copyroot_done(CopyRoot **r)
{
    copyroot_drop(*r);
}

/*
 * snapshot_copy - copy a stack of directories, or what `sub` names in it, to a new directory.
 *
 *   lowers    relative to store_dirfd(), top first
 *   sub       NULL or a path, whose links stay inside
 *   dest      relative to store_dirfd(); made
 *   ret_path  what to show: `dest`, or the file or directory in it that `sub` named; in the arena
 *
 * Fails with ERR_STEP when there is no `sub`, ERR_STORE.
 */
NODISCARD bool snapshot_copy(Store *s, Arena *a, const StrList *lowers, const char *sub,
                             const char *dest, const char **ret_path, Err *e);

#endif
