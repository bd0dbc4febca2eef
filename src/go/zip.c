/*
 * go/zip.c - a module's zip to its h1, and to the tree that the go command would make of it.
 */
#include "go/zip.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/pool.h"
#include "go/h1.h"
#include "go/zipnames.h"
#include "go/zipread.h"

enum { SHARES_MAX = 4, SHARE_MIN = 16 << 20, SHARE_FILES_MIN = 1000 };

struct GoZip {
    Arena arena;
    int fd; /* borrowed */
    ZipDir dir;
    ZipReader *reader;
    const char *module; /* "path@version" */
    const char *prefix; /* the same and a slash */
    uint64_t size;
};

void go_zip_free(GoZip *z)
{
    if (!z)
        return;
    zip_reader_free(z->reader);
    arena_done(&z->arena);
    free(z);
}

static bool open_dir(GoZip *z, int fd, Err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(e, ERR_STORE, "stat zip");
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_STORE, "zip: not a regular file");
    if (st.st_size > GO_ZIP_MAX)
        return err_set(e, ERR_NETWORK, "zip: larger than %d bytes", GO_ZIP_MAX);
    return zip_dir_read(&z->arena, fd, (uint64_t)st.st_size, &z->dir, e) &&
           zip_names_check(&z->dir, z->prefix, &z->size, e);
}

bool go_zip_open(int fd, const GoModule *m, GoZip **ret, Err *e)
{
    if (!go_module_check(m, e))
        return false;
    if (!go_version_is_canonical(m->version))
        return err_set(e, ERR_DOCKERFILE, "%s@%s: version is not canonical", m->path, m->version);
    GoZip *z = calloc(1, sizeof *z);
    if (!z)
        die_nomem();
    z->module = arena_printf(&z->arena, "%s@%s", m->path, m->version);
    z->prefix = arena_printf(&z->arena, "%s/", z->module);
    if (!open_dir(z, fd, e)) {
        go_zip_free(z);
        return err_wrap(e, "%s@%s", m->path, m->version);
    }
    z->fd = fd;
    z->reader = zip_reader_new(fd);
    *ret = z;
    return true;
}

uint64_t go_zip_size(const GoZip *z)
{
    return z->size;
}

size_t go_zip_count(const GoZip *z)
{
    return z->dir.n;
}

/* ---- unpacking ---- */

/* A tree that grows in the order of names, so that what is in a directory comes together. */
typedef struct Growth {
    const GoZipTree *tree;
    Arena arena;
    int fd;          /* the directory files go into now; -1 before the first */
    const char *dir; /* its path; "" for the root */
    StrList dirs;    /* all that were made, parents first */
    bool beside;     /* others grow in the same directory */
    bool looked;     /* whether the umask takes something from files is known */
    bool masked;     /* and it does */
} Growth;

/* Make `name` in the open directory *fd and go into it. Another growth may have made it; no file is
 * there, for names were checked. */
