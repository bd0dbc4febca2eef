/*
 * plan/plan.c - stages to steps, and to the config the image will have.
 */
#include "plan/plan.h"

#include <ctype.h>

#include "base/fs.h"
#include "plan/ports.h"
#include "plan/stages.h"

static const char PATH_DEFAULT[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* What a stage has become after the instructions so far. */
typedef struct State {
    ImageConfig config;
    StrList env;  /* config.env and ARGs, in written order */
    StrList args; /* names of the ARGs declared in this stage, for history */
    PlanHistory *history;
    size_t nhistory, history_cap;
    uint32_t last; /* the step whose result the next one changes */
    bool cmd_set;
} State;

typedef struct Planner {
    Arena *arena;
    const DfFile *file;
    const PlanOpts *opts;
    const PlanBase *bases;
    size_t nbase;
    Stages stages;
    State *states; /* one a stage, valid when `done` */
    bool *done;
    uint32_t *image_step; /* the FROM step of each base, STEP_NONE before it is used */
    bool *arg_used;       /* one a build argument */
    Plan plan;
    Err *e;
} Planner;

/* ---- names an image is needed by ---- */

static void add_once(Arena *a, StrList *l, const char *s)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->v[i], s))
            return;
    strlist_add(a, l, s);
}

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
            add_once(a, &names, st->image);
        for (size_t k = 0; k < st->nbody; k++) {
            const DfInstr *in = &st->body[k];
            if (in->kind != DF_COPY || !in->u.copy.from ||
                stages_find(&s, in->u.copy.from) != NO_STAGE)
                continue;
            if (strchr(in->u.copy.from, '$'))
                return df_err(f, &in->src, e, "COPY --from=%s: variables are not expanded there",
                              in->u.copy.from);
            add_once(a, &names, in->u.copy.from);
        }
    }
    *ret = names;
    return true;
}

/* ---- steps ---- */

static uint32_t add_step(Planner *p, PlanStep step, uint32_t parent, uint32_t other)
{
    step.inputs = NEW_N(p->arena, uint32_t, 2);
    if (parent != STEP_NONE)
        step.inputs[step.ninput++] = parent;
    if (other != STEP_NONE)
        step.inputs[step.ninput++] = other;
    *ARENA_PUSH(p->arena, p->plan.steps, p->plan.nstep, p->plan.step_cap) = step;
    return (uint32_t)p->plan.nstep - 1;
}

static bool find_base(const Planner *p, const char *name, uint32_t *ret)
{
    for (size_t i = 0; i < p->nbase; i++)
        if (!strcmp(p->bases[i].name, name)) {
            *ret = (uint32_t)i;
            return true;
        }
    return false;
}

/* The FROM step of an image; one image is one step, however often it is named. */
static uint32_t base_step(Planner *p, uint32_t base, const SrcSpan *src, const char *stage,
                          const char *title)
{
    if (base != STEP_NONE && p->image_step[base] != STEP_NONE)
        return p->image_step[base];
    PlanStep s = {.kind = STEP_FROM, .src = *src, .stage = stage, .title = title, .u.base = base};
    uint32_t i = add_step(p, s, STEP_NONE, STEP_NONE);
    if (base != STEP_NONE)
        p->image_step[base] = i;
    return i;
}

static void add_history(Planner *p, State *st, const char *text, uint32_t step)
{
    *ARENA_PUSH(p->arena, st->history, st->nhistory, st->history_cap) = (PlanHistory){
        .entry = {.created_by = text, .comment = "lighter", .empty_layer = step == STEP_NONE},
        .step = step};
}

static bool expand(Planner *p, const State *st, const char *word, const SrcSpan *at, char **ret)
{
    Err why = ERR_INIT;
    StrList unset = {0};
    if (!df_expand(p->arena, word, &st->env, p->file->escape, ret, &unset, &why))
        return df_err(p->file, at, p->e, "%s", why.msg);
    for (size_t i = 0; i < unset.n; i++)
        strlist_add(p->arena, &p->plan.warnings,
                    arena_printf(p->arena,
                                 "%s:%u: usage of undefined variable '$%s' (UndefinedVar)",
                                 p->file->name, at->line, unset.v[i]));
    return true;
}

