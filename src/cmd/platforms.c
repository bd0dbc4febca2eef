/*
 * cmd/platforms.c - what --platform names.
 */
#include <stdlib.h>

#include "base/csv.h"
#include "cmd/buildrun.h"

static bool add(Build *b, const char *word, const char *option)
{
    Target t = {.platform = image_platform_host()};
    if (strcmp(word, "local") != 0 && !image_platform_parse(b->arena, word, &t.platform, b->e))
        return err_wrap(b->e, "%s", option);
    if (strcmp(t.platform.os, "linux") != 0)
        return err_set(b->e, ERR_USAGE, "%s=%s: lighter builds images for linux", option, word);
    t.text = image_platform_text(b->arena, &t.platform);
    for (size_t i = 0; i < b->ntarget; i++)
        if (!strcmp(b->targets[i].text, t.text))
            return true;
    b->targets = arena_grow(b->arena, b->targets, b->ntarget, b->ntarget + 1, sizeof t);
    b->targets[b->ntarget++] = t;
    return true;
}

static bool add_all(Build *b, const char *text, const char *option)
{
    StrList words;
    if (!csv_fields(b->arena, text, &words, b->e))
        return err_wrap(b->e, "%s", option);
    for (size_t i = 0; i < words.n; i++)
        if (!add(b, words.v[i], option))
            return false;
    return true;
}

bool platforms_read(Build *b)
{
    const char *env = getenv("DOCKER_DEFAULT_PLATFORM");
    for (size_t i = 0; i < b->opts->platforms.n; i++)
        if (!add_all(b, b->opts->platforms.v[i], "--platform"))
            return false;
    if (!b->ntarget && env && *env && !add_all(b, env, "DOCKER_DEFAULT_PLATFORM"))
        return false;
    return b->ntarget || add(b, "local", "--platform");
}
