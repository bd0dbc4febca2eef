/*
 * gomod/inside.h - what the files of the room share. Private to it.
 */
#ifndef GOMOD_INSIDE_H
#define GOMOD_INSIDE_H

#include <pthread.h>

#include "base/map.h"
#include "gomod/gomod.h"

enum { GOMOD_TEXT_MAX = 16 << 20 };

/* One h1 that is right for a module's zip, or for its go.mod; several go.sum files may differ. */
typedef struct Sum {
    const char *h1;
    struct Sum *next;
} Sum;

/* Something that is being fetched; of the thread that fetches it. */
typedef struct Flight {
    const char *key;
    struct Flight *next;
} Flight;

/* A checksum database, as one setting of GOSUMDB and GOPROXY reaches it. */
typedef struct Database {
    const char *setting;
    GoSumdb *db; /* NULL: it cannot be had, and `why` says why */
    const char *why;
    const char *dir; /* relative to the store */
    const char *base;
    struct Database *next;
    Gomod *g;
} Database;

/* Something to fetch before it is asked for; its h1 was learned. */
typedef struct Wanted {
    GoModule mod;
    GoRequestKind kind; /* GO_REQUEST_MOD, _INFO or _ZIP */
} Wanted;

/* One line of a go.sum file. */
typedef struct Known {
    GoModule mod;
    bool gomod;
    const char *h1;
} Known;

/* A directory that is a file:// proxy, in use by this build. */
typedef struct GoView {
    const char *path;  /* relative to the store */
    const char *proxy; /* whose word of versions is in it; "" for none */
    Gomod *g;
    pthread_t thread; /* that fills it, where `apart` */
    bool apart, filling;
    struct GoView *next;
} GoView;

/* What fetches before it is asked for. */
typedef struct Prefetch {
    pthread_t threads[GOMOD_WIDTH];
    size_t nthread;
    const GoSettings *settings;
    GoProxyList proxies;
    size_t next; /* in Gomod.wanted */
    size_t running;
    uint64_t bytes;  /* of zips that came */
    bool incomplete; /* something could not be had */
} Prefetch;

struct Gomod {
    Store *store;
    EventSink sink;
    bool offline;
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t landed;
    Arena arena;
    Map sums; /* "path@version", or with "/go.mod" -> Sum */
    Known *known;
    size_t nknown, known_cap;
    size_t *mods; /* which of them are go.mod files */
    size_t nmod, mod_cap;
    GoView *views;
    Wanted *wanted;
    size_t nwanted, wanted_cap;
    Flight *flights;
    pthread_mutex_t sumdb_lock; /* of `databases`, and of the clients in them */
    Database *databases;
    Arena sumdb_arena;
    Prefetch pre;
    bool stopping, trees;
    Digest learned; /* of all go.sum lines, order aside */
    bool complete;  /* everything wanted is in the store */
};

/* ---- prefetch.c ---- */

/* prefetch_join - until its threads have ended; once. */
void prefetch_join(Gomod *g);

/* ---- gomod.c: trees ---- */

/* tree_extract - unpack a zip into a directory that is made, as trees lie in the store. */
NODISCARD bool tree_extract(Gomod *g, GoZip *z, const char *path, char ret_h1[static GO_H1_SIZE],
                            Err *e);

/* ---- keep.c: the store's files ---- */

/* keep_dir - "gomod/<hex>" of a zip with this h1. */
enum { KEEP_PATH = STORE_TMP_MAX };
void keep_dir(const char *h1, char out[static KEEP_PATH]);
bool keep_has_zip(Gomod *g, const char *h1);
/* keep_open_zip - a descriptor, or -1 when it is not there; the process uses it from now on. */
int keep_open_zip(Gomod *g, const char *h1);
/* keep_put_zip - publish the directory `tmp`, which has a file `zip`, as this module. */
NODISCARD bool keep_put_zip(Gomod *g, const char *tmp, const GomodMaterial *m, const char *source,
                            Err *e);
/* keep_put_mod - keep a go.mod by its h1. */
void keep_put_mod(Gomod *g, const char *h1, Str text);
/* keep_get_info, keep_put_info - what a proxy said of a version; `path` is the request's. */
bool keep_get_info(Gomod *g, const char *proxy, const char *path, Buf *out);
void keep_put_info(Gomod *g, const char *proxy, const char *path, Str text);
/* keep_info_path - where that is, relative to the store. */
const char *keep_info_path(Arena *a, const char *proxy, const char *path);
const char *keep_mod_path(Arena *a, const char *h1);
/* keep_link - a second name for a file of the store's; directories on the way are made. */
bool keep_link(Gomod *g, const char *from, const char *to);
/* keep_dirs - make a directory of the store and its parents, which every user may read. */
bool keep_dirs(Gomod *g, const char *path);
/* keep_write - make a file with these bytes, whole or not at all, with its directories. */
bool keep_write(Gomod *g, const char *path, Str bytes);

