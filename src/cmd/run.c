/*
 * cmd/run.c - `lighter run`: one command in an image, whose changes are dropped when it ends.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/limits.h"
#include "cmd/shape.h"
#include "snapshot/snapshot.h"
#include "source/source.h"
#include "steps/steps.h"

typedef struct RunOpts {
    StrList env, volumes;
    const char *workdir, *user, *isolation, *entrypoint, *network;
    bool rm;
    ShapeOpts shape;
    LimitOpts limits;
} RunOpts;

#define FIELD(f) offsetof(RunOpts, f)
#define LATER "not yet"
static const OptRow ROWS[] = {
    {"env", 'e', OPT_LIST, FIELD(env), "NAME[=VALUE]",
     "set a variable; without a value, the caller's"},
    {"volume", 'v', OPT_LIST, FIELD(volumes), "SRC:DST[:ro]",
     "bind a file or directory of the host"},
    {"workdir", 'w', OPT_STRING, FIELD(workdir), "DIR", "working directory"},
    {"user", 'u', OPT_STRING, FIELD(user), "USER[:GROUP]", "run as"},
    {"entrypoint", 0, OPT_STRING, FIELD(entrypoint), "PROGRAM",
     "run this instead of the image's entrypoint"},
    {"rm", 0, OPT_BOOL, FIELD(rm), NULL, "accepted: what the command wrote is always dropped"},
    {"network", 0, OPT_STRING, FIELD(network), "host|none|passt",
     "the caller's network (the default), only a loopback interface, or its own through passt"},
    SHAPE_ROWS(RunOpts),
    LIMIT_ROWS(RunOpts),
    {"isolation", 0, OPT_STRING, FIELD(isolation), "MODE",
     "auto, root, rootless, single or chroot (default auto)"},
    {"detach", 'd', OPT_REFUSED, 0, NULL, "lighter has no daemon that could keep it; use '&'"},
    {"interactive", 'i', OPT_REFUSED, 0, NULL, "stdin is always the caller's"},
    {"tty", 't', OPT_REFUSED, 0, NULL, LATER},
    {"publish", 'p', OPT_REFUSED, 0, NULL,
     "the network is the caller's: ports are there as they are"},
    {"name", 0, OPT_REFUSED, 0, NULL, "nothing stays that could have a name"},
};
static const OptTable TABLE = {"lighter run [OPTIONS] IMAGE [COMMAND...]",
                               "run a command in an image, once", ROWS, NELEM(ROWS), true};

static bool add_volume(Arena *a, SandboxMount *v, size_t *n, const char *text, Err *e)
{
    char *copy = arena_strdup(a, text), *target = strchr(copy, ':');
    if (!target || !target[1])
        return err_set(e, ERR_USAGE, "--volume %s: expected SRC:DST[:ro]", text);
    *target++ = 0;
    char *mode = strchr(target, ':');
    if (mode)
        *mode++ = 0;
    if (mode && strcmp(mode, "ro") != 0 && strcmp(mode, "rw") != 0)
        return err_set(e, ERR_USAGE, "--volume %s: '%s' is neither ro nor rw", text, mode);
    char *source = realpath(copy, NULL);
    if (!source)
        return err_errno(e, ERR_USAGE, "--volume %s: '%s'", text, copy);
    v[(*n)++] = (SandboxMount){.kind = SANDBOX_BIND,
                               .source = arena_strdup(a, source),
                               .target = target,
                               .readonly = mode && !strcmp(mode, "ro")};
    free(source);
    if (target[0] != '/')
        return err_set(e, ERR_USAGE, "--volume %s: '%s' must be absolute", text, target);
    return true;
}

/*
 * docker: entrypoint and command; words on the command line replace the command, --entrypoint both.
 */
static bool command(Arena *a, const RunOpts *o, const ImageConfig *c, const StrList *operands,
                    StrList *ret, Err *e)
{
    StrList argv = {0};
    const StrList *entry = &c->entrypoint;
    if (o->entrypoint)
        strlist_add(a, &argv, o->entrypoint);
    for (size_t i = 0; !o->entrypoint && i < entry->n; i++)
        strlist_add(a, &argv, entry->v[i]);
    for (size_t i = 1; i < operands->n; i++)
        strlist_add(a, &argv, operands->v[i]);
    for (size_t i = 0; operands->n < 2 && !o->entrypoint && i < c->cmd.n; i++)
        strlist_add(a, &argv, c->cmd.v[i]);
    if (!argv.n)
        return err_set(e, ERR_USAGE, "the image has no CMD or ENTRYPOINT: name a command");
    *ret = argv;
    return true;
}

