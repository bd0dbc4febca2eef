/*
 * steps/early.c - a COPY of a program that was just compiled: copied and named while it is read for
 * the key.
 *
 * All three take as long as the file is big, so each has a thread: the layer's name is that of what
 * is copied, and does not wait for the copy.
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
    bool named; /* `diff` is set */
    bool ok;
} CopyEarly;

/* ---- is it worth it? ---- */

/* Whether the step's layer is one of an image's. */
static bool is_kept(const StepsEnv *env, const PlanStep *step)
{
    for (size_t i = 0; i < env->nkept; i++)
        for (const PlanStep *s = &env->plan->steps[env->kept[i]];;
             s = &env->plan->steps[s->inputs[0]]) {
            if (s == step)
                return true;
            if (!s->ninput)
                break;
        }
    return false;
}

static bool is_worth(StepWork *w, Err *e)
{
    const PlanCopy *c = &w->step->u.copy;
    const PlanSource *p = &c->sources[0];
    scoped(open_source) OpenSource o = OPEN_SOURCE_INIT;
    bool known;
    ViewNode node;
    return w->env->entered && !w->trial && c->nsource == 1 && p->origin == PLAN_STEP && !p->below &&
           !c->excludes.n && !glob_has_meta(p->path.text) &&
           source_is_remembered(w, p, &known, e) && !known &&
           source_open(w, p, &w->sources[0], &o, e) &&
           view_lookup(o.view, p->path.text, VIEW_FOLLOW, &node, e) && node.exists &&
           S_ISREG(node.st.st_mode) && node.st.st_size >= EARLY_MIN && node.st.st_size <= EARLY_MAX;
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
static bool name_and_own(CopyEarly *x)
{
    pthread_t thread;
    void *copied = NULL;
    Err ignored = ERR_INIT;
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
        x->ok = name_and_own(x);
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
    if (!upper_commit(&x->up, ret, e) ||
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
