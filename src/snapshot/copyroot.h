/*
 * snapshot/copyroot.h - what making a copied root and looking for changes in it share. Private to
 * the snapshot room.
 */
#ifndef SNAPSHOT_COPYROOT_H
#define SNAPSHOT_COPYROOT_H

#include "snapshot/copytree.h"

/* Nanoseconds by which two readings of one clock may differ. */
enum { CLOCK_SLACK = 500000 };

static inline bool time_after(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/* copyroot_clock - real time less time since boot: it falls when the clock is set back. */
int64_t copyroot_clock(void);

/* copyroot_mark - take what the copy is now as unchanged. */
NODISCARD bool copyroot_mark(CopyRoot *r, Err *e);

#endif
