/*
 * ui/color.c - the words of BUILDKIT_COLORS to escape sequences.
 */
#include <stdlib.h>
#include <strings.h>

#include "base/str.h"
#include "ui/ui.h"

/* In the order of their numbers, ECMA-48, SGR 30 to 37; "light-" ones are xterm's 90 to 97. */
static const char *const NAMES[] = {"black", "red",     "green", "yellow",
                                    "blue",  "magenta", "cyan",  "white"};

/* "255,0,0"; the nearest of the 216 that every terminal with 256 colours has, as BuildKit's. */
static bool read_rgb(char *text, unsigned *ret)
{
    char *save = NULL;
    unsigned sum = 16, weight = 36, n = 0;
    for (char *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        uint64_t v;
        if (!str_u64(p, 255, &v) || ++n > 3)
            return false;
        sum += (unsigned)(v / 43) * weight;
        weight /= 6;
    }
    *ret = sum;
    return n == 3;
}

static bool read_color(char *text, char out[static 24])
{
    bool light = !strncasecmp(text, "light-", 6);
    unsigned rgb;
    if (!strcasecmp(text, "default")) {
        (void)snprintf(out, 24, "\033[39m");
        return true;
    }
    for (unsigned i = 0; i < NELEM(NAMES); i++)
        if (!strcasecmp(text + (light ? 6 : 0), NAMES[i])) {
            (void)snprintf(out, 24, "\033[%um", (light ? 90 : 30) + i);
            return true;
        }
    if (!strchr(text, ',') || !read_rgb(text, &rgb))
        return false;
    (void)snprintf(out, 24, "\033[38;5;%um", rgb);
    return true;
}

static char *slot(UiColors *c, const char *key)
{
    return !strcasecmp(key, "run")       ? c->run
           : !strcasecmp(key, "cancel")  ? c->cancel
           : !strcasecmp(key, "warning") ? c->warning
           : !strcasecmp(key, "error")   ? c->error
                                         : NULL;
}

void ui_colors_parse(const char *text, UiColors *c)
{
    scoped(arena) Arena a = {0};
    char *save = NULL;
    for (char *p = strtok_r(arena_strdup(&a, text), ":", &save); p;
         p = strtok_r(NULL, ":", &save)) {
        char *eq = strchr(p, '='), color[24];
        if (!eq)
            continue;
        *eq = 0;
        char *out = slot(c, p);
        if (!out || !read_color(eq + 1, color))
            continue;
        memcpy(out, color, sizeof color);
        c->any = true;
    }
}
