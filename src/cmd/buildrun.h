/*
 * cmd/buildrun.h - one `lighter build` from its options to its image: what inputs.c finds, build.c
 * carries out and result.c makes of it. Private to `lighter build`.
 */
#ifndef CMD_BUILDRUN_H
#define CMD_BUILDRUN_H

#include <stdatomic.h>

#include "cmd/cmd.h"
#include "cmd/dockerflags.h"
#include "cmd/golang.h"
#include "cmd/limits.h"
#include "cmd/outputs.h"
#include "cmd/remote.h"
#include "cmd/shape.h"
#include "context/context.h"
#include "export/export.h"
#include "history/history.h"
#include "solve/solve.h"
#include "ui/ui.h"

typedef struct BuildOpts {
    const char *file, *target, *progress, *trace, *iidfile, *epoch, *isolation, *max_cache,
        *network, *owners, *on_error, *check_cache, *metadata;
    StrList tags, build_args, contexts, labels, outputs, secrets, ssh, allow, no_cache_filter,
        annotations, platforms;
    bool why, no_cache, quiet, ignore_syntax, pull, push, load, squash;
    DockerFlags docker;
    ShapeOpts shape;
    LimitOpts limits;
    RemoteOpts remote;
    GoOpts go;
} BuildOpts;

/* A context by what it is given as. */
typedef enum InputKind {
    INPUT_NONE,
    INPUT_DIR,
    INPUT_STDIN, /* an archive, or a Dockerfile */
    INPUT_URL,   /* the same */
    INPUT_GIT,
    INPUT_IMAGE, /* named contexts only */
} InputKind;

typedef struct Input {
    InputKind kind;
    const char *spec;
    GitRef git;
    const GitCommit *commit; /* of INPUT_GIT, once read */
    Context *context;        /* once opened; NULL: there are no files */
    const char *index;       /* where the store keeps what is known of them */
} Input;

/* One platform that is built for, and the image it leads to. */
typedef struct Target {
    Platform platform;
    const char *text; /* "linux/arm64" */
    /* Of its plan; the steps of all plans are in Build.plan. */
    uint32_t result;
    ImageConfig planned;
    PlanHistory *history;
    size_t nhistory;
    /* The image. */
    ImageConfig config;
    StoreLayer *layers;
    size_t nlayer;
    uint64_t size;
    int64_t created;
    Digest id;
} Target;

/* Who hears what happens in a build; of cmd/watch.c. */
typedef struct Watch {
    uint64_t t0; /* clock_ns() when it began */
    UiOpts opts;
    Ui *ui;
    EventFan fan;
    atomic_size_t count[NSTEP_HOW]; /* of steps that ended so */
    bool began;                     /* the command line is right: what fails now is a build */
    HistoryLimits limits;
    int storefd;           /* borrowed */
    HistoryBuild *history; /* NULL: no record is written */
    Trace *trace;          /* NULL: none is wanted */
} Watch;

typedef struct Build {
    Arena *arena;
    const BuildOpts *opts;
    bool dry;                 /* `lighter plan`: nothing is built or recorded */
    const char *verify;       /* `lighter verify`: the image that is to come out, else NULL */
    Digest verify_id;         /* its ID */
    const char *verify_epoch; /* the rule its times follow, as --epoch has it, or NULL */
    Store *store;
    Registry *registry;
    Watch watch;
    Input main;
    Input *named; /* --build-context, in their order */
    PlanContext *contexts;
    size_t ncontext;
    const char *dockerfile_path; /* NULL: it is not a file beside which an ignore file could lie */
    Buf text;
    bool any_syntax;      /* whatever frontend the file names, it is read as lighter's language */
    bool stopped_waiting; /* a signal came before there was anything to do */
    DfFile file;
    PlanOpts plan_opts;
    Plan plan; /* of all targets */
    Target *targets;
    size_t ntarget;
    SourceImage *bases;
    StepsEnv env;
    struct SshAgents *ssh; /* NULL: none was started */
    Solution sol;
    GomodMaterial *materials; /* for --metadata-file: the Go modules of the build */
    size_t nmaterial;
    bool rewritten;   /* --epoch or SOURCE_DATE_EPOCH: configs are dated `stamp` */
    int64_t stamp;    /* seconds */
    LayerTimes times; /* of layers */
    bool keep_times;  /* rewrite-timestamp=false: of configs alone */
    Output *outputs;
    size_t noutput;
    bool stdout_taken;     /* an archive goes there, and nothing else may */
    struct Loader *loader; /* NULL: nothing goes to docker or podman */
    StrList names;         /* full references */
    Digest id;             /* what --iidfile and -q say */
    Err *e;
} Build;

