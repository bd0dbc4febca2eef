/*
 * steps/kinds.h - the kinds of steps. Private to the steps room.
 */
#ifndef STEPS_KINDS_H
#define STEPS_KINDS_H

#include "snapshot/snapshot.h"
#include "steps/steps.h"

struct Copied;

/* Each kind adds its fields to the key; *ret_known as steps_key() says... */
NODISCARD bool copy_key(StepWork *w, bool *ret_known, Err *e);
NODISCARD bool run_key(StepWork *w, bool *ret_known, Err *e);
/* ...and writes a snapshot. */
NODISCARD bool copy_write(StepWork *w, SnapshotId *ret, Err *e);
/*
 * copy_fill - do what the COPY says in `up`, which is ready to be committed then.
 *
 *   written  NULL, or what may be remembered of the step
 *   lend     see Upper.lend
 *
 * Fails as steps_run().
 */
NODISCARD bool copy_fill(StepWork *w, const Stack *below, struct Copied *written, bool lend,
                         Upper *up, Err *e);

/*
 * copy_early - begin to write a COPY in another thread while its key is looked for, if it is of one
 * big file that a step of this build made: then nobody knows its digest, and it is read twice, once
 * for that and once for the layer's.
 */
void copy_early(StepWork *w);
/* copy_early_take - wait for it. *ret_done is false when it is to be written as if there had been
 * none. Fails with ERR_STORE. */
NODISCARD bool copy_early_take(StepWork *w, SnapshotId *ret, bool *ret_done, Err *e);
/* copy_early_drop - nobody wants it. */
void copy_early_drop(StepWork *w);
/*
 * copy_early_allow - a command's snapshot is there, and nobody knows it yet: let a COPY of this
 * build have its files without copying them. Fails with ERR_STORE.
 */
NODISCARD bool copy_early_allow(StepWork *w, SnapshotId id, Err *e);
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
