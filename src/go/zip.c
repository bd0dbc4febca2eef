/*
 * go/zip.c - a module's zip to its h1, and to the tree that the go command would make of it.
 */
#include "go/zip.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "go/h1.h"
#include "go/zipnames.h"
#include "go/zipread.h"

struct GoZip {
    Arena arena;
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
    bool looked;     /* whether the umask takes something from files is known */
    bool masked;     /* and it does */
} Growth;

/* Make `name` in the open directory *fd and go into it. */
static bool enter(Growth *g, int *fd, const char *name, const char *path, Err *e)
{
    if (mkdirat(*fd, name, 0755) < 0)
        return err_errno(e, ERR_STORE, "create directory '%s'", path);
    int next = fs_open_beneath(*fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (next < 0)
        return err_errno(e, ERR_STORE, "open directory '%s'", path);
    close(*fd);
    *fd = next;
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

/* Children before parents: a directory without write permission takes no changes. */
static bool finish_dirs(Growth *g, Err *e)
{
    mode_t mode = g->tree->writable_dirs ? 0755 : 0555;
    for (size_t i = g->dirs.n + 1; i-- > 0;) {
        const char *path = i ? g->dirs.v[i - 1] : ".";
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
static bool place(GoZip *z, const ZipEntry *x, Str name, Growth *g, Digest *ret, Err *e)
{
    scoped(fd) int fd = -1;
    bool file = g && name.len && name.ptr[name.len - 1] != '/';
    if (file && !new_file(g, name, &fd, e))
        return false;
    return zip_reader_entry(z->reader, x, file ? to_file : nowhere, &fd, ret, e) &&
           (!file || set_time(g, fd, e));
}

static Str below_prefix(const GoZip *z, const ZipEntry *x)
{
    size_t skip = strlen(z->prefix);
    return (Str){x->name.ptr + skip, x->name.len - skip};
}

/* Every entry in the order of names, which is that of the hash. */
static bool each(GoZip *z, Growth *g, char ret_h1[static GO_H1_SIZE], Err *e)
{
    Hasher list;
    Digest d;
    hash_init(&list);
    for (size_t i = 0; i < z->dir.n; i++) {
        const ZipEntry *x = &z->dir.v[i];
        if (!place(z, x, below_prefix(z, x), g, &d, e))
            return err_wrap(e, "%s", z->module);
        h1_add(&list, &d, x->name);
    }
    hash_end(&list, &d);
    h1_text(&d, ret_h1);
    return true;
}

bool go_zip_hash(GoZip *z, char ret_h1[static GO_H1_SIZE], Err *e)
{
    return each(z, NULL, ret_h1, e);
}

bool go_zip_extract(GoZip *z, const GoZipTree *tree, char ret_h1[static GO_H1_SIZE], Err *e)
{
    Growth g = {.tree = tree, .fd = -1, .dir = ""};
    bool ok = check_empty(tree->dirfd, e) && each(z, &g, ret_h1, e) && finish_dirs(&g, e);
    if (g.fd >= 0)
        close(g.fd);
    arena_done(&g.arena);
    return ok;
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
