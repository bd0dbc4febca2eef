/*
 * context/pattern.c - turn moby's patterns into regular expressions, or into less where that does.
 *
 * Moby defines a pattern by the regular expression it is rewritten to, quirks included, and ignore
 * files rely on the result. So a pattern goes the same way here.
 */
#include "context/pattern.h"

#include <string.h>

#include "base/glob.h"
#include "base/str.h"

static bool starts_with(const char *text, size_t len, const char *prefix, size_t n)
{
    return len >= n && !memcmp(text, prefix, n);
}

static bool ends_with(const char *text, size_t len, const char *suffix, size_t n)
{
    return len >= n && !memcmp(text + len - n, suffix, n);
}

/* How moby looks for a pattern: with a `**` at one end as its only wildcard, it needs no regexp. */
static PatternKind pattern_kind(const char *pattern)
{
    static const char SPECIAL[] = "*?[]\\";
    const char *first = strpbrk(pattern, SPECIAL);

    if (!first)
        return PATTERN_EXACT;
    if (str_starts(pattern, "**"))
        return strpbrk(pattern + 2, SPECIAL) ? PATTERN_REGEX : PATTERN_SUFFIX;
    return !strcmp(first, "**") ? PATTERN_PREFIX : PATTERN_REGEX;
}

/* The regular expression that moby rewrites a pattern to. */
static void write_regex(const char *p, Buf *out)
{
    buf_putc(out, '^');
    while (*p) {
        if (p[0] == '*' && p[1] == '*') {
            p += p[2] == '/' ? 3 : 2;
            buf_puts(out, *p ? "(.*/)?" : ".*");
            continue;
        }
        if (p[0] == '\\' && p[1]) {
            buf_add(out, p, 2);
            p += 2;
            continue;
        }
        if (*p == '*' || *p == '?')
            buf_puts(out, *p == '*' ? "[^/]*" : "[^/]");
        else if (strchr(".+()$", *p))
            buf_printf(out, "\\%c", *p);
        else
            buf_putc(out, *p); /* `|{}^` too: moby means to escape them and does not */
        p++;
    }
    buf_putc(out, '$');
}

/* The length of a start that stands for itself, in the pattern and in its regular expression. */
static size_t literal_size(const char *p)
{
    size_t n = 0;
    while (p[n] && !(p[n] & 0x80) && !strchr("*?[]\\|{}^", p[n]))
        n++;
    return n;
}

/* Take a pattern with one star apart; false when it is more than that. */
static bool split_glob(const char *text, Pattern *pt)
{
    size_t nlead = literal_size(text);
    const char *star = text + nlead;
    bool dirs = str_starts(star, "**/");

    star += dirs ? 3 : 0;
    if (*star != '*')
        return false;
    size_t ntail = literal_size(star + 1);
    pt->glob.tail = star + 1;
    pt->glob.nlead = nlead;
    pt->glob.ntail = ntail;
    pt->glob.dirs = dirs;
    return !star[1 + ntail];
}

/* What its regular expression says: the directories take no line feed, the star no slash. */
static bool glob_has(const Pattern *pt, const char *path, size_t len)
{
    size_t nlead = pt->glob.nlead, ntail = pt->glob.ntail;

    if (len < nlead + ntail || memcmp(path + len - ntail, pt->glob.tail, ntail) != 0 ||
        memcmp(path, pt->text, nlead) != 0)
        return false;
    const char *middle = path + nlead;
    const char *slash = memrchr(middle, '/', len - nlead - ntail);
    return !slash || (pt->glob.dirs && !memchr(middle, '\n', (size_t)(slash - middle)));
}

static char *without(Arena *a, const char *text, const char *suffix)
{
    return arena_strndup(a, text, strlen(text) - (str_ends(text, suffix) ? strlen(suffix) : 0));
}

bool pattern_compile(Arena *a, const char *text, Pattern *ret)
{
    PatternKind kind = pattern_kind(text);
    bool ignored;

    /* Moby asks Go's filepath.Match for an opinion; it is stricter than the expression. */
    if (!glob_match(text, ".", &ignored))
        return false;
    scoped(buf) Buf re = BUF_INIT;
    if (kind == PATTERN_REGEX) {
        write_regex(text, &re);
        if (!regex_compile(a, buf_str(&re), &ret->re))
            return false;
        if (split_glob(text, ret))
            kind = PATTERN_GLOB;
    }
    ret->kind = kind;
    ret->text = kind == PATTERN_SUFFIX ? text + 2 : text;
    ret->len = strlen(ret->text) - (kind == PATTERN_PREFIX ? 2 : 0);
    ret->stem = without(a, without(a, text, "/**"), "/*");
    ret->plain = !strpbrk(ret->stem, "*[]?^\\");
    return true;
}

bool pattern_has(const Pattern *pt, const char *path, size_t len)
{
    switch (pt->kind) {
    case PATTERN_EXACT:
        return len == pt->len && !memcmp(path, pt->text, len);
    case PATTERN_PREFIX:
        return starts_with(path, len, pt->text, pt->len);
    case PATTERN_SUFFIX:
        return ends_with(path, len, pt->text, pt->len) ||
               (pt->text[0] == '/' && len + 1 == pt->len && !memcmp(path, pt->text + 1, len));
    case PATTERN_GLOB:
        return glob_has(pt, path, len);
    case PATTERN_REGEX:
        return regex_matches(&pt->re, path, len);
    }
    return false;
}

bool pattern_may_continue(const Pattern *pt, const char *stem, size_t len)
{
    switch (pt->kind) {
    case PATTERN_EXACT:
        return pt->len > len && starts_with(pt->text, pt->len, stem, len);
    case PATTERN_PREFIX:
        return starts_with(pt->text, pt->len, stem, len) ||
               starts_with(stem, len, pt->text, pt->len);
    case PATTERN_SUFFIX:
        return true;
    case PATTERN_GLOB:
    case PATTERN_REGEX:
        return regex_may_continue(&pt->re, stem, len);
    }
    return true;
}

bool pattern_covers(const Pattern *pt, const char *path)
{
    for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/'))
        if (pattern_has(pt, path, (size_t)(p - path)))
            return true;
    return pattern_has(pt, path, strlen(path));
}
