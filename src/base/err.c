/*
 * base/err.c - failures as text, outer clause first.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool set_va(Err *e, ErrKind kind, int errnum, const char *fmt, va_list ap)
{
    if (e->kind != ERR_NONE)
        return false;
    e->kind = kind;

    int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (errnum && used < sizeof e->msg)
        (void)snprintf(e->msg + used, sizeof e->msg - used, ": %s", strerror(errnum));
    return false;
}

bool err_set(Err *e, ErrKind kind, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_va(e, kind, 0, fmt, ap);
    va_end(ap);
    return false;
}

bool err_errno(Err *e, ErrKind kind, const char *fmt, ...)
{
    int errnum = errno;
    va_list ap;
    va_start(ap, fmt);
    set_va(e, kind, errnum, fmt, ap);
    va_end(ap);
    return false;
}

bool err_wrap(Err *e, const char *fmt, ...)
{
    char old[ERR_MSG_MAX];
    memcpy(old, e->msg, sizeof old);

    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (used < sizeof e->msg)
        (void)snprintf(e->msg + used, sizeof e->msg - used, ": %s", old);
    return false;
}

bool err_moved(Err *e, ErrMoved how)
{
    e->moved = how;
    return false;
}

void die_nomem(void)
{
    static const char msg[] = "lighter: out of memory\n";
    (void)!write(2, msg, sizeof msg - 1);
    abort();
}
