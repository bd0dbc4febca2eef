/*
 * go/url.c - URLs taken apart, and the escapes of their paths.
 */
#include "go/url.h"

#include <arpa/inet.h>
#include <ctype.h>

/* What a part of a URL may hold beside letters and digits. Source: RFC 3986 as net/url has it. */
static const char PATH_KEEPS[] = "-_.~$&+,/:;=@";
static const char ELEMENT_KEEPS[] = "-_.~$&+/:=@"; /* of each element, and the slashes between */
static const char USER_ALLOWS[] = "-._:~!$&'()*+,;=%@";
static const char HOST_ALLOWS[] = "-_.~!$&'()*+,;=:[]<>\"";

static bool plain(char c, const char *others)
{
    return (isascii((unsigned char)c) && isalnum((unsigned char)c)) || (c && strchr(others, c));
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%XX" at `s` stands for; -1 when it is none. */
static int escaped(const char *s)
{
    int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);
    return lo < 0 ? -1 : hi << 4 | lo;
}

static const char *encode(Arena *a, const char *s, const char *keeps)
{
    static const char HEX[] = "0123456789ABCDEF";
    char *out = arena_alloc(a, strlen(s) * 3 + 1), *w = out;
    for (; *s; s++) {
        if (plain(*s, keeps)) {
            *w++ = *s;
            continue;
        }
        *w++ = '%';
        *w++ = HEX[(unsigned char)*s >> 4];
        *w++ = HEX[(unsigned char)*s & 15];
    }
    return out;
}

/* NULL: a broken escape, or one of a NUL, which no C string can hold. */
static const char *decode(Arena *a, const char *s)
{
    char *out = arena_alloc(a, strlen(s) + 1), *w = out;
    for (; *s; s++) {
        int c = *s == '%' ? escaped(s) : (unsigned char)*s;
        if (c <= 0)
            return NULL;
        if (*s == '%')
            s += 2;
        *w++ = (char)c;
    }
    return out;
}

static char *cut(Arena *a, char *s, char c)
{
    char *at = strchr(s, c);
    if (!at)
        return NULL;
    *at = 0;
    return arena_strdup(a, at + 1);
}

