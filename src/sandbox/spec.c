/*
 * sandbox/spec.c - the spec as bytes.
 */
#include "sandbox/spec.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include "base/fs.h"
#include "base/owner.h"

enum { SPEC_MAX_SIZE = 64 << 20, FILES_MAX_SIZE = 32 << 20, MAX_MOUNTS = 1024 };

static void put_u32(Buf *b, uint32_t v)
{
    buf_add(b, &v, sizeof v);
}

static void put_text(Buf *b, const char *s)
{
    size_t n = s ? strlen(s) : 0;
    put_u32(b, (uint32_t)n);
    buf_add(b, s ? s : "", n + 1);
}

static void put_list(Buf *b, const StrList *l)
{
    put_u32(b, (uint32_t)l->n);
    for (size_t i = 0; i < l->n; i++)
        put_text(b, l->v[i]);
}

static void put_u64(Buf *b, uint64_t v)
{
    put_u32(b, (uint32_t)(v >> 32));
    put_u32(b, (uint32_t)v);
}

static void put_shape(Buf *b, const SandboxShape *s)
{
    put_list(b, &s->hosts);
    put_u64(b, s->shm_size);
    put_u32(b, (uint32_t)s->nulimit);
    for (size_t i = 0; i < s->nulimit; i++) {
        put_u32(b, (uint32_t)s->ulimits[i].resource);
        put_u64(b, s->ulimits[i].soft);
        put_u64(b, s->ulimits[i].hard);
    }
}

static void put_mount(Buf *b, const SandboxMount *m)
{
    uint32_t nbyte = m->kind == SANDBOX_FILE ? (uint32_t)m->size : 0;
    put_u32(b, m->kind);
    put_text(b, m->target);
    put_u32(b, m->readonly);
    put_text(b, m->source);
    put_list(b, &m->lowers);
    put_text(b, m->sub);
    put_u64(b, m->size);
    put_u32(b, m->mode);
    put_u32(b, m->uid);
    put_u32(b, m->gid);
    put_u32(b, nbyte);
    buf_add(b, m->bytes, nbyte);
}

static bool check_size(const SandboxSpec *s, Err *e)
{
    uint64_t size = 0;
    for (size_t i = 0; i < s->nmount; i++) {
        const SandboxMount *m = &s->mounts[i];
        if (m->kind == SANDBOX_FILE &&
            (m->size > FILES_MAX_SIZE || (size += m->size) > FILES_MAX_SIZE))
            return err_set(e, ERR_STEP,
                           "mounts of files in memory: more than %d bytes for one step",
                           FILES_MAX_SIZE);
    }
    if (s->nmount > MAX_MOUNTS)
        return err_set(e, ERR_STEP, "%zu mounts for one step: more than %d", s->nmount, MAX_MOUNTS);
    return true;
}

/* The order of fields here and in spec_read is the format; both ends are the same program. */
bool spec_write(const SandboxSpec *s, int *ret_fd, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    if (!check_size(s, e))
        return false;
    put_u32(&b, s->in_userns);
    put_u32(&b, s->copied);
    put_u32(&b, s->readonly);
    put_u32(&b, s->interactive);
    put_u32(&b, s->no_input);
    put_u32(&b, s->tty);
    put_u32(&b, owners_remembered());
    put_u32(&b, s->fast_owners);
    put_u32(&b, s->insecure);
    put_u32(&b, sandbox_limits_any(s->limits));
    put_list(&b, &s->lowers);
    put_text(&b, s->upper);
    put_text(&b, s->scratch);
    put_text(&b, s->points);
    put_list(&b, &s->argv);
    put_list(&b, &s->env);
    put_text(&b, s->cwd);
    put_text(&b, s->user);
    put_text(&b, s->hostname);
    put_u32(&b, s->net);
    put_u32(&b, s->listen_port);
    put_list(&b, &s->watch);
    put_shape(&b, &s->shape);
    put_u32(&b, (uint32_t)s->nmount);
    for (size_t i = 0; i < s->nmount; i++)
        put_mount(&b, &s->mounts[i]);
    scoped(fd) int fd = memfd_create("lighter-step", MFD_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_ENV, "memfd_create");
    if (!fs_write_all(fd, b.ptr, b.len, e))
        return false;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return err_errno(e, ERR_ENV, "rewind the step's description");
    *ret_fd = fd_take(&fd);
    return true;
}

typedef struct Cursor {
    const char *p, *end;
    bool bad;
} Cursor;

static uint32_t get_u32(Cursor *c)
{
    uint32_t v = 0;
    if ((size_t)(c->end - c->p) < sizeof v) {
        c->bad = true;
        return 0;
    }
    memcpy(&v, c->p, sizeof v);
    c->p += sizeof v;
    return v;
}

