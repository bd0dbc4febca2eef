/*
 * sandbox/cgroup.h - a control group for each command that has limits. Private to the sandbox.
 */
#ifndef SANDBOX_CGROUP_H
#define SANDBOX_CGROUP_H

#include "sandbox/sandbox.h"

/* The group of one command. */
typedef struct Cgroup {
    int fd; /* its directory; -1: there is none */
    char name[48];
} Cgroup;

#define CGROUP_NONE                                                                                \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* cgroup_new - make a group with these limits below the one of sandbox_limits_begin(); none where
 * nothing is limited. Fails with ERR_ENV, naming the option. */
NODISCARD bool cgroup_new(const SandboxLimits *l, Cgroup *ret, Err *e);
/* cgroup_oom - how many processes the kernel killed because the group had no memory left. */
uint64_t cgroup_oom(const Cgroup *c);
/* cgroup_done - remove it; no process is left in it. */
void cgroup_done(Cgroup *c);
static inline void scoped_cgroup_done(Cgroup *c)
{
    cgroup_done(c);
}

#endif
