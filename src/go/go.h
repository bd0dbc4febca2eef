/*
 * go/go.h - the door of the Go room: what lighter knows of Go.
 *
 * Today: where the caller's Go client would get modules from, so that a step gets them from there
 * as well.
 *
 * Used by: cmd.  Uses: base.
 */
#ifndef GO_GO_H
#define GO_GO_H

#include "base/arena.h"
#include "base/str.h"

/*
 * go_caller_env - GOPROXY, GOSUMDB, GOPRIVATE, GONOPROXY and GONOSUMDB as the caller set them,
 * NAME=VALUE.
 *
 * The environment first, then the user's go/env file, as `go env` reads them; what is set in
 * neither is left out, so that the step's own default holds. Source: `go help environment`.
 */
StrList go_caller_env(Arena *a);

#endif
