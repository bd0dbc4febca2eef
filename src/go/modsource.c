/*
 * go/modsource.c - does a source file say what an index says of it?
 *
 * Go's own parser knows far more than is needed here. Where a file is written in a way that is not
 * understood, the answer is no.
 */
#include "go/modindex.h"

/* ---- names ---- */

bool go_index_lists(const char *name)
{
    static const char *const ENDINGS[] = {
        ".go", ".c", ".cc",  ".cpp", ".cxx", ".m", ".h",  ".hh",   ".hpp",     ".hxx",
        ".f",  ".F", ".for", ".f90", ".s",   ".S", ".sx", ".swig", ".swigcxx", ".syso"};
    const char *dot = strrchr(name, '.');
    if (!dot || *name == '_' || *name == '.')
        return false;
    for (size_t i = 0; i < NELEM(ENDINGS); i++)
        if (!strcmp(dot, ENDINGS[i]))
            return true;
    return false;
}

/* ---- texts ---- */

typedef struct Source {
    const GoIndexFile *file;
    Str all;
    size_t at;
    size_t directives, plus, imports; /* how many of the index's were met */
    bool go;                          /* it is a Go file */
    bool build;                       /* a //go:build line was met */
    bool header;                      /* nothing but comments was met yet */
    bool embed;                       /* it imports "embed" */
    bool wrong;
} Source;

static bool begins(Str s, const char *with)
{
    size_t n = strlen(with);
    return s.len >= n && !memcmp(s.ptr, with, n);
}

