/*
 * export/parts.h - parts of images on their way out. Private to the export room.
 */
#ifndef EXPORT_PARTS_H
#define EXPORT_PARTS_H

#include "export/export.h"

/* export_layer - a layer's descriptor: the bytes it came with, where a registry has them, or packed
 * now as the style says. */
NODISCARD bool export_layer(Store *s, Arena *a, const StoreLayer *l, const ExportStyle *style,
                            Descriptor *ret, Err *e);

/* style_own - whether a style leaves an image its own manifest; what it says of indexes does not
 * count. */
bool style_own(const ExportStyle *style);

/* style_notes - the style's annotations of a place; `platform` is of the image that is there, NULL
 * for an index. A later one of a name counts. */
void style_notes(Arena *a, const ExportStyle *style, ExportPlace place, const char *platform,
                 const ImageLabel **ret, size_t *ret_n);

/* export_platform - what an image of the store is for. */
NODISCARD bool export_platform(Store *s, Arena *a, const Digest *id, Platform *ret, Err *e);

/* export_repositories - of full references, the first of each repository. */
StrList export_repositories(Arena *a, const StrList *names);
/* export_repo - "docker.io/library/alpine" of a full reference. */
const char *export_repo(Arena *a, const char *name);

/* files_as_they_are - an archive or a layout of one image whose blobs, documents among them, are in
 * the store; `top` is its entry in index.json. */
NODISCARD bool files_as_they_are(Store *s, Arena *a, const Descriptor *blobs, size_t n,
                                 const Descriptor *top, const char *dest, bool dir, Err *e);

#endif
