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
#include "cmd/remote.h"
#include "cmd/shape.h"
#include "snapshot/snapshot.h"
#include "source/source.h"
#include "steps/steps.h"
#include "ui/ui.h"

typedef struct RunOpts {
    StrList env, env_files, volumes, mounts, tmpfs;
    const char *workdir, *user, *isolation, *entrypoint, *network, *hostname;
    bool rm, init, interactive, tty, privileged, readonly;
    ShapeOpts shape;
    LimitOpts limits;
    RemoteOpts remote;
} RunOpts;

#define FIELD(f) offsetof(RunOpts, f)
#define NOTHING_STAYS "nothing stays that could have one"
static const OptRow ROWS[] = {
    {"env", 'e', OPT_LIST, FIELD(env), "NAME[=VALUE]",
     "set a variable; without a value, the caller's"},
    {"env-file", 0, OPT_LIST, FIELD(env_files), "FILE", "set the variables of a file's lines"},
    {"volume", 'v', OPT_LIST, FIELD(volumes), "SRC:DST[:ro]",
     "bind a file or directory of the host"},
    {"mount", 0, OPT_LIST, FIELD(mounts), "type=bind|tmpfs,...",
     "the same in docker's long form: source, target, readonly, tmpfs-size"},
    {"tmpfs", 0, OPT_LIST, FIELD(tmpfs), "DIR[:size=SIZE]", "an empty directory in memory"},
    {"workdir", 'w', OPT_STRING, FIELD(workdir), "DIR", "working directory"},
    {"user", 'u', OPT_STRING, FIELD(user), "USER[:GROUP]", "run as"},
    {"entrypoint", 0, OPT_STRING, FIELD(entrypoint), "PROGRAM",
     "run this instead of the image's entrypoint"},
    {"interactive", 'i', OPT_BOOL, FIELD(interactive), NULL, "stdin is the caller's"},
    {"tty", 't', OPT_BOOL, FIELD(tty), NULL, "give the command a terminal"},
    {"rm", 0, OPT_BOOL, FIELD(rm), NULL, "accepted: what the command wrote is always dropped"},
    {"init", 0, OPT_BOOL, FIELD(init), NULL, "accepted: there always is one"},
    {"hostname", 'h', OPT_STRING, FIELD(hostname), "NAME",
     "host name (default: of the image's ID)"},
    {"read-only", 0, OPT_BOOL, FIELD(readonly), NULL, "the root cannot be written to"},
    {"privileged", 0, OPT_BOOL, FIELD(privileged), NULL, "all the rights that lighter has"},
    {"network", 0, OPT_STRING, FIELD(network), "host|none|passt",
     "the caller's network (the default), only a loopback interface, or its own through passt"},
    SHAPE_ROWS(RunOpts),
    LIMIT_ROWS(RunOpts),
    REMOTE_ROWS(RunOpts),
    {"isolation", 0, OPT_STRING, FIELD(isolation), "MODE",
     "auto, root, rootless, single or chroot (default auto)"},
    {"detach", 'd', OPT_REFUSED, 0, NULL, "lighter has no daemon that could keep it; use '&'"},
    {"publish", 'p', OPT_REFUSED, 0, NULL,
     "the network is the caller's: ports are there as they are"},
    {"publish-all", 'P', OPT_REFUSED, 0, NULL,
     "the network is the caller's: ports are there as they are"},
    {"name", 0, OPT_REFUSED, 0, NULL, NOTHING_STAYS},
    {"cidfile", 0, OPT_REFUSED, 0, NULL, NOTHING_STAYS},
    {"label", 'l', OPT_REFUSED, 0, NULL, NOTHING_STAYS},
    {"restart", 0, OPT_REFUSED, 0, NULL, NOTHING_STAYS},
    {"cap-add", 0, OPT_REFUSED, 0, NULL, "docker's default rights, or --privileged for all"},
    {"cap-drop", 0, OPT_REFUSED, 0, NULL, "docker's default rights, or --privileged for all"},
    {"security-opt", 0, OPT_REFUSED, 0, NULL, "docker's default rights, or --privileged for all"},
    {"device", 0, OPT_REFUSED, 0, NULL, "use --privileged, or -v /dev/NAME:/dev/NAME"},
    {"volumes-from", 0, OPT_REFUSED, 0, NULL, "there are no other containers"},
    {"link", 0, OPT_REFUSED, 0, NULL, "there are no other containers"},
    {"gpus", 0, OPT_REFUSED, 0, NULL, "devices are not passed through"},
};
static const OptTable TABLE = {"lighter run [OPTIONS] IMAGE [COMMAND...]",
                               "run a command in an image, once", ROWS, NELEM(ROWS), true};

/* ---- mounts ---- */

/* Mounts of one command; there is room for all of them. */
typedef struct Mounts {
    SandboxMount *v;
    size_t n;
} Mounts;

