/*
 * cmd/build.c - `lighter build`: the way of a build, room by room.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/resource.h>

#include "analyze/analyze.h"
#include "base/cancel.h"
#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/stepenv.h"
#include "context/context.h"
#include "export/export.h"
#include "solve/solve.h"
#include "ui/ui.h"

typedef struct BuildOpts {
    const char *file, *target, *progress, *iidfile, *epoch, *isolation;
    StrList tags, build_args, contexts, labels, outputs;
    bool no_cache, quiet;
} BuildOpts;

#define FIELD(f) offsetof(BuildOpts, f)
#define LATER "not yet"
static const OptRow ROWS[] = {
    {"tag", 't', OPT_LIST, FIELD(tags), "NAME", "name the image (name:tag); repeatable"},
    {"file", 'f', OPT_STRING, FIELD(file), "PATH",
     "the Dockerfile, or - for stdin (default: CONTEXT/Dockerfile)"},
    {"target", 0, OPT_STRING, FIELD(target), "STAGE", "build up to this stage (name or number)"},
    {"build-arg", 0, OPT_LIST, FIELD(build_args), "NAME[=VALUE]",
     "set an ARG; without a value, the caller's environment's"},
    {"build-context", 0, OPT_LIST, FIELD(contexts), "NAME=SOURCE",
     "replace an image: oci-layout://DIR[:TAG] or docker-image://NAME"},
    {"label", 0, OPT_LIST, FIELD(labels), "NAME=VALUE", "label the image; repeatable"},
    {"no-cache", 0, OPT_BOOL, FIELD(no_cache), NULL, "run every step"},
    {"output", 'o', OPT_LIST, FIELD(outputs), "SPEC",
     "type=oci,dest=PATH[,tar=false]: also write an OCI archive or layout"},
    {"iidfile", 0, OPT_STRING, FIELD(iidfile), "PATH", "write the image ID to a file"},
    {"epoch", 0, OPT_STRING, FIELD(epoch), "N|content",
     "times in new layers: at most N seconds, or all fixed"},
    {"isolation", 0, OPT_STRING, FIELD(isolation), "MODE", "auto, root or rootless (default auto)"},
    {"progress", 0, OPT_STRING, FIELD(progress), "STYLE", "plain or quiet (default plain)"},
    {"quiet", 'q', OPT_BOOL, FIELD(quiet), NULL, "print the image ID only"},
    {"add-host", 0, OPT_REFUSED, 0, NULL, LATER},
    {"allow", 0, OPT_REFUSED, 0, NULL, LATER},
    {"annotation", 0, OPT_REFUSED, 0, NULL, LATER},
    {"attest", 0, OPT_REFUSED, 0, NULL, LATER},
    {"builder", 0, OPT_REFUSED, 0, NULL, "lighter has no builders to choose from"},
    {"cache-from", 0, OPT_REFUSED, 0, NULL, LATER},
    {"cache-to", 0, OPT_REFUSED, 0, NULL, LATER},
    {"call", 0, OPT_REFUSED, 0, NULL, LATER},
    {"cgroup-parent", 0, OPT_REFUSED, 0, NULL, LATER},
    {"check", 0, OPT_REFUSED, 0, NULL, LATER},
    {"compress", 0, OPT_REFUSED, 0, NULL, LATER},
    {"cpuset-cpus", 0, OPT_REFUSED, 0, NULL, LATER},
    {"load", 0, OPT_REFUSED, 0, NULL, LATER},
    {"memory", 'm', OPT_REFUSED, 0, NULL, LATER},
    {"metadata-file", 0, OPT_REFUSED, 0, NULL, LATER},
    {"network", 0, OPT_REFUSED, 0, NULL, "steps have the caller's network; a choice comes later"},
    {"no-cache-filter", 0, OPT_REFUSED, 0, NULL, LATER},
    {"platform", 0, OPT_REFUSED, 0, NULL, "this machine's platform is built; others come later"},
    {"provenance", 0, OPT_REFUSED, 0, NULL, LATER},
    {"pull", 0, OPT_REFUSED, 0, NULL, "registries are not reached yet"},
    {"push", 0, OPT_REFUSED, 0, NULL, "registries are not reached yet"},
    {"sbom", 0, OPT_REFUSED, 0, NULL, LATER},
    {"secret", 0, OPT_REFUSED, 0, NULL, LATER},
    {"shm-size", 0, OPT_REFUSED, 0, NULL, LATER},
    {"squash", 0, OPT_REFUSED, 0, NULL, LATER},
    {"ssh", 0, OPT_REFUSED, 0, NULL, LATER},
    {"ulimit", 0, OPT_REFUSED, 0, NULL, LATER},
};
static const OptTable TABLE = {"lighter build [OPTIONS] CONTEXT",
                               "build an image from a Dockerfile", ROWS, NELEM(ROWS), false};

/* One build from its options to its image. */
typedef struct Build {
    Arena *arena;
    const BuildOpts *opts;
    Store *store;
    Ui *ui;
    const char *context_dir;
    const char *dockerfile_path; /* NULL: stdin */
    Buf text;
    DfFile file;
    PlanOpts plan_opts;
    Plan plan;
    SourceImage *bases;
    Context *context;
    StepsEnv env;
    Solution sol;
    bool rewritten; /* --epoch or SOURCE_DATE_EPOCH */
    LayerTimes times;
    ImageConfig config;
    StoreLayer *layers;
    size_t nlayer;
    uint64_t size;
    int64_t created;
    Digest id;
    StrList names; /* full references */
    Err *e;
} Build;

