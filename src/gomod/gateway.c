/*
 * gomod/gateway.c - the proxy that a step asks, and what stands in its GOPROXY.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "gomod/inside.h"

/* ---- a step ---- */

static bool draw_word(GomodStep *s, Err *e)
{
    uint8_t random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_errno(e, ERR_ENV, "getrandom");
    for (size_t i = 0; i < sizeof random; i++)
        (void)snprintf(s->word + 2 * i, 3, "%02x", random[i]);
    return true;
}

/* A proxy whose address holds a password is asked by go itself. */
static void choose(GomodStep *s)
{
    for (size_t i = 0; i < s->proxies.n && i < NELEM(s->asked); i++) {
        const GoProxy *p = &s->proxies.v[i];
        s->asked[i] = p->kind == GO_PROXY_HTTP && !p->has_user && !s->alone;
    }
}

static const char *first_proxy(const GomodStep *s)
{
    const GoProxy *p = &s->proxies.v[0];
    return p->kind == GO_PROXY_HTTP && !p->has_user ? p->url : "";
}

bool gomod_step_new(Gomod *g, const GoSettings *settings, bool alone, GomodStep **ret, Err *e)
{
    Err ignored = ERR_INIT;
    GomodStep *s = calloc(1, sizeof *s);
    if (!s)
        die_nomem();
    *s = (GomodStep){.g = g, .settings = settings, .alone = alone, .listener = -1, .stop = -1};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->idle, NULL);
    *ret = NULL;
    if (!go_proxy_list(&s->arena, settings->goproxy, &s->proxies, &ignored))
        return gomod_step_end(s, e); /* go says what is wrong with it */
    choose(s);
    if (!draw_word(s, e) || (g->nknown && !view_path(g, first_proxy(s), &s->dir, e))) {
        (void)!gomod_step_end(s, &ignored);
        return false;
    }
    *ret = s;
    return true;
}

bool gomod_step_said(const GomodStep *s, const char *path, Digest *ret)
{
    scoped(buf) Buf text = BUF_INIT;
    const char *proxy = first_proxy(s);
    if (!*proxy || !keep_get_info(s->g, proxy, path, &text))
        return false;
    digest_of(buf_str(&text), text.len, ret);
    return true;
}

const char *gomod_step_word(const GomodStep *s)
{
    return s->word;
}

const char *gomod_step_dir(const GomodStep *s)
{
    return s->dir;
}

void gomod_step_ready(const GomodStep *s)
{
    view_ready(s->g, first_proxy(s));
}

bool gomod_step_asks(const GomodStep *s)
{
    for (size_t i = 0; i < NELEM(s->asked); i++)
        if (s->asked[i])
            return true;
    return false;
}

const char *gomod_step_proxy(const GomodStep *s, Arena *a, const char *dir, unsigned port)
{
    GoProxyList l = {NEW_N(a, GoProxy, s->proxies.n + 2), 0};
    if (dir)
        l.v[l.n++] =
            (GoProxy){.kind = GO_PROXY_FILE, .url = arena_printf(a, "file://%s", dir), .dir = dir};
    for (size_t i = 0; i < s->proxies.n; i++) {
        GoProxy p = s->proxies.v[i];
        if (s->g->offline && p.kind != GO_PROXY_FILE && !(i < NELEM(s->asked) && s->asked[i]))
            p = (GoProxy){.kind = GO_PROXY_OFF, .url = "off"};
        else if (i < NELEM(s->asked) && s->asked[i])
            p.url =
                arena_printf(a, "http://127.0.0.1:%u/%s/%zu", port ? port : s->port, s->word, i);
        l.v[l.n++] = p;
        if (p.kind == GO_PROXY_OFF)
            break;
    }
    return go_proxy_text(a, &l);
}

/* ---- the listener ---- */

typedef struct Link {
    GomodStep *s;
    int fd;
} Link;

static void drop_link(GomodStep *s, int fd)
{
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->nlink; i++)
        if (s->links[i] == fd) {
            s->links[i] = s->links[--s->nlink];
            break;
        }
    close(fd);
    pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->lock);
}

static void *link_main(void *arg)
{
    Link l = *(Link *)arg;
    free(arg);
    serve_link(l.s, l.fd);
    drop_link(l.s, l.fd);
    return NULL;
}

static void begin_link(GomodStep *s, int fd)
{
    static const int one = 1;
    pthread_t thread;
    Link *l = malloc(sizeof *l);
    if (!l)
        die_nomem();
    *l = (Link){s, fd};
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pthread_mutex_lock(&s->lock);
    bool room = s->nlink < NELEM(s->links);
    if (room)
        s->links[s->nlink++] = fd;
    pthread_mutex_unlock(&s->lock);
    if (room && pthread_create(&thread, NULL, link_main, l) == 0) {
        pthread_detach(thread);
        return;
    }
    free(l);
    if (room)
        drop_link(s, fd);
    else
        close(fd);
}

static void *accept_main(void *arg)
{
    GomodStep *s = arg;
    struct pollfd p[] = {{s->listener, POLLIN, 0}, {s->stop, POLLIN, 0}};
    for (;;) {
        if (poll(p, NELEM(p), -1) < 0 && errno != EINTR)
            return NULL;
        if (p[1].revents)
            return NULL;
        int fd = p[0].revents ? accept4(s->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd >= 0)
            begin_link(s, fd);
        else if (p[0].revents)
            usleep(10000); /* out of descriptors: some will be closed */
    }
}

static int own_listener(unsigned *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    scoped(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        return -1;
    *ret_port = ntohs(at.sin_port);
    return fd_take(&fd);
}

bool gomod_step_listen(GomodStep *s, int fd, Err *e)
{
    s->listener = fd >= 0 ? fd : own_listener(&s->port);
    if (s->listener < 0)
        return err_errno(e, ERR_ENV, "listen on 127.0.0.1 for the module gateway");
    s->stop = eventfd(0, EFD_CLOEXEC);
    if (s->stop < 0)
        return err_errno(e, ERR_ENV, "eventfd");
    errno = pthread_create(&s->thread, NULL, accept_main, s);
    s->serving = errno == 0;
    return s->serving || err_errno(e, ERR_ENV, "start the module gateway");
}

static void stop_serving(GomodStep *s)
{
    static const uint64_t one = 1;
    if (!s->serving)
        return;
    (void)!write(s->stop, &one, sizeof one);
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->nlink; i++)
        (void)shutdown(s->links[i], SHUT_RDWR);
    while (s->nlink)
        pthread_cond_wait(&s->idle, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

bool gomod_step_end(GomodStep *s, Err *e)
{
    if (!s)
        return true;
    stop_serving(s);
    if (s->listener >= 0)
        close(s->listener);
    if (s->stop >= 0)
        close(s->stop);
    bool ok = !s->refused.kind;
    if (!ok)
        err_set(e, s->refused.kind, "%s", s->refused.msg);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->lock);
    arena_done(&s->arena);
    free(s);
    return ok;
}