static StrList environment(Arena *a, const RunOpts *o, const ImageConfig *c)
{
    StrList env = strlist_copy(a, &c->env);
    for (size_t i = 0; i < o->env.n; i++) {
        const char *kv = o->env.v[i], *eq = strchr(kv, '='), *value = eq ? eq + 1 : getenv(kv);
        if (value)
            env_set(a, &env, arena_strndup(a, kv, strcspn(kv, "=")), value);
    }
    return env;
}

/* MODE_CHROOT: the command gets a copy of the image, which is dropped. */
static bool run_copied(Arena *a, Store *s, const Stack *st, SandboxSpec *spec, SandboxEnd *ret,
                       Err *e)
{
    scoped(copyroot) CopyRoot *root = NULL;
    if (!steps_copy_mounts(s, a, spec, e) || !copyroot_take(NULL, s, st, &root, e))
        return false;
    spec->copied = true;
    spec->upper = root->root;
    return sandbox_run(spec, NULL, ret, e);
}

static bool run_in(Arena *a, Store *s, const SandboxHost *host, const SourceImage *img,
                   SandboxSpec *spec, const char *dir, SandboxEnd *ret, Err *e)
{
    Stack st;
    spec->in_userns = host->mode != MODE_ROOT;
    spec->storefd = store_dirfd(s);
    spec->upper = arena_printf(a, "%s/upper", dir);
    spec->scratch = arena_printf(a, "%s/scratch", dir);
    if (mkdirat(spec->storefd, dir, 0700) < 0 || mkdirat(spec->storefd, spec->scratch, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), dir);
    if (!source_stack(s, a, img, spec->in_userns, &st, e))
        return false;
    if (host->mode == MODE_CHROOT)
        return run_copied(a, s, &st, spec, ret, e);
    return snapshot_make_root(s, &st, spec->upper, e) && stack_lowers(a, &st, &spec->lowers, e) &&
           sandbox_run(spec, NULL, ret, e);
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const RunOpts *o = opts;
    scoped(store) Store *s = NULL;
    SandboxHost host;
    SourceImage img;
    SandboxEnd end;
    Digest id;
    char dir[STORE_TMP_MAX];
    Err ignored = ERR_INIT;
    SandboxSpec spec = {.interactive = true};
    SandboxLimits limits;
    if (!operands->n)
        return err_set(e, ERR_USAGE, "needs an image");
    if (!shape_network(o->network, &spec.net, e) || !shape_read(a, &o->shape, &spec.shape, e) ||
        !limits_read(&o->limits, &limits, e))
        return false;
    spec.limits = &limits;
    SandboxMount *volumes = NEW_N(a, SandboxMount, o->volumes.n + 1);
    spec.mounts = volumes;
    for (size_t i = 0; i < o->volumes.n; i++)
        if (!add_volume(a, volumes, &spec.nmount, o->volumes.v[i], e))
            return false;
    if (!cmd_store(a, o->isolation ? o->isolation : "auto", &host, &s, e) ||
        !cmd_find(s, a, operands->v[0], &id, e) || !source_image(s, a, &id, &img, e) ||
        !command(a, o, &img.config, operands, &spec.argv, e))
        return false;
    const char *dir_in_image = img.config.workdir && *img.config.workdir ? img.config.workdir : "/";
    spec.cwd = o->workdir ? path_join(a, dir_in_image, o->workdir) : dir_in_image;
    spec.user = o->user ? o->user : img.config.user ? img.config.user : "";
    spec.env = environment(a, o, &img.config);
    digest_text(&id, dir);
    spec.hostname = arena_strndup(a, dir + 7, 12);
    if (!sandbox_enter(&host, e))
        return false;
    store_sweep(s);
    (void)!store_note_uses(s, &ignored); /* a use forgotten is no failure */
    if (!store_tmp(s, "run", dir, e))
        return false;
    cancel_install(); /* signals are passed on to the command */
    bool ok = run_in(a, s, &host, &img, &spec, dir, &end, e);
    sandbox_stop();
    fs_remove_tree(store_dirfd(s), dir, &ignored);
    if (!ok)
        return false;
    *ret_code = end.code;
    return true;
}

const Cmd CMD_RUN = {"run", &TABLE, sizeof(RunOpts), run};
