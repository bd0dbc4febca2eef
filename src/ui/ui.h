/*
 * ui/ui.h - the door of the ui room: events to text for people.
 *
 * One sink a build. `plain` writes whole lines to stderr, each step's output behind the step's
 * name, so that it reads the same in a terminal and in a CI log; `quiet` shows warnings of failure
 * only, through main.
 *
 * Used by: cmd.  Uses: base.
 */
#ifndef UI_UI_H
#define UI_UI_H

#include "base/event.h"

typedef struct Ui Ui;

typedef enum UiStyle { UI_PLAIN, UI_QUIET } UiStyle;

/* ui_new - a sink's owner; free with ui_done, which also writes lines that were not ended. */
Ui *ui_new(UiStyle style);
void ui_done(Ui *ui);
static inline void scoped_ui_done(Ui **ui)
{
    ui_done(*ui);
}
EventSink ui_sink(Ui *ui);

/* ui_seconds - a duration as people read it: "0.02 s", "12.4 s", "3 m 05 s". */
void ui_seconds(uint64_t ns, char out[static 32]);

#endif
