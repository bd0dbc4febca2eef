/*
 * export/push.c - an image to registries: its layers beside each other, its manifest last.
 */
#include <stdatomic.h>

#include "base/pool.h"
#include "export/parts.h"

/* An image on its way. */
typedef struct Push {
    Store *s;
    Registry *r;
    const StrList *names; /* one for each repository */
    atomic_bool failed;   /* layers that did not begin need not */
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
    for (size_t i = 0; i < p->names->n; i++) {
        RegistrySent how;
        if (!registry_push_blob(p->r, p->s, p->names->v[i], d, all, kept, &l->diff_id, &how, e))
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
    else if (!export_layer(j->push->s, &a, j->layer, &d, e))
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

static bool push_layers(Push *p, Arena *a, const StoreImage *img, const Descriptor *known, Err *e)
{
    scoped(pool) Pool *pool = NULL;
    bool ok = true;
    if (img->nlayer && !pool_new(REGISTRY_PARALLEL, &pool, e))
        return false;
    for (size_t i = 0; i < img->nlayer; i++) {
        bool twice = false;
        for (size_t k = 0; k < i; k++)
            twice = twice || digest_eq(&img->layers[k].diff_id, &img->layers[i].diff_id);
        if (twice)
            continue;
        PushLayer *j = NEW(a, PushLayer);
        *j = (PushLayer){.job = {.run = run_layer},
                         .push = p,
                         .layer = &img->layers[i],
                         .known = known ? &known[i] : NULL,
                         .err = ERR_INIT};
        pool_add(pool, &j->job);
    }
    for (Job *job; img->nlayer && (job = pool_next(pool));) {
        const PushLayer *j = (const PushLayer *)job;
        if (!j->ok && j->err.kind != ERR_NONE)
            err_set(e, j->err.kind, "%s", j->err.msg);
        ok = ok && j->ok;
    }
    return ok;
}

/* The names, the first of each repository. */
static StrList repositories(Arena *a, const StrList *names)
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

/* Config and manifest: small, and only when everything they name is there. */
static bool push_documents(Push *p, Arena *a, const Digest *id, const StrList *names, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    Descriptor d;
    ImageManifest m;
    if (!export_pack(p->s, id, &d, e) || !store_read_blob(p->s, &d.digest, &text, e) ||
        !image_manifest_parse(a, buf_str(&text), text.len, &m, e))
        return false;
    for (size_t i = 0; i < p->names->n; i++) {
        RegistrySent how;
        if (!registry_push_blob(p->r, p->s, p->names->v[i], &m.config, NULL, 0, NULL, &how, e))
            return false;
    }
    Platform host = image_platform_host();
    for (size_t i = 0; i < names->n; i++) {
        ImageRef ref;
        if (!registry_push_document(p->r, a, names->v[i], d.media_type, buf_str(&text), text.len,
                                    e) ||
            !image_ref_parse(a, names->v[i], &ref, e))
            return false;
        StoreDoc doc = {d.digest, image_platform_text(a, &host),
                        arena_printf(a, "%s/%s", ref.domain, ref.path), d.media_type};
        if (!store_doc_put(p->s, id, &doc, e))
            return false;
    }
    return true;
}

bool export_push(Store *s, Registry *r, const Digest *id, const StrList *names, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList repos = repositories(&a, names);
    Push p = {.s = s, .r = r, .names = &repos};
    StoreImage img;
    const Descriptor *known;
    bool found;
    if (!store_image_get(s, &a, id, &img, &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_STORE, "the image is not in the store any more");
    return store_manifest_layers(s, &a, &img, &known, e) && push_layers(&p, &a, &img, known, e) &&
           push_documents(&p, &a, id, names, e);
}
