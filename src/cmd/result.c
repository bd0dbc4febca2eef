/*
 * cmd/result.c - `lighter build`: from solved steps to a kept image, its outputs and the report.
 */
#include <inttypes.h>
#include <string.h>

#include "analyze/analyze.h"
#include "base/fs.h"
#include "cmd/buildrun.h"

/* ---- outputs ---- */

bool output_parse(Build *b, const char *text, Output *ret)
{
    Output o = {.form = EXPORT_TAR};
    const char *type = NULL;
    char *copy = arena_strdup(b->arena, text), *save = NULL;
    for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        if (str_starts(p, "type="))
            type = p + 5;
        else if (str_starts(p, "dest="))
            o.dest = p + 5;
        else if (!strcmp(p, "tar=false"))
            o.form = EXPORT_LAYOUT;
        else if (strcmp(p, "tar=true") != 0)
            return err_set(b->e, ERR_USAGE, "--output %s: '%s' is not supported yet", text, p);
    }
    if (!type || strcmp(type, "oci") != 0)
        return err_set(b->e, ERR_USAGE, "--output %s: only type=oci is supported yet", text);
    if (!o.dest || !*o.dest)
        return err_set(b->e, ERR_USAGE, "--output %s: needs dest=PATH", text);
    if (!strcmp(o.dest, "-") && o.form == EXPORT_LAYOUT)
        return err_set(b->e, ERR_USAGE, "--output %s: a directory cannot go to stdout", text);
    *ret = o;
    return true;
}

/* ---- the image ---- */

/*
 * Snapshots are read and written in the mode's namespaces; a build of hits alone never gets here.
 */
static bool enter(Build *b)
{
    if (!b->env.entered && !sandbox_enter(&b->env.host, b->e))
        return false;
    b->env.entered = true;
    return true;
}

/* The same, when layers may have to be fetched after it: helpers must still see their user. */
static bool enter_to_fetch(Build *b)
{
    return b->env.entered ||
           (source_prepare_bytes(b->store, &b->id, b->registry, b->e) && enter(b));
}

static const StepResult *result(const Build *b)
{
    return &b->sol.results[b->plan.result];
}

static bool collect_layers(Build *b)
{
    const StepResult *r = result(b);
    const SourceImage *base = r->base == STEP_NONE ? NULL : &b->bases[r->base];
    size_t nbase = base ? base->nlayer : 0;
    StoreImage stored;
    bool found;
    b->layers = NEW_N(b->arena, StoreLayer, nbase + r->nlayer + 1);
    for (size_t i = 0; i < nbase; i++)
        b->layers[b->nlayer++] = base->layers[i];
    if (base) {
        if (!store_image_get(b->store, b->arena, &base->id, &stored, &found, b->e))
            return false;
        b->size = found ? stored.size : 0;
    }
    for (size_t i = 0; i < r->nlayer; i++) {
        StoreLayer *l = &b->layers[b->nlayer++];
        uint64_t size;
        *l = (StoreLayer){.snapshot = r->layers[i].snapshot,
                          .times = layer_times_text(b->arena, b->times)};
        if (!export_diff_known(b->store, l->snapshot, b->times) && !enter(b))
            return false;
        if (!export_diff_id(b->store, l->snapshot, b->times, &l->diff_id, &size, b->e))
            return err_wrap(b->e, "layer %zu", i + 1);
        b->size += size;
    }
    if (b->nlayer > IMAGE_MAX_LAYERS)
        return err_set(b->e, ERR_DOCKERFILE,
                       "the image would have %zu layers, over the limit of %d", b->nlayer,
                       IMAGE_MAX_LAYERS);
    return true;
}

/* A metadata line has the time of the layer before it, as docker shows it. */
static void fill_history(Build *b)
{
    const StepResult *r = result(b);
    const char *last = NULL;
    size_t layer = 0;
    b->config.history = NULL;
    b->config.nhistory = b->config.history_cap = 0;
    for (size_t i = 0; i < b->plan.nhistory; i++) {
        ImageHistory h = b->plan.history[i].entry;
        if (b->plan.history[i].from_base) {
            last = h.created;
        } else {
            if (b->plan.history[i].step != STEP_NONE && layer < r->nlayer)
                last = image_time(b->arena, r->layers[layer++].created);
            h.created = b->rewritten ? image_time(b->arena, b->times.at) : last;
        }
        image_config_add_history(b->arena, &b->config, &h);
    }
    if (b->rewritten)
        b->config.created = image_time(b->arena, b->times.at);
    else if (last)
        b->config.created = last;
}

bool result_make(Build *b)
{
    const StepResult *r = result(b);
    uint64_t at = clock_ns();
    if (!collect_layers(b))
        return false;
    event_span(&b->env.sink, 0, "digests of layers", at);
    at = clock_ns();
    b->config = image_config_clone(b->arena, &b->plan.config);
    fill_history(b);
    for (size_t i = 0; i < r->nlayer; i++)
        if (r->layers[i].created > b->created)
            b->created = r->layers[i].created;
    if (!export_commit(b->store, b->arena, &b->config, b->layers, b->nlayer, b->size, b->created,
                       &b->id, b->e))
        return false;
    for (size_t i = 0; i < b->names.n; i++)
        if (!store_tag(b->store, b->names.v[i], &b->id, b->e))
            return false;
    event_span(&b->env.sink, 0, "keep the image", at);
    return true;
}

/* ---- after the build ---- */

