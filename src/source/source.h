/*
 * source/source.h - the door of the source room: names to images that a build can stand on.
 *
 * In: a name as a Dockerfile writes it, and the caller's named contexts. Out: an image whose config
 * is known and whose layers can be unpacked when a step needs them. A name is looked for in the
 * named contexts and then in the store; registries are not reached yet, and the message says so.
 *
 * Used by: steps, cmd.  Uses: base, image, store, layer, snapshot.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include "image/image.h"
#include "snapshot/snapshot.h"
#include "store/store.h"

typedef struct SourceImage {
    const char *name;
    Digest id;    /* digest of the config */
    Digest chain; /* chain ID of all layers */
    ImageConfig config;
    StoreLayer *layers;
    size_t nlayer;
} SourceImage;

/*
 * source_resolve - find the image for a name.
 *
 *   contexts  NAME=oci-layout://DIR[:TAG|@DIGEST] or NAME=docker-image://NAME entries
 *   platform  the image must be for this machine
 *
 * Fails with ERR_USAGE (bad context), ERR_NETWORK (not here, and a registry would be asked),
 * ERR_STORE.
 */
NODISCARD bool source_resolve(Store *s, Arena *a, const char *name, const StrList *contexts,
                              SourceImage *ret, Err *e);

/* source_image - the same for an image ID of the store. */
NODISCARD bool source_image(Store *s, Arena *a, const Digest *id, SourceImage *ret, Err *e);

/* source_stack - the image's layers as snapshots, unpacking those that are not. Any thread may call
 * it. */
NODISCARD bool source_stack(Store *s, Arena *a, const SourceImage *img, bool in_userns, Stack *ret,
                            Err *e);

/* An image that came in. */
typedef struct Loaded {
    Digest id;
    const char *name; /* full reference, NULL when the archive gave none */
} Loaded;

/*
 * source_load_layout - take images of an OCI layout directory into the store, every byte verified.
 *
 *   which  NULL: all images of this platform; else a tag, a reference or "@sha256:..." in its index
 */
NODISCARD bool source_load_layout(Store *s, Arena *a, const char *dir, const char *which,
                                  Loaded **ret, size_t *ret_n, Err *e);

/* source_load_archive - the same from a tar of such a layout (plain, gzip or zstd), read once from
 * `fd`. */
NODISCARD bool source_load_archive(Store *s, Arena *a, int fd, Loaded **ret, size_t *ret_n, Err *e);

#endif
