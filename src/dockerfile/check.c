/*
 * dockerfile/check.c - which warnings are wanted: the directive at the top, and comments above
 * instructions.
 */
#include "dockerfile/check.h"

#include <ctype.h>
#include <stdarg.h>
#include <strings.h>

#include "base/rune.h"

static char *trimmed(Arena *a, const char *s)
{
    Str t = str_trim(str_c(s));
    return arena_strndup(a, t.ptr, t.len);
}

static void skip_rules(Arena *a, const char *list, DfCheck *c)
{
    c->skip = (StrList){0};
    c->skip_all = c->skip_all || !strcmp(list, "all");
    for (const char *p = list;; p++) {
        size_t n = strcspn(p, ",");
        strlist_add(a, &c->skip, trimmed(a, arena_strndup(a, p, n)));
        p += n;
        if (!*p)
            return;
    }
}

static bool invalid(const char *option, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    buf_quote(&b, option);
    return err_set(e, ERR_DOCKERFILE, "invalid check option %s: write skip=A,B or error=true",
                   buf_str(&b));
}

static bool option(Arena *a, char *text, DfCheck *c, Err *e)
{
    char *eq = strchr(text, '=');
    if (!eq)
        return invalid(text, e);
    *eq = 0;
    const char *key = trimmed(a, text), *value = trimmed(a, eq + 1);
    if (!strcmp(key, "skip"))
        skip_rules(a, value, c);
    else if (!strcmp(key, "error") && !str_bool(value, &c->error))
        return err_set(e, ERR_DOCKERFILE,
                       "failed to parse check option \"error=%s\": it is true or false", value);
    else if (strcmp(key, "error") != 0 && strcmp(key, "experimental") != 0)
        return invalid(key, e);
    return true;
}

/* Source: Dockerfile reference, "check"; BuildKit, linter.ParseLintOptions. */
bool df_check(Arena *a, const char *text, DfCheck *ret, Err *e)
{
    DfCheck c = {0};
    char *rest = trimmed(a, text);
    for (unsigned n = 1; rest && *text; n++) {
        char *next = n < 3 ? strchr(rest, ';') : NULL;
        if (next)
            *next++ = 0;
        if (!(n == 1 && !next && !*rest) && !option(a, rest, &c, e))
            return false;
        rest = next;
    }
    *ret = c;
    return true;
}

/* "check=skip=A // why" among the comments above an instruction; the first one counts. */
const DfCheck *check_of(Arena *a, const StrList *comments)
{
    for (size_t i = 0; i < comments->n; i++) {
        const char *s = comments->v[i];
        Err ignored = ERR_INIT;
        DfCheck c;
        if (strncasecmp(s, "check", 5) != 0)
            continue;
        s += 5;
        s += strspn(s, " \t");
        if (*s++ != '=')
            continue;
        s += strspn(s, " \t");
        if (!*s)
            continue;
        if (!df_check(a, arena_strndup(a, s, strcspn(s, " ")), &c, &ignored))
            return NULL;
        DfCheck *keep = NEW(a, DfCheck);
        *keep = c;
        return keep;
    }
    return NULL;
}

static bool skips(const DfCheck *c, const char *rule)
{
    bool hit = c && c->skip_all;
    for (size_t i = 0; c && i < c->skip.n; i++)
        hit = hit || !strcmp(c->skip.v[i], rule);
    return hit;
}

void df_warn(Arena *a, const DfFile *f, const DfInstr *in, const char *rule, StrList *out,
             const char *fmt, ...)
{
    char text[512];
    va_list ap;
    if (skips(in->check, rule))
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    strlist_add(a, out, arena_printf(a, "%s:%u: %s (%s)", f->name, in->src.line, text, rule));
}
