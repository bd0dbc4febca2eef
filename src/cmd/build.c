/*
 * cmd/build.c - `lighter build`: options, and the way of a build, room by room.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "cmd/buildrun.h"
#include "cmd/space.h"
#include "cmd/stepenv.h"

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
     "replace an image or stage: a directory, git repository or URL of a tar, "
     "oci-layout://DIR[:TAG] "
     "or docker-image://NAME"},
    {"secret", 0, OPT_LIST, FIELD(secrets), "id=ID[,src=FILE|,env=VAR]",
     "let RUN --mount=type=secret see a value"},
    {"ssh", 0, OPT_LIST, FIELD(ssh), "ID[=SOCKET|=KEY,...]",
     "let RUN --mount=type=ssh speak with your agent, or with one that has these keys"},
    {"ignore-syntax", 0, OPT_BOOL, FIELD(ignore_syntax), NULL,
     "build with this language whatever frontend the file asks for"},
    {"label", 0, OPT_LIST, FIELD(labels), "NAME=VALUE", "label the image; repeatable"},
    {"network", 0, OPT_STRING, FIELD(network), "default|host|none|passt",
     "what a RUN without --network has: the caller's network (default, host), none, or its own "
     "through passt"},
    {"allow", 0, OPT_LIST, FIELD(allow), "WORD",
     "let steps ask for network.host or security.insecure"},
    SHAPE_ROWS(BuildOpts),
    LIMIT_ROWS(BuildOpts),
    {"platform", 0, OPT_LIST, FIELD(platforms), "OS/ARCH[/VARIANT],...",
     "build for these; several make an index (default: DOCKER_DEFAULT_PLATFORM, this machine's)"},
    {"pull", 0, OPT_BOOL, FIELD(pull), NULL,
     "ask the registry whether tags that are here have moved"},
    {"push", 0, OPT_BOOL, FIELD(push), NULL,
     "send the image to the registries of its names when it is built"},
    REMOTE_ROWS(BuildOpts),
    GO_ROWS(BuildOpts),
    {"no-cache", 0, OPT_BOOL, FIELD(no_cache), NULL, "run every step"},
    {"no-cache-filter", 0, OPT_LIST, FIELD(no_cache_filter), "STAGE[,STAGE]",
     "run every step of these stages"},
    {"check-cache", 0, OPT_STRING, FIELD(check_cache), "N%",
     "run so many of the steps that are reused again, and compare"},
    {"why", 0, OPT_BOOL, FIELD(why), NULL,
     "tell of each step that ran what differs from the last "
     "time"},
    {"output", 'o', OPT_LIST, FIELD(outputs), "SPEC",
     "DIR, - or type=image|registry|oci|docker|tar|local|cacheonly,...: where else the result "
     "goes"},
    {"load", 0, OPT_BOOL, FIELD(load), NULL,
     "also give the image to the docker or podman that is here"},
    {"annotation", 0, OPT_LIST, FIELD(annotations), "[PLACE:]NAME=VALUE",
     "annotate the manifest, index, manifest-descriptor or index-descriptor; repeatable"},
    {"metadata-file", 0, OPT_STRING, FIELD(metadata), "PATH",
     "write digests, names and descriptor as JSON, as buildx does"},
    {"squash", 0, OPT_BOOL, FIELD(squash), NULL, "make one layer of all that are built"},
    {"iidfile", 0, OPT_STRING, FIELD(iidfile), "PATH", "write the image ID to a file"},
    {"epoch", 0, OPT_STRING, FIELD(epoch), "N|content|context",
     "times in new layers: at most N seconds, or the context's, or all fixed"},
    {"isolation", 0, OPT_STRING, FIELD(isolation), "MODE",
     "auto, root, rootless, single or chroot (default auto)"},
    {"max-cache", 0, OPT_STRING, FIELD(max_cache), "SIZE|PERCENT",
     "what may stay in the store that no tag needs (default: LIGHTER_MAX_CACHE, or a tenth of the "
     "disk and at least 10 GB)"},
    {"owners", 0, OPT_STRING, FIELD(owners), "HOW",
     "in mode single: full shows commands the owners of files, fast does not (default full)"},
    {"on-error", 0, OPT_STRING, FIELD(on_error), "stop|shell",
     "when a command fails: end (the default), or on a terminal first a shell where it failed"},
    {"progress", 0, OPT_STRING, FIELD(progress), "STYLE",
     "auto (tty on a terminal, else plain), tty, plain, quiet, none, json or rawjson (default: "
     "BUILDKIT_PROGRESS, or auto)"},
    {"trace", 0, OPT_STRING, FIELD(trace), "FILE",
     "write where the time went, for chrome://tracing or Perfetto"},
    {"quiet", 'q', OPT_BOOL, FIELD(quiet), NULL, "print the image ID only"},
    DOCKER_ROWS(BuildOpts),
};
static const OptTable TABLE = {"lighter build [OPTIONS] DIR|GIT|URL|-",
                               "build an image from a Dockerfile", ROWS, NELEM(ROWS), false};
static const OptTable VERIFY_TABLE = {
    "lighter verify [OPTIONS OF BUILD] IMAGE DIR|GIT|URL|-",
    "build again, without the cache, and tell what differs from an image; exit code 5 if anything "
    "does",
    ROWS, NELEM(ROWS), false};
static const OptTable PLAN_TABLE = {"lighter plan [OPTIONS OF BUILD] DIR|GIT|URL|-",
                                    "tell which steps a build would reuse and which it would run",
                                    ROWS, NELEM(ROWS), false};

/* ---- options ---- */

