/*
 * store/store.h - the door of the store: what lighter keeps.
 *
 * Everything lies in one directory that any number of lighter processes share, without a daemon.
 * Bytes are named by their SHA-256 and never change; writers fill tmp/ and rename(2), so that a
 * killed build leaves at most something under tmp/, which the next one sweeps. meta.db is written
 * last: a row exists only if what it names does.
 *
 *   oci-layout, index.json, blobs/sha256/<hex>   a valid OCI image layout; index.json lists packed
 *                                              images
 *   meta.db                                    SQLite, WAL
 *   snapshots/<id>                             what one layer or step wrote, overlay form
 *   index/<hex>                                what is known of the files of a build context
 *   tmp/<pid>-<n>/                             unfinished work; `lock` inside is held by its owner
 *   leases/<n>                                 what one process uses; held by it (keep.h)
 *   turns/<hex>                                held by the process that runs the step of that key
 *   builds/, logs/                             what builds left behind; see history/
 *
 * Used by: snapshot, source, gomod, steps, solve, export, cmd.  Uses: base, image.
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
/* store_done - close; NULL is fine. A process that has written something leaves one behind that
 * makes it durable, and does what store_gc_later() asked for; nothing waits for that. */
void store_done(Store *s);
static inline void scoped_store_done(Store **s)
{
    store_done(*s);
}
/* store_lost - how many things this process has dropped because the machine stopped before they
 * were on the disk. */
size_t store_lost(const Store *s);
const char *store_path(const Store *s);
int store_dirfd(const Store *s);

/* ---- tmp ---- */

/* store_tmp - a fresh path below tmp/, relative to store_dirfd(), in `out`; nothing is made there
 * yet. */
enum { STORE_TMP_MAX = 96 };
NODISCARD bool store_tmp(Store *s, const char *what, char out[static STORE_TMP_MAX], Err *e);
/*
 * store_discard - remove a path of store_tmp() with all below it, some time before store_done(). A
 * thread of the store's does it, so the namespaces must be entered. Any thread may call it.
 */
void store_discard(Store *s, const char *path);
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

/* store_has_blob - whether it is there; then it stays until this process ends. Fails with ERR_STORE
 * when nobody can promise that. */
NODISCARD bool store_has_blob(Store *s, const Digest *d, bool *ret, Err *e);
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
/* store_snapshot_mark - where what snapshot/twin.c says of it lies; it goes with it. */
void store_snapshot_mark(SnapshotId id, char out[static STORE_TMP_MAX]);
/* store_snapshot_open - open a snapshot's directory; the caller closes it. Fails with ERR_STORE. */
NODISCARD bool store_snapshot_open(Store *s, SnapshotId id, int *ret_fd, Err *e);
/* store_snapshot_add - publish the finished directory `tmp` (relative to store_dirfd()) as a
 * snapshot. */
NODISCARD bool store_snapshot_add(Store *s, const char *tmp, SnapshotId *ret, Err *e);
/*
 * store_snapshot_add_over - the same for a directory that holds only what differs from `below`, the
 * parts of another snapshot: all of them together are what a step wrote.
 */
NODISCARD bool store_snapshot_add_over(Store *s, const char *tmp, const SnapshotId *below, size_t n,
                                       SnapshotId *ret, Err *e);
/* store_snapshot_parts - the directories that are a snapshot, bottom first, itself last; none of
 * the empty one. In the arena. */
NODISCARD bool store_snapshot_parts(Store *s, Arena *a, SnapshotId id, SnapshotId **ret,
                                    size_t *ret_n, Err *e);
/* store_snapshot_exists - whether its directories are there; then they stay until this process
 * ends. Fails with ERR_STORE when nobody can promise that. */
NODISCARD bool store_snapshot_exists(Store *s, SnapshotId id, bool *ret, Err *e);

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

/* store_record_inputs - the text that was kept with a record. */
NODISCARD bool store_record_inputs(Store *s, const Digest *key, Buf *ret, bool *ret_found, Err *e);

