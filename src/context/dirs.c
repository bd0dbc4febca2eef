/*
 * context/dirs.c - a table of directory states behind a lock.
 */
#include "context/dirs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

struct Dirs {
    const Ignore *ignore;
    pthread_mutex_t lock; /* of what follows */
    Arena arena;
    Map known; /* path -> place of its state in `states` */
    Buf key;   /* a path that ends where it should */
    IgnoreState **states;
    size_t n, cap;
};

Dirs *dirs_new(const Ignore *ig)
{
    Dirs *d = calloc(1, sizeof *d);

    if (!d)
        die_nomem();
    d->ignore = ig;
    (void)pthread_mutex_init(&d->lock, NULL);
    return d;
}

void dirs_free(Dirs *d)
{
    if (!d)
        return;
    (void)pthread_mutex_destroy(&d->lock);
    map_done(&d->known);
    buf_done(&d->key);
    arena_done(&d->arena);
    free(d);
}

static const IgnoreState *find(Dirs *d, const char *path, size_t len)
{
    uint64_t i;

    d->key.len = 0;
    buf_add(&d->key, path, len);
    buf_putc(&d->key, 0);
    return map_get(&d->known, d->key.ptr, &i) ? d->states[i] : NULL;
}

static const IgnoreState *enter(Dirs *d, const IgnoreState *up, const char *path, size_t len)
{
    uint64_t *bits = NEW_N(&d->arena, uint64_t, ignore_words(d->ignore));
    IgnoreState *st = NEW(&d->arena, IgnoreState);

    *st = up ? ignore_enter(d->ignore, up, path, len, bits) : ignore_top(d->ignore, bits);
    (void)map_put(&d->known, arena_strndup(&d->arena, path, len), d->n);
    *ARENA_PUSH(&d->arena, d->states, d->n, d->cap) = st;
    return st;
}

/* The nearest directory that is known, then down from there. */
static const IgnoreState *state(Dirs *d, const char *path, size_t len)
{
    const IgnoreState *st = find(d, path, len);
    size_t known = len;

    while (!st && known > 0) {
        while (known > 0 && path[--known] != '/')
            ;
        st = find(d, path, known);
    }
    if (!st)
        st = enter(d, NULL, "", 0);
    while (known < len) {
        known += known > 0; /* the slash */
        while (known < len && path[known] != '/')
            known++;
        st = enter(d, st, path, known);
    }
    return st;
}

const IgnoreState *dirs_state(Dirs *d, const char *path, size_t len)
{
    (void)pthread_mutex_lock(&d->lock);
    const IgnoreState *st = state(d, path, len);
    (void)pthread_mutex_unlock(&d->lock);
    return st;
}

const IgnoreState *dirs_parent(Dirs *d, const char *path)
{
    const char *slash = strrchr(path, '/');
    return dirs_state(d, path, slash ? (size_t)(slash - path) : 0);
}
