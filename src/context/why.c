/*
 * context/why.c - which line of an ignore file says what becomes of a path, in words.
 */
#include <errno.h>

#include "base/fs.h"
#include "context/context.h"
#include "context/inside.h"

/* A path as a context counts it: relative, clean, and never above the root. "" is the root. */
static const char *clean(Arena *a, const char *path)
{
    return path_clean(a, arena_printf(a, "/%s", path)) + 1;
}

char *context_why_missing(const Context *c, Arena *a, const char *path)
{
    path = clean(a, path);
    if (c->ignore && *path) {
        uint32_t i = ignore_decide(c->ignore, dirs_parent(c->dirs, path), path, strlen(path));
        if (ignore_excludes(c->ignore, i))
            return arena_printf(a, "excluded by %s line %u", c->ignore_name,
                                ignore_pattern(c->ignore, i)->line);
    }
    return arena_printf(a, "no such file or directory below '%s'", c->dir);
}

/* The highest directory above `path` that pattern `i` matches; its length, or 0 for none. */
static size_t matched_above(const Context *c, const char *path, uint32_t i)
{
    for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/'))
        if (ignore_has_matched(dirs_state(c->dirs, path, (size_t)(p - path)), i))
            return (size_t)(p - path);
    return 0;
}

/* "excluded by .dockerignore line 3: `docs`, which matches its directory 'docs'" */
static char *decision(const Context *c, Arena *a, const char *path, uint32_t i)
{
    const Pattern *pt = ignore_pattern(c->ignore, i);
    int above = (int)matched_above(c, path, i);
    const char *dir = above ? arena_printf(a, "its directory '%.*s'", above, path) : NULL;

    if (pt->include)
        return arena_printf(a, "sent: %s line %u: `%s` brings %s back", c->ignore_name, pt->line,
                            pt->written, dir ? dir : "it");
    return arena_printf(a, "excluded by %s line %u: `%s`%s%s", c->ignore_name, pt->line,
                        pt->written, dir ? ", which matches " : "", dir ? dir : "");
}

/* What an excluded directory that is read comes to: it exists if something below it does. */
static bool why_passage(const Context *c, Arena *a, const char *path, const char *own, char **ret,
                        Err *e)
{
    scoped(walk) ContextWalk *w = context_walk_new(c, path, CONTEXT_NAMES);
    const char *dir = arena_printf(a, "%s/", path);
    ContextEntry entry;
    bool any = true;

    while (any) {
        if (!context_walk_step(w, &entry, &any, e))
            return false;
        if (any && str_eq(entry.path, dir)) {
            *ret = arena_printf(a, "sent for what is sent below it; itself %s", own);
            return true;
        }
    }
    *ret = arena_printf(a, "%s; nothing below it is sent", own);
    return true;
}

bool context_why(const Context *c, Arena *a, const char *path, char **ret, Err *e)
{
    struct stat st;

    path = clean(a, path);
    if (!*path) {
        *ret = arena_strdup(a, "sent: it is the context itself");
        return true;
    }
    scoped(fd) int fd = fs_open_beneath(c->dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0 || fstat(fd, &st) < 0) {
        bool linked = errno == ELOOP;
        if (!linked && errno != ENOENT && errno != ENOTDIR)
            return err_errno(e, ERR_DOCKERFILE, "'%s'", path);
        *ret = arena_strdup(a, linked ? "not there: a symbolic link is on the way" : "not there");
        return true;
    }
    if (S_ISSOCK(st.st_mode)) {
        *ret = arena_strdup(a, "not sent: a socket");
        return true;
    }
    uint32_t i = IGNORE_NONE;
    if (c->ignore)
        i = ignore_decide(c->ignore, dirs_parent(c->dirs, path), path, strlen(path));
    *ret = i == IGNORE_NONE ? arena_strdup(a, "sent: no pattern matches") : decision(c, a, path, i);
    if (!S_ISDIR(st.st_mode) || !ignore_excludes(c->ignore, i) ||
        dirs_state(c->dirs, path, strlen(path))->prune)
        return true;
    return why_passage(c, a, path, *ret, ret, e);
}
