/*
 * ui/spill.h - text that is written later: a little in memory, more of it in a file that has no
 * name. Private to ui.
 */
#ifndef UI_SPILL_H
#define UI_SPILL_H

#include "base/str.h"

typedef struct Spill {
    Buf mem; /* what came first, or last if there is a file */
    int fd;  /* -1: everything is in memory */
} Spill;

#define SPILL_INIT                                                                                 \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* spill_add - false: nothing was taken, for no file could be made or it is full. */
NODISCARD bool spill_add(Spill *s, const char *text, size_t n);
/* spill_empty - whether nothing was added. */
bool spill_empty(const Spill *s);
/* spill_write - write all of it to `out`, and be empty. */
void spill_write(Spill *s, int out);
void spill_done(Spill *s);

#endif
