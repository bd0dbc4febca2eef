/*
 * dockerfile/lex.c - text to logical lines.
 */
#include "dockerfile/lex.h"

#include <ctype.h>
#include <strings.h>

/* The minor version of docker/dockerfile:1 whose language this is. */
enum { KNOWN_MINOR = 20 };

enum { DIR_SYNTAX = 1 << 0, DIR_ESCAPE = 1 << 1, DIR_CHECK = 1 << 2 };

static const struct {
    const char *name;
    unsigned bit;
} DIRECTIVES[] = {{"syntax", DIR_SYNTAX}, {"escape", DIR_ESCAPE}, {"check", DIR_CHECK}};

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

void lex_init(Lexer *lx, Arena *a, const DfFile *file)
{
    *lx = (Lexer){.arena = a, .file = file, .escape = '\\', .directives = true};
    if (file->text.len >= 3 && !memcmp(file->text.ptr, "\xef\xbb\xbf", 3))
        lx->at = 3;
}

/* Read one physical line, its end included; false at the end of the file. */
static bool whole_line(Lexer *lx, Str *ret, size_t *ret_off)
{
    Str t = lx->file->text;
    if (lx->at >= t.len)
        return false;
    const char *start = t.ptr + lx->at;
    const char *nl = memchr(start, '\n', t.len - lx->at);
    size_t len = nl ? (size_t)(nl - start) : t.len - lx->at;
    *ret_off = lx->bol = lx->at;
    *ret = (Str){start, len + (nl ? 1 : 0)};
    lx->at += ret->len;
    lx->line++;
    return true;
}

static Str without_end(Str s)
{
    while (s.len && (s.ptr[s.len - 1] == '\n' || s.ptr[s.len - 1] == '\r'))
        s.len--;
    return s;
}

/* The same without its end. */
static bool physical_line(Lexer *lx, Str *ret, size_t *ret_off)
{
    if (!whole_line(lx, ret, ret_off))
        return false;
    *ret = without_end(*ret);
    return true;
}

/* "# name = value" to its parts. Source: Dockerfile reference, "Parser directives". */
static bool split_directive(Str line, Str *name, Str *value)
{
    Str s = str_trim(line);
    if (!s.len || *s.ptr != '#')
        return false;
    s = str_trim((Str){s.ptr + 1, s.len - 1});
    size_t n = 0;
    while (n < s.len && isalnum((unsigned char)s.ptr[n]))
        n++;
    if (!n || !isalpha((unsigned char)*s.ptr))
        return false;
    Str rest = str_trim((Str){s.ptr + n, s.len - n});
    if (!rest.len || *rest.ptr != '=')
        return false;
    *name = (Str){s.ptr, n};
    *value = str_trim((Str){rest.ptr + 1, rest.len - 1});
    if (!value->len) /* blanks alone are a value, though none that means anything */
        *value = (Str){rest.ptr + rest.len - 1, line.ptr + line.len > rest.ptr + 1};
    return value->len > 0;
}

/* The tag of a frontend that came after the language that is known here: "1.21-labs". */
static void warn_newer(Lexer *lx, Str syntax, const char *tag)
{
    unsigned minor = 0;
    const char *p = tag ? tag + 1 : "", *end = syntax.ptr + syntax.len;
    if (!tag || end - p < 3 || p[0] != '1' || p[1] != '.')
        return;
    for (p += 2; p < end && isdigit((unsigned char)*p) && minor < 1000; p++)
        minor = minor * 10 + (unsigned)(*p - '0');
    if (minor > KNOWN_MINOR)
        strlist_add(lx->arena, &lx->warnings,
                    arena_printf(lx->arena,
                                 "%s:%u: syntax=%.*s is newer than the language known here, "
                                 "docker/dockerfile:1.%d: what it added is refused by name",
                                 lx->file->name, lx->line, (int)syntax.len, syntax.ptr,
                                 KNOWN_MINOR));
}

/*
 * The published frontends of docker/dockerfile are this language, from whatever mirror they come.
 */
