/*
 * gocache/inside.h - how a generation is made. Private to the gocache room.
 */
#ifndef GOCACHE_INSIDE_H
#define GOCACHE_INSIDE_H

#include "go/go.h"
#include "gocache/gocache.h"

/* A generation that is being filled. */
typedef struct Generation {
    Gocache *c;
    char tmp[STORE_TMP_MAX];
    int fd;         /* its GOCACHE */
    uint64_t files; /* that are in it; the caller counts his own */
} Generation;

/* generation_begin - an empty one, to be ended with generation_end(). Fails with ERR_STORE. */
NODISCARD bool generation_begin(Gocache *c, Arena *a, Generation *ret, Err *e);
/* generation_add - one more of a space, in its place. */
void generation_add(Gocache *c, Arena *a, const char *id, uint64_t files);
/* generation_dir - make the directory that `path`, "ab/...", is in. */
NODISCARD bool generation_dir(int fd, const char *path, Err *e);
/* generation_own - give a file that was put there the owner, mode and time that all have. */
NODISCARD bool generation_own(int fd, const char *path, Err *e);
/*
 * generation_end - let builds have it: it is among those of its space. Where there are many, it
 * takes over what the small ones have.
 *
 *   ok  false: `e` says what went wrong, and it is thrown away
 */
NODISCARD bool generation_end(Generation *g, Arena *a, bool ok, const char *what, Err *e);

#endif
