/*
 * gocache/back.c - what a command only was lent, where it stays in the layer.
 *
 * An entry that go found it has opened; without what it was lent it would have compiled and written
 * it. Beside an output go keeps the list of a package's source files, and those of them that it
 * made: that it looks at only when it needs them, so they follow their entry.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/owner.h"
#include "base/pool.h"
#include "gocache/inside.h"

enum { LIST_MAX = 16 << 20, THREADS_MAX = 4 };

/* A file that is to be copied. */
typedef struct Part {
    char path[GO_CACHE_PATH_SIZE];
    int from; /* the generation that has it */
} Part;

typedef struct Back {
    const GocacheLeft *l;
    Arena *a;
    int *fds; /* of generations' GOCACHEs */
    size_t nfd;
    Map files; /* path -> index in fds */
    Map taken; /* paths that were looked at */
    Part *v;
    size_t n, cap;
    atomic_size_t next;
    atomic_bool failed;
} Back;

/* ---- what there is ---- */

static bool list_dir(Back *b, size_t i, const char *dir, Err *e)
{
    StrList names;
    uint64_t known;
    scoped(fd) int fd = openat(b->fds[i], dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || err_errno(e, ERR_STORE, "open '%s'", dir);
    if (!fs_list(b->a, fd, &names, e))
        return false;
    for (size_t k = 0; k < names.n; k++) {
        const char *path = arena_printf(b->a, "%s/%s", dir, names.v[k]);
        if (!map_get(&b->files, path, &known))
            (void)map_put(&b->files, path, i);
    }
    return true;
}

static bool open_generation(Back *b, const Gocache *c, const char *id, Err *e)
{
    int fd = -1;
    if (!fs_open_dir(store_dirfd(c->store), arena_printf(b->a, "%s/tree/%s", id, c->path), &fd, e))
        return false;
    b->fds[b->nfd++] = fd;
    for (unsigned i = 0; i < 256; i++) {
        char dir[3];
        (void)snprintf(dir, sizeof dir, "%02x", i);
        if (!list_dir(b, b->nfd - 1, dir, e))
            return false;
    }
    return true;
}

static bool open_all(Back *b, Err *e)
{
    size_t n = 0;
    for (size_t i = 0; i < b->l->n; i++)
        n += b->l->spaces[i]->n;
    b->fds = NEW_N(b->a, int, n + 1);
    for (size_t i = 0; i < b->l->n; i++)
        for (size_t k = 0; k < b->l->spaces[i]->n; k++)
            if (!open_generation(b, b->l->spaces[i], b->l->spaces[i]->v[k].id, e))
                return false;
    return true;
}

/* ---- what is lacking ---- */

/* Whether the command has it of us alone. */
static bool is_lent(Back *b, const char *path, uint64_t *ret_from)
{
    struct stat st;
    return map_get(&b->files, path, ret_from) && !b->l->there(b->l->arg, path) &&
           fstatat(b->l->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0;
}

static void add(Back *b, const char *path, uint64_t from)
{
    Part *p = ARENA_PUSH(b->a, b->v, b->n, b->cap);
    (void)snprintf(p->path, sizeof p->path, "%s", path);
    p->from = b->fds[from];
}

static void add_output(Back *b, const Digest *output)
{
    char path[GO_CACHE_PATH_SIZE];
    uint64_t from;
    go_cache_path(GO_CACHE_OUTPUT, output, path);
    if (map_put(&b->taken, arena_strdup(b->a, path), 1) && is_lent(b, path, &from))
        add(b, path, from);
}

static bool read_entry(int dirfd, const char *path, GoCacheEntry *ret)
{
    char text[GO_CACHE_ENTRY_SIZE + 1];
    scoped(fd) int fd = openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text, 0);
    return n == GO_CACHE_ENTRY_SIZE && go_cache_entry_parse((Str){text, (size_t)n}, ret);
}

/* An entry and its output; *ret is the output where it was ours. */
static bool add_action(Back *b, const Digest *action, Digest *ret)
{
    char path[GO_CACHE_PATH_SIZE];
    uint64_t from;
    GoCacheEntry x;
    go_cache_path(GO_CACHE_ACTION, action, path);
    if (!map_put(&b->taken, arena_strdup(b->a, path), 1) || !is_lent(b, path, &from) ||
        !read_entry(b->fds[from], path, &x))
        return false;
    add(b, path, from);
    add_output(b, &x.output);
    *ret = x.output;
    return true;
}

static void add_beside(Back *b, const Digest *action, const char *name)
{
    Digest sub, output;
    go_cache_subkey(action, name, &sub);
    (void)add_action(b, &sub, &output);
}

/* The list of a package's source files: "./" is before all but those that go made. Source: Go,
 * cmd/go/internal/work, cacheSrcFiles. */
static bool add_sources(Back *b, const Digest *action, Err *e)
{
    scoped(buf) Buf list = BUF_INIT;
    Digest sub, output;
    char path[GO_CACHE_PATH_SIZE];
    uint64_t from;
    go_cache_subkey(action, "srcfiles", &sub);
    if (!add_action(b, &sub, &output))
        return true;
    go_cache_path(GO_CACHE_OUTPUT, &output, path);
    if (!map_get(&b->files, path, &from))
        return true;
    if (!fs_read_file(b->fds[from], path, LIST_MAX, &list, e))
        return false;
    for (const char *p = buf_str(&list); *p; p += strcspn(p, "\n"), p += *p == '\n')
        if (*p != '\n' && strncmp(p, "./", 2) != 0)
            add_beside(b, action, arena_strndup(b->a, p, strcspn(p, "\n")));
    return true;
}

static bool add_used(Back *b, Err *e)
{
    for (size_t i = 0; i < b->l->used->n; i++) {
        Digest action, output;
        const char *name = b->l->used->v[i];
        const char *path = arena_printf(b->a, "%.2s/%s", name, name);
        if (go_cache_name(path, &action) != GO_CACHE_ACTION || !add_action(b, &action, &output))
            continue;
        add_beside(b, &action, "_cgo_install.h");
        if (!add_sources(b, &action, e))
            return false;
    }
    return true;
}

/* An output that was there already go has not written again: its own entries may name one. */
static bool add_outputs(Back *b, Err *e)
{
    for (unsigned i = 0; i < 256; i++) {
        char dir[3];
        StrList names;
        GoCacheEntry x;
        Digest id;
        (void)snprintf(dir, sizeof dir, "%02x", i);
        scoped(fd) int fd =
            openat(b->l->dirfd, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (!fs_list(b->a, fd, &names, e))
            return false;
        for (size_t k = 0; k < names.n; k++)
            if (go_cache_name(arena_printf(b->a, "%s/%s", dir, names.v[k]), &id) ==
                    GO_CACHE_ACTION &&
                read_entry(fd, names.v[k], &x))
                add_output(b, &x.output);
    }
    return true;
}

/* ---- copying ---- */

static bool copy(const Back *b, const Part *p, Err *e)
{
    const GocacheLeft *l = b->l;
    uint64_t size;
    char dir[3] = {p->path[0], p->path[1], 0};
    if (mkdirat(l->dirfd, dir, 0755) < 0 && errno != EEXIST)
        return err_errno(e, ERR_STORE, "create '%s'", dir);
    scoped(fd) int in = openat(p->from, p->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    scoped(fd) int out =
        openat(l->dirfd, p->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (in < 0 || out < 0)
        return err_errno(e, ERR_STORE, "copy '%s'", p->path);
    return fs_copy_data(in, out, &size, e) &&
           ((owner_chown(l->rootfd, l->dirfd, p->path, l->uid, l->gid) == 0 &&
             fchmod(out, l->mode) == 0) ||
            err_errno(e, ERR_STORE, "change '%s'", p->path));
}

typedef struct Copying {
    Back *b;
    pthread_t thread;
    bool apart;
    Err e;
} Copying;

static void *copy_main(void *arg)
{
    Copying *c = arg;
    Back *b = c->b;
    for (size_t i; (i = atomic_fetch_add(&b->next, 1)) < b->n && !atomic_load(&b->failed);) {
        bool ok =
            cancel_wanted() ? err_set(&c->e, ERR_STEP, "cancelled") : copy(b, &b->v[i], &c->e);
        if (!ok)
            atomic_store(&b->failed, true);
    }
    return NULL;
}

static bool copy_all(Back *b, Err *e)
{
    Copying c[THREADS_MAX];
    size_t n = cpu_count() < THREADS_MAX ? cpu_count() : THREADS_MAX;
    for (size_t i = 0; i < n; i++) {
        c[i] = (Copying){.b = b, .e = ERR_INIT};
        c[i].apart = i && pthread_create(&c[i].thread, NULL, copy_main, &c[i]) == 0;
    }
    (void)copy_main(&c[0]);
    for (size_t i = 0; i < n; i++) {
        if (c[i].apart)
            (void)pthread_join(c[i].thread, NULL);
        if (c[i].e.kind && !e->kind)
            *e = c[i].e;
    }
    return !atomic_load(&b->failed);
}

bool gocache_put_back(const GocacheLeft *l, Arena *a, Err *e)
{
    Back b = {.l = l, .a = a};
    bool ok = open_all(&b, e) && add_used(&b, e) && add_outputs(&b, e) && copy_all(&b, e);
    for (size_t i = 0; i < b.nfd; i++)
        close(b.fds[i]);
    map_done(&b.files);
    map_done(&b.taken);
    return ok;
}
