/*
 * plan/plan.c - stages to steps, and to the config the image will have.
 */
#include "plan/plan.h"

#include <ctype.h>
#include <stdarg.h>

#include "base/fs.h"
#include "plan/planner.h"

static const char PATH_DEFAULT[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static size_t ndeps(const Stage *st, size_t k)
{
    const DfInstr *in = &st->body[k];
    return !st->deps[k] ? 0 : in->kind == DF_RUN ? in->u.command.mounts.n : 1;
}

static bool is_scratch(const char *image)
{
    return !strcmp(image, "scratch");
}

static void add_image(Arena *a, PlanImages *l, const char *name, const char *platform)
{
    for (size_t i = 0; i < l->names.n; i++)
        if (!strcmp(l->names.v[i], name) && !strcmp(l->platforms.v[i], platform))
            return;
    strlist_add(a, &l->names, name);
    strlist_add(a, &l->platforms, platform);
}

bool plan_images(Arena *a, const DfFile *f, const PlanOpts *o, const PlanBase *bases, size_t nbase,
                 PlanImages *ret, Err *e)
{
    Stages s;
    PlanImages all = {0};
    if (!stages_read(a, f, o, bases, nbase, &s, e))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        const Stage *st = &s.v[i];
        if (st->state != NEEDED)
            continue;
        if (st->base == NO_STAGE && st->context == NO_CONTEXT && !is_scratch(st->image))
            add_image(a, &all, st->image, st->platform);
        for (size_t k = 0; k < st->nbody; k++)
            for (size_t d = 0; d < ndeps(st, k); d++) {
                const StageDep *dep = &st->deps[k][d];
                if (dep->stage == NO_STAGE && dep->context == NO_CONTEXT && dep->image &&
                    !is_scratch(dep->image))
                    add_image(a, &all, dep->image, s.platform);
            }
    }
    *ret = all;
    return true;
}

/* ---- what instructions use ---- */

uint32_t planner_add(Planner *p, PlanStep step, uint32_t parent, const uint32_t *others, size_t n)
{
    step.inputs = NEW_N(p->arena, uint32_t, n + 1);
    if (parent != STEP_NONE)
        step.inputs[step.ninput++] = parent;
    for (size_t i = 0; i < n; i++) {
        bool there = others[i] == STEP_NONE;
        for (size_t k = 0; k < step.ninput; k++)
            there = there || step.inputs[k] == others[i];
        if (!there)
            step.inputs[step.ninput++] = others[i];
    }
    *ARENA_PUSH(p->arena, p->plan.steps, p->plan.nstep, p->plan.step_cap) = step;
    return (uint32_t)p->plan.nstep - 1;
}

bool planner_base(const Planner *p, const char *name, const char *platform, uint32_t *ret)
{
    for (size_t i = 0; i < p->nbase; i++)
        if (!strcmp(p->bases[i].name, name) &&
            (!p->bases[i].platform || !strcmp(p->bases[i].platform, platform))) {
            *ret = (uint32_t)i;
            return true;
        }
    return false;
}

uint32_t planner_from(Planner *p, uint32_t base, const SrcSpan *src, const char *stage,
                      const char *title)
{
    if (base != STEP_NONE && p->image_step[base] != STEP_NONE)
        return p->image_step[base];
    PlanStep s = {.kind = STEP_FROM, .src = *src, .stage = stage, .title = title, .u.base = base};
    uint32_t i = planner_add(p, s, STEP_NONE, NULL, 0);
    if (base != STEP_NONE)
        p->image_step[base] = i;
    return i;
}

uint32_t planner_tree(Planner *p, uint32_t context, const SrcSpan *src, const char *stage,
                      const char *title)
{
    if (p->tree_step[context] != STEP_NONE)
        return p->tree_step[context];
    uint32_t empty = planner_from(p, STEP_NONE, src, stage, "FROM scratch");
    PlanStep s = {.kind = STEP_COPY, .src = *src, .stage = stage, .title = title};
    s.u.copy.dest = "/";
    s.u.copy.nsource = 1;
    s.u.copy.sources = NEW(p->arena, PlanSource);
    s.u.copy.sources[0] = (PlanSource){.origin = PLAN_NAMED,
                                       .index = context,
                                       .from = p->opts->contexts[context].name,
                                       .path = {".", *src}};
    return p->tree_step[context] = planner_add(p, s, empty, NULL, 0);
}

