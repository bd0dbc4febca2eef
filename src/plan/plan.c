/*
 * plan/plan.c - stages to steps, and to the config the image will have.
 */
#include "plan/plan.h"

#include <ctype.h>

#include "plan/planner.h"

static const char PATH_DEFAULT[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

bool plan_images(Arena *a, const DfFile *f, const PlanOpts *o, StrList *ret, Err *e)
{
    Stages s;
    StrList names = {0};
    if (!stages_read(a, f, o, &s, e))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        const Stage *st = &s.v[i];
        if (st->state != NEEDED)
            continue;
        if (st->base == NO_STAGE && strcmp(st->image, "scratch") != 0)
            strlist_add_once(a, &names, st->image);
        for (size_t k = 0; k < st->nbody; k++) {
            const DfInstr *in = &st->body[k];
            if (in->kind != DF_COPY || !in->u.copy.from ||
                stages_find(&s, in->u.copy.from) != NO_STAGE)
                continue;
            if (strchr(in->u.copy.from, '$'))
                return df_err(f, &in->src, e, "COPY --from=%s: variables are not expanded there",
                              in->u.copy.from);
            strlist_add_once(a, &names, in->u.copy.from);
        }
    }
    *ret = names;
    return true;
}

static bool has_onbuild(Cursor *c, const ImageConfig *config)
{
    if (!config->onbuild.n)
        return false;
    df_err(c->p->file, &c->stage->from->src, c->p->e,
           "FROM %s: its ONBUILD instructions are not supported yet", c->stage->image);
    return true;
}

/* The state a stage begins with: scratch, an image, or an earlier stage's end. */
static bool start_state(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    const Stage *sg = c->stage;
    State *st = c->st;
    const char *lab = plan_label(c), *title = c->stage->from->text;

    if (sg->base != NO_STAGE) {
        const State *from = &p->states[sg->base];
        *st = *from;
        st->config = image_config_clone(a, &from->config);
        st->env = strlist_copy(a, &from->env);
        st->args = strlist_copy(a, &from->args);
        st->history =
            arena_grow(a, from->history, from->nhistory, from->nhistory + 8, sizeof *st->history);
        st->history_cap = from->nhistory + 8;
        st->cmd_set = false;
        return true;
    }
    uint32_t base = STEP_NONE;
    *st = (State){0};
    if (!strcmp(sg->image, "scratch")) {
        st->config = image_config_empty(a);
    } else {
        if (!planner_base(p, sg->image, &base))
            return df_err(p->file, &sg->from->src, p->e, "FROM %s: not resolved", sg->image);
        if (has_onbuild(c, p->bases[base].config))
            return false;
        st->config = image_config_clone(a, p->bases[base].config);
        if (!env_get(&st->config.env, "PATH"))
            env_set(a, &st->config.env, "PATH", PATH_DEFAULT);
    }
    st->env = strlist_copy(a, &st->config.env);
    st->last = planner_from(p, base, &sg->from->src, lab, title);
    for (size_t i = 0; i < st->config.nhistory; i++)
        *ARENA_PUSH(a, st->history, st->nhistory, st->history_cap) =
            (PlanHistory){.entry = st->config.history[i], .step = STEP_NONE, .from_base = true};
    return true;
}

static uint32_t count_steps(const Stage *s)
{
    uint32_t n = 1;
    for (size_t i = 0; i < s->nbody; i++)
        n += s->body[i].kind == DF_RUN || s->body[i].kind == DF_COPY ||
             s->body[i].kind == DF_WORKDIR;
    return n;
}

/* Plan a stage after everything it builds on, so that inputs always stand before their users. */
static bool plan_stage(Planner *p, uint32_t i)
{
    const Stage *s = &p->stages.v[i];
    if (p->done[i])
        return true;
    if (s->base != NO_STAGE && !plan_stage(p, s->base))
        return false;
    for (size_t k = 0; k < s->nbody; k++) {
        const DfInstr *in = &s->body[k];
        uint32_t dep = in->kind == DF_COPY && in->u.copy.from
                           ? stages_find(&p->stages, in->u.copy.from)
                           : NO_STAGE;
        if (dep != NO_STAGE && dep != i && !plan_stage(p, dep))
            return false;
    }
    Cursor c = {.p = p, .stage = s, .st = &p->states[i], .total = count_steps(s)};
    if (!start_state(&c))
        return false;
    for (size_t k = 0; k < s->nbody; k++) {
        c.in = &s->body[k];
        if (!plan_instr(&c))
            return false;
        if (p->plan.nstep > PLAN_MAX_STEPS)
            return df_err(p->file, &c.in->src, p->e, "more than %d steps", PLAN_MAX_STEPS);
    }
    p->done[i] = true;
    p->plan.nstage++;
    return true;
}

static void warn_unused_args(Planner *p)
{
    static const char *const PREDEFINED[] = {"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY",
                                             "NO_PROXY",   "ALL_PROXY",   "SOURCE_DATE_EPOCH"};
    for (size_t i = 0; i < p->opts->build_args.n; i++) {
        char *name = arena_strndup(p->arena, p->opts->build_args.v[i],
                                   strcspn(p->opts->build_args.v[i], "="));
        char *upper = arena_strdup(p->arena, name);
        bool known = p->arg_used[i] || env_get(&p->stages.global, name) != NULL ||
                     str_starts(name, "BUILDKIT_");
        for (char *c = upper; *c; c++)
            *c = (char)toupper((unsigned char)*c);
        for (size_t k = 0; k < NELEM(PREDEFINED); k++)
            known = known || !strcmp(upper, PREDEFINED[k]);
        for (size_t k = 0; k < p->stages.unset.n; k++)
            known = known || !strcmp(name, p->stages.unset.v[k]);
        if (!known)
            strlist_add(p->arena, &p->plan.warnings,
                        arena_printf(p->arena,
                                     "build argument '%s' was not consumed: no ARG of the stages "
                                     "that are built names it",
                                     name));
    }
}

bool plan_make(Arena *a, const DfFile *f, const PlanOpts *o, const PlanBase *bases, size_t nbase,
               Plan *ret, Err *e)
{
    Planner p = {.arena = a, .file = f, .opts = o, .bases = bases, .nbase = nbase, .e = e};
    if (!stages_read(a, f, o, &p.stages, e))
        return false;
    p.states = NEW_N(a, State, p.stages.n);
    p.done = NEW_N(a, bool, p.stages.n);
    p.arg_used = NEW_N(a, bool, o->build_args.n + 1);
    p.image_step = NEW_N(a, uint32_t, nbase + 1);
    for (size_t i = 0; i < nbase; i++)
        p.image_step[i] = STEP_NONE;
    for (size_t i = 0; i < f->warnings.n; i++)
        strlist_add(a, &p.plan.warnings, f->warnings.v[i]);
    if (!plan_stage(&p, p.stages.target))
        return false;
    warn_unused_args(&p);

    State *st = &p.states[p.stages.target];
    for (size_t i = 0; i < o->labels.n; i++) {
        const char *eq = strchr(o->labels.v[i], '=');
        char *name = arena_strndup(a, o->labels.v[i], strcspn(o->labels.v[i], "="));
        image_label_set(a, &st->config, name, eq ? eq + 1 : "");
    }
    p.plan.config = st->config;
    p.plan.history = st->history;
    p.plan.nhistory = st->nhistory;
    p.plan.result = st->last;
    *ret = p.plan;
    return true;
}
