/*
 * sandbox/relay.h - sockets in a step that lead to sockets of the caller. Private to the sandbox.
 *
 * The step gets a socket of its own, with the owner and mode that were asked for; the builder
 * listens on it, and passes bytes on to the caller's. So what the caller's socket allows does not
 * depend on who the step is, and nothing of it is mounted.
 */
#ifndef SANDBOX_RELAY_H
#define SANDBOX_RELAY_H

#include <poll.h>

#include "sandbox/spec.h"

/* Connections of one step at a time; more wait. */
enum { RELAY_MAX_LINKS = 32, RELAY_MAX_POLL = 64 + 2 * RELAY_MAX_LINKS };

typedef struct Relay Relay;

/* relay_socket - where the socket of mount `i` lies, relative to the store; in the arena. */
char *relay_socket(Arena *a, const SandboxSpec *spec, size_t i);

/*
 * relay_new - listen for all SANDBOX_SOCKETs of a step; lives in the arena until relay_done().
 * *ret is NULL when it has none. Fails with ERR_ENV.
 */
NODISCARD bool relay_new(Arena *a, const SandboxSpec *spec, Relay **ret, Err *e);
void relay_done(Relay *r);
static inline void scoped_relay_done(Relay **r)
{
    relay_done(*r);
}

/* relay_poll - what to wait for; how many there are, at most RELAY_MAX_POLL. NULL has none. */
size_t relay_poll(Relay *r, struct pollfd *p);
/* relay_step - do what can be done; `p` is what relay_poll() gave, after poll(2). */
void relay_step(Relay *r, const struct pollfd *p);

#endif
