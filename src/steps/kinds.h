/*
 * steps/kinds.h - the kinds of steps. Private to the steps room.
 */
#ifndef STEPS_KINDS_H
#define STEPS_KINDS_H

#include "steps/steps.h"

/* Each kind adds its fields to the key; *ret_known as steps_key() says... */
NODISCARD bool copy_key(StepWork *w, bool *ret_known, Err *e);
NODISCARD bool run_key(StepWork *w, bool *ret_known, Err *e);
/* ...and writes a snapshot. */
NODISCARD bool copy_write(StepWork *w, SnapshotId *ret, Err *e);
NODISCARD bool workdir_write(StepWork *w, SnapshotId *ret, Err *e);
NODISCARD bool run_write(StepWork *w, SnapshotId *ret, Err *e);

/*
 * step_owner - the numbers behind the `user[:group]` of --chown or USER, looked up in a view.
 *
 *   ret_known  false: a name is not there, and its number is 0
 */
NODISCARD bool step_owner(const View *v, const char *owner, uint32_t *ret_uid, uint32_t *ret_gid,
                          bool *ret_known, Err *e);

/* key_source - one source's fields: where it comes from and what it holds. */
void key_source(KeyBuilder *k, const PlanSource *p, const Digest *content);

#endif
