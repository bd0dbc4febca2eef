/*
 * registry/pull.c - a name to an image in the store.
 */
#include <stdlib.h>
#include <strings.h>

#include "registry/client.h"

enum {
    DOC_MAX = 4 << 20, /* of a manifest, an index or a config: what registries take */
    INDEX_DEPTH = 4,
};

static const char ACCEPT[] =
    "Accept: " MT_OCI_INDEX ", " MT_OCI_MANIFEST ", " MT_DOCKER_LIST ", " MT_DOCKER_MANIFEST;

/* ---- short names ---- */

/* Whether a name begins with a registry. Source: distribution/reference, splitDockerDomain. */
static bool has_registry(const char *name)
{
    size_t n = strcspn(name, "/");
    if (!name[n])
        return false;
    for (size_t i = 0; i < n; i++)
        if (strchr(".:ABCDEFGHIJKLMNOPQRSTUVWXYZ", name[i]))
            return true;
    return n == 9 && !strncmp(name, "localhost", 9);
}

bool registry_names(Registry *r, Arena *a, const char *name, StrList *ret, Err *e)
{
    ImageRef ref;
    *ret = (StrList){0};
    if (!image_ref_parse(a, name, &ref, e) || !client_load(r, e))
        return false;
    const StrList *search = &r->conf.search;
    for (size_t i = 0; i < search->n && !has_registry(name); i++) {
        if (!image_ref_parse(a, arena_printf(a, "%s/%s", search->v[i], name), &ref, e))
            return err_wrap(e, "unqualified-search-registries");
        strlist_add_once(a, ret, image_ref_tagged(a, &ref));
    }
    if (!ret->n)
        strlist_add(a, ret, image_ref_tagged(a, &ref));
    return true;
}

/* ---- documents ---- */

/* One name on its way into the store. */
typedef struct Pull {
    Registry *r;
    Store *s;
    Arena *a;
    const char *name; /* the full reference */
    ImageRef ref;
    const char *repo; /* "docker.io/library/alpine" */
    const Platform *platform;
    Endpoint *eps;
    size_t nep;
    Err *e;
} Pull;

/* A manifest or an index as it came. */
typedef struct Doc {
    Buf text;
    Digest digest;
    const char *type;
} Doc;

static void scoped_doc_done(Doc *d)
{
    buf_done(&d->text);
}

static Call call_for(Pull *p, const Endpoint *ep, const char *method, const char *kind,
                     const char *target)
{
    Call c = {.what = arena_printf(p->a, "%s of '%s'",
                                   !strcmp(kind, "blobs") ? "config" : "manifest", p->name),
              .ep = ep,
              .method = method,
              .path = arena_printf(p->a, "/v2/%s/%s/%s", ep->path, kind, target),
              /* Others are waiting behind a mirror that does not answer. */
              .attempts = ep->mirror ? 2 : 0};
    strlist_add(p->a, &c.scopes, client_scope(p->a, ep->path, "pull"));
    if (!strcmp(kind, "manifests"))
        strlist_add(p->a, &c.headers, ACCEPT);
    return c;
}

/* A header's media type without its parameters; NULL for what says nothing. */
static const char *plain_type(Arena *a, const char *type)
{
    if (!type)
        return NULL;
    size_t n = strcspn(type, "; \t");
    const char *t = arena_strndup(a, type, n);
    bool vague = !n || !strcmp(t, "application/json") || !strcmp(t, "text/plain") ||
                 !strcmp(t, "application/octet-stream") || !strcmp(t, "binary/octet-stream");
    return vague ? NULL : t;
}

/* What a document says it is, or what its members make it. */
static const char *type_inside(Arena *a, const Buf *text)
{
    scoped(json) json_t *j = NULL;
    Err ignored = ERR_INIT;
    if (!json_parse(buf_str(text), text->len, &j, &ignored))
        return NULL;
    const char *said = json_keep(a, j, "mediaType");
    if (said)
        return said;
    if (json_integer_value(json_object_get(j, "schemaVersion")) == 1)
        return MT_DOCKER_SCHEMA1;
    return json_object_get(j, "manifests") ? MT_OCI_INDEX
           : json_object_get(j, "layers")  ? MT_OCI_MANIFEST
                                           : NULL;
}

