/*
 * plan/chmod.c - octal and symbolic modes.
 */
#include "plan/chmod.h"

#include <ctype.h>

enum { BITS_ALL = 07777, BITS_X = 0111, STICKY = 01000 };

/* A mode being changed; `text` is what is not read yet. */
typedef struct Change {
    const char *text;
    uint32_t old, mode; /* before all changes, and now */
    bool is_dir;
} Change;

/* Whose bits a clause speaks of: [ugoa]*. 0: nobody was named, which means everybody. */
static uint32_t take_who(Change *c)
{
    uint32_t who = 0;
    for (;; c->text++) {
        if (*c->text == 'a')
            who |= 06777;
        else if (*c->text == 'u')
            who |= 04700;
        else if (*c->text == 'g')
            who |= 02070;
        else if (*c->text == 'o')
            who |= 0007;
        else
            return who;
    }
}

static void apply(Change *c, char op, uint32_t who, uint32_t perm)
{
    uint32_t reach = who ? who : BITS_ALL;
    if (op == '=')
        c->mode &= ~(who ? who : (uint32_t)06777);
    if (op == '-')
        c->mode &= ~(perm & reach);
    else
        c->mode |= perm & reach;
}

/* `X`: to run or enter, where that was possible before. */
static void apply_x(Change *c, uint32_t who, uint32_t perm)
{
    if ((c->old & BITS_X) || c->is_dir)
        apply(c, '+', who, perm);
}

/* `g=u`: the bits of one class, as they are now, for others; set-id bits stay. */
static void copy_class(Change *c, char op, uint32_t who, char from)
{
    uint32_t bits = (from == 'u' ? c->mode >> 6 : from == 'g' ? c->mode >> 3 : c->mode) & 7;
    uint32_t classes = who ? (who & 0400 ? 0700 : 0) | (who & 040 ? 070 : 0) | (who & 04 ? 07 : 0)
                           : (uint32_t)0777;
    bits = (bits << 6 | bits << 3 | bits) & classes;
    if (op == '=')
        c->mode &= ~classes;
    if (op == '-')
        c->mode &= ~bits;
    else
        c->mode |= bits;
}

/* What is written behind an operator and not yet done. */
typedef struct Perms {
    uint32_t who, bits, x;
    bool equal_done; /* `=` has cleared what it clears */
} Perms;

static void flush(Change *c, char op, Perms *p, bool end)
{
    if (p->bits || (end && op == '=' && !p->equal_done))
        apply(c, op, p->who, p->bits);
    if (p->x)
        apply_x(c, p->who, p->x);
    p->equal_done = p->equal_done || op == '=';
    p->bits = p->x = 0;
}

/* One letter; false: it is none that may stand behind an operator. */
static bool take_perm(Change *c, char op, Perms *p)
{
    bool others_only = p->who && !(p->who & ~0007u);
    switch (*c->text) {
    case 'r':
        p->bits |= 0444;
        return true;
    case 'w':
        p->bits |= 0222;
        return true;
    case 'x':
        p->bits |= BITS_X;
        return true;
    case 'X':
        *(op == '-' ? &p->bits : &p->x) |= BITS_X;
        return true;
    case 's':
        p->bits |= others_only ? 0 : 06000;
        return true;
    case 't':
        p->bits |= others_only ? 0 : STICKY;
        p->who |= others_only ? 0 : STICKY; /* where nobody was named, it is all that changes */
        return true;
    case 'u':
    case 'g':
    case 'o':
        flush(c, op, p, false);
        copy_class(c, op, p->who, *c->text);
        return true;
    default:
        return false;
    }
}

/*
 * One clause: who, then any number of an operator with its bits. Source: setmode(3) of BSD, which
 * BuildKit follows: a class that is copied is copied at once, in the order written.
 */
static bool clause(Change *c)
{
    uint32_t who = take_who(c);
    do {
        char op = *c->text;
        Perms p = {.who = who};
        if (op != '+' && op != '-' && op != '=')
            return false;
        for (c->text++; take_perm(c, op, &p); c->text++)
            ;
        flush(c, op, &p, true);
    } while (*c->text && *c->text != ',');
    return true;
}

static bool change_all(Change *c)
{
    if (!*c->text)
        return false;
    for (;; c->text++) {
        if (!clause(c))
            return false;
        if (!*c->text)
            return true;
    }
}

bool chmod_parse(const char *text, PlanChmod *ret, Err *e)
{
    PlanChmod out = {.text = text, .octal = isdigit((unsigned char)*text) != 0};
    Change probe = {.text = text};
    bool ok = true;
    for (const char *s = text; out.octal && ok && *s; s++) {
        ok = *s >= '0' && *s <= '7' && out.mode <= BITS_ALL;
        out.mode = out.mode * 8 + (uint32_t)(*s - '0');
    }
    if (out.octal && (!ok || out.mode > BITS_ALL))
        return err_set(e, ERR_DOCKERFILE,
                       "invalid chmod parameter: '%s'. it should be octal string and between 0 and "
                       "07777",
                       text);
    if (!out.octal && !change_all(&probe))
        return err_set(e, ERR_DOCKERFILE,
                       "invalid chmod parameter: '%s'. write an octal number, or changes such as "
                       "u=rwX,go=rX",
                       text);
    *ret = out;
    return true;
}

uint32_t plan_chmod(const PlanChmod *c, uint32_t mode, bool is_dir)
{
    Change x = {.text = c->text, .old = mode, .mode = mode, .is_dir = is_dir};
    if (!c->text)
        return mode;
    if (c->octal)
        return c->mode;
    (void)change_all(&x);
    return x.mode;
}
