/*
 * context/context.h - the door of the context room: the directory a build may copy from.
 *
 * In: a directory and its ignore file. Out: a View (tree/) that holds just the files a COPY may
 * see, read only where a COPY looks. Everything in it counts as owned by 0:0.
 *
 * Used by: steps, lint, cmd.  Uses: base, tree.
 */
#ifndef CONTEXT_CONTEXT_H
#define CONTEXT_CONTEXT_H

#include "base/arena.h"
#include "base/err.h"
#include "tree/tree.h"

typedef struct Context Context;

/*
 * context_open - open a context directory and read its ignore file.
 *
 *   dir         path of the directory
 *   dockerfile  path of the Dockerfile, NULL when it comes from elsewhere;
 * `<dockerfile>.dockerignore` beside it wins entirely over `.dockerignore` in the context's root
 *
 * The context lives in the arena, its descriptor until context_done. Fails with ERR_USAGE (no
 * directory) or ERR_DOCKERFILE (malformed pattern). Source: Dockerfile reference, ".dockerignore
 * file".
 */
NODISCARD bool context_open(Arena *a, const char *dir, const char *dockerfile, Context **ret,
                            Err *e);
void context_done(Context *c);

/* context_view - the files that may be copied; borrowed from the context. */
const View *context_view(const Context *c);

/*
 * context_why_missing - why `path` cannot be copied, as a clause for a message: "excluded by
 * .dockerignore line 3" or "no such file or directory". In the arena.
 */
char *context_why_missing(const Context *c, Arena *a, const char *path);

#endif
