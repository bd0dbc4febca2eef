/*
 * base/arena.h - memory that is freed all at once.
 *
 * What is parsed or planned lives in its build's arena and is never freed one by one. An arena
 * belongs to one thread at a time. Allocation cannot fail: out of memory ends the process.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>

#include "base/defs.h"
#include "base/err.h"

typedef struct ArenaChunk ArenaChunk;

typedef struct Arena {
    ArenaChunk *head;
    char *cur, *end;
} Arena;

/* arena_done - free everything the arena gave out. A zeroed arena is a valid, empty one. */
void arena_done(Arena *a);
static inline void scoped_arena_done(Arena *a)
{
    arena_done(a);
}

/* arena_alloc - `size` zeroed bytes, aligned for any type, valid until arena_done. */
void *arena_alloc(Arena *a, size_t size);
/* arena_array - `n` zeroed elements of `size` bytes; an overflowing product ends the process. */
void *arena_array(Arena *a, size_t n, size_t size);
/*
 * arena_grow - a copy of the `n` old elements in room for `cap`; the old array stays until the end.
 */
void *arena_grow(Arena *a, const void *old, size_t n, size_t cap, size_t size);
char *arena_strdup(Arena *a, const char *s);
char *arena_strndup(Arena *a, const char *s, size_t n);
char *arena_printf(Arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define NEW(a, T) ((T *)arena_alloc((a), sizeof(T)))
#define NEW_N(a, T, n) ((T *)arena_array((a), (n), sizeof(T)))

/*
 * ARENA_PUSH - append one zeroed element to an array kept as `ptr`, `n`, `cap` and yield its
 * address. The array moves when it grows: keep indices, not addresses.
 */
#define ARENA_PUSH(a, ptr, n, cap)                                                                 \
    (((n) == (cap) ? ((cap) = (cap) ? (cap)*2 : 8,                                                 \
                      (ptr) = arena_grow((a), (ptr), (n), (cap), sizeof *(ptr)), (void)0)          \
                   : (void)0),                                                                     \
     &(ptr)[(n)++])

#endif
