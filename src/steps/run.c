/*
 * steps/run.c - RUN: one command in the sandbox, its output to the sink and to a log.
 */
#include <errno.h>
#include <signal.h>
#include <sys/file.h>

#include "base/fs.h"
#include "base/rune.h"
#include "history/history.h"
#include "steps/golang.h"
#include "steps/kinds.h"

/*
 * BuildKit's name for its sandbox; a step that writes its host name must give the same image here.
 */
#define STEP_HOSTNAME "buildkitsandbox"

enum { TAIL_LINES = 20, TAIL_SIZE = 16 << 10 };

/* Words of the key, by PlanNet. */
static const char *const NETWORKS[] = {"host", "none", "passt"};

static SandboxNet sandbox_net(PlanNet n)
{
    switch (n) {
    case PLAN_NET_HOST:
        return SANDBOX_NET_HOST;
    case PLAN_NET_NONE:
        return SANDBOX_NET_NONE;
    case PLAN_NET_USER:
        return SANDBOX_NET_USER;
    }
    return SANDBOX_NET_NONE;
}

static const char *hostname(const StepsEnv *env)
{
    return env->hostname ? env->hostname : STEP_HOSTNAME;
}

bool steps_prepare(StepsEnv *env, Arena *a, Err *e)
{
    char dir[STORE_TMP_MAX];
    if (!store_tmp(env->store, "points", dir, e) ||
        !sandbox_points(store_dirfd(env->store), dir, hostname(env), &env->shape, e))
        return false;
    env->points = arena_strdup(a, dir);
    return sandbox_start(e) && gofiles_learn(env, a, e);
}

/* Only what is not the default, so that a build without these options has the key it always had. */
static void key_shape(StepWork *w)
{
    const SandboxShape *s = &w->env->shape;
    KeyBuilder *k = &w->key_parts;
    StrList limits = {0};
    if (s->hosts.n)
        key_list(k, "host", &s->hosts);
    if (s->shm_size)
        key_text(k, "shm", arena_printf(&w->arena, "%llu", (unsigned long long)s->shm_size));
    for (size_t i = 0; i < s->nulimit; i++)
        strlist_add(&w->arena, &limits, sandbox_ulimit_text(&w->arena, &s->ulimits[i]));
    if (limits.n)
        key_list(k, "ulimit", &limits);
}

bool run_key(StepWork *w, bool *ret_known, Err *e)
{
    const PlanRun *r = &w->step->u.run;
    KeyBuilder *k = &w->key_parts;
    key_list(k, "arg", &r->argv);
    key_list(k, "env", &r->env);
    key_text(k, "cwd", r->cwd);
    key_text(k, "user", r->user);
    key_text(k, "network", NETWORKS[r->network]);
    if (r->insecure)
        key_text(k, "security", "insecure");
    key_text(k, "hostname", hostname(w->env));
    key_shape(w);
    if (w->env->fast_owners) /* programs that copy files may write other owners */
        key_text(k, "owners", "fast");
    if (r->script)
        key_text(k, "script", r->script_text);
    const char *shadow = go_shadow_path(&w->arena, w->env, w->step);
    if (shadow) /* its layer has no GOCACHE */
        key_text(k, "gocache", shadow);
    return mounts_key(w, ret_known, e);
}

/*
 * Where a command's output goes: the sink, the log file, and the last of it for the failure report.
 */
typedef struct Log {
    const StepWork *w;
    HistoryLog file;
    char tail[TAIL_SIZE]; /* a ring */
    size_t ntail;         /* bytes ever written */
} Log;

static void take(void *arg, const char *bytes, size_t n)
{
    Log *l = arg;
    history_log_add(&l->file, bytes, n);
    for (size_t i = 0; i < n; i++)
        l->tail[l->ntail++ % TAIL_SIZE] = bytes[i];
    Event ev = steps_event(l->w, EV_STEP_LOG);
    ev.text = bytes;
    ev.len = n;
    event_send(&l->w->env->sink, &ev);
}

/* The last lines of the ring, each indented, without what would steer the terminal. */
static void last_lines(const Log *l, Buf *out)
{
    scoped(buf) Buf text = BUF_INIT;
    size_t have = l->ntail < TAIL_SIZE ? l->ntail : TAIL_SIZE, lines = 0;
    for (size_t i = l->ntail - have; i < l->ntail; i++)
        buf_putc(&text, l->tail[i % TAIL_SIZE]);
    const char *begin = buf_str(&text), *end = begin + text.len, *start = end;
    while (start > begin && (start[-1] != '\n' || start == end || ++lines < TAIL_LINES))
        start--;
    while (start < end) {
        const char *nl = memchr(start, '\n', (size_t)(end - start));
        buf_puts(out, "    ");
        buf_add_clean(out, start, (size_t)((nl ? nl : end) - start));
        buf_putc(out, '\n');
        start = nl ? nl + 1 : end;
    }
}

