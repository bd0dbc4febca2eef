/*
 * sandbox/launch.h - starting the first process of a step. Private to the sandbox.
 *
 * To execute a program costs a millisecond before its main() is reached, so lighter executes itself
 * once a build: as the launcher, which has one thread and nothing of the builder's memory. For each
 * step the launcher is sent an order, and forks. What it forks is the builder's own child.
 */
#ifndef SANDBOX_LAUNCH_H
#define SANDBOX_LAUNCH_H

#include <sys/types.h>

#include "base/err.h"

/* What a process of the launcher finds, at these numbers, besides 0, 1 and 2. */
enum { FD_SPEC = 3, FD_STATUS = 4, FD_STORE = 5, FD_WARDEN = 6, FD_NFIXED = 7 };
/* The launcher's own end of the orders. */
enum { FD_ORDERS = 3 };

/* Descriptors that come with an order, in this order. */
typedef enum LaunchFd {
    LAUNCH_SPEC,
    LAUNCH_STATUS,
    LAUNCH_STORE,
    LAUNCH_OUTPUT, /* stdout and stderr; with flag LAUNCH_CALLERS: absent */
} LaunchFd;
enum { NLAUNCH_FD = LAUNCH_OUTPUT + 1 };

typedef enum LaunchFlags {
    LAUNCH_CALLERS = 1 << 0, /* stdout and stderr are the caller's */
    LAUNCH_STDIN = 1 << 1,   /* stdin is the caller's; else it is empty */
} LaunchFlags;

/* One order. The process begins in the store's directory. */
typedef struct LaunchOrder {
    unsigned flags;
    /*
     * CLONE_NEW flags: the process is born in these namespaces, and a pid namespace makes it pid 1;
     * 0: it makes its own.
     */
    uint64_t namespaces;
} LaunchOrder;

/* What the launcher answers: a pid, or -errno. */
typedef struct LaunchAnswer {
    int32_t pid;
} LaunchAnswer;

/*
 * launch - have a process started; the caller waits for it with waitpid(2).
 *
 *   fds  one for each LaunchFd, -1 for one that is absent; borrowed
 *
 * Any thread may call it once sandbox_start() was called. Fails with ERR_ENV.
 */
NODISCARD bool launch(const LaunchOrder *o, const int fds[static NLAUNCH_FD], pid_t *ret, Err *e);

/* launcher_main - the launcher. Never returns. */
_Noreturn void launcher_main(void);

/* child_main - what a launched process does, in child.c. Never returns. */
_Noreturn void child_main(uint64_t namespaces);

/* fds_send, fds_receive - a message with descriptors, over a SOCK_SEQPACKET socket. 1, 0 at the end
 * of the stream, or -1 with errno; a message of another size is EPROTO. */
int fds_send(int sock, const void *bytes, size_t n, const int *fds, size_t nfd);
int fds_receive(int sock, void *bytes, size_t n, int *fds, size_t cap, size_t *ret_nfd);

#endif
