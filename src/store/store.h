/*
 * store/store.h - the door of the store: what lighter keeps.
 *
 * Everything lies in one directory that any number of lighter processes share, without a daemon.
 * Bytes are named by their SHA-256 and never change; writers fill tmp/ and rename(2), so that a
 * killed build leaves at most something under tmp/, which the next one sweeps. meta.db is written
 * last: a row exists only if what it names does.
 *
 *   oci-layout, index.json, blobs/sha256/<hex>   a valid OCI image layout; index.json lists packed
 * images meta.db                                      SQLite, WAL snapshots/<id> what one layer or
 * step wrote, overlay form tmp/<pid>-<n>/                               unfinished work; `lock`
 * inside is held by its owner logs/                                        output of steps that
 * failed
 *
 * Used by: snapshot, source, steps, solve, export, cmd.  Uses: base, image.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "image/image.h"

typedef struct Store Store;

/*
 * store_default_path - $LIGHTER_STORE, else /var/lib/lighter for root, else below $XDG_DATA_HOME.
 */
char *store_default_path(Arena *a);

/*
 * store_open - open a store, making it first if need be.
 *
 *   owners  how file owners are kept in snapshots, as sandbox_owners() says it: a store filled
 *           under another rule is refused, for its files would change hands.
 *           NULL: snapshots will not be touched
 *
 * Fails with ERR_STORE or ERR_ENV (network file system, other owner).
 */
NODISCARD bool store_open(const char *path, const char *owners, Store **ret, Err *e);
/* store_done - close; NULL is fine. */
void store_done(Store *s);
static inline void scoped_store_done(Store **s)
{
    store_done(*s);
}
const char *store_path(const Store *s);
int store_dirfd(const Store *s);

/* ---- tmp ---- */

/* store_tmp - a fresh path below tmp/, relative to store_dirfd(), in `out`; nothing is made there
 * yet. */
enum { STORE_TMP_MAX = 96 };
NODISCARD bool store_tmp(Store *s, const char *what, char out[static STORE_TMP_MAX], Err *e);
/* store_sweep - remove what dead processes left. What cannot be removed now is left for later. */
void store_sweep(Store *s);

/* ---- blobs ---- */

typedef struct BlobWriter {
    Store *store;
    int fd;
    char tmp[STORE_TMP_MAX];
    Hasher hash;
    uint64_t size;
} BlobWriter;

bool store_has_blob(const Store *s, const Digest *d);
/*
 * store_open_blob - open a stored blob for reading; the caller closes it.
 * Fails with ERR_STORE when it is absent. Source: OCI image-layout 1.1, "Blobs".
 */
NODISCARD bool store_open_blob(const Store *s, const Digest *d, int *ret_fd, uint64_t *ret_size,
                               Err *e);
/* store_read_blob - a small document as bytes, its digest checked again. */
NODISCARD bool store_read_blob(const Store *s, const Digest *d, Buf *ret, Err *e);
NODISCARD bool store_put_blob(Store *s, const void *bytes, size_t n, Digest *ret, Err *e);

NODISCARD bool blob_begin(Store *s, BlobWriter *w, Err *e);
NODISCARD bool blob_write(BlobWriter *w, const void *bytes, size_t n, Err *e);
/* blob_commit - publish. With `expect`, other bytes are ERR_STORE and nothing is kept. */
NODISCARD bool blob_commit(BlobWriter *w, const Digest *expect, Digest *ret, uint64_t *ret_size,
                           Err *e);
/* blob_commit_as - publish bytes that somebody else wrote to `fd` and hashed. */
NODISCARD bool blob_commit_as(BlobWriter *w, const Digest *name, Err *e);
/* blob_abort - drop an unfinished blob; after blob_commit it does nothing. */
void blob_abort(BlobWriter *w);

/* ---- snapshots and records ---- */

/* 0 is the empty snapshot: a step that wrote nothing. */
typedef uint64_t SnapshotId;

