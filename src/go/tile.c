/*
 * go/tile.c - names of tiles.
 */
#include "go/sumdb.h"

/* Numbers are written in groups of three digits; all but the last have an x in front. */
enum { GROUP = 1000, HEIGHT_MAX = 30, LEVEL_MAX = 63, GROUPS_MAX = 7 };

void go_tile_path(const GoTile *t, char ret[static GO_TILE_PATH_SIZE])
{
    unsigned groups[GROUPS_MAX];
    size_t n = 0, at;
    uint64_t left = t->n;
    do
        groups[n++] = (unsigned)(left % GROUP);
    while ((left /= GROUP) && n < GROUPS_MAX);
    at = (size_t)snprintf(ret, GO_TILE_PATH_SIZE, "tile/%u/", t->height);
    if (t->level < 0)
        at += (size_t)snprintf(ret + at, GO_TILE_PATH_SIZE - at, "data");
    else
        at += (size_t)snprintf(ret + at, GO_TILE_PATH_SIZE - at, "%d", t->level);
    while (n--)
        at += (size_t)snprintf(ret + at, GO_TILE_PATH_SIZE - at, n ? "/x%03u" : "/%03u", groups[n]);
    if (t->width != 1u << t->height)
        (void)snprintf(ret + at, GO_TILE_PATH_SIZE - at, ".p/%u", t->width);
}

/* A number at *s, which is moved behind it; how it is written is compared later. */
static bool number(const char **s, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;
    const char *start = *s;
    for (; **s >= '0' && **s <= '9'; (*s)++) {
        v = v * 10 + (uint64_t)(**s - '0');
        if (v > max)
            return false;
    }
    *ret = v;
    return *s != start;
}

static bool skip(const char **s, const char *text)
{
    if (!str_starts(*s, text))
        return false;
    *s += strlen(text);
    return true;
}

bool go_tile_parse(const char *path, GoTile *ret)
{
    char again[GO_TILE_PATH_SIZE];
    const char *s = path;
    uint64_t height, level = 0, group, n = 0, width;
    if (!skip(&s, "tile/") || !number(&s, HEIGHT_MAX, &height) || !height || !skip(&s, "/"))
        return false;
    bool data = skip(&s, "data");
    if (!data && !number(&s, LEVEL_MAX, &level))
        return false;
    for (size_t i = 0; skip(&s, "/"); i++) {
        (void)skip(&s, "x");
        if (i == GROUPS_MAX || !number(&s, GROUP - 1, &group) || n > (INT64_MAX - group) / GROUP)
            return false;
        n = n * GROUP + group;
    }
    width = 1u << height;
    if (skip(&s, ".p/") && (!number(&s, width - 1, &width) || !width))
        return false;
    GoTile t = {(uint32_t)height, data ? -1 : (int32_t)level, n, (uint32_t)width};
    go_tile_path(&t, again);
    if (*s || strcmp(again, path) != 0)
        return false;
    *ret = t;
    return true;
}
