/*
 * gomod/gomod.h - the door of the module store: a Go module is fetched and checked once a machine.
 *
 * In: what go.sum files name, and the GOPROXY settings of steps. Out: for each step a GOPROXY that
 * leads through us: first a directory of what is in the store, which go reads as a file:// proxy,
 * then a gateway, which asks the step's own proxies, each in its place, and keeps what they send.
 * Separators, `direct` and `off` stay what they are. Prefetching fills the store from go.sum while
 * bases are unpacked.
 *
 * Nothing gets into the store that was not proven: by go.sum, and where that is silent by the
 * checksum database. What cannot be proven, and whatever settings say is private, is passed on and
 * not kept. Nothing that a step leaves depends on whether any of this was there.
 *
 *   gomod/<hex>/{zip,about}   a module, named by its h1; `tree` once it was unpacked
 *   gomod/<hex>/notes/        what follows from it, for whoever put it there
 *   gomod/texts/mod/<hex>     go.mod files, named by their h1
 *   gomod/texts/info/<hex>/   what a proxy says of versions, which nothing proves: kept by proxy
 *   gomod/sumdb/<hex>/        a checksum database: its newest tree, tiles, records
 *   gomod/view-<hex>/         links to what one set of go.sum files names: a file:// proxy
 *
 * Used by: steps, cmd.  Uses: base, net, go, store.
 */
#ifndef GOMOD_GOMOD_H
#define GOMOD_GOMOD_H

#include "base/event.h"
#include "go/go.h"
#include "store/store.h"

typedef struct Gomod Gomod;

typedef struct GomodOpts {
    bool offline; /* no proxy is asked, and what is missing is an error */
    EventSink sink;
} GomodOpts;

/* gomod_new - one for a build. Nothing is read or begun. */
Gomod *gomod_new(Store *s, const GomodOpts *o);
/* gomod_stop - end all threads; the store is not needed any more. */
void gomod_stop(Gomod *g);
/* gomod_free - NULL is fine. */
void gomod_free(Gomod *g);

/* ---- what is wanted ---- */

/*
 * gomod_learn - what the go.sum and go.mod of one module say.
 *
 *   name    of go.sum, for messages
 *   gomod   the text of go.mod or go.work; empty: none, then only sums are learned
 *
 * The texts are not those of a build that must be right: what cannot be read is for the go command
 * to say, and teaches nothing.
 */
void gomod_learn(Gomod *g, const char *name, Str gosum, Str gomod);

/*
 * gomod_prefetch - begin to fetch what was learned, up to GOMOD_WIDTH at a time, in threads of its
 * own; the namespaces are entered. `settings` are those of the first step that will want it;
 * borrowed.
 */
enum { GOMOD_WIDTH = 32 };
void gomod_prefetch(Gomod *g, const GoSettings *settings);
/* gomod_want_trees - prefetching also unpacks; before gomod_prefetch(). */
void gomod_want_trees(Gomod *g);
/* gomod_settle - wait until prefetching is over. Any thread. */
void gomod_settle(Gomod *g);
/*
 * gomod_wanted - the modules whose zips were learned and are wanted, and their h1: number `i`, from
 * 0. False: there are no more. The texts live as long as `g`.
 */
bool gomod_wanted(Gomod *g, size_t i, GoModule *ret, const char **ret_h1);

/*
 * gomod_known_mod - the go.mod files that were learned, and their h1: number `i`, from 0; go.sum
 * files that differ give one module twice. False: there are no more. The texts live as long as `g`.
 */
bool gomod_known_mod(Gomod *g, size_t i, GoModule *ret, const char **ret_h1);

/*
 * gomod_check_offline - whether the store has what was learned. Fails with ERR_NETWORK, naming what
 * is missing.
 */
NODISCARD bool gomod_check_offline(Gomod *g, Err *e);

/* ---- a step ---- */

typedef struct GomodStep GomodStep;

/*
 * gomod_step_new - a step that runs Go commands with these settings; they are borrowed until
 * gomod_step_end(). *ret is NULL when its GOPROXY is none that go would take.
 *
 *   alone  proxies are left to go itself: only the directory stands before them
 */