/* ---- instructions ---- */

/* One stage being planned, and the place of the instruction in it. */
typedef struct Cursor {
    Planner *p;
    const Stage *stage;
    State *st;
    const DfInstr *in;
    uint32_t at, total; /* of the steps people count: "builder 3/6" */
} Cursor;

static const char *label(Cursor *c)
{
    Arena *a = c->p->arena;
    const char *name =
        c->stage->name ? c->stage->name : arena_printf(a, "stage-%u", c->stage->number);
    return arena_printf(a, "%s %u/%u", name, ++c->at, c->total);
}

static const char *go_quoted(Arena *a, const StrList *l)
{
    scoped(buf) Buf b = BUF_INIT;
    buf_putc(&b, '[');
    for (size_t i = 0; i < l->n; i++) {
        buf_puts(&b, i ? " \"" : "\"");
        for (const char *c = l->v[i]; *c; c++) {
            if (*c == '"' || *c == '\\')
                buf_putc(&b, '\\');
            if (*c == '\n')
                buf_puts(&b, "\\n");
            else if (*c == '\t')
                buf_puts(&b, "\\t");
            else
                buf_putc(&b, *c);
        }
        buf_putc(&b, '"');
    }
    buf_putc(&b, ']');
    return arena_strdup(a, buf_str(&b));
}

/* Shell form to exec form by the stage's SHELL. */
static StrList command_argv(Cursor *c)
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

static const char *join(Arena *a, const StrList *l)
{
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&b, "%s%s", i ? " " : "", l->v[i]);
    return arena_strdup(a, buf_str(&b));
}

static bool do_run(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    State *st = c->st;
    StrList argv = command_argv(c);
    scoped(buf) Buf args = BUF_INIT;
    if (st->args.n)
        buf_printf(&args, "|%zu ", st->args.n);
    for (size_t i = 0; i < st->args.n; i++) {
        const char *v = env_get(&st->env, st->args.v[i]);
        buf_printf(&args, "%s=%s ", st->args.v[i], v ? v : "");
    }
    PlanStep s = {.kind = STEP_RUN, .src = c->in->src, .stage = label(c), .title = c->in->text};
    s.u.run = (PlanRun){.argv = argv,
                        .env = strlist_copy(a, &st->env),
                        .cwd = st->config.workdir ? st->config.workdir : "/",
                        .user = st->config.user ? st->config.user : ""};
    st->last = add_step(p, s, st->last, STEP_NONE);
    add_history(p, st, arena_printf(a, "RUN %s%s # buildkit", buf_str(&args), join(a, &argv)),
                st->last);
    return true;
}

/* The step that COPY --from reads. */
static bool copy_from(Cursor *c, uint32_t *ret)
{
    Planner *p = c->p;
    const char *from = c->in->u.copy.from;
    uint32_t base, stage = stages_find(&p->stages, from);
    if (stage == c->stage->number)
        return df_err(p->file, &c->in->src, p->e, "COPY --from=%s: a stage cannot copy from itself",
                      from);
    if (stage != NO_STAGE) {
        *ret = p->states[stage].last;
        return true;
    }
    if (!find_base(p, from, &base))
        return df_err(p->file, &c->in->src, p->e, "COPY --from=%s: not resolved", from);
    *ret = base_step(p, base, &c->in->src, from, arena_printf(p->arena, "FROM %s", from));
    return true;
}

/* docker: "." and "" mean the working directory itself, and a final slash is kept. */
static const char *copy_dest(Arena *a, const char *dest, const char *workdir)
{
    size_t n = strlen(dest);
    bool dir = !n || !strcmp(dest, ".") || dest[n - 1] == '/' || str_ends(dest, "/.");
    const char *path = path_join(a, workdir && *workdir ? workdir : "/", dest);
    if (!strcmp(path, "/") || !dir)
        return path;
    return arena_printf(a, "%s/", path);
}

