/*
 * source/filename.c - headers and URLs of strangers to names of files.
 *
 * Docker's builder reads Content-Disposition with Go's mime.ParseMediaType, so what that refuses
 * names nothing here, and what it forgives is forgiven.
 */
#include "source/filename.h"

#include <ctype.h>

#include "base/str.h"
#include "source/source.h"

static const char LAST_RESORT[] = "download";

enum { PARAMS_MAX = 64 };

/* ---- text ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX decoded; NULL when a % is followed by anything else, or by the NUL no name can hold. */
static char *percent_decode(Arena *a, const char *s, size_t n)
{
    scoped(buf) Buf out = BUF_INIT;
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '%') {
            buf_putc(&out, s[i]);
            continue;
        }
        int high = i + 2 < n ? hex_value(s[i + 1]) : -1, low = i + 2 < n ? hex_value(s[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0)
            return NULL;
        buf_putc(&out, (char)(high << 4 | low));
        i += 2;
    }
    return arena_strndup(a, buf_str(&out), out.len);
}

/* Unicode's White_Space, as Go's strings.TrimSpace. */
static bool is_space(uint32_t r)
{
    return (r >= 9 && r <= 13) || r == ' ' || r == 0x85 || r == 0xa0 || r == 0x1680 ||
           (r >= 0x2000 && r <= 0x200a) || r == 0x2028 || r == 0x2029 || r == 0x202f ||
           r == 0x205f || r == 0x3000;
}

static char *trim(Arena *a, const char *s)
{
    uint32_t r;
    size_t end = 0, n;
    while ((n = utf8_rune(s, &r)) && is_space(r))
        s += n;
    for (size_t i = 0; (n = utf8_rune(s + i, &r)); i += n)
        if (!is_space(r))
            end = i + n;
    return arena_strndup(a, s, end);
}

/* What stands behind the last slash, trailing ones aside. */
static char *base_of(Arena *a, const char *s)
{
    size_t end = strlen(s);
    while (end && s[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && s[start - 1] != '/')
        start--;
    return arena_strndup(a, s + start, end - start);
}

static const char *safe_name(Arena *a, const char *s)
{
    const char *name = base_of(a, trim(a, s));
    uint32_t r;
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return LAST_RESORT;
    for (size_t i = 0, n; (n = utf8_rune(name + i, &r)); i += n)
        if (r < ' ' || (r >= 0x7f && r <= 0x9f))
            return LAST_RESORT;
    return name;
}

/* ---- Content-Disposition ---- */

typedef struct Param {
    const char *key, *value; /* the key in lower case */
} Param;

typedef struct Params {
    Param v[PARAMS_MAX];
    size_t n;
} Params;

static bool is_token(char c)
{
    unsigned char u = (unsigned char)c;
    return u > ' ' && u < 0x7f && !strchr("()<>@,;:\\\"/[]?=", u);
}

static const char *token_end(const char *s)
{
    while (*s && is_token(*s))
        s++;
    return s;
}

static const char *skip_space(const char *s)
{
    uint32_t r;
    for (size_t n; (n = utf8_rune(s, &r)) && is_space(r);)
        s += n;
    return s;
}

/*
 * A value in quotes. A backslash counts as one only before a character that needs it: old browsers
 * and servers send C:\paths as they are.
 */
static char *quoted(Arena *a, const char **at)
{
    scoped(buf) Buf out = BUF_INIT;
    const char *s = *at + 1;
    for (; *s && *s != '"'; s++) {
        if (*s == '\\' && s[1] && strchr("()<>@,;:\\\"/[]?=", s[1]))
            s++;
        buf_putc(&out, *s);
    }
    if (!*s)
        return NULL;
    *at = s + 1;
    return arena_strndup(a, buf_str(&out), out.len);
}

static char *value_of(Arena *a, const char **at)
{
    if (**at == '"')
        return quoted(a, at);
    const char *start = *at;
    *at = token_end(start);
    return *at > start ? arena_strndup(a, start, (size_t)(*at - start)) : NULL;
}

static const char *param(const Params *p, const char *key)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->v[i].key, key))
            return p->v[i].value;
    return NULL;
}

