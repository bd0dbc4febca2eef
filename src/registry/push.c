/*
 * registry/push.c - blobs and documents into a repository.
 *
 * A blob is asked for, mounted from where the registry has it, or sent in one go. Only when that
 * breaks off, and the server can say how far it came, is the rest sent in pieces. A session that
 * went wrong in any other way is begun anew.
 */
#include <stdlib.h>
#include <strings.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "registry/client.h"

enum {
    WORDS_MAX = 64 << 10,
    CHUNK = 16 << 20, /* of a blob that is sent in pieces */
    SESSIONS = NET_ATTEMPTS,
    DOC_TRIES = 0, /* the usual number */
};

/* Where something is sent. */
typedef struct Target {
    Registry *r;
    Arena *a;
    const char *name; /* the full reference */
    ImageRef ref;
    const char *repo;
    Endpoint ep;
    Err *e;
} Target;

static bool aim(Registry *r, Arena *a, const char *name, Target *ret, Err *e)
{
    Target t = {.r = r, .a = a, .name = name, .e = e};
    Endpoint *eps;
    size_t n;
    if (!image_ref_parse(a, name, &t.ref, e) || !client_load(r, e) ||
        !conf_endpoints(&r->conf, a, &t.ref, true, &eps, &n, e))
        return false;
    t.ep = eps[n - 1];
    t.repo = arena_printf(a, "%s/%s", t.ref.domain, t.ref.path);
    *ret = t;
    ret->ep = t.ep;
    return true;
}

static Call call_to(Target *t, const char *what, const char *method, const char *path)
{
    Call c = {.what = what, .ep = &t->ep, .method = method, .path = path};
    strlist_add(t->a, &c.scopes, client_scope(t->a, t->ep.path, "pull,push"));
    return c;
}

/* ---- one blob ---- */

typedef struct Upload {
    Target t;
    Store *s;
    const Descriptor *d;
    char digest[DIGEST_TEXT_SIZE];
    const char *what; /* "push of layer sha256:0123456789ab to 'h/repo'" */
    int fd;           /* -1 until the bytes are needed */
    const char *session;
    uint64_t done; /* bytes that the session has */
} Upload;

static bool is_ok(int status)
{
    return status >= 200 && status < 300;
}

static bool ask(Upload *u, const Call *c, Buf *body, NetAnswer *head, NetFault *fault, Err *e)
{
    return client_ask(u->t.r, u->t.a, c, body, WORDS_MAX, head, fault, e);
}

static bool has_blob(Upload *u, bool *ret, Err *e)
{
    scoped(buf) Buf body = BUF_INIT;
    NetAnswer head;
    Call c = call_to(&u->t, u->what, "HEAD",
                     arena_printf(u->t.a, "/v2/%s/blobs/%s", u->t.ep.path, u->digest));
    if (!ask(u, &c, &body, &head, NULL, e))
        return false;
    *ret = head.status == 200;
    /* Some registries say 401 or 405 to HEAD and take the push: the upload tells. */
    return true;
}

/* Take the Location of an answer as the session. */
static bool take_session(Upload *u, const NetAnswer *head, Err *e)
{
    const char *location = net_header(head, "Location");
    if (!location)
        return err_set(e, ERR_NETWORK, "%s: '%s' begins an upload and does not say where", u->what,
                       u->t.ep.host);
    u->session = net_resolve_url(u->t.a, head->url, location);
    return true;
}

static const char *uploads_path(Upload *u, const char *query)
{
    return arena_printf(u->t.a, "/v2/%s/blobs/uploads/%s", u->t.ep.path, query);
}

/* A POST without a body. */
static Call post(Upload *u, const char *query)
{
    Call c = call_to(&u->t, u->what, "POST", uploads_path(u, query));
    c.has_body = true;
    c.body = "";
    return c;
}

static bool begin_session(Upload *u, Err *e)
{
    scoped(buf) Buf body = BUF_INIT;
    NetAnswer head;
    Call c = post(u, "");
    u->done = 0;
    u->session = NULL;
    if (!ask(u, &c, &body, &head, NULL, e))
        return false;
    if (!is_ok(head.status))
        return client_refused(u->t.r, u->t.a, &c, &head, &body, e);
    return take_session(u, &head, e);
}

