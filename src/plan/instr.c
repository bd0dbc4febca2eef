/*
 * plan/instr.c - one instruction: a step (work.c), or a change of the config; and a line of
 * history.
 */
#include <stdlib.h>

#include "base/json.h"
#include "base/rune.h"
#include "plan/planner.h"
#include "plan/ports.h"
#include "plan/signal.h"

/* "[a b]", as Go prints a list. */
static const char *listed(Arena *a, const StrList *l)
{
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&b, "%s%s", i ? " " : "", l->v[i]);
    return arena_printf(a, "[%s]", buf_str(&b));
}

/* The one word of an instruction, its variables replaced. */
static bool only_word(Cursor *c, char **ret)
{
    const DfWord *w = &c->in->u.words.v[0];
    return plan_expand(c, w->text, &w->src, ret);
}

static void warn_legacy(Cursor *c)
{
    if (c->in->u.pairs.legacy)
        df_warn(c->p->arena, c->p->file, c->in, "LegacyKeyValueFormat", &c->p->plan.warnings,
                "\"%s key=value\" should be used instead of legacy \"%s key value\" format",
                c->in->name, c->in->name);
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
    warn_legacy(c);
    for (size_t i = 0; i < n; i++) {
        const DfPair *kv = &c->in->u.pairs.v[i];
        if (!plan_expand(c, kv->key.text, &kv->src, &keys[i]) ||
            !plan_expand(c, kv->value, &kv->src, &values[i]))
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
    planner_history(p, c->st, arena_strdup(a, text.ptr), STEP_NONE);
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
            if (!plan_expand(c, kv->value, &kv->src, &word))
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
    planner_history(p, st, arena_strdup(a, text.ptr), STEP_NONE);
    return true;
}

/* Of these a stage has one; the warning is about the line that is lost. */
static void only_once(Cursor *c, const DfInstr **slot)
{
    if (*slot) {
        DfInstr lost = **slot;
        lost.check = c->in->check;
        df_warn(c->p->arena, c->p->file, &lost, "MultipleInstructionsDisallowed",
                &c->p->plan.warnings,
                "Multiple %s instructions should not be used in the same stage because only the "
                "last one will be used",
                c->in->name);
    }
    *slot = c->in;
}

static bool do_command(Cursor *c)
{
    Arena *a = c->p->arena;
    State *st = c->st;
    StrList argv = plan_argv(c);
    scoped(buf) Buf text = BUF_INIT;
    if (c->in->kind == DF_CMD) {
        st->config.cmd = argv;
        st->config.args_escaped = true; /* as BuildKit sets it on every platform */
        only_once(c, &st->once[ONCE_CMD]);
    } else {
        only_once(c, &st->once[ONCE_ENTRYPOINT]);
        st->config.entrypoint = argv;
        if (!st->once[ONCE_CMD]) /* an inherited CMD was meant for the inherited ENTRYPOINT */
            st->config.cmd = (StrList){0};
    }
    buf_printf(&text, "%s ", c->in->name);
    buf_quote_list(&text, &argv);
    planner_history(c->p, st, arena_strdup(a, buf_str(&text)), STEP_NONE);
    return true;
}

static bool do_user(Cursor *c)
{
    char *user;
    if (!only_word(c, &user))
        return false;
    c->st->config.user = user;
    planner_history(c->p, c->st, arena_printf(c->p->arena, "USER %s", user), STEP_NONE);
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const DfWord *)a)->text, ((const DfWord *)b)->text);
}

static bool expose_word(Cursor *c, const DfWord *w, StrList *ports)
{
    Planner *p = c->p;
    DfScope scope = {.arena = p->arena, .env = &c->st->env, .escape = p->file->escape};
    StrList words;
    Err why = ERR_INIT;
    if (!df_expand_words(&scope, w->text, &words, &why))
        return df_err(p->file, &w->src, p->e, "%s", why.msg);
    for (size_t i = 0; i < words.n; i++) {
        PortSpec spec;
        const char *text = words.v[i];
        if (!port_spec(p->arena, text, &spec, &why) || !port_list(p->arena, &spec, ports, &why))
            return df_err(p->file, &w->src, p->e, "EXPOSE: %s", why.msg);
        if (spec.upper)
            df_warn(p->arena, p->file, c->in, "ExposeProtoCasing", &p->plan.warnings,
                    "Defined protocol '%s' in EXPOSE instruction should be lowercase", text);
        if (spec.mapped)
            df_warn(p->arena, p->file, c->in, "ExposeInvalidFormat", &p->plan.warnings,
                    "EXPOSE instruction should not define an IP address or host-port mapping, "
                    "found '%s'",
                    text);
    }
    return true;
}

