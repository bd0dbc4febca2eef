/*
 * plan/planner.h - a plan being made: what instructions (instr.c) change and stages (plan.c) begin
 * with. Private to the plan room.
 */
#ifndef PLAN_PLANNER_H
#define PLAN_PLANNER_H

#include "plan/plan.h"
#include "plan/stages.h"

/* What a stage has become after the instructions so far. */
typedef struct State {
    ImageConfig config;
    StrList env;  /* config.env and ARGs, in written order */
    StrList args; /* names of the ARGs declared in this stage, for history */
    PlanHistory *history;
    size_t nhistory, history_cap;
    uint32_t last; /* the step whose result the next one changes */
    bool cmd_set;
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
    uint32_t at, total; /* of the steps people count: "builder 3/6" */
} Cursor;

/* planner_base - the index of a resolved image by its name in the Dockerfile. */
bool planner_base(const Planner *p, const char *name, uint32_t *ret);
/* planner_from - the FROM step of an image; one image is one step, however often it is named. */
uint32_t planner_from(Planner *p, uint32_t base, const SrcSpan *src, const char *stage,
                      const char *title);
/* plan_label - "builder 3/6" for the next step of the stage that people count. */
const char *plan_label(Cursor *c);
/* plan_instr - apply one instruction: a step, or a change of the config; and a line of history. */
NODISCARD bool plan_instr(Cursor *c);

#endif
