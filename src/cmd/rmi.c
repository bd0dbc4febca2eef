/*
 * cmd/rmi.c - `lighter rmi`: take names from images; an image goes with its last name.
 */
#include "cmd/cmd.h"

typedef struct RmiOpts {
    bool force;
    const char *isolation;
} RmiOpts;

static const OptRow ROWS[] = {
    {"force", 'f', OPT_BOOL, offsetof(RmiOpts, force), NULL,
     "take all names of an image given by its ID; no complaint about images that are not there"},
    {"isolation", 0, OPT_STRING, offsetof(RmiOpts, isolation), "MODE",
     "the mode the store was filled in (default auto)"},
};
static const OptTable TABLE = {"lighter rmi [OPTIONS] IMAGE...", "remove images from the store",
                               ROWS, NELEM(ROWS), false};

/* The tags of an image. */
static bool tags_of(Store *s, Arena *a, const Digest *id, StrList *ret, Err *e)
{
    StoreTag *v = NULL;
    size_t n = 0;
    if (!store_list(s, a, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        if (v[i].name && digest_eq(&v[i].id, id))
            strlist_add(a, ret, v[i].name);
    return true;
}

/* The one tag that was named; NULL when the image was named by an ID. */
static const char *named_tag(Arena *a, const char *asked, const StrList *tags)
{
    ImageRef ref;
    Err ignored = ERR_INIT;
    if (!image_ref_parse(a, asked, &ref, &ignored) || ref.digest)
        return NULL;
    const char *full = image_ref_tagged(a, &ref);
    for (size_t i = 0; i < tags->n; i++)
        if (!strcmp(tags->v[i], full))
            return tags->v[i];
    return NULL;
}

static bool remove_one(Store *s, Arena *a, const RmiOpts *o, const char *asked, Err *e)
{
    Digest id;
    StrList tags = {0};
    bool found, last = false, gone = false;
    char text[DIGEST_TEXT_SIZE];
    if (!store_find(s, a, asked, &id, &found, e))
        return false;
    if (!found)
        return o->force || err_set(e, ERR_USAGE,
                                   "no image '%s' in the store '%s'; 'lighter images' lists what "
                                   "is there",
                                   asked, store_path(s));
    if (!tags_of(s, a, &id, &tags, e))
        return false;
    const char *one = named_tag(a, asked, &tags);
    if (!one && tags.n > 1 && !o->force)
        return err_set(e, ERR_USAGE,
                       "image '%s' has %zu names: give one of them, or --force to take all", asked,
                       tags.n);
    last = !tags.n;
    for (size_t i = 0; i < tags.n; i++) {
        ImageRef ref;
        if (one && tags.v[i] != one)
            continue;
        if (!store_untag(s, tags.v[i], &last, e) || !image_ref_parse(a, tags.v[i], &ref, e))
            return false;
        printf("Untagged: %s\n", image_ref_familiar(a, &ref));
    }
    if (!last)
        return store_publish(s, e);
    if (!store_publish(s, e) || !store_remove_image(s, &id, &gone, e))
        return false;
    digest_text(&id, text);
    printf(gone ? "Deleted: %s\n" : "In use, and left for 'lighter prune': %s\n", text);
    return true;
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const RmiOpts *o = opts;
    scoped(store) Store *s = NULL;
    SandboxHost host;
    if (!operands->n)
        return err_set(e, ERR_USAGE, "needs an image");
    if (!cmd_store(a, o->isolation ? o->isolation : "auto", &host, &s, e) ||
        !sandbox_enter(&host, e))
        return false;
    store_just_looks(s);
    for (size_t i = 0; i < operands->n; i++)
        if (!remove_one(s, a, o, operands->v[i], e))
            return false;
    *ret_code = 0;
    return true;
}

const Cmd CMD_RMI = {"rmi", &TABLE, sizeof(RmiOpts), run, NULL};
