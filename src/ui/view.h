/*
 * ui/view.h - the ways of showing events. Private to ui.
 */
#ifndef UI_VIEW_H
#define UI_VIEW_H

#include <pthread.h>

#include "base/str.h"
#include "ui/ui.h"

/* One way of showing events. Its functions are called with the lock held, one at a time. */
typedef struct View {
    void (*event)(struct View *v, const Event *ev);
    void (*done)(struct View *v); /* write what is left, and free it */
} View;

/* Each is given options that live as long as it does. */
View *plain_new(const UiOpts *o);
View *json_new(const UiOpts *o);
View *rawjson_new(const UiOpts *o);
View *tty_new(const UiOpts *o, pthread_mutex_t *lock);
/* tty_draw - draw now, with the lock held. */
void tty_draw(View *v);

/* view_write - all of it in one write if the file takes it, so that lines of two processes on one
 * terminal do not mix; what cannot be written is lost. Empties the buffer. */
void view_write(int fd, Buf *b);

enum { TITLE_MAX = 100 };
/* view_put_title - the beginning of an instruction, on one line and without control bytes. */
void view_put_title(Buf *b, const char *title);
/* view_put_text - whole lines, without what would steer the terminal; ends with a newline. */
void view_put_text(Buf *b, const char *text);
/* view_put_how - the word in its colour. */
void view_put_how(Buf *b, const UiColors *c, StepHow how);
/* view_put_done - the line of a step that is over. */
void view_put_done(Buf *b, const UiColors *c, const Event *ev);
/* view_put_warning - its line. */
void view_put_warning(Buf *b, const UiColors *c, const char *text);

/* line_tail - what is seen of a line that a program went over several times with '\r'. */
Str line_tail(const char *p, size_t n);

#endif
