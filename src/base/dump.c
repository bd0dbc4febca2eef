/*
 * base/dump.c - PR_SET_DUMPABLE.
 */
#include "base/dump.h"

#include <sys/prctl.h>

void dump_forbid(void)
{
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

bool dump_allow(void)
{
    bool forbidden = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return forbidden;
}

void dump_restore(bool forbidden)
{
    (void)prctl(PR_SET_DUMPABLE, forbidden ? 0 : 1, 0, 0, 0);
}
