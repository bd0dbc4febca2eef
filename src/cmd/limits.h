/*
 * cmd/limits.h - options that limit what commands take: `lighter build` has them for each of its
 * RUN steps, `lighter run` for its one command. Private to cmd.
 */
#ifndef CMD_LIMITS_H
#define CMD_LIMITS_H

#include "base/opt.h"
#include "sandbox/sandbox.h"

/* The options as they are given, a field of the command's own options. */
typedef struct LimitOpts {
    const char *memory, *memory_swap, *cpus, *cpu_shares, *cpu_period, *cpu_quota, *cpuset_cpus,
        *cpuset_mems, *pids, *parent;
} LimitOpts;

/* clang-format off */
/* Their rows in the table of a command whose options are a T with a LimitOpts `limits`. */
#define LIMIT_ROWS(T)                                                                              \
    {"memory", 'm', OPT_STRING, offsetof(T, limits.memory), "SIZE",                                \
     "memory a command may take, as 512m; over it the kernel kills a process of it"},              \
    {"memory-swap", 0, OPT_STRING, offsetof(T, limits.memory_swap), "SIZE",                        \
     "memory and swap together, -1 for no limit (default: twice --memory)"},                       \
    {"cpus", 0, OPT_STRING, offsetof(T, limits.cpus), "N", "processors' time, as 1.5"},            \
    {"cpu-shares", 'c', OPT_STRING, offsetof(T, limits.cpu_shares), "N",                           \
     "share of processors beside others (default 1024)"},                                          \
    {"cpu-period", 0, OPT_STRING, offsetof(T, limits.cpu_period), "US", "see --cpu-quota"},        \
    {"cpu-quota", 0, OPT_STRING, offsetof(T, limits.cpu_quota), "US",                              \
     "microseconds of processors' time in each --cpu-period (default 100000)"},                    \
    {"cpuset-cpus", 0, OPT_STRING, offsetof(T, limits.cpuset_cpus), "LIST",                        \
     "processors to run on, as 0-3,7"},                                                            \
    {"cpuset-mems", 0, OPT_STRING, offsetof(T, limits.cpuset_mems), "LIST", "memory nodes"},       \
    {"pids-limit", 0, OPT_STRING, offsetof(T, limits.pids), "N",                                   \
     "processes and threads at a time, -1 for no limit"},                                          \
    {"cgroup-parent", 0, OPT_STRING, offsetof(T, limits.parent), "PATH",                           \
     "make the commands' control groups below this one"}
/* clang-format on */

/*
 * limits_read - all of them, checked, and the control group found that holds them. No other thread
 * is alive. Fails with ERR_USAGE, or ERR_ENV where they cannot be held.
 */
NODISCARD bool limits_read(const LimitOpts *o, SandboxLimits *ret, Err *e);

#endif