static bool enter(Growth *g, int *fd, const char *name, const char *path, Err *e)
{
    bool made = mkdirat(*fd, name, 0755) == 0;
    if (!made && (errno != EEXIST || !g->beside))
        return err_errno(e, ERR_STORE, "create directory '%s'", path);
    int next = fs_open_beneath(*fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (next < 0)
        return err_errno(e, ERR_STORE, "open directory '%s'", path);
    close(*fd);
    *fd = next;
    if (made)
        strlist_add(&g->arena, &g->dirs, path);
    return true;
}

/* How much of `b`, in whole elements, begins as `a` does. */
static size_t common_dirs(const char *a, const char *b)
{
    size_t n = 0, slash = 0;
    while (a[n] && a[n] == b[n]) {
        if (a[n] == '/')
            slash = n;
        n++;
    }
    bool whole = (!a[n] || a[n] == '/') && (!b[n] || b[n] == '/');
    return whole ? n : slash;
}

static bool go_to(Growth *g, const char *dir, Err *e)
{
    size_t at = g->fd >= 0 ? common_dirs(g->dir, dir) : 0;
    const char *known = at ? arena_strndup(&g->arena, dir, at) : ".";
    scoped(fd) int fd = fs_open_beneath(g->tree->dirfd, known, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open directory '%s'", known);
    while (dir[at]) {
        size_t from = at + (dir[at] == '/'), n = strcspn(dir + from, "/");
        const char *name = arena_strndup(&g->arena, dir + from, n);
        at = from + n;
        if (!enter(g, &fd, name, arena_strndup(&g->arena, dir, at), e))
            return false;
    }
    if (g->fd >= 0)
        close(g->fd);
    g->fd = fd_take(&fd);
    g->dir = dir;
    return true;
}

/* Mode 0444 whatever the umask takes; it is looked at once, for files are many. */
static bool set_mode(Growth *g, int fd, Err *e)
{
    struct stat st;
    if (!g->looked && fstat(fd, &st) < 0)
        return err_errno(e, ERR_STORE, "stat");
    if (!g->looked)
        g->masked = (st.st_mode & 07777) != 0444;
    g->looked = true;
    return !g->masked || fchmod(fd, 0444) == 0 || err_errno(e, ERR_STORE, "chmod");
}

static bool new_file(Growth *g, Str name, int *ret_fd, Err *e)
{
    char base[NAME_MAX + 1] = {0};
    const char *slash = memrchr(name.ptr, '/', name.len);
    Str dir = {name.ptr, slash ? (size_t)(slash - name.ptr) : 0};
    size_t skip = dir.len + (slash != NULL);
    if (name.len - skip > NAME_MAX)
        return err_set(e, ERR_STORE, "create file: its name has %zu bytes", name.len - skip);
    memcpy(base, name.ptr + skip, name.len - skip);
    bool here = g->fd >= 0 && str_eq(dir, g->dir);
    if (!here && !go_to(g, arena_strndup(&g->arena, dir.ptr, dir.len), e))
        return false;
    scoped(fd) int fd =
        openat(g->fd, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "create file '%s'", base);
    if (!set_mode(g, fd, e))
        return err_wrap(e, "change mode of '%s'", base);
    *ret_fd = fd_take(&fd);
    return true;
}

static bool set_time(const Growth *g, int fd, Err *e)
{
    struct timespec both[2];
    if (!g->tree->mtime)
        return true;
    both[0] = both[1] = *g->tree->mtime;
    return futimens(fd, both) == 0 || err_errno(e, ERR_STORE, "set time of a file");
}

/* All is in them: a directory without write permission takes no changes. */
static bool finish_dirs(const Growth *g, Err *e)
{
    mode_t mode = g->tree->writable_dirs ? 0755 : 0555;
    for (size_t i = 0; i < g->dirs.n + 1; i++) {
        const char *path = i < g->dirs.n ? g->dirs.v[i] : ".";
        scoped(fd) int fd = fs_open_beneath(g->tree->dirfd, path, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0 || fchmod(fd, mode) < 0)
            return err_errno(e, ERR_STORE, "change mode of directory '%s'", path);
        if (!set_time(g, fd, e))
            return false;
    }
    return true;
}

static bool check_empty(int dirfd, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names;
    if (!fs_list(&a, dirfd, &names, e))
        return false;
    return !names.n || err_set(e, ERR_STORE, "the directory for a module is not empty");
}

/* ---- reading ---- */

static bool nowhere(void *arg, const void *bytes, size_t n, Err *e)
{
    (void)arg;
    (void)bytes;
    (void)n;
    (void)e;
    return true;
}

static bool to_file(void *arg, const void *bytes, size_t n, Err *e)
{
    const int *fd = arg;
    return fs_write_all(*fd, bytes, n, e);
}

/* One entry to its place in the tree, if there is one, and its digest. */
static bool place(ZipReader *r, const ZipEntry *x, Str name, Growth *g, Digest *ret, Err *e)
{
    scoped(fd) int fd = -1;
    bool file = g && name.len && name.ptr[name.len - 1] != '/';
    if (file && !new_file(g, name, &fd, e))
        return false;
    return zip_reader_entry(r, x, file ? to_file : nowhere, &fd, ret, e) &&
           (!file || set_time(g, fd, e));
}

static Str below_prefix(const GoZip *z, const ZipEntry *x)
{
    size_t skip = strlen(z->prefix);
    return (Str){x->name.ptr + skip, x->name.len - skip};
}

/* Some entries that follow each other, for a thread. */
typedef struct Share {
    const GoZip *z;
    ZipReader *reader;
    size_t from, to;
    Digest *digests; /* of all entries */
    Growth growth;   /* without a tree: to nowhere */
    pthread_t thread;
    bool ok;
    Err e;
} Share;

static void *share_main(void *arg)
{
    Share *s = arg;
    s->ok = true;
    for (size_t i = s->from; s->ok && i < s->to; i++)
        s->ok = place(s->reader, &s->z->dir.v[i], below_prefix(s->z, &s->z->dir.v[i]),
                      s->growth.tree ? &s->growth : NULL, &s->digests[i], &s->e);
    return NULL;
}

/* Where the share begins that has this part of the bytes and the files, which cost, too. */
static size_t share_begin(const GoZip *z, size_t part, size_t nshare)
{
    enum { FILE_COST = 32 << 10 };
    uint64_t all = z->size + z->dir.n * (uint64_t)FILE_COST, sum = 0;
    size_t i = 0;
    for (; i < z->dir.n && sum < all / nshare * part; i++)
        sum += z->dir.v[i].size + FILE_COST;
    return part == nshare ? z->dir.n : i;
}

/* A big zip by several threads: the last of many modules keeps one processor busy, else. */
static size_t share_count(const GoZip *z)
{
    size_t n = cpu_count() < SHARES_MAX ? cpu_count() : SHARES_MAX;
    return z->size < SHARE_MIN && z->dir.n < SHARE_FILES_MIN ? 1 : n;
}

static bool run_shares(const GoZip *z, Share *v, size_t n, Err *e)
{
    bool started[SHARES_MAX] = {false}, ok = true;
    for (size_t i = 1; i < n; i++)
        started[i] = pthread_create(&v[i].thread, NULL, share_main, &v[i]) == 0;
    for (size_t i = 0; i < n; i++)
        if (!started[i])
            (void)share_main(&v[i]);
    for (size_t i = 1; i < n; i++)
        if (started[i])
            (void)pthread_join(v[i].thread, NULL);
    for (size_t i = 0; ok && i < n; i++) {
        ok = v[i].ok;
        if (!ok)
            *e = v[i].e;
    }
    return ok || err_wrap(e, "%s", z->module);
}

/* The hash is of the list in the order of names. */
static void list_hash(const GoZip *z, const Digest *digests, char ret_h1[static GO_H1_SIZE])
{
    Hasher list;
    Digest d;
    hash_init(&list);
    for (size_t i = 0; i < z->dir.n; i++)
        h1_add(&list, &digests[i], z->dir.v[i].name);
    hash_end(&list, &d);
    h1_text(&d, ret_h1);
}

static bool each(GoZip *z, const GoZipTree *tree, char ret_h1[static GO_H1_SIZE], Err *e)
{
    scoped(arena) Arena a = {0};
    size_t n = share_count(z);
    Digest *digests = NEW_N(&a, Digest, z->dir.n + 1);
    Share *v = NEW_N(&a, Share, n);
    for (size_t i = 0; i < n; i++)
        v[i] = (Share){.z = z,
                       .reader = i ? zip_reader_new(z->fd) : z->reader,
                       .from = share_begin(z, i, n),
                       .to = share_begin(z, i + 1, n),
                       .digests = digests,
                       .growth = {.tree = tree, .fd = -1, .dir = "", .beside = n > 1},
                       .e = ERR_INIT};
    bool ok = run_shares(z, v, n, e);
    for (size_t i = 0; i < n; i++) {
        ok = ok && (!tree || finish_dirs(&v[i].growth, e));
        if (v[i].growth.fd >= 0)
            close(v[i].growth.fd);
        arena_done(&v[i].growth.arena);
        if (i)
            zip_reader_free(v[i].reader);
    }
    if (ok)
        list_hash(z, digests, ret_h1);
    return ok;
}

bool go_zip_hash(GoZip *z, char ret_h1[static GO_H1_SIZE], Err *e)
{
    return each(z, NULL, ret_h1, e);
}

bool go_zip_extract(GoZip *z, const GoZipTree *tree, char ret_h1[static GO_H1_SIZE], Err *e)
{
    return check_empty(tree->dirfd, e) && each(z, tree, ret_h1, e);
}

typedef struct Bounded {
    Buf *out;
    size_t max;
} Bounded;

static bool to_buf(void *arg, const void *bytes, size_t n, Err *e)
{
    Bounded *b = arg;
    if (n > b->max)
        return err_set(e, ERR_NETWORK, "zip: a file is larger than it may be");
    b->max -= n;
    buf_add(b->out, bytes, n);
    return true;
}

bool go_zip_read(GoZip *z, const char *name, size_t max, Buf *out, bool *ret_found, Err *e)
{
    Digest ignored;
    size_t len = out->len, i = 0;
    Bounded b = {out, max};
    while (i < z->dir.n && !str_eq(below_prefix(z, &z->dir.v[i]), name))
        i++;
    if (i < z->dir.n && !zip_reader_entry(z->reader, &z->dir.v[i], to_buf, &b, &ignored, e)) {
        out->len = len;
        return err_wrap(e, "%s", z->module);
    }
    *ret_found = i < z->dir.n;
    return true;
}
