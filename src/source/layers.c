/*
 * source/layers.c - an image's layers: from a registry or the store to snapshots.
 *
 * What is missing is brought by several threads at once, each layer downloaded, verified,
 * decompressed and unpacked in one stream. A layer whose archive leaves directories out, which then
 * look as the layers below have them, is unpacked again when those are there.
 */
#include <pthread.h>

#include "base/fs.h"
#include "base/pool.h"
#include "source/source.h"

/* ---- one layer, once ---- */

/* Layers being unpacked now: two steps on one base share the work, two bases do not wait for each
 * other. */
typedef struct InFlight {
    const Digest *diff_id;
    struct InFlight *next;
} InFlight;

static pthread_mutex_t flight_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t flight_end = PTHREAD_COND_INITIALIZER;
static InFlight *flights;

static bool in_flight(const Digest *diff_id)
{
    for (const InFlight *f = flights; f; f = f->next)
        if (digest_eq(f->diff_id, diff_id))
            return true;
    return false;
}

static void take_off(InFlight *own)
{
    pthread_mutex_lock(&flight_lock);
    while (in_flight(own->diff_id))
        pthread_cond_wait(&flight_end, &flight_lock);
    own->next = flights;
    flights = own;
    pthread_mutex_unlock(&flight_lock);
}

static void land(const InFlight *own)
{
    pthread_mutex_lock(&flight_lock);
    for (InFlight **at = &flights; *at; at = &(*at)->next)
        if (*at == own) {
            *at = own->next;
            break;
        }
    pthread_cond_broadcast(&flight_end);
    pthread_mutex_unlock(&flight_lock);
}

/* ---- what is here ---- */

/* Whether the layer was made here, from a snapshot that is there; 0 is one without entries. */
static bool is_ours(Store *s, const StoreLayer *l, bool *ret, Err *e)
{
    *ret = l->times[0] != 0;
    return !*ret || store_snapshot_exists(s, l->snapshot, ret, e);
}

/* The snapshot a layer was unpacked to, whatever is below it or over this stack only. */
static bool unpacked(Store *s, const SourceImage *img, size_t i, SnapshotId *ret, bool *ret_there,
                     Err *e)
{
    const StoreLayer *l = &img->layers[i];
    Digest chain;
    *ret = l->snapshot;
    if (!is_ours(s, l, ret_there, e))
        return false;
    if (*ret_there)
        return true;
    if (!store_layer_get(s, &l->diff_id, ret, ret_there, e))
        return false;
    if (*ret_there)
        return true;
    image_chain_id(img->config.diff_ids, i + 1, &chain);
    return store_layer_get(s, &chain, ret, ret_there, e);
}

/* A layer's bytes in the store, the cheapest form first. */
typedef struct Packed {
    Digest blob;
    Compression how;
} Packed;

static bool packed(Store *s, const Digest *diff_id, Packed *ret, bool *ret_there, Err *e)
{
    static const Compression ORDER[] = {COMP_NONE, COMP_ZSTD, COMP_GZIP};
    *ret_there = false;
    for (size_t i = 0; i < NELEM(ORDER) && !*ret_there; i++) {
        uint64_t size;
        ret->how = ORDER[i];
        if (!store_packed_get(s, diff_id, ORDER[i], &ret->blob, &size, ret_there, e))
            return false;
    }
    return true;
}

/*
 * Where a layer can be had: the origins of one blob, `want` if it is not NULL, else the latest.
 */
static bool origins_of(Store *s, Arena *a, const Digest *diff_id, const Digest *want,
                       StoreOrigin **ret, size_t *ret_n, Err *e)
{
    size_t kept = 0;
    if (!store_origins(s, a, diff_id, ret, ret_n, e))
        return false;
    for (size_t i = 0; i < *ret_n; i++) {
        const Digest *of = want ? want : &(*ret)[0].blob;
        if (digest_eq(&(*ret)[i].blob, of))
            (*ret)[kept++] = (*ret)[i];
    }
    *ret_n = kept;
    return true;
}

