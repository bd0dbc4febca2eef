/*
 * cmd/names.c - one name, several platforms.
 */
#include "cmd/names.h"

#include "cmd/cmd.h"

static const char *other_name(Arena *a, const char *name, const char *platform)
{
    return arena_printf(a, "%s%c%s", name, STORE_PLATFORM_MARK, platform);
}

bool names_put(Store *s, Arena *a, const char *name, const NamedImage *v, size_t n, Err *e)
{
    StoreTag *old;
    size_t nold;
    if (!store_others(s, a, name, &old, &nold, e) || !store_tag(s, name, &v[0].id, e))
        return false;
    for (size_t i = 0; i < nold; i++) {
        bool stays = false, last;
        for (size_t k = 1; k < n; k++)
            stays = stays || !strcmp(old[i].name, other_name(a, name, v[k].platform));
        if (!stays && !store_untag(s, old[i].name, &last, e))
            return false;
    }
    for (size_t k = 1; k < n; k++)
        if (!store_tag(s, other_name(a, name, v[k].platform), &v[k].id, e))
            return false;
    return true;
}

/* The tags beside what a word means, if the word is a name. */
static bool others(Store *s, Arena *a, const char *word, const Digest *id, StoreTag **ret,
                   size_t *ret_n, Err *e)
{
    ImageRef ref;
    Err ignored = ERR_INIT;
    Digest named;
    bool found = false;
    *ret_n = 0;
    if (!image_ref_parse(a, word, &ref, &ignored) || ref.digest)
        return true;
    const char *name = image_ref_tagged(a, &ref);
    /* A word that is the start of an ID means no name. */
    return store_find(s, a, name, &named, &found, e) &&
           (!found || !digest_eq(&named, id) || store_others(s, a, name, ret, ret_n, e));
}

bool names_of(Store *s, Arena *a, const char *word, Digest **ret, size_t *ret_n, Err *e)
{
    StoreTag *v = NULL;
    size_t n = 0;
    Digest id;
    if (!cmd_find(s, a, word, &id, e) || !others(s, a, word, &id, &v, &n, e))
        return false;
    Digest *ids = NEW_N(a, Digest, n + 1);
    ids[0] = id;
    for (size_t i = 0; i < n; i++)
        ids[i + 1] = v[i].id;
    *ret = ids;
    *ret_n = n + 1;
    return true;
}

bool names_copy(Store *s, Arena *a, const char *word, const char *name, Err *e)
{
    StoreTag *v = NULL;
    size_t n = 0;
    Digest id;
    if (!cmd_find(s, a, word, &id, e) || !others(s, a, word, &id, &v, &n, e))
        return false;
    NamedImage *all = NEW_N(a, NamedImage, n + 1);
    all[0] = (NamedImage){id, NULL};
    for (size_t i = 0; i < n; i++)
        all[i + 1] = (NamedImage){v[i].id, strchr(v[i].name, STORE_PLATFORM_MARK) + 1};
    return names_put(s, a, name, all, n + 1, e);
}
