/*
 * go/sumfile.c - go.sum: checksums by module, and whether one is right.
 */
#include <stdlib.h>

#include "go/modfile.h"
#include "go/unicode.h"

/* Far above what a go.sum has (the largest known: 10,000), and a bound for our memory. */
enum { LINES_MAX = 1 << 20, FIELDS = 3 };

static const char GOMOD[] = "/go.mod";

/* What go 1.11 wrote for modules without a go.mod: the hash of an empty one. */
static const char EMPTY_GOMOD[] = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY=";

/* The words of a line; how many there are, the first FIELDS of them kept. */
static size_t split(Str line, Str words[static FIELDS])
{
    size_t n = 0;
    for (size_t at = 0;;) {
        for (size_t k; at < line.len && (k = str_space(line.ptr + at, line.len - at)) > 0;)
            at += k;
        if (at >= line.len)
            return n;
        size_t start = at;
        while (at < line.len && !str_space(line.ptr + at, line.len - at))
            at++;
        if (n < FIELDS)
            words[n] = (Str){line.ptr + start, at - start};
        n++;
    }
}

static const char *keep(Arena *a, Str s)
{
    return arena_strndup(a, s.ptr, s.len);
}

/* One line to `out`; *ret_n is 0 for one that says nothing. */
static bool read_line(Arena *a, Str text, GoSumLine *out, size_t *ret_n, Err *e)
{
    Str w[FIELDS];
    size_t n = split(text, w);
    if (memchr(text.ptr, 0, text.len))
        return err_set(e, ERR_DOCKERFILE, "malformed go.sum: it holds a NUL");
    if (n && n != FIELDS)
        return err_set(e, ERR_DOCKERFILE, "malformed go.sum: wrong number of fields %zu", n);
    *ret_n = n && !str_eq(w[2], EMPTY_GOMOD);
    if (!*ret_n)
        return true;
    size_t tail = sizeof GOMOD - 1;
    out->gomod = w[1].len >= tail && !memcmp(w[1].ptr + w[1].len - tail, GOMOD, tail);
    if (out->gomod)
        w[1].len -= tail;
    out->mod = (GoModule){keep(a, w[0]), keep(a, w[1])};
    out->hash = keep(a, w[2]);
    return true;
}

static int by_key(const GoModule *m, bool mgomod, const GoModule *n, bool ngomod)
{
    int c = strcmp(m->path, n->path);
    if (!c)
        c = strcmp(m->version, n->version);
    return c ? c : mgomod - ngomod;
}

static int by_place(const void *a, const void *b)
{
    const GoSumLine *x = a, *y = b;
    int c = by_key(&x->mod, x->gomod, &y->mod, y->gomod);
    return c ? c : (x->line > y->line) - (x->line < y->line);
}

bool go_sum_parse(Arena *a, const char *name, Str text, GoSumFile *ret, Err *e)
{
    GoSumFile f = {0};
    size_t cap = 0;
    uint32_t nr = 0;
    if (text.len > GO_SUM_MAX)
        return err_set(e, ERR_DOCKERFILE, "%s: larger than %d bytes", name, GO_SUM_MAX);
    for (size_t at = 0; at < text.len;) {
        const char *line = text.ptr + at, *nl = memchr(line, '\n', text.len - at);
        size_t len = nl ? (size_t)(nl - line) : text.len - at, n;
        GoSumLine out = {.line = ++nr};
        at += len + 1;
        if (!read_line(a, (Str){line, len}, &out, &n, e))
            return err_wrap(e, "%s:%u", name, nr);
        if (n && f.n == LINES_MAX)
            return err_set(e, ERR_DOCKERFILE, "%s: more than %d lines", name, LINES_MAX);
        if (n)
            *ARENA_PUSH(a, f.v, f.n, cap) = out;
    }
    if (f.n)
        qsort(f.v, f.n, sizeof *f.v, by_place);
    *ret = f;
    return true;
}

/* The first line of a key, or where it would be. */
static size_t first(const GoSumFile *sum, const GoModule *m, bool gomod)
{
    size_t lo = 0, hi = sum->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (by_key(&sum->v[mid].mod, sum->v[mid].gomod, m, gomod) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool is_key(const GoSumFile *sum, size_t i, const GoModule *m, bool gomod)
{
    return i < sum->n && !by_key(&sum->v[i].mod, sum->v[i].gomod, m, gomod);
}

GoSumVerdict go_sum_check(const GoSumFile *sum, const GoModule *m, bool gomod, const char *h1)
{
    for (size_t i = first(sum, m, gomod); is_key(sum, i, m, gomod); i++) {
        if (!strcmp(sum->v[i].hash, h1))
            return GO_SUM_MATCH;
        if (str_starts(sum->v[i].hash, "h1:"))
            return GO_SUM_MISMATCH;
    }
    return GO_SUM_UNKNOWN;
}

const char *go_sum_find(const GoSumFile *sum, const GoModule *m, bool gomod)
{
    for (size_t i = first(sum, m, gomod); is_key(sum, i, m, gomod); i++)
        if (str_starts(sum->v[i].hash, "h1:"))
            return sum->v[i].hash;
    return NULL;
}
