/*
 * solve/solve.c - look up, then run what is missing.
 */
#include "solve/solve.h"

#include <pthread.h>
#include <strings.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "base/pool.h"
#include "solve/why.h"

/* How often a step is begun whose files have changed, and what counts as long before it. */
enum { TRIES = 3, EARLY_NS = 500000000 };

/* A step on its way through the pool. */
typedef struct StepJob {
    Job job; /* first, so that a Job is its StepJob */
    struct Solver *solver;
    uint32_t step;
    bool ok, hit, started;
    Err err;
    uint64_t at_ns, ns; /* when it was taken up, and how long it took */
} StepJob;

/* A key that is being run in this build, or was. */
typedef struct Flight {
    Digest key;
    enum { FLIGHT_RUNNING, FLIGHT_DONE, FLIGHT_FAILED } state;
    StoreRecord record; /* FLIGHT_DONE */
} Flight;

typedef enum StepState { STATE_WAITING, STATE_RUNNING, STATE_DONE } StepState;

typedef struct Solver {
    StepsEnv *env;
    unsigned flags;
    Solution sol;
    StepState *state;
    uint32_t *nblocked; /* inputs not finished yet */
    StepJob *jobs;
    Flight *flights; /* under the lock, like nflight; at most TRIES a step */
    size_t nflight;
    pthread_mutex_t lock;
    pthread_cond_t landed;
    Err *e;
} Solver;

static const PlanStep *step_at(const Solver *s, size_t i)
{
    return &s->env->plan->steps[i];
}

/* When the step ran that led to this result; 0: nobody did. */
static int64_t created(const Solver *s, size_t i)
{
    const StepWork *w = &s->sol.works[i];
    const StepResult *r = &s->sol.results[i];
    if (w->created || !r->nlayer || step_at(s, i)->kind == STEP_FROM)
        return w->created;
    return r->layers[r->nlayer - 1].created;
}

static void tell(const Solver *s, size_t i, EventKind kind, StepHow how, uint64_t at_ns,
                 uint64_t ns)
{
    Event ev = steps_event(&s->sol.works[i], kind);
    ev.how = how;
    ev.at_ns = at_ns;
    ev.ns = ns;
    if (kind == EV_STEP_DONE)
        ev.created = created(s, i);
    if (how == HOW_SKIPPED || (how == HOW_CANCELLED && !ev.created))
        ev.key = NULL; /* what it would have been is not known */
    event_send(&s->env->sink, &ev);
}

/* Whether a step is to run whatever the records say. */
static bool runs_anyway(const Solver *s, size_t i)
{
    const PlanStep *p = step_at(s, i);
    const StrList *l = &s->env->no_cache;
    Str stage = plan_stage_name(p);
    bool named = s->flags & SOLVE_NO_CACHE;
    for (size_t k = 0; k < l->n && !named; k++)
        named = strlen(l->v[k]) == stage.len && !strncasecmp(l->v[k], stage.ptr, stage.len);
    return named;
}

static void bind_inputs(Solver *s, size_t i)
{
    const PlanStep *p = step_at(s, i);
    StepWork *w = &s->sol.works[i];
    w->env = s->env;
    w->step = p;
    w->parent = p->ninput > 0 ? &s->sol.results[p->inputs[0]] : NULL;
    w->results = s->sol.results;
    w->anew = runs_anyway(s, i);
}

static bool inputs_done(const Solver *s, size_t i)
{
    const PlanStep *p = step_at(s, i);
    for (uint32_t k = 0; k < p->ninput; k++)
        if (s->state[p->inputs[k]] != STATE_DONE)
            return false;
    return true;
}