void planner_history(Planner *p, State *st, const char *text, uint32_t step)
{
    *ARENA_PUSH(p->arena, st->history, st->nhistory, st->history_cap) = (PlanHistory){
        .entry = {.created_by = text, .comment = "lighter", .empty_layer = step == STEP_NONE},
        .step = step};
}

const char *plan_label(Cursor *c)
{
    Arena *a = c->p->arena;
    const char *name =
        c->stage->name ? c->stage->name : arena_printf(a, "stage-%u", c->stage->number);
    const char *where = "", *target = c->p->stages.platform;
    if (c->p->opts->many && !strcmp(c->stage->platform, target))
        where = arena_printf(a, "%s ", target);
    else if (c->p->opts->many) /* as BuildKit shows a stage that works for another machine */
        where = arena_printf(a, "%s->%s ", c->stage->platform, path_base(target));
    return arena_printf(a, "%s%s %u/%u", where, name, ++c->at, c->total);
}

Str plan_stage_name(const PlanStep *s)
{
    const char *end = strrchr(s->stage, ' '), *begin;
    if (!end)
        return str_c(s->stage);
    for (begin = end; begin > s->stage && begin[-1] != ' '; begin--)
        ;
    return (Str){begin, (size_t)(end - begin)};
}

Str plan_stage_place(const PlanStep *s)
{
    const char *end = strrchr(s->stage, ' ');
    return end ? (Str){s->stage, (size_t)(end - s->stage)} : str_c(s->stage);
}

const char *plan_title(Cursor *c)
{
    return c->in->onbuild ? arena_printf(c->p->arena, "ONBUILD %s", c->in->text) : c->in->text;
}

void plan_warn(Cursor *c, const SrcSpan *at, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    strlist_add(c->p->arena, &c->p->plan.warnings,
                arena_printf(c->p->arena, "%s:%u: %s", c->p->file->name, at->line, line));
}

/* Whether an ARG names it: one without a value is declared all the same. */
static bool declared(const State *st, const char *name)
{
    for (size_t k = 0; k < st->args.n; k++)
        if (!strcmp(st->args.v[k], name))
            return true;
    return false;
}

static bool expand(Cursor *c, const char *word, const SrcSpan *at, char escape, unsigned flags,
                   char **ret)
{
    Planner *p = c->p;
    StrList unset = {0};
    DfScope scope = {
        .arena = p->arena, .env = &c->st->env, .escape = escape, .flags = flags, .unset = &unset};
    Err why = ERR_INIT;
    if (!df_expand(&scope, word, ret, &why))
        return df_err(p->file, at, p->e, "%s", why.msg);
    for (size_t i = 0; i < unset.n; i++)
        if (!declared(c->st, unset.v[i]))
            df_warn(p->arena, p->file, c->in, "UndefinedVar", &p->plan.warnings,
                    "Usage of undefined variable '$%s'%s", unset.v[i],
                    stages_nearest(p->arena, unset.v[i], &c->st->env, "$"));
    return true;
}

bool plan_expand(Cursor *c, const char *word, const SrcSpan *at, char **ret)
{
    return expand(c, word, at, c->p->file->escape, 0, ret);
}

bool plan_expand_body(Cursor *c, const char *body, const SrcSpan *at, char **ret)
{
    return expand(c, body, at, '\\', DF_NO_QUOTES, ret);
}

StrList plan_argv(Cursor *c)
{
    Arena *a = c->p->arena;
    const DfCommand *cmd = &c->in->u.command;
    StrList v = {0};
    if (!cmd->shell)
        return strlist_copy(a, &cmd->argv);
    if (c->st->config.shell.n) {
        v = strlist_copy(a, &c->st->config.shell);
    } else {
        strlist_add(a, &v, "/bin/sh");
        strlist_add(a, &v, "-c");
    }
    strlist_add(a, &v, cmd->argv.v[0]);
    return v;
}

