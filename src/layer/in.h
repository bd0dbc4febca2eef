/*
 * layer/in.h - plain bytes of a packed stream. Private to the layer room.
 */
#ifndef LAYER_IN_H
#define LAYER_IN_H

#include "layer/layer.h"

/* layer_in_read - some plain bytes, at least one unless the stream is over (*ret_n is 0). */
NODISCARD bool layer_in_read(LayerIn *in, void *buf, size_t cap, size_t *ret_n, Err *e);

#endif
