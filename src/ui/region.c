/*
 * ui/region.c - lines to escape sequences, as few as needed. Source: ECMA-48; xterm's ctlseqs.
 */
#include "ui/region.h"

#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/rune.h"
#include "ui/view.h"

/* A line that is wider than we count, in a terminal that counts otherwise, must not wrap. */
#define NO_WRAP "\033[?7l"
#define WRAP "\033[?7h"
#define ERASE_LINE "\033[K"
#define ERASE_BELOW "\033[J"

enum { TAB = 8 };

/* ---- lines ---- */

/*
 * The columns of a code point, and what stands for it where it cannot be shown. Selectors of a
 * variant are left out, for terminals do not agree on what is wider with one.
 */
static Str shown_as(const char *s, size_t size, uint32_t rune, unsigned *ret_width)
{
    bool selector = (rune >= 0xFE00 && rune <= 0xFE0F) || (rune >= 0x1F3FB && rune <= 0x1F3FF);
    *ret_width = 1;
    if (rune == RUNE_BAD)
        return str_c("?");
    if (selector || !rune_is_print(rune)) {
        *ret_width = 0;
        return str_c("");
    }
    *ret_width = rune_width(rune);
    return (Str){s, size};
}

bool row_put(Row *w, Str text, unsigned max)
{
    scoped(buf) Buf clean = BUF_INIT;
    buf_add_clean(&clean, text.ptr, text.len);
    for (size_t i = 0; i < clean.len;) {
        uint32_t rune;
        unsigned width;
        size_t size = utf8_rune_n(clean.ptr + i, clean.len - i, &rune);
        if (rune == '\t') {
            unsigned to = (w->width / TAB + 1) * TAB;
            if (to > max)
                return false;
            row_pad(w, to);
        } else {
            Str s = shown_as(clean.ptr + i, size, rune, &width);
            if (w->width + width > max)
                return false;
            buf_add(&w->text, s.ptr, s.len);
            w->width += width;
        }
        i += size;
    }
    return true;
}

void row_put_c(Row *w, const char *text, unsigned max)
{
    static const unsigned DOTS = 3;
    Row probe = {.width = w->width};
    bool fits = row_put(&probe, str_c(text), max);
    buf_done(&probe.text);
    if (fits || w->width + DOTS >= max) {
        (void)row_put(w, str_c(text), max);
        return;
    }
    (void)row_put(w, str_c(text), max - DOTS);
    (void)row_put(w, str_c("..."), max);
}

void row_color(Row *w, const char *sequence)
{
    buf_puts(&w->text, sequence);
}

void row_pad(Row *w, unsigned to)
{
    for (; w->width < to; w->width++)
        buf_putc(&w->text, ' ');
}

Row *frame_add(Frame *f)
{
    if (f->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 16;
        f->v = realloc(f->v, cap * sizeof *f->v);
        if (!f->v)
            die_nomem();
        memset(f->v + f->cap, 0, (cap - f->cap) * sizeof *f->v);
        f->cap = cap;
    }
    Row *w = &f->v[f->n++];
    w->text.len = 0;
    w->width = 0;
    return w;
}

void frame_clear(Frame *f)
{
    f->n = 0;
}

void frame_done(Frame *f)
{
    for (size_t i = 0; i < f->cap; i++)
        buf_done(&f->v[i].text);
    free(f->v);
    *f = (Frame){0};
}

/* ---- the terminal ---- */

void region_measure(Region *r, unsigned rows, unsigned cols)
{
    struct winsize size = {0};
    if (!rows || !cols)
        (void)ioctl(r->fd, TIOCGWINSZ, &size); /* else the size of old terminals */
    rows = rows ? rows : size.ws_row ? size.ws_row : 24;
    cols = cols ? cols : size.ws_col ? size.ws_col : 80;
    r->resized = r->resized || (r->cols && (rows != r->rows || cols != r->cols));
    r->rows = rows;
    r->cols = cols;
}

/* How many rows a terminal of `cols` makes of it: what is two columns wide is not cut in two. */
static size_t rows_of(const Row *w, unsigned cols)
{
    scoped(buf) Buf plain = BUF_INIT;
    size_t rows = 1;
    unsigned at = 0;
    if (w->width <= cols)
        return 1;
    buf_add_clean(&plain, w->text.ptr, w->text.len); /* colours take no room */
    for (size_t i = 0; i < plain.len;) {
        uint32_t rune;
        i += utf8_rune_n(plain.ptr + i, plain.len - i, &rune);
        unsigned width = rune_width(rune);
        bool fits = at + width <= cols;
        rows += !fits;
        at = fits ? at + width : width;
    }
    return rows;
}

/*
 * How many rows what is shown takes by now. A terminal that became narrower has wrapped the lines
 * that are too long for it, as most do; the cursor went with its line.
 */
static size_t rows_shown(const Region *r)
{
    size_t rows = 0;
    for (size_t i = 0; i < r->shown.n; i++)
        rows += rows_of(&r->shown.v[i], r->cols);
    return rows;
}

static void put_up(Buf *b, size_t rows)
{
    buf_putc(b, '\r'); /* what was typed stands there */
    if (rows)
        buf_printf(b, "\033[%zuA", rows);
}

static bool same(const Row *a, const Row *b)
{
    return a->text.len == b->text.len &&
           (!a->text.len || !memcmp(a->text.ptr, b->text.ptr, a->text.len));
}

static void put_line(Buf *b, const Row *w)
{
    buf_add(b, buf_str(&w->text), w->text.len);
}

static void draw_all(Region *r, Buf *above, const Frame *next)
{
    put_up(&r->out, rows_shown(r));
    buf_puts(&r->out, ERASE_BELOW);
    buf_add(&r->out, buf_str(above), above->len);
    buf_puts(&r->out, next->n ? NO_WRAP : "");
    for (size_t i = 0; i < next->n; i++) {
        put_line(&r->out, &next->v[i]);
        buf_putc(&r->out, '\n');
    }
    buf_puts(&r->out, next->n ? WRAP : "");
}

static void draw_changes(Region *r, const Frame *next)
{
    size_t first = 0;
    while (first < next->n && first < r->shown.n && same(&next->v[first], &r->shown.v[first]))
        first++;
    if (first == next->n && first == r->shown.n)
        return;
    put_up(&r->out, r->shown.n - first);
    buf_puts(&r->out, NO_WRAP);
    for (size_t i = first; i < next->n; i++) {
        if (i >= r->shown.n || !same(&next->v[i], &r->shown.v[i])) {
            put_line(&r->out, &next->v[i]);
            buf_puts(&r->out, ERASE_LINE);
        }
        buf_putc(&r->out, '\n');
    }
    buf_puts(&r->out, next->n < r->shown.n ? WRAP ERASE_BELOW : WRAP);
}

static void remember(Region *r, const Frame *next)
{
    frame_clear(&r->shown);
    for (size_t i = 0; i < next->n; i++) {
        Row *w = frame_add(&r->shown);
        put_line(&w->text, &next->v[i]);
        w->width = next->v[i].width;
    }
}

void region_draw(Region *r, Buf *above, const Frame *next)
{
    if (above->len || (r->resized && r->shown.n))
        draw_all(r, above, next);
    else
        draw_changes(r, next);
    above->len = 0;
    r->resized = false;
    remember(r, next);
    view_write(r->fd, &r->out);
}

void region_done(Region *r)
{
    frame_done(&r->shown);
    buf_done(&r->out);
}
