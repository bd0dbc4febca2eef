/*
 * context/ignore.c - turn ignore files into lists of patterns, and paths into yes or no.
 */
#include "context/ignore.h"

#include <string.h>

#include "base/fs.h"

enum { LINE_MAX_BYTES = 64 << 10 }; /* where Go's bufio.Scanner, and so moby, gives up */

struct Ignore {
    Pattern *patterns;
    size_t n, cap;
    bool has_include;
    bool has_wild_include; /* a `!` pattern that is not plain */
};

/* ---- reading ---- */

/* Trim white space at both ends, in place. */
static char *trim(char *s)
{
    Str t = str_trim(str_c(s));

    s += t.ptr - s;
    s[t.len] = 0;
    return s;
}

/*
 * Append what patternmatcher.New makes of one text, which is ours to change; `written` is what
 * messages show.
 */
static bool add_pattern(Arena *a, Ignore *ig, char *text, uint32_t line, const char *written,
                        Err *e)
{
    Pattern pt = {.line = line, .written = written};

    text = trim(text);
    if (!*text)
        return true;
    text = path_clean(a, text);
    pt.include = *text == '!';
    if (pt.include && !*++text)
        return err_set(e, ERR_DOCKERFILE, "'!' without a pattern");
    if (!pattern_compile(a, text, &pt))
        return err_set(e, ERR_DOCKERFILE, "malformed pattern '%s'", text);
    *ARENA_PUSH(a, ig->patterns, ig->n, ig->cap) = pt;
    if (pt.include) {
        ig->has_include = true;
        ig->has_wild_include |= !pt.plain;
    }
    return true;
}

bool ignore_from_patterns(Arena *a, const StrList *patterns, Ignore **ret, Err *e)
{
    Ignore *ig = NEW(a, Ignore);

    for (size_t i = 0; i < patterns->n; i++)
        if (!add_pattern(a, ig, arena_strdup(a, patterns->v[i]), (uint32_t)i + 1,
                         trim(arena_strdup(a, patterns->v[i])), e))
            return false;
    *ret = ig;
    return true;
}

static Str next_line(Str *text)
{
    const char *end = memchr(text->ptr, '\n', text->len);
    Str line = {text->ptr, end ? (size_t)(end - text->ptr) : text->len};
    size_t used = line.len + (end != NULL);

    text->ptr += used;
    text->len -= used;
    return line;
}

/* What ignorefile.ReadAll makes of a line that is no comment: a clean path, `!` kept in front. */
static char *read_line(Arena *a, Str line)
{
    char *text = trim(arena_strndup(a, line.ptr, line.len));
    bool include = *text == '!';

    if (include)
        text = trim(text + 1);
    if (*text)
        text = path_clean(a, text);
    if (text[0] == '/' && text[1])
        text++;
    return include ? arena_printf(a, "!%s", text) : text;
}

static bool add_line(Arena *a, Ignore *ig, Str line, uint32_t nr, Err *e)
{
    if (line.len >= LINE_MAX_BYTES)
        return err_set(e, ERR_DOCKERFILE, "line of %zu bytes", line.len);
    if (memchr(line.ptr, 0, line.len))
        return err_set(e, ERR_DOCKERFILE, "NUL byte; the file must be UTF-8");
    if (line.len && line.ptr[0] == '#')
        return true;
    return add_pattern(a, ig, read_line(a, line), nr, trim(arena_strndup(a, line.ptr, line.len)),
                       e);
}

bool ignore_parse(Arena *a, Str text, const char *file, Ignore **ret, Err *e)
{
    static const char BOM[] = "\xEF\xBB\xBF";
    Ignore *ig = NEW(a, Ignore);

    if (text.len >= 3 && !memcmp(text.ptr, BOM, 3))
        text = (Str){text.ptr + 3, text.len - 3};
    for (uint32_t nr = 1; text.len; nr++)
        if (!add_line(a, ig, next_line(&text), nr, e))
            return err_wrap(e, "%s:%u", file, nr);
    *ret = ig;
    return true;
}

size_t ignore_count(const Ignore *ig)
{
    return ig->n;
}