/* A stage that stands further down. */
static bool not_yet(Cursor *c, const char *from)
{
    const char *stage =
        c->stage->name ? c->stage->name : arena_printf(c->p->arena, "stage-%u", c->stage->number);
    if (c->in->kind == DF_RUN)
        return df_err(c->p->file, &c->in->src, c->p->e,
                      "cannot mount from stage \"%s\", stage needs to be defined before current "
                      "stage \"%s\"",
                      from, stage);
    return df_err(c->p->file, &c->in->src, c->p->e,
                  "cannot copy from stage \"%s\", it needs to be defined before current stage "
                  "\"%s\"",
                  from, stage);
}

bool plan_source(Cursor *c, const StageDep *dep, PlanSource *ret)
{
    Planner *p = c->p;
    uint32_t base;
    PlanSource s = {.origin = PLAN_CONTEXT, .from = dep ? dep->from : NULL};
    if (dep && dep->stage != NO_STAGE) {
        if (!p->done[dep->stage])
            return not_yet(c, dep->from);
        s.origin = PLAN_STEP;
        s.index = p->states[dep->stage].last;
    } else if (dep && dep->context != NO_CONTEXT) {
        s.origin = PLAN_NAMED;
        s.index = dep->context;
    } else if (dep && dep->image && is_scratch(dep->image)) {
        s.origin = PLAN_EMPTY;
    } else if (dep && dep->image) {
        if (!planner_base(p, dep->image, p->stages.platform, &base))
            return df_err(p->file, &c->in->src, p->e, "%s: not resolved", dep->image);
        s.origin = PLAN_STEP;
        s.index = planner_from(p, base, &c->in->src, dep->from,
                               arena_printf(p->arena, "FROM %s", dep->from));
    }
    *ret = s;
    return true;
}

/* ---- stages ---- */

/* A stage on top of another begins as that one ended. */
static void continue_stage(Cursor *c)
{
    Arena *a = c->p->arena;
    const State *from = &c->p->states[c->stage->base];
    State *st = c->st;
    *st = *from;
    st->config = image_config_clone(a, &from->config);
    st->config.onbuild = (StrList){0}; /* they fired */
    st->env = strlist_copy(a, &from->env);
    st->args = strlist_copy(a, &from->args);
    st->history =
        arena_grow(a, from->history, from->nhistory, from->nhistory + 8, sizeof *st->history);
    st->history_cap = from->nhistory + 8;
    memset(st->once, 0, sizeof st->once);
}

/* Without a base's config the stage's platform is the image's. */
static void set_empty_platform(Arena *a, const char *text, ImageConfig *c)
{
    Platform p;
    Err ignored = ERR_INIT; /* it was parsed before */
    if (!image_platform_parse(a, text, &p, &ignored))
        return;
    c->os = p.os;
    c->architecture = p.architecture;
    c->variant = *p.variant ? p.variant : NULL;
}

/* The state a stage begins with: scratch, a context, an image, or an earlier stage's end. */
static bool start_state(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    const Stage *sg = c->stage;
    State *st = c->st;
    const char *lab = plan_label(c), *title = sg->from->text;
    const SrcSpan *src = &sg->from->src;
    uint32_t base = STEP_NONE;

    if (sg->base != NO_STAGE) {
        continue_stage(c);
        return true;
    }
    *st = (State){0};
    if (sg->context != NO_CONTEXT || is_scratch(sg->image)) {
        st->config = image_config_empty(a);
        set_empty_platform(a, sg->platform, &st->config);
    } else {
        if (!planner_base(p, sg->image, sg->platform, &base))
            return df_err(p->file, src, p->e, "FROM %s: not resolved", sg->image);
        st->config = image_config_clone(a, p->bases[base].config);
        st->config.onbuild = (StrList){0};
    }
    if (!is_scratch(sg->image) && !env_get(&st->config.env, "PATH"))
        env_set(a, &st->config.env, "PATH", PATH_DEFAULT);
    st->env = strlist_copy(a, &st->config.env);
    for (size_t i = 0; i < st->config.nhistory; i++)
        *ARENA_PUSH(a, st->history, st->nhistory, st->history_cap) =
            (PlanHistory){.entry = st->config.history[i], .step = STEP_NONE, .from_base = true};
    if (sg->context == NO_CONTEXT) {
        st->last = planner_from(p, base, src, lab, title);
        return true;
    }
    st->last = planner_tree(p, sg->context, src, lab, title);
    planner_history(p, st, arena_printf(a, "COPY --from=%s . / # buildkit", sg->image), st->last);
    return true;
}

