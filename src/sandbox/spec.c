/*
 * sandbox/spec.c - the spec as bytes.
 */
#include "sandbox/spec.h"

#include <sys/mman.h>

#include "base/fs.h"

enum { SPEC_MAX_SIZE = 64 << 20 };

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

/* The order of fields here and in spec_read is the format; both ends are the same program. */
bool spec_write(const SandboxSpec *s, int *ret_fd, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    put_u32(&b, s->in_userns);
    put_u32(&b, s->interactive);
    put_list(&b, &s->lowers);
    put_text(&b, s->upper);
    put_text(&b, s->scratch);
    put_list(&b, &s->argv);
    put_list(&b, &s->env);
    put_text(&b, s->cwd);
    put_text(&b, s->user);
    put_text(&b, s->hostname);
    put_u32(&b, (uint32_t)s->nbind);
    for (size_t i = 0; i < s->nbind; i++) {
        put_text(&b, s->binds[i].source);
        put_text(&b, s->binds[i].target);
        put_u32(&b, s->binds[i].readonly);
    }
    scoped(fd) int fd = memfd_create("lighter-step", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_errno(e, ERR_ENV, "memfd_create");
    if (!fs_write_all(fd, b.ptr, b.len, e))
        return false;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0 ||
        lseek(fd, 0, SEEK_SET) < 0)
        return err_errno(e, ERR_ENV, "seal the step's description");
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

bool spec_read(Arena *a, int fd, SandboxSpec *ret, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    SandboxSpec s = {.storefd = FD_STORE};
    if (!fs_read_all(fd, SPEC_MAX_SIZE, &b, e))
        return false;
    Cursor c = {buf_str(&b), buf_str(&b) + b.len, false};
    s.in_userns = get_u32(&c);
    s.interactive = get_u32(&c);
    s.lowers = get_list(&c, a);
    s.upper = get_text(&c, a);
    s.scratch = get_text(&c, a);
    s.argv = get_list(&c, a);
    s.env = get_list(&c, a);
    s.cwd = get_text(&c, a);
    s.user = get_text(&c, a);
    s.hostname = get_text(&c, a);
    s.nbind = get_u32(&c);
    if (c.bad || s.nbind > 1024)
        return err_set(e, ERR_ENV, "the step's description is damaged");
    s.binds = NEW_N(a, SandboxBind, s.nbind + 1);
    for (size_t i = 0; i < s.nbind; i++) {
        s.binds[i].source = get_text(&c, a);
        s.binds[i].target = get_text(&c, a);
        s.binds[i].readonly = get_u32(&c);
    }
    if (c.bad || c.p != c.end)
        return err_set(e, ERR_ENV, "the step's description is damaged");
    *ret = s;
    return true;
}
