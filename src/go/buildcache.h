/*
 * go/buildcache.h - the files of a GOCACHE: what may be taken from one and given to another build.
 *
 * Part of the door. `<hex>-a` says which output an action has, `<hex>-d` is an output, named by its
 * SHA-256. Whoever can write the directory can write anything into it: files are taken only as the
 * go command itself would have written them.
 */
#ifndef GO_BUILDCACHE_H
#define GO_BUILDCACHE_H

#include "base/digest.h"
#include "base/str.h"

/* What an action entry says. */
typedef struct GoCacheEntry {
    Digest action; /* what was done, with what */
    Digest output; /* the SHA-256 of what came out */
    uint64_t size; /* of the output, in bytes */
    uint64_t time; /* when, in ns since 1970 */
} GoCacheEntry;

enum { GO_CACHE_ENTRY_SIZE = 175 };

/*
 * go_cache_entry_parse - read an action entry. False for everything that go_cache_entry_text()
 * would not write. Source: Go, cmd/go/internal/cache, entrySize and putIndexEntry.
 */
NODISCARD bool go_cache_entry_parse(Str text, GoCacheEntry *ret);
/* go_cache_entry_text - the same back, and a NUL; size and time are below 2^63. */
void go_cache_entry_text(const GoCacheEntry *x, char ret[static GO_CACHE_ENTRY_SIZE + 1]);

typedef enum GoCacheName {
    GO_CACHE_OTHER,  /* README, trim.txt, testexpire.txt, or anything */
    GO_CACHE_ACTION, /* <hex>-a */
    GO_CACHE_OUTPUT, /* <hex>-d; since Go 1.24 also a directory with one executable in it */
} GoCacheName;

/*
 * go_cache_name - what a file below GOCACHE is by its path: "ab/ab<62 hex>-d".
 *
 *   ret_id  set for an action or output: its number
 */
GoCacheName go_cache_name(const char *path, Digest *ret_id);
/* go_cache_path - the same back: where an entry or output lies below GOCACHE. */
enum { GO_CACHE_PATH_SIZE = 3 + 64 + 2 + 1 };
void go_cache_path(GoCacheName kind, const Digest *id, char ret[static GO_CACHE_PATH_SIZE]);

/*
 * go_cache_subkey - the action of what is kept beside an action's output, under a name. Source: Go,
 * cmd/go/internal/cache, Subkey.
 */
void go_cache_subkey(const Digest *action, const char *name, Digest *ret);

/* What an output is. */
typedef struct GoCacheOutput {
    Digest digest; /* must be its name */
    uint64_t size;
    bool index; /* an index of source files, good only where they have the same size and time */
} GoCacheOutput;

/* go_cache_is_index - does an output begin so? Source: Go, cmd/go/internal/modindex. */
bool go_cache_is_index(Str head);

/*
 * go_cache_output_read - hash what is left of `fd`, and look whether it is an index, which must not
 * be given to another build. Fails with ERR_STORE (it cannot be read) or ERR_STEP (cancelled).
 */
NODISCARD bool go_cache_output_read(int fd, GoCacheOutput *ret, Err *e);

#endif
