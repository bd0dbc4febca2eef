/*
 * context/filter.c - --exclude and --parents: patterns below what a COPY names.
 *
 * Source: github.com/tonistiigi/fsutil/copy: a path counts when the include patterns match it or a
 * directory above, and the exclude patterns do not; a directory that does not count itself exists
 * if something in it does.
 */
#include "context/context.h"
#include "context/dirs.h"

struct ContextFilter {
    Ignore *include, *exclude; /* NULL: none */
    Dirs *include_dirs, *exclude_dirs;
    const char *name;
};

/* Whether a list of patterns matches; *ret_closed: and everything below a directory with it. */
static bool matches(const Ignore *ig, Dirs *dirs, const char *path, bool is_dir, bool *ret_closed)
{
    *ret_closed = false;
    if (is_dir) {
        const IgnoreState *st = dirs_state(dirs, path, strlen(path));
        *ret_closed = st->prune;
        return st->excluded;
    }
    return ignore_excludes(ig, ignore_decide(ig, dirs_parent(dirs, path), path, strlen(path)));
}

static ViewSight sight(const void *arg, const char *path, bool is_dir)
{
    const ContextFilter *f = arg;
    bool closed = false, ignored;
    bool in = !f->include || matches(f->include, f->include_dirs, path, is_dir, &ignored);
    bool out = f->exclude && matches(f->exclude, f->exclude_dirs, path, is_dir, &closed);
    if (in && !out)
        return SIGHT_SEEN;
    return is_dir && !closed ? SIGHT_PASSAGE : SIGHT_HIDDEN;
}

static bool compile(Arena *a, const StrList *patterns, const char *what, Ignore **ret,
                    Dirs **ret_dirs, Err *e)
{
    if (!patterns->n)
        return true;
    if (!ignore_from_patterns(a, patterns, ret, e))
        return err_wrap(e, "%s", what);
    *ret_dirs = dirs_new(*ret);
    return true;
}

/* All that the filter follows from, each pattern framed by its length. */
static const char *name_of(Arena *a, const StrList *include, const StrList *exclude)
{
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0; i < include->n; i++)
        buf_printf(&b, "+%zu:%s", strlen(include->v[i]), include->v[i]);
    for (size_t i = 0; i < exclude->n; i++)
        buf_printf(&b, "-%zu:%s", strlen(exclude->v[i]), exclude->v[i]);
    return arena_strdup(a, buf_str(&b));
}

bool context_filter(Arena *a, const StrList *include, const StrList *exclude, ContextFilter **ret,
                    Err *e)
{
    ContextFilter *f = NEW(a, ContextFilter);
    if (!compile(a, include, "--parents", &f->include, &f->include_dirs, e) ||
        !compile(a, exclude, "--exclude", &f->exclude, &f->exclude_dirs, e)) {
        context_filter_done(f);
        return false;
    }
    f->name = name_of(a, include, exclude);
    *ret = f;
    return true;
}

TreeFilter context_filter_of(const ContextFilter *f)
{
    return (TreeFilter){sight, f, f->name};
}

void context_filter_done(ContextFilter *f)
{
    if (!f)
        return;
    dirs_free(f->include_dirs);
    dirs_free(f->exclude_dirs);
    f->include_dirs = f->exclude_dirs = NULL;
}
