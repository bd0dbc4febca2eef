/*
 * dockerfile/message.c - what messages show of the text, and the name that was meant.
 */
#include <stdarg.h>

#include "dockerfile/dockerfile.h"

/* Names that differ by so many letters are not meant. */
enum { FAR = 3 };

/* An excerpt of more lines, or of longer ones, would hide the message. */
enum { EXCERPT_LINES = 8, EXCERPT_WIDTH = 160 };

bool df_err(const DfFile *f, const SrcSpan *at, Err *e, const char *fmt, ...)
{
    char msg[ERR_MSG_MAX / 2];
    scoped(buf) Buf lines = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    df_excerpt(f, at, &lines);
    while (lines.len && lines.ptr[lines.len - 1] == '\n')
        lines.ptr[--lines.len] = 0;
    return err_set(e, ERR_DOCKERFILE, "%s:%u:%u: %s%s%s", f->name, at->line, at->col, msg,
                   lines.len ? "\n" : "", buf_str(&lines));
}

/* Where the line begins that a place is in: near its offset, for a long file has many places. */
static size_t line_start(const DfFile *f, const SrcSpan *at)
{
    size_t i = at->off <= f->text.len ? at->off : f->text.len;
    while (i && f->text.ptr[i - 1] != '\n')
        i--;
    return i;
}

void df_excerpt(const DfFile *f, const SrcSpan *at, Buf *out)
{
    uint32_t line = at->line, end = at->end_line < at->line ? at->line : at->end_line;
    if (end - line >= EXCERPT_LINES)
        end = line + EXCERPT_LINES - 1;
    for (size_t i = line_start(f, at); i < f->text.len && line <= end; line++) {
        const char *p = f->text.ptr + i;
        const char *nl = memchr(p, '\n', f->text.len - i);
        size_t n = nl ? (size_t)(nl - p) : f->text.len - i;
        buf_printf(out, "%s%4u | %.*s%s\n", line == at->line ? "-->" : "   ", line,
                   (int)(n > EXCERPT_WIDTH ? EXCERPT_WIDTH : n), p, n > EXCERPT_WIDTH ? "..." : "");
        i += n + 1;
    }
}

/* How many letters to insert, drop or change to get from one short name to the other; long ones
 * count as far. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 32 };
    size_t n = strlen(a), m = strlen(b), d[MAX + 1][MAX + 1];
    if (n > MAX || m > MAX)
        return MAX;
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

/* Whether two names differ by neighbours that changed places: "RNU" and "RUN". */
static bool swapped(const char *a, const char *b)
{
    size_t i = 0;
    while (a[i] && a[i] == b[i])
        i++;
    return a[i] && b[i] && a[i] == b[i + 1] && a[i + 1] == b[i] && !strcmp(a + i + 2, b + i + 2);
}

/* Source: BuildKit, util/suggest; a slip of two fingers comes before other names as far away. */
const char *df_suggest(const char *given, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t limit = 2 * FAR;
    for (size_t i = 0; i < n; i++) {
        size_t d = 2 * distance(given, names[i]);
        if (!d) /* it is not the name that was wrong */
            return NULL;
        d -= swapped(given, names[i]);
        if (d < limit) {
            best = names[i];
            limit = d;
        }
    }
    return best;
}
