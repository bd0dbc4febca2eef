/*
 * registry/toml.c - a strict reader, one pass, line by line.
 */
#include "registry/toml.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

enum {
    DEPTH_MAX = 32,
    KEY_PARTS_MAX = 32,
    TABLES_MAX = 4096, /* what is known of tables is looked up in a list */
};

/* How a table or an array came to be, which says what may be added to it. */
typedef enum How {
    HOW_IMPLIED,  /* by a name behind it: a header may still define it */
    HOW_DOTTED,   /* by a dotted key */
    HOW_HEADER,   /* [name] */
    HOW_ELEMENTS, /* [[name]]: an array */
} How;

typedef struct Known {
    const json_t *value;
    How how;
} Known;

typedef struct Toml {
    const char *p, *end;
    unsigned line;
    json_t *root, *table; /* `table`: where keys go now */
    Arena arena;
    Known *known; /* what is not here is closed: an inline table or array */
    size_t nknown, known_cap;
    Err *e;
} Toml;

/* A dotted key. */
typedef struct Key {
    char *parts[KEY_PARTS_MAX];
    size_t n;
} Key;

static bool wrong(Toml *t, const char *what)
{
    return err_set(t->e, ERR_USAGE, "line %u: %s", t->line, what);
}

static int peek(const Toml *t)
{
    return t->p < t->end ? (unsigned char)*t->p : -1;
}

static bool looking_at(const Toml *t, const char *s)
{
    size_t n = strlen(s);
    return (size_t)(t->end - t->p) >= n && !memcmp(t->p, s, n);
}

static void skip_blanks(Toml *t)
{
    while (peek(t) == ' ' || peek(t) == '\t')
        t->p++;
}

static bool at_newline(const Toml *t)
{
    return peek(t) == '\n' || looking_at(t, "\r\n");
}

static void take_newline(Toml *t)
{
    t->p += peek(t) == '\r' ? 2 : 1;
    t->line++;
}

static bool skip_comment(Toml *t)
{
    if (peek(t) != '#')
        return true;
    for (; t->p < t->end && !at_newline(t); t->p++)
        if ((peek(t) < ' ' && peek(t) != '\t') || peek(t) == 0x7f)
            return wrong(t, "a control character");
    return true;
}

/* What may end a line: blanks, a comment, a line feed or the file's end. */
static bool end_line(Toml *t)
{
    skip_blanks(t);
    if (!skip_comment(t))
        return false;
    if (t->p == t->end)
        return true;
    if (!at_newline(t))
        return wrong(t, "more than one thing on the line");
    take_newline(t);
    return true;
}

/* Between the elements of an array lines may end anywhere. */
static bool skip_space(Toml *t)
{
    for (;;) {
        skip_blanks(t);
        if (!skip_comment(t))
            return false;
        if (!at_newline(t))
            return true;
        take_newline(t);
    }
}

/* ---- strings ---- */

static void put_utf8(Buf *b, uint32_t c)
{
    if (c < 0x80) {
        buf_putc(b, (char)c);
    } else if (c < 0x800) {
        buf_putc(b, (char)(0xc0 | c >> 6));
        buf_putc(b, (char)(0x80 | (c & 63)));
    } else if (c < 0x10000) {
        buf_putc(b, (char)(0xe0 | c >> 12));
        buf_putc(b, (char)(0x80 | (c >> 6 & 63)));
        buf_putc(b, (char)(0x80 | (c & 63)));
    } else {
        buf_putc(b, (char)(0xf0 | c >> 18));
        buf_putc(b, (char)(0x80 | (c >> 12 & 63)));
        buf_putc(b, (char)(0x80 | (c >> 6 & 63)));
        buf_putc(b, (char)(0x80 | (c & 63)));
    }
}

