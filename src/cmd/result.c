/*
 * cmd/result.c - `lighter build`: from solved steps to kept images and the report.
 */
#include <inttypes.h>
#include <string.h>

#include "analyze/analyze.h"
#include "base/fs.h"
#include "cmd/buildrun.h"
#include "cmd/names.h"

/* ---- the image ---- */

/* A build of hits alone never gets here. */
bool result_enter(Build *b)
{
    if (!b->env.entered && !sandbox_enter(&b->env.host, b->e))
        return false;
    b->env.entered = true;
    return true;
}

const StepResult *result_of(const Build *b, const Target *t)
{
    return &b->sol.results[t->result];
}

/* The layers that the target's steps made: one a step, or with --squash one in all. */
static bool own_layers(Build *b, const Target *t, StepLayer **ret, size_t *ret_n)
{
    const StepResult *r = result_of(b, t);
    *ret = r->layers;
    *ret_n = r->nlayer;
    if (!b->opts->squash || r->nlayer < 2)
        return true;
    SnapshotId *ids = NEW_N(b->arena, SnapshotId, r->nlayer);
    StepLayer *one = NEW(b->arena, StepLayer);
    Stack base = {0};
    StepResult below = {.base = r->base};
    for (size_t i = 0; i < r->nlayer; i++) {
        ids[i] = r->layers[i].snapshot;
        one->created = r->layers[i].created > one->created ? r->layers[i].created : one->created;
    }
    if (!snapshot_squash_known(b->store, &r->id, &one->snapshot, b->e)) {
        if (b->e->kind != ERR_NONE || !result_enter(b) ||
            !steps_stack(&b->env, b->arena, &below, &base, b->e) ||
            !snapshot_squash(b->store, &base, ids, r->nlayer, sandbox_in_userns(&b->env.host),
                             &r->id, &one->snapshot, b->e))
            return err_wrap(b->e, "--squash");
    }
    *ret = one;
    *ret_n = 1;
    return true;
}

static bool add_base(Build *b, Target *t, const SourceImage *base)
{
    StoreImage stored;
    bool found;
    for (size_t i = 0; i < base->nlayer; i++)
        t->layers[t->nlayer++] = base->layers[i];
    if (!store_image_get(b->store, b->arena, &base->id, &stored, &found, b->e))
        return false;
    t->size = found ? stored.size : 0;
    return true;
}

static bool collect_layers(Build *b, Target *t)
{
    const StepResult *r = result_of(b, t);
    const SourceImage *base = r->base == STEP_NONE ? NULL : &b->bases[r->base];
    StepLayer *own;
    size_t n;
    if (!own_layers(b, t, &own, &n))
        return false;
    t->layers = NEW_N(b->arena, StoreLayer, (base ? base->nlayer : 0) + n + 1);
    if (base && !add_base(b, t, base))
        return false;
    for (size_t i = 0; i < n; i++) {
        StoreLayer *l = &t->layers[t->nlayer++];
        SnapshotDiff diff;
        *l = (StoreLayer){.snapshot = own[i].snapshot,
                          .times = layer_times_text(b->arena, b->times)};
        if (!snapshot_diff_known(b->store, l->snapshot, b->times) && !result_enter(b))
            return false;
        if (!snapshot_diff_id(b->store, l->snapshot, b->times, &diff, b->e))
            return err_wrap(b->e, "layer %zu", i + 1);
        l->diff_id = diff.id;
        t->size += diff.size;
    }
    if (t->nlayer > IMAGE_MAX_LAYERS)
        return err_set(b->e, ERR_DOCKERFILE,
                       "the image would have %zu layers, over the limit of %d", t->nlayer,
                       IMAGE_MAX_LAYERS);
    return true;
}

/* The line of a layer that is several, as docker's --squash writes it. */
static void squash_history(Build *b, Target *t, size_t nlayer, const char *created)
{
    ImageHistory h = {.created = created,
                      .comment = arena_printf(b->arena, "lighter --squash of %zu layers", nlayer)};
    for (size_t i = 0; i < t->nhistory; i++)
        if (!t->history[i].from_base)
            t->config.history[i].empty_layer = true;
    image_config_add_history(b->arena, &t->config, &h);
}