/* Find the result of a step whose inputs are known. *ret_hit is false when it must run. */
static bool look_up(Solver *s, size_t i, StepResult *ret, bool *ret_hit, Err *e)
{
    StepWork *w = &s->sol.works[i];
    StoreRecord rec;
    bool known;
    *ret_hit = false;
    if (step_at(s, i)->kind == STEP_FROM) {
        *ret = steps_base(w);
        *ret_hit = true;
        return true;
    }
    if (!steps_key(w, &known, e))
        return false;
    if (!known)
        return true;
    if (runs_anyway(s, i))
        return true;
    if (!store_record_get(s->env->store, &w->key, &rec, ret_hit, e))
        return false;
    if (*ret_hit)
        *ret = steps_from_record(w, &rec);
    return true;
}

static void finish(Solver *s, size_t i, StepHow how, uint64_t at_ns, uint64_t ns)
{
    s->state[i] = STATE_DONE;
    s->sol.how[i] = how;
    if (how == HOW_HIT)
        s->sol.nhit++;
    else
        s->sol.nrun++;
    tell(s, i, EV_STEP_DONE, how, at_ns, ns);
}

/* The first pass: everything that records answer, without entering anything. */
static bool probe(Solver *s, bool *ret_all)
{
    *ret_all = true;
    for (size_t i = 0; i < s->sol.nstep; i++) {
        bool hit = false;
        bind_inputs(s, i);
        if (inputs_done(s, i) && !look_up(s, i, &s->sol.results[i], &hit, s->e))
            return false;
        if (hit)
            finish(s, i, HOW_HIT, 0, 0);
        else
            *ret_all = false;
    }
    return true;
}

/*
 * Take a key for this thread. False: another step of this build has run it, and *ret_record is what
 * came of it; docker's builder has one vertex for equal steps, so they must not come out
 * differently.
 */
static bool take_flight(Solver *s, const Digest *key, size_t *ret_flight, StoreRecord *ret_record)
{
    pthread_mutex_lock(&s->lock);
    size_t i = 0;
    while (i < s->nflight) {
        Flight *f = &s->flights[i];
        if (!digest_eq(&f->key, key) || f->state == FLIGHT_FAILED) {
            i++;
        } else if (f->state == FLIGHT_RUNNING) {
            pthread_cond_wait(&s->landed, &s->lock);
        } else {
            *ret_record = f->record;
            pthread_mutex_unlock(&s->lock);
            return false;
        }
    }
    s->flights[s->nflight] = (Flight){.key = *key, .state = FLIGHT_RUNNING};
    *ret_flight = s->nflight++;
    pthread_mutex_unlock(&s->lock);
    return true;
}

static void land(Solver *s, size_t flight, bool ok, const StepResult *r)
{
    pthread_mutex_lock(&s->lock);
    Flight *f = &s->flights[flight];
    f->state = ok ? FLIGHT_DONE : FLIGHT_FAILED;
    if (ok) {
        const StepLayer *top = &r->layers[r->nlayer - 1];
        f->record = (StoreRecord){r->id, top->snapshot, top->created};
    }
    pthread_cond_broadcast(&s->landed);
    pthread_mutex_unlock(&s->lock);
}

static void tell_wait(const Solver *s, size_t step, const char *text)
{
    Event ev = steps_event(&s->sol.works[step], EV_STEP_WAIT);
    ev.text = text;
    event_send(&s->env->sink, &ev);
}

/*
 * Be the one process that runs the step; another may have run it while we came here. If it failed
 * or was ended, we run it ourselves.
 */
static bool take_turn(Solver *s, StepJob *j, StoreTurn *turn, StepResult *result)
{
    StepWork *w = &s->sol.works[j->step];
    StoreRecord rec;
    bool taken;
    if (runs_anyway(s, j->step))
        return true;
    if (!store_take_turn(s->env->store, &w->key, false, turn, &taken, &j->err))
        return false;
    if (!taken) {
        tell_wait(s, j->step, "waits for another build that runs it");
        if (!store_take_turn(s->env->store, &w->key, true, turn, &taken, &j->err))
            return false;
        tell_wait(s, j->step, NULL);
    }
    if (!store_record_get(s->env->store, &w->key, &rec, &j->hit, &j->err))
        return false;
    if (j->hit)
        *result = steps_from_record(w, &rec);
    return true;
}

