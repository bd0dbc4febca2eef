/*
 * context/scan.c - threads over the directories of a context.
 *
 * Work lies on one stack: a directory to be listed, or some of the names of one to be looked at.
 * Whoever finishes the last names of a directory compares it with the index as a whole; where
 * nothing differs its names are forgotten again, and the index stands for them.
 */
#include "context/scan.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/pool.h"

enum {
    DENTS_SIZE = 32 << 10,
    CHUNK = 64,        /* names one thread looks at in a row: some of them may be hashed */
    BEGIN_THREADS = 6, /* when so much waits, it is worth starting threads */
    MAX_THREADS = 16,
};

typedef struct ScanFile {
    IndexStat st;
    uint64_t dev;
    const char *name;
    const IndexEntry *was; /* it is as this one was; NULL: it is new, and what follows is set */
    const char *link;
    struct ScanDir *dir; /* directories only */
    Digest content;
    uint16_t len;
    uint8_t flags;
    bool gone;
} ScanFile;

typedef struct ScanDir {
    const char *path; /* from the context */
    size_t len;
    unsigned depth;
    IgnoreState state;
    uint8_t flags; /* INDEX_PASSAGE, INDEX_MARKED */
    bool odd, local;
    dev_t dev;
    struct timespec now; /* before anything in it was looked at */
    const IndexBlock *old;
    ScanFile *files; /* NULL when `same` */
    struct ScanDir **dirs;
    size_t nfile, ndir;
    atomic_uint todo, nequal, nexact, ngone, nkept;
    bool same;        /* `old` describes it to the last bit */
    atomic_bool gone; /* it vanished after its name was read */
} ScanDir;

/* A directory to be listed (n is 0), or n of its names. */
typedef struct ScanItem {
    ScanDir *dir;
    size_t first, n;
} ScanItem;

typedef struct Worker {
    struct Scan *scan;
    pthread_t thread;
    Arena arena; /* directories and names */
    Buf path, names;
    _Alignas(struct dirent64) char dents[DENTS_SIZE];
} Worker;

struct Scan {
    ScanSpec spec;
    ScanDir *top;
    Worker *workers[MAX_THREADS];
    size_t nworker, nthread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t more;
    Buf items;
    unsigned nbusy;
    bool failed;
    Err err;
    atomic_bool changed, stale, stop;
    atomic_size_t nentry;
};

/* ---- the stack of work ---- */

static void push(Scan *s, ScanItem it)
{
    pthread_mutex_lock(&s->lock);
    buf_add(&s->items, &it, sizeof it);
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
}

/* The next piece of work; false when nobody has any more and nobody will. */
static bool pop(Scan *s, bool was_busy, ScanItem *ret)
{
    pthread_mutex_lock(&s->lock);
    s->nbusy -= was_busy;
    while (!s->items.len && s->nbusy > 0 && !s->stop)
        pthread_cond_wait(&s->more, &s->lock);
    bool any = s->items.len && !s->stop;
    if (any) {
        s->items.len -= sizeof *ret;
        memcpy(ret, s->items.ptr + s->items.len, sizeof *ret);
        s->nbusy++;
    } else {
        pthread_cond_broadcast(&s->more);
    }
    pthread_mutex_unlock(&s->lock);
    return any;
}