/* A metadata line has the time of the layer before it, as docker shows it. */
static void fill_history(Build *b, Target *t)
{
    const StepResult *r = result_of(b, t);
    const char *last = NULL, *stamp = image_time(b->arena, b->stamp);
    size_t layer = 0;
    t->config.history = NULL;
    t->config.nhistory = t->config.history_cap = 0;
    for (size_t i = 0; i < t->nhistory; i++) {
        ImageHistory h = t->history[i].entry;
        if (t->history[i].from_base) {
            last = h.created;
        } else {
            if (t->history[i].step != STEP_NONE && layer < r->nlayer)
                last = image_time(b->arena, r->layers[layer++].created);
            h.created = b->rewritten ? stamp : last;
        }
        image_config_add_history(b->arena, &t->config, &h);
    }
    if (b->opts->squash && r->nlayer > 1)
        squash_history(b, t, r->nlayer, b->rewritten ? stamp : last);
    if (b->rewritten)
        t->config.created = stamp;
    else if (last)
        t->config.created = last;
}

static bool make(Build *b, Target *t)
{
    const StepResult *r = result_of(b, t);
    uint64_t at = clock_ns();
    if (!collect_layers(b, t))
        return false;
    event_span(&b->env.sink, 0, "digests of layers", at);
    at = clock_ns();
    t->config = image_config_clone(b->arena, &t->planned);
    fill_history(b, t);
    for (size_t i = 0; i < r->nlayer; i++)
        if (r->layers[i].created > t->created)
            t->created = r->layers[i].created;
    if (!export_commit(b->store, b->arena, &t->config, t->layers, t->nlayer, t->size, t->created,
                       &t->id, b->e))
        return false;
    event_span(&b->env.sink, 0, "keep the image", at);
    return true;
}

const Target *build_target(const Build *b)
{
    Platform host = image_platform_host();
    for (size_t i = 0; i < b->ntarget; i++)
        if (!strcmp(b->targets[i].text, image_platform_text(b->arena, &host)))
            return &b->targets[i];
    return &b->targets[0];
}

static bool put_names(Build *b)
{
    NamedImage *all = NEW_N(b->arena, NamedImage, b->ntarget);
    const Target *first = build_target(b);
    size_t n = 0;
    all[n++] = (NamedImage){first->id, first->text};
    for (size_t i = 0; i < b->ntarget; i++)
        if (&b->targets[i] != first)
            all[n++] = (NamedImage){b->targets[i].id, b->targets[i].text};
    for (size_t i = 0; i < b->names.n; i++)
        if (!names_put(b->store, b->arena, b->names.v[i], all, n, b->e))
            return false;
    return true;
}

bool result_make(Build *b)
{
    bool keep = !b->noutput;
    for (size_t i = 0; i < b->ntarget; i++)
        if (!make(b, &b->targets[i]))
            return b->ntarget > 1 ? err_wrap(b->e, "%s", b->targets[i].text) : false;
    for (size_t i = 0; i < b->noutput; i++) /* cacheonly alone names nothing */
        keep = keep || b->outputs[i].kind != OUT_CACHEONLY;
    uint64_t at = clock_ns();
    if (keep && !put_names(b))
        return false;
    event_span(&b->env.sink, 0, "tag the image", at);
    return true;
}

/* ---- after the build ---- */

/* The directories of the layers that were built. */
static bool open_own(Build *b, const StepResult *r, StackView *ret)
{
    Stack st = {0};
    for (size_t i = 0; i < r->nlayer; i++)
        if (!stack_push_parts(b->store, b->arena, &st, r->layers[i].snapshot, &st, b->e))
            return false;
    return stack_view(b->store, &st, -1, ret, b->e);
}

