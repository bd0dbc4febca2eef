/*
 * cmd/compare.c - `lighter compare`: what makes two images different.
 */
#include "cmd/compare.h"
#include "analyze/analyze.h"
#include "base/cancel.h"
#include "cmd/remote.h"
#include "source/source.h"
#include "ui/ui.h"

typedef struct CompareOpts {
    const char *isolation;
    bool quiet, no_times;
    RemoteOpts remote;
} CompareOpts;

#define FIELD(f) offsetof(CompareOpts, f)
static const OptRow ROWS[] = {
    {"no-times", 0, OPT_BOOL, FIELD(no_times), NULL, "let times of files and configs differ"},
    {"quiet", 'q', OPT_BOOL, FIELD(quiet), NULL, "say nothing; the exit code is the answer"},
    {"isolation", 0, OPT_STRING, FIELD(isolation), "MODE",
     "the mode the store was filled in (default auto)"},
    REMOTE_ROWS(CompareOpts),
};
static const OptTable TABLE = {"lighter compare [OPTIONS] IMAGE IMAGE",
                               "tell what makes two images different; exit code 5 if anything does",
                               ROWS, NELEM(ROWS), false};

void compare_print(FILE *to, const AnalyzeDifference *d)
{
    for (size_t i = 0; i < d->lines.n; i++) {
        cmd_print(to, d->lines.v[i]);
        fputc('\n', to);
    }
    if (d->n > d->lines.n)
        fprintf(to, "and %zu more\n", d->n - d->lines.n);
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const CompareOpts *o = opts;
    scoped(store) Store *s = NULL;
    scoped(registry) Registry *r = NULL;
    AnalyzeDifference d;
    SandboxHost host;
    Digest id[2];
    if (operands->n != 2)
        return err_set(e, ERR_USAGE, "needs two images");
    scoped(ui) Ui *ui = ui_lines(true);
    if (!remote_new(&o->remote, ui_sink(ui), &r, e) ||
        !cmd_store(a, o->isolation ? o->isolation : "auto", &host, &s, e))
        return false;
    cancel_install();
    for (size_t i = 0; i < 2; i++)
        if (!cmd_find(s, a, operands->v[i], &id[i], e) || !source_prepare_bytes(s, &id[i], r, e))
            return false;
    if (!sandbox_enter(&host, e))
        return false;
    for (size_t i = 0; i < 2; i++)
        if (!source_fetch(s, &id[i], r, e))
            return err_wrap(e, "'%s'", operands->v[i]);
    if (!analyze_difference(s, a, &id[0], &id[1], !o->no_times, &d, e))
        return false;
    if (!o->quiet)
        compare_print(stdout, &d);
    *ret_code = d.n ? ERR_CHECK : 0;
    return true;
}

const Cmd CMD_COMPARE = {"compare", &TABLE, sizeof(CompareOpts), run, NULL};
