/*
 * base/str.c - buffers, string lists, code points and environments.
 */
#include "base/str.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

char *buf_reserve(Buf *b, size_t n)
{
    size_t need;
    if (__builtin_add_overflow(b->len, n + 1, &need))
        die_nomem();
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need)
            cap *= 2;
        char *p = realloc(b->ptr, cap);
        if (!p)
            die_nomem();
        b->ptr = p;
        b->cap = cap;
    }
    b->ptr[b->len] = 0;
    return b->ptr + b->len;
}

void buf_add(Buf *b, const void *bytes, size_t n)
{
    char *p = buf_reserve(b, n);
    if (n)
        memcpy(p, bytes, n);
    b->len += n;
    b->ptr[b->len] = 0;
}

void buf_puts(Buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_putc(Buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(Buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        die_nomem();
    char *p = buf_reserve(b, (size_t)n);
    (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    b->len += (size_t)n;
}

void buf_done(Buf *b)
{
    free(b->ptr);
    *b = (Buf)BUF_INIT;
}

void strlist_add(Arena *a, StrList *l, const char *s)
{
    *ARENA_PUSH(a, l->v, l->n, l->cap) = arena_strdup(a, s);
}

void strlist_add_once(Arena *a, StrList *l, const char *s)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->v[i], s))
            return;
    strlist_add(a, l, s);
}

StrList strlist_copy(Arena *a, const StrList *l)
{
    StrList out = {0};
    for (size_t i = 0; i < l->n; i++)
        *ARENA_PUSH(a, out.v, out.n, out.cap) = l->v[i];
    return out;
}

char **strlist_argv(Arena *a, const StrList *l)
{
    char **v = NEW_N(a, char *, l->n + 1);
    for (size_t i = 0; i < l->n; i++)
        v[i] = l->v[i];
    return v;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void strlist_sort(StrList *l)
{
    if (l->n)
        qsort(l->v, l->n, sizeof *l->v, by_text);
}

bool str_same(Str a, Str b)
{
    return a.len == b.len && (!a.len || !memcmp(a.ptr, b.ptr, a.len));
}

int str_order(Str a, Str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

bool str_starts(const char *s, const char *prefix)
{
    return !strncmp(s, prefix, strlen(prefix));
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && !memcmp(s + n - m, suffix, m);
}

void str_size(uint64_t bytes, char *out, size_t cap)
{
    static const char *const UNITS[] = {"kB", "MB", "GB", "TB"};
    if (bytes < 1000) {
        (void)snprintf(out, cap, "%u B", (unsigned)bytes);
        return;
    }
    double v = (double)bytes / 1000.0;
    size_t u = 0;
    while (v >= 999.95 && u + 1 < NELEM(UNITS)) {
        v /= 1000.0;
        u++;
    }
    (void)snprintf(out, cap, v < 9.995 ? "%.2f %s" : "%.1f %s", v, UNITS[u]);
}

bool str_ram_size(const char *s, uint64_t *ret)
{
    static const char UNITS[] = "bkmgtp";
    char *end;
    double scale = 1, v = *s && !isspace((unsigned char)*s) ? strtod(s, &end) : -1;
    if (!(v >= 0) || end == s || memchr(s, 'x', (size_t)(end - s)))
        return false;
    while (*end == ' ')
        end++;
    const char *unit = *end ? strchr(UNITS, tolower((unsigned char)*end)) : NULL;
    if (*end && !unit)
        return false;
    for (const char *u = UNITS; unit && u < unit; u++)
        scale *= 1024;
    if (unit && *unit != 'b' && (!strcasecmp(end + 1, "b") || !strcasecmp(end + 1, "ib")))
        end += strlen(end + 1);
    if ((unit && end[1]) || v * scale >= 9.2e18)
        return false;
    *ret = (uint64_t)(v * scale);
    return true;
}

bool str_u64(const char *s, uint64_t max, uint64_t *ret)
{
    if (!*s)
        return false;
    uint64_t v = 0;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return false;
    }
    if (v > max)
        return false;
    *ret = v;
    return true;
}

bool str_bool(const char *s, bool *ret)
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

size_t utf8_rune(const char *s, uint32_t *ret_rune)
{
    /* The least value of each length: what a shorter form could say is not UTF-8. */
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = (unsigned char)*s;

    *ret_rune = lead;
    if (lead < 0x80)
        return lead != 0;
    size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    uint32_t rune = lead & (0xFFu >> (size + 1));
    *ret_rune = RUNE_BAD;
    if (lead < 0xC2 || lead > 0xF4)
        return 1;
    for (size_t i = 1; i < size; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 1;
        rune = rune << 6 | (s[i] & 0x3F);
    }
    if (rune < LEAST[size] || rune > 0x10FFFF || (rune >= 0xD800 && rune <= 0xDFFF))
        return 1;
    *ret_rune = rune;
    return size;
}

size_t utf8_rune_n(const char *s, size_t n, uint32_t *ret_rune)
{
    char few[5] = {0};
    if (n && (!*s || (unsigned char)*s < 0x80)) {
        *ret_rune = (unsigned char)*s;
        return 1;
    }
    memcpy(few, s, n < 4 ? n : 4);
    return utf8_rune(few, ret_rune);
}

size_t utf8_cut(const char *s, size_t n)
{
    for (size_t back = 1; back <= 3 && back < n; back++) {
        unsigned char c = (unsigned char)s[n - back];
        if (c < 0x80)
            return n;
        if (c >= 0xC0) /* it leads as many bytes as its upper bits say */
            return back < (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) ? n - back : n;
    }
    return n;
}

size_t utf8_head(const char *s, size_t max)
{
    size_t n = strnlen(s, max + 1);
    return n > max ? utf8_cut(s, max) : n;
}

static size_t env_find(const StrList *env, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < env->n; i++)
        if (!strncmp(env->v[i], name, len) && env->v[i][len] == '=')
            return i;
    return env->n;
}

size_t str_space(const char *s, size_t n)
{
    const unsigned char *u = (const unsigned char *)s;
    if (!n)
        return 0;
    if (*u < 0x80)
        return *u == ' ' || (*u >= '\t' && *u <= '\r');
    if (n >= 2 && *u == 0xC2)
        return u[1] == 0x85 || u[1] == 0xA0 ? 2 : 0;
    if (n < 3)
        return 0;
    uint32_t three = (uint32_t)u[0] << 16 | (uint32_t)u[1] << 8 | u[2];
    bool space = three == 0xE19A80 || (three >= 0xE28080 && three <= 0xE2808A) ||
                 three == 0xE280A8 || three == 0xE280A9 || three == 0xE280AF || three == 0xE2819F ||
                 three == 0xE38080;
    return space ? 3 : 0;
}

Str str_trim(Str s)
{
    for (size_t n; (n = str_space(s.ptr, s.len)) > 0;)
        s = (Str){s.ptr + n, s.len - n};
    for (size_t n = 0; n <= 3 && s.len;) { /* a blank at the end is one to three bytes long */
        n++;
        if (n <= s.len && str_space(s.ptr + s.len - n, n) == n) {
            s.len -= n;
            n = 0;
        }
    }
    return s;
}

const char *env_get(const StrList *env, const char *name)
{
    size_t i = env_find(env, name);
    return i < env->n ? env->v[i] + strlen(name) + 1 : NULL;
}

void env_set(Arena *a, StrList *env, const char *name, const char *value)
{
    char *kv = arena_printf(a, "%s=%s", name, value);
    size_t i = env_find(env, name);
    if (i < env->n)
        env->v[i] = kv;
    else
        *ARENA_PUSH(a, env->v, env->n, env->cap) = kv;
}
