/*
 * export/parts.h - parts of an image on its way out. Private to the export room.
 */
#ifndef EXPORT_PARTS_H
#define EXPORT_PARTS_H

#include "export/export.h"

/* export_layer - a layer's descriptor: the bytes it came with, where a registry has them, or packed
 * now. */
NODISCARD bool export_layer(Store *s, Arena *a, const StoreLayer *l, Descriptor *ret, Err *e);

#endif
