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

/* A context the caller gives a name to (--build-context). */
typedef struct PlanContext {
    const char *name;
    bool tree; /* files to copy from; otherwise an image */
} PlanContext;

/* What network a command has. */
typedef enum PlanNet {
    PLAN_NET_HOST, /* the caller's */
    PLAN_NET_NONE, /* a loopback interface */
    PLAN_NET_USER, /* its own, with a way out through a program of the user's: passt */
} PlanNet;

typedef struct PlanOpts {
    StrList build_args; /* NAME=VALUE; a bare NAME of the command line is resolved by the caller */
    StrList labels;     /* NAME=VALUE, put over the Dockerfile's */
    const char *target; /* stage name or number; NULL: the last */
    const PlanContext *contexts; /* the last of a name counts */
    size_t ncontext;
    Platform target_platform; /* what is built for; without an os: this machine */
    bool many;       /* targets are built beside each other: steps say which one they are of */
    PlanNet network; /* of a RUN without a flag of its own */
    bool allow_network_host, allow_insecure; /* docker's entitlements of these names */
} PlanOpts;

/* An image the Dockerfile names, resolved by the caller. */
typedef struct PlanBase {
    const char *name; /* as the Dockerfile names it, expanded */
    const ImageConfig *config;
    const char *platform; /* "linux/arm64"; NULL: of any */
} PlanBase;

/* What has to be resolved. */
typedef struct PlanImages {
    StrList names;
    StrList platforms; /* one for each name */
} PlanImages;

typedef enum StepKind { STEP_FROM, STEP_RUN, STEP_COPY, STEP_WORKDIR } StepKind;

enum { STEP_NONE = UINT32_MAX };

/* Where files come from. */
typedef enum PlanOrigin {
    PLAN_CONTEXT, /* the build's context */
    PLAN_STEP,    /* the result of step `index` */
    PLAN_NAMED,   /* the tree context `index` of PlanOpts */
    PLAN_INLINE,  /* a here-document: `path` is its name, `content` its body */
    PLAN_URL,     /* `path` is the address */
    PLAN_GIT,     /* the same */
    PLAN_EMPTY,   /* nothing: a cache mount that starts empty */
} PlanOrigin;

/* One source of a COPY or ADD, or what a mount shows. */
typedef struct PlanSource {
    PlanOrigin origin;
    uint32_t index;
    const char *from;    /* for messages: the stage or image; NULL for the context */
    DfWord path;         /* what is taken of it: a path or a pattern */
    const char *below;   /* --parents: the pattern below `path`, which is the pivot; else NULL */
    const char *content; /* PLAN_INLINE */
} PlanSource;

/* --chmod: a number, or a list of changes. */
typedef struct PlanChmod {
    const char *text; /* as given; NULL when absent */
    bool octal;
    uint32_t mode; /* of an octal one */
} PlanChmod;

/* RUN --mount. */
typedef struct PlanMount {
    DfMount spec;       /* expanded; spec.id is set for caches and secrets */
    const char *target; /* absolute, clean; NULL: a secret that is only an environment variable */
    PlanSource source;  /* bind and cache */
    SrcSpan src;
} PlanMount;

typedef struct PlanRun {
    StrList argv, env; /* env: after ENV and ARG, in written order */
    const char *cwd, *user;
    PlanMount *mounts;
    size_t nmount;
    PlanNet network;
    bool insecure;       /* --security=insecure: all the rights that can be given */
    const char *foreign; /* NULL, or the other platform whose programs it runs */
    const char *script; /* a here-document that is executed as this file of /dev/pipes; else NULL */
    const char *script_text;
} PlanRun;

typedef struct PlanCopy {
    PlanSource *sources;
    size_t nsource;
    const char *dest;  /* absolute; ends in a slash when it must be a directory */
    const char *chown; /* NULL when absent */
    PlanChmod chmod;
    StrList excludes;
    bool link;                /* the layer does not depend on what is below */
    bool unpack, unpack_urls; /* archives of the context, and of URLs */
    DfBool keep_git_dir;
    const char *checksum; /* NULL when absent */
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
    size_t nstage;     /* stages that are built */
    const char *epoch; /* SOURCE_DATE_EPOCH of a build argument or a global ARG; NULL when unset */
} Plan;

/*
 * plan_images - the names of all images the target needs, each once for each platform, expanded,
 * in order of use.
 *
 * ONBUILD triggers of a base can name further images: ask again with those that are known, until
 * nothing new is named. Fails with ERR_DOCKERFILE (unknown target, empty name, cycle of stages).
 */
NODISCARD bool plan_images(Arena *a, const DfFile *f, const PlanOpts *o, const PlanBase *bases,
                           size_t nbase, PlanImages *ret, Err *e);

/*
 * plan_make - the plan. `bases` must hold every name of plan_images().
 * Fails with ERR_DOCKERFILE, "file:line:col:" in front.
 */
NODISCARD bool plan_make(Arena *a, const DfFile *f, const PlanOpts *o, const PlanBase *bases,
                         size_t nbase, Plan *ret, Err *e);

/*
 * plan_merge - add the steps of a plan for another target; equal ones are there once.
 *
 *   into  a plan that plan_merge() or nothing has worked on; its own target stays
 *   ret_result, ret_history  what the other plan's result and history are called in `into`
 */
void plan_merge(Arena *a, Plan *into, const Plan *more, uint32_t *ret_result,
                PlanHistory **ret_history);

/* plan_stage_name - the stage of a step: what its label says between platform and count. */
Str plan_stage_name(const PlanStep *s);
/* plan_stage_place - the platform, where several are built, and the stage: its label less count. */
Str plan_stage_place(const PlanStep *s);

/*
 * plan_chmod - the mode that --chmod gives to what has `mode`.
 * Source: chmod(1); BuildKit's --chmod, without a umask.
 */
uint32_t plan_chmod(const PlanChmod *c, uint32_t mode, bool is_dir);

#endif
