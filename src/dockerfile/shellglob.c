/*
 * dockerfile/shellglob.c - shell patterns matched by a set of states, in time linear in the text.
 */
#include "dockerfile/shellglob.h"

/* A pattern is short; the limit bounds the time of one match. */
enum { MAX_TOKENS = 1024 };

typedef enum TokenKind { TOKEN_CHAR, TOKEN_ANY, TOKEN_STAR } TokenKind;

typedef struct Token {
    TokenKind kind;
    char c;
} Token;

struct ShellGlob {
    Token v[MAX_TOKENS];
    size_t n;
};

bool shellglob_new(Arena *a, const char *pattern, ShellGlob **ret, Err *e)
{
    const char *p = pattern;
    ShellGlob *g = NEW(a, ShellGlob);
    for (; *p; p++) {
        Token t = {*p == '*' ? TOKEN_STAR : *p == '?' ? TOKEN_ANY : TOKEN_CHAR, *p};
        if (*p == '\\' && (p[1] == '}' || p[1] == '/'))
            continue;
        if (*p == '\\') {
            p++;
            uint32_t rune;
            if (!*p || !strchr("*?\\", *p))
                return err_set(e, ERR_DOCKERFILE,
                               "invalid pattern (%.100s) in substitution: invalid escape '\\%.*s'",
                               pattern, (int)utf8_rune(p, &rune), p);
            t = (Token){TOKEN_CHAR, *p};
        }
        if (t.kind == TOKEN_STAR && g->n && g->v[g->n - 1].kind == TOKEN_STAR)
            continue;
        if (g->n == MAX_TOKENS)
            return err_set(e, ERR_DOCKERFILE, "pattern of more than %d characters", MAX_TOKENS);
        g->v[g->n++] = t;
    }
    *ret = g;
    return true;
}

/* A pattern and a text read forward or backward. */
typedef struct Match {
    const ShellGlob *g;
    const char *s;
    size_t n;
    bool backward;
    bool in_star; /* set when some state has come to a star: what follows it was not found after
                     here */
} Match;

static Token token(const Match *m, size_t i)
{
    return m->g->v[m->backward ? m->g->n - 1 - i : i];
}

/* Activate state i, and the one behind a star, which may match nothing. */
static void activate(Match *m, bool *set, size_t i)
{
    set[i] = true;
    while (i < m->g->n && token(m, i).kind == TOKEN_STAR) {
        m->in_star = true;
        set[++i] = true;
    }
}

/* How much of the text matches from its start; false when none does. As in Go, no wildcard takes a
 * newline. */
static bool match(Match *m, GlobWant want, size_t *ret_len)
{
    bool sets[2][MAX_TOKENS + 1] = {{false}};
    bool *now = sets[0], *next = sets[1], found = false;
    size_t n = m->g->n;
    activate(m, now, 0);
    for (size_t at = 0;; at++) {
        if (now[n]) {
            *ret_len = at;
            found = true;
            if (want == GLOB_SHORTEST)
                return true;
        }
        if (at == m->n)
            return found;
        char c = m->s[m->backward ? m->n - 1 - at : at];
        bool any = false;
        memset(next, 0, n + 1);
        for (size_t i = 0; i < n; i++) {
            Token t = token(m, i);
            if (!now[i] || (t.kind == TOKEN_CHAR ? t.c != c : c == '\n'))
                continue;
            activate(m, next, t.kind == TOKEN_STAR ? i : i + 1);
            any = true;
        }
        if (!any)
            return found;
        bool *swap = now;
        now = next;
        next = swap;
    }
}

void shellglob_trim_prefix(const ShellGlob *g, const char *v, GlobWant want, Buf *out)
{
    Match m = {.g = g, .s = v, .n = strlen(v)};
    size_t len = 0;
    (void)match(&m, want, &len);
    buf_puts(out, v + len);
}

void shellglob_trim_suffix(const ShellGlob *g, const char *v, GlobWant want, Buf *out)
{
    Match m = {.g = g, .s = v, .n = strlen(v), .backward = true};
    size_t len = 0;
    (void)match(&m, want, &len);
    buf_add(out, v, m.n - len);
}

bool shellglob_replace(const ShellGlob *g, const char *v, const char *with, bool all, size_t max,
                       Buf *out, Err *e)
{
    size_t n = strlen(v), i = 0, after = SIZE_MAX; /* `after`: where the last match ended */
    bool more = true;
    while (i <= n && out->len <= max) {
        Match m = {.g = g, .s = v + i, .n = n - i};
        size_t len = 0;
        bool hit = more && match(&m, GLOB_LONGEST, &len);
        /* What a star could not find from here on, it cannot find from further on either. */
        more = more && (hit || !m.in_star || memchr(v + i, '\n', n - i));
        if (hit && (len || i != after)) {
            buf_puts(out, with);
            more = all;
            after = i + len;
        }
        if (!len && i < n)
            buf_putc(out, v[i]);
        i += len ? len : 1;
        if (!more && i < n) {
            buf_puts(out, v + i);
            break;
        }
    }
    return out->len <= max ||
           err_set(e, ERR_DOCKERFILE, "the result of a substitution is too large");
}
