/*
 * source/resolve.c - names to images.
 */
#include "net/net.h"
#include "source/source.h"

bool source_image(Store *s, Arena *a, const Digest *id, SourceImage *ret, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    StoreImage img;
    SourceImage out = {.id = *id};
    char name[DIGEST_TEXT_SIZE];
    bool found;
    digest_text(id, name);
    if (!store_image_get(s, a, id, &img, &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_STORE, "image %s is not whole in the store: load or build it again",
                       name);
    if (!store_read_blob(s, id, &text, e) ||
        !image_config_parse(a, buf_str(&text), text.len, &out.config, e))
        return err_wrap(e, "image %s", name);
    if (out.config.ndiff != img.nlayer)
        return err_set(e, ERR_STORE,
                       "image %s: store and config disagree on its layers: load or build it again",
                       name);
    out.layers = img.layers;
    out.nlayer = img.nlayer;
    image_chain_id(out.config.diff_ids, out.config.ndiff, &out.chain);
    *ret = out;
    return true;
}

/* The context that replaces `name`: given under the same text, or under another spelling of the
 * same image. */
static const char *context_for(Arena *a, const char *name, const StrList *contexts)
{
    ImageRef want, have;
    Err ignored = ERR_INIT;
    bool is_ref = image_ref_parse(a, name, &want, &ignored);
    const char *full = is_ref ? image_ref_tagged(a, &want) : NULL;
    for (size_t i = contexts->n; i-- > 0;) {
        const char *eq = strchr(contexts->v[i], '=');
        if (!eq)
            continue;
        Err once = ERR_INIT;
        char *key = arena_strndup(a, contexts->v[i], (size_t)(eq - contexts->v[i]));
        if (!strcmp(key, name) || (is_ref && image_ref_parse(a, key, &have, &once) &&
                                   !strcmp(image_ref_tagged(a, &have), full)))
            return eq + 1;
    }
    return NULL;
}

/* "DIR", "DIR:TAG", "DIR@sha256:..." of an oci-layout:// context. */
static void split_layout(Arena *a, const char *text, const char **ret_dir, const char **ret_which)
{
    const char *at = strstr(text, "@sha256:"), *colon = strrchr(text, ':');
    *ret_which = NULL;
    if (at) {
        *ret_dir = arena_strndup(a, text, (size_t)(at - text));
        *ret_which = at + 1;
    } else if (colon && !strchr(colon, '/')) {
        *ret_dir = arena_strndup(a, text, (size_t)(colon - text));
        *ret_which = colon + 1;
    } else {
        *ret_dir = text;
    }
}

static bool from_layout(Store *s, Arena *a, const char *name, const char *where,
                        const Platform *platform, Digest *ret, Err *e)
{
    const char *dir, *which;
    Loaded *v;
    size_t n;
    split_layout(a, where, &dir, &which);
    if (!source_load_layout(s, a, dir, which, platform, &v, &n, e))
        return err_wrap(e, "context '%s'", name);
    if (n > 1)
        return err_set(e, ERR_USAGE,
                       "context '%s': '%s' holds %zu images; name one as oci-layout://%s:TAG", name,
                       dir, n, dir);
    *ret = v[0].id;
    return true;
}

/* Where else an image may come from, for whom no registry can be reached. */
static bool unreachable(Store *s, const char *name, const Err *why, Err *e)
{
    bool silent = strstr(why->msg, "resolve host") || strstr(why->msg, "onnect");
    if (net_forbidden())
        return err_set(e, ERR_NETWORK,
                       "image '%s' is not in the store '%s', and --offline asks nobody for it",
                       name, store_path(s));
    return err_set(e, why->kind,
                   silent ? "%s; images also come by 'lighter load', by --build-context "
                            "%s=oci-layout://DIR, or from a mirror: LIGHTER_MIRROR=docker.io=HOST"
                          : "%s",
                   why->msg, name);
}

static bool is_here(const Platform *p)
{
    Platform host = image_platform_host();
    return !strcmp(p->os, host.os) && !strcmp(p->architecture, host.architecture) &&
           !strcmp(p->variant, host.variant);
}

/* The tag under which the store has the image of a name for the platform that is wanted. */
static const char *tag_for(Arena *a, const SourceOpts *o, const char *name)
{
    return is_here(o->platform) ? name
                                : arena_printf(a, "%s%c%s", name, STORE_PLATFORM_MARK,
                                               image_platform_text(a, o->platform));
}

/* Ask the registries that a name may mean, the likeliest first. */
static bool from_registry(Store *s, Arena *a, const char *name, const SourceOpts *o,
                          const StrList *names, Digest *ret, Err *e)
{
    for (size_t i = 0; i < names->n; i++) {
        RegistryPulled got;
        Err once = ERR_INIT;
        ImageRef ref;
        if (registry_pull(o->registry, s, a, names->v[i], o->platform, &got, &once)) {
            *ret = got.id;
            return image_ref_parse(a, names->v[i], &ref, e) &&
                   (ref.digest || store_tag(s, tag_for(a, o, names->v[i]), ret, e));
        }
        if (once.kind != ERR_NETWORK || i + 1 == names->n)
            return unreachable(s, name, &once, e);
    }
    return err_set(e, ERR_NETWORK, "image '%s': nobody has it", name);
}

/* As an index of this image alone would be read. */
static bool fits(const SourceImage *img, const Platform *want)
{
    ImageIndex one = {.manifests = &(Descriptor){.os = img->config.os,
                                                 .architecture = img->config.architecture,
                                                 .variant = img->config.variant},
                      .nmanifest = 1};
    size_t i;
    return image_platform_pick(&one, want, &i);
}

/* Whether an image of the store is for the platform. */
static bool is_for(Store *s, Arena *a, const Digest *id, const Platform *want, bool *ret, Err *e)
{
    SourceImage img;
    if (!source_image(s, a, id, &img, e))
        return false;
    *ret = fits(&img, want);
    return true;
}

/* What an index that the store knows the tag by says of the platform. */
static bool beside(Store *s, Arena *a, const SourceOpts *o, const Digest *id, Digest *ret,
                   bool *ret_found, Err *e)
{
    StoreDoc *docs;
    size_t n;
    const char *platform = image_platform_text(a, o->platform);
    *ret_found = false;
    if (!store_docs(s, a, id, &docs, &n, e))
        return false;
    for (size_t i = 0; i < n && !*ret_found; i++)
        if (image_is_index(docs[i].media_type) &&
            !store_doc_find(s, &docs[i].digest, platform, ret, ret_found, e))
            return false;
    return true;
}

/* An image of the store under a name, of the platform. */
static bool in_store(Store *s, Arena *a, const SourceOpts *o, const char *name, Digest *ret,
                     bool *ret_found, Err *e)
{
    StoreTag *other;
    size_t n;
    Digest id;
    bool found, fits = false;
    *ret_found = false;
    if (!store_find(s, a, name, &id, &found, e) ||
        (found && !is_for(s, a, &id, o->platform, &fits, e)))
        return false;
    if (fits) {
        *ret = id;
        *ret_found = true;
        return true;
    }
    if (found && (!beside(s, a, o, &id, ret, ret_found, e) || *ret_found))
        return *ret_found;
    ImageRef ref;
    Err ignored = ERR_INIT;
    if (is_here(o->platform) || !image_ref_parse(a, name, &ref, &ignored))
        return true;
    const char *full = image_ref_tagged(a, &ref);
    if (!store_others(s, a, full, &other, &n, e))
        return false;
    for (size_t i = 0; i < n && !*ret_found; i++)
        if (!strcmp(other[i].name, tag_for(a, o, full))) {
            *ret = other[i].id;
            *ret_found = true;
        }
    return true;
}

/* An image of the store, under one of the names that are meant. */
static bool among(Store *s, Arena *a, const SourceOpts *o, const StrList *names, Digest *ret,
                  bool *ret_found, Err *e)
{
    *ret_found = false;
    for (size_t i = 0; i < names->n && !*ret_found; i++)
        if (!in_store(s, a, o, names->v[i], ret, ret_found, e))
            return false;
    return true;
}

/* Who asks nobody takes what is there, and hears then that it is for another machine. */
static bool no_registry(Store *s, Arena *a, const char *name, const ImageRef *ref, Digest *ret,
                        Err *e)
{
    bool found;
    if (!store_find(s, a, name, ret, &found, e) || found)
        return found;
    return err_set(e, ERR_NETWORK,
                   "image '%s' is not in the store '%s': bring it with 'lighter pull' or "
                   "'lighter load'",
                   image_ref_tagged(a, ref), store_path(s));
}

static bool from_name(Store *s, Arena *a, const char *name, const SourceOpts *o, Digest *ret,
                      Err *e)
{
    ImageRef ref;
    StrList names;
    bool found = false;
    Err why = ERR_INIT;
    if (!image_ref_parse(a, name, &ref, &why))
        return err_set(e, ERR_DOCKERFILE, "'%s' is no image name: %s", name, why.msg);
    /* Nobody is asked what a digest means. */
    bool asks = o->pull && o->registry && !ref.digest;
    if (!asks && !in_store(s, a, o, name, ret, &found, e))
        return false;
    if (found)
        return true;
    if (!o->registry)
        return no_registry(s, a, name, &ref, ret, e);
    if (!registry_names(o->registry, a, name, &names, e) ||
        (!asks && !among(s, a, o, &names, ret, &found, e)))
        return false;
    if (found)
        return true;
    /* A tag that is for another machine, and nobody may be asked. */
    if (net_forbidden() && (!store_find(s, a, name, ret, &found, e) || found))
        return found;
    return from_registry(s, a, name, o, &names, ret, e);
}

/* ---- engines ---- */

static bool from_engine(Store *s, Arena *a, const char *name, const SourceOpts *o, Digest *ret,
                        Err *e)
{
    const char *socket;
    if (!source_engine(a, &socket, e))
        return false;
    if (!socket)
        return err_set(e, ERR_ENV,
                       "no docker or podman listens here (DOCKER_HOST, /var/run/docker.sock)");
    if (!source_engine_image(s, a, socket, name, o->platform, ret, e))
        return false;
    event_send(&o->sink, &(Event){.kind = EV_NOTE,
                                  .text = arena_printf(a,
                                                       "image '%s' is the one that the engine at "
                                                       "'%s' has",
                                                       name, socket)});
    return true;
}

/* What a docker-image:// context names: where no registry can be had, an engine of here may do. */
static bool from_image_context(Store *s, Arena *a, const char *name, const SourceOpts *o,
                               Digest *ret, Err *e)
{
    Err why = ERR_INIT, ignored = ERR_INIT;
    const char *socket = NULL;
    if (from_name(s, a, name, o, ret, &why))
        return true;
    if (why.kind != ERR_NETWORK || !source_engine(a, &socket, &ignored) || !socket ||
        !from_engine(s, a, name, o, ret, &ignored))
        return err_set(e, why.kind, "%s", why.msg);
    return true;
}

static bool find(Store *s, Arena *a, const char *name, const SourceOpts *o, Digest *ret, Err *e)
{
    static const char LAYOUT[] = "oci-layout://", IMAGE[] = "docker-image://",
                      DAEMON[] = "docker-daemon:";
    const char *ctx = context_for(a, name, o->contexts);
    if (!ctx)
        return from_name(s, a, name, o, ret, e);
    if (str_starts(ctx, LAYOUT))
        return from_layout(s, a, name, ctx + sizeof LAYOUT - 1, o->platform, ret, e);
    if (str_starts(ctx, DAEMON))
        return from_engine(s, a, ctx + sizeof DAEMON - 1, o, ret, e) ||
               err_wrap(e, "context '%s'", name);
    if (str_starts(ctx, IMAGE))
        return from_image_context(s, a, ctx + sizeof IMAGE - 1, o, ret, e);
    return err_set(e, ERR_USAGE,
                   "--build-context %s=%s: expected oci-layout://, docker-image:// or "
                   "docker-daemon:",
                   name, ctx);
}

bool source_resolve(Store *s, Arena *a, const char *name, const SourceOpts *given, SourceImage *ret,
                    Err *e)
{
    Platform host = image_platform_host();
    SourceOpts o = *given;
    Digest id;
    o.platform = o.platform ? o.platform : &host;
    if (!find(s, a, name, &o, &id, e) || !source_image(s, a, &id, ret, e))
        return false;
    ret->name = arena_strdup(a, name);
    ret->registry = o.registry;
    ret->sink = o.sink;
    if (!fits(ret, o.platform))
        return err_set(
            e, ERR_ENV,
            "image '%s' is for %s/%s, and %s is wanted: name an image for it, or pull it "
            "with --platform",
            name, ret->config.os, ret->config.architecture, image_platform_text(a, o.platform));
    return true;
}
