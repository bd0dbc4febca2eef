/*
 * image/ref.h - names of images, short as people write them and whole as registries need them.
 *
 *   ubuntu              docker.io/library/ubuntu
 *   me/app:1.2          docker.io/me/app:1.2
 *   localhost:5000/x    localhost:5000/x
 *
 * The rules are docker's: the first component is a registry when it has a '.', a ':' or a capital
 * or is "localhost"; anything else lives on docker.io.
 */
#ifndef IMAGE_REF_H
#define IMAGE_REF_H

#include "base/arena.h"
#include "base/err.h"

/* A parsed name. Strings live in the arena it was parsed with. */
typedef struct ImageRef {
    const char *domain; /* "docker.io", "localhost:5000", "[::1]:80" */
    const char *path;   /* "library/ubuntu", at most 255 bytes */
    const char *tag;    /* "24.04"; NULL when absent: no default is added */
    const char *digest; /* "sha256:<64 hex>", also sha384 and sha512; NULL when absent */
} ImageRef;

/*
 * image_ref_parse - read an image name.
 *
 * Fails with ERR_USAGE. Source: github.com/distribution/reference, ParseNormalizedNamed; what
 * differs: a first component that has a '.' and yet is no host name (`my_app.x/y`) is refused, not
 * kept without a registry.
 */
NODISCARD bool image_ref_parse(Arena *a, const char *text, ImageRef *ret, Err *e);

/* image_ref_full - domain/path[:tag][@digest]. */
char *image_ref_full(Arena *a, const ImageRef *ref);
/* image_ref_familiar - as docker shows it, without docker.io and library/: "ubuntu:24.04". */
char *image_ref_familiar(Arena *a, const ImageRef *ref);
/* image_ref_tagged - as image_ref_full, with ":latest" when there is neither tag nor digest. */
char *image_ref_tagged(Arena *a, const ImageRef *ref);

#endif