static bool take_syntax(Lexer *lx, Str v, Err *e)
{
    static const char *const OURS[] = {"docker/dockerfile", "docker/dockerfile-upstream"};
    SrcSpan at = {.line = lx->line, .col = 1, .off = (uint32_t)lx->bol};
    const char *space = memchr(v.ptr, ' ', v.len);
    if (space)
        v.len = (size_t)(space - v.ptr);
    const char *digest = memchr(v.ptr, '@', v.len);
    size_t n = digest ? (size_t)(digest - v.ptr) : v.len;
    const char *tag = memrchr(v.ptr, ':', n);
    if (tag && !memchr(tag, '/', (size_t)(v.ptr + n - tag)))
        n = (size_t)(tag - v.ptr);
    for (size_t i = 0; i < NELEM(OURS); i++) {
        size_t len = strlen(OURS[i]);
        if (n >= len && !memcmp(v.ptr + n - len, OURS[i], len) &&
            (n == len || v.ptr[n - len - 1] == '/')) {
            warn_newer(lx, v, tag);
            return true;
        }
    }
    if (lx->any_syntax)
        return true;
    return df_err(lx->file, &at, e,
                  "syntax=%.*s: foreign frontends are not run; lighter reads the language of "
                  "docker/dockerfile:1 itself (--ignore-syntax builds with that)",
                  (int)v.len, v.ptr);
}

static bool take_check(Lexer *lx, Str v, Err *e)
{
    SrcSpan at = {.line = lx->line, .col = 1, .off = (uint32_t)lx->bol};
    const char *space = memchr(v.ptr, ' ', v.len);
    Err why = ERR_INIT;
    if (space) /* what follows is a remark */
        v.len = (size_t)(space - v.ptr);
    return df_check(lx->arena, arena_strndup(lx->arena, v.ptr, v.len), &lx->check, &why) ||
           df_err(lx->file, &at, e, "failed to parse check options: %s", why.msg);
}

static bool take_directive(Lexer *lx, unsigned bit, Str name, Str v, Err *e)
{
    SrcSpan at = {.line = lx->line, .col = 1, .off = (uint32_t)lx->bol};
    if (lx->seen & bit)
        return df_err(lx->file, &at, e, "only one %.*s parser directive can be used", (int)name.len,
                      name.ptr);
    lx->seen |= bit;
    if (bit == DIR_SYNTAX)
        return lx->raw || take_syntax(lx, v, e);
    if (bit == DIR_CHECK)
        return lx->raw || take_check(lx, v, e);
    if (v.len != 1 || (*v.ptr != '\\' && *v.ptr != '`'))
        return df_err(lx->file, &at, e, "invalid escape token '%.*s' does not match ` or \\",
                      (int)v.len, v.ptr);
    lx->escape = *v.ptr;
    return true;
}

/*
 * Honour a directive if `line` is one; anything else ends the zone. After a `#!` line only `syntax`
 * is looked for, as BuildKit does before it knows whose language the file is in.
 */
static bool directive(Lexer *lx, Str line, bool *ret_taken, Err *e)
{
    Str name, value;
    if (!lx->directives && !lx->syntax_only)
        return true;
    if (lx->line == 1 && line.len >= 2 && !memcmp(line.ptr, "#!", 2))
        lx->syntax_only = true;
    else if (split_directive(line, &name, &value))
        for (size_t i = 0; i < NELEM(DIRECTIVES); i++) {
            unsigned bit = DIRECTIVES[i].bit;
            if (name.len != strlen(DIRECTIVES[i].name) ||
                strncasecmp(name.ptr, DIRECTIVES[i].name, name.len) != 0)
                continue;
            *ret_taken = lx->directives;
            return (lx->syntax_only && bit != DIR_SYNTAX) ||
                   take_directive(lx, bit, name, value, e);
        }
    else
        lx->syntax_only = false;
    lx->directives = false;
    return true;
}

/* Add a part of the physical line that was just read. */
static void append(Lexer *lx, LogicalLine *l, const char *p, size_t n, size_t off)
{
    if (l->len + n + 1 > l->cap) {
        size_t cap = l->len ? (l->len + n + 1) * 2 : n + 1; /* most instructions are one line */
        l->text = arena_grow(lx->arena, l->text, l->len, cap, 1);
        l->cap = cap;
    }
    *ARENA_PUSH(lx->arena, l->runs, l->nrun, l->run_cap) =
        (LineRun){(uint32_t)l->len, (uint32_t)off, (uint32_t)lx->bol, lx->line};
    memcpy(l->text + l->len, p, n);
    l->len += n;
    l->text[l->len] = 0;
}

