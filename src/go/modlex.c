/*
 * go/modlex.c - the text of a go.mod file to lines of words.
 */
#include "go/modlex.h"

#include <stdlib.h>

#include "go/unicode.h"

/* Far above what a go.mod has (kubernetes: 300 lines), and a bound for the memory of a hostile one.
 */
enum { LINES_MAX = 1 << 18, WORDS_MAX = 1 << 20 };

typedef enum TokenKind { TOK_END, TOK_NEWLINE, TOK_COMMENT, TOK_TRAILING, TOK_WORD } TokenKind;

typedef struct Token {
    TokenKind kind;
    uint32_t line;
    Str text;
} Token;

/* One token is read ahead, so a mistake in it is told before those of the line in front. */
typedef struct Lexer {
    Arena *a;
    const char *name;
    const char *at, *end;
    uint32_t line;
    bool words; /* on this line */
    Token next;
    Err *e;
    ModLines lines;
} Lexer;

static bool fails(Lexer *l, const char *what)
{
    return err_set(l->e, ERR_DOCKERFILE, "%s:%u: %s", l->name, l->line, what);
}

static bool starts(const Lexer *l, const char *two)
{
    return l->end - l->at >= 2 && l->at[0] == two[0] && l->at[1] == two[1];
}

static bool is_word_rune(uint32_t c)
{
    if (c < 0x80)
        return c > ' ' && c < 0x7f && !strchr("()[]{},", (int)c);
    return c == RUNE_BAD || go_rune_is_print(c);
}

static void take(Lexer *l, TokenKind kind, const char *from)
{
    l->next = (Token){kind, l->line, {from, (size_t)(l->at - from)}};
    l->words = l->words || kind == TOK_WORD;
}

/* To the end of the line and over it: a comment ends a statement as a newline does. */
static void comment(Lexer *l)
{
    const char *from = l->at, *nl = memchr(from, '\n', (size_t)(l->end - from));
    l->at = nl ? nl : l->end;
    take(l, l->words ? TOK_TRAILING : TOK_COMMENT, from);
    if (nl) {
        l->at++;
        l->line++;
        l->words = false;
    }
}

static bool quoted(Lexer *l)
{
    const char *from = l->at++;
    for (;; l->at++) {
        if (l->at == l->end)
            return fails(l, "unexpected end of file in string");
        if (*l->at == '\n')
            return fails(l, "unexpected newline in string");
        if (*l->at == *from)
            break;
        if (*l->at == '\\' && *from == '"' && l->at + 1 < l->end && l->at[1] != '\n')
            l->at++;
    }
    l->at++;
    take(l, TOK_WORD, from);
    return true;
}

static bool word(Lexer *l)
{
    const char *from = l->at;
    while (l->at < l->end && !starts(l, "//")) {
        uint32_t c;
        size_t n = go_rune_at(l->at, l->end, &c);
        if (!is_word_rune(c))
            break;
        if (starts(l, "/*"))
            return fails(l, "mod files must use // comments (not /* */ comments)");
        l->at += n;
    }
    if (l->at == from)
        return fails(l, "unexpected character");
    take(l, TOK_WORD, from);
    return true;
}

static bool advance(Lexer *l)
{
    while (l->at < l->end && (*l->at == ' ' || *l->at == '\t' || *l->at == '\r'))
        l->at++;
    const char *from = l->at;
    if (l->at == l->end) {
        take(l, TOK_END, from);
    } else if (starts(l, "//")) {
        comment(l);
    } else if (*from == '\n') {
        l->at++;
        take(l, TOK_NEWLINE, from);
        l->line++;
        l->words = false;
    } else if (strchr("()[]{},", *from) && *from) {
        l->at++;
        take(l, TOK_WORD, from);
    } else if (*from == '"' || *from == '`') {
        return quoted(l);
    } else {
        return word(l);
    }
    return true;
}

static bool ends_line(const Token *t)
{
    return t->kind == TOK_END || t->kind == TOK_NEWLINE || t->kind == TOK_TRAILING;
}

static bool is_paren(const Token *t, char c)
{
    return t->kind == TOK_WORD && t->text.len == 1 && *t->text.ptr == c;
}

static bool add_word(Lexer *l, size_t iline, Str text)
{
    if (l->lines.nword == WORDS_MAX)
        return fails(l, "too many words");
    l->lines.v[iline].nword++; /* words come in the order of lines */
    *ARENA_PUSH(l->a, l->lines.words, l->lines.nword, l->lines.word_cap) = text;
    return true;
}

static bool add_line(Lexer *l, size_t *ret)
{
    if (l->lines.n == LINES_MAX)
        return fails(l, "too many lines");
    *ret = l->lines.n;
    *ARENA_PUSH(l->a, l->lines.v, l->lines.n, l->lines.cap) =
        (ModLine){.line = l->next.line, .word = (uint32_t)l->lines.nword};
    return true;
}

/* The rest of a line, its end included. */
static bool rest_of_line(Lexer *l, size_t iline)
{
    while (!ends_line(&l->next))
        if (!add_word(l, iline, l->next.text) || !advance(l))
            return false;
    if (l->next.kind == TOK_TRAILING)
        l->lines.v[iline].comment = l->next.text;
    return l->next.kind == TOK_END || advance(l);
}

/* What follows "(" and the end of its line, up to ")" and the end of that line. */
static bool block(Lexer *l, size_t ihead)
{
    uint32_t n = 0;
    while (!is_paren(&l->next, ')')) {
        if (l->next.kind == TOK_END)
            return fails(l, "syntax error (unterminated block)");
        if (l->next.kind != TOK_WORD) {
            if (!advance(l))
                return false;
            continue;
        }
        size_t iline;
        n++;
        if (!add_line(l, &iline) || !rest_of_line(l, iline))
            return false;
    }
    l->lines.v[ihead].opens = true;
    l->lines.v[ihead].block = n;
    if (!advance(l))
        return false;
    if (!ends_line(&l->next))
        return fails(l, "syntax error (expected newline after closing paren)");
    return l->next.kind == TOK_END || advance(l);
}