static bool unicode(Toml *t, size_t ndigit, Buf *out)
{
    uint32_t c = 0;
    for (size_t i = 0; i < ndigit; i++, t->p++) {
        int d = peek(t);
        if (d < 0 || !isxdigit(d))
            return wrong(t, "a \\u escape wants 4, and \\U 8 hex digits");
        c = c << 4 | (uint32_t)(isdigit(d) ? d - '0' : tolower(d) - 'a' + 10);
    }
    if (!c || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return wrong(t, "an escape that is no character");
    put_utf8(out, c);
    return true;
}

/* Behind a backslash. */
static bool escape(Toml *t, bool lines, Buf *out)
{
    static const char FROM[] = "btnfre\"\\", TO[] = "\b\t\n\f\r\033\"\\";
    int c = peek(t);
    const char *at = c > 0 ? strchr(FROM, c) : NULL;
    if (at && c != 'e') {
        buf_putc(out, TO[at - FROM]);
        t->p++;
        return true;
    }
    if (c == 'u' || c == 'U') {
        t->p++;
        return unicode(t, c == 'u' ? 4 : 8, out);
    }
    if (lines) { /* the line goes on behind the white space that follows */
        skip_blanks(t);
        if (at_newline(t)) {
            while (peek(t) == ' ' || peek(t) == '\t' || at_newline(t)) {
                if (at_newline(t))
                    take_newline(t);
                else
                    t->p++;
            }
            return true;
        }
    }
    return wrong(t, "an unknown escape");
}

/* A string from its quote on; `lines`: three quotes, over several lines. */
static bool string_body(Toml *t, char quote, bool lines, Buf *out)
{
    const char three[] = {quote, quote, quote, 0};
    if (lines && at_newline(t))
        take_newline(t);
    for (;;) {
        int c = peek(t);
        if (c < 0 || (at_newline(t) && !lines))
            return wrong(t, "a string without an end");
        if (at_newline(t)) {
            buf_putc(out, '\n');
            take_newline(t);
        } else if (c == quote && !lines) {
            t->p++;
            return true;
        } else if (lines && looking_at(t, three)) {
            t->p += 3;
            for (int i = 0; i < 2 && peek(t) == quote; i++, t->p++) /* quotes before the end */
                buf_putc(out, quote);
            return true;
        } else if (c == '\\' && quote == '"') {
            t->p++;
            if (!escape(t, lines, out))
                return false;
        } else if ((c < ' ' && c != '\t') || c == 0x7f) {
            return wrong(t, "a control character in a string");
        } else {
            buf_putc(out, (char)c);
            t->p++;
        }
    }
}

static bool string(Toml *t, bool may_have_lines, Buf *out)
{
    char quote = *t->p;
    const char three[] = {quote, quote, quote, 0};
    bool lines = may_have_lines && looking_at(t, three);
    t->p += lines ? 3 : 1;
    return string_body(t, quote, lines, out);
}

/* ---- keys ---- */

static bool is_bare(int c)
{
    return c > 0 && (isalnum(c) || c == '_' || c == '-');
}

static bool key_part(Toml *t, char **ret)
{
    scoped(buf) Buf b = BUF_INIT;
    if (peek(t) == '"' || peek(t) == '\'') {
        if (!string(t, false, &b))
            return false;
    } else {
        if (!is_bare(peek(t)))
            return wrong(t, "a name is expected");
        for (; is_bare(peek(t)); t->p++)
            buf_putc(&b, *t->p);
    }
    *ret = arena_strndup(&t->arena, buf_str(&b), b.len);
    return true;
}

static bool key(Toml *t, Key *ret)
{
    ret->n = 0;
    for (;;) {
        skip_blanks(t);
        if (ret->n == KEY_PARTS_MAX)
            return wrong(t, "a name of too many parts");
        if (!key_part(t, &ret->parts[ret->n++]))
            return false;
        skip_blanks(t);
        if (peek(t) != '.')
            return true;
        t->p++;
    }
}

/* ---- tables ---- */

static Known *known(Toml *t, const json_t *value)
{
    for (size_t i = t->nknown; i-- > 0;)
        if (t->known[i].value == value)
            return &t->known[i];
    return NULL;
}

static bool know(Toml *t, const json_t *value, How how)
{
    if (t->nknown == TABLES_MAX)
        return wrong(t, "too many tables");
    *ARENA_PUSH(&t->arena, t->known, t->nknown, t->known_cap) = (Known){value, how};
    return true;
}

/* Put a new value (taken) under a name that is not there yet. */
static bool put(Toml *t, json_t *table, const char *name, json_t *value)
{
    if (json_object_set_new(table, name, value) == 0)
        return true;
    return wrong(t, "a name that is no UTF-8");
}

/* The table below `at` with this name; made as `how` if it is not there. */
static bool go_into(Toml *t, json_t **at, const char *name, How how)
{
    json_t *next = json_object_get(*at, name);
    if (!next) {
        next = json_object();
        if (!put(t, *at, name, next) || !know(t, next, how))
            return false;
    }
    const Known *k = known(t, next);
    if (k && k->how == HOW_ELEMENTS && how == HOW_IMPLIED) {
        next = json_array_get(next, json_array_size(next) - 1);
        k = known(t, next);
    }
    if (!k || !json_is_object(next) || (how == HOW_DOTTED && k->how == HOW_HEADER))
        return err_set(t->e, ERR_USAGE, "line %u: '%s' is no table that could be added to", t->line,
                       name);
    *at = next;
    return true;
}

static bool twice(Toml *t, const char *name)
{
    return err_set(t->e, ERR_USAGE, "line %u: '%s' is there already", t->line, name);
}

static bool open_table(Toml *t, json_t *at, const char *name)
{
    json_t *table = json_object_get(at, name);
    if (!table) {
        table = json_object();
        if (!put(t, at, name, table) || !know(t, table, HOW_HEADER))
            return false;
    } else {
        Known *k = known(t, table);
        if (!k || k->how != HOW_IMPLIED)
            return twice(t, name);
        k->how = HOW_HEADER;
    }
    t->table = table;
    return true;
}

static bool open_element(Toml *t, json_t *at, const char *name)
{
    json_t *list = json_object_get(at, name);
    if (!list) {
        list = json_array();
        if (!put(t, at, name, list) || !know(t, list, HOW_ELEMENTS))
            return false;
    }
    const Known *k = known(t, list);
    if (!k || k->how != HOW_ELEMENTS)
        return twice(t, name);
    t->table = json_object();
    json_array_append_new(list, t->table);
    return know(t, t->table, HOW_HEADER);
}

/* [name] or [[name]], from its bracket on. */
static bool header(Toml *t)
{
    Key k;
    json_t *at = t->root;
    bool elements = looking_at(t, "[[");
    t->p += elements ? 2 : 1;
    if (!key(t, &k))
        return false;
    if (!looking_at(t, elements ? "]]" : "]"))
        return wrong(t, elements ? "']]' is expected" : "']' is expected");
    t->p += elements ? 2 : 1;
    for (size_t i = 0; i + 1 < k.n; i++)
        if (!go_into(t, &at, k.parts[i], HOW_IMPLIED))
            return false;
    return elements ? open_element(t, at, k.parts[k.n - 1]) : open_table(t, at, k.parts[k.n - 1]);
}

/* ---- values ---- */

static bool value(Toml *t, unsigned depth, json_t **ret);

static bool assign(Toml *t, json_t *table, unsigned depth)
{
    Key k;
    json_t *v;
    if (!key(t, &k))
        return false;
    if (peek(t) != '=')
        return wrong(t, "'=' is expected");
    t->p++;
    skip_blanks(t);
    for (size_t i = 0; i + 1 < k.n; i++)
        if (!go_into(t, &table, k.parts[i], HOW_DOTTED))
            return false;
    const char *name = k.parts[k.n - 1];
    if (json_object_get(table, name))
        return twice(t, name);
    return value(t, depth, &v) && put(t, table, name, v);
}

static bool elements(Toml *t, unsigned depth, json_t *list)
{
    t->p++;
    for (;;) {
        json_t *v;
        if (!skip_space(t))
            return false;
        if (peek(t) == ']')
            break;
        if (!value(t, depth + 1, &v))
            return false;
        json_array_append_new(list, v);
        if (!skip_space(t))
            return false;
        if (peek(t) == ']')
            break;
        if (peek(t) != ',')
            return wrong(t, "',' or ']' is expected");
        t->p++;
    }
    t->p++;
    return true;
}

static bool members(Toml *t, unsigned depth, json_t *table)
{
    size_t before = t->nknown;
    if (!know(t, table, HOW_DOTTED))
        return false;
    t->p++;
    skip_blanks(t);
    for (bool first = true; first ? peek(t) != '}' : true; first = false) {
        if (!assign(t, table, depth + 1))
            return false;
        skip_blanks(t);
        if (peek(t) == '}')
            break;
        if (peek(t) != ',')
            return wrong(t, "',' or '}' is expected");
        t->p++;
    }
    t->p++;
    t->nknown = before; /* it is closed, and so are the tables that dotted keys made in it */
    return true;
}

static bool number(Toml *t, const char *text, size_t n, json_t **ret)
{
    char digits[40];
    size_t len = 0;
    char *end;
    bool whole = true, fits = true;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '_' && i && isalnum((unsigned char)text[i - 1]) && i + 1 < n &&
            isalnum((unsigned char)text[i + 1]))
            continue;
        if (len + 1 >= sizeof digits)
            fits = false;
        else
            digits[len++] = text[i];
    }
    digits[len] = 0;
    const char *body = digits + (digits[0] == '+' || digits[0] == '-');
    int base = str_starts(body, "0x")   ? 16
               : str_starts(body, "0o") ? 8
               : str_starts(body, "0b") ? 2
                                        : 10;
    if (base != 10)
        body += 2;
    whole = fits && isxdigit((unsigned char)*body);
    errno = 0;
    long long v = whole ? strtoll(body, &end, base) : 0;
    whole = whole && !*end && !errno;
    if (base != 10 && (!whole || digits[0] == '-' || digits[0] == '+'))
        return wrong(t, "no number");
    if (!whole) { /* a float, a date or a time */
        *ret = json_stringn(text, n);
        return true;
    }
    *ret = json_integer(digits[0] == '-' ? -v : v);
    return true;
}