static const char *how_it_ended(Arena *a, const SandboxLimits *l, const SandboxEnd *end)
{
    char limit[32];
    str_size(l->memory, limit, sizeof limit);
    if (end->oom)
        return arena_printf(a, "exit code %d: out of memory: it took more than --memory (%s)",
                            end->code, limit);
    if (!end->signal)
        return arena_printf(a, "exit code %d", end->code);
    return arena_printf(a, "killed by signal %d (%s)%s", end->signal, strsignal(end->signal),
                        end->signal == SIGKILL ? ", which the kernel sends when memory runs out"
                                               : "");
}

/* A shell can lose a process in the middle of a pipe and say nothing. */
static void warn_oom(StepWork *w, const SandboxEnd *end)
{
    event_warning(&w->env->sink,
                  "%s:%u: %s: %llu of its processes were killed because --memory was reached, and "
                  "it succeeded all the same",
                  w->env->file->name, w->step->src.line, w->step->title,
                  (unsigned long long)end->oom);
}

static bool command_failed(StepWork *w, const Log *l, const SandboxEnd *end, Err *e)
{
    scoped(buf) Buf lines = BUF_INIT, excerpt = BUF_INIT;
    last_lines(l, &lines);
    df_excerpt(w->env->file, &w->step->src, &excerpt);
    const char *log = w->log ? arena_printf(&w->arena, "\n  full log: %s/logs/%s",
                                            store_path(w->env->store), w->log)
                             : "";
    return err_set(e, ERR_STEP, "%s:%u: %s: %s\n\n%s%s%s%s%s", w->env->file->name,
                   w->step->src.line, w->step->title, how_it_ended(&w->arena, &w->env->limits, end),
                   lines.len ? "  last lines:\n" : "", buf_str(&lines), lines.len ? "\n" : "",
                   buf_str(&excerpt), log);
}

/* The step's environment: what the Dockerfile says, and below it what is the caller's own. */
static StrList environment(StepWork *w, const StepMounts *m)
{
    StrList env = strlist_copy(&w->arena, &w->step->u.run.env);
    for (size_t i = 0; i < w->env->step_env.n; i++) {
        const char *kv = w->env->step_env.v[i];
        char *name = arena_strndup(&w->arena, kv, strcspn(kv, "="));
        if (!env_get(&env, name))
            env_set(&w->arena, &env, name, kv + strlen(name) + 1);
    }
    for (size_t i = 0; i < m->env.n; i++) { /* a secret goes before a variable of its name */
        const char *kv = m->env.v[i];
        env_set(&w->arena, &env, arena_strndup(&w->arena, kv, strcspn(kv, "=")),
                kv + strcspn(kv, "=") + 1);
    }
    return env;
}

/* MODE_CHROOT: the command changes a copy, and what it changed becomes the upper. */
static bool run_copied(StepWork *w, const Stack *below, SandboxSpec *spec, const SandboxOutput *out,
                       SandboxEnd *ret, CopyRoot **ret_root, Err *e)
{
    Store *s = w->env->store;
    const char *upper = spec->upper;
    scoped(copyroot) CopyRoot *root = NULL;
    StrList own = {0};
    if (!steps_copy_mounts(s, &w->arena, spec, e) ||
        !copyroot_take(w->env->roots, s, below, &root, e))
        return false;
    spec->copied = true;
    spec->upper = root->root;
    spec->own = &own;
    spec->own_arena = &w->arena;
    if (!sandbox_run(spec, out, ret, e))
        return false;
    bool failed = ret->cancelled || ret->code;
    if (!failed && !copyroot_diff(root, upper, &own, e))
        return false;
    *ret_root = root;
    root = NULL;
    return true;
}

