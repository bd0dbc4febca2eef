/*
 * steps/mounts.h - what RUN --mount shows to a command. Private to the steps room.
 */
#ifndef STEPS_MOUNTS_H
#define STEPS_MOUNTS_H

#include "steps/steps.h"

/* Mounts ready for the sandbox, and what must live as long as the command. */
typedef struct StepMounts {
    SandboxMount *v;
    size_t n;
    StrList env; /* NAME=VALUE of secrets and agents */
    bool has_agent;
    int *locks; /* of cache mounts */
    size_t nlock, lock_cap;
    struct TakenCache *taken; /* the caches of this command */
    size_t ntaken, taken_cap;
} StepMounts;

/*
 * mounts_key - add the mounts of a RUN to its key: what was asked for, and the content of binds;
 * not what caches and secrets hold. *ret_known as steps_key() says.
 */
NODISCARD bool mounts_key(StepWork *w, bool *ret_known, Err *e);

/*
 * mounts_open - make everything ready that the mounts show.
 *
 * Waits for a cache that another step holds with sharing=locked. Fails with ERR_DOCKERFILE (a
 * required secret is not given, a source is missing), ERR_STORE.
 */
NODISCARD bool mounts_open(StepWork *w, StepMounts *ret, Err *e);
void mounts_close(StepMounts *m);
static inline void scoped_mounts_done(StepMounts *m)
{
    mounts_close(m);
}

#endif
