/*
 * unit/screen.h - a terminal that understands what ui/ writes and nothing else.
 *
 * All rows since the beginning are kept, those that have scrolled away as well. Becoming narrower
 * it wraps its lines anew, as VTE, kitty, iTerm and tmux do, or cuts them off, as xterm does.
 */
#ifndef UNIT_SCREEN_H
#define UNIT_SCREEN_H

#include "testing.h"

#include <wchar.h>

#include "base/str.h"

enum { SCREEN_ROWS = 40000, SCREEN_COLS = 320 };

typedef struct ScreenRow {
    uint32_t *cells; /* 0: the right half of the one before */
    unsigned n;
    bool wraps; /* goes on in the next row */
} ScreenRow;

typedef struct Screen {
    unsigned rows, cols;
    bool crops;
    ScreenRow *v;
    size_t n, top, y; /* rows in all; the first on the screen; the cursor's */
    unsigned x;       /* `cols`: the next character wraps */
    bool wrap;
    Buf held; /* of a sequence that is not whole */
} Screen;

static inline void screen_row_at(Screen *s, size_t i)
{
    while (s->n <= i) {
        if (s->n == SCREEN_ROWS)
            fail_msg("more than %d rows", SCREEN_ROWS);
        s->v[s->n].cells = calloc(SCREEN_COLS, sizeof(uint32_t));
        s->v[s->n].n = 0;
        s->v[s->n++].wraps = false;
    }
}

static inline void screen_init(Screen *s, unsigned rows, unsigned cols)
{
    *s = (Screen){.rows = rows, .cols = cols, .wrap = true};
    s->v = calloc(SCREEN_ROWS, sizeof *s->v);
    screen_row_at(s, 0);
}

static inline void screen_done(Screen *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->v[i].cells);
    free(s->v);
    buf_done(&s->held);
}

static inline void screen_down(Screen *s)
{
    s->y++;
    screen_row_at(s, s->y);
    if (s->y >= s->top + s->rows)
        s->top = s->y - s->rows + 1;
}

static inline void screen_erase(Screen *s, size_t row, unsigned from)
{
    ScreenRow *r = &s->v[row];
    if (r->n > from)
        r->n = from;
    r->wraps = false;
}

static inline void screen_put(Screen *s, uint32_t rune)
{
    int width = wcwidth((wchar_t)rune);
    if (width < 0)
        fail_msg("U+%04X reached the terminal", (unsigned)rune);
    if (!width)
        return;
    if (s->x + (unsigned)width > s->cols) {
        if (!s->wrap)
            fail_msg("a line of more than %u columns", s->cols);
        s->v[s->y].wraps = true;
        screen_down(s);
        s->x = 0;
    }
    ScreenRow *r = &s->v[s->y];
    for (; r->n < s->x + (unsigned)width; r->n++)
        r->cells[r->n] = ' ';
    r->cells[s->x] = rune;
    if (width == 2)
        r->cells[s->x + 1] = 0;
    s->x += (unsigned)width;
}

/* Carry out one sequence; the bytes it takes, 0: it is not whole. */
static inline size_t screen_escape(Screen *s, const char *p, size_t n)
{
    size_t i = 2;
    unsigned number = 0;
    while (i < n && ((p[i] >= '0' && p[i] <= '9') || p[i] == ';' || p[i] == '?')) {
        number = p[i] >= '0' && p[i] <= '9' ? number * 10 + (unsigned)(p[i] - '0') : number;
        i++;
    }
    if (i >= n)
        return 0;
    if (p[1] != '[')
        fail_msg("ESC %c reached the terminal", p[1]);
    switch (p[i]) {
    case 'A':
        s->x = s->x == s->cols ? s->cols - 1 : s->x;
        s->y = s->y > s->top + number ? s->y - number : s->top;
        break;
    case 'J':
        screen_erase(s, s->y, s->x);
        for (size_t row = s->y + 1; row < s->n; row++)
            screen_erase(s, row, 0);
        break;
    case 'K':
        screen_erase(s, s->y, s->x);
        break;
    case 'm':
        break;
    case 'h':
    case 'l':
        if (number != 7)
            fail_msg("mode %u is changed", number);
        s->wrap = p[i] == 'h';
        break;
    default:
        fail_msg("ESC [ ... %c reached the terminal", p[i]);
    }
    return i + 1;
}