/* `--build-arg NAME` takes the caller's value, and means nothing where the caller has none. */
static bool read_build_args(Build *b)
{
    for (size_t i = 0; i < b->opts->build_args.n; i++) {
        const char *kv = b->opts->build_args.v[i], *eq = strchr(kv, '=');
        if (!*kv || eq == kv)
            return err_set(b->e, ERR_USAGE, "--build-arg '%s': expected NAME[=VALUE]", kv);
        const char *value = eq ? eq + 1 : getenv(kv);
        if (value)
            env_set(b->arena, &b->plan_opts.build_args,
                    arena_strndup(b->arena, kv, strcspn(kv, "=")), value);
    }
    /* As buildx passes it on. */
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    if (epoch && *epoch && !env_get(&b->plan_opts.build_args, "SOURCE_DATE_EPOCH"))
        env_set(b->arena, &b->plan_opts.build_args, "SOURCE_DATE_EPOCH", epoch);
    return true;
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
    if (operands->n != 1)
        return err_set(b->e, ERR_USAGE,
                       operands->n ? "takes one context, and got '%s' too"
                                   : "needs a context directory, as in 'lighter build .'",
                       operands->n ? operands->v[1] : "");
    if (b->opts->on_error && strcmp(b->opts->on_error, "stop") != 0 &&
        strcmp(b->opts->on_error, "shell") != 0)
        return err_set(b->e, ERR_USAGE, "--on-error=%s: expected stop or shell", b->opts->on_error);
    unsigned percent;
    if (b->opts->check_cache && !recheck_parse(b, &percent))
        return false;
    if (b->opts->iidfile && !*b->opts->iidfile)
        return err_set(b->e, ERR_USAGE, "--iidfile needs a path");
    if (b->opts->remote.offline && b->opts->pull)
        return err_set(b->e, ERR_USAGE, "--offline and --pull exclude each other");
    b->plan_opts.target = b->opts->target;
    b->plan_opts.labels = b->opts->labels;
    for (size_t i = 0; i < b->opts->labels.n; i++)
        if (!*b->opts->labels.v[i] || *b->opts->labels.v[i] == '=')
            return err_set(b->e, ERR_USAGE, "--label '%s': expected NAME=VALUE",
                           b->opts->labels.v[i]);
    return docker_flags_check(b->arena, &b->opts->docker, b->e) &&
           space_check(b->opts->max_cache, b->e) && read_build_args(b) &&
           inputs_check(b, operands->v[0]) && read_tags(b) && platforms_read(b) && epoch_read(b) &&
           secrets_read(b) && build_outputs(b) && ssh_read(b) && rights_read(b) &&
           go_check(&b->opts->go, b->e) &&
           shape_read(b->arena, &b->opts->shape, &b->env.shape, b->e) &&
           limits_read(&b->opts->limits, &b->env.limits, b->e);
}

/* The published frontends of docker/dockerfile, from whatever mirror, or the one built in. */
static bool is_own_syntax(Arena *a, const char *syntax)
{
    ImageRef ref;
    Err ignored = ERR_INIT;
    if (!strcmp(syntax, "dockerfile.v0"))
        return true;
    if (!image_ref_parse(a, syntax, &ref, &ignored))
        return false;
    const char *path = arena_printf(a, "/%s", ref.path);
    return str_ends(path, "/docker/dockerfile") || str_ends(path, "/docker/dockerfile-upstream");
}

/* Build arguments that are meant for the builder. Source: Dockerfile reference, "BuildKit built-in
 * build args". */
