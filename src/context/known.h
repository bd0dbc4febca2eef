/*
 * context/known.h - what a build has seen of its context, and what the last one saw. Private to
 * context/.
 *
 * Each directory that a COPY names is scanned once a build, and again when a step found that it
 * had changed. Behind one lock; any thread may ask.
 *
 * Used by: context.  Uses: scan, index.
 */
#ifndef CONTEXT_KNOWN_H
#define CONTEXT_KNOWN_H

#include <pthread.h>

#include "base/map.h"
#include "context/scan.h"

/* A directory that was scanned. */
typedef struct KnownScan {
    /* The directory and what chooses in it, as the index names its roots; "": it has changed. */
    const char *name;
    Scan *scan;
    uint64_t at_ns; /* when it was made */
    Digest tree;    /* tree_digest() of all that is in it, once known */
    size_t n;
    bool has_tree;
} KnownScan;

/* A single file that was asked about. */
typedef struct KnownFile {
    const char *path;
    IndexStat st;
    Digest content;
    uint8_t flags;
} KnownFile;

typedef struct Known {
    int dirfd;
    const char *path; /* NULL: nothing is kept */
    bool local;       /* the context's file system tells of every change */
    dev_t dev;
    Index index;
    pthread_mutex_t lock; /* of what follows */
    Arena arena;
    KnownScan *scans;
    KnownFile *files;
    size_t nscan, scan_cap, nfile, file_cap;
    Map by_path; /* -> place in `files` */
    bool stale;  /* a file was read that the index does not have */
    bool forgot; /* directories are looked at anew, so that nothing is learned of them any more */
} Known;

struct Context;

void known_init(struct Context *c);
void known_done(Known *k);
extern const ViewReader KNOWN_READER; /* its `arg` is a Context */

#endif
