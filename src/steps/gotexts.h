/*
 * steps/gotexts.h - the small files of a module cache: .info, .mod and lists of versions. Private
 * to the steps room.
 *
 * go asks a proxy for them, hundreds, and writes down each. What it wrote for a command is
 * remembered, and lies under the root when the command runs again.
 */
#ifndef STEPS_GOTEXTS_H
#define STEPS_GOTEXTS_H

#include "steps/golang.h"

/* What a module cache had of one version, apart from the module itself. */
typedef struct GoText {
    const char *base; /* "cache/download/<module>/@v/<version>" */
    const char *mod;  /* the h1 of its go.mod; NULL: it had none */
    const char *info; /* its .info, as go wrote it; NULL: it had none */
    const char *said; /* hex: what the proxy had said of it */
} GoText;

/* The versions of a module for which it had a go.mod, a line each; go names none with capitals. */
enum { GOTEXTS_LIST_MAX = 1 << 20 };
typedef struct GoVersions {
    const char *dir; /* "cache/download/<module>/@v/" */
    const char *text;
} GoVersions;

typedef struct GoTexts {
    GoText *v;
    size_t n, cap;
    GoVersions *lists;
    size_t nlist, list_cap;
} GoTexts;

/* gotexts_base - "cache/download/<module>/@v/<version>", in the arena; NULL: it has no place. */
const char *gotexts_base(Arena *a, const GoModule *m);

/*
 * gotexts_read - what is remembered of a step, and is what the same command would write today: the
 * go.mod files are those that go.sum names and are in the store, and the proxy says the same.
 *
 *   v    its root
 *   key  of what is remembered
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool gotexts_read(StepWork *w, const StepGo *g, const View *v, Digest *key, GoTexts *ret,
                            Err *e);
/*
 * gotexts_learn - add to `t` what a command wrote into a module cache.
 *
 *   cache  it
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool gotexts_learn(StepWork *w, const GomodStep *mod, int cache, GoTexts *t, Err *e);
/* gotexts_keep - remember it. Fails with ERR_STORE. */
NODISCARD bool gotexts_keep(StepWork *w, const Digest *key, const GoTexts *t, Err *e);

/* gotexts_without - a list of versions without some: a line each, in the arena. */
const char *gotexts_without(Arena *a, const char *text,
                            bool (*gone)(const void *arg, const char *version), const void *arg);

#endif
