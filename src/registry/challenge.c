/*
 * registry/challenge.c - WWW-Authenticate, as servers really write it.
 */
#include "registry/challenge.h"

#include <ctype.h>
#include <strings.h>

static bool is_token(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~/", c));
}

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

static const char *token(Arena *a, const char **at)
{
    const char *p = *at;
    while (is_token(*p))
        p++;
    const char *t = arena_strndup(a, *at, (size_t)(p - *at));
    *at = p;
    return t;
}

/* A value: a token, or a string in quotes, which may have lost its end. */
static const char *parameter(Arena *a, const char **at)
{
    scoped(buf) Buf b = BUF_INIT;
    const char *p = *at;
    if (*p != '"') {
        while (*p && !strchr(" \t,", *p))
            buf_putc(&b, *p++);
    } else {
        for (p++; *p && *p != '"'; p++) {
            if (*p == '\\' && p[1])
                p++;
            buf_putc(&b, *p);
        }
        p += *p == '"';
    }
    *at = p;
    return arena_strndup(a, buf_str(&b), b.len);
}

static AuthKind kind_of(const char *scheme)
{
    return !strcasecmp(scheme, "bearer")  ? AUTH_BEARER
           : !strcasecmp(scheme, "basic") ? AUTH_BASIC
                                          : AUTH_NONE;
}

static void set(Challenge *one, const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **slot;
    } slots[] = {{"realm", &one->realm},
                 {"service", &one->service},
                 {"scope", &one->scope},
                 {"error", &one->error}};
    for (size_t i = 0; i < NELEM(slots); i++)
        if (!strcasecmp(name, slots[i].name) && !**slots[i].slot)
            *slots[i].slot = value;
}

/* Bearer is worth more than Basic, the first of a kind more than the next. */
static void keep(Challenge *c, const Challenge *one)
{
    if (one->kind == AUTH_BEARER && !*one->realm)
        return;
    if (one->kind > c->kind && one->kind >= AUTH_BASIC)
        *c = *one;
}

void challenge_parse(Arena *a, const char *value, Challenge *c)
{
    const Challenge nothing = {AUTH_NONE, "", "", "", ""};
    Challenge one = nothing;
    if (c->kind == AUTH_UNKNOWN)
        *c = nothing;
    for (const char *p = value; *p;) {
        p += strspn(p, " \t,");
        if (!*p)
            break;
        if (!is_token(*p)) { /* what we do not understand */
            p++;
            continue;
        }
        const char *name = token(a, &p), *next = skip_blanks(p);
        if (*next == '=' && next[1] != '=') {
            p = skip_blanks(next + 1);
            set(&one, name, parameter(a, &p));
        } else { /* a scheme: what follows belongs to it */
            keep(c, &one);
            one = nothing;
            one.kind = kind_of(name);
        }
    }
    keep(c, &one);
}
