/*
 * cmd/inputs.c - `lighter build`: contexts, the Dockerfile, images, and the plan they make.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <strings.h>

#include "base/cancel.h"
#include "base/dump.h"
#include "base/fs.h"
#include "cmd/buildrun.h"

enum { READ_CHUNK = 64 << 10 };
static const char IMAGE[] = "docker-image://", LAYOUT[] = "oci-layout://",
                  DAEMON[] = "docker-daemon:";

/* ---- what is given ---- */

/* -f; an empty one is none, as docker has it. */
static const char *file_option(const Build *b)
{
    return b->opts->file && *b->opts->file ? b->opts->file : NULL;
}

/* Tell a context from its text. A directory of that name comes before a short git reference. */
static bool classify(Build *b, const char *spec, Input *ret)
{
    bool is_git;
    struct stat st;
    ret->spec = spec;
    if (!git_ref_parse(b->arena, spec, &is_git, &ret->git, b->e)) {
        b->e->kind = ERR_USAGE;
        return err_wrap(b->e, "context '%s'", git_masked(b->arena, spec));
    }
    if (is_git && strcmp(git_masked(b->arena, spec), spec) != 0)
        dump_forbid();
    if (is_git && ret->git.like_path && stat(spec, &st) == 0)
        is_git = false;
    ret->kind = is_git ? INPUT_GIT : http_url_is(spec) ? INPUT_URL : INPUT_DIR;
    return true;
}

/* Whether an image's text can mean one. */
static bool check_image(Build *b, const char *kv, const char *spec)
{
    ImageRef ignored;
    if (str_starts(spec, LAYOUT))
        return spec[sizeof LAYOUT - 1] ||
               err_set(b->e, ERR_USAGE, "--build-context %s: expected oci-layout://DIR[:TAG]", kv);
    size_t n = str_starts(spec, IMAGE) ? sizeof IMAGE - 1 : sizeof DAEMON - 1;
    return image_ref_parse(b->arena, spec + n, &ignored, b->e) ||
           err_wrap(b->e, "--build-context %s", kv);
}

static bool classify_named(Build *b, const char *kv, Input *ret, PlanContext *ret_plan)
{
    const char *eq = strchr(kv, '=');
    if (!eq || eq == kv || !eq[1])
        return err_set(b->e, ERR_USAGE, "--build-context %s: expected NAME=SOURCE", kv);
    ret_plan->name = arena_strndup(b->arena, kv, (size_t)(eq - kv));
    const char *spec = eq + 1;
    if (str_starts(spec, IMAGE) || str_starts(spec, LAYOUT) || str_starts(spec, DAEMON)) {
        *ret = (Input){.kind = INPUT_IMAGE, .spec = spec};
        return check_image(b, kv, spec);
    }
    ret_plan->tree = true;
    if (!classify(b, spec, ret))
        return err_wrap(b->e, "--build-context %s", ret_plan->name);
    struct stat st;
    if (ret->kind == INPUT_DIR && (stat(spec, &st) < 0 || !S_ISDIR(st.st_mode)))
        return err_set(b->e, ERR_USAGE,
                       "--build-context %s: '%s' is no directory, git repository, URL, "
                       "docker-image://, docker-daemon: or oci-layout://",
                       ret_plan->name, spec);
    return true;
}

bool inputs_check(Build *b, const char *context)
{
    const StrList *named = &b->opts->contexts;
    b->named = NEW_N(b->arena, Input, named->n + 1);
    b->contexts = NEW_N(b->arena, PlanContext, named->n + 1);
    for (size_t i = 0; i < named->n; i++)
        if (!classify_named(b, named->v[i], &b->named[i], &b->contexts[i]))
            return false;
    b->ncontext = named->n;
    b->plan_opts.contexts = b->contexts;
    b->plan_opts.ncontext = named->n;
    if (!strcmp(context, "-")) {
        b->main = (Input){.kind = INPUT_STDIN, .spec = "-"};
        if (file_option(b) && !strcmp(file_option(b), "-"))
            return err_set(b->e, ERR_USAGE,
                           "stdin cannot be the Dockerfile (-f -) and the context (-) at once");
        return true;
    }
    return classify(b, context, &b->main);
}

