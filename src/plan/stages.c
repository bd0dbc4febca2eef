/*
 * plan/stages.c - which stages there are, and which the target needs.
 */
#include "plan/stages.h"

#include <strings.h>

static void platform_args(Arena *a, StrList *env)
{
    static const char *const SIDES[] = {"BUILD", "TARGET"};
    for (size_t i = 0; i < NELEM(SIDES); i++) {
        env_set(a, env, arena_printf(a, "%sPLATFORM", SIDES[i]),
                arena_printf(a, "linux/%s", image_arch()));
        env_set(a, env, arena_printf(a, "%sOS", SIDES[i]), "linux");
        env_set(a, env, arena_printf(a, "%sOSVERSION", SIDES[i]), "");
        env_set(a, env, arena_printf(a, "%sARCH", SIDES[i]), image_arch());
        env_set(a, env, arena_printf(a, "%sVARIANT", SIDES[i]), "");
    }
}

/* The ARG lines before the first FROM. */
static bool global_args(Arena *a, const DfFile *f, const PlanOpts *o, Stages *s, size_t *ret_at,
                        Err *e)
{
    size_t i = 0;
    platform_args(a, &s->global);
    env_set(a, &s->global, "TARGETSTAGE", o->target ? o->target : "default");
    for (size_t k = 0; k < o->build_args.n; k++) { /* a platform argument may be overridden */
        char *name = arena_strndup(a, o->build_args.v[k], strcspn(o->build_args.v[k], "="));
        if (env_get(&s->global, name))
            env_set(a, &s->global, name, env_get(&o->build_args, name));
    }
    for (; i < f->ninstr && f->instrs[i].kind == DF_ARG; i++) {
        const DfInstr *in = &f->instrs[i];
        for (size_t k = 0; k < in->u.pairs.n; k++) {
            const DfPair *p = &in->u.pairs.v[k];
            const char *given = env_get(&o->build_args, p->key.text);
            char *value;
            if (given) {
                env_set(a, &s->global, p->key.text, given);
            } else if (p->value) {
                Err why = ERR_INIT;
                if (!df_expand(a, p->value, &s->global, f->escape, &value, NULL, &why))
                    return df_err(f, &p->src, e, "%s", why.msg);
                env_set(a, &s->global, p->key.text, value);
            } else {
                strlist_add(a, &s->unset, p->key.text);
            }
        }
    }
    *ret_at = i;
    return true;
}

/* An earlier stage of this name; names are compared without case. */
static uint32_t earlier(const Stages *s, const char *name)
{
    for (size_t i = s->n; i-- > 0;)
        if (s->v[i].name && !strcasecmp(s->v[i].name, name))
            return (uint32_t)i;
    return NO_STAGE;
}

static bool check_platform(Arena *a, const DfFile *f, const Stages *s, const DfInstr *from, Err *e)
{
    char *value;
    Err why = ERR_INIT;
    if (!from->u.from.platform)
        return true;
    if (!df_expand(a, from->u.from.platform, &s->global, f->escape, &value, NULL, &why))
        return df_err(f, &from->src, e, "%s", why.msg);
    if (!strcmp(value, arena_printf(a, "linux/%s", image_arch())))
        return true;
    return df_err(f, &from->src, e,
                  "FROM --platform=%s: only this machine's platform, linux/%s, is supported yet",
                  value, image_arch());
}

static bool add_stage(Arena *a, const DfFile *f, Stages *s, const DfInstr *from, Err *e)
{
    char *image;
    Err why = ERR_INIT;
    if (s->n >= PLAN_MAX_STAGES)
        return df_err(f, &from->src, e, "more than %d stages", PLAN_MAX_STAGES);
    if (!check_platform(a, f, s, from, e))
        return false;
    if (!df_expand(a, from->u.from.image.text, &s->global, f->escape, &image, NULL, &why))
        return df_err(f, &from->u.from.image.src, e, "%s", why.msg);
    if (!*image)
        return df_err(
            f, &from->u.from.image.src, e,
            "base name (%s) should not be blank: an ARG it names has no value before FROM",
            from->u.from.image.text);
    uint32_t base = earlier(s, image);
    uint32_t number = (uint32_t)s->n;
    *ARENA_PUSH(a, s->v, s->n, s->cap) = (Stage){.from = from,
                                                 .body = from + 1,
                                                 .name = from->u.from.stage,
                                                 .image = image,
                                                 .base = base,
                                                 .number = number};
    return true;
}

