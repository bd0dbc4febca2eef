/*
 * cmd/watch.h - how much of the past is kept. Private to cmd.
 */
#ifndef CMD_WATCH_H
#define CMD_WATCH_H

#include "base/err.h"
#include "history/history.h"

/* watch_limits - LIGHTER_KEEP_BUILDS and LIGHTER_KEEP_LOGS, else 100 builds and 200 MB of output.
 * Fails with ERR_USAGE. */
NODISCARD bool watch_limits(HistoryLimits *ret, Err *e);

#endif
