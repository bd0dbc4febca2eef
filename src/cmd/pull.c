/*
 * cmd/pull.c - `lighter pull`: images of registries into the store.
 */
#include "base/cancel.h"
#include "cmd/cmd.h"
#include "cmd/remote.h"
#include "source/source.h"
#include "ui/ui.h"

typedef struct PullOpts {
    const char *platform;
    bool quiet, lazy;
    RemoteOpts remote;
} PullOpts;

#define FIELD(f) offsetof(PullOpts, f)
static const OptRow ROWS[] = {
    {"platform", 0, OPT_STRING, FIELD(platform), "OS/ARCH[/VARIANT]",
     "of an image for several platforms, this one (default: this machine's)"},
    {"quiet", 'q', OPT_BOOL, FIELD(quiet), NULL, "print the image ID only"},
    {"lazy", 0, OPT_BOOL, FIELD(lazy), NULL,
     "leave the layers where they are until somebody needs them, as a build does"},
    REMOTE_ROWS(PullOpts),
    {"all-tags", 'a', OPT_REFUSED, 0, NULL, "not yet; name the tags"},
    {"disable-content-trust", 0, OPT_REFUSED, 0, NULL,
     "lighter knows no Notary; pull by digest to be sure"},
    {"creds", 0, OPT_REFUSED, 0, NULL,
     "everybody on this machine could read the password; use 'lighter login' or --authfile"},
    {"policy", 0, OPT_REFUSED, 0, NULL, "the registry is always asked what a tag means"},
};
static const OptTable TABLE = {"lighter pull [OPTIONS] IMAGE...",
                               "bring images from their registries", ROWS, NELEM(ROWS), false};

static bool pull_one(Store *s, Arena *a, Registry *r, const PullOpts *o, const char *name,
                     const Platform *platform, Err *e)
{
    StrList names;
    RegistryPulled got;
    ImageRef ref;
    char digest[DIGEST_TEXT_SIZE], id[DIGEST_TEXT_SIZE];
    Err once = ERR_INIT;
    bool ok = false;
    if (!registry_names(r, a, name, &names, e))
        return false;
    for (size_t i = 0; i < names.n && !ok && (!i || once.kind == ERR_NETWORK); i++) {
        once = (Err)ERR_INIT;
        ok = registry_pull(r, s, a, names.v[i], platform, &got, &once);
    }
    if (!ok)
        return err_set(e, once.kind, "%s", once.msg);
    if (!image_ref_parse(a, got.name, &ref, e) ||
        (!ref.digest && !store_tag(s, got.name, &got.id, e)) ||
        (!o->lazy && !source_fetch(s, &got.id, r, e)))
        return err_wrap(e, "'%s'", name);
    digest_text(&got.digest, digest);
    digest_text(&got.id, id);
    if (o->quiet)
        printf("%s\n", id);
    else
        printf("%s  %s\n", got.name, digest);
    return true;
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const PullOpts *o = opts;
    Platform platform = image_platform_host();
    scoped(store) Store *s = NULL;
    scoped(registry) Registry *r = NULL;
    Err ignored = ERR_INIT;
    if (!operands->n)
        return err_set(e, ERR_USAGE, "needs an image");
    if (o->remote.offline)
        return err_set(e, ERR_USAGE, "--offline: there is nothing to pull from");
    scoped(ui) Ui *ui = ui_lines(o->quiet);
    if ((o->platform && !image_platform_parse(a, o->platform, &platform, e)) ||
        !remote_new(&o->remote, ui_sink(ui), &r, e) || !cmd_store(a, NULL, NULL, &s, e))
        return false;
    cancel_install();
    for (size_t i = 0; i < operands->n; i++)
        if (!pull_one(s, a, r, o, operands->v[i], &platform, e))
            return false;
    *ret_code = 0;
    (void)!store_note_uses(s, &ignored); /* a use forgotten is no failure */
    return store_publish(s, e);
}

const Cmd CMD_PULL = {"pull", &TABLE, sizeof(PullOpts), run, NULL};
