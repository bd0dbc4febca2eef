/*
 * base/levels.h - things that lie on each other, in which a name is looked for one after the other.
 *
 * What is new lies on top, so they become more; joined, they become fewer. To join costs as much as
 * is in them, so what is big stays as it is: then each part of the whole is joined a few times
 * only, however often something comes.
 */
#ifndef BASE_LEVELS_H
#define BASE_LEVELS_H

#include <stddef.h>
#include <stdint.h>

/*
 * levels_kept - how many stay when something comes; the others are to be joined with it.
 *
 *   sizes  of those that are there, the ones to be joined last first
 *   max    so many there may be with what comes
 *   more   the size of what comes
 */
size_t levels_kept(const uint64_t *sizes, size_t n, size_t max, uint64_t more);

#endif
