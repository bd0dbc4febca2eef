/*
 * registry/client.h - questions to one server of a registry: scheme, trust, credentials, patience.
 * Private to the registry room.
 */
#ifndef REGISTRY_CLIENT_H
#define REGISTRY_CLIENT_H

#include "net/net.h"
#include "registry/challenge.h"
#include "registry/conf.h"
#include "registry/creds.h"
#include "registry/registry.h"

/* A server as it turned out to be. Lives as long as the Registry. */
typedef struct Host {
    const char *name; /* "localhost:5000" */
    bool insecure, plain;
    HostTrust certs;
    NetTrust trust;
    const char *scheme; /* "https"; NULL: not found out yet */
    AuthKind kind;      /* what it asked for last */
    const char *realm, *service;
    unsigned active, limit; /* questions at once; the limit is halved when it says 429 */
    struct Host *next;
} Host;

/* A token, or that it is being fetched. */
typedef struct Token {
    const char *key; /* realm, service, scopes, account */
    const char *text;
    uint64_t until; /* clock_ns() */
    bool fetching;
    unsigned failures; /* how often it could not be had; `why` is the last time's */
    Err why;
    struct Token *next;
} Token;

struct Registry {
    RegistryOpts opts;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a token came, a question ended, a scheme is known */
    Arena arena;            /* under the lock */
    bool loaded;
    Conf conf;
    Creds creds;
    Host *hosts;
    Token *tokens;
};

/* One question. Everything is borrowed. */
typedef struct Call {
    const char *what; /* for messages: "manifest of 'docker.io/library/alpine:3'" */
    const Endpoint *ep;
    const char *method;
    const char *path; /* "/v2/..." */
    const char *url;  /* instead of path: what a Location said */
    StrList headers;
    StrList scopes; /* what a token must allow, sorted */
    bool has_body;
    const void *body;
    int body_fd;
    uint64_t body_at, body_size;
    unsigned attempts; /* 0: NET_ATTEMPTS */
} Call;

/* An answer that is being read, and the place it takes. */
typedef struct Answer {
    NetAnswer head;
    NetStream *stream;
    Registry *r;
    Host *host;
} Answer;

void answer_close(Answer *x);
static inline void scoped_answer_done(Answer *x)
{
    answer_close(x);
}

/* client_load - read the configuration, if that was not done. */
NODISCARD bool client_load(Registry *r, Err *e);

/*
 * client_open - ask, as whoever we are there; tokens are fetched, and once more when they are
 * refused. Passing failures are tried again. Any status is an answer.
 */
NODISCARD bool client_open(Registry *r, Arena *a, const Call *c, Answer *ret, NetFault *ret_fault,
                           Err *e);
/* client_ask - the same with the whole body, at most `max` bytes. */
NODISCARD bool client_ask(Registry *r, Arena *a, const Call *c, Buf *into, uint64_t max,
                          NetAnswer *ret, NetFault *ret_fault, Err *e);

/* client_refused - the error of a status that is no success, with the server's words. */
bool client_refused(Registry *r, Arena *a, const Call *c, const NetAnswer *head, const Buf *body,
                    Err *e);
/* client_refused_open - the same, with the words read from the answer. */
bool client_refused_open(Arena *a, const Call *c, Answer *x, Err *e);

/* client_scope - "repository:library/alpine:pull". */
const char *client_scope(Arena *a, const char *path, const char *actions);
/* client_account - who we are to an endpoint's repository. */
NODISCARD bool client_account(Registry *r, const Endpoint *ep, Cred *ret, Err *e);

/* client_note - tell the sink one line. */
void client_note(Registry *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* host_get - the server of an endpoint, with its scheme found out. */
NODISCARD bool host_get(Registry *r, const Endpoint *ep, Host **ret, Err *e);

/* ---- tokens ---- */

/* What a token is for. */
typedef struct TokenWish {
    Host *host;
    const char *realm, *service;
    const StrList *scopes; /* sorted */
    const Cred *cred;
    const char *stale; /* NULL, or a token that was refused: another one is wanted */
} TokenWish;

/*
 * token_get - one that was fetched before and still counts, or a new one; threads that want one
 * token wait for one fetch. Fails with ERR_NETWORK: refused, or no answer.
 * Source: distribution, docs/spec/auth/token and oauth.
 */
NODISCARD bool token_get(Registry *r, Arena *a, const TokenWish *w, const char **ret, Err *e);

/* token_read - the token in an answer's text, and how many seconds it counts; for tests. */
NODISCARD bool token_read(Arena *a, const char *text, size_t len, const char **ret,
                          uint64_t *ret_seconds, Err *e);

#endif
