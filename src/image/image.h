/*
 * image/image.h - the door of the image room: OCI documents as values.
 *
 * In: bytes of a config, manifest or index, from anywhere. Out: typed values. And back: values to
 * the one canonical text whose digest names the image. It reads no file and keeps nothing.
 *
 * Used by: store, source, plan, export, registry, analyze, cmd.  Uses: base.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "base/arena.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/str.h"
#include "image/ref.h"

#define MT_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MT_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MT_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MT_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define MT_OCI_LAYER_GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define MT_OCI_LAYER_ZSTD "application/vnd.oci.image.layer.v1.tar+zstd"
#define MT_OCI_FOREIGN "application/vnd.oci.image.layer.nondistributable.v1.tar"
#define MT_OCI_FOREIGN_GZIP "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
#define MT_OCI_FOREIGN_ZSTD "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
#define MT_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MT_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MT_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define MT_DOCKER_LAYER_GZIP "application/vnd.docker.image.rootfs.diff.tar.gzip"
#define MT_DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define MT_DOCKER_LAYER_ZSTD "application/vnd.docker.image.rootfs.diff.tar.zstd"
#define MT_DOCKER_FOREIGN_GZIP "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
#define MT_DOCKER_FOREIGN "application/vnd.docker.image.rootfs.foreign.diff.tar"
/* What registries gave before 2017; refused by name. */
#define MT_DOCKER_SCHEMA1 "application/vnd.docker.distribution.manifest.v1+json"
#define MT_DOCKER_SCHEMA1_SIGNED "application/vnd.docker.distribution.manifest.v1+prettyjws"

/* The annotation under which a layout names an image. Source: OCI image-spec, annotations. */
#define ANNOTATION_REF_NAME "org.opencontainers.image.ref.name"
/* Where containerd's tools, and docker's archives, have the whole name. */
#define ANNOTATION_IMAGE_NAME "io.containerd.image.name"

/* Layers one image may have; overlayfs takes 500 directories. */
enum { IMAGE_MAX_LAYERS = 400 };

typedef enum Compression { COMP_NONE, COMP_GZIP, COMP_ZSTD } Compression;

typedef struct ImageHistory {
    const char *created; /* RFC 3339, NULL when unknown */
    const char *created_by, *author, *comment;
    bool empty_layer;
} ImageHistory;

typedef struct ImageLabel {
    const char *name, *value;
} ImageLabel;

/* What runs and how: the "config" member, and the facts around it. Strings are NULL when absent. */
typedef struct ImageConfig {
    const char *created, *author, *architecture, *variant, *os, *os_version;
    const char *user, *workdir, *stop_signal;
    StrList env, entrypoint, cmd, shell, onbuild;
    StrList exposed_ports, volumes; /* sets; written sorted */
    ImageLabel *labels;             /* written sorted */
    size_t nlabel, label_cap;
    const char *healthcheck; /* JSON text, carried from a base unchanged */
    bool args_escaped;
    Digest *diff_ids;
    size_t ndiff;
    ImageHistory *history;
    size_t nhistory, history_cap;
} ImageConfig;

typedef struct Descriptor {
    const char *media_type;
    Digest digest;
    uint64_t size; /* bytes */
    const char *ref_name;
    const char *image_name;  /* what containerd calls it, when it was read */
    const ImageLabel *notes; /* further annotations, when it is written */
    size_t nnote;
    const char *os, *architecture, *variant; /* NULL when no platform is given */
    bool attestation;                        /* buildx's provenance entries, which are no images */
    StrList urls;                            /* where a foreign layer is, besides registries */
} Descriptor;

/* What a machine is. Strings are never NULL; `variant` is "" where nothing is said. */
typedef struct Platform {
    const char *os, *architecture, *variant;
} Platform;

typedef struct ImageManifest {
    Descriptor config;
    Descriptor *layers;
    size_t nlayer;
    bool docker;             /* it says of itself that it is docker's kind */
    const ImageLabel *notes; /* annotations, when it is written */
    size_t nnote;
} ImageManifest;

