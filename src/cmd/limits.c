/*
 * cmd/limits.c - the words of options that limit a command, as the sandbox takes them.
 */
#include "cmd/limits.h"

#include <ctype.h>
#include <stdlib.h>

/* docker takes nothing below it: no process starts in less. */
enum { MEMORY_MIN = 6 << 20, PERIOD_US = 100000 };

static bool read_memory(const LimitOpts *o, SandboxLimits *l, Err *e)
{
    if (o->memory && (!str_ram_size(o->memory, &l->memory) || l->memory < MEMORY_MIN))
        return err_set(e, ERR_USAGE, "--memory %s: expected a size of 6m at least, as 512m",
                       o->memory);
    if (!o->memory_swap)
        return true;
    if (!o->memory)
        return err_set(e, ERR_USAGE, "--memory-swap %s: needs --memory too", o->memory_swap);
    if (!strcmp(o->memory_swap, "-1"))
        l->memory_swap = SANDBOX_UNLIMITED;
    else if (!str_ram_size(o->memory_swap, &l->memory_swap) || l->memory_swap < l->memory)
        return err_set(e, ERR_USAGE,
                       "--memory-swap %s: expected a size not below --memory, or -1 for no limit",
                       o->memory_swap);
    return true;
}

static bool number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
                   Err *e)
{
    if (!text || (str_u64(text, max, ret) && *ret >= min))
        return true;
    return err_set(e, ERR_USAGE, "--%s %s: expected a number from %llu to %llu", option, text,
                   (unsigned long long)min, (unsigned long long)max);
}

/* "1.5" processors as microseconds of each period. */
static bool read_cpus(const LimitOpts *o, SandboxLimits *l, Err *e)
{
    enum { MAX_CPUS = 10000 };
    char *end;
    if (!o->cpus)
        return true;
    if (o->cpu_period || o->cpu_quota)
        return err_set(e, ERR_USAGE, "--cpus %s: it is --cpu-quota in another form; give one",
                       o->cpus);
    double n = isdigit((unsigned char)o->cpus[0]) || o->cpus[0] == '.' ? strtod(o->cpus, &end) : 0;
    if (n < 0.01 || n > MAX_CPUS || *end)
        return err_set(e, ERR_USAGE, "--cpus %s: expected a number of processors, as 1.5", o->cpus);
    l->cpu_period_us = PERIOD_US;
    l->cpu_quota_us = (uint64_t)(n * PERIOD_US + 0.5);
    return true;
}

/* Source: runc, ConvertCPUSharesToCgroupV2Value. */
static uint64_t weight(uint64_t shares)
{
    return 1 + (shares - 2) * 9999 / 262142;
}

static bool read_cpu(const LimitOpts *o, SandboxLimits *l, Err *e)
{
    uint64_t shares = 0;
    if (!number("cpu-shares", o->cpu_shares, 2, 262144, &shares, e) ||
        !number("cpu-period", o->cpu_period, 1000, 1000000, &l->cpu_period_us, e) ||
        !number("cpu-quota", o->cpu_quota, 1000, INT64_MAX, &l->cpu_quota_us, e))
        return false;
    l->cpu_weight = shares ? weight(shares) : 0;
    return read_cpus(o, l, e);
}

/* "0-3,7" */
static bool list(const char *option, const char *text, Err *e)
{
    bool ok = !text || isdigit((unsigned char)*text);
    for (const char *p = text ? text : ""; ok && *p; p++)
        ok = isdigit((unsigned char)*p) || (strchr(",-", *p) && isdigit((unsigned char)p[1]));
    return ok || err_set(e, ERR_USAGE, "--%s %s: expected a list as 0-3,7", option, text);
}

static bool read_pids(const LimitOpts *o, SandboxLimits *l, Err *e)
{
    if (o->pids && (!strcmp(o->pids, "-1") || !strcmp(o->pids, "0")))
        l->pids = SANDBOX_UNLIMITED;
    else if (o->pids && (!str_u64(o->pids, 1 << 22, &l->pids) || !l->pids))
        return err_set(e, ERR_USAGE, "--pids-limit %s: expected a number, -1 for no limit",
                       o->pids);
    return true;
}

bool limits_read(const LimitOpts *o, SandboxLimits *ret, Err *e)
{
    SandboxLimits l = {.cpus = o->cpuset_cpus, .mems = o->cpuset_mems, .parent = o->parent};
    if (!read_memory(o, &l, e) || !read_cpu(o, &l, e) || !read_pids(o, &l, e) ||
        !list("cpuset-cpus", o->cpuset_cpus, e) || !list("cpuset-mems", o->cpuset_mems, e))
        return false;
    if (o->parent && (!*o->parent || strstr(o->parent, "..")))
        return err_set(e, ERR_USAGE, "--cgroup-parent '%s': expected the path of a control group",
                       o->parent);
    if (o->parent && !sandbox_limits_any(&l))
        l.pids = SANDBOX_UNLIMITED; /* nothing else says that there is to be a group */
    if (!sandbox_limits_begin(&l, e))
        return false;
    *ret = l;
    return true;
}