/* Run a step that no record answers, unless an equal one runs or ran in this build. */
static void run_step(Solver *s, StepJob *j, StepResult *result)
{
    StepWork *w = &s->sol.works[j->step];
    StoreTurn turn = {.fd = -1};
    StoreRecord record;
    size_t flight;
    if (!take_flight(s, &w->key, &flight, &record)) {
        *result = steps_from_record(w, &record);
        j->hit = true;
        return;
    }
    j->ok = take_turn(s, j, &turn, result);
    if (j->ok && !j->hit) {
        if (!j->started)
            tell(s, j->step, EV_STEP_START, HOW_RAN, clock_ns(), 0);
        j->started = true;
        j->ok = steps_run(w, result, &j->err);
    }
    store_end_turn(&turn);
    land(s, flight, j->ok, result);
}

/*
 * Whether a step that found its files other than they had been may begin again: what was looked at
 * long before may have been edited since, and a file that is gone is no half-written one. A file
 * that is being written is told of.
 */
static bool may_try_again(Solver *s, const StepJob *j)
{
    StepWork *w = &s->sol.works[j->step];
    return j->err.moved != MOVED_NOT &&
           (steps_look_again(w, j->at_ns - EARLY_NS) || j->err.moved == MOVED_GONE);
}

static void run_job(Job *job)
{
    StepJob *j = (StepJob *)job;
    Solver *s = j->solver;
    StepResult *result = &s->sol.results[j->step];
    j->at_ns = clock_ns();
    if (cancel_wanted()) {
        err_set(&j->err, ERR_STEP, "cancelled");
        return;
    }
    for (int i = 1; i <= TRIES; i++) {
        uint64_t at = clock_ns();
        j->ok = look_up(s, j->step, result, &j->hit, &j->err);
        event_span(&s->env->sink, j->step + 1, "look up", at);
        if (j->ok && !j->hit)
            run_step(s, j, result);
        if (j->ok || i == TRIES || cancel_wanted() || !may_try_again(s, j))
            break;
        j->err = (Err)ERR_INIT;
    }
    j->ns = clock_ns() - j->at_ns;
    Event ev = steps_event(&s->sol.works[j->step], EV_SPAN);
    ev.how = !j->ok ? HOW_FAILED : j->hit ? HOW_HIT : HOW_RAN;
    ev.at_ns = j->at_ns;
    ev.ns = j->ns;
    event_send(&s->env->sink, &ev);
}

static void start(Solver *s, Pool *pool, size_t i)
{
    StepJob *j = &s->jobs[i];
    *j = (StepJob){.job = {.run = run_job}, .solver = s, .step = (uint32_t)i, .err = ERR_INIT};
    s->state[i] = STATE_RUNNING;
    pool_add(pool, &j->job);
}

static void start_ready(Solver *s, Pool *pool)
{
    for (size_t i = 0; i < s->sol.nstep; i++)
        if (s->state[i] == STATE_WAITING && s->nblocked[i] == 0)
            start(s, pool, i);
}

/* One input of these is finished; which steps those are is found through `users`. */
static void unblock(Solver *s, Pool *pool, const uint32_t *users, const uint32_t *first,
                    size_t done)
{
    for (uint32_t k = first[done]; k < first[done + 1]; k++)
        if (--s->nblocked[users[k]] == 0 && s->state[users[k]] == STATE_WAITING)
            start(s, pool, users[k]);
}

/* For each step the steps that have it as input, in one array; `first[i]` is where i's begin. */
static void index_users(Solver *s, uint32_t **ret_users, uint32_t **ret_first)
{
    size_t n = s->sol.nstep;
    uint32_t *first = NEW_N(&s->sol.arena, uint32_t, n + 2);
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < step_at(s, i)->ninput; k++)
            first[step_at(s, i)->inputs[k] + 2]++;
    for (size_t i = 2; i <= n + 1; i++)
        first[i] += first[i - 1];
    uint32_t *users = NEW_N(&s->sol.arena, uint32_t, first[n + 1] + 1);
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < step_at(s, i)->ninput; k++)
            users[first[step_at(s, i)->inputs[k] + 1]++] = (uint32_t)i;
    *ret_users = users;
    *ret_first = first;
}