static bool gone(const Digest *diff_id, Err *e)
{
    char text[DIGEST_TEXT_SIZE];
    digest_text(diff_id, text);
    return err_set(e, ERR_STORE,
                   "layer %s is gone from the store, and no registry is known to have it: load or "
                   "pull the image again",
                   text);
}

/* ---- bringing layers ---- */

typedef struct Bring {
    Job job; /* first, so that a Job is its Bring */
    Store *s;
    const SourceImage *img;
    size_t ilayer;
    bool in_userns;
    bool ok;
    Err err;
} Bring;

static const StoreLayer *layer_of(const Bring *b)
{
    return &b->img->layers[b->ilayer];
}

/* Unpack from a stream of the blob's bytes, if that does not need the layers below. */
static bool unpack(Bring *b, LayerIn *in, Err *e)
{
    char tmp[STORE_TMP_MAX];
    const Digest *diff_id = &layer_of(b)->diff_id;
    SnapshotId ignored_id;
    bool set;
    if (!snapshot_unpack_stream(b->s, diff_id, in, b->in_userns, tmp, &set, e))
        return false;
    if (set)
        return snapshot_keep(b->s, diff_id, tmp, &ignored_id, e);
    Err ignored = ERR_INIT;
    (void)fs_remove_tree(store_dirfd(b->s), tmp, &ignored); /* best effort: tmp/ is swept */
    return true;
}

static bool unpack_blob(Bring *b, const Packed *p, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    char shown[32];
    int raw;
    uint64_t size, began = clock_ns();
    if (!store_open_blob(b->s, &p->blob, &raw, &size, e))
        return false;
    scoped(fd) int fd = raw;
    scoped(layer_in) LayerIn *in = layer_in_new(fd, snapshot_format(p->how));
    str_size(size, shown, sizeof shown);
    buf_printf(&text, "unpacking layer %zu of %zu of %s, %s", b->ilayer + 1, b->img->nlayer,
               b->img->name ? b->img->name : "an image", shown);
    event_send(&b->img->sink, &(Event){.kind = EV_TASK, .text = text.ptr});
    bool ok = unpack(b, in, e);
    event_send(&b->img->sink, &(Event){.kind = EV_TASK_DONE, .text = text.ptr});
    event_span(&b->img->sink, 0, text.ptr, began);
    return ok;
}

/*
 * Download and unpack at once. A reader fails on corrupt bytes before their digest is known: only
 * when the rest is read it turns out whose fault it was.
 */
static bool download(Bring *b, const StoreOrigin *o, size_t n, Compression how, bool again,
                     bool *ret_corrupt, Err *e)
{
    scoped(registry_blob) RegistryBlob *blob = NULL;
    *ret_corrupt = false;
    if (!registry_blob_open(b->img->registry, b->s, o, n, again, &blob, e))
        return false;
    scoped(layer_in) LayerIn *in = layer_in_from(registry_blob_read, blob, snapshot_format(how));
    Err why = ERR_INIT;
    if (!unpack(b, in, &why))
        return registry_blob_verdict(blob, ret_corrupt, e) && err_set(e, why.kind, "%s", why.msg);
    return store_packed_put(b->s, &layer_of(b)->diff_id, how, &o->blob, o->size, e);
}

static bool fetch_layer(Bring *b, Err *e)
{
    scoped(arena) Arena a = {0};
    StoreOrigin *o;
    size_t n;
    Compression how;
    bool corrupt;
    Err once = ERR_INIT;
    if (!origins_of(b->s, &a, &layer_of(b)->diff_id, NULL, &o, &n, e))
        return false;
    if (!n)
        return gone(&layer_of(b)->diff_id, e);
    if (!b->img->registry)
        return err_set(e, ERR_NETWORK, "its layers are still in '%s': 'lighter pull' brings them",
                       o[0].repo);
    if (!image_layer_compression(o[0].media_type, &how))
        return err_set(e, ERR_STORE, "layer of media type '%s' is not supported", o[0].media_type);
    if (download(b, o, n, how, false, &corrupt, &once))
        return true;
    if (!corrupt)
        return err_set(e, once.kind, "%s", once.msg);
    return download(b, o, n, how, true, &corrupt, e);
}

