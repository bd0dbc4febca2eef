/*
 * sandbox/usernet.h - a network of the step's own that passt connects with the caller's. Private to
 * the sandbox.
 *
 * passt (by its name pasta) is a program of the user's, not root's: it opens the step's network
 * namespace, makes an interface in it, and carries what the step sends through sockets of its own.
 * A helper of the builder's starts it and ends it with the step, and with the builder.
 */
#ifndef SANDBOX_USERNET_H
#define SANDBOX_USERNET_H

#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* usernet_main - the helper: connect the network of process `pid` until SIGTERM, or until passt
 * ends. What is wrong goes to stderr. Never returns. */
_Noreturn void usernet_main(pid_t pid);

/* usernet_fail - in the builder: why passt ended before the step, by what it said. Sets ERR_ENV and
 * returns false. */
bool usernet_fail(const char *said, Err *e);

/* usernet_wait - in the step's init: wait until there is a way out. Fails with ERR_ENV. */
NODISCARD bool usernet_wait(Err *e);

/*
 * usernet_resolv - the step's resolv.conf, from the caller's. A name server of the caller's
 * loopback interface is reached through an address that passt forwards.
 */
void usernet_resolv(const char *text, Buf *out);

#endif