/* Whether any layer has a program that the image below it must suit. */
static bool has_programs(Build *b, const StepResult *r, bool *ret)
{
    scoped(stack_view) StackView own = {0};
    *ret = false;
    if (!open_own(b, r, &own))
        return false;
    for (size_t i = own.nfd; i-- > 0 && !*ret;)
        if (!analyze_has_programs(own.fds[i], ret, b->e))
            return false;
    return true;
}

static bool look_at_programs(Build *b, const StepResult *r, StrList *ret)
{
    scoped(stack_view) StackView view = {0}, own = {0};
    Stack st;
    if (!steps_stack(&b->env, b->arena, r, &st, b->e) ||
        !stack_view(b->store, &st, -1, &view, b->e) || !open_own(b, r, &own))
        return false;
    for (size_t i = own.nfd; i-- > 0;)
        if (!analyze_loaders(b->arena, own.fds[i], &view.view, ret, b->e))
            return false;
    return true;
}

/*
 * Findings about the result's own layers, remembered with it, so that a build of hits repeats them.
 * A base that only carries files is not unpacked for this.
 */
static bool find_problems(Build *b, const StepResult *r, Buf *ret)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    Digest key;
    StrList lines = {0};
    bool found, any;
    key_begin(&k, "loaders 1");
    key_digest(&k, "of", &r->id);
    key_end(&k, &key);
    if (!store_memo_get(b->store, &key, ret, &found, b->e))
        return false;
    if (found)
        return true;
    if (!result_enter(b) || !has_programs(b, r, &any) || (any && !look_at_programs(b, r, &lines)))
        return false;
    for (size_t i = 0; i < lines.n; i++)
        buf_printf(ret, "%s\n", lines.v[i]);
    return store_memo_put(b->store, &key, buf_str(ret), ret->len, b->e);
}

static bool report_problems(Build *b, const StepResult *r)
{
    scoped(buf) Buf text = BUF_INIT;
    char *save = NULL;
    if (!find_problems(b, r, &text))
        return err_wrap(b->e, "look at the image's programs");
    if (text.len)
        for (char *line = strtok_r(text.ptr, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
            event_send(&b->env.sink, &(Event){.kind = EV_WARNING, .text = line});
    return true;
}

static void summary(Build *b, const Target *t)
{
    scoped(buf) Buf line = BUF_INIT;
    char id[DIGEST_TEXT_SIZE], size[32], took[32];
    digest_text(&t->id, id);
    str_size(t->size, size, sizeof size);
    ui_seconds(clock_ns() - b->watch.t0, took);
    buf_printf(&line, "built %.19s", id);
    for (size_t i = 0; i < b->names.n; i++) {
        ImageRef ref;
        Err ignored = ERR_INIT;
        if (image_ref_parse(b->arena, b->names.v[i], &ref, &ignored))
            buf_printf(&line, "%s%s", i ? ", " : " as ", image_ref_familiar(b->arena, &ref));
    }
    if (b->ntarget > 1)
        buf_printf(&line, " for %s", t->text);
    buf_printf(&line, ": %s in %zu layers; %zu of %zu steps reused, %zu run; %s", size, t->nlayer,
               b->sol.nhit, b->sol.nstep, b->sol.nrun, took);
    event_send(&b->env.sink, &(Event){.kind = EV_RESULT, .text = line.ptr});
}

static bool report_all(Build *b)
{
    for (size_t i = 0; i < b->ntarget; i++)
        if (!report_problems(b, result_of(b, &b->targets[i])))
            return false;
    return true;
}

bool result_report(Build *b)
{
    static const struct {
        bool (*run)(Build *b);
        const char *name;
    } PARTS[] = {{report_all, "look at programs"}, {deliver, "deliver"}};
    for (size_t i = 0; i < NELEM(PARTS); i++) {
        uint64_t at = clock_ns();
        if (!PARTS[i].run(b))
            return false;
        event_span(&b->env.sink, 0, PARTS[i].name, at);
    }
    for (size_t i = 0; i < b->ntarget; i++)
        summary(b, &b->targets[i]);
    return true;
}
