/*
 * plan/stages.c - which stages there are, and which the target needs.
 */
#include "plan/stages.h"

#include <ctype.h>
#include <strings.h>

#include "image/ref.h"

/* What the functions below share. */
typedef struct Reading {
    Arena *arena;
    const DfFile *file;
    const PlanOpts *opts;
    Stages *s;
    bool bases_too; /* FROM counts among the dependencies that are followed */
    Err *e;
} Reading;

const char *stages_nearest(Arena *a, const char *name, const StrList *env, const char *dollar)
{
    const char **names = NEW_N(a, const char *, env->n + 1);
    for (size_t i = 0; i < env->n; i++)
        names[i] = arena_strndup(a, env->v[i], strcspn(env->v[i], "="));
    const char *near = df_suggest(name, names, env->n);
    return near ? arena_printf(a, " (did you mean %s%s?)", dollar, near) : "";
}

/* ---- global arguments ---- */

static Platform target_of(const PlanOpts *o)
{
    return o->target_platform.os ? o->target_platform : image_platform_host();
}

static void platform_args(Arena *a, const PlanOpts *o, StrList *env)
{
    static const char *const SIDES[] = {"BUILD", "TARGET"};
    const Platform of[] = {image_platform_host(), target_of(o)};
    for (size_t i = 0; i < NELEM(SIDES); i++) {
        env_set(a, env, arena_printf(a, "%sPLATFORM", SIDES[i]), image_platform_text(a, &of[i]));
        env_set(a, env, arena_printf(a, "%sOS", SIDES[i]), of[i].os);
        env_set(a, env, arena_printf(a, "%sOSVERSION", SIDES[i]), "");
        env_set(a, env, arena_printf(a, "%sARCH", SIDES[i]), of[i].architecture);
        env_set(a, env, arena_printf(a, "%sVARIANT", SIDES[i]), of[i].variant);
    }
}

static bool global_arg(Reading *r, const DfPair *p)
{
    Arena *a = r->arena;
    const char *given = env_get(&r->opts->build_args, p->key.text);
    DfScope scope = {.arena = a, .env = &r->s->global, .escape = r->file->escape};
    Err why = ERR_INIT;
    char *value;
    if (given) {
        env_set(a, &r->s->global, p->key.text, given);
    } else if (p->value) {
        if (!df_expand(&scope, p->value, &value, &why))
            return df_err(r->file, &p->src, r->e, "%s", why.msg);
        env_set(a, &r->s->global, p->key.text, value);
    } else {
        strlist_add(a, &r->s->unset, p->key.text);
    }
    return true;
}

/* The ARG lines before the first FROM; *ret_at is what follows them. */
static bool global_args(Reading *r, size_t *ret_at)
{
    const DfFile *f = r->file;
    const PlanOpts *o = r->opts;
    StrList *global = &r->s->global;
    size_t i = 0;
    platform_args(r->arena, o, global);
    env_set(r->arena, global, "TARGETSTAGE", o->target ? o->target : "default");
    for (size_t k = 0; k < f->ninstr && !o->target; k++)
        if (f->instrs[k].kind == DF_FROM) /* the last stage's name, where it has one */
            env_set(r->arena, global, "TARGETSTAGE",
                    f->instrs[k].u.from.stage ? f->instrs[k].u.from.stage : "default");
    for (size_t k = 0; k < o->build_args.n; k++) { /* a platform argument may be overridden */
        char *name = arena_strndup(r->arena, o->build_args.v[k], strcspn(o->build_args.v[k], "="));
        if (env_get(global, name))
            env_set(r->arena, global, name, env_get(&o->build_args, name));
    }
    for (; i < f->ninstr && f->instrs[i].kind == DF_ARG; i++)
        for (size_t k = 0; k < f->instrs[i].u.pairs.n; k++)
            if (!global_arg(r, &f->instrs[i].u.pairs.v[k]))
                return false;
    *ret_at = i;
    return true;
}

/* ---- names ---- */

/* The context that stands for a name: given under the same text, or as another spelling of the same
 * image. */
