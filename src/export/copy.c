/*
 * export/copy.c - images from one place to another as they are: nothing is packed, and no digest
 * changes.
 */
#include <stdatomic.h>

#include "base/pool.h"
#include "export/parts.h"

enum { INDEX_DEPTH = 4 };

/* Everything that an image is made of. */
typedef struct Parts {
    Store *s;
    Registry *r;
    Arena *a;
    const ExportCopy *c;
    Descriptor *docs; /* what names others comes after them */
    size_t ndoc, doc_cap;
    Descriptor *blobs; /* configs and layers */
    size_t nblob, blob_cap;
    Err *e;
} Parts;

static bool has(const Descriptor *v, size_t n, const Digest *d)
{
    for (size_t i = 0; i < n; i++)
        if (digest_eq(&v[i].digest, d))
            return true;
    return false;
}

static void add_blob(Parts *p, const Descriptor *d)
{
    if (!has(p->blobs, p->nblob, &d->digest))
        *ARENA_PUSH(p->a, p->blobs, p->nblob, p->blob_cap) = *d;
}

static bool add_manifest(Parts *p, const Buf *text)
{
    ImageManifest m;
    if (!image_manifest_parse(p->a, buf_str(text), text->len, &m, p->e))
        return false;
    add_blob(p, &m.config);
    /* What is not to be distributed stays where it is, but for bytes that are here. */
    for (size_t i = 0; i < m.nlayer; i++) {
        bool have = true;
        if (image_layer_foreign(m.layers[i].media_type) &&
            !store_has_blob(p->s, &m.layers[i].digest, &have, p->e))
            return false;
        if (have)
            add_blob(p, &m.layers[i]);
    }
    return true;
}

static bool add_doc(Parts *p, const Descriptor *d, unsigned depth)
{
    scoped(buf) Buf text = BUF_INIT;
    ImageIndex x;
    if (has(p->docs, p->ndoc, &d->digest))
        return true;
    if (depth > INDEX_DEPTH)
        return err_set(p->e, ERR_STORE, "indexes are nested too deep");
    if (!image_is_index(d->media_type) && !image_is_manifest(d->media_type))
        return err_set(p->e, ERR_STORE, "media type '%s' is no image",
                       d->media_type ? d->media_type : "");
    if (!store_read_blob(p->s, &d->digest, &text, p->e))
        return false;
    if (image_is_index(d->media_type)) {
        if (!image_index_parse(p->a, buf_str(&text), text.len, &x, p->e))
            return false;
        for (size_t i = 0; i < x.nmanifest; i++)
            if (!add_doc(p, &x.manifests[i], depth + 1))
                return false;
    } else if (!add_manifest(p, &text)) {
        return false;
    }
    *ARENA_PUSH(p->a, p->docs, p->ndoc, p->doc_cap) = *d;
    return true;
}

static bool collect(Store *s, Registry *r, Arena *a, const ExportCopy *c, Parts *ret, Err *e)
{
    *ret = (Parts){.s = s, .r = r, .a = a, .c = c, .e = e};
    return add_doc(ret, &c->top, 0);
}

/* ---- blobs, several at once ---- */

/* A blob into the store, or to every repository. */
typedef struct Carry {
    Job job; /* first, so that a Job is its Carry */
    const Parts *parts;
    const StrList *repos; /* NULL: into the store */
    const Descriptor *blob;
    atomic_bool *failed;
    bool ok;
    Err err;
} Carry;

static bool carry(const Carry *c, Err *e)
{
    const Parts *p = c->parts;
    StoreOrigin o = {.blob = c->blob->digest,
                     .size = c->blob->size,
                     .media_type = c->blob->media_type,
                     .repo = p->c->repo};
    bool have;
    if (!c->repos && (!store_has_blob(p->s, &c->blob->digest, &have, e) || have))
        return e->kind == ERR_NONE;
    if (!c->repos)
        return o.repo ? registry_fetch(p->r, p->s, &o, 1, e)
                      : err_set(e, ERR_STORE, "a blob of the image is gone from the store");
    for (size_t i = 0; i < c->repos->n; i++) {
        RegistrySent how;
        if (!image_layer_foreign(c->blob->media_type) &&
            !registry_push_blob(p->r, p->s, c->repos->v[i], c->blob, &o, o.repo != NULL, NULL, &how,
                                e))
            return false;
    }
    return true;
}

static void run_carry(Job *job)
{
    Carry *c = (Carry *)job;
    if (atomic_load(c->failed))
        return;
    c->ok = carry(c, &c->err);
    if (!c->ok)
        atomic_store(c->failed, true);
}

static bool carry_all(const Parts *p, const StrList *repos)
{
    scoped(pool) Pool *pool = NULL;
    atomic_bool failed = false;
    if (!p->nblob)
        return true;
    Carry *all = NEW_N(p->a, Carry, p->nblob);
    if (!pool_new(REGISTRY_PARALLEL, &pool, p->e))
        return false;
    for (size_t i = 0; i < p->nblob; i++) {
        all[i] = (Carry){.job = {.run = run_carry},
                         .parts = p,
                         .repos = repos,
                         .blob = &p->blobs[i],
                         .failed = &failed,
                         .err = ERR_INIT};
        pool_add(pool, &all[i].job);
    }
    for (Job *job; (job = pool_next(pool));) {
        const Carry *c = (const Carry *)job;
        if (!c->ok && c->err.kind != ERR_NONE && p->e->kind == ERR_NONE)
            err_set(p->e, c->err.kind, "%s", c->err.msg);
    }
    return !failed;
}

/* ---- ways out ---- */

static bool push_doc(Parts *p, const char *name, const Descriptor *d)
{
    scoped(buf) Buf text = BUF_INIT;
    return store_read_blob(p->s, &d->digest, &text, p->e) &&
           registry_push_document(p->r, p->a, name, d->media_type, buf_str(&text), text.len, p->e);
}

/* Documents below the one that has the name go by their digests. */
static bool push_inner(Parts *p, const char *name)
{
    char digest[DIGEST_TEXT_SIZE];
    for (size_t i = 0; i + 1 < p->ndoc; i++) {
        digest_text(&p->docs[i].digest, digest);
        if (!push_doc(p, arena_printf(p->a, "%s@%s", export_repo(p->a, name), digest), &p->docs[i]))
            return false;
    }
    return true;
}

bool export_copy_push(Store *s, Registry *r, Arena *a, const ExportCopy *c, const StrList *names,
                      Err *e)
{
    Parts p;
    StrList repos = export_repositories(a, names);
    if (!collect(s, r, a, c, &p, e) || !carry_all(&p, &repos))
        return false;
    for (size_t i = 0; i < repos.n; i++)
        if (!push_inner(&p, repos.v[i]))
            return false;
    for (size_t i = 0; i < names->n; i++)
        if (!push_doc(&p, names->v[i], &c->top))
            return false;
    return true;
}

bool export_copy_fetch(Store *s, Registry *r, Arena *a, const ExportCopy *c, Err *e)
{
    Parts p;
    return collect(s, r, a, c, &p, e) && carry_all(&p, NULL);
}

bool export_copy_files(Store *s, Registry *r, Arena *a, const ExportCopy *c, const char *name,
                       const char *dest, bool dir, Err *e)
{
    Parts p;
    Descriptor top = c->top;
    if (!collect(s, r, a, c, &p, e) || !carry_all(&p, NULL))
        return false;
    for (size_t i = 0; i < p.ndoc; i++)
        add_blob(&p, &p.docs[i]);
    top.ref_name = name;
    return files_as_they_are(s, a, p.blobs, p.nblob, &top, dest, dir, e);
}
