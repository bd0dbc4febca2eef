/*
 * steps/gospace.c - what a compiler's output depends on and go does not ask about: the name of the
 * space that a step's GOCACHE is in.
 *
 * go names an action by the files of a package, its flags, and the version that the toolchain says
 * it is. It does not look at the toolchain itself, nor at headers and libraries of C. Where those
 * differ, nothing is shared. A layer never changes, so its number stands for what is in it: only
 * which layers matter has to be found out. And what one project's commands wrote is for no other's.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "steps/golang.h"

enum { SMALL = 1 << 20, HEADERS_MAX = 20000 };

/* ---- names ---- */

static bool ends_with_one(const char *name, const char *const *endings, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_ends(name, endings[i]))
            return true;
    return false;
}

bool go_c_file(const char *name)
{
    static const char *const ENDINGS[] = {
        ".h",  ".hh",  ".hpp", ".hxx", ".inc",  ".inl", ".ipp", ".tcc", ".def", ".a",   ".so",
        ".pc", ".o",   ".lo",  ".la",  ".lds",  ".ld",  ".x",   ".c",   ".cc",  ".m",   ".cpp",
        ".s",  ".cxx", ".mm",  ".S",   ".swig", ".i",   ".f",   ".f90", ".sx",  ".syso"};
    return ends_with_one(name, ENDINGS, NELEM(ENDINGS)) || strstr(name, ".so.");
}

/* What no compiler of C reads. */
static bool is_other(const char *name)
{
    static const char *const ENDINGS[] = {
        ".go",  ".mod",  ".sum",  ".work",  ".md",  ".txt", ".yaml", ".yml",      ".json", ".toml",
        ".css", ".html", ".js",   ".ts",    ".tsx", ".jsx", ".svg",  ".png",      ".jpg",  ".gif",
        ".ico", ".sql",  ".tmpl", ".proto", ".log", ".pem", ".crt",  ".gitignore"};
    static const char *const NAMES[] = {"LICENSE", "Makefile", "Dockerfile", "README",
                                        "PATENTS", "NOTICE",   "AUTHORS",    "OWNERS"};
    for (size_t i = 0; i < NELEM(NAMES); i++)
        if (!strcmp(name, NAMES[i]))
            return true;
    return ends_with_one(name, ENDINGS, NELEM(ENDINGS));
}

static bool is_compiler(const char *name)
{
    static const char *const PARTS[] = {"gcc", "g++", "clang",  "cc",   "cpp",     "ld",
                                        "as",  "ar",  "pkg",    "zig",  "lto",     "collect2",
                                        "c++", "tcc", "ranlib", "swig", "gfortran"};
    for (size_t i = 0; i < NELEM(PARTS); i++)
        if (strstr(name, PARTS[i]))
            return true;
    return false;
}

/* What a checksum database said last, which go writes down below its GOPATH. */
static bool is_sumdb(const char *path, const char *name)
{
    return !strcmp(name, "latest") && strstr(path, "/pkg/sumdb/");
}

/* Does C code that is compiled depend on this file? Programs count only where they compile. */
static bool matters_to_c(const char *path, const char *name, const struct stat *st)
{
    if (S_ISREG(st->st_mode) && !go_c_file(name)) {
        if (is_other(name) || is_sumdb(path, name))
            return false;
        if (st->st_mode & 0111 || st->st_size >= SMALL)
            return is_compiler(name);
    }
    return !S_ISSOCK(st->st_mode) && !S_ISFIFO(st->st_mode);
}

/* ---- layers ---- */

typedef struct World {
    StepWork *w;
    StrList apart; /* directories that are looked at otherwise, relative to the root */
    StrList files; /* "number of the layer:path=digest type" */
    bool c;        /* C code may be compiled; without it assembly alone includes files */
    unsigned rank; /* of the layer that is looked at, among those that have such files */
    bool failed;   /* something could not be read: nothing is shared */
} World;

static bool is_apart(const World *x, const char *path)
{
    for (size_t i = 0; i < x->apart.n; i++)
        if (!strcmp(path, x->apart.v[i]))
            return true;
    return false;
}

static bool leads_apart(const World *x, const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < x->apart.n; i++)
        if (!strncmp(x->apart.v[i], path, n) && x->apart.v[i][n] == '/')
            return true;
    return false;
}

/* What a walk looks for. */
typedef struct Search {
    bool (*counts)(const char *path, const char *name, const struct stat *st); /* of no directory */
    bool opaque; /* directories that hide what is below them count too */
} Search;

