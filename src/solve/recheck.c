/*
 * solve/recheck.c - run some hits again and compare: what is not reproducible is named.
 */
#include <sys/random.h>

#include "base/cancel.h"
#include "solve/solve.h"

/* Whether a step is in the sample. */
static bool is_drawn(unsigned percent)
{
    uint32_t n = 0;
    (void)!getrandom(&n, sizeof n, 0);
    return n % 100 < percent;
}

static bool may_check(const StepsEnv *env, const Solution *s, size_t i)
{
    return env->plan->steps[i].kind != STEP_FROM && s->how[i] == HOW_HIT;
}

/* The steps to run again: at least one, if there is any. */
static size_t draw(const StepsEnv *env, const Solution *s, unsigned percent, bool *drawn)
{
    size_t n = 0, could = 0;
    uint32_t pick = 0;
    for (size_t i = 0; i < s->nstep; i++) {
        could += may_check(env, s, i);
        drawn[i] = may_check(env, s, i) && is_drawn(percent);
        n += drawn[i];
    }
    (void)!getrandom(&pick, sizeof pick, 0);
    for (size_t i = 0, k = 0; i < s->nstep && !n && could; i++) {
        if (may_check(env, s, i) && k++ == pick % could) {
            drawn[i] = true;
            n++;
        }
    }
    return n;
}

static bool check_step(StepsEnv *env, Solution *s, size_t i, StrList *ret, Err *e)
{
    const PlanStep *p = &env->plan->steps[i];
    const StepResult *r = &s->results[i];
    StepWork w = {.env = env,
                  .step = p,
                  .parent = s->works[i].parent,
                  .results = s->results,
                  .key = s->works[i].key,
                  .anew = true,
                  .trial = true};
    SnapshotId again = 0;
    bool known;
    StrList found = {0};
    event_send(&env->sink, &(Event){.kind = EV_STEP_START, .stage = p->stage, .title = p->title});
    bool ok = steps_key(&w, &known, e) && steps_write(&w, &again, e) &&
              snapshot_compare(env->store, &s->arena, r->layers[r->nlayer - 1].snapshot, again,
                               &found, e);
    for (size_t k = 0; ok && k < found.n; k++)
        strlist_add(&s->arena, ret,
                    arena_printf(&s->arena, "[%s] %s is not reproducible: %s", p->stage, p->title,
                                 found.v[k]));
    steps_work_done(&w);
    return ok;
}

bool solve_recheck(StepsEnv *env, Solution *s, unsigned percent, StrList *ret, size_t *ret_n,
                   Err *e)
{
    bool *drawn = NEW_N(&s->arena, bool, s->nstep + 1);
    *ret_n = draw(env, s, percent, drawn);
    if (!*ret_n)
        return true;
    if (!env->entered && !sandbox_enter(&env->host, e))
        return false;
    env->entered = true;
    bool ok = steps_prepare(env, &s->arena, e);
    for (size_t i = 0; i < s->nstep && ok; i++)
        ok = !drawn[i] || check_step(env, s, i, ret, e);
    sandbox_stop();
    return ok;
}
