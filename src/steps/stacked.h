/*
 * steps/stacked.h - a COPY of a big directory in which little has changed. Private to the steps
 * room.
 *
 * The store keeps the list of what each COPY has copied last, for `why` to compare. When the same
 * COPY comes again with other files, over the same parent or one that is the same where it is
 * copied to, the new snapshot is a difference that lies on the old one; as a layer it is what a
 * plain copy would have been. Where a difference
 * cannot say that, a plain copy is made: something is gone that lower layers have too, hard links
 * have changed, the stack grows too high, or most of it is new.
 */
#ifndef STEPS_STACKED_H
#define STEPS_STACKED_H

#include "steps/sources.h"

/* What a COPY has written. */
typedef struct Copied {
    SnapshotId snapshot;
    bool one_dir; /* it was of one directory; else only the list counts, paths as in the source */
    const char *target;   /* the directory's place, resolved */
    bool made;            /* it was not there before, and has the source's time */
    struct timespec time; /* that time */
    uint32_t uid, gid;    /* of --chown */
    Tree tree;            /* as it was written; paths are relative to the target */
    TreeReader kept;      /* the same of one that was read back */
} Copied;

/* copied_entry - what --chown and --chmod make of an entry. */
TreeEntry copied_entry(const PlanCopy *c, uint32_t uid, uint32_t gid, const TreeEntry *t);

/*
 * stacked_write - write the step over what the same step wrote last.
 *
 *   below     what it is copied to
 *   ret_done  false: it must be copied plainly; the sources may be selected by then
 *
 * Fails as copy_write().
 */
NODISCARD bool stacked_write(StepWork *w, const Stack *below, SnapshotId *ret, bool *ret_done,
                             Err *e);
/* stacked_keep - remember what a plain copy has written, and say in w->changes what is new since
 * the last. */
NODISCARD bool stacked_keep(StepWork *w, Copied *c, Err *e);

/* stacked_lists - whether a list is kept of what a step copies. */
bool stacked_lists(const StepWork *w);
/* stacked_is_able - whether a step is one that may be written as a difference. */
bool stacked_is_able(const StepWork *w);

#endif
