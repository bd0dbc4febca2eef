/*
 * steps/early.c - a COPY of a program that was just compiled: copied and named while it is read for
 * the key.
 *
 * All three take as long as the file is big, so each has a thread: the layer's name is that of what
 * is copied, and does not wait for the copy. Where no command of this build would see it, there is
 * no copy: both snapshots have the same file (snapshot/twin.c).
 */
#include <pthread.h>

#include "base/fs.h"
#include "base/glob.h"
#include "steps/kinds.h"
#include "steps/sources.h"
#include "steps/stacked.h"

/* Less is read in no time, and more is not written before it is known that it must be. */
enum { EARLY_MIN = 1 << 20, EARLY_MAX = 1 << 30 };

typedef struct CopyEarly {
    pthread_t thread;
    StepWork work; /* the same step, with an arena of the thread's */
    Copied written;
    Upper up;
    SnapshotDiff diff;
    const char *twin; /* where it has the source's file itself, in the new snapshot; or NULL */
    bool named;       /* `diff` is set */
    bool ok;
} CopyEarly;

/* ---- is it worth it? ---- */

/* Whether a step is `top`, or one that its root is made of. */
static bool stands_on(const Plan *plan, const PlanStep *top, const PlanStep *step)
{
    for (const PlanStep *s = top;; s = &plan->steps[s->inputs[0]]) {
        if (s == step)
            return true;
        if (!s->ninput)
            return false;
    }
}

/* Whether the step's layer is one of an image's. */
static bool is_kept(const StepsEnv *env, const PlanStep *step)
{
    for (size_t i = 0; i < env->nkept; i++)
        if (stands_on(env->plan, &env->plan->steps[env->kept[i]], step))
            return true;
    return false;
}

/* Whether it names one thing that another step made. */
static bool is_plain(const PlanCopy *c)
{
    const PlanSource *p = &c->sources[0];
    return c->nsource == 1 && p->origin == PLAN_STEP && !p->below && !c->excludes.n &&
           !glob_has_meta(p->path.text);
}

static bool is_worth(StepWork *w, Err *e)
{
    const PlanCopy *c = &w->step->u.copy;
    const PlanSource *p = &c->sources[0];
    scoped(open_source) OpenSource o = OPEN_SOURCE_INIT;
    bool known;
    ViewNode node;
    return w->env->entered && !w->trial && is_plain(c) && source_is_remembered(w, p, &known, e) &&
           !known && source_open(w, p, &w->sources[0], &o, e) &&
           view_lookup(o.view, p->path.text, VIEW_FOLLOW, &node, e) && node.exists &&
           S_ISREG(node.st.st_mode) && node.st.st_size >= EARLY_MIN && node.st.st_size <= EARLY_MAX;
}

/* ---- one file in two snapshots ---- */

/* Whether a command of this build has the step's result in its root, or mounts it. */
static bool is_mounted(const Plan *plan, const PlanStep *step)
{
    for (size_t i = 0; i < plan->nstep; i++) {
        const PlanStep *run = &plan->steps[i];
        for (size_t k = 0; run->kind == STEP_RUN && k < run->ninput; k++)
            if (stands_on(plan, &plan->steps[run->inputs[k]], step))
                return true;
    }
    return false;
}

/* Whether a COPY may take a file as it is, and no command of this build would see it: where one
 * runs on the snapshot, it gets a copy after all. */
static bool takes_as_is(const StepsEnv *env, const PlanStep *step)
{
    const PlanCopy *c = &step->u.copy;
    return is_plain(c) && !c->link && !c->chown && !c->chmod.text && env->times &&
           is_kept(env, step) && !is_mounted(env->plan, step);
}

