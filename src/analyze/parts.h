/*
 * analyze/parts.h - what layers hold, for comparing. Private to the analyze room.
 */
#ifndef ANALYZE_PARTS_H
#define ANALYZE_PARTS_H

#include "analyze/analyze.h"
#include "layer/layer.h"
#include "snapshot/snapshot.h"

/* One entry of a layer. Strings live in the arena. */
typedef struct Item {
    const char *path;
    TreeEntry t; /* type, mode, owner, size, link, device, xattrs, content */
    bool hard;   /* another name of the file `t.link` of its layer */
    bool gone;   /* no entry: what lower layers have there is deleted */
    bool opaque; /* the directory hides what lower layers have in it */
    size_t layer, order;
} Item;

typedef struct Contents {
    Item *v;
    size_t n, cap;
} Contents;

/* contents_layer - append a layer's entries, in its order. The namespaces must be entered. */
NODISCARD bool contents_layer(Store *s, Arena *a, const StoreImage *img, size_t layer,
                              Contents *ret, Err *e);
/* contents_sort - by path, and of one path by layer. */
void contents_sort(Contents *c);
/* contents_flatten - keep of several layers what a container sees: sorted, each path once, no
 * deletions. */
void contents_flatten(Contents *c);
/* contents_order - the order of paths that contents_sort() makes. */
int contents_order(const char *x, const char *y);
/* contents_file - a file's bytes, into an unlinked file of the store's at offset 0. */
NODISCARD bool contents_file(Store *s, const StoreImage *img, const Item *it, int *ret_fd, Err *e);

#endif
