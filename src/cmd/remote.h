/*
 * cmd/remote.h - options of every command that may ask a registry. Private to cmd.
 */
#ifndef CMD_REMOTE_H
#define CMD_REMOTE_H

#include "base/opt.h"
#include "registry/registry.h"

/* The options as they are given, a field of the command's own options. */
typedef struct RemoteOpts {
    const char *authfile;
    StrList mirrors;
    bool any_tls, insecure, offline;
} RemoteOpts;

/* Their rows in the table of a command whose options are a T with a RemoteOpts `remote`. */
#define REMOTE_ROWS(T)                                                                              \
    {"authfile",                                                                                    \
     0,                                                                                             \
     OPT_STRING,                                                                                    \
     offsetof(T, remote.authfile),                                                                  \
     "PATH",                                                                                        \
     "credentials of registries (default: REGISTRY_AUTH_FILE, podman's and docker's files)"},       \
        {"registry-mirror",  0,                                                                     \
         OPT_LIST,           offsetof(T, remote.mirrors),                                           \
         "NAME=HOST[/PATH]", "ask this server first, as docker.io=mirror.example.org; repeatable"}, \
        {"tls-verify", 0,                                                                           \
         OPT_OFF,      offsetof(T, remote.any_tls),                                                 \
         NULL,         "=false: take any certificate, and http where there is none"},               \
        {"insecure", 0, OPT_BOOL, offsetof(T, remote.insecure), NULL, "as --tls-verify=false"},     \
    {                                                                                               \
        "offline", 0, OPT_BOOL, offsetof(T, remote.offline), NULL, "ask no server for anything"     \
    }

/* remote_new - the client that the options ask for; with --offline or LIGHTER_OFFLINE=1 the process
 * asks nobody from here on. Fails with ERR_USAGE. */
NODISCARD bool remote_new(const RemoteOpts *o, EventSink sink, Registry **ret, Err *e);

#endif
