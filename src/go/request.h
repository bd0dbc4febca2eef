/*
 * go/request.h - what a go command asks of a proxy, and what it is told.
 *
 * Part of the door.
 */
#ifndef GO_REQUEST_H
#define GO_REQUEST_H

#include "go/module.h"
#include "go/sumdb.h"

typedef enum GoRequestKind {
    GO_REQUEST_LIST,      /* versions of a module, a line each */
    GO_REQUEST_LATEST,    /* its newest version, as JSON */
    GO_REQUEST_INFO,      /* what a version, branch or commit stands for, as JSON */
    GO_REQUEST_MOD,       /* go.mod */
    GO_REQUEST_ZIP,       /* the module */
    GO_REQUEST_SUPPORTED, /* does the proxy serve this checksum database? */
    GO_REQUEST_TREE,      /* the database's newest signed tree */
    GO_REQUEST_LOOKUP,    /* its record of a module */
    GO_REQUEST_TILE,      /* a piece of its tree of hashes */
} GoRequestKind;

/* One request, read; in an arena. What a kind does not have is NULL. */
typedef struct GoRequest {
    GoRequestKind kind;
    GoModule mod;      /* plain; LIST and LATEST have no version */
    bool canonical;    /* the version is one that never means anything else: answers can be kept */
    const char *sumdb; /* name of the database */
    GoTile tile;       /* GO_REQUEST_TILE */
    const char *path;  /* the request in its one written form, escaped: where an answer is kept */
    const char *rest;  /* of a database's: what follows its name, "tile/8/0/001" */
} GoRequest;

/*
 * go_request_parse - take the path of a request apart.
 *
 *   path  what follows the URL of the proxy, as it stands in the request line: percent-encoded,
 *         without query, with or without a slash in front
 *
 * Fails with ERR_NETWORK for everything a proxy answers with 404: what is no such request, names of
 * modules that are not escaped, versions of .mod and .zip that are not canonical, encoded slashes.
 * Source: Go modules reference, "GOPROXY protocol"; Go design document 25530.
 */
NODISCARD bool go_request_parse(Arena *a, Str path, GoRequest *ret, Err *e);

/* ---- answers ---- */

/* What a version stands for, as .info and @latest tell. */
typedef struct GoInfo {
    const char *version; /* in the arena */
    int64_t time;        /* of the commit, in seconds since 1970 */
    bool has_time;
} GoInfo;

/*
 * go_info_parse - read the answer to a GO_REQUEST_INFO or GO_REQUEST_LATEST.
 *
 * Fails with ERR_NETWORK: no JSON, no version in it, or another one than was asked for when that
 * was canonical. Source: Go, cmd/go/internal/modfetch, proxyRepo.Stat; RFC 3339.
 */
NODISCARD bool go_info_parse(Arena *a, const GoRequest *asked, Str text, GoInfo *ret, Err *e);

/*
 * go_list_parse - the versions in the answer to a GO_REQUEST_LIST that a go command looks at:
 * neither pseudo-versions nor what is no version. In the order they came, in the arena.
 */
StrList go_list_parse(Arena *a, Str text);

#endif