/* What Go needs besides: more mounts, and a socket in the command's network. */
static bool add_go(StepWork *w, const Stack *below, StepMounts *mounts, StepGo *go,
                   SandboxSpec *spec, Err *e)
{
    if (!stepgo_begin(w, below, spec->upper, &spec->env, go, e))
        return false;
    spec->lowers = strlist_copy(&w->arena, &spec->lowers);
    for (size_t i = 0; i < go->lowers.n; i++)
        strlist_add(&w->arena, &spec->lowers, go->lowers.v[i]);
    spec->listen_port = go->port;
    spec->listening = stepgo_listening;
    spec->listening_arg = go;
    spec->watch = go->watched;
    spec->watching = stepgo_watching;
    spec->watching_arg = go;
    SandboxMount *all = NEW_N(&w->arena, SandboxMount, mounts->n + NELEM(go->mounts));
    if (mounts->n)
        memcpy(all, mounts->v, mounts->n * sizeof *all);
    for (size_t i = 0; i < go->nmount; i++)
        all[mounts->n + i] = go->mounts[i];
    spec->mounts = all;
    spec->nmount = mounts->n + go->nmount;
    return true;
}

/* What the command finds, but for its own words. `go` is NULL for one that gets nothing of ours. */
static bool make_spec(StepWork *w, const Stack *below, const char *upper, const char *scratch,
                      StepMounts *mounts, StepGo *go, SandboxSpec *ret, Err *e)
{
    const PlanRun *r = &w->step->u.run;
    SandboxSpec spec = {
        .in_userns = sandbox_in_userns(&w->env->host),
        .storefd = store_dirfd(w->env->store),
        .upper = upper,
        .scratch = scratch,
        .argv = r->argv,
        .cwd = r->cwd,
        .user = r->user,
        .hostname = hostname(w->env),
        .points = w->env->points,
        .fast_owners = w->env->fast_owners,
        .net = sandbox_net(r->network),
        .insecure = r->insecure,
        .shape = w->env->shape,
        .limits = &w->env->limits,
    };
    uint64_t at = clock_ns();
    if (!snapshot_twins_part(w->env->store, below, e) ||
        !stack_lowers(&w->arena, below, &spec.lowers, e) || !mounts_open(w, mounts, e))
        return false;
    steps_span(w, "mounts", at);
    spec.env = environment(w, mounts);
    spec.mounts = mounts->v;
    spec.nmount = mounts->n;
    *ret = spec;
    return !go || add_go(w, below, mounts, go, ret, e);
}

/* One run of a step's command, in directories of its own. */
typedef struct Attempt {
    const Stack *below;
    const char *upper, *scratch;
    Log *log;
    bool plain;           /* it gets nothing of ours */
    const char *again;    /* why it is to run once more, plain; NULL: it is not */
    bool without_modules; /* not plain: only modules are not lent to it again */
    const GoParts *parts; /* what `upper` lies over */
    CopyRoot *root;       /* MODE_CHROOT: where it ran */
    SandboxEnd end;
} Attempt;

/* What was lent is taken back, and looked for in what the command wrote. */
static bool take_back(StepWork *w, Attempt *t, StepGo *go, Err *e)
{
    bool stale, other = false, changed = false, tells = false, lost = gowatch_lost(go->watch),
                failed = t->end.cancelled || t->end.code;
    uint64_t at = clock_ns();
    StepGoSearch search = {.word = NULL};
    if (!failed && !stepgo_search(w, go, t->upper, &search, e))
        return false;
    bool ok = stepgo_collect(w, t->below, go, t->upper, &stale, e);
    if (!stepgo_found(&search, &tells, e) || !ok ||
        !stepgo_clear(w, go_shadow_path(&w->arena, w->env, w->step), t->below, t->upper, e))
        return false;
    if (t->end.cancelled || (t->end.code && !stale))
        return true;
    if (!tells && !stale && !lost &&
        (!stepgo_take_parts(w, t->below, go, t->upper, &other, e) ||
         !stepgo_put_back(w, t->below, go, t->upper, &changed, e)))
        return false;
    if (lost)
        gowatch_give_up(w, go->watch);
    steps_span(w, "what Go left", at);
    t->without_modules = other;
    if (tells)
        t->again = "it wrote down what lighter lends it for Go modules";
    else if (stale)
        t->again = "it changed what Go packages are compiled with";
    else if (other)
        t->again = "it changed modules that lighter unpacked for it";
    else if (lost)
        t->again = "it used more of what lighter lends it than could be followed";
    else if (changed)
        t->again = "it changed the build cache that lighter lends it";
    else
        t->parts = go->parts;
    return true;
}

static bool run_spec(StepWork *w, Attempt *t, SandboxSpec *spec, StepGo *go, Err *e)
{
    SandboxOutput out = {take, t->log};
    uint64_t at = clock_ns();
    bool ok = w->env->host.mode == MODE_CHROOT
                  ? run_copied(w, t->below, spec, &out, &t->end, &t->root, e)
                  : sandbox_run(spec, &out, &t->end, e);
    steps_span(w, "command", at);
    gowatch_stop(go->watch);
    return ok && take_back(w, t, go, e);
}