static bool check_type(Pull *p, const Doc *d)
{
    if (!d->type)
        return err_set(p->e, ERR_NETWORK, "'%s': what the registry gave is no image", p->name);
    if (!strcmp(d->type, MT_DOCKER_SCHEMA1) || !strcmp(d->type, MT_DOCKER_SCHEMA1_SIGNED))
        return err_set(p->e, ERR_NETWORK,
                       "'%s' is in the format of before 2017 (manifest schema 1), which holds no "
                       "digests that could be checked: push it again with a current tool",
                       p->name);
    return image_is_index(d->type) || image_is_manifest(d->type) ||
           err_set(p->e, ERR_NETWORK, "'%s': media type '%.100s' is no image", p->name, d->type);
}

/* Whether the bytes are those that were asked for, or that the server says they are. */
static bool check_digest(Pull *p, const char *target, const NetAnswer *head, const Doc *d,
                         const char *host, Err *e)
{
    char got[DIGEST_TEXT_SIZE];
    const char *want = strchr(target, ':') ? target : net_header(head, "Docker-Content-Digest");
    digest_text(&d->digest, got);
    if (!want || !str_starts(want, "sha256:") || !strcmp(want, got))
        return true;
    return err_set(e, ERR_NETWORK, "digest mismatch in '%s' at '%s': expected %.80s, got %s",
                   p->repo, host, want, got);
}

/* Ask one server for a document, and once more when its bytes are not what they should be. */
static bool get_from(Pull *p, const Endpoint *ep, const char *kind, const char *target, Doc *ret,
                     NetAnswer *head, Err *e)
{
    Call c = call_for(p, ep, NULL, kind, target);
    for (int n = 0;; n++) {
        Err once = ERR_INIT;
        ret->text.len = 0;
        if (!client_ask(p->r, p->a, &c, &ret->text, DOC_MAX, head, NULL, e))
            return false;
        if (head->status != 200)
            return client_refused(p->r, p->a, &c, head, &ret->text, e);
        digest_of(buf_str(&ret->text), ret->text.len, &ret->digest);
        if (check_digest(p, target, head, ret, ep->host, &once))
            return true;
        if (n)
            return err_set(e, once.kind, "%s", once.msg);
    }
}

/*
 * Ask the servers in turn. A mirror that fails or does not have it is passed over; what the last
 * one says is the answer.
 */
static bool get(Pull *p, const char *kind, const char *target, Doc *ret)
{
    for (size_t i = 0; i < p->nep; i++) {
        Err once = ERR_INIT;
        NetAnswer head = {0};
        if (get_from(p, &p->eps[i], kind, target, ret, &head, &once)) {
            const char *said = plain_type(p->a, net_header(&head, "Content-Type"));
            ret->type = said ? said : type_inside(p->a, &ret->text);
            return true;
        }
        if (once.kind != ERR_NETWORK || net_forbidden() || i + 1 == p->nep)
            return err_set(p->e, once.kind, "%s", once.msg);
        client_note(p->r, "mirror '%s' is passed over: %s", p->eps[i].host, once.msg);
    }
    return err_set(p->e, ERR_NETWORK, "'%s': no server has it", p->name);
}

/* The digest a tag has now, if the server tells without the document. */
static bool head_digest(Pull *p, Digest *ret)
{
    for (size_t i = 0; i < p->nep; i++) {
        scoped(buf) Buf none = BUF_INIT;
        Err ignored = ERR_INIT;
        NetAnswer head;
        Call c = call_for(p, &p->eps[i], "HEAD", "manifests", p->ref.tag);
        c.attempts = 1;
        if (!client_ask(p->r, p->a, &c, &none, DOC_MAX, &head, NULL, &ignored) ||
            head.status != 200)
            continue;
        const char *digest = net_header(&head, "Docker-Content-Digest");
        return digest && digest_parse(digest, ret);
    }
    return false; /* GET finds out why, or does better */
}

/* ---- the image ---- */

/* The config, from the store or the registry. */
static bool get_config(Pull *p, const Descriptor *d, ImageConfig *ret)
{
    scoped(doc) Doc doc = {.text = BUF_INIT};
    char target[DIGEST_TEXT_SIZE];
    Digest same;
    digest_text(&d->digest, target);
    if (d->media_type && strcmp(d->media_type, MT_OCI_CONFIG) != 0 &&
        strcmp(d->media_type, MT_DOCKER_CONFIG) != 0)
        return err_set(p->e, ERR_NETWORK, "'%s' is no container image: its config is '%.100s'",
                       p->name, d->media_type);
    if (d->size > DOC_MAX)
        return err_set(p->e, ERR_NETWORK, "'%s': a config of %llu bytes is over the limit of %d",
                       p->name, (unsigned long long)d->size, DOC_MAX);
    bool have;
    if (!store_has_blob(p->s, &d->digest, &have, p->e))
        return false;
    if (have) {
        if (!store_read_blob(p->s, &d->digest, &doc.text, p->e))
            return false;
    } else if (!get(p, "blobs", target, &doc)) {
        return false;
    }
    if (doc.text.len != d->size)
        return err_set(p->e, ERR_NETWORK,
                       "'%s': the config has %zu bytes, and its manifest says %llu", p->name,
                       doc.text.len, (unsigned long long)d->size);
    if (!image_config_parse(p->a, buf_str(&doc.text), doc.text.len, ret, p->e))
        return err_wrap(p->e, "'%s'", p->name);
    return store_put_blob(p->s, buf_str(&doc.text), doc.text.len, &same, p->e);
}

