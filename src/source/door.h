/*
 * source/door.h - images on their way from a layout or an archive into the store. Private to the
 * source room.
 */
#ifndef SOURCE_DOOR_H
#define SOURCE_DOOR_H

#include "source/source.h"

/* What documents may have, and how deep indexes may be nested. */
enum { DOC_MAX = 4 << 20, MAX_DEPTH = 4 };

typedef struct Door {
    Store *store;
    Arena *arena;
    int dirfd; /* the layout; -1 when all blobs are in the store */
    const char *name;
    Platform platform; /* whose images are taken */
    bool have;         /* the image being taken is in the store */
    Err *e;
} Door;

char *door_blob_name(Arena *a, const Digest *d);
/* door_known - whether an image is in the store; its manifest and layers are looked at all the
 * same. */
NODISCARD bool door_known(Door *x, const Digest *id, bool *ret_known);
/*
 * door_check_layer - whether a blob of the store unpacks to `diff_id`. One that was checked before
 * is not unpacked again; its size is then not known, and not needed.
 */
NODISCARD bool door_check_layer(Door *x, const Descriptor *d, Compression how,
                                const Digest *diff_id, uint64_t *ret_size);
/* door_take_index - the images of an index.json; `which` as in source_load_layout(). */
NODISCARD bool door_take_index(Door *x, const char *text, size_t len, const char *which,
                               Loaded **ret, size_t *ret_n);

/* door_take_docs - what one entry of an index.json leads to, as it is; see source_docs_layout(). */
NODISCARD bool door_take_docs(Door *x, const char *text, size_t len, const char *which,
                              const Platform *platform, Descriptor *ret);

/* ---- docker's own archives ---- */

/* A file of an archive that may be a part of an image: its bytes are in the store. */
typedef struct DockerFile {
    const char *path;
    Digest digest;
    uint64_t size;
    const char *link; /* instead of bytes: another path of the archive */
} DockerFile;

/* docker_take - the images of a manifest.json. Source: moby's image/spec, v1.2. */
NODISCARD bool docker_take(Door *x, const char *text, size_t len, const DockerFile *files,
                           size_t nfile, Loaded **ret, size_t *ret_n);

#endif
