/*
 * net/net.h - the door of the net room: bytes from other machines, by http and https.
 *
 * In: a NetRequest. Out: the bytes, in a file or a buffer, with their SHA-256 and the headers that
 * matter. This is the only room that knows libcurl, which is loaded at the first transfer: a build
 * that needs no network neither needs the library nor pays for it.
 *
 * A server is hostile until TLS says who it is, and then still gives no more than was asked for:
 * sizes are limited, redirects stay within http and https and end after NET_REDIRECTS, credentials
 * go to the host they are for. Nothing is kept here, and no message shows a secret of an URL.
 * Proxies come from the environment (http_proxy, https_proxy, all_proxy, no_proxy), trusted
 * certificates from the system or from the file that SSL_CERT_FILE names.
 *
 * Used by: source.  Uses: base.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include "base/arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

enum {
    NET_REDIRECTS = 10,      /* as Go's client, which docker's builder uses */
    NET_ATTEMPTS = 4,        /* of one request, the first included */
    NET_CONNECT_S = 30,      /* until a connection stands, TLS included */
    NET_STALL_S = 60,        /* without a byte, and the transfer is given up */
    NET_RETRY_AFTER_MAX = 30 /* seconds; a server that wants more of a pause is an error */
};

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
 * after 0.5, 1 and 2 s, or what Retry-After says. base/cancel.h ends every wait. The body is whole:
 * less than Content-Length announced is a failure.
 *
 * Fails with ERR_NETWORK (status other than 2xx, libcurl's reason, limits; the message names the
 * URL without its secrets), ERR_ENV (libcurl is missing), ERR_STORE (`fd` cannot be written) or
 * ERR_STEP (cancelled). Source: RFC 9110, sections 10.2.3 (Retry-After) and 13 (conditions).
 */
NODISCARD bool net_get(Arena *a, const NetRequest *req, NetReply *ret, Err *e);

/*
 * net_mask_url - an URL as messages may show it, in the arena: a password, a user name that stands
 * alone and the values of query parameters named like secrets are xxxxx. Any text may be given.
 */
char *net_mask_url(Arena *a, const char *url);

#endif
