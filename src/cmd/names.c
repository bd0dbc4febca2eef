/*
 * cmd/names.c - one name, several platforms.
 */
#include "cmd/names.h"

#include "cmd/cmd.h"
#include "source/source.h"

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

static bool platform_of(Store *s, Arena *a, const Digest *id, const char **ret, Err *e)
{
    SourceImage img;
    if (!source_image(s, a, id, &img, e))
        return false;
    Platform p = {img.config.os ? img.config.os : "",
                  img.config.architecture ? img.config.architecture : "",
                  img.config.variant ? img.config.variant : ""};
    *ret = image_platform_text(a, &p);
    return true;
}

bool names_join(Store *s, Arena *a, const char *name, const Digest *ids, size_t n, Err *e)
{
    Platform host = image_platform_host();
    const char *here = image_platform_text(a, &host);
    NamedImage *all = NEW_N(a, NamedImage, n + 1);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        NamedImage one = {.id = ids[i]};
        size_t k = 0;
        if (!platform_of(s, a, &ids[i], &one.platform, e))
            return false;
        while (k < count && strcmp(all[k].platform, one.platform) != 0)
            k++;
        all[k] = one;
        count += k == count;
    }
    for (size_t i = 1; i < count; i++)
        if (!strcmp(all[i].platform, here)) {
            NamedImage first = all[0];
            all[0] = all[i];
            all[i] = first;
        }
    return names_put(s, a, name, all, count, e);
}
