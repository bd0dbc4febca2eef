/*
 * bench/parse - microseconds of CPU that reading and planning a Dockerfile takes.
 *
 *   bench-parse FILE...    the least and the median of 200 runs each
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/fs.h"
#include "plan/plan.h"

enum { RUNS = 200 };

static double cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Read and plan once; every image counts as empty. */
static bool once(Str text, size_t *ret_steps, Err *e)
{
    scoped(arena) Arena a = {0};
    PlanOpts o = {0};
    ImageConfig empty = image_config_empty(&a);
    PlanImages images;
    DfFile f;
    Plan p;
    if (!df_parse(&a, "Dockerfile", text, DF_ANY_SYNTAX, &f, e) ||
        !plan_images(&a, &f, &o, NULL, 0, &images, e))
        return false;
    PlanBase *bases = NEW_N(&a, PlanBase, images.names.n + 1);
    for (size_t i = 0; i < images.names.n; i++)
        bases[i] = (PlanBase){images.names.v[i], &empty, images.platforms.v[i]};
    if (!plan_make(&a, &f, &o, bases, images.names.n, &p, e))
        return false;
    *ret_steps = p.nstep;
    return true;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        scoped(buf) Buf text = BUF_INIT;
        double us[RUNS];
        size_t steps = 0;
        Err e = ERR_INIT;
        bool ok = fs_read_file(AT_FDCWD, argv[i], DF_MAX_SIZE, &text, &e);
        for (int k = 0; ok && k < RUNS; k++) {
            double start = cpu_us();
            ok = once((Str){buf_str(&text), text.len}, &steps, &e);
            us[k] = cpu_us() - start;
        }
        if (!ok) {
            fprintf(stderr, "%s\n", e.msg);
            return 1;
        }
        qsort(us, RUNS, sizeof *us, ascending);
        printf("%8.1f %8.1f us  %6zu bytes  %4zu steps  %s\n", us[0], us[RUNS / 2], text.len, steps,
               argv[i]);
    }
    return 0;
}
