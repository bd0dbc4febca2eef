/*
 * ui/ui.h - the door of the ui room: events to text for people, and to JSON for programs.
 *
 * One sink a build. All of it goes to stderr:
 *
 *   plain    whole lines, each step's output behind the step's name; reads the same in a terminal
 *            and in a CI log, where each step can be folded
 *   tty      a live view of what runs now, redrawn in place below what is finished
 *   json     one object a line; docs/progress.md has the fields
 *   rawjson  the same in BuildKit's words
 *   none     nothing; main tells of a failure
 *
 * and a trace of where the time went, to a file.
 *
 * Used by: cmd.  Uses: base.
 */
#ifndef UI_UI_H
#define UI_UI_H

#include "base/err.h"
#include "base/event.h"

typedef struct Ui Ui;

typedef enum UiStyle { UI_NONE, UI_PLAIN, UI_TTY, UI_JSON, UI_RAWJSON } UiStyle;

/* Whose marks fold a step's output in a log. */
typedef enum UiFold { UI_FOLD_NONE, UI_FOLD_GITHUB, UI_FOLD_GITLAB } UiFold;

/* Escape sequences that begin a colour; all empty: no colours. */
typedef struct UiColors {
    char run[24], cancel[24], warning[24], error[24];
    bool any;
} UiColors;

typedef struct UiOpts {
    UiStyle style;
    bool quiet; /* style is UI_NONE, and the image ID is wanted on stdout */
    int fd;     /* that everything is written to */
    UiFold fold;
    UiColors colors;
    unsigned log_lines;  /* tty: of a running step's output */
    unsigned rows, cols; /* tty: 0: the terminal is asked each time */
} UiOpts;

/*
 * ui_choose - what suits the caller: the option, else BUILDKIT_PROGRESS, else tty on a terminal and
 * plain elsewhere; colours and folding by the environment.
 *
 *   option  "auto", "tty", "plain", "quiet", "none", "json" or "rawjson"; NULL: not given
 *
 * A terminal that can do nothing (TERM=dumb) gets plain. Fails with ERR_USAGE (unknown word; tty
 * without a terminal).
 */
NODISCARD bool ui_choose(const char *option, UiOpts *ret, Err *e);

/*
 * ui_colors_parse - BUILDKIT_COLORS, "run=blue:cancel=yellow:warning=light-red:error=255,0,0": what
 * cannot be read is passed over. Source: BuildKit's progressui.
 */
void ui_colors_parse(const char *text, UiColors *c);

/* ui_new - a sink's owner; free with ui_done, which also writes lines that were not ended. */
Ui *ui_new(const UiOpts *o);
/* ui_lines - one for commands that have notes and warnings to tell, and no steps. */
Ui *ui_lines(bool quiet);
void ui_done(Ui *ui);
static inline void scoped_ui_done(Ui **ui)
{
    ui_done(*ui);
}
EventSink ui_sink(Ui *ui);

/* ---- traces ---- */

typedef struct Trace Trace;

/*
 * trace_open - gather spans, from clock_ns() `began_ns` on, for a file that trace_done() writes.
 * Fails with ERR_USAGE when there can be no such file.
 */
NODISCARD bool trace_open(const char *path, uint64_t began_ns, Trace **ret, Err *e);
EventSink trace_sink(Trace *t);
/* trace_done - write the file, and free. NULL is fine. Fails with ERR_USAGE. */
NODISCARD bool trace_done(Trace *t, Err *e);

/* ui_seconds - a duration as people read it: "0.02 s", "12.4 s", "3 m 05 s". */
void ui_seconds(uint64_t ns, char out[static 32]);

#endif
