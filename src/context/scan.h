/*
 * context/scan.h - read everything below one directory of a context, opening what is new. Private
 * to context/.
 *
 * Several threads take directories from one stack, list them, look at what the ignore file and a
 * filter leave, and compare with the index. What is as it was costs one stat; any other file is
 * read and hashed where it was found. Small trees are done by the calling thread alone.
 *
 * Files of one directory are told apart from those of the index by their stat data. A directory is
 * always listed, and its own times count for nothing but themselves.
 *
 * Used by: context.  Uses: index, ignore, tree.
 */
#ifndef CONTEXT_SCAN_H
#define CONTEXT_SCAN_H

#include "context/ignore.h"
#include "context/index.h"
#include "tree/tree.h"

typedef struct Scan Scan;

/* What a scan looks at. Borrowed, and unchanged until scan_free. */
typedef struct ScanSpec {
    int dirfd;                /* the context */
    const char *dir;          /* a clean path in it, without a link; "" is all of it */
    const Ignore *ignore;     /* NULL: nothing is left out */
    const IgnoreState *state; /* of `dir`; NULL without `ignore` */
    const TreeFilter *filter; /* NULL, or what chooses by the path below `dir` */
    const Index *index;
    const IndexRoot *root; /* in `index`; NULL when this was never scanned */
} ScanSpec;

/*
 * scan_new - look at everything. No thread is left when it returns.
 *
 * Fails with ERR_DOCKERFILE when something cannot be read, naming it, or changed meanwhile.
 */
NODISCARD bool scan_new(const ScanSpec *spec, Scan **ret, Err *e);
void scan_free(Scan *s);

/* scan_unchanged - whether it would select just what is in the index, with equal digests. */
bool scan_unchanged(const Scan *s);
/* scan_stale - whether an index of this scan would be another file than the one there is. */
bool scan_stale(const Scan *s);
/*
 * scan_tree - append all entries, in the order of tree_select(), with their digests.
 *
 * `link_group` holds a number that files with one inode share. Paths are relative to the directory;
 * everything lies in `a`.
 */
NODISCARD bool scan_tree(const Scan *s, Arena *a, Tree *out, Err *e);
/* scan_write - the scan as a block of a new index. */
uint32_t scan_write(const Scan *s, IndexWriter *w);

/* scan_is_local - whether times on this file system tell of every change: it is on no network, and
 * no image that somebody made with times of his choice. */
bool scan_is_local(int fd);
/*
 * scan_file - the digest of one file that is open, and whether it has extended attributes.
 *
 *   st  its stat data from before
 *
 * Fails with ERR_DOCKERFILE when it cannot be read or is not the same afterwards; the caller names
 * it.
 */
NODISCARD bool scan_file(int fd, const struct stat *st, Digest *ret, bool *ret_odd, Err *e);

#endif