static bool run_command(StepWork *w, Attempt *t, Err *e)
{
    scoped(mounts) StepMounts mounts = {0};
    SandboxSpec spec;
    StepGo go = {.port = 0};
    Err wrong = ERR_INIT;
    bool ok =
        make_spec(w, t->below, t->upper, t->scratch, &mounts, t->plain ? NULL : &go, &spec, e) &&
        run_spec(w, t, &spec, &go, e);
    if (!stepgo_end(&go, &wrong) && (ok || e->kind == ERR_STEP)) {
        *e = wrong;
        ok = false;
    }
    return ok;
}

static bool make_dirs(StepWork *w, const Attempt *t, Err *e)
{
    Store *s = w->env->store;
    if (mkdirat(store_dirfd(s), t->scratch, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), t->scratch);
    return snapshot_make_root(s, t->below, t->upper, e);
}

/* What a command is given for speed is not to be seen in its result. */
static bool run_attempts(StepWork *w, Attempt *t, Err *e)
{
    int store = store_dirfd(w->env->store);
    for (bool first = true;; first = false) {
        if (!make_dirs(w, t, e) || !run_command(w, t, e))
            return false;
        if (!t->again)
            return true;
        event_send(&w->env->sink,
                   &(Event){.kind = EV_NOTE,
                            .text = arena_printf(
                                &w->arena, "%s:%u: %s: %s, so it runs again without",
                                w->env->file->name, w->step->src.line, w->step->title, t->again)});
        copyroot_drop(t->root);
        t->root = NULL;
        t->plain = !first || !t->without_modules;
        t->again = NULL;
        if (!fs_remove_tree(store, t->upper, e) || !fs_remove_tree(store, t->scratch, e))
            return false;
    }
}

