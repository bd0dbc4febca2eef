/*
 * plan/stages.h - the stages of a Dockerfile and what each needs. Private to the plan room.
 */
#ifndef PLAN_STAGES_H
#define PLAN_STAGES_H

#include "plan/plan.h"

enum { NO_STAGE = UINT32_MAX };

typedef struct Stage {
    const DfInstr *from;
    const DfInstr *body; /* instructions after FROM */
    size_t nbody;
    const char *name;  /* NULL when unnamed */
    const char *image; /* FROM's name, expanded */
    uint32_t base;     /* stage it is built on, NO_STAGE: an image or scratch */
    uint32_t number;
    enum { UNSEEN, OPEN, NEEDED } state;
} Stage;

typedef struct Stages {
    Stage *v;
    size_t n, cap;
    StrList global; /* ARGs before the first FROM, and the platform's, NAME=VALUE */
    StrList unset;  /* global ARGs without a value */
    uint32_t target;
    uint32_t *path; /* stages being looked at, from the target down: a cycle is part of it */
    size_t npath;
} Stages;

/* stages_read - split the file, expand FROM lines, find the target, and mark what it needs. */
NODISCARD bool stages_read(Arena *a, const DfFile *f, const PlanOpts *o, Stages *ret, Err *e);
/* stages_find - the stage that a --from value means: a name of any stage or a number; NO_STAGE for
 * an image. */
uint32_t stages_find(const Stages *s, const char *from);

#endif
