/*
 * tree/tree.h - the door of the tree room: files as one value.
 *
 * COPY, keys, diffs and comparisons share one list of fields and one digest, whether the files lie
 * in a context, in a snapshot or in an archive. A View looks at such files through a stack of
 * directories: one for a context, several for a snapshot, where the upper hides the lower as
 * overlayfs does it. A view never leaves its directories: links are resolved inside, `..` stops at
 * the root.
 *
 * Used by: context, layer, snapshot, steps, source, export.  Uses: base.
 */
#ifndef TREE_TREE_H
#define TREE_TREE_H

#include <sys/stat.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

typedef enum TreeType {
    TREE_FILE,
    TREE_DIR,
    TREE_SYMLINK,
    TREE_FIFO,
    TREE_CHAR,
    TREE_BLOCK,
    TREE_SOCKET,
} TreeType;

/* Entries one COPY may select. */
enum { TREE_MAX_ENTRIES = 4 << 20, TREE_PATH_MAX = 4096, TREE_MAX_DEPTH = 512 };

typedef struct TreeXattr {
    const char *name;
    Str value;
} TreeXattr;

typedef struct TreeEntry {
    const char *path; /* where it goes, relative to the destination; "" is the destination itself */
    const char *from; /* where it is, in the view it was read from */
    TreeType type;
    uint32_t mode; /* 07777 bits */
    uint32_t uid, gid;
    uint64_t size;    /* files only */
    const char *link; /* symlinks only */
    uint32_t major, minor;
    uint32_t link_group; /* 0: the only name; else 1 + index of the group's first entry */
    TreeXattr *xattrs;
    size_t nxattr;
    Digest content; /* files only, once tree_hash did it */
    /* A directory that is there for what is chosen below it and was not chosen itself; only its
     * mode is given to one that exists already. */
    bool passage;
    /*
     * Carried, never part of the digest. `ctime` tells whether the file changed since it was read.
     */
    struct timespec mtime, ctime;
    /* Carried too: it was written so shortly before it was read that its times may stay as they are
     * when it is written again. */
    bool racy;
} TreeEntry;

typedef struct Tree {
    TreeEntry *v;
    size_t n, cap;
} Tree;

TreeType tree_type(mode_t mode);

/*
 * tree_digest - one name for all that layer/ would write of these entries, except times.
 * Entries count in their order; sort first where the order is not the caller's to choose.
 */
void tree_digest(const Tree *t, Digest *ret);

/* tree_entry_same - whether two entries are equal in all that enters the digest, the path aside. */
bool tree_entry_same(const TreeEntry *a, const TreeEntry *b);
/* tree_xattrs_same - whether they have the same attributes. */
bool tree_xattrs_same(const TreeEntry *a, const TreeEntry *b);

/* tree_write - append the entries of a walk as bytes, with a note of the caller's. */
void tree_write(const Tree *t, Str note, Buf *out);

/* Entries that were written, one after the other. */
typedef struct TreeReader {
    Str left;
    size_t n; /* entries in it */
    Str note;
} TreeReader;

/* tree_read - begin to read; strings stay in `bytes`. False when these are not what was written. */
NODISCARD bool tree_read(Str bytes, TreeReader *ret);

/* One path of two walks: what it was and what it is, NULL where it is not there. */
typedef struct TreeChange {
    const TreeEntry *old, *now;
} TreeChange;

/* A walk that was written down and one of now, side by side. */
typedef struct TreeSteps {
    TreeReader old;
    const Tree *now;
    Arena *arena; /* for attributes */
    size_t k;
    TreeEntry next; /* of the old ones, when has_next */
    TreeEntry given;
    bool has_next, damaged;
} TreeSteps;

/* tree_sort - bring entries into the order of a walk. */
void tree_sort(Tree *t);

/* tree_step - the next path of either; false at the end, and when what is read is `damaged`.
 * `ret->old` is valid until the next step. */
bool tree_step(TreeSteps *s, TreeChange *ret);

/* ---- views ---- */

typedef enum ViewSight {
    SIGHT_HIDDEN,  /* does not exist for the reader */
    SIGHT_SEEN,    /* exists */
    SIGHT_PASSAGE, /* a directory that exists only if something seen lies below */
} ViewSight;

typedef struct View {
    const int *dirfds; /* top first; borrowed */
    size_t n;
    bool overlay;    /* whiteouts and opaque directories mean what overlayfs means */
    bool zero_owner; /* a context: everything is read as owned by 0:0 */
    /* NULL, or what a path (without leading slash) is to the reader. */
    ViewSight (*sight)(const void *arg, const char *path, bool is_dir);
    const struct ViewReader *reader; /* NULL, or quicker ways to read */
    const void *arg;                 /* of `sight` and of the reader */
} View;

