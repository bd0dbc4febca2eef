/*
 * sandbox/terminal.h - the caller's terminal and the one that a command got. Private to the
 * sandbox.
 *
 * The command's is made in its own devpts; its other side comes to the builder, which passes on
 * what is typed and what is printed. So a program of the image never has the caller's terminal
 * open.
 */
#ifndef SANDBOX_TERMINAL_H
#define SANDBOX_TERMINAL_H

#include <poll.h>
#include <termios.h>

#include "base/err.h"

enum { TERMINAL_POLL = 2, TERMINAL_INPUT = 4096 };

typedef struct Terminal {
    int master; /* -1: none */
    bool input; /* what the caller types is passed on */
    bool ended; /* nothing more will be typed */
    bool raw;   /* the caller's terminal is to be put back */
    struct termios before;
    char typed[TERMINAL_INPUT]; /* and not taken yet */
    size_t start, n;
} Terminal;

#define TERMINAL_NONE                                                                              \
    {                                                                                              \
        .master = -1                                                                               \
    }

/* terminal_open - a new terminal by /dev/ptmx, of the caller's size: both sides. 0, or -1 with
 * errno. */
int terminal_open(int *ret_master, int *ret_slave);

/* terminal_begin - in the builder: the command's terminal is there. Takes the descriptor. */
void terminal_begin(Terminal *t, int master, bool input);
/* terminal_poll - what to wait for, TERMINAL_POLL of them. */
void terminal_poll(const Terminal *t, struct pollfd p[static TERMINAL_POLL]);
/* terminal_step - pass on what can be passed on, after poll(2). */
void terminal_step(Terminal *t, const struct pollfd p[static TERMINAL_POLL]);
/* terminal_done - print what is left, and give the caller's terminal back as it was. */
void terminal_done(Terminal *t);
static inline void scoped_terminal_done(Terminal *t)
{
    terminal_done(t);
}

#endif
