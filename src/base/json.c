/*
 * base/json.c - jansson with limits.
 */
#include "base/json.h"

#include <inttypes.h>

enum { JSON_MAX = 4 << 20 }; /* the limit registries use for manifests */

bool json_parse(const char *text, size_t len, json_t **ret, Err *e)
{
    if (len > JSON_MAX)
        return err_set(e, ERR_STORE, "JSON document of %zu bytes is over the limit of %d", len,
                       JSON_MAX);
    json_error_t je;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
    if (!j)
        return err_set(e, ERR_STORE, "not valid JSON at line %d: %s", je.line, je.text);
    *ret = j;
    return true;
}

void json_text(const json_t *j, Buf *out)
{
    char *s = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    if (!s)
        die_nomem();
    buf_puts(out, s);
    free(s);
}

const char *json_str(const json_t *obj, const char *key)
{
    return json_string_value(json_object_get(obj, key));
}

const char *json_keep(Arena *a, const json_t *obj, const char *key)
{
    const char *s = json_str(obj, key);
    return s && *s ? arena_strdup(a, s) : NULL;
}

StrList json_strlist(Arena *a, const json_t *obj, const char *key)
{
    StrList l = {0};
    const json_t *arr = json_object_get(obj, key), *item;
    size_t i;
    json_array_foreach(arr, i, item) if (json_is_string(item))
        strlist_add(a, &l, json_string_value(item));
    return l;
}

void json_quote(Buf *out, const char *text, size_t n)
{
    const char *s = text, *end = text + n;
    buf_putc(out, '"');
    while (s < end) {
        const char *start = s;
        uint32_t rune;
        while (s < end && *s >= 0x20 && *s < 0x7f && *s != '"' && *s != '\\')
            s++;
        buf_add(out, start, (size_t)(s - start));
        if (s == end)
            break;
        size_t size = utf8_rune_n(s, (size_t)(end - s), &rune);
        if (*s == '"' || *s == '\\')
            buf_printf(out, "\\%c", *s);
        else if (*s == '\n')
            buf_puts(out, "\\n");
        else if (rune < 0x20 || (rune >= 0x7f && rune < 0xa0)) /* a terminal would obey it */
            buf_printf(out, "\\u%04x", rune);
        else if (size == 1)
            buf_puts(out, "\xef\xbf\xbd");
        else
            buf_add(out, s, size);
        s += size;
    }
    buf_putc(out, '"');
}

void json_put(Buf *out, const char *name, const char *text)
{
    if (!text)
        return;
    buf_printf(out, ",\"%s\":", name);
    json_quote(out, text, strlen(text));
}

void json_put_number(Buf *out, const char *name, uint64_t value)
{
    buf_printf(out, ",\"%s\":%" PRIu64, name, value);
}

void json_put_seconds(Buf *out, const char *name, uint64_t ns)
{
    buf_printf(out, ",\"%s\":%" PRIu64 ".%06" PRIu64, name, ns / 1000000000u,
               ns % 1000000000u / 1000u);
}

/* Length of the valid UTF-8 sequence at p, or 0. Source: RFC 3629, section 4. */
static size_t utf8_len(const unsigned char *p)
{
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
               : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
               : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

json_t *json_string_lossy(const char *value)
{
    json_t *s = json_string(value);
    if (s)
        return s;
    scoped(buf) Buf b = BUF_INIT;
    for (const unsigned char *p = (const unsigned char *)value; *p;) {
        size_t n = utf8_len(p);
        buf_add(&b, n ? (const char *)p : "\xef\xbf\xbd", n ? n : 3);
        p += n ? n : 1;
    }
    return json_string(buf_str(&b));
}

void json_set_str(json_t *obj, const char *key, const char *value)
{
    if (value)
        json_object_set_new(obj, key, json_string_lossy(value));
}

void json_set_lossy(json_t *obj, const char *key, json_t *value)
{
    scoped(json) json_t *name = json_string_lossy(key);
    json_object_set_new(obj, json_string_value(name), value);
}
