/*
 * plan/ports.h - EXPOSE's port specifications. Private to the plan room.
 */
#ifndef PLAN_PORTS_H
#define PLAN_PORTS_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/*
 * port_spec - "[[ip:]hostport:]port[-port][/proto]" to one "port/proto" a port.
 * The host part is accepted and means nothing, as docker has it. Fails with ERR_DOCKERFILE.
 */
NODISCARD bool port_spec(Arena *a, const char *spec, StrList *out, Err *e);

#endif
