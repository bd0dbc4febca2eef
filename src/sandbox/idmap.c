/*
 * sandbox/idmap.c - which mode this user can have, and the way into it.
 */
#include <errno.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/dump.h"
#include "base/fs.h"
#include "sandbox/chroot.h"
#include "sandbox/sandbox.h"
#include "sandbox/single.h"

enum { SUBID_MAX_SIZE = 4 << 20, MIN_RANGE = 1000 };

bool rights_real_root(void)
{
    scoped(buf) Buf map = BUF_INIT;
    Err ignored = ERR_INIT;
    unsigned inside = 1, outside = 1, count = 0;
    return geteuid() == 0 && fs_read_file(AT_FDCWD, "/proc/self/uid_map", 4096, &map, &ignored) &&
           sscanf(buf_str(&map), "%u %u %u", &inside, &outside, &count) == 3 && !inside &&
           !outside && count == UINT32_MAX;
}

bool rights_have_cap(int cap)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &head, data) < 0)
        return false;
    return data[cap / 32].effective >> (cap % 32) & 1;
}

static const char *user_name(Arena *a)
{
    char space[4096];
    struct passwd pw, *found = NULL;
    if (getpwuid_r(getuid(), &pw, space, sizeof space, &found) == 0 && found)
        return arena_strdup(a, found->pw_name);
    return arena_printf(a, "%u", (unsigned)getuid());
}

