/*
 * cmd/rights.c - what --network and --allow let steps have.
 */
#include "cmd/buildrun.h"

/* docker's words; what only other builders can grant is refused by its name. */
static bool allow(Build *b, const char *word)
{
    if (!strcmp(word, "network.host"))
        b->plan_opts.allow_network_host = true;
    else if (!strcmp(word, "security.insecure"))
        b->plan_opts.allow_insecure = true;
    else
        return err_set(b->e, ERR_USAGE, "--allow %s: expected network.host or security.insecure",
                       word);
    return true;
}

bool rights_read(Build *b)
{
    for (size_t i = 0; i < b->opts->allow.n; i++)
        if (!allow(b, b->opts->allow.v[i]))
            return false;
    SandboxNet net;
    if (!shape_network(b->opts->network, &net, b->e))
        return false;
    b->plan_opts.network = net == SANDBOX_NET_NONE   ? PLAN_NET_NONE
                           : net == SANDBOX_NET_USER ? PLAN_NET_USER
                                                     : PLAN_NET_HOST;
    return true;
}
