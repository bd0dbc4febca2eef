/*
 * cmd/stepenv.h - environment that RUN steps see and images do not. Private to cmd.
 */
#ifndef CMD_STEPENV_H
#define CMD_STEPENV_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/*
 * step_env - proxies and Go's module settings of the caller, NAME=VALUE.
 *
 *   build_args  proxies among them come first; then the "proxies" of docker's config.json;
 *               then the caller's Go environment
 *
 * A damaged config.json is ERR_USAGE. Source: docker CLI, "Proxy configuration"; features.md V8.
 */
NODISCARD bool step_env(Arena *a, const StrList *build_args, StrList *ret, Err *e);

#endif
