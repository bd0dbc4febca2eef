/*
 * go/sumdb.h - a client of a checksum database, which lets nobody change history.
 *
 * Part of the door. In: modules, a way to fetch what the database serves, and the newest signed
 * tree that was ever seen. Out: the h1 of each module, proven to be a record of the tree that the
 * database signs, and that tree, proven to continue the remembered one. A database that shows two
 * histories is caught and never asked again; nothing that is not proven reaches the caller's store.
 *
 * Where the database is reached, how, and what is kept of it is the caller's business.
 */
#ifndef GO_SUMDB_H
#define GO_SUMDB_H

#include "go/module.h"
#include "go/settings.h"

/* ---- which database ---- */

/* A GOSUMDB setting, read. In an arena. */
typedef struct GoSumdbName {
    bool off;         /* GOSUMDB=off: nothing is looked up; the rest is empty */
    const char *name; /* host, maybe with a path: "sum.golang.org" */
    const char *key;  /* "name+hash+key": whose signatures hold */
    const char *url;  /* asked instead of proxies and https://name; NULL: not given */
} GoSumdbName;

/*
 * go_sumdb_name - read a GOSUMDB setting: off, a known name, a key, either with a URL.
 *
 * Fails with ERR_USAGE. Source: `go help module-auth`; Go, cmd/go/internal/modfetch, dbDial.
 */
NODISCARD bool go_sumdb_name(Arena *a, const char *setting, GoSumdbName *ret, Err *e);

/*
 * go_sumdb_route - through whom the database is asked.
 *
 *   probe     asks for a URL and returns the status of the answer; 0 when there was none
 *   ret_base  below this URL are "lookup/...", "tile/..." and "latest"; in the arena
 *
 * Each proxy in turn is asked whether it serves this database; the first that does is used for all,
 * and the database itself is asked when none does. Fails with ERR_NETWORK when a proxy answers with
 * something that is neither yes nor no. Source: Go design document 25530, "Proxying a Checksum
 * Database"; Go, cmd/go/internal/modfetch, initBase.
 */
NODISCARD bool go_sumdb_route(Arena *a, const GoSumdbName *db, const GoProxyList *proxies,
                              int (*probe)(void *arg, const char *url), void *arg,
                              const char **ret_base, Err *e);

/* ---- tiles ---- */

/* A piece of a database's tree of hashes. */
typedef struct GoTile {
    uint32_t height; /* levels of the tree in one tile; 8 in all databases known */
    int32_t level;   /* from the leaves, in tiles; -1: the records themselves */
    uint64_t n;      /* number in its level */
    uint32_t width;  /* hashes in it: 2^height, or fewer at the right edge of the tree */
} GoTile;

enum { GO_TILE_PATH_SIZE = 64 };

/* go_tile_path - "tile/8/0/x001/234.p/17". Source: x/mod/sumdb/tlog, Tile.Path. */
void go_tile_path(const GoTile *t, char ret[static GO_TILE_PATH_SIZE]);
/* go_tile_parse - the same back; false for anything that go_tile_path() would not write. */
NODISCARD bool go_tile_parse(const char *path, GoTile *ret);

/* ---- the client ---- */

enum { GO_SUMDB_LOOKUP_MAX = 1 << 20 }; /* bytes of an answer to a lookup */

/* One thing wanted from the database. */
typedef struct GoSumdbFetch {
    const char *path; /* below the database's URL: "lookup/a.b/c@v1.0.0", "tile/8/0/005"; escaped */
    size_t max;       /* more bytes than these are no answer */
    bool fresh;       /* in: what is kept of it is wrong; it is to be asked for again */
    bool kept;        /* out: this is what was kept of it, so it is not saved again */
    int status;       /* out: of the answer, 200 when it is in `body`; 0: none came */
    Buf body;         /* out: appended; freed by the client */
} GoSumdbFetch;

typedef struct GoSumdbIo {
    /*
     * Get `n` things, all at once if that is possible: they wait for each other anyway. What `save`
     * was given may be given again without asking. False, with `e`, when it is no use to go on.
     */
    bool (*fetch)(void *arg, GoSumdbFetch *v, size_t n, Err *e);
    /* Keep what has been proven; NULL: nothing is kept. */
    void (*save)(void *arg, const char *path, const void *bytes, size_t n);
    void *arg;
} GoSumdbIo;

/* What became of the last call. */
typedef enum GoSumdbFault {
    GO_SUMDB_SOUND,
    GO_SUMDB_SILENT, /* nothing came that could be judged: try again, or another way */
    GO_SUMDB_FALSE,  /* what came is not what the database signed: somebody in between, or damage */
    GO_SUMDB_FORKED, /* the database signed two histories: nothing of it can be trusted any more */
} GoSumdbFault;

typedef struct GoSumdb GoSumdb;

/*
 * go_sumdb_new - a client of one database; used by one thread at a time.
 *
 *   io      borrowed until go_sumdb_free()
 *   latest  the signed tree that go_sumdb_latest() gave last time; empty for none
 *
 * Fails with ERR_USAGE (a bad key) or ERR_CHECK (`latest` is not signed by it).
 */
NODISCARD bool go_sumdb_new(const GoSumdbName *name, const GoSumdbIo *io, Str latest, GoSumdb **ret,
                            Err *e);
void go_sumdb_free(GoSumdb *db);
static inline void scoped_go_sumdb_done(GoSumdb **db)
{
    go_sumdb_free(*db);
}

/* What the database has of one module. */
typedef struct GoSumdbAnswer {
    bool found;           /* false: it knows no such module, or was not reached for it */
    int status;           /* of the answer */
    const char *h1;       /* of the zip; NULL: not in the record */
    const char *gomod_h1; /* of go.mod; NULL: not in the record */
} GoSumdbAnswer;

/*
 * go_sumdb_lookup - the sums of `n` modules, in two or three rounds of fetching for all of them.
 *
 *   a    the texts of the answers are put there
 *   ret  room for n answers
 *
 * Fails with ERR_DOCKERFILE (no module, or a version that cannot stand in a path), ERR_NETWORK
 * (GO_SUMDB_SILENT, or what `fetch` said) or ERR_CHECK (GO_SUMDB_FALSE, GO_SUMDB_FORKED).
 * Source: x/mod/sumdb, Client; RFC 6962, section 2.1.
 */
NODISCARD bool go_sumdb_lookup(GoSumdb *db, Arena *a, const GoModule *mods, size_t n,
                               GoSumdbAnswer *ret, Err *e);

/*
 * go_sumdb_merge - hold a signed tree against the newest one known, and remember the newer.
 *
 * For trees that come by another way: what another process has remembered since, or an answer to
 * "latest" that is passed on. Fails like go_sumdb_lookup().
 */
NODISCARD bool go_sumdb_merge(GoSumdb *db, Str note, Err *e);

/*
 * go_sumdb_latest - the newest signed tree that was proven to continue all before; to be stored and
 * given to go_sumdb_new() next time. Empty when there is none. Valid until the next call.
 */
Str go_sumdb_latest(const GoSumdb *db);

/* go_sumdb_fault - what the last call met; GO_SUMDB_FORKED stays. */
GoSumdbFault go_sumdb_fault(const GoSumdb *db);

/*
 * go_sumdb_evidence - after GO_SUMDB_FORKED: both signed trees and the proof that they exclude each
 * other, as text to publish; else "".
 */
const char *go_sumdb_evidence(const GoSumdb *db);

#endif