/* ---- sums.c: what is right ---- */

typedef enum SumVerdict {
    SUM_PROVEN,  /* these are the module's bytes */
    SUM_WRONG,   /* they are not; `e` says so */
    SUM_UNKNOWN, /* nobody says what they should be */
} SumVerdict;

/* sums_add - one right h1; false when it was known. */
bool sums_add(Gomod *g, const GoModule *m, bool gomod, const char *h1);
/* sums_get - an h1 that was learned, NULL for none; lives as long as `g`. */
const char *sums_get(Gomod *g, const GoModule *m, bool gomod);
/*
 * sums_judge - hold an h1 against go.sum and, where that is silent, the checksum database.
 *
 *   source  who sent it, for the message
 */
SumVerdict sums_judge(Gomod *g, const GoSettings *s, const GoModule *m, bool gomod, const char *h1,
                      const char *source, Err *e);
/* sumdb_sums - learn the sums of a module from the checksum database; false: it has none, or `e`.
 */
bool sumdb_sums(Gomod *g, const GoSettings *s, const GoModule *m, Err *e);
/*
 * sums_recall - where go.sum is silent: learn what the checksum database said to an earlier build.
 * Of a module that the store knows nothing of, the database is not told.
 */
void sums_recall(Gomod *g, const GoSettings *s, const GoModule *m, bool gomod);
void sumdb_done(Gomod *g);

/* ---- fetch.c: proxies ---- */

/* What is wanted of one proxy. */
typedef struct Ask {
    const GoRequest *req;
    const GoProxy *proxy;
    const GoSettings *settings;
    bool patient; /* passing failures are tried again */
} Ask;

/* An answer for go. */
typedef struct Got {
    int status;
    const char *type; /* of its content */
    Buf text;         /* the body, unless `fd` is one */
    int fd;
    uint64_t size; /* of `fd` */
    bool refused;  /* the bytes are not the module's; `text` says so */
} Got;

#define GOT_INIT                                                                                   \
    {                                                                                              \
        .fd = -1                                                                                   \
    }
void got_done(Got *g);
static inline void scoped_got_done(Got *g)
{
    got_done(g);
}

/* fetch - answer a request out of the store, or out of what the proxy says. Any thread. */
void fetch(Gomod *g, Arena *a, const Ask *ask, Got *ret);

/* ---- view.c: a directory for go ---- */

/* view_path - the view of all that was learned, for steps whose first proxy is this, relative to
 * the store; made, and from now on filled with what the store has. Fails with ERR_STORE. */
NODISCARD bool view_path(Gomod *g, const char *proxy, const char **ret, Err *e);
/* view_ready - wait until all that was there is in it. */
void view_ready(Gomod *g, const char *proxy);
/* views_join - until nothing is filled any more; once. */
void views_join(Gomod *g);
/* view_add - the store has something new: show it in the views where it is known. */
void view_add(Gomod *g, const GoModule *m, bool gomod, const char *h1);
/* view_add_info - the same for what a proxy says of a version. */
void view_add_info(Gomod *g, const char *proxy, const char *path);
/* view_was_complete - whether a build with the same go.sum files and this proxy had all of them. */
bool view_was_complete(Gomod *g, const char *proxy);
/* view_complete - nothing is missing from the views of this build: the next one need not look. */
void view_complete(Gomod *g);

/* ---- gateway.c, serve.c ---- */

struct GomodStep {
    Gomod *g;
    const GoSettings *settings;
    Arena arena;
    GoProxyList proxies;
    bool asked[64]; /* of `proxies`: through us */
    bool alone;
    char word[33];
    const char *dir;
    int listener, stop; /* -1; `stop` is an eventfd */
    unsigned port;
    pthread_t thread;
    bool serving;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned nlink; /* connections */
    int links[256];
    Err refused; /* the first wrong bytes */
};

/* serve_link - talk with one client until it goes. */
void serve_link(GomodStep *s, int fd);

/* A request's head. */
typedef struct HttpHead {
    Str method, path;
    bool close; /* no further request on this connection */
} HttpHead;

/*
 * http_head - read a request's head.
 *
 *   ret_size  bytes of it; 0: it is not whole yet
 *
 * False for what is none. Source: RFC 9112, sections 3 and 9.6.
 */
NODISCARD bool http_head(Str bytes, HttpHead *ret, size_t *ret_size);

#endif
