/*
 * steps/golang.h - what a RUN that may run Go commands is given besides. Private to the steps room.
 *
 * Such a step has a go command in its PATH. It gets a GOPROXY that leads through the module store,
 * and a GOCACHE with what was compiled before, and nothing that its result could tell of: a step
 * whose result does is run again without.
 */
#ifndef STEPS_GOLANG_H
#define STEPS_GOLANG_H

#include <pthread.h>

#include "gocache/gocache.h"
#include "steps/mounts.h"

/* What is known of Go in a step's root. Texts are in the step's arena. */
typedef struct GoRoot {
    const char *goroot; /* absolute; NULL: there is no go command */
    StrList env;        /* with HOME, as the command will have it */
    GoSettings settings;
    uint32_t uid, gid; /* who the command runs as */
    bool netrc;        /* go finds passwords of its own */
} GoRoot;

/*
 * go_look - find the go command and its settings in a root.
 *
 *   env  of the command, NAME=VALUE
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool go_look(StepWork *w, const View *v, const StrList *env, GoRoot *ret, Err *e);

/* go_named - whether a command's text names this word. */
bool go_named(const PlanRun *r, const char *word);

/*
 * go_lent_path - where a step's GOCACHE is, if the command may find there what was compiled before.
 * NULL: it is as any directory.
 *
 *   ret_seen  somebody may see what the command leaves there, so that it stays in the layer
 */
const char *go_lent_path(Arena *a, const StepsEnv *env, const PlanStep *s, bool *ret_seen);
/* go_shadow_path - the same where nobody sees it: then it does not stay in the layer. */
const char *go_shadow_path(Arena *a, const StepsEnv *env, const PlanStep *s);

/*
 * go_space - the name of the space that a step's GOCACHE is in.
 *
 *   below   its root
 *   path    of its GOCACHE, absolute
 *   ret_ok  false: it is not known what C code depends on, and nothing may be shared
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool go_space(StepWork *w, const Stack *below, const GoRoot *r, const char *path,
                        Digest *ret, bool *ret_ok, Err *e);
/* go_c_changed - whether a command changed what C code depends on, or the toolchain, so that what
 * it was given may have been compiled with something else. `upper` is what it wrote. */
bool go_c_changed(StepWork *w, const GoRoot *r, const char *path, int upper);
/* go_mounted - whether the step mounts something at an absolute path, above or below it. */
bool go_mounted(const PlanRun *r, const char *path);
/* go_c_file - is this a name of a file of C: a header, a library? */
bool go_c_file(const char *name);

/* What of a module cache lies under a command's root. */
typedef struct GoParts GoParts;

/* How a part of a module cache is made. */
typedef enum GoTreeKind {
    GO_TREE_DIR,  /* links to the files of a directory: an unpacked module */
    GO_TREE_FILE, /* a link to a file: its zip */
    GO_TREE_MOD,  /* the go.mod file with this h1 */
    GO_TREE_TEXT, /* a file with a text */
} GoTreeKind;

/* A part of a module cache that lies in a snapshot. */
typedef struct GoTree {
    GoTreeKind kind;
    const char *path; /* relative to the root */
    const char *h1;   /* of two with one path, those with the same are the same */
    const char *from; /* GO_TREE_DIR, _FILE: where it is, relative to store_dirfd() */
    const char *text;
} GoTree;

/* Snapshots that have nothing but such parts. */
typedef struct GoTrees {
    Stack stack;
    GoTree *v; /* all that is in them, those of the lowest first: paths and h1 */
    size_t n;
    size_t *counts;  /* by snapshot: how many are in it */
    uint64_t *sizes; /* about how many files those are */
} GoTrees;

/* go_tree_is_module - whether a part is an unpacked module, whose h1 is that of its zip. */
bool go_tree_is_module(const GoTree *t);
/*
 * go_trees_make - have snapshots that have these parts, and maybe others. A word of a proxy may be
 * missing: there may be another one of the same name.
 *
 *   cache  GOMODCACHE, relative to the root
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool go_trees_make(StepWork *w, const char *cache, const GoTree *v, size_t n,
                             GoTrees *ret, Err *e);
/* go_trees_known - what is known to be in these layers. Fails with ERR_STORE. */
NODISCARD bool go_trees_known(StepWork *w, const Stack *st, GoTrees *ret, Err *e);
/*
 * go_trees_hide - put whiteouts for all but these into a directory that lies over them.
 *
 *   upper   it
 *   wanted  paths relative to the root
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool go_trees_hide(Arena *a, const GoTrees *t, int upper, const char *cache,
                             const StrList *wanted, Err *e);
/* go_text_put - make or replace a small file of a module cache, as go makes it. Fails with
 * ERR_STORE.
 */
NODISCARD bool go_text_put(int fd, const char *path, Str text, Err *e);
/* go_trees_dress - give the directories of a module cache the mode and all of it the time that it
 * has; trees have them already. Fails with ERR_STORE. */
