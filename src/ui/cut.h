/*
 * ui/cut.h - what a step prints, cut into lines. Private to ui.
 */
#ifndef UI_CUT_H
#define UI_CUT_H

#include "base/str.h"

/* A line of more bytes is given in pieces. */
enum { CUT_MAX = 8192 };

typedef struct LineCut {
    Buf line;   /* without its newline */
    bool ended; /* by a newline; false: it was too long, and goes on in the next one */
    /* Private. */
    bool given;
    char rest[4]; /* of a character that would have been cut in two */
    size_t nrest;
} LineCut;

/*
 * cut_step - go on to the end of a line.
 *
 *   at   moved over what was taken, up to `end`
 *
 * True: c->line is one, until the next call. False: everything was taken, and more is needed.
 */
bool cut_step(LineCut *c, const char **at, const char *end);
/* cut_rest - whether there is a line without an end; then c->line is it. */
bool cut_rest(LineCut *c);
/* cut_begun - what there is of a line that goes on. */
Str cut_begun(const LineCut *c);

#endif
