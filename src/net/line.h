/*
 * net/line.h - handles of libcurl with their kept-alive connections, handed from call to call.
 * Private to the net room.
 *
 * A line is used by one exchange at a time, in one thread, and then waits for the next one to the
 * same server. libcurl's own sharing of connections between threads is not safe.
 */
#ifndef NET_LINE_H
#define NET_LINE_H

#include "net/curl.h"

typedef struct Line {
    CURL *easy;
    CURLM *multi;
    char *origin; /* "https://host:port" of the last exchange */
    struct Line *next;
} Line;

/* line_take - a line for an URL, reset: one that was there before, or a new one. */
Line *line_take(const CurlApi *curl, const char *url);
/* line_put - give it back; `good` is false when its connection must not be used again. */
void line_put(const CurlApi *curl, Line *l, bool good);

#endif
