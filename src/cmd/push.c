/*
 * cmd/push.c - `lighter push`: an image of the store to its registry.
 */
#include "base/cancel.h"
#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/names.h"
#include "cmd/remote.h"
#include "export/export.h"
#include "ui/ui.h"

typedef struct PushOpts {
    const char *isolation, *digestfile;
    bool quiet;
    RemoteOpts remote;
} PushOpts;

#define FIELD(f) offsetof(PushOpts, f)
static const OptRow ROWS[] = {
    {"quiet", 'q', OPT_BOOL, FIELD(quiet), NULL, "print the digest only"},
    {"digestfile", 0, OPT_STRING, FIELD(digestfile), "PATH",
     "write the digest of the manifest to a file"},
    {"isolation", 0, OPT_STRING, FIELD(isolation), "MODE",
     "the mode the store was filled in (default auto)"},
    REMOTE_ROWS(PushOpts),
    {"all-tags", 'a', OPT_REFUSED, 0, NULL, "not yet; push each by its name"},
    {"disable-content-trust", 0, OPT_REFUSED, 0, NULL, "lighter knows no Notary"},
    {"platform", 0, OPT_REFUSED, 0, NULL,
     "what a name means is sent: an image, or an index of all that were built for it"},
    {"creds", 0, OPT_REFUSED, 0, NULL,
     "everybody on this machine could read the password; use 'lighter login' or --authfile"},
    {"format", 0, OPT_REFUSED, 0, NULL, "the manifest is sent as it is"},
    {"remove-signatures", 0, OPT_REFUSED, 0, NULL, "there are none"},
    {"sign-by", 0, OPT_REFUSED, 0, NULL, "not yet"},
};
static const OptTable TABLE = {"lighter push [OPTIONS] IMAGE [DESTINATION...]",
                               "send an image to its registry, or to other names", ROWS,
                               NELEM(ROWS), false};

/* The names to push to: those given, else the image's own. docker:// before one is podman's way. */
static bool destinations(Arena *a, const StrList *operands, StrList *ret, Err *e)
{
    static const char SCHEME[] = "docker://";
    *ret = (StrList){0};
    for (size_t i = operands->n > 1 ? 1 : 0; i < operands->n; i++) {
        ImageRef ref;
        const char *name = operands->v[i];
        if (str_starts(name, SCHEME))
            name += sizeof SCHEME - 1;
        if (!image_ref_parse(a, name, &ref, e))
            return false;
        if (ref.digest)
            return err_set(e, ERR_USAGE,
                           "'%s': a digest follows from the content and cannot be chosen", name);
        strlist_add_once(a, ret, image_ref_tagged(a, &ref));
    }
    return true;
}

static bool write_digest(const char *path, const char *digest, Err *e)
{
    OutFile f;
    if (!out_begin(path, &f, e))
        return false;
    bool ok = fs_write_all(f.fd, digest, strlen(digest), e) && out_commit(&f, e);
    out_abort(&f);
    return ok;
}

static bool push(Store *s, Arena *a, Registry *r, const PushOpts *o, const ExportItem *it,
                 const StrList *names, Err *e)
{
    ExportDoc doc;
    char digest[DIGEST_TEXT_SIZE];
    if (!export_push(s, r, a, it, NULL, names, false, &doc, e))
        return false;
    digest_text(&doc.top.digest, digest);
    for (size_t i = 0; i < names->n && !o->quiet; i++)
        printf("%s  %s\n", names->v[i], digest);
    if (o->quiet)
        printf("%s\n", digest);
    return !o->digestfile || write_digest(o->digestfile, digest, e) || err_wrap(e, "--digestfile");
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const PushOpts *o = opts;
    scoped(store) Store *s = NULL;
    scoped(registry) Registry *r = NULL;
    SandboxHost host;
    Digest *ids;
    size_t nid;
    StrList names;
    Err ignored = ERR_INIT;
    if (!operands->n)
        return err_set(e, ERR_USAGE, "needs an image");
    if (o->remote.offline)
        return err_set(e, ERR_USAGE, "--offline: there is nobody to push to");
    scoped(ui) Ui *ui = ui_lines(o->quiet);
    if (!destinations(a, operands, &names, e) || !remote_new(&o->remote, ui_sink(ui), &r, e) ||
        !cmd_store(a, o->isolation ? o->isolation : "auto", &host, &s, e) ||
        !names_of(s, a, operands->v[0], &ids, &nid, e))
        return false;
    ExportItem it = {.ids = ids, .nid = nid};
    cancel_install();
    /* Helpers must see their user, and who may not push should hear it before anything is packed.
     */
    for (size_t i = 0; i < names.n; i++)
        if (!registry_check_push(r, a, names.v[i], e))
            return false;
    if (!sandbox_enter(&host, e) || !push(s, a, r, o, &it, &names, e))
        return false;
    *ret_code = 0;
    (void)!store_note_uses(s, &ignored); /* a use forgotten is no failure */
    return store_publish(s, e);
}

const Cmd CMD_PUSH = {"push", &TABLE, sizeof(PushOpts), run, NULL};
