/*
 * steps/goplan.c - may a step's GOCACHE be kept apart from its root? From the plan alone, for the
 * answer is in the step's key.
 *
 * A GOCACHE stays in the layer where anybody could see it: in the image, by a COPY --from or a
 * mount that takes a directory it is in, by a command of the stage that speaks of such a directory.
 */
#include "base/fs.h"
#include "steps/golang.h"

/* ---- commands ---- */

static const char *const BREAKS = " \t\r\n;|&()<>\"'`=:,";

static bool is_one_of(Str word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(word, words[i]))
            return true;
    return false;
}

/* What runs go, or may do so. */
static bool is_go_word(const char *w, size_t n)
{
    static const char *const WORDS[] = {"go",   "make", "xx-go",      "gmake", "just",
                                        "task", "mage", "goreleaser", "garble"};
    const char *base = memrchr(w, '/', n);
    Str name = base ? (Str){base + 1, n - (size_t)(base + 1 - w)} : (Str){w, n};
    return is_one_of(name, WORDS, NELEM(WORDS)) || (n > 2 && !memcmp(w, "./", 2)) ||
           (n > 3 && !memcmp(w + n - 3, ".sh", 3));
}

/* The directory that a word names: "/root/", all in it, "~", "$HOME". */
static bool is_above(const char *w, size_t n, const char *path)
{
    while (n > 1 && (w[n - 1] == '*' || w[n - 1] == '.' || w[n - 1] == '/'))
        n--;
    if (!n)
        return false;
    if (*w == '~' || (n >= 5 && !memcmp(w, "$HOME", 5)) || (n >= 7 && !memcmp(w, "${HOME}", 7)))
        return !memchr(w, '/', n);
    if (n == 1 && *w == '/')
        return true;
    size_t len = strlen(path);
    return n <= len ? !memcmp(w, path, n) && (path[n] == '/' || !path[n])
                    : !memcmp(w, path, len) && w[len] == '/';
}

typedef struct Words {
    bool go, above;
} Words;

static void read_words(const char *text, const char *path, Words *ret)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, BREAKS);
        ret->go = ret->go || is_go_word(p, n);
        ret->above = ret->above || (path && n && is_above(p, n, path));
        p += n;
        p += *p != 0;
    }
}

static Words words_of(const PlanRun *r, const char *path)
{
    Words w = {false, false};
    for (size_t i = 0; i < r->argv.n; i++)
        read_words(r->argv.v[i], path, &w);
    if (r->script_text)
        read_words(r->script_text, path, &w);
    return w;
}

bool go_is_download(const PlanRun *r)
{
    const char *last = r->argv.n ? r->argv.v[r->argv.n - 1] : "";
    return !r->script && (!strcmp(last, "go mod download") || !strcmp(last, "go mod download -x"));
}

/* Would this command see what is in GOCACHE, or that it is there? */
static bool speaks_of(const PlanRun *r, const char *path)
{
    static const char *const NAMES[] = {"GOCACHE", "XDG_CACHE_HOME", ".cache", "go-build",
                                        "go clean"};
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (go_named(r, NAMES[i]))
            return true;
    return words_of(r, path).above;
}

/* ---- where it is ---- */

static const char *home_of(const PlanRun *r)
{
    const char *home = env_get(&r->env, "HOME");
    bool root = !*r->user || !strcmp(r->user, "root") || !strcmp(r->user, "0") ||
                str_starts(r->user, "root:") || str_starts(r->user, "0:");
    return home ? home : root ? "/root" : NULL;
}

static const char *gocache_of(Arena *a, const PlanRun *r)
{
    const char *own = env_get(&r->env, "GOCACHE"), *xdg = env_get(&r->env, "XDG_CACHE_HOME"),
               *home = home_of(r);
    const char *path = own && *own     ? own
                       : xdg && *xdg   ? arena_printf(a, "%s/go-build", xdg)
                       : home && *home ? arena_printf(a, "%s/.cache/go-build", home)
                                       : NULL;
    if (!path || *path != '/' || strcmp(path_clean(a, path), path) != 0)
        return NULL;
    return strchr(path + 1, '/') ? path : NULL;
}

/* ---- who sees it ---- */

/* Does taking `source` take what is at `path`, or a part of it? */
static bool covers(Arena *a, const PlanSource *s, const char *path)
{
    const char *text = path_clean(a, arena_printf(a, "/%s", s->path.text));
    size_t n = strcspn(text, "*?[\\");
    if (text[n]) /* a pattern: what lies beside it may match */
        while (n > 1 && text[n - 1] != '/')
            n--;
    while (n > 1 && text[n - 1] == '/')
        n--;
    size_t len = strlen(path);
    if (n <= 1)
        return true;
    return n <= len ? !memcmp(text, path, n) && (path[n] == '/' || !path[n])
                    : !memcmp(text, path, len) && text[len] == '/';
}

static bool step_sees(Arena *a, const PlanStep *s, const bool *has, const char *path, bool over)
{
    for (size_t i = 0; s->kind == STEP_COPY && i < s->u.copy.nsource; i++) {
        const PlanSource *p = &s->u.copy.sources[i];
        if (p->origin == PLAN_STEP && has[p->index] && covers(a, p, path))
            return true;
    }
    for (size_t i = 0; s->kind == STEP_RUN && i < s->u.run.nmount; i++) {
        const PlanSource *p = &s->u.run.mounts[i].source;
        if (p->origin == PLAN_STEP && has[p->index] && covers(a, p, path))
            return true;
    }
    return over && s->kind == STEP_RUN && speaks_of(&s->u.run, path);
}