/* A place in a view. `path` is resolved: no link on the way, no leading slash, "" is the root. */
typedef struct ViewNode {
    bool exists;
    bool passage; /* SIGHT_PASSAGE */
    size_t layer; /* index into dirfds of the topmost directory that has it */
    struct stat st;
    char path[TREE_PATH_MAX];
} ViewNode;

typedef enum ViewFollow { VIEW_NOFOLLOW, VIEW_FOLLOW } ViewFollow;

/*
 * view_lookup - find `path` from the view's root.
 *
 * Links in the middle are followed, the last one as asked. What does not exist is no failure:
 * node->exists is false and node->path is where it would be made. Fails with ERR_STORE on a loop of
 * links, a name too long, or an I/O error; a file in the middle of the path counts as "does not
 * exist".
 */
NODISCARD bool view_lookup(const View *v, const char *path, ViewFollow follow, ViewNode *ret,
                           Err *e);

/* view_list - the names in a directory that view_lookup found, merged and sorted. */
NODISCARD bool view_list(const View *v, Arena *a, const ViewNode *dir, StrList *ret, Err *e);

/* view_open - open a regular file that view_lookup found. Returns -1 with errno. */
int view_open(const View *v, const ViewNode *file);

/*
 * view_entry - read a node's fields (type, owner, link, xattrs; no content digest) into an entry.
 */
NODISCARD bool view_entry(const View *v, Arena *a, const ViewNode *node, TreeEntry *ret, Err *e);
/* tree_xattrs - read the attributes that are kept of a file or directory, sorted, into an entry. */
NODISCARD bool tree_xattrs(int dirfd, const char *path, Arena *a, TreeEntry *t, Err *e);

/* overlay_whiteout, overlay_opaque - how overlayfs marks a deletion, and a directory that hides
 * what is below. */
bool overlay_whiteout(const struct stat *st);
bool overlay_opaque(int dirfd, const char *path);

/* xattr_kept - whether an extended attribute belongs to a tree: user.* and security.capability,
 * less overlay's own. */
bool xattr_kept(const char *name);

/* ---- selections: what a COPY names ---- */

/* One file or directory that a COPY source stood for. */
typedef struct Selected {
    const char *name; /* the matched path in the source */
    bool is_dir;      /* then its contents are copied */
    size_t first, n;  /* its entries in `tree`; a directory's own entry is not among them */
} Selected;

typedef struct Selection {
    Tree tree;
    Selected *roots;
    size_t nroot, root_cap;
} Selection;

/* A narrower choice of what lies below a root, by the path relative to it. */
typedef struct TreeFilter {
    ViewSight (*sight)(const void *arg, const char *path, bool is_dir);
    const void *arg;
    const char *name; /* filters of one name choose the same */
} TreeFilter;

/* Ways to read a view that need not go name by name: a context knows what has not changed. */
typedef struct ViewReader {
    /*
     * Append all that lies below a directory, as tree_select() does and with digests. `link_group`
     * is any number that files with one inode share.
     */
    bool (*below)(const void *arg, Arena *a, const char *dir, const TreeFilter *filter, Tree *out,
                  Err *e);
    /* The digest of a file, and whether it is racy. */
    bool (*content)(const void *arg, const ViewNode *file, Digest *ret, bool *ret_racy, Err *e);
} ViewReader;

/*
 * tree_select - resolve one COPY source in a view and append what it stands for.
 *
 *   source   a path or a pattern of Go's filepath.Match; `..` stops at the root
 *   filter   NULL, or what to leave out of directories; a root itself is never left out
 *   out      entries, with paths relative to the copied thing
 *   ret_any  false when nothing matched
 *
 * A directory is walked in name order; the last link of a source itself is followed, links below
 * are kept. Behind the first part with a pattern no link is gone through. Sockets are left out. A
 * directory that cannot be read is passed over when it is there only for what may lie below it.
 * Fails with ERR_DOCKERFILE when a pattern matches a link that leads nowhere.
 */
NODISCARD bool tree_select(const View *v, Arena *a, const char *source, const TreeFilter *filter,
                           Selection *out, bool *ret_any, Err *e);

/* tree_hash - read every regular file of the selection that has no digest yet and fill it in. */
NODISCARD bool tree_hash(const View *v, Tree *t, Err *e);

/* selection_digest - the digest of roots (their base names and kind) and entries. */
void selection_digest(const Selection *s, Digest *ret);
/* selection_digest_of - the same, where tree_digest() of the entries is known. */
void selection_digest_of(const Selected *roots, size_t nroot, const Digest *entries, Digest *ret);

#endif
