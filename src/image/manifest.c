/*
 * image/manifest.c - manifests and indexes: parse and write.
 */
#include "base/json.h"
#include "image/image.h"

/* An index with more entries than this is refused. */
enum { MAX_MANIFESTS = 4096 };

bool image_is_index(const char *mt)
{
    return mt && (!strcmp(mt, MT_OCI_INDEX) || !strcmp(mt, MT_DOCKER_LIST));
}

bool image_is_manifest(const char *mt)
{
    return mt && (!strcmp(mt, MT_OCI_MANIFEST) || !strcmp(mt, MT_DOCKER_MANIFEST));
}

bool image_layer_compression(const char *mt, Compression *ret)
{
    static const struct {
        const char *type;
        Compression how;
    } ROWS[] = {
        {MT_OCI_LAYER, COMP_NONE},           {MT_OCI_LAYER_GZIP, COMP_GZIP},
        {MT_OCI_LAYER_ZSTD, COMP_ZSTD},      {MT_DOCKER_LAYER, COMP_NONE},
        {MT_DOCKER_LAYER_GZIP, COMP_GZIP},   {MT_DOCKER_LAYER_ZSTD, COMP_ZSTD},
        {MT_OCI_FOREIGN, COMP_NONE},         {MT_OCI_FOREIGN_GZIP, COMP_GZIP},
        {MT_OCI_FOREIGN_ZSTD, COMP_ZSTD},    {MT_DOCKER_FOREIGN, COMP_NONE},
        {MT_DOCKER_FOREIGN_GZIP, COMP_GZIP},
    };
    for (size_t i = 0; mt && i < NELEM(ROWS); i++)
        if (!strcmp(mt, ROWS[i].type)) {
            *ret = ROWS[i].how;
            return true;
        }
    return false;
}

const char *image_layer_type(Compression how, bool docker)
{
    static const char *const TYPES[][2] = {[COMP_NONE] = {MT_OCI_LAYER, MT_DOCKER_LAYER},
                                           [COMP_GZIP] = {MT_OCI_LAYER_GZIP, MT_DOCKER_LAYER_GZIP},
                                           [COMP_ZSTD] = {MT_OCI_LAYER_ZSTD, MT_DOCKER_LAYER_ZSTD}};
    return TYPES[how][docker];
}

bool image_layer_foreign(const char *mt)
{
    static const char *const TYPES[] = {MT_OCI_FOREIGN, MT_OCI_FOREIGN_GZIP, MT_OCI_FOREIGN_ZSTD,
                                        MT_DOCKER_FOREIGN, MT_DOCKER_FOREIGN_GZIP};
    for (size_t i = 0; mt && i < NELEM(TYPES); i++)
        if (!strcmp(mt, TYPES[i]))
            return true;
    return false;
}

static bool read_descriptor(Arena *a, const json_t *j, Descriptor *ret, Err *e)
{
    const char *digest = json_str(j, "digest");
    const json_t *size = json_object_get(j, "size");
    if (!digest || !digest_parse(digest, &ret->digest))
        return err_set(e, ERR_STORE, "descriptor without a sha256 digest");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return err_set(e, ERR_STORE, "descriptor %s without a size", digest);
    ret->size = (uint64_t)json_integer_value(size);
    ret->media_type = json_keep(a, j, "mediaType");
    ret->urls = json_strlist(a, j, "urls");
    const json_t *ann = json_object_get(j, "annotations"), *plat = json_object_get(j, "platform");
    ret->ref_name = json_keep(a, ann, ANNOTATION_REF_NAME);
    ret->image_name = json_keep(a, ann, ANNOTATION_IMAGE_NAME);
    ret->attestation = json_str(ann, "vnd.docker.reference.type") != NULL;
    ret->os = json_keep(a, plat, "os");
    ret->architecture = json_keep(a, plat, "architecture");
    ret->variant = json_keep(a, plat, "variant");
    return true;
}

static bool read_list(Arena *a, const json_t *arr, size_t max, Descriptor **ret, size_t *ret_n,
                      Err *e)
{
    size_t n = json_array_size(arr);
    if (n > max)
        return err_set(e, ERR_STORE, "%zu entries, over the limit of %zu", n, max);
    Descriptor *v = NEW_N(a, Descriptor, n + 1);
    for (size_t i = 0; i < n; i++)
        if (!read_descriptor(a, json_array_get(arr, i), &v[i], e))
            return false;
    *ret = v;
    *ret_n = n;
    return true;
}