bool inputs_need_store(const Build *b)
{
    return b->main.kind != INPUT_DIR;
}

/* ---- trees ---- */

static bool open_snapshot(Build *b, SnapshotId id, Input *in)
{
    char path[STORE_TMP_MAX];
    store_snapshot_path(id, path);
    return context_open_all(b->arena, arena_printf(b->arena, "%s/%s", store_path(b->store), path),
                            &in->context, b->e);
}

/* What is known of a context's files is kept from build to build. */
static bool keep(Build *b, Input *in)
{
    char path[STORE_TMP_MAX];
    if (!store_index(b->store, context_dir(in->context, b->arena), context_ignore_name(in->context),
                     path, b->e))
        return false;
    in->index = arena_strdup(b->arena, path);
    context_keep(in->context, store_dirfd(b->store), in->index);
    return true;
}

/* The tree of an archive, unpacked once for its bytes. */
static bool unpacked(Build *b, int fd, const Digest *bytes, SnapshotId *ret)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    scoped(buf) Buf value = BUF_INIT;
    Digest key;
    bool found;
    key_begin(&k, "archive context 1");
    key_digest(&k, "bytes", bytes);
    key_end(&k, &key);
    if (!store_memo_get(b->store, &key, &value, &found, b->e))
        return false;
    if (found && value.len == sizeof *ret) {
        memcpy(ret, value.ptr, sizeof *ret);
        found = *ret != 0;
        if (found && !store_snapshot_exists(b->store, *ret, &found, b->e))
            return false;
        if (found)
            return true;
    }
    if (!snapshot_from_tar(b->store, fd, ret, b->e)) {
        if (b->e->kind == ERR_STEP && !cancel_wanted())
            b->e->kind = ERR_USAGE; /* no step runs yet: the archive is damaged */
        return false;
    }
    store_describe(b->store, *ret, "source.local", "a context that came as an archive");
    return *ret ? store_memo_put(b->store, &key, ret, sizeof *ret, b->e)
                : err_set(b->e, ERR_USAGE, "the archive is empty");
}

/* Whether no text begins so. */
static bool is_binary(const Buf *b)
{
    for (size_t i = 0; i < b->len && i < 512; i++)
        if ((unsigned char)b->ptr[i] < ' ' && !memchr("\t\n\v\f\r\033", b->ptr[i], 6))
            return true;
    return false;
}

/* A file that came from elsewhere is an archive, which is a context, or else a Dockerfile. */
static bool archive_or_text(Build *b, int fd, const Digest *bytes, Input *in, bool may_be_text)
{
    bool archive;
    SnapshotId id;
    if (!layer_archive_detect(fd, &archive, b->e))
        return false;
    if (archive)
        return unpacked(b, fd, bytes, &id) && open_snapshot(b, id, in);
    if (!may_be_text || file_option(b))
        return err_set(b->e, ERR_USAGE,
                       "it is no tar archive, plain or packed with gzip, bzip2, xz or zstd");
    if (!fs_read_all(fd, DF_MAX_SIZE, &b->text, b->e)) {
        b->e->kind = ERR_DOCKERFILE;
        return err_wrap(b->e, "it is no tar archive, and for a Dockerfile it is too long");
    }
    if (!b->text.len || is_binary(&b->text))
        return err_set(b->e, ERR_USAGE, "it is %s: neither a tar archive nor a Dockerfile",
                       b->text.len ? "no text" : "empty");
    return true;
}

/*
 * Read `in` to its end, into the file `out`, or into `text` where that is -1. Whoever writes it may
 * take his time, and a signal ends the wait. `shown` is its name in messages.
 */
