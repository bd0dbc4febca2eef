/*
 * plan/work.c - the instructions that make steps: RUN, COPY and ADD, WORKDIR.
 */
#include "base/fs.h"
#include "base/giturl.h"
#include "plan/chmod.h"
#include "plan/planner.h"

static const char *join(Arena *a, const StrList *l)
{
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&b, "%s%s", i ? " " : "", l->v[i]);
    return arena_strdup(a, buf_str(&b));
}

/* ---- RUN ---- */

/* "|2 A=1 B=2 " in front of a command's history, as docker shows the ARGs it saw. */
static const char *args_shown(Cursor *c)
{
    const State *st = c->st;
    scoped(buf) Buf b = BUF_INIT;
    if (st->args.n)
        buf_printf(&b, "|%zu ", st->args.n);
    for (size_t i = 0; i < st->args.n; i++) {
        const char *v = env_get(&st->env, st->args.v[i]);
        buf_printf(&b, "%s=%s ", st->args.v[i], v ? v : "");
    }
    return arena_strdup(c->p->arena, buf_str(&b));
}

static bool mount_fail(Cursor *c, const PlanMount *m, const char *why)
{
    return df_err(c->p->file, &m->src, c->p->e, "RUN --mount: %s", why);
}

/* A secret is named by id, source, or the target's last part; without env it is a file. */
static bool set_secret(Cursor *c, PlanMount *m)
{
    DfMount *s = &m->spec;
    const char *target = s->target && *s->target ? s->target : NULL;
    if (s->source && *s->source)
        s->id = s->source;
    if (!s->id)
        s->id = path_base(path_clean(c->p->arena, target));
    if (!target && !s->env)
        target = arena_printf(c->p->arena, "/run/secrets/%s", path_base(s->id));
    s->target = target;
    return true;
}

/* Where the mount is seen; `nssh` mounts of agents came before it. */
static bool set_target(Cursor *c, size_t nssh, PlanMount *m)
{
    Arena *a = c->p->arena;
    const char *target = m->spec.target ? m->spec.target : "";
    const char *cwd = c->st->config.workdir ? c->st->config.workdir : "/";
    if (m->spec.type == DF_MOUNT_SECRET && !m->spec.target)
        return true;
    if (m->spec.type == DF_MOUNT_SSH && !*target)
        target = arena_printf(a, "/run/buildkit/ssh_agent.%zu", nssh);
    m->target = path_join(a, cwd, target);
    if (!strcmp(m->target, "/"))
        return mount_fail(c, m, arena_printf(a, "invalid mount target \"%s\"", m->target));
    return true;
}

static bool set_mount(Cursor *c, const DfWord *text, const StageDep *dep, size_t nssh, PlanMount *m)
{
    Planner *p = c->p;
    DfScope scope = {.arena = p->arena, .env = &c->st->env, .escape = p->file->escape};
    Err why = ERR_INIT;
    m->src = text->src;
    if (!df_mount(p->arena, text->text, &scope, &m->spec, &why))
        return df_err(p->file, &text->src, p->e, "RUN --mount: %s", why.msg);
    if (m->spec.type == DF_MOUNT_SECRET && !set_secret(c, m))
        return false;
    if (m->spec.type == DF_MOUNT_SSH) {
        if (m->spec.source && *m->spec.source)
            return mount_fail(c, m, "ssh does not support source");
        m->spec.id = m->spec.id ? m->spec.id : "default";
    }
    if (!set_target(c, nssh, m))
        return false;
    if (m->spec.type == DF_MOUNT_CACHE && !m->spec.id)
        m->spec.id = path_clean(p->arena, m->spec.target ? m->spec.target : "");
    bool files = m->spec.type == DF_MOUNT_BIND || m->spec.type == DF_MOUNT_CACHE;
    if (!files)
        return true;
    if (!plan_source(c, m->spec.from ? dep : NULL, &m->source))
        return false;
    if (m->spec.type == DF_MOUNT_CACHE && !m->spec.from)
        m->source.origin = PLAN_EMPTY;
    m->source.path = (DfWord){m->spec.source ? m->spec.source : ".", text->src};
    return true;
}

