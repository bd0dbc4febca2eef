/*
 * steps/golang.h - what a RUN that may run Go commands is given besides. Private to the steps room.
 *
 * Such a step has a go command in its PATH. It gets a GOPROXY that leads through the module store,
 * and nothing that its result could tell of: a step whose result does is run again without.
 */
#ifndef STEPS_GOLANG_H
#define STEPS_GOLANG_H

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

/* One run of a command that is given something for Go. */
typedef struct StepGo {
    GoRoot root;
    GomodStep *mod;    /* NULL: nothing is given */
    unsigned port;     /* of the gateway in a network of the step's own; 0: none */
    const char *proxy; /* its GOPROXY */
    SandboxMount mounts[1];
    size_t nmount;
} StepGo;

/*
 * stepgo_begin - make ready what the command is given; stepgo_end() when it is over.
 *
 *   below  its root
 *   env    its environment; GOPROXY is set in it
 *
 * Fails with ERR_ENV or ERR_STORE.
 */
NODISCARD bool stepgo_begin(StepWork *w, const Stack *below, StrList *env, StepGo *ret, Err *e);
/* stepgo_listening - for SandboxSpec.listening; `arg` is the StepGo. */
void stepgo_listening(void *arg, int fd);
/* stepgo_end - the command is over. Fails with ERR_CHECK when a proxy sent wrong bytes. */
NODISCARD bool stepgo_end(StepGo *g, Err *e);
/*
 * stepgo_tells - whether what the command wrote holds a word of ours: then it is not what it would
 * have written without us. `upper` is relative to store_dirfd(). Fails with ERR_STORE.
 */
NODISCARD bool stepgo_tells(StepWork *w, const StepGo *g, const char *upper, bool *ret, Err *e);

/*
 * gofiles_learn - read the go.sum and go.mod files of contexts that COPY steps name, and begin to
 * fetch what they name. Namespaces are entered. Fails with ERR_NETWORK when --go-offline forbids
 * what is missing.
 */
NODISCARD bool gofiles_learn(StepsEnv *env, Arena *a, Err *e);

#endif