static size_t waiting(Scan *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->items.len / sizeof(ScanItem);
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void fail(Scan *s, const Err *e)
{
    pthread_mutex_lock(&s->lock);
    if (!s->failed)
        s->err = *e;
    s->failed = true;
    s->stop = true;
    pthread_cond_broadcast(&s->more);
    pthread_mutex_unlock(&s->lock);
}

/* ---- names ---- */

static const char *shown(const Scan *s, const ScanDir *d)
{
    (void)s;
    return d->len ? d->path : ".";
}

/* The path of a name in `d`, valid until the next one. */
static const char *path_of(Worker *w, const ScanDir *d, const char *name, size_t len)
{
    w->path.len = 0;
    if (d->len) {
        buf_add(&w->path, d->path, d->len);
        buf_putc(&w->path, '/');
    }
    buf_add(&w->path, name, len);
    buf_putc(&w->path, 0);
    w->path.len--;
    return w->path.ptr;
}

static const IndexEntry *old_entry(const Scan *s, const ScanDir *d, const char *name, size_t *from)
{
    size_t lo = *from, hi = d->old ? d->old->n : 0;
    const IndexEntry *v = d->old ? &s->spec.index->entries[d->old->first] : NULL;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(index_text(s->spec.index, v[mid].name), name);
        if (!c) {
            *from = mid + 1;
            return &v[mid];
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* What the ignore file and the filter make of a name; false: it is not there. */
static bool is_seen(Worker *w, const ScanDir *d, const char *path, size_t len, bool is_dir,
                    IgnoreState *state, uint8_t *flags)
{
    const ScanSpec *sp = &w->scan->spec;
    *flags = 0;
    if (sp->ignore && !is_dir &&
        ignore_excludes(sp->ignore, ignore_decide(sp->ignore, &d->state, path, len)))
        return false;
    if (sp->ignore && is_dir) {
        uint64_t *bits = NEW_N(&w->arena, uint64_t, ignore_words(sp->ignore));
        *state = ignore_enter(sp->ignore, &d->state, path, len, bits);
        if (state->prune)
            return false;
        *flags = state->excluded ? INDEX_PASSAGE : 0;
    }
    if (!sp->filter)
        return true;
    size_t skip = *sp->dir ? strlen(sp->dir) + 1 : 0;
    ViewSight sight = sp->filter->sight(sp->filter->arg, path + skip, is_dir);
    *flags |= sight == SIGHT_PASSAGE ? INDEX_PASSAGE | INDEX_MARKED : 0;
    return sight != SIGHT_HIDDEN;
}

static ScanDir *new_dir(Worker *w, const ScanDir *up, const char *path, size_t len)
{
    ScanDir *d = NEW(&w->arena, ScanDir);
    d->path = arena_strndup(&w->arena, path, len);
    d->len = len;
    d->depth = up->depth + 1;
    d->dev = up->dev;
    d->local = up->local;
    return d;
}

static unsigned char type_of(int fd, const struct dirent64 *de)
{
    struct stat st;
    if (de->d_type != DT_UNKNOWN || fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return de->d_type;
    return (unsigned char)IFTODT(st.st_mode);
}

static void add_name(Worker *w, ScanDir *d, int fd, const struct dirent64 *de)
{
    size_t len = strlen(de->d_name);
    unsigned char type = type_of(fd, de);
    ScanFile f = {.len = (uint16_t)len};
    IgnoreState state = {0};
    if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") || type == DT_SOCK)
        return; /* no archive can hold a socket */
    const char *path = path_of(w, d, de->d_name, len);
    if (!is_seen(w, d, path, w->path.len, type == DT_DIR, &state, &f.flags))
        return;
    if (type == DT_DIR) {
        f.dir = new_dir(w, d, path, w->path.len);
        f.dir->state = state;
        f.dir->flags = f.flags;
        f.name = f.dir->path + f.dir->len - len;
    } else {
        f.name = arena_strndup(&w->arena, de->d_name, len);
    }
    buf_add(&w->names, &f, sizeof f);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const ScanFile *)a)->name, ((const ScanFile *)b)->name);
}

/* Whether what failed of a directory did so because it is gone, as those of programs are that work
 * beside us: then it was never there. */
static bool is_gone(Scan *s, ScanDir *d, bool failed)
{
    if (failed && errno == ENOENT && d != s->top)
        d->gone = s->changed = s->stale = true;
    return d->gone;
}

static bool read_names(Worker *w, ScanDir *d, int fd, Err *e)
{
    ssize_t n;
    w->names.len = 0;
    while ((n = getdents64(fd, w->dents, sizeof w->dents)) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *de = (const void *)(w->dents + at);
            add_name(w, d, fd, de);
            at += de->d_reclen;
        }
    if (is_gone(w->scan, d, n < 0))
        return true;
    if (n < 0)
        return err_errno(e, ERR_DOCKERFILE, "read directory '%s'", shown(w->scan, d));
    d->nfile = w->names.len / sizeof(ScanFile);
    if (atomic_fetch_add(&w->scan->nentry, d->nfile) + d->nfile > TREE_MAX_ENTRIES)
        return err_set(e, ERR_DOCKERFILE, "more than %d files", TREE_MAX_ENTRIES);
    d->files = malloc(w->names.len + 1);
    if (!d->files)
        die_nomem();
    if (d->nfile)
        memcpy(d->files, w->names.ptr, w->names.len);
    if (d->nfile)
        qsort(d->files, d->nfile, sizeof *d->files, by_name);
    return true;
}

/* ---- contents ---- */

bool scan_is_local(int fd)
{
    /* What changes these file systems is not only this kernel. FUSE may be anything. */
    static const unsigned long OTHERS[] = {
        NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, 0xFF534D42 /* CIFS */, 0xFE534D42 /* SMB2 */, V9FS_MAGIC,
        FUSE_SUPER_MAGIC, CODA_SUPER_MAGIC, AFS_SUPER_MAGIC, 0x6B414653 /* kAFS */,
        0x00C36400 /* Ceph */, 0x01161970 /* GFS2 */, 0x7461636F /* OCFS2 */,
        0x0BD00BD0 /* Lustre */, 0x47504653 /* GPFS */,
        /* Images, whose maker chose inodes and all times: the next one may have the same. */
        SQUASHFS_MAGIC, EROFS_SUPER_MAGIC_V1, ISOFS_SUPER_MAGIC, CRAMFS_MAGIC, UDF_SUPER_MAGIC,
        0x7275 /* romfs */};
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    for (size_t i = 0; i < NELEM(OTHERS); i++)
        if ((unsigned long)fs.f_type == OTHERS[i])
            return false;
    return true;
}

/* Whether something has attributes that a layer would carry. */
static bool has_xattrs(int fd)
{
    char names[4096];
    ssize_t n = flistxattr(fd, names, sizeof names);
    if (n < 0)
        return errno == ERANGE;
    for (const char *p = names; p < names + n; p += strlen(p) + 1)
        if (xattr_kept(p))
            return true;
    return false;
}

bool scan_file(int fd, const struct stat *st, Digest *ret, bool *ret_odd, Err *e)
{
    IndexStat before, after;
    struct stat now;
    uint64_t size;
    index_stat(st, &before);
    if (!digest_fd(fd, ret, &size, e))
        return false;
    if (fstat(fd, &now) < 0)
        return err_errno(e, ERR_DOCKERFILE, "stat");
    *ret_odd = has_xattrs(fd);
    index_stat(&now, &after);
    return (index_same(&before, &after) && size == before.size) ||
           err_set(e, ERR_DOCKERFILE,
                   "changed while it was read; build again when nobody writes to it");
}

static bool read_file(Worker *w, const ScanDir *d, int fd, const struct stat *st, ScanFile *f,
                      Err *e)
{
    bool odd;
    (void)w;
    /* O_NONBLOCK: a FIFO that came in the file's place must not hold the build up. */
    scoped(fd) int in = openat(fd, f->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    const char *slash = d->len ? "/" : "";
    f->gone = in < 0 && errno == ENOENT;
    if (f->gone)
        return true;
    if (in < 0)
        return err_errno(e, ERR_DOCKERFILE, "open '%s%s%s'", d->path, slash, f->name);
    if (!scan_file(in, st, &f->content, &odd, e))
        return err_wrap(e, "'%s%s%s'", d->path, slash, f->name);
    f->flags |= odd ? INDEX_ODD : 0;
    return true;
}

static bool read_target(Worker *w, const ScanDir *d, int fd, ScanFile *f, Err *e)
{
    char target[TREE_PATH_MAX];
    ssize_t n = readlinkat(fd, f->name, target, sizeof target - 1);
    f->gone = n < 0 && errno == ENOENT;
    if (f->gone)
        return true;
    if (n < 0)
        return err_errno(e, ERR_DOCKERFILE, "read link '%s'", path_of(w, d, f->name, f->len));
    f->link = arena_strndup(&w->arena, target, (size_t)n);
    return true;
}

/* Whether something that was looked into has come out as it was, its times aside. */
static bool is_equal(const Scan *s, const ScanFile *f, const IndexEntry *old)
{
    unsigned mask = INDEX_ODD | INDEX_LINKED | INDEX_PASSAGE | INDEX_MARKED;
    if (!old || old->st.mode != f->st.mode || (old->flags & mask) != (f->flags & mask) ||
        f->flags & INDEX_ODD || (f->flags & INDEX_LINKED && old->st.ino != f->st.ino))
        return false;
    if (S_ISREG(f->st.mode))
        return old->st.size == f->st.size && digest_eq(&old->content, &f->content);
    if (S_ISLNK(f->st.mode))
        return !strcmp(index_text(s->spec.index, old->more), f->link);
    return S_ISDIR(f->st.mode) || old->st.size == f->st.size;
}

static bool look_at(Worker *w, ScanDir *d, int fd, ScanFile *f, const IndexEntry *old, Err *e)
{
    struct stat st;
    unsigned mask = INDEX_PASSAGE | INDEX_MARKED;
    if (fstatat(fd, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        f->gone = errno == ENOENT;
        atomic_fetch_add(&d->ngone, 1);
        return f->gone || err_errno(e, ERR_DOCKERFILE, "stat '%s'", path_of(w, d, f->name, f->len));
    }
    if (!S_ISDIR(st.st_mode) != !f->dir)
        return err_set(e, ERR_DOCKERFILE,
                       "'%s' changed while the context was read; build again when nobody writes "
                       "to it",
                       path_of(w, d, f->name, f->len));
    index_stat(&st, &f->st);
    f->dev = st.st_dev;
    if (old && d->local && index_same(&old->st, &f->st) && !(old->flags & INDEX_RACY) &&
        (old->flags & mask) == (f->flags & mask)) {
        f->was = old;
        f->flags = old->flags;
        if (f->flags & INDEX_LINKED) /* which others have its inode is not in the index */
            atomic_fetch_add(&d->nkept, 1);
        atomic_fetch_add(&d->nexact, 1);
        atomic_fetch_add(&d->nequal, 1);
        return true;
    }
    if (S_ISREG(st.st_mode) && st.st_nlink > 1)
        f->flags |= INDEX_LINKED;
    if (!f->dir)
        w->scan->stale = true;
    if (S_ISREG(st.st_mode) && !read_file(w, d, fd, &st, f, e))
        return false;
    if (S_ISLNK(st.st_mode) && !read_target(w, d, fd, f, e))
        return false;
    atomic_fetch_add(&d->ngone, f->gone);
    atomic_fetch_add(&d->nequal, !f->gone && is_equal(w->scan, f, old));
    return true;
}

/* All names were looked at: is the directory as it was? */
static void compare(Worker *w, ScanDir *d)
{
    Scan *s = w->scan;
    size_t n = d->nfile - d->ngone;
    bool equal = d->old && d->nequal == n && d->old->n == n;
    if (!equal)
        s->changed = s->stale = true;
    d->same = equal && d->nexact == n && !d->ngone && !d->nkept;
    for (size_t i = 0; i < d->nfile; i++)
        d->ndir += d->files[i].dir && !d->files[i].gone;
    d->dirs = NEW_N(&w->arena, ScanDir *, d->ndir + 1);
    for (size_t i = 0, k = 0; i < d->nfile; i++)
        if (d->files[i].dir && !d->files[i].gone)
            d->dirs[k++] = d->files[i].dir;
    if (!d->same)
        return;
    free(d->files);
    d->files = NULL;
}

static bool look(Worker *w, ScanDir *d, int fd, size_t first, size_t n, Err *e)
{
    size_t from = 0;
    for (size_t i = first; i < first + n; i++) {
        if (cancel_wanted())
            return err_set(e, ERR_STEP, "cancelled");
        ScanFile *f = &d->files[i];
        if (!look_at(w, d, fd, f, old_entry(w->scan, d, f->name, &from), e))
            return false;
    }
    if (atomic_fetch_sub(&d->todo, 1) == 1)
        compare(w, d);
    return true;
}

static int open_dir(const Scan *s, const ScanDir *d)
{
    return fs_open_beneath(s->spec.dirfd, d->len ? d->path : ".",
                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
}

/* What is left out may be closed to us: nothing in it is looked for. */
static bool is_closed(int fd)
{
    return (fd < 0 || faccessat(fd, ".", R_OK | X_OK, AT_EACCESS) < 0) && errno == EACCES;
}

/* ---- one directory ---- */

static bool list(Worker *w, ScanDir *d, Err *e)
{
    Scan *s = w->scan;
    struct stat st;
    size_t from = 0, first = 0;
    scoped(fd) int fd = open_dir(s, d);
    if (is_gone(s, d, fd < 0))
        return true;
    if (d->depth > TREE_MAX_DEPTH)
        return err_set(e, ERR_DOCKERFILE, "'%s': directories are nested too deep", d->path);
    bool closed = d->flags & INDEX_PASSAGE && is_closed(fd);
    if ((fd < 0 && !closed) || (!closed && fstat(fd, &st) < 0))
        return err_errno(e, ERR_DOCKERFILE, "read directory '%s'", shown(s, d));
    if (!closed && (st.st_dev != d->dev || d == s->top)) {
        d->dev = st.st_dev;
        d->local = scan_is_local(fd);
    }
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &d->now);
    if (!closed && !read_names(w, d, fd, e))
        return false;
    if (d->gone)
        return true;
    d->odd = !closed && has_xattrs(fd);
    if (d->odd)
        s->changed = true;
    for (size_t i = 0; i < d->nfile; i++) {
        ScanDir *sub = d->files[i].dir;
        if (!sub)
            continue;
        const IndexEntry *old = old_entry(s, d, d->files[i].name, &from);
        if (old && S_ISDIR(old->st.mode))
            sub->old = &s->spec.index->blocks[old->more];
        push(s, (ScanItem){sub, 0, 0});
    }
    d->todo = (unsigned)(d->nfile / CHUNK + 1);
    for (; d->nfile - first >= CHUNK; first += CHUNK)
        push(s, (ScanItem){d, first, CHUNK});
    return look(w, d, fd, first, d->nfile - first, e);
}

static bool look_again(Worker *w, const ScanItem *it, Err *e)
{
    scoped(fd) int fd = open_dir(w->scan, it->dir);
    if (is_gone(w->scan, it->dir, fd < 0))
        return true;
    if (fd < 0)
        return err_errno(e, ERR_DOCKERFILE, "read directory '%s'", shown(w->scan, it->dir));
    return look(w, it->dir, fd, it->first, it->n, e);
}

/* ---- threads ---- */

static void *thread_main(void *arg);

static Worker *new_worker(Scan *s)
{
    Worker *w = malloc(sizeof *w);
    if (!w)
        die_nomem();
    memset(w, 0, offsetof(Worker, dents));
    w->scan = s;
    s->workers[s->nworker++] = w;
    return w;
}

/* Where no thread is to be had, those that are there do it all. */
static void start_threads(Scan *s)
{
    unsigned n = cpu_count() < MAX_THREADS ? cpu_count() : MAX_THREADS;
    while (s->nworker < n) {
        Worker *w = new_worker(s);
        if (pthread_create(&w->thread, NULL, thread_main, w) != 0)
            return;
        s->nthread++;
    }
}

static void work(Worker *w, bool may_start)
{
    ScanItem it;
    for (bool busy = false; pop(w->scan, busy, &it); busy = true) {
        Err e = ERR_INIT;
        if (!(it.n ? look_again(w, &it, &e) : list(w, it.dir, &e)))
            fail(w->scan, &e);
        if (may_start && w->scan->nworker == 1 && waiting(w->scan) >= BEGIN_THREADS)
            start_threads(w->scan);
    }
}

static void *thread_main(void *arg)
{
    work(arg, false);
    return NULL;
}

bool scan_new(const ScanSpec *spec, Scan **ret, Err *e)
{
    Scan *s = calloc(1, sizeof *s);
    ScanDir none = {0};
    if (!s)
        die_nomem();
    s->spec = *spec;
    s->err = (Err)ERR_INIT;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->more, NULL);
    Worker *w = new_worker(s);
    s->top = new_dir(w, &none, spec->dir, strlen(spec->dir));
    s->top->depth = 0;
    if (spec->state)
        s->top->state = *spec->state;
    if (spec->state && spec->state->excluded)
        s->top->flags = INDEX_PASSAGE;
    if (spec->root)
        s->top->old = &spec->index->blocks[spec->root->block];
    push(s, (ScanItem){s->top, 0, 0});
    work(w, true);
    for (size_t i = 1; i <= s->nthread; i++)
        (void)pthread_join(s->workers[i]->thread, NULL);
    buf_done(&s->items);
    if (!s->failed) {
        *ret = s;
        return true;
    }
    *e = s->err;
    scan_free(s);
    return false;
}

static void free_files(ScanDir *d)
{
    for (size_t i = 0; i < d->nfile && d->files; i++)
        if (d->files[i].dir)
            free_files(d->files[i].dir);
    for (size_t i = 0; i < d->ndir && !d->files; i++)
        free_files(d->dirs[i]);
    free(d->files);
    d->files = NULL;
}

void scan_free(Scan *s)
{
    if (!s)
        return;
    free_files(s->top);
    for (size_t i = 0; i < s->nworker; i++) {
        arena_done(&s->workers[i]->arena);
        buf_done(&s->workers[i]->path);
        buf_done(&s->workers[i]->names);
        free(s->workers[i]);
    }
    (void)pthread_cond_destroy(&s->more);
    (void)pthread_mutex_destroy(&s->lock);
    buf_done(&s->items);
    free(s);
}

bool scan_unchanged(const Scan *s)
{
    return s->spec.root && !s->changed;
}

bool scan_stale(const Scan *s)
{
    return !s->spec.root || s->stale;
}

/* ---- what came of it ---- */

/* One name with what is known of it, from the scan or from the index. */
typedef struct Fact {
    const IndexStat *st;
    const char *name, *link;
    const ScanDir *dir;
    const Digest *content;
    size_t len;
    uint64_t dev;
    uint8_t flags;
} Fact;

/* The i-th name of a directory; `ndir` counts its directories. False: it is not there any more. */
static bool fact_of(const Scan *s, const ScanDir *d, size_t i, size_t *ndir, Fact *ret)
{
    const ScanFile *f = d->same ? NULL : &d->files[i];
    const IndexEntry *t = f ? f->was : &s->spec.index->entries[d->old->first + i];
    *ret = (Fact){0};
    if (f && f->gone)
        return false;
    if (t) {
        ret->st = &t->st;
        ret->name = index_text(s->spec.index, t->name);
        ret->len = t->name_len;
        ret->link = S_ISLNK(t->st.mode) ? index_text(s->spec.index, t->more) : NULL;
        ret->content = &t->content;
        ret->flags = t->flags;
    } else {
        ret->st = &f->st;
        ret->name = f->name;
        ret->len = f->len;
        ret->link = f->link;
        ret->content = &f->content;
        ret->flags = f->flags;
        if (index_racy(&f->st, d->now) || !d->local)
            ret->flags |= INDEX_RACY;
    }
    ret->dev = f ? f->dev : 0;
    if (S_ISDIR(ret->st->mode)) {
        ret->dir = d->dirs[(*ndir)++];
        if (ret->dir->gone)
            return false;
        ret->flags &= (uint8_t) ~(INDEX_ODD | INDEX_RACY);
        ret->flags |= ret->dir->odd ? INDEX_ODD : 0;
    }
    return true;
}

static size_t count(const ScanDir *d)
{
    return d->same ? d->old->n : d->nfile;
}

typedef struct Lister {
    const Scan *scan;
    Arena *arena;
    Tree *out;
    Map inodes; /* "dev:ino" -> group */
    uint64_t ngroup;
    size_t skip; /* bytes of a path that are the scanned directory's */
    Err *e;
} Lister;

static uint32_t group_of(Lister *l, const Fact *k)
{
    uint64_t group;
    const char *id = arena_printf(l->arena, "%llx:%llx", (unsigned long long)k->dev,
                                  (unsigned long long)k->st->ino);
    if (!map_get(&l->inodes, id, &group)) {
        group = ++l->ngroup;
        (void)map_put(&l->inodes, id, group);
    }
    return (uint32_t)group;
}

static bool add_entry(Lister *l, const ScanDir *d, const Fact *k)
{
    const IndexStat *st = k->st;
    bool device = S_ISCHR(st->mode) || S_ISBLK(st->mode);
    char *from = arena_alloc(l->arena, d->len + k->len + 2), *at = from;
    if (d->len) {
        memcpy(at, d->path, d->len);
        at += d->len;
        *at++ = '/';
    }
    memcpy(at, k->name, k->len);
    TreeEntry *t = ARENA_PUSH(l->arena, l->out->v, l->out->n, l->out->cap);
    *t = (TreeEntry){.path = from + l->skip,
                     .from = from,
                     .type = tree_type(st->mode),
                     .mode = S_ISLNK(st->mode) ? 0777 : st->mode & 07777,
                     .size = S_ISREG(st->mode) ? st->size : 0,
                     .link = k->link ? arena_strdup(l->arena, k->link) : NULL,
                     .major = device ? major(st->size) : 0,
                     .minor = device ? minor(st->size) : 0,

                     .link_group = k->flags & INDEX_LINKED ? group_of(l, k) : 0,
                     .content = *k->content,
                     .passage = k->flags & INDEX_MARKED,
                     .racy = k->flags & INDEX_RACY,
                     .mtime = {st->mtime, st->mtime_ns},
                     .ctime = {st->ctime, st->ctime_ns}};
    return !(k->flags & INDEX_ODD) || tree_xattrs(l->scan->spec.dirfd, from, l->arena, t, l->e);
}

static bool list_below(Lister *l, const ScanDir *d)
{
    for (size_t i = 0, ndir = 0; i < count(d); i++) {
        Fact k;
        if (!fact_of(l->scan, d, i, &ndir, &k))
            continue;
        size_t own = l->out->n + 1;
        if (!add_entry(l, d, &k) || (k.dir && !list_below(l, k.dir)))
            return false;
        if (k.flags & INDEX_PASSAGE && l->out->n == own)
            l->out->n--;
    }
    return true;
}

bool scan_tree(const Scan *s, Arena *a, Tree *out, Err *e)
{
    Lister l = {.scan = s, .arena = a, .out = out, .e = e};
    l.skip = *s->spec.dir ? strlen(s->spec.dir) + 1 : 0;
    if (out->cap < out->n + s->nentry) {
        out->cap = out->n + s->nentry;
        out->v = arena_grow(a, out->v, out->n, out->cap, sizeof *out->v);
    }
    bool ok = list_below(&l, s->top);
    map_done(&l.inodes);
    return ok;
}

static size_t count_facts(const Scan *s, const ScanDir *d)
{
    size_t n = 0;
    for (size_t i = 0, ndir = 0; i < count(d); i++) {
        Fact k;
        n += fact_of(s, d, i, &ndir, &k);
    }
    return n;
}

static uint32_t write_dir(const Scan *s, const ScanDir *d, IndexWriter *w)
{
    uint32_t block = index_add_block(w, (uint32_t)count_facts(s, d));
    for (size_t i = 0, ndir = 0, to = 0; i < count(d); i++) {
        Fact k;
        if (!fact_of(s, d, i, &ndir, &k))
            continue;
        IndexEntry t = {.st = *k.st, .name_len = (uint16_t)k.len, .flags = k.flags};
        t.name = index_add_text(w, k.name, k.len);
        if (S_ISREG(k.st->mode))
            t.content = *k.content;
        if (k.dir)
            t.more = write_dir(s, k.dir, w);
        else if (k.link)
            t.more = index_add_text(w, k.link, strlen(k.link));
        *index_entry(w, block, (uint32_t)to++) = t;
    }
    return block;
}

uint32_t scan_write(const Scan *s, IndexWriter *w)
{
    (void)buf_reserve(&w->entries, s->nentry * sizeof(IndexEntry));
    return write_dir(s, s->top, w);
}