static bool set_mounts(Cursor *c, PlanRun *run, uint32_t **ret_inputs)
{
    const DfWords *w = &c->in->u.command.mounts;
    run->mounts = NEW_N(c->p->arena, PlanMount, w->n);
    uint32_t *inputs = NEW_N(c->p->arena, uint32_t, w->n);
    size_t nssh = 0;
    for (size_t i = 0; i < w->n; i++) {
        PlanMount *m = &run->mounts[run->nmount++];
        if (!set_mount(c, &w->v[i], &c->deps[i], nssh, m))
            return false;
        nssh += m->spec.type == DF_MOUNT_SSH;
        inputs[i] = m->source.origin == PLAN_STEP ? m->source.index : (uint32_t)STEP_NONE;
    }
    *ret_inputs = inputs;
    return true;
}

/* "default" is what the command line says; docker hands out "host" by an entitlement. */
static bool set_network(Cursor *c, PlanRun *run)
{
    const PlanOpts *o = c->p->opts;
    const char *asked = c->in->u.command.network;
    if (asked && !strcmp(asked, "host") && !o->allow_network_host)
        return df_err(c->p->file, &c->in->src, c->p->e,
                      "RUN --network=host: network.host is not allowed: a step without the flag "
                      "uses the machine's network already; '--allow network.host' lets it through");
    run->network = !asked || !strcmp(asked, "default") ? o->network
                   : !strcmp(asked, "none")            ? PLAN_NET_NONE
                                                       : PLAN_NET_HOST;
    return true;
}

static bool set_security(Cursor *c, PlanRun *run)
{
    const char *asked = c->in->u.command.security;
    run->insecure = asked && !strcmp(asked, "insecure");
    if (run->insecure && !c->p->opts->allow_insecure)
        return df_err(c->p->file, &c->in->src, c->p->e,
                      "RUN --security=insecure: security.insecure is not allowed: '--allow "
                      "security.insecure' lets this step have the machine's rights");
    return true;
}

/* Programs of a stage for another machine need an emulator, if they are run at all. */
static void set_foreign(Cursor *c, PlanRun *run)
{
    Platform p;
    Err ignored = ERR_INIT; /* it was parsed before */
    if (image_platform_parse(c->p->arena, c->stage->platform, &p, &ignored) &&
        !image_platform_runs(&p))
        run->foreign = c->stage->platform;
}

bool plan_run(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    State *st = c->st;
    const DfCommand *in = &c->in->u.command;
    StrList argv = plan_argv(c);
    uint32_t *inputs;
    PlanStep s = {
        .kind = STEP_RUN, .src = c->in->src, .stage = plan_label(c), .title = plan_title(c)};
    PlanRun *run = &s.u.run;
    if (!argv.n)
        return df_err(p->file, &c->in->src, p->e, "RUN in its exec form needs a program");
    if (in->script) {
        run->script = arena_printf(a, "/dev/pipes/%s", in->script);
        run->script_text = in->argv.v[0];
        argv.v[argv.n - 1] = arena_strdup(a, run->script);
    }
    run->argv = argv;
    run->env = strlist_copy(a, &st->env);
    run->cwd = st->config.workdir ? st->config.workdir : "/";
    run->user = st->config.user ? st->config.user : "";
    set_foreign(c, run);
    if (!set_network(c, run) || !set_security(c, run) || !set_mounts(c, run, &inputs))
        return false;
    st->last = planner_add(p, s, st->last, inputs, run->nmount);
    planner_history(p, st,
                    arena_printf(a, "RUN %s%s # buildkit", args_shown(c), join(a, &run->argv)),
                    st->last);
    return true;
}

/* ---- COPY and ADD ---- */

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

/*
 * The kind of a source, which for ADD may lie elsewhere. A text that could be a path as well is
 * one. Source: BuildKit, dispatchCopy.
 */
