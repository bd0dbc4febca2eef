/*
 * unit/steps.h - steps of unit tests: a command in the sandbox, what it prints, what it leaves.
 *
 * Steps run as they do in lighter: the test program executes itself as the sandbox's child. Their
 * image is the machine's /usr (which has bin and lib where a root has them) below a directory of
 * ours. Everything runs twice: as root, and as root of a user namespace, which is what mode
 * rootless is.
 */
#ifndef UNIT_STEPS_H
#define UNIT_STEPS_H

#include "testing.h"

#include <sched.h>
#include <sys/wait.h>

#include "sandbox/sandbox.h"

static bool in_userns;

enum { MAX_MOUNTS = 8 };

typedef struct Place {
    Scratch store;
    Arena arena;
    SandboxSpec spec;
    SandboxMount m[MAX_MOUNTS];
    Buf out;
    unsigned nrun;
    const char *sought;   /* looked for in the store while the step runs */
    bool found, searched; /* while it ran */
} Place;

static inline void scoped_place_done(Place *p)
{
    scoped_scratch_done(&p->store);
    arena_done(&p->arena);
    scoped_buf_done(&p->out);
}

static inline Place place_new(void)
{
    Place p = {.store = scratch_new(), .out = BUF_INIT};
    make_dir(p.store.fd, "base");
    make_dir(p.store.fd, "base/old");
    make_dir(p.store.fd, "base/etc"); /* in a user namespace, one of /usr could not be written to */
    strlist_add(&p.arena, &p.spec.lowers, "base");
    strlist_add(&p.arena, &p.spec.lowers, "/usr");
    return p;
}

static inline SandboxMount *mount_add(Place *p, SandboxMountKind kind, const char *target)
{
    SandboxMount *m = &p->m[p->spec.nmount++];
    assert_true(p->spec.nmount <= MAX_MOUNTS);
    *m = (SandboxMount){.kind = kind, .target = target};
    return m;
}

static inline SandboxMount *bind_add(Place *p, const char *source, const char *target,
                                     bool readonly)
{
    SandboxMount *m = mount_add(p, SANDBOX_BIND, target);
    m->source = source;
    m->readonly = readonly;
    return m;
}

static inline SandboxMount *file_add(Place *p, const char *target, const char *text, uint32_t mode)
{
    SandboxMount *m = mount_add(p, SANDBOX_FILE, target);
    m->bytes = text;
    m->size = strlen(text);
    m->mode = mode;
    return m;
}

/* Whether any file below the store holds the text. */
static inline bool store_holds(const Place *p, const char *text)
{
    char command[256];
    (void)snprintf(command, sizeof command, "grep -rqF '%s' '%s'", text, p->store.path);
    return system(command) == 0;
}

static inline void take(void *arg, const char *bytes, size_t n)
{
    Place *p = arg;
    buf_add(&p->out, bytes, n);
    if (p->sought && !p->searched) {
        p->found = store_holds(p, p->sought);
        p->searched = true;
    }
}

static inline bool try_run(Place *p, const char *script, SandboxEnd *ret, Err *e)
{
    SandboxOutput out = {take, p};
    const char *dir = arena_printf(&p->arena, "run%u", p->nrun++);
    p->spec.in_userns = in_userns;
    p->spec.storefd = p->store.fd;
    p->spec.mounts = p->m;
    p->spec.upper = arena_printf(&p->arena, "%s/upper", dir);
    p->spec.scratch = arena_printf(&p->arena, "%s/scratch", dir);
    p->spec.hostname = "unit";
    p->spec.cwd = "/";
    p->spec.user = p->spec.user ? p->spec.user : "";
    p->spec.argv = (StrList){0};
    make_dir(p->store.fd, dir);
    make_dir(p->store.fd, p->spec.upper);
    make_dir(p->store.fd, p->spec.scratch);
    strlist_add(&p->arena, &p->spec.argv, "/bin/sh");
    strlist_add(&p->arena, &p->spec.argv, "-c");
    strlist_add(&p->arena, &p->spec.argv, script);
    buf_done(&p->out);
    return sandbox_run(&p->spec, &out, ret, e);
}