static bool stage_number(const Stages *s, const char *text, uint32_t *ret)
{
    uint64_t v;
    if (!str_u64(text, UINT32_MAX, &v) || v >= s->n)
        return false;
    *ret = (uint32_t)v;
    return true;
}

uint32_t stages_find(const Stages *s, const char *from)
{
    uint32_t i = earlier(s, from);
    if (i == NO_STAGE)
        (void)stage_number(s, from, &i);
    return i;
}

static bool find_target(Arena *a, const DfFile *f, const PlanOpts *o, Stages *s, Err *e)
{
    s->target = (uint32_t)s->n - 1;
    if (!o->target || !*o->target)
        return true;
    s->target = stages_find(s, o->target);
    if (s->target != NO_STAGE)
        return true;
    const char **names = NEW_N(a, const char *, s->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].name)
            names[n++] = s->v[i].name;
    const char *near = df_suggest(o->target, names, n);
    return err_set(e, ERR_DOCKERFILE, "%s: target stage '%s' could not be found%s%s%s", f->name,
                   o->target, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static const char *stage_title(Arena *a, const Stage *st)
{
    return st->name ? st->name : arena_printf(a, "stage-%u", st->number);
}

/* Depth first over FROM and COPY --from; meeting an open stage again is a cycle. */
static bool need(Arena *a, const DfFile *f, Stages *s, uint32_t i, const SrcSpan *at, Err *e)
{
    Stage *st = &s->v[i];
    if (st->state == NEEDED)
        return true;
    if (st->state == OPEN) {
        scoped(buf) Buf names = BUF_INIT;
        size_t k = 0;
        while (s->path[k] != i)
            k++;
        for (; k < s->npath; k++)
            buf_printf(&names, "%s -> ", stage_title(a, &s->v[s->path[k]]));
        buf_puts(&names, stage_title(a, st));
        return df_err(f, at, e, "circular dependency between stages: %s", buf_str(&names));
    }
    st->state = OPEN;
    s->path[s->npath++] = i;
    if (st->base != NO_STAGE && !need(a, f, s, st->base, &st->from->src, e))
        return false;
    for (size_t k = 0; k < st->nbody; k++) {
        const DfInstr *in = &st->body[k];
        if (in->kind != DF_COPY || !in->u.copy.from)
            continue;
        uint32_t dep = stages_find(s, in->u.copy.from);
        if (dep != NO_STAGE && !need(a, f, s, dep, &in->src, e))
            return false;
    }
    st->state = NEEDED;
    s->npath--;
    return true;
}

bool stages_read(Arena *a, const DfFile *f, const PlanOpts *o, Stages *ret, Err *e)
{
    Stages s = {0};
    size_t i;
    if (!global_args(a, f, o, &s, &i, e))
        return false;
    for (; i < f->ninstr; i++) {
        if (f->instrs[i].kind == DF_FROM) {
            if (!add_stage(a, f, &s, &f->instrs[i], e))
                return false;
        } else {
            s.v[s.n - 1].nbody++;
        }
    }
    if (!s.n)
        return err_set(e, ERR_DOCKERFILE,
                       "%s: dockerfile contains no stages to build: it needs a FROM line", f->name);
    s.path = NEW_N(a, uint32_t, s.n);
    if (!find_target(a, f, o, &s, e) || !need(a, f, &s, s.target, &s.v[s.target].from->src, e))
        return false;
    *ret = s;
    return true;
}