typedef struct ImageIndex {
    Descriptor *manifests;
    size_t nmanifest;
    bool docker;             /* to be written as docker's manifest list */
    const ImageLabel *notes; /* annotations, when it is written */
    size_t nnote;
} ImageIndex;

/* image_config_empty - the config of FROM scratch for this machine's platform. */
ImageConfig image_config_empty(Arena *a);
/* image_config_clone - lists and history may then be changed without touching `c`. */
ImageConfig image_config_clone(Arena *a, const ImageConfig *c);
/*
 * image_config_parse - read an OCI or Docker image config. Unknown members are dropped, as docker
 * does. Fails with ERR_STORE. Source: OCI image-spec 1.1, config.md.
 */
NODISCARD bool image_config_parse(Arena *a, const char *text, size_t len, ImageConfig *ret, Err *e);
/* image_config_text - append the canonical text; its SHA-256 is the image ID. */
void image_config_text(const ImageConfig *c, Buf *out);
void image_config_add_history(Arena *a, ImageConfig *c, const ImageHistory *h);
/* image_label_set - set a label, replacing the value of one that is there. */
void image_label_set(Arena *a, ImageConfig *c, const char *name, const char *value);
/* image_set_add - add to a sorted set of strings (ports, volumes). */
void image_set_add(Arena *a, StrList *set, const char *s);

/* image_descriptor_json - a descriptor as documents have it; the caller frees. Source: OCI image
 * specification, descriptor.md. */
json_t *image_descriptor_json(const Descriptor *d);
NODISCARD bool image_manifest_parse(Arena *a, const char *text, size_t len, ImageManifest *ret,
                                    Err *e);
/* image_manifest_text - append a manifest of its kind, with sorted keys. */
void image_manifest_text(const ImageManifest *m, Buf *out);
NODISCARD bool image_index_parse(Arena *a, const char *text, size_t len, ImageIndex *ret, Err *e);
void image_index_text(const ImageIndex *x, Buf *out);
bool image_is_index(const char *media_type);
bool image_is_manifest(const char *media_type);
/* image_layer_compression - by media type; false for one that lighter does not read. */
bool image_layer_compression(const char *media_type, Compression *ret);
/* image_layer_type - the media type of a layer, OCI's or docker's. */
const char *image_layer_type(Compression how, bool docker);
/* image_layer_foreign - whether it is of a layer that is not to be pushed. */
bool image_layer_foreign(const char *media_type);

/* ---- platforms ---- */

/* image_platform_host - this machine's, as an index of images names it. */
Platform image_platform_host(void);
/*
 * image_platform_parse - "linux/arm64", "linux/arm/v7"; other names of an architecture are replaced
 * by Go's. Fails with ERR_USAGE. Source: containerd/platforms.
 */
NODISCARD bool image_platform_parse(Arena *a, const char *text, Platform *ret, Err *e);
/* image_platform_runs - whether this machine's processors run its programs as they are. */
bool image_platform_runs(const Platform *p);
char *image_platform_text(Arena *a, const Platform *p);
/*
 * image_platform_pick - the entry of an index that fits best: the platform itself, else an older
 * variant of it or what it can run as well (arm/v7 on arm64, 386 on amd64), else one that says
 * nothing of its platform. Attestations are no images. False: there is none.
 * Source: containerd/platforms, Only().
 */
bool image_platform_pick(const ImageIndex *x, const Platform *want, size_t *ret);

/*
 * image_chain_id - the name of the file system that the first n layers make.
 * Source: OCI image-spec 1.1, config.md, "Layer ChainID".
 */
void image_chain_id(const Digest *diff_ids, size_t n, Digest *ret);

/* image_arch - GOARCH name of this machine ("amd64"). */
const char *image_arch(void);

/* image_time - seconds since the epoch as RFC 3339 in UTC, in the arena. */
char *image_time(Arena *a, int64_t seconds);
/* image_time_parse - the reverse, fractions dropped; 0 for NULL and for what is no such time. */
int64_t image_time_parse(const char *text);

#endif
