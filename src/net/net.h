/*
 * net/net.h - the door of the net room: bytes from and to other machines, by http and https.
 *
 * In: a NetRequest, and the bytes come into a file or a buffer (net_get); or a NetAsk of any method
 * with a body, whose answer of any status is read step by step (net_open, net_read) or as one text
 * (net_ask). This is the only room that knows libcurl, which is loaded at the first transfer: a
 * build that needs no network neither needs the library nor pays for it.
 *
 * A server is hostile until TLS says who it is, and then still gives no more than was asked for:
 * sizes are limited, redirects stay within http and https and end after NET_REDIRECTS, credentials
 * go to the scheme, host and port they are for. No message shows a secret of an URL. Connections
 * are kept alive and shared by all threads. Proxies come from the environment (http_proxy,
 * HTTP_PROXY, https_proxy, all_proxy, no_proxy, and their capitals; this machine's own names are
 * never asked of one), trusted certificates from the system, or from the file and directory that
 * SSL_CERT_FILE and SSL_CERT_DIR name.
 *
 * Used by: source, registry, go, gomod, cmd.  Uses: base.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include "base/arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

enum {
    NET_REDIRECTS = 10, /* as Go's client, which docker's builder uses */
    NET_ATTEMPTS = 6,   /* of one request, the first included */
    NET_CONNECT_S = 30, /* until a connection stands, TLS included */
    NET_STALL_S = 60,   /* with less than this many bytes a second, and the transfer is given up */
    NET_STALL_BYTES = 100,
    NET_STALL_SENDING_S = 300, /* the same where a body was sent: the server may have to store it */
    NET_RETRY_AFTER_MAX = 120  /* seconds; a server that wants more of a pause is an error */
};

/* net_forbid - from here on every request of this process fails, and the message says that it is
 * for --offline. */
void net_forbid(void);
bool net_forbidden(void);

/* ---- files of web servers ---- */

/* What is asked for. Everything is borrowed for the call. */
typedef struct NetRequest {
    const char *url;
    StrList headers; /* "Name: value"; those lighter sets itself are not to be given */

    /* What the caller has already: NULL, or the validators of an earlier NetReply. */
    const char *have_etag, *have_modified;

    bool gunzip;       /* offer gzip as a way to travel, and unpack it; Go's client always does */
    uint64_t max_size; /* bytes of the unpacked body; more is an error */
    Buf *into;         /* the body is appended here; NULL: written to `fd` */
    int fd;            /* a regular file, from its offset on; a failure may leave part of a body */
} NetRequest;

/* What came. Strings are in the arena; a header that was not sent is NULL. */
typedef struct NetReply {
    int status;     /* 2xx, or 304 */
    bool unchanged; /* what the caller has is what the server has: no body */
    const char *etag, *last_modified, *date, *disposition, *content_type;
    const char *final_url; /* after redirects */
    Digest digest;         /* of the body as delivered; unset when unchanged */
    uint64_t size;
} NetReply;

/*
 * net_get - fetch an URL; any thread may call it.
 *
 * A failed connection, a cut or stalled body and the statuses 408, 429 and 5xx are tried again
 * after net_pause(). base/cancel.h ends every wait. The body is whole: less than Content-Length
 * announced is a failure.
 *
 * Fails with ERR_NETWORK (status other than 2xx, libcurl's reason, limits; the message names the
 * URL without its secrets), ERR_ENV (libcurl is missing), ERR_STORE (`fd` cannot be written) or
 * ERR_STEP (cancelled). Source: RFC 9110, sections 10.2.3 (Retry-After) and 13 (conditions).
 */
NODISCARD bool net_get(Arena *a, const NetRequest *req, NetReply *ret, Err *e);

/* ---- any exchange ---- */

/* Whom to trust, and who we are to the server. NULL where nothing is said. */
typedef struct NetTrust {
    bool insecure;          /* whatever certificate it shows */
    const char *ca_pem;     /* certificates trusted besides the system's */
    const char *cert, *key; /* paths of PEM files that say who we are */
} NetTrust;

typedef enum NetFlags {
    NET_GUNZIP = 1 << 0,        /* offer gzip as a way to travel, and unpack it */
    NET_MAY_DOWNGRADE = 1 << 1, /* a redirect may lead from https to http */
} NetFlags;

