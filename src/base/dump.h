/*
 * base/dump.h - whether the memory of this process may be looked at.
 *
 * A process that may not be dumped leaves no core, and other processes of the same user can neither
 * trace it nor read it through /proc. It lasts until the process executes something else.
 */
#ifndef BASE_DUMP_H
#define BASE_DUMP_H

#include "base/defs.h"

/* dump_forbid - this process holds somebody's secrets from here on. */
void dump_forbid(void);

/*
 * dump_allow - for as long as somebody else must find /proc/self to be ours, as newuidmap(1) must;
 * whether it was forbidden, for dump_restore().
 */
bool dump_allow(void);
void dump_restore(bool forbidden);

#endif
