/*
 * cmd/past.h - records of builds, for people and programs. Private to cmd.
 */
#ifndef CMD_PAST_H
#define CMD_PAST_H

#include "history/history.h"

/* past_row - a build as a line of a table; past_head - the line above. */
void past_head(Buf *out);
void past_row(Arena *a, const HistoryRecord *r, Buf *out);
/* past_page - all that is known of it, with its steps. */
void past_page(int storefd, Arena *a, const HistoryRecord *r, Buf *out);
/* past_json - one object on one line; docs/progress.md has the fields. */
void past_json(Arena *a, const HistoryRecord *r, Buf *out);

#endif