/* Say of every step that did not finish what became of it. */
static void tell_rest(Solver *s)
{
    for (size_t i = 0; i < s->sol.nstep; i++)
        if (s->state[i] == STATE_WAITING)
            tell(s, i, EV_STEP_DONE, HOW_SKIPPED, 0, 0);
}

static bool run_missing(Solver *s)
{
    scoped(pool) Pool *pool = NULL;
    uint32_t *users, *first;
    bool ok = true;
    unsigned threads = cpu_count() < 2 ? 2 : cpu_count();
    if (!pool_new(threads, &pool, s->e))
        return false;
    index_users(s, &users, &first);
    for (size_t i = 0; i < s->sol.nstep; i++)
        for (uint32_t k = 0; k < step_at(s, i)->ninput; k++)
            s->nblocked[i] += s->state[step_at(s, i)->inputs[k]] != STATE_DONE;
    start_ready(s, pool);
    for (StepJob *j; (j = (StepJob *)pool_next(pool));) {
        if (j->ok) {
            finish(s, j->step, j->hit ? HOW_HIT : HOW_RAN, j->at_ns, j->ns);
            if (ok)
                unblock(s, pool, users, first, j->step);
            continue;
        }
        bool cancelled = !ok || cancel_signal();
        s->sol.how[j->step] = cancelled ? HOW_CANCELLED : HOW_FAILED;
        tell(s, j->step, EV_STEP_DONE, s->sol.how[j->step], j->at_ns, j->ns);
        s->state[j->step] = STATE_RUNNING;
        if (ok) {
            *s->e = j->err;
            cancel_raise(); /* running steps are stopped: nobody will use what they make */
        }
        ok = false;
    }
    if (!ok)
        tell_rest(s);
    return ok;
}

/* Of several that failed, the first one that was told of is the one to look into. */
static void open_shell(Solver *s)
{
    StepWork *w = NULL;
    Err why = ERR_INIT;
    SandboxEnd end;
    for (size_t i = 0; !w && i < s->sol.nstep; i++)
        w = s->sol.works[i].failed && s->sol.how[i] == HOW_FAILED ? &s->sol.works[i] : NULL;
    if (!w || cancel_signal())
        return;
    cancel_clear();
    event_send(&s->env->sink, &(Event){.kind = EV_PAUSE});
    event_note(&s->env->sink, "%s", s->e->msg);
    event_note(&s->env->sink, "\na shell in this step's root; what is changed in it is dropped, "
                              "and the build ends with it");
    if (!steps_shell(w, &end, &why))
        event_warning(&s->env->sink, "no shell: %s", why.msg);
    s->e->msg[strcspn(s->e->msg, "\n")] = 0; /* the rest has been said */
}

static bool commands_missing(const Solver *s)
{
    for (size_t i = 0; i < s->sol.nstep; i++)
        if (s->state[i] != STATE_DONE && step_at(s, i)->kind == STEP_RUN)
            return true;
    return false;
}

static Solver new_solver(StepsEnv *env, unsigned flags, Err *e)
{
    size_t n = env->plan->nstep;
    Solver s = {.env = env, .flags = flags, .e = e};
    s.sol.nstep = n;
    s.sol.works = NEW_N(&s.sol.arena, StepWork, n + 1);
    s.sol.results = NEW_N(&s.sol.arena, StepResult, n + 1);
    s.sol.how = NEW_N(&s.sol.arena, StepHow, n + 1);
    s.state = NEW_N(&s.sol.arena, StepState, n + 1);
    return s;
}

/* ---- a dry run ---- */

