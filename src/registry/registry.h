/*
 * registry/registry.h - the door of the registry room: images of other machines.
 *
 * In: names of images, as people and Dockerfiles write them. Out: images in the store whose layers
 * are still where they were, layers' bytes when somebody needs them, and images sent away.
 *
 *   name -> endpoints (mirrors, then the registry)     conf: registries.conf, daemon.json, certs.d
 *        -> who we are there                           creds: docker's and podman's files, helpers
 *        -> tokens                                     token: Basic, Bearer, refreshed when refused
 *        -> manifest, config, origins of the layers    pull
 *        -> a layer's bytes as they are read           blob: resumed, verified, kept in the store
 *        <- HEAD, mount, upload; the manifest last     push
 *
 * Nothing is asked for twice, nothing is sent twice, and what was received is kept byte for byte.
 * A server's words are hostile: every size has a limit, every byte a digest. Secrets go to the
 * server they are for and into no message. One Registry serves all threads of a process; its
 * configuration is read at the first question, so a build that asks nothing costs nothing.
 *
 * Used by: source, export, cmd.  Uses: base, net, image, store.
 */
#ifndef REGISTRY_REGISTRY_H
#define REGISTRY_REGISTRY_H

#include "base/event.h"
#include "image/image.h"
#include "store/store.h"

typedef struct Registry Registry;

typedef struct RegistryOpts {
    const char *authfile; /* --authfile, or NULL */
    StrList mirrors; /* --registry-mirror: "docker.io=HOST[/PATH]"; LIGHTER_MIRROR holds more */
    bool any_tls;    /* --tls-verify=false: any certificate, and http where there is none */
    EventSink sink;  /* hears what is fetched and sent */
} RegistryOpts;

/* Connections that layers of one image are fetched or sent by at once. */
enum { REGISTRY_PARALLEL = 4 };

/* registry_new - a client; what it reads it reads when it is asked. Free with registry_done. */
Registry *registry_new(const RegistryOpts *o);
/* registry_done - NULL is fine. */
void registry_done(Registry *r);
static inline void scoped_registry_done(Registry **r)
{
    registry_done(*r);
}

/*
 * registry_names - the full references a name may mean, the likeliest first.
 *
 * One, unless the name has no registry and `unqualified-search-registries` lists some. Fails with
 * ERR_USAGE. Source: containers-registries.conf(5).
 */
NODISCARD bool registry_names(Registry *r, Arena *a, const char *name, StrList *ret, Err *e);

/* registry_prepare - have the credentials for a repository ("docker.io/library/alpine") now, while
 * helper programs still see their user: namespaces are entered later. */
NODISCARD bool registry_prepare(Registry *r, const char *repo, Err *e);

/* ---- pulling ---- */

/* An image that is in the store now. */
typedef struct RegistryPulled {
    Digest id;
    Digest digest;    /* of the document that the name means: an index or a manifest */
    bool had;         /* it was there, and nothing but its digest was asked for */
    const char *name; /* the full reference */
} RegistryPulled;

/*
 * registry_pull - have the image that a full reference means: manifest and config in the store, its
 * layers known by where they can be had. It gets no tag here.
 *
 *   platform  of an index, which image
 *
 * A reference with a digest that the store knows is not asked for; of a tag the digest is, and the
 * rest only when it is new. Fails with ERR_NETWORK (the server, or what it gave), ERR_USAGE
 * (blocked, configuration), ERR_ENV, ERR_STORE. Source: OCI distribution-spec 1.1, "Pull".
 */
NODISCARD bool registry_pull(Registry *r, Store *s, Arena *a, const char *ref,
                             const Platform *platform, RegistryPulled *ret, Err *e);

/*
 * registry_document - the manifest or index of a full reference, byte for byte, into the store; of
 * an image that is passed on and not kept. Servers are asked even for what is here.
 *
 *   ret_repo  "docker.io/library/alpine", in the arena: where its blobs are
 */
