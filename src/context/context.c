/*
 * context/context.c - a directory and what its ignore file hides.
 */
#include "context/context.h"

#include <errno.h>

#include "base/fs.h"
#include "context/ignore.h"

enum { IGNORE_MAX_SIZE = 4 << 20 };

struct Context {
    int dirfd;
    const char *dir;
    const char *ignore_name; /* as messages call it; NULL when there is none */
    Ignore *ignore;
    View view;
};

static ViewSight sight(const void *arg, const char *path, bool is_dir)
{
    const Context *c = arg;
    bool excluded;
    uint32_t line;
    if (!ignore_match(c->ignore, path, &excluded, &line) || !excluded)
        return SIGHT_SEEN;
    return is_dir && ignore_may_reinclude(c->ignore, path) ? SIGHT_PASSAGE : SIGHT_HIDDEN;
}

/* Read one ignore file if it is there; *ret_found tells. */
static bool read_ignore(Arena *a, Context *c, int dirfd, const char *path, const char *name,
                        bool *ret_found, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    scoped(fd) int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    *ret_found = fd >= 0;
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? true
                   : err_errno(e, ERR_DOCKERFILE, "open '%s'", path);
    if (!fs_read_all(fd, IGNORE_MAX_SIZE, &text, e))
        return err_wrap(e, "%s", name);
    c->ignore_name = arena_strdup(a, name);
    return ignore_parse(a, (Str){buf_str(&text), text.len}, c->ignore_name, &c->ignore, e);
}

bool context_open(Arena *a, const char *dir, const char *dockerfile, Context **ret, Err *e)
{
    Context *c = NEW(a, Context);
    bool found = false;
    c->dir = arena_strdup(a, dir);
    c->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dirfd < 0)
        return err_errno(e, ERR_USAGE, "context '%s'", dir);
    if (dockerfile) {
        const char *path = arena_printf(a, "%s.dockerignore", dockerfile);
        if (!read_ignore(a, c, AT_FDCWD, path, path_base(path), &found, e))
            goto fail;
    }
    if (!found && !read_ignore(a, c, c->dirfd, ".dockerignore", ".dockerignore", &found, e))
        goto fail;
    c->view = (View){.dirfds = &c->dirfd, .n = 1, .zero_owner = true};
    if (c->ignore) {
        c->view.sight = sight;
        c->view.arg = c;
    }
    *ret = c;
    return true;
fail:
    context_done(c);
    return false;
}

void context_done(Context *c)
{
    if (c && c->dirfd >= 0)
        close(c->dirfd);
    if (c)
        c->dirfd = -1;
}

const View *context_view(const Context *c)
{
    return &c->view;
}

char *context_why_missing(const Context *c, Arena *a, const char *path)
{
    const char *clean = path_clean(a, arena_printf(a, "/%s", path)) + 1;
    bool excluded = false;
    uint32_t line = 0;
    if (c->ignore && ignore_match(c->ignore, clean, &excluded, &line) && excluded)
        return arena_printf(a, "excluded by %s line %u", c->ignore_name, line);
    return arena_printf(a, "no such file or directory below '%s'", c->dir);
}