NODISCARD bool go_trees_dress(int fd, Err *e);

/* go_is_plain - whether a command is `go mod download`, or go commands that run nothing but go. */
bool go_is_plain(const PlanRun *r);
/* go_is_download - whether a command is `go mod download` and nothing else. */
bool go_is_download(const PlanRun *r);
/*
 * go_may_unpack - whether a command may run go, and does nothing with the modules that go unpacks
 * but what go does.
 *
 *   cache  where they are, absolute
 */
bool go_may_unpack(Arena *a, const StepsEnv *env, const PlanStep *s, const char *cache);

/* What a command uses of what it was lent. */
typedef struct GoWatch GoWatch;

/* Indexes of packages of GOROOT, and of modules. */
enum { GO_INDEX_GOROOT, GO_INDEX_MODULES, GO_INDEX_KINDS };

/* One run of a command that is given something for Go. */
typedef struct StepGo {
    GoRoot root;
    GomodStep *mod;    /* NULL: it sees to modules itself */
    unsigned port;     /* of the gateway in a network of the step's own; 0: none */
    const char *proxy; /* its GOPROXY */
    SandboxMount mounts[1];
    size_t nmount;
    const char *shadow; /* where its GOCACHE is that it may be lent things in; NULL: it may not */
    bool live;          /* that stays in the layer */
    StrList watched; /* directories of what it is lent, of which it is to be known what it uses */
    GoWatch *watch;  /* what it used; NULL: there are none */
    bool shared;     /* `cache` is open, and the command has what is in it */
    bool lent;       /* and that is anything */
    Digest space;    /* of `cache` */
    Gocache cache;
    bool indexed;                    /* `indexes` are open, too */
    Gocache indexes[GO_INDEX_KINDS]; /* of source files; without any where they are not */
    GoParts *parts;                  /* NULL: none */
    StrList lowers;                  /* directories that lie under its root */
} StepGo;

/*
 * stepgo_begin - make ready what the command is given; stepgo_end() when it is over.
 *
 *   below  its root
 *   dir    what names of directories for it begin with, relative to store_dirfd()
 *   env    its environment; GOPROXY is set in it
 *
 * Fails with ERR_ENV or ERR_STORE.
 */
NODISCARD bool stepgo_begin(StepWork *w, const Stack *below, const char *dir, StrList *env,
                            StepGo *ret, Err *e);
/* stepgo_spaces - all spaces that a command is lent something of. */
enum { GO_SPACES = 1 + GO_INDEX_KINDS };
void stepgo_spaces(const StepGo *g, const Gocache *ret[static GO_SPACES]);
/* stepgo_shadow - the part of stepgo_begin() that is about GOCACHE, after that about modules; `dir`
 * is made. */
NODISCARD bool stepgo_shadow(StepWork *w, const Stack *below, const View *v, const char *dir,
                             StepGo *g, Err *e);
/* stepgo_parts - the part that is about modules that it would unpack; `dir` is made. */
NODISCARD bool stepgo_parts(StepWork *w, const View *v, const char *dir, StepGo *g, Err *e);
/* stepgo_listening - for SandboxSpec.listening; `arg` is the StepGo. */
void stepgo_listening(void *arg, int fd);
/* stepgo_end - the command is over. Fails with ERR_CHECK when a proxy sent wrong bytes. */
NODISCARD bool stepgo_end(StepGo *g, Err *e);

/* A word of ours that is looked for in what a command wrote. */
typedef struct StepGoSearch {
    const char *word;    /* NULL: there is nothing to be found */
    const char *skip[2]; /* directories that go alone writes, relative to the upper */
    int fd;              /* of the upper */
    pthread_t thread;
    bool apart, failed, found;
    Err e;
} StepGoSearch;

/*
 * stepgo_search - begin to look in another thread whether what the command wrote holds a word of
 * ours: then it is not what it would have written without us. The GOCACHE that does not stay is not
 * looked at.
 *
 *   upper  relative to store_dirfd()
 *   ret    stays where it is until stepgo_found()
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool stepgo_search(StepWork *w, const StepGo *g, const char *upper, StepGoSearch *ret,
                             Err *e);
/* stepgo_found - wait for it. Fails with ERR_STORE. */
NODISCARD bool stepgo_found(StepGoSearch *s, bool *ret, Err *e);

/*
 * go_index_open - the indexes of source files that belong to a space: of packages of GOROOT, and of
 * modules in these layers. There are none where the command sees other files than those of layers.
 *
 *   v     the layers, opened
 *   path  of GOCACHE, relative to the root
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool go_index_open(StepWork *w, const Stack *below, const View *v, const char *path,
                             StepGo *g, Err *e);
/* go_index_stale - whether a command changed modules of a layer, whose indexes it may have been
 * given. `upper` is what it wrote. */
