/*
 * export/pack.c - snapshots to blobs.
 */
#include "base/fs.h"
#include "base/pool.h"
#include "export/parts.h"
#include "snapshot/snapshot.h"

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

/* ---- packed layers ---- */

static Compression compression(const ExportStyle *style)
{
    static const Compression HOW[] = {[PACK_NOTHING] = COMP_GZIP,
                                      [PACK_PLAIN] = COMP_NONE,
                                      [PACK_GZIP] = COMP_GZIP,
                                      [PACK_ZSTD] = COMP_ZSTD};
    return HOW[style->form.how];
}

static LayerForm layer_form(const ExportStyle *style)
{
    LayerForm f = style->form;
    f.how = f.how == PACK_NOTHING ? PACK_GZIP : f.how;
    return f;
}

/* Publish what was packed, under its name and as this form of the layer. */
static bool publish(BlobWriter *w, const StoreLayer *l, const ExportStyle *style,
                    const LayerFacts *f, Descriptor *ret, Err *e)
{
    Compression form = store_form(compression(style), style->form.level);
    ret->media_type = image_layer_type(compression(style), style->docker);
    ret->digest = f->packed;
    ret->size = f->packed_size;
    return blob_commit_as(w, &f->packed, e) &&
           store_packed_put(w->store, &l->diff_id, form, &f->packed, f->packed_size, e);
}

static bool pack_layer(Store *s, const StoreLayer *l, const ExportStyle *style, Descriptor *ret,
                       Err *e)
{
    LayerTimes times;
    LayerFacts facts;
    BlobWriter w;
    if (!layer_times_parse(l->times, &times))
        return err_set(e, ERR_STORE,
                       "a base layer's bytes are gone from the store: load the base again");
    if (!blob_begin(s, &w, e))
        return false;
    bool ok = snapshot_pack(s, l->snapshot, times, layer_form(style), w.fd, cpu_count(), &facts, e);
    if (!ok)
        err_wrap(e, "into store '%s'", store_path(s));
    if (ok && !digest_eq(&facts.diff_id, &l->diff_id))
        ok = err_set(e, ERR_STORE,
                     "a snapshot of the image was changed in the store since the build: build "
                     "again with --no-cache");
    ok = ok && publish(&w, l, style, &facts, ret, e);
    blob_abort(&w);
    return ok;
}

/* A blob that is here, in another form. */
static bool repack_layer(Store *s, const StoreLayer *l, const Digest *blob, Compression how,
                         const ExportStyle *style, Descriptor *ret, Err *e)
{
    LayerFacts facts;
    BlobWriter w;
    int raw;
    uint64_t size;
    if (!store_open_blob(s, blob, &raw, &size, e))
        return false;
    scoped(fd) int fd = raw;
    scoped(layer_in) LayerIn *in = layer_in_new(fd, snapshot_format(how));
    if (!blob_begin(s, &w, e))
        return false;
    bool ok = layer_repack(in, layer_form(style), w.fd, cpu_count(), &facts, e);
    if (ok && !digest_eq(&facts.diff_id, &l->diff_id))
        ok = err_set(e, ERR_STORE,
                     "a layer's bytes in the store are not what the image's config says: 'lighter "
                     "store check' tells which");
    ok = ok && publish(&w, l, style, &facts, ret, e);
    blob_abort(&w);
    return ok;
}

/* A layer as a registry has it; the other family's names of media types become ours. */
static Descriptor remote_descriptor(const StoreOrigin *o, Compression how, bool docker)
{
    bool foreign = image_layer_foreign(o->media_type);
    return (Descriptor){.media_type = foreign ? o->media_type : image_layer_type(how, docker),
                        .digest = o->blob,
                        .size = o->size,
                        .urls = o->urls};
}

/*
 * What registries say of a base's layer. One that is not to be distributed stays so, wherever its
 * bytes are; `any` takes the others as well.
 */
static bool from_registry(Store *s, Arena *a, const StoreLayer *l, bool any, bool docker,
                          Descriptor *ret, bool *ret_found, Err *e)
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
            *ret = remote_descriptor(&o[i], how, docker);
    }
    return true;
}

/* The bytes that a layer has here: of a layer of ours in the style's form, else whatever came. */
static bool have_packed(Store *s, const StoreLayer *l, const ExportStyle *style, Descriptor *ret,
                        Compression *ret_how, bool *ret_found, Err *e)
{
    static const Compression FORMS[] = {COMP_GZIP, COMP_ZSTD, COMP_NONE};
    Compression how = compression(style);
    bool found = false;
    if (*l->times || style->force) {
        Compression form = store_form(how, *l->times ? style->form.level : LAYER_LEVEL_OWN);
        if (!store_packed_get(s, &l->diff_id, form, &ret->digest, &ret->size, &found, e))
            return false;
    }
    for (size_t i = 0; i < NELEM(FORMS) && !found && !*l->times; i++) {
        how = FORMS[i];
        if (!store_packed_get(s, &l->diff_id, how, &ret->digest, &ret->size, &found, e))
            return false;
    }
    ret->media_type = image_layer_type(how, style->docker);
    *ret_how = how;
    *ret_found = found;
    return true;
}

bool export_layer(Store *s, Arena *a, const StoreLayer *l, const ExportStyle *style,
                  Descriptor *ret, Err *e)
{
    Compression how;
    bool found;
    *ret = (Descriptor){.media_type = NULL};
    if (!from_registry(s, a, l, false, style->docker, ret, &found, e) || found)
        return found;
    if (!have_packed(s, l, style, ret, &how, &found, e))
        return false;
    if (found && style->force && how != compression(style)) {
        Digest blob = ret->digest;
        return repack_layer(s, l, &blob, how, style, ret, e);
    }
    if (found)
        return true;
    if (!from_registry(s, a, l, true, style->docker, ret, &found, e) || found)
        return found;
    return pack_layer(s, l, style, ret, e);
}
