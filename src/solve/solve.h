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
    SOLVE_NO_CACHE = 1 << 0, /* all steps; StepsEnv.no_cache has single stages */
    SOLVE_SHELL =
        1 << 1, /* after a command failed, a shell in its root, on the caller's terminal */
} SolveFlags;

typedef struct Solution {
    Arena arena;
    StepWork *works; /* one a step; their arenas hold the results */
    StepResult *results;
    StepHow *how;
    const char **why; /* of each step that ran, in one line; NULL when none did */
    size_t nstep, nhit, nrun;
} Solution;

/* What a step will be: solve_predict() knows it, or its inputs must be made first. */
typedef enum Prediction { WILL_HIT, WILL_RUN, WILL_TELL } Prediction;

/*
 * solve_predict - what solve() would do, without doing it.
 *
 *   ret  one a step; WILL_TELL where a command must run before one can know
 *
 * The namespaces may be entered for it. Fails as solve() does.
 */
NODISCARD bool solve_predict(StepsEnv *env, unsigned flags, Arena *a, Prediction **ret, Err *e);

/*
 * solve - find or make the result of every step.
 *
 *   env   `entered` is set once the namespaces are entered
 *
 * Fails with the first step's error; later ones are cancelled or never begun, and the sink hears
 * which.
 */
NODISCARD bool solve(StepsEnv *env, unsigned flags, Solution *ret, Err *e);
/*
 * solve_recheck - run a sample of the hits again, and compare with what they were.
 *
 *   percent  of the hits; at least one is run
 *   ret      what is not reproducible, a line for each file, in the solution's arena
 *   ret_n    how many steps were run
 *
 * What they leave is dropped with the next collection. Fails as a step fails.
 */
NODISCARD bool solve_recheck(StepsEnv *env, Solution *s, unsigned percent, StrList *ret,
                             size_t *ret_n, Err *e);
void solution_done(Solution *s);
static inline void scoped_solution_done(Solution *s)
{
    solution_done(s);
}

#endif
