/*
 * analyze/analyze.h - the door of the analyze room: what can be said of images that were built.
 *
 * Programs that cannot start in the image they are in, because their loader or a library is not
 * there; the classic case is a glibc binary on alpine or scratch. And what makes two images
 * different.
 *
 * Used by: cmd.  Uses: base, tree, image, layer, store, snapshot.
 */
#ifndef ANALYZE_ANALYZE_H
#define ANALYZE_ANALYZE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "store/store.h"
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

/* What makes two images different. */
typedef struct AnalyzeDifference {
    StrList lines; /* the first ones, for people */
    size_t n;      /* how many there are; 0: none */
} AnalyzeDifference;

/*
 * analyze_difference - compare two images of the store: config, layers, files with owners, modes,
 * links, attributes and times; of the first file that differs the first byte that does.
 *
 *   times  false: of neither files nor configs
 *
 * Images with as many layers are compared layer by layer, others as a container sees them. All
 * layers must be in the store, and the namespaces entered. Fails with ERR_STORE.
 */
NODISCARD bool analyze_difference(Store *s, Arena *a, const Digest *one, const Digest *two,
                                  bool times, AnalyzeDifference *ret, Err *e);

#endif
