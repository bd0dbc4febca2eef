/*
 * plan/plan.h - the door of the plan room: a Dockerfile to a graph of steps.
 *
 * In: a DfFile, the options that shape it, and the configs of the images it names. Out: a Plan: the
 * steps that the target needs and no others, each with everything that decides its result; and the
 * config and history the image will have. Instructions that only change the config never become
 * steps.
 *
 * It reads no file and runs nothing, so a plan of any Dockerfile can be made and shown anywhere.
 *
 * Used by: steps, solve, cmd.  Uses: base, dockerfile, image.
 */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include "dockerfile/dockerfile.h"
#include "image/image.h"

/* Steps one plan may have, and stages one file. */
enum { PLAN_MAX_STEPS = 100000, PLAN_MAX_STAGES = 10000 };

typedef struct PlanOpts {
    StrList build_args; /* NAME=VALUE; a bare NAME of the command line is resolved by the caller */
    StrList labels;     /* NAME=VALUE, put over the Dockerfile's */
    const char *target; /* stage name or number; NULL: the last */
} PlanOpts;

/* An image the Dockerfile names, resolved by the caller. */
typedef struct PlanBase {
    const char *name; /* as the Dockerfile names it, expanded */
    const ImageConfig *config;
} PlanBase;

typedef enum StepKind { STEP_FROM, STEP_RUN, STEP_COPY, STEP_WORKDIR } StepKind;

enum { STEP_NONE = UINT32_MAX };

typedef struct PlanRun {
    StrList argv, env; /* env: after ENV and ARG, in written order */
    const char *cwd, *user;
} PlanRun;

typedef struct PlanCopy {
    uint32_t from;         /* step whose result is copied from, STEP_NONE: the context */
    const char *from_name; /* for messages */
    DfWord *sources;       /* expanded; src for messages */
    size_t nsource;
    const char *dest; /* absolute; ends in a slash when it must be a directory */
} PlanCopy;

/* One node of the build graph. Lives in the plan's arena. */
typedef struct PlanStep {
    StepKind kind;
    SrcSpan src;       /* where in the Dockerfile, for messages */
    const char *stage; /* "builder 3/6" */
    const char *title; /* "COPY . ." */
    uint32_t *inputs;  /* indices into Plan.steps, parent first; never a later step */
    uint32_t ninput;
    union {
        uint32_t base; /* STEP_FROM: index into the bases; STEP_NONE: scratch */
        PlanRun run;
        PlanCopy copy;
        struct {
            const char *path, *user;
        } workdir;
    } u;
} PlanStep;

/* A line of the image's history, and the step that made its layer. */
typedef struct PlanHistory {
    ImageHistory entry; /* `created` is filled in at export */
    uint32_t step;      /* STEP_NONE: no layer, or the base's */
    bool from_base;     /* then `created` is the base's and stays */
} PlanHistory;

typedef struct Plan {
    PlanStep *steps;
    size_t nstep, step_cap;
    uint32_t result;    /* the last step of the target */
    ImageConfig config; /* without diff IDs and history of the new layers */
    PlanHistory *history;
    size_t nhistory;
    StrList warnings;
    size_t nstage; /* stages that are built */
} Plan;

/*
 * plan_images - the names of all images the target needs, each once, expanded, in order of use.
 * Fails with ERR_DOCKERFILE (unknown target, empty name, cycle of stages).
 */
NODISCARD bool plan_images(Arena *a, const DfFile *f, const PlanOpts *o, StrList *ret, Err *e);

/*
 * plan_make - the plan. `bases` must hold every name of plan_images().
 * Fails with ERR_DOCKERFILE, "file:line:col:" in front.
 */
NODISCARD bool plan_make(Arena *a, const DfFile *f, const PlanOpts *o, const PlanBase *bases,
                         size_t nbase, Plan *ret, Err *e);

#endif
