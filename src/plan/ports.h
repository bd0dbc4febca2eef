/*
 * plan/ports.h - EXPOSE's port specifications. Private to the plan room.
 */
#ifndef PLAN_PORTS_H
#define PLAN_PORTS_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

typedef struct PortSpec {
    const char *proto; /* lower case */
    unsigned first, last;
    bool upper;  /* the protocol was not in lower case */
    bool mapped; /* an address or a port of the host was named: it means nothing */
} PortSpec;

/* port_spec - read "[[ip:]hostport:]port[-port][/proto]". Fails with ERR_DOCKERFILE. */
NODISCARD bool port_spec(Arena *a, const char *spec, PortSpec *ret, Err *e);
/* port_list - append "port/proto" for each; fails when they are more than there can be. */
NODISCARD bool port_list(Arena *a, const PortSpec *spec, StrList *out, Err *e);

#endif
