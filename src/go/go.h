/*
 * go/go.h - the door of the Go room: what lighter knows of Go.
 *
 * Bytes, files and texts of the Go world, read and checked; nothing here opens a connection. A
 * caller that wants modules brings its own way to fetch and its own place to keep.
 *
 *   go/module.h    paths and versions of modules, escaped and plain
 *
 * And where the caller's Go client would get modules from, so that a step gets them from there as
 * well.
 *
 * Used by: cmd.  Uses: base.
 */
#ifndef GO_GO_H
#define GO_GO_H

#include "base/arena.h"
#include "base/str.h"
#include "go/module.h"

/*
 * go_caller_env - GOPROXY, GOSUMDB, GOPRIVATE, GONOPROXY and GONOSUMDB as the caller set them,
 * NAME=VALUE.
 *
 * The environment first, then the user's go/env file, as `go env` reads them; what is set in
 * neither is left out, so that the step's own default holds. Source: `go help environment`.
 */
StrList go_caller_env(Arena *a);

#endif
