/*
 * registry/token.c - tokens of the servers that registries send us to.
 */
#include <strings.h>

#include "base/fs.h"
#include "registry/client.h"

enum {
    ANSWER_MAX = 1 << 20,
    TOKEN_MAX = 64 << 10,
    DEFAULT_S = 60,  /* of a token that does not say how long it counts */
    MARGIN_S = 10,   /* it is not used in its last seconds */
    LONGEST_S = 3600 /* and none for longer, whatever it says */
};

/* ---- texts ---- */

/* Bytes of a query or a form that stand for themselves: RFC 3986, section 2.3. */
static void put_escaped(Buf *b, const char *s)
{
    static const char PLAIN[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *s; s++) {
        if (strchr(PLAIN, *s))
            buf_putc(b, *s);
        else
            buf_printf(b, "%%%02X", (unsigned char)*s);
    }
}

static void put_field(Buf *b, const char *name, const char *value)
{
    if (b->len)
        buf_putc(b, '&');
    buf_printf(b, "%s=", name);
    put_escaped(b, value);
}

static char *joined(Arena *a, const StrList *l)
{
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&b, "%s%s", i ? " " : "", l->v[i]);
    return arena_strdup(a, buf_str(&b));
}

bool token_read(Arena *a, const char *text, size_t len, const char **ret, uint64_t *ret_seconds,
                Err *e)
{
    scoped(json) json_t *j = NULL;
    Err why = ERR_INIT;
    if (!json_parse(text, len, &j, &why))
        return err_set(e, ERR_NETWORK, "the answer is no JSON");
    const char *token = json_str(j, "token");
    if (!token || !*token)
        token = json_str(j, "access_token");
    if (!token || !*token || strlen(token) > TOKEN_MAX)
        return err_set(e, ERR_NETWORK, "the answer holds no token");
    for (const char *p = token; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
            return err_set(e, ERR_NETWORK, "the answer's token has bytes that no token has");
    json_int_t s = json_integer_value(json_object_get(j, "expires_in"));
    *ret_seconds = s <= 0 ? DEFAULT_S : s > LONGEST_S ? LONGEST_S : (uint64_t)s;
    *ret = arena_strdup(a, token);
    return true;
}

/* ---- asking ---- */

static bool good_realm(const TokenWish *w, Err *e)
{
    bool https = str_starts(w->realm, "https://");
    if (!https && !str_starts(w->realm, "http://"))
        return err_set(e, ERR_NETWORK, "'%s' sends us for a token to '%.200s', which is no address",
                       w->host->name, w->realm);
    if (!https && !strcmp(w->host->scheme, "https"))
        return err_set(
            e, ERR_NETWORK,
            "'%s' is reached by https and sends us for a token to http, where a password "
            "could be read: refused",
            w->host->name);
    return true;
}

/* An identity token is exchanged by POST. */
static NetAsk refresh_ask(Arena *a, const TokenWish *w, Buf *form)
{
    put_field(form, "grant_type", "refresh_token");
    put_field(form, "service", w->service);
    put_field(form, "client_id", "lighter");
    put_field(form, "scope", joined(a, w->scopes));
    put_field(form, "refresh_token", w->cred->identity_token);
    NetAsk ask = {.method = "POST",
                  .url = w->realm,
                  .has_body = true,
                  .body = buf_str(form),
                  .body_size = form->len};
    strlist_add(a, &ask.headers, "Content-Type: application/x-www-form-urlencoded");
    return ask;
}

static NetAsk plain_ask(Arena *a, const TokenWish *w)
{
    scoped(buf) Buf q = BUF_INIT;
    const Cred *c = w->cred;
    bool named = c->user && c->password;
    if (*w->service)
        put_field(&q, "service", w->service);
    for (size_t i = 0; i < w->scopes->n; i++)
        put_field(&q, "scope", w->scopes->v[i]);
    if (named)
        put_field(&q, "account", c->user);
    NetAsk ask = {
        .url = arena_printf(a, "%s%s%s", w->realm, strchr(w->realm, '?') ? "&" : "?", buf_str(&q))};
    if (named) {
        const char *both = arena_printf(a, "%s:%s", c->user, c->password);
        strlist_add(
            a, &ask.headers,
            arena_printf(a, "Authorization: Basic %s", base64_encode(a, both, strlen(both))));
    }
    return ask;
}

static bool refused(const TokenWish *w, int status, Err *e)
{
    const char *host = w->host->name;
    if (status == 401 || status == 403 || status == 400)
        return w->cred->user
                   ? err_set(e, ERR_NETWORK,
                             "'%s' gives user '%s', whom %s names, no token (status %d): wrong "
                             "password, or no right to this",
                             host, w->cred->user, w->cred->from ? w->cred->from : "the caller",
                             status)
                   : err_set(e, ERR_NETWORK,
                             "'%s' gives nobody a token who is not logged in (status %d): 'lighter "
                             "login %s' does that",
                             host, status,
                             !strcmp(host, "registry-1.docker.io") ? "docker.io" : host);
    return err_set(e, ERR_NETWORK, "token for '%s': status %d", host, status);
}

static bool fetch(Registry *r, Arena *a, const TokenWish *w, const char **ret,
                  uint64_t *ret_seconds, Err *e)
{
    scoped(buf) Buf form = BUF_INIT, body = BUF_INIT;
    NetAnswer head;
    (void)r;
    if (!good_realm(w, e))
        return false;
    bool refresh = w->cred->identity_token != NULL;
    NetAsk ask = refresh ? refresh_ask(a, w, &form) : plain_ask(a, w);
    ask.trust = &w->host->trust;
    bool ok = net_ask(a, &ask, &body, ANSWER_MAX, &head, NULL, e);
    if (form.len)
        explicit_bzero(form.ptr, form.len);
    if (!ok)
        return err_wrap(e, "token for '%s'", w->host->name);
    if (head.status < 200 || head.status >= 300)
        return refused(w, head.status, e);
    return token_read(a, buf_str(&body), body.len, ret, ret_seconds, e) ||
           err_wrap(e, "token for '%s'", w->host->name);
}

/* ---- keeping ---- */

static const char *key_of(Arena *a, const TokenWish *w)
{
    const Cred *c = w->cred;
    return arena_printf(a, "%s\n%s\n%s\n%s%s", w->realm, w->service, joined(a, w->scopes),
                        c->identity_token ? "id " : "", c->user ? c->user : "");
}

/* The entry of a key; the lock is held. */
static Token *entry(Registry *r, const char *key)
{
    for (Token *t = r->tokens; t; t = t->next)
        if (!strcmp(t->key, key))
            return t;
    Token *t = NEW(&r->arena, Token);
    t->key = arena_strdup(&r->arena, key);
    t->next = r->tokens;
    r->tokens = t;
    return t;
}

static bool counts(const Token *t, const char *stale)
{
    return t->text && clock_ns() < t->until && (!stale || strcmp(t->text, stale) != 0);
}

/*
 * Wait while another thread fetches it. *ret_ours: nobody does, and the caller is to; the lock is
 * held.
 */
static bool wait_for(Registry *r, Token *t, const char *stale, bool *ret_ours, Err *e)
{
    unsigned failures = t->failures;
    *ret_ours = false;
    while (t->fetching)
        pthread_cond_wait(&r->changed, &r->lock);
    if (t->failures != failures) /* what refused the other refuses us */
        return err_set(e, t->why.kind, "%s", t->why.msg);
    if (counts(t, stale))
        return true;
    t->fetching = true;
    *ret_ours = true;
    return true;
}

bool token_get(Registry *r, Arena *a, const TokenWish *w, const char **ret, Err *e)
{
    const char *text = NULL, *key = key_of(a, w);
    uint64_t seconds = 0;
    bool ours;
    pthread_mutex_lock(&r->lock);
    Token *t = entry(r, key);
    bool ok = wait_for(r, t, w->stale, &ours, e);
    if (ok && !ours)
        *ret = t->text;
    pthread_mutex_unlock(&r->lock);
    if (!ok || !ours)
        return ok;
    Err once = ERR_INIT;
    ok = fetch(r, a, w, &text, &seconds, &once);
    pthread_mutex_lock(&r->lock);
    t->fetching = false;
    if (ok) {
        uint64_t use = seconds > 2 * MARGIN_S ? seconds - MARGIN_S : seconds / 2;
        t->text = arena_strdup(&r->arena, text);
        t->until = clock_ns() + use * 1000000000u;
        *ret = t->text;
    } else {
        t->failures++;
        t->why = once;
    }
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return ok || err_set(e, once.kind, "%s", once.msg);
}
