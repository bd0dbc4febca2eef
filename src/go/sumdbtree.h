/*
 * go/sumdbtree.h - hashes of signed trees, read from tiles that are proven first.
 */
#ifndef GO_SUMDBTREE_H
#define GO_SUMDBTREE_H

#include "base/map.h"
#include "go/note.h"
#include "go/sumdb.h"
#include "go/tlog.h"

/* A tile that adds up to a signed tree, and is not saved yet. */
typedef struct SumdbProven {
    struct SumdbProven *next;
    const char *path;
    const uint8_t *bytes;
    size_t n;
} SumdbProven;

/* Reads hashes of one database's trees, and remembers tiles that were proven. */
typedef struct SumdbTree {
    const GoSumdbIo *io;
    bool silent; /* the last failure: nothing came that could be judged */
    Arena arena; /* of the tiles remembered */
    Map tiles;   /* path -> hashes */
    SumdbProven *unsaved;
} SumdbTree;

void sumdb_tree_init(SumdbTree *t, const GoSumdbIo *io);
void sumdb_tree_done(SumdbTree *t);

/*
 * sumdb_tree_read - the hashes of `n` nodes of a signed tree.
 *
 * All tiles that lead from the nodes to the root are fetched at once and held against the root;
 * only then are they used. Fails with ERR_NETWORK or what `fetch` said (`silent`), or
 * ERR_CHECK.
 */
NODISCARD bool sumdb_tree_read(SumdbTree *t, const TreeHead *tree, const TreeNode *nodes, size_t n,
                               Digest *ret, Err *e);

/* sumdb_tree_root - the root of the first `n` records of a signed tree. Fails as above. */
NODISCARD bool sumdb_tree_root(SumdbTree *t, const TreeHead *tree, uint64_t n, Digest *ret, Err *e);

/*
 * sumdb_tree_prove - append to `out` why `old` is not the beginning of `new`: the root of as many
 * records of `new`, and the hashes that lead from it to the root of `new`. What cannot be read any
 * more is left out. Source: RFC 6962, section 2.1.2.
 */
void sumdb_tree_prove(SumdbTree *t, const TreeHead *old, const TreeHead *new, const Digest *root,
                      Buf *out);

/*
 * sumdb_tree_settle - the trees that were read are of the one history: save their tiles; or they
 * may not be: forget them.
 */
void sumdb_tree_settle(SumdbTree *t, bool good);

/* sumdb_tree_fetch, sumdb_tree_save - the caller's own. */
NODISCARD bool sumdb_tree_fetch(SumdbTree *t, GoSumdbFetch *v, size_t n, Err *e);
void sumdb_tree_save(const SumdbTree *t, const char *path, const void *bytes, size_t n);

#endif
