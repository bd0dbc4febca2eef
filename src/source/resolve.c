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

static bool from_layout(Store *s, Arena *a, const char *name, const char *where, Digest *ret,
                        Err *e)
{
    const char *dir, *which;
    Loaded *v;
    size_t n;
    split_layout(a, where, &dir, &which);
    if (!source_load_layout(s, a, dir, which, &v, &n, e))
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

/* Ask the registries that a name may mean, the likeliest first. */
static bool from_registry(Store *s, Arena *a, const char *name, const SourceOpts *o,
                          const StrList *names, Digest *ret, Err *e)
{
    Platform host = image_platform_host();
    for (size_t i = 0; i < names->n; i++) {
        RegistryPulled got;
        Err once = ERR_INIT;
        ImageRef ref;
        if (registry_pull(o->registry, s, a, names->v[i], &host, &got, &once)) {
            *ret = got.id;
            return image_ref_parse(a, names->v[i], &ref, e) &&
                   (ref.digest || store_tag(s, names->v[i], ret, e));
        }
        if (once.kind != ERR_NETWORK || i + 1 == names->n)
            return unreachable(s, name, &once, e);
    }
    return err_set(e, ERR_NETWORK, "image '%s': nobody has it", name);
}

/* An image of the store, under one of the names that are meant. */
static bool among(Store *s, Arena *a, const StrList *names, Digest *ret, bool *ret_found, Err *e)
{
    *ret_found = false;
    for (size_t i = 0; i < names->n && !*ret_found; i++)
        if (!store_find(s, a, names->v[i], ret, ret_found, e))
            return false;
    return true;
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
    if (!asks && !store_find(s, a, name, ret, &found, e))
        return false;
    if (found)
        return true;
    if (!o->registry)
        return err_set(e, ERR_NETWORK,
                       "image '%s' is not in the store '%s': bring it with 'lighter pull' or "
                       "'lighter load'",
                       image_ref_tagged(a, &ref), store_path(s));
    if (!registry_names(o->registry, a, name, &names, e) ||
        (!asks && !among(s, a, &names, ret, &found, e)))
        return false;
    return found || from_registry(s, a, name, o, &names, ret, e);
}

static bool runs_here(const SourceImage *img)
{
    return !strcmp(img->config.os, "linux") && !strcmp(img->config.architecture, image_arch());
}

/* An image by its name. A tag of the store that is for another machine is asked about once. */
static bool named_image(Store *s, Arena *a, const char *name, const SourceOpts *o, SourceImage *ret,
                        Err *e)
{
    SourceOpts asking = {o->contexts, o->registry, true};
    Digest id;
    if (!from_name(s, a, name, o, &id, e) || !source_image(s, a, &id, ret, e))
        return false;
    if (runs_here(ret) || o->pull || !o->registry || net_forbidden())
        return true;
    return from_name(s, a, name, &asking, &id, e) && source_image(s, a, &id, ret, e);
}

bool source_resolve(Store *s, Arena *a, const char *name, const SourceOpts *o, SourceImage *ret,
                    Err *e)
{
    static const char LAYOUT[] = "oci-layout://", IMAGE[] = "docker-image://";
    const char *ctx = context_for(a, name, o->contexts);
    Digest id;
    if (ctx && !str_starts(ctx, LAYOUT) && !str_starts(ctx, IMAGE))
        return err_set(e, ERR_USAGE,
                       "--build-context %s=%s: only oci-layout:// and docker-image:// contexts are "
                       "supported yet",
                       name, ctx);
    if (ctx && str_starts(ctx, LAYOUT)
            ? !from_layout(s, a, name, ctx + sizeof LAYOUT - 1, &id, e) ||
                  !source_image(s, a, &id, ret, e)
            : !named_image(s, a, ctx ? ctx + sizeof IMAGE - 1 : name, o, ret, e))
        return false;
    ret->name = arena_strdup(a, name);
    ret->registry = o->registry;
    ret->sink = o->sink;
    if (!runs_here(ret))
        return err_set(e, ERR_ENV,
                       "image '%s' is for %s/%s and this machine is linux/%s: other platforms are "
                       "not supported yet",
                       name, ret->config.os, ret->config.architecture, image_arch());
    return true;
}