static bool add_bind(Arena *a, Mounts *m, const char *option, const char *text, const char *from,
                     const char *target, bool readonly, Err *e)
{
    char *source = realpath(from, NULL);
    if (!source)
        return err_errno(e, ERR_USAGE, "--%s %s: '%s'", option, text, from);
    m->v[m->n++] = (SandboxMount){.kind = SANDBOX_BIND,
                                  .source = arena_strdup(a, source),
                                  .target = target,
                                  .readonly = readonly};
    free(source);
    return target[0] == '/' ||
           err_set(e, ERR_USAGE, "--%s %s: '%s' must be absolute", option, text, target);
}

static bool add_volume(Arena *a, Mounts *m, const char *text, Err *e)
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
    if (!strchr(copy, '/') && strcmp(copy, ".") != 0 && strcmp(copy, "..") != 0)
        return err_set(e, ERR_USAGE,
                       "--volume %s: '%s' would be a named volume, and lighter keeps none; a "
                       "directory is written './%s'",
                       text, copy, copy);
    return add_bind(a, m, "volume", text, copy, target, mode && !strcmp(mode, "ro"), e);
}

static bool add_tmpfs(Mounts *m, const char *option, const char *text, const char *target,
                      const char *size, Err *e)
{
    SandboxMount *out = &m->v[m->n++];
    *out = (SandboxMount){.kind = SANDBOX_TMPFS, .target = target};
    if (target[0] != '/')
        return err_set(e, ERR_USAGE, "--%s %s: '%s' must be absolute", option, text, target);
    return !size || str_ram_size(size, &out->size) ||
           err_set(e, ERR_USAGE, "--%s %s: expected a size, as 64m", option, text);
}

/* "DIR[:size=SIZE]" */
static bool read_tmpfs(Arena *a, Mounts *m, const char *text, Err *e)
{
    char *target = arena_strdup(a, text), *opts = strchr(target, ':');
    if (opts)
        *opts++ = 0;
    if (opts && !str_starts(opts, "size="))
        return err_set(e, ERR_USAGE, "--tmpfs %s: '%s': only size=SIZE is known", text, opts);
    return add_tmpfs(m, "tmpfs", text, target, opts ? opts + strlen("size=") : NULL, e);
}