static bool word(Toml *t, json_t **ret)
{
    const char *start = t->p;
    while (peek(t) > 0 && (isalnum(peek(t)) || strchr("_+.:-", peek(t))))
        t->p++;
    size_t n = (size_t)(t->p - start);
    Str w = {start, n};
    size_t sign = n && (*start == '+' || *start == '-');
    if (str_eq(w, "true") || str_eq(w, "false")) {
        *ret = json_boolean(*start == 't');
        return true;
    }
    if (n > sign && isdigit((unsigned char)start[sign]))
        return number(t, start, n, ret);
    w = (Str){start + sign, n - sign};
    if (str_eq(w, "inf") || str_eq(w, "nan")) {
        *ret = json_stringn(start, n);
        return true;
    }
    return wrong(t, "a value is expected: a string in quotes, a number, true, false, [ or {");
}

static bool value(Toml *t, unsigned depth, json_t **ret)
{
    scoped(buf) Buf b = BUF_INIT;
    scoped(json) json_t *nested = NULL;
    if (depth > DEPTH_MAX)
        return wrong(t, "nested too deep");
    switch (peek(t)) {
    case '"':
    case '\'':
        if (!string(t, true, &b))
            return false;
        *ret = json_stringn(buf_str(&b), b.len);
        return *ret || wrong(t, "a string that is no UTF-8");
    case '[':
        nested = json_array();
        if (!elements(t, depth, nested))
            return false;
        break;
    case '{':
        nested = json_object();
        if (!members(t, depth, nested))
            return false;
        break;
    default:
        return word(t, ret);
    }
    *ret = json_incref(nested);
    return true;
}

/* ---- lines ---- */

static bool lines(Toml *t)
{
    while (t->p < t->end) {
        skip_blanks(t);
        bool ok = true;
        if (peek(t) == '[')
            ok = header(t);
        else if (t->p < t->end && !at_newline(t) && peek(t) != '#')
            ok = assign(t, t->table, 0);
        if (!ok || !end_line(t))
            return false;
    }
    return true;
}

bool toml_parse(const char *text, size_t len, json_t **ret, Err *e)
{
    scoped(json) json_t *root = json_object();
    Toml t = {.p = text, .end = text + len, .line = 1, .root = root, .table = root, .e = e};
    if (len > TOML_MAX)
        return err_set(e, ERR_USAGE, "line 1: a file of %zu bytes is over the limit of %d", len,
                       TOML_MAX);
    if (looking_at(&t, "\xef\xbb\xbf"))
        t.p += 3;
    bool ok = know(&t, root, HOW_HEADER) && lines(&t);
    arena_done(&t.arena);
    if (ok)
        *ret = json_incref(root);
    return ok;
}
