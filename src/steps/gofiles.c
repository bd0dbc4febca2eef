/*
 * steps/gofiles.c - which modules a build will want: go.mod and go.sum of its contexts.
 */
#include <stdlib.h>

#include "base/fs.h"
#include "steps/golang.h"

/* How far below a directory that is copied modules are looked for, and in how many directories. */
enum { DEPTH = 2, DIRS_MAX = 2000 };

typedef struct Finder {
    StepsEnv *env;
    Arena *arena;
    const View *view;
    StrList seen;
    size_t ndir;
    bool any;
    const PlanRun *run; /* the first command that runs Go */
} Finder;

/* A file of the context; false when there is none, or none that can be read. */
static bool read_file(const Finder *f, const char *dir, const char *name, size_t max, Buf *out)
{
    scoped(arena) Arena a = {0};
    ViewNode node;
    Err ignored = ERR_INIT;
    if (!view_lookup(f->view, arena_printf(&a, "%s/%s", dir, name), VIEW_FOLLOW, &node, &ignored) ||
        !node.exists || !S_ISREG(node.st.st_mode))
        return false;
    scoped(fd) int fd = view_open(f->view, &node);
    return fd >= 0 && fs_read_all(fd, max, out, &ignored);
}

static bool has(const Finder *f, const char *dir, const char *name)
{
    scoped(arena) Arena a = {0};
    ViewNode node;
    Err ignored = ERR_INIT;
    return view_lookup(f->view, arena_printf(&a, "%s/%s", dir, name), VIEW_FOLLOW, &node,
                       &ignored) &&
           node.exists;
}

/* A module whose dependencies are in vendor/ asks for nothing. */
static void learn(Finder *f, const char *dir, bool wanted)
{
    scoped(buf) Buf sum = BUF_INIT, mod = BUF_INIT, work = BUF_INIT;
    if (has(f, dir, "vendor/modules.txt"))
        return;
    if (read_file(f, dir, "go.work.sum", GO_SUM_MAX, &work))
        gomod_learn(f->env->gomod, "go.work.sum", (Str){buf_str(&work), work.len}, (Str){"", 0});
    if (!read_file(f, dir, "go.sum", GO_SUM_MAX, &sum))
        return;
    if (!wanted || !read_file(f, dir, "go.mod", GO_MOD_MAX, &mod))
        mod.len = 0;
    if (mod.len)
        gowords_tell(f->env, f->run, dir, (Str){buf_str(&mod), mod.len},
                     (Str){buf_str(&sum), sum.len});
    gomod_learn(f->env->gomod, "go.sum", (Str){buf_str(&sum), sum.len},
                (Str){buf_str(&mod), mod.len});
    f->any = true;
}

static bool is_passed_over(const char *name)
{
    return *name == '.' || *name == '_' || !strcmp(name, "vendor") || !strcmp(name, "testdata") ||
           !strcmp(name, "node_modules");
}

/* Of modules deeper down only sums are learned: which of them are built is not known. */
static void look_below(Finder *f, const char *dir, unsigned depth)
{
    scoped(arena) Arena a = {0};
    StrList names;
    ViewNode node;
    Err ignored = ERR_INIT;
    if (depth == DEPTH || !view_lookup(f->view, dir, VIEW_FOLLOW, &node, &ignored) ||
        !node.exists || !S_ISDIR(node.st.st_mode) ||
        !view_list(f->view, &a, &node, &names, &ignored))
        return;
    for (size_t i = 0; i < names.n && f->ndir < DIRS_MAX; i++) {
        const char *path = arena_printf(&a, "%s/%s", dir, names.v[i]);
        if (is_passed_over(names.v[i]) ||
            !view_lookup(f->view, path, VIEW_NOFOLLOW, &node, &ignored) || !node.exists ||
            !S_ISDIR(node.st.st_mode))
            continue;
        f->ndir++;
        learn(f, path, false);
        look_below(f, path, depth + 1);
    }
}

/* The stamp that go puts into a program asks git for it. */
static void look_at_git(const Finder *f)
{
    ViewNode node;
    Err ignored = ERR_INIT;
    if (view_lookup(f->view, "/.git", VIEW_NOFOLLOW, &node, &ignored) && node.exists &&
        !node.passage)
        gowords_tell_git(f->env, !S_ISDIR(node.st.st_mode), has(f, "/.git", "HEAD"),
                         has(f, "/.git", "objects"));
}

/* The directory that a source is, or is in. */
static void look_at(Finder *f, const char *path)
{
    const char *clean = path_clean(f->arena, arena_printf(f->arena, "/%s", path)),
               *base = path_base(clean);
    bool file = str_starts(base, "go.") || strpbrk(base, "*?[");
    if (file)
        clean = path_clean(f->arena, arena_printf(f->arena, "%s/..", clean));
    size_t before = f->seen.n;
    strlist_add_once(f->arena, &f->seen, clean);
    if (f->seen.n == before)
        return;
    learn(f, clean, true);
    if (!file && !strcmp(clean, "/") && f->any)
        look_at_git(f);
    if (!file)
        look_below(f, clean, 0);
}

