/*
 * sandbox/ulimit.c - limits of a command by docker's names.
 */
#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "sandbox/spec.h"

/* Source: docker/go-units, ulimit.go. */
static const struct {
    const char *name;
    int resource;
} NAMES[] = {
    {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},         {"fsize", RLIMIT_FSIZE},
    {"locks", RLIMIT_LOCKS},       {"memlock", RLIMIT_MEMLOCK},
    {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},     {"nproc", RLIMIT_NPROC},
    {"rss", RLIMIT_RSS},           {"rtprio", RLIMIT_RTPRIO},
    {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
};

static const char *name_of(int resource)
{
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (NAMES[i].resource == resource)
            return NAMES[i].name;
    return "?";
}

/* A number, or -1 for no limit. */
static bool value(const char *text, uint64_t *ret)
{
    if (!strcmp(text, "-1")) {
        *ret = RLIM_INFINITY;
        return true;
    }
    return str_u64(text, INT64_MAX, ret);
}

static void show(uint64_t v, char out[static 24])
{
    if (v == RLIM_INFINITY)
        (void)snprintf(out, 24, "-1");
    else
        (void)snprintf(out, 24, "%llu", (unsigned long long)v);
}

char *sandbox_ulimit_text(Arena *a, const SandboxUlimit *u)
{
    char soft[24], hard[24];
    show(u->soft, soft);
    show(u->hard, hard);
    return arena_printf(a, "%s=%s:%s", name_of(u->resource), soft, hard);
}

bool sandbox_ulimit_parse(Arena *a, const char *text, SandboxUlimit *ret, Err *e)
{
    const char *eq = strchr(text, '=');
    SandboxUlimit u = {.resource = -1};
    if (!eq || eq == text)
        return err_set(e, ERR_USAGE, "--ulimit '%s': expected TYPE=SOFT[:HARD]", text);
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (str_eq((Str){text, (size_t)(eq - text)}, NAMES[i].name))
            u.resource = NAMES[i].resource;
    if (u.resource < 0)
        return err_set(e, ERR_USAGE,
                       "--ulimit %s: unknown type '%.*s': core, cpu, data, fsize, locks, memlock, "
                       "msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending and stack "
                       "are known",
                       text, (int)(eq - text), text);
    char *soft = arena_strdup(a, eq + 1), *hard = strchr(soft, ':');
    if (hard)
        *hard++ = 0;
    if (!value(soft, &u.soft) || !value(hard ? hard : soft, &u.hard))
        return err_set(e, ERR_USAGE,
                       "--ulimit %s: expected TYPE=SOFT[:HARD] with numbers, -1 for no limit",
                       text);
    if (u.soft > u.hard)
        return err_set(e, ERR_USAGE, "--ulimit %s: the soft limit is above the hard one", text);
    *ret = u;
    return true;
}

bool ulimits_set(const SandboxShape *s, Err *e)
{
    for (size_t i = 0; i < s->nulimit; i++) {
        const SandboxUlimit *u = &s->ulimits[i];
        struct rlimit now, want = {.rlim_cur = u->soft, .rlim_max = u->hard};
        char hard[24] = "?", text[24];
        if (setrlimit((__rlimit_resource_t)u->resource, &want) == 0)
            continue;
        int why = errno;
        if (getrlimit((__rlimit_resource_t)u->resource, &now) == 0)
            show(now.rlim_max, hard);
        show(u->hard, text);
        if (why == EPERM)
            return err_set(e, ERR_ENV,
                           "--ulimit %s: a hard limit of %s is above lighter's own, which is %s: "
                           "raise that ('ulimit -H', limits.conf) or ask for less",
                           name_of(u->resource), text, hard);
        errno = why;
        return err_errno(e, ERR_ENV, "--ulimit %s", name_of(u->resource));
    }
    return true;
}

/* In a child, for what is lowered cannot be raised again. */
bool sandbox_check_ulimits(const SandboxShape *s, Err *e)
{
    Err why = ERR_INIT;
    int p[2], status;
    if (!s->nulimit)
        return true;
    if (pipe2(p, O_CLOEXEC) < 0)
        return err_errno(e, ERR_ENV, "pipe");
    scoped(fd) int from = p[0];
    pid_t child = fork();
    if (child == 0) {
        if (!ulimits_set(s, &why))
            (void)!write(p[1], &why, sizeof why);
        _exit(0);
    }
    close(p[1]);
    if (child < 0)
        return err_errno(e, ERR_ENV, "fork");
    ssize_t n = read(from, &why, sizeof why);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return n != (ssize_t)sizeof why || err_set(e, why.kind, "%s", why.msg);
}
