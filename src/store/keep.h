/*
 * store/keep.h - what is kept and what goes. Private to the store.
 *
 * Everything that can be collected has a name, a letter and what identifies it:
 *
 *   i<hex>  image            its rows; config and manifest are blobs of their own
 *   b<hex>  blob             blobs/sha256/<hex>
 *   s<id>   snapshot         snapshots/<id>, and the records and layers that lead to it
 *   r<hex>  record           of a step that wrote nothing: a row alone
 *   k<hex>  memo             a row alone; its uses are noted, it needs no lease
 *   d<path> directory        one that changes in place: mounts/<id>, git/<id>
 *
 * A lease is a line with the name in our file below leases/, which we hold locked, so it ends with
 * the process. Who wants to use a thing writes the line first and looks for the thing after. Who
 * collects writes the name into the table `doomed` first (state 1) and reads all leases after, so
 * that one of the two sees the other; a name that is doomed when a lease is taken is taken out of
 * the table again. Then rows go (state 2, synced), then the bytes are renamed into tmp/, and when
 * that is committed they are removed. After a crash the next collection goes on from there.
 */
#ifndef STORE_KEEP_H
#define STORE_KEEP_H

#include "store/db.h"

enum { NAME_MAX_LEN = 128 };

/* States in `doomed`. */
enum { DOOMED = 1, DOOM_DONE = 2 };

/* lease_* - use a thing until the end of this process. *ret_gone: a collection has taken it. */
NODISCARD bool lease_blob(Store *s, const Digest *d, bool *ret_gone, Err *e);
NODISCARD bool lease_image(Store *s, const Digest *id, bool *ret_gone, Err *e);
NODISCARD bool lease_snapshot(Store *s, SnapshotId id, bool fresh, bool *ret_gone, Err *e);
/* lease_blob_size - a leased blob was written now and takes so much room. */
void lease_blob_size(Store *s, const Digest *d, uint64_t size);
/* note_use - remember that a row was used; it is no lease. */
void note_use(Store *s, char letter, const Digest *d);

/* durable_note - say of a thing, before anything leads to it, that it is not on the disk yet. */
NODISCARD bool durable_note(Store *s, const char *name, Err *e);
/* durable_recover - drop what was noted in another boot. */
NODISCARD bool durable_recover(Store *s, Err *e);
/* durable_settle - leave a process behind that writes out what this one has made. No thread of ours
 * is alive. */
void durable_settle(Store *s);
/* tmp_owner_dead - whether a process's directory below tmp/ ("tmp/12-0") is gone or nobody's. */
bool tmp_owner_dead(Store *s, const char *owner);

/* leases_read - the names that living processes have leases on, as a set. The arena has the names.
 */
NODISCARD bool leases_read(Store *s, Arena *a, Map *ret, Err *e);

/* A use that the database does not know yet. */
typedef struct LoggedUse {
    const char *name;
    int64_t when;
} LoggedUse;

/* uses_read - the uses in a file of such lines; none when it is not there. */
NODISCARD bool uses_read(int dirfd, const char *path, Arena *a, LoggedUse **ret, size_t *ret_n,
                         Err *e);
/* uses_fold - take the uses in the store's file over into the database. */
NODISCARD bool uses_fold(Store *s, Err *e);

/* name_path - where the bytes of a name lie, relative to the store; NULL: it is rows alone. */
const char *name_path(Arena *a, const char *name);
/* name_digest - the digest in the name of an image, blob, record or memo. */
bool name_digest(const char *name, Digest *ret);

/*
 * tree_usage - what a file or directory with all below takes on the disk, as `du` counts: blocks,
 * a file with several links once.
 *
 *   seen  files with several links that were counted; NULL: those of this tree alone
 */
typedef struct Seen Seen;
Seen *seen_new(void);
void seen_free(Seen *s);
static inline void scoped_seen_done(Seen **s)
{
    seen_free(*s);
}
uint64_t tree_usage(int dirfd, const char *path, Seen *seen);

/* collect_lock - one collection at a time; *ret_fd is -1 when another runs and `wait` is false. */
NODISCARD bool collect_lock(Store *s, bool wait, int *ret_fd, Err *e);

/*
 * collect - let go of these names, unless they are leased, or needed by an image that stays.
 *
 *   forced    damaged things: images that need them go first, or lose them
 *   ret_gone  one flag a name
 */
NODISCARD bool collect(Store *s, const StrList *names, bool forced, bool *ret_gone, Err *e);

/* collect_debris - finish what a killed collection began, drop what killed writers left. */
NODISCARD bool collect_debris(Store *s, Err *e);

/* origins_forget - drop what is known of layers that no image has any more. */
NODISCARD bool origins_forget(Store *s, Err *e);

/* store_cache_unknown - the counter of the cache's size must be taken anew. */
NODISCARD bool store_cache_unknown(Store *s, Err *e);

#endif
