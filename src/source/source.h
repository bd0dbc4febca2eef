/*
 * source/source.h - the door of the source room: names to images that a build can stand on.
 *
 * In: a name as a Dockerfile writes it, and the caller's named contexts. Out: an image whose config
 * is known and whose layers can be unpacked when a step needs them. A name is looked for in the
 * named contexts, then in the store, and then in its registry; the layers of an image that came
 * from there are fetched when somebody needs them, each downloaded, verified, decompressed and
 * unpacked in one stream, several at once.
 * Git references become commits and checked-out trees; git itself is a program that is run.
 *
 * Used by: steps, cmd.  Uses: base, net, image, store, registry, layer, snapshot.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include "base/event.h"
#include "base/giturl.h"
#include "image/image.h"
#include "registry/registry.h"
#include "snapshot/snapshot.h"
#include "store/store.h"

typedef struct SourceImage {
    const char *name;
    Digest id;    /* digest of the config */
    Digest chain; /* chain ID of all layers */
    ImageConfig config;
    StoreLayer *layers;
    size_t nlayer;
    Registry *registry; /* asked for layers that are not here; NULL: nobody is */
    EventSink sink;     /* hears what is unpacked */
} SourceImage;

typedef struct SourceOpts {
    /* NAME=oci-layout://DIR[:TAG|@DIGEST], NAME=docker-image://NAME or NAME=docker-daemon:NAME */
    const StrList *contexts;
    Registry *registry;       /* NULL: only what is here */
    bool pull;                /* ask for the tags that are here, too */
    const Platform *platform; /* whose image; NULL: this machine's */
    EventSink sink;           /* of the image, and of where it came from */
} SourceOpts;

/*
 * source_resolve - find the image for a name; it must be for the platform.
 *
 * A tag of the store wins without network, unless `pull` says to ask. What a registry gives gets
 * its tag in the store, so that the next build does not ask; of another platform than this
 * machine's, one that only says so beside the name (store_others). An image that a context names
 * as docker-image:// and no registry gives is asked of the docker or podman that runs here. Fails
 * with ERR_USAGE (bad context), ERR_NETWORK (neither here nor to be had), ERR_STORE.
 */
NODISCARD bool source_resolve(Store *s, Arena *a, const char *name, const SourceOpts *o,
                              SourceImage *ret, Err *e);

/* source_image - the same for an image ID of the store. */
NODISCARD bool source_image(Store *s, Arena *a, const Digest *id, SourceImage *ret, Err *e);

/* source_prepare - before namespaces are entered: have the credentials that fetching the image's
 * layers may need. Nothing is asked of a registry. */
NODISCARD bool source_prepare(Store *s, const SourceImage *img, Err *e);

/* source_prepare_bytes - the same for source_fetch(). */
NODISCARD bool source_prepare_bytes(Store *s, const Digest *id, Registry *r, Err *e);

/* source_fetch - have every layer's bytes in the store that its image's manifest names or that no
 * snapshot here could give. Layers that are not to be distributed stay where they are. */
NODISCARD bool source_fetch(Store *s, const Digest *id, Registry *r, Err *e);

/* source_stack - the image's layers as snapshots, fetching and unpacking those that are not. Any
 * thread may call it. */
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
 *   which     NULL: all images; else a tag, a reference or "@sha256:..." in its index
 *   platform  of indexes, which image; NULL: this machine's
 */
NODISCARD bool source_load_layout(Store *s, Arena *a, const char *dir, const char *which,
                                  const Platform *platform, Loaded **ret, size_t *ret_n, Err *e);

/* source_load_archive - the same from a tar of such a layout, or of `docker save` (plain, gzip or
 * zstd), read once from `fd`. */
NODISCARD bool source_load_archive(Store *s, Arena *a, int fd, const Platform *platform,
                                   Loaded **ret, size_t *ret_n, Err *e);
/* source_load_stream - the same from whatever `in` reads. */
NODISCARD bool source_load_stream(Store *s, Arena *a, LayerIn *in, const Platform *platform,
                                  Loaded **ret, size_t *ret_n, Err *e);

/* ---- images that are passed on, byte for byte ---- */

/* A manifest or an index in the store, and all documents that it leads to. */
typedef struct SourceDocs {
    Descriptor top;
    const char *repo; /* which has the blobs that are not in the store; NULL: all are */
} SourceDocs;

/*
 * source_docs_layout - the documents and blobs of one image of an OCI layout.
 *
 *   which     NULL: the only one; else a tag, a reference or "sha256:..." of its index.json
 *   platform  NULL: an index stays whole; else what it has for this platform, without the index
 *
 * Fails with ERR_USAGE (no such image, or several), ERR_STORE.
 */
