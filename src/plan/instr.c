/*
 * plan/instr.c - one instruction: a step, or a change of the config; and a line of history.
 */
#include "base/fs.h"
#include "plan/planner.h"
#include "plan/ports.h"

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

bool planner_base(const Planner *p, const char *name, uint32_t *ret)
{
    for (size_t i = 0; i < p->nbase; i++)
        if (!strcmp(p->bases[i].name, name)) {
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

const char *plan_label(Cursor *c)
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
    PlanStep s = {
        .kind = STEP_RUN, .src = c->in->src, .stage = plan_label(c), .title = c->in->text};
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
    if (!planner_base(p, from, &base))
        return df_err(p->file, &c->in->src, p->e, "COPY --from=%s: not resolved", from);
    *ret = planner_from(p, base, &c->in->src, from, arena_printf(p->arena, "FROM %s", from));
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
    PlanStep s = {
        .kind = STEP_COPY, .src = c->in->src, .stage = plan_label(c), .title = c->in->text};
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
            .kind = STEP_WORKDIR, .src = c->in->src, .stage = plan_label(c), .title = c->in->text};
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
            image_label_set(a, &c->st->config, keys[i], values[i]);
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
        strlist_add_once(a, &st->args, name);
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

bool plan_instr(Cursor *c)
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
