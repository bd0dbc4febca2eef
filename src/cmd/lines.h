/*
 * cmd/lines.h - answers line by line: a question on stdin, a line on stdout.
 *
 * For commands that other programs talk to. Answers are gathered and written before the command
 * waits for more questions, so a file costs few system calls and a conversation gets its answers.
 */
#ifndef CMD_LINES_H
#define CMD_LINES_H

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

typedef struct Lines {
    Buf in, out;
    size_t at; /* in `in`: where the next line begins */
    size_t nr; /* of the last line, from 1 */
    bool end;  /* stdin ended */
} Lines;

static inline void scoped_lines_done(Lines *l)
{
    buf_done(&l->in);
    buf_done(&l->out);
}

/*
 * lines_next - the next line of stdin, without its line feed.
 *
 *   ret_line  valid until the next call; NUL-terminated
 *   ret_any   false at the end; what was answered is written then
 *
 * Fails with ERR_USAGE on a line over 4 MiB or with a NUL byte, or when stdin cannot be read; as
 * fs_write_all when stdout cannot be written.
 */
NODISCARD bool lines_next(Lines *l, Str *ret_line, bool *ret_any, Err *e);

/* lines_answer - give one JSON document (taken) as the answer to the last line. */
void lines_answer(Lines *l, json_t *answer);
/* lines_refuse - give {"error": message}. */
void lines_refuse(Lines *l, const Err *e);
/* lines_flush - write the answers so far. */
NODISCARD bool lines_flush(Lines *l, Err *e);

#endif