/* docker's "type=bind,source=S,target=T,readonly". */
static bool read_mount(Arena *a, Mounts *m, const char *text, Err *e)
{
    const char *type = "volume", *source = NULL, *target = NULL, *size = NULL;
    bool readonly = false;
    char *save = NULL;
    for (char *p = strtok_r(arena_strdup(a, text), ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        size_t n = strcspn(p, "=");
        const char *value = p[n] ? p + n + 1 : "";
        p[n] = 0;
        if (!strcmp(p, "type"))
            type = value;
        else if (!strcmp(p, "source") || !strcmp(p, "src"))
            source = value;
        else if (!strcmp(p, "target") || !strcmp(p, "dst") || !strcmp(p, "destination"))
            target = value;
        else if (!strcmp(p, "tmpfs-size"))
            size = value;
        else if ((!strcmp(p, "readonly") || !strcmp(p, "ro")) &&
                 (!*value || str_bool(value, &readonly)))
            readonly = readonly || !*value;
        else
            return err_set(e, ERR_USAGE, "--mount %s: '%s' is not known", text, p);
    }
    if (!target)
        return err_set(e, ERR_USAGE, "--mount %s: needs target=DIR", text);
    if (!strcmp(type, "tmpfs") && !source)
        return add_tmpfs(m, "mount", text, target, size, e);
    if (!strcmp(type, "bind") && source && !size)
        return add_bind(a, m, "mount", text, source, target, readonly, e);
    return err_set(e, ERR_USAGE, "--mount %s: expected type=bind with a source, or type=tmpfs",
                   text);
}

static bool read_mounts(Arena *a, const RunOpts *o, SandboxSpec *spec, Err *e)
{
    Mounts m = {.v = NEW_N(a, SandboxMount, o->volumes.n + o->mounts.n + o->tmpfs.n + 1)};
    for (size_t i = 0; i < o->volumes.n; i++)
        if (!add_volume(a, &m, o->volumes.v[i], e))
            return false;
    for (size_t i = 0; i < o->mounts.n; i++)
        if (!read_mount(a, &m, o->mounts.v[i], e))
            return false;
    for (size_t i = 0; i < o->tmpfs.n; i++)
        if (!read_tmpfs(a, &m, o->tmpfs.v[i], e))
            return false;
    spec->mounts = m.v;
    spec->nmount = m.n;
    return true;
}

/* ---- the command ---- */

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

/* A word of --env or a line of --env-file: without a value it is the caller's, or nothing. */
static void set_variable(Arena *a, StrList *env, const char *kv)
{
    const char *eq = strchr(kv, '='), *value = eq ? eq + 1 : getenv(kv);
    if (value)
        env_set(a, env, arena_strndup(a, kv, strcspn(kv, "=")), value);
}

static bool read_env_file(Arena *a, StrList *env, const char *path, Err *e)
{
    enum { ENV_FILE_MAX = 4 << 20 };
    scoped(buf) Buf text = BUF_INIT;
    char *save = NULL;
    if (!fs_read_file(AT_FDCWD, path, ENV_FILE_MAX, &text, e))
        return err_wrap(e, "--env-file");
    for (char *line = text.len ? strtok_r(text.ptr, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        line += strspn(line, " \t");
        size_t n = strlen(line);
        if (n && line[n - 1] == '\r')
            line[n - 1] = 0;
        if (*line && *line != '#')
            set_variable(a, env, line);
    }
    return true;
}

static bool environment(Arena *a, const RunOpts *o, const ImageConfig *c, StrList *ret, Err *e)
{
    StrList env = strlist_copy(a, &c->env);
    for (size_t i = 0; i < o->env_files.n; i++)
        if (!read_env_file(a, &env, o->env_files.v[i], e))
            return false;
    for (size_t i = 0; i < o->env.n; i++)
        set_variable(a, &env, o->env.v[i]);
    *ret = env;
    return true;
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
    spec->in_userns = sandbox_in_userns(host);
    spec->storefd = store_dirfd(s);
    spec->upper = arena_printf(a, "%s/upper", dir);
    spec->scratch = arena_printf(a, "%s/scratch", dir);
    if (mkdirat(spec->storefd, dir, 0700) < 0 || mkdirat(spec->storefd, spec->scratch, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), dir);
    if (!source_stack(s, a, img, spec->in_userns, &st, e) || !snapshot_twins_part(s, &st, e))
        return false;
    if (host->mode == MODE_CHROOT)
        return run_copied(a, s, &st, spec, ret, e);
    return snapshot_make_root(s, &st, spec->upper, e) && stack_lowers(a, &st, &spec->lowers, e) &&
           sandbox_run(spec, NULL, ret, e);
}

static bool check_terminal(const RunOpts *o, Err *e)
{
    return !o->tty || !o->interactive || isatty(STDIN_FILENO) ||
           err_set(e, ERR_USAGE, "-it: stdin is no terminal; leave -t out, or -i");
}

/* What the command line says alone. */
static bool read_options(Arena *a, const RunOpts *o, SandboxSpec *spec, SandboxLimits *limits,
                         Err *e)
{
    *spec = (SandboxSpec){.interactive = true,
                          .no_input = !o->interactive,
                          .tty = o->tty,
                          .insecure = o->privileged,
                          .readonly = o->readonly,
                          .limits = limits};
    return check_terminal(o, e) && shape_network(o->network, &spec->net, e) &&
           shape_read(a, &o->shape, &spec->shape, e) && limits_read(&o->limits, limits, e) &&
           read_mounts(a, o, spec, e);
}

/* And what the image says. */
static bool read_image(Arena *a, const RunOpts *o, const SourceImage *img, const StrList *operands,
                       SandboxSpec *spec, Err *e)
{
    char id[DIGEST_TEXT_SIZE];
    const ImageConfig *c = &img->config;
    const char *dir = c->workdir && *c->workdir ? c->workdir : "/";
    digest_text(&img->id, id);
    spec->cwd = o->workdir ? path_join(a, dir, o->workdir) : dir;
    spec->user = o->user ? o->user : c->user ? c->user : "";
    spec->hostname = o->hostname ? o->hostname : arena_strndup(a, id + 7, 12);
    return command(a, o, c, operands, &spec->argv, e) && environment(a, o, c, &spec->env, e);
}

/* The image of a name or ID that is here, or the registry's. */
static bool find_image(Store *s, Arena *a, const char *name, Registry *r, SourceImage *ret, Err *e)
{
    const StrList no_contexts = {0};
    SourceOpts how = {.contexts = &no_contexts, .registry = r};
    Digest id;
    bool found;
    if (!store_find(s, a, name, &id, &found, e))
        return false;
    if (!found)
        return source_resolve(s, a, name, &how, ret, e) && source_prepare(s, ret, e);
    if (!source_image(s, a, &id, ret, e))
        return false;
    ret->name = name;
    ret->registry = r;
    return source_prepare(s, ret, e);
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const RunOpts *o = opts;
    scoped(store) Store *s = NULL;
    SandboxHost host;
    SourceImage img;
    SandboxEnd end;
    SandboxSpec spec;
    SandboxLimits limits;
    scoped(registry) Registry *r = NULL;
    scoped(ui) Ui *ui = ui_lines(false);
    char dir[STORE_TMP_MAX];
    Err ignored = ERR_INIT;
    if (!operands->n)
        return err_set(e, ERR_USAGE, "needs an image");
    if (!read_options(a, o, &spec, &limits, e) ||
        !cmd_store(a, o->isolation ? o->isolation : "auto", &host, &s, e) ||
        !remote_new(&o->remote, ui_sink(ui), &r, e) ||
        !find_image(s, a, operands->v[0], r, &img, e) ||
        !read_image(a, o, &img, operands, &spec, e) || !sandbox_enter(&host, e))
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
    if (end.oom)
        fprintf(stderr, "lighter run: out of memory: the command took more than --memory\n");
    *ret_code = end.code;
    return true;
}

const Cmd CMD_RUN = {"run", &TABLE, sizeof(RunOpts), run};
