/*
 * registry/client.c - one question to a server, asked until it is answered.
 */
#include "registry/client.h"

#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

#include "base/fs.h"

enum {
    WORDS_MAX = 300,      /* of a server's message in one of ours */
    ERROR_MAX = 64 << 10, /* of a server's error document */
    HOST_LIMIT = 8,       /* questions to one server at once */
    KNOCKS = 3,           /* at a door that nobody opens */
    AUTH_TRIES = 3,       /* without credentials, with a token, with a fresh or wider one */
};

static const uint64_t KNOCK_NS = 10000000000u;

/* ---- the client ---- */

Registry *registry_new(const RegistryOpts *o)
{
    Registry *r = calloc(1, sizeof *r);
    if (!r)
        die_nomem();
    r->opts = *o;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    creds_init(&r->creds, o->authfile);
    return r;
}

void registry_done(Registry *r)
{
    if (!r)
        return;
    creds_done(&r->creds);
    conf_done(&r->conf);
    arena_done(&r->arena);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* --registry-mirror, then LIGHTER_MIRROR, whose mirrors stand between commas. */
static StrList all_mirrors(Registry *r)
{
    StrList l = strlist_copy(&r->arena, &r->opts.mirrors);
    const char *env = getenv("LIGHTER_MIRROR");
    char *save = NULL, *copy = arena_strdup(&r->arena, env ? env : "");
    for (char *p = strtok_r(copy, ", ", &save); p; p = strtok_r(NULL, ", ", &save))
        strlist_add(&r->arena, &l, p);
    return l;
}

bool client_load(Registry *r, Err *e)
{
    bool ok = true;
    pthread_mutex_lock(&r->lock);
    if (!r->loaded) {
        StrList mirrors = all_mirrors(r);
        conf_done(&r->conf);
        r->conf = (Conf){.n = 0};
        ok = conf_load(&r->conf, &mirrors, e);
        r->loaded = ok;
    }
    pthread_mutex_unlock(&r->lock);
    return ok;
}

void client_note(Registry *r, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    event_send(&r->opts.sink, &(Event){.kind = EV_NOTE, .text = text});
}

/* ---- hosts ---- */

/* The entry of a server; the lock is held. */
static Host *find_host(Registry *r, const Endpoint *ep)
{
    for (Host *h = r->hosts; h; h = h->next)
        if (!strcmp(h->name, ep->host) && h->insecure == ep->insecure && h->plain == ep->plain)
            return h;
    return NULL;
}

static bool new_host(Registry *r, const Endpoint *ep, Host **ret, Err *e)
{
    HostTrust certs;
    if (!conf_trust(&r->conf, &r->arena, ep->host, &certs, e))
        return false;
    Host *h = NEW(&r->arena, Host);
    *h = (Host){.name = arena_strdup(&r->arena, ep->host),
                .insecure = ep->insecure,
                .plain = ep->plain,
                .certs = certs,
                .limit = HOST_LIMIT,
                .next = r->hosts};
    h->trust = (NetTrust){.insecure = ep->insecure || r->opts.any_tls,
                          .ca_pem = certs.ca_pem,
                          .cert = certs.cert,
                          .key = certs.key};
    /* A certificate that somebody took the trouble to give is looked at, on this machine too. */
    if (certs.ca_pem && !r->opts.any_tls)
        h->trust.insecure = false;
    if (ep->plain)
        h->scheme = "http";
    else if (!h->insecure && !r->opts.any_tls)
        h->scheme = "https";
    r->hosts = h;
    *ret = h;
    return true;
}

/* Remember what a 401 asks for. */
static void take_challenge(Registry *r, Host *h, const Challenge *c)
{
    pthread_mutex_lock(&r->lock);
    h->kind = c->kind;
    h->realm = arena_strdup(&r->arena, c->realm);
    h->service = arena_strdup(&r->arena, c->service);
    pthread_mutex_unlock(&r->lock);
}

static void read_challenge(Arena *a, const NetAnswer *head, Challenge *ret)
{
    static const char NAME[] = "www-authenticate:";
    *ret = (Challenge){.kind = AUTH_UNKNOWN, .realm = "", .service = "", .scope = "", .error = ""};
    for (size_t i = 0; i < head->headers.n; i++)
        if (!strncasecmp(head->headers.v[i], NAME, sizeof NAME - 1))
            challenge_parse(a, head->headers.v[i] + sizeof NAME - 1, ret);
}

/* What to do about a server whose certificate we do not trust. */
static bool untrusted(const Host *h, const Err *once, Err *e)
{
    bool plain = strstr(once->msg, "wrong version") || strstr(once->msg, "packet length");
    if (plain)
        return err_set(
            e, once->kind,
            "%s: '%s' does not speak TLS; if http is meant, list it with insecure = true "
            "in registries.conf or use --tls-verify=false",
            once->msg, h->name);
    return err_set(e, once->kind,
                   "%s: put the authority of '%s' into '/etc/docker/certs.d/%s/ca.crt', or use "
                   "--tls-verify=false",
                   once->msg, h->name, h->name);
}

/* An insecure server may speak TLS or not: knock with TLS first, as docker does. */
static bool find_scheme(Registry *r, Host *h, Err *e)
{
    scoped(arena) Arena a = {0};
    NetAnswer head;
    NetFault fault = NET_FAULT_NONE;
    Err why = ERR_INIT;
    NetAsk ask = {
        .url = arena_printf(&a, "https://%s/v2/", h->name), .trust = &h->trust, .attempts = 1};
    bool ok = net_ask(&a, &ask, NULL, 0, &head, &fault, &why);
    if (!ok && fault != NET_FAULT_TLS && fault != NET_FAULT_CONNECT && fault != NET_FAULT_CUT)
        return err_set(e, why.kind, "%s", why.msg);
    /* TLS that is there and not trusted must not be answered by giving up TLS. */
    if (!ok && fault == NET_FAULT_TLS && !h->trust.insecure && strstr(why.msg, "certificate"))
        return untrusted(h, &why, e);
    if (ok && head.status == 401) {
        Challenge c;
        read_challenge(&a, &head, &c);
        take_challenge(r, h, &c);
    }
    pthread_mutex_lock(&r->lock);
    h->scheme = ok ? "https" : "http";
    pthread_mutex_unlock(&r->lock);
    return true;
}

bool host_get(Registry *r, const Endpoint *ep, Host **ret, Err *e)
{
    if (!client_load(r, e))
        return false;
    pthread_mutex_lock(&r->lock);
    Host *h = find_host(r, ep);
    bool ok = h || new_host(r, ep, &h, e), known = ok && h->scheme;
    pthread_mutex_unlock(&r->lock);
    if (!ok || (!known && !find_scheme(r, h, e)))
        return false;
    *ret = h;
    return true;
}

/* ---- taking turns ---- */

static void enter(Registry *r, Host *h)
{
    pthread_mutex_lock(&r->lock);
    while (h->active >= h->limit)
        pthread_cond_wait(&r->changed, &r->lock);
    h->active++;
    pthread_mutex_unlock(&r->lock);
}

static void leave(Registry *r, Host *h)
{
    pthread_mutex_lock(&r->lock);
    h->active--;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void slow_down(Registry *r, Host *h)
{
    pthread_mutex_lock(&r->lock);
    h->limit = h->limit > 1 ? h->limit / 2 : 1;
    pthread_mutex_unlock(&r->lock);
}

void answer_close(Answer *x)
{
    if (!x->host)
        return;
    net_close(x->stream);
    leave(x->r, x->host);
    *x = (Answer){.stream = NULL};
}

/* ---- who we are ---- */

const char *client_scope(Arena *a, const char *path, const char *actions)
{
    return arena_printf(a, "repository:%s:%s", path, actions);
}

/* A registry's own name, where its server has another. */
static const char *known_as(const char *host)
{
    return !strcmp(host, "registry-1.docker.io") ? "docker.io" : host;
}

bool client_account(Registry *r, const Endpoint *ep, Cred *ret, Err *e)
{
    return creds_find(&r->creds, known_as(ep->host), ep->path, ret, e);
}

/* What a question has learned about how to say who asks. */
typedef struct Pass {
    Cred cred;
    StrList scopes; /* the call's, and what the server asked for besides */
    const char *token;
    const char *stale; /* a token that was refused */
    bool refused;      /* what we had to say was said, and was not enough */
} Pass;

/* The Authorization header for this try; NULL: none. */
static bool authorize(Registry *r, Arena *a, Host *h, Pass *p, const char **ret, Err *e)
{
    pthread_mutex_lock(&r->lock);
    AuthKind kind = h->kind;
    TokenWish w = {h, h->realm, h->service, &p->scopes, &p->cred, p->stale};
    pthread_mutex_unlock(&r->lock);
    *ret = NULL;
    if (kind == AUTH_BASIC && p->cred.user && p->cred.password) {
        const char *both = arena_printf(a, "%s:%s", p->cred.user, p->cred.password);
        *ret = arena_printf(a, "Authorization: Basic %s", base64_encode(a, both, strlen(both)));
    }
    if (kind != AUTH_BEARER)
        return true;
    if (!token_get(r, a, &w, &p->token, e))
        return false;
    *ret = arena_printf(a, "Authorization: Bearer %s", p->token);
    return true;
}

/* Scopes that the server wants and we did not ask for. */
static bool widen(Arena *a, StrList *scopes, const char *more)
{
    size_t before = scopes->n;
    char *save = NULL, *copy = arena_strdup(a, more);
    for (char *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save))
        if (scopes->n < 16)
            strlist_add_once(a, scopes, p);
    strlist_sort(scopes);
    return scopes->n > before;
}

/* After a 401: whether another try has something else to say. */
static bool try_again(Registry *r, Arena *a, Host *h, Pass *p, const NetAnswer *head, unsigned n)
{
    Challenge c;
    read_challenge(a, head, &c);
    pthread_mutex_lock(&r->lock);
    bool news = h->kind != c.kind || (c.kind == AUTH_BEARER && strcmp(h->realm, c.realm) != 0);
    pthread_mutex_unlock(&r->lock);
    take_challenge(r, h, &c);
    p->stale = NULL;
    if (c.kind == AUTH_BASIC)
        return news && p->cred.user && p->cred.password;
    if (c.kind != AUTH_BEARER || n >= AUTH_TRIES)
        return false;
    bool wider = widen(a, &p->scopes, c.scope);
    if (p->token && !wider) {
        if (p->refused) /* a fresh token was refused as well */
            return false;
        p->refused = true;
        p->stale = p->token;
    }
    return true;
}

/* ---- asking ---- */

/* The URL, and whether it is of the host itself, which alone may know who we are. */
static bool url_of(Arena *a, const Call *c, const Host *h, const char **ret, bool *ret_own, Err *e)
{
    const char *own = arena_printf(a, "%s://%s", h->scheme, h->name);
    *ret_own = !c->url || net_same_origin(c->url, own);
    *ret = c->url ? c->url : arena_printf(a, "%s%s", own, c->path);
    if (*ret_own || strcmp(h->scheme, "https") != 0 || !str_starts(c->url, "http://"))
        return true;
    /* A proxy before the registry that does not tell it of TLS: same server, wrong scheme. */
    const char *upgraded = arena_printf(a, "https://%s", c->url + 7);
    if (net_same_origin(upgraded, own)) {
        *ret = upgraded;
        *ret_own = true;
        return true;
    }
    return err_set(e, ERR_NETWORK, "%s: the server leads from https to http, to '%s': refused",
                   c->what, net_mask_url(a, c->url));
}

typedef struct Try {
    Registry *r;
    Arena *a;
    const Call *c;
    Host *host;
    Pass pass;
} Try;

static bool ask_once(Try *t, Answer *ret, NetFault *ret_fault, Err *e)
{
    const Call *c = t->c;
    const char *url, *who = NULL;
    bool own;
    *ret_fault = NET_FAULT_OTHER;
    if (!url_of(t->a, c, t->host, &url, &own, e) ||
        (own && !authorize(t->r, t->a, t->host, &t->pass, &who, e)))
        return false;
    NetAsk ask = {.method = c->method,
                  .url = url,
                  .headers = strlist_copy(t->a, &c->headers),
                  .trust = &t->host->trust,
                  .has_body = c->has_body,
                  .body = c->body,
                  .body_fd = c->body_fd,
                  .body_at = c->body_at,
                  .body_size = c->body_size,
                  .attempts = 1};
    if (who)
        strlist_add(t->a, &ask.headers, who);
    enter(t->r, t->host);
    Answer x = {.r = t->r, .host = t->host};
    if (!net_open(t->a, &ask, &x.stream, &x.head, ret_fault, e)) {
        answer_close(&x);
        return false;
    }
    *ret = x;
    return true;
}

/* Whether a failure of the n-th try may pass. A door that stays shut for long is not knocked at
 * again. */
static bool passes(NetFault f, unsigned n, uint64_t took_ns)
{
    return f == NET_FAULT_CUT || (f == NET_FAULT_CONNECT && n < KNOCKS && took_ns < KNOCK_NS);
}

bool client_open(Registry *r, Arena *a, const Call *c, Answer *ret, NetFault *ret_fault, Err *e)
{
    Try t = {.r = r, .a = a, .c = c};
    NetFault fault = NET_FAULT_OTHER;
    unsigned attempts = c->attempts ? c->attempts : NET_ATTEMPTS, auths = 0;
    if (ret_fault)
        *ret_fault = fault;
    if (!host_get(r, c->ep, &t.host, e) || !client_account(r, c->ep, &t.pass.cred, e))
        return false;
    t.pass.scopes = strlist_copy(a, &c->scopes);
    for (unsigned n = 1;;) {
        Answer x = {.stream = NULL};
        Err once = ERR_INIT;
        uint64_t began = clock_ns();
        bool ok = ask_once(&t, &x, &fault, &once);
        if (ret_fault)
            *ret_fault = fault;
        if (ok && x.head.status == 401 && try_again(r, a, t.host, &t.pass, &x.head, ++auths)) {
            answer_close(&x);
            continue;
        }
        bool again = n < attempts &&
                     (ok ? net_passing(x.head.status) : passes(fault, n, clock_ns() - began));
        if (ok && !again) {
            *ret = x;
            return true;
        }
        if (!again && fault == NET_FAULT_TLS)
            return untrusted(t.host, &once, e);
        if (!again)
            return err_set(e, once.kind, n > 1 ? "%s (tried %u times)" : "%s", once.msg, n);
        NetAnswer head = x.head;
        if (ok && head.status == 429)
            slow_down(r, t.host);
        answer_close(&x);
        if (!net_pause(n++, ok ? &head : NULL, c->what, e))
            return false;
    }
}

static bool read_body(Answer *x, Buf *into, uint64_t max, const Call *c, bool *ret_cut, Err *e)
{
    char block[16 << 10];
    *ret_cut = false;
    for (size_t n = 1, total = 0; n; total += n) {
        if (!net_read(x->stream, block, sizeof block, &n, e)) {
            *ret_cut = e->kind == ERR_NETWORK;
            return false;
        }
        if (n > max - total)
            return err_set(e, ERR_NETWORK, "%s: more than the limit of %llu bytes", c->what,
                           (unsigned long long)max);
        buf_add(into, block, n);
    }
    return true;
}

bool client_ask(Registry *r, Arena *a, const Call *c, Buf *into, uint64_t max, NetAnswer *ret,
                NetFault *ret_fault, Err *e)
{
    unsigned attempts = c->attempts ? c->attempts : NET_ATTEMPTS;
    size_t start = into->len;
    for (unsigned n = 1;; n++) {
        scoped(answer) Answer x = {.stream = NULL};
        Err once = ERR_INIT;
        bool cut;
        if (!client_open(r, a, c, &x, ret_fault, e))
            return false;
        *ret = x.head;
        if (read_body(&x, into, max, c, &cut, &once))
            return true;
        into->len = start;
        if (ret_fault)
            *ret_fault = cut ? NET_FAULT_CUT : NET_FAULT_OTHER;
        answer_close(&x);
        if (!cut || n >= attempts)
            return err_set(e, once.kind, cut ? "%s (tried %u times)" : "%s", once.msg, n);
        if (!net_pause(n, NULL, c->what, e))
            return false;
    }
}

/* ---- refusals ---- */

/* One line of what a server says, with nothing that steers a terminal. */
static char *clean(Arena *a, const char *text)
{
    char *s = arena_strndup(a, text, strlen(text) > WORDS_MAX ? WORDS_MAX : strlen(text));
    for (char *p = s; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    return s;
}

/* "denied: requested access is denied", of an error document; "" when it is none. */
static const char *words(Arena *a, const Buf *body)
{
    scoped(json) json_t *j = NULL;
    Err ignored = ERR_INIT;
    if (!body->len || body->len > ERROR_MAX || !json_parse(body->ptr, body->len, &j, &ignored))
        return "";
    const json_t *first = json_array_get(json_object_get(j, "errors"), 0);
    const char *code = json_str(first, "code"), *message = json_str(first, "message");
    if (!code && !message) /* token servers */
        message = json_str(j, "details") ? json_str(j, "details") : json_str(j, "error");
    if (!code && !message)
        return "";
    return clean(a, arena_printf(a, ": %s%s%s", code ? code : "", code && message ? ": " : "",
                                 message ? message : ""));
}

bool client_refused(Registry *r, Arena *a, const Call *c, const NetAnswer *head, const Buf *body,
                    Err *e)
{
    const char *said = words(a, body), *host = known_as(c->ep->host);
    Cred cred;
    Err ignored = ERR_INIT;
    if (head->status != 401 && head->status != 403)
        return err_set(e, ERR_NETWORK, "%s: '%s' answers with status %d%s", c->what, c->ep->host,
                       head->status, said);
    if (!client_account(r, c->ep, &cred, &ignored) || !cred.user)
        return err_set(e, ERR_NETWORK,
                       "%s: '%s' refuses (status %d%s): nobody is logged in there; 'lighter login "
                       "%s' does that",
                       c->what, c->ep->host, head->status, said, host);
    return err_set(e, ERR_NETWORK,
                   "%s: '%s' refuses user '%s', whom %s names (status %d%s): another is logged in "
                   "with 'lighter login %s'",
                   c->what, c->ep->host, cred.user, cred.from, head->status, said, host);
}

bool client_refused_open(Arena *a, const Call *c, Answer *x, Err *e)
{
    scoped(buf) Buf body = BUF_INIT;
    Err ignored = ERR_INIT;
    bool cut;
    (void)read_body(x, &body, ERROR_MAX, c, &cut, &ignored); /* the status says enough */
    return client_refused(x->r, a, c, &x->head, &body, e);
}
