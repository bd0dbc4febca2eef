/*
 * export/pack.c - snapshots to diff IDs, blobs and manifests.
 */
#include "base/fs.h"
#include "base/key.h"
#include "base/pool.h"
#include "export/parts.h"
#include "snapshot/snapshot.h"

/* What is remembered of a snapshot: 32 bytes of diff ID, 8 of size. */
typedef struct DiffFact {
    Digest diff_id;
    uint8_t size[8];
} DiffFact;

static void fact_key(SnapshotId id, LayerTimes times, Digest *ret)
{
    scoped(arena) Arena a = {0};
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, "diff 1");
    key_text(&k, "snapshot", arena_printf(&a, "%llu", (unsigned long long)id));
    key_text(&k, "times", layer_times_text(&a, times));
    key_end(&k, ret);
}

bool export_diff_known(Store *s, SnapshotId id, LayerTimes times)
{
    scoped(buf) Buf value = BUF_INIT;
    Err ignored = ERR_INIT;
    Digest key;
    bool found;
    fact_key(id, times, &key);
    return store_memo_get(s, &key, &value, &found, &ignored) && found &&
           value.len == sizeof(DiffFact);
}

bool export_diff_id(Store *s, SnapshotId id, LayerTimes times, Digest *ret, uint64_t *ret_size,
                    Err *e)
{
    scoped(buf) Buf value = BUF_INIT;
    LayerFacts facts;
    DiffFact fact;
    Digest key;
    bool found;
    fact_key(id, times, &key);
    if (!store_memo_get(s, &key, &value, &found, e))
        return false;
    if (found && value.len == sizeof fact) {
        memcpy(&fact, value.ptr, sizeof fact);
        *ret = fact.diff_id;
        *ret_size = 0;
        for (size_t i = 0; i < 8; i++)
            *ret_size |= (uint64_t)fact.size[i] << (8 * i);
        return true;
    }
    if (!snapshot_pack(s, id, times, PACK_NOTHING, -1, 1, &facts, e))
        return false;
    fact.diff_id = facts.diff_id;
    for (size_t i = 0; i < 8; i++)
        fact.size[i] = (uint8_t)(facts.size >> (8 * i));
    if (!store_memo_put(s, &key, &fact, sizeof fact, e))
        return false;
    *ret = facts.diff_id;
    *ret_size = facts.size;
    return true;
}

bool export_commit(Store *s, Arena *a, ImageConfig *config, const StoreLayer *layers, size_t nlayer,
                   uint64_t size, int64_t created, Digest *ret_id, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    StoreImage img = {
        .created = created, .size = size, .layers = (StoreLayer *)layers, .nlayer = nlayer};
    config->diff_ids = NEW_N(a, Digest, nlayer + 1);
    config->ndiff = nlayer;
    for (size_t i = 0; i < nlayer; i++)
        config->diff_ids[i] = layers[i].diff_id;
    image_config_text(config, &text);
    if (!store_put_blob(s, buf_str(&text), text.len, &img.id, e) || !store_image_put(s, &img, e))
        return false;
    *ret_id = img.id;
    return true;
}

static bool pack_layer(Store *s, const StoreLayer *l, Digest *ret, uint64_t *ret_size, Err *e)
{
    LayerTimes times;
    LayerFacts facts;
    BlobWriter w;
    if (!layer_times_parse(l->times, &times))
        return err_set(e, ERR_STORE,
                       "a base layer's bytes are gone from the store: load the base again");
    if (!blob_begin(s, &w, e))
        return false;
    if (!snapshot_pack(s, l->snapshot, times, PACK_GZIP, w.fd, cpu_count(), &facts, e)) {
        blob_abort(&w);
        return err_wrap(e, "into store '%s'", store_path(s));
    }
    if (!digest_eq(&facts.diff_id, &l->diff_id)) {
        blob_abort(&w);
        return err_set(e, ERR_STORE,
                       "a snapshot of the image was changed in the store since the build: build "
                       "again with --no-cache");
    }
    *ret = facts.packed;
    *ret_size = facts.packed_size;
    return blob_commit_as(&w, &facts.packed, e) &&
           store_packed_put(s, &l->diff_id, COMP_GZIP, ret, *ret_size, e);
}

