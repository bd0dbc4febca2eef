/*
 * export/push.c - images to registries: their layers beside each other, their documents last.
 */
#include <stdatomic.h>

#include "base/pool.h"
#include "export/parts.h"

/* What is on its way. */
typedef struct Push {
    Store *s;
    Registry *r;
    Arena *a;
    const StrList *repos; /* one full reference for each repository */
    const ExportStyle *style;
    bool own;           /* each image's own manifest is sent, if it has one */
    atomic_bool failed; /* layers that did not begin need not */
} Push;

/* A layer, packed if need be and sent to every repository. */
typedef struct PushLayer {
    Job job; /* first, so that a Job is its PushLayer */
    Push *push;
    const StoreLayer *layer;
    const Descriptor *known; /* of the image's manifest; NULL: there is none yet */
    bool ok;
    Err err;
} PushLayer;

static bool send(Push *p, Arena *a, const StoreLayer *l, const Descriptor *d, Err *e)
{
    StoreOrigin *all;
    size_t n, kept = 0;
    if (image_layer_foreign(d->media_type))
        return true;
    if (!store_origins(p->s, a, &l->diff_id, &all, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if (digest_eq(&all[i].blob, &d->digest))
            all[kept++] = all[i];
    for (size_t i = 0; i < p->repos->n; i++) {
        RegistrySent how;
        if (!registry_push_blob(p->r, p->s, p->repos->v[i], d, all, kept, &l->diff_id, &how, e))
            return false;
    }
    return true;
}

static bool push_layer(PushLayer *j, Err *e)
{
    scoped(arena) Arena a = {0};
    Descriptor d;
    if (j->known)
        d = *j->known;
    else if (!export_layer(j->push->s, &a, j->layer, j->push->style, &d, e))
        return err_wrap(e, "pack a layer");
    return send(j->push, &a, j->layer, &d, e);
}

static void run_layer(Job *job)
{
    PushLayer *j = (PushLayer *)job;
    if (atomic_load(&j->push->failed))
        return;
    j->ok = push_layer(j, &j->err);
    if (!j->ok)
        atomic_store(&j->push->failed, true);
}

/* The layers of all images, each once. */
typedef struct Layers {
    PushLayer **v;
    size_t n, cap;
} Layers;

static bool add_layers(Push *p, const Digest *id, Layers *all, Err *e)
{
    StoreImage *img = NEW(p->a, StoreImage);
    const Descriptor *known = NULL;
    bool found;
    if (!store_image_get(p->s, p->a, id, img, &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_STORE, "the image is not in the store any more");
    if (p->own && !store_manifest_layers(p->s, p->a, img, &known, e))
        return false;
    for (size_t i = 0; i < img->nlayer; i++) {
        bool twice = false;
        for (size_t k = 0; k < all->n; k++)
            twice = twice || digest_eq(&all->v[k]->layer->diff_id, &img->layers[i].diff_id);
        if (twice)
            continue;
        PushLayer *j = NEW(p->a, PushLayer);
        *j = (PushLayer){.job = {.run = run_layer},
                         .push = p,
                         .layer = &img->layers[i],
                         .known = known ? &known[i] : NULL,
                         .err = ERR_INIT};
        *ARENA_PUSH(p->a, all->v, all->n, all->cap) = j;
    }
    return true;
}

static bool push_layers(Push *p, const ExportItem *it, Err *e)
{
    scoped(pool) Pool *pool = NULL;
    Layers all = {0};
    bool ok = true;
    for (size_t i = 0; i < it->nid; i++)
        if (!add_layers(p, &it->ids[i], &all, e))
            return false;
    if (!all.n)
        return true;
    if (!pool_new(REGISTRY_PARALLEL, &pool, e))
        return false;
    for (size_t i = 0; i < all.n; i++)
        pool_add(pool, &all.v[i]->job);
    for (Job *job; (job = pool_next(pool));) {
        const PushLayer *j = (const PushLayer *)job;
        if (!j->ok && j->err.kind != ERR_NONE)
            err_set(e, j->err.kind, "%s", j->err.msg);
        ok = ok && j->ok;
    }
    return ok;
}

/* The names, the first of each repository. */
StrList export_repositories(Arena *a, const StrList *names)
{
    StrList l = {0}, seen = {0};
    for (size_t i = 0; i < names->n; i++) {
        ImageRef ref;
        Err ignored = ERR_INIT;
        size_t before = seen.n;
        if (image_ref_parse(a, names->v[i], &ref, &ignored))
            strlist_add_once(a, &seen, arena_printf(a, "%s/%s", ref.domain, ref.path));
        if (seen.n > before)
            strlist_add(a, &l, names->v[i]);
    }
    return l;
}

const char *export_repo(Arena *a, const char *name)
{
    ImageRef ref;
    Err ignored = ERR_INIT; /* it was parsed before */
    return image_ref_parse(a, name, &ref, &ignored) ? arena_printf(a, "%s/%s", ref.domain, ref.path)
                                                    : name;
}

/* A document under a name, or under its digest alone. */
static bool push_text(Push *p, const char *name, bool by_digest, const Descriptor *d, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    char digest[DIGEST_TEXT_SIZE];
    digest_text(&d->digest, digest);
    if (by_digest)
        name = arena_printf(p->a, "%s@%s", export_repo(p->a, name), digest);
    return store_read_blob(p->s, &d->digest, &text, e) &&
           registry_push_document(p->r, p->a, name, d->media_type, buf_str(&text), text.len, e);
}

/* What a registry calls each image from now on: its manifest's digest, or the index'. */
static bool remember(Push *p, const ExportItem *it, const char *name, const ExportDoc *doc, Err *e)
{
    for (size_t i = 0; i < it->nid; i++) {
        Platform is;
        if (!export_platform(p->s, p->a, &it->ids[i], &is, e))
            return false;
        StoreDoc row = {doc->top.digest, image_platform_text(p->a, &is), export_repo(p->a, name),
                        doc->top.media_type};
        if (!store_doc_put(p->s, &it->ids[i], &row, e))
            return false;
    }
    return true;
}

static bool push_config(Push *p, const Descriptor *manifest, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    ImageManifest m;
    if (!store_read_blob(p->s, &manifest->digest, &text, e) ||
        !image_manifest_parse(p->a, buf_str(&text), text.len, &m, e))
        return false;
    for (size_t i = 0; i < p->repos->n; i++) {
        RegistrySent how;
        if (!registry_push_blob(p->r, p->s, p->repos->v[i], &m.config, NULL, 0, NULL, &how, e))
            return false;
    }
    return true;
}

/* Configs and documents: small, and only when everything they name is there. */
static bool push_documents(Push *p, const ExportItem *it, const StrList *names, bool by_digest,
                           ExportDoc *doc, Err *e)
{
    if (!export_document(p->s, p->a, it, p->style, doc, e))
        return false;
    for (size_t i = 0; i < doc->nmanifest; i++) {
        if (!push_config(p, &doc->manifests[i], e))
            return false;
        for (size_t k = 0; it->nid > 1 && k < p->repos->n; k++)
            if (!push_text(p, p->repos->v[k], true, &doc->manifests[i], e))
                return false;
    }
    const StrList *to = by_digest ? p->repos : names;
    for (size_t i = 0; i < to->n; i++)
        if (!push_text(p, to->v[i], by_digest, &doc->top, e) || !remember(p, it, to->v[i], doc, e))
            return false;
    return true;
}

bool export_push(Store *s, Registry *r, Arena *a, const ExportItem *it, const ExportStyle *style,
                 const StrList *names, bool by_digest, ExportDoc *ret, Err *e)
{
    static const ExportStyle OWN;
    StrList repos = export_repositories(a, names);
    Push p = {.s = s, .r = r, .a = a, .repos = &repos, .style = style ? style : &OWN};
    p.own = style_own(p.style);
    return push_layers(&p, it, e) && push_documents(&p, it, names, by_digest, ret, e);
}
