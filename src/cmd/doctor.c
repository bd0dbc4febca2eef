/*
 * cmd/doctor.c - `lighter doctor`: what this machine lets this user do, which mode follows from it,
 * what that mode costs, and what would give a better one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "cmd/cmd.h"

typedef struct DoctorOpts {
    bool json;
} DoctorOpts;

static const OptRow ROWS[] = {
    {"json", 0, OPT_BOOL, offsetof(DoctorOpts, json), NULL, "print a JSON object"},
};
static const OptTable TABLE = {"lighter doctor [OPTIONS]",
                               "what this machine can do, and what would give more", ROWS,
                               NELEM(ROWS), false};

/* Best first; `auto` takes them in this order. */
typedef struct ModeRow {
    SandboxMode mode;
    const char *name;
    const char *needs[3]; /* facts, all of them */
    const char *cost;
    const char *pod, *docker; /* what gives it in a container; NULL: what sandbox_host() says */
} ModeRow;

static const ModeRow MODES[] = {
    {MODE_ROOT,
     "root",
     {"root", "overlay"},
     "an overlay mount for every step; nothing is copied",
     "securityContext: {runAsUser: 0, capabilities: {add: [SYS_ADMIN]}, procMount: Unmasked}, and "
     "spec: {hostUsers: false}, which makes that root nobody outside",
     "docker run --cap-add SYS_ADMIN --security-opt apparmor=unconfined --security-opt "
     "systempaths=unconfined"},
    {MODE_ROOTLESS,
     "rootless",
     {"rootless", "overlay-userns"},
     "an overlay mount for every step, and a few milliseconds once a build for the id ranges; "
     "nothing is copied",
     NULL,
     NULL},
    {MODE_SINGLE,
     "single",
     {"userns", "overlay-userns", "seccomp-notify"},
     "an overlay mount for every step, and an answer to every call that asks who owns a file "
     "(--owners=fast leaves those out)",
     NULL,
     NULL},
    {MODE_CHROOT,
     "chroot",
     {"chroot"},
     "copies the root of a stage once and looks through it after every step; no /proc, no network "
     "of its own, and a step sees the container's processes",
     NULL,
     NULL},
};

typedef struct Doctor {
    Arena *a;
    SandboxFacts facts;
    const ModeRow *taken; /* NULL: none */
    const char *why;      /* why none, or why the one that is taken would fail */
    const ModeRow *better;
    const char *how;
} Doctor;

/* ---- looking ---- */

/* A new directory on the store's file system, or on the nearest one where we may write. */
static bool make_dir(Arena *a, char **ret, Err *e)
{
    char *path = store_default_path(a);
    for (;;) {
        char *dir = arena_printf(a, "%s/lighter-doctor-XXXXXX", path);
        if (mkdtemp(dir)) {
            *ret = dir;
            return true;
        }
        char *slash = strrchr(path, '/');
        if (!slash || slash == path)
            break;
        *slash = 0;
    }
    char *dir = arena_strdup(a, "/tmp/lighter-doctor-XXXXXX");
    *ret = dir;
    return mkdtemp(dir) || err_errno(e, ERR_ENV, "create '%s'", dir);
}

static void add_fact(Doctor *d, const char *name, const char *title, bool ok, const char *detail)
{
    *ARENA_PUSH(d->a, d->facts.v, d->facts.n, d->facts.cap) =
        (SandboxFact){name, title, ok, detail};
}

