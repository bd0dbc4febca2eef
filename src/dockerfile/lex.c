/*
 * dockerfile/lex.c - text to logical lines.
 */
#include "dockerfile/lex.h"

#include <ctype.h>
#include <strings.h>

enum { DIR_SYNTAX = 1 << 0, DIR_ESCAPE = 1 << 1, DIR_CHECK = 1 << 2 };

static const struct {
    const char *name;
    unsigned bit;
} DIRECTIVES[] = {{"syntax", DIR_SYNTAX}, {"escape", DIR_ESCAPE}, {"check", DIR_CHECK}};

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

/* What Go's unicode.IsSpace takes for a blank, within ASCII. */
static bool space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

void lex_init(Lexer *lx, Arena *a, const DfFile *file)
{
    *lx = (Lexer){.arena = a, .file = file, .escape = '\\', .directives = true};
    if (file->text.len >= 3 && !memcmp(file->text.ptr, "\xef\xbb\xbf", 3))
        lx->at = 3;
    size_t cap = 0;
    *ARENA_PUSH(a, lx->starts, lx->nstart, cap) = 0;
    for (size_t i = 0; i < file->text.len; i++)
        if (file->text.ptr[i] == '\n')
            *ARENA_PUSH(a, lx->starts, lx->nstart, cap) = (uint32_t)i + 1;
}

/* Read one physical line without its end; false at the end of the file. */
static bool physical_line(Lexer *lx, Str *ret, size_t *ret_off)
{
    Str t = lx->file->text;
    if (lx->at >= t.len)
        return false;
    const char *start = t.ptr + lx->at;
    const char *nl = memchr(start, '\n', t.len - lx->at);
    size_t len = nl ? (size_t)(nl - start) : t.len - lx->at;
    *ret_off = lx->at;
    lx->at += len + (nl ? 1 : 0);
    lx->line++;
    while (len && start[len - 1] == '\r')
        len--;
    *ret = (Str){start, len};
    return true;
}

