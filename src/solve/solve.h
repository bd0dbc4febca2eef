/*
 * solve/solve.h - the door of the solver: a plan to results, running only what no record answers.
 *
 * First everything is looked up in the calling thread, in the order of the plan; when all steps are
 * hits, nothing else happens: no namespace, no thread, no unpacked base. At the first miss the
 * mode's namespaces are entered and the missing steps run, as parallel as the graph allows, each
 * looked up again once its inputs are known.
 *
 * Used by: cmd.  Uses: base, plan, store, steps.
 */
#ifndef SOLVE_SOLVE_H
#define SOLVE_SOLVE_H

#include "steps/steps.h"

typedef enum SolveFlags {
    SOLVE_NO_CACHE = 1 << 0,
    SOLVE_SHELL =
        1 << 1, /* after a command failed, a shell in its root, on the caller's terminal */
} SolveFlags;

typedef struct Solution {
    Arena arena;
    StepWork *works; /* one a step; their arenas hold the results */
    StepResult *results;
    StepHow *how;
    size_t nstep, nhit, nrun;
} Solution;

/*
 * solve - find or make the result of every step.
 *
 *   env   `entered` is set once the namespaces are entered
 *
 * Fails with the first step's error; later ones are cancelled or never begun, and the sink hears
 * which.
 */
NODISCARD bool solve(StepsEnv *env, unsigned flags, Solution *ret, Err *e);
void solution_done(Solution *s);
static inline void scoped_solution_done(Solution *s)
{
    solution_done(s);
}

#endif
