/*
 * go/tlog.h - a transparent log: hashes over records, and the tiles they are served in.
 */
#ifndef GO_TLOG_H
#define GO_TLOG_H

#include "base/digest.h"
#include "base/str.h"
#include "go/sumdb.h"

enum {
    TILE_HEIGHT = 8, /* levels of hashes in a tile of the checksum database */
    TILE_FULL = 1 << TILE_HEIGHT,
    TLOG_LEVELS = 62, /* records are fewer than two to this power */
};

/* What a signed tree says. */
typedef struct TreeHead {
    uint64_t n; /* records */
    Digest root;
} TreeHead;

/* The hash of the 2^level records from number n * 2^level on. */
typedef struct TreeNode {
    unsigned level;
    uint64_t n;
} TreeNode;

/* Source: RFC 6962, section 2.1. */
void tlog_leaf(Str record, Digest *ret);
void tlog_inner(const Digest *left, const Digest *right, Digest *ret);
/* tlog_empty - the root of no records. */
void tlog_empty(Digest *ret);

/*
 * tlog_cover - the fewest nodes that are all records from `from` to before `to`, left to right.
 *
 * `from` is 0 or a multiple of a power of two that is not smaller than the rest: RFC 6962's
 * subtrees. Returns how many, at most TLOG_LEVELS.
 */
size_t tlog_cover(uint64_t from, uint64_t to, TreeNode ret[static TLOG_LEVELS]);
/* tlog_fold - the root over the hashes of what tlog_cover() gave, at least one. */
void tlog_fold(const Digest *hashes, size_t n, Digest *ret);

/*
 * tlog_tree_parse - the text of a tree note: a headline, the number of records, the root.
 * False for anything else. Source: x/mod/sumdb/tlog, ParseTree.
 */
NODISCARD bool tlog_tree_parse(Str text, TreeHead *ret);

/*
 * tlog_record_parse - the answer to a lookup: number, record, tree note, the last two in `body`.
 * False for anything else. Source: x/mod/sumdb/tlog, ParseRecord.
 */
NODISCARD bool tlog_record_parse(Str body, uint64_t *ret_id, Str *ret_record, Str *ret_note);

/* ---- tiles of height TILE_HEIGHT ---- */

/* tlog_tile - the tile that holds a node in a tree of `n` records, as wide as it is there. */
GoTile tlog_tile(TreeNode node, uint64_t n);
/* tlog_tile_parent - the tile that holds the hash of this one, which must be full. */
GoTile tlog_tile_parent(GoTile t, uint64_t n);
/* tlog_tile_hash - a node's hash from the hashes of its tile. */
void tlog_tile_hash(TreeNode node, const uint8_t *hashes, Digest *ret);

#endif
