/*
 * dockerfile/duration.h - durations as Go writes them: "1h30m", "1.5s", "100ms".
 */
#ifndef DOCKERFILE_DURATION_H
#define DOCKERFILE_DURATION_H

#include "base/defs.h"
#include "base/err.h"

/*
 * go_duration - read a duration into nanoseconds. Fails with ERR_DOCKERFILE.
 * Source: Go, time.ParseDuration.
 */
NODISCARD bool go_duration(const char *text, int64_t *ret, Err *e);

#endif
