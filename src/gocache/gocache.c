/*
 * gocache/gocache.c - the generations of a space, and what lies over them.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "gocache/inside.h"

enum { ABOUT_MAX = 64 << 10 };

/* ---- generations ---- */

static bool read_about(Gocache *c, Arena *a, const char *id, uint64_t *ret_files)
{
    scoped(buf) Buf text = BUF_INIT;
    Err ignored = ERR_INIT;
    char *p;
    if (!fs_read_file(store_dirfd(c->store), arena_printf(a, "%s/about", id), ABOUT_MAX, &text,
                      &ignored))
        return false; /* none of ours, or half removed */
    *ret_files = strtoull(buf_str(&text), &p, 10);
    p += strcspn(p, "\n");
    while (*p++ == '\n' && *p) {
        size_t n = strcspn(p, "\n");
        strlist_add_once(a, &c->superseded, arena_strndup(a, p, n));
        p += n;
    }
    return true;
}

void generation_add(Gocache *c, Arena *a, const char *id, uint64_t files)
{
    size_t at = c->n;
    (void)ARENA_PUSH(a, c->v, c->n, c->cap);
    for (; at && c->v[at - 1].files < files; at--)
        c->v[at] = c->v[at - 1];
    c->v[at] = (GocacheGeneration){id, files};
}

/* It is in use before it is looked for: what is here then, stays. */
static bool add_generation(Gocache *c, Arena *a, const char *name, Err *e)
{
    const char *id = arena_printf(a, "gocache/%s", name);
    uint64_t files;
    if (!store_use_made(c->store, id, "", false, e))
        return false;
    if (read_about(c, a, id, &files))
        generation_add(c, a, id, files);
    return true;
}

static bool is_superseded(const Gocache *c, const char *id)
{
    for (size_t i = 0; i < c->superseded.n; i++)
        if (!strcmp(c->superseded.v[i], id))
            return true;
    return false;
}

static void drop_superseded(Gocache *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        if (!is_superseded(c, c->v[i].id))
            c->v[n++] = c->v[i];
    c->n = n;
}

bool gocache_open(Store *s, Arena *a, const Digest *space, const char *path, Gocache *ret, Err *e)
{
    Gocache c = {.store = s, .path = path};
    char hex[DIGEST_HEX_SIZE];
    StrList names;
    digest_hex(space, hex);
    memcpy(c.space, hex, sizeof c.space - 1);
    scoped(fd) int dir =
        openat(store_dirfd(s), "gocache", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0 && errno != ENOENT)
        return err_errno(e, ERR_STORE, "open '%s/gocache'", store_path(s));
    if (dir >= 0 && !fs_list(a, dir, &names, e))
        return false;
    for (size_t i = 0; dir >= 0 && i < names.n; i++)
        if (str_starts(names.v[i], c.space) && !add_generation(&c, a, names.v[i], e))
            return false;
    drop_superseded(&c);
    *ret = c;
    return true;
}

void gocache_lowers(const Gocache *const *v, size_t n, Arena *a, StrList *out)
{
    Gocache all = {0};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < v[i]->n; k++)
            generation_add(&all, a, v[i]->v[k].id, v[i]->v[k].files);
    for (size_t i = 0; i < all.n; i++)
        strlist_add(a, out, arena_printf(a, "%s/tree", all.v[i].id));
}

/* ---- over them ---- */

static bool make_dir(int fd, const char *path, Err *e)
{
    if (mkdirat(fd, path, 0777) < 0 && errno != EEXIST)
        return err_errno(e, ERR_STORE, "create '%s'", path);
    return fchmodat(fd, path, 0777, 0) == 0 || err_errno(e, ERR_STORE, "chmod '%s'", path);
}

static bool make_parents(int fd, Arena *a, const char *path, Err *e)
{
    for (const char *p = path; *p;) {
        p += strcspn(p, "/");
        if (!make_dir(fd, arena_strndup(a, path, (size_t)(p - path)), e))
            return false;
        p += *p == '/';
    }
    return true;
}

/*
 * go trims what was not used for five days, at most once a day: trim.txt says when it last did, in
 * seconds. What a test said before the time in testexpire.txt, in nanoseconds, does not count.
 * Source: Go, cmd/go/internal/cache, Trim; cmd/go/internal/test, testCacheExpire.
 */
static bool write_times(int fd, Err *e)
{
    char text[32];
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int n = snprintf(text, sizeof text, "%lld", (long long)now.tv_sec);
    if (!fs_write_file(fd, "trim.txt", text, (size_t)n, e))
        return false;
    n = snprintf(text, sizeof text, "%lld%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    return fs_write_file(fd, "testexpire.txt", text, (size_t)n, e) &&
           ((fchmodat(fd, "trim.txt", 0666, 0) == 0 &&
             fchmodat(fd, "testexpire.txt", 0666, 0) == 0) ||
            err_errno(e, ERR_STORE, "chmod 'trim.txt'"));
}

bool gocache_bottom(Store *s, Arena *a, const char *path, const char *dir, Err *e)
{
    int raw = -1;
    if (!make_parents(store_dirfd(s), a, arena_printf(a, "%s/%s", dir, path), e) ||
        !fs_open_dir(store_dirfd(s), arena_printf(a, "%s/%s", dir, path), &raw, e))
        return false;
    scoped(fd) int fd = raw;
    return write_times(fd, e);
}
