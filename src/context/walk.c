/*
 * context/walk.c - list a context in order, opening nothing that its ignore file closes.
 *
 * The walk keeps one frame for each directory between the context and where it stands. Names and
 * items of all frames lie in two stacks, so a directory costs no allocation of its own; a
 * descriptor stays open only where subdirectories or sizes are still wanted.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "context/context.h"
#include "context/inside.h"

enum { DENTS_SIZE = 64 << 10 };

/* One name in a directory. A directory's has its '/', which gives it its place in the order. */
typedef struct Name {
    uint64_t key;  /* its first eight bytes, to compare them at once */
    uint32_t name; /* where it stands in `names` */
    uint16_t len;
    uint8_t is_dir, is_file;
} Name;

typedef struct Frame {
    int fd;          /* -1 when nobody needs it any more */
    size_t at, end;  /* its items: the next one, and where they end */
    size_t first;    /* where they begin */
    size_t names;    /* where its names begin */
    size_t path_len; /* of its path with the '/' */
    IgnoreState state;
} Frame;

struct ContextWalk {
    const Context *context;
    const Ignore *ignore; /* NULL: nothing is hidden */
    const char *below;    /* NULL, or what is left of the path that is walked to */
    bool sizes;
    Buf path;         /* where the walk stands */
    Buf names, items; /* stacks */
    size_t nframe;
    size_t nknown;     /* frames whose directory was given out */
    bool into;         /* the last entry was a directory, to be read next */
    IgnoreState state; /* its state */
    size_t nword;
    uint64_t *bits; /* nword for each frame, and for the one to come */
    Frame frames[TREE_MAX_DEPTH + 1];
    _Alignas(struct dirent64) char dents[DENTS_SIZE];
};

static Name *items(const ContextWalk *w)
{
    return (Name *)(void *)w->items.ptr;
}

static uint64_t *bits_of(const ContextWalk *w, size_t frame)
{
    return w->bits + frame * w->nword;
}

ContextWalk *context_walk_new(const Context *c, const char *below, ContextSizes sizes)
{
    ContextWalk *w = malloc(sizeof *w);

    if (!w)
        die_nomem();
    memset(w, 0, offsetof(ContextWalk, frames));
    w->context = c;
    w->ignore = c->ignore;
    w->below = below;
    w->sizes = sizes == CONTEXT_SIZES;
    w->into = true; /* the context itself */
    if (w->ignore) {
        w->nword = ignore_words(w->ignore);
        w->bits = calloc(w->nword * (TREE_MAX_DEPTH + 2) + 1, sizeof *w->bits);
        if (!w->bits)
            die_nomem();
        w->state = ignore_top(w->ignore, w->bits);
    }
    buf_putc(&w->path, 0);
    w->path.len = 0;
    return w;
}

void context_walk_free(ContextWalk *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->nframe; i++)
        scoped_fd_done(&w->frames[i].fd);
    buf_done(&w->path);
    buf_done(&w->names);
    buf_done(&w->items);
    free(w->bits);
    free(w);
}

/* ---- reading a directory ---- */

static bool is_hidden_file(ContextWalk *w, const Frame *f, const char *name, size_t len)
{
    if (!w->ignore)
        return false;
    w->path.len = f->path_len;
    buf_add(&w->path, name, len);
    return ignore_excludes(w->ignore,
                           ignore_decide(w->ignore, &f->state, w->path.ptr, w->path.len));
}

/* The type of a directory entry; DT_UNKNOWN when it is gone. */
static uint8_t entry_type(const Frame *f, const struct dirent64 *de)
{
    struct stat st;

    if (de->d_type != DT_UNKNOWN)
        return de->d_type;
    return fstatat(f->fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint8_t)IFTODT(st.st_mode)
                                                                     : DT_UNKNOWN;
}

static bool is_wanted(const ContextWalk *w, const char *name, size_t len)
{
    if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
        return false;
    return !w->below || !*w->below ||
           (!strncmp(w->below, name, len) && (!w->below[len] || w->below[len] == '/'));
}

static void add_item(ContextWalk *w, const Frame *f, const struct dirent64 *de)
{
    size_t len = strlen(de->d_name);

    if (!is_wanted(w, de->d_name, len))
        return;
    uint8_t type = entry_type(f, de);
    if (type == DT_UNKNOWN || type == DT_SOCK ||
        (type != DT_DIR && is_hidden_file(w, f, de->d_name, len)))
        return;
    Name it = {.name = (uint32_t)w->names.len,
               .len = (uint16_t)(len + (type == DT_DIR)),
               .is_dir = type == DT_DIR,
               .is_file = type == DT_REG};
    /* Zeros behind the end, for a short name's key. */
    char *p = buf_reserve(&w->names, len + 2 + sizeof it.key);
    memcpy(p, de->d_name, len);
    memset(p + len, 0, 2 + sizeof it.key);
    if (it.is_dir)
        p[len] = '/';
    memcpy(&it.key, p, sizeof it.key);
    it.key = be64toh(it.key);
    w->names.len += it.len + 1u;
    buf_add(&w->items, &it, sizeof it);
}

static int by_bytes(const void *x, const void *y, void *arg)
{
    const Name *a = x, *b = y;
    const char *names = arg;

    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return strcmp(names + a->name, names + b->name);
}