bool go_index_stale(StepWork *w, const View *below, const GoRoot *r, int upper);
/* go_index_harvest - gocache_harvest(), with indexes of what is in layers. */
NODISCARD bool go_index_harvest(StepWork *w, const Stack *below, const View *v, StepGo *g,
                                int upper, int dirfd, const char *what, GocacheHarvest *ret,
                                Err *e);
/* go_version_in - the first line of GOROOT/VERSION in layers, which the go command has in itself,
 * too; NULL: it is not known. */
const char *go_version_in(Arena *a, const View *v, const GoRoot *r);
/* go_open_only - `path`, relative to the root, where one layer alone has it; -1: none has, or
 * several. */
int go_open_only(const View *v, const char *path);

/*
 * go_kept_give - put the indexes that were kept of modules in these layers into the step's own
 * space. Fails with ERR_STORE.
 */
NODISCARD bool go_kept_give(StepWork *w, const Stack *below, const View *v, StepGo *g, Err *e);
/* go_kept_take - keep the index of a module that is known by `h1`; it is right. */
void go_kept_take(StepWork *w, const StepGo *g, const char *h1, const Digest *action, Str index);

/*
 * stepgo_collect - take what the command compiled, and take its GOCACHE away where nobody sees it.
 *
 *   upper      what it wrote, relative to store_dirfd()
 *   ret_stale  what it was given may not have been right: it changed what C code depends on
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool stepgo_collect(StepWork *w, const Stack *below, StepGo *g, const char *upper,
                              bool *ret_stale, Err *e);
/* stepgo_watching - for SandboxSpec.watching; `arg` is the StepGo. */
void stepgo_watching(void *arg, int fd);
/*
 * stepgo_put_back - where a GOCACHE stays in the layer, put into it what the command would have
 * written there, had it been lent nothing.
 *
 *   upper      what it wrote, relative to store_dirfd()
 *   ret_other  it changed what it was lent
 *
 * Fails with ERR_STORE or ERR_STEP (cancelled).
 */
NODISCARD bool stepgo_put_back(StepWork *w, const Stack *below, StepGo *g, const char *upper,
                               bool *ret_other, Err *e);
/*
 * gowatch_begin - make ready to follow what a command opens in g->watched, if there is any.
 * gowatch_stop - the command is over, and all is known that will be.
 * gowatch_end - and forget it; NULL is fine.
 *
 * Fails with ERR_ENV.
 */
NODISCARD bool gowatch_begin(StepWork *w, StepGo *g, Err *e);
void gowatch_stop(GoWatch *w);
void gowatch_end(GoWatch *w);
/* gowatch_possible - false when nothing came for a command of this project today. Fails with
 * ERR_STORE. */
NODISCARD bool gowatch_possible(StepWork *w, bool *ret, Err *e);
/* gowatch_lost - whether not all is known; not for NULL. */
bool gowatch_lost(const GoWatch *x);
/* gowatch_give_up - where nothing came at all for a command that ended by itself,
 * gowatch_possible() says so from now on; at best. */
void gowatch_give_up(StepWork *w, const GoWatch *x);
/* gowatch_opened - whether it opened a file of a directory that has this place in g->watched. */
bool gowatch_opened(const GoWatch *w, size_t dir, const char *name);
/* gowatch_entries - the names of all entries of a GOCACHE, "<hex>-a", that it opened. */
const StrList *gowatch_entries(const GoWatch *w);
/*
 * stepgo_take_parts - put what belongs to the modules that a `go mod download` wanted into what it
 * wrote, which then lies over stepgo_below(g->parts).
 *
 *   ret_stale  it did something else than it was thought to do; the next time it is lent none
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool stepgo_take_parts(StepWork *w, const Stack *below, StepGo *g, const char *upper,
                                 bool *ret_stale, Err *e);
/* stepgo_below - the snapshots that the step's own stands on; none for NULL. */
const Stack *stepgo_below(const GoParts *p);
/* stepgo_with_parts - a step's layers, and those on top. */
Stack stepgo_with_parts(Arena *a, const Stack *below, const GoParts *p);
/* stepgo_clear - only take the GOCACHE away. `g` need not have begun. */
NODISCARD bool stepgo_clear(StepWork *w, const char *shadow, const Stack *below, const char *upper,
                            Err *e);

/*
 * gowords_tell - say what the go command will not like about a module: go.mod wants a newer Go than
 * the base has, go.sum lacks lines.
 *
 *   r    the first command that runs Go
 *   dir  of the module in its context, "/" for the context itself
 */
void gowords_tell(const StepsEnv *env, const PlanRun *r, const char *dir, Str gomod, Str gosum);
/* gowords_tell_git - the same of a .git that is a file, or lacks parts. */
void gowords_tell_git(const StepsEnv *env, bool file, bool head, bool objects);

/*
 * gofiles_learn - read the go.sum and go.mod files of contexts that COPY steps name, and begin to
 * fetch what they name. Namespaces are entered. Fails with ERR_NETWORK when --go-offline forbids
 * what is missing.
 */
NODISCARD bool gofiles_learn(StepsEnv *env, Arena *a, Err *e);

#endif
