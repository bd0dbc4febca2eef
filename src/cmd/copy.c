/*
 * cmd/copy.c - `lighter copy`: images from one place to another, no digest changed.
 *
 * What comes from a registry, a layout or an archive is passed on as documents and blobs, byte for
 * byte. What lies in the store has the manifest it came with, or was packed with.
 */
#include "base/cancel.h"
#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/names.h"
#include "cmd/remote.h"
#include "export/export.h"
#include "source/source.h"
#include "ui/ui.h"

typedef struct CopyOpts {
    const char *platform, *isolation;
    bool quiet;
    RemoteOpts remote;
} CopyOpts;

#define FIELD(f) offsetof(CopyOpts, f)
static const OptRow ROWS[] = {
    {"platform", 0, OPT_STRING, FIELD(platform), "OS/ARCH[/VARIANT]",
     "of an index, this image alone (default: the whole index)"},
    {"quiet", 'q', OPT_BOOL, FIELD(quiet), NULL, "print the digest only"},
    {"isolation", 0, OPT_STRING, FIELD(isolation), "MODE",
     "the mode the store was filled in (default auto)"},
    REMOTE_ROWS(CopyOpts),
    {"all", 'a', OPT_REFUSED, 0, NULL, "an index is copied whole unless --platform says otherwise"},
};
static const OptTable TABLE = {
    "lighter copy [OPTIONS] FROM TO\n\nFROM and TO: NAME (the store), docker://NAME, "
    "oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:NAME]",
    "copy an image between registries, layouts, archives and the store as it is", ROWS, NELEM(ROWS),
    false};

typedef enum PlaceKind {
    PLACE_STORE,
    PLACE_REGISTRY,
    PLACE_LAYOUT,
    PLACE_ARCHIVE,
    PLACE_DOCKER, /* docker's archive */
} PlaceKind;

typedef struct Place {
    PlaceKind kind;
    const char *path; /* of a layout or an archive */
    const char
        *name; /* a full reference; of a layout or an OCI archive whatever it calls it; or NULL */
} Place;

typedef struct Copy {
    Arena *a;
    const CopyOpts *o;
    Store *s;
    Registry *r;
    SandboxHost host;
    Place from, to;
    Platform platform;
    bool as_it_is; /* `docs`, else `ids` */
    ExportCopy docs;
    Digest *ids;
    size_t nid;
    Digest digest; /* of what arrived */
    Err *e;
} Copy;

/* ---- places ---- */

static bool read_place(Copy *c, const char *word, Place *ret)
{
    static const struct {
        const char *prefix;
        PlaceKind kind;
    } ROWS_OF[] = {{"docker://", PLACE_REGISTRY},
                   {"oci:", PLACE_LAYOUT},
                   {"oci-archive:", PLACE_ARCHIVE},
                   {"docker-archive:", PLACE_DOCKER}};
    Place p = {.kind = PLACE_STORE, .name = word};
    ImageRef ref;
    for (size_t i = 0; i < NELEM(ROWS_OF); i++)
        if (str_starts(word, ROWS_OF[i].prefix)) {
            p.kind = ROWS_OF[i].kind;
            p.name = word + strlen(ROWS_OF[i].prefix);
        }
    if (p.kind == PLACE_STORE || p.kind == PLACE_REGISTRY) {
        *ret = p;
        return *p.name || err_set(c->e, ERR_USAGE, "'%s' names no image", word);
    }
    const char *colon = strchr(p.name, ':');
    p.path = colon ? arena_strndup(c->a, p.name, (size_t)(colon - p.name)) : p.name;
    p.name = colon && colon[1] ? colon + 1 : NULL;
    if (!*p.path)
        return err_set(c->e, ERR_USAGE, "'%s' names no path", word);
    if (p.kind == PLACE_DOCKER && p.name) {
        if (!image_ref_parse(c->a, p.name, &ref, c->e))
            return false;
        p.name = image_ref_tagged(c->a, &ref);
    }
    *ret = p;
    return true;
}

/* A destination's name is one that can be given. */
static bool check_to(Copy *c)
{
    ImageRef ref;
    if (c->to.kind != PLACE_STORE && c->to.kind != PLACE_REGISTRY)
        return true;
    if (!image_ref_parse(c->a, c->to.name, &ref, c->e))
        return false;
    if (ref.digest)
        return err_set(c->e, ERR_USAGE, "'%s': a digest follows from the content; give a tag",
                       c->to.name);
    c->to.name = image_ref_tagged(c->a, &ref);
    return true;
}