/*
 * Cut the continuation mark off the end. It is one only as the last non-blank character, and not
 * after another escape character.
 */
static bool continues(Str *s, char escape)
{
    size_t n = s->len;
    while (n && blank(s->ptr[n - 1]))
        n--;
    if (!n || s->ptr[n - 1] != escape || (n > 1 && s->ptr[n - 2] == escape))
        return false;
    s->len = n - 1;
    return true;
}

static bool is_comment(Str s)
{
    Str t = str_trim(s);
    return t.len && *t.ptr == '#';
}

/* Comments right above an instruction belong to it; an empty one separates. */
static void take_comment(Lexer *lx, Str s)
{
    Str text = str_trim((Str){s.ptr + 1, s.len - 1});
    if (text.len)
        strlist_add(lx->arena, &lx->comments, arena_strndup(lx->arena, text.ptr, text.len));
    else
        lx->comments = (StrList){0};
}

/* Read the lines that continue an instruction. */
static void continuation(Lexer *lx, LogicalLine *l)
{
    Str s;
    size_t off;
    for (bool more = true; more && physical_line(lx, &s, &off);) {
        l->end_line = lx->line;
        l->end = (uint32_t)lx->at;
        if (is_comment(s))
            continue;
        if (!str_trim(s).len) {
            l->empty_continuation = true;
            continue;
        }
        more = continues(&s, lx->escape);
        append(lx, l, s.ptr, s.len, off);
    }
}

bool lex_next(Lexer *lx, LogicalLine *ret, bool *ret_got, Err *e)
{
    Str s;
    size_t off, blanks;
    *ret_got = false;
    while (physical_line(lx, &s, &off)) {
        bool taken = false;
        while ((blanks = str_space(s.ptr, s.len)) > 0) {
            s = (Str){s.ptr + blanks, s.len - blanks};
            off += blanks;
        }
        if (!directive(lx, s, &taken, e))
            return false;
        if (s.len && *s.ptr == '#' && !taken)
            take_comment(lx, s);
        if (!s.len || *s.ptr == '#')
            continue;
        LogicalLine l = {.line = lx->line, .end_line = lx->line, .end = (uint32_t)lx->at};
        bool more = continues(&s, lx->escape);
        append(lx, &l, s.ptr, s.len, off);
        l.start = (uint32_t)off;
        if (more)
            continuation(lx, &l);
        l.text_line = l.end_line;
        l.comments = lx->comments;
        lx->comments = (StrList){0};
        *ret = l;
        *ret_got = true;
        return true;
    }
    return true;
}

static Str without_tabs(Str s)
{
    while (s.len && *s.ptr == '\t')
        s = (Str){s.ptr + 1, s.len - 1};
    return s;
}

bool lex_heredoc(Lexer *lx, LogicalLine *l, DfHeredoc *doc)
{
    scoped(buf) Buf body = BUF_INIT;
    Str s;
    size_t off;
    while (whole_line(lx, &s, &off)) {
        Str line = without_end(s);
        l->end_line = lx->line;
        l->end = (uint32_t)lx->at;
        if (str_eq(doc->chomp ? without_tabs(line) : line, doc->name)) {
            doc->content = arena_strndup(lx->arena, buf_str(&body), body.len);
            return true;
        }
        buf_add(&body, s.ptr, s.len);
    }
    return false;
}

/* The physical line that text[i] comes from. */
static const LineRun *run_of(const LogicalLine *l, size_t i)
{
    size_t low = 0, high = l->nrun;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (l->runs[mid].at <= i)
            low = mid;
        else
            high = mid;
    }
    return &l->runs[low];
}

SrcSpan lex_span(const Lexer *lx, const LogicalLine *l, size_t from, size_t to)
{
    if (lx->fixed)
        return *lx->fixed;
    if (to > l->len)
        to = l->len;
    if (from > to)
        from = to;
    /* What is empty lies behind what stands before it. */
    bool behind = from == l->len && from > 0;
    const LineRun *first = run_of(l, behind ? from - 1 : from);
    const LineRun *last = to > from ? run_of(l, to - 1) : first;
    uint32_t start = first->off + (uint32_t)from - first->at;
    uint32_t end = to > from ? last->off + (uint32_t)to - last->at : start;
    return (SrcSpan){.line = first->line,
                     .col = start - first->bol + 1,
                     .end_line = last->line,
                     .off = start,
                     .len = end - start};
}
