/*
 * base/glob.h - file name patterns as Go's filepath.Match reads them on Unix.
 *
 *   *       any bytes but '/'            [a-z]   one rune of a class, [^a-z] one outside it
 *   ?       one rune but '/'             \x      x itself
 *
 * Dockerfile sources (COPY, ADD) are such patterns. Matching takes time in proportion to the two
 * lengths multiplied, at worst. Source: Go's path/filepath, func Match.
 */
#ifndef BASE_GLOB_H
#define BASE_GLOB_H

#include "base/defs.h"

/*
 * glob_match - does `pattern` match the whole of `name`?
 *
 * False, with ret_match untouched, when the pattern is malformed. As in Go, a mistake behind a part
 * that already failed to match goes unnoticed; glob_valid() looks at the whole pattern.
 */
NODISCARD bool glob_match(const char *pattern, const char *name, bool *ret_match);
/* glob_valid - is the whole pattern well-formed: classes complete and UTF-8, no backslash last? */
bool glob_valid(const char *pattern);
/* glob_has_meta - could the pattern match anything but a name equal to itself? */
bool glob_has_meta(const char *pattern);

#endif
