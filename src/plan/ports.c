/*
 * plan/ports.c - port specifications.
 *
 * Source: BuildKit, convert_expose.go: what it accepts and its words. It checks addresses and ports
 * of the host, which then mean nothing.
 */
#include "plan/ports.h"

#include <arpa/inet.h>
#include <ctype.h>

#include "base/rune.h"

/* No instruction names more ports than there are, of three protocols. */
enum { MAX_PORTS = 3 * 65536 };

typedef struct Range {
    unsigned first, last;
} Range;

static bool number(const char *s, size_t n, unsigned *ret)
{
    char text[8];
    uint64_t v;
    if (n && *s == '+') {
        s++;
        n--;
    }
    while (n > 1 && *s == '0') {
        s++;
        n--;
    }
    if (n >= sizeof text)
        return false;
    memcpy(text, s, n);
    text[n] = 0;
    if (!str_u64(text, 65535, &v))
        return false;
    *ret = (unsigned)v;
    return true;
}

/* "80" or "80-90". */
static bool range(const char *s, Range *ret)
{
    size_t n = strcspn(s, "-");
    if (!number(s, n, &ret->first))
        return false;
    ret->last = ret->first;
    return !s[n] || (number(s + n + 1, strlen(s + n + 1), &ret->last) && ret->last >= ret->first);
}

static bool address_ok(char *ip)
{
    struct in6_addr any;
    size_t n = strlen(ip);
    if (*ip == '[') {
        if (ip[n - 1] != ']')
            return false;
        ip[n - 1] = 0;
        ip++;
    }
    return inet_pton(AF_INET, ip, &any) == 1 || inet_pton(AF_INET6, ip, &any) == 1;
}

/* Cut what stands behind the last colon off. */
static char *cut_last(char *s)
{
    char *colon = strrchr(s, ':');
    if (!colon)
        return NULL;
    *colon = 0;
    return colon + 1;
}

static bool refused(const char *spec, const char *why, const char *what, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    buf_quote(&b, spec);
    return err_set(e, ERR_DOCKERFILE, "invalid port: %s: %s%s", buf_str(&b), why, what);
}

static bool host_ok(const char *port, Range inside, const char *host, Err *e)
{
    Range outside;
    if (!*host)
        return true;
    if (!range(host, &outside))
        return err_set(e, ERR_DOCKERFILE, "invalid hostPort: %s", host);
    if (inside.first != inside.last && inside.last - inside.first != outside.last - outside.first)
        return err_set(e, ERR_DOCKERFILE,
                       "invalid ranges specified for container and host Ports: %s and %s", port,
                       host);
    return true;
}

bool port_spec(Arena *a, const char *spec, PortSpec *ret, Err *e)
{
    char *s = arena_strdup(a, spec), *port = cut_last(s), *host = "", *ip = "", *proto;
    Range r;
    if (port) {
        host = cut_last(s);
        ip = host ? s : "";
        host = host ? host : s;
    } else {
        port = s;
    }
    proto = strchr(port, '/');
    if (proto)
        *proto++ = 0;
    if (!*port)
        return refused(spec, "no port specified", "", e);
    *ret = (PortSpec){.mapped = *host || *ip};
    for (char *c = proto; c && *c; c++) {
        ret->upper = ret->upper || isupper((unsigned char)*c);
        *c = (char)tolower((unsigned char)*c);
    }
    ret->proto = proto && *proto ? proto : "tcp";
    if (strcmp(ret->proto, "tcp") != 0 && strcmp(ret->proto, "udp") != 0 &&
        strcmp(ret->proto, "sctp") != 0)
        return refused(spec, "invalid proto: ", spec + (proto - s), e);
    if (*ip && !address_ok(ip))
        return err_set(e, ERR_DOCKERFILE, "invalid IP address: %s", ip);
    if (!range(port, &r))
        return err_set(e, ERR_DOCKERFILE, "invalid containerPort: %s", port);
    ret->first = r.first;
    ret->last = r.last;
    return host_ok(port, r, host, e);
}

bool port_list(Arena *a, const PortSpec *spec, StrList *out, Err *e)
{
    if (out->n + (spec->last - spec->first) >= MAX_PORTS)
        return err_set(e, ERR_DOCKERFILE, "EXPOSE names more than %d ports", MAX_PORTS);
    for (unsigned v = spec->first; v <= spec->last; v++)
        strlist_add(a, out, arena_printf(a, "%u/%s", v, spec->proto));
    return true;
}
