/*
 * export/export.h - the door of the export room: results to images, images to files.
 *
 * A build ends with a config and the diff IDs of its layers; compressed bytes and a manifest are
 * made when somebody outside asks, in the style that he asks for. They follow from content, the
 * rule for times and the style alone. What came from elsewhere goes out as it came, unless the
 * style forces it.
 *
 * Used by: cmd.  Uses: base, image, layer, store, snapshot, registry.
 */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include "image/image.h"
#include "layer/layer.h"
#include "registry/registry.h"
#include "store/store.h"

/*
 * export_commit - keep an image.
 *
 *   config   complete but for diff_ids, which are set here from `layers`
 *   created  seconds, for listings
 */
NODISCARD bool export_commit(Store *s, Arena *a, ImageConfig *config, const StoreLayer *layers,
                             size_t nlayer, uint64_t size, int64_t created, Digest *ret_id, Err *e);

/* ---- style ---- */

/* What an annotation is of. */
typedef enum ExportPlace {
    AT_MANIFEST,
    AT_INDEX,
    AT_MANIFEST_DESCRIPTOR, /* the manifest's entry in an index */
    AT_INDEX_DESCRIPTOR,    /* the entry of what goes out in a layout's index.json */
} ExportPlace;

typedef struct ExportNote {
    ExportPlace place;
    const char *platform; /* NULL: of all; "linux/arm64": of that image's alone */
    const char *name, *value;
} ExportNote;

/* How images are to look outside. All zero: OCI's media types, layers in gzip. */
typedef struct ExportStyle {
    LayerForm form; /* of layers that were made here; PACK_NOTHING means gzip */
    bool force;     /* of a base's layers as well */
    bool docker;    /* docker's media types */
    const ExportNote *notes;
    size_t nnote;
} ExportStyle;

/* ---- documents ---- */

/* What goes out under one name: an image, or an index of images for several platforms. */
typedef struct ExportItem {
    const Digest *ids;
    size_t nid;       /* 1: its manifest; more: an index */
    const char *name; /* NULL: without a name */
} ExportItem;

/* A manifest or an index in the store, with the manifests that it leads to. */
typedef struct ExportDoc {
    Descriptor top;
    Descriptor *manifests; /* with their platforms, as they stand in an index */
    size_t nmanifest;
} ExportDoc;

/* export_pack - pack what is not packed yet and give the image's own manifest. Layers that a
 * registry has are named by it, wherever their bytes are. */
NODISCARD bool export_pack(Store *s, const Digest *id, Descriptor *ret_manifest, Err *e);

/*
 * export_document - the same in a style (NULL: the image's own), of one image or of several.
 *
 * Fails with ERR_USAGE where the style asks for what there is no place for.
 */
NODISCARD bool export_document(Store *s, Arena *a, const ExportItem *it, const ExportStyle *style,
                               ExportDoc *ret, Err *e);

/* export_keep - make the style's manifest the image's own, which later commands then send and save.
 */
NODISCARD bool export_keep(Store *s, const Digest *id, const ExportStyle *style, Err *e);

/* ---- ways out ---- */

/*
 * export_push - send to registries.
 *
 *   names   full references with a tag; what one repository has is mounted into the next
 *   style   NULL: the image's own; one that forces needs all bytes in the store
 *   ret     the document that was sent
 *
 * Layers go several at once, each as soon as it is packed; documents follow when all are there.
 * Bytes that a registry has already are not sent, and those that only another registry has are
 * fetched. `by_digest`: no tag is set. Fails with ERR_NETWORK, ERR_STORE.
 */
NODISCARD bool export_push(Store *s, Registry *r, Arena *a, const ExportItem *it,
                           const ExportStyle *style, const StrList *names, bool by_digest,
                           ExportDoc *ret, Err *e);

typedef enum ExportForm {
    EXPORT_OCI,
    EXPORT_DOCKER, /* an OCI layout as well, beside docker's own manifest.json */
} ExportForm;

/*
 * export_files - write images as an archive or a directory.
 *
 *   dest  a file ("-": stdout), or, with `dir`, a directory, which is made or added to
 *
 * A file appears whole or not at all. Fails with ERR_USAGE for an index in docker's form.
 * Source: OCI image-layout 1.1; moby's image/spec, "Combined Image JSON + Filesystem Changeset".
 */
NODISCARD bool export_files(Store *s, Arena *a, const ExportItem *items, size_t n,
                            const ExportStyle *style, ExportForm form, const char *dest, bool dir,
                            Err *e);
/* export_stream - the archive into a descriptor. */
NODISCARD bool export_stream(Store *s, Arena *a, const ExportItem *items, size_t n,
                             const ExportStyle *style, ExportForm form, int fd, Err *e);

/* ---- as it came ---- */

/* An image, or an index of several, whose documents are in the store and go out byte for byte. */
typedef struct ExportCopy {
    Descriptor top;
    const char *repo; /* where blobs are that are not in the store; NULL: all are */
} ExportCopy;

/* export_copy_push - to registries; what one of them has already is not sent. `names` are full
 * references with a tag. Fails with ERR_NETWORK, ERR_STORE. */
NODISCARD bool export_copy_push(Store *s, Registry *r, Arena *a, const ExportCopy *c,
                                const StrList *names, Err *e);
/* export_copy_fetch - have all its blobs in the store. */
NODISCARD bool export_copy_fetch(Store *s, Registry *r, Arena *a, const ExportCopy *c, Err *e);
/* export_copy_files - to an archive or a layout; `name`: what index.json calls it, or NULL. */
NODISCARD bool export_copy_files(Store *s, Registry *r, Arena *a, const ExportCopy *c,
                                 const char *name, const char *dest, bool dir, Err *e);

/* ---- file systems ---- */

/* A file system on its way out. */
typedef struct ExportRoot {
    const View *view;
    const char *below; /* NULL, or the directory that it is put into: "linux_arm64" */
} ExportRoot;

/* export_roots_tar - file systems as one tar; `dest` as above. */
NODISCARD bool export_roots_tar(const ExportRoot *roots, size_t n, LayerTimes times,
                                const char *dest, Err *e);
/*
 * export_roots_dir - the same as files below the directory `dest`, which belong to the caller.
 *
 * Links that lie there are not followed. What is there and not in the image stays; a file gives
 * way to what has its name. Device nodes are an error. Source: BuildKit, exporter/local.
 */
NODISCARD bool export_roots_dir(const ExportRoot *roots, size_t n, LayerTimes times,
                                const char *dest, Err *e);

#endif
