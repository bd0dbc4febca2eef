/*
 * registry/conf.h - which servers stand for a registry, and how they are reached. Private to the
 * registry room.
 *
 * One table with four readers: registries.conf (lighter's own and podman's), docker's daemon.json,
 * buildkitd.toml, and what the command line says.
 */
#ifndef REGISTRY_CONF_H
#define REGISTRY_CONF_H

#include "base/json.h"
#include "image/ref.h"

/* Which references a mirror is asked for. */
typedef enum MirrorUse { MIRROR_ALL, MIRROR_DIGESTS, MIRROR_TAGS } MirrorUse;

typedef struct ConfMirror {
    const char *location; /* "host[:port][/path]" */
    bool insecure, plain; /* any certificate or none; http alone */
    MirrorUse use;
} ConfMirror;

/* What is said about registries whose name begins so. */
typedef struct ConfRegistry {
    const char *file;     /* who says it, for messages */
    const char *prefix;   /* "docker.io", "quay.io/team", "*.example.com" */
    const char *location; /* what stands for the prefix; NULL: itself */
    bool insecure, plain, blocked, digests_only;
    ConfMirror *mirrors;
    size_t nmirror, mirror_cap;
    StrList ca;             /* files of buildkitd.toml */
    const char *cert, *key; /* the same */
} ConfRegistry;

typedef struct Conf {
    Arena arena;
    ConfRegistry *v;
    size_t n, cap;
    StrList search;        /* registries of names without one; empty: docker.io */
    StrList insecure_nets; /* "10.0.0.0/8" of daemon.json */
} Conf;

/* One server that may have what a reference means. */
typedef struct Endpoint {
    const char *host; /* host[:port] */
    const char *path; /* of the repository there */
    bool insecure;    /* any certificate, and http where there is none */
    bool plain;       /* http alone */
    bool mirror;      /* others follow */
} Endpoint;

/*
 * conf_load - read all files that are there.
 *
 *   mirrors  "docker.io=HOST[/PATH]" or "HOST", which means docker.io
 *
 * Fails with ERR_USAGE, naming file and line.
 */
NODISCARD bool conf_load(Conf *c, const StrList *mirrors, Err *e);
void conf_done(Conf *c);

/* conf_read - one file of the v2 format by its text, for tests; `own` refuses unknown names. */
NODISCARD bool conf_read(Conf *c, const char *file, const char *text, size_t len, bool own, Err *e);
/* conf_read_daemon, conf_read_buildkitd - the same for docker's and BuildKit's. */
NODISCARD bool conf_read_daemon(Conf *c, const char *file, const char *text, size_t len, Err *e);
NODISCARD bool conf_read_buildkitd(Conf *c, const char *file, const char *text, size_t len, Err *e);

/*
 * conf_endpoints - the servers for a reference: mirrors in their order, then the registry itself.
 *
 *   push  mirrors are left out
 *
 * Fails with ERR_USAGE for what is blocked. Source: containers-registries.conf(5).
 */
NODISCARD bool conf_endpoints(const Conf *c, Arena *a, const ImageRef *ref, bool push,
                              Endpoint **ret, size_t *ret_n, Err *e);

/* What TLS needs for a host. */
typedef struct HostTrust {
    const char *ca_pem;     /* all certificates in one text; NULL: none */
    const char *cert, *key; /* paths, or NULL */
} HostTrust;

/*
 * conf_trust - certificates for a host[:port]: certs.d of podman and docker, buildkitd.toml.
 * Fails with ERR_USAGE: a key without its certificate, a file that cannot be read.
 */
NODISCARD bool conf_trust(const Conf *c, Arena *a, const char *host, HostTrust *ret, Err *e);

/* host_loopback - whether host[:port] is this machine by its very name or address. */
bool host_loopback(const char *host);

#endif
