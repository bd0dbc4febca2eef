/*
 * solve/why.h - why a step ran: the nearest earlier record and what differs. Private to solve/.
 *
 * Each step of a build has two names that outlive an edit of it: its line in its stage, and its
 * number there. What its key was is remembered by both, and the parts of keys are kept with their
 * records; so the line that was edited is compared with what it was, and the one that was moved
 * with itself.
 *
 * Used by: solve.
 */
#ifndef SOLVE_WHY_H
#define SOLVE_WHY_H

#include "solve/solve.h"

/* why_tell - set `why` of every step that ran in a solution. Fails with ERR_STORE. */
NODISCARD bool why_tell(const StepsEnv *env, Solution *s, Err *e);
/* why_remember - let the next build find these steps. */
NODISCARD bool why_remember(const StepsEnv *env, const Solution *s, Err *e);

/*
 * why_differs - what differs between the parts of two keys of one kind, in words.
 *
 *   parent  what to say when the results they stand on differ
 *   files   NULL, or which files of a COPY differ
 *
 * "" when nothing does. In the arena.
 */
const char *why_differs(Arena *a, const char *was, const char *is, const char *parent,
                        const char *files);

#endif