NODISCARD bool source_docs_layout(Store *s, Arena *a, const char *dir, const char *which,
                                  const Platform *platform, SourceDocs *ret, Err *e);
/* source_docs_archive - the same of an OCI archive. */
NODISCARD bool source_docs_archive(Store *s, Arena *a, int fd, const char *which,
                                   const Platform *platform, SourceDocs *ret, Err *e);
/* source_docs_registry - the same of a full reference; documents only. Fails with ERR_NETWORK. */
NODISCARD bool source_docs_registry(Store *s, Arena *a, Registry *r, const char *name,
                                    const Platform *platform, SourceDocs *ret, Err *e);

/* source_keep_docs - the images of documents whose blobs are all in the store, as if they had been
 * loaded; attestations are passed over. None has a name. */
NODISCARD bool source_keep_docs(Store *s, Arena *a, const SourceDocs *d, Loaded **ret,
                                size_t *ret_n, Err *e);

/* ---- a docker or podman that runs here ---- */

/*
 * source_engine - the socket of the engine: DOCKER_HOST's, else docker's or podman's usual one;
 * NULL when there is none. Fails with ERR_ENV for a DOCKER_HOST that cannot be asked.
 */
NODISCARD bool source_engine(Arena *a, const char **ret_socket, Err *e);
/* source_engine_image - an image of the engine's into the store. Fails with ERR_NETWORK.
 * Source: Docker Engine API 1.24 and later, "Export an image". */
NODISCARD bool source_engine_image(Store *s, Arena *a, const char *socket, const char *name,
                                   const Platform *platform, Digest *ret, Err *e);
/* source_engine_load - give the engine an archive, `size` bytes of `fd`. Fails with ERR_NETWORK.
 * Source: the same, "Load images". */
NODISCARD bool source_engine_load(const char *socket, int fd, uint64_t size, Err *e);

/* ---- git ---- */

/* What a git reference stands for at this moment. */
typedef struct GitCommit {
    const char *id;     /* 40 or 64 hex digits: what the reference names, maybe a tag object */
    const char *commit; /* the commit; differs from `id` for an annotated tag */
    const char *ref;    /* full name: "refs/heads/main"; `id` when there is no name */
} GitCommit;

/*
 * source_git_resolve - ask the remote which commit a reference means.
 *
 * No network is used when `ref` is a full commit hash, or with fetch_by_commit.
 * Fails with ERR_DOCKERFILE (no such ref, refused name), ERR_CHECK (checksum), ERR_NETWORK
 * (remote), ERR_ENV (no git). A cancelled build is ERR_STEP.
 */
NODISCARD bool source_git_resolve(Store *s, Arena *a, const GitRef *r, GitCommit *ret, Err *e);

/*
 * source_git - the tree of a commit as a snapshot: a plain directory, not an overlay layer.
 *
 * Modes are 0644 and 0755 whatever the umask. What is checked out already, and commits that are
 * held, need no network; submodules always do. Any thread may call it; processes that want one
 * remote wait for each other. ssh looks for keys by user id, so this runs before a user namespace
 * is entered.
 * Fails as source_git_resolve, and with ERR_STORE.
 */
NODISCARD bool source_git(Store *s, Arena *a, const GitRef *r, const GitCommit *c, SnapshotId *ret,
                          Err *e);

/* ---- files of web servers ---- */

typedef struct SourceHttp {
    const char *url;
    const Digest *checksum; /* NULL: whatever the server has */
    StrList headers;        /* "Name: value" */
    const char *name;       /* the file's name; NULL: Content-Disposition or the URL says it */
} SourceHttp;

typedef struct SourceFile {
    SnapshotId snapshot; /* a directory that holds just the file: mode 0600, owner 0:0 */
    const char *name;    /* one path component, in the arena */
    Digest digest;
    uint64_t size;
    int64_t mtime; /* what Last-Modified said, else 0 */
} SourceFile;

/*
 * source_http - the file behind an URL, fetched unless what is kept is what the server has.
 *
 * Each call asks the server with If-None-Match or If-Modified-Since, and downloads when there is
 * something new or the snapshot is gone. With a checksum whose bytes are kept, no server is asked.
 * Works before sandbox_enter as after it, in any thread; no thread is left behind.
 *
 * Fails as net_get() does, with ERR_CHECK when the bytes are not those of the checksum (nothing is
 * kept then), or with ERR_STORE. Source: BuildKit's source/http.
 */
NODISCARD bool source_http(Store *s, Arena *a, const SourceHttp *req, SourceFile *ret, Err *e);

/*
 * source_http_name - what ADD calls the file of an URL, whatever the server says: the last
 * component of its path, or "__unnamed__". Source: BuildKit's dispatchCopy.
 */
const char *source_http_name(Arena *a, const char *url);

#endif
