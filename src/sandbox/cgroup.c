/*
 * sandbox/cgroup.c - limits of commands by cgroup v2.
 *
 * Everything a process of ours may do in the hierarchy follows from one directory, the parent, in
 * which each command gets a group of its own. It is found or made once, by trying; a limit that
 * cannot be held is an error that names the way to it, never left out.
 */
#include "sandbox/cgroup.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/fs.h"

#define GROUP_PREFIX "lighter-"

enum { CONTROL_MAX = 64 << 10, PROCS_MAX = 4 << 20, REMOVE_TRIES = 100, REMOVE_PAUSE_US = 1000 };

/* The directory that holds the groups of this process' commands. */
static struct {
    pthread_mutex_t lock;
    int fd; /* -1 before sandbox_limits_begin() */
    unsigned next;
} parent = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

bool sandbox_limits_any(const SandboxLimits *l)
{
    return l && (l->memory || l->memory_swap || l->cpu_quota_us || l->cpu_period_us ||
                 l->cpu_weight || l->cpus || l->mems || l->pids);
}

/* ---- control files ---- */

static bool write_control(int dir, const char *file, const char *text)
{
    scoped(fd) int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static const char *read_control(Arena *a, int dir, const char *file)
{
    scoped(buf) Buf text = BUF_INIT;
    Err ignored = ERR_INIT;
    return fs_read_file(dir, file, CONTROL_MAX, &text, &ignored) ? arena_strdup(a, buf_str(&text))
                                                                 : "";
}

/* Whether a list separated by blanks has this word. */
static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ' ' || p[n] == '\n'))
            return true;
    return false;
}

/* ---- the hierarchy ---- */

typedef struct Hierarchy {
    Arena *a;
    const char *mount; /* where cgroup v2 is mounted */
    const char *own;   /* the directory of this process' group; NULL: not below the mount */
    StrList wanted;    /* controllers */
    const char *missing;
} Hierarchy;

static void want_controllers(Hierarchy *h, const SandboxLimits *l)
{
    if (l->memory || l->memory_swap)
        strlist_add(h->a, &h->wanted, "memory");
    if (l->cpu_quota_us || l->cpu_period_us || l->cpu_weight)
        strlist_add(h->a, &h->wanted, "cpu");
    if (l->cpus || l->mems)
        strlist_add(h->a, &h->wanted, "cpuset");
    if (l->pids)
        strlist_add(h->a, &h->wanted, "pids");
}

/* Whether all wanted controllers are in a list; the first that is not is `missing`. */
static bool all_in(Hierarchy *h, const char *list)
{
    for (size_t i = 0; i < h->wanted.n; i++)
        if (!has_word(list, h->wanted.v[i])) {
            h->missing = h->wanted.v[i];
            return false;
        }
    return true;
}

/* Source: proc(5), mountinfo: "36 35 0:31 /root /mount opts [tags] - type source super". */
static bool find_mount(Hierarchy *h, const char **ret_root)
{
    const char *text = read_control(h->a, AT_FDCWD, "/proc/self/mountinfo");
    char *save = NULL, *copy = arena_strdup(h->a, text);
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char root[1024], mount[1024];
        const char *type = strstr(line, " - ");
        if (!type || !str_starts(type, " - cgroup2 ") ||
            sscanf(line, "%*s %*s %*s %1023s %1023s", root, mount) != 2)
            continue;
        *ret_root = arena_strdup(h->a, root);
        h->mount = arena_strdup(h->a, mount);
        return true;
    }
    return false;
}

static void find_own(Hierarchy *h, const char *root)
{
    const char *text = read_control(h->a, AT_FDCWD, "/proc/self/cgroup");
    const char *line = str_starts(text, "0::") ? text : strstr(text, "\n0::");
    if (!line)
        return;
    line = strstr(line, "0::") + 3;
    const char *path = arena_strndup(h->a, line, strcspn(line, "\n"));
    size_t n = strcmp(root, "/") != 0 ? strlen(root) : 0;
    if (!strncmp(path, root, n) && !strstr(path, "/.."))
        h->own = arena_printf(h->a, "%s%s", h->mount, path + n);
}

/* ---- the parent ---- */

/* Give the children of `dir` the controllers. */
static bool enable(Hierarchy *h, int dir)
{
    for (size_t i = 0; i < h->wanted.n; i++)
        if (!write_control(dir, "cgroup.subtree_control",
                           arena_printf(h->a, "+%s", h->wanted.v[i])))
            return false;
    return true;
}

/* What builds left that were killed; a group with processes in it stays. */
static void sweep(Hierarchy *h, int dir)
{
    StrList names;
    Err ignored = ERR_INIT;
    if (!fs_list(h->a, dir, &names, &ignored))
        return;
    for (size_t i = 0; i < names.n; i++)
        if (str_starts(names.v[i], GROUP_PREFIX))
            (void)unlinkat(dir, names.v[i], AT_REMOVEDIR);
}

