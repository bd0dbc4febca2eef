/*
 * base/arena.c - bump allocation in chunks that double up to 256 KiB.
 */
#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ArenaChunk {
    ArenaChunk *next;
    size_t size;
    _Alignas(max_align_t) char data[];
};

enum { CHUNK_MIN = 4 << 10, CHUNK_MAX = 256 << 10 };

void arena_done(Arena *a)
{
    for (ArenaChunk *c = a->head; c;) {
        ArenaChunk *next = c->next;
        free(c);
        c = next;
    }
    *a = (Arena){0};
}

static void add_chunk(Arena *a, size_t need)
{
    size_t size = a->head ? a->head->size * 2 : CHUNK_MIN;
    if (size > CHUNK_MAX)
        size = CHUNK_MAX;
    if (size < need)
        size = need;
    ArenaChunk *c = calloc(1, sizeof *c + size);
    if (!c)
        die_nomem();
    c->size = size;
    c->next = a->head;
    a->head = c;
    a->cur = c->data;
    a->end = c->data + size;
}

void *arena_alloc(Arena *a, size_t size)
{
    size_t step = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
    if (step < size)
        die_nomem();
    if (!a->cur || (size_t)(a->end - a->cur) < step)
        add_chunk(a, step);
    void *p = a->cur;
    a->cur += step;
    return p;
}

void *arena_array(Arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        die_nomem();
    return arena_alloc(a, bytes);
}

void *arena_grow(Arena *a, const void *old, size_t n, size_t cap, size_t size)
{
    void *p = arena_array(a, cap, size);
    if (n)
        memcpy(p, old, n * size);
    return p;
}

char *arena_strndup(Arena *a, const char *s, size_t n)
{
    char *p = arena_alloc(a, n + 1);
    memcpy(p, s, n);
    return p;
}

char *arena_strdup(Arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(Arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        die_nomem();
    char *p = arena_alloc(a, (size_t)n + 1);
    (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}
