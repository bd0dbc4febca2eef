/*
 * registry/conf.c - the table of registries, and what it says of a reference.
 */
#include "registry/conf.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>

#include "base/fs.h"
#include "registry/conffile.h"

enum { CONF_MAX = 1 << 20, CERT_MAX = 1 << 20 };

static const char HUB[] = "docker.io";
/* Where Docker Hub is really to be had. */
static const char HUB_HOST[] = "registry-1.docker.io";

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static const char *config_home(Arena *a)
{
    return env("XDG_CONFIG_HOME") ? env("XDG_CONFIG_HOME")
                                  : arena_printf(a, "%s/.config", env("HOME") ? env("HOME") : "");
}

void conf_done(Conf *c)
{
    arena_done(&c->arena);
}

/* ---- files ---- */

typedef bool Reader(Conf *c, const char *file, const char *text, size_t len, Err *e);

static bool read_own(Conf *c, const char *file, const char *text, size_t len, Err *e)
{
    return conf_read(c, file, text, len, true, e);
}

static bool read_containers(Conf *c, const char *file, const char *text, size_t len, Err *e)
{
    StrList before = c->search;
    bool ok = conf_read(c, file, text, len, false, e);
    /* A Dockerfile's `FROM golang` means docker's, unless somebody says otherwise to lighter. */
    if (!env("CONTAINERS_REGISTRIES_CONF") || strcmp(env("CONTAINERS_REGISTRIES_CONF"), file) != 0)
        c->search = before;
    return ok;
}

/* A file that is not there, or that we may not see, says nothing. */
static bool read_file(Conf *c, const char *path, Reader *reader, bool *ret_there, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    scoped(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    *ret_there = fd >= 0;
    if (fd < 0)
        return true;
    if (fs_read_all(fd, CONF_MAX, &text, e) &&
        reader(c, arena_strdup(&c->arena, path), buf_str(&text), text.len, e))
        return true;
    e->kind = ERR_USAGE;
    return err_wrap(e, "'%s'", path);
}

/* Files NAME.conf of a directory, in the order of their names. */
static bool read_dir(Conf *c, const char *dir, Err *e)
{
    StrList names = {0};
    scoped(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return true;
    if (!fs_list(&c->arena, fd, &names, e))
        return err_wrap(e, "'%s'", dir);
    for (size_t i = 0; i < names.n; i++) {
        bool there;
        if (str_ends(names.v[i], ".conf") &&
            !read_file(c, arena_printf(&c->arena, "%s/%s", dir, names.v[i]), read_containers,
                       &there, e))
            return false;
    }
    return true;
}

/* podman's: one main file, and pieces beside the user's and the machine's. */
static bool load_containers(Conf *c, Err *e)
{
    const char *home = arena_printf(&c->arena, "%s/containers", config_home(&c->arena));
    bool there = false;
    if (env("CONTAINERS_REGISTRIES_CONF"))
        return read_file(c, env("CONTAINERS_REGISTRIES_CONF"), read_containers, &there, e);
    return read_dir(c, arena_printf(&c->arena, "%s/registries.conf.d", home), e) &&
           read_dir(c, "/etc/containers/registries.conf.d", e) &&
           read_file(c, arena_printf(&c->arena, "%s/registries.conf", home), read_containers,
                     &there, e) &&
           (there || read_file(c, "/etc/containers/registries.conf", read_containers, &there, e));
}

static bool add_mirrors(Conf *c, const StrList *mirrors, Err *e)
{
    for (size_t i = 0; i < mirrors->n; i++) {
        const char *text = mirrors->v[i], *eq = strchr(text, '=');
        const char *prefix =
            eq ? arena_strndup(&c->arena, text, (size_t)(eq - text)) : arena_strdup(&c->arena, HUB);
        ConfMirror m = {0};
        if (!*prefix || !conf_location(&c->arena, eq ? eq + 1 : text, &m.location, &m.plain))
            return err_set(e, ERR_USAGE, "mirror '%s': expected REGISTRY=HOST[:PORT][/PATH]", text);
        m.insecure = m.plain;
        ConfRegistry *r = conf_add(c, "the command line", prefix);
        *ARENA_PUSH(&c->arena, r->mirrors, r->nmirror, r->mirror_cap) = m;
    }
    return true;
}

bool conf_load(Conf *c, const StrList *mirrors, Err *e)
{
    bool there;
    Arena *a = &c->arena;
    return add_mirrors(c, mirrors, e) &&
           read_file(c, arena_printf(a, "%s/lighter/registries.conf", config_home(a)), read_own,
                     &there, e) &&
           read_file(c, "/etc/lighter/registries.conf", read_own, &there, e) &&
           load_containers(c, e) &&
           read_file(c, arena_printf(a, "%s/buildkit/buildkitd.toml", config_home(a)),
                     conf_read_buildkitd, &there, e) &&
           read_file(c, "/etc/buildkit/buildkitd.toml", conf_read_buildkitd, &there, e) &&
           read_file(c, "/etc/docker/daemon.json", conf_read_daemon, &there, e);
}

/* ---- matching ---- */

/* Length of what a row's prefix names of "host/path"; 0: another is meant. */
static size_t match(const char *prefix, const char *name)
{
    size_t n = strlen(prefix), host = strcspn(name, "/");
    if (str_starts(prefix, "*.")) {
        size_t tail = n - 1; /* from the dot on */
        bool whole = !strchr(prefix, '/');
        return whole && host > tail && !strncmp(name + host - tail, prefix + 1, tail) ? host : 0;
    }
    return !strncmp(prefix, name, n) && (!name[n] || name[n] == '/') ? n : 0;
}

/* The row that says most of a name among those of one file kind; rows of earlier files win. */
static const ConfRegistry *best_row(const Conf *c, const char *name, size_t *ret_len)
{
    const ConfRegistry *best = NULL;
    *ret_len = 0;
    for (size_t i = 0; i < c->n; i++) {
        size_t len = match(c->v[i].prefix, name);
        if (len > *ret_len && (c->v[i].location || c->v[i].insecure || c->v[i].plain ||
                               c->v[i].blocked || c->v[i].nmirror)) {
            best = &c->v[i];
            *ret_len = len;
        }
    }
    return best;
}

static bool in_net(const char *net, const char *host)
{
    unsigned char want[16], have[16];
    const char *slash = strchr(net, '/');
    char addr[64], text[64];
    uint64_t bits;
    size_t n = strcspn(host, *host == '[' ? "]" : ":");
    if (!slash || (size_t)(slash - net) >= sizeof addr || n >= sizeof text)
        return false;
    (void)snprintf(addr, sizeof addr, "%.*s", (int)(slash - net), net);
    (void)snprintf(text, sizeof text, "%.*s", (int)n, host);
    const char *bare = *text == '[' ? text + 1 : text;
    int family = strchr(addr, ':') ? AF_INET6 : AF_INET;
    if (!str_u64(slash + 1, family == AF_INET ? 32 : 128, &bits) ||
        inet_pton(family, addr, want) != 1 || inet_pton(family, bare, have) != 1)
        return false;
    for (size_t i = 0; i < bits; i++)
        if ((want[i / 8] ^ have[i / 8]) >> (7 - i % 8) & 1)
            return false;
    return true;
}

bool host_loopback(const char *host)
{
    size_t n = strcspn(host, ":");
    return (n == 9 && !strncasecmp(host, "localhost", 9)) || in_net("127.0.0.0/8", host) ||
           str_starts(host, "[::1]");
}

/* What the table says of a bare host, whoever asks for it. */
static bool host_insecure(const Conf *c, const char *host)
{
    if (host_loopback(host))
        return true;
    for (size_t i = 0; i < c->insecure_nets.n; i++)
        if (in_net(c->insecure_nets.v[i], host))
            return true;
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].insecure && match(c->v[i].prefix, host) == strlen(host))
            return true;
    return false;
}