/* Take a directory whose children have the controllers, if a child can be made. */
static bool take(Hierarchy *h, int dir)
{
    char probe[48];
    if (!all_in(h, read_control(h->a, dir, "cgroup.subtree_control")))
        return false;
    sweep(h, dir);
    (void)snprintf(probe, sizeof probe, GROUP_PREFIX "%d-probe", (int)getpid());
    if (mkdirat(dir, probe, 0755) < 0)
        return false;
    (void)unlinkat(dir, probe, AT_REMOVEDIR);
    parent.fd = dir;
    return true;
}

static bool take_path(Hierarchy *h, const char *path)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0 && take(h, dir))
        return true;
    if (dir >= 0)
        close(dir);
    return false;
}

/* A group below `above`, made if need be, whose children have the controllers. */
static bool take_below(Hierarchy *h, const char *above, const char *name)
{
    scoped(fd) int top = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0 || !all_in(h, read_control(h->a, top, "cgroup.controllers")))
        return false;
    if (!all_in(h, read_control(h->a, top, "cgroup.subtree_control")) && !enable(h, top))
        return false;
    if (mkdirat(top, name, 0755) < 0 && errno != EEXIST)
        return false;
    scoped(fd) int dir = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || !enable(h, dir) || !take(h, dir))
        return false;
    dir = -1; /* the parent's now */
    return true;
}

/*
 * A delegated group has processes in it, us among them, and a group with processes cannot give
 * controllers to its children: all of them move one level down, as the processes of a container
 * do. Source: cgroups(7), "no internal processes".
 */
static bool take_own(Hierarchy *h)
{
    scoped(fd) int dir = open(h->own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || !all_in(h, read_control(h->a, dir, "cgroup.controllers")) ||
        faccessat(dir, "cgroup.subtree_control", W_OK, AT_EACCESS) < 0)
        return false;
    if (mkdirat(dir, "processes", 0755) < 0 && errno != EEXIST)
        return false;
    scoped(buf) Buf procs = BUF_INIT;
    Err ignored = ERR_INIT;
    if (!fs_read_file(dir, "cgroup.procs", PROCS_MAX, &procs, &ignored))
        return false;
    char *save = NULL;
    for (char *pid = procs.len ? strtok_r(procs.ptr, "\n", &save) : NULL; pid;
         pid = strtok_r(NULL, "\n", &save))
        (void)write_control(dir, "processes/cgroup.procs", pid); /* it may have ended */
    if (!enable(h, dir) || !take(h, dir))
        return false;
    dir = -1;
    return true;
}

static bool is_real_root(const char *mount)
{
    scoped(arena) Arena a = {0};
    return access(arena_printf(&a, "%s/cgroup.type", mount), F_OK) < 0;
}

static bool no_hierarchy(Hierarchy *h, Err *e)
{
    for (size_t i = 0; i < h->wanted.n; i++)
        h->missing = h->missing ? h->missing : h->wanted.v[i];
    return err_set(
        e, ERR_ENV,
        "limits need cgroup v2 with the controller '%s', and this machine does not have "
        "it there: boot with systemd.unified_cgroup_hierarchy=1, or build without limits",
        h->missing);
}

static bool not_delegated(const Hierarchy *h, Err *e)
{
    if (geteuid() == 0)
        return err_set(
            e, ERR_ENV,
            "limits need a control group to write to, and '%s' is read-only here or gives "
            "no '%s' to its children: in a container, mount /sys/fs/cgroup read-write "
            "(docker run --cgroupns=private --privileged, or a pod with cgroup delegation)",
            h->mount, h->missing ? h->missing : h->wanted.v[0]);
    return err_set(
        e, ERR_ENV,
        "limits need the controller '%s' delegated to you: put 'systemd-run --user --scope "
        "-p Delegate=yes' before the command; where '%s' is not among what "
        "user@%u.service has, as root: systemctl set-property user@%u.service "
        "Delegate='cpu cpuset memory pids'",
        h->missing ? h->missing : h->wanted.v[0], h->missing ? h->missing : h->wanted.v[0],
        (unsigned)geteuid(), (unsigned)geteuid());
}

bool sandbox_limits_begin(const SandboxLimits *l, Err *e)
{
    scoped(arena) Arena a = {0};
    Hierarchy h = {.a = &a};
    const char *root = NULL;
    if (!sandbox_limits_any(l) || parent.fd >= 0)
        return true;
    want_controllers(&h, l);
    if (!find_mount(&h, &root) ||
        !all_in(&h, read_control(&a, AT_FDCWD, arena_printf(&a, "%s/cgroup.controllers", h.mount))))
        return no_hierarchy(&h, e);
    find_own(&h, root);
    if (l->parent) {
        const char *name = l->parent + strspn(l->parent, "/");
        return take_below(&h, h.mount, name) ||
               err_set(
                   e, ERR_ENV,
                   "--cgroup-parent %s: '%s/%s' cannot be made, or gives no '%s' to its children",
                   l->parent, h.mount, name, h.missing ? h.missing : h.wanted.v[0]);
    }
    /* The machine's own root keeps its tidy list: there, one group of ours has all others. */
    bool whole = is_real_root(h.mount);
    if (whole && geteuid() == 0 && take_below(&h, h.mount, "lighter"))
        return true;
    if (h.own && !(whole && !strcmp(path_clean(&a, h.own), h.mount)) &&
        (take_path(&h, h.own) || take_own(&h)))
        return true;
    return not_delegated(&h, e);
}

