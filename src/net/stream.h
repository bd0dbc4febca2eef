/*
 * net/stream.h - one exchange, without redirects and further attempts. Private to the net room.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "net/net.h"

/* What net.c makes of a NetAsk for one hop. */
typedef struct StreamSpec {
    const NetAsk *ask;
    const char *url; /* as it is sent */
    const char *method;
    const char *shown; /* "GET 'https://...'" */
    bool with_body, with_private;
} StreamSpec;

/*
 * stream_begin - run until the answer's head is there or there will be none. Fails with ERR_ENV
 * and, when it is cancelled, ERR_STEP; what went wrong on the way is for the following to say.
 */
NODISCARD bool stream_begin(Arena *a, const StreamSpec *spec, NetStream **ret, Err *e);
/* stream_answered - the answer's head; false: there is none. */
bool stream_answered(NetStream *s, NetAnswer *ret);
/* stream_why - libcurl's words for what went wrong. */
const char *stream_why(const NetStream *s);
NetFault stream_fault(const NetStream *s);
/* stream_passes - whether the next attempt may not fail so. */
bool stream_passes(const NetStream *s);
/* stream_retry_after - seconds the server asks for, or -1. */
int64_t stream_retry_after(const NetStream *s);

#endif
