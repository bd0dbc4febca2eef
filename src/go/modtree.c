/*
 * go/modtree.c - is an index that of a module's directory?
 */
#include <errno.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "go/modindex.h"

enum { DEPTH_MAX = 64, FILE_SIZE_MAX = 256 << 20 };

typedef struct Walk {
    const GoIndex *x;
    size_t met; /* packages of the index */
    Buf source;
} Walk;

/* They are sorted; one that is not is not found. */
static const GoIndexPackage *find_package(const GoIndex *x, const char *dir)
{
    size_t low = 0, high = x->npackage;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = str_order(x->packages[mid].dir, str_c(dir));
        if (!c)
            return &x->packages[mid];
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static bool file_right(Walk *w, const GoIndexFile *f, int dirfd, const char *name)
{
    Err ignored = ERR_INIT;
    scoped(fd) int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    w->source.len = 0;
    return fd >= 0 && str_eq(f->name, name) &&
           fs_read_all(fd, FILE_SIZE_MAX, &w->source, &ignored) &&
           go_index_right(f, (Str){buf_str(&w->source), w->source.len});
}

static bool dir_right(Walk *w, int dirfd, const char *path, unsigned depth);

/* A directory with a go.mod is another module. */
static bool below_right(Walk *w, int dirfd, const char *path, const char *name, unsigned depth)
{
    scoped(arena) Arena a = {0};
    struct stat st;
    scoped(fd) int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || depth > DEPTH_MAX)
        return false;
    if (fstatat(fd, "go.mod", &st, 0) == 0 && !S_ISDIR(st.st_mode))
        return true;
    return dir_right(w, fd, *path ? arena_printf(&a, "%s/%s", path, name) : name, depth);
}

static bool dir_right(Walk *w, int dirfd, const char *path, unsigned depth)
{
    scoped(arena) Arena a = {0};
    StrList names;
    Err ignored = ERR_INIT;
    size_t n = 0;
    const GoIndexPackage *p = find_package(w->x, path);
    if (!p || p->odd || !fs_list(&a, dirfd, &names, &ignored))
        return false;
    w->met++;
    for (size_t i = 0; i < names.n; i++) {
        struct stat st;
        const char *name = names.v[i];
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return false;
        if (S_ISDIR(st.st_mode)) {
            if (!below_right(w, dirfd, path, name, depth + 1))
                return false;
        } else if (!S_ISREG(st.st_mode)) {
            return false;
        } else if (go_index_lists(name)) {
            if (n >= p->nfile || !file_right(w, &p->files[n++], dirfd, name))
                return false;
        }
    }
    return n == p->nfile;
}

bool go_index_of_module(const GoIndex *x, int dirfd)
{
    Walk w = {.x = x};
    bool right = dir_right(&w, dirfd, "", 0) && w.met == x->npackage;
    buf_done(&w.source);
    return right;
}