/* One `; key=value`; false when it is none, or says something else than an earlier one. */
static bool take_param(Arena *a, Params *p, const char **at)
{
    const char *s = skip_space(*at);
    if (*s != ';')
        return false;
    s = skip_space(s + 1);
    const char *end = token_end(s);
    char *key = arena_strndup(a, s, (size_t)(end - s));
    for (char *c = key; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    s = skip_space(end);
    if (!*key || *s != '=' || p->n == PARAMS_MAX)
        return false;
    s = skip_space(s + 1);
    char *value = value_of(a, &s);
    const char *before = value ? param(p, key) : NULL;
    if (!value || (before && strcmp(before, value) != 0))
        return false;
    p->v[p->n++] = (Param){key, value};
    *at = s;
    return true;
}

/* A trailing semicolon is fine. */
static bool only_semicolon(const char *s)
{
    s = skip_space(s);
    return *s == ';' && !*skip_space(s + 1);
}

static bool parse_params(Arena *a, const char *s, Params *ret)
{
    const char *kind = skip_space(s), *end = token_end(kind), *sub = end + 1;
    if (end == kind || (*end == '/' && (end = token_end(sub)) == sub))
        return false;
    const char *rest = skip_space(end);
    if (*rest && *rest != ';')
        return false;
    for (s = rest; *skip_space(s);)
        if (!take_param(a, ret, &s))
            return only_semicolon(s);
    return true;
}

/* charset'language'%XX... in one of the two charsets that are UTF-8: RFC 2231, section 4. */
static const char *extended(Arena *a, const char *v)
{
    const char *first = strchr(v, '\''), *second = first ? strchr(first + 1, '\'') : NULL;
    if (!second)
        return NULL;
    char *charset = arena_strndup(a, v, (size_t)(first - v));
    for (char *c = charset; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (strcmp(charset, "utf-8") != 0 && strcmp(charset, "us-ascii") != 0)
        return NULL;
    return percent_decode(a, second + 1, strlen(second + 1));
}

/* filename*0=..., filename*1*=... put together: RFC 2231, section 3. NULL when there are none. */
static const char *continued(Arena *a, const Params *p)
{
    scoped(buf) Buf out = BUF_INIT;
    unsigned n = 0;
    for (;; n++) {
        const char *plain = param(p, arena_printf(a, "filename*%u", n));
        const char *coded = param(p, arena_printf(a, "filename*%u*", n));
        const char *text = plain;
        if (!plain && coded)
            text = n ? percent_decode(a, coded, strlen(coded)) : extended(a, coded);
        if (!plain && !coded)
            break;
        buf_puts(&out, text ? text : "");
    }
    return n ? arena_strndup(a, buf_str(&out), out.len) : NULL;
}

/* The header's filename: the forms that can say more come first. NULL when it gives none. */
static const char *disposition_name(Arena *a, const char *header)
{
    Params p = {.n = 0};
    if (!parse_params(a, header, &p))
        return NULL;
    const char *star = param(&p, "filename*");
    const char *name = star ? extended(a, star) : continued(a, &p);
    if (!name)
        name = param(&p, "filename");
    return name && *name && !str_ends(name, "/") ? base_of(a, name) : NULL;
}

/* ---- names ---- */

const char *url_base(Arena *a, const char *url)
{
    const char *slashes = strstr(url, "://"), *host = slashes ? slashes + 3 : url;
    const char *path = host + strcspn(host, "/?#");
    char *text = percent_decode(a, path, strcspn(path, "?#"));
    const char *base = text ? base_of(a, text) : "";
    return *base && strcmp(base, ".") != 0 ? base : NULL;
}

const char *http_file_name(Arena *a, const char *url, const char *wanted, const char *disposition)
{
    if (wanted && *wanted)
        return safe_name(a, wanted);
    const char *said = disposition ? disposition_name(a, disposition) : NULL;
    if (said)
        return safe_name(a, said);
    const char *base = url_base(a, url);
    return base ? safe_name(a, base) : LAST_RESORT;
}

const char *source_http_name(Arena *a, const char *url)
{
    const char *base = url_base(a, url);
    return safe_name(a, base ? base : "__unnamed__");
}