static bool bring(Bring *b, Err *e)
{
    SnapshotId id;
    Packed p;
    bool there;
    if (!unpacked(b->s, b->img, b->ilayer, &id, &there, e))
        return false;
    if (there) /* somebody else has brought it meanwhile */
        return true;
    if (!packed(b->s, &layer_of(b)->diff_id, &p, &there, e))
        return false;
    return there ? unpack_blob(b, &p, e) : fetch_layer(b, e);
}

static void run_bring(Job *job)
{
    Bring *b = (Bring *)job;
    InFlight own = {.diff_id = &layer_of(b)->diff_id};
    take_off(&own);
    b->ok = bring(b, &b->err);
    land(&own);
}

/* Run jobs beside each other; the first failure is told. */
static bool run_all(Job **jobs, size_t n, bool (*take)(Job *job, Err *e), Err *e)
{
    scoped(pool) Pool *pool = NULL;
    bool ok = true;
    if (!n)
        return true;
    if (!pool_new(n < REGISTRY_PARALLEL ? (unsigned)n : REGISTRY_PARALLEL, &pool, e))
        return false;
    for (size_t i = 0; i < n; i++)
        pool_add(pool, jobs[i]);
    for (Job *j; (j = pool_next(pool));)
        ok = take(j, e) && ok;
    return ok;
}

static bool take_bring(Job *job, Err *e)
{
    const Bring *b = (const Bring *)job;
    return b->ok || err_set(e, b->err.kind, "%s", b->err.msg);
}

static bool bring_missing(Store *s, Arena *a, const SourceImage *img, bool in_userns, Err *e)
{
    Job **jobs = NEW_N(a, Job *, img->nlayer + 1);
    size_t n = 0;
    for (size_t i = 0; i < img->nlayer; i++) {
        SnapshotId id;
        bool there;
        if (!unpacked(s, img, i, &id, &there, e))
            return false;
        if (there)
            continue;
        Bring *b = NEW(a, Bring);
        *b = (Bring){.job = {.run = run_bring},
                     .s = s,
                     .img = img,
                     .ilayer = i,
                     .in_userns = in_userns,
                     .err = ERR_INIT};
        jobs[n++] = &b->job;
    }
    return run_all(jobs, n, take_bring, e);
}

/* The snapshot of the image's layer i, over the stack of those below it. */
static bool layer_snapshot(Store *s, const SourceImage *img, size_t i, const Stack *below,
                           bool in_userns, SnapshotId *ret, Err *e)
{
    const StoreLayer *l = &img->layers[i];
    Packed p;
    Digest chain;
    bool there;
    if (!unpacked(s, img, i, ret, &there, e) || there)
        return there;
    if (!packed(s, &l->diff_id, &p, &there, e))
        return false;
    if (!there)
        return gone(&l->diff_id, e);
    image_chain_id(img->config.diff_ids, i + 1, &chain);
    return snapshot_unpack(s, &l->diff_id, &p.blob, p.how, below, &chain, in_userns, ret, e);
}

bool source_stack(Store *s, Arena *a, const SourceImage *img, bool in_userns, Stack *ret, Err *e)
{
    scoped(arena) Arena scratch = {0};
    const char *name = img->name ? img->name : "";
    Stack st = {0};
    if (!bring_missing(s, &scratch, img, in_userns, e))
        return err_wrap(e, "image '%s'", name);
    for (size_t i = 0; i < img->nlayer; i++) {
        SnapshotId id = 0;
        InFlight own = {.diff_id = &img->layers[i].diff_id};
        take_off(&own);
        bool ok = layer_snapshot(s, img, i, &st, in_userns, &id, e);
        land(&own);
        if (!ok)
            return err_wrap(e, "image '%s'", name);
        if (!stack_push_parts(s, a, &st, id, &st, e))
            return false;
    }
    *ret = st;
    return true;
}

/* ---- credentials in time ---- */

