/*
 * context/context.c - a directory and what its ignore file hides.
 */
#include "context/context.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "context/inside.h"

enum { IGNORE_MAX_SIZE = 4 << 20 };

static ViewSight sight(const void *arg, const char *path, bool is_dir)
{
    const Context *c = arg;

    if (is_dir) {
        const IgnoreState *st = dirs_state(c->dirs, path, strlen(path));
        return !st->excluded ? SIGHT_SEEN : st->prune ? SIGHT_HIDDEN : SIGHT_PASSAGE;
    }
    uint32_t decider = ignore_decide(c->ignore, dirs_parent(c->dirs, path), path, strlen(path));
    return ignore_excludes(c->ignore, decider) ? SIGHT_HIDDEN : SIGHT_SEEN;
}

static bool read_ignore(Arena *a, Context *c, int fd, const char *name, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;

    if (!fs_read_all(fd, IGNORE_MAX_SIZE, &text, e))
        return err_wrap(e, "%s", name);
    c->ignore_name = arena_strdup(a, name);
    c->ignore_text = (Str){arena_strndup(a, buf_str(&text), text.len), text.len};
    return ignore_parse(a, (Str){buf_str(&text), text.len}, c->ignore_name, &c->ignore, e);
}

/* Read one ignore file if it is there. */
static bool try_ignore(Arena *a, Context *c, int dirfd, const char *path, Err *e)
{
    struct stat st;
    /* A pipe would keep the build waiting. */
    scoped(fd) int fd = openat(dirfd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(e, ERR_DOCKERFILE, "'%s' is no regular file", path);
    if (fd >= 0)
        return read_ignore(a, c, fd, path_base(path), e);
    return errno == ENOENT || errno == ENOTDIR ? true
                                               : err_errno(e, ERR_DOCKERFILE, "open '%s'", path);
}

static bool open_dir(Arena *a, const char *dir, Context **ret, Err *e)
{
    Context *c = NEW(a, Context);

    c->dir = arena_strdup(a, dir);
    c->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dirfd < 0)
        return err_errno(e, ERR_USAGE, "context '%s'", dir);
    c->view =
        (View){.dirfds = &c->dirfd, .n = 1, .zero_owner = true, .reader = &KNOWN_READER, .arg = c};
    known_init(c);
    *ret = c;
    return true;
}

/* Make a context of what was opened and read, or nothing when that failed. */
static bool finish(Context *c, bool ok, Context **ret)
{
    if (!ok) {
        context_done(c);
        return false;
    }
    if (c->ignore) {
        c->dirs = dirs_new(c->ignore);
        c->view.sight = sight;
    }
    *ret = c;
    return true;
}

bool context_open(Arena *a, const char *dir, const char *dockerfile, Context **ret, Err *e)
{
    Context *c = NULL;

    if (!open_dir(a, dir, &c, e))
        return false;
    bool ok = !dockerfile ||
              try_ignore(a, c, AT_FDCWD, arena_printf(a, "%s.dockerignore", dockerfile), e);
    if (ok && !c->ignore)
        ok = try_ignore(a, c, c->dirfd, ".dockerignore", e);
    return finish(c, ok, ret);
}

bool context_open_all(Arena *a, const char *dir, Context **ret, Err *e)
{
    Context *c = NULL;

    return open_dir(a, dir, &c, e) && finish(c, true, ret);
}

bool context_open_with(Arena *a, const char *dir, const char *ignore_file, Context **ret, Err *e)
{
    scoped(fd) int fd = open(ignore_file, O_RDONLY | O_CLOEXEC);
    Context *c = NULL;

    if (fd < 0)
        return err_errno(e, ERR_USAGE, "ignore file '%s'", ignore_file);
    if (!open_dir(a, dir, &c, e))
        return false;
    return finish(c, read_ignore(a, c, fd, path_base(ignore_file), e), ret);
}

void context_done(Context *c)
{
    if (!c)
        return;
    if (c->dirfd >= 0)
        close(c->dirfd);
    c->dirfd = -1;
    dirs_free(c->dirs);
    c->dirs = NULL;
    known_done(&c->known);
}

char *context_dir(const Context *c, Arena *a)
{
    char *real = realpath(c->dir, NULL);
    char *dir = arena_strdup(a, real ? real : c->dir);
    free(real);
    return dir;
}

const char *context_ignore_name(const Context *c)
{
    return c->ignore_name ? c->ignore_name : "";
}

Str context_ignore_text(const Context *c)
{
    return c->ignore_text;
}

const View *context_view(const Context *c)
{
    return &c->view;
}

bool context_match(Arena *a, const StrList *patterns, const char *text, const char *path,
                   bool *ret_excluded, Err *e)
{
    Ignore *ig = NULL;
    uint32_t line;

    if (patterns ? !ignore_from_patterns(a, patterns, &ig, e)
                 : !ignore_parse(a, str_c(text), "ignore", &ig, e))
        return false;
    (void)ignore_match(ig, path, ret_excluded, &line);
    return true;
}
