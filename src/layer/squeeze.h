/*
 * layer/squeeze.h - bytes in, hashed and compressed bytes out. Private to the layer room.
 *
 * gzip is written as members of fixed input size (RFC 1952, section 2.2: a file is a series of
 * members) and zstd as frames (RFC 8878, section 3.1), each compressed on its own, so that threads
 * share the work and the bytes do not depend on how many there are.
 */
#ifndef LAYER_SQUEEZE_H
#define LAYER_SQUEEZE_H

#include "layer/layer.h"

typedef struct Squeeze Squeeze;

NODISCARD bool squeeze_new(LayerForm form, int outfd, unsigned nthread, Squeeze **ret, Err *e);
NODISCARD bool squeeze_add(Squeeze *q, const void *bytes, size_t n, Err *e);
/* squeeze_end - flush and give the facts. */
NODISCARD bool squeeze_end(Squeeze *q, LayerFacts *ret, Err *e);
void squeeze_done(Squeeze *q);
static inline void scoped_squeeze_done(Squeeze **q)
{
    squeeze_done(*q);
}

#endif
