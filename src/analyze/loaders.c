/*
 * analyze/loaders.c - will the programs of a layer find their loader and libraries in the image?
 */
#include <errno.h>

#include "analyze/analyze.h"
#include "analyze/elf.h"
#include "base/fs.h"

enum { MAX_FINDINGS = 5, MAX_DEPTH = 128, CONF_MAX = 1 << 20 };

typedef struct Search {
    Arena *arena;      /* for the walk */
    Arena *findings;   /* for what is said */
    const View *image; /* NULL: only look whether there is a program */
    bool program;
    StrList dirs; /* where the loader looks without being told */
    bool dirs_known;
    StrList *out;
    Err *e;
} Search;

static bool exists(Search *s, const char *path, bool *ret)
{
    ViewNode node;
    Err ignored = ERR_INIT; /* a loop of links is a missing file here */
    *ret = view_lookup(s->image, path, VIEW_FOLLOW, &node, &ignored) && node.exists;
    return true;
}

/* Lines of a file in the image, "" when it is not there. */
static void add_lines(Search *s, const char *path)
{
    scoped(buf) Buf text = BUF_INIT;
    ViewNode node;
    Err ignored = ERR_INIT;
    char *save = NULL;
    if (!view_lookup(s->image, path, VIEW_FOLLOW, &node, &ignored) || !node.exists ||
        !S_ISREG(node.st.st_mode))
        return;
    scoped(fd) int fd = view_open(s->image, &node);
    if (fd < 0 || !fs_read_all(fd, CONF_MAX, &text, &ignored) || !text.ptr)
        return;
    for (char *l = strtok_r(text.ptr, "\n:", &save); l; l = strtok_r(NULL, "\n:", &save))
        if (l[0] == '/')
            strlist_add(s->arena, &s->dirs, l);
}

static void default_dirs(Search *s)
{
    static const char *const DIRS[] = {"/lib",
                                       "/usr/lib",
                                       "/lib64",
                                       "/usr/lib64",
                                       "/usr/local/lib",
                                       "/lib/x86_64-linux-gnu",
                                       "/usr/lib/x86_64-linux-gnu",
                                       "/lib/aarch64-linux-gnu",
                                       "/usr/lib/aarch64-linux-gnu"};
    ViewNode node;
    StrList names;
    Err ignored = ERR_INIT;
    if (s->dirs_known)
        return;
    s->dirs_known = true;
    for (size_t i = 0; i < NELEM(DIRS); i++)
        strlist_add(s->arena, &s->dirs, DIRS[i]);
    add_lines(s, "/etc/ld.so.conf");
    add_lines(s, "/etc/ld-musl-x86_64.path");
    add_lines(s, "/etc/ld-musl-aarch64.path");
    if (view_lookup(s->image, "/etc/ld.so.conf.d", VIEW_FOLLOW, &node, &ignored) && node.exists &&
        view_list(s->image, s->arena, &node, &names, &ignored))
        for (size_t i = 0; i < names.n; i++)
            add_lines(s, arena_printf(s->arena, "/etc/ld.so.conf.d/%s", names.v[i]));
}

static bool found_in(Search *s, const char *dirs, const char *origin, const char *lib)
{
    char *list = arena_strdup(s->arena, dirs), *save = NULL;
    for (char *d = strtok_r(list, ":", &save); d; d = strtok_r(NULL, ":", &save)) {
        bool there;
        const char *rest = str_starts(d, "$ORIGIN")     ? d + 7
                           : str_starts(d, "${ORIGIN}") ? d + 9
                                                        : NULL;
        const char *path = rest ? arena_printf(s->arena, "%s%s/%s", origin, rest, lib)
                                : arena_printf(s->arena, "%s/%s", d, lib);
        if (exists(s, path, &there) && there)
            return true;
    }
    return false;
}