/* A file of this snapshot alone. */
static bool has_file(int snapshot, const char *path)
{
    struct stat st;
    scoped(fd) int fd = fs_open_beneath(snapshot, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
           st.st_size >= EARLY_MIN && st.st_size <= EARLY_MAX;
}

bool copy_early_allow(StepWork *w, SnapshotId id, Err *e)
{
    const Plan *plan = w->env->plan;
    StrList paths = {0};
    int raw = -1;
    for (size_t i = 0; id && w->env->entered && i < plan->nstep; i++) {
        const PlanStep *s = &plan->steps[i];
        if (s->kind != STEP_COPY || !is_plain(&s->u.copy) ||
            !stands_on(plan, &plan->steps[s->u.copy.sources[0].index], w->step) ||
            !takes_as_is(w->env, s) || is_mounted(plan, w->step))
            continue;
        const char *path =
            path_clean(&w->arena, arena_printf(&w->arena, "/%s", s->u.copy.sources[0].path.text));
        strlist_add_once(&w->arena, &paths, path + 1);
    }
    if (!paths.n)
        return true;
    if (!store_snapshot_open(w->env->store, id, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    StrList there = {0};
    for (size_t i = 0; i < paths.n; i++)
        if (has_file(fd, paths.v[i]))
            strlist_add(&w->arena, &there, paths.v[i]);
    return snapshot_twins_allow(w->env->store, id, &there, e);
}

static bool is_in(const Stack *st, SnapshotId id)
{
    for (size_t i = 0; i < st->n; i++)
        if (st->ids[i] == id)
            return true;
    return false;
}

/* The source's own file in place of a copy; in one stack, two names would be seen. */
static bool link_lent(CopyEarly *x, const Stack *below)
{
    StepWork *w = &x->work;
    Stack st;
    bool done = false;
    Err ignored = ERR_INIT;
    uint64_t at = clock_ns();
    if (!takes_as_is(w->env, w->step) ||
        !source_result(w, &w->step->u.copy.sources[0], &st, &ignored))
        return false;
    for (size_t i = st.n; !done && i-- > 0;)
        if (!is_in(below, st.ids[i]) && !upper_link_lent(&x->up, st.ids[i], &done, &ignored))
            return false;
    x->twin = done ? x->up.lent.path : NULL;
    if (done)
        steps_span(w, "take the file itself", at);
    return done;
}

/* ---- the threads ---- */

/* Failures are nobody's: then the step is written again, and says it. */
static void *own_main(void *arg)
{
    CopyEarly *x = arg;
    Err ignored = ERR_INIT;
    uint64_t at = clock_ns();
    bool ok = upper_copy_lent(&x->up, &ignored);
    steps_span(&x->work, "copy", at);
    return ok ? x : NULL;
}

static void name_layer(CopyEarly *x)
{
    Err ignored = ERR_INIT;
    uint64_t at = clock_ns();
    x->named = snapshot_diff_of(x->up.dirfd, *x->work.env->times, x->up.lent, &x->diff, &ignored);
    steps_span(&x->work, "name the layer", at);
}

/* Both read the source. */
static bool name_and_own(CopyEarly *x, const Stack *below)
{
    pthread_t thread;
    void *copied = NULL;
    Err ignored = ERR_INIT;
    if (link_lent(x, below)) {
        name_layer(x);
        return upper_own_lent(&x->up, &ignored);
    }
    bool apart = pthread_create(&thread, NULL, own_main, x) == 0;
    name_layer(x);
    if (apart)
        (void)pthread_join(thread, &copied);
    else
        copied = own_main(x);
    return copied && upper_own_lent(&x->up, &ignored);
}

static void *early_main(void *arg)
{
    CopyEarly *x = arg;
    StepWork *w = &x->work;
    Stack below = {0};
    Err ignored = ERR_INIT;
    uint64_t at = clock_ns();
    bool wanted = w->env->times && is_kept(w->env, w->step);
    x->ok = (w->step->u.copy.link || steps_stack(w->env, &w->arena, w->parent, &below, &ignored)) &&
            copy_fill(w, &below, &x->written, wanted, &x->up, &ignored) && x->written.tree.n == 1 &&
            upper_set_times(&x->up, &ignored);
    if (x->ok && x->up.lent.path)
        x->ok = name_and_own(x, &below);
    else if (x->ok && wanted)
        name_layer(x);
    steps_span(w, "write ahead", at);
    return NULL;
}

void copy_early(StepWork *w)
{
    Err ignored = ERR_INIT;
    if (w->early || !is_worth(w, &ignored))
        return;
    CopyEarly *x = NEW(&w->arena, CopyEarly);
    *x = (CopyEarly){
        .work = {.env = w->env, .step = w->step, .parent = w->parent, .results = w->results},
        .up = {.dirfd = -1}};
    x->work.sources = NEW(&x->work.arena, StepSource);
    x->work.sources[0].unnamed = true;
    if (pthread_create(&x->thread, NULL, early_main, x) == 0)
        w->early = x;
    else
        arena_done(&x->work.arena);
}

/* ---- its end ---- */

static bool keep(StepWork *w, CopyEarly *x, SnapshotId *ret, Err *e)
{
    Store *s = w->env->store;
    StrList twins = {0};
    if (x->twin)
        strlist_add(&w->arena, &twins, arena_strdup(&w->arena, x->twin));
    if (!upper_commit(&x->up, ret, e) || !snapshot_twins_allow(s, *ret, &twins, e) ||
        (x->named && !snapshot_diff_keep(s, *ret, *w->env->times, &x->diff, e)))
        return false;
    x->written.snapshot = *ret;
    x->written.tree.v[0].content = w->sources[0].selection.tree.v[0].content;
    return !stacked_lists(w) || stacked_keep(w, &x->written, e);
}

/* The thread's work, which is over; NULL: there was none. */
static CopyEarly *take(StepWork *w)
{
    CopyEarly *x = w->early;
    if (x)
        (void)pthread_join(x->thread, NULL);
    w->early = NULL;
    return x;
}

static void discard(CopyEarly *x)
{
    if (!x)
        return;
    upper_abort(&x->up);
    steps_work_done(&x->work);
}

bool copy_early_take(StepWork *w, SnapshotId *ret, bool *ret_done, Err *e)
{
    CopyEarly *x = take(w);
    *ret_done = x && x->ok && w->sources[0].selected;
    bool ok = !*ret_done || keep(w, x, ret, e);
    discard(x);
    return ok;
}

void copy_early_drop(StepWork *w)
{
    discard(take(w));
}
