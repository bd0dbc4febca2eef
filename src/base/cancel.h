/*
 * base/cancel.h - one flag that Ctrl-C sets and every wait looks at.
 */
#ifndef BASE_CANCEL_H
#define BASE_CANCEL_H

#include "base/defs.h"

/* cancel_install - let SIGINT, SIGTERM and SIGHUP set the flag instead of ending the process. */
void cancel_install(void);
/* cancel_fd - readable once the flag is set; for poll(2). -1 before cancel_install. */
int cancel_fd(void);
/* cancel_signal - the signal that came, 0 when none did. */
int cancel_signal(void);

#endif
