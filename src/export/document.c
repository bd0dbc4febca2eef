/*
 * export/document.c - images of the store to manifests, and to an index of several.
 */
#include "export/parts.h"

static const ExportStyle OWN_STYLE;

bool style_own(const ExportStyle *st)
{
    bool gzip = st->form.how == PACK_NOTHING || st->form.how == PACK_GZIP, noted = false;
    for (size_t i = 0; i < st->nnote; i++)
        noted = noted || st->notes[i].place == AT_MANIFEST;
    return gzip && st->form.level == LAYER_LEVEL_OWN && !st->force && !st->docker && !noted;
}

void style_notes(Arena *a, const ExportStyle *style, ExportPlace place, const char *platform,
                 const ImageLabel **ret, size_t *ret_n)
{
    ImageLabel *v = NEW_N(a, ImageLabel, style->nnote + 1);
    size_t n = 0;
    for (size_t i = 0; i < style->nnote; i++) {
        const ExportNote *note = &style->notes[i];
        if (note->place != place ||
            (note->platform && (!platform || strcmp(note->platform, platform) != 0)))
            continue;
        size_t k = 0;
        while (k < n && strcmp(v[k].name, note->name) != 0)
            k++;
        v[k] = (ImageLabel){note->name, note->value};
        n += k == n;
    }
    *ret = v;
    *ret_n = n;
}

static bool read_config(Store *s, Arena *a, const Digest *id, ImageConfig *ret, uint64_t *ret_size,
                        Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    if (!store_read_blob(s, id, &text, e) ||
        !image_config_parse(a, buf_str(&text), text.len, ret, e))
        return false;
    *ret_size = text.len;
    return true;
}

bool export_platform(Store *s, Arena *a, const Digest *id, Platform *ret, Err *e)
{
    ImageConfig c;
    uint64_t size;
    if (!read_config(s, a, id, &c, &size, e))
        return false;
    *ret = (Platform){c.os, c.architecture, c.variant ? c.variant : ""};
    return true;
}

static bool get_image(Store *s, Arena *a, const Digest *id, StoreImage *ret, Err *e)
{
    bool found;
    return store_image_get(s, a, id, ret, &found, e) &&
           (found || err_set(e, ERR_STORE, "the image is not in the store any more"));
}

/* The manifest that an image came with, or was packed with before. */
static bool own_manifest(Store *s, Arena *a, const StoreImage *img, Descriptor *ret, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    ImageManifest have;
    if (!store_read_blob(s, &img->manifest, &text, e) ||
        !image_manifest_parse(a, buf_str(&text), text.len, &have, e))
        return false;
    *ret = (Descriptor){.media_type = have.docker ? MT_DOCKER_MANIFEST : MT_OCI_MANIFEST,
                        .digest = img->manifest,
                        .size = text.len};
    return true;
}

static bool make_manifest(Store *s, Arena *a, const StoreImage *img, const ExportStyle *style,
                          Descriptor *ret, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    ImageManifest m = {.docker = style->docker, .nlayer = img->nlayer};
    ImageConfig c;
    m.config.media_type = style->docker ? MT_DOCKER_CONFIG : MT_OCI_CONFIG;
    m.config.digest = img->id;
    if (!read_config(s, a, &img->id, &c, &m.config.size, e))
        return false;
    m.layers = NEW_N(a, Descriptor, img->nlayer + 1);
    for (size_t i = 0; i < img->nlayer; i++)
        if (!export_layer(s, a, &img->layers[i], style, &m.layers[i], e))
            return err_wrap(e, "pack layer %zu", i + 1);
    Platform p = {c.os, c.architecture, c.variant ? c.variant : ""};
    style_notes(a, style, AT_MANIFEST, image_platform_text(a, &p), &m.notes, &m.nnote);
    image_manifest_text(&m, &text);
    *ret = (Descriptor){.media_type = style->docker ? MT_DOCKER_MANIFEST : MT_OCI_MANIFEST,
                        .size = text.len};
    return store_put_blob(s, buf_str(&text), text.len, &ret->digest, e);
}

