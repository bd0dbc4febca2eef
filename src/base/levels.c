/*
 * base/levels.c - which of them are joined.
 */
#include "base/levels.h"

/* So many times as big as what is joined, one stays. */
enum { MUCH = 4 };

size_t levels_kept(const uint64_t *sizes, size_t n, size_t max, uint64_t more)
{
    size_t kept = n;
    while (kept >= max || (kept && kept < n && sizes[kept - 1] <= MUCH * more))
        more += sizes[--kept];
    return kept;
}