static const PlanContext *context_for(const Reading *r, const char *name)
{
    const PlanOpts *o = r->opts;
    ImageRef want, have;
    Err ignored = ERR_INIT;
    if (!strcasecmp(name, "scratch") || !strcasecmp(name, "context"))
        return NULL;
    bool is_ref = image_ref_parse(r->arena, name, &want, &ignored);
    for (size_t i = o->ncontext; i-- > 0;) {
        if (!strcasecmp(o->contexts[i].name, name))
            return &o->contexts[i];
        if (is_ref && image_ref_parse(r->arena, o->contexts[i].name, &have, &ignored) &&
            !strcmp(image_ref_tagged(r->arena, &want), image_ref_tagged(r->arena, &have)))
            return &o->contexts[i];
    }
    return NULL;
}

static uint32_t context_index(const Reading *r, const PlanContext *c)
{
    return c && c->tree ? (uint32_t)(c - r->opts->contexts) : NO_CONTEXT;
}

static size_t name_bucket(const char *name)
{
    size_t h = 5381;
    for (; *name; name++)
        h = h * 33 + (unsigned char)(*name | 0x20); /* without case */
    return h % STAGE_BUCKETS;
}

/* A stage of this name, the last one; names are compared without case. */
static uint32_t named_stage(const Stages *s, const char *name)
{
    for (uint32_t i = s->named[name_bucket(name)]; i; i = s->v[i - 1].older)
        if (!strcasecmp(s->v[i - 1].name, name))
            return i - 1;
    return NO_STAGE;
}

static StageDep image_dep(const Reading *r, const char *from, const char *image)
{
    const PlanContext *c = context_for(r, image);
    return (StageDep){
        .from = from, .stage = NO_STAGE, .context = context_index(r, c), .image = image};
}

/* ---- stages ---- */

/* Whether a global ARG without a value declares the name. */
static bool declared(const Stages *s, const char *name)
{
    for (size_t k = 0; k < s->unset.n; k++)
        if (!strcmp(name, s->unset.v[k]))
            return true;
    return false;
}

static bool from_word(Reading *r, const DfInstr *in, const char *word, const SrcSpan *at,
                      char **ret)
{
    StrList unset = {0};
    DfScope scope = {
        .arena = r->arena, .env = &r->s->global, .escape = r->file->escape, .unset = &unset};
    Err why = ERR_INIT;
    if (!df_expand(&scope, word, ret, &why))
        return df_err(r->file, at, r->e, "%s", why.msg);
    for (size_t i = 0; i < unset.n; i++)
        if (!declared(r->s, unset.v[i]))
            df_warn(r->arena, r->file, in, "UndefinedArgInFrom", &r->s->warnings,
                    "FROM argument '%s' is not declared%s", unset.v[i],
                    stages_nearest(r->arena, unset.v[i], &r->s->global, ""));
    return true;
}

/* One word is an architecture, or a system, of which the rest is the target's. */
static bool read_platform(Reading *r, const char *text, Platform *ret, Err *why)
{
    Platform target = target_of(r->opts);
    Err ignored = ERR_INIT;
    if (strchr(text, '/'))
        return image_platform_parse(r->arena, text, ret, why);
    if (!image_platform_parse(r->arena, arena_printf(r->arena, "linux/%s", text), ret, why))
        return false;
    if (!strcmp(text, "linux"))
        *ret = target;
    else if (!image_platform_parse(r->arena, arena_printf(r->arena, "%s/%s", target.os, text), ret,
                                   &ignored))
        return false;
    return true;
}

static bool set_platform(Reading *r, Stage *st)
{
    const DfInstr *from = st->from;
    Err why = ERR_INIT;
    Platform p;
    char *value;
    st->platform = r->s->platform;
    if (!from->u.from.platform)
        return true;
    if (!from_word(r, from, from->u.from.platform, &from->src, &value))
        return false;
    if (!*value)
        return df_err(r->file, &from->src, r->e, "empty platform value from expression %s",
                      from->u.from.platform);
    if (!read_platform(r, value, &p, &why))
        return df_err(r->file, &from->src, r->e,
                      "failed to parse platform %s: write os/arch, as in linux/arm64", value);
    st->flag = value;
    st->platform = image_platform_text(r->arena, &p);
    return true;
}