static bool statement(Lexer *l)
{
    size_t iline;
    if (!add_line(l, &iline) || !add_word(l, iline, l->next.text) || !advance(l))
        return false;
    while (!ends_line(&l->next)) {
        Str text = l->next.text;
        bool open = is_paren(&l->next, '(');
        if (!advance(l))
            return false;
        if (open && ends_line(&l->next))
            return block(l, iline);
        if (!add_word(l, iline, text))
            return false;
        if (!open || !is_paren(&l->next, ')'))
            continue;
        text = l->next.text;
        if (!advance(l))
            return false;
        if (ends_line(&l->next)) { /* "( )": a block of no lines */
            l->lines.v[iline].nword--;
            l->lines.nword--;
            l->lines.v[iline].opens = true;
            return l->next.kind == TOK_END || advance(l);
        }
        if (!add_word(l, iline, text))
            return false;
    }
    return rest_of_line(l, iline);
}

bool mod_lex(Arena *a, const char *name, Str text, ModLines *ret, Err *e)
{
    Lexer l = {.a = a, .name = name, .at = text.ptr, .end = text.ptr + text.len, .line = 1, .e = e};
    if (!advance(&l))
        return false;
    while (l.next.kind != TOK_END)
        if (l.next.kind == TOK_WORD ? !statement(&l) : !advance(&l))
            return false;
    *ret = l.lines;
    return true;
}

/* ---- strings ---- */

static int digit(char c, unsigned base)
{
    int v = c >= '0' && c <= '9'                     ? c - '0'
            : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                     : -1;
    return v < (int)base ? v : -1;
}

static void add_rune(Buf *b, uint32_t c)
{
    if (c < 0x80) {
        buf_putc(b, (char)c);
        return;
    }
    if (c >= 0x10000)
        buf_putc(b, (char)(0xF0 | c >> 18));
    else if (c >= 0x800)
        buf_putc(b, (char)(0xE0 | c >> 12));
    else
        buf_putc(b, (char)(0xC0 | c >> 6));
    if (c >= 0x10000)
        buf_putc(b, (char)(0x80 | (c >> 12 & 0x3F)));
    if (c >= 0x800)
        buf_putc(b, (char)(0x80 | (c >> 6 & 0x3F)));
    buf_putc(b, (char)(0x80 | (c & 0x3F)));
}

/* The number after "\x", "\u", "\U" or "\": `n` digits at s[0]. */
static bool escaped_number(Str s, size_t n, unsigned base, uint32_t *ret)
{
    uint32_t v = 0;
    if (s.len < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int d = digit(s.ptr[i], base);
        if (d < 0)
            return false;
        v = v * base + (uint32_t)d;
    }
    *ret = v;
    return true;
}

/* One escape behind its backslash; the bytes it takes, or 0 for a broken one. */
static size_t escape(Str s, Buf *b)
{
    static const char NAMES[] = "abfnrtv\\\"", MEANS[] = "\a\b\f\n\r\t\v\\\"";
    uint32_t v;
    const char *name = s.len && *s.ptr ? strchr(NAMES, *s.ptr) : NULL;
    if (name) {
        buf_putc(b, MEANS[name - NAMES]);
        return 1;
    }
    Str rest = {s.ptr + 1, s.len ? s.len - 1 : 0};
    if (s.len && *s.ptr == 'x' && escaped_number(rest, 2, 16, &v)) {
        buf_putc(b, (char)v);
        return 3;
    }
    if (escaped_number(s, 3, 8, &v) && v < 256) {
        buf_putc(b, (char)v);
        return 3;
    }
    size_t n = s.len && *s.ptr == 'u' ? 4 : s.len && *s.ptr == 'U' ? 8 : 0;
    if (!n || !escaped_number(rest, n, 16, &v) || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
        return 0;
    add_rune(b, v);
    return 1 + n;
}

/* What is between double quotes. Source: Go, strconv.Unquote. */
static bool unquote(Str s, Buf *b)
{
    for (size_t i = 0; i < s.len;) {
        uint32_t c;
        size_t n = go_rune_at(s.ptr + i, s.ptr + s.len, &c);
        if (c == '\\') {
            n = escape((Str){s.ptr + i + 1, s.len - i - 1}, b);
            if (!n)
                return false;
            n++;
        } else if (n == 1 && c == RUNE_BAD) {
            add_rune(b, c);
        } else {
            buf_add(b, s.ptr + i, n);
        }
        i += n;
    }
    return true;
}

bool mod_string(Arena *a, Str word, const char **ret, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    if (word.len && *word.ptr == '"') {
        if (word.len < 2 || word.ptr[word.len - 1] != '"' ||
            !unquote((Str){word.ptr + 1, word.len - 2}, &b))
            return err_set(e, ERR_DOCKERFILE, "invalid quoted string");
        word = (Str){buf_str(&b), b.len};
    } else if (memchr(word.ptr, '"', word.len) || memchr(word.ptr, '\'', word.len) ||
               memchr(word.ptr, '`', word.len)) {
        return err_set(e, ERR_DOCKERFILE,
                       "invalid quoted string: unquoted string cannot contain quote");
    }
    if (memchr(word.ptr, 0, word.len))
        return err_set(e, ERR_DOCKERFILE, "invalid quoted string: it holds a NUL");
    *ret = arena_strndup(a, word.ptr, word.len);
    return true;
}