/* Whether a step looks at files of a result that is not there. */
static bool reads_missing(const Solver *s, size_t i, const bool *missing)
{
    const PlanStep *p = step_at(s, i);
    for (uint32_t k = 1; k < p->ninput; k++)
        if (missing[p->inputs[k]])
            return true;
    return false;
}

static bool predict_step(Solver *s, size_t i, bool *missing, Prediction *out)
{
    const PlanStep *p = step_at(s, i);
    StepWork *w = &s->sol.works[i];
    bool hit = false;
    bind_inputs(s, i);
    missing[i] = p->ninput && missing[p->inputs[0]];
    out[i] = WILL_TELL;
    if (!inputs_done(s, i) || reads_missing(s, i, missing))
        return true;
    if (!look_up(s, i, &s->sol.results[i], &hit, s->e))
        return false;
    out[i] = hit ? WILL_HIT : WILL_RUN;
    missing[i] = missing[i] || !hit;
    /* What follows a command that must run is not known; a copy's result is its key. */
    if (!hit && p->kind == STEP_RUN)
        return true;
    if (!hit)
        s->sol.results[i] = steps_from_record(w, &(StoreRecord){.result = w->key});
    s->state[i] = STATE_DONE;
    return true;
}

bool solve_predict(StepsEnv *env, unsigned flags, Arena *a, Prediction **ret, Err *e)
{
    Solver s = new_solver(env, flags, e);
    bool *missing = NEW_N(a, bool, s.sol.nstep + 1);
    Prediction *out = NEW_N(a, Prediction, s.sol.nstep + 1);
    bool ok = env->entered || sandbox_enter(&env->host, e);
    env->entered = env->entered || ok;
    for (size_t i = 0; ok && i < s.sol.nstep; i++)
        ok = predict_step(&s, i, missing, out);
    solution_done(&s.sol);
    *ret = out;
    return ok;
}

/* ---- the real one ---- */

/* Why steps ran is told when all have, and then they are the earlier ones. */
static bool look_back(Solver *s)
{
    return !s->sol.nrun || !s->env->scope ||
           (why_tell(s->env, &s->sol, s->e) && why_remember(s->env, &s->sol, s->e));
}

bool solve(StepsEnv *env, unsigned flags, Solution *ret, Err *e)
{
    size_t n = env->plan->nstep;
    bool all = false;
    Solver s = new_solver(env, flags, e);
    s.nblocked = NEW_N(&s.sol.arena, uint32_t, n + 1);
    s.jobs = NEW_N(&s.sol.arena, StepJob, n + 1);
    s.flights = NEW_N(&s.sol.arena, Flight, TRIES * n + 1);
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.landed, NULL);

    uint64_t t0 = clock_ns();
    bool ok = probe(&s, &all);
    event_span(&env->sink, 0, "look up", t0);
    if (ok && !all) {
        t0 = clock_ns();
        ok = env->entered || (steps_log_in(env, e) && sandbox_enter(&env->host, e));
        env->entered = env->entered || ok;
        if (ok) {
            store_sweep(env->store);
            ok = !commands_missing(&s) || steps_prepare(env, &s.sol.arena, e);
            event_span(&env->sink, 0, "prepare to run", t0);
            t0 = clock_ns();
            ok = ok && run_missing(&s);
            event_span(&env->sink, 0, "run steps", t0);
            if (!ok && flags & SOLVE_SHELL)
                open_shell(&s);
            sandbox_stop();
        }
    }
    pthread_cond_destroy(&s.landed);
    pthread_mutex_destroy(&s.lock);
    ok = ok && look_back(&s);
    if (ok)
        *ret = s.sol;
    else
        solution_done(&s.sol);
    return ok;
}

void solution_done(Solution *s)
{
    for (size_t i = 0; i < s->nstep; i++) {
        steps_forget(&s->works[i]);
        steps_work_done(&s->works[i]);
    }
    arena_done(&s->arena);
    *s = (Solution){0};
}
