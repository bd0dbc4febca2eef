/*
 * dockerfile/shellglob.h - the patterns of ${x#p}, ${x%p} and ${x/p/r}. Private to the dockerfile
 * room.
 */
#ifndef DOCKERFILE_SHELLGLOB_H
#define DOCKERFILE_SHELLGLOB_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

typedef struct ShellGlob ShellGlob;

/*
 * shellglob_new - read a pattern: `*`, `?`, and `\` before one of `*?\` for the character itself
 * (before `}` and `/` it is dropped). Any other escape is ERR_DOCKERFILE, as in BuildKit.
 */
NODISCARD bool shellglob_new(Arena *a, const char *pattern, ShellGlob **ret, Err *e);

typedef enum GlobWant { GLOB_SHORTEST, GLOB_LONGEST } GlobWant;

/* shellglob_trim_prefix, _suffix - append `v` less the part at its start or end that matches. */
void shellglob_trim_prefix(const ShellGlob *g, const char *v, GlobWant want, Buf *out);
void shellglob_trim_suffix(const ShellGlob *g, const char *v, GlobWant want, Buf *out);

/*
 * shellglob_replace - append `v` with the first or all longest matches replaced by `with`.
 * Fails with ERR_DOCKERFILE when the result would be over `max` bytes.
 */
NODISCARD bool shellglob_replace(const ShellGlob *g, const char *v, const char *with, bool all,
                                 size_t max, Buf *out, Err *e);

#endif
