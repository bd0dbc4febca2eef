/*
 * steps/gowords.c - what will go wrong in a Go build, said before it begins.
 */
#include <stdlib.h>

#include "base/fs.h"
#include "steps/golang.h"

/* ---- a Go that is too old ---- */

typedef struct GoRelease {
    unsigned long part[3]; /* 1.22.3 */
} GoRelease;

/* "1.22", "1.22.3", "go1.22.3", "1.23rc1", which counts as 1.23. */
static bool read_release(const char *text, GoRelease *ret)
{
    GoRelease r = {{0}};
    size_t n = 0;
    if (str_starts(text, "go"))
        text += 2;
    while (n < NELEM(r.part) && *text >= '0' && *text <= '9') {
        char *end;
        r.part[n++] = strtoul(text, &end, 10);
        text = *end == '.' ? end + 1 : "";
    }
    *ret = r;
    return n > 1;
}

static bool is_older(const GoRelease *a, const GoRelease *b)
{
    for (size_t i = 0; i < NELEM(a->part); i++)
        if (a->part[i] != b->part[i])
            return a->part[i] < b->part[i];
    return false;
}

/* The toolchain line is only a wish; the go line is a condition. */
static void tell_of_release(const StepsEnv *env, const PlanRun *r, const char *file,
                            const GoModFile *mod)
{
    const char *have = env_get(&r->env, "GOLANG_VERSION"), *way = env_get(&r->env, "GOTOOLCHAIN");
    GoRelease is, wanted;
    if (!have || !way || strcmp(way, "local") != 0 || !mod->go || !read_release(have, &is) ||
        !read_release(mod->go, &wanted) || !is_older(&is, &wanted))
        return;
    event_warning(&env->sink,
                  "%s asks for go %s, and the base has %s with GOTOOLCHAIN=local: the go command "
                  "will refuse; take a base with go %s, or say ENV GOTOOLCHAIN=auto",
                  file, mod->go, have, mod->go);
}

/* ---- lines that go.sum lacks ---- */

static bool has_line(const GoSumFile *sum, const GoModule *m)
{
    for (size_t i = 0; i < sum->n; i++)
        if (sum->v[i].gomod && !strcmp(sum->v[i].mod.path, m->path) &&
            !strcmp(sum->v[i].mod.version, m->version))
            return true;
    return false;
}

static void tell_of_sums(const StepsEnv *env, Arena *a, const char *file, const GoModFile *mod,
                         const GoSumFile *sum)
{
    enum { SHOWN = 5 };
    scoped(buf) Buf names = BUF_INIT;
    GoModuleList list = {0};
    size_t n = 0;
    go_mod_downloads(a, mod, &list);
    for (size_t i = 0; i < list.n; i++) {
        if (has_line(sum, &list.v[i]))
            continue;
        if (n++ < SHOWN)
            buf_printf(&names, "%s%s@%s", n > 1 ? ", " : "", list.v[i].path, list.v[i].version);
    }
    if (n > SHOWN)
        buf_printf(&names, " and %zu more", n - SHOWN);
    if (n)
        event_warning(&env->sink,
                      "go.sum has no line for %zu of the modules that %s requires: %s; go build "
                      "will refuse, and a layer of go mod download will differ from day to day; "
                      "run 'go mod tidy'",
                      n, file, buf_str(&names));
}

void gowords_tell(const StepsEnv *env, const PlanRun *r, const char *dir, Str gomod, Str gosum)
{
    scoped(arena) Arena a = {0};
    GoModFile mod;
    GoSumFile sum;
    Err ignored = ERR_INIT;
    const char *file = arena_printf(&a, "%s%sgo.mod", dir + 1, dir[1] ? "/" : "");
    if (!go_mod_parse(&a, file, gomod, GO_MOD_MAIN, &mod, &ignored))
        return; /* go says what is wrong with it */
    tell_of_release(env, r, file, &mod);
    if (go_sum_parse(&a, "go.sum", gosum, &sum, &ignored))
        tell_of_sums(env, &a, file, &mod, &sum);
}

/* ---- half a repository ---- */

void gowords_tell_git(const StepsEnv *env, bool file, bool head, bool objects)
{
    if (file)
        event_warning(&env->sink,
                      "'.git' of the context is a file that leads out of it: if the image has git, "
                      "go build will fail with 'error obtaining VCS status'; leave it out by "
                      ".dockerignore, or build with -buildvcs=false");
    else if (!head || !objects)
        event_warning(&env->sink,
                      "'.git' of the context is there without its %s: if the image has git, go "
                      "build will fail with 'error obtaining VCS status'; let .dockerignore leave "
                      "out all of it or nothing, or build with -buildvcs=false",
                      head ? "objects" : "HEAD");
}