/* ---- options ---- */

/* "-o type=oci,dest=PATH[,tar=false]" */
typedef struct Output {
    const char *dest;
    ExportForm form;
} Output;

static bool parse_output(Build *b, const char *text, Output *ret)
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

static bool read_epoch(Build *b)
{
    const char *text = b->opts->epoch;
    uint64_t at;
    if (!text)
        text = env_get(&b->plan_opts.build_args, "SOURCE_DATE_EPOCH");
    b->times = (LayerTimes){.kind = TIMES_KEEP};
    if (!text || !*text)
        return true;
    b->rewritten = true;
    if (!strcmp(text, "content")) {
        b->times = (LayerTimes){TIMES_FIXED, TIMES_CONTENT};
        return true;
    }
    if (!str_u64(text, 253402300799u, &at)) /* the last second of the year 9999 */
        return err_set(b->e, ERR_USAGE, "epoch '%s' is neither a number of seconds nor 'content'",
                       text);
    b->times = (LayerTimes){TIMES_CLAMP, (int64_t)at};
    return true;
}

/* `--build-arg NAME` takes the caller's value, and means nothing where the caller has none. */
static void read_build_args(Build *b)
{
    for (size_t i = 0; i < b->opts->build_args.n; i++) {
        const char *kv = b->opts->build_args.v[i], *eq = strchr(kv, '=');
        const char *value = eq ? eq + 1 : getenv(kv);
        if (value)
            env_set(b->arena, &b->plan_opts.build_args,
                    arena_strndup(b->arena, kv, strcspn(kv, "=")), value);
    }
    /* As buildx passes it on. */
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    if (epoch && *epoch && !env_get(&b->plan_opts.build_args, "SOURCE_DATE_EPOCH"))
        env_set(b->arena, &b->plan_opts.build_args, "SOURCE_DATE_EPOCH", epoch);
}

static bool read_tags(Build *b)
{
    for (size_t i = 0; i < b->opts->tags.n; i++) {
        ImageRef ref;
        if (!image_ref_parse(b->arena, b->opts->tags.v[i], &ref, b->e))
            return err_wrap(b->e, "--tag");
        if (ref.digest)
            return err_set(b->e, ERR_USAGE,
                           "--tag %s: a digest follows from the content and cannot be chosen",
                           b->opts->tags.v[i]);
        strlist_add(b->arena, &b->names, image_ref_tagged(b->arena, &ref));
    }
    return true;
}

static bool check_options(Build *b, const StrList *operands)
{
    const char *progress = b->opts->progress ? b->opts->progress : "plain";
    Output ignored;
    if (operands->n != 1)
        return err_set(b->e, ERR_USAGE,
                       operands->n ? "takes one context, and got '%s' too"
                                   : "needs a context directory, as in 'lighter build .'",
                       operands->n ? operands->v[1] : "");
    b->context_dir = operands->v[0];
    if (!strcmp(b->context_dir, "-") || strstr(b->context_dir, "://"))
        return err_set(b->e, ERR_USAGE, "context '%s': only directories are supported yet",
                       b->context_dir);
    if (strcmp(progress, "plain") != 0 && strcmp(progress, "quiet") != 0 &&
        strcmp(progress, "auto") != 0)
        return err_set(b->e, ERR_USAGE, "--progress=%s: expected plain or quiet", progress);
    for (size_t i = 0; i < b->opts->contexts.n; i++)
        if (!strchr(b->opts->contexts.v[i], '='))
            return err_set(b->e, ERR_USAGE, "--build-context %s: expected NAME=SOURCE",
                           b->opts->contexts.v[i]);
    for (size_t i = 0; i < b->opts->outputs.n; i++)
        if (!parse_output(b, b->opts->outputs.v[i], &ignored))
            return false;
    b->plan_opts.target = b->opts->target;
    b->plan_opts.labels = b->opts->labels;
    read_build_args(b);
    return read_tags(b) && read_epoch(b);
}

/* ---- reading ---- */