const Pattern *ignore_pattern(const Ignore *ig, size_t i)
{
    return &ig->patterns[i];
}

/* ---- one path ---- */

static bool is_root(const char *path)
{
    return !*path || !strcmp(path, ".");
}

bool ignore_match(const Ignore *ig, const char *path, bool *ret_excluded, uint32_t *ret_line)
{
    size_t i = is_root(path) ? 0 : ig->n;

    while (i > 0 && !pattern_covers(&ig->patterns[i - 1], path))
        i--;
    *ret_excluded = i > 0 && !ig->patterns[i - 1].include;
    *ret_line = i > 0 ? ig->patterns[i - 1].line : 0;
    return i > 0;
}

/* ---- walking ---- */

static bool bit(const uint64_t *bits, size_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

size_t ignore_words(const Ignore *ig)
{
    return (ig->n + 63) / 64;
}

IgnoreState ignore_top(const Ignore *ig, uint64_t *bits)
{
    memset(bits, 0, ignore_words(ig) * sizeof *bits);
    return (IgnoreState){.decider = IGNORE_NONE, .matched = bits};
}

bool ignore_has_matched(const IgnoreState *st, uint32_t i)
{
    return bit(st->matched, i);
}

uint32_t ignore_decide(const Ignore *ig, const IgnoreState *up, const char *path, size_t len)
{
    uint32_t decider = up->decider;
    bool excluded = up->excluded;

    if (up->prune)
        return decider;
    /* No pattern behind the parent's decider is inherited, and none before it can win. */
    for (uint32_t i = decider == IGNORE_NONE ? 0 : decider + 1; i < ig->n; i++) {
        const Pattern *pt = &ig->patterns[i];
        if (pt->include != excluded || !pattern_has(pt, path, len))
            continue;
        excluded = !excluded;
        decider = i;
    }
    return decider;
}

bool ignore_excludes(const Ignore *ig, uint32_t decider)
{
    return decider != IGNORE_NONE && !ig->patterns[decider].include;
}

/* Is `stem` the directory, or below it? */
static bool is_within(const char *stem, const char *dir, size_t len)
{
    return !strncmp(stem, dir, len) && (!stem[len] || stem[len] == '/');
}

/* Does the reference look into an excluded directory? */
static bool is_descended(const Ignore *ig, const char *dir, size_t len)
{
    if (ig->has_wild_include)
        return true;
    for (size_t i = 0; i < ig->n; i++)
        if (ig->patterns[i].include && is_within(ig->patterns[i].stem, dir, len))
            return true;
    return false;
}

/* Can a `!` pattern from number `from` on match something strictly below `dir`? */
static bool may_include_below(const Ignore *ig, const char *dir, size_t len, size_t from)
{
    scoped(buf) Buf start = BUF_INIT;

    buf_add(&start, dir, len);
    buf_putc(&start, '/');
    for (size_t i = from; i < ig->n; i++)
        if (ig->patterns[i].include &&
            pattern_may_continue(&ig->patterns[i], buf_str(&start), start.len))
            return true;
    return false;
}

IgnoreState ignore_enter(const Ignore *ig, const IgnoreState *up, const char *dir, size_t len,
                         uint64_t *bits)
{
    IgnoreState st = ignore_top(ig, bits);

    if (up->prune) {
        memcpy(bits, up->matched, ignore_words(ig) * sizeof *bits);
        st = *up;
        st.matched = bits;
        return st;
    }
    for (uint32_t i = 0; i < ig->n; i++) {
        const Pattern *pt = &ig->patterns[i];
        /* A pattern that could change nothing here is not tried, and so not known to match below.
         */
        if (!bit(up->matched, i) && (pt->include != st.excluded || !pattern_has(pt, dir, len)))
            continue;
        bits[i / 64] |= UINT64_C(1) << i % 64;
        st.decider = i;
        st.excluded = !pt->include;
    }
    /*
     * What excludes the directory is inherited: only `!` patterns behind it can bring something
     * back. Where the reference descends and none can, there is nothing to find.
     */
    st.prune = st.excluded && !(ig->has_include && is_descended(ig, dir, len) &&
                                may_include_below(ig, dir, len, st.decider + 1));
    return st;
}
