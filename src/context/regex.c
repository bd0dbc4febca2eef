/*
 * context/regex.c - turn regular expressions into lists of items, and run them on a text.
 *
 * A run keeps the set of items it may stand at, so nothing is ever tried twice.
 */
#include "context/regex.h"

#include <assert.h>
#include <string.h>

#include "base/str.h"

enum {
    REPEAT_MAX = 1000,   /* of a{n}; Go's regexp has the same limit */
    ITEM_MAX = 32 << 10, /* of one pattern */
    SET_WORDS = ITEM_MAX / 64,
    RUNE_LAST = 0x10FFFF,
};

/* ---- compile ---- */

static const RuneRange NEWLINE[] = {{'\n', '\n'}};

/* Classes by name: \d \s \w, and what stands in [:name:]. */
static const struct NamedClass {
    const char *name;
    RuneRange v[4];
    uint32_t n;
} NAMED_CLASSES[] = {
    {"d", {{'0', '9'}}, 1},
    {"s", {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}}, 3},
    {"w", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}, 4},
    {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, 3},
    {"alpha", {{'A', 'Z'}, {'a', 'z'}}, 2},
    {"ascii", {{0, 0x7F}}, 1},
    {"blank", {{'\t', '\t'}, {' ', ' '}}, 2},
    {"cntrl", {{0, 0x1F}, {0x7F, 0x7F}}, 2},
    {"digit", {{'0', '9'}}, 1},
    {"graph", {{'!', '~'}}, 1},
    {"lower", {{'a', 'z'}}, 1},
    {"print", {{' ', '~'}}, 1},
    {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}, 4},
    {"space", {{'\t', '\r'}, {' ', ' '}}, 2},
    {"upper", {{'A', 'Z'}}, 1},
    {"word", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}, 4},
    {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}, 3},
};

/* One letter after a backslash that stands for another character. */
static const char ESCAPED[] = "afnrtv", UNESCAPED[] = "\a\f\n\r\t\v";

/* What the item that was read last allows a repetition operator to do. */
typedef enum Repeatable { REPEAT_NOTHING, REPEAT_ITEM, REPEAT_AGAIN } Repeatable;

typedef struct Compiler {
    Arena *a;
    const char *p; /* what is left of the text */
    Regex *re;
    Repeatable last;
} Compiler;

typedef struct RangeList {
    RuneRange *v;
    size_t n, cap;
} RangeList;

static bool is_one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

static bool add_item(Compiler *c, Item it)
{
    if (c->re->nitem == ITEM_MAX)
        return false;
    *ARENA_PUSH(c->a, c->re->items, c->re->nitem, c->re->item_cap) = it;
    c->last = REPEAT_ITEM;
    return true;
}

static bool add_plain(Compiler *c, ItemKind kind)
{
    return add_item(c, (Item){.kind = kind});
}

static bool add_rune(Compiler *c, uint32_t rune)
{
    RuneRange *r = NEW(c->a, RuneRange);
    *r = (RuneRange){rune, rune};
    return add_item(c, (Item){.kind = ITEM_ONE, .ranges = r, .nrange = 1});
}

