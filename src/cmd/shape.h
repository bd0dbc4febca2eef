/*
 * cmd/shape.h - options that shape a command in the sandbox: `lighter build` has them for all its
 * RUN steps, `lighter run` for its one command. Private to cmd.
 */
#ifndef CMD_SHAPE_H
#define CMD_SHAPE_H

#include "base/opt.h"
#include "sandbox/sandbox.h"

/* The options as they are given, a field of the command's own options. */
typedef struct ShapeOpts {
    StrList add_hosts, ulimits;
    const char *shm_size;
} ShapeOpts;

/* Their rows in the table of a command whose options are a T with a ShapeOpts `shape`. */
#define SHAPE_ROWS(T)                                                                              \
    {"add-host", 0,                                                                                \
     OPT_LIST,   offsetof(T, shape.add_hosts),                                                     \
     "NAME:IP",  "put a line into /etc/hosts; repeatable"},                                        \
        {"shm-size", 0,                                                                            \
         OPT_STRING, offsetof(T, shape.shm_size),                                                  \
         "SIZE",     "of /dev/shm (default 64m)"},                                                 \
    {                                                                                              \
        "ulimit", 0, OPT_LIST, offsetof(T, shape.ulimits), "TYPE=SOFT[:HARD]",                     \
            "a limit of the processes, as nofile=1024:4096; repeatable"                            \
    }

/*
 * shape_read - all of them, checked; in the arena. No other thread is alive.
 * Fails with ERR_USAGE, or ERR_ENV when lighter itself may not have what is asked for.
 */
NODISCARD bool shape_read(Arena *a, const ShapeOpts *o, SandboxShape *ret, Err *e);

/*
 * shape_network - the value of --network: "default" and "host" are the caller's, NULL is "default".
 * Fails with ERR_USAGE.
 */
NODISCARD bool shape_network(const char *word, SandboxNet *ret, Err *e);

#endif
