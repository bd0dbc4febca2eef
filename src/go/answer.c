/*
 * go/answer.c - what a proxy tells of versions.
 */
#include <strings.h>
#include <time.h>

#include "base/json.h"
#include "go/request.h"
#include "go/unicode.h"

/* A member of an object, found as Go finds it: whatever its case. */
static const json_t *member(json_t *obj, const char *name)
{
    const json_t *exact = json_object_get(obj, name);
    if (exact)
        return exact;
    for (void *i = json_object_iter(obj); i; i = json_object_iter_next(obj, i))
        if (!strcasecmp(json_object_iter_key(i), name))
            return json_object_iter_value(i);
    return NULL;
}

/* `n` digits at *s, which is moved behind them and the character that must follow. */
static bool digits(const char **s, size_t n, char then, int *ret)
{
    int v = 0;
    for (; n; n--, (*s)++) {
        if (**s < '0' || **s > '9')
            return false;
        v = v * 10 + (**s - '0');
    }
    *ret = v;
    return !then || *(*s)++ == then;
}

/* "Z", "+01:00", "-01:00" to seconds east. */
static bool zone(const char *s, int64_t *ret)
{
    int hour = 0, minute = 0, sign = *s == '-' ? -1 : 1;
    bool none = !strcmp(s, "Z");
    if (!none && *s != '+' && *s != '-')
        return false;
    s++;
    if (!none && (!digits(&s, 2, ':', &hour) || !digits(&s, 2, 0, &minute) || *s))
        return false;
    *ret = sign * (int64_t)(hour * 3600 + minute * 60);
    return hour <= 24 && minute <= 60; /* Go takes offsets that some people do write */
}

/* 2006-01-02T15:04:05.999Z, the hour in one digit too, and a comma for the dot, as Go reads it. */
static bool rfc3339(const char *s, int64_t *ret)
{
    static const int DAYS[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct tm tm = {0};
    int64_t east;
    if (!digits(&s, 4, '-', &tm.tm_year) || !digits(&s, 2, '-', &tm.tm_mon) ||
        !digits(&s, 2, 'T', &tm.tm_mday) ||
        !digits(&s, *s && s[1] == ':' ? 1 : 2, ':', &tm.tm_hour) ||
        !digits(&s, 2, ':', &tm.tm_min) || !digits(&s, 2, 0, &tm.tm_sec))
        return false;
    int year = tm.tm_year, leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    bool month = tm.tm_mon >= 1 && tm.tm_mon <= 12;
    int last = !month ? 0 : tm.tm_mon == 2 && !leap ? 28 : DAYS[tm.tm_mon - 1];
    if (tm.tm_mday < 1 || tm.tm_mday > last || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 59)
        return false;
    bool dot = *s == '.' || *s == ',';
    size_t fraction = dot ? strspn(s + 1, "0123456789") : 0;
    if (dot && !fraction)
        return false;
    if (!zone(s + fraction + (fraction > 0), &east))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret = (int64_t)timegm(&tm) - east;
    return true;
}

static bool bad(Err *e, const char *what)
{
    return err_set(e, ERR_NETWORK, "invalid answer from proxy: %s", what);
}

bool go_info_parse(Arena *a, const GoRequest *asked, Str text, GoInfo *ret, Err *e)
{
    Err why = ERR_INIT;
    GoInfo i = {0};
    scoped(json) json_t *j = NULL;
    if (!json_parse(text.ptr, text.len, &j, &why))
        return bad(e, why.msg);
    const json_t *version = member(j, "Version"), *time = member(j, "Time");
    if (!json_is_string(version) || !go_version_valid(json_string_value(version)))
        return bad(e, "it names no version");
    i.version = arena_strdup(a, json_string_value(version));
    if (asked->canonical && strcmp(i.version, asked->mod.version) != 0)
        return err_set(e, ERR_NETWORK,
                       "proxy returned info for version %s instead of requested version %s",
                       go_shown(a, str_c(i.version)), asked->mod.version);
    if (time && !json_is_null(time)) {
        if (!json_is_string(time) || !rfc3339(json_string_value(time), &i.time))
            return bad(e, "its time is none");
        i.has_time = true;
    }
    *ret = i;
    return true;
}

StrList go_list_parse(Arena *a, Str text)
{
    StrList l = {0};
    for (size_t at = 0; at < text.len;) {
        const char *line = text.ptr + at, *nl = memchr(line, '\n', text.len - at);
        size_t n = nl ? (size_t)(nl - line) : text.len - at, len = 0;
        at += n + 1;
        Str s = str_trim((Str){line, n});
        while (len < s.len && !str_space(s.ptr + len, s.len - len))
            len++;
        const char *v = arena_strndup(a, s.ptr, len);
        if (strlen(v) == len && go_version_valid(v) && !go_version_is_pseudo(v))
            strlist_add(a, &l, v);
    }
    return l;
}
