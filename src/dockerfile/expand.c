/*
 * dockerfile/expand.c - quotes, escapes and variables of one word.
 */
#include <ctype.h>

#include "dockerfile/dockerfile.h"
#include "dockerfile/shellglob.h"

enum { MAX_DEPTH = 64, MAX_RESULT = 1 << 20 };

/* Where reading stands, and what was collected. */
typedef struct Expand {
    Arena *arena;
    const char *s;
    size_t at;
    const StrList *env;
    char escape;
    StrList *unset;
    StrList *words; /* not NULL: split at unquoted blanks into it */
    bool quoted;    /* inside double quotes */
    unsigned depth;
    Err *e;
} Expand;

static bool until(Expand *x, char stop, bool raw, Buf *out);

static char peek(const Expand *x)
{
    return x->s[x->at];
}

static bool single_quotes(Expand *x, Buf *out)
{
    for (x->at++; peek(x) != '\''; x->at++) {
        if (!peek(x))
            return err_set(x->e, ERR_DOCKERFILE,
                           "unexpected end of statement while looking for matching single-quote");
        buf_putc(out, peek(x));
    }
    x->at++;
    return true;
}

static const char *lookup(const Expand *x, const char *name)
{
    const char *v = env_get(x->env, name);
    if (!v && x->unset)
        strlist_add(x->arena, x->unset, name);
    return v;
}

/* A variable's name at the cursor; "" when there is none. */
static char *take_name(Expand *x)
{
    size_t start = x->at;
    char c = peek(x);
    if (isalpha((unsigned char)c) || c == '_') {
        while (isalnum((unsigned char)peek(x)) || peek(x) == '_')
            x->at++;
    } else if (isdigit((unsigned char)c)) {
        while (isdigit((unsigned char)peek(x)))
            x->at++;
    } else if (c && strchr("@*#?-$!", c)) {
        x->at++;
    }
    return arena_strndup(x->arena, x->s + start, x->at - start);
}

