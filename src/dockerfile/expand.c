/*
 * dockerfile/expand.c - quotes, escapes and variables of one word.
 */
#include <ctype.h>

#include "base/rune.h"
#include "dockerfile/dockerfile.h"
#include "dockerfile/shellglob.h"

enum { MAX_DEPTH = 64, MAX_RESULT = 1 << 20 };

/* Where reading stands, and what was collected. */
typedef struct Expand {
    Arena *arena;
    const char *s;
    size_t at;
    const DfScope *scope;
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

static bool has(const Expand *x, unsigned flag)
{
    return x->scope->flags & flag;
}

/* Pass the quote at the cursor. */
static void pass_quote(Expand *x, Buf *out)
{
    if (has(x, DF_KEEP_QUOTES))
        buf_putc(out, peek(x));
    x->at++;
}

static bool single_quotes(Expand *x, Buf *out)
{
    pass_quote(x, out);
    for (; peek(x) != '\''; x->at++) {
        if (!peek(x))
            return err_set(x->e, ERR_DOCKERFILE,
                           "unexpected end of statement while looking for matching single-quote");
        buf_putc(out, peek(x));
    }
    pass_quote(x, out);
    return true;
}

static const char *lookup(const Expand *x, const char *name)
{
    const char *v = env_get(x->scope->env, name);
    StrList *seen = v ? x->scope->matched : x->scope->unset;
    if (seen)
        strlist_add_once(x->arena, seen, name);
    return v;
}

/* Whether a name goes on with the rune at `s`; its size, or 0. Letters of all scripts may. */
static size_t name_rune(const char *s)
{
    uint32_t rune;
    if (*s == '_')
        return 1;
    size_t n = utf8_rune(s, &rune);
    return rune != RUNE_BAD && rune_is_alnum(rune) ? n : 0;
}

/* A variable's name at the cursor; "" when there is none. */
static char *take_name(Expand *x)
{
    size_t start = x->at, n;
    char c = peek(x);
    if (isdigit((unsigned char)c))
        while (isdigit((unsigned char)peek(x)))
            x->at++;
    else if (c && strchr("@*#?-$!", c))
        x->at++;
    else
        while ((n = name_rune(x->s + x->at)) > 0)
            x->at += n;
    return arena_strndup(x->arena, x->s + start, x->at - start);
}

static void end_word(Expand *x, Buf *out)
{
    if (out->len) /* an empty word, quoted or not, is none */
        strlist_add(x->arena, x->words, buf_str(out));
    out->len = 0;
}

/* A variable's value; where words are split, an unquoted one is split as well. */
static void put_value(Expand *x, const char *value, Buf *out)
{
    while (*value) {
        size_t space = x->words && !x->quoted ? str_space(value, strnlen(value, 3)) : 0;
        if (space)
            end_word(x, out);
        else
            buf_putc(out, *value);
        value += space ? space : 1;
    }
}

/* The end of the text came where a `}` or `/` was due; that is told rather than what it cut. */
static bool missing(Expand *x, char stop)
{
    *x->e = (Err)ERR_INIT;
    return err_set(x->e, ERR_DOCKERFILE, "syntax error: missing '%c'%s", stop,
                   stop == '/' ? " in ${}" : "");
}

static bool missing_brace(Expand *x)
{
    return missing(x, '}');
}

/* Read up to `stop` into a string; the stop character is consumed. */
static bool operand(Expand *x, char stop, bool raw, char **ret)
{
    scoped(buf) Buf b = BUF_INIT;
    StrList *words = x->words;
    x->words = NULL;
    bool ok = until(x, stop, raw, &b);
    x->words = words;
    if (!peek(x))
        return missing(x, stop);
    if (!ok)
        return false;
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
    if (!v && has(x, DF_KEEP_UNSET)) {
        buf_printf(out, "${%s/%s/%s}", name, pattern, with);
        return true;
    }
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
    if (!v && has(x, DF_KEEP_UNSET)) {
        buf_printf(out, "${%s%s%c%s%s}", name, colon ? ":" : "", op, longest ? (char[]){op, 0} : "",
                   word);
        return true;
    }
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
    uint32_t rune;
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
        if (!v && has(x, DF_KEEP_UNSET))
            buf_printf(out, "${%s}", name);
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
        return err_set(x->e, ERR_DOCKERFILE, "unsupported modifier (%s%.*s) in substitution",
                       colon ? ":" : "", (int)utf8_rune(x->s + x->at - 1, &rune), x->s + x->at - 1);
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
    if (!v && has(x, DF_KEEP_UNSET))
        buf_printf(out, "$%s", name);
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
    pass_quote(x, out);
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
        if (c == x->scope->escape) {
            char next = x->s[x->at + 1];
            if (raw)
                buf_putc(out, c);
            if (!next) {
                x->at++;
                continue;
            }
            if (next == '"' || next == '$' || next == x->scope->escape)
                c = x->s[++x->at];
            else if (raw) {
                x->at++;
                continue;
            }
        }
        buf_putc(out, c);
        x->at++;
    }
    pass_quote(x, out);
    return true;
}

