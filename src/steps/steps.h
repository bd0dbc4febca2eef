/*
 * steps/steps.h - the door of the steps room: how each kind of step is named and carried out.
 *
 * A step is named by its key before it runs (steps_key) and leads to a StepResult after
 * (steps_run). Keys chain on the *results* of their inputs, not on their keys: see
 * docs/cache-keys.md.
 *
 * Used by: solve, export.
 * Uses: base, plan, tree, context, source, sandbox, snapshot, store, history, go, gomod,
 * gocache.
 */
#ifndef STEPS_STEPS_H
#define STEPS_STEPS_H

#include "base/event.h"
#include "base/key.h"
#include "context/context.h"
#include "gomod/gomod.h"
#include "plan/plan.h"
#include "sandbox/sandbox.h"
#include "source/source.h"

/* A value that steps may ask for by id: in no key, image, history or log. */
typedef struct StepSecret {
    const char *id;
    Str value;
} StepSecret;

/* An agent that steps may speak with by id: the address of its socket. */
typedef struct StepAgent {
    const char *id, *socket; /* absolute */
} StepAgent;

/* A repository that an ADD names, fetched. */
typedef struct StepGit {
    const PlanSource *source;
    GitRef ref;
    GitCommit commit;
    SnapshotId snapshot;
} StepGit;

/* What all steps of one build share; nothing of it changes while steps run. */
typedef struct StepsEnv {
    Store *store;
    const Context *context;      /* NULL: the build has none */
    const Context *const *named; /* tree contexts, as PlanOpts numbers them */
    const Plan *plan;
    const uint32_t
        *kept; /* steps that images are made of; the plan's own result need not be here */
    size_t nkept;
    const LayerTimes *times;  /* of layers of images, for diff IDs; NULL: those are no steps' */
    const SourceImage *bases; /* as plan numbers them */
    StrList step_env; /* NAME=VALUE for RUN only: in no key, image or history; a set name wins over
                         it */
    const StepSecret *secrets;
    size_t nsecret;
    const StepAgent *agents;
    size_t nagent;
    StepGit *git; /* of all ADDs, once steps_fetch_git() has run */
    size_t ngit;
    SandboxShape shape;   /* of RUN; all of it is in the key */
    SandboxLimits limits; /* of each RUN; in no key */
    const char *hostname; /* of RUN; NULL: BuildKit's */
    const char *cache_ns; /* put before the ids of cache mounts; NULL: none */
    Gomod *gomod;         /* modules for steps that run Go; NULL: they see to themselves */
    const char *go_scope; /* whose compiled Go packages steps share; NULL: a step has its own */
    bool go_parts;        /* what `go mod download` unpacks is lent, too */
    bool go_fresh;        /* no step gets what others compiled, and none leaves it */
    SandboxHost host;
    CopyRoots *roots;   /* MODE_CHROOT: copied roots that go from step to step */
    bool fast_owners;   /* see SandboxSpec */
    bool entered;       /* the mode's namespaces are entered: snapshots may be read and written */
    bool keep_failed;   /* keep what a command left that failed, for steps_shell() */
    const char *points; /* see SandboxSpec; set by steps_prepare() */
    StrList no_cache;   /* stages whose steps run again, by name or number */
    const char *scope;  /* what builds that belong together have in common; for `why` alone */
    EventSink sink;
    const DfFile *file;
} StepsEnv;

/* What a step led to: a base image and the layers over it. */
typedef struct StepLayer {
    SnapshotId snapshot; /* 0: it wrote nothing */
    int64_t created;
} StepLayer;

typedef struct StepResult {
    Digest id;
    uint32_t base; /* index into StepsEnv.bases, STEP_NONE: scratch */
    StepLayer *layers;
    size_t nlayer;
} StepResult;

/* What a command left that failed. */
typedef struct StepFailed {
    const char *dir; /* relative to store_dirfd() */
    Stack below;
    CopyRoot *root; /* MODE_CHROOT: where it ran */
} StepFailed;