/* The repositories of the target's own registry that have the blob, without the target. */
static bool mount_sources(Upload *u, const StoreOrigin *origins, size_t norigin, StrList *ret,
                          Err *e)
{
    StrList repos = {0}, known;
    const char *prefix = arena_printf(u->t.a, "%s/", u->t.ref.domain);
    *ret = (StrList){0};
    if (!store_blob_repos(u->s, u->t.a, &u->d->digest, &known, e))
        return false;
    for (size_t i = 0; i < norigin; i++)
        strlist_add_once(u->t.a, &repos, origins[i].repo);
    for (size_t i = 0; i < known.n; i++)
        strlist_add_once(u->t.a, &repos, known.v[i]);
    for (size_t i = 0; i < repos.n; i++)
        if (str_starts(repos.v[i], prefix) && strcmp(repos.v[i], u->t.repo) != 0)
            strlist_add(u->t.a, ret, repos.v[i] + strlen(prefix));
    return true;
}

/*
 * Ask for a mount. The answer is 201, or a session to be used as if no mount had been asked for.
 * Without the right to read the other repository there is neither, and an upload is begun.
 */
static bool mount(Upload *u, const StoreOrigin *origins, size_t norigin, bool *ret_mounted, Err *e)
{
    scoped(buf) Buf body = BUF_INIT;
    StrList from;
    NetAnswer head;
    Err ignored = ERR_INIT;
    *ret_mounted = false;
    if (!mount_sources(u, origins, norigin, &from, e))
        return false;
    if (!from.n)
        return true;
    Call c = post(u, arena_printf(u->t.a, "?mount=%s&from=%s", u->digest, from.v[0]));
    strlist_add(u->t.a, &c.scopes, client_scope(u->t.a, from.v[0], "pull"));
    if (strcmp(c.scopes.v[0], c.scopes.v[1]) > 0) {
        char *first = c.scopes.v[0];
        c.scopes.v[0] = c.scopes.v[1];
        c.scopes.v[1] = first;
    }
    if (!ask(u, &c, &body, &head, NULL, &ignored))
        return !cancel_wanted() || err_set(e, ERR_STEP, "%s: cancelled", u->what);
    *ret_mounted = head.status == 201;
    return head.status != 202 || take_session(u, &head, e);
}

/* "?digest=" or "&digest=" behind whatever the session's URL has. */
static const char *closing_url(Upload *u)
{
    scoped(buf) Buf b = BUF_INIT;
    buf_printf(&b, "%s%cdigest=", u->session, strchr(u->session, '?') ? '&' : '?');
    for (const char *p = u->digest; *p; p++) {
        if (*p == ':')
            buf_puts(&b, "%3A");
        else
            buf_putc(&b, *p);
    }
    return arena_strdup(u->t.a, buf_str(&b));
}

static void send_bytes(Upload *u, Call *c, uint64_t at, uint64_t n)
{
    c->has_body = true;
    c->body_fd = u->fd;
    c->body_at = at;
    c->body_size = n;
    c->attempts = 1;
    strlist_add(u->t.a, &c->headers, "Content-Type: application/octet-stream");
}

/* What became of an attempt. */
typedef enum Outcome {
    SENT,    /* the blob is there */
    BROKEN,  /* the server may know how far it came */
    EXPIRED, /* the session is of no use any more */
    FATAL,
} Outcome;

static Outcome judge(Upload *u, const Call *c, bool answered, const NetAnswer *head,
                     const Buf *body, NetFault fault, Err *e)
{
    if (!answered)
        return fault == NET_FAULT_CUT || fault == NET_FAULT_CONNECT ? BROKEN : FATAL;
    if (head->status == 201 || (is_ok(head->status) && head->status != 202))
        return SENT;
    client_refused(u->t.r, u->t.a, c, head, body, e);
    if (net_passing(head->status))
        return BROKEN;
    /* 404 and 410: the session has ended. 416: it is somewhere else. 400: some say so. */
    if (head->status == 404 || head->status == 410 || head->status == 416)
        return EXPIRED;
    return FATAL;
}

/* The rest of the blob in one PUT, which also ends the session. */
static Outcome put_rest(Upload *u, NetAnswer *head, Err *e)
{
    scoped(buf) Buf body = BUF_INIT;
    NetFault fault = NET_FAULT_NONE;
    Call c = call_to(&u->t, u->what, "PUT", NULL);
    c.url = closing_url(u);
    send_bytes(u, &c, u->done, u->d->size - u->done);
    bool answered = ask(u, &c, &body, head, &fault, e);
    if (answered && head->status == 202) /* "stored" is 201 and nothing else */
        return EXPIRED;
    return judge(u, &c, answered, head, &body, fault, e);
}