/* The largest range of this user in /etc/subuid or /etc/subgid. Source: subuid(5). */
static bool find_range(Arena *a, const char *file, const char *name, SubRange *ret)
{
    scoped(buf) Buf text = BUF_INIT;
    Err ignored = ERR_INIT;
    char *save = NULL, *uid = arena_printf(a, "%u", (unsigned)getuid());
    *ret = (SubRange){0};
    if (!fs_read_file(AT_FDCWD, file, SUBID_MAX_SIZE, &text, &ignored) || !text.ptr)
        return false;
    for (char *line = strtok_r(text.ptr, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        uint64_t start, count;
        char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;
        if (!second)
            continue;
        *first = *second = 0;
        if ((strcmp(line, name) != 0 && strcmp(line, uid) != 0) ||
            !str_u64(first + 1, UINT32_MAX, &start) || !str_u64(second + 1, UINT32_MAX, &count))
            continue;
        if (count > ret->count)
            *ret = (SubRange){(uint32_t)start, (uint32_t)count};
    }
    return ret->count >= MIN_RANGE;
}

static bool executable(const char *dir, size_t n, const char *program,
                       char path[static PROGRAM_PATH_MAX])
{
    return n &&
           snprintf(path, PROGRAM_PATH_MAX, "%.*s/%s", (int)n, dir, program) < PROGRAM_PATH_MAX &&
           access(path, X_OK) == 0;
}

bool program_find(const char *program, char path[static PROGRAM_PATH_MAX])
{
    static const char *const DIRS[] = {"/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"};
    const char *list = getenv("PATH");
    for (const char *p = list ? list : ""; *p;) {
        size_t n = strcspn(p, ":");
        if (executable(p, n, program, path))
            return true;
        p += n;
        p += *p == ':';
    }
    for (size_t i = 0; i < NELEM(DIRS); i++)
        if (executable(DIRS[i], strlen(DIRS[i]), program, path))
            return true;
    return false;
}

static bool userns_allowed(void)
{
    scoped(buf) Buf text = BUF_INIT;
    Err ignored = ERR_INIT;
    return !fs_read_file(AT_FDCWD, "/proc/sys/user/max_user_namespaces", 64, &text, &ignored) ||
           strtol(buf_str(&text), NULL, 10) > 0;
}

static bool rootless_host(SandboxHost *h, Err *e)
{
    scoped(arena) Arena a = {0};
    const char *name = user_name(&a);
    char path[PROGRAM_PATH_MAX];
    h->mode = MODE_ROOTLESS;
    if (!userns_allowed())
        return err_set(e, ERR_ENV,
                       "mode rootless: user namespaces are switched off; as root: sysctl -w "
                       "user.max_user_namespaces=10000");
    if (!program_find("newuidmap", path) || !program_find("newgidmap", path))
        return err_set(
            e, ERR_ENV,
            "mode rootless: newuidmap and newgidmap are missing; as root: apt-get install uidmap");
    if (!find_range(&a, "/etc/subuid", name, &h->uids) ||
        !find_range(&a, "/etc/subgid", name, &h->gids))
        return err_set(
            e, ERR_ENV,
            "mode rootless: user '%s' has no range of ids in /etc/subuid and /etc/subgid; as root: "
            "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s",
            name, name);
    return true;
}

bool sandbox_host(const char *isolation, SandboxHost *ret, Err *e)
{
    SandboxHost h = {.mode = MODE_ROOT, .nested = !rights_real_root()};
    bool any = !strcmp(isolation, "auto") || !strcmp(isolation, "default"); /* docker's word */
    bool root = geteuid() == 0 && rights_have_cap(CAP_SYS_ADMIN);
    bool single = !strcmp(isolation, "single");
    if (!strcmp(isolation, "chroot"))
        return chroot_host(ret, e);
    if (!any && !single && strcmp(isolation, "root") != 0 && strcmp(isolation, "rootless") != 0)
        return err_set(e, ERR_USAGE,
                       "--isolation=%s: expected auto, root, rootless, single or chroot",
                       isolation);
    if (!strcmp(isolation, "root") && !root)
        return err_set(
            e, ERR_ENV,
            "--isolation=root needs root with CAP_SYS_ADMIN; use rootless or run as root");
    if (single || !(root && strcmp(isolation, "rootless") != 0)) {
        Err none = ERR_INIT;
        if (single ? !single_host(&h, e) : !rootless_host(&h, e)) {
            /* What stands in the way of `rootless` is what the user is told. */
            if (!any)
                return false;
            if (!single_host(&h, &none))
                return chroot_instead(ret, e);
            *e = (Err)ERR_INIT;
        }
    }
    if (any && !root && geteuid() == 0 && !chroot_userns_works() && chroot_host(ret, e))
        return true;
    *ret = h;
    return true;
}

bool sandbox_in_userns(const SandboxHost *h)
{
    return h->mode != MODE_ROOT || h->nested;
}

char *sandbox_owners(Arena *a, const SandboxHost *h)
{
    if (h->mode == MODE_ROOT) /* which ids those are outside may differ from pod to pod */
        return arena_strdup(a, h->nested ? "root of a user namespace" : "root");
    if (h->mode == MODE_CHROOT) /* real owners too, but other marks of opaque directories */
        return arena_strdup(a, "chroot");
    if (h->mode == MODE_SINGLE)
        return arena_printf(a, "single %u", (unsigned)getuid());
    return arena_printf(a, "rootless %u %u:%u %u:%u", (unsigned)getuid(), h->uids.start,
                        h->uids.count, h->gids.start, h->gids.count);
}

/* Run newuidmap or newgidmap on `pid`: our own id to 0, the range to 1 and up. */
static pid_t start_map(const char *program, pid_t pid, unsigned own, SubRange r)
{
    char p[16], o[16], s[16], c[16], path[PROGRAM_PATH_MAX];
    (void)snprintf(p, sizeof p, "%d", (int)pid);
    (void)snprintf(o, sizeof o, "%u", own);
    (void)snprintf(s, sizeof s, "%u", r.start);
    (void)snprintf(c, sizeof c, "%u", r.count);
    pid_t child = fork();
    if (child == 0) {
        if (program_find(program, path))
            execl(path, program, p, "0", o, "1", "1", s, c, (char *)NULL);
        _exit(127);
    }
    return child;
}

static bool map_done(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/*
 * In the helper: wait for the namespace, map both kinds of ids at once, and tell by the exit code.
 */
static _Noreturn void map_helper(int go, pid_t pid, unsigned uid, unsigned gid,
                                 const SandboxHost *h)
{
    char c;
    if (read(go, &c, 1) != 1)
        _exit(1);
    pid_t u = start_map("newuidmap", pid, uid, h->uids);
    pid_t g = start_map("newgidmap", pid, gid, h->gids);
    bool ok = map_done(u);
    ok = map_done(g) && ok;
    _exit(ok ? 0 : 1);
}

static bool rootless_enter(const SandboxHost *h, Err *e)
{
    int go[2];
    unsigned uid = getuid(), gid = getgid();
    if (pipe2(go, O_CLOEXEC) < 0)
        return err_errno(e, ERR_ENV, "pipe");
    pid_t pid = getpid(), helper = fork();
    if (helper == 0) {
        close(go[1]);
        map_helper(go[0], pid, uid, gid, h);
    }
    close(go[0]);
    bool ok = helper > 0 && unshare(CLONE_NEWUSER) == 0;
    if (!ok)
        err_errno(e, ERR_ENV, "mode rootless: make a user namespace");
    else
        (void)!write(go[1], "g", 1);
    close(go[1]);
    bool mapped = helper > 0 && map_done(helper);
    if (!ok)
        return false;
    if (!mapped)
        return err_set(e, ERR_ENV,
                       "mode rootless: newuidmap or newgidmap refused the range of /etc/subuid");
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return err_errno(e, ERR_ENV, "mode rootless: become root of the namespace");
    return true;
}

bool sandbox_enter(const SandboxHost *h, Err *e)
{
    if (h->mode == MODE_ROOT || h->mode == MODE_CHROOT)
        return true;
    bool forbidden = dump_allow();
    bool ok = h->mode == MODE_SINGLE ? single_enter(e) : rootless_enter(h, e);
    dump_restore(forbidden); /* also so that /proc/self stays ours after the change of ids */
    return ok;
}
