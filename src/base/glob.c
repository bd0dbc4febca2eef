/*
 * base/glob.c - match file names against Go's filepath patterns, without recursion.
 */
#include "base/glob.h"

#include <string.h>

#include "base/str.h"

/* One end of a range inside a class. False: malformed, which includes a pattern that ends here. */
static bool class_rune(const char **p, uint32_t *ret_rune)
{
    if (**p == '-' || **p == ']')
        return false;
    if (**p == '\\')
        ++*p;
    size_t size = utf8_rune(*p, ret_rune);
    if (size == 0 || (*ret_rune == RUNE_BAD && size == 1))
        return false;
    *p += size;
    return **p != 0;
}

/* Read a class from behind its '[' to behind its ']' and look a rune up. False: malformed. */
static bool read_class(const char **p, uint32_t rune, bool *ret_has)
{
    bool negated = **p == '^', has = false;

    if (negated)
        ++*p;
    do {
        uint32_t lo, hi;
        if (!class_rune(p, &lo))
            return false;
        hi = lo;
        if (**p == '-') {
            ++*p;
            if (!class_rune(p, &hi))
                return false;
        }
        has |= lo <= rune && rune <= hi;
    } while (**p != ']');
    ++*p;
    *ret_has = has != negated;
    return true;
}

/* Walk from one star (or the start) to the next; NULL when that part is malformed. */
static const char *skip_chunk(const char *p)
{
    while (*p && *p != '*') {
        bool has;
        char c = *p++;
        if (c == '[' && !read_class(&p, 0, &has))
            return NULL;
        if (c == '\\' && !*p++)
            return NULL;
    }
    return p;
}

/* Does the item at `*p`, no star and not the end, take the start of `*s`? Both move on. */
static bool item_takes(const char **p, const char **s)
{
    uint32_t rune;
    bool has = false;
    char c = *(*p)++;
    size_t size = utf8_rune(*s, &rune);

    if (size == 0)
        return false;
    if (c == '[') {
        has = read_class(p, rune, &has) && has;
    } else if (c == '?') {
        has = rune != '/';
    } else {
        if (c == '\\')
            c = *(*p)++;
        has = **s == c;
        size = 1; /* literals are bytes */
    }
    *s += size;
    return has;
}

bool glob_match(const char *pattern, const char *name, bool *ret_match)
{
    const char *p = pattern, *s = name;
    const char *chunk = NULL; /* behind the last star */
    const char *tried = NULL; /* where in the name that was tried last */

    if (!skip_chunk(p))
        return false;
    for (;;) {
        if (*p == '*') {
            while (*p == '*')
                p++;
            if (!skip_chunk(p))
                return false;
            chunk = p;
            tried = s;
            continue;
        }
        if (!*p && !*s)
            break;
        if (*p && item_takes(&p, &s))
            continue;
        /* The last star takes a byte more; an earlier one could only find the same later. */
        if (!chunk || !*tried || *tried == '/') {
            *ret_match = false;
            return true;
        }
        p = chunk;
        s = ++tried;
    }
    *ret_match = true;
    return true;
}

bool glob_valid(const char *pattern)
{
    const char *p = skip_chunk(pattern);
    while (p && *p)
        p = skip_chunk(p + 1);
    return p != NULL;
}

bool glob_has_meta(const char *pattern)
{
    return strpbrk(pattern, "*?[\\") != NULL;
}