static bool set_origin(Cursor *c, const StageDep *dep, PlanSource *s)
{
    Planner *p = c->p;
    const char *text = s->path.text;
    DfWord path = s->path;
    GitRef git;
    Err why = ERR_INIT;
    bool is_git, add = c->in->kind == DF_ADD;
    if (!git_ref_parse(p->arena, text, &is_git, &git, &why))
        return df_err(p->file, &path.src, p->e, "%s: %s", git_masked(p->arena, text), why.msg);
    is_git = is_git && !git.like_path;
    if ((is_git || http_url_is(text)) && !add)
        return df_err(p->file, &path.src, p->e, "source can't be a %s for COPY",
                      is_git ? "git ref" : "URL");
    if (!is_git && !http_url_is(text)) {
        if (!plan_source(c, dep, s))
            return false;
        s->path = path;
        return true;
    }
    s->origin = is_git ? PLAN_GIT : PLAN_URL;
    DfBool keep = c->in->u.copy.keep_git_dir;
    if (is_git && keep != DF_UNSET && git.keep_git_dir != GIT_UNSAID &&
        (keep == DF_TRUE) != (git.keep_git_dir == GIT_YES))
        return df_err(p->file, &path.src, p->e, "inconsistent keep-git-dir configuration");
    return true;
}

/*
 * --parents: what stands before the first slash-dot-slash is the pivot, and the rest is a pattern
 * below it.
 */
static void set_pivot(Arena *a, PlanSource *s)
{
    const char *text = s->path.text, *cut = strstr(text, "/./");
    const char *pattern = cut ? cut + 3 : text;
    s->path.text = cut ? arena_strndup(a, text, (size_t)(cut - text)) : "/";
    s->below = path_clean(a, arena_printf(a, "/%s", pattern)) + 1;
}

static bool set_sources(Cursor *c, PlanCopy *copy, Buf *text)
{
    const DfCopy *in = &c->in->u.copy;
    copy->sources = NEW_N(c->p->arena, PlanSource, in->nsource + in->ninline);
    for (size_t i = 0; i < in->nsource; i++) {
        PlanSource *s = &copy->sources[copy->nsource++];
        char *word;
        if (!plan_expand(c, in->sources[i].text, &in->sources[i].src, &word))
            return false;
        s->path = (DfWord){word, in->sources[i].src};
        buf_printf(text, " %s", word);
        if (!set_origin(c, c->deps, s))
            return false;
        bool tree = s->origin != PLAN_URL && s->origin != PLAN_GIT;
        if (in->parents == DF_TRUE && tree)
            set_pivot(c->p->arena, s);
    }
    return true;
}

