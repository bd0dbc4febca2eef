/*
 * cmd/remote.c - options to a client of registries.
 */
#include "cmd/remote.h"

#include <stdlib.h>

#include "net/net.h"

static bool offline(const RemoteOpts *o, bool *ret, Err *e)
{
    const char *env = getenv("LIGHTER_OFFLINE");
    *ret = o->offline;
    if (!env || !*env || *ret)
        return true;
    return str_bool(env, ret) ||
           err_set(e, ERR_USAGE, "LIGHTER_OFFLINE=%s: neither true nor false", env);
}

bool remote_new(const RemoteOpts *o, EventSink sink, Registry **ret, Err *e)
{
    bool alone;
    if (!offline(o, &alone, e))
        return false;
    if (o->authfile && !*o->authfile)
        return err_set(e, ERR_USAGE, "--authfile needs a path");
    if (alone)
        net_forbid();
    *ret = registry_new(&(RegistryOpts){.authfile = o->authfile,
                                        .mirrors = o->mirrors,
                                        .any_tls = o->any_tls || o->insecure,
                                        .sink = sink});
    return true;
}