static inline void screen_feed(Screen *s, const char *text, size_t len)
{
    size_t i = 0;
    buf_add(&s->held, text, len);
    while (i < s->held.len) {
        const char *p = s->held.ptr + i;
        size_t n = s->held.len - i, size;
        uint32_t rune;
        if (*p == '\r') {
            s->x = 0;
            size = 1;
        } else if (*p == '\n') { /* the driver makes CR LF of it */
            screen_down(s);
            s->x = 0;
            size = 1;
        } else if (*p == 0x1b) {
            size = n < 3 ? 0 : screen_escape(s, p, n);
        } else {
            size = utf8_rune_n(p, n, &rune);
            if (rune == RUNE_BAD && n < 4 && utf8_cut(p, n) < n) {
                size = 0;
            } else {
                if (rune < 0x20 || rune == 0x7f || (rune == RUNE_BAD && size == 1))
                    fail_msg("byte %02x reached the terminal", (unsigned char)*p);
                screen_put(s, rune);
            }
        }
        if (!size)
            break;
        i += size;
    }
    memmove(s->held.ptr, s->held.ptr + i, s->held.len - i);
    s->held.len -= i;
}

/* The last row of the line that begins in row `i`. */
static inline size_t screen_line_end(const Screen *s, size_t i)
{
    while (s->v[i].wraps && i + 1 < s->n)
        i++;
    return i;
}

static inline void screen_resize(Screen *s, unsigned rows, unsigned cols)
{
    ScreenRow *old = s->v;
    size_t n = s->n, y = s->y;
    Screen fresh;
    if (s->crops) {
        for (size_t i = s->top; i < n; i++)
            screen_erase(s, i, cols);
        s->x = s->x < cols ? s->x : cols - 1;
    } else {
        screen_init(&fresh, rows, cols);
        for (size_t i = 0, to = 0; i < n; to++) {
            size_t end = screen_line_end(s, i);
            unsigned at = 0;
            screen_row_at(&fresh, to);
            if (y >= i && y <= end)
                fresh.y = to;
            for (; i <= end; i++)
                for (unsigned k = 0; k < old[i].n; k++) {
                    bool wide = k + 1 < old[i].n && old[i].cells[k + 1] == 0;
                    if (at + 1 + wide > cols) {
                        fresh.v[to].wraps = true;
                        screen_row_at(&fresh, ++to);
                        at = 0;
                    }
                    if (i == y && k == s->x)
                        fresh.y = to;
                    fresh.v[to].cells[at++] = old[i].cells[k];
                    fresh.v[to].n = at;
                }
        }
        fresh.crops = s->crops;
        fresh.wrap = s->wrap;
        screen_done(s);
        *s = fresh;
    }
    s->rows = rows;
    s->cols = cols;
    s->top = s->y + 1 > rows ? s->y + 1 - rows : 0;
}

/* Everything that was ever shown and is not erased, lines joined, without blanks at their ends. */
static inline char *screen_text(Arena *a, const Screen *s, size_t from)
{
    scoped(buf) Buf b = BUF_INIT;
    size_t keep = 0;
    for (size_t i = from; i < s->n; i++) {
        for (unsigned k = 0; k < s->v[i].n; k++) {
            uint32_t c = s->v[i].cells[k];
            char out[5] = {0};
            if (c < 0x80)
                buf_add(&b, (char[]){(char)c}, c != 0);
            else
                buf_add(&b, out, (size_t)wctomb(out, (wchar_t)c));
            keep = c == ' ' ? keep : b.len;
        }
        if (s->v[i].wraps)
            continue;
        b.len = keep;
        buf_putc(&b, '\n');
        keep = b.len;
    }
    while (b.len > 1 && b.ptr[b.len - 2] == '\n')
        b.len--;
    return arena_strndup(a, buf_str(&b), b.len);
}

#endif
