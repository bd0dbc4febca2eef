/*
 * base/late.h - descriptors whose closing takes long, which nobody should wait for.
 *
 * The last descriptor of a mount ends the mount: for the root of a big command that takes as long
 * as everything else that comes after it. What is handed over here stays open until somebody needs
 * it gone, or until the process has ended: the child that the store leaves behind (store/durable.c)
 * has them last.
 */
#ifndef BASE_LATE_H
#define BASE_LATE_H

#include <stddef.h>

#include "base/defs.h"

/* late_close - hand a descriptor over; any thread may. */
void late_close(int fd);

/* late_close_now - close what was handed over, and wait for it. */
void late_close_now(void);

/* late_close_others - close all descriptors from `first` on but those that were handed over. For a
 * process with one thread. */
void late_close_others(int first);

#endif