static const char *media_type(Compression how)
{
    static const char *const TYPES[] = {[COMP_NONE] = MT_OCI_LAYER,
                                        [COMP_GZIP] = MT_OCI_LAYER_GZIP,
                                        [COMP_ZSTD] = MT_OCI_LAYER_ZSTD};
    return TYPES[how];
}

/* A layer as a registry has it; docker's names of media types become OCI's. */
static Descriptor remote_descriptor(const StoreOrigin *o, Compression how)
{
    bool foreign = image_layer_foreign(o->media_type);
    return (Descriptor){.media_type = foreign ? o->media_type : media_type(how),
                        .digest = o->blob,
                        .size = o->size,
                        .urls = o->urls};
}

/*
 * What registries say of a base's layer. One that is not to be distributed stays so, wherever its
 * bytes are; `any` takes the others as well.
 */
static bool from_registry(Store *s, Arena *a, const StoreLayer *l, bool any, Descriptor *ret,
                          bool *ret_found, Err *e)
{
    StoreOrigin *o;
    size_t n;
    *ret_found = false;
    if (*l->times) /* made here */
        return true;
    if (!store_origins(s, a, &l->diff_id, &o, &n, e))
        return false;
    for (size_t i = 0; i < n && !*ret_found; i++) {
        Compression how;
        *ret_found = (any || image_layer_foreign(o[i].media_type)) &&
                     image_layer_compression(o[i].media_type, &how);
        if (*ret_found)
            *ret = remote_descriptor(&o[i], how);
    }
    return true;
}

bool export_layer(Store *s, Arena *a, const StoreLayer *l, Descriptor *ret, Err *e)
{
    static const Compression FORMS[] = {COMP_GZIP, COMP_ZSTD, COMP_NONE};
    bool found;
    *ret = (Descriptor){.media_type = NULL};
    if (!from_registry(s, a, l, false, ret, &found, e) || found)
        return found;
    for (size_t i = 0; i < NELEM(FORMS); i++) {
        if (!store_packed_get(s, &l->diff_id, FORMS[i], &ret->digest, &ret->size, &found, e))
            return false;
        if (found) {
            ret->media_type = media_type(FORMS[i]);
            return true;
        }
    }
    if (!from_registry(s, a, l, true, ret, &found, e) || found)
        return found;
    ret->media_type = MT_OCI_LAYER_GZIP;
    return pack_layer(s, l, &ret->digest, &ret->size, e);
}

bool export_pack(Store *s, const Digest *id, Descriptor *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf text = BUF_INIT, config = BUF_INIT;
    StoreImage img;
    ImageManifest m = {0};
    bool found;
    if (!store_image_get(s, &a, id, &img, &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_STORE, "the image is not in the store any more");
    *ret = (Descriptor){.media_type = MT_OCI_MANIFEST};
    if (img.packed && !store_has_blob(s, &img.manifest, &img.packed, e))
        return false;
    if (img.packed) {
        ImageManifest have;
        if (!store_read_blob(s, &img.manifest, &text, e) ||
            !image_manifest_parse(&a, buf_str(&text), text.len, &have, e))
            return false;
        ret->digest = img.manifest;
        ret->size = text.len;
        ret->media_type = have.docker ? MT_DOCKER_MANIFEST : MT_OCI_MANIFEST;
        return true;
    }
    if (!store_read_blob(s, id, &config, e))
        return false;
    m.config = (Descriptor){.media_type = MT_OCI_CONFIG, .digest = *id, .size = config.len};
    m.layers = NEW_N(&a, Descriptor, img.nlayer + 1);
    m.nlayer = img.nlayer;
    for (size_t i = 0; i < img.nlayer; i++)
        if (!export_layer(s, &a, &img.layers[i], &m.layers[i], e))
            return err_wrap(e, "pack layer %zu", i + 1);
    image_manifest_text(&m, &text);
    if (!store_put_blob(s, buf_str(&text), text.len, &ret->digest, e) ||
        !store_image_packed(s, id, &ret->digest, text.len, e))
        return false;
    ret->size = text.len;
    return store_publish(s, e);
}
