/*
 * go/unicode.c - look-ups in the tables, and UTF-8 with an end.
 */
#include "go/unicode.h"

#include "go/unicode_table.h"

/* Whether an odd number of edges lies at or before `rune`. */
static bool inside(const uint32_t *edges, size_t n, uint32_t rune)
{
    size_t lo = 0, hi = n; /* edges before lo are <= rune, those from hi on are above */
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (edges[mid] <= rune)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo & 1;
}

bool go_rune_is_letter(uint32_t rune)
{
    return inside(LETTERS, NELEM(LETTERS), rune);
}

bool go_rune_is_print(uint32_t rune)
{
    if (rune < 0x80)
        return rune >= ' ' && rune < 0x7f;
    return inside(PRINTED, NELEM(PRINTED), rune);
}

uint32_t go_rune_fold(uint32_t rune)
{
    if (rune < 0x80)
        return rune >= 'A' && rune <= 'Z' ? rune + 'a' - 'A' : rune;
    size_t lo = 0, hi = NELEM(FOLDS);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const FoldRun *f = &FOLDS[mid];
        if (rune > f->last)
            lo = mid + 1;
        else if (rune < f->first)
            hi = mid;
        else
            return (rune - f->first) % f->stride ? rune : rune + (uint32_t)f->delta;
    }
    return rune;
}

size_t go_rune_at(const char *p, const char *end, uint32_t *ret_rune)
{
    char tail[5] = {0};
    if (!*p) {
        *ret_rune = 0;
        return 1;
    }
    if (end - p >= 4)
        return utf8_rune(p, ret_rune);
    memcpy(tail, p, (size_t)(end - p)); /* so that nothing behind the end is looked at */
    return utf8_rune(tail, ret_rune);
}

bool go_utf8_valid(Str s)
{
    uint32_t rune;
    for (size_t at = 0; at < s.len;) {
        size_t n = go_rune_at(s.ptr + at, s.ptr + s.len, &rune);
        if (n == 1 && rune == RUNE_BAD)
            return false;
        at += n;
    }
    return true;
}

const char *go_shown_into(char out[static GO_SHOWN_SIZE], Str s)
{
    static const char MORE[] = "...";
    size_t at = 0, w = 0, cap = GO_SHOWN_SIZE - sizeof MORE;
    while (at < s.len) {
        uint32_t rune;
        size_t n = go_rune_at(s.ptr + at, s.ptr + s.len, &rune);
        if (w + n > cap) {
            memcpy(out + w, MORE, sizeof MORE);
            return out;
        }
        if ((n == 1 && rune >= 0x80) || !go_rune_is_print(rune)) {
            out[w++] = '?';
        } else {
            memcpy(out + w, s.ptr + at, n);
            w += n;
        }
        at += n;
    }
    out[w] = 0;
    return out;
}

const char *go_shown(Arena *a, Str s)
{
    return go_shown_into(arena_alloc(a, GO_SHOWN_SIZE), s);
}