/* What a FROM line builds on: an earlier stage, a context, or an image. */
static bool set_base(Reading *r, Stage *st)
{
    const DfInstr *from = st->from;
    const PlanContext *own = st->name ? context_for(r, st->name) : NULL;
    ImageRef ref;
    Err why = ERR_INIT;
    if (own) { /* the context stands for the whole stage */
        st->image = st->name;
        st->context = context_index(r, own);
        st->nbody = 0;
        return true;
    }
    st->base = named_stage(r->s, st->image);
    if (st->base != NO_STAGE) /* it goes on as what that stage is */
        st->platform = r->s->v[st->base].platform;
    if (st->base != NO_STAGE || !strcmp(st->image, "scratch"))
        return true;
    st->context = context_index(r, context_for(r, st->image));
    if (st->context == NO_CONTEXT && !image_ref_parse(r->arena, st->image, &ref, &why))
        return df_err(r->file, &from->u.from.image.src, r->e,
                      "failed to parse stage name \"%s\": %s", st->image, why.msg);
    return true;
}

static void warn_name(Reading *r, const DfInstr *from)
{
    const char *name = from->u.from.stage;
    if (!name)
        return;
    if (!strcmp(name, "scratch") || !strcmp(name, "context"))
        df_warn(r->arena, r->file, from, "ReservedStageName", &r->s->warnings,
                "Stage name should not use the same name as reserved stage \"%s\"", name);
    if (named_stage(r->s, name) != NO_STAGE)
        df_warn(r->arena, r->file, from, "DuplicateStageName", &r->s->warnings,
                "Duplicate stage name \"%s\", stage names should be unique", name);
}

static bool add_stage(Reading *r, const DfInstr *from, size_t nbody)
{
    char *image;
    if (r->s->n >= PLAN_MAX_STAGES)
        return df_err(r->file, &from->src, r->e, "more than %d stages", PLAN_MAX_STAGES);
    if (!from_word(r, from, from->u.from.image.text, &from->u.from.image.src, &image))
        return false;
    if (!*image)
        return df_err(
            r->file, &from->u.from.image.src, r->e,
            "base name (%s) should not be blank: an ARG it names has no value before FROM",
            from->u.from.image.text);
    Stage st = {.from = from,
                .body = from + 1,
                .nbody = nbody,
                .name = from->u.from.stage,
                .image = image,
                .base = NO_STAGE,
                .context = NO_CONTEXT,
                .number = (uint32_t)r->s->n};
    warn_name(r, from);
    if (!set_platform(r, &st) || !set_base(r, &st))
        return false;
    uint32_t *last = st.name ? &r->s->named[name_bucket(st.name)] : NULL;
    if (last) {
        st.older = *last;
        *last = (uint32_t)r->s->n + 1;
    }
    *ARENA_PUSH(r->arena, r->s->v, r->s->n, r->s->cap) = st;
    return true;
}

/* ---- dependencies ---- */

static bool all_digits(const char *s)
{
    const char *d = *s == '-' || *s == '+' ? s + 1 : s;
    return *d && d[strspn(d, "0123456789")] == 0;
}

/* `--from=2`: stages are counted, and behind them the images that only --from named. */
static bool dep_by_number(Reading *r, const DfInstr *in, const char *from, StageDep *ret)
{
    uint64_t v;
    if (!str_u64(from, UINT32_MAX, &v) || v >= r->s->n + r->s->extra.n)
        return df_err(r->file, &in->src, r->e,
                      "invalid stage index %s: the Dockerfile has %zu stages, counted from 0", from,
                      r->s->n);
    if (v < r->s->n)
        *ret = (StageDep){.from = from, .stage = (uint32_t)v, .context = NO_CONTEXT};
    else
        *ret = image_dep(r, from, r->s->extra.v[v - r->s->n]);
    return true;
}

static StageDep dep_by_name(Reading *r, const char *from)
{
    uint32_t stage = named_stage(r->s, from);
    if (stage != NO_STAGE)
        return (StageDep){.from = from, .stage = stage, .context = NO_CONTEXT};
    strlist_add(r->arena, &r->s->extra, from);
    return image_dep(r, from, from);
}

static bool copy_dep(Reading *r, const DfInstr *in, StageDep *ret)
{
    const char *from = in->u.copy.from;
    StrList none = {0};
    DfScope scope = {.arena = r->arena, .env = &none, .escape = r->file->escape};
    Err why = ERR_INIT;
    char *plain;
    if (!df_expand(&scope, from, &plain, &why))
        return df_err(r->file, &in->src, r->e, "%s --from=%s: %s", in->name, from, why.msg);
    if (strcmp(plain, from) != 0)
        return df_err(r->file, &in->src, r->e,
                      "%s --from=%s: variable expansion is not supported for --from, define a new "
                      "stage with FROM using ARG from global scope as a workaround",
                      in->name, from);
    if (all_digits(from))
        return dep_by_number(r, in, from, ret);
    *ret = dep_by_name(r, from);
    return true;
}

