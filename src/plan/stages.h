/*
 * plan/stages.h - the stages of a Dockerfile and what each needs. Private to the plan room.
 */
#ifndef PLAN_STAGES_H
#define PLAN_STAGES_H

#include "plan/plan.h"

enum { NO_STAGE = UINT32_MAX, NO_CONTEXT = UINT32_MAX };

/* What a COPY --from or a mount's from means. */
typedef struct StageDep {
    const char *from;  /* as written; NULL: the build's context */
    uint32_t stage;    /* NO_STAGE: not a stage */
    uint32_t context;  /* a tree context, NO_CONTEXT: an image named `image` */
    const char *image; /* NULL: neither; "scratch" is nothing at all */
} StageDep;

typedef struct Stage {
    const DfInstr *from;
    const DfInstr *body; /* instructions after FROM; triggers of the base first */
    size_t nbody;
    StageDep **deps;      /* by instruction: NULL, one for COPY, one a mount for RUN */
    const char *name;     /* NULL when unnamed */
    const char *image;    /* FROM's name, expanded */
    const char *flag;     /* --platform, expanded; NULL when absent */
    const char *platform; /* "linux/arm64": the flag's, the stage's it stands on, or the target's */
    uint32_t base;        /* stage it is built on, NO_STAGE: an image, scratch or a context */
    uint32_t context;     /* the tree context it is built on, or NO_CONTEXT */
    uint32_t number;
    uint32_t older; /* another whose name is in the same bucket, counted from 1; 0: none */
    bool triggered; /* the base's triggers are in the body */
    enum { UNSEEN, OPEN, NEEDED } state;
} Stage;

enum { STAGE_BUCKETS = 256 };

typedef struct Stages {
    Stage *v;
    size_t n, cap;
    uint32_t named[STAGE_BUCKETS]; /* by a hash of their names, the last of each; counted from 1 */
    StrList extra;  /* images that were named by --from alone: they can be counted as stages too */
    StrList global; /* ARGs before the first FROM, and the platform's, NAME=VALUE */
    StrList unset;  /* global ARGs without a value */
    const char *platform; /* the target's */
    StrList warnings;
    uint32_t target;
    uint32_t *path; /* stages being looked at, from the target down: a cycle is part of it */
    size_t npath;
} Stages;

/*
 * stages_read - split the file, expand FROM lines, find the target, put the triggers of known bases
 * in front of what they trigger, and mark what the target needs.
 */
NODISCARD bool stages_read(Arena *a, const DfFile *f, const PlanOpts *o, const PlanBase *bases,
                           size_t nbase, Stages *ret, Err *e);

/* stages_nearest - " (did you mean $NAME?)" for what is set and looks like `name`, or "". */
const char *stages_nearest(Arena *a, const char *name, const StrList *env, const char *dollar);

#endif
