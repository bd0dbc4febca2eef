/*
 * cmd/names.h - names that mean an image for each of several platforms. Private to cmd.
 */
#ifndef CMD_NAMES_H
#define CMD_NAMES_H

#include "image/image.h"
#include "store/store.h"

typedef struct NamedImage {
    Digest id;
    const char *platform; /* "linux/arm64"; NULL in names_of() for what the name alone means */
} NamedImage;

/* names_put - let a full reference mean these images, the first one by the name alone; what it
 * meant of other platforms is forgotten. */
NODISCARD bool names_put(Store *s, Arena *a, const char *name, const NamedImage *v, size_t n,
                         Err *e);

/*
 * names_of - the images that a user's word means: one, or one for each platform that its name has.
 * Fails with ERR_USAGE when there is none.
 */
NODISCARD bool names_of(Store *s, Arena *a, const char *word, Digest **ret, size_t *ret_n, Err *e);
/* names_copy - let another full reference mean what a user's word means. */
NODISCARD bool names_copy(Store *s, Arena *a, const char *word, const char *name, Err *e);
/*
 * names_join - let a full reference mean these images, one for each platform: of two for one
 * platform the later counts, and this machine's has the name alone.
 */
NODISCARD bool names_join(Store *s, Arena *a, const char *name, const Digest *ids, size_t n,
                          Err *e);

#endif
