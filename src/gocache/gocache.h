/*
 * gocache/gocache.h - the door of the build cache room: a Go package is compiled once.
 *
 * In: the directory that go commands of a step left as their GOCACHE. Out: directories that lie
 * under the root of the next such step, so that its go commands find what was compiled before. What
 * belongs together is a space: everything that a compiler's output depends on and go does not ask
 * about is in its name, which the caller makes (steps/gospace.c).
 *
 * A space is a set of generations. Each is a directory that never changes, what one command added,
 * and they are stacked, as layers are. Nothing gets into one that go would not have written: an
 * output whose bytes are not what its name says stays out, and so does an entry whose output is not
 * there. Indexes of source files are in spaces of their own, and only those that are right: go
 * takes them by name, size and time.
 *
 *   gocache/<space>.<hex>/tree/<path of GOCACHE>/ab/ab...-a, -d    one generation
 *   gocache/<space>.<hex>/about                                    "<n> files", and the names of
 *                                                                  older ones that are all in it
 *
 * Used by: steps.  Uses: base, go, store.
 */
#ifndef GOCACHE_GOCACHE_H
#define GOCACHE_GOCACHE_H

#include "base/arena.h"
#include "base/digest.h"
#include "store/store.h"

typedef struct GocacheGeneration {
    const char *id; /* "gocache/<space>.<hex>" */
    uint64_t files;
} GocacheGeneration;

/* A space, as one step sees it. */
typedef struct Gocache {
    Store *store;
    char space[41];
    const char *path;     /* of GOCACHE, relative to the root */
    GocacheGeneration *v; /* the biggest first; in use by this process */
    size_t n, cap;
    StrList superseded; /* ids of others: all that is in them is in one of these */
} Gocache;

/*
 * gocache_open - the generations of a space. No space is a fault: without any it is empty.
 *
 *   space  what the outputs depend on
 *   path   of GOCACHE, relative to the root, clean; borrowed
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool gocache_open(Store *s, Arena *a, const Digest *space, const char *path, Gocache *ret,
                            Err *e);

/*
 * gocache_bottom - make the directory that lies over the generations, at `dir` relative to
 * store_dirfd(): a GOCACHE without entries, in which results of tests have just expired and nothing
 * is to be trimmed. Everybody may write into it. Fails with ERR_STORE.
 */
NODISCARD bool gocache_bottom(Store *s, Arena *a, const char *path, const char *dir, Err *e);

/* gocache_lowers - append the generations of spaces as directories for a mount, relative to
 * store_dirfd(); the biggest lies on top, where most names are found. */
void gocache_lowers(const Gocache *const *v, size_t n, Arena *a, StrList *out);

/* The mode of a file that is lent: whose command it is given is not known. */
enum { GOCACHE_MODE = 0666 };

/* What came of a harvest. */
typedef struct GocacheHarvest {
    size_t kept, refused; /* files */
    uint64_t bytes;       /* of those that were kept */
} GocacheHarvest;

/* Where indexes of source files go, and which. */
enum { GOCACHE_INDEXES_MAX = 2 };
typedef struct GocacheIndexes {
    Gocache *caches;
    size_t n;
    /* in which of them what is under this name is right for whoever will have the space; -1: in
     * none */
    int (*place)(void *arg, const Digest *action, Str index);
    void *arg;
} GocacheIndexes;

/*
 * gocache_harvest - take what is good of a GOCACHE that a command left, as one generation more.
 *
 *   x      for indexes, which are generations of other spaces; NULL: none are taken
 *   dirfd  the GOCACHE; nobody else has it open
 *   stays  what is taken is copied, and not moved out of it
 *   what   whose it is, for listings
 *
 * Fails with ERR_STORE or ERR_STEP (cancelled); then what was added is whole.
 */
NODISCARD bool gocache_harvest(Gocache *c, const GocacheIndexes *x, Arena *a, int dirfd, bool stays,
                               const char *what, GocacheHarvest *ret, Err *e);

/* A GOCACHE that a command leaves to others, and that lacks what it only was lent. */
typedef struct GocacheLeft {
    const Gocache *const *spaces; /* that it was lent */
    size_t n;
    const StrList *used; /* the names of entries that it opened: "<hex>-a" */
    int dirfd;
    bool (*there)(void *arg, const char *path); /* whether what lies below has "ab/ab..." */
    void *arg;
    int rootfd; /* of the snapshot that it is in */
    uint32_t uid, gid;
    uint32_t mode; /* of a file */
} GocacheLeft;

/*
 * gocache_put_back - copy into a GOCACHE what the command would have written there itself, had it
 * been lent nothing: the entries that it used, their outputs, and what go writes beside those.
 *
 * Fails with ERR_STORE or ERR_STEP (cancelled).
 */
NODISCARD bool gocache_put_back(const GocacheLeft *l, Arena *a, Err *e);

/* An output of an action, which lies in a file. */
typedef struct GocacheNew {
    Digest action, output;
    uint64_t size;
    const char *path; /* relative to store_dirfd() */
} GocacheNew;

/*
 * gocache_add - one generation more, of what the caller knows to be right. It has the same files,
 * under a second name and with the mode and time that all in a generation have. Nothing is no
 * generation. Fails with ERR_STORE.
 */
NODISCARD bool gocache_add(Gocache *c, Arena *a, const GocacheNew *v, size_t n, const char *what,
                           Err *e);

#endif