NODISCARD bool gomod_step_new(Gomod *g, const GoSettings *s, bool alone, GomodStep **ret, Err *e);

/* gomod_step_word - a random word that is in all that the step could tell of us. */
const char *gomod_step_word(const GomodStep *s);
/* gomod_step_dir - the directory that is a file:// proxy, relative to store_dirfd(). */
const char *gomod_step_dir(const GomodStep *s);
/* gomod_step_ready - wait until all that the store had is in it. */
void gomod_step_ready(const GomodStep *s);
/* gomod_step_asks - whether a proxy of the step's is asked through the gateway. */
bool gomod_step_asks(const GomodStep *s);
/*
 * gomod_step_said - the name of what the store has of the first proxy's word of a version.
 *
 *   path  of the request, "<module>/@v/<version>.info"
 *
 * False: it has none.
 */
bool gomod_step_said(const GomodStep *s, const char *path, Digest *ret);
/*
 * gomod_step_listen - serve on a listening socket, which is taken; -1: on one of our own, on the
 * caller's loopback. Fails with ERR_ENV.
 */
NODISCARD bool gomod_step_listen(GomodStep *s, int fd, Err *e);
/*
 * gomod_step_proxy - the step's GOPROXY, in the arena.
 *
 *   dir   where the step sees the directory; NULL: it does not
 *   port  of 127.0.0.1, where the gateway listens; 0: where gomod_step_listen() found room
 */
const char *gomod_step_proxy(const GomodStep *s, Arena *a, const char *dir, unsigned port);
/*
 * gomod_step_end - the step is over: nothing is served any more, and `s` is freed. NULL is fine.
 *
 * Fails with ERR_CHECK when a proxy sent bytes that are not the module's, whatever go made of it.
 */
NODISCARD bool gomod_step_end(GomodStep *s, Err *e);

/* ---- modules ---- */

/* All that comes from here into a module cache has one time; both as utimensat(2) takes them. */
extern const struct timespec GOMOD_TIME[2];

/* A module that was used: what an image is made of. */
typedef struct GomodMaterial {
    GoModule mod;
    const char *h1;
    Digest zip; /* the SHA-256 of the zip */
} GomodMaterial;

/*
 * gomod_find - what the store has of a module.
 *
 *   h1  of its zip
 *   ret_path  its directory, relative to store_dirfd(); the process uses it from now on; in `a`
 *
 * False when it is not there. The texts of `ret` are in `a`.
 */
bool gomod_find(Gomod *g, Arena *a, const char *h1, const char **ret_path, GomodMaterial *ret);
/* gomod_has_mod - whether the store has a go.mod with this h1; gomod_mod - append it, which is
 * whole; false: it is not there. */
bool gomod_has_mod(Gomod *g, const char *h1);
bool gomod_mod(Gomod *g, const char *h1, Buf *out);
/* gomod_sum - the h1 that was learned for a module's zip, in the arena; NULL: none. */
const char *gomod_sum(Gomod *g, Arena *a, const GoModule *m);
/*
 * gomod_tree - the directory of a module's files as go unpacks them, read-only, relative to
 * store_dirfd(); unpacked now if it was not yet. Fails with ERR_STORE, ERR_NETWORK or ERR_STEP.
 */
NODISCARD bool gomod_tree(Gomod *g, Arena *a, const GoModule *m, const char *h1, const char **ret,
                          Err *e);

/*
 * gomod_note_put - keep what follows from a module's files as long as the module; at best.
 * gomod_note_find - the file that has these bytes, which are whole, relative to store_dirfd(); it
 * may be linked to, and never changes. False: there is none.
 *
 *   name  a file's
 *   ret   the SHA-256 of the bytes
 */
void gomod_note_put(Gomod *g, const char *h1, const char *name, Str bytes);
bool gomod_note_find(Gomod *g, Arena *a, const char *h1, const char *name, const char **ret_path,
                     Digest *ret, uint64_t *ret_size);

#endif
