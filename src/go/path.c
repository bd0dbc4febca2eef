/*
 * go/path.c - which texts are paths of modules, packages and files; their escaped forms.
 */
#include "go/path.h"

#include <strings.h>

#include "base/glob.h"
#include "go/module.h"
#include "go/unicode.h"

static bool alnum(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool one_of(uint32_t c, const char *set)
{
    return c && c < 0x80 && strchr(set, (int)c);
}

static bool rune_ok(uint32_t c, PathKind kind)
{
    switch (kind) {
    case PATH_MODULE:
        return alnum(c) || one_of(c, "-._~");
    case PATH_IMPORT:
        return alnum(c) || one_of(c, "-._~+");
    case PATH_FILE:
        break;
    }
    /* No quotes, no wildcards, nothing a shell or Windows reads in its own way. */
    return c < 0x80 ? alnum(c) || one_of(c, "!#$%&()+,-.=@[]^_{}~ ") : go_rune_is_letter(c);
}

/* Names of devices: no file of Windows can be called so, whatever follows the first dot. */
static bool is_device(Str stem)
{
    static const char *const PLAIN[] = {"CON", "PRN", "AUX", "NUL"};
    for (size_t i = 0; i < NELEM(PLAIN); i++)
        if (stem.len == 3 && !strncasecmp(stem.ptr, PLAIN[i], 3))
            return true;
    return stem.len == 4 && stem.ptr[3] >= '1' && stem.ptr[3] <= '9' &&
           (!strncasecmp(stem.ptr, "COM", 3) || !strncasecmp(stem.ptr, "LPT", 3));
}

/* "x~1": what Windows calls a file whose name is too long for old programs. */
static bool is_short_name(Str stem)
{
    size_t digits = 0;
    while (digits < stem.len && stem.ptr[stem.len - 1 - digits] >= '0' &&
           stem.ptr[stem.len - 1 - digits] <= '9')
        digits++;
    return digits && digits < stem.len && stem.ptr[stem.len - 1 - digits] == '~';
}

static const char *bad_char(uint32_t c, char why[static PATH_WHY_SIZE])
{
    if (c > ' ' && c < 0x7f)
        (void)snprintf(why, PATH_WHY_SIZE, "invalid char '%c'", (int)c);
    else
        (void)snprintf(why, PATH_WHY_SIZE, "invalid char U+%04X", c);
    return why;
}

static const char *element_fault(Str elem, PathKind kind, char why[static PATH_WHY_SIZE])
{
    size_t dots = 0;
    while (dots < elem.len && elem.ptr[dots] == '.')
        dots++;
    if (!elem.len)
        return "empty path element";
    if (dots == elem.len)
        return "path element of dots only";
    if (dots && kind == PATH_MODULE)
        return "leading dot in path element";
    if (elem.ptr[elem.len - 1] == '.')
        return "trailing dot in path element";
    for (size_t at = 0; at < elem.len;) {
        uint32_t c;
        at += go_rune_at(elem.ptr + at, elem.ptr + elem.len, &c);
        if (!rune_ok(c, kind))
            return bad_char(c, why);
    }
    const char *dot = memchr(elem.ptr, '.', elem.len);
    Str stem = {elem.ptr, dot ? (size_t)(dot - elem.ptr) : elem.len};
    if (is_device(stem)) {
        (void)snprintf(why, PATH_WHY_SIZE, "'%.*s' cannot be a file's name on Windows",
                       (int)stem.len, stem.ptr);
        return why;
    }
    if (kind != PATH_FILE && is_short_name(stem))
        return "trailing tilde and digits in path element";
    return NULL;
}

/* The first element of a module path is a host name, in small letters. */
static const char *host_fault(Str path, char why[static PATH_WHY_SIZE])
{
    const char *slash = memchr(path.ptr, '/', path.len);
    size_t n = slash ? (size_t)(slash - path.ptr) : path.len;
    if (!memchr(path.ptr, '.', n))
        return "missing dot in first path element";
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)path.ptr[i];
        if (c != '-' && c != '.' && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z'))
            return bad_char(c, why);
    }
    return NULL;
}

/* How many bytes of `path` are its "/v2", or ".v1" below gopkg.in; false when it looks so only. */
static bool major_size(Str path, size_t *ret)
{
    static const char GOPKG[] = "gopkg.in/", UNSTABLE[] = "-unstable";
    bool gopkg = path.len >= sizeof GOPKG - 1 && !memcmp(path.ptr, GOPKG, sizeof GOPKG - 1),
         dot = false;
    size_t at = path.len, tail = sizeof UNSTABLE - 1;
    if (gopkg && at >= tail && !memcmp(path.ptr + at - tail, UNSTABLE, tail))
        at -= tail;
    for (; at; at--) {
        char c = path.ptr[at - 1];
        if (!(c >= '0' && c <= '9') && (gopkg || c != '.'))
            break;
        dot = dot || c == '.';
    }
    bool has = at > 1 && path.ptr[at - 1] == 'v' && path.ptr[at - 2] == (gopkg ? '.' : '/');
    *ret = 0;
    if (!has || (!gopkg && at == path.len)) /* all paths below gopkg.in name a version */
        return !gopkg;
    Str major = {path.ptr + at - 2, path.len - at + 2};
    if (major.len <= 2)
        return false;
    if (gopkg ? major.ptr[2] == '0' && !str_eq(major, ".v0")
              : dot || major.ptr[2] == '0' || str_eq(major, "/v1"))
        return false;
    *ret = major.len;
    return true;
}