static Str trim(Str s)
{
    while (s.len && space(*s.ptr)) {
        s.ptr++;
        s.len--;
    }
    while (s.len && space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* "# name = value" to its parts. Source: Dockerfile reference, "Parser directives". */
static bool split_directive(Str line, Str *name, Str *value)
{
    Str s = trim(line);
    if (!s.len || *s.ptr != '#')
        return false;
    s = trim((Str){s.ptr + 1, s.len - 1});
    size_t n = 0;
    while (n < s.len && (isalnum((unsigned char)s.ptr[n]) || s.ptr[n] == '_' || s.ptr[n] == '-'))
        n++;
    if (!n || !isalpha((unsigned char)*s.ptr))
        return false;
    Str rest = trim((Str){s.ptr + n, s.len - n});
    if (!rest.len || *rest.ptr != '=')
        return false;
    *name = (Str){s.ptr, n};
    *value = trim((Str){rest.ptr + 1, rest.len - 1});
    return value->len > 0;
}

/*
 * The published frontends of docker/dockerfile are this language, from whatever mirror they come.
 */
static bool take_syntax(const Lexer *lx, Str v, Err *e)
{
    static const char *const OURS[] = {"docker/dockerfile", "docker/dockerfile-upstream"};
    SrcSpan at = {.line = lx->line, .col = 1};
    const char *digest = memchr(v.ptr, '@', v.len);
    size_t n = digest ? (size_t)(digest - v.ptr) : v.len;
    const char *tag = memrchr(v.ptr, ':', n);
    if (tag && !memchr(tag, '/', (size_t)(v.ptr + n - tag)))
        n = (size_t)(tag - v.ptr);
    for (size_t i = 0; i < NELEM(OURS); i++) {
        size_t len = strlen(OURS[i]);
        if (n >= len && !memcmp(v.ptr + n - len, OURS[i], len) &&
            (n == len || v.ptr[n - len - 1] == '/'))
            return true;
    }
    return df_err(lx->file, &at, e,
                  "syntax=%.*s: foreign frontends are not run; lighter reads the language of "
                  "docker/dockerfile:1 itself",
                  (int)v.len, v.ptr);
}

/* The words Go's strconv.ParseBool takes. */
static bool parse_bool(const char *s, bool *ret)
{
    static const char *const WORDS[] = {"1", "t", "T", "true",  "TRUE",  "True",
                                        "0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < NELEM(WORDS); i++)
        if (!strcmp(s, WORDS[i])) {
            *ret = i < NELEM(WORDS) / 2;
            return true;
        }
    return false;
}

static char *trimmed(Arena *a, const char *s)
{
    Str t = trim(str_c(s));
    return arena_strndup(a, t.ptr, t.len);
}

static void skip_rules(Lexer *lx, char *list)
{
    char *save = NULL;
    for (char *r = strtok_r(list, ",", &save); r; r = strtok_r(NULL, ",", &save)) {
        char *name = trimmed(lx->arena, r);
        lx->check.skip_all = lx->check.skip_all || !strcmp(name, "all");
        strlist_add(lx->arena, &lx->check.skip, name);
    }
}

/* "skip=A,B;error=true". Source: Dockerfile reference, "check". */
static bool take_check(Lexer *lx, Str v, Err *e)
{
    SrcSpan at = {.line = lx->line, .col = 1};
    char *text = arena_strndup(lx->arena, v.ptr, v.len), *save = NULL;
    for (char *p = strtok_r(text, ";", &save); p; p = strtok_r(NULL, ";", &save)) {
        char *eq = strchr(p, '=');
        if (!eq)
            return df_err(lx->file, &at, e, "invalid check option '%s'", p);
        *eq = 0;
        char *key = trimmed(lx->arena, p), *value = trimmed(lx->arena, eq + 1);
        if (!strcmp(key, "skip"))
            skip_rules(lx, value);
        else if (!strcmp(key, "error") && !parse_bool(value, &lx->check.error))
            return df_err(lx->file, &at, e, "check option error=%s is neither true nor false",
                          value);
        else if (strcmp(key, "error") != 0 && strcmp(key, "experimental") != 0)
            return df_err(lx->file, &at, e, "invalid check option '%s'", key);
    }
    return true;
}

static bool take_directive(Lexer *lx, unsigned bit, Str name, Str v, Err *e)
{
    SrcSpan at = {.line = lx->line, .col = 1};
    if (lx->seen & bit)
        return df_err(lx->file, &at, e, "only one %.*s parser directive can be used", (int)name.len,
                      name.ptr);
    lx->seen |= bit;
    if (bit == DIR_SYNTAX)
        return take_syntax(lx, v, e);
    if (bit == DIR_CHECK)
        return take_check(lx, v, e);
    if (v.len != 1 || (*v.ptr != '\\' && *v.ptr != '`'))
        return df_err(lx->file, &at, e, "invalid escape directive '%.*s': it must be \\ or `",
                      (int)v.len, v.ptr);
    lx->escape = *v.ptr;
    return true;
}

/* Honour a directive if `line` is one; anything else ends the zone. */
static bool directive(Lexer *lx, Str line, Err *e)
{
    Str name, value;
    if (!lx->directives)
        return true;
    if (split_directive(line, &name, &value))
        for (size_t i = 0; i < NELEM(DIRECTIVES); i++)
            if (name.len == strlen(DIRECTIVES[i].name) &&
                !strncasecmp(name.ptr, DIRECTIVES[i].name, name.len))
                return take_directive(lx, DIRECTIVES[i].bit, name, value, e);
    lx->directives = false;
    return true;
}

static void append(LogicalLine *l, Arena *a, const char *p, size_t n, size_t off)
{
    if (l->len + n + 1 > l->cap) {
        size_t cap = (l->len + n + 1) * 2;
        l->text = arena_grow(a, l->text, l->len, cap, 1);
        l->pos = arena_grow(a, l->pos, l->len, cap, sizeof *l->pos);
        l->cap = cap;
    }
    for (size_t i = 0; i < n; i++) {
        l->text[l->len] = p[i];
        l->pos[l->len++] = (uint32_t)(off + i);
    }
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
    Str t = trim(s);
    return t.len && *t.ptr == '#';
}

bool lex_next(Lexer *lx, LogicalLine *ret, bool *ret_got, Err *e)
{
    Str s;
    size_t off;
    LogicalLine l = {0};

    for (;;) {
        if (!physical_line(lx, &s, &off)) {
            *ret_got = false;
            return true;
        }
        if (!directive(lx, s, e))
            return false;
        while (s.len && space(*s.ptr)) {
            s.ptr++;
            s.len--;
            off++;
        }
        if (!s.len || *s.ptr == '#')
            continue;
        l.line = lx->line;
        bool more = continues(&s, lx->escape);
        append(&l, lx->arena, s.ptr, s.len, off);
        l.end_line = lx->line;
        while (more && physical_line(lx, &s, &off)) {
            l.end_line = lx->line;
            if (is_comment(s))
                continue;
            if (!trim(s).len) {
                l.empty_continuation = true;
                continue;
            }
            more = continues(&s, lx->escape);
            append(&l, lx->arena, s.ptr, s.len, off);
        }
        /* A lone continuation mark makes an empty line, which is nothing. */
        if (!trim((Str){l.text, l.len}).len) {
            l = (LogicalLine){0};
            continue;
        }
        *ret = l;
        *ret_got = true;
        return true;
    }
}

/* Index of the physical line that holds a file offset. */
static uint32_t line_of(const Lexer *lx, uint32_t off)
{
    size_t low = 0, high = lx->nstart;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (lx->starts[mid] <= off)
            low = mid;
        else
            high = mid;
    }
    return (uint32_t)low;
}

SrcSpan lex_span(const Lexer *lx, const LogicalLine *l, size_t from, size_t to)
{
    if (from >= l->len)
        from = l->len ? l->len - 1 : 0;
    if (to > l->len)
        to = l->len;
    uint32_t start = l->pos[from];
    uint32_t end = to > from ? l->pos[to - 1] + 1 : start;
    uint32_t line = line_of(lx, start);
    return (SrcSpan){.line = line + 1,
                     .col = start - lx->starts[line] + 1,
                     .end_line = line_of(lx, end > start ? end - 1 : start) + 1,
                     .off = start,
                     .len = end - start};
}
