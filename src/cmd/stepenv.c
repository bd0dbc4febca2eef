/*
 * cmd/stepenv.c - proxies and Go settings for RUN steps.
 */
#include "cmd/stepenv.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "base/fs.h"
#include "base/json.h"
#include "go/go.h"

/* docker's key in config.json, and the variable. */
static const struct {
    const char *key, *name;
} PROXIES[] = {
    {"httpProxy", "HTTP_PROXY"}, {"httpsProxy", "HTTPS_PROXY"}, {"ftpProxy", "FTP_PROXY"},
    {"noProxy", "NO_PROXY"},     {"allProxy", "ALL_PROXY"},
};

/* Programs read one case or the other, so both are set, as docker does. */
static void set_both(Arena *a, StrList *env, const char *name, const char *value)
{
    char *lower = arena_strdup(a, name);
    for (char *c = lower; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (env_get(env, name))
        return;
    env_set(a, env, name, value);
    env_set(a, env, lower, value);
}

static void from_build_args(Arena *a, const StrList *args, StrList *env)
{
    for (size_t i = 0; i < args->n; i++) {
        char *name = arena_strndup(a, args->v[i], strcspn(args->v[i], "="));
        for (size_t k = 0; k < NELEM(PROXIES); k++)
            if (!strcasecmp(name, PROXIES[k].name))
                set_both(a, env, PROXIES[k].name, args->v[i] + strlen(name) + 1);
    }
}

static bool from_docker_config(Arena *a, StrList *env, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    scoped(json) json_t *j = NULL;
    const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
    if ((!dir || !*dir) && (!home || !*home))
        return true;
    const char *path = dir && *dir ? arena_printf(a, "%s/config.json", dir)
                                   : arena_printf(a, "%s/.docker/config.json", home);
    if (access(path, R_OK) < 0)
        return true;
    if (!fs_read_file(AT_FDCWD, path, 4 << 20, &text, e))
        return false;
    Err why = ERR_INIT;
    if (!json_parse(buf_str(&text), text.len, &j, &why))
        return err_set(e, ERR_USAGE, "'%s': %s", path, why.msg);
    const json_t *p = json_object_get(json_object_get(j, "proxies"), "default");
    for (size_t i = 0; i < NELEM(PROXIES); i++) {
        const char *v = json_str(p, PROXIES[i].key);
        if (v && *v)
            set_both(a, env, PROXIES[i].name, v);
    }
    return true;
}

bool step_env(Arena *a, const StrList *build_args, StrList *ret, Err *e)
{
    StrList env = {0}, go = go_caller_env(a);
    from_build_args(a, build_args, &env);
    if (!from_docker_config(a, &env, e))
        return false;
    for (size_t i = 0; i < go.n; i++)
        strlist_add(a, &env, go.v[i]);
    *ret = env;
    return true;
}