/* Here-documents: variables are replaced where no quote forbids it; quotes are plain text. */
static bool set_inlines(Cursor *c, PlanCopy *copy, Buf *text)
{
    Planner *p = c->p;
    const DfCopy *in = &c->in->u.copy;
    for (size_t i = 0; i < in->ninline; i++) {
        const DfInline *doc = &in->inlines[i];
        char *name, *body = arena_strdup(p->arena, doc->content);
        if (!plan_expand(c, doc->name, &doc->src, &name))
            return false;
        if (doc->expand && !plan_expand_body(c, doc->content, &doc->src, &body))
            return false;
        if (!*path_base(name) || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
            return df_err(p->file, &doc->src, p->e,
                          "%s <<%s: a heredoc's name must be a file name, not a path", c->in->name,
                          name);
        copy->sources[copy->nsource++] =
            (PlanSource){.origin = PLAN_INLINE, .path = {name, doc->src}, .content = body};
        buf_printf(text, " <<%s", name);
    }
    return true;
}

/* An optional flag's text, its variables replaced. */
static bool flag_text(Cursor *c, const char *flag, const char *name, const char **ret, Buf *text)
{
    char *word;
    if (!flag || !*flag)
        return true;
    if (!plan_expand(c, flag, &c->in->src, &word))
        return false;
    if (*word && name)
        buf_printf(text, " --%s=%s", name, word);
    *ret = *word ? word : NULL;
    return true;
}

static bool set_checksum(Cursor *c, PlanCopy *copy)
{
    const DfCopy *in = &c->in->u.copy;
    scoped(buf) Buf unused = BUF_INIT;
    if (!flag_text(c, in->checksum, NULL, &copy->checksum, &unused) || !copy->checksum)
        return !copy->checksum && !c->p->e->kind;
    if (in->nsource != 1 || in->ninline)
        return df_err(c->p->file, &c->in->src, c->p->e,
                      "checksum can't be specified for multiple sources");
    if (copy->sources[0].origin != PLAN_URL && copy->sources[0].origin != PLAN_GIT)
        return df_err(c->p->file, &c->in->src, c->p->e, "checksum requires HTTP(S) or Git sources");
    return true;
}

static bool set_flags(Cursor *c, PlanCopy *copy, Buf *text)
{
    const DfCopy *in = &c->in->u.copy;
    const char *chmod = NULL;
    Err why = ERR_INIT;
    if (in->parents == DF_TRUE)
        buf_puts(text, " --parents");
    if (!flag_text(c, in->chown, "chown", &copy->chown, text) ||
        !flag_text(c, in->chmod, "chmod", &chmod, text))
        return false;
    if (chmod && !chmod_parse(chmod, &copy->chmod, &why))
        return df_err(c->p->file, &c->in->src, c->p->e, "%s", why.msg);
    for (size_t i = 0; i < in->excludes.n; i++)
        strlist_add(c->p->arena, &copy->excludes, in->excludes.v[i].text);
    /* BuildKit copies plainly where a link is asked for together with a mode. */
    copy->link = in->link == DF_TRUE && !chmod;
    copy->unpack = c->in->kind == DF_ADD && in->unpack != DF_FALSE;
    copy->unpack_urls = in->unpack == DF_TRUE;
    copy->keep_git_dir = in->keep_git_dir;
    return true;
}

bool plan_copy(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    const DfCopy *in = &c->in->u.copy;
    PlanStep s = {
        .kind = STEP_COPY, .src = c->in->src, .stage = plan_label(c), .title = plan_title(c)};
    PlanCopy *copy = &s.u.copy;
    scoped(buf) Buf text = BUF_INIT;
    char *dest;

    buf_puts(&text, c->in->name);
    if (!set_flags(c, copy, &text) || !set_sources(c, copy, &text) ||
        !set_inlines(c, copy, &text) || !set_checksum(c, copy) ||
        !plan_expand(c, in->dest.text, &in->dest.src, &dest))
        return false;
    buf_printf(&text, " %s # buildkit", dest);
    copy->dest = copy_dest(a, dest, c->st->config.workdir);
    if (copy->nsource > 1 && !str_ends(copy->dest, "/"))
        plan_warn(c, &in->dest.src,
                  "COPY of several sources to '%s', which does not end in a slash: files replace "
                  "one another there",
                  dest);
    uint32_t *inputs = NEW_N(a, uint32_t, copy->nsource);
    for (size_t i = 0; i < copy->nsource; i++)
        inputs[i] =
            copy->sources[i].origin == PLAN_STEP ? copy->sources[i].index : (uint32_t)STEP_NONE;
    c->st->last = planner_add(p, s, c->st->last, inputs, copy->nsource);
    planner_history(p, c->st, arena_strdup(a, text.ptr), c->st->last);
    return true;
}

/* ---- WORKDIR ---- */

bool plan_workdir(Cursor *c)
{
    Planner *p = c->p;
    Arena *a = p->arena;
    State *st = c->st;
    char *word;
    if (!plan_expand(c, c->in->u.words.v[0].text, &c->in->u.words.v[0].src, &word))
        return false;
    /* An absolute path stays as it is written, final slash included; a relative one is joined. */
    const char *before = st->config.workdir && *st->config.workdir ? st->config.workdir : "/";
    const char *dir = word[0] == '/' ? word : path_join(a, before, word);
    st->config.workdir = dir;
    uint32_t step = STEP_NONE;
    if (strcmp(path_clean(a, dir), "/") != 0) {
        PlanStep s = {.kind = STEP_WORKDIR,
                      .src = c->in->src,
                      .stage = plan_label(c),
                      .title = plan_title(c)};
        s.u.workdir.path = dir;
        s.u.workdir.user = st->config.user ? st->config.user : "";
        st->last = step = planner_add(p, s, st->last, NULL, 0);
    }
    planner_history(p, st, arena_printf(a, "WORKDIR %s", dir), step);
    return true;
}