static bool put_layer(Pull *p, const Descriptor *d, const Digest *diff_id)
{
    StoreOrigin o = {.blob = d->digest,
                     .size = d->size,
                     .media_type = d->media_type,
                     .repo = p->repo,
                     .urls = d->urls};
    Compression how;
    if (!image_layer_compression(d->media_type, &how))
        return err_set(p->e, ERR_NETWORK, "'%s': layer of media type '%.100s' is not supported",
                       p->name, d->media_type ? d->media_type : "");
    /* Bytes that came in by another way are as good. */
    bool have;
    if (!store_has_blob(p->s, &d->digest, &have, p->e) ||
        (have && !store_packed_put(p->s, diff_id, how, &d->digest, d->size, p->e)))
        return false;
    return store_origin_put(p->s, diff_id, &o, p->e);
}

static bool put_layers(Pull *p, const ImageManifest *m, const ImageConfig *c, StoreImage *img)
{
    if (m->nlayer != c->ndiff)
        return err_set(p->e, ERR_NETWORK, "'%s': manifest has %zu layers and config %zu", p->name,
                       m->nlayer, c->ndiff);
    img->layers = NEW_N(p->a, StoreLayer, m->nlayer + 1);
    img->nlayer = m->nlayer;
    for (size_t i = 0; i < m->nlayer; i++) {
        if (!put_layer(p, &m->layers[i], &c->diff_ids[i]))
            return false;
        img->layers[i] = (StoreLayer){.diff_id = c->diff_ids[i], .times = ""};
        img->size += m->layers[i].size;
    }
    return true;
}

static bool put_doc(Pull *p, const Doc *d, const Digest *image, const char *platform)
{
    StoreDoc doc = {d->digest, platform, p->repo, d->type};
    return store_doc_put(p->s, image, &doc, p->e);
}

/* Keep the image of a manifest. */
static bool take_manifest(Pull *p, const Doc *d, Digest *ret_id)
{
    ImageManifest m;
    ImageConfig c;
    StoreImage img = {0};
    Digest same;
    bool have;
    if (!image_manifest_parse(p->a, buf_str(&d->text), d->text.len, &m, p->e)) {
        p->e->kind = ERR_NETWORK;
        return err_wrap(p->e, "'%s'", p->name);
    }
    if (!get_config(p, &m.config, &c) || !put_layers(p, &m, &c, &img))
        return false;
    StoreImage old;
    img.id = *ret_id = m.config.digest;
    img.created = image_time_parse(c.created);
    Platform is = {c.os ? c.os : "", c.architecture ? c.architecture : "",
                   c.variant ? c.variant : ""};
    if (!store_image_get(p->s, p->a, &img.id, &old, &have, p->e) ||
        (!have && !store_image_put(p->s, &img, p->e)) ||
        !store_put_blob(p->s, buf_str(&d->text), d->text.len, &same, p->e) ||
        !put_doc(p, d, ret_id, image_platform_text(p->a, &is)))
        return false;
    return store_image_packed(p->s, ret_id, &same, d->text.len, p->e);
}

static bool pick(Pull *p, const Doc *d, Descriptor *ret)
{
    ImageIndex x;
    size_t i;
    if (!image_index_parse(p->a, buf_str(&d->text), d->text.len, &x, p->e)) {
        p->e->kind = ERR_NETWORK;
        return err_wrap(p->e, "'%s'", p->name);
    }
    if (!image_platform_pick(&x, p->platform, &i))
        return err_set(p->e, ERR_NETWORK, "'%s' has no image for %s", p->name,
                       image_platform_text(p->a, p->platform));
    *ret = x.manifests[i];
    return true;
}

/* A digest that leads to an image of the store already. */
static bool known(Pull *p, const Digest *digest, Digest *ret_id, bool *ret_known)
{
    StoreImage img;
    if (!store_doc_find(p->s, digest, image_platform_text(p->a, p->platform), ret_id, ret_known,
                        p->e))
        return false;
    return !*ret_known || store_image_get(p->s, p->a, ret_id, &img, ret_known, p->e);
}

