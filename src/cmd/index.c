/*
 * cmd/index.c - `lighter index create`: images for several platforms under one name.
 *
 * Layers stay where they are: of an image in a registry only its documents are fetched, and a push
 * mounts or passes on what the new place lacks.
 */
#include "base/cancel.h"
#include "cmd/cmd.h"
#include "cmd/names.h"
#include "cmd/outputs.h"
#include "cmd/remote.h"
#include "export/export.h"
#include "source/source.h"
#include "ui/ui.h"

typedef struct IndexOpts {
    StrList annotations;
    const char *isolation;
    bool push, append, quiet;
    RemoteOpts remote;
} IndexOpts;

#define FIELD(f) offsetof(IndexOpts, f)
static const OptRow ROWS[] = {
    {"push", 0, OPT_BOOL, FIELD(push), NULL, "send it to the registry of its name"},
    {"append", 0, OPT_BOOL, FIELD(append), NULL,
     "add to what the name means; an image for the same platform is replaced"},
    {"annotation", 0, OPT_LIST, FIELD(annotations), "[PLACE:]NAME=VALUE",
     "with --push, annotate the index (the default), or manifest-descriptor; repeatable"},
    {"quiet", 'q', OPT_BOOL, FIELD(quiet), NULL, "print the digest only"},
    {"isolation", 0, OPT_STRING, FIELD(isolation), "MODE",
     "the mode the store was filled in (default auto)"},
    REMOTE_ROWS(IndexOpts),
    {"dry-run", 0, OPT_REFUSED, 0, NULL, "without --push nothing leaves this machine"},
    {"file", 'f', OPT_REFUSED, 0, NULL, "name the images"},
};
static const OptTable CREATE_TABLE = {
    "lighter index create [OPTIONS] NAME IMAGE...",
    "let a name mean images for several platforms, of the store or of registries", ROWS,
    NELEM(ROWS), false};

/* The images that are joined. */
typedef struct Joined {
    Store *s;
    Arena *a;
    Registry *r;
    Digest *v;
    size_t n, cap;
    Err *e;
} Joined;

static void add(Joined *j, const Digest *id)
{
    *ARENA_PUSH(j->a, j->v, j->n, j->cap) = *id;
}

static bool add_of_store(Joined *j, const char *word)
{
    Digest *ids;
    size_t n;
    if (!names_of(j->s, j->a, word, &ids, &n, j->e))
        return false;
    for (size_t i = 0; i < n; i++)
        add(j, &ids[i]);
    return true;
}

/* One manifest of a registry, as an image whose layers stay there. */
static bool add_manifest(Joined *j, const char *repo, const Descriptor *d)
{
    char digest[DIGEST_TEXT_SIZE];
    Platform host = image_platform_host(); /* a manifest is taken whatever it is for */
    RegistryPulled got;
    if (d->attestation || !image_is_manifest(d->media_type))
        return true;
    digest_text(&d->digest, digest);
    if (!registry_pull(j->r, j->s, j->a, arena_printf(j->a, "%s@%s", repo, digest), &host, &got,
                       j->e))
        return false;
    add(j, &got.id);
    return true;
}

static bool add_of_registry(Joined *j, const char *word)
{
    scoped(buf) Buf text = BUF_INIT;
    StrList names;
    SourceDocs d;
    ImageIndex x;
    if (!registry_names(j->r, j->a, word, &names, j->e) ||
        !source_docs_registry(j->s, j->a, j->r, names.v[0], NULL, &d, j->e))
        return false;
    x = (ImageIndex){.manifests = &d.top, .nmanifest = 1};
    if (image_is_index(d.top.media_type) &&
        (!store_read_blob(j->s, &d.top.digest, &text, j->e) ||
         !image_index_parse(j->a, buf_str(&text), text.len, &x, j->e)))
        return false;
    for (size_t i = 0; i < x.nmanifest; i++)
        if (!add_manifest(j, d.repo, &x.manifests[i]))
            return false;
    return true;
}

static bool add_word(Joined *j, const char *word)
{
    Digest id;
    bool found;
    return store_find(j->s, j->a, word, &id, &found, j->e) &&
           (found ? add_of_store(j, word) : add_of_registry(j, word));
}