static uint64_t get_u64(Cursor *c)
{
    uint64_t high = get_u32(c);
    return high << 32 | get_u32(c);
}

static const char *get_text(Cursor *c, Arena *a)
{
    uint32_t n = get_u32(c);
    if (c->bad || (size_t)(c->end - c->p) < (size_t)n + 1) {
        c->bad = true;
        return "";
    }
    const char *s = arena_strndup(a, c->p, n);
    c->p += n + 1;
    return s;
}

static StrList get_list(Cursor *c, Arena *a)
{
    StrList l = {0};
    uint32_t n = get_u32(c);
    for (uint32_t i = 0; i < n && !c->bad; i++)
        strlist_add(a, &l, get_text(c, a));
    return l;
}

static SandboxShape get_shape(Cursor *c, Arena *a)
{
    SandboxShape s = {0};
    s.hosts = get_list(c, a);
    s.shm_size = get_u64(c);
    uint32_t n = get_u32(c);
    c->bad = c->bad || n > RLIM_NLIMITS;
    SandboxUlimit *v = NEW_N(a, SandboxUlimit, RLIM_NLIMITS);
    for (s.nulimit = 0; s.nulimit < n && !c->bad; s.nulimit++) {
        SandboxUlimit *u = &v[s.nulimit];
        u->resource = (int)get_u32(c);
        u->soft = get_u64(c);
        u->hard = get_u64(c);
    }
    s.ulimits = v;
    return s;
}

static SandboxMount get_mount(Cursor *c, Arena *a)
{
    SandboxMount m = {.kind = get_u32(c)};
    m.target = get_text(c, a);
    m.readonly = get_u32(c);
    m.source = get_text(c, a);
    m.lowers = get_list(c, a);
    m.sub = get_text(c, a);
    m.size = get_u64(c);
    m.mode = get_u32(c);
    m.uid = get_u32(c);
    m.gid = get_u32(c);
    uint32_t nbyte = get_u32(c);
    if (c->bad || (size_t)(c->end - c->p) < nbyte || (m.kind == SANDBOX_FILE && nbyte != m.size)) {
        c->bad = true;
        return m;
    }
    m.bytes = arena_strndup(a, c->p, nbyte);
    c->p += nbyte;
    return m;
}

/* The child need not know more than that there are limits: its group has them. */
static const SandboxLimits LIMITED = {.pids = SANDBOX_UNLIMITED};

bool spec_read(Arena *a, int fd, SandboxSpec *ret, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    SandboxSpec s = {.storefd = FD_STORE};
    if (!fs_read_all(fd, SPEC_MAX_SIZE, &b, e))
        return false;
    Cursor c = {buf_str(&b), buf_str(&b) + b.len, false};
    s.in_userns = get_u32(&c);
    s.copied = get_u32(&c);
    s.readonly = get_u32(&c);
    s.interactive = get_u32(&c);
    s.no_input = get_u32(&c);
    s.tty = get_u32(&c);
    owners_remember(get_u32(&c));
    s.fast_owners = get_u32(&c);
    s.insecure = get_u32(&c);
    s.limits = get_u32(&c) ? &LIMITED : NULL;
    s.lowers = get_list(&c, a);
    s.upper = get_text(&c, a);
    s.scratch = get_text(&c, a);
    s.points = get_text(&c, a);
    s.argv = get_list(&c, a);
    s.env = get_list(&c, a);
    s.cwd = get_text(&c, a);
    s.user = get_text(&c, a);
    s.hostname = get_text(&c, a);
    s.net = get_u32(&c);
    s.listen_port = get_u32(&c);
    s.watch = get_list(&c, a);
    s.shape = get_shape(&c, a);
    s.nmount = get_u32(&c);
    if (c.bad || s.nmount > MAX_MOUNTS)
        return err_set(e, ERR_ENV, "the step's description is damaged");
    SandboxMount *mounts = NEW_N(a, SandboxMount, s.nmount + 1);
    for (size_t i = 0; i < s.nmount; i++)
        mounts[i] = get_mount(&c, a);
    s.mounts = mounts;
    if (c.bad || c.p != c.end)
        return err_set(e, ERR_ENV, "the step's description is damaged");
    *ret = s;
    return true;
}

void spec_hosts(const char *hostname, const SandboxShape *shape, Buf *out)
{
    buf_printf(out, "127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost ip6-loopback\n",
               hostname);
    for (size_t i = 0; i < shape->hosts.n; i++)
        buf_printf(out, "%s\n", shape->hosts.v[i]);
}