static bool host_plain(const Conf *c, const char *host)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].plain && match(c->v[i].prefix, host) == strlen(host))
            return true;
    return false;
}

/* ---- endpoints ---- */

typedef struct List {
    Arena *a;
    const Conf *conf;
    Endpoint *v;
    size_t n, cap;
} List;

/* "host[/more]" and what follows the prefix, as an endpoint. */
static void add(List *l, const char *location, const char *rest, Endpoint ep)
{
    const char *full = arena_printf(l->a, "%s%s", location, rest);
    size_t host = strcspn(full, "/");
    ep.host = arena_strndup(l->a, full, host);
    ep.path = full[host] ? full + host + 1 : "";
    ep.plain = ep.plain || host_plain(l->conf, ep.host);
    ep.insecure = ep.insecure || ep.plain || host_insecure(l->conf, ep.host);
    if (!strcmp(ep.host, HUB))
        ep.host = HUB_HOST;
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->v[i].host, ep.host) && !strcmp(l->v[i].path, ep.path))
            return;
    *ARENA_PUSH(l->a, l->v, l->n, l->cap) = ep;
}

static bool wanted(const ConfRegistry *r, const ConfMirror *m, const ImageRef *ref)
{
    MirrorUse use = r->digests_only ? MIRROR_DIGESTS : m->use;
    return use == MIRROR_ALL || (use == MIRROR_DIGESTS) == (ref->digest != NULL);
}

/* Mirrors of every row that says something of the name, the most precise row of each file first. */
static void add_all_mirrors(List *l, const char *name, const ImageRef *ref)
{
    const Conf *c = l->conf;
    bool *done = NEW_N(l->a, bool, c->n + 1);
    for (size_t i = 0; i < c->n; i++) {
        size_t best = i, best_len = 0;
        if (done[i])
            continue;
        for (size_t k = i; k < c->n; k++) {
            if (strcmp(c->v[k].file, c->v[i].file) != 0)
                continue;
            done[k] = true;
            size_t len = match(c->v[k].prefix, name);
            if (len > best_len && c->v[k].nmirror) {
                best = k;
                best_len = len;
            }
        }
        const ConfRegistry *r = &c->v[best];
        for (size_t k = 0; best_len && k < r->nmirror; k++)
            if (wanted(r, &r->mirrors[k], ref))
                add(l, r->mirrors[k].location, name + best_len,
                    (Endpoint){.insecure = r->mirrors[k].insecure,
                               .plain = r->mirrors[k].plain,
                               .mirror = true});
    }
}