static uint32_t count_steps(const Stage *s)
{
    uint32_t n = 1;
    for (size_t i = 0; i < s->nbody; i++)
        n += s->body[i].kind == DF_RUN || s->body[i].kind == DF_COPY || s->body[i].kind == DF_ADD ||
             s->body[i].kind == DF_WORKDIR;
    return n;
}

/* Plan one stage; all that stand before it and are needed are planned. */
static bool plan_stage(Planner *p, uint32_t i)
{
    const Stage *s = &p->stages.v[i];
    Cursor c = {.p = p, .stage = s, .st = &p->states[i], .total = count_steps(s)};
    if (!start_state(&c))
        return false;
    for (size_t k = 0; k < s->nbody; k++) {
        c.in = &s->body[k];
        c.deps = s->deps[k];
        if (!plan_instr(&c))
            return false;
        if (p->plan.nstep > PLAN_MAX_STEPS)
            return df_err(p->file, &c.in->src, p->e, "more than %d steps", PLAN_MAX_STEPS);
    }
    p->done[i] = true;
    p->plan.nstage++;
    return true;
}

/* ---- the whole ---- */

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

/*
 * A time to date the image with: of the command line, or a default among the global ARGs.
 * Source: BuildKit, resolveSourceDateEpochValue.
 */
static bool find_epoch(Planner *p)
{
    const char *text = env_get(&p->opts->build_args, "SOURCE_DATE_EPOCH");
    if (!text)
        text = env_get(&p->stages.global, "SOURCE_DATE_EPOCH");
    if (!text || !*text)
        return true;
    const char *digits = *text == '-' || *text == '+' ? text + 1 : text;
    uint64_t v;
    if (!str_u64(digits, INT64_MAX, &v))
        return err_set(p->e, ERR_DOCKERFILE,
                       "%s: invalid SOURCE_DATE_EPOCH: %s: only a number of seconds is supported",
                       p->file->name, text);
    p->plan.epoch = text;
    return true;
}

static uint32_t *no_steps(Arena *a, size_t n)
{
    uint32_t *v = NEW_N(a, uint32_t, n + 1);
    for (size_t i = 0; i < n; i++)
        v[i] = STEP_NONE;
    return v;
}

static void finish(Planner *p)
{
    State *st = &p->states[p->stages.target];
    for (size_t i = 0; i < p->opts->labels.n; i++) {
        const char *kv = p->opts->labels.v[i], *eq = strchr(kv, '=');
        image_label_set(p->arena, &st->config, arena_strndup(p->arena, kv, strcspn(kv, "=")),
                        eq ? eq + 1 : "");
    }
    p->plan.config = st->config;
    p->plan.history = st->history;
    p->plan.nhistory = st->nhistory;
    p->plan.result = st->last;
}

bool plan_make(Arena *a, const DfFile *f, const PlanOpts *o, const PlanBase *bases, size_t nbase,
               Plan *ret, Err *e)
{
    Planner p = {.arena = a, .file = f, .opts = o, .bases = bases, .nbase = nbase, .e = e};
    if (!stages_read(a, f, o, bases, nbase, &p.stages, e))
        return false;
    p.states = NEW_N(a, State, p.stages.n);
    p.done = NEW_N(a, bool, p.stages.n);
    p.arg_used = NEW_N(a, bool, o->build_args.n + 1);
    p.image_step = no_steps(a, nbase);
    p.tree_step = no_steps(a, o->ncontext);
    for (size_t i = 0; i < f->warnings.n; i++)
        strlist_add(a, &p.plan.warnings, f->warnings.v[i]);
    for (size_t i = 0; i < p.stages.warnings.n; i++)
        strlist_add(a, &p.plan.warnings, p.stages.warnings.v[i]);
    if (!find_epoch(&p))
        return false;
    for (uint32_t i = 0; i < p.stages.n; i++)
        if (p.stages.v[i].state == NEEDED && !plan_stage(&p, i))
            return false;
    warn_unused_args(&p);
    finish(&p);
    *ret = p.plan;
    return true;
}
