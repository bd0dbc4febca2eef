/*
 * export/export.h - the door of the export room: results to images, images to files.
 *
 * A build ends with a config and the diff IDs of its layers; compressed bytes and a manifest are
 * made when somebody outside asks. Both follow from content and the rule for times alone.
 *
 * Used by: cmd.  Uses: base, image, layer, store, registry.
 */
#ifndef EXPORT_EXPORT_H
#define EXPORT_EXPORT_H

#include "image/image.h"
#include "layer/layer.h"
#include "registry/registry.h"
#include "store/store.h"

/*
 * export_diff_id - the diff ID of a snapshot packed by the rule, remembered after the first time.
 * The empty snapshot is the layer without entries.
 */
NODISCARD bool export_diff_id(Store *s, SnapshotId id, LayerTimes times, Digest *ret,
                              uint64_t *ret_size, Err *e);

/* export_diff_known - whether export_diff_id would answer from memory, without reading the
 * snapshot. */
bool export_diff_known(Store *s, SnapshotId id, LayerTimes times);

/*
 * export_commit - keep an image.
 *
 *   config   complete but for diff_ids, which are set here from `layers`
 *   created  seconds, for listings
 */
NODISCARD bool export_commit(Store *s, Arena *a, ImageConfig *config, const StoreLayer *layers,
                             size_t nlayer, uint64_t size, int64_t created, Digest *ret_id, Err *e);

/* export_pack - pack what is not packed yet and give the image's manifest. Layers that a registry
 * has are named by it, wherever their bytes are. */
NODISCARD bool export_pack(Store *s, const Digest *id, Descriptor *ret_manifest, Err *e);

/*
 * export_push - send an image to registries.
 *
 *   names  full references with a tag; what one repository has is mounted into the next
 *
 * Layers go several at once, each as soon as it is packed; the manifest follows when all are there.
 * Bytes that a registry has already are not sent, and those that only another registry has are
 * fetched. Fails with ERR_NETWORK, ERR_STORE.
 */
NODISCARD bool export_push(Store *s, Registry *r, const Digest *id, const StrList *names, Err *e);

/* An image on its way out, and the name it is written under. */
typedef struct ExportItem {
    Digest id;
    const char *name; /* NULL: without a name */
} ExportItem;

typedef enum ExportForm { EXPORT_TAR, EXPORT_LAYOUT } ExportForm;

/*
 * export_oci - write images as an OCI layout.
 *
 *   dest  a file for EXPORT_TAR ("-": stdout), a directory for EXPORT_LAYOUT,
 *         which is made or added to
 *
 * A file appears whole or not at all. Source: OCI image-layout 1.1.
 */
NODISCARD bool export_oci(Store *s, const ExportItem *items, size_t n, ExportForm form,
                          const char *dest, Err *e);

#endif