/* The directories of the layers that were built. */
static bool open_own(Build *b, StackView *ret)
{
    Stack st = {0};
    for (size_t i = 0; i < result(b)->nlayer; i++)
        if (!stack_push_parts(b->store, b->arena, &st, result(b)->layers[i].snapshot, &st, b->e))
            return false;
    return stack_view(b->store, &st, -1, ret, b->e);
}

/* Whether any layer has a program that the image below it must suit. */
static bool has_programs(Build *b, bool *ret)
{
    scoped(stack_view) StackView own = {0};
    *ret = false;
    if (!open_own(b, &own))
        return false;
    for (size_t i = own.nfd; i-- > 0 && !*ret;)
        if (!analyze_has_programs(own.fds[i], ret, b->e))
            return false;
    return true;
}

static bool look_at_programs(Build *b, StrList *ret)
{
    scoped(stack_view) StackView view = {0}, own = {0};
    Stack st;
    if (!steps_stack(&b->env, b->arena, result(b), &st, b->e) ||
        !stack_view(b->store, &st, -1, &view, b->e) || !open_own(b, &own))
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
static bool find_problems(Build *b, Buf *ret)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    Digest key;
    StrList lines = {0};
    bool found, any;
    key_begin(&k, "loaders 1");
    key_digest(&k, "of", &result(b)->id);
    key_end(&k, &key);
    if (!store_memo_get(b->store, &key, ret, &found, b->e))
        return false;
    if (found)
        return true;
    if (!enter(b) || !has_programs(b, &any) || (any && !look_at_programs(b, &lines)))
        return false;
    for (size_t i = 0; i < lines.n; i++)
        buf_printf(ret, "%s\n", lines.v[i]);
    return store_memo_put(b->store, &key, buf_str(ret), ret->len, b->e);
}

static bool report_problems(Build *b)
{
    scoped(buf) Buf text = BUF_INIT;
    char *save = NULL;
    if (!find_problems(b, &text))
        return err_wrap(b->e, "look at the image's programs");
    if (text.len)
        for (char *line = strtok_r(text.ptr, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
            event_send(&b->env.sink, &(Event){.kind = EV_WARNING, .text = line});
    return true;
}

static bool write_outputs(Build *b)
{
    char text[DIGEST_TEXT_SIZE];
    digest_text(&b->id, text);
    for (size_t i = 0; i < b->opts->outputs.n; i++) {
        Output o;
        size_t n = b->names.n ? b->names.n : 1;
        ExportItem *items = NEW_N(b->arena, ExportItem, n);
        for (size_t k = 0; k < n; k++)
            items[k] = (ExportItem){b->id, b->names.n ? b->names.v[k] : NULL};
        if (!output_parse(b, b->opts->outputs.v[i], &o) || !enter_to_fetch(b) ||
            !source_fetch(b->store, &b->id, b->registry, b->e) ||
            !export_oci(b->store, items, n, o.form, o.dest, b->e))
            return err_wrap(b->e, "--output %s", b->opts->outputs.v[i]);
    }
    if (b->opts->iidfile) {
        OutFile f;
        if (!out_begin(b->opts->iidfile, &f, b->e))
            return err_wrap(b->e, "--iidfile");
        bool ok = fs_write_all(f.fd, text, strlen(text), b->e) && out_commit(&f, b->e);
        out_abort(&f);
        return ok || err_wrap(b->e, "--iidfile");
    }
    return true;
}

static void summary(Build *b)
{
    scoped(buf) Buf line = BUF_INIT;
    char id[DIGEST_TEXT_SIZE], size[32], took[32];
    digest_text(&b->id, id);
    str_size(b->size, size, sizeof size);
    ui_seconds(clock_ns() - b->watch.t0, took);
    buf_printf(&line, "built %.19s", id);
    for (size_t i = 0; i < b->names.n; i++) {
        ImageRef ref;
        Err ignored = ERR_INIT;
        if (image_ref_parse(b->arena, b->names.v[i], &ref, &ignored))
            buf_printf(&line, "%s%s", i ? ", " : " as ", image_ref_familiar(b->arena, &ref));
    }
    buf_printf(&line, ": %s in %zu layers; %zu of %zu steps reused, %zu run; %s", size, b->nlayer,
               b->sol.nhit, b->sol.nstep, b->sol.nrun, took);
    event_send(&b->env.sink, &(Event){.kind = EV_RESULT, .text = line.ptr});
}

bool result_may_push(Build *b)
{
    for (size_t i = 0; i < b->names.n; i++)
        if (!registry_check_push(b->registry, b->arena, b->names.v[i], b->e))
            return err_wrap(b->e, "--push");
    return true;
}

static bool push(Build *b)
{
    if (!b->opts->push)
        return true;
    return enter_to_fetch(b) && (export_push(b->store, b->registry, &b->id, &b->names, b->e) ||
                                 err_wrap(b->e, "--push"));
}

bool result_report(Build *b)
{
    static const struct {
        bool (*run)(Build *b);
        const char *name;
    } PARTS[] = {
        {report_problems, "look at programs"}, {write_outputs, "write outputs"}, {push, "push"}};
    for (size_t i = 0; i < NELEM(PARTS); i++) {
        uint64_t at = clock_ns();
        if (!PARTS[i].run(b))
            return false;
        event_span(&b->env.sink, 0, PARTS[i].name, at);
    }
    summary(b);
    return true;
}