/* Work on one step, from its key to its result. Belongs to one thread at a time. */
typedef struct StepWork {
    const StepsEnv *env;
    const PlanStep *step;
    const StepResult *parent;  /* NULL for FROM */
    const StepResult *results; /* of all steps, as the plan numbers them; inputs are known */
    Arena arena;               /* results live in it until the build ends */
    KeyBuilder key_parts;
    Digest key;
    struct StepSource *sources; /* COPY: its sources; RUN: what its mounts show; once looked at */
    struct CopyEarly *early;    /* COPY: its writing has begun already; NULL: it has not */
    uint64_t seen_ns;           /* when these were first looked at */
    StepFailed *failed;         /* see StepsEnv.keep_failed */
    const char *changes;        /* COPY that ran: what differs from what it copied last, or NULL */
    const char *log;            /* name of the file with what it printed; NULL: nothing */
    int64_t created;            /* seconds since the epoch: when steps_run() began; 0: not yet */
    bool anew;                  /* nothing of an earlier run may be in the result */
    bool trial;                 /* the result is looked at, and nothing of it is remembered */
} StepWork;

/* steps_look_again - forget what was seen of a step's sources, for they have changed; its key is
 * another then. True: something had been seen before that time (clock_ns). */
bool steps_look_again(StepWork *w, uint64_t before_ns);

/* steps_event - an event about this step, to be filled in further. */
Event steps_event(const StepWork *w, EventKind kind);
/* steps_span - a part of the step is over, begun at `at_ns`. */
void steps_span(const StepWork *w, const char *text, uint64_t at_ns);

/*
 * steps_fetch_git - have every repository that the plan's ADDs name.
 *
 * git and ssh ask who the user is, so this comes before the namespaces are entered. Fails as
 * source_git_resolve() and source_git() do, naming the line.
 */
NODISCARD bool steps_fetch_git(StepsEnv *env, Arena *a, Err *e);

/* steps_log_in - have the credentials for layers of bases that are not here yet: helper programs
 * ask who the user is, too. Fails as source_prepare(). */
NODISCARD bool steps_log_in(const StepsEnv *env, Err *e);

/*
 * steps_prepare - make ready for steps that run commands: once, in the thread that lives as long as
 * the build, with the namespaces entered. Fails with ERR_ENV or ERR_STORE.
 */
NODISCARD bool steps_prepare(StepsEnv *env, Arena *a, Err *e);

/*
 * steps_materials - the Go modules that go.mod files of the contexts require and go.sum lists, each
 * once, sorted; in the arena. Whose zip is not in the store has the zero digest. Nothing without
 * env->gomod.
 */
void steps_materials(StepsEnv *env, Arena *a, GomodMaterial **ret, size_t *ret_n);

void steps_work_done(StepWork *w);

/*
 * steps_key - the step's key, or its result where that follows from the key alone.
 *
 *   ret_known  false: snapshots must be read for it and the namespaces are not entered yet
 *
 * Reads the files a COPY names. Fails with ERR_DOCKERFILE (a source is missing), ERR_STORE.
 */
NODISCARD bool steps_key(StepWork *w, bool *ret_known, Err *e);

/* steps_from_record - the result that a stored record means. */
StepResult steps_from_record(StepWork *w, const StoreRecord *r);

/*
 * steps_run - carry the step out and keep its record.
 * Fails with ERR_STEP when a command fails; its output has gone to the sink, its log's path is in
 * the message.
 */
NODISCARD bool steps_run(StepWork *w, StepResult *ret, Err *e);

/* steps_write - carry the step out and keep no record: only what it wrote. Its key is known. */
NODISCARD bool steps_write(StepWork *w, SnapshotId *ret, Err *e);

/*
 * steps_shell - a shell on the caller's terminal in the root of a command that failed, with its
 * mounts, environment, directory and user; what it changes is thrown away. `w->failed` is set.
 * Fails as steps_run() does.
 */
NODISCARD bool steps_shell(StepWork *w, SandboxEnd *ret, Err *e);
/* steps_forget - drop what a failed command left, if it was kept. */
void steps_forget(StepWork *w);

/* steps_base - the result of a FROM step, which needs no work. */
StepResult steps_base(StepWork *w);

/* steps_stack - the directories of a result, unpacking its base if need be. */
NODISCARD bool steps_stack(const StepsEnv *env, Arena *a, const StepResult *r, Stack *ret, Err *e);

/*
 * steps_copy_mounts - MODE_CHROOT: replace mounts that nothing but a mount can do by copies in
 * `spec->scratch`, which are thrown away: stacks of directories, and whatever is read-only.
 */
NODISCARD bool steps_copy_mounts(Store *s, Arena *a, SandboxSpec *spec, Err *e);

#endif