/* inputs_check - what the contexts are, by their text alone. Fails with ERR_USAGE. */
NODISCARD bool inputs_check(Build *b, const char *context);
/* inputs_read - have the main context and the Dockerfile; the store is open where that needs it. */
NODISCARD bool inputs_read(Build *b);
/* inputs_need_store - whether inputs_read() needs the store. */
bool inputs_need_store(const Build *b);
/* inputs_plan - resolve what the Dockerfile names, make the plan, open the contexts it uses. */
NODISCARD bool inputs_plan(Build *b);
/* inputs_save - remember what was seen of the contexts, whatever became of the build. */
void inputs_save(Build *b);
void inputs_done(Build *b);

/* secrets_read - the values of --secret; they live in b->arena. Fails with ERR_USAGE. */
NODISCARD bool secrets_read(Build *b);

/*
 * ssh_read - the agents of --ssh, started where keys are named. No other thread is alive. Fails
 * with ERR_USAGE or ERR_ENV; ssh_done() ends those that were started, also after a failure.
 */
NODISCARD bool ssh_read(Build *b);
void ssh_done(Build *b);

/* rights_read - --network and --allow, into the plan's options. Fails with ERR_USAGE. */
NODISCARD bool rights_read(Build *b);

/* platforms_read - --platform, or this machine's. Fails with ERR_USAGE. */
NODISCARD bool platforms_read(Build *b);

/* build_outputs - -o, --push, --load and --annotation, into b->outputs. Fails with ERR_USAGE. */
NODISCARD bool build_outputs(Build *b);
/* build_target - the image that has the names alone: this machine's, else the first. */
const Target *build_target(const Build *b);

/* result_make - the images of a solved build, kept and tagged. */
NODISCARD bool result_make(Build *b);
/* result_report - what is wrong with the images' programs; outputs; the summary. */
NODISCARD bool result_report(Build *b);
/* result_enter - have the mode's namespaces, in which snapshots are read and written. */
NODISCARD bool result_enter(Build *b);
/* result_of - what a target's steps led to. */
const StepResult *result_of(const Build *b, const Target *t);

/* deliver_check - whether the registries of the names would take them, and what else an output
 * needs: asked before anything is built. */
NODISCARD bool deliver_check(Build *b);
/* deliver - carry out all outputs, and write --iidfile and --metadata-file. */
NODISCARD bool deliver(Build *b);

/*
 * loader_new - get ready to hand images to docker, or else to podman, while no thread is alive and
 * the caller's namespaces are left yet. *ret is NULL where there is neither.
 */
typedef struct Loader Loader;
NODISCARD bool loader_new(Arena *a, Loader **ret, Err *e);
/* loader_send - load an archive; `what` is its names, for messages. */
NODISCARD bool loader_send(Loader *l, Store *s, Arena *a, const ExportItem *items, size_t n,
                           const ExportStyle *style, EventSink sink, Err *e);
void loader_done(Loader *l);
/* explain_plan - print what a build would reuse and run. */
NODISCARD bool explain_plan(Build *b);
/* recheck_parse - the N of --check-cache=N%; recheck - do it. Fails with ERR_CHECK when a step is
 * not reproducible. */
NODISCARD bool recheck_parse(Build *b, unsigned *ret);
NODISCARD bool recheck(Build *b);
/* explain_tell - keep why the steps of a solution ran for `lighter why`, and tell it with --why. */
NODISCARD bool explain_tell(Build *b);

/*
 * epoch_read - the rule for times: --epoch, SOURCE_DATE_EPOCH, or the image's that is verified.
 * Once the plan is made, a default of the Dockerfile's counts as well.
 */
NODISCARD bool epoch_read(Build *b);
/* epoch_of_context - give "context" the time that the build's context has. Fails with ERR_USAGE
 * when it has none. */
NODISCARD bool epoch_of_context(Build *b);

/* verify_begin - find the image that is to be built again, and its rule for times. */
NODISCARD bool verify_begin(Build *b);
/* verify_end - compare it with what was built. Fails with ERR_CHECK when they differ. */
NODISCARD bool verify_end(Build *b);

/* watch_begin - choose a view and let it hear everything that is said. Fails with ERR_USAGE. */
NODISCARD bool watch_begin(Build *b);
/* watch_store - the store is open: a record of this build begins. */
void watch_store(Build *b, int storefd);
/* watch_result - the build is over, and its record with it; what follows is housekeeping. */
void watch_result(Build *b, bool ok);
/* watch_code - the exit code of a build that ended so. */
int watch_code(const Build *b, bool ok);
/* watch_end - tell all who watch that the build is over, and how; nothing is told after it. */
void watch_end(Build *b, bool ok);
/* watch_close - write the trace, last of all. Fails with ERR_USAGE. */
NODISCARD bool watch_close(Build *b);
/* watch_told - whether an error has been told in the view's own words, so that main need not. */
bool watch_told(const Build *b);

#endif