/* Mounts name stages, never numbers; one without `from` counts as an image nobody can name. */
static bool run_deps(Reading *r, const DfInstr *in, StageDep **ret)
{
    const DfWords *w = &in->u.command.mounts;
    StageDep *v = NEW_N(r->arena, StageDep, w->n);
    for (size_t i = 0; i < w->n; i++) {
        DfMount m;
        Err why = ERR_INIT;
        if (!df_mount(r->arena, w->v[i].text, NULL, &m, &why))
            return df_err(r->file, &w->v[i].src, r->e, "%s", why.msg);
        v[i] =
            m.from ? dep_by_name(r, m.from) : (StageDep){.stage = NO_STAGE, .context = NO_CONTEXT};
        if (!m.from)
            strlist_add(r->arena, &r->s->extra, "scratch");
    }
    *ret = v;
    return true;
}

/* Find out what the instructions [from, to) of a stage name. */
static bool find_deps(Reading *r, Stage *st, size_t from, size_t to)
{
    for (size_t k = from; k < to; k++) {
        const DfInstr *in = &st->body[k];
        if (in->kind == DF_COPY && in->u.copy.from && *in->u.copy.from) {
            st->deps[k] = NEW(r->arena, StageDep);
            if (!copy_dep(r, in, st->deps[k]))
                return false;
        } else if (in->kind == DF_RUN && in->u.command.mounts.n) {
            if (!run_deps(r, in, &st->deps[k]))
                return false;
        }
    }
    return true;
}

static size_t ndeps(const Stage *st, size_t k)
{
    const DfInstr *in = &st->body[k];
    return !st->deps[k] ? 0 : in->kind == DF_RUN ? in->u.command.mounts.n : 1;
}

/* ---- triggers ---- */

/* The ONBUILD instructions that a stage meets: of the image it is built on, or of the stage. */
static StrList triggers_of(Reading *r, const Stage *st, const PlanBase *bases, size_t nbase,
                           bool *ret_known)
{
    StrList list = {0};
    *ret_known = true;
    if (st->base != NO_STAGE) {
        const Stage *base = &r->s->v[st->base];
        for (size_t k = 0; k < base->nbody; k++)
            if (base->body[k].kind == DF_ONBUILD && !base->body[k].onbuild)
                strlist_add(r->arena, &list, base->body[k].u.trigger);
        return list;
    }
    if (st->context != NO_CONTEXT || !strcmp(st->image, "scratch"))
        return list;
    for (size_t i = 0; i < nbase; i++)
        if (!strcmp(bases[i].name, st->image) &&
            (!bases[i].platform || !strcmp(bases[i].platform, st->platform)))
            return bases[i].config->onbuild;
    *ret_known = false;
    return list;
}

static bool pull_triggers(Reading *r, Stage *st, const PlanBase *bases, size_t nbase)
{
    bool known;
    StrList list = triggers_of(r, st, bases, nbase, &known);
    if (st->triggered || !known)
        return true;
    st->triggered = true;
    if (!list.n)
        return true;
    DfInstr *body = NEW_N(r->arena, DfInstr, list.n + st->nbody);
    StageDep **deps = NEW_N(r->arena, StageDep *, list.n + st->nbody);
    for (size_t i = 0; i < list.n; i++)
        if (!df_parse_trigger(r->arena, r->file, &st->from->src, list.v[i], &body[i], r->e))
            return false;
    for (size_t i = 0; i < st->nbody; i++) {
        body[list.n + i] = st->body[i];
        deps[list.n + i] = st->deps[i];
    }
    st->body = body;
    st->deps = deps;
    st->nbody += list.n;
    return find_deps(r, st, 0, list.n);
}

/* ---- the target, and what it needs ---- */