/* Whether a layer has anything of that outside of those directories; what cannot be read counts. */
static bool has_outside(const World *x, const Search *what, int dirfd, const char *dir,
                        unsigned depth)
{
    scoped(arena) Arena a = {0};
    StrList names;
    Err ignored = ERR_INIT;
    if (depth > TREE_MAX_DEPTH || !fs_list(&a, dirfd, &names, &ignored))
        return true;
    for (size_t i = 0; i < names.n; i++) {
        struct stat st;
        const char *path = *dir ? arena_printf(&a, "%s/%s", dir, names.v[i]) : names.v[i];
        if (is_apart(x, path))
            continue;
        if (fstatat(dirfd, names.v[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
            return true;
        if (!S_ISDIR(st.st_mode)) {
            if (what->counts(path, names.v[i], &st))
                return true;
            continue;
        }
        if (what->opaque && overlay_opaque(dirfd, names.v[i]) && !leads_apart(x, path))
            return true;
        scoped(fd) int fd =
            openat(dirfd, names.v[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || has_outside(x, what, fd, path, depth + 1))
            return true;
    }
    return false;
}

/* ---- headers beside the program ---- */

static void add_file(World *x, int dirfd, const char *name, const char *path, const struct stat *st)
{
    Digest d = {{0}};
    char hex[DIGEST_HEX_SIZE];
    Err ignored = ERR_INIT;
    scoped(fd) int fd = S_ISREG(st->st_mode)
                            ? openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
                            : -1;
    if (S_ISREG(st->st_mode) && (fd < 0 || !digest_fd(fd, &d, NULL, &ignored)))
        x->failed = true;
    digest_hex(&d, hex);
    strlist_add(
        &x->w->arena, &x->files,
        arena_printf(&x->w->arena, "%u:%s=%s %o", x->rank, path, hex, st->st_mode & S_IFMT));
    x->failed = x->failed || x->files.n > HEADERS_MAX;
}

static void add_files(World *x, int dirfd, const char *dir, unsigned depth)
{
    scoped(arena) Arena a = {0};
    StrList names;
    Err ignored = ERR_INIT;
    if (depth > TREE_MAX_DEPTH || !fs_list(&a, dirfd, &names, &ignored))
        x->failed = true;
    for (size_t i = 0; !x->failed && i < names.n; i++) {
        struct stat st;
        const char *path = arena_printf(&a, "%s/%s", dir, names.v[i]);
        if (!strcmp(names.v[i], ".git"))
            continue;
        if (fstatat(dirfd, names.v[i], &st, AT_SYMLINK_NOFOLLOW) < 0) {
            x->failed = true;
            return;
        }
        if (!S_ISDIR(st.st_mode)) {
            if (x->c ? matters_to_c(path, names.v[i], &st) : str_ends(names.v[i], ".h"))
                add_file(x, dirfd, names.v[i], path, &st);
            continue;
        }
        if (overlay_opaque(dirfd, names.v[i]))
            add_file(x, dirfd, names.v[i], path, &st);
        scoped(fd) int fd =
            openat(dirfd, names.v[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            x->failed = true;
        else
            add_files(x, fd, path, depth + 1);
    }
}

/* `path` is relative to the root; nothing there is nothing to add. */
static void add_files_at(World *x, int rootfd, const char *path)
{
    size_t before = x->files.n;
    scoped(fd) int fd =
        fs_open_in_root(rootfd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd >= 0)
        add_files(x, fd, path, 0);
    else if (errno != ENOENT && errno != ENOTDIR)
        x->failed = true;
    x->rank += x->files.n > before;
}

/* ---- directories that are apart ---- */

/* A directory of sources: not one that C is installed in. */
static bool is_source_dir(const char *path, const char *goroot)
{
    static const char *const SYSTEM[] = {"usr", "lib", "lib64", "opt", "etc", "bin", "sbin", "var"};
    const char *rel = path + 1;
    if (!*rel || str_starts(goroot, path))
        return false;
    size_t n = strcspn(rel, "/");
    for (size_t i = 0; i < NELEM(SYSTEM); i++)
        if (strlen(SYSTEM[i]) == n && !memcmp(rel, SYSTEM[i], n))
            return !strncmp(path, "/usr/src/", 9) || !strncmp(path, "/opt/app", 8);
    return true;
}

static void put_apart(World *x, const char *path)
{
    if (path && *path == '/' && path[1])
        strlist_add_once(&x->w->arena, &x->apart, path_clean(&x->w->arena, path) + 1);
}

/* ---- the space ---- */

/* A toolchain that is not the one beside the go command: which one is not looked at here. */
static bool has_other_tools(const GoRoot *r)
{
    const char *root = env_get(&r->env, "GOROOT"), *dir = env_get(&r->env, "GOTOOLDIR");
    return (root && *root && strcmp(root, r->goroot) != 0) || (dir && *dir);
}

static void add_mounts(World *x, KeyBuilder *k)
{
    const PlanRun *r = &x->w->step->u.run;
    for (size_t i = 0; i < r->nmount; i++) {
        const PlanSource *p = &r->mounts[i].source;
        if (r->mounts[i].spec.type != DF_MOUNT_BIND)
            continue;
        const Context *c = p->origin == PLAN_CONTEXT ? x->w->env->context
                           : p->origin == PLAN_NAMED ? x->w->env->named[p->index]
                                                     : NULL;
        if (c)
            for (size_t n = 0; n < context_view(c)->n; n++)
                add_files_at(
                    x, context_view(c)->dirfds[n],
                    path_clean(&x->w->arena, arena_printf(&x->w->arena, "/%s", p->path.text)) + 1);
        else if (p->origin == PLAN_STEP)
            key_digest(k, "mount", &x->w->results[p->index].id);
        else
            x->failed = true;
    }
}

static bool add_layers(World *x, KeyBuilder *k, const Stack *below, const char *goroot, bool c,
                       const char *sources, Err *e)
{
    static const Search WHAT = {matters_to_c, true};
    for (size_t i = 0; i < below->n; i++) {
        char path[STORE_TMP_MAX];
        int raw = -1;
        struct stat st;
        store_snapshot_path(below->ids[i], path);
        if (!store_snapshot_open(x->w->env->store, below->ids[i], &raw, e))
            return false;
        scoped(fd) int fd = raw;
        bool tools = fstatat(fd, goroot + 1, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
        if (tools || (c && has_outside(x, &WHAT, fd, "", 0)))
            key_text(k, "layer", path);
        if (sources)
            add_files_at(x, fd, sources + 1);
    }
    return true;
}

bool go_space(StepWork *w, const Stack *below, const GoRoot *r, const char *path, Digest *ret,
              bool *ret_ok, Err *e)
{
    scoped(key) KeyBuilder k;
    struct utsname u;
    const char *cgo = env_get(&r->env, "CGO_ENABLED"), *home = env_get(&r->env, "HOME");
    const char *cwd = path_clean(&w->arena, w->step->u.run.cwd);
    bool c = !cgo || strcmp(cgo, "0") != 0;
    const char *sources = *cwd == '/' && is_source_dir(cwd, r->goroot) ? cwd : NULL;
    World x = {.w = w, .c = c, .failed = has_other_tools(r)};
    key_begin(&k, "gocache 1");
    key_text(&k, "scope", w->env->go_scope);
    key_text(&k, "machine", uname(&u) == 0 ? u.machine : "");
    key_text(&k, "path", path);
    key_text(&k, "goroot", r->goroot);
    key_text(&k, "c", c ? "yes" : "no");
    put_apart(&x, sources);
    put_apart(&x, r->settings.gomodcache);
    put_apart(&x, path);
    put_apart(&x, "/tmp");
    put_apart(&x, home ? arena_printf(&w->arena, "%s/.config/go", home) : NULL);
    if (!add_layers(&x, &k, below, r->goroot, c, sources, e))
        return false;
    add_mounts(&x, &k);
    strlist_sort(&x.files);
    for (size_t i = 0; i < x.files.n; i++)
        key_text(&k, "file", x.files.v[i]);
    key_end(&k, ret);
    *ret_ok = !x.failed;
    return true;
}

/* ---- after the command ---- */

/* A header, or a compiler in its place: what a command may have installed before it compiled. */
static bool installed_for_c(const char *path, const char *name, const struct stat *st)
{
    return go_c_file(name) ||
           (S_ISREG(st->st_mode) && st->st_mode & 0111 && str_starts(path, "usr/") &&
            is_compiler(name) && !strstr(name, "go"));
}

/* The command patched the toolchain or its library, or put another there. */
static bool changed_tools(StepWork *w, const GoRoot *r, int upper)
{
    static const char *const PARTS[] = {"pkg/tool", "bin", "VERSION", "src"};
    for (size_t i = 0; i < NELEM(PARTS); i++) {
        struct stat st;
        const char *path = arena_printf(&w->arena, "%s/%s", r->goroot + 1, PARTS[i]);
        if (fstatat(upper, path, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
            return true;
    }
    return false;
}

bool go_c_changed(StepWork *w, const GoRoot *r, const char *path, int upper)
{
    static const Search WHAT = {installed_for_c, false};
    World x = {.w = w};
    const char *cgo = env_get(&r->env, "CGO_ENABLED");
    put_apart(&x, r->settings.gomodcache);
    put_apart(&x, path);
    put_apart(&x, r->goroot);
    return changed_tools(w, r, upper) ||
           (!(cgo && !strcmp(cgo, "0")) && has_outside(&x, &WHAT, upper, "", 0));
}
