/*
 * context/index.h - what was known of a context's files when they were last read. Private to
 * context/.
 *
 * One file for one context under one ignore file, mapped and never written in place: the next
 * build writes another and renames it. It holds *roots*, directories that a COPY named, each a
 * tree of *blocks*: the names of one directory in the order of their bytes, each with its stat
 * data and, for a file, its digest. A file whose stat data is as it was is not opened.
 *
 *     header      magic, CRC-32 of all that follows, counts
 *     roots, blocks, entries, text
 *
 * Numbers are in the machine's byte order: an index is made where it is read, and one that does
 * not fit is as good as none. What git calls racy, a file that was written so shortly before it
 * was read that a second write might leave the same stat data, is marked and read again.
 *
 * Used by: scan, context.  Uses: base.
 */
#ifndef CONTEXT_INDEX_H
#define CONTEXT_INDEX_H

#include <sys/stat.h>

#include "base/digest.h"
#include "base/str.h"

#define INDEX_NONE UINT32_MAX

typedef struct IndexStat {
    uint64_t ino, size; /* of a device: its number */
    int64_t mtime, ctime;
    uint32_t mtime_ns, ctime_ns;
    uint32_t mode;
} IndexStat;

enum {
    INDEX_RACY = 1 << 0,    /* the digest may be that of an older content */
    INDEX_ODD = 1 << 1,     /* has extended attributes, which are not in the index */
    INDEX_LINKED = 1 << 2,  /* has other names */
    INDEX_PASSAGE = 1 << 3, /* a directory that exists if something in it does */
    INDEX_MARKED = 1 << 4,  /* the same, because of a filter and not of the ignore file */
};

typedef struct IndexEntry {
    IndexStat st;
    uint32_t name; /* where it stands in the text; ends with a NUL */
    uint32_t more; /* a directory's block; where a link's target stands in the text */
    uint16_t name_len;
    uint8_t flags, unused;
    Digest content; /* files only */
} IndexEntry;

typedef struct IndexBlock {
    uint32_t first, n; /* its entries */
} IndexBlock;

typedef struct IndexRoot {
    uint32_t name; /* in the text: the directory, and what chooses among its files */
    uint32_t block;
    uint32_t n; /* entries that a COPY of it selects */
    uint32_t has_digest;
    Digest digest; /* tree_digest() of these */
} IndexRoot;

/* An index that was read. All zeros: none. */
typedef struct Index {
    void *map;
    size_t size;
    const IndexRoot *roots;
    const IndexBlock *blocks;
    const IndexEntry *entries;
    const char *text;
    uint32_t nroot, nblock, nentry, text_len;
} Index;

/* index_open - map an index; what is absent or broken is no index, and no failure. */
void index_open(int dirfd, const char *path, Index *ret);
void index_done(Index *x);
/* index_root - the root of that name; NULL when there is none. */
const IndexRoot *index_root(const Index *x, const char *name);
static inline const char *index_text(const Index *x, uint32_t at)
{
    return x->text + at;
}

/* An index in the making. Entries of one block are added in one go. */
typedef struct IndexWriter {
    Buf roots, blocks, entries, text;
} IndexWriter;

void index_writer_done(IndexWriter *w);
static inline void scoped_index_writer_done(IndexWriter *w)
{
    index_writer_done(w);
}
uint32_t index_add_text(IndexWriter *w, const char *s, size_t len);
/* index_add_block - room for the `n` entries of a block, all zeros. */
uint32_t index_add_block(IndexWriter *w, uint32_t n);
/* index_entry - an entry of a block, until something is added. */
IndexEntry *index_entry(IndexWriter *w, uint32_t block, uint32_t i);
void index_add_root(IndexWriter *w, const IndexRoot *root);
/* index_copy_block - take over a block with all below it. */
uint32_t index_copy_block(IndexWriter *w, const Index *from, uint32_t block);
/* index_write - into the file `path`, which is made; the caller renames it. */
NODISCARD bool index_write(const IndexWriter *w, int dirfd, const char *path, Err *e);

/* index_stat - the fields that tell whether a file is the one it was. */
void index_stat(const struct stat *st, IndexStat *ret);
bool index_same(const IndexStat *a, const IndexStat *b);
/*
 * index_racy - whether a file that was looked at when the clock said `now` may be written once more
 * without its stat data showing it.
 *
 *   now  CLOCK_REALTIME_COARSE before the stat, the clock that file systems take their times from
 */
bool index_racy(const IndexStat *st, struct timespec now);

#endif
