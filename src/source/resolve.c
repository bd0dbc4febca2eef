/*
 * source/resolve.c - names to images.
 */
#include <pthread.h>

#include "base/fs.h"
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

static bool from_store(Store *s, Arena *a, const char *name, Digest *ret, Err *e)
{
    ImageRef ref;
    bool found;
    Err why = ERR_INIT;
    if (!image_ref_parse(a, name, &ref, &why))
        return err_set(e, ERR_DOCKERFILE, "'%s' is no image name: %s", name, why.msg);
    if (!store_find(s, a, name, ret, &found, e))
        return false;
    if (found)
        return true;
    return err_set(e, ERR_NETWORK,
                   "image '%s' is not in the store '%s', and registries are not reached yet: bring "
                   "it with 'lighter load', or name a layout with "
                   "--build-context %s=oci-layout://DIR",
                   image_ref_tagged(a, &ref), store_path(s), name);
}

bool source_resolve(Store *s, Arena *a, const char *name, const StrList *contexts, SourceImage *ret,
                    Err *e)
{
    static const char LAYOUT[] = "oci-layout://", IMAGE[] = "docker-image://";
    const char *ctx = context_for(a, name, contexts);
    Digest id;
    if (ctx && !str_starts(ctx, LAYOUT) && !str_starts(ctx, IMAGE))
        return err_set(e, ERR_USAGE,
                       "--build-context %s=%s: only oci-layout:// and docker-image:// contexts are "
                       "supported yet",
                       name, ctx);
    if (ctx && str_starts(ctx, LAYOUT)
            ? !from_layout(s, a, name, ctx + sizeof LAYOUT - 1, &id, e)
            : !from_store(s, a, ctx ? ctx + sizeof IMAGE - 1 : name, &id, e))
        return false;
    if (!source_image(s, a, &id, ret, e))
        return false;
    ret->name = arena_strdup(a, name);
    if (strcmp(ret->config.os, "linux") != 0 || strcmp(ret->config.architecture, image_arch()) != 0)
        return err_set(e, ERR_ENV,
                       "image '%s' is for %s/%s and this machine is linux/%s: other platforms are "
                       "not supported yet",
                       name, ret->config.os, ret->config.architecture, image_arch());
    return true;
}

/* The snapshot of the image's layer i, over the stack of those below it. */
static bool unpack_layer(Store *s, const SourceImage *img, size_t ilayer, const Stack *below,
                         bool in_userns, SnapshotId *ret, Err *e)
{
    const StoreLayer *l = &img->layers[ilayer];
    Digest chain;
    bool there;
    if (!store_layer_get(s, &l->diff_id, ret, &there, e))
        return false;
    if (there)
        return true;
    image_chain_id(img->config.diff_ids, ilayer + 1, &chain);
    if (!store_layer_get(s, &chain, ret, &there, e))
        return false;
    if (there)
        return true;
    static const Compression ORDER[] = {COMP_NONE, COMP_ZSTD, COMP_GZIP}; /* cheapest first */
    for (size_t i = 0; i < NELEM(ORDER); i++) {
        Digest blob;
        uint64_t size;
        bool found;
        if (!store_packed_get(s, &l->diff_id, ORDER[i], &blob, &size, &found, e))
            return false;
        if (found)
            return snapshot_unpack(s, &l->diff_id, &blob, ORDER[i], below, &chain, in_userns, ret,
                                   e);
    }
    char text[DIGEST_TEXT_SIZE];
    digest_text(&l->diff_id, text);
    return err_set(e, ERR_STORE, "layer %s is gone from the store: load the image again", text);
}

/* Layers being unpacked now: two steps on one base share the work, two bases do not wait for each
 * other. */
typedef struct InFlight {
    const Digest *diff_id;
    struct InFlight *next;
} InFlight;

static pthread_mutex_t flight_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t flight_end = PTHREAD_COND_INITIALIZER;
static InFlight *flights;

static bool in_flight(const Digest *diff_id)
{
    for (const InFlight *f = flights; f; f = f->next)
        if (digest_eq(f->diff_id, diff_id))
            return true;
    return false;
}

static void take_off(InFlight *own)
{
    pthread_mutex_lock(&flight_lock);
    while (in_flight(own->diff_id))
        pthread_cond_wait(&flight_end, &flight_lock);
    own->next = flights;
    flights = own;
    pthread_mutex_unlock(&flight_lock);
}

static void land(const InFlight *own)
{
    pthread_mutex_lock(&flight_lock);
    for (InFlight **at = &flights; *at; at = &(*at)->next)
        if (*at == own) {
            *at = own->next;
            break;
        }
    pthread_cond_broadcast(&flight_end);
    pthread_mutex_unlock(&flight_lock);
}

bool source_stack(Store *s, Arena *a, const SourceImage *img, bool in_userns, Stack *ret, Err *e)
{
    Stack st = {0};
    for (size_t i = 0; i < img->nlayer; i++) {
        const StoreLayer *l = &img->layers[i];
        SnapshotId id = l->snapshot;
        bool ours = l->times[0] != 0; /* made here from a snapshot, which is 0 when it is empty */
        if (!ours || !store_snapshot_exists(s, id)) {
            InFlight own = {.diff_id = &l->diff_id};
            take_off(&own);
            bool ok = unpack_layer(s, img, i, &st, in_userns, &id, e);
            land(&own);
            if (!ok)
                return err_wrap(e, "image '%s'", img->name ? img->name : "");
        }
        st = stack_push(a, &st, id);
    }
    *ret = st;
    return true;
}