NODISCARD bool registry_document(Registry *r, Store *s, Arena *a, const char *ref, Descriptor *ret,
                                 const char **ret_repo, Err *e);

/* ---- layers ---- */

typedef struct RegistryBlob RegistryBlob;

/*
 * registry_blob_open - begin to read a blob that is not in the store; free with
 * registry_blob_close.
 *
 *   origins  where it can be had, all of one digest; borrowed until it is closed
 *   again    its bytes were corrupt the last time: another server is asked first, if there is one
 *
 * Reading gives its bytes in order, whatever happens to connections: they are resumed where they
 * broke, here or at the next mirror. The bytes are kept as they go by, and are in the store when
 * registry_blob_read() has said that they end; other bytes than the digest's fail there.
 */
NODISCARD bool registry_blob_open(Registry *r, Store *s, const StoreOrigin *origins, size_t norigin,
                                  bool again, RegistryBlob **ret, Err *e);
/* registry_blob_read - a LayerRead: some bytes, none at the end. */
bool registry_blob_read(void *blob, void *buf, size_t cap, size_t *ret_n, Err *e);
/*
 * registry_blob_verdict - read what is left and say what the bytes were, after a reader has failed.
 * True: they are the digest's, and the reader is right. False: *e says what they were or why they
 * did not come; with *ret_corrupt another try may do better.
 */
NODISCARD bool registry_blob_verdict(RegistryBlob *b, bool *ret_corrupt, Err *e);
void registry_blob_close(RegistryBlob *b);
static inline void scoped_registry_blob_done(RegistryBlob **b)
{
    registry_blob_close(*b);
}

/* registry_fetch - have a blob in the store; corrupt bytes are asked for once more. */
NODISCARD bool registry_fetch(Registry *r, Store *s, const StoreOrigin *origins, size_t norigin,
                              Err *e);

/* ---- pushing ---- */

/* registry_check_push - whether a push to a full reference would be let in: an upload is begun and
 * cancelled. Fails with ERR_NETWORK. */
NODISCARD bool registry_check_push(Registry *r, Arena *a, const char *ref, Err *e);

/* How a blob came to be in a repository. */
typedef enum RegistrySent {
    SENT_HAD,     /* it was there */
    SENT_MOUNTED, /* another repository of the registry had it */
    SENT_BYTES,   /* it was uploaded */
} RegistrySent;

/*
 * registry_push_blob - have a blob in the repository of a full reference.
 *
 *   origins   where else it can be had when it is not in the store, or nothing
 *   diff_id   NULL, or of the layer: where it is now is remembered
 *
 * Any thread may call it. Fails with ERR_NETWORK, ERR_STORE. Source: OCI distribution-spec 1.1,
 * "Push".
 */
NODISCARD bool registry_push_blob(Registry *r, Store *s, const char *ref, const Descriptor *d,
                                  const StoreOrigin *origins, size_t norigin, const Digest *diff_id,
                                  RegistrySent *ret, Err *e);

/*
 * registry_push_document - put a manifest or an index, whose blobs are there, under a full
 * reference with a tag or a digest.
 */
NODISCARD bool registry_push_document(Registry *r, Arena *a, const char *ref,
                                      const char *media_type, const void *bytes, size_t n, Err *e);

/* ---- who we are ---- */

/* What a login did. */
typedef struct RegistryLogin {
    const char *file;   /* written to */
    const char *helper; /* keeps the password; NULL: the file does, in clear text */
} RegistryLogin;

/*
 * registry_login - try a user and password at a registry, and keep them if they are let in.
 * Fails with ERR_NETWORK (refused), ERR_USAGE, ERR_ENV.
 */
NODISCARD bool registry_login(Registry *r, Arena *a, const char *host, const char *user,
                              const char *password, RegistryLogin *ret, Err *e);
/* registry_logout - forget them in every file that is read. *ret_files: where something was. */
NODISCARD bool registry_logout(Registry *r, Arena *a, const char *host, StrList *ret_files, Err *e);

#endif