static bool ends(Str s, const char *with)
{
    size_t n = strlen(with);
    return s.len >= n && !memcmp(s.ptr + s.len - n, with, n);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* `line` begins with `word`, and the word ends there. */
static bool has_word(Str line, const char *word)
{
    size_t n = strlen(word);
    return begins(line, word) && (line.len == n || is_blank(line.ptr[n]));
}

static Str rest(const Source *s)
{
    return (Str){s->all.ptr + s->at, s->all.len - s->at};
}

/* What is left of the line, without its end. */
static Str rest_of_line(const Source *s)
{
    Str r = rest(s);
    const char *end = memchr(r.ptr, '\n', r.len);
    return (Str){r.ptr, end ? (size_t)(end - r.ptr) : r.len};
}

/* One more of a list is this text, at this place. */
static bool is_next(const GoIndexTexts *t, size_t *i, Str text, size_t offset)
{
    size_t n = (*i)++;
    return n < t->n && str_same(t->v[n].text, text) && t->v[n].offset == offset;
}

/* ---- comments before the first word ---- */

static void header_line(Source *s, Str line)
{
    const GoIndexFile *f = s->file;
    Str text = {line.ptr + 2, line.len - 2};
    while (text.len && is_blank(*text.ptr))
        text = (Str){text.ptr + 1, text.len - 1};
    if (has_word(line, "//go:build")) {
        s->wrong = s->wrong || s->build || !str_same(str_trim(line), f->constraint);
        s->build = true;
    }
    if (begins(line, "//go:binary-only-package"))
        s->wrong = true;
    if (begins(line, "//go:") && s->go)
        s->wrong = s->wrong || !is_next(&f->directives, &s->directives, line, s->at);
    if (has_word(text, "+build") && !f->constraint.len)
        s->wrong = s->wrong || s->plus >= f->plus.n ||
                   !str_same(f->plus.v[s->plus++].text, str_trim(line));
}

static void skip_comment(Source *s)
{
    if (s->all.ptr[s->at + 1] == '/') {
        Str line = rest_of_line(s);
        if (s->header)
            header_line(s, line);
        s->at += line.len;
        return;
    }
    Str r = rest(s);
    const char *end = memmem(r.ptr + 2, r.len - 2, "*/", 2);
    if (end)
        s->at += (size_t)(end - r.ptr) + 2;
    else
        s->wrong = true;
}

/* To the next word: over white space, comments and semicolons. False at the end. */
static bool skip(Source *s)
{
    while (!s->wrong && s->at < s->all.len) {
        Str r = rest(s);
        if (begins(r, "//") || begins(r, "/*"))
            skip_comment(s);
        else if (memchr(" \t\r\n\f;", *r.ptr, 6))
            s->at++;
        else
            return true;
    }
    return false;
}

/* ---- package and imports ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= '0' && c <= '9') ||
           (c & 0x80);
}

static Str word(Source *s)
{
    Str r = rest(s);
    size_t n = 0;
    while (n < r.len && is_letter(r.ptr[n]))
        n++;
    s->at += n;
    return (Str){r.ptr, n};
}

/* A path in quotes; one with escapes is not understood. */
static bool quoted(Source *s, Str *ret)
{
    Str r = rest(s);
    if (!r.len || (*r.ptr != '"' && *r.ptr != '`'))
        return false;
    const char *end = memchr(r.ptr + 1, *r.ptr, r.len - 1);
    if (!end)
        return false;
    *ret = (Str){r.ptr + 1, (size_t)(end - r.ptr) - 1};
    s->at += ret->len + 2;
    return !memchr(ret->ptr, '\\', ret->len) && !memchr(ret->ptr, '\n', ret->len);
}

/* `import` and one in parentheses: a name or a dot, perhaps, and a path. */
static void import_one(Source *s)
{
    Str path;
    size_t at = s->at;
    if (s->all.ptr[at] == '.')
        s->at++;
    else
        (void)word(s);
    if (!skip(s) || !quoted(s, &path)) {
        s->wrong = true;
        return;
    }
    s->embed = s->embed || str_eq(path, "embed");
    s->wrong = !is_next(&s->file->imports, &s->imports, path, at);
}

/* Stands behind the last of them, then: comments behind that are for embeds_right(). */
static void import_all(Source *s)
{
    size_t end = s->at;
    while (skip(s) && begins(rest(s), "import") && str_eq(word(s), "import")) {
        if (!skip(s)) {
            s->wrong = true;
        } else if (s->all.ptr[s->at] != '(') {
            import_one(s);
        } else {
            s->at++;
            while (skip(s) && s->all.ptr[s->at] != ')')
                import_one(s);
            s->wrong = s->wrong || s->at >= s->all.len;
            s->at++;
        }
        end = s->at;
    }
    s->at = end;
}

static void package_clause(Source *s)
{
    s->header = true;
    bool more = skip(s);
    s->header = false;
    s->wrong = s->wrong || !more || !str_eq(word(s), "package") || !skip(s) ||
               !str_same(word(s), s->file->package);
}

/* ---- what C and embed are told ---- */

/* All lines up to here that look like #cgo lines are those of the index. */
static bool cgo_right(const Source *s)
{
    Str want = s->file->cgo;
    Str all = {s->all.ptr, s->at < s->all.len ? s->at : s->all.len};
    bool first = true;
    for (size_t at = 0; at < all.len;) {
        const char *end = memchr(all.ptr + at, '\n', all.len - at);
        size_t n = (end ? (size_t)(end - all.ptr) : all.len) - at;
        Str line = str_trim((Str){all.ptr + at, n});
        at += n + 1;
        if (begins(line, "//"))
            line = str_trim((Str){line.ptr + 2, line.len - 2});
        if (!has_word(line, "#cgo") || line.len == 4)
            continue;
        if (!first && (!want.len || *want.ptr != '\n'))
            return false;
        want = first ? want : (Str){want.ptr + 1, want.len - 1};
        first = false;
        if (want.len < line.len || memcmp(want.ptr, line.ptr, line.len) != 0)
            return false;
        want = (Str){want.ptr + line.len, want.len - line.len};
    }
    return !want.len;
}

/* The patterns of one //go:embed line. Where they stand is counted otherwise by some versions. */
static bool patterns_right(const GoIndexTexts *want, Str line, size_t *i)
{
    for (size_t p = 0; p < line.len;) {
        size_t n = 0;
        while (p + n < line.len && !is_blank(line.ptr[p + n]))
            n++;
        Str text = {line.ptr + p, n};
        if (n && (memchr(text.ptr, '"', n) || memchr(text.ptr, '`', n) || *i >= want->n ||
                  !str_same(want->v[(*i)++].text, text)))
            return false;
        p += n + 1;
    }
    return true;
}

/* A //go:embed that begins no line, or in another text, is not understood: then the index has
 * fewer. */
static bool embeds_right(Source *s)
{
    static const char EMBED[] = "//go:embed";
    size_t i = 0;
    if (!s->embed)
        return !s->file->embeds.n;
    for (;;) {
        Str r = rest(s);
        const char *at = r.len ? memmem(r.ptr, r.len, EMBED, sizeof EMBED - 1) : NULL;
        if (!at)
            return i == s->file->embeds.n;
        for (const char *p = at; p > s->all.ptr && p[-1] != '\n'; p--)
            if (!is_blank(p[-1]))
                return false;
        s->at = (size_t)(at - s->all.ptr) + sizeof EMBED - 1;
        Str line = rest_of_line(s);
        if (!line.len || !is_blank(*line.ptr) || memchr(line.ptr, '\r', line.len) ||
            !patterns_right(&s->file->embeds, line, &i))
            return false;
    }
}

/* ---- a file ---- */

bool go_index_right(const GoIndexFile *f, Str source)
{
    Source s = {.file = f, .all = source, .go = ends(f->name, ".go")};
    if (f->odd)
        return false;
    if (ends(f->name, ".syso"))
        return true; /* go reads nothing of it */
    if (s.go) {
        package_clause(&s);
        if (!s.wrong)
            import_all(&s);
    } else {
        s.header = true;
        (void)skip(&s);
    }
    return !s.wrong && s.imports == f->imports.n && s.directives == f->directives.n &&
           s.plus == f->plus.n && s.build == (f->constraint.len > 0) && cgo_right(&s) &&
           embeds_right(&s);
}
