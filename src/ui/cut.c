/*
 * ui/cut.c - bytes to lines.
 */
#include "ui/cut.h"

/* Forget the line that was given. */
static void begin(LineCut *c)
{
    if (!c->given)
        return;
    c->given = false;
    c->line.len = 0;
    buf_add(&c->line, c->rest, c->nrest);
    c->nrest = 0;
}

static bool give(LineCut *c, bool ended)
{
    size_t n = ended ? c->line.len : utf8_cut(c->line.ptr, c->line.len);
    c->nrest = c->line.len - n;
    memcpy(c->rest, c->line.ptr + n, c->nrest);
    c->line.len = n;
    c->ended = ended;
    return c->given = true;
}

bool cut_step(LineCut *c, const char **at, const char *end)
{
    begin(c);
    while (*at < end) {
        const char *nl = memchr(*at, '\n', (size_t)(end - *at));
        size_t n = (size_t)((nl ? nl : end) - *at), room = CUT_MAX - c->line.len;
        bool whole = nl && n <= room;
        n = n < room ? n : room;
        buf_add(&c->line, *at, n);
        *at += n + whole;
        if (whole || c->line.len == CUT_MAX)
            return give(c, whole);
    }
    return false;
}

Str cut_begun(const LineCut *c)
{
    return c->given ? (Str){c->rest, c->nrest} : (Str){buf_str(&c->line), c->line.len};
}

bool cut_rest(LineCut *c)
{
    begin(c);
    return c->line.len && give(c, true);
}