static bool do_copy(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    const DfCopy *in = &c->in->u.copy;
    PlanStep s = {.kind = STEP_COPY, .src = c->in->src, .stage = label(c), .title = c->in->text};
    PlanCopy *copy = &s.u.copy;
    scoped(buf) Buf text = BUF_INIT;
    char *dest;

    *copy = (PlanCopy){.from = STEP_NONE, .from_name = in->from, .nsource = in->nsource};
    if (in->from && !copy_from(c, &copy->from))
        return false;
    copy->sources = NEW_N(a, DfWord, in->nsource);
    buf_puts(&text, "COPY");
    for (size_t i = 0; i < in->nsource; i++) {
        char *word;
        if (!expand(p, c->st, in->sources[i].text, &in->sources[i].src, &word))
            return false;
        copy->sources[i] = (DfWord){word, in->sources[i].src};
        buf_printf(&text, " %s", word);
    }
    if (!expand(p, c->st, in->dest.text, &in->dest.src, &dest))
        return false;
    buf_printf(&text, " %s # buildkit", dest);
    copy->dest = copy_dest(a, dest, c->st->config.workdir);
    if (in->nsource > 1 && !str_ends(copy->dest, "/"))
        strlist_add(a, &p->plan.warnings,
                    arena_printf(a,
                                 "%s:%u: COPY of several sources to '%s', which does not end in a "
                                 "slash: files replace one another there",
                                 p->file->name, in->dest.src.line, dest));
    c->st->last = add_step(p, s, c->st->last, copy->from);
    add_history(p, c->st, arena_strdup(a, text.ptr), c->st->last);
    return true;
}

static bool do_workdir(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    State *st = c->st;
    char *word;
    if (!expand(p, st, c->in->u.words.v[0].text, &c->in->u.words.v[0].src, &word))
        return false;
    /* An absolute path stays as it is written, final slash included; a relative one is joined. */
    const char *before = st->config.workdir && *st->config.workdir ? st->config.workdir : "/";
    const char *dir = word[0] == '/' ? word : path_join(a, before, word);
    st->config.workdir = dir;
    uint32_t step = STEP_NONE;
    if (strcmp(path_clean(a, dir), "/") != 0) {
        PlanStep s = {
            .kind = STEP_WORKDIR, .src = c->in->src, .stage = label(c), .title = c->in->text};
        s.u.workdir.path = dir;
        s.u.workdir.user = st->config.user ? st->config.user : "";
        st->last = step = add_step(p, s, st->last, STEP_NONE);
    }
    add_history(p, st, arena_printf(a, "WORKDIR %s", dir), step);
    return true;
}

