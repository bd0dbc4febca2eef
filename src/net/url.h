/*
 * net/url.h - URLs as text. Private to the net room.
 */
#ifndef NET_URL_H
#define NET_URL_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* An http or https URL, taken apart; borrowed from the text. */
typedef struct Url {
    bool https;
    Str user; /* "name:password", without '@'; empty when there is none */
    Str host; /* as written, "[::1]" with its brackets */
    unsigned port;
    const char *rest; /* from the path on: "", "/a?b", "?b" */
} Url;

/* url_split - false for other schemes and for ports that are none. */
bool url_split(const char *url, Url *ret);
/* url_loopback - whether it leads to this machine by its very name, which no proxy is asked for. */
bool url_loopback(const char *url);

/*
 * url_to_send - an http or https URL as it may stand in a request: bytes of path and query that may
 * not are written as %XX. Fails with ERR_NETWORK for other schemes and for control characters.
 */
NODISCARD bool url_to_send(Arena *a, const char *url, const char **ret, Err *e);

/* url_scheme - the scheme of an URL in the arena, "" when it has none. */
const char *url_scheme(Arena *a, const char *url);

#endif