bool source_prepare(Store *s, const SourceImage *img, Err *e)
{
    scoped(arena) Arena a = {0};
    for (size_t i = 0; img->registry && i < img->nlayer; i++) {
        SnapshotId id;
        Packed p;
        StoreOrigin *o;
        size_t n;
        bool there;
        if (!unpacked(s, img, i, &id, &there, e) ||
            (!there && !packed(s, &img->layers[i].diff_id, &p, &there, e)))
            return false;
        if (there)
            continue;
        if (!origins_of(s, &a, &img->layers[i].diff_id, NULL, &o, &n, e))
            return false;
        for (size_t k = 0; k < n; k++)
            if (*o[k].repo && !registry_prepare(img->registry, o[k].repo, e))
                return false;
        return true;
    }
    return true;
}

/* ---- bytes alone ---- */

typedef struct Fetch {
    Job job; /* first, so that a Job is its Fetch */
    Store *s;
    Registry *r;
    Digest diff_id;
    Digest want; /* zero: whatever blob is known */
    bool ok;
    Err err;
} Fetch;

static bool fetch_bytes(Fetch *f, Err *e)
{
    scoped(arena) Arena a = {0};
    StoreOrigin *o;
    size_t n;
    Compression how;
    if (!origins_of(f->s, &a, &f->diff_id, digest_is_zero(&f->want) ? NULL : &f->want, &o, &n, e))
        return false;
    if (!n)
        return gone(&f->diff_id, e);
    if (image_layer_foreign(o[0].media_type))
        return true;
    if (!image_layer_compression(o[0].media_type, &how))
        return err_set(e, ERR_STORE, "layer of media type '%s' is not supported", o[0].media_type);
    return registry_fetch(f->r, f->s, o, n, e) &&
           store_packed_put(f->s, &f->diff_id, how, &o[0].blob, o[0].size, e);
}

static void run_fetch(Job *job)
{
    Fetch *f = (Fetch *)job;
    f->ok = fetch_bytes(f, &f->err);
}

static bool take_fetch(Job *job, Err *e)
{
    const Fetch *f = (const Fetch *)job;
    return f->ok || err_set(e, f->err.kind, "%s", f->err.msg);
}

/* Whether a layer's bytes must be brought, and which. */
static bool wants(Store *s, const StoreLayer *l, const Descriptor *d, Digest *ret_want,
                  bool *ret_wants, Err *e)
{
    Packed p;
    bool there;
    *ret_want = (Digest){{0}};
    if (d) {
        *ret_want = d->digest;
        if (!store_has_blob(s, &d->digest, &there, e))
            return false;
        *ret_wants = !there && !image_layer_foreign(d->media_type);
        return true;
    }
    *ret_wants = false;
    if (!is_ours(s, l, &there, e) || (!there && !packed(s, &l->diff_id, &p, &there, e)))
        return false;
    *ret_wants = !there;
    return true;
}

bool source_prepare_bytes(Store *s, const Digest *id, Registry *r, Err *e)
{
    scoped(arena) Arena a = {0};
    SourceImage img;
    if (!source_image(s, &a, id, &img, e))
        return false;
    img.registry = r;
    return source_prepare(s, &img, e);
}

bool source_fetch(Store *s, const Digest *id, Registry *r, Err *e)
{
    scoped(arena) Arena a = {0};
    StoreImage img;
    const Descriptor *layers;
    bool found;
    if (!store_image_get(s, &a, id, &img, &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_STORE, "the image is not in the store any more");
    if (!store_manifest_layers(s, &a, &img, &layers, e))
        return false;
    Job **jobs = NEW_N(&a, Job *, img.nlayer + 1);
    size_t n = 0;
    for (size_t i = 0; i < img.nlayer; i++) {
        Fetch *f = NEW(&a, Fetch);
        bool missing;
        *f = (Fetch){.job = {.run = run_fetch},
                     .s = s,
                     .r = r,
                     .diff_id = img.layers[i].diff_id,
                     .err = ERR_INIT};
        if (!wants(s, &img.layers[i], layers ? &layers[i] : NULL, &f->want, &missing, e))
            return false;
        for (size_t k = 0; k < n; k++) /* one layer may be there twice */
            missing = missing && !digest_eq(&((Fetch *)jobs[k])->diff_id, &f->diff_id);
        if (missing)
            jobs[n++] = &f->job;
    }
    return run_all(jobs, n, take_fetch, e);
}