/* ENV and LABEL: all values see the environment as it was before the line. */
static bool do_pairs(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    size_t n = c->in->u.pairs.n;
    char **keys = NEW_N(a, char *, n), **values = NEW_N(a, char *, n);
    scoped(buf) Buf text = BUF_INIT;
    buf_puts(&text, c->in->name);
    for (size_t i = 0; i < n; i++) {
        const DfPair *kv = &c->in->u.pairs.v[i];
        if (!expand(p, c->st, kv->key.text, &kv->src, &keys[i]) ||
            !expand(p, c->st, kv->value, &kv->src, &values[i]))
            return false;
        if (!*keys[i] || strchr(keys[i], '='))
            return df_err(p->file, &kv->src, p->e, "%s: '%s' is no name", c->in->name, keys[i]);
        buf_printf(&text, " %s=%s", keys[i], values[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (c->in->kind == DF_LABEL) {
            env_set(a, &c->st->config.labels, keys[i], values[i]);
            continue;
        }
        env_set(a, &c->st->config.env, keys[i], values[i]);
        env_set(a, &c->st->env, keys[i], values[i]);
    }
    add_history(p, c->st, arena_strdup(a, text.ptr), STEP_NONE);
    return true;
}

static void mark_arg_used(Planner *p, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < p->opts->build_args.n; i++)
        if (!strncmp(p->opts->build_args.v[i], name, len) && p->opts->build_args.v[i][len] == '=')
            p->arg_used[i] = true;
}

static bool do_arg(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    State *st = c->st;
    scoped(buf) Buf text = BUF_INIT;
    buf_puts(&text, "ARG");
    for (size_t i = 0; i < c->in->u.pairs.n; i++) {
        const DfPair *kv = &c->in->u.pairs.v[i];
        const char *name = kv->key.text, *value = env_get(&p->opts->build_args, name);
        mark_arg_used(p, name);
        if (!value && kv->value) {
            char *word;
            if (!expand(p, st, kv->value, &kv->src, &word))
                return false;
            value = word;
        }
        if (!value) /* redeclared in the stage: the global value */
            value = env_get(&p->stages.global, name);
        if (value)
            env_set(a, &st->env, name, value);
        add_once(a, &st->args, name);
        buf_printf(&text, " %s%s%s", name, value ? "=" : "", value ? value : "");
    }
    add_history(p, st, arena_strdup(a, text.ptr), STEP_NONE);
    return true;
}

static bool do_command(Cursor *c)
{
    State *st = c->st;
    StrList argv = command_argv(c);
    if (c->in->kind == DF_CMD) {
        st->config.cmd = argv;
        st->config.args_escaped = true; /* as BuildKit sets it on every platform */
        st->cmd_set = true;
    } else {
        st->config.entrypoint = argv;
        if (!st->cmd_set) /* an inherited CMD was meant for the inherited ENTRYPOINT */
            st->config.cmd = (StrList){0};
    }
    add_history(c->p, st,
                arena_printf(c->p->arena, "%s %s", c->in->name, go_quoted(c->p->arena, &argv)),
                STEP_NONE);
    return true;
}

static bool do_user(Cursor *c)
{
    char *user;
    if (!expand(c->p, c->st, c->in->u.words.v[0].text, &c->in->u.words.v[0].src, &user))
        return false;
    c->st->config.user = user;
    add_history(c->p, c->st, arena_printf(c->p->arena, "USER %s", user), STEP_NONE);
    return true;
}

static bool do_expose(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    StrList ports = {0};
    for (size_t i = 0; i < c->in->u.words.n; i++) {
        const DfWord *w = &c->in->u.words.v[i];
        StrList words;
        Err why = ERR_INIT;
        if (!df_expand_words(a, w->text, &c->st->env, p->file->escape, &words, NULL, &why))
            return df_err(p->file, &w->src, p->e, "%s", why.msg);
        for (size_t k = 0; k < words.n; k++)
            if (!port_spec(a, words.v[k], &ports, &why))
                return df_err(p->file, &w->src, p->e, "EXPOSE: %s", why.msg);
    }
    for (size_t i = 0; i < ports.n; i++)
        image_set_add(a, &c->st->config.exposed_ports, ports.v[i]);
    add_history(p, c->st, arena_printf(a, "EXPOSE [%s]", join(a, &ports)), STEP_NONE);
    return true;
}

static bool do_instr(Cursor *c)
{
    switch (c->in->kind) {
    case DF_RUN:
        return do_run(c);
    case DF_COPY:
        return do_copy(c);
    case DF_WORKDIR:
        return do_workdir(c);
    case DF_ENV:
    case DF_LABEL:
        return do_pairs(c);
    case DF_ARG:
        return do_arg(c);
    case DF_CMD:
    case DF_ENTRYPOINT:
        return do_command(c);
    case DF_USER:
        return do_user(c);
    case DF_EXPOSE:
        return do_expose(c);
    case DF_FROM:
        return true;
    }
    return true;
}

/* ---- stages ---- */

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
    const char *lab = label(c), *title = c->stage->from->text;

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
        if (!find_base(p, sg->image, &base))
            return df_err(p->file, &sg->from->src, p->e, "FROM %s: not resolved", sg->image);
        if (has_onbuild(c, p->bases[base].config))
            return false;
        st->config = image_config_clone(a, p->bases[base].config);
        if (!env_get(&st->config.env, "PATH"))
            env_set(a, &st->config.env, "PATH", PATH_DEFAULT);
    }
    st->env = strlist_copy(a, &st->config.env);
    st->last = base_step(p, base, &sg->from->src, lab, title);
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
        if (!do_instr(&c))
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
        env_set(a, &st->config.labels, name, eq ? eq + 1 : "");
    }
    p.plan.config = st->config;
    p.plan.history = st->history;
    p.plan.nhistory = st->nhistory;
    p.plan.result = st->last;
    *ret = p.plan;
    return true;
}