/* An Upper without entries is the empty snapshot. */
static bool commit(StepWork *w, const char *upper, const Stack *parts, SnapshotId *ret, Err *e)
{
    StrList names;
    int raw;
    if (!fs_open_dir(store_dirfd(w->env->store), upper, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    if (!fs_list(&w->arena, fd, &names, e))
        return false;
    if (!names.n) {
        *ret = 0;
        return true;
    }
    return store_snapshot_add_over(w->env->store, upper, parts->ids, parts->n, ret, e);
}

/* Keep what a failed command left, for a shell in it. */
static void keep_failed(StepWork *w, const char *dir, const Stack *below, CopyRoot **root)
{
    w->failed = NEW(&w->arena, StepFailed);
    *w->failed = (StepFailed){arena_strdup(&w->arena, dir), *below, *root};
    *root = NULL;
}

/* What a command wrote becomes a snapshot. */
static bool keep_upper(StepWork *w, const Attempt *t, CopyRoot **root, SnapshotId *ret, Err *e)
{
    uint64_t at = clock_ns();
    if (!snapshot_tidy(w->env->store, t->below, t->upper, e) ||
        !commit(w, t->upper, stepgo_below(t->parts), ret, e) || !copy_early_allow(w, *ret, e))
        return false;
    if (*root)
        copyroot_keep(w->env->roots, *root, t->below, *ret);
    *root = NULL;
    steps_span(w, "commit", at);
    return true;
}

static bool run_in(StepWork *w, const char *dir, SnapshotId *ret, Err *e)
{
    Store *s = w->env->store;
    const char *upper = arena_printf(&w->arena, "%s/upper", dir),
               *scratch = arena_printf(&w->arena, "%s/scratch", dir);
    Stack below;
    uint64_t at = clock_ns();
    if (mkdirat(store_dirfd(s), dir, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), dir);
    if (!steps_stack(w->env, &w->arena, w->parent, &below, e))
        return false;
    steps_span(w, "root", at);
    Log *log = NEW(&w->arena, Log);
    *log = (Log){.w = w, .file = HISTORY_LOG_NONE};
    history_log_begin(&log->file, store_dirfd(s), &w->key, w->created);
    Attempt t = {.below = &below, .upper = upper, .scratch = scratch, .log = log};
    bool ended = run_attempts(w, &t, e);
    scoped(copyroot) CopyRoot *root = t.root;
    SandboxEnd end = t.end;
    w->log = history_log_end(&log->file, &w->arena, !ended || end.cancelled || end.code);
    if (!ended)
        return err_wrap(e, "%s:%u: %s", w->env->file->name, w->step->src.line, w->step->title);
    if (end.cancelled)
        return err_set(e, ERR_STEP, "%s:%u: %s: cancelled", w->env->file->name, w->step->src.line,
                       w->step->title);
    if (end.code) {
        if (w->env->keep_failed)
            keep_failed(w, dir, &below, &root);
        return command_failed(w, log, &end, e);
    }
    if (end.oom)
        warn_oom(w, &end);
    return keep_upper(w, &t, &root, ret, e);
}

/* Programs of another machine: the error says what would run them, and how to do without. */
static bool check_foreign(StepWork *w, Err *e)
{
    const char *foreign = w->step->u.run.foreign;
    Platform p;
    if (!foreign)
        return true;
    if (!image_platform_parse(&w->arena, foreign, &p, e))
        return false;
    SandboxEmulator emulator = sandbox_emulator(p.architecture);
    if (emulator == EMULATOR_READY)
        return true;
    return df_err(
               w->env->file, &w->step->src, e,
               emulator == EMULATOR_NONE
                   ? "RUN in a stage for %s needs an emulator on this machine (linux/%s), and "
                     "none is registered: as root, 'apt install qemu-user-static binfmt-support' "
                     "does it; or let the stage run here (FROM --platform=$BUILDPLATFORM) and "
                     "compile for $TARGETARCH"
                   : "RUN in a stage for %s needs an emulator on this machine (linux/%s), and the "
                     "one that is registered is not found inside an image: register it with flag "
                     "F, as the package qemu-user-static does",
               foreign, image_arch()) ||
           (e->kind = ERR_ENV, false);
}

bool run_write(StepWork *w, SnapshotId *ret, Err *e)
{
    char dir[STORE_TMP_MAX];
    if (!check_foreign(w, e))
        return false;
    if (!store_tmp(w->env->store, "run", dir, e))
        return false;
    bool ok = run_in(w, dir, ret, e);
    if (!w->failed)
        store_discard(w->env->store, dir);
    return ok;
}

/* ---- a shell in a failed step ---- */

/* The shell of the step's own SHELL, if it is one that people type into. */
static const char *shell_of(const PlanRun *r)
{
    static const char *const KNOWN[] = {"sh", "bash", "dash", "ash", "zsh", "ksh", "fish"};
    for (size_t i = 0; r->argv.n && i < NELEM(KNOWN); i++)
        if (!strcmp(path_base(r->argv.v[0]), KNOWN[i]))
            return r->argv.v[0];
    return "/bin/sh";
}

/* The command's upper is below the shell's, which is thrown away. */
static bool shell_over(StepWork *w, const StepFailed *f, const char *dir, SandboxSpec *spec, Err *e)
{
    StrList lowers = {0};
    strlist_add(&w->arena, &lowers, arena_printf(&w->arena, "%s/upper", f->dir));
    for (size_t i = 0; i < spec->lowers.n; i++)
        strlist_add(&w->arena, &lowers, spec->lowers.v[i]);
    spec->lowers = lowers;
    spec->upper = arena_printf(&w->arena, "%s/upper", dir);
    return snapshot_make_root(w->env->store, &f->below, spec->upper, e);
}

bool steps_shell(StepWork *w, SandboxEnd *ret, Err *e)
{
    scoped(mounts) StepMounts mounts = {0};
    SandboxSpec spec;
    StrList argv = {0};
    const StepFailed *f = w->failed;
    const char *dir = arena_printf(&w->arena, "%s/shell", f->dir),
               *scratch = arena_printf(&w->arena, "%s/scratch", dir);
    Store *s = w->env->store;
    if (mkdirat(store_dirfd(s), dir, 0700) < 0 || mkdirat(store_dirfd(s), scratch, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), dir);
    if (!make_spec(w, &f->below, NULL, scratch, &mounts, NULL, &spec, e))
        return false;
    strlist_add(&w->arena, &argv, shell_of(&w->step->u.run));
    spec.argv = argv;
    spec.interactive = spec.tty = true;
    if (f->root) {
        spec.copied = true;
        spec.upper = f->root->root;
        if (!steps_copy_mounts(s, &w->arena, &spec, e))
            return false;
    } else if (!shell_over(w, f, dir, &spec, e)) {
        return false;
    }
    return sandbox_run(&spec, NULL, ret, e);
}

void steps_forget(StepWork *w)
{
    if (!w->failed)
        return;
    copyroot_drop(w->failed->root);
    store_discard(w->env->store, w->failed->dir);
    w->failed = NULL;
}
