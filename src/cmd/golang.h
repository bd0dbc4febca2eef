/*
 * cmd/golang.h - options of `lighter build` for steps that run Go. Private to cmd.
 */
#ifndef CMD_GOLANG_H
#define CMD_GOLANG_H

#include "base/opt.h"
#include "steps/steps.h"

/* The options as they are given, a field of the command's own options. */
typedef struct GoOpts {
    const char *gateway, *parts, *cache;
    bool offline;
} GoOpts;

/* Their rows in the table of a command whose options are a T with a GoOpts `go`. */
#define GO_ROWS(T)                                                                                 \
    {"go-gateway", 0,                                                                              \
     OPT_STRING,   offsetof(T, go.gateway),                                                        \
     "on|off",     "off: steps fetch Go modules without the module store (default on)"},           \
        {"go-parts", 0,                                                                            \
         OPT_STRING, offsetof(T, go.parts),                                                        \
         "on|off",   "off: `go mod download` unpacks all modules itself (default on)"},            \
        {"go-cache", 0,                                                                            \
         OPT_STRING, offsetof(T, go.cache),                                                        \
         "on|off",   "off: each step compiles Go packages anew, as if alone (default on)"},        \
    {                                                                                              \
        "go-offline", 0, OPT_BOOL, offsetof(T, go.offline), NULL,                                  \
            "steps get Go modules from the module store and from nowhere else"                     \
    }

/* go_check - whether the options are such. Fails with ERR_USAGE. */
NODISCARD bool go_check(const GoOpts *o, Err *e);
/* go_scope - say whose compiled packages steps share; it is in their keys. */
void go_scope(const GoOpts *o, Arena *a, StepsEnv *env);
/* go_begin - give steps what the options say; the store is open. */
void go_begin(const GoOpts *o, StepsEnv *env);
/* go_over - the steps are over; what runs yet gets nothing of ours. */
void go_over(StepsEnv *env);

#endif