/* Keep what a document leads to. Indexes on the way are remembered by their digests. */
static bool take_document(Pull *p, Doc *d, Digest *ret_id)
{
    Doc above[INDEX_DEPTH] = {{.text = BUF_INIT}};
    size_t nabove = 0;
    bool have = false, ok = check_type(p, d);
    while (ok && !have && image_is_index(d->type)) {
        Descriptor next;
        char target[DIGEST_TEXT_SIZE];
        if (nabove == INDEX_DEPTH) {
            ok = err_set(p->e, ERR_NETWORK, "'%s': indexes are nested too deep", p->name);
            break;
        }
        ok = pick(p, d, &next);
        if (!ok)
            break;
        above[nabove++] = (Doc){.digest = d->digest, .type = d->type};
        digest_text(&next.digest, target);
        ok = known(p, &next.digest, ret_id, &have) &&
             (have || (get(p, "manifests", target, d) && check_type(p, d)));
    }
    if (ok && !have)
        ok = take_manifest(p, d, ret_id);
    const char *platform = image_platform_text(p->a, p->platform);
    for (size_t i = 0; ok && i < nabove; i++)
        ok = put_doc(p, &above[i], ret_id, platform);
    return ok;
}

static bool begin(Pull *p)
{
    if (!image_ref_parse(p->a, p->name, &p->ref, p->e))
        return false;
    if (p->ref.digest && !str_starts(p->ref.digest, "sha256:"))
        return err_set(p->e, ERR_USAGE, "'%s': only sha256 digests are known here", p->name);
    p->repo = arena_printf(p->a, "%s/%s", p->ref.domain, p->ref.path);
    return client_load(p->r, p->e) &&
           conf_endpoints(&p->r->conf, p->a, &p->ref, false, &p->eps, &p->nep, p->e);
}

bool registry_pull(Registry *r, Store *s, Arena *a, const char *name, const Platform *platform,
                   RegistryPulled *ret, Err *e)
{
    Pull p = {.r = r, .s = s, .a = a, .name = name, .platform = platform, .e = e};
    RegistryPulled got = {.name = name};
    scoped(doc) Doc doc = {.text = BUF_INIT};
    if (!begin(&p))
        return false;
    const char *target = p.ref.digest ? p.ref.digest : p.ref.tag ? p.ref.tag : "latest";
    p.ref.tag = p.ref.tag ? p.ref.tag : "latest";
    bool have_tag = false;
    /* Only what may be here already is worth a question of its own. */
    if (!p.ref.digest && !store_find(s, a, name, &got.id, &have_tag, e))
        return false;
    bool told = p.ref.digest ? digest_parse(p.ref.digest, &got.digest)
                             : have_tag && head_digest(&p, &got.digest);
    if (told && !known(&p, &got.digest, &got.id, &got.had))
        return false;
    if (!got.had) {
        if (!get(&p, "manifests", target, &doc))
            return false;
        got.digest = doc.digest;
        if (!take_document(&p, &doc, &got.id))
            return false;
        client_note(r, "pulled the manifest of %s", name);
    }
    *ret = got;
    return true;
}

bool registry_document(Registry *r, Store *s, Arena *a, const char *name, Descriptor *ret,
                       const char **ret_repo, Err *e)
{
    Pull p = {.r = r, .s = s, .a = a, .name = name, .e = e};
    scoped(doc) Doc doc = {.text = BUF_INIT};
    Digest same;
    if (!begin(&p))
        return false;
    const char *target = p.ref.digest ? p.ref.digest : p.ref.tag ? p.ref.tag : "latest";
    if (!get(&p, "manifests", target, &doc) || !check_type(&p, &doc) ||
        !store_put_blob(s, buf_str(&doc.text), doc.text.len, &same, e))
        return false;
    *ret = (Descriptor){.media_type = doc.type, .digest = doc.digest, .size = doc.text.len};
    *ret_repo = p.repo;
    return true;
}

bool registry_prepare(Registry *r, const char *repo, Err *e)
{
    scoped(arena) Arena a = {0};
    ImageRef ref;
    Endpoint *eps;
    size_t n;
    Cred cred;
    if (!image_ref_parse(&a, repo, &ref, e) || !client_load(r, e) ||
        !conf_endpoints(&r->conf, &a, &ref, false, &eps, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!client_account(r, &eps[i], &cred, e))
            return false;
    return true;
}
