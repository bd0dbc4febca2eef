/*
 * ui/region.h - the last lines of a terminal, redrawn in place. Private to ui.
 *
 * The cursor rests at the start of the line below the region. What becomes permanent is written
 * above it, once, and scrolls away as other output does. No mode of the terminal is left changed
 * between two writes, so whatever ends the process leaves it usable.
 */
#ifndef UI_REGION_H
#define UI_REGION_H

#include "base/str.h"

/* A line that fits: text without control bytes but for colours, and the columns it takes. */
typedef struct Row {
    Buf text;
    unsigned width;
} Row;

/*
 * row_put - append text up to `max` columns of the whole line, cleaned; tabs become blanks.
 * True: all of it fitted.
 */
bool row_put(Row *w, Str text, unsigned max);
/* row_put_c - the same of a C string that is cut with "..." where it does not fit. */
void row_put_c(Row *w, const char *text, unsigned max);
/* row_color - append an escape sequence, which takes no room; "" is fine. */
void row_color(Row *w, const char *sequence);
/* row_pad - blanks up to column `to`. */
void row_pad(Row *w, unsigned to);

/* Lines to be shown; zeroed is empty. */
typedef struct Frame {
    Row *v;
    size_t n, cap;
} Frame;

/* frame_add - one more line, empty. It moves when the next one is added. */
Row *frame_add(Frame *f);
/* frame_clear - no lines; their memory is kept. */
void frame_clear(Frame *f);
void frame_done(Frame *f);

typedef struct Region {
    int fd;
    unsigned rows, cols; /* of the terminal; region_measure() sets them */
    bool resized;        /* since the last drawing */
    Frame shown;
    Buf out;
} Region;

/* region_measure - note the size of the terminal, and ask it where that is 0. */
void region_measure(Region *r, unsigned rows, unsigned cols);
/*
 * region_draw - show `next` instead of what is shown, and `above` over it.
 *
 *   above  whole lines that become permanent; emptied
 *   next   lines narrower than the terminal, fewer than its rows; left as it is
 *
 * Only lines that differ are written, all in one write. Nothing is written when nothing differs.
 */
void region_draw(Region *r, Buf *above, const Frame *next);
void region_done(Region *r);

#endif