bool export_pack(Store *s, const Digest *id, Descriptor *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    StoreImage img;
    if (!get_image(s, &a, id, &img, e))
        return false;
    if (img.packed && !store_has_blob(s, &img.manifest, &img.packed, e))
        return false;
    if (img.packed)
        return own_manifest(s, &a, &img, ret, e);
    return make_manifest(s, &a, &img, &OWN_STYLE, ret, e) &&
           store_image_packed(s, id, &ret->digest, ret->size, e) && store_publish(s, e);
}

bool export_keep(Store *s, const Digest *id, const ExportStyle *style, Err *e)
{
    scoped(arena) Arena a = {0};
    StoreImage img;
    Descriptor d;
    return get_image(s, &a, id, &img, e) && make_manifest(s, &a, &img, style, &d, e) &&
           store_image_packed(s, id, &d.digest, d.size, e) && store_publish(s, e);
}

/* One image's manifest, with its platform and annotations as an index shows it. */
static bool one_manifest(Store *s, Arena *a, const Digest *id, const ExportStyle *style,
                         Descriptor *ret, Err *e)
{
    StoreImage img;
    Platform p;
    if (!export_platform(s, a, id, &p, e))
        return false;
    if (!style || style_own(style)) {
        if (!export_pack(s, id, ret, e))
            return false;
    } else if (!get_image(s, a, id, &img, e) || !make_manifest(s, a, &img, style, ret, e)) {
        return false;
    }
    ret->os = p.os;
    ret->architecture = p.architecture;
    ret->variant = *p.variant ? p.variant : NULL;
    style_notes(a, style ? style : &OWN_STYLE, AT_MANIFEST_DESCRIPTOR, image_platform_text(a, &p),
                &ret->notes, &ret->nnote);
    return true;
}

static bool make_index(Store *s, Arena *a, const ExportStyle *style, ExportDoc *doc, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    ImageIndex x = {.manifests = doc->manifests, .nmanifest = doc->nmanifest};
    x.docker = style->docker;
    style_notes(a, style, AT_INDEX, NULL, &x.notes, &x.nnote);
    image_index_text(&x, &text);
    doc->top = (Descriptor){.media_type = x.docker ? MT_DOCKER_LIST : MT_OCI_INDEX};
    doc->top.size = text.len;
    return store_put_blob(s, buf_str(&text), text.len, &doc->top.digest, e);
}

static bool check_notes(const ExportItem *it, const ExportStyle *style, Err *e)
{
    for (size_t i = 0; style && i < style->nnote; i++) {
        ExportPlace place = style->notes[i].place;
        if (it->nid == 1 && (place == AT_INDEX || place == AT_INDEX_DESCRIPTOR))
            return err_set(e, ERR_USAGE,
                           "annotation '%s' is of an index, and an image for one platform has none",
                           style->notes[i].name);
        if (style->docker && (place == AT_MANIFEST || place == AT_INDEX))
            return err_set(e, ERR_USAGE,
                           "annotation '%s': docker's media types know no annotations "
                           "(oci-mediatypes=false)",
                           style->notes[i].name);
    }
    return true;
}

bool export_document(Store *s, Arena *a, const ExportItem *it, const ExportStyle *style,
                     ExportDoc *ret, Err *e)
{
    ExportDoc doc = {.manifests = NEW_N(a, Descriptor, it->nid), .nmanifest = it->nid};
    style = style ? style : &OWN_STYLE;
    if (!check_notes(it, style, e))
        return false;
    for (size_t i = 0; i < it->nid; i++)
        if (!one_manifest(s, a, &it->ids[i], style, &doc.manifests[i], e))
            return false;
    if (it->nid > 1) {
        if (!make_index(s, a, style, &doc, e))
            return false;
        style_notes(a, style, AT_INDEX_DESCRIPTOR, NULL, &doc.top.notes, &doc.top.nnote);
    } else {
        doc.top = doc.manifests[0];
    }
    *ret = doc;
    return true;
}