static const Context *context_of(const StepsEnv *env, const PlanSource *p)
{
    return p->origin == PLAN_CONTEXT ? env->context
           : p->origin == PLAN_NAMED ? env->named[p->index]
                                     : NULL;
}

static void look_at_source(Finder *f, const PlanSource *p)
{
    const Context *c = context_of(f->env, p);
    if (!c)
        return;
    if (f->view != context_view(c))
        f->seen = (StrList){0};
    f->view = context_view(c);
    look_at(f, p->path.text);
}

/* The first command that has Go in its environment says which proxies are asked. */
static const PlanRun *first_go(const Plan *p)
{
    for (size_t i = 0; i < p->nstep; i++) {
        const PlanRun *r = &p->steps[i].u.run;
        const char *path = p->steps[i].kind == STEP_RUN ? env_get(&r->env, "PATH") : NULL;
        if (path && (env_get(&r->env, "GOLANG_VERSION") || strstr(path, "/go/bin")))
            return r;
    }
    return NULL;
}

/* Whether a command is lent modules that lie unpacked. */
static bool wants_trees(const StepsEnv *env, Arena *a, const GoSettings *settings)
{
    const char *cache = settings->gomodcache;
    for (size_t i = 0; env->go_parts && cache && *cache == '/' && i < env->plan->nstep; i++) {
        const PlanStep *s = &env->plan->steps[i];
        if (s->kind == STEP_RUN && !go_mounted(&s->u.run, cache) &&
            (go_is_download(&s->u.run) || go_may_unpack(a, env, s, cache)))
            return true;
    }
    return false;
}

/* What all contexts say; NULL when no step runs Go, or they say nothing. */
static const PlanRun *learn_all(StepsEnv *env, Arena *a)
{
    const PlanRun *r = env->gomod ? first_go(env->plan) : NULL;
    Finder f = {.env = env, .arena = a, .run = r};
    for (size_t i = 0; r && i < env->plan->nstep; i++) {
        const PlanStep *s = &env->plan->steps[i];
        for (size_t k = 0; s->kind == STEP_COPY && k < s->u.copy.nsource; k++)
            look_at_source(&f, &s->u.copy.sources[k]);
        for (size_t k = 0; s->kind == STEP_RUN && k < s->u.run.nmount; k++)
            if (s->u.run.mounts[k].spec.type == DF_MOUNT_BIND)
                look_at_source(&f, &s->u.run.mounts[k].source);
    }
    return f.any ? r : NULL;
}

bool gofiles_learn(StepsEnv *env, Arena *a, Err *e)
{
    const PlanRun *r = learn_all(env, a);
    static const StrList NONE = {0};
    if (!r)
        return true;
    StrList all = strlist_copy(a, &r->env);
    for (size_t i = 0; i < env->step_env.n; i++) {
        char *name = arena_strndup(a, env->step_env.v[i], strcspn(env->step_env.v[i], "="));
        if (!env_get(&all, name))
            env_set(a, &all, name, env->step_env.v[i] + strlen(name) + 1);
    }
    GoSettings *settings = NEW(a, GoSettings);
    go_settings(a, &all, &NONE, &NONE, settings);
    if (wants_trees(env, a, settings))
        gomod_want_trees(env->gomod);
    gomod_prefetch(env->gomod, settings);
    return gomod_check_offline(env->gomod, e);
}

static int by_module(const void *x, const void *y)
{
    const GomodMaterial *m = x, *n = y;
    int c = strcmp(m->mod.path, n->mod.path);
    return c ? c : go_version_compare(m->mod.version, n->mod.version);
}

void steps_materials(StepsEnv *env, Arena *a, GomodMaterial **ret, size_t *ret_n)
{
    GoModule m;
    const char *h1, *path;
    GomodMaterial *v = NULL;
    size_t n = 0, cap = 0;
    if (env->gomod && !gomod_wanted(env->gomod, 0, &m, &h1)) /* all steps were hits */
        (void)learn_all(env, a);
    for (size_t i = 0; env->gomod && gomod_wanted(env->gomod, i, &m, &h1); i++) {
        GomodMaterial x = {.mod = {arena_strdup(a, m.path), arena_strdup(a, m.version)}};
        if (!gomod_find(env->gomod, a, h1, &path, &x))
            x.h1 = arena_strdup(a, h1);
        *ARENA_PUSH(a, v, n, cap) = x;
    }
    if (n)
        qsort(v, n, sizeof *v, by_module);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!kept || strcmp(v[kept - 1].h1, v[i].h1) != 0)
            v[kept++] = v[i];
    *ret = v;
    *ret_n = kept;
}
