/*
 * registry/challenge.h - how a server wants to be told who we are. Private to the registry room.
 */
#ifndef REGISTRY_CHALLENGE_H
#define REGISTRY_CHALLENGE_H

#include "base/arena.h"
#include "base/str.h"

typedef enum AuthKind {
    AUTH_UNKNOWN, /* not asked yet */
    AUTH_NONE,
    AUTH_BASIC,
    AUTH_BEARER,
} AuthKind;

/* What matters of WWW-Authenticate. Strings are "" where nothing is said. */
typedef struct Challenge {
    AuthKind kind;     /* AUTH_NONE: nothing that we could answer */
    const char *realm; /* AUTH_BEARER: where tokens are to be had */
    const char *service;
    const char *scope; /* scopes with spaces between */
    const char *error; /* "insufficient_scope", "invalid_token" */
} Challenge;

/*
 * challenge_parse - read one header value, which may hold several challenges. Bearer wins over
 * Basic; others are passed over. Anything may be given. Source: RFC 9110, section 11.6.1.
 *
 *   c  what an earlier header of the answer said; zeroed before the first
 */
void challenge_parse(Arena *a, const char *value, Challenge *c);

#endif