static bool drain(Build *b, int in, const char *shown, int out, size_t max, Buf *text)
{
    for (;;) {
        struct pollfd p[2] = {{in, POLLIN, 0}, {cancel_fd(), POLLIN, 0}};
        char *at = buf_reserve(text, READ_CHUNK);
        if (!cancel_wanted() && poll(p, NELEM(p), -1) < 0 && errno != EINTR)
            return err_errno(b->e, ERR_USAGE, "wait for %s", shown);
        b->stopped_waiting = cancel_wanted();
        if (b->stopped_waiting)
            return err_set(b->e, ERR_STEP, "cancelled");
        ssize_t n = p[0].revents ? read(in, at, READ_CHUNK) : -1;
        if (n == 0)
            return true;
        if (n < 0 && p[0].revents && errno != EINTR && errno != EAGAIN)
            return err_errno(b->e, ERR_USAGE, "read %s", shown);
        if (n < 0)
            continue;
        text->len += (size_t)n;
        text->ptr[text->len] = 0;
        if (text->len > max)
            return err_set(b->e, ERR_DOCKERFILE, "%s: larger than the limit of %zu bytes", shown,
                           max);
        if (out >= 0 && !fs_write_all(out, at, (size_t)n, b->e))
            return err_wrap(b->e, "keep %s in store '%s'", shown, store_path(b->store));
        if (out >= 0)
            text->len = 0;
    }
}

