/*
 * ui/tail.c - the last lines that a running step printed.
 */
#include "ui/tail.h"

#include <stdlib.h>

#include "ui/view.h"

/* More of a line is on no terminal. */
enum { KEPT = 1024 };

void tail_init(Tail *t, unsigned cap)
{
    *t = (Tail){.cap = cap};
    t->ring = calloc(cap + 1, sizeof *t->ring);
    if (!t->ring)
        die_nomem();
}

void tail_done(Tail *t)
{
    for (unsigned i = 0; t->ring && i < t->cap; i++)
        buf_done(&t->ring[i]);
    free(t->ring);
    buf_done(&t->cut.line);
}

static void keep(Tail *t, Str line)
{
    if (!t->cap)
        return;
    Buf *b = &t->ring[t->next];
    b->len = 0;
    buf_add(b, line.ptr, line.len < KEPT ? line.len : KEPT);
    t->next = (t->next + 1) % t->cap;
    t->n += t->n < t->cap;
}

void tail_add(Tail *t, const char *text, size_t n)
{
    for (const char *end = text + n; cut_step(&t->cut, &text, end);)
        keep(t, line_tail(t->cut.line.ptr, t->cut.line.len));
}

static Str unended(const Tail *t)
{
    Str s = cut_begun(&t->cut);
    return line_tail(s.ptr, s.len);
}

unsigned tail_count(const Tail *t)
{
    unsigned n = t->n + (unended(t).len > 0);
    return n < t->cap ? n : t->cap;
}

Str tail_line(const Tail *t, unsigned back)
{
    Str last = unended(t);
    if (last.len && !back)
        return last;
    back -= last.len > 0;
    const Buf *b = &t->ring[(t->next + t->cap - 1 - back) % t->cap];
    return (Str){buf_str(b), b->len};
}
