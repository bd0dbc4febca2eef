/*
 * base/pool.h - a few threads that run jobs.
 *
 * A Job owns its inputs and posts its result: when `run` returns, the job comes back from
 * pool_next, in the order of completion. All threads end in pool_done, before anybody unshares a
 * namespace.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/defs.h"
#include "base/err.h"

typedef struct Pool Pool;

typedef struct Job {
    void (*run)(struct Job *job);
    struct Job *next; /* the pool's */
} Job;

/* pool_new - start `nthread` threads (at least one). Fails with ERR_ENV. */
NODISCARD bool pool_new(unsigned nthread, Pool **ret, Err *e);
/* pool_add - hand over a job, which stays where it is until pool_next returns it. */
void pool_add(Pool *p, Job *job);
/* pool_next - wait for a finished job; NULL when none is queued, running or finished. */
Job *pool_next(Pool *p);
/* pool_done - join all threads; queued jobs that did not start are dropped. NULL is fine. */
void pool_done(Pool *p);
static inline void scoped_pool_done(Pool **p)
{
    pool_done(*p);
}

/* cpu_count - processors this process may use, at least 1. */
unsigned cpu_count(void);

#endif
