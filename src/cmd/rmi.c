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

/* The images of other platforms go with the name. */
static bool remove_others(Store *s, Arena *a, const char *name, Err *e)
{
    StoreTag *v;
    size_t n;
    if (!store_others(s, a, name, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        char text[DIGEST_TEXT_SIZE];
        bool last, gone = false;
        if (!store_untag(s, v[i].name, &last, e) ||
            (last && !store_remove_image(s, &v[i].id, &gone, e)))
            return false;
        digest_text(&v[i].id, text);
        if (gone)
            printf("Deleted: %s (%s)\n", text, strchr(v[i].name, STORE_PLATFORM_MARK) + 1);
    }
    return true;
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
    if (one && !remove_others(s, a, one, e))
        return false;
    last = !tags.n;
    for (size_t i = 0; i < tags.n; i++) {
        ImageRef ref;
        if (one && tags.v[i] != one)
            continue;
        Err ignored = ERR_INIT; /* a name with a platform is not one that could be typed */
        if (!store_untag(s, tags.v[i], &last, e))
            return false;
        printf("Untagged: %s\n", image_ref_parse(a, tags.v[i], &ref, &ignored)
                                     ? image_ref_familiar(a, &ref)
                                     : tags.v[i]);
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
