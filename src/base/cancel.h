/*
 * base/cancel.h - one flag that Ctrl-C or a failed step sets and every wait looks at.
 */
#ifndef BASE_CANCEL_H
#define BASE_CANCEL_H

#include "base/defs.h"

/* cancel_install - let SIGINT, SIGTERM and SIGHUP set the flag instead of ending the process. */
void cancel_install(void);
/* cancel_raise - set the flag without a signal: one step failed, so the others need not go on. */
void cancel_raise(void);
/* cancel_clear - take back what cancel_raise() said; a signal that came stays. */
void cancel_clear(void);
/* cancel_wanted - whether the flag is set, by whom ever. */
bool cancel_wanted(void);
/* cancel_fd - readable once the flag is set; for poll(2). -1 before cancel_install. */
int cancel_fd(void);
/* cancel_signal - the signal that came, 0 when none did. */
int cancel_signal(void);

#endif