/* The right to run the step of a key. */
typedef struct StoreTurn {
    Store *store;
    int fd; /* -1: none */
    char path[STORE_TMP_MAX];
} StoreTurn;

/*
 * store_take_turn - become the one process that runs the step of this key. Look for its record
 * again once it is taken: another may have had it before.
 *
 *   wait       until it is free, or cancel_wanted()
 *   ret_taken  false without `wait`: another process has it
 *
 * The right ends with store_end_turn() or the process. Fails with ERR_STORE, or ERR_STEP when it
 * was cancelled.
 */
NODISCARD bool store_take_turn(Store *s, const Digest *key, bool wait, StoreTurn *ret,
                               bool *ret_taken, Err *e);
void store_end_turn(StoreTurn *t);

/* Small facts that follow from their key: the digest of a selection, findings of an analysis. */
NODISCARD bool store_memo_get(Store *s, const Digest *key, Buf *ret, bool *ret_found, Err *e);
NODISCARD bool store_memo_put(Store *s, const Digest *key, const void *bytes, size_t n, Err *e);
/* store_memo_put_all - many with one value each, in one transaction. */
typedef struct StoreMemo {
    Digest key;
    Str value;
} StoreMemo;
NODISCARD bool store_memo_put_all(Store *s, const StoreMemo *v, size_t n, Err *e);

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
/* store_manifest_layers - the layers' descriptors in the manifest of an image, one for each of its
 * layers; NULL when it has no manifest yet. */
NODISCARD bool store_manifest_layers(Store *s, Arena *a, const StoreImage *img,
                                     const Descriptor **ret, Err *e);
/* store_publish - write index.json from the database. */
NODISCARD bool store_publish(Store *s, Err *e);

/* store_tag - let `name` (a full reference with tag) mean the image. */
NODISCARD bool store_tag(Store *s, const char *name, const Digest *id, Err *e);
/*
 * store_find - the ID for a full reference, a tag-less one, or a prefix (>= 4 hex digits) of an ID.
 */
NODISCARD bool store_find(Store *s, Arena *a, const char *name, Digest *ret, bool *ret_found,
                          Err *e);

/*
 * Of an image for several platforms the name alone means this machine's; the others are tagged
 * NAME#PLATFORM, which nobody can type as a name of an image.
 */
enum { STORE_PLATFORM_MARK = '#' };

typedef struct StoreTag {
    const char *name; /* NULL: an image without a tag */
    Digest id;
    int64_t created;
    uint64_t size;
    size_t nlayer;
} StoreTag;

/* store_list - all tags with their images, newest first, then untagged images. */
NODISCARD bool store_list(Store *s, Arena *a, StoreTag **ret, size_t *ret_n, Err *e);

/* store_form - a form of a layer at another level than the format's own: see layer/layer.h. */
static inline Compression store_form(Compression how, int level)
{
    return level ? (Compression)((int)how + 16 * (level + 2)) : how;
}
/* store_others - the tags NAME#PLATFORM beside a name, sorted; of a StoreTag, name and id. */
NODISCARD bool store_others(Store *s, Arena *a, const char *name, StoreTag **ret, size_t *ret_n,
                            Err *e);

/* A packed form of a layer; `how` may be a store_form(). */
NODISCARD bool store_packed_get(Store *s, const Digest *diff_id, Compression how, Digest *ret,
                                uint64_t *ret_size, bool *ret_found, Err *e);
NODISCARD bool store_packed_put(Store *s, const Digest *diff_id, Compression how,
                                const Digest *blob, uint64_t size, Err *e);

/* ---- what registries have ---- */

/*
 * Where a layer's bytes can be had. An image whose layers have an origin is whole without them:
 * they are fetched when a step or an output needs them.
 */
typedef struct StoreOrigin {
    Digest blob;
    uint64_t size; /* bytes of the blob */
    const char *media_type;
    const char *repo; /* "docker.io/library/alpine"; "" when only `urls` are known */
    StrList urls;     /* of a foreign layer */
} StoreOrigin;