bool image_manifest_parse(Arena *a, const char *text, size_t len, ImageManifest *ret, Err *e)
{
    scoped(json) json_t *j = NULL;
    ImageManifest m = {0};
    if (!json_parse(text, len, &j, e))
        return err_wrap(e, "image manifest");
    if (json_integer_value(json_object_get(j, "schemaVersion")) == 1)
        return err_set(
            e, ERR_STORE,
            "image manifest: schema 1 is too old; push the image again with a current tool");
    if (!json_is_array(json_object_get(j, "layers")))
        return err_set(e, ERR_STORE, "image manifest: has no layers");
    if (json_object_get(j, "manifests"))
        return err_set(e, ERR_STORE, "image manifest: is an index as well: which one is not said");
    if (!read_descriptor(a, json_object_get(j, "config"), &m.config, e) ||
        !read_list(a, json_object_get(j, "layers"), IMAGE_MAX_LAYERS, &m.layers, &m.nlayer, e))
        return err_wrap(e, "image manifest");
    const char *type = json_str(j, "mediaType");
    m.docker = type && !strcmp(type, MT_DOCKER_MANIFEST);
    *ret = m;
    return true;
}

bool image_index_parse(Arena *a, const char *text, size_t len, ImageIndex *ret, Err *e)
{
    scoped(json) json_t *j = NULL;
    ImageIndex x = {0};
    if (!json_parse(text, len, &j, e))
        return err_wrap(e, "image index");
    if (!json_is_array(json_object_get(j, "manifests")))
        return err_set(e, ERR_STORE, "image index: has no manifests");
    if (json_object_get(j, "layers") || json_object_get(j, "config"))
        return err_set(e, ERR_STORE, "image index: is a manifest as well: which one is not said");
    if (!read_list(a, json_object_get(j, "manifests"), MAX_MANIFESTS, &x.manifests, &x.nmanifest,
                   e))
        return err_wrap(e, "image index");
    *ret = x;
    return true;
}

static void put_notes(json_t *j, const char *ref_name, const ImageLabel *notes, size_t n)
{
    if (!ref_name && !n)
        return;
    json_t *set = json_object();
    for (size_t i = 0; i < n; i++)
        json_set_lossy(set, notes[i].name, json_string_lossy(notes[i].value));
    if (ref_name)
        json_set_str(set, ANNOTATION_REF_NAME, ref_name);
    json_object_set_new(j, "annotations", set);
}

json_t *image_descriptor_json(const Descriptor *d)
{
    char text[DIGEST_TEXT_SIZE];
    digest_text(&d->digest, text);
    json_t *j = json_object();
    json_set_str(j, "mediaType", d->media_type);
    json_set_str(j, "digest", text);
    json_object_set_new(j, "size", json_integer((json_int_t)d->size));
    if (d->urls.n) {
        json_t *urls = json_array();
        for (size_t i = 0; i < d->urls.n; i++)
            json_array_append_new(urls, json_string_lossy(d->urls.v[i]));
        json_object_set_new(j, "urls", urls);
    }
    put_notes(j, d->ref_name, d->notes, d->nnote);
    if (d->os) {
        json_t *plat = json_object();
        json_set_str(plat, "os", d->os);
        json_set_str(plat, "architecture", d->architecture);
        json_set_str(plat, "variant", d->variant);
        json_object_set_new(j, "platform", plat);
    }
    return j;
}

static json_t *document(const char *media_type)
{
    json_t *j = json_object();
    json_object_set_new(j, "schemaVersion", json_integer(2));
    json_set_str(j, "mediaType", media_type);
    return j;
}

static json_t *list_json(const Descriptor *v, size_t n)
{
    json_t *arr = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(arr, image_descriptor_json(&v[i]));
    return arr;
}

void image_manifest_text(const ImageManifest *m, Buf *out)
{
    scoped(json) json_t *j = document(m->docker ? MT_DOCKER_MANIFEST : MT_OCI_MANIFEST);
    json_object_set_new(j, "config", image_descriptor_json(&m->config));
    json_object_set_new(j, "layers", list_json(m->layers, m->nlayer));
    put_notes(j, NULL, m->notes, m->nnote);
    json_text(j, out);
}

void image_index_text(const ImageIndex *x, Buf *out)
{
    scoped(json) json_t *j = document(x->docker ? MT_DOCKER_LIST : MT_OCI_INDEX);
    json_object_set_new(j, "manifests", list_json(x->manifests, x->nmanifest));
    put_notes(j, NULL, x->notes, x->nnote);
    json_text(j, out);
}
