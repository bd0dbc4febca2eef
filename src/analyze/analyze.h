/*
 * analyze/analyze.h - the door of the analyze room: what is wrong with an image that was built
 * right.
 *
 * Today: programs that cannot start in the image they are in, because their loader or a library is
 * not there; the classic case is a glibc binary on alpine or scratch.
 *
 * Used by: cmd.  Uses: base, tree.
 */
#ifndef ANALYZE_ANALYZE_H
#define ANALYZE_ANALYZE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "tree/tree.h"

/*
 * analyze_loaders - check every ELF program in one directory of a stack against the whole stack.
 *
 *   layer  directory whose files are looked at (what one step wrote)
 *   image  the merged view they must run in
 *   out    one line a finding, with the fix; at most a few
 *
 * Files that are no ELF programs, or damaged ones, are passed over. Source: elf(5), ld.so(8).
 */
NODISCARD bool analyze_loaders(Arena *a, int layer, const View *image, StrList *out, Err *e);

/*
 * analyze_has_programs - whether a layer has any ELF program that wants a loader. If not, nothing
 * can be found and the image it is in need not be looked at.
 */
NODISCARD bool analyze_has_programs(int layer, bool *ret, Err *e);

#endif
