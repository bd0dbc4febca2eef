/*
 * context/ignore.c - turn ignore files into lists of patterns, and paths into yes or no.
 */
#include "context/ignore.h"

#include <string.h>

#include "base/fs.h"
#include "context/pattern.h"

enum { LINE_MAX_BYTES = 64 << 10 }; /* where Go's bufio.Scanner, and so moby, gives up */

struct Ignore {
    Pattern *patterns;
    size_t n, cap;
    bool has_include;
};

/* ---- reading ---- */

/* White space as Go's unicode.IsSpace has it. */
static const RuneRange SPACES[] = {
    {'\t', '\r'},     {' ', ' '},       {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
    {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
};

/* The size of the white space that a string starts with: one rune of it, or 0. */
static size_t space_size(const char *s)
{
    uint32_t rune;
    size_t size = utf8_rune(s, &rune);
    return size && runes_have(SPACES, NELEM(SPACES), rune) ? size : 0;
}

/* Trim white space at both ends, in place. */
static char *trim(char *s)
{
    for (size_t n; (n = space_size(s));)
        s += n;
    for (char *end = s + strlen(s), *rune; end > s; end = rune) {
        rune = end - 1;
        while (rune > s && (*rune & 0xC0) == 0x80)
            rune--;
        if (rune + space_size(rune) != end)
            break;
        *rune = 0;
    }
    return s;
}

/* Append what patternmatcher.New makes of one text; `text` is ours to change. */
static bool add_pattern(Arena *a, Ignore *ig, char *text, uint32_t line, Err *e)
{
    Pattern pt = {.line = line};

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
    ig->has_include |= pt.include;
    return true;
}

bool ignore_from_patterns(Arena *a, const StrList *patterns, Ignore **ret, Err *e)
{
    Ignore *ig = NEW(a, Ignore);

    for (size_t i = 0; i < patterns->n; i++)
        if (!add_pattern(a, ig, arena_strdup(a, patterns->v[i]), (uint32_t)i + 1, e))
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
    return add_pattern(a, ig, read_line(a, line), nr, e);
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

/* ---- matching ---- */

static bool is_root(const char *path)
{
    return !*path || !strcmp(path, ".");
}

static bool bit(const uint64_t *bits, size_t i)
{
    return bits[i / 64] >> i % 64 & 1;
}

/* Report pattern `i`, or none when `i` is their number. */
static bool decide(const Ignore *ig, size_t i, bool *ret_excluded, uint32_t *ret_line)
{
    bool found = i < ig->n;
    *ret_excluded = found && !ig->patterns[i].include;
    *ret_line = found ? ig->patterns[i].line : 0;
    return found;
}

/* The last pattern that matches the path or above it; ig->n when none does. */
static size_t deciding(const Ignore *ig, const char *path)
{
    for (size_t i = ig->n; i-- > 0;)
        if (pattern_covers(&ig->patterns[i], path))
            return i;
    return ig->n;
}

bool ignore_match(const Ignore *ig, const char *path, bool *ret_excluded, uint32_t *ret_line)
{
    return decide(ig, is_root(path) ? ig->n : deciding(ig, path), ret_excluded, ret_line);
}

bool ignore_match_in(const Ignore *ig, const IgnoreState *parent, const char *path,
                     bool *ret_excluded, uint32_t *ret_line)
{
    size_t len = strlen(path);

    for (size_t i = ig->n; i-- > 0;)
        if (bit(parent->matched, i) || pattern_has(&ig->patterns[i], path, len))
            return decide(ig, i, ret_excluded, ret_line);
    return decide(ig, ig->n, ret_excluded, ret_line);
}

/* Can a `!` pattern from number `from` on match something strictly below `dir`? */
static bool may_include_below(const Ignore *ig, const char *dir, size_t from)
{
    if (!ig->has_include)
        return false;
    scoped(buf) Buf stem = BUF_INIT;
    if (!is_root(dir))
        buf_printf(&stem, "%s/", dir);
    for (size_t i = from; i < ig->n; i++)
        if (ig->patterns[i].include &&
            pattern_may_continue(&ig->patterns[i], buf_str(&stem), stem.len))
            return true;
    return false;
}

bool ignore_may_reinclude(const Ignore *ig, const char *dir)
{
    /* What excludes `dir` also excludes what is below: the patterns before it have lost. */
    size_t i = is_root(dir) ? ig->n : deciding(ig, dir);
    bool excluded = i < ig->n && !ig->patterns[i].include;
    return may_include_below(ig, dir, excluded ? i + 1 : 0);
}

IgnoreState ignore_enter(Arena *a, const Ignore *ig, const IgnoreState *parent, const char *dir)
{
    IgnoreState st = {.matched = NEW_N(a, uint64_t, (ig->n + 63) / 64)};
    size_t len = strlen(dir), last = ig->n;

    for (size_t i = 0; i < ig->n && !is_root(dir); i++) {
        const Pattern *pt = &ig->patterns[i];
        bool inherited = parent && bit(parent->matched, i);
        if (!inherited && !(parent ? pattern_has(pt, dir, len) : pattern_covers(pt, dir)))
            continue;
        st.matched[i / 64] |= UINT64_C(1) << i % 64;
        last = i;
    }
    (void)decide(ig, last, &st.excluded, &st.line);
    st.prune = st.excluded && !may_include_below(ig, dir, last + 1);
    return st;
}