static bool read_dockerfile(Build *b)
{
    const char *name = "Dockerfile";
    struct stat st;
    if (stat(b->context_dir, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(b->e, ERR_USAGE, "context '%s' is not a directory", b->context_dir);
    if (b->opts->file && !strcmp(b->opts->file, "-")) {
        name = "<stdin>";
        if (!fs_read_all(STDIN_FILENO, DF_MAX_SIZE, &b->text, b->e))
            return err_wrap(b->e, "Dockerfile on stdin");
    } else {
        b->dockerfile_path =
            b->opts->file ? b->opts->file : arena_printf(b->arena, "%s/Dockerfile", b->context_dir);
        if (!b->opts->file && access(b->dockerfile_path, F_OK) < 0) {
            const char *lower = arena_printf(b->arena, "%s/dockerfile", b->context_dir);
            if (access(lower, F_OK) == 0)
                b->dockerfile_path = lower;
        }
        name = b->opts->file ? b->opts->file : path_base(b->dockerfile_path);
        Err why = ERR_INIT;
        if (!fs_read_file(AT_FDCWD, b->dockerfile_path, DF_MAX_SIZE, &b->text, &why))
            return err_set(b->e, ERR_DOCKERFILE, "%s%s", why.msg,
                           b->opts->file ? "" : " (name another with -f)");
    }
    return df_parse(b->arena, name, (Str){buf_str(&b->text), b->text.len}, &b->file, b->e);
}

/* Put the place that names an image in front of why it cannot be had. */
static bool at_name(Build *b, const char *name)
{
    for (size_t i = 0; i < b->file.ninstr; i++) {
        const DfInstr *in = &b->file.instrs[i];
        bool from = in->kind == DF_FROM && !strcmp(in->u.from.image.text, name);
        bool copy = in->kind == DF_COPY && in->u.copy.from && !strcmp(in->u.copy.from, name);
        if (from || copy)
            return err_wrap(b->e, "%s:%u", b->file.name, in->src.line);
    }
    return err_wrap(b->e, "%s", b->file.name);
}

static bool resolve_bases(Build *b, PlanBase **ret, size_t *ret_n)
{
    StrList names;
    if (!plan_images(b->arena, &b->file, &b->plan_opts, &names, b->e))
        return false;
    b->bases = NEW_N(b->arena, SourceImage, names.n + 1);
    PlanBase *v = NEW_N(b->arena, PlanBase, names.n + 1);
    for (size_t i = 0; i < names.n; i++) {
        if (!source_resolve(b->store, b->arena, names.v[i], &b->opts->contexts, &b->bases[i], b->e))
            return at_name(b, names.v[i]);
        v[i] = (PlanBase){names.v[i], &b->bases[i].config};
    }
    *ret = v;
    *ret_n = names.n;
    return true;
}

/*
 * docker lets a named context stand for a stage; that is not done yet, so it is not ignored either.
 */
static bool check_contexts(Build *b)
{
    for (size_t i = 0; i < b->opts->contexts.n; i++) {
        const char *kv = b->opts->contexts.v[i];
        char *name = arena_strndup(b->arena, kv, strcspn(kv, "="));
        for (size_t k = 0; k < b->file.ninstr; k++)
            if (b->file.instrs[k].kind == DF_FROM && b->file.instrs[k].u.from.stage &&
                !strcasecmp(b->file.instrs[k].u.from.stage, name))
                return err_set(b->e, ERR_USAGE,
                               "--build-context %s: a context in the place of a stage is not "
                               "supported yet",
                               kv);
    }
    return true;
}

/*
 * Whether the check directive skips the rule that a warning names at its end: "... (UndefinedVar)".
 */
static bool skipped(const DfCheck *check, const char *warning)
{
    for (size_t i = 0; i < check->skip.n; i++) {
        const char *rule = strrchr(warning, '(');
        size_t n = strlen(check->skip.v[i]);
        if (rule && !strncmp(rule + 1, check->skip.v[i], n) && !strcmp(rule + 1 + n, ")"))
            return true;
    }
    return check->skip_all && str_ends(warning, ")");
}

/* Source: Dockerfile reference, "check" directive. */
static bool tell_warnings(Build *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->plan.warnings.n; i++) {
        if (skipped(&b->file.check, b->plan.warnings.v[i]))
            continue;
        event_send(&b->env.sink, &(Event){.kind = EV_WARNING, .text = b->plan.warnings.v[i]});
        n += str_ends(b->plan.warnings.v[i], ")");
    }
    if (n && b->file.check.error)
        return err_set(b->e, ERR_CHECK, "%s: %zu warnings, and its check directive says error=true",
                       b->file.name, n);
    return true;
}

static bool make_plan(Build *b)
{
    PlanBase *bases = NULL;
    size_t n = 0;
    if (!resolve_bases(b, &bases, &n) ||
        !plan_make(b->arena, &b->file, &b->plan_opts, bases, n, &b->plan, b->e))
        return false;
    if (!tell_warnings(b))
        return false;
    return context_open(b->arena, b->context_dir, b->dockerfile_path, &b->context, b->e);
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

static bool make_image(Build *b)
{
    const StepResult *r = result(b);
    if (!collect_layers(b))
        return false;
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
    return true;
}

/* ---- after the build ---- */

/*
 * Findings about the result's own layers, remembered with it, so that a build of hits repeats them.
 */
static bool find_problems(Build *b, Buf *ret)
{
    const StepResult *r = result(b);
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    scoped(stack_view) StackView view = {0};
    Digest key;
    Stack st;
    StrList lines = {0};
    bool found;
    key_begin(&k, "loaders 1");
    key_digest(&k, "of", &r->id);
    key_end(&k, &key);
    if (!store_memo_get(b->store, &key, ret, &found, b->e))
        return false;
    if (found)
        return true;
    if (!enter(b) || !steps_stack(&b->env, b->arena, r, &st, b->e) ||
        !stack_view(b->store, &st, -1, &view, b->e))
        return false;
    for (size_t i = 0; i < r->nlayer; i++) {
        char path[STORE_TMP_MAX];
        int raw;
        if (!r->layers[i].snapshot)
            continue;
        store_snapshot_path(r->layers[i].snapshot, path);
        if (!fs_open_dir(store_dirfd(b->store), path, &raw, b->e))
            return false;
        scoped(fd) int fd = raw;
        if (!analyze_loaders(b->arena, fd, &view.view, &lines, b->e))
            return false;
    }
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
        if (!parse_output(b, b->opts->outputs.v[i], &o) || !enter(b) ||
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

static void summary(Build *b, uint64_t t0)
{
    scoped(buf) Buf line = BUF_INIT;
    char id[DIGEST_TEXT_SIZE], size[32], took[32];
    digest_text(&b->id, id);
    str_size(b->size, size, sizeof size);
    ui_seconds(clock_ns() - t0, took);
    buf_printf(&line, "built %.19s", id);
    for (size_t i = 0; i < b->names.n; i++) {
        ImageRef ref;
        Err ignored = ERR_INIT;
        if (image_ref_parse(b->arena, b->names.v[i], &ref, &ignored))
            buf_printf(&line, "%s%s", i ? ", " : " as ", image_ref_familiar(b->arena, &ref));
    }
    buf_printf(&line, ": %s in %zu layers; %zu of %zu steps reused, %zu run; %s", size, b->nlayer,
               b->sol.nhit, b->sol.nstep, b->sol.nrun, took);
    event_send(&b->env.sink, &(Event){.kind = EV_NOTE, .text = line.ptr});
}

static bool build(Build *b, const StrList *operands, uint64_t t0)
{
    SandboxHost host;
    if (!check_options(b, operands) || !read_dockerfile(b))
        return false;
    cancel_install(); /* a Dockerfile on stdin may be waited for, and waiting ends as ever */
    if (!check_contexts(b) || !cmd_store(b->arena, b->opts->isolation ? b->opts->isolation : "auto",
                                         &host, &b->store, b->e))
        return false;
    b->env.store = b->store;
    b->env.host = host;
    b->env.entered = host.mode == MODE_ROOT;
    b->env.plan = &b->plan;
    b->env.file = &b->file;
    if (!make_plan(b) || !step_env(b->arena, &b->plan_opts.build_args, &b->env.step_env, b->e))
        return false;
    b->env.bases = b->bases;
    b->env.context = b->context;
    event_send(
        &b->env.sink,
        &(Event){.kind = EV_BUILD_START, .text = b->file.name, .n = (uint32_t)b->plan.nstep});
    return solve(&b->env, b->opts->no_cache ? SOLVE_NO_CACHE : 0, &b->sol, b->e) && make_image(b) &&
           report_problems(b) && write_outputs(b) && (summary(b, t0), true);
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const BuildOpts *o = opts;
    uint64_t t0 = clock_ns();
    bool quiet = o->quiet || (o->progress && !strcmp(o->progress, "quiet"));
    scoped(ui) Ui *ui = ui_new(quiet ? UI_QUIET : UI_PLAIN);
    Build b = {.arena = a, .opts = o, .ui = ui, .e = e};
    b.env.sink = ui_sink(ui);
    bool ok = build(&b, operands, t0);
    if (ok && quiet) {
        char id[DIGEST_TEXT_SIZE];
        digest_text(&b.id, id);
        printf("%s\n", id);
    }
    solution_done(&b.sol);
    context_done(b.context);
    store_done(b.store);
    buf_done(&b.text);
    *ret_code = 0;
    return ok;
}

const Cmd CMD_BUILD = {"build", &TABLE, sizeof(BuildOpts), run};