NODISCARD bool store_origin_put(Store *s, const Digest *diff_id, const StoreOrigin *o, Err *e);
/* store_origins - all that is known of a layer, the latest first. */
NODISCARD bool store_origins(Store *s, Arena *a, const Digest *diff_id, StoreOrigin **ret,
                             size_t *ret_n, Err *e);
/* store_blob_repos - the repositories that have a blob, the latest first. */
NODISCARD bool store_blob_repos(Store *s, Arena *a, const Digest *blob, StrList *ret, Err *e);

/* What a registry calls an image of ours. */
typedef struct StoreDoc {
    Digest digest;          /* of a manifest or an index */
    const char *platform;   /* the image is for: an index has one for each */
    const char *repo;       /* "docker.io/library/alpine" */
    const char *media_type; /* of the document */
} StoreDoc;

/* store_doc_put - remember it; store_find() then knows the image by this digest. */
NODISCARD bool store_doc_put(Store *s, const Digest *image, const StoreDoc *d, Err *e);
/* store_doc_find - the image a digest leads to; an index does so for each platform. */
NODISCARD bool store_doc_find(Store *s, const Digest *digest, const char *platform, Digest *ret,
                              bool *ret_found, Err *e);
/* store_docs - what is remembered of an image. */
NODISCARD bool store_docs(Store *s, Arena *a, const Digest *image, StoreDoc **ret, size_t *ret_n,
                          Err *e);

/* ---- what is kept, and what goes ---- */

/* What a thing in the store is, in the words of `docker buildx du` where it has any. */
typedef struct StoreItem {
    const char *id;   /* for people: "s12", "sha256:...", "mounts/..." */
    const char *name; /* the store's own; see store/keep.h */
    const char *type; /* image, layer, regular, exec.cachemount, source.git.checkout, source.git,
                         source.http, source.local, go.module, go.buildcache, blob, log,
                         internal */
    const char *what; /* what made it; never NULL */
    uint64_t size;    /* bytes on the disk */
    int64_t created, used; /* seconds since the epoch; 0: not known */
    uint64_t uses;
    bool in_use;         /* by a process that runs now */
    bool needed;         /* by an image with a tag, which would lose it */
    bool shared;         /* it belongs to an image with a tag */
    bool mutable;        /* changes in place */
    bool history;        /* what builds left behind: it goes when that is asked for */
    const char *with[2]; /* names of what goes with it */
} StoreItem;

typedef enum StoreItemsFlags {
    STORE_MEASURE = 1 << 0, /* take all sizes anew instead of trusting those of immutable things */
} StoreItemsFlags;

/* store_item_idle - whether it may be dropped: neither in use, nor needed, nor the store's own.
 *   all  also history, and what an image with a tag can have again, as the unpacked form of its
 *        layers */
bool store_item_idle(const StoreItem *it, bool all);

/*
 * store_items - everything in the store, each byte counted once: the sizes' sum is what `du` says.
 *
 * Oldest use first. With STORE_MEASURE the mode's namespaces must be entered. Takes no lock and no
 * lease. Fails with ERR_STORE.
 */
NODISCARD bool store_items(Store *s, Arena *a, unsigned flags, StoreItem **ret, size_t *ret_n,
                           Err *e);

/*
 * store_drop - let go of items. What is in use by now, or needed by a tag that stays, stays;
 * ret_gone has one flag an item. Needs the namespaces; other processes may go on beside it.
 */
NODISCARD bool store_drop(Store *s, const StoreItem *const *items, size_t n, bool *ret_gone,
                          Err *e);
/* store_drop_memos - forget memos that were not used since `before`. */
NODISCARD bool store_drop_memos(Store *s, int64_t before, uint64_t *ret_n, Err *e);

/*
 * store_untag - take a name from its image. *ret_last: it was the last one.
 */
NODISCARD bool store_untag(Store *s, const char *name, bool *ret_last, Err *e);