/* Run a step that must succeed and print exactly this. */
static inline void prints(Place *p, const char *script, const char *want)
{
    SandboxEnd end;
    Err e = ERR_INIT;
    if (!try_run(p, script, &end, &e))
        fail_msg("%s: %s", script, e.msg);
    if (end.code || strcmp(buf_str(&p->out), want) != 0)
        fail_msg("%s: code %d, '%s'; wanted '%s'", script, end.code, buf_str(&p->out), want);
}

static inline void refused(Place *p, ErrKind kind, const char *part)
{
    SandboxEnd end;
    Err e = ERR_INIT;
    FAILS(try_run(p, "true", &end, &e), kind, part);
}

/* Whether `name` is in the upper of the last step. */
static inline bool in_upper(const Place *p, const char *name)
{
    scoped(arena) Arena a = {0};
    return exists(p->store.fd, arena_printf(&a, "%s/%s", p->spec.upper, name));
}

static inline void upper_has(const Place *p, const char *want)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf got = BUF_INIT;
    Err e = ERR_INIT;
    StrList names;
    int raw = -1;
    OK(fs_open_dir(p->store.fd, p->spec.upper, &raw, &e));
    scoped(fd) int fd = raw;
    OK(fs_list(&a, fd, &names, &e));
    for (size_t i = 0; i < names.n; i++)
        buf_printf(&got, "%s ", names.v[i]);
    assert_string_equal(buf_str(&got), want);
}

#define NOTHING "dev proc sys " /* docker's builder leaves these in an image that lacks them */

/* ---- both modes ---- */

static inline void map_ids(pid_t pid, const char *file)
{
    Err e = ERR_INIT;
    char path[64];
    static const char MAP[] = "0 100000 65536";
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    scoped(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || !fs_write_all(fd, MAP, sizeof MAP - 1, &e))
        print_message("skipped: user namespace: no id map\n");
}

/* In a child: what mode rootless enters, for root, who needs no newuidmap. */
static inline int run_in_userns(int (*run_all)(void))
{
    int ready[2] = {-1, -1}, go[2] = {-1, -1}, status = 1;
    char c = 0;
    if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWUSER) < 0)
            _exit(77);
        in_userns = true;
        (void)!write(ready[1], &c, 1);
        if (read(go[0], &c, 1) != 1 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
            _exit(77);
        exit(run_all());
    }
    close(ready[1]);
    if (read(ready[0], &c, 1) == 1) {
        map_ids(pid, "uid_map");
        map_ids(pid, "gid_map");
        (void)!write(go[1], &c, 1);
    }
    if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
        return 1;
    if (WEXITSTATUS(status) == 77)
        print_message("skipped: no user namespaces here\n");
    return WEXITSTATUS(status) == 77 ? 0 : WEXITSTATUS(status);
}

/* Run the tests in every mode this user has here; what main() returns. */
static inline int run_in_modes(int argc, char **argv, int (*run_all)(void))
{
    Err e = ERR_INIT;
    SandboxHost host;
    if (argc > 1 && !strcmp(argv[1], SANDBOX_CHILD_WORD))
        sandbox_child_main();
    if (access("/usr/bin/sh", X_OK) < 0 || access("/usr/lib", X_OK) < 0) {
        print_message("skipped: /usr is no image here\n");
        return 0;
    }
    if (!sandbox_host("auto", &host, &e) || !sandbox_enter(&host, &e)) {
        print_message("skipped: %s\n", e.msg);
        return 0;
    }
    in_userns = host.mode != MODE_ROOT;
    int failed = run_all();
    return in_userns ? failed : failed + run_in_userns(run_all);
}

#endif