/* ---- from ---- */

static bool from_registry(Copy *c, const Platform *platform)
{
    StrList names;
    SourceDocs d;
    if (!registry_names(c->r, c->a, c->from.name, &names, c->e) ||
        !source_docs_registry(c->s, c->a, c->r, names.v[0], platform, &d, c->e))
        return false;
    c->docs = (ExportCopy){d.top, d.repo};
    return c->as_it_is = true;
}

static bool from_files(Copy *c, const Platform *platform)
{
    SourceDocs d;
    if (c->from.kind == PLACE_LAYOUT) {
        if (!source_docs_layout(c->s, c->a, c->from.path, c->from.name, platform, &d, c->e))
            return false;
    } else {
        scoped(fd) int fd = open(c->from.path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return err_errno(c->e, ERR_USAGE, "open '%s'", c->from.path);
        if (!source_docs_archive(c->s, c->a, fd, c->from.name, platform, &d, c->e))
            return err_wrap(c->e, "'%s'", c->from.path);
    }
    c->docs = (ExportCopy){d.top, NULL};
    return c->as_it_is = true;
}

static bool from_docker(Copy *c, const Platform *platform)
{
    Loaded *v;
    size_t n, found = 0;
    scoped(fd) int fd = open(c->from.path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(c->e, ERR_USAGE, "open '%s'", c->from.path);
    if (!source_load_archive(c->s, c->a, fd, platform, &v, &n, c->e))
        return err_wrap(c->e, "'%s'", c->from.path);
    c->ids = NEW(c->a, Digest);
    for (size_t i = 0; i < n; i++) {
        if (c->from.name && (!v[i].name || strcmp(v[i].name, c->from.name) != 0))
            continue;
        found += !found || !digest_eq(c->ids, &v[i].id);
        *c->ids = v[i].id;
    }
    c->nid = 1;
    return found == 1 || err_set(c->e, ERR_USAGE,
                                 found ? "'%s' holds %zu images: say which one, by its name"
                                       : "'%s' holds no such image",
                                 c->from.path, found);
}

static bool from_store(Copy *c, const Platform *platform)
{
    if (!names_of(c->s, c->a, c->from.name, &c->ids, &c->nid, c->e))
        return false;
    if (!platform)
        return true;
    ImageIndex x = {.manifests = NEW_N(c->a, Descriptor, c->nid), .nmanifest = c->nid};
    size_t at;
    for (size_t i = 0; i < c->nid; i++) {
        SourceImage img;
        if (!source_image(c->s, c->a, &c->ids[i], &img, c->e))
            return false;
        x.manifests[i] = (Descriptor){.media_type = MT_OCI_MANIFEST,
                                      .os = img.config.os,
                                      .architecture = img.config.architecture,
                                      .variant = img.config.variant};
    }
    if (!image_platform_pick(&x, platform, &at))
        return err_set(c->e, ERR_USAGE, "'%s' has no image for %s", c->from.name,
                       image_platform_text(c->a, platform));
    c->ids += at;
    c->nid = 1;
    return true;
}

static bool take(Copy *c)
{
    const Platform *platform = c->o->platform ? &c->platform : NULL;
    switch (c->from.kind) {
    case PLACE_REGISTRY:
        return from_registry(c, platform);
    case PLACE_LAYOUT:
    case PLACE_ARCHIVE:
        return from_files(c, platform);
    case PLACE_DOCKER:
        return from_docker(c, platform);
    case PLACE_STORE:
        return from_store(c, platform);
    }
    return false;
}

/* ---- to ---- */

/* Images of the store, for a place that knows nothing else. */
static bool keep(Copy *c)
{
    Loaded *v;
    SourceDocs d = {c->docs.top, c->docs.repo};
    if (!c->as_it_is)
        return true;
    if (!export_copy_fetch(c->s, c->r, c->a, &c->docs, c->e) ||
        !source_keep_docs(c->s, c->a, &d, &v, &c->nid, c->e))
        return false;
    c->ids = NEW_N(c->a, Digest, c->nid);
    for (size_t i = 0; i < c->nid; i++)
        c->ids[i] = v[i].id;
    return true;
}

static bool fetch(Copy *c)
{
    for (size_t i = 0; i < c->nid; i++)
        if (!source_fetch(c->s, &c->ids[i], c->r, c->e))
            return false;
    return true;
}

static bool to_registry(Copy *c)
{
    StrList names = {0};
    ExportDoc doc;
    strlist_add(c->a, &names, c->to.name);
    c->digest = c->docs.top.digest;
    if (c->as_it_is)
        return export_copy_push(c->s, c->r, c->a, &c->docs, &names, c->e);
    ExportItem it = {.ids = c->ids, .nid = c->nid};
    if (!export_push(c->s, c->r, c->a, &it, NULL, &names, false, &doc, c->e))
        return false;
    c->digest = doc.top.digest;
    return true;
}

static bool to_files(Copy *c)
{
    bool dir = c->to.kind == PLACE_LAYOUT, docker = c->to.kind == PLACE_DOCKER;
    ExportStyle style = {.docker = docker};
    ExportDoc doc;
    if (c->as_it_is && !docker) {
        c->digest = c->docs.top.digest;
        return export_copy_files(c->s, c->r, c->a, &c->docs, c->to.name, c->to.path, dir, c->e);
    }
    if (!keep(c) || !fetch(c))
        return false;
    ExportItem it = {.ids = c->ids, .nid = c->nid, .name = c->to.name};
    if (!export_files(c->s, c->a, &it, 1, docker ? &style : NULL,
                      docker ? EXPORT_DOCKER : EXPORT_OCI, c->to.path, dir, c->e) ||
        !export_document(c->s, c->a, &it, docker ? &style : NULL, &doc, c->e))
        return false;
    c->digest = doc.top.digest;
    return true;
}

static bool to_store(Copy *c)
{
    if (!keep(c))
        return false;
    c->digest = c->as_it_is ? c->docs.top.digest : c->ids[0];
    return names_join(c->s, c->a, c->to.name, c->ids, c->nid, c->e);
}

static bool give(Copy *c)
{
    switch (c->to.kind) {
    case PLACE_REGISTRY:
        return to_registry(c);
    case PLACE_LAYOUT:
    case PLACE_ARCHIVE:
    case PLACE_DOCKER:
        return to_files(c);
    case PLACE_STORE:
        return to_store(c);
    }
    return false;
}

/* ---- the command ---- */

static bool prepare(Copy *c)
{
    for (size_t i = 0; !c->as_it_is && i < c->nid; i++)
        if (!source_prepare_bytes(c->s, &c->ids[i], c->r, c->e))
            return false;
    return true;
}

static bool copy(Copy *c)
{
    if (c->to.kind == PLACE_REGISTRY && !registry_check_push(c->r, c->a, c->to.name, c->e))
        return false;
    /* Helpers must see their user, and who packs must be in the namespaces. */
    return take(c) && prepare(c) && (c->as_it_is || sandbox_enter(&c->host, c->e)) && give(c) &&
           store_publish(c->s, c->e);
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const CopyOpts *o = opts;
    scoped(store) Store *s = NULL;
    scoped(registry) Registry *r = NULL;
    Copy c = {.a = a, .o = o, .e = e};
    char digest[DIGEST_TEXT_SIZE];
    if (operands->n != 2)
        return err_set(e, ERR_USAGE,
                       "needs FROM and TO, as in 'lighter copy docker://a/b:1 "
                       "oci-archive:b.tar'");
    scoped(ui) Ui *ui = ui_lines(o->quiet);
    if ((o->platform && !image_platform_parse(a, o->platform, &c.platform, e)) ||
        !read_place(&c, operands->v[0], &c.from) || !read_place(&c, operands->v[1], &c.to) ||
        !check_to(&c) || !remote_new(&o->remote, ui_sink(ui), &r, e) ||
        !cmd_store(a, o->isolation ? o->isolation : "auto", &c.host, &s, e))
        return false;
    c.s = s;
    c.r = r;
    cancel_install();
    if (!copy(&c))
        return err_wrap(e, "'%s'", operands->v[0]);
    digest_text(&c.digest, digest);
    if (o->quiet)
        printf("%s\n", digest);
    else
        printf("%s  %s\n", operands->v[1], digest);
    *ret_code = 0;
    return true;
}

const Cmd CMD_COPY = {"copy", &TABLE, sizeof(CopyOpts), run, NULL};