static bool is_seen(Arena *a, const StepsEnv *env, size_t istep, const char *path)
{
    const Plan *p = env->plan;
    bool *has = NEW_N(a, bool, p->nstep);
    has[istep] = true;
    for (size_t i = istep + 1; i < p->nstep; i++) {
        const PlanStep *s = &p->steps[i];
        bool over = s->ninput && has[s->inputs[0]] && s->kind != STEP_FROM;
        if (step_sees(a, s, has, path, over))
            return true;
        has[i] = over;
    }
    for (size_t i = 0; i < env->nkept; i++)
        if (has[env->kept[i]])
            return true;
    return has[p->result];
}

bool go_mounted(const PlanRun *r, const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < r->nmount; i++) {
        const char *t = r->mounts[i].target;
        size_t n = t ? strlen(t) : 0;
        if (t && (n <= len ? !memcmp(t, path, n) && (path[n] == '/' || !path[n] || n == 1)
                           : !memcmp(t, path, len) && t[len] == '/'))
            return true;
    }
    return false;
}

const char *go_lent_path(Arena *a, const StepsEnv *env, const PlanStep *s, bool *ret_seen)
{
    const PlanRun *r = &s->u.run;
    if (!env->go_scope || env->host.mode == MODE_CHROOT || s->kind != STEP_RUN ||
        go_is_download(r) || !words_of(r, NULL).go)
        return NULL;
    const char *path = gocache_of(a, r);
    if (!path || speaks_of(r, path) || go_mounted(r, path)) /* the user's own cache */
        return NULL;
    *ret_seen = is_seen(a, env, (size_t)(s - env->plan->steps), path);
    return path;
}

/* The next word of a command, and what is behind it. */
static Str next_word(const char **p)
{
    *p += strspn(*p, " \t");
    Str word = {*p, strcspn(*p, " \t\r\n;&|()<>`\"'$")};
    *p += word.len;
    return word;
}

/* One command: go with what builds, or what changes nothing but the shell. `go list -m` would tell
 * which modules are unpacked already. With `builds` it does not run what it has built either. */
static bool is_harmless(const char **p, bool builds)
{
    static const char *const SHELL[] = {"cd", "set", "export", "mkdir", "echo", "true", ":"};
    static const char *const GO[] = {"build", "install", "vet", "version"};
    static const char *const RUNS[] = {"test", "run", "generate"};
    Str word = next_word(p);
    while (word.len && memchr(word.ptr, '=', word.len) && (**p == ' ' || **p == '\t'))
        word = next_word(p); /* CGO_ENABLED=0 go build */
    if (!str_eq(word, "go"))
        return is_one_of(word, SHELL, NELEM(SHELL));
    word = next_word(p);
    return is_one_of(word, GO, NELEM(GO)) || (!builds && is_one_of(word, RUNS, NELEM(RUNS)));
}

/* The rest of a command; false when another command is in it, or behind a pipe. */
static bool skip_rest(const char **p)
{
    for (; **p && !strchr("\n;&|", **p); (*p)++)
        if (**p == '`' || (**p == '$' && (*p)[1] == '('))
            return false;
    return **p != '|' || (*p)[1] == '|';
}

/* Whether a text is such commands, one after the other. */
static bool is_go_alone(const PlanRun *r, bool builds)
{
    const char *p = r->argv.n ? r->argv.v[r->argv.n - 1] : "";
    while (*(p += strspn(p, " \t\r\n;&|")))
        if (!is_harmless(&p, builds) || !skip_rest(&p))
            return false;
    return true;
}

bool go_is_plain(const PlanRun *r)
{
    static const char *const SHELLS[] = {"sh", "bash", "ash", "dash"};
    static const char *const RUNS[] = {"toolexec", "vettool"};
    const char *flags = env_get(&r->env, "GOFLAGS");
    for (size_t i = 0; i < NELEM(RUNS); i++)
        if (go_named(r, RUNS[i]) || (flags && strstr(flags, RUNS[i])))
            return false;
    return go_is_download(r) || (!r->script && r->argv.n == 3 && !strcmp(r->argv.v[1], "-c") &&
                                 is_one_of(str_c(path_base(r->argv.v[0])), SHELLS, NELEM(SHELLS)) &&
                                 is_go_alone(r, true));
}

bool go_may_unpack(Arena *a, const StepsEnv *env, const PlanStep *s, const char *cache)
{
    static const char *const NAMES[] = {"GOMODCACHE", "GOPATH", "GOFLAGS", "modcache", "-mod"};
    const PlanRun *r = &s->u.run;
    Words words = words_of(r, cache);
    if (!words.go || words.above || r->script)
        return false;
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (go_named(r, NAMES[i]))
            return false;
    return is_go_alone(r, false) || !is_seen(a, env, (size_t)(s - env->plan->steps), cache);
}

const char *go_shadow_path(Arena *a, const StepsEnv *env, const PlanStep *s)
{
    bool seen;
    const char *path = go_lent_path(a, env, s, &seen);
    return path && !seen ? path : NULL;
}
