/*
 * net/url.h - URLs as text. Private to the net room.
 */
#ifndef NET_URL_H
#define NET_URL_H

#include "base/arena.h"
#include "base/err.h"

/*
 * url_to_send - an http or https URL as it may stand in a request: bytes of path and query that may
 * not are written as %XX. Fails with ERR_NETWORK for other schemes and for control characters.
 */
NODISCARD bool url_to_send(Arena *a, const char *url, const char **ret, Err *e);

#endif