/* The scheme in front of a colon, in small letters; "" for none, NULL for a colon alone. */
static const char *scheme(Arena *a, const char *s)
{
    size_t n = 0;
    while (plain(s[n], "+-."))
        n++;
    if (s[n] != ':' || (n && !isalpha((unsigned char)s[0])))
        return "";
    if (!n)
        return NULL;
    char *out = arena_strndup(a, s, n);
    for (char *c = out; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return out;
}

static bool port_ok(const char *s)
{
    return !*s || (*s == ':' && strspn(s + 1, "0123456789") == strlen(s + 1));
}

/* In a host an escape stands for a byte that is not ASCII, or for '%'. */
static bool host_chars_ok(const char *s)
{
    for (; *s; s++) {
        int c = *s == '%' ? escaped(s) : (unsigned char)*s;
        if (*s == '%' ? c < 0x80 && c != '%' : c < 0x80 && !plain(*s, HOST_ALLOWS))
            return false;
        if (*s == '%')
            s += 2;
    }
    return true;
}

/* A zone may escape what a host could hold, and blanks. */
static bool zone_ok(const char *s)
{
    for (; *s; s++) {
        int c = *s == '%' ? escaped(s) : (unsigned char)*s;
        if (c < 0 || (*s != '%' && c < 0x80 && !plain(*s, HOST_ALLOWS)))
            return false;
        if (*s == '%' && c != '%' && c != ' ' && (c >= 0x80 || !plain((char)c, HOST_ALLOWS)))
            return false;
        if (*s == '%')
            s += 2;
    }
    return true;
}

static const char *literal_fault(Arena *a, const char *host)
{
    struct in6_addr ignored;
    const char *close = strrchr(host, ']');
    if (!close)
        return "missing ']' in host";
    if (!port_ok(close + 1))
        return "invalid port after host";
    char *name = arena_strndup(a, host + 1, (size_t)(close - host - 1));
    char *zone = strstr(name, "%25");
    if (zone) {
        if (!zone_ok(zone) || !zone[3])
            return "invalid zone in host";
        *zone = 0;
    }
    return inet_pton(AF_INET6, name, &ignored) == 1 ? NULL : "invalid address in host";
}

static const char *host_fault(Arena *a, const char *scheme_name, const char *host)
{
    const char *open = strrchr(host, '[');
    if (open && open > host)
        return "invalid IP-literal";
    if (open)
        return literal_fault(a, host);
    bool web = !strcmp(scheme_name, "http") || !strcmp(scheme_name, "https");
    const char *colon = web ? strchr(host, ':') : strrchr(host, ':');
    if (colon && !port_ok(colon))
        return "invalid port after host";
    return host_chars_ok(host) ? NULL : "invalid character in host name";
}

static const char *authority(Arena *a, char *text, GoUrl *u)
{
    char *at = strrchr(text, '@');
    u->host = at ? at + 1 : text;
    u->has_user = at != NULL;
    const char *fault = host_fault(a, u->scheme, u->host);
    if (fault || !at)
        return fault;
    *at = 0;
    for (const char *c = text; *c; c++)
        if (!plain(*c, USER_ALLOWS))
            return "invalid userinfo";
    return decode(a, text) ? NULL : "invalid escape in userinfo";
}

const char *go_url_parse(Arena *a, const char *text, GoUrl *ret)
{
    GoUrl u = {.host = "", .path = ""};
    char *rest = arena_strdup(a, text);
    const char *fragment = cut(a, rest, '#');
    bool star = !strcmp(rest, "*");
    for (const char *c = rest; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return "invalid control character in URL";
    u.scheme = scheme(a, rest);
    if (!u.scheme)
        return "missing protocol scheme";
    rest += *u.scheme ? strlen(u.scheme) + 1 : 0;
    u.has_query = strchr(rest, '?') != NULL; /* an empty one counts: Go's ForceQuery */
    (void)cut(a, rest, '?');
    u.has_fragment = fragment && *fragment;
    if (*rest != '/' && *u.scheme)
        u.opaque = *rest != 0;
    else if (*rest != '/' && memchr(rest, ':', strcspn(rest, "/")))
        return "first path segment in URL cannot contain colon";
    u.no_host = *u.scheme && rest[0] == '/' && rest[1] != '/';
    if (!strncmp(rest, "//", 2) && (*u.scheme || rest[2] != '/')) {
        size_t n = strcspn(rest + 2, "/");
        const char *fault = authority(a, arena_strndup(a, rest + 2, n), &u);
        if (fault)
            return fault;
        rest += 2 + n;
    }
    if (!u.opaque) {
        u.path = decode(a, rest);
        if (!u.path)
            return "invalid escape in path";
        u.odd_path = !star && strcmp(encode(a, u.path, PATH_KEEPS), rest) != 0;
    }
    if (u.has_fragment && !decode(a, fragment))
        return "invalid escape in fragment";
    *ret = u;
    return NULL;
}

const char *go_url_escape(Arena *a, const char *path)
{
    return encode(a, path, ELEMENT_KEEPS);
}

const char *go_url_unescape(Arena *a, Str path)
{
    char *out = arena_alloc(a, path.len + 1), *w = out;
    for (size_t i = 0; i < path.len; i++) {
        int c = (unsigned char)path.ptr[i];
        if (c == '%') {
            char three[4] = {0};
            memcpy(three, path.ptr + i, path.len - i < 3 ? path.len - i : 3);
            c = escaped(three);
            if (c == '/')
                return NULL;
            i += 2;
        }
        if (c < ' ' || c == 0x7f)
            return NULL;
        *w++ = (char)c;
    }
    return out;
}