/* A question. Everything is borrowed until the answer is closed. */
typedef struct NetAsk {
    const char *method; /* NULL: GET */
    const char *url;
    StrList headers; /* "Name: value"; Authorization and Cookie stay with the URL's own origin */
    const NetTrust *trust; /* NULL: as the system says */
    unsigned flags;        /* of NetFlags */

    /* The body: `body_size` bytes in memory, or else of the file `body_fd` from `body_at` on. */
    bool has_body;
    const void *body;
    int body_fd;
    uint64_t body_at, body_size;

    unsigned attempts; /* of net_ask and net_open; 0: NET_ATTEMPTS */
    /* NULL, or a socket of this machine where the server listens; --offline does not forbid it. */
    const char *socket;
} NetAsk;

/* An answer's head. In the arena of the call. */
typedef struct NetAnswer {
    int status;
    StrList headers; /* "Name: value" as they came */
    const char *url; /* what answered, after redirects */
    int64_t length;  /* of the body; -1: not said */
} NetAnswer;

/* Why there is no answer. */
typedef enum NetFault {
    NET_FAULT_NONE,
    NET_FAULT_CONNECT, /* nobody is there, or the name is unknown */
    NET_FAULT_TLS,     /* it does not speak TLS, or a certificate is wrong */
    NET_FAULT_CUT,     /* the connection broke, or stood still */
    NET_FAULT_OTHER,   /* limits, a redirect that is refused, our own side */
} NetFault;

/* net_header - the value of the first header of this name, whatever its case; NULL: none. */
const char *net_header(const NetAnswer *ans, const char *name);

typedef struct NetStream NetStream;

/*
 * net_open - ask, and give the answer's head; its body is read with net_read. Free with net_close.
 *
 *   ret_fault  NULL, or where to say why there is no answer
 *
 * A body to be sent is sent before it returns; nothing of it is kept in memory. Redirects are
 * followed: 303 by GET, the others with method and body. Passing failures and the statuses 408, 429
 * and 5xx are tried again, if there are attempts; after the last one the answer is given as it is.
 * Any status is a success. Any thread may call it; a stream belongs to one at a time.
 *
 * Fails as net_get does.
 */
NODISCARD bool net_open(Arena *a, const NetAsk *ask, NetStream **ret, NetAnswer *ret_answer,
                        NetFault *ret_fault, Err *e);
/* net_read - some bytes of the body, at least one; *ret_n is 0 at its end. A cut body fails. */
NODISCARD bool net_read(NetStream *s, void *buf, size_t cap, size_t *ret_n, Err *e);
/* net_close - end it; a body that is not read to its end costs the connection. NULL is fine. */
void net_close(NetStream *s);
static inline void scoped_net_stream_done(NetStream **s)
{
    net_close(*s);
}

/*
 * net_ask - the same for an answer that fits into memory.
 *
 *   into  the body is appended; NULL: it is not wanted
 *   max   its limit in bytes; more is an error
 */
NODISCARD bool net_ask(Arena *a, const NetAsk *ask, Buf *into, uint64_t max, NetAnswer *ret,
                       NetFault *ret_fault, Err *e);

/*
 * net_pause - wait before an attempt: a random part of 0.2 s doubled with each one, at most 20 s;
 * or what the last answer's Retry-After said.
 *
 *   attempt  how many failed, from 1
 *   answer   NULL when there was none
 *   shown    names the request in messages
 *
 * Fails with ERR_STEP (cancelled), or with ERR_NETWORK for a pause over NET_RETRY_AFTER_MAX.
 */
NODISCARD bool net_pause(unsigned attempt, const NetAnswer *answer, const char *shown, Err *e);
/* net_passing - whether a status may be another one the next time: 408, 429, 5xx. */
bool net_passing(int status);

/*
 * net_mask_url - an URL as messages may show it, in the arena: a password, a user name that stands
 * alone and the values of query parameters named like secrets are xxxxx. Any text may be given.
 */
char *net_mask_url(Arena *a, const char *url);
/* net_same_origin - whether credentials for one may be shown to the other: scheme, host, port. */
bool net_same_origin(const char *a, const char *b);
/* net_resolve_url - what a Location means in the answer of `base`. Source: RFC 3986, section 5.2;
 * libcurl removes the dots. */
const char *net_resolve_url(Arena *a, const char *base, const char *ref);

#endif