/* The names net/ looks for; it is loaded and nothing is asked of it. */
static void look_for_curl(Doctor *d)
{
    static const char *const NAMES[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (dlopen(NAMES[i], RTLD_LAZY | RTLD_LOCAL)) {
            add_fact(d, "libcurl", "libcurl", true, NAMES[i]);
            return;
        }
    add_fact(d, "libcurl", "libcurl", false,
             "needed for https and registries: install the package libcurl4");
}

static bool has_needs(const Doctor *d, const ModeRow *m, const char **ret_missing)
{
    for (size_t i = 0; i < NELEM(m->needs) && m->needs[i]; i++) {
        *ret_missing = m->needs[i];
        if (!sandbox_fact(&d->facts, m->needs[i]))
            return false;
    }
    return true;
}

static const char *fact_detail(const Doctor *d, const char *name)
{
    for (size_t i = 0; i < d->facts.n; i++)
        if (!strcmp(d->facts.v[i].name, name))
            return d->facts.v[i].detail;
    return "";
}

static bool in_pod(void)
{
    return getenv("KUBERNETES_SERVICE_HOST") != NULL;
}

static bool in_container(void)
{
    return in_pod() || access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0;
}

/* The command or line that gives a mode. */
static const char *how_to_get(Doctor *d, const ModeRow *m)
{
    SandboxHost h;
    Err e = ERR_INIT;
    const char *missing = "";
    if (m->mode == MODE_ROOT)
        return in_pod() ? m->pod : in_container() ? m->docker : "sudo lighter";
    if (!sandbox_fact(&d->facts, "userns-limits"))
        return fact_detail(d, "userns-limits");
    if (!sandbox_host(m->name, &h, &e))
        return arena_strdup(d->a, e.msg);
    return has_needs(d, m, &missing) ? "" : fact_detail(d, missing);
}

static void choose(Doctor *d)
{
    SandboxHost h;
    Err e = ERR_INIT;
    const char *missing = "";
    if (!sandbox_host("auto", &h, &e)) {
        d->why = arena_strdup(d->a, e.msg);
    } else {
        for (size_t i = 0; i < NELEM(MODES); i++)
            if (MODES[i].mode == h.mode)
                d->taken = &MODES[i];
        if (d->taken && !has_needs(d, d->taken, &missing))
            d->why = arena_printf(d->a, "mode %s cannot run a step: %s: %s", d->taken->name,
                                  missing, fact_detail(d, missing));
    }
    if (d->taken && !d->why && d->taken->mode == MODE_ROOT)
        return;
    bool root = geteuid() == 0, possible = d->taken && !d->why;
    /* A container's root is nearer to mode root than to ranges of ids. */
    SandboxMode next = !root ? MODE_ROOTLESS : !possible ? MODE_CHROOT : MODE_ROOT;
    if (possible && d->taken->mode == MODE_ROOTLESS)
        next = MODE_ROOT;
    else if (possible && d->taken->mode == MODE_SINGLE)
        next = MODE_ROOTLESS;
    for (size_t i = 0; i < NELEM(MODES); i++)
        if (MODES[i].mode == next)
            d->better = &MODES[i];
    d->how = how_to_get(d, d->better);
}

/* ---- telling ---- */

static void print_text(const Doctor *d)
{
    for (size_t i = 0; i < d->facts.n; i++) {
        const SandboxFact *f = &d->facts.v[i];
        printf("%-3s  %s%s%s\n", f->ok ? "yes" : "no", f->title, *f->detail ? ": " : "", f->detail);
    }
    if (d->why)
        printf("\nno build is possible: %s\n", d->why);
    else
        printf("\nmode: %s\n  %s\n", d->taken->name, d->taken->cost);
    if (d->better)
        printf("mode %s would be had by:\n  %s\n", d->better->name, d->how);
}

static void print_json(const Doctor *d)
{
    scoped(json) json_t *top = json_object();
    scoped(buf) Buf text = BUF_INIT;
    json_t *tried = json_array();
    for (size_t i = 0; i < d->facts.n; i++) {
        const SandboxFact *f = &d->facts.v[i];
        json_t *o = json_object();
        json_object_set_new(o, "name", json_string(f->name));
        json_object_set_new(o, "title", json_string(f->title));
        json_object_set_new(o, "ok", json_boolean(f->ok));
        json_object_set_new(o, "detail", json_string_lossy(f->detail));
        json_array_append_new(tried, o);
    }
    json_object_set_new(top, "tried", tried);
    json_object_set_new(top, "possible", json_boolean(!d->why));
    if (d->why) {
        json_object_set_new(top, "why", json_string_lossy(d->why));
    } else {
        json_object_set_new(top, "mode", json_string(d->taken->name));
        json_object_set_new(top, "cost", json_string(d->taken->cost));
    }
    if (d->better) {
        json_t *o = json_object();
        json_object_set_new(o, "mode", json_string(d->better->name));
        json_object_set_new(o, "how", json_string_lossy(d->how));
        json_object_set_new(top, "better", o);
    }
    json_text(top, &text);
    printf("%s\n", buf_str(&text));
}

static bool run(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const DoctorOpts *o = opts;
    Doctor d = {.a = a};
    Err ignored = ERR_INIT;
    char *dir = NULL;
    if (operands->n)
        return err_set(e, ERR_USAGE, "takes no arguments");
    if (!make_dir(a, &dir, e))
        return false;
    sandbox_probe(a, dir, &d.facts);
    fs_remove_tree(AT_FDCWD, dir, &ignored);
    look_for_curl(&d);
    choose(&d);
    if (o->json)
        print_json(&d);
    else
        print_text(&d);
    *ret_code = d.why ? ERR_ENV : 0;
    return true;
}

const Cmd CMD_DOCTOR = {"doctor", &TABLE, sizeof(DoctorOpts), run};
