/*
 * ui/spill.c - text that is written later.
 */
#include "ui/spill.h"

#include <stdlib.h>

#include "base/fs.h"
#include "ui/view.h"

enum { SPILL_MEMORY = 64 << 10 };

/* A file that vanishes with us; 0600 for others share the directory. */
static int open_file(void)
{
    const char *dir = getenv("TMPDIR");
    dir = dir && *dir ? dir : "/tmp";
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    scoped(buf) Buf name = BUF_INIT;
    buf_printf(&name, "%s/lighter-XXXXXX", dir);
    fd = mkostemp(name.ptr, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(name.ptr);
    return fd;
}

bool spill_add(Spill *s, const char *text, size_t n)
{
    Err ignored = ERR_INIT;
    if (s->mem.len + n > SPILL_MEMORY) {
        if (s->fd < 0)
            s->fd = open_file();
        if (s->fd < 0 || (s->mem.len && !fs_write_all(s->fd, s->mem.ptr, s->mem.len, &ignored)))
            return false;
        s->mem.len = 0;
    }
    buf_add(&s->mem, text, n);
    return true;
}

bool spill_empty(const Spill *s)
{
    return !s->mem.len && s->fd < 0;
}

void spill_write(Spill *s, int out)
{
    scoped(buf) Buf block = BUF_INIT;
    off_t at = 0;
    while (s->fd >= 0) {
        ssize_t n = pread(s->fd, buf_reserve(&block, SPILL_MEMORY), SPILL_MEMORY, at);
        if (n <= 0)
            break;
        at += n;
        block.len = (size_t)n;
        view_write(out, &block);
    }
    view_write(out, &s->mem);
    spill_done(s);
}

void spill_done(Spill *s)
{
    buf_done(&s->mem);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}
