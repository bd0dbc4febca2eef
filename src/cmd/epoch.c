/*
 * cmd/epoch.c - the rule for times that a build follows.
 */
#include <fts.h>
#include <sys/stat.h>

#include "base/key.h"
#include "cmd/buildrun.h"

static const char EPOCH[] = "SOURCE_DATE_EPOCH", CONTEXT[] = "context";

bool epoch_read(Build *b)
{
    const char *text = b->opts->epoch;
    uint64_t at;
    if (text && !strcmp(text, CONTEXT)) /* it is in the build arguments by now, or will be */
        text = NULL;
    if (!text) /* of a build argument, or an ARG's default */
        text = b->plan.epoch;
    if (!text)
        text = b->verify_epoch;
    b->times = (LayerTimes){.kind = TIMES_KEEP};
    if (!text || !*text)
        return true;
    b->rewritten = true;
    b->stamp = TIMES_CONTENT;
    if (!strcmp(text, "content")) {
        b->times = b->keep_times ? b->times : (LayerTimes){TIMES_FIXED, TIMES_CONTENT};
        return true;
    }
    if (!str_u64(text, 253402300799u, &at)) /* the last second of the year 9999 */
        return err_set(b->e, ERR_USAGE,
                       "epoch '%s' is neither a number of seconds nor 'content' nor 'context'",
                       text);
    b->stamp = (int64_t)at;
    b->times = b->keep_times ? b->times : (LayerTimes){TIMES_CLAMP, (int64_t)at};
    return true;
}

/* ---- the time of a context ---- */

/* The newest entry of an archive: its snapshot has the archive's times. */
static bool newest(Build *b, const Input *in, int64_t *ret)
{
    char *top[] = {context_dir(in->context, b->arena), NULL};
    int64_t at = 0;
    FTS *tree = fts_open(top, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (!tree)
        return err_errno(b->e, ERR_STORE, "read '%s'", top[0]);
    for (const FTSENT *n; (n = fts_read(tree));)
        if (n->fts_level > 0 && n->fts_info != FTS_DP && n->fts_statp->st_mtime > at)
            at = n->fts_statp->st_mtime;
    (void)fts_close(tree);
    *ret = at;
    return at || err_set(b->e, ERR_USAGE, "%s=%s: the archive has no times", EPOCH, CONTEXT);
}

static bool time_of(Build *b, int64_t *ret)
{
    const Input *in = &b->main;
    if (in->kind == INPUT_GIT)
        return source_git_time(b->store, b->arena, &in->git, in->commit, ret, b->e) ||
               err_wrap(b->e, "%s=%s", EPOCH, CONTEXT);
    if (in->kind != INPUT_DIR && in->context)
        return newest(b, in, ret);
    return err_set(
        b->e, ERR_USAGE,
        "%s=%s: %s has no time of its own; give a number, as $(git log -1 --format=%%ct), "
        "or build from a git repository or an archive",
        EPOCH, CONTEXT, in->kind == INPUT_DIR ? "a directory" : "a Dockerfile without a context");
}

bool epoch_of_context(Build *b)
{
    const char *given = env_get(&b->plan_opts.build_args, EPOCH);
    bool by_option = b->opts->epoch && !strcmp(b->opts->epoch, CONTEXT);
    int64_t at;
    if (!by_option && (b->opts->epoch || !given || strcmp(given, CONTEXT) != 0))
        return true;
    if (!time_of(b, &at))
        return false;
    env_set(b->arena, &b->plan_opts.build_args, EPOCH,
            arena_printf(b->arena, "%lld", (long long)at));
    return true;
}
