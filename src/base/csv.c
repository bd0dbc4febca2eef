/*
 * base/csv.c - one line of comma separated values.
 */
#include "base/csv.h"

static bool take_field(Arena *a, const char **text, char **ret, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    const char *s = *text;
    if (*s != '"') {
        size_t n = strcspn(s, ",");
        if (memchr(s, '"', n))
            return err_set(e, ERR_USAGE, "bare \" in '%s'", s);
        *ret = arena_strndup(a, s, n);
        *text = s + n;
        return true;
    }
    for (s++;; s++) {
        if (!*s)
            return err_set(e, ERR_USAGE, "unclosed \" in '%s'", *text);
        if (*s == '"' && *++s != '"')
            break;
        buf_putc(&b, *s);
    }
    if (*s && *s != ',')
        return err_set(e, ERR_USAGE, "text after \" in '%s'", *text);
    *ret = arena_strdup(a, buf_str(&b));
    *text = s;
    return true;
}

bool csv_fields(Arena *a, const char *text, StrList *ret, Err *e)
{
    StrList l = {0};
    for (const char *s = text;;) {
        char *field = NULL;
        if (!take_field(a, &s, &field, e))
            return false;
        strlist_add(a, &l, field);
        if (!*s)
            break;
        s++;
        if (!*s) {
            strlist_add(a, &l, "");
            break;
        }
    }
    *ret = l;
    return true;
}
