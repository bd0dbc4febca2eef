/*
 * context/dirs.h - what an ignore file says of the directories of a context. Private to context/.
 *
 * A View asks about paths in any order and from several threads. Each directory's patterns are
 * matched once, when the first path in it is asked about, and kept.
 *
 * Used by: context.  Uses: ignore.
 */
#ifndef CONTEXT_DIRS_H
#define CONTEXT_DIRS_H

#include "context/ignore.h"

typedef struct Dirs Dirs;

/* dirs_new - nothing known yet. `ig` is borrowed; the caller frees with dirs_free. */
Dirs *dirs_new(const Ignore *ig);
void dirs_free(Dirs *d);

/*
 * dirs_state - the state of a directory, `len` bytes of a clean relative path, 0 for the context.
 *
 * Valid until dirs_free. Any thread may ask.
 */
const IgnoreState *dirs_state(Dirs *d, const char *path, size_t len);

/* dirs_parent - the state of the directory that a path is in. */
const IgnoreState *dirs_parent(Dirs *d, const char *path);

#endif
