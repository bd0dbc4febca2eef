/*
 * base/map.h - a hash map from strings to 64-bit values, for look-ups that must not be quadratic.
 *
 * Keys are borrowed: they must outlive the map. Iteration order is not offered, because nothing
 * that enters a digest may depend on it.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/defs.h"

typedef struct MapSlot {
    const char *key;
    uint64_t value;
} MapSlot;

typedef struct Map {
    MapSlot *slots;
    size_t n, cap;
} Map;

/* map_get - the value of `key`; false when it is absent. */
bool map_get(const Map *m, const char *key, uint64_t *ret_value);
/* map_put - set `key` to `value`. True when the key was new. */
bool map_put(Map *m, const char *key, uint64_t value);
void map_done(Map *m);
static inline void scoped_map_done(Map *m)
{
    map_done(m);
}

#endif
