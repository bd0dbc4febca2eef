/*
 * plan/merge.c - plans of one Dockerfile for several targets as one graph.
 *
 * Two steps are one when all that decides their results is equal, inputs first. The text that is
 * compared is made here and kept nowhere.
 */
#include "base/key.h"
#include "base/map.h"
#include "plan/plan.h"

static void put_text(KeyBuilder *k, const char *v)
{
    key_text(k, v ? "s" : "n", v ? v : "");
}

static void put_number(KeyBuilder *k, uint64_t v)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)v);
    key_text(k, "d", text);
}

static void put_source(KeyBuilder *k, const PlanSource *s)
{
    put_number(k, s->origin);
    put_number(k, s->index);
    put_text(k, s->path.text);
    put_text(k, s->below);
    put_text(k, s->content);
}

static void put_mount(KeyBuilder *k, const PlanMount *m)
{
    const DfMount *d = &m->spec;
    const uint64_t numbers[] = {d->type,    d->readonly, d->required, d->size,
                                d->sharing, d->has_mode, d->has_uid,  d->has_gid,
                                d->mode,    d->uid,      d->gid};
    const char *const texts[] = {d->from, d->source, d->target, d->id, d->env, m->target};
    for (size_t i = 0; i < NELEM(numbers); i++)
        put_number(k, numbers[i]);
    for (size_t i = 0; i < NELEM(texts); i++)
        put_text(k, texts[i]);
    put_source(k, &m->source);
}

static void put_run(KeyBuilder *k, const PlanRun *r)
{
    key_list(k, "argv", &r->argv);
    key_list(k, "env", &r->env);
    put_text(k, r->cwd);
    put_text(k, r->user);
    put_number(k, r->network);
    put_number(k, r->insecure);
    put_text(k, r->foreign);
    put_text(k, r->script);
    put_text(k, r->script_text);
    for (size_t i = 0; i < r->nmount; i++)
        put_mount(k, &r->mounts[i]);
}

static void put_copy(KeyBuilder *k, const PlanCopy *c)
{
    put_text(k, c->dest);
    put_text(k, c->chown);
    put_text(k, c->chmod.text);
    key_list(k, "excludes", &c->excludes);
    put_number(k, c->link);
    put_number(k, c->unpack);
    put_number(k, c->unpack_urls);
    put_number(k, c->keep_git_dir);
    put_text(k, c->checksum);
    for (size_t i = 0; i < c->nsource; i++)
        put_source(k, &c->sources[i]);
}

static void step_name(const PlanStep *s, char out[static DIGEST_HEX_SIZE])
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    Digest d;
    key_begin(&k, "step");
    put_number(&k, s->kind);
    put_number(&k, s->src.line);
    for (uint32_t i = 0; i < s->ninput; i++)
        put_number(&k, s->inputs[i]);
    switch (s->kind) {
    case STEP_FROM:
        put_number(&k, s->u.base);
        break;
    case STEP_RUN:
        put_run(&k, &s->u.run);
        break;
    case STEP_COPY:
        put_copy(&k, &s->u.copy);
        break;
    case STEP_WORKDIR:
        put_text(&k, s->u.workdir.path);
        put_text(&k, s->u.workdir.user);
        break;
    }
    key_end(&k, &d);
    digest_hex(&d, out);
}

static void map_source(PlanSource *s, const uint32_t *map)
{
    if (s->origin == PLAN_STEP)
        s->index = map[s->index];
}

/* A copy of a step whose inputs are called as in the other plan. */
static PlanStep moved(Arena *a, const PlanStep *s, const uint32_t *map)
{
    PlanStep m = *s;
    m.inputs = NEW_N(a, uint32_t, s->ninput + 1);
    for (uint32_t i = 0; i < s->ninput; i++)
        m.inputs[i] = map[s->inputs[i]];
    if (s->kind == STEP_COPY) {
        PlanCopy *c = &m.u.copy;
        c->sources = arena_grow(a, c->sources, c->nsource, c->nsource + 1, sizeof *c->sources);
        for (size_t i = 0; i < c->nsource; i++)
            map_source(&c->sources[i], map);
    } else if (s->kind == STEP_RUN) {
        PlanRun *r = &m.u.run;
        r->mounts = arena_grow(a, r->mounts, r->nmount, r->nmount + 1, sizeof *r->mounts);
        for (size_t i = 0; i < r->nmount; i++)
            map_source(&r->mounts[i].source, map);
    }
    return m;
}

void plan_merge(Arena *a, Plan *into, const Plan *more, uint32_t *ret_result,
                PlanHistory **ret_history)
{
    Map known = {0};
    uint32_t *map = NEW_N(a, uint32_t, more->nstep + 1);
    char name[DIGEST_HEX_SIZE];
    for (size_t i = 0; i < into->nstep; i++) {
        step_name(&into->steps[i], name);
        map_put(&known, arena_strdup(a, name), i);
    }
    for (size_t i = 0; i < more->nstep; i++) {
        PlanStep s = moved(a, &more->steps[i], map);
        uint64_t at = into->nstep;
        step_name(&s, name);
        if (!map_get(&known, name, &at)) {
            *ARENA_PUSH(a, into->steps, into->nstep, into->step_cap) = s;
            map_put(&known, arena_strdup(a, name), at);
        }
        map[i] = (uint32_t)at;
    }
    map_done(&known);
    *ret_history =
        arena_grow(a, more->history, more->nhistory, more->nhistory + 1, sizeof *more->history);
    for (size_t i = 0; i < more->nhistory; i++)
        if ((*ret_history)[i].step != STEP_NONE)
            (*ret_history)[i].step = map[(*ret_history)[i].step];
    for (size_t i = 0; i < more->warnings.n; i++)
        strlist_add_once(a, &into->warnings, more->warnings.v[i]);
    into->nstage += more->nstage;
    *ret_result = map[more->result];
}
