/*
 * context/regex.h - the regular expressions that ignore patterns become. Private to context/.
 *
 * In: the text of an expression. Out: a list of items, and whether it matches a text; one pass
 * over the text whatever the expression, in time proportional to the two lengths multiplied.
 *
 * The syntax and its meaning are those of Go's regexp, as far as pattern.c writes it: `^ $ . | *`,
 * [...], {n,m} and backslashes, without \p{...}. The one group is what a `**` inside becomes, any
 * directories or none; other parentheses, `+` and `?` come escaped. A byte of a text that is not
 * UTF-8 counts as RUNE_BAD.
 *
 * Used by: pattern, ignore (RuneRange).
 */
#ifndef CONTEXT_REGEX_H
#define CONTEXT_REGEX_H

#include "base/arena.h"
#include "base/defs.h"

typedef struct RuneRange {
    uint32_t lo, hi;
} RuneRange;

/* Items follow each other; "skip" below means that the next item is reachable without a rune. */
typedef enum ItemKind {
    ITEM_ONE,       /* one rune of the set */
    ITEM_OPT,       /* one or skip */
    ITEM_MANY,      /* any number, or skip */
    ITEM_DIRS,      /* a `**` inside: into the ITEM_DIRS_TAIL behind, or past it */
    ITEM_DIRS_TAIL, /* anything, and on after each '/' */
    ITEM_BEGIN,     /* skip at the start of the path */
    ITEM_END,       /* skip at its end */
    ITEM_EDGE,      /* skip where a word starts or ends */
    ITEM_NO_EDGE,   /* skip elsewhere */
    ITEM_MATCH,     /* the end of an alternative */
} ItemKind;

typedef struct Item {
    ItemKind kind;
    bool negated;
    uint32_t nrange;
    const RuneRange *ranges;
} Item;

/* A compiled regular expression; its alternatives stand one behind the other. */
typedef struct Regex {
    Item *items;
    size_t nitem, item_cap;
    uint32_t *starts; /* where alternatives begin */
    size_t nstart, start_cap;
    bool floating;    /* may start to match anywhere in a path */
    const char *lead; /* ASCII every match starts with */
    const char *tail; /* and ends with */
    size_t nlead, ntail;
} Regex;

/* runes_have - is a rune in one of `n` ranges? */
bool runes_have(const RuneRange *ranges, size_t n, uint32_t rune);

/*
 * regex_compile - turn the text of an expression into items.
 *
 *   ret  set on success, in the arena; keeps nothing of `text`
 *
 * False, with ret untouched, when the text is malformed, repeats more than 1000 times or needs more
 * than 32 Ki items. The caller promises that the group above is the only one.
 * Source: Go's regexp/syntax.
 */
NODISCARD bool regex_compile(Arena *a, const char *text, Regex *ret);

/* regex_matches - does the expression match `len` bytes of text, with a NUL or ASCII behind? */
bool regex_matches(const Regex *re, const char *text, size_t len);
/* regex_may_continue - can it match some text that starts with these `len` bytes? */
bool regex_may_continue(const Regex *re, const char *text, size_t len);

#endif