static bool library_found(Search *s, const ElfFacts *f, const char *path, const char *lib)
{
    bool there;
    char *dir = path_dir(s->arena, path);
    if (strchr(lib, '/'))
        return exists(s, lib, &there) && there;
    if (str_starts(lib, "ld-") || str_starts(lib, "libc.musl-") ||
        (f->interp && !strcmp(path_base(f->interp), lib)))
        return true; /* the loader itself, which was found */
    if (f->runpath && found_in(s, f->runpath, dir, lib))
        return true;
    default_dirs(s);
    for (size_t i = 0; i < s->dirs.n; i++)
        if (found_in(s, s->dirs.v[i], dir, lib))
            return true;
    return false;
}

static void finding(Search *s, const ElfFacts *f, const char *path, const char *what)
{
    const char *fix = f->is_go ? "build it with CGO_ENABLED=0 (ENV CGO_ENABLED=0 before RUN go "
                                 "build), or use a base with the same C library"
                               : "link it statically, or use a base with the same C library";
    if (s->out->n < MAX_FINDINGS)
        strlist_add(s->findings, s->out,
                    arena_printf(s->arena, "%s cannot start in this image: %s is not in it; %s",
                                 path, what, fix));
}

/* Whether the image shows this very file, and none that hides it. */
static bool is_shown(const Search *s, const struct stat *st, const char *path)
{
    ViewNode node;
    Err ignored = ERR_INIT;
    return view_lookup(s->image, path, VIEW_NOFOLLOW, &node, &ignored) && node.exists &&
           node.st.st_ino == st->st_ino && node.st.st_dev == st->st_dev;
}

static void check_program(Search *s, int fd, const struct stat *st, const char *path)
{
    ElfFacts f = elf_read(s->arena, fd);
    bool there;
    if (!f.is_elf || !f.interp)
        return;
    s->program = true;
    if (!s->image || !is_shown(s, st, path))
        return;
    if (!exists(s, f.interp, &there) || !there) {
        finding(s, &f, path, arena_printf(s->arena, "its loader %s", f.interp));
        return;
    }
    for (size_t i = 0; i < f.needed.n; i++)
        if (!library_found(s, &f, path, f.needed.v[i])) {
            finding(s, &f, path, arena_printf(s->arena, "the library %s it needs", f.needed.v[i]));
            return;
        }
}

static bool enough(const Search *s)
{
    return s->image ? s->out->n >= MAX_FINDINGS : s->program;
}

static bool walk(Search *s, int dirfd, const char *prefix, unsigned depth)
{
    StrList names;
    if (depth > MAX_DEPTH || !fs_list(s->arena, dirfd, &names, s->e))
        return depth > MAX_DEPTH;
    for (size_t i = 0; i < names.n && !enough(s); i++) {
        struct stat st;
        if (fstatat(dirfd, names.v[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        bool dir = S_ISDIR(st.st_mode);
        if (!dir && (!S_ISREG(st.st_mode) || !(st.st_mode & 0111) || st.st_size < 64))
            continue;
        scoped(fd) int fd =
            openat(dirfd, names.v[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (dir ? O_DIRECTORY : 0));
        if (fd < 0)
            continue;
        const char *path = arena_printf(s->arena, "%s/%s", prefix, names.v[i]);
        if (dir && !walk(s, fd, path, depth + 1))
            return false;
        if (!dir)
            check_program(s, fd, &st, path);
    }
    return true;
}

bool analyze_loaders(Arena *a, int layer, const View *image, StrList *out, Err *e)
{
    scoped(arena) Arena scratch = {0};
    Search s = {.arena = &scratch, .findings = a, .image = image, .out = out, .e = e};
    return walk(&s, layer, "", 0);
}

bool analyze_has_programs(int layer, bool *ret, Err *e)
{
    scoped(arena) Arena scratch = {0};
    Search s = {.arena = &scratch, .e = e};
    if (!walk(&s, layer, "", 0))
        return false;
    *ret = s.program;
    return true;
}