/*
 * store_remove_image - drop an image that has no tag, with its layers that no other image has.
 *   ret_gone  false: a running process uses it, or it has a tag again
 * What steps wrote stays as cache. Needs the namespaces.
 */
NODISCARD bool store_remove_image(Store *s, const Digest *id, bool *ret_gone, Err *e);

/* store_just_looks - this process only looks: it leases nothing, and writes down no use. */
void store_just_looks(Store *s);
/* store_use - use a directory that changes in place (mounts/<id>, git/<id>) until this process
 * ends: it is not collected meanwhile. Call it before looking whether the directory is there.
 *   what  for listings: the cache's id, the remote */
NODISCARD bool store_use(Store *s, const char *path, const char *what, Err *e);
/*
 * store_use_made - the same for a directory that never changes but by who makes it: gomod/<id>. It
 * is measured by the process that says that it `made` something in it. The path is cut at 120
 * bytes.
 */
NODISCARD bool store_use_made(Store *s, const char *path, const char *what, bool made, Err *e);
/*
 * store_use_grew - the same for a directory that many files come into, one after the other: it is
 * not measured again for each, but is bigger by a file of so many bytes.
 */
NODISCARD bool store_use_grew(Store *s, const char *path, const char *what, uint64_t size, Err *e);
/*
 * store_index - where what is known of a directory outside is kept, relative to store_dirfd(); it
 * is used by this process from now on, and need not be there. Who makes it says so with
 * store_use().
 *
 *   dir   the directory
 *   rule  what else the index is for
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool store_index(Store *s, const char *dir, const char *rule,
                           char out[static STORE_TMP_MAX], Err *e);
/* store_describe - the type and origin of a snapshot that no step made, for listings. */
void store_describe(Store *s, SnapshotId id, const char *type, const char *what);
/* store_note_uses - write down what was used, and when; once at the end of a process, in one
 * transaction. What this process made is measured, so the namespaces must be entered if it made
 * anything. */
NODISCARD bool store_note_uses(Store *s, Err *e);

/* What an automatic collection did. */
typedef struct StoreGc {
    uint64_t freed, kept; /* bytes; `kept` is what the cache takes now */
    size_t n;
} StoreGc;

/* store_gc_due - whether the cache has grown over `ceiling` bytes; one row is read. */
bool store_gc_due(Store *s, uint64_t ceiling);
/*
 * store_gc - drop what no tag needs, oldest use first, until the cache takes at most `ceiling`.
 * Another collection that runs already is left to it. Needs the namespaces.
 */
NODISCARD bool store_gc(Store *s, uint64_t ceiling, StoreGc *ret, Err *e);
/* store_gc_later - the same in the process that store_done() leaves behind; nobody hears of it. */
void store_gc_later(Store *s, uint64_t ceiling);

/* ---- check ---- */

/* Something that is wrong with the store. */
typedef struct StoreFinding {
    const char *text; /* one line */
    const char *lost; /* what its repair costs */
    bool repaired;
} StoreFinding;

/*
 * store_check - compare everything in the store with everything else: blobs with their digests,
 * rows with what they name, index.json with the images.
 *
 *   repair  drop what is broken
 *
 * What killed processes leave is no finding: it is cleared away first. Needs the namespaces.
 * Fails with ERR_STORE when the check itself cannot be done.
 */
NODISCARD bool store_check(Store *s, Arena *a, bool repair, StoreFinding **ret, size_t *ret_n,
                           Err *e);
/* store_bad_snapshot - a snapshot is not what its image says: report it as store_check() does, and
 * drop it with what it stands on: one of them is damaged, and nobody knows which. */
NODISCARD bool store_bad_snapshot(Store *s, SnapshotId id, Err *e);
/* store_set_aside - move a database that cannot be opened to meta.db.broken-<time>, so that the
 * next store_open() begins a new one. */
NODISCARD bool store_set_aside(const char *path, Err *e);

#endif
