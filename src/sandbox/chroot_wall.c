/*
 * sandbox/chroot_wall.c - whether mode chroot can be had, and the second wall around its root.
 */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "sandbox/chroot.h"

/* ---- which mode ---- */

/* Run a question in a child, so that its answer changes nothing here. */
static bool ask(bool (*question)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(question() ? 0 : 1);
    while (pid > 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool make_userns(void)
{
    return unshare(CLONE_NEWUSER) == 0;
}

bool chroot_userns_works(void)
{
    return ask(make_userns);
}

static bool do_chroot(void)
{
    gid_t none = 1;
    return chroot("/") == 0 && setgroups(1, &none) == 0 && setresgid(1, 1, 1) == 0 &&
           setresuid(1, 1, 1) == 0;
}

bool chroot_host(SandboxHost *ret, Err *e)
{
    static const struct {
        int cap;
        const char *name;
    } NEEDED[] = {{CAP_CHOWN, "CHOWN"},   {CAP_DAC_OVERRIDE, "DAC_OVERRIDE"},
                  {CAP_FOWNER, "FOWNER"}, {CAP_FSETID, "FSETID"},
                  {CAP_SETGID, "SETGID"}, {CAP_SETUID, "SETUID"},
                  {CAP_KILL, "KILL"},     {CAP_SYS_CHROOT, "SYS_CHROOT"}};
    if (geteuid() != 0)
        return err_set(e, ERR_ENV,
                       "mode chroot needs uid 0; in a container: securityContext: {runAsUser: 0}");
    for (size_t i = 0; i < NELEM(NEEDED); i++)
        if (!rights_have_cap(NEEDED[i].cap))
            return err_set(e, ERR_ENV,
                           "mode chroot needs CAP_%s, which a container has unless it was dropped: "
                           "securityContext: {capabilities: {add: [%s]}}",
                           NEEDED[i].name, NEEDED[i].name);
    if (!ask(do_chroot))
        return err_set(e, ERR_ENV, "mode chroot: the kernel refuses chroot or setuid to this user");
    *ret = (SandboxHost){.mode = MODE_CHROOT};
    return true;
}

bool chroot_instead(SandboxHost *ret, Err *e)
{
    Err why = ERR_INIT;
    if (chroot_host(ret, &why)) {
        *e = (Err)ERR_INIT;
        return true;
    }
    return geteuid() == 0 && err_wrap(e, "%s", why.msg);
}

/* ---- what /proc would have said ---- */

/* The Go installation whose bin/go this is; NULL when it is none. */
static const char *go_root(Arena *a, const char *program)
{
    char path[PATH_MAX];
    if (access(program, X_OK) < 0 || !realpath(program, path))
        return NULL;
    size_t n = strlen(path), tail = strlen("/bin/go");
    if (n <= tail || strcmp(path + n - tail, "/bin/go") != 0)
        return NULL;
    path[n - tail] = 0;
    const char *tool = arena_printf(a, "%s/pkg/tool", path);
    return access(tool, F_OK) == 0 ? arena_strdup(a, path) : NULL;
}

void chroot_env(Arena *a, StrList *env)
{
    const char *path = env_get(env, "PATH"), *root = NULL;
    if (env_get(env, "GOROOT") || !path)
        return;
    for (const char *p = path; *p && !root;) {
        size_t n = strcspn(p, ":");
        if (*p == '/')
            root = go_root(a, arena_printf(a, "%.*s/go", (int)n, p));
        p += n;
        p += *p == ':';
    }
    if (root)
        env_set(a, env, "GOROOT", root);
}

/* ---- Landlock ---- */

/* Its interface of ABI 6; Debian 12's headers stop before it. */
struct wall_attr {
    uint64_t handled_access_fs, handled_access_net, scoped;
};
enum {
    ABI_REFER = 2, /* before it, Landlock forbids all renames between directories */
    ABI_TRUNCATE = 3,
    ABI_IOCTL_DEV = 5,
    ABI_SCOPE = 6,
    SCOPES = 3, /* abstract sockets, signals */
};

int chroot_landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? (int)abi : 0;
}

/*
 * Everything below the root, nothing else. Signals, ptrace and abstract sockets end at it too; what
 * Landlock does not know of are modes and owners of files, and sockets that have a path.
 */
static bool landlock(Err *e)
{
    int abi = chroot_landlock_abi();
    unsigned nright = abi >= ABI_IOCTL_DEV ? 16 : abi >= ABI_TRUNCATE ? 15 : 14;
    struct wall_attr attr = {.handled_access_fs = (UINT64_C(1) << nright) - 1,
                             .scoped = abi >= ABI_SCOPE ? SCOPES : 0};
    if (abi < ABI_REFER)
        return true;
    scoped(fd) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    scoped(fd) int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    struct landlock_path_beneath_attr below = {.allowed_access = attr.handled_access_fs,
                                               .parent_fd = root};
    if (root < 0 || fd < 0 ||
        syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &below, 0) < 0 ||
        syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        return err_errno(e, ERR_ENV, "restrict the step by Landlock");
    return true;
}

bool chroot_wall(const SandboxSpec *spec, bool root, Err *e)
{
    bool admin = rights_have_cap(CAP_SYS_ADMIN);
    if (root && !admin && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(e, ERR_ENV, "set no_new_privs");
    if (rights_have_cap(CAP_SETPCAP) && !rights_drop_bounding(spec, e))
        return false;
    if (root || admin)
        return landlock(e) && rights_filter_calls(e);
    return true;
}
