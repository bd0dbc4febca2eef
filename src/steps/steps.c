/*
 * steps/steps.c - what all kinds of steps have in common: keys, results, records.
 */
#include "steps/steps.h"

#include <sys/random.h>
#include <time.h>

#include "base/fs.h"
#include "steps/kinds.h"

void steps_work_done(StepWork *w)
{
    copy_early_drop(w);
    arena_done(&w->arena);
    key_done(&w->key_parts);
}

Event steps_event(const StepWork *w, EventKind kind)
{
    static const char *const WHAT[] = {
        [STEP_FROM] = "from", [STEP_RUN] = "run", [STEP_COPY] = "copy", [STEP_WORKDIR] = "workdir"};
    return (Event){.kind = kind,
                   .step = (uint32_t)(w->step - w->env->plan->steps) + 1,
                   .what = WHAT[w->step->kind],
                   .stage = w->step->stage,
                   .title = w->step->title,
                   .key = digest_is_zero(&w->key) ? NULL : &w->key,
                   .log = w->log};
}

void steps_span(const StepWork *w, const char *text, uint64_t at_ns)
{
    event_span(&w->env->sink, (uint32_t)(w->step - w->env->plan->steps) + 1, text, at_ns);
}

StepResult steps_base(StepWork *w)
{
    StepResult r = {.base = w->step->u.base};
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, "from 1");
    if (r.base == STEP_NONE) {
        key_text(&k, "image", "scratch");
    } else {
        const SourceImage *img = &w->env->bases[r.base];
        key_digest(&k, "chain", &img->chain);
        key_digest(&k, "config", &img->id);
        key_text(&k, "os", img->config.os);
        key_text(&k, "arch", img->config.architecture);
        key_text(&k, "variant", img->config.variant);
    }
    key_end(&k, &r.id);
    return r;
}

/* COPY --link: its layer is the same whatever it is put on. */
static bool is_link(const StepWork *w)
{
    return w->step->kind == STEP_COPY && w->step->u.copy.link;
}

bool steps_key(StepWork *w, bool *ret_known, Err *e)
{
    static const char *const KINDS[] = {[STEP_FROM] = "from 1",
                                        [STEP_RUN] = "run 2",
                                        [STEP_COPY] = "copy 2",
                                        [STEP_WORKDIR] = "workdir 1"};
    bool known = true;
    key_done(&w->key_parts);
    key_begin(&w->key_parts, KINDS[w->step->kind]);
    if (!is_link(w))
        key_digest(&w->key_parts, "parent", &w->parent->id);
    switch (w->step->kind) {
    case STEP_RUN:
        if (!run_key(w, &known, e))
            return false;
        break;
    case STEP_COPY:
        if (!copy_key(w, &known, e))
            return false;
        break;
    case STEP_WORKDIR:
        key_text(&w->key_parts, "path", w->step->u.workdir.path);
        key_text(&w->key_parts, "user", w->step->u.workdir.user);
        break;
    case STEP_FROM:
        break;
    }
    key_end(&w->key_parts, &w->key);
    *ret_known = known;
    return true;
}

static StepResult add_layer(StepWork *w, const Digest *id, SnapshotId snapshot, int64_t created)
{
    const StepResult *p = w->parent;
    StepResult r = {.id = *id, .base = p->base, .nlayer = p->nlayer + 1};
    r.layers = arena_grow(&w->arena, p->layers, p->nlayer, p->nlayer + 1, sizeof *p->layers);
    r.layers[p->nlayer] = (StepLayer){snapshot, created};
    return r;
}

StepResult steps_from_record(StepWork *w, const StoreRecord *r)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    Digest id = r->result;
    if (is_link(w)) { /* the record knows the layer alone, the result is what it lies on too */
        key_begin(&k, "link 1");
        key_digest(&k, "layer", &r->result);
        key_digest(&k, "on", &w->parent->id);
        key_end(&k, &id);
    }
    return add_layer(w, &id, r->snapshot, r->created);
}

/*
 * Name a result. COPY and WORKDIR do the same each time, so their key is their result. A command
 * may do something else each time it runs, so each run is a result of its own; unless it left
 * nothing at all.
 */
static bool name_result(StepWork *w, SnapshotId snapshot, Digest *ret, Err *e)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    if (w->step->kind != STEP_RUN) {
        *ret = w->key;
        return true;
    }
    key_begin(&k, "result 1");
    if (snapshot) {
        Digest nonce;
        if (getrandom(nonce.b, sizeof nonce.b, 0) != (ssize_t)sizeof nonce.b)
            return err_errno(e, ERR_ENV, "getrandom");
        key_digest(&k, "key", &w->key);
        key_digest(&k, "run", &nonce);
    } else {
        key_digest(&k, "nothing over", &w->parent->id);
    }
    key_end(&k, ret);
    return true;
}

bool steps_write(StepWork *w, SnapshotId *ret, Err *e)
{
    uint64_t at = clock_ns();
    bool ok = true;
    switch (w->step->kind) {
    case STEP_RUN:
        ok = run_write(w, ret, e);
        break;
    case STEP_COPY:
        ok = copy_write(w, ret, e);
        break;
    case STEP_WORKDIR:
        ok = workdir_write(w, ret, e);
        break;
    case STEP_FROM:
        break;
    }
    if (w->step->kind != STEP_RUN) /* which tells of its parts */
        steps_span(w, "write", at);
    return ok;
}

bool steps_run(StepWork *w, StepResult *ret, Err *e)
{
    StoreRecord rec = {.created = w->created = (int64_t)time(NULL)};
    bool ok = steps_write(w, &rec.snapshot, e);
    uint64_t at = clock_ns();
    if (!ok || !name_result(w, rec.snapshot, &rec.result, e))
        return false;
    if (!store_record_put(w->env->store, &w->key, &rec, buf_str(&w->key_parts.text), e))
        return false;
    *ret = steps_from_record(w, &rec);
    steps_span(w, "record", at);
    return true;
}

bool steps_log_in(const StepsEnv *env, Err *e)
{
    for (size_t i = 0; i < env->plan->nstep; i++) {
        const PlanStep *p = &env->plan->steps[i];
        if (p->kind == STEP_FROM && p->u.base != STEP_NONE &&
            !source_prepare(env->store, &env->bases[p->u.base], e))
            return false;
    }
    return true;
}

bool steps_stack(const StepsEnv *env, Arena *a, const StepResult *r, Stack *ret, Err *e)
{
    Stack st = {0};
    if (r->base != STEP_NONE &&
        !source_stack(env->store, a, &env->bases[r->base], sandbox_in_userns(&env->host), &st, e))
        return false;
    for (size_t i = 0; i < r->nlayer; i++)
        if (!stack_push_parts(env->store, a, &st, r->layers[i].snapshot, &st, e))
            return false;
    *ret = st;
    return true;
}