const char *path_fault(Str path, PathKind kind, char why[static PATH_WHY_SIZE])
{
    size_t major;
    const char *fault;
    if (!go_utf8_valid(path))
        return "invalid UTF-8";
    if (!path.len)
        return "empty string";
    if (path.ptr[0] == '-' && kind != PATH_FILE)
        return "leading dash";
    for (size_t start = 0, i = 0; i <= path.len; i++) {
        if (i < path.len && path.ptr[i] != '/')
            continue;
        fault = element_fault((Str){path.ptr + start, i - start}, kind, why);
        if (fault)
            return fault;
        start = i + 1;
    }
    if (kind != PATH_MODULE)
        return NULL;
    fault = host_fault(path, why);
    if (!fault && !major_size(path, &major))
        fault = "invalid version";
    return fault;
}

/* ---- the door ---- */

static bool check(Str path, PathKind kind, Err *e)
{
    static const char *const KINDS[] = {"module", "import", "file"};
    char why[PATH_WHY_SIZE], shown[GO_SHOWN_SIZE];
    const char *fault = path_fault(path, kind, why);
    return !fault || err_set(e, ERR_DOCKERFILE, "malformed %s path '%s': %s", KINDS[kind],
                             go_shown_into(shown, path), fault);
}

bool go_path_check(const char *path, Err *e)
{
    return check(str_c(path), PATH_MODULE, e);
}

bool go_import_path_check(const char *path, Err *e)
{
    return check(str_c(path), PATH_IMPORT, e);
}

bool go_file_path_check(Str path, Err *e)
{
    return check(path, PATH_FILE, e);
}

bool go_path_major(const char *path, const char **ret_major)
{
    size_t n, len = strlen(path);
    if (!major_size((Str){path, len}, &n))
        return false;
    *ret_major = path + len - n;
    return true;
}

/* The first elements of `path`, as many as a pattern with `nslash` slashes has; NULL: fewer. */
static const char *first_elements(Arena *a, const char *path, size_t nslash)
{
    const char *at = path;
    for (;; at++) {
        if (*at == '/' && nslash-- == 0)
            break;
        if (!*at)
            return nslash == 0 ? path : NULL;
    }
    return arena_strndup(a, path, (size_t)(at - path));
}

bool go_path_private(const char *patterns, const char *path)
{
    scoped(arena) Arena a = {0};
    for (const char *p = patterns; *p;) {
        size_t n = strcspn(p, ","), nslash = 0;
        char *glob = arena_strndup(&a, p, n);
        p += n + (p[n] == ',');
        if (n && glob[n - 1] == '/')
            glob[--n] = 0;
        if (!n)
            continue;
        for (const char *c = glob; *c; c++)
            nslash += *c == '/';
        const char *prefix = first_elements(&a, path, nslash);
        bool match = false;
        if (prefix && glob_match(glob, prefix, &match) && match)
            return true;
    }
    return false;
}

/* ---- escaped forms ---- */

static bool escape(Arena *a, const char *s, const char **ret)
{
    char *out = arena_alloc(a, 2 * strlen(s) + 1), *w = out;
    for (; *s; s++) {
        if (*s == '!' || (unsigned char)*s >= 0x80)
            return false;
        if (*s >= 'A' && *s <= 'Z') {
            *w++ = '!';
            *w++ = (char)(*s + 'a' - 'A');
        } else {
            *w++ = *s;
        }
    }
    *ret = out;
    return true;
}

static bool unescape(Arena *a, Str s, const char **ret)
{
    char *out = arena_alloc(a, s.len + 1), *w = out;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (!c || c >= 0x80 || (c >= 'A' && c <= 'Z'))
            return false;
        if (c == '!') {
            c = ++i < s.len ? (unsigned char)s.ptr[i] : 0;
            if (c < 'a' || c > 'z')
                return false;
            c = (unsigned char)(c + 'A' - 'a');
        }
        *w++ = (char)c;
    }
    *ret = out;
    return true;
}

bool go_path_escape(Arena *a, const char *path, const char **ret, Err *e)
{
    return go_path_check(path, e) &&
           (escape(a, path, ret) || err_set(e, ERR_DOCKERFILE, "module path cannot be escaped"));
}

bool go_path_unescape(Arena *a, Str escaped, const char **ret, Err *e)
{
    const char *path;
    if (!unescape(a, escaped, &path))
        return err_set(e, ERR_DOCKERFILE, "invalid escaped module path '%s'", go_shown(a, escaped));
    if (!go_path_check(path, e))
        return false;
    *ret = path;
    return true;
}

bool go_version_escape(Arena *a, const char *version, const char **ret, Err *e)
{
    char why[PATH_WHY_SIZE];
    Str v = str_c(version);
    if (!go_utf8_valid(v) || element_fault(v, PATH_FILE, why) || !escape(a, version, ret))
        return err_set(e, ERR_DOCKERFILE, "version '%s' cannot stand in a file's name",
                       go_shown(a, v));
    return true;
}

bool go_version_unescape(Arena *a, Str escaped, const char **ret, Err *e)
{
    char why[PATH_WHY_SIZE];
    const char *version;
    if (!unescape(a, escaped, &version) || element_fault(str_c(version), PATH_FILE, why))
        return err_set(e, ERR_DOCKERFILE, "invalid escaped version '%s'", go_shown(a, escaped));
    *ret = version;
    return true;
}