/* Words are taken in the order of their texts, which is seen in the line of history. */
static bool do_expose(Cursor *c)
{
    Arena *a = c->p->arena;
    size_t n = c->in->u.words.n;
    DfWord *w = NEW_N(a, DfWord, n);
    StrList ports = {0};
    memcpy(w, c->in->u.words.v, n * sizeof *w);
    qsort(w, n, sizeof *w, by_text);
    for (size_t i = 0; i < n; i++)
        if (!expose_word(c, &w[i], &ports))
            return false;
    const char *text = arena_printf(a, "EXPOSE %s", listed(a, &ports));
    strlist_sort(&ports);
    for (size_t i = 0; i < ports.n; i++)
        image_set_add(a, &c->st->config.exposed_ports, ports.v[i]);
    planner_history(c->p, c->st, text, STEP_NONE);
    return true;
}

static bool do_volume(Cursor *c)
{
    Arena *a = c->p->arena;
    StrList paths = {0};
    for (size_t i = 0; i < c->in->u.words.n; i++) {
        const DfWord *w = &c->in->u.words.v[i];
        Str path = str_trim(str_c(w->text));
        char *word;
        if (!plan_expand(c, arena_strndup(a, path.ptr, path.len), &w->src, &word))
            return false;
        if (!*word)
            return df_err(c->p->file, &w->src, c->p->e,
                          "VOLUME specified can not be an empty string");
        strlist_add(a, &paths, word);
    }
    for (size_t i = 0; i < paths.n; i++)
        image_set_add(a, &c->st->config.volumes, paths.v[i]);
    planner_history(c->p, c->st, arena_printf(a, "VOLUME %s", listed(a, &paths)), STEP_NONE);
    return true;
}

static bool do_stopsignal(Cursor *c)
{
    char *word;
    if (!only_word(c, &word))
        return false;
    if (!signal_ok(word))
        return df_err(c->p->file, &c->in->src, c->p->e, "invalid signal: %s", word);
    c->st->config.stop_signal = word;
    planner_history(c->p, c->st, arena_printf(c->p->arena, "STOPSIGNAL %s", word), STEP_NONE);
    return true;
}

static bool do_shell(Cursor *c)
{
    Arena *a = c->p->arena;
    StrList argv = {0};
    for (size_t i = 0; i < c->in->u.words.n; i++)
        strlist_add(a, &argv, c->in->u.words.v[i].text);
    c->st->config.shell = argv;
    planner_history(c->p, c->st, arena_printf(a, "SHELL %s", listed(a, &argv)), STEP_NONE);
    return true;
}

static void set_int(json_t *j, const char *name, int64_t v)
{
    if (v)
        json_object_set_new(j, name, json_integer(v));
}

/* Source: docker image spec v1.3, "Healthcheck"; durations are nanoseconds. */
static bool do_health(Cursor *c)
{
    only_once(c, &c->st->once[ONCE_HEALTHCHECK]);
    Arena *a = c->p->arena;
    const DfHealth *h = &c->in->u.health;
    scoped(buf) Buf text = BUF_INIT;
    json_t *j = json_object(), *test = json_array();
    for (size_t i = 0; i < h->test.n; i++)
        json_array_append_new(test, json_string_lossy(h->test.v[i]));
    json_object_set_new(j, "Test", test);
    set_int(j, "Interval", h->interval);
    set_int(j, "Timeout", h->timeout);
    set_int(j, "StartPeriod", h->start_period);
    set_int(j, "StartInterval", h->start_interval);
    set_int(j, "Retries", h->retries);
    json_text(j, &text);
    json_decref(j);
    c->st->config.healthcheck = arena_strdup(a, buf_str(&text));
    planner_history(c->p, c->st, arena_printf(a, "HEALTHCHECK %s", listed(a, &h->test)), STEP_NONE);
    return true;
}

static bool do_maintainer(Cursor *c)
{
    const char *who = c->in->u.words.v[0].text;
    c->st->config.author = who;
    planner_history(c->p, c->st, arena_printf(c->p->arena, "MAINTAINER %s", who), STEP_NONE);
    return true;
}

bool plan_instr(Cursor *c)
{
    switch (c->in->kind) {
    case DF_RUN:
        return plan_run(c);
    case DF_COPY:
    case DF_ADD:
        return plan_copy(c);
    case DF_WORKDIR:
        return plan_workdir(c);
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
    case DF_VOLUME:
        return do_volume(c);
    case DF_STOPSIGNAL:
        return do_stopsignal(c);
    case DF_SHELL:
        return do_shell(c);
    case DF_HEALTHCHECK:
        return do_health(c);
    case DF_MAINTAINER:
        return do_maintainer(c);
    case DF_ONBUILD: /* no line of history: it does nothing to this image */
        strlist_add(c->p->arena, &c->st->config.onbuild, c->in->u.trigger);
        return true;
    case DF_FROM:
        return true;
    }
    return true;
}
