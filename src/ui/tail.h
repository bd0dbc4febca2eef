/*
 * ui/tail.h - the last lines that a running step printed. Private to ui.
 */
#ifndef UI_TAIL_H
#define UI_TAIL_H

#include "ui/cut.h"

typedef struct Tail {
    LineCut cut;
    Buf *ring; /* whole lines */
    unsigned cap, n;
    size_t next; /* in the ring */
} Tail;

/* tail_init - room for `cap` lines, which may be 0. */
void tail_init(Tail *t, unsigned cap);
void tail_done(Tail *t);
/* tail_add - bytes that the step printed, cut anywhere. */
void tail_add(Tail *t, const char *text, size_t n);
/* tail_count - how many lines there are, one that goes on included; at most `cap`. */
unsigned tail_count(const Tail *t);
/* tail_line - line `back` from the end, 0 the last one: what is seen of it, not cleaned. */
Str tail_line(const Tail *t, unsigned back);

#endif