static void end_word(Expand *x, Buf *out)
{
    if (out->len) /* an empty word, quoted or not, is none */
        strlist_add(x->arena, x->words, buf_str(out));
    out->len = 0;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* A variable's value; where words are split, an unquoted one is split as well. */
static void put_value(Expand *x, const char *value, Buf *out)
{
    for (; *value; value++) {
        if (x->words && !x->quoted && blank(*value))
            end_word(x, out);
        else
            buf_putc(out, *value);
    }
}

static bool missing_brace(Expand *x)
{
    return err_set(x->e, ERR_DOCKERFILE, "syntax error: missing '}'");
}

/* Read up to `stop` into a string; the stop character is consumed. */
static bool operand(Expand *x, char stop, bool raw, char **ret)
{
    scoped(buf) Buf b = BUF_INIT;
    StrList *words = x->words;
    x->words = NULL;
    bool ok = until(x, stop, raw, &b);
    x->words = words;
    if (!ok)
        return false;
    if (peek(x) != stop)
        return missing_brace(x);
    x->at++;
    *ret = arena_strdup(x->arena, buf_str(&b));
    return true;
}

static bool replace(Expand *x, const char *name, Buf *out)
{
    bool all = peek(x) == '/';
    char *pattern, *with;
    ShellGlob *g;
    if (all)
        x->at++;
    if (!operand(x, '/', true, &pattern) || !operand(x, '}', true, &with) ||
        !shellglob_new(x->arena, pattern, &g, x->e))
        return false;
    const char *v = lookup(x, name);
    return shellglob_replace(g, v ? v : "", with, all, MAX_RESULT, out, x->e);
}

static bool trim_affix(Expand *x, const char *v, const char *pattern, char op, GlobWant want,
                       Buf *out)
{
    ShellGlob *g;
    if (!shellglob_new(x->arena, pattern, &g, x->e))
        return false;
    if (op == '#')
        shellglob_trim_prefix(g, v, want, out);
    else
        shellglob_trim_suffix(g, v, want, out);
    return true;
}

static bool must_be_set(Expand *x, const char *name, const char *v, bool colon, const char *word,
                        Buf *out)
{
    if (!v)
        return err_set(x->e, ERR_DOCKERFILE, "%s: %s", name,
                       *word ? word : "is not allowed to be unset");
    if (colon && !*v)
        return err_set(x->e, ERR_DOCKERFILE, "%s: %s", name,
                       *word ? word : "is not allowed to be empty");
    buf_puts(out, v);
    return true;
}

static bool modifier(Expand *x, const char *name, char op, bool colon, Buf *out)
{
    char *word;
    bool trims = op == '#' || op == '%';
    if (trims && colon)
        return err_set(x->e, ERR_DOCKERFILE, "unsupported modifier (:%c) in substitution", op);
    bool longest = trims && peek(x) == op;
    if (longest)
        x->at++;
    if (!operand(x, '}', trims, &word))
        return false;
    const char *v = lookup(x, name);
    bool unset = !v || (colon && !*v);
    switch (op) {
    case '-':
        buf_puts(out, unset ? word : v);
        return true;
    case '+':
        buf_puts(out, unset ? "" : word);
        return true;
    case '?':
        return must_be_set(x, name, v, colon, word, out);
    default:
        return trim_affix(x, v ? v : "", word, op, longest ? GLOB_LONGEST : GLOB_SHORTEST, out);
    }
}

static bool braces(Expand *x, Buf *out)
{
    char c = peek(x);
    if (!c)
        return missing_brace(x);
    if (c == '{' || c == '}' || c == ':')
        return err_set(x->e, ERR_DOCKERFILE, "syntax error: bad substitution");
    char *name = take_name(x);
    char op = peek(x);
    if (!op)
        return missing_brace(x);
    x->at++;
    if (op == '}') {
        const char *v = lookup(x, name);
        buf_puts(out, v ? v : "");
        return true;
    }
    if (op == '/')
        return replace(x, name, out);
    bool colon = op == ':';
    if (colon) {
        op = peek(x);
        if (!op)
            return missing_brace(x);
        x->at++;
    }
    if (!strchr("+-?#%", op))
        return err_set(x->e, ERR_DOCKERFILE, "unsupported modifier (%s%c) in substitution",
                       colon ? ":" : "", op);
    return modifier(x, name, op, colon, out);
}

/* The value of what a `$` begins. */
static bool value(Expand *x, Buf *out)
{
    if (peek(x) == '{') {
        x->at++;
        x->depth++;
        bool ok = braces(x, out);
        x->depth--;
        return ok;
    }
    char *name = take_name(x);
    if (!*name) {
        buf_putc(out, '$');
        return true;
    }
    const char *v = lookup(x, name);
    buf_puts(out, v ? v : "");
    return true;
}

static bool dollar(Expand *x, Buf *out)
{
    scoped(buf) Buf v = BUF_INIT;
    x->at++;
    if (x->depth >= MAX_DEPTH)
        return err_set(x->e, ERR_DOCKERFILE, "substitution is nested too deep");
    if (!value(x, &v))
        return false;
    put_value(x, buf_str(&v), out);
    return out->len <= MAX_RESULT ||
           err_set(x->e, ERR_DOCKERFILE, "the result of a substitution is too large");
}

static bool double_quotes(Expand *x, bool raw, Buf *out)
{
    x->at++;
    while (peek(x) != '"') {
        char c = peek(x);
        if (!c)
            return err_set(x->e, ERR_DOCKERFILE,
                           "unexpected end of statement while looking for matching double-quote");
        if (c == '$') {
            bool outer = x->quoted;
            x->quoted = true;
            bool ok = dollar(x, out);
            x->quoted = outer;
            if (!ok)
                return false;
            continue;
        }
        if (c == x->escape) {
            char next = x->s[x->at + 1];
            if (raw)
                buf_putc(out, c);
            if (!next) {
                x->at++;
                continue;
            }
            if (next == '"' || next == '$' || next == x->escape)
                c = x->s[++x->at];
            else if (raw) {
                x->at++;
                continue;
            }
        }
        buf_putc(out, c);
        x->at++;
    }
    x->at++;
    return true;
}

/* Process up to an unquoted `stop` (not consumed) or the end. `raw` keeps quotes and escapes
 * (patterns). */
static bool until(Expand *x, char stop, bool raw, Buf *out)
{
    for (;;) {
        char c = peek(x);
        if (!c || (stop && c == stop))
            return true;
        if (c == '\'' || c == '"') {
            if (!(c == '"' ? double_quotes(x, raw, out) : single_quotes(x, out)))
                return false;
        } else if (c == '$') {
            if (!dollar(x, out))
                return false;
        } else if (c == x->escape) {
            if (raw)
                buf_putc(out, c);
            if (x->s[++x->at])
                buf_putc(out, x->s[x->at++]);
        } else {
            x->at++;
            if (x->words && blank(c))
                end_word(x, out);
            else
                buf_putc(out, c);
        }
    }
}

bool df_expand(Arena *a, const char *word, const StrList *env, char escape, char **ret,
               StrList *unset, Err *e)
{
    scoped(buf) Buf out = BUF_INIT;
    Expand x = {.arena = a, .s = word, .env = env, .escape = escape, .unset = unset, .e = e};
    if (!until(&x, 0, false, &out))
        return err_wrap(e, "failed to process '%.200s%s'", word, strlen(word) > 200 ? "..." : "");
    *ret = arena_strndup(a, buf_str(&out), out.len);
    return true;
}

bool df_expand_words(Arena *a, const char *word, const StrList *env, char escape, StrList *ret,
                     StrList *unset, Err *e)
{
    scoped(buf) Buf out = BUF_INIT;
    StrList words = {0};
    Expand x = {.arena = a,
                .s = word,
                .env = env,
                .escape = escape,
                .unset = unset,
                .words = &words,
                .e = e};
    if (!until(&x, 0, false, &out))
        return err_wrap(e, "failed to process '%.200s%s'", word, strlen(word) > 200 ? "..." : "");
    end_word(&x, &out);
    *ret = words;
    return true;
}
