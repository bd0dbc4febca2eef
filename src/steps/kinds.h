/*
 * steps/kinds.h - the kinds of steps. Private to the steps room.
 */
#ifndef STEPS_KINDS_H
#define STEPS_KINDS_H

#include "steps/steps.h"

/* Each kind adds its fields to the key... */
NODISCARD bool copy_key(StepWork *w, bool *ret_known, Err *e);
void run_key(StepWork *w);
/* ...and writes a snapshot. */
NODISCARD bool copy_write(StepWork *w, SnapshotId *ret, Err *e);
NODISCARD bool workdir_write(StepWork *w, SnapshotId *ret, Err *e);
NODISCARD bool run_write(StepWork *w, SnapshotId *ret, Err *e);

#endif