/* stdin cannot be read twice: it is kept in a file that vanishes with us. */
static bool read_stdin(Build *b, Input *in)
{
    scoped(buf) Buf chunk = BUF_INIT;
    char tmp[STORE_TMP_MAX];
    Digest bytes;
    uint64_t size;
    if (!store_tmp(b->store, "stdin", tmp, b->e))
        return false;
    scoped(fd) int fd =
        openat(store_dirfd(b->store), tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(b->e, ERR_STORE, "create '%s/%s'", store_path(b->store), tmp);
    (void)unlinkat(store_dirfd(b->store), tmp, 0);
    if (!drain(b, STDIN_FILENO, "stdin", fd, SIZE_MAX, &chunk) || lseek(fd, 0, SEEK_SET) < 0 ||
        !digest_fd(fd, &bytes, &size, b->e) || lseek(fd, 0, SEEK_SET) < 0)
        return err_wrap(b->e, "context");
    return archive_or_text(b, fd, &bytes, in, true) || err_wrap(b->e, "context on stdin");
}

static bool read_url(Build *b, Input *in, bool may_be_text)
{
    SourceHttp req = {.url = in->spec, .name = "context"};
    SourceFile file;
    char dir[STORE_TMP_MAX];
    if (!source_http(b->store, b->arena, &req, &file, b->e))
        return false;
    store_snapshot_path(file.snapshot, dir);
    scoped(fd) int fd = openat(store_dirfd(b->store), arena_printf(b->arena, "%s/context", dir),
                               O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(b->e, ERR_STORE, "open '%s/context'", dir);
    return archive_or_text(b, fd, &file.digest, in, may_be_text) ||
           err_wrap(b->e, "context '%s'", in->spec);
}

static bool read_git(Build *b, Input *in)
{
    GitCommit commit;
    SnapshotId id;
    const char *keep = env_get(&b->plan_opts.build_args, "BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    bool yes = false;
    if (keep && *keep && !str_bool(keep, &yes))
        return err_set(b->e, ERR_USAGE, "BUILDKIT_CONTEXT_KEEP_GIT_DIR=%s: neither true nor false",
                       keep);
    if (keep && *keep && in->git.keep_git_dir == GIT_UNSAID)
        in->git.keep_git_dir = yes ? GIT_YES : GIT_NO;
    if (!source_git_resolve(b->store, b->arena, &in->git, &commit, b->e) ||
        !source_git(b->store, b->arena, &in->git, &commit, &id, b->e))
        return false;
    GitCommit *kept = NEW(b->arena, GitCommit);
    *kept = commit;
    in->commit = kept;
    return open_snapshot(b, id, in);
}

static bool open_named(Build *b, size_t i)
{
    Input *in = &b->named[i];
    bool ok = in->kind == INPUT_DIR   ? context_open(b->arena, in->spec, NULL, &in->context, b->e)
              : in->kind == INPUT_GIT ? read_git(b, in)
                                      : read_url(b, in, false);
    return (ok && keep(b, in)) || err_wrap(b->e, "--build-context %s", b->contexts[i].name);
}

/* ---- the Dockerfile ---- */

static bool parse_dockerfile(Build *b, const char *name)
{
    unsigned flags = b->any_syntax ? DF_ANY_SYNTAX : 0;
    uint64_t at = clock_ns();
    Str text = {buf_str(&b->text), b->text.len};
    bool ok = df_parse(b->arena, name, text, flags, &b->file, b->e);
    event_span(&b->env.sink, 0, "parse", at);
    return ok;
}

/* A hint for who misnamed the Dockerfile of a directory. */
static const char *other_place(Build *b)
{
    const char *file = file_option(b);
    if (!file)
        return " (name another with -f)";
    const char *inside = arena_printf(b->arena, "%s/%s", b->main.spec, file);
    if (*file == '/' || access(file, F_OK) == 0 || access(inside, F_OK) < 0)
        return "";
    return arena_printf(b->arena, " (-f counts from the current directory: did you mean '%s'?)",
                        inside);
}

/* From a directory of the caller's: any path that the caller can read. */
static bool read_beside(Build *b)
{
    const char *dir = b->main.spec, *file = file_option(b);
    struct stat st;
    if (!*dir || stat(dir, &st) < 0)
        return err_set(b->e, ERR_USAGE, "context '%s': %s", dir,
                       *dir ? strerror(errno) : "the name is empty; '.' is the current directory");
    if (!S_ISDIR(st.st_mode))
        return err_set(b->e, ERR_USAGE,
                       "context '%s' is not a directory: a Dockerfile is named with -f, and a tar "
                       "is given on stdin, with '-' as the context",
                       dir);
    b->dockerfile_path = file ? file : arena_printf(b->arena, "%s/Dockerfile", dir);
    if (!file && access(b->dockerfile_path, F_OK) < 0) {
        const char *lower = arena_printf(b->arena, "%s/dockerfile", dir);
        if (access(lower, F_OK) == 0)
            b->dockerfile_path = lower;
    }
    const char *shown = arena_printf(b->arena, "'%s'", b->dockerfile_path);
    scoped(fd) int fd = open(b->dockerfile_path, O_RDONLY | O_CLOEXEC); /* a pipe may be named */
    if (fd < 0)
        return err_set(b->e, ERR_DOCKERFILE, "Dockerfile: open %s: %s%s", shown, strerror(errno),
                       other_place(b));
    if (!drain(b, fd, shown, -1, DF_MAX_SIZE, &b->text)) {
        b->e->kind = ERR_DOCKERFILE;
        return err_wrap(b->e, "Dockerfile");
    }
    return parse_dockerfile(b, file ? file : path_base(b->dockerfile_path));
}

/* From a tree that came from elsewhere: a path inside it, and nowhere else. */
static bool read_inside(Build *b)
{
    const View *v = context_view(b->main.context);
    const char *name = file_option(b) ? file_option(b) : "Dockerfile";
    ViewNode node = {0};
    bool ok = view_lookup(v, name, VIEW_FOLLOW, &node, b->e);
    if (ok && !node.exists && !file_option(b)) {
        ok = view_lookup(v, "dockerfile", VIEW_FOLLOW, &node, b->e);
        name = node.exists ? "dockerfile" : name;
    }
    if (!ok) { /* its links lead nowhere */
        b->e->kind = ERR_DOCKERFILE;
        return err_wrap(b->e, "the context's Dockerfile");
    }
    scoped(fd) int fd = node.exists && S_ISREG(node.st.st_mode) ? view_open(v, &node) : -1;
    if (fd < 0)
        return err_set(b->e, ERR_DOCKERFILE, "%s: %s%s", name,
                       node.exists ? "no file that can be read" : "no such file in the context",
                       file_option(b) ? "" : " (name another with -f)");
    if (!fs_read_all(fd, DF_MAX_SIZE, &b->text, b->e)) {
        b->e->kind = ERR_DOCKERFILE;
        return err_wrap(b->e, "%s", name);
    }
    return parse_dockerfile(b, name);
}

bool inputs_read(Build *b)
{
    Input *in = &b->main;
    bool ok = in->kind == INPUT_STDIN ? read_stdin(b, in)
              : in->kind == INPUT_URL ? read_url(b, in, true)
              : in->kind == INPUT_GIT ? read_git(b, in)
                                      : true;
    if (!ok)
        return false;
    if (file_option(b) && !strcmp(file_option(b), "-"))
        return drain(b, STDIN_FILENO, "stdin", -1, DF_MAX_SIZE, &b->text)
                   ? parse_dockerfile(b, "<stdin>")
                   : err_wrap(b->e, "Dockerfile");
    if (in->kind == INPUT_DIR)
        return read_beside(b);
    if (in->context)
        return read_inside(b);
    return parse_dockerfile(b, in->kind == INPUT_STDIN ? "<stdin>" : path_base(in->spec));
}

/* ---- images and the plan ---- */

/* The stage that a name was meant for, when one is near. */
static const char *near_stage(Build *b, const char *name)
{
    const char **stages = NEW_N(b->arena, const char *, b->file.ninstr);
    size_t n = 0;
    for (size_t i = 0; i < b->file.ninstr; i++)
        if (b->file.instrs[i].kind == DF_FROM && b->file.instrs[i].u.from.stage)
            stages[n++] = b->file.instrs[i].u.from.stage;
    return df_suggest(name, stages, n);
}

/* Put the place that names an image in front of why it cannot be had. */
static bool at_name(Build *b, const char *name)
{
    const char *near = near_stage(b, name);
    if (near)
        err_wrap(b->e, "no stage is called '%s' (did you mean %s?)", name, near);
    for (size_t i = 0; i < b->file.ninstr; i++) {
        const DfInstr *in = &b->file.instrs[i];
        bool from = in->kind == DF_FROM && !strcmp(in->u.from.image.text, name);
        bool copy = in->kind == DF_COPY && in->u.copy.from && !strcmp(in->u.copy.from, name);
        if (from || copy)
            return err_wrap(b->e, "%s:%u", b->file.name, in->src.line);
    }
    return err_wrap(b->e, "%s", b->file.name);
}

/* The images of --build-context, as source_resolve() takes them. */
static StrList image_contexts(Build *b)
{
    StrList l = {0};
    for (size_t i = 0; i < b->ncontext; i++)
        if (b->named[i].kind == INPUT_IMAGE)
            strlist_add(b->arena, &l, b->opts->contexts.v[i]);
    return l;
}

/* Images that are resolved: those of all targets, as they share stages. */
typedef struct Bases {
    PlanBase *v;
    size_t n;
} Bases;

static bool is_known(const Bases *l, const char *name, const char *platform)
{
    for (size_t k = 0; k < l->n; k++)
        if (!strcmp(l->v[k].name, name) && !strcmp(l->v[k].platform, platform))
            return true;
    return false;
}

static bool add_base(Build *b, Bases *l, const char *name, const char *platform)
{
    StrList contexts = image_contexts(b);
    Platform want;
    if (!image_platform_parse(b->arena, platform, &want, b->e))
        return false;
    SourceOpts how = {&contexts, b->registry, b->opts->pull, &want, b->env.sink};
    l->v = arena_grow(b->arena, l->v, l->n, l->n + 1, sizeof *l->v);
    b->bases = arena_grow(b->arena, b->bases, l->n, l->n + 1, sizeof *b->bases);
    if (!source_resolve(b->store, b->arena, name, &how, &b->bases[l->n], b->e))
        return at_name(b, name);
    ImageConfig *config = NEW(b->arena, ImageConfig);
    *config = b->bases[l->n].config;
    l->v[l->n++] = (PlanBase){name, config, platform};
    return true;
}

/* ONBUILD triggers of a base can name images: ask until nothing new is named. */
static bool resolve_bases(Build *b, Bases *l)
{
    for (bool again = true; again;) {
        PlanImages all;
        if (!plan_images(b->arena, &b->file, &b->plan_opts, l->v, l->n, &all, b->e))
            return false;
        again = false;
        for (size_t i = 0; i < all.names.n; i++) {
            if (is_known(l, all.names.v[i], all.platforms.v[i]))
                continue;
            if (!add_base(b, l, all.names.v[i], all.platforms.v[i]))
                return false;
            again = true;
        }
    }
    return true;
}

static bool resolve_targets(Build *b, Bases *l)
{
    for (size_t i = 0; i < b->ntarget; i++) {
        b->plan_opts.target_platform = b->targets[i].platform;
        if (!resolve_bases(b, l))
            return false;
    }
    return true;
}

/* The plans of all targets as one, and of each what its image will be. */
static bool plan_targets(Build *b, const Bases *bases)
{
    b->plan_opts.many = b->ntarget > 1;
    for (size_t i = 0; i < b->ntarget; i++) {
        Target *t = &b->targets[i];
        Plan one;
        b->plan_opts.target_platform = t->platform;
        if (!plan_make(b->arena, &b->file, &b->plan_opts, bases->v, bases->n, &one, b->e))
            return false;
        t->planned = one.config;
        t->nhistory = one.nhistory;
        if (i) {
            plan_merge(b->arena, &b->plan, &one, &t->result, &t->history);
            continue;
        }
        b->plan = one;
        t->result = one.result;
        t->history = one.history;
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

/* Source: Dockerfile reference, "check" directive; the build argument counts over it. */
static bool tell_warnings(Build *b)
{
    const char *check = env_get(&b->plan_opts.build_args, "BUILDKIT_DOCKERFILE_CHECK");
    size_t n = 0;
    if (check && *check && !df_check(b->arena, check, &b->file.check, b->e)) {
        b->e->kind = ERR_USAGE;
        return err_wrap(b->e, "BUILDKIT_DOCKERFILE_CHECK");
    }
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

/* Only contexts that a step reads are opened. */
static bool open_used(Build *b)
{
    const Context **named = NEW_N(b->arena, const Context *, b->ncontext + 1);
    for (size_t i = 0; i < b->plan.nstep; i++) {
        const PlanStep *s = &b->plan.steps[i];
        size_t n = s->kind == STEP_COPY  ? s->u.copy.nsource
                   : s->kind == STEP_RUN ? s->u.run.nmount
                                         : 0;
        for (size_t k = 0; k < n; k++) {
            const PlanSource *p =
                s->kind == STEP_COPY ? &s->u.copy.sources[k] : &s->u.run.mounts[k].source;
            if (p->origin != PLAN_NAMED || b->named[p->index].context)
                continue;
            if (!open_named(b, p->index))
                return false;
            named[p->index] = b->named[p->index].context;
        }
    }
    b->env.named = named;
    return true;
}

bool inputs_plan(Build *b)
{
    uint64_t at = clock_ns();
    Bases bases = {0};
    if (!resolve_targets(b, &bases))
        return false;
    event_span(&b->env.sink, 0, "resolve images", at);
    at = clock_ns();
    if (!plan_targets(b, &bases) || !tell_warnings(b))
        return false;
    event_span(&b->env.sink, 0, "plan", at);
    if (b->main.kind == INPUT_DIR &&
        !context_open(b->arena, b->main.spec, b->dockerfile_path, &b->main.context, b->e))
        return false;
    if (b->main.context && !keep(b, &b->main))
        return false;
    b->env.context = b->main.context;
    b->env.bases = b->bases;
    b->env.scope = arena_printf(
        b->arena, "%s\n%s", b->main.context ? context_dir(b->main.context, b->arena) : b->main.spec,
        b->file.name);
    return open_used(b);
}

static bool save(Build *b, Input *in, Err *e)
{
    char tmp[STORE_TMP_MAX];
    bool fresh;
    if (!in->index)
        return true;
    if (!store_tmp(b->store, "index", tmp, e) || !context_save(in->context, tmp, &fresh, e))
        return false;
    return !fresh ||
           store_use(b->store, in->index,
                     arena_printf(b->arena, "files of %s", context_dir(in->context, b->arena)), e);
}

void inputs_save(Build *b)
{
    Err e = ERR_INIT;
    bool ok = save(b, &b->main, &e);
    for (size_t i = 0; i < b->ncontext && ok; i++)
        ok = save(b, &b->named[i], &e);
    if (!ok) /* the next build reads all files again */
        event_send(&b->env.sink,
                   &(Event){.kind = EV_WARNING,
                            .text = arena_printf(b->arena, "files of the context: %s", e.msg)});
}

void inputs_done(Build *b)
{
    context_done(b->main.context);
    for (size_t i = 0; i < b->ncontext; i++)
        context_done(b->named[i].context);
    buf_done(&b->text);
}