/* --annotation without a place is of the index here. */
static bool read_notes(Arena *a, const IndexOpts *o, ExportStyle *ret, Err *e)
{
    OutputNotes notes = {0};
    for (size_t i = 0; i < o->annotations.n; i++) {
        size_t before = notes.n;
        const char *text = o->annotations.v[i];
        if (!outputs_annotation(a, text, &notes, e))
            return false;
        size_t n = strlen(notes.v[before].name);
        bool placed = strncmp(text, notes.v[before].name, n) != 0 || text[n] != '=';
        for (size_t k = before; k < notes.n; k++) {
            if (!placed)
                notes.v[k].place = AT_INDEX;
            if (notes.v[k].place != AT_INDEX && notes.v[k].place != AT_MANIFEST_DESCRIPTOR)
                return err_set(e, ERR_USAGE,
                               "--annotation '%s': manifests stay as they are; expected index or "
                               "manifest-descriptor",
                               text);
        }
    }
    *ret = (ExportStyle){.notes = notes.v, .nnote = notes.n};
    return true;
}

static bool push(Store *s, Arena *a, Registry *r, const char *name, const ExportStyle *style,
                 Digest *ret, Err *e)
{
    ExportItem it = {.name = NULL};
    StrList names = {0};
    ExportDoc doc;
    Digest *ids;
    if (!names_of(s, a, name, &ids, &it.nid, e))
        return false;
    it.ids = ids;
    strlist_add(a, &names, name);
    if (!export_push(s, r, a, &it, style, &names, false, &doc, e))
        return false;
    *ret = doc.top.digest;
    return true;
}

static bool run_create(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const IndexOpts *o = opts;
    scoped(store) Store *s = NULL;
    scoped(registry) Registry *r = NULL;
    SandboxHost host;
    ExportStyle style;
    ImageRef ref;
    Digest digest;
    char text[DIGEST_TEXT_SIZE];
    if (operands->n < 2)
        return err_set(e, ERR_USAGE, "needs a name and images");
    if (o->annotations.n && !o->push)
        return err_set(e, ERR_USAGE, "--annotation is of what --push sends");
    scoped(ui) Ui *ui = ui_lines(o->quiet);
    if (!image_ref_parse(a, operands->v[0], &ref, e) || !read_notes(a, o, &style, e))
        return false;
    if (ref.digest)
        return err_set(e, ERR_USAGE, "'%s': a digest follows from the content; give a tag",
                       operands->v[0]);
    const char *name = image_ref_tagged(a, &ref);
    if (!remote_new(&o->remote, ui_sink(ui), &r, e) ||
        !cmd_store(a, o->isolation ? o->isolation : "auto", &host, &s, e))
        return false;
    cancel_install();
    if (o->push && !registry_check_push(r, a, name, e))
        return false;
    Joined j = {.s = s, .a = a, .r = r, .e = e};
    if (o->append && !add_word(&j, name))
        return err_wrap(e, "'%s'", name);
    for (size_t i = 1; i < operands->n; i++)
        if (!add_word(&j, operands->v[i]))
            return err_wrap(e, "'%s'", operands->v[i]);
    for (size_t i = 0; i < j.n; i++)
        if (!source_prepare_bytes(s, &j.v[i], r, e))
            return false;
    if (!names_join(s, a, name, j.v, j.n, e) || !store_publish(s, e))
        return false;
    *ret_code = 0;
    if (!o->push) {
        if (!o->quiet)
            printf("%s\n", name);
        return true;
    }
    if (!sandbox_enter(&host, e) || !push(s, a, r, name, &style, &digest, e))
        return false;
    digest_text(&digest, text);
    if (o->quiet)
        printf("%s\n", text);
    else
        printf("%s  %s\n", name, text);
    return true;
}

static const Cmd SUBS[] = {{"create", &CREATE_TABLE, sizeof(IndexOpts), run_create, NULL},
                           {.name = NULL}};
static const OptTable GROUP_TABLE = {"lighter index COMMAND",
                                     "images for several platforms under one name", NULL, 0, false};

const Cmd CMD_INDEX = {.name = "index", .table = &GROUP_TABLE, .subs = SUBS};
