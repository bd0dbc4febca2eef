/*
 * plan/planner.h - a plan being made: what instructions change and stages (plan.c) begin with.
 * Private to the plan room.
 */
#ifndef PLAN_PLANNER_H
#define PLAN_PLANNER_H

#include "plan/plan.h"
#include "plan/stages.h"

enum { ONCE_CMD, ONCE_ENTRYPOINT, ONCE_HEALTHCHECK, NONCE };

/* What a stage has become after the instructions so far. */
typedef struct State {
    ImageConfig config;
    StrList env;  /* config.env and ARGs, in written order */
    StrList args; /* names of the ARGs declared in this stage, for history */
    PlanHistory *history;
    size_t nhistory, history_cap;
    uint32_t last; /* the step whose result the next one changes */
    const DfInstr
        *once[NONCE]; /* the stage's CMD, ENTRYPOINT and HEALTHCHECK; NULL before there is one
                       */
} State;

typedef struct Planner {
    Arena *arena;
    const DfFile *file;
    const PlanOpts *opts;
    const PlanBase *bases;
    size_t nbase;
    Stages stages;
    State *states; /* one a stage, valid when `done` */
    bool *done;
    uint32_t *image_step; /* the FROM step of each base, STEP_NONE before it is used */
    uint32_t *tree_step;  /* the same of each tree context that a stage stands on */
    bool *arg_used;       /* one a build argument */
    Plan plan;
    Err *e;
} Planner;

/* One stage being planned, and the place of the instruction in it. */
typedef struct Cursor {
    Planner *p;
    const Stage *stage;
    State *st;
    const DfInstr *in;
    const StageDep *deps; /* of `in` */
    uint32_t at, total;   /* of the steps people count: "builder 3/6" */
} Cursor;

/* planner_base - the index of a resolved image by its name in the Dockerfile and its platform. */
bool planner_base(const Planner *p, const char *name, const char *platform, uint32_t *ret);
/* planner_from - the FROM step of an image; one image is one step, however often it is named. */
uint32_t planner_from(Planner *p, uint32_t base, const SrcSpan *src, const char *stage,
                      const char *title);
/* planner_tree - a step whose result is a tree context alone, for a stage that stands on it. */
uint32_t planner_tree(Planner *p, uint32_t context, const SrcSpan *src, const char *stage,
                      const char *title);
/* planner_add - append a step; its inputs are `parent` (or STEP_NONE) and `others`, each once. */
uint32_t planner_add(Planner *p, PlanStep step, uint32_t parent, const uint32_t *others, size_t n);
void planner_history(Planner *p, State *st, const char *text, uint32_t step);
/* plan_label - "builder 3/6" for the next step of the stage that people count. */
const char *plan_label(Cursor *c);
/* plan_title - the instruction as progress shows it. */
const char *plan_title(Cursor *c);
/* plan_warn - a warning about the line of `at`. */
void plan_warn(Cursor *c, const SrcSpan *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* plan_expand - replace the variables of a word; what is not set is warned of. */
NODISCARD bool plan_expand(Cursor *c, const char *word, const SrcSpan *at, char **ret);
/* plan_expand_body - the same of a here-document's body, in which quotes mean nothing. */
NODISCARD bool plan_expand_body(Cursor *c, const char *body, const SrcSpan *at, char **ret);
/* plan_argv - shell form to exec form by the stage's SHELL. */
StrList plan_argv(Cursor *c);

/* plan_instr - apply one instruction: a step, or a change of the config; and a line of history. */
NODISCARD bool plan_instr(Cursor *c);
/* Those that make steps. */
NODISCARD bool plan_run(Cursor *c);
NODISCARD bool plan_copy(Cursor *c);
NODISCARD bool plan_workdir(Cursor *c);
/* plan_source - what a --from or a mount's from stands for. */
NODISCARD bool plan_source(Cursor *c, const StageDep *dep, PlanSource *ret);

#endif