/*
 * `<<` and the blanks behind it are one word with what follows: "<< EOF" is a here-document's mark.
 */
static void angle(Expand *x, Buf *out)
{
    buf_putc(out, x->s[x->at++]);
    if (peek(x) != '<')
        return;
    buf_putc(out, x->s[x->at++]);
    for (; peek(x) == ' ' || peek(x) == '\t' || peek(x) == '\r'; x->at++)
        buf_putc(out, peek(x));
}

/* Process up to an unquoted `stop` (not consumed) or the end. `raw` keeps quotes and escapes
 * (patterns). */
static bool until(Expand *x, char stop, bool raw, Buf *out)
{
    for (;;) {
        char c = peek(x);
        size_t space;
        if (!c || (stop && c == stop))
            return true;
        if ((c == '\'' || c == '"') && !has(x, DF_NO_QUOTES)) {
            if (!(c == '"' ? double_quotes(x, raw, out) : single_quotes(x, out)))
                return false;
        } else if (c == '$') {
            if (!dollar(x, out))
                return false;
        } else if (c == '<') {
            angle(x, out);
        } else if (c == x->scope->escape) {
            if (raw)
                buf_putc(out, c);
            if (x->s[++x->at])
                buf_putc(out, x->s[x->at++]);
        } else if (x->words && (space = str_space(x->s + x->at, strnlen(x->s + x->at, 3))) > 0) {
            x->at += space;
            end_word(x, out);
        } else {
            buf_putc(out, c);
            x->at++;
        }
    }
}

static bool wrap_process(const char *word, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    buf_quote(&b, word);
    return err_wrap(e, "failed to process %.200s%s", buf_str(&b), b.len > 200 ? "..." : "");
}

static bool process(const DfScope *s, const char *word, StrList *words, Buf *out, Err *e)
{
    Expand x = {.arena = s->arena, .s = word, .scope = s, .words = words, .e = e};
    if (!until(&x, 0, s->flags & DF_KEEP_ESCAPES, out))
        return wrap_process(word, e);
    if (words)
        end_word(&x, out);
    return true;
}

bool df_expand(const DfScope *s, const char *word, char **ret, Err *e)
{
    scoped(buf) Buf out = BUF_INIT;
    if (!process(s, word, NULL, &out, e))
        return false;
    *ret = arena_strndup(s->arena, buf_str(&out), out.len);
    return true;
}

bool df_expand_words(const DfScope *s, const char *word, StrList *ret, Err *e)
{
    scoped(buf) Buf out = BUF_INIT;
    StrList words = {0};
    if (!process(s, word, &words, &out, e))
        return false;
    *ret = words;
    return true;
}
