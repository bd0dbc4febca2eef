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

/* Descriptors that may come with an order, in this order. */
typedef enum LaunchFd {
    LAUNCH_OUTPUT, /* stdout and stderr; absent: the caller's */
    LAUNCH_SPEC,
    LAUNCH_STATUS,
    LAUNCH_STORE,  /* the process begins in this directory */
    LAUNCH_CGROUP, /* and is born in this control group */
} LaunchFd;
enum { NLAUNCH_FD = LAUNCH_CGROUP + 1 };

/* One order. */
typedef struct LaunchOrder {
    bool has[NLAUNCH_FD]; /* set by launch() */
    bool callers_stdin;   /* else stdin is empty */
    pid_t network_of;     /* not 0: the helper that connects this process; see usernet.h */
    uint64_t namespaces;  /* CLONE_NEW flags: the process is born in these */
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

/* child_main - what the first process of a step does, in child.c. Never returns. */
_Noreturn void child_main(void);

/* fds_send, fds_receive - a message with descriptors, over a SOCK_SEQPACKET socket. 1, 0 at the end
 * of the stream, or -1 with errno; a message of another size is EPROTO. */
int fds_send(int sock, const void *bytes, size_t n, const int *fds, size_t nfd);
int fds_receive(int sock, void *bytes, size_t n, int *fds, size_t cap, size_t *ret_nfd);

#endif