bool conf_endpoints(const Conf *c, Arena *a, const ImageRef *ref, bool push, Endpoint **ret,
                    size_t *ret_n, Err *e)
{
    const char *name = arena_printf(a, "%s/%s", ref->domain, ref->path);
    List l = {.a = a, .conf = c};
    size_t len;
    const ConfRegistry *r = best_row(c, name, &len);
    if (r && r->blocked)
        return err_set(e, ERR_USAGE, "'%s' is blocked by '%s'", name, r->file);
    if (!push)
        add_all_mirrors(&l, name, ref);
    Endpoint own = {.insecure = r && r->insecure, .plain = r && r->plain};
    if (r && r->location)
        add(&l, r->location, name + len, own);
    else
        add(&l, name, "", own);
    if (l.n)
        l.v[l.n - 1].mirror = false;
    *ret = l.v;
    *ret_n = l.n;
    return true;
}

/* ---- certificates ---- */

typedef struct Certs {
    Arena *a;
    const char *dir;
    int dirfd;
    StrList names;
    Buf pem;
    HostTrust trust;
    Err *e;
} Certs;

static bool has(const Certs *x, const char *stem, const char *suffix)
{
    for (size_t i = 0; i < x->names.n; i++) {
        size_t n = strlen(stem);
        if (!strncmp(x->names.v[i], stem, n) && !strcmp(x->names.v[i] + n, suffix))
            return true;
    }
    return false;
}

/* A name of a certs.d directory: *.crt is an authority, *.cert and *.key say who we are. */
static bool take_cert(Certs *x, const char *name)
{
    const char *dot = strrchr(name, '.');
    if (!dot)
        return true;
    const char *stem = arena_strndup(x->a, name, (size_t)(dot - name));
    if (!strcmp(dot, ".crt"))
        return fs_read_file(x->dirfd, name, CERT_MAX, &x->pem, x->e) &&
               (buf_putc(&x->pem, '\n'), true);
    if (!strcmp(dot, ".cert") && !has(x, stem, ".key"))
        return err_set(x->e, ERR_USAGE, "'%s/%s' has no key: '%s.key' is missing", x->dir, name,
                       stem);
    if (!strcmp(dot, ".key") && !has(x, stem, ".cert"))
        return err_set(
            x->e, ERR_USAGE,
            "'%s/%s' has no certificate: '%s.cert' is missing (a '.crt' is an authority)", x->dir,
            name, stem);
    if (!strcmp(dot, ".cert") && !x->trust.cert) {
        x->trust.cert = arena_printf(x->a, "%s/%s", x->dir, name);
        x->trust.key = arena_printf(x->a, "%s/%s.key", x->dir, stem);
    }
    return true;
}

static bool take_dir(Certs *x, const char *dir)
{
    scoped(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return true;
    x->dir = dir;
    x->dirfd = fd;
    x->names = (StrList){0};
    if (!fs_list(x->a, fd, &x->names, x->e))
        return err_wrap(x->e, "'%s'", dir);
    for (size_t i = 0; i < x->names.n; i++)
        if (!take_cert(x, x->names.v[i]))
            return false;
    return true;
}

static bool take_row(Certs *x, const ConfRegistry *r)
{
    for (size_t i = 0; i < r->ca.n; i++) {
        if (!fs_read_file(AT_FDCWD, r->ca.v[i], CERT_MAX, &x->pem, x->e))
            return err_wrap(x->e, "'%s'", r->file);
        buf_putc(&x->pem, '\n');
    }
    if (!x->trust.cert) {
        x->trust.cert = r->cert;
        x->trust.key = r->key;
    }
    return true;
}

bool conf_trust(const Conf *c, Arena *a, const char *host, HostTrust *ret, Err *e)
{
    const char *name = strcmp(host, HUB_HOST) != 0 ? host : HUB;
    const char *dirs[] = {
        arena_printf(a, "%s/containers/certs.d/%s", config_home(a), name),
        arena_printf(a, "%s/docker/certs.d/%s", config_home(a), name),
        arena_printf(a, "/etc/containers/certs.d/%s", name),
        arena_printf(a, "/etc/docker/certs.d/%s", name),
    };
    Certs x = {.a = a, .pem = BUF_INIT, .e = e};
    bool ok = true;
    for (size_t i = 0; ok && i < NELEM(dirs); i++)
        ok = take_dir(&x, dirs[i]);
    for (size_t i = 0; ok && i < c->n; i++)
        if (match(c->v[i].prefix, name) == strlen(name))
            ok = take_row(&x, &c->v[i]);
    if (ok && x.pem.len)
        x.trust.ca_pem = arena_strndup(a, x.pem.ptr, x.pem.len);
    buf_done(&x.pem);
    if (ok)
        *ret = x.trust;
    else
        e->kind = ERR_USAGE;
    return ok || err_wrap(e, "certificates for '%s'", host);
}