/* store_snapshot_path - where a snapshot lies, relative to store_dirfd(). */
void store_snapshot_path(SnapshotId id, char out[static STORE_TMP_MAX]);
/* store_snapshot_add - publish the finished directory `tmp` (relative to store_dirfd()) as a
 * snapshot. */
NODISCARD bool store_snapshot_add(Store *s, const char *tmp, SnapshotId *ret, Err *e);
/* store_snapshot_exists - whether its directory is there. */
bool store_snapshot_exists(const Store *s, SnapshotId id);

/* The snapshot that holds an unpacked layer. */
NODISCARD bool store_layer_get(Store *s, const Digest *diff_id, SnapshotId *ret, bool *ret_found,
                               Err *e);
NODISCARD bool store_layer_put(Store *s, const Digest *diff_id, SnapshotId id, Err *e);

/* What a step's key led to. */
typedef struct StoreRecord {
    Digest result;
    SnapshotId snapshot;
    int64_t created; /* seconds since the epoch: when the step ran */
} StoreRecord;

NODISCARD bool store_record_get(Store *s, const Digest *key, StoreRecord *ret, bool *ret_found,
                                Err *e);
/* store_record_put - `inputs`: the key's parts as text, one a line, kept for `why`. Replaces an
 * older record. */
NODISCARD bool store_record_put(Store *s, const Digest *key, const StoreRecord *r,
                                const char *inputs, Err *e);

/* Small facts that follow from their key: the digest of a selection, findings of an analysis. */
NODISCARD bool store_memo_get(Store *s, const Digest *key, Buf *ret, bool *ret_found, Err *e);
NODISCARD bool store_memo_put(Store *s, const Digest *key, const void *bytes, size_t n, Err *e);

/* ---- images ---- */

/* A layer of a kept image: bytes as they came (blob), or to be packed from a snapshot when asked
 * for. */
typedef struct StoreLayer {
    Digest diff_id;
    SnapshotId snapshot; /* 0 with packed bytes: not unpacked yet, or empty */
    const char *times;   /* the rule its times follow: see layer/ */
} StoreLayer;

typedef struct StoreImage {
    Digest id; /* digest of the config */
    int64_t created;
    uint64_t size; /* bytes of all layers, unpacked */
    Digest manifest;
    bool packed; /* `manifest` is set */
    StoreLayer *layers;
    size_t nlayer;
} StoreImage;

NODISCARD bool store_image_put(Store *s, const StoreImage *img, Err *e);
/* store_image_get - by ID. */
NODISCARD bool store_image_get(Store *s, Arena *a, const Digest *id, StoreImage *ret,
                               bool *ret_found, Err *e);
/* store_image_packed - remember the manifest of an image; store_publish() then lists it. */
NODISCARD bool store_image_packed(Store *s, const Digest *id, const Digest *manifest, uint64_t size,
                                  Err *e);
/* store_publish - write index.json from the database. */
NODISCARD bool store_publish(Store *s, Err *e);

/* store_tag - let `name` (a full reference with tag) mean the image. */
NODISCARD bool store_tag(Store *s, const char *name, const Digest *id, Err *e);
/*
 * store_find - the ID for a full reference, a tag-less one, or a prefix (>= 4 hex digits) of an ID.
 */
NODISCARD bool store_find(Store *s, Arena *a, const char *name, Digest *ret, bool *ret_found,
                          Err *e);

typedef struct StoreTag {
    const char *name; /* NULL: an image without a tag */
    Digest id;
    int64_t created;
    uint64_t size;
    size_t nlayer;
} StoreTag;

/* store_list - all tags with their images, newest first, then untagged images. */
NODISCARD bool store_list(Store *s, Arena *a, StoreTag **ret, size_t *ret_n, Err *e);

/* A packed form of a layer. */
NODISCARD bool store_packed_get(Store *s, const Digest *diff_id, Compression how, Digest *ret,
                                uint64_t *ret_size, bool *ret_found, Err *e);
NODISCARD bool store_packed_put(Store *s, const Digest *diff_id, Compression how,
                                const Digest *blob, uint64_t size, Err *e);

#endif
