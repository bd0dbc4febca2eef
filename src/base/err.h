/*
 * base/err.h - the one way to fail.
 *
 * A fallible function returns bool and takes an Err last. The innermost function sets it, callers
 * may put one clause in front, main.c prints it once. The kind is the process' exit code, because
 * it says what the *user* can do about it.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/defs.h"

typedef enum ErrKind {
    ERR_NONE = 0,
    ERR_STEP = 1,       /* a step of the Dockerfile failed */
    ERR_USAGE = 2,      /* the command line */
    ERR_DOCKERFILE = 3, /* the Dockerfile, or a file it names */
    ERR_NETWORK = 4,    /* a registry or another server */
    ERR_CHECK = 5,      /* a check or policy said no */
    ERR_ENV = 6,        /* the machine lacks something */
    ERR_STORE = 7,      /* the store or the disk below it */
} ErrKind;

/* Longest message kept; longer ones are cut, never overrun. */
enum { ERR_MSG_MAX = 4096 };

/* What was read has changed meanwhile, or is gone: the same may succeed when it is done again. */
typedef enum ErrMoved { MOVED_NOT, MOVED_CHANGED, MOVED_GONE } ErrMoved;

typedef struct Err {
    ErrKind kind;
    ErrMoved moved;
    char msg[ERR_MSG_MAX]; /* outer clause first, no newline at the end */
} Err;

#define ERR_INIT                                                                                   \
    {                                                                                              \
        .kind = 0, .msg = {0},                                                                     \
    }

/* err_set - record a failure; the first one wins. Returns false, so that callers `return
 * err_set(...)`. */
bool err_set(Err *e, ErrKind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* err_errno - like err_set, and ends the message with strerror(errno). */
bool err_errno(Err *e, ErrKind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* err_wrap - put "clause: " in front of the message that is there. Returns false. */
bool err_wrap(Err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* err_moved - say of a failure that it may not come again. Returns false. */
bool err_moved(Err *e, ErrMoved how);

/* die_nomem - end the process: lighter does not go on without memory. */
_Noreturn void die_nomem(void);

#endif
