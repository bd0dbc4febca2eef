/*
 * plan/ports.c - port specifications.
 */
#include "plan/ports.h"

#include <ctype.h>

bool port_spec(Arena *a, const char *spec, StrList *out, Err *e)
{
    char *s = arena_strdup(a, spec), *slash = strchr(s, '/');
    const char *proto = "tcp";
    if (slash) {
        *slash = 0;
        for (char *c = slash + 1; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        proto = slash[1] ? slash + 1 : "tcp";
    }
    if (strcmp(proto, "tcp") != 0 && strcmp(proto, "udp") != 0 && strcmp(proto, "sctp") != 0)
        return err_set(e, ERR_DOCKERFILE, "invalid port '%s': unknown protocol '%s'", spec, proto);
    char *colon = strrchr(s, ':');
    char *port = colon ? colon + 1 : s;
    char *dash = strchr(port, '-');
    uint64_t first, last;
    if (dash)
        *dash = 0;
    if (!str_u64(port, 65535, &first) || !str_u64(dash ? dash + 1 : port, 65535, &last) ||
        last < first)
        return err_set(e, ERR_DOCKERFILE, "invalid containerPort: %s", spec);
    for (uint64_t v = first; v <= last; v++)
        strlist_add(a, out, arena_printf(a, "%u/%s", (unsigned)v, proto));
    return true;
}
