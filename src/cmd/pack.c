/*
 * cmd/pack.c - `lighter pack`: layers and manifests now, so that pushing and saving need not.
 */
#include "base/cancel.h"
#include "cmd/cmd.h"
#include "cmd/names.h"
#include "export/export.h"

typedef struct PackOpts {
    const char *isolation;
    bool quiet;
} PackOpts;

static const OptRow ROWS[] = {
    {"quiet", 'q', OPT_BOOL, offsetof(PackOpts, quiet), NULL, "print digests only"},
    {"isolation", 0, OPT_STRING, offsetof(PackOpts, isolation), "MODE",
     "the mode the store was filled in (default auto)"},
};
static const OptTable TABLE = {"lighter pack [OPTIONS] IMAGE...",
                               "compress layers and make manifests now, and tell the digests", ROWS,
                               NELEM(ROWS), false};

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const PackOpts *o = opts;
    scoped(store) Store *s = NULL;
    SandboxHost host;
    if (!operands->n)
        return err_set(e, ERR_USAGE, "needs an image");
    if (!cmd_store(a, o->isolation ? o->isolation : "auto", &host, &s, e))
        return false;
    cancel_install();
    if (!sandbox_enter(&host, e))
        return false;
    for (size_t i = 0; i < operands->n; i++) {
        ExportItem it = {.name = NULL};
        ExportDoc doc;
        Digest *ids;
        char digest[DIGEST_TEXT_SIZE];
        if (!names_of(s, a, operands->v[i], &ids, &it.nid, e))
            return false;
        it.ids = ids;
        if (!export_document(s, a, &it, NULL, &doc, e))
            return err_wrap(e, "'%s'", operands->v[i]);
        digest_text(&doc.top.digest, digest);
        if (o->quiet)
            printf("%s\n", digest);
        else
            printf("%s  %s\n", operands->v[i], digest);
    }
    *ret_code = 0;
    return true;
}

const Cmd CMD_PACK = {"pack", &TABLE, sizeof(PackOpts), run, NULL};
