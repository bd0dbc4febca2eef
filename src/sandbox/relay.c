/*
 * sandbox/relay.c - bytes between a step and a socket of the caller, in both directions.
 */
#include "sandbox/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fs.h"
#include "base/owner.h"

enum { MAX_SOCKETS = 64, BLOCK = 16 << 10 };

/* One direction of a connection. */
typedef struct Flow {
    char bytes[BLOCK];
    size_t start, n; /* what was read and is not written yet */
    bool ended;      /* nothing more will be read */
    bool shut;       /* and the other side was told */
} Flow;

typedef struct Link {
    int fd[2];    /* the step's side, and the caller's */
    Flow flow[2]; /* flow[i] was read from fd[i] */
} Link;

typedef struct Listener {
    int fd;
    const char *upstream;
} Listener;

struct Relay {
    Listener *listeners;
    size_t nlistener;
    Link *links[RELAY_MAX_LINKS];
    size_t nlink;
};

char *relay_socket(Arena *a, const SandboxSpec *spec, size_t i)
{
    return arena_printf(a, "%s/socket%zu", spec->scratch, i);
}

/* ---- listening ---- */

/* A path below the store may be longer than an address; one by a descriptor is short. */
static bool address(int dir, const char *name, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    return (size_t)snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", dir, name) <
           sizeof ret->sun_path;
}

/* In mode single the one id owns it, and every process of the step has that id. */
static bool give_away(int dir, const char *name, const SandboxMount *m)
{
    return (owners_remembered() || fchownat(dir, name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) == 0) &&
           fchmodat(dir, name, m->mode & 0777, 0) == 0;
}

static bool listen_at(Arena *a, const SandboxSpec *spec, size_t i, int dir, Listener *ret, Err *e)
{
    const SandboxMount *m = &spec->mounts[i];
    const char *name = path_base(relay_socket(a, spec, i));
    struct sockaddr_un at;
    scoped(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || !address(dir, name, &at) || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(fd, SOMAXCONN) < 0)
        return err_errno(e, ERR_ENV, "listen for '%s'", m->target);
    if (!give_away(dir, name, m))
        return err_errno(e, ERR_ENV, "give '%s' to %u:%u", m->target, m->uid, m->gid);
    *ret = (Listener){fd_take(&fd), m->source};
    return true;
}

bool relay_new(Arena *a, const SandboxSpec *spec, Relay **ret, Err *e)
{
    scoped(relay) Relay *r = NULL;
    scoped(fd) int dir = -1;
    for (size_t i = 0; i < spec->nmount; i++) {
        if (spec->mounts[i].kind != SANDBOX_SOCKET)
            continue;
        if (!r) {
            r = NEW(a, Relay);
            r->listeners = NEW_N(a, Listener, MAX_SOCKETS);
            dir = openat(spec->storefd, spec->scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);
        }
        if (r->nlistener == MAX_SOCKETS)
            return err_set(e, ERR_STEP, "more than %d sockets for one step", MAX_SOCKETS);
        if (!listen_at(a, spec, i, dir, &r->listeners[r->nlistener], e))
            return false;
        r->nlistener++;
    }
    *ret = r;
    r = NULL;
    return true;
}

static void drop(Link *l)
{
    close(l->fd[0]);
    close(l->fd[1]);
    free(l);
}

void relay_done(Relay *r)
{
    for (size_t i = 0; r && i < r->nlink; i++)
        drop(r->links[i]);
    for (size_t i = 0; r && i < r->nlistener; i++)
        close(r->listeners[i].fd);
}

/* ---- connections ---- */

static int call(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    scoped(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if ((size_t)snprintf(to.sun_path, sizeof to.sun_path, "%s", path) >= sizeof to.sun_path ||
        fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        return -1;
    return fd_take(&fd);
}

/* A caller's socket that does not answer is for the step as a service that hangs up. */
static void take_in(Relay *r, const Listener *from)
{
    scoped(fd) int in = accept4(from->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    scoped(fd) int up = in < 0 ? -1 : call(from->upstream);
    if (up < 0)
        return;
    Link *l = calloc(1, sizeof *l);
    if (!l)
        die_nomem();
    l->fd[0] = fd_take(&in);
    l->fd[1] = fd_take(&up);
    r->links[r->nlink++] = l;
}

static bool try_again(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* Read into an empty flow, write out of a full one; false when the connection is broken. */
static bool pass(Link *l, int side)
{
    Flow *f = &l->flow[side];
    if (!f->n && !f->ended) {
        ssize_t n = read(l->fd[side], f->bytes, sizeof f->bytes);
        if (n < 0 && !try_again())
            return false;
        f->start = 0;
        f->n = n > 0 ? (size_t)n : 0;
        f->ended = n == 0;
    }
    if (f->n) {
        ssize_t n = send(l->fd[!side], f->bytes + f->start, f->n, MSG_NOSIGNAL);
        if (n < 0 && !try_again())
            return false;
        f->start += n > 0 ? (size_t)n : 0;
        f->n -= n > 0 ? (size_t)n : 0;
    }
    if (f->ended && !f->n && !f->shut) {
        (void)shutdown(l->fd[!side], SHUT_WR);
        f->shut = true;
    }
    return true;
}

/* Read where there is room, write where there is something to write. */
static short wanted(const Link *l, int side)
{
    const Flow *in = &l->flow[side], *out = &l->flow[!side];
    return (short)((in->n || in->ended ? 0 : POLLIN) | (out->n ? POLLOUT : 0));
}

/* Both sides have said all, or one is gone and can be told no more. */
static bool over(const Link *l, const struct pollfd side[static 2])
{
    for (int i = 0; i < 2; i++)
        if (side[i].revents & (POLLHUP | POLLERR) && l->flow[i].shut)
            return true;
    return l->flow[0].shut && l->flow[1].shut;
}

size_t relay_poll(Relay *r, struct pollfd *p)
{
    size_t n = 0;
    if (!r)
        return 0;
    for (size_t i = 0; i < r->nlistener; i++)
        p[n++] = (struct pollfd){r->listeners[i].fd, r->nlink < RELAY_MAX_LINKS ? POLLIN : 0, 0};
    for (size_t i = 0; i < r->nlink; i++)
        for (int side = 0; side < 2; side++)
            p[n++] = (struct pollfd){r->links[i]->fd[side], wanted(r->links[i], side), 0};
    return n;
}

void relay_step(Relay *r, const struct pollfd *p)
{
    size_t kept = 0;
    if (!r)
        return;
    const struct pollfd *of_links = p + r->nlistener;
    for (size_t i = 0; i < r->nlink; i++) {
        Link *l = r->links[i];
        const struct pollfd *side = &of_links[2 * i];
        bool ok = !(side[0].revents || side[1].revents) || (pass(l, 0) && pass(l, 1));
        if (ok && !over(l, side))
            r->links[kept++] = l;
        else
            drop(l);
    }
    r->nlink = kept;
    for (size_t i = 0; i < r->nlistener; i++)
        if (p[i].revents && r->nlink < RELAY_MAX_LINKS)
            take_in(r, &r->listeners[i]);
}
