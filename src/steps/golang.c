/*
 * steps/golang.c - a step's GOPROXY, and whether its result tells of it.
 */
#include "steps/golang.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/fs.h"

/* ---- before the command ---- */

/*
 * A command that speaks of GOPROXY sees to it itself: what it sets would be hidden by ours, or hide
 * it. And `off` in the Dockerfile means that nobody is to be asked, us included; from the caller's
 * settings it means that no server is.
 */
static bool wants_none(StepWork *w, const GoRoot *r)
{
    const char *own = env_get(&w->step->u.run.env, "GOPROXY");
    return !r->goroot || go_named(&w->step->u.run, "GOPROXY") ||
           (own && !strcmp(r->settings.goproxy, "off"));
}

/* A port of the step's own loopback, where nothing listens yet. */
static bool draw_port(unsigned *ret, Err *e)
{
    uint16_t random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_errno(e, ERR_ENV, "getrandom");
    *ret = 20000 + random % 12000; /* below the ports that connections get by themselves */
    return true;
}

/* The listener: in the step's network where it has one that leads out, else on ours. */
static bool open_gateway(StepWork *w, StepGo *g, Err *e)
{
    if (!gomod_step_asks(g->mod))
        return true;
    if (w->step->u.run.network == PLAN_NET_USER)
        return draw_port(&g->port, e);
    return gomod_step_listen(g->mod, -1, e);
}

static bool begin_modules(StepWork *w, StepGo *g, StrList *env, Err *e)
{
    if (!w->env->gomod || wants_none(w, &g->root))
        return true;
    bool alone = g->root.netrc || w->step->u.run.network == PLAN_NET_NONE;
    GoSettings *settings = NEW(&w->arena, GoSettings);
    *settings = g->root.settings;
    uint64_t at = clock_ns();
    if (!gomod_step_new(w->env->gomod, settings, alone, &g->mod, e))
        return false;
    steps_span(w, "modules for go.sum", at);
    if (!g->mod)
        return true;
    const char *dir = gomod_step_dir(g->mod), *place = NULL;
    if (dir && w->env->host.mode != MODE_CHROOT) {
        place = arena_printf(&w->arena, "/dev/lighter-%s", gomod_step_word(g->mod));
        g->mounts[g->nmount++] =
            (SandboxMount){.kind = SANDBOX_BIND, .target = place, .readonly = true, .source = dir};
    }
    bool ok = open_gateway(w, g, e);
    g->proxy = gomod_step_proxy(g->mod, &w->arena, place, g->port);
    env_set(&w->arena, env, "GOPROXY", g->proxy);
    return ok;
}

bool stepgo_begin(StepWork *w, const Stack *below, const char *dir, StrList *env, StepGo *ret,
                  Err *e)
{
    scoped(stack_view) StackView sv = {0};
    uint64_t at = clock_ns();
    *ret = (StepGo){.port = 0};
    if (!w->env->gomod && !w->env->go_scope)
        return true;
    bool ok = stack_view(w->env->store, below, -1, &sv, e) &&
              go_look(w, &sv.view, env, &ret->root, e) && begin_modules(w, ret, env, e) &&
              stepgo_parts(w, &sv.view, arena_printf(&w->arena, "%s.parts", dir), ret, e) &&
              stepgo_shadow(w, below, &sv.view, arena_printf(&w->arena, "%s.cache", dir), ret, e) &&
              gowatch_begin(w, ret, e);
    if (ret->mod)
        gomod_step_ready(ret->mod);
    steps_span(w, "what Go is lent", at);
    return ok;
}

void stepgo_listening(void *arg, int fd)
{
    StepGo *g = arg;
    Err ignored = ERR_INIT;
    (void)!gomod_step_listen(g->mod, fd, &ignored); /* then go says that nobody answers */
}

bool stepgo_end(StepGo *g, Err *e)
{
    GomodStep *mod = g->mod;
    g->mod = NULL;
    gowatch_end(g->watch);
    g->watch = NULL;
    return gomod_step_end(mod, e);
}

/* ---- after it ---- */

static bool search_file(int dirfd, const char *name, uint64_t size, StepGoSearch *s, Err *e)
{
    scoped(fd) int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open '%s'", name);
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return err_errno(e, ERR_STORE, "read '%s'", name);
    s->found = memmem(p, size, s->word, strlen(s->word)) != NULL;
    munmap(p, size);
    return true;
}

static bool search_link(int dirfd, const char *name, StepGoSearch *s, Err *e)
{
    char target[TREE_PATH_MAX];
    ssize_t n = readlinkat(dirfd, name, target, sizeof target);
    if (n < 0)
        return err_errno(e, ERR_STORE, "read link '%s'", name);
    s->found = memmem(target, (size_t)n, s->word, strlen(s->word)) != NULL;
    return true;
}

static bool search_dir(int dirfd, const char *path, unsigned depth, StepGoSearch *s, Err *e);

static bool search_entry(int dirfd, const char *path, const char *name, unsigned depth,
                         StepGoSearch *s, Err *e)
{
    scoped(arena) Arena a = {0};
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, ERR_STORE, "stat '%s'", name);
    s->found = strstr(name, s->word) != NULL;
    if (s->found)
        return true;
    if (S_ISLNK(st.st_mode))
        return search_link(dirfd, name, s, e);
    if (S_ISREG(st.st_mode) && st.st_size > 0)
        return search_file(dirfd, name, (uint64_t)st.st_size, s, e);
    if (!S_ISDIR(st.st_mode))
        return true;
    const char *below = *path ? arena_printf(&a, "%s/%s", path, name) : name;
    if (!strcmp(below, s->skip[0]) || !strcmp(below, s->skip[1]) || depth >= TREE_MAX_DEPTH)
        return true;
    scoped(fd) int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open '%s'", below);
    return search_dir(fd, below, depth + 1, s, e);
}

static bool search_dir(int dirfd, const char *path, unsigned depth, StepGoSearch *s, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names;
    if (!fs_list(&a, dirfd, &names, e))
        return false;
    for (size_t i = 0; i < names.n && !s->found; i++)
        if (!search_entry(dirfd, path, names.v[i], depth, s, e))
            return false;
    return true;
}

static void *search_main(void *arg)
{
    StepGoSearch *s = arg;
    s->failed = !search_dir(s->fd, "", 0, s, &s->e);
    return NULL;
}

bool stepgo_search(StepWork *w, const StepGo *g, const char *upper, StepGoSearch *s, Err *e)
{
    const char *mods = g->root.settings.gomodcache;
    int raw = -1;
    *s = (StepGoSearch){.word = NULL};
    if (!g->mod)
        return true;
    if (!fs_open_dir(store_dirfd(w->env->store), upper, &raw, e))
        return false;
    *s = (StepGoSearch){.word = gomod_step_word(g->mod),
                        .skip = {mods ? path_clean(&w->arena, mods) + 1 : "",
                                 g->shadow && !g->live ? g->shadow + 1 : ""},
                        .fd = raw};
    s->apart = pthread_create(&s->thread, NULL, search_main, s) == 0;
    if (!s->apart)
        (void)search_main(s);
    return true;
}

bool stepgo_found(StepGoSearch *s, bool *ret, Err *e)
{
    *ret = false;
    if (!s->word)
        return true;
    if (s->apart)
        (void)pthread_join(s->thread, NULL);
    close(s->fd);
    *ret = s->found;
    if (s->failed && !e->kind)
        *e = s->e;
    return !s->failed;
}
