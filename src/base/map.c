/*
 * base/map.c - open addressing, FNV-1a, grows at two thirds.
 */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static uint64_t hash(const char *s)
{
    uint64_t h = 14695981039346656037u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

static MapSlot *find(const Map *m, const char *key)
{
    size_t i = hash(key) & (m->cap - 1);
    while (m->slots[i].key && strcmp(m->slots[i].key, key) != 0)
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

bool map_get(const Map *m, const char *key, uint64_t *ret_value)
{
    if (!m->cap)
        return false;
    const MapSlot *s = find(m, key);
    if (!s->key)
        return false;
    *ret_value = s->value;
    return true;
}

static void grow(Map *m)
{
    Map big = {.cap = m->cap ? m->cap * 2 : 32, .n = m->n};
    big.slots = calloc(big.cap, sizeof *big.slots);
    if (!big.slots)
        die_nomem();
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key)
            *find(&big, m->slots[i].key) = m->slots[i];
    free(m->slots);
    *m = big;
}

bool map_put(Map *m, const char *key, uint64_t value)
{
    if (m->n * 3 >= m->cap * 2)
        grow(m);
    MapSlot *s = find(m, key);
    bool fresh = !s->key;
    if (fresh)
        m->n++;
    *s = (MapSlot){key, value};
    return fresh;
}

void map_done(Map *m)
{
    free(m->slots);
    *m = (Map){0};
}
