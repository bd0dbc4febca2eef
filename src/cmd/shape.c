/*
 * cmd/shape.c - the words of options that shape a command, as the sandbox takes them.
 */
#include "cmd/shape.h"

#include <arpa/inet.h>
#include <sys/resource.h>

/* "1.2.3.4", "::1" or "[::1]", written the short way. */
static bool address(const char *text, char out[static INET6_ADDRSTRLEN])
{
    char bare[INET6_ADDRSTRLEN];
    unsigned char bytes[sizeof(struct in6_addr)];
    size_t n = strlen(text);
    bool brackets = n > 2 && text[0] == '[' && text[n - 1] == ']';
    if (n - (brackets ? 2 : 0) >= sizeof bare)
        return false;
    (void)snprintf(bare, sizeof bare, "%.*s", (int)(brackets ? n - 2 : n), text + brackets);
    int family = strchr(bare, ':') ? AF_INET6 : AF_INET;
    return (family == AF_INET6 || !brackets) && inet_pton(family, bare, bytes) == 1 &&
           inet_ntop(family, bytes, out, INET6_ADDRSTRLEN) != NULL;
}

/* NAME:IP or NAME=IP. A name is what may stand in a line of hosts(5). */
static bool add_host(Arena *a, const char *text, SandboxShape *s, Err *e)
{
    char ip[INET6_ADDRSTRLEN];
    size_t n = strcspn(text, "=");
    if (!text[n])
        n = strcspn(text, ":");
    if (!n || !text[n] || !text[n + 1])
        return err_set(e, ERR_USAGE, "--add-host '%s': expected NAME:IP", text);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == '#' || text[i] == 0x7f)
            return err_set(e, ERR_USAGE, "--add-host '%s': '%.*s' is no host name", text, (int)n,
                           text);
    if (!strcmp(text + n + 1, "host-gateway"))
        return err_set(e, ERR_USAGE,
                       "--add-host %s: host-gateway is not supported: steps have the caller's "
                       "network, so 127.0.0.1 is the host",
                       text);
    if (!address(text + n + 1, ip))
        return err_set(e, ERR_USAGE, "--add-host %s: '%s' is no IP address", text, text + n + 1);
    strlist_add(a, &s->hosts, arena_printf(a, "%s\t%.*s", ip, (int)n, text));
    return true;
}

/* One of each type, the last one given; sorted, so that their order is not in a key. */
static bool read_ulimits(Arena *a, const StrList *texts, SandboxShape *s, Err *e)
{
    SandboxUlimit given[RLIM_NLIMITS], *v = NEW_N(a, SandboxUlimit, RLIM_NLIMITS);
    bool is_given[RLIM_NLIMITS] = {false};
    for (size_t i = 0; i < texts->n; i++) {
        SandboxUlimit u = {0};
        if (!sandbox_ulimit_parse(a, texts->v[i], &u, e))
            return false;
        given[u.resource] = u;
        is_given[u.resource] = true;
    }
    for (size_t i = 0; i < RLIM_NLIMITS; i++)
        if (is_given[i])
            v[s->nulimit++] = given[i];
    s->ulimits = v;
    return true;
}

bool shape_read(Arena *a, const ShapeOpts *o, SandboxShape *ret, Err *e)
{
    SandboxShape s = {0};
    for (size_t i = 0; i < o->add_hosts.n; i++)
        if (!add_host(a, o->add_hosts.v[i], &s, e))
            return false;
    if (o->shm_size && !str_ram_size(o->shm_size, &s.shm_size))
        return err_set(e, ERR_USAGE, "--shm-size %s: expected a size as in 64m", o->shm_size);
    if (!read_ulimits(a, &o->ulimits, &s, e) || !sandbox_check_ulimits(&s, e))
        return false;
    *ret = s;
    return true;
}

bool shape_network(const char *word, SandboxNet *ret, Err *e)
{
    static const struct {
        const char *word;
        SandboxNet net;
    } WORDS[] = {{"default", SANDBOX_NET_HOST},
                 {"host", SANDBOX_NET_HOST},
                 {"none", SANDBOX_NET_NONE},
                 {"passt", SANDBOX_NET_USER},
                 {"pasta", SANDBOX_NET_USER}};
    *ret = SANDBOX_NET_HOST;
    for (size_t i = 0; i < NELEM(WORDS); i++) {
        if (word && strcmp(word, WORDS[i].word) != 0)
            continue;
        *ret = WORDS[i].net;
        return true;
    }
    return err_set(e, ERR_USAGE, "--network=%s: expected default, host, none or passt", word);
}