/* Bytes that the server says it has: "0-1023"; false when it says nothing that can be used. */
static bool range_end(const NetAnswer *head, uint64_t *ret)
{
    const char *range = net_header(head, "Range");
    if (!range)
        return false;
    range += !strncasecmp(range, "bytes=", 6) ? 6 : 0;
    const char *dash = strchr(range, '-');
    uint64_t last;
    if (!dash || strtoull(range, NULL, 10) != 0 || !str_u64(dash + 1, INT64_MAX, &last))
        return false;
    *ret = last ? last + 1 : 0; /* "0-0" is said of an empty session */
    return true;
}

/* Ask the session how far it came. Registries that cannot tell want a new one. */
static bool resume(Upload *u)
{
    scoped(buf) Buf body = BUF_INIT;
    NetAnswer head;
    Err ignored = ERR_INIT;
    uint64_t done;
    Call c = call_to(&u->t, u->what, "GET", NULL);
    c.url = u->session;
    c.attempts = 2;
    if (!ask(u, &c, &body, &head, NULL, &ignored) || head.status != 204 ||
        !range_end(&head, &done) || done > u->d->size)
        return false;
    if (net_header(&head, "Location") && !take_session(u, &head, &ignored))
        return false;
    u->done = done;
    return true;
}

/* One piece, strictly behind those before. */
static Outcome patch(Upload *u, NetAnswer *head, Err *e)
{
    scoped(buf) Buf body = BUF_INIT;
    NetFault fault = NET_FAULT_NONE;
    uint64_t n = u->d->size - u->done < CHUNK ? u->d->size - u->done : CHUNK, done;
    Call c = call_to(&u->t, u->what, "PATCH", NULL);
    c.url = u->session;
    send_bytes(u, &c, u->done, n);
    strlist_add(u->t.a, &c.headers,
                arena_printf(u->t.a, "Content-Range: %llu-%llu", (unsigned long long)u->done,
                             (unsigned long long)(u->done + n) - 1));
    bool answered = ask(u, &c, &body, head, &fault, e);
    if (!answered || head->status != 202) {
        Outcome o = judge(u, &c, answered, head, &body, fault, e);
        return o == SENT ? EXPIRED : o; /* a PATCH stores nothing */
    }
    if (!take_session(u, head, e))
        return FATAL;
    u->done = range_end(head, &done) ? done : u->done + n;
    return u->done <= u->d->size ? SENT : EXPIRED;
}

/* A session after it broke: pieces from where it came to, then the end. */
static Outcome send_pieces(Upload *u, NetAnswer *head, Err *e)
{
    while (u->d->size - u->done > CHUNK) {
        Outcome o = patch(u, head, e);
        if (o != SENT)
            return o;
    }
    return put_rest(u, head, e);
}

static bool open_bytes(Upload *u, const StoreOrigin *origins, size_t norigin, Err *e)
{
    uint64_t size;
    bool have;
    if (u->fd >= 0)
        return true;
    if (!store_has_blob(u->s, &u->d->digest, &have, e) ||
        (!have && norigin && !registry_fetch(u->t.r, u->s, origins, norigin, e)))
        return false;
    if (!store_open_blob(u->s, &u->d->digest, &u->fd, &size, e))
        return false;
    return size == u->d->size ||
           err_set(e, ERR_STORE, "blob %s has %llu bytes and not %llu", u->digest,
                   (unsigned long long)size, (unsigned long long)u->d->size);
}

static bool send_blob(Upload *u, Err *e)
{
    bool pieces = false;
    for (unsigned n = 1;; n++) {
        Err once = ERR_INIT;
        NetAnswer head = {0};
        if (!u->session && !begin_session(u, e))
            return false;
        Outcome o = pieces ? send_pieces(u, &head, &once) : put_rest(u, &head, &once);
        if (o == SENT)
            return true;
        if (cancel_wanted())
            return err_set(e, ERR_STEP, "%s: cancelled", u->what);
        if (once.kind == ERR_NONE)
            err_set(&once, ERR_NETWORK, "%s: '%s' does not say that it is stored", u->what,
                    u->t.ep.host);
        if (o == FATAL || n == SESSIONS)
            return err_set(e, once.kind, n > 1 ? "%s (tried %u times)" : "%s", once.msg, n);
        if (!net_pause(n, head.status ? &head : NULL, u->what, e))
            return false;
        pieces = o == BROKEN && resume(u);
        if (!pieces)
            u->session = NULL;
    }
}

/* 413 is said by proxies before the registry. */
static bool explain(Upload *u, Err *e)
{
    char size[32];
    if (!strstr(e->msg, "status 413"))
        return false;
    str_size(u->d->size, size, sizeof size);
    return err_wrap(e,
                    "the server takes no body of %s (a proxy's limit, as nginx's "
                    "client_max_body_size)",
                    size);
}

