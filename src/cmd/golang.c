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
    return check_word("go-gateway", o->gateway, e);
}

void go_begin(const GoOpts *o, StepsEnv *env)
{
    GomodOpts opts = {.offline = o->offline, .sink = env->sink};
    if (!is_off(o->gateway))
        env->gomod = gomod_new(env->store, &opts);
}

void go_over(StepsEnv *env)
{
    gomod_free(env->gomod);
    env->gomod = NULL;
}