static bool magic_args(Build *b)
{
    const StrList *args = &b->plan_opts.build_args;
    const char *syntax = env_get(args, "BUILDKIT_SYNTAX");
    b->env.hostname = env_get(args, "BUILDKIT_SANDBOX_HOSTNAME");
    b->env.cache_ns = env_get(args, "BUILDKIT_CACHE_MOUNT_NS");
    if (b->env.hostname && !*b->env.hostname)
        b->env.hostname = NULL;
    b->any_syntax = b->opts->ignore_syntax || (syntax && *syntax);
    if (syntax && *syntax && !b->opts->ignore_syntax && !is_own_syntax(b->arena, syntax))
        return err_set(b->e, ERR_USAGE,
                       "BUILDKIT_SYNTAX=%s: foreign frontends are not run (--ignore-syntax builds "
                       "with lighter's own language)",
                       syntax);
    return true;
}

static bool open_store(Build *b)
{
    SandboxHost host;
    const char *owners = b->opts->owners;
    if (b->store)
        return true;
    if (owners && strcmp(owners, "full") != 0 && strcmp(owners, "fast") != 0)
        return err_set(b->e, ERR_USAGE, "--owners=%s: expected full or fast", owners);
    if (!cmd_store(b->arena, b->opts->isolation ? b->opts->isolation : "auto", &host, &b->store,
                   b->e))
        return false;
    size_t lost = store_lost(b->store);
    if (lost)
        event_warning(&b->env.sink,
                      "the machine stopped before %zu thing%s of the store were on the disk: "
                      "dropped, and made again when needed",
                      lost, lost == 1 ? "" : "s");
    b->env.store = b->store;
    b->env.host = host;
    b->env.entered = host.mode == MODE_ROOT || host.mode == MODE_CHROOT;
    if (host.mode == MODE_CHROOT)
        b->env.roots = copyroots_new();
    b->env.fast_owners = host.mode == MODE_SINGLE && owners && !strcmp(owners, "fast");
    watch_store(b, store_dirfd(b->store));
    return true;
}

/*
 * After a build: write down what it used, and keep the cache below its ceiling. A build of hits
 * writes one transaction and reads one row. What goes wrong here is no fault of the build's.
 */
static void keep_house(Build *b, bool built)
{
    Err e = ERR_INIT;
    uint64_t ceiling = 0;
    StoreGc gc = {0};
    char freed[32], kept[32];
    bool asked, ok = store_note_uses(b->store, &e);
    if (ok && built && (ok = space_ceiling(b->store, b->opts->max_cache, &ceiling, &asked, &e)) &&
        store_gc_due(b->store, ceiling)) {
        ok = b->env.entered || sandbox_enter(&b->env.host, &e);
        b->env.entered = true;
        if (ok && asked)
            ok = store_gc(b->store, ceiling, &gc, &e);
        else if (ok)
            store_gc_later(b->store, ceiling);
    }
    str_size(gc.freed, freed, sizeof freed);
    str_size(gc.kept, kept, sizeof kept);
    if (gc.n)
        event_note(&b->env.sink, "cache: %s of %zu records dropped, %s kept (--max-cache)", freed,
                   gc.n, kept);
    if (!ok && built)
        event_warning(&b->env.sink, "the cache was not kept small: %s", e.msg);
}

static unsigned solve_flags(Build *b)
{
    bool shell = b->opts->on_error && !strcmp(b->opts->on_error, "shell");
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (shell && !terminal)
        event_note(&b->env.sink,
                   "--on-error=shell: there is no terminal, so a failure ends the build");
    b->env.keep_failed = shell && terminal;
    return (b->opts->no_cache ? SOLVE_NO_CACHE : 0u) | (b->env.keep_failed ? SOLVE_SHELL : 0u);
}

/* Stages by name or number, several in one word too; what is no stage is told. */
static void read_no_cache(Build *b)
{
    for (size_t i = 0; i < b->opts->no_cache_filter.n; i++) {
        char *copy = arena_strdup(b->arena, b->opts->no_cache_filter.v[i]), *save = NULL;
        for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
            bool known = false;
            for (size_t k = 0; k < b->plan.nstep && !known; k++) {
                Str stage = plan_stage_name(&b->plan.steps[k]);
                known = strlen(w) == stage.len && !strncasecmp(w, stage.ptr, stage.len);
            }
            strlist_add(b->arena, &b->env.no_cache, w);
            if (!known)
                event_send(&b->env.sink,
                           &(Event){.kind = EV_WARNING,
                                    .text = arena_printf(b->arena,
                                                         "--no-cache-filter: no stage that is "
                                                         "built is called '%s'",
                                                         w)});
        }
    }
}

