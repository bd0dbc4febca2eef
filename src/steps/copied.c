/*
 * steps/copied.c - mounts of a step that runs in a copied root.
 */
#include "base/fs.h"
#include "steps/steps.h"

static bool copy_bind(Store *s, Arena *a, const char *dest, SandboxMount *m, Err *e)
{
    StrList dirs = {0};
    const char *sub = m->sub;
    if (sub) {
        strlist_add(a, &dirs, m->source);
    } else { /* it may be a file */
        const char *source = path_clean(a, m->source), *base = path_base(source);
        strlist_add(a, &dirs,
                    base == source ? "." : arena_strndup(a, source, (size_t)(base - source)));
        sub = base;
    }
    return snapshot_copy(s, a, &dirs, sub, dest, &m->source, e);
}

bool steps_copy_mounts(Store *s, Arena *a, SandboxSpec *spec, Err *e)
{
    SandboxMount *v = NEW_N(a, SandboxMount, spec->nmount + 1);
    for (size_t i = 0; i < spec->nmount; i++) {
        const char *dest = arena_printf(a, "%s/copy%zu", spec->scratch, i);
        SandboxMount *m = &v[i];
        bool ok = true;
        *m = spec->mounts[i];
        if (m->kind == SANDBOX_OVERLAY)
            ok = snapshot_copy(s, a, &m->lowers, m->sub, dest, &m->source, e);
        else if (m->kind == SANDBOX_BIND && m->readonly)
            ok = copy_bind(s, a, dest, m, e);
        else
            continue;
        if (!ok)
            return err_wrap(e, "mount on '%s'", m->target);
        m->kind = SANDBOX_BIND;
        m->sub = NULL;
    }
    spec->mounts = v;
    return true;
}