static bool read_items(ContextWalk *w, Frame *f, Err *e)
{
    ssize_t n;

    while ((n = getdents64(f->fd, w->dents, sizeof w->dents)) > 0) {
        const struct dirent64 *de;
        for (ssize_t at = 0; at < n; at += de->d_reclen) {
            de = (const struct dirent64 *)(const void *)(w->dents + at);
            add_item(w, f, de);
        }
        if (w->items.len / sizeof(Name) > TREE_MAX_ENTRIES)
            return err_set(e, ERR_DOCKERFILE, "more than %d names", TREE_MAX_ENTRIES);
    }
    return n == 0 || err_errno(e, ERR_DOCKERFILE, "read");
}

/* -1 with errno. */
static int open_here(ContextWalk *w)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

    if (w->nframe == 0)
        return openat(w->context->dirfd, ".", flags);
    const Frame *up = &w->frames[w->nframe - 1];
    const Name *it = &items(w)[up->at - 1];
    char *name = w->names.ptr + it->name;
    name[it->len - 1] = 0; /* with the slash, a link that came in its place would be followed */
    int fd = openat(up->fd, name, flags);
    name[it->len - 1] = '/';
    return fd;
}

/* Go into the directory that w->path names and w->state describes. */
static bool enter(ContextWalk *w, Err *e)
{
    if (w->nframe > TREE_MAX_DEPTH)
        return err_set(e, ERR_DOCKERFILE, "directories are nested deeper than %d", TREE_MAX_DEPTH);
    Frame f = {.fd = open_here(w),
               .first = w->items.len / sizeof(Name),
               .names = w->names.len,
               .path_len = w->path.len,
               .state = w->state};
    if (f.fd < 0) {
        /* It went away, or it is excluded and only looked into for what may be below. */
        bool passed_over = errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
                           (errno == EACCES && f.state.excluded);
        return passed_over || err_errno(e, ERR_DOCKERFILE, "open (an ignore file may exclude it)");
    }
    if (w->below && w->nframe > 0) { /* one directory nearer, or there */
        w->below += strcspn(w->below, "/");
        w->below += *w->below == '/';
    }
    w->frames[w->nframe++] = f;
    Frame *top = &w->frames[w->nframe - 1];
    if (!read_items(w, top, e))
        return false;
    top->at = top->first;
    top->end = w->items.len / sizeof(Name);
    bool has_dir = false;
    for (size_t i = top->first; i < top->end && !has_dir; i++)
        has_dir = items(w)[i].is_dir;
    if (!has_dir && !w->sizes)
        close(fd_take(&top->fd));
    if (top->end > top->first)
        qsort_r(items(w) + top->first, top->end - top->first, sizeof(Name), by_bytes, w->names.ptr);
    return true;
}

/* Go into the directory of the last entry, and know whether it was given out. */
static bool enter_named(ContextWalk *w, Err *e)
{
    size_t len = w->path.len;

    if (!enter(w, e)) {
        w->path.ptr[len] = 0;
        return err_wrap(e, "context directory '%s'", len ? w->path.ptr : w->context->dir);
    }
    if (!w->state.excluded)
        w->nknown = w->nframe;
    return true;
}

static void leave(ContextWalk *w)
{
    Frame *f = &w->frames[--w->nframe];

    scoped_fd_done(&f->fd);
    w->items.len = f->first * sizeof(Name);
    w->names.len = f->names;
    if (w->nknown > w->nframe)
        w->nknown = w->nframe;
}

/* ---- the order of entries ---- */

static void set_path(ContextWalk *w, const Frame *f, const Name *it)
{
    w->path.len = f->path_len;
    buf_add(&w->path, w->names.ptr + it->name, it->len);
}

static bool give(ContextWalk *w, uint64_t size, ContextEntry *ret, bool *ret_any)
{
    *ret = (ContextEntry){.path = {w->path.ptr, w->path.len}, .size = size};
    *ret_any = true;
    return true;
}

static uint64_t size_of(const ContextWalk *w, const Frame *f, const Name *it)
{
    struct stat st;
    bool there = w->sizes && it->is_file &&
                 fstatat(f->fd, w->names.ptr + it->name, &st, AT_SYMLINK_NOFOLLOW) == 0;

    return there && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

/* Ask about a directory; when it is excluded, it is left behind and perhaps gone into. */
static bool is_excluded_dir(ContextWalk *w, Frame *f, const Name *it)
{
    if (!it->is_dir || !w->ignore)
        return false;
    w->state =
        ignore_enter(w->ignore, &f->state, w->path.ptr, w->path.len - 1, bits_of(w, w->nframe));
    if (w->state.excluded) {
        f->at++;
        w->into = !w->state.prune;
    }
    return w->state.excluded;
}

bool context_walk_step(ContextWalk *w, ContextEntry *ret, bool *ret_any, Err *e)
{
    for (;;) {
        if (w->into) {
            w->into = false;
            if (!enter_named(w, e))
                return false;
        }
        if (w->nframe == 0) {
            *ret_any = false;
            return true;
        }
        Frame *f = &w->frames[w->nframe - 1];
        if (f->at == f->end) {
            leave(w);
            continue;
        }
        const Name *it = &items(w)[f->at];
        set_path(w, f, it);
        if (is_excluded_dir(w, f, it))
            continue;
        if (w->nknown < w->nframe) { /* first the excluded directories on the way here */
            w->path.len = w->frames[w->nknown++].path_len;
            return give(w, 0, ret, ret_any);
        }
        f->at++;
        w->into = it->is_dir;
        return give(w, size_of(w, f, it), ret, ret_any);
    }
}
