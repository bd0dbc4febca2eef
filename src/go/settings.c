/*
 * go/settings.c - environment and files to the settings of a go command.
 */
#include "go/settings.h"

#include <stdlib.h>

#include "base/fs.h"
#include "go/module.h"

enum { ENV_FILE_MAX = 1 << 20 };

StrList go_env_text(Arena *a, GoEnvFile file, Str text)
{
    StrList l = {0};
    for (size_t at = 0; at < text.len;) {
        const char *line = text.ptr + at, *nl = memchr(line, '\n', text.len - at);
        size_t n = nl ? (size_t)(nl - line) : text.len - at;
        at += n + 1;
        const char *eq = memchr(line, '=', n);
        if (!eq || line[0] < 'A' || line[0] > 'Z' || memchr(line, 0, n))
            continue;
        const char *name = arena_strndup(a, line, (size_t)(eq - line));
        if (file == GO_ENV_USER || !env_get(&l, name))
            env_set(a, &l, name, arena_strndup(a, eq + 1, n - (size_t)(eq + 1 - line)));
    }
    return l;
}

static const char *set(const StrList *env, const char *name)
{
    const char *v = env_get(env, name);
    return v && *v ? v : NULL;
}

/* $XDG_..., else a directory below the home; NULL when neither can be used. */
static const char *user_dir(Arena *a, const StrList *env, const char *xdg, const char *below_home)
{
    const char *dir = set(env, xdg), *home = set(env, "HOME");
    if (dir)
        return *dir == '/' ? dir : NULL;
    return home ? arena_printf(a, "%s/%s", home, below_home) : NULL;
}

const char *go_env_path(Arena *a, const StrList *env)
{
    const char *goenv = set(env, "GOENV"), *config = user_dir(a, env, "XDG_CONFIG_HOME", ".config");
    if (goenv)
        return strcmp(goenv, "off") != 0 ? goenv : NULL;
    return config ? path_join(a, config, "go/env") : NULL;
}

/* Where the go command would stop at a relative path, there is none. */
static const char *absolute(const char *path)
{
    return *path == '/' ? path : NULL;
}

/* The four places of one setting, in their order. */
typedef struct Places {
    const StrList *env, *user, *goroot;
} Places;

static const char *find(const Places *p, const char *name, const char *otherwise)
{
    const char *v = set(p->env, name);
    if (!v)
        v = env_get(p->user, name); /* set to nothing, it hides what GOROOT says */
    if (!v)
        v = env_get(p->goroot, name);
    return v && *v ? v : otherwise;
}

static const char *module_cache(Arena *a, const Places *p)
{
    const char *home = set(p->env, "HOME"), *dir = find(p, "GOMODCACHE", NULL);
    const char *gopath = find(p, "GOPATH", home ? path_join(a, home, "go") : "");
    const char *first = arena_strndup(a, gopath, strcspn(gopath, ":"));
    if (!dir && *first)
        dir = path_join(a, first, "pkg/mod");
    return dir ? absolute(dir) : NULL;
}

static const char *build_cache(Arena *a, const Places *p)
{
    const char *dir = find(p, "GOCACHE", NULL),
               *cache = user_dir(a, p->env, "XDG_CACHE_HOME", ".cache");
    if (dir && !strcmp(dir, "off"))
        return dir;
    if (!dir && cache)
        dir = path_join(a, cache, "go-build");
    return dir ? absolute(dir) : NULL;
}

void go_settings(Arena *a, const StrList *env, const StrList *user, const StrList *goroot,
                 GoSettings *ret)
{
    Places p = {env, user, goroot};
    const char *goprivate = find(&p, "GOPRIVATE", "");
    *ret = (GoSettings){
        .goproxy = find(&p, "GOPROXY", "https://proxy.golang.org,direct"),
        .gosumdb = find(&p, "GOSUMDB", "sum.golang.org"),
        .goprivate = goprivate,
        .gonoproxy = find(&p, "GONOPROXY", goprivate),
        .gonosumdb = find(&p, "GONOSUMDB", goprivate),
        .goinsecure = find(&p, "GOINSECURE", ""),
        .goflags = find(&p, "GOFLAGS", ""),
        .gotoolchain = find(&p, "GOTOOLCHAIN", ""),
        .gomodcache = module_cache(a, &p),
        .gocache = build_cache(a, &p),
    };
}

bool go_uses_sumdb(const GoSettings *s, const char *path)
{
    /* A toolchain is in no go.sum; only somebody who tests one of his own serves it from a file. */
    if (!strcmp(path, "golang.org/toolchain") &&
        !(str_starts(s->goproxy, "file://") && !strpbrk(s->goproxy, ",|")))
        return true;
    return strcmp(s->gosumdb, "off") != 0 && !go_path_private(s->gonosumdb, path);
}

bool go_is_private(const GoSettings *s, const char *path)
{
    return go_path_private(s->goprivate, path) || go_path_private(s->gonoproxy, path) ||
           go_path_private(s->gonosumdb, path);
}

/* ---- the caller's own ---- */

static StrList caller_file(Arena *a)
{
    static const char *const NAMES[] = {"GOENV", "XDG_CONFIG_HOME", "HOME"};
    scoped(buf) Buf text = BUF_INIT;
    Err ignored = ERR_INIT;
    StrList env = {0};
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (getenv(NAMES[i]))
            env_set(a, &env, NAMES[i], getenv(NAMES[i]));
    const char *path = go_env_path(a, &env);
    if (!path || !fs_read_file(AT_FDCWD, path, ENV_FILE_MAX, &text, &ignored))
        return (StrList){0};
    return go_env_text(a, GO_ENV_USER, (Str){buf_str(&text), text.len});
}

StrList go_caller_env(Arena *a)
{
    static const char *const NAMES[] = {"GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY",
                                        "GONOSUMDB"};
    StrList file = caller_file(a), out = {0};
    for (size_t i = 0; i < NELEM(NAMES); i++) {
        const char *v = getenv(NAMES[i]);
        if (!v || !*v)
            v = env_get(&file, NAMES[i]);
        if (v && *v)
            env_set(a, &out, NAMES[i], v);
    }
    return out;
}
