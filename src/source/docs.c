/*
 * source/docs.c - a name of a registry to the documents that it leads to.
 */
#include "source/door.h"

/* One reference whose documents are fetched. */
typedef struct Fetching {
    Store *s;
    Arena *a;
    Registry *r;
    const char *name;
    Err *e;
} Fetching;

static bool read_index(Fetching *f, const Descriptor *d, ImageIndex *ret)
{
    scoped(buf) Buf text = BUF_INIT;
    return (store_read_blob(f->s, &d->digest, &text, f->e) &&
            image_index_parse(f->a, buf_str(&text), text.len, ret, f->e)) ||
           err_wrap(f->e, "'%s'", f->name);
}

/* A document by its digest, which may be here. */
static bool fetch(Fetching *f, const char *repo, const Descriptor *d)
{
    char digest[DIGEST_TEXT_SIZE];
    const char *same_repo;
    Descriptor got;
    bool have;
    if (!store_has_blob(f->s, &d->digest, &have, f->e) || have)
        return f->e->kind == ERR_NONE;
    digest_text(&d->digest, digest);
    if (!registry_document(f->r, f->s, f->a, arena_printf(f->a, "%s@%s", repo, digest), &got,
                           &same_repo, f->e))
        return false;
    return got.size == d->size ||
           err_set(f->e, ERR_NETWORK, "'%s': %s has %llu bytes, and its index says %llu", f->name,
                   digest, (unsigned long long)got.size, (unsigned long long)d->size);
}

static bool fetch_all(Fetching *f, const char *repo, const Descriptor *d, unsigned depth)
{
    ImageIndex x;
    if (!image_is_index(d->media_type))
        return true;
    if (depth > MAX_DEPTH)
        return err_set(f->e, ERR_NETWORK, "'%s': indexes are nested too deep", f->name);
    if (!read_index(f, d, &x))
        return false;
    for (size_t i = 0; i < x.nmanifest; i++)
        if (!fetch(f, repo, &x.manifests[i]) || !fetch_all(f, repo, &x.manifests[i], depth + 1))
            return false;
    return true;
}

/* What an index has for a platform. */
static bool narrow(Fetching *f, const char *repo, const Platform *platform, Descriptor *d)
{
    for (unsigned depth = 0; image_is_index(d->media_type); depth++) {
        ImageIndex x;
        size_t i;
        if (depth > MAX_DEPTH)
            return err_set(f->e, ERR_NETWORK, "'%s': indexes are nested too deep", f->name);
        if (!read_index(f, d, &x))
            return false;
        if (!image_platform_pick(&x, platform, &i))
            return err_set(f->e, ERR_NETWORK, "'%s' has no image for %s", f->name,
                           image_platform_text(f->a, platform));
        *d = (Descriptor){.media_type = x.manifests[i].media_type,
                          .digest = x.manifests[i].digest,
                          .size = x.manifests[i].size};
        if (!fetch(f, repo, d))
            return false;
    }
    return true;
}

bool source_docs_registry(Store *s, Arena *a, Registry *r, const char *name,
                          const Platform *platform, SourceDocs *ret, Err *e)
{
    Fetching f = {s, a, r, name, e};
    SourceDocs d;
    if (!registry_document(r, s, a, name, &d.top, &d.repo, e) ||
        (platform && !narrow(&f, d.repo, platform, &d.top)) || !fetch_all(&f, d.repo, &d.top, 0))
        return false;
    *ret = d;
    return true;
}