/* Read everything that says what is to be built. */
static bool prepare(Build *b, const StrList *operands)
{
    if (!check_options(b, operands) || !magic_args(b) ||
        !remote_new(&b->opts->remote, b->env.sink, &b->registry, b->e))
        return false;
    b->watch.began = true;
    cancel_install(); /* what comes from elsewhere may be long in coming */
    if (inputs_need_store(b) && !open_store(b))
        return false;
    uint64_t at = clock_ns();
    if (!inputs_read(b))
        return false;
    if (!epoch_of_context(b))
        return false;
    event_span(&b->env.sink, 0, "read the Dockerfile", at);
    at = clock_ns();
    if (!open_store(b))
        return false;
    event_span(&b->env.sink, 0, "open the store", at);
    if (b->verify && !verify_begin(b))
        return false;
    b->env.plan = &b->plan;
    b->env.file = &b->file;
    at = clock_ns();
    if (!inputs_plan(b) || !epoch_read(b) ||
        !step_env(b->arena, &b->plan_opts.build_args, &b->env.step_env, b->e) ||
        !steps_fetch_git(&b->env, b->arena, b->e))
        return false;
    read_no_cache(b);
    uint32_t *kept = NEW_N(b->arena, uint32_t, b->ntarget + 1);
    for (size_t i = 0; i < b->ntarget; i++)
        kept[i] = b->targets[i].result;
    b->env.kept = kept;
    b->env.nkept = b->ntarget;
    b->env.times = b->opts->squash ? NULL : &b->times;
    go_scope(&b->opts->go, b->arena, &b->env);
    event_span(&b->env.sink, 0, "resolve and plan", at);
    return true;
}

static bool build(Build *b, const StrList *operands)
{
    if (!prepare(b, operands) || !deliver_check(b))
        return false;
    event_send(
        &b->env.sink,
        &(Event){.kind = EV_BUILD_START, .text = b->file.name, .n = (uint32_t)b->plan.nstep});
    uint64_t at = clock_ns();
    go_begin(&b->opts->go, &b->env);
    bool ok = solve(&b->env, solve_flags(b), &b->sol, b->e);
    if (ok && b->opts->metadata)
        steps_materials(&b->env, b->arena, &b->materials, &b->nmaterial);
    go_over(&b->env);
    event_span(&b->env.sink, 0, "solve", at);
    return ok && explain_tell(b) && result_make(b) && result_report(b) && recheck(b) &&
           (!b->verify || verify_end(b));
}

/* `verify`: NULL, or the image that is to come out. */
static bool carry_out(Arena *a, const BuildOpts *o, const StrList *operands, bool dry,
                      const char *verify, int *ret_code, Err *e)
{
    Build b = {.arena = a, .opts = o, .dry = dry, .verify = verify, .e = e};
    if (!watch_begin(&b))
        return false;
    bool ok = dry ? prepare(&b, operands) && explain_plan(&b) : build(&b, operands);
    uint64_t at = clock_ns();
    watch_result(&b, ok);
    if (b.store) {
        inputs_save(&b);
        keep_house(&b, ok && !dry);
    }
    event_span(&b.env.sink, 0, "keep house", at);
    watch_end(&b, ok);
    at = clock_ns();
    solution_done(&b.sol);
    inputs_done(&b);
    loader_done(b.loader);
    ssh_done(&b);
    registry_done(b.registry);
    copyroots_done(b.env.roots);
    store_done(b.store);
    event_span(&b.env.sink, 0, "clean up", at);
    bool traced = watch_close(&b);
    if (b.stopped_waiting) { /* nothing was begun: end as a program that handles no signal does */
        (void)signal(cancel_signal(), SIG_DFL);
        (void)raise(cancel_signal());
    }
    *ret_code = watch_code(&b, ok);
    return (ok && traced) || watch_told(&b);
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    return carry_out(a, opts, operands, false, NULL, ret_code, e);
}

static bool run_dry(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    return carry_out(a, opts, operands, true, NULL, ret_code, e);
}

static bool run_verify(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    BuildOpts o = *(const BuildOpts *)opts;
    StrList rest = {.v = operands->v + 1, .n = operands->n - 1};
    if (operands->n < 2)
        return err_set(e, ERR_USAGE, "needs an image and the context that it is built of");
    if (o.tags.n || o.outputs.n || o.push || o.load || o.metadata)
        return err_set(e, ERR_USAGE,
                       "what is built to compare goes nowhere: leave out --tag, "
                       "--output, --push, --load and --metadata-file");
    o.no_cache = true;
    return carry_out(a, &o, &rest, false, operands->v[0], ret_code, e);
}

const Cmd CMD_VERIFY = {"verify", &VERIFY_TABLE, sizeof(BuildOpts), run_verify, NULL};
const Cmd CMD_BUILD = {"build", &TABLE, sizeof(BuildOpts), run, NULL};
const Cmd CMD_PLAN = {"plan", &PLAN_TABLE, sizeof(BuildOpts), run_dry, NULL};
