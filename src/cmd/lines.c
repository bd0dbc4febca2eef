/*
 * cmd/lines.c - lines in, JSON lines out.
 */
#include "cmd/lines.h"

#include <errno.h>

#include "base/fs.h"

enum { LINE_MAX_BYTES = 4 << 20, READ_BYTES = 64 << 10 };

bool lines_flush(Lines *l, Err *e)
{
    size_t n = l->out.len;
    l->out.len = 0;
    return !n || fs_write_all(STDOUT_FILENO, l->out.ptr, n, e) || err_wrap(e, "write answers");
}

/* Read more of stdin, behind what is there of an unfinished line. */
static bool fill(Lines *l, Err *e)
{
    if (!lines_flush(l, e)) /* somebody may wait for these before asking on */
        return false;
    if (l->at) {
        memmove(l->in.ptr, l->in.ptr + l->at, l->in.len - l->at);
        l->in.len -= l->at;
        l->at = 0;
    }
    ssize_t n;
    do {
        n = read(STDIN_FILENO, buf_reserve(&l->in, READ_BYTES), READ_BYTES);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, ERR_USAGE, "read standard input");
    l->in.len += (size_t)n;
    l->end = n == 0;
    return true;
}

bool lines_next(Lines *l, Str *ret_line, bool *ret_any, Err *e)
{
    size_t searched = 0;
    for (;;) {
        size_t have = l->in.len - l->at;
        char *start = have ? l->in.ptr + l->at : NULL;
        char *lf = have > searched ? memchr(start + searched, '\n', have - searched) : NULL;
        if (!lf && !l->end) {
            searched = have;
            if (have > LINE_MAX_BYTES)
                return err_set(e, ERR_USAGE, "line %zu is over %d bytes", l->nr + 1,
                               LINE_MAX_BYTES);
            if (!fill(l, e))
                return false;
            continue;
        }
        *ret_any = have > 0;
        if (!have)
            return lines_flush(l, e);
        size_t len = lf ? (size_t)(lf - start) : have;
        if (!lf) { /* the last line has no line feed to put its end at */
            buf_putc(&l->in, 0);
            l->in.len--;
            start = l->in.ptr + l->at;
        }
        start[len] = 0;
        l->nr++;
        l->at += len + (lf != NULL);
        *ret_line = (Str){start, len};
        if (memchr(start, 0, len))
            return err_set(e, ERR_USAGE, "line %zu has a NUL byte", l->nr);
        return true;
    }
}

void lines_answer(Lines *l, json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT);
    if (!text)
        die_nomem();
    buf_puts(&l->out, text);
    buf_putc(&l->out, '\n');
    free(text);
    json_decref(answer);
}

void lines_refuse(Lines *l, const Err *e)
{
    json_t *answer = json_object();
    json_set_str(answer, "error", e->msg);
    lines_answer(l, answer);
}
