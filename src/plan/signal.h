/*
 * plan/signal.h - the signals STOPSIGNAL takes. Private to the plan room.
 */
#ifndef PLAN_SIGNAL_H
#define PLAN_SIGNAL_H

#include "base/defs.h"

/*
 * signal_ok - whether docker takes the word for a signal: a number but 0, or a name with or without
 * SIG, in any case. Source: github.com/moby/sys/signal, ParseSignal.
 */
bool signal_ok(const char *word);

#endif
