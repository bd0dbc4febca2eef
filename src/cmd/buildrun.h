/*
 * cmd/buildrun.h - one `lighter build` from its options to its image: what inputs.c finds, build.c
 * carries out and result.c makes of it. Private to `lighter build`.
 */
#ifndef CMD_BUILDRUN_H
#define CMD_BUILDRUN_H

#include <stdatomic.h>

#include "cmd/cmd.h"
#include "cmd/golang.h"
#include "cmd/limits.h"
#include "cmd/remote.h"
#include "cmd/shape.h"
#include "context/context.h"
#include "export/export.h"
#include "history/history.h"
#include "solve/solve.h"
#include "ui/ui.h"

typedef struct BuildOpts {
    const char *file, *target, *progress, *trace, *iidfile, *epoch, *isolation, *max_cache,
        *network, *owners, *on_error, *check_cache;
    StrList tags, build_args, contexts, labels, outputs, secrets, ssh, allow, no_cache_filter;
    bool why, no_cache, quiet, ignore_syntax, pull, push;
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
    Context *context;  /* once opened; NULL: there are no files */
    const char *index; /* where the store keeps what is known of them */
} Input;

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
    bool dry; /* `lighter plan`: nothing is built or recorded */
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
    Plan plan;
    SourceImage *bases;
    StepsEnv env;
    struct SshAgents *ssh; /* NULL: none was started */
    Solution sol;
    bool rewritten; /* --epoch or SOURCE_DATE_EPOCH */
    LayerTimes times;
    ImageConfig config;
    StoreLayer *layers;
    size_t nlayer;
    uint64_t size;
    int64_t created;
    Digest id;
    StrList names; /* full references */
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

/* "-o type=oci,dest=PATH[,tar=false]" */
typedef struct Output {
    const char *dest;
    ExportForm form;
} Output;

/* explain_plan - print what a build would reuse and run. */
NODISCARD bool explain_plan(Build *b);
/* recheck_parse - the N of --check-cache=N%; recheck - do it. Fails with ERR_CHECK when a step is
 * not reproducible. */
NODISCARD bool recheck_parse(Build *b, unsigned *ret);
NODISCARD bool recheck(Build *b);
/* explain_tell - keep why the steps of a solution ran for `lighter why`, and tell it with --why. */
NODISCARD bool explain_tell(Build *b);

NODISCARD bool output_parse(Build *b, const char *text, Output *ret);
/* result_make - the image of a solved build, kept and tagged. */
NODISCARD bool result_make(Build *b);
/* result_may_push - whether the registries of the names would take them: asked before anything is
 * built. */
NODISCARD bool result_may_push(Build *b);
/* result_report - what is wrong with the image's programs; outputs; the summary. */
NODISCARD bool result_report(Build *b);

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
