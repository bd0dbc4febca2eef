/*
 * cmd/golang.c - options of `lighter build` for steps that run Go.
 */
#include "cmd/golang.h"

static bool is_off(const char *word)
{
    return word && !strcmp(word, "off");
}

static bool check_word(const char *option, const char *word, Err *e)
{
    return !word || is_off(word) || !strcmp(word, "on") ||
           err_set(e, ERR_USAGE, "--%s=%s: expected on or off", option, word);
}

bool go_check(const GoOpts *o, Err *e)
{
    if (is_off(o->gateway) && o->offline)
        return err_set(e, ERR_USAGE, "--go-offline needs the module store: --go-gateway=on");
    return check_word("go-gateway", o->gateway, e) && check_word("go-parts", o->parts, e) &&
           check_word("go-cache", o->cache, e);
}

void go_begin(const GoOpts *o, StepsEnv *env)
{
    GomodOpts opts = {.offline = o->offline, .sink = env->sink};
    if (!is_off(o->gateway))
        env->gomod = gomod_new(env->store, &opts);
    env->go_parts = !is_off(o->parts);
}

void go_scope(const GoOpts *o, Arena *a, StepsEnv *env)
{
    if (!is_off(o->cache)) /* the context alone: a project may have several Dockerfiles */
        env->go_scope = arena_strndup(a, env->scope, strcspn(env->scope, "\n"));
}

void go_over(StepsEnv *env)
{
    env->go_fresh = true;
    gomod_free(env->gomod);
    env->gomod = NULL;
}
