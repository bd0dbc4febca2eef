/*
 * dockerfile/duration.c - read Go's durations.
 */
#include "dockerfile/duration.h"

#include <ctype.h>
#include <string.h>

#include "base/rune.h"

static const struct {
    const char *name;
    uint64_t ns;
} UNITS[] = {
    {"ns", 1},           {"us", 1000},      {"\xC2\xB5s", 1000}, /* micro sign */
    {"\xCE\xBCs", 1000},                                         /* Greek mu */
    {"ms", 1000000},     {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000},
};

static bool wrong(Err *e, const char *what, Str unit, const char *text)
{
    scoped(buf) Buf b = BUF_INIT;
    if (unit.len)
        buf_printf(&b, "\"%.*s\" in duration ", (int)unit.len, unit.ptr);
    buf_quote(&b, text);
    return err_set(e, ERR_DOCKERFILE, "time: %s %s: write 30s, 1m30s or 500ms", what, buf_str(&b));
}

/* One "1.5h" of `all`: a number and a unit, added to *sum. */
static bool part(const char *all, const char **text, uint64_t *sum, Err *e)
{
    static const Str NONE = {"", 0};
    const char *s = *text;
    uint64_t whole = 0, frac = 0, scale = 1;
    bool digits = false;
    for (; isdigit((unsigned char)*s); s++, digits = true)
        if (__builtin_mul_overflow(whole, (uint64_t)10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*s - '0'), &whole))
            return wrong(e, "invalid duration", NONE, all);
    if (*s == '.')
        for (s++; isdigit((unsigned char)*s); s++, digits = true)
            if (scale < 1000000000000000) { /* digits behind that change no nanosecond */
                frac = frac * 10 + (uint64_t)(*s - '0');
                scale *= 10;
            }
    Str unit = {s, strcspn(s, ".0123456789")};
    if (!digits || !unit.len)
        return wrong(e, digits ? "missing unit in duration" : "invalid duration", NONE, all);
    for (size_t i = 0; i < NELEM(UNITS); i++) {
        uint64_t v;
        if (!str_eq(unit, UNITS[i].name))
            continue;
        *text = s + unit.len;
        if (__builtin_mul_overflow(whole, UNITS[i].ns, &v) || v > INT64_MAX)
            return wrong(e, "invalid duration", NONE, all);
        v += (uint64_t)((double)frac * ((double)UNITS[i].ns / (double)scale));
        *sum += v; /* neither is over 2^63 */
        return *sum <= INT64_MAX || wrong(e, "invalid duration", NONE, all);
    }
    return wrong(e, "unknown unit", unit, all);
}

bool go_duration(const char *text, int64_t *ret, Err *e)
{
    const char *s = text;
    uint64_t sum = 0;
    bool minus = *s == '-';
    if (*s == '-' || *s == '+')
        s++;
    bool zero = !strcmp(s, "0");
    if (!*s)
        return wrong(e, "invalid duration", (Str){"", 0}, text);
    while (*s && !zero)
        if (!part(text, &s, &sum, e))
            return false;
    *ret = minus ? -(int64_t)sum : (int64_t)sum;
    return true;
}