static bool find_target(Reading *r)
{
    Stages *s = r->s;
    const char *target = r->opts->target;
    uint64_t number;
    s->target = (uint32_t)s->n - 1;
    if (!target || !*target)
        return true;
    s->target = named_stage(s, target);
    if (s->target == NO_STAGE && str_u64(target, UINT32_MAX, &number) && number < s->n)
        s->target = (uint32_t)number;
    if (s->target != NO_STAGE)
        return true;
    const char **names = NEW_N(r->arena, const char *, s->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].name)
            names[n++] = s->v[i].name;
    const char *near = df_suggest(target, names, n);
    return err_set(r->e, ERR_DOCKERFILE, "%s: target stage \"%s\" could not be found%s%s%s",
                   r->file->name, target, near ? " (did you mean " : "", near ? near : "",
                   near ? "?)" : "");
}

static const char *stage_title(Arena *a, const Stage *st)
{
    return st->name ? st->name : arena_printf(a, "stage-%u", st->number);
}

static bool cycle(Reading *r, uint32_t i, const SrcSpan *at)
{
    Stages *s = r->s;
    scoped(buf) Buf names = BUF_INIT;
    size_t k = 0;
    while (s->path[k] != i)
        k++;
    for (; k < s->npath; k++)
        buf_printf(&names, "%s -> ", stage_title(r->arena, &s->v[s->path[k]]));
    buf_puts(&names, stage_title(r->arena, &s->v[i]));
    return df_err(r->file, at, r->e, "circular dependency detected on stage: %s", buf_str(&names));
}

/* Depth first over FROM, --from and mounts; meeting an open stage again is a cycle. */
static bool need(Reading *r, uint32_t i, const SrcSpan *at)
{
    Stage *st = &r->s->v[i];
    if (st->state == NEEDED)
        return true;
    if (st->state == OPEN)
        return cycle(r, i, at);
    st->state = OPEN;
    r->s->path[r->s->npath++] = i;
    if (r->bases_too && st->base != NO_STAGE && !need(r, st->base, &st->from->src))
        return false;
    for (size_t k = 0; k < st->nbody; k++)
        for (size_t d = 0; d < ndeps(st, k); d++)
            if (st->deps[k][d].stage != NO_STAGE &&
                !need(r, st->deps[k][d].stage, &st->body[k].src))
                return false;
    st->state = NEEDED;
    r->s->npath--;
    return true;
}

/*
 * A cycle of --from and mounts is an error wherever it is, as in BuildKit; what is needed follows
 * from the target alone.
 */
static bool mark_needed(Reading *r)
{
    Stages *s = r->s;
    s->path = NEW_N(r->arena, uint32_t, s->n);
    r->bases_too = false;
    for (uint32_t i = 0; i < s->n; i++)
        if (!need(r, i, &s->v[i].from->src))
            return false;
    for (size_t i = 0; i < s->n; i++)
        s->v[i].state = UNSEEN;
    r->bases_too = true;
    return need(r, s->target, &s->v[s->target].from->src);
}

bool stages_read(Arena *a, const DfFile *f, const PlanOpts *o, const PlanBase *bases, size_t nbase,
                 Stages *ret, Err *e)
{
    Stages s = {0};
    Reading r = {.arena = a, .file = f, .opts = o, .s = &s, .e = e};
    Platform target = target_of(o);
    size_t at;
    s.platform = image_platform_text(a, &target);
    if (!global_args(&r, &at))
        return false;
    if (at == f->ninstr)
        return err_set(e, ERR_DOCKERFILE,
                       "%s: dockerfile contains no stages to build: it needs a FROM line", f->name);
    while (at < f->ninstr) {
        size_t next = at + 1;
        while (next < f->ninstr && f->instrs[next].kind != DF_FROM)
            next++;
        if (!add_stage(&r, &f->instrs[at], next - at - 1))
            return false;
        at = next;
    }
    if (!find_target(&r))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        s.v[i].deps = NEW_N(a, StageDep *, s.v[i].nbody);
        if (!find_deps(&r, &s.v[i], 0, s.v[i].nbody))
            return false;
    }
    if (!mark_needed(&r))
        return false;
    for (bool again = true; again;) { /* a trigger can make another stage needed */
        again = false;
        for (size_t i = 0; i < s.n; i++) {
            bool before = s.v[i].triggered;
            if (s.v[i].state == NEEDED && !pull_triggers(&r, &s.v[i], bases, nbase))
                return false;
            again = again || s.v[i].triggered != before;
        }
        for (size_t i = 0; i < s.n; i++)
            s.v[i].state = UNSEEN;
        if (!mark_needed(&r))
            return false;
    }
    *ret = s;
    return true;
}