static bool remember(Upload *u, const Digest *diff_id, Err *e)
{
    StoreOrigin o = {.blob = u->d->digest,
                     .size = u->d->size,
                     .media_type = u->d->media_type ? u->d->media_type : "",
                     .repo = u->t.repo};
    return !diff_id || store_origin_put(u->s, diff_id, &o, e);
}

static void note(Upload *u, RegistrySent how, uint64_t began)
{
    char size[32];
    str_size(u->d->size, size, sizeof size);
    if (how == SENT_BYTES)
        client_note(u->t.r, "sent %.19s  %s in %.1f s", u->digest, size,
                    (double)(clock_ns() - began) / 1e9);
    else
        client_note(u->t.r, "%s %.19s  %s", how == SENT_MOUNTED ? "mounted" : "there is", u->digest,
                    size);
}

static bool push_one(Upload *u, const StoreOrigin *origins, size_t norigin, RegistrySent *ret,
                     Err *e)
{
    bool had = false, mounted = false;
    *ret = SENT_HAD;
    if (!has_blob(u, &had, e))
        return false;
    if (had)
        return true;
    *ret = SENT_MOUNTED;
    if (!mount(u, origins, norigin, &mounted, e))
        return false;
    if (mounted)
        return true;
    *ret = SENT_BYTES;
    return open_bytes(u, origins, norigin, e) && send_blob(u, e);
}

bool registry_push_blob(Registry *r, Store *s, const char *ref, const Descriptor *d,
                        const StoreOrigin *origins, size_t norigin, const Digest *diff_id,
                        RegistrySent *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    Upload u = {.s = s, .d = d, .fd = -1};
    uint64_t began = clock_ns();
    RegistrySent how;
    digest_text(&d->digest, u.digest);
    if (!aim(r, &a, ref, &u.t, e))
        return false;
    u.what = arena_printf(&a, "push of %.19s to '%s'", u.digest, u.t.repo);
    bool ok = push_one(&u, origins, norigin, &how, e);
    scoped_fd_done(&u.fd);
    if (!ok)
        return explain(&u, e);
    note(&u, how, began);
    *ret = how;
    return remember(&u, diff_id, e);
}

/* ---- documents ---- */

bool registry_push_document(Registry *r, Arena *a, const char *ref, const char *media_type,
                            const void *bytes, size_t n, Err *e)
{
    scoped(buf) Buf body = BUF_INIT;
    Target t;
    NetAnswer head;
    Digest digest;
    char text[DIGEST_TEXT_SIZE];
    digest_of(bytes, n, &digest);
    digest_text(&digest, text);
    if (!aim(r, a, ref, &t, e))
        return false;
    const char *target = t.ref.tag ? t.ref.tag : t.ref.digest ? t.ref.digest : "latest";
    Call c = call_to(&t, arena_printf(a, "push of '%s'", ref), "PUT",
                     arena_printf(a, "/v2/%s/manifests/%s", t.ep.path, target));
    c.has_body = true;
    c.body = bytes;
    c.body_size = n;
    strlist_add(a, &c.headers, arena_printf(a, "Content-Type: %s", media_type));
    if (!client_ask(r, a, &c, &body, WORDS_MAX, &head, NULL, e))
        return false;
    if (!is_ok(head.status))
        return client_refused(r, a, &c, &head, &body, e);
    const char *said = net_header(&head, "Docker-Content-Digest");
    if (said && str_starts(said, "sha256:") && strcmp(said, text) != 0)
        return err_set(e, ERR_NETWORK, "%s: '%s' stored %.80s and was sent %s", c.what, t.ep.host,
                       said, text);
    client_note(r, "pushed %s  %s", ref, text);
    return true;
}

/* ---- may we? ---- */

bool registry_check_push(Registry *r, Arena *a, const char *ref, Err *e)
{
    scoped(buf) Buf body = BUF_INIT;
    Upload u = {.fd = -1};
    NetAnswer head;
    Err ignored = ERR_INIT;
    if (!aim(r, a, ref, &u.t, e))
        return false;
    u.what = arena_printf(a, "push to '%s'", u.t.repo);
    if (!begin_session(&u, e))
        return false;
    /* Best effort: registries end sessions by themselves, and some know no DELETE. */
    Call c = call_to(&u.t, u.what, "DELETE", NULL);
    c.url = u.session;
    c.attempts = 1;
    (void)!ask(&u, &c, &body, &head, NULL, &ignored);
    return true;
}