/* ---- one group ---- */

static bool set(const Cgroup *c, const char *file, const char *option, const char *value, Err *e)
{
    return write_control(c->fd, file, value) ||
           err_errno(e, ERR_ENV, "%s: write '%s' to %s", option, value, file);
}

static bool set_number(Arena *a, const Cgroup *c, const char *file, const char *option,
                       uint64_t value, Err *e)
{
    const char *text =
        value == SANDBOX_UNLIMITED ? "max" : arena_printf(a, "%llu", (unsigned long long)value);
    return set(c, file, option, text, e);
}

/* docker's rule: as much swap as memory, unless the sum of both is given. */
static bool set_memory(Arena *a, const Cgroup *c, const SandboxLimits *l, Err *e)
{
    uint64_t swap = l->memory_swap == SANDBOX_UNLIMITED ? SANDBOX_UNLIMITED
                    : l->memory_swap                    ? l->memory_swap - l->memory
                                                        : l->memory;
    if (!l->memory)
        return true;
    if (!set_number(a, c, "memory.max", "--memory", l->memory, e))
        return false;
    if (faccessat(c->fd, "memory.swap.max", F_OK, 0) < 0) /* a kernel without swap */
        return true;
    return set_number(a, c, "memory.swap.max", "--memory-swap", swap, e);
}

static bool set_cpu(Arena *a, const Cgroup *c, const SandboxLimits *l, Err *e)
{
    enum { DEFAULT_PERIOD_US = 100000 };
    uint64_t period = l->cpu_period_us ? l->cpu_period_us : DEFAULT_PERIOD_US;
    if (l->cpu_quota_us || l->cpu_period_us) {
        const char *quota =
            l->cpu_quota_us ? arena_printf(a, "%llu", (unsigned long long)l->cpu_quota_us) : "max";
        if (!set(c, "cpu.max", "--cpus",
                 arena_printf(a, "%s %llu", quota, (unsigned long long)period), e))
            return false;
    }
    return !l->cpu_weight || set_number(a, c, "cpu.weight", "--cpu-shares", l->cpu_weight, e);
}

static bool set_limits(const Cgroup *c, const SandboxLimits *l, Err *e)
{
    scoped(arena) Arena a = {0};
    return set_memory(&a, c, l, e) && set_cpu(&a, c, l, e) &&
           (!l->cpus || set(c, "cpuset.cpus", "--cpuset-cpus", l->cpus, e)) &&
           (!l->mems || set(c, "cpuset.mems", "--cpuset-mems", l->mems, e)) &&
           (!l->pids || set_number(&a, c, "pids.max", "--pids-limit", l->pids, e));
}

bool cgroup_new(const SandboxLimits *l, Cgroup *ret, Err *e)
{
    Cgroup c = CGROUP_NONE;
    if (!sandbox_limits_any(l))
        return true;
    if (!sandbox_limits_begin(l, e))
        return false;
    pthread_mutex_lock(&parent.lock);
    unsigned n = parent.next++;
    pthread_mutex_unlock(&parent.lock);
    (void)snprintf(c.name, sizeof c.name, GROUP_PREFIX "%d-%u", (int)getpid(), n);
    if (mkdirat(parent.fd, c.name, 0755) < 0)
        return err_errno(e, ERR_ENV, "make a control group");
    c.fd = openat(parent.fd, c.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c.fd < 0 || !set_limits(&c, l, e)) {
        bool said = c.fd >= 0;
        if (!said)
            err_errno(e, ERR_ENV, "open control group '%s'", c.name);
        cgroup_done(&c);
        return false;
    }
    *ret = c;
    return true;
}

uint64_t cgroup_oom(const Cgroup *c)
{
    scoped(arena) Arena a = {0};
    const char *text = c->fd < 0 ? "" : read_control(&a, c->fd, "memory.events");
    const char *line = strstr(text, "\noom_kill ");
    return line ? strtoull(line + strlen("\noom_kill "), NULL, 10) : 0;
}

/* Processes that are dead may still count for a moment. */
void cgroup_done(Cgroup *c)
{
    if (!c->name[0])
        return;
    if (c->fd >= 0)
        close(c->fd);
    for (int i = 0; i < REMOVE_TRIES; i++) {
        if (unlinkat(parent.fd, c->name, AT_REMOVEDIR) == 0 || errno != EBUSY)
            break;
        usleep(REMOVE_PAUSE_US);
    }
    *c = (Cgroup)CGROUP_NONE;
}