static void start_alternative(Compiler *c)
{
    *ARENA_PUSH(c->a, c->re->starts, c->re->nstart, c->re->start_cap) = (uint32_t)c->re->nitem;
    c->last = REPEAT_NOTHING;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* \x41 and \x{263A}, from behind the x. */
static bool read_hex(Compiler *c, uint32_t *ret_rune)
{
    bool braces = *c->p == '{';
    uint32_t rune = 0;
    size_t n = 0;

    c->p += braces;
    for (; digit_value(*c->p) < 16 && rune <= RUNE_LAST && (braces || n < 2); n++)
        rune = rune * 16 + (uint32_t)digit_value(*c->p++);
    *ret_rune = rune;
    if (!braces)
        return n == 2;
    return n > 0 && rune <= RUNE_LAST && *c->p++ == '}';
}

/* \0, \12, \123; what could be a back reference is none of them. */
static bool read_octal(Compiler *c, uint32_t *ret_rune)
{
    uint32_t rune = 0;

    if (c->p[0] != '0' && digit_value(c->p[1]) > 7)
        return false;
    for (size_t n = 0; n < 3 && digit_value(*c->p) < 8; n++)
        rune = rune * 8 + (uint32_t)digit_value(*c->p++);
    *ret_rune = rune;
    return true;
}

/* A backslash's character, from behind it. Letters and digits without a meaning are mistakes. */
static bool read_escape(Compiler *c, uint32_t *ret_rune)
{
    char k = *c->p;

    if (k >= '0' && k <= '7')
        return read_octal(c, ret_rune);
    if (!k || k & 0x80 || k == '8' || k == '9')
        return false;
    c->p++;
    if (k == 'x')
        return read_hex(c, ret_rune);
    if (is_one_of(k, ESCAPED))
        k = UNESCAPED[strchr(ESCAPED, k) - ESCAPED];
    else if ((k | 0x20) >= 'a' && (k | 0x20) <= 'z')
        return false;
    *ret_rune = (uint32_t)k;
    return true;
}

static const struct NamedClass *find_class(const char *name, size_t len)
{
    for (size_t i = 0; i < NELEM(NAMED_CLASSES); i++)
        if (str_eq((Str){name, len}, NAMED_CLASSES[i].name))
            return &NAMED_CLASSES[i];
    return NULL;
}

/* \d \s \w, and \D \S \W for the rest, from the letter. NULL for other letters. */
static const struct NamedClass *letter_class(char letter, bool *ret_negated)
{
    char lower = (char)(letter | 0x20);

    if (!is_one_of(lower, "dsw"))
        return NULL;
    *ret_negated = letter != lower;
    return find_class(&lower, 1);
}

static void add_range(Arena *a, RangeList *l, uint32_t lo, uint32_t hi)
{
    if (lo <= hi)
        *ARENA_PUSH(a, l->v, l->n, l->cap) = (RuneRange){lo, hi};
}

/* Add a named class, or the gaps between its ranges. */
static void add_named(Arena *a, RangeList *l, const struct NamedClass *k, bool negated)
{
    uint32_t gap = 0;

    for (uint32_t i = 0; i < k->n; i++) {
        if (!negated)
            add_range(a, l, k->v[i].lo, k->v[i].hi);
        else if (k->v[i].lo > gap)
            add_range(a, l, gap, k->v[i].lo - 1);
        gap = k->v[i].hi + 1;
    }
    if (negated)
        add_range(a, l, gap, RUNE_LAST);
}

static bool class_rune(Compiler *c, uint32_t *ret_rune)
{
    if (*c->p == '\\') {
        c->p++;
        return read_escape(c, ret_rune);
    }
    size_t size = utf8_rune(c->p, ret_rune);
    c->p += size;
    return size > 0;
}

/* One element of a class: [:name:], \d, a rune or a range. */
static bool class_element(Compiler *c, RangeList *l)
{
    const char *end = str_starts(c->p, "[:") ? strstr(c->p + 2, ":]") : NULL;
    const struct NamedClass *k = NULL;
    bool negated = false;
    uint32_t lo, hi;

    if (end) {
        negated = c->p[2] == '^';
        const char *name = c->p + 2 + negated;
        size_t len = end > name ? (size_t)(end - name) : 0;
        k = len > 1 ? find_class(name, len) : NULL;
        c->p = end + 2;
        if (!k)
            return false;
    } else if (*c->p == '\\') {
        k = letter_class(c->p[1], &negated);
        c->p += k ? 2 : 0;
    }
    if (k) {
        add_named(c->a, l, k, negated);
        return true;
    }

    if (!class_rune(c, &lo))
        return false;
    hi = lo;
    if (c->p[0] == '-' && c->p[1] != ']') {
        c->p++;
        if (!class_rune(c, &hi))
            return false;
    }
    add_range(c->a, l, lo, hi);
    return lo <= hi;
}

/* "[...]" from behind the '['. A ']' that comes first is an element. */
static bool read_class(Compiler *c)
{
    RangeList l = {0};
    bool negated = *c->p == '^';

    c->p += negated;
    do {
        if (!class_element(c, &l))
            return false;
    } while (*c->p != ']');
    c->p++;
    Item it = {.kind = ITEM_ONE, .negated = negated, .ranges = l.v, .nrange = (uint32_t)l.n};
    return add_item(c, it);
}

/* A backslash outside a class, from behind it. */
static bool read_backslash(Compiler *c)
{
    static const char EDGES[] = "AzbB";
    static const ItemKind EDGE_KINDS[] = {ITEM_BEGIN, ITEM_END, ITEM_EDGE, ITEM_NO_EDGE};
    bool negated;
    uint32_t rune;

    const struct NamedClass *k = letter_class(*c->p, &negated);
    if (k) {
        RangeList l = {0};
        c->p++;
        add_named(c->a, &l, k, negated);
        return add_item(c, (Item){.kind = ITEM_ONE, .ranges = l.v, .nrange = (uint32_t)l.n});
    }
    if (is_one_of(*c->p, EDGES))
        return add_plain(c, EDGE_KINDS[strchr(EDGES, *c->p++) - EDGES]);
    if (*c->p != 'Q')
        return read_escape(c, &rune) && add_rune(c, rune);
    for (c->p++; *c->p && !str_starts(c->p, "\\E");) {
        c->p += utf8_rune(c->p, &rune);
        if (!add_rune(c, rune))
            return false;
    }
    c->p += *c->p ? 2 : 0;
    return true;
}

/* Replace the last item by `min` to `max` of it; `max` < 0 is without end. */
static bool repeat(Compiler *c, int min, int max)
{
    if (c->last != REPEAT_ITEM)
        return false;
    Item it = c->re->items[--c->re->nitem];
    if (it.kind != ITEM_ONE) {
        /* Places, not runes: there or, with a minimum of 0, not asked for. */
        if (min > 0 && !add_item(c, it))
            return false;
        min = max = 0;
    }
    for (int i = 0; i < min; i++)
        if (!add_item(c, it))
            return false;
    it.kind = max < 0 ? ITEM_MANY : ITEM_OPT;
    for (int i = min; i < (max < 0 ? min + 1 : max); i++)
        if (!add_item(c, it))
            return false;
    c->last = REPEAT_AGAIN;
    return true;
}

/* A count of {n,m}: false when there is none; too large a one comes back as REPEAT_MAX + 1. */
static bool read_count(const char **p, int *ret)
{
    int n = 0;

    if (digit_value(**p) > 9 || (**p == '0' && digit_value((*p)[1]) <= 9))
        return false;
    for (; digit_value(**p) <= 9; ++*p)
        n = n > REPEAT_MAX ? n : n * 10 + digit_value(**p);
    *ret = n > REPEAT_MAX ? REPEAT_MAX + 1 : n;
    return true;
}

/* {n}, {n,}, {n,m} from the brace; anything else is just a brace. */
static bool read_repeat(Compiler *c)
{
    const char *p = c->p + 1;
    int min, max;

    bool is_repeat = read_count(&p, &min);
    max = min = is_repeat ? min : 0;
    if (is_repeat && *p == ',') {
        p++;
        if (*p == '}')
            max = -1;
        else
            is_repeat = read_count(&p, &max);
    }
    if (!is_repeat || *p != '}') {
        c->p++;
        return add_rune(c, '{');
    }
    c->p = p + 1;
    if (min > REPEAT_MAX || max > REPEAT_MAX || (max >= 0 && max < min))
        return false;
    return repeat(c, min, max);
}

/* What a `**` inside becomes is the only group there is: parentheses of the user's are escaped. */
static bool read_dirs(Compiler *c)
{
    static const char GROUP[] = "(.*/)?";

    assert(str_starts(c->p, GROUP));
    c->p += strlen(GROUP);
    if (!add_plain(c, ITEM_DIRS) || !add_plain(c, ITEM_DIRS_TAIL))
        return false;
    c->last = REPEAT_AGAIN;
    return true;
}

static bool read_item(Compiler *c)
{
    uint32_t rune;

    switch (*c->p) {
    case '{':
        return read_repeat(c);
    case '(':
        return read_dirs(c);
    case '[':
        c->p++;
        return read_class(c);
    case '\\':
        c->p++;
        return read_backslash(c);
    case '*':
        c->p++;
        return repeat(c, 0, -1);
    case '^':
        c->p++;
        return add_plain(c, ITEM_BEGIN);
    case '$':
        c->p++;
        return add_plain(c, ITEM_END);
    case '.':
        c->p++;
        return add_item(c, (Item){.negated = true, .ranges = NEWLINE, .nrange = 1});
    case '|':
        c->p++;
        if (!add_plain(c, ITEM_MATCH))
            return false;
        start_alternative(c);
        return true;
    default:
        c->p += utf8_rune(c->p, &rune);
        return add_rune(c, rune);
    }
}

/* The ASCII that one run of single runes stands for, walking by `step` from item `i`. */
static size_t literal_run(const Regex *re, size_t i, int step, char *out)
{
    size_t n = 0;
    for (;; i += (size_t)step) {
        const Item *it = &re->items[i];
        bool literal = it->kind == ITEM_ONE && !it->negated && it->nrange == 1 &&
                       it->ranges->lo == it->ranges->hi && it->ranges->lo < 0x80;
        if (!literal)
            return n;
        out[n++] = (char)it->ranges->lo;
    }
}

/* Find the fixed ends: most paths fail there, for the price of a memcmp. */
static void find_ends(Arena *a, Regex *re)
{
    size_t last = re->nitem - 1; /* the ITEM_MATCH */

    re->floating = re->nstart > 1 || re->items[0].kind != ITEM_BEGIN;
    re->lead = re->tail = "";
    if (re->floating || re->items[last - 1].kind != ITEM_END)
        return;
    char *lead = arena_alloc(a, re->nitem), *back = arena_alloc(a, re->nitem);
    re->nlead = literal_run(re, 1, 1, lead);
    re->ntail = literal_run(re, last - 2, -1, back);
    for (size_t i = 0; i < re->ntail / 2; i++) {
        char c = back[i];
        back[i] = back[re->ntail - 1 - i];
        back[re->ntail - 1 - i] = c;
    }
    re->lead = lead;
    re->tail = back;
}

bool regex_compile(Arena *a, const char *text, Regex *ret)
{
    Regex re = {0};
    Compiler c = {.a = a, .p = text, .re = &re};

    start_alternative(&c);
    while (*c.p)
        if (!read_item(&c))
            return false;
    if (!add_plain(&c, ITEM_MATCH))
        return false;
    find_ends(a, &re);
    *ret = re;
    return true;
}

/* ---- run ---- */

typedef struct Run {
    const Regex *re;
    const char *text;
    size_t len, at;
    bool more;  /* the text goes on in a way that is not known */
    bool alive; /* some item waits for a rune */
    bool hit;
} Run;

bool runes_have(const RuneRange *ranges, size_t n, uint32_t rune)
{
    for (size_t i = 0; i < n; i++)
        if (rune >= ranges[i].lo && rune <= ranges[i].hi)
            return true;
    return false;
}

static bool item_has(const Item *it, uint32_t rune)
{
    return runes_have(it->ranges, it->nrange, rune) != it->negated;
}

static bool is_word(const Run *r, size_t at)
{
    const struct NamedClass *word = &NAMED_CLASSES[2];
    return at < r->len && runes_have(word->v, word->n, (unsigned char)r->text[at]);
}

static bool at_word_edge(const Run *r)
{
    return is_word(r, r->at) != (r->at > 0 && is_word(r, r->at - 1));
}

/* Put an item into the set, and all that are reachable from it without a rune. */
static void enter(Run *r, uint64_t *set, size_t i)
{
    for (;; i++) {
        if (set[i / 64] >> i % 64 & 1)
            return;
        set[i / 64] |= UINT64_C(1) << i % 64;
        switch (r->re->items[i].kind) {
        case ITEM_ONE:
        case ITEM_DIRS_TAIL:
            r->alive = true;
            return;
        case ITEM_OPT:
        case ITEM_MANY:
            r->alive = true;
            break;
        case ITEM_DIRS:
            enter(r, set, ++i);
            break;
        case ITEM_BEGIN:
            if (r->at > 0)
                return;
            break;
        case ITEM_END:
            if (r->more || r->at < r->len)
                return;
            break;
        case ITEM_EDGE:
        case ITEM_NO_EDGE:
            if (r->more && r->at == r->len)
                r->alive = true; /* depends on what follows */
            if (at_word_edge(r) != (r->re->items[i].kind == ITEM_EDGE))
                return;
            break;
        case ITEM_MATCH:
            r->hit = true;
            return;
        }
    }
}

/* From an item of the set over one rune. */
static void step(Run *r, uint64_t *next, size_t i, uint32_t rune)
{
    const Item *it = &r->re->items[i];

    switch (it->kind) {
    case ITEM_ONE:
    case ITEM_OPT:
        if (item_has(it, rune))
            enter(r, next, i + 1);
        return;
    case ITEM_MANY:
        if (item_has(it, rune))
            enter(r, next, i);
        return;
    case ITEM_DIRS_TAIL:
        if (rune != '\n')
            enter(r, next, i);
        if (rune == '/')
            enter(r, next, i + 1);
        return;
    case ITEM_DIRS:
    case ITEM_BEGIN:
    case ITEM_END:
    case ITEM_EDGE:
    case ITEM_NO_EDGE:
    case ITEM_MATCH:
        return;
    }
}

/* Does the expression match the text, or (`more`) can it match some text that starts with it? */
static bool run(const Regex *re, const char *text, size_t len, bool more)
{
    uint64_t sets[2][SET_WORDS];
    uint64_t *now = sets[0], *next = sets[1];
    size_t nword = (re->nitem + 63) / 64;
    Run r = {.re = re, .text = text, .len = len, .more = more};

    memset(now, 0, nword * sizeof *now);
    for (;;) {
        for (size_t i = 0; i < re->nstart && (re->floating || r.at == 0); i++)
            enter(&r, now, re->starts[i]);
        if (r.hit || r.at == len)
            return r.hit || (more && (r.alive || re->floating));
        if (!r.alive && !re->floating)
            return false;

        uint32_t rune;
        r.at += utf8_rune(text + r.at, &rune);
        r.alive = false;
        memset(next, 0, nword * sizeof *next);
        for (size_t w = 0; w < nword; w++)
            for (uint64_t bits = now[w]; bits; bits &= bits - 1)
                step(&r, next, w * 64 + (size_t)__builtin_ctzll(bits), rune);
        uint64_t *swap = now;
        now = next;
        next = swap;
    }
}

bool regex_matches(const Regex *re, const char *text, size_t len)
{
    return len >= re->nlead && !memcmp(text, re->lead, re->nlead) && len >= re->ntail &&
           !memcmp(text + len - re->ntail, re->tail, re->ntail) && run(re, text, len, false);
}

bool regex_may_continue(const Regex *re, const char *text, size_t len)
{
    return run(re, text, len, true);
}
