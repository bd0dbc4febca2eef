/*
 * go/url.h - URLs as Go's net/url reads them.
 */
#ifndef GO_URL_H
#define GO_URL_H

#include "base/str.h"

/* A URL taken apart. Texts are never NULL. */
typedef struct GoUrl {
    const char *scheme; /* in small letters */
    const char *host;   /* as written: name or [address], and maybe a port */
    const char *path;   /* decoded */
    bool has_user, has_query, has_fragment;
    bool opaque;   /* "scheme:text": no path */
    bool no_host;  /* "scheme:/path" */
    bool odd_path; /* escaped in another way than Go would */
} GoUrl;

/*
 * go_url_parse - take `text` apart. NULL when it is well-formed, else what is wrong with it.
 * Source: Go 1.26, net/url, Parse.
 */
const char *go_url_parse(Arena *a, const char *text, GoUrl *ret);

/* go_url_escape - `path` as Go writes the path of a URL it asks for: "!" is "%21". */
const char *go_url_escape(Arena *a, const char *path);

/*
 * go_url_unescape - a path from a request, percent-decoded in the arena. NULL for a broken escape
 * and for one that hides a slash or a control character.
 */
const char *go_url_unescape(Arena *a, Str path);

#endif
