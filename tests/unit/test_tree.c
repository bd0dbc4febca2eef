/*
 * tree/: views over stacks of directories, selections and digests; compared with overlayfs itself.
 */
#include "testing.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "tree/tree.h"

enum { MAX_LAYERS = 4 };

/* A scratch directory with layers l0 (top) to l3, and a view of the first n. */
typedef struct Stack {
    Scratch s;
    int fds[MAX_LAYERS];
    View view;
    Arena arena;
} Stack;

static void scoped_stack_done(Stack *k)
{
    for (size_t i = 0; i < MAX_LAYERS; i++)
        close(k->fds[i]);
    scoped_scratch_done(&k->s);
    arena_done(&k->arena);
}

static void stack_init(Stack *k, size_t n, bool overlay)
{
    *k = (Stack){.s = scratch_new()};
    for (size_t i = 0; i < MAX_LAYERS; i++) {
        char name[3] = {'l', (char)('0' + i), 0};
        make_dir(k->s.fd, name);
        k->fds[i] = openat(k->s.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    k->view = (View){.dirfds = k->fds, .n = n, .overlay = overlay};
}

static bool whiteout(int dirfd, const char *path)
{
    return mknodat(dirfd, path, S_IFCHR, makedev(0, 0)) == 0;
}

static bool make_opaque(int dirfd, const char *path)
{
    scoped(fd) int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY);
    return fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) == 0;
}

static ViewNode lookup(Stack *k, const char *path, ViewFollow follow)
{
    ViewNode node;
    Err e = ERR_INIT;
    if (!view_lookup(&k->view, path, follow, &node, &e))
        fail_msg("'%s': %s", path, e.msg);
    return node;
}

/* "path=content" of a file, "path/" of a directory, "-path" of what does not exist. */
static const char *find(Stack *k, const char *path)
{
    ViewNode n = lookup(k, path, VIEW_FOLLOW);
    if (!n.exists)
        return arena_printf(&k->arena, "-%s", n.path);
    if (S_ISDIR(n.st.st_mode))
        return arena_printf(&k->arena, "%s/", n.path);
    if (!S_ISREG(n.st.st_mode))
        return arena_printf(&k->arena, "%s?", n.path);
    char text[64] = {0};
    scoped(fd) int fd = view_open(&k->view, &n);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        fail_msg("'%s': %s", n.path, strerror(errno));
    return arena_printf(&k->arena, "%s=%s", n.path, text);
}

static const char *list(Stack *k, const char *path)
{
    StrList l;
    Err e = ERR_INIT;
    scoped(buf) Buf b = BUF_INIT;
    ViewNode n = lookup(k, path, VIEW_FOLLOW);
    if (!view_list(&k->view, &k->arena, &n, &l, &e))
        fail_msg("'%s': %s", path, e.msg);
    for (size_t i = 0; i < l.n; i++)
        buf_printf(&b, "%s%s", i ? " " : "", l.v[i]);
    return arena_strdup(&k->arena, buf_str(&b));
}

/* ---- look-ups in one directory ---- */

static void links_and_dots_stay_inside_the_view(void **state)
{
    static const struct {
        const char *path, *found;
    } CASES[] = {
        {"", "/"},
        {"/", "/"},
        {".", "/"},
        {"..", "/"},
        {"../../f", "f=in"},
        {"/f", "f=in"},
        {"d//./g", "d/g=deep"},
        {"d/../f", "f=in"},
        {"d/../../../f", "f=in"},
        {"abs", "f=in"},
        {"up", "f=in"},
        {"out", "-tmp/lighter-outside"},
        {"dir/g", "d/g=deep"},
        {"dir/../f", "f=in"},
        {"d/rel", "f=in"},
        {"chain", "f=in"},
        {"d/self/self/g", "d/g=deep"},
        {"none", "-none"},
        {"none/x/y", "-none/x/y"},
        {"f/x", "-f/x"},
        {"broken", "-d/none"},
        {"broken/x", "-d/none/x"},
        {"root", "/"},
        {"root/f", "f=in"},
        {"dir/", "d/"},
    };
    scoped(stack) Stack k;

    (void)state;
    stack_init(&k, 1, false);
    put(k.fds[0], "f", "in");
    put(k.s.fd, "f", "outside");
    make_dir(k.fds[0], "d");
    put(k.fds[0], "d/g", "deep");
    make_link(k.fds[0], "abs", "/f");
    make_link(k.fds[0], "up", "../../../../../../f");
    make_link(k.fds[0], "out", "/tmp/lighter-outside");
    make_link(k.fds[0], "dir", "/d");
    make_link(k.fds[0], "d/rel", "../f");
    make_link(k.fds[0], "d/self", ".");
    make_link(k.fds[0], "chain", "dir/../abs");
    make_link(k.fds[0], "broken", "d/none");
    make_link(k.fds[0], "root", "/..");
    for (size_t i = 0; i < NELEM(CASES); i++) {
        const char *got = find(&k, CASES[i].path);
        if (strcmp(got, CASES[i].found) != 0)
            fail_msg("'%s': %s, not %s", CASES[i].path, got, CASES[i].found);
    }
    assert_true(S_ISLNK(lookup(&k, "dir", VIEW_NOFOLLOW).st.st_mode));
    assert_string_equal(lookup(&k, "chain", VIEW_NOFOLLOW).path, "chain");
}

static void loops_and_endless_names_are_errors(void **state)
{
    scoped(stack) Stack k;
    ViewNode node;
    Err e = ERR_INIT;

    (void)state;
    stack_init(&k, 1, false);
    make_link(k.fds[0], "loop", "loop");
    make_link(k.fds[0], "a", "b");
    make_link(k.fds[0], "b", "a/x");
    FAILS(view_lookup(&k.view, "loop", VIEW_FOLLOW, &node, &e), ERR_STORE, "too many");
    FAILS(view_lookup(&k.view, "loop/x", VIEW_NOFOLLOW, &node, &e), ERR_STORE, "too many");
    FAILS(view_lookup(&k.view, "a", VIEW_FOLLOW, &node, &e), ERR_STORE, "");
    OK(view_lookup(&k.view, "loop", VIEW_NOFOLLOW, &node, &e));

    char *name = arena_alloc(&k.arena, 5001);
    memset(name, 'x', 300);
    FAILS(view_lookup(&k.view, name, VIEW_FOLLOW, &node, &e), ERR_STORE, "");
    for (size_t i = 0; i < 5000; i++)
        name[i] = i % 2 ? '/' : 'x';
    FAILS(view_lookup(&k.view, name, VIEW_FOLLOW, &node, &e), ERR_STORE, "too long");
    memset(name, 0, 5001);
    for (size_t i = 0; i < 4094; i++)
        name[i] = i % 2 ? '/' : 'x';
    OK(view_lookup(&k.view, name, VIEW_FOLLOW, &node, &e));
    assert_false(node.exists);
}

/* Forty links are the kernel's limit, and ours. */
static void forty_links_are_followed_and_no_more(void **state)
{
    scoped(stack) Stack k;
    ViewNode node;
    Err e = ERR_INIT;

    (void)state;
    stack_init(&k, 1, false);
    put(k.fds[0], "0", "end");
    for (int i = 1; i <= 41; i++)
        make_link(k.fds[0], arena_printf(&k.arena, "%d", i), arena_printf(&k.arena, "%d", i - 1));
    assert_string_equal(find(&k, "40"), "0=end");
    FAILS(view_lookup(&k.view, "41", VIEW_FOLLOW, &node, &e), ERR_STORE, "too many");
}

static void a_view_of_nothing_is_an_empty_root(void **state)
{
    View v = {.n = 0};
    ViewNode node;
    Err e = ERR_INIT;

    (void)state;
    OK(view_lookup(&v, "a/../b", VIEW_FOLLOW, &node, &e));
    assert_false(node.exists);
    assert_string_equal(node.path, "b");
}

static void a_link_to_its_own_directory_is_that_directory(void **state)
{
    scoped(stack) Stack k;

    (void)state;
    stack_init(&k, 1, false);
    make_dir(k.fds[0], "d");
    put(k.fds[0], "d/f", "x");
    make_link(k.fds[0], "d/self", ".");
    make_link(k.fds[0], "top", ".");
    assert_string_equal(find(&k, "d/self"), "d/");
    assert_string_equal(find(&k, "d/self/."), "d/");
    assert_string_equal(find(&k, "top"), "/");
    assert_string_equal(list(&k, "d/self"), "f self");
}

/* ---- stacks ---- */

static void the_upper_directory_hides_and_merges_the_lower(void **state)
{
    scoped(stack) Stack k;

    (void)state;
    if (geteuid() != 0)
        SKIP("not root: whiteouts are device nodes");
    stack_init(&k, 3, true);
    make_dir(k.fds[2], "d");
    put(k.fds[2], "d/low", "2");
    put(k.fds[2], "d/both", "2");
    put(k.fds[2], "d/gone", "2");
    put(k.fds[2], "f", "2");
    make_dir(k.fds[1], "d");
    put(k.fds[1], "d/both", "1");
    put(k.fds[1], "d/mid", "1");
    assert_true(whiteout(k.fds[1], "d/gone"));
    assert_true(whiteout(k.fds[1], "f"));
    make_dir(k.fds[0], "d");
    put(k.fds[0], "d/top", "0");
    assert_string_equal(list(&k, ""), "d");
    assert_string_equal(list(&k, "d"), "both low mid top");
    assert_string_equal(find(&k, "d/both"), "d/both=1");
    assert_string_equal(find(&k, "d/low"), "d/low=2");
    assert_string_equal(find(&k, "d/gone"), "-d/gone");
    assert_string_equal(find(&k, "f"), "-f");
    put(k.fds[0], "f", "0");
    assert_string_equal(find(&k, "f"), "f=0");
    assert_int_equal(lookup(&k, "d", VIEW_FOLLOW).layer, 0);
    k.view.overlay = false; /* elsewhere a device 0:0 is a device */
    assert_string_equal(find(&k, "d/gone"), "-d/gone");
}

static void an_opaque_directory_hides_what_lies_below(void **state)
{
    scoped(stack) Stack k;

    (void)state;
    if (geteuid() != 0)
        SKIP("not root: trusted.overlay.opaque cannot be set");
    stack_init(&k, 3, true);
    for (size_t i = 0; i < 3; i++) {
        make_dir(k.fds[i], "d");
        make_dir(k.fds[i], "d/e");
        put(k.fds[i], arena_printf(&k.arena, "d/e/f%zu", i), "x");
    }
    assert_string_equal(list(&k, "d/e"), "f0 f1 f2");
    assert_true(make_opaque(k.fds[1], "d"));
    assert_string_equal(list(&k, "d/e"), "f0 f1");
    assert_string_equal(find(&k, "d/e/f2"), "-d/e/f2");
    assert_true(make_opaque(k.fds[0], "d/e"));
    assert_string_equal(list(&k, "d/e"), "f0");
}

static void a_file_between_two_directories_parts_them(void **state)
{
    scoped(stack) Stack k;

    (void)state;
    stack_init(&k, 4, true);
    make_dir(k.fds[0], "a");
    put(k.fds[0], "a/x", "0");
    put(k.fds[1], "a", "file");
    make_dir(k.fds[2], "a");
    put(k.fds[2], "a/y", "2");
    put(k.fds[0], "b", "file");
    make_dir(k.fds[1], "b");
    put(k.fds[1], "b/z", "1");
    assert_string_equal(list(&k, "a"), "x");
    assert_string_equal(find(&k, "a/y"), "-a/y");
    assert_string_equal(find(&k, "b"), "b=file");
    assert_string_equal(find(&k, "b/z"), "-b/z");
    assert_string_equal(list(&k, ""), "a b");
}

static void a_link_of_one_layer_is_resolved_through_all(void **state)
{
    scoped(stack) Stack k;

    (void)state;
    stack_init(&k, 2, true);
    make_dir(k.fds[1], "real");
    put(k.fds[1], "real/f", "1");
    make_link(k.fds[0], "link", "/real");
    make_dir(k.fds[0], "real");
    put(k.fds[0], "real/g", "0");
    make_dir(k.fds[0], "real/sub");
    make_link(k.fds[0], "real/sub/up", "../f");
    assert_string_equal(find(&k, "link/f"), "real/f=1");
    assert_string_equal(find(&k, "real/sub/up"), "real/f=1");
    assert_string_equal(list(&k, "link"), "f g sub");
}

/* ---- the same by overlayfs itself ---- */

/* One random name: few, so that layers meet. */
static const char *random_name(uint64_t *seed)
{
    static const char *const NAMES[] = {"a", "b", "c", "d"};
    return NAMES[next_random(seed) % NELEM(NAMES)];
}

static bool random_layer(Arena *a, int dirfd, const char *dir, unsigned depth, uint64_t *seed)
{
    static const char *const TARGETS[] = {"a", "../b", "/c",    "/a/b",   "../../d",
                                          ".", "b/c",  "/a/..", "../a/b", "d/"};
    for (unsigned i = 0; i < 4; i++) {
        const char *path = arena_printf(a, "%s%s", dir, random_name(seed));
        Err e = ERR_INIT;
        if (exists(dirfd, path))
            continue;
        switch (next_random(seed) % 8) {
        case 0:
        case 1:
        case 2:
            if (depth == 3 || mkdirat(dirfd, path, 0700 + next_random(seed) % 64) < 0)
                break;
            if (next_random(seed) % 4 == 0 && !make_opaque(dirfd, path))
                return false;
            if (!random_layer(a, dirfd, arena_printf(a, "%s/", path), depth + 1, seed))
                return false;
            break;
        case 3:
        case 4:
            if (!fs_write_file(dirfd, path, "xxxxxxxxx", next_random(seed) % 10, &e))
                return false;
            break;
        case 5:
            if (symlinkat(TARGETS[next_random(seed) % NELEM(TARGETS)], dirfd, path) < 0)
                return false;
            break;
        case 6:
            if (!whiteout(dirfd, path))
                return false;
            break;
        default:
            break;
        }
    }
    return true;
}

/* Compare one directory of the view with the mounted one, and go down. */
static bool same_tree(Stack *k, int mnt, const char *path)
{
    StrList ours, real, seen = {0};
    Err e = ERR_INIT;
    struct stat st;
    scoped(fd) int fd = openat(mnt, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    ViewNode *node = NEW(&k->arena, ViewNode);
    if (!view_lookup(&k->view, path, VIEW_NOFOLLOW, node, &e) ||
        !view_list(&k->view, &k->arena, node, &ours, &e) || !fs_list(&k->arena, fd, &real, &e)) {
        print_message("'%s': %s\n", path, e.msg);
        return false;
    }
    /* overlayfs may list a whiteout of an unmerged directory, and then says that it is not there */
    for (size_t i = 0; i < real.n; i++)
        if (fstatat(fd, real.v[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
            strlist_add(&k->arena, &seen, real.v[i]);
    if (seen.n != ours.n) {
        print_message("'%s': %zu names, overlayfs has %zu\n", path, ours.n, seen.n);
        return false;
    }
    for (size_t i = 0; i < seen.n; i++) {
        const char *full = *path ? arena_printf(&k->arena, "%s/%s", path, seen.v[i]) : seen.v[i];
        if (strcmp(seen.v[i], ours.v[i]) != 0 || fstatat(mnt, full, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !view_lookup(&k->view, full, VIEW_NOFOLLOW, node, &e) || !node->exists ||
            st.st_mode != node->st.st_mode ||
            (!S_ISDIR(st.st_mode) && st.st_size != node->st.st_size)) {
            print_message("'%s' differs %s\n", full, e.msg);
            return false;
        }
        if (S_ISDIR(st.st_mode) && !same_tree(k, mnt, full))
            return false;
    }
    return true;
}

/* Look random paths up in both; the kernel resolves with the mount as root. */
static bool same_lookups(Stack *k, int mnt, uint64_t *seed)
{
    for (int i = 0; i < 100; i++) {
        scoped(buf) Buf path = BUF_INIT;
        Err e = ERR_INIT;
        ViewNode *node = NEW(&k->arena, ViewNode);
        unsigned n = 1 + next_random(seed) % 5;
        for (unsigned j = 0; j < n; j++)
            buf_printf(&path, "%s%s", j ? "/" : "",
                       next_random(seed) % 6   ? random_name(seed)
                       : next_random(seed) % 3 ? ".."
                                               : ".");
        struct stat st;
        scoped(fd) int fd = fs_open_in_root(mnt, path.ptr, O_PATH, 0);
        int why = errno;
        bool ok = view_lookup(&k->view, path.ptr, VIEW_FOLLOW, node, &e);
        bool there = fd >= 0 && fstat(fd, &st) == 0;
        if (ok ? node->exists != there : fd >= 0 || why != ELOOP) {
            print_message("'%s': ours %s '%s' %s, overlayfs %s\n", path.ptr,
                          ok && node->exists ? "is" : "is not", ok ? node->path : "", e.msg,
                          there ? "is" : strerror(why));
            return false;
        }
        if (ok && there && st.st_mode != node->st.st_mode) {
            print_message("'%s': mode %o, overlayfs %o\n", path.ptr, node->st.st_mode, st.st_mode);
            return false;
        }
    }
    return true;
}

enum { SAME = 0, DIFFERENT = 1, NO_OVERLAY = 77 };

static int compare_one(uint64_t seed)
{
    scoped(stack) Stack k;
    stack_init(&k, 2 + seed % 3, true);
    scoped(buf) Buf options = BUF_INIT;
    for (size_t i = 0; i < k.view.n; i++) {
        buf_printf(&options, "%s%s/l%zu", i ? ":" : "lowerdir=", k.s.path, i);
        if (!random_layer(&k.arena, k.fds[i], "", 0, &seed))
            return DIFFERENT;
    }
    make_dir(k.s.fd, "mnt");
    const char *mnt = arena_printf(&k.arena, "%s/mnt", k.s.path);
    if (mount("overlay", mnt, "overlay", MS_RDONLY, options.ptr) < 0)
        return NO_OVERLAY;
    int fd = open(mnt, O_RDONLY | O_DIRECTORY);
    bool ok = same_tree(&k, fd, "") && same_lookups(&k, fd, &seed);
    close(fd);
    if (umount2(mnt, MNT_DETACH) < 0)
        return DIFFERENT;
    return ok ? SAME : DIFFERENT;
}

static void random_stacks_look_as_overlayfs_shows_them(void **state)
{
    enum { NSEED = 200 };
    int status;

    (void)state;
    if (geteuid() != 0)
        SKIP("not root: overlayfs cannot be mounted");
    pid_t pid = fork();
    if (pid == 0) {
        int code = SAME;
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(NO_OVERLAY);
        for (uint64_t seed = 1; code == SAME && seed <= NSEED; seed++) {
            code = compare_one(seed * 7919);
            if (code == DIFFERENT)
                print_message("seed %llu\n", (unsigned long long)seed);
        }
        _exit(code);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_OVERLAY)
        SKIP("overlayfs cannot be mounted here");
    assert_int_equal(WEXITSTATUS(status), SAME);
}

/* ---- selections ---- */

static void select_into(Stack *k, const char *source, Selection *sel, bool *any)
{
    Err e = ERR_INIT;
    if (!tree_select(&k->view, &k->arena, source, NULL, sel, any, &e))
        fail_msg("'%s': %s", source, e.msg);
}

/* "name[entry entry] name=" of what a source stands for. */
static const char *selected(Stack *k, const char *source)
{
    Selection sel = {0};
    bool any;
    scoped(buf) Buf b = BUF_INIT;
    select_into(k, source, &sel, &any);
    assert_int_equal(any, sel.nroot > 0);
    for (size_t i = 0; i < sel.nroot; i++) {
        const Selected *r = &sel.roots[i];
        buf_printf(&b, "%s%s%s", i ? " " : "", r->name, r->is_dir ? "[" : "=");
        for (size_t n = 0; r->is_dir && n < r->n; n++)
            buf_printf(&b, "%s%s", n ? " " : "", sel.tree.v[r->first + n].path);
        if (r->is_dir)
            buf_putc(&b, ']');
        else
            assert_string_equal(sel.tree.v[r->first].path, "");
    }
    return arena_strdup(&k->arena, buf_str(&b));
}

static void make_project(Stack *k)
{
    stack_init(k, 1, false);
    put(k->fds[0], "main.go", "m");
    put(k->fds[0], "go.mod", "");
    put(k->fds[0], ".hidden", "");
    put(k->fds[0], "[x]", "");
    make_dir(k->fds[0], "cmd");
    make_dir(k->fds[0], "cmd/a");
    make_dir(k->fds[0], "cmd/b");
    put(k->fds[0], "cmd/a/x.go", "a");
    put(k->fds[0], "cmd/b/x.go", "b");
    put(k->fds[0], "cmd/b/y.go", "b");
    make_link(k->fds[0], "link", "cmd/a");
    make_link(k->fds[0], "cmd/a/up", "../../../../main.go");
}

static void a_source_is_a_path_or_a_pattern_by_component(void **state)
{
    static const struct {
        const char *source, *want;
    } CASES[] = {
        {"main.go", "main.go="},
        {"/main.go", "main.go="},
        {"./cmd/../main.go", "main.go="},
        {"../../main.go", "main.go="},
        {"*.go", "main.go="},
        {"go.*", "go.mod="},
        {"none", ""},
        {"none/*", ""},
        {"*.none", ""},
        {"cmd/*/x.go", "cmd/a/x.go= cmd/b/x.go="},
        {"cmd/[b-z]", "cmd/b[x.go y.go]"},
        {"c?d/a", "cmd/a[up x.go]"},
        {"cmd", "cmd[a a/up a/x.go b b/x.go b/y.go]"},
        {"cmd/", "cmd[a a/up a/x.go b b/x.go b/y.go]"},
        {"link", "link[up x.go]"},
        {"link/x.go", "link/x.go="},
        {"link/*.go", "link/x.go="},
        {"li*/x.go", ""}, /* behind a pattern no link is gone through */
        {"li*", "link[up x.go]"},
        {"cmd/a/u[p]", "cmd/a/up="},
        {"c*d/a/up", "cmd/a/up="},
        {"cmd/a/up", "cmd/a/up="},
        {"\\[x\\]", "[x]="},
        {".*", ".hidden="},
        {"main.go/x", ""},
        {"main.go/*", ""},
    };
    scoped(stack) Stack k;

    (void)state;
    make_project(&k);
    for (size_t i = 0; i < NELEM(CASES); i++) {
        const char *got = selected(&k, CASES[i].source);
        if (strcmp(got, CASES[i].want) != 0)
            fail_msg("'%s': '%s', not '%s'", CASES[i].source, got, CASES[i].want);
    }
    assert_string_equal(selected(&k, "."), selected(&k, "/"));
    assert_string_equal(selected(&k, ".."), selected(&k, "."));
}

static void a_malformed_pattern_is_refused(void **state)
{
    scoped(stack) Stack k;
    Selection sel = {0};
    bool any;
    Err e = ERR_INIT;

    (void)state;
    make_project(&k);
    FAILS(tree_select(&k.view, &k.arena, "cmd/[", NULL, &sel, &any, &e), ERR_DOCKERFILE, "'['");
}

static void a_source_s_own_link_is_followed_and_those_below_are_kept(void **state)
{
    scoped(stack) Stack k;
    Selection sel = {0};
    bool any;

    (void)state;
    make_project(&k);
    select_into(&k, "link", &sel, &any);
    assert_int_equal(sel.tree.v[0].type, TREE_SYMLINK);
    assert_string_equal(sel.tree.v[0].link, "../../../../main.go");
    assert_string_equal(sel.tree.v[0].from, "cmd/a/up");
    select_into(&k, "cmd/a/up", &sel, &any);
    assert_int_equal(sel.tree.v[2].type, TREE_FILE);
    assert_string_equal(sel.tree.v[2].from, "main.go");
}

static void sockets_are_left_out(void **state)
{
    scoped(stack) Stack k;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    (void)state;
    make_project(&k);
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s/l0/cmd/b/sock", k.s.path);
    scoped(fd) int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_string_equal(selected(&k, "cmd/b"), "cmd/b[x.go y.go]");
}

static ViewSight sight(const void *arg, const char *path, bool is_dir)
{
    (void)arg;
    if (!strcmp(path, "cmd/b/x.go"))
        return SIGHT_SEEN;
    return str_starts(path, "cmd") && is_dir ? SIGHT_PASSAGE
           : str_starts(path, "cmd")         ? SIGHT_HIDDEN
                                             : SIGHT_SEEN;
}

static void what_is_hidden_is_not_selected_and_passages_only_with_content(void **state)
{
    scoped(stack) Stack k;

    (void)state;
    make_project(&k);
    k.view.sight = sight;
    assert_string_equal(selected(&k, "cmd"), "cmd[b b/x.go]");
    assert_string_equal(selected(&k, "cmd/*/*"), "cmd/b/x.go=");
    assert_string_equal(selected(&k, "cmd/b/y.go"), "");
    assert_string_equal(selected(&k, "link/x.go"), "");
}

/* ---- digests ---- */

static Digest digest(Stack *k, const char *source)
{
    Selection sel = {0};
    bool any;
    Digest d;
    Err e = ERR_INIT;
    select_into(k, source, &sel, &any);
    if (!tree_hash(&k->view, &sel.tree, &e))
        fail_msg("%s", e.msg);
    selection_digest(&sel, &d);
    return d;
}

static void touching_a_file_does_not_change_the_digest(void **state)
{
    scoped(stack) Stack k;
    struct timespec ts[2] = {{5, 5}, {5, 5}};

    (void)state;
    make_project(&k);
    Digest before = digest(&k, "."), after;
    assert_int_equal(utimensat(k.fds[0], "main.go", ts, 0), 0);
    assert_int_equal(utimensat(k.fds[0], "cmd", ts, 0), 0);
    assert_int_equal(renameat(k.fds[0], "go.mod", k.fds[0], "t"), 0);
    put(k.fds[0], "go.mod", "");
    assert_int_equal(unlinkat(k.fds[0], "t", 0), 0);
    after = digest(&k, ".");
    assert_true(digest_eq(&before, &after));
}

static void change_mode(int fd)
{
    assert_int_equal(fchmodat(fd, "main.go", 0755, 0), 0);
}
static void change_dir_mode(int fd)
{
    assert_int_equal(fchmodat(fd, "cmd/a", 01777, 0), 0);
}
static void change_setuid(int fd)
{
    assert_int_equal(fchmodat(fd, "main.go", 04755, 0), 0);
}
static void change_content(int fd)
{
    put(fd, "main.go", "n");
}
static void change_size(int fd)
{
    put(fd, "main.go", "mm");
}
static void change_link(int fd)
{
    assert_int_equal(unlinkat(fd, "cmd/a/up", 0), 0);
    make_link(fd, "cmd/a/up", "../../main.go");
}
static void change_name(int fd)
{
    assert_int_equal(renameat(fd, "cmd/b/y.go", fd, "cmd/b/z.go"), 0);
}
static void change_place(int fd)
{
    assert_int_equal(renameat(fd, "cmd/b/z.go", fd, "cmd/a/y.go"), 0);
}
static void change_type(int fd)
{
    assert_int_equal(unlinkat(fd, "go.mod", 0), 0);
    make_dir(fd, "go.mod");
}
static void add_empty_dir(int fd)
{
    make_dir(fd, "cmd/empty");
}
static void swap_contents(int fd)
{
    put(fd, "main.go", "a");
    put(fd, "cmd/a/x.go", "m");
}
static void add_xattr(int fd)
{
    scoped(fd) int f = openat(fd, "main.go", O_RDONLY);
    if (fsetxattr(f, "user.note", "1", 1, 0) < 0)
        SKIP("no user xattrs below /tmp: %s", strerror(errno));
}
static void change_xattr(int fd)
{
    scoped(fd) int f = openat(fd, "main.go", O_RDONLY);
    assert_int_equal(fsetxattr(f, "user.note", "2", 1, 0), 0);
}
static void change_owner(int fd)
{
    if (geteuid() == 0)
        assert_int_equal(fchownat(fd, "main.go", 5, 6, 0), 0);
}
static void change_link_owner(int fd)
{
    if (geteuid() == 0)
        assert_int_equal(fchownat(fd, "cmd/a/up", 5, 6, AT_SYMLINK_NOFOLLOW), 0);
}

static void whatever_a_layer_would_show_changes_the_digest(void **state)
{
    static void (*const CHANGES[])(int) = {
        change_mode,   change_dir_mode, change_setuid, change_content, change_size,
        change_link,   change_name,     change_place,  change_type,    add_empty_dir,
        swap_contents, add_xattr,       change_xattr,  change_owner,   change_link_owner,
    };
    enum { N = NELEM(CHANGES), NROOT_ONLY = 2 };
    scoped(stack) Stack k;
    Digest d[N + 1];
    size_t n = geteuid() == 0 ? N : N - NROOT_ONLY;

    (void)state;
    make_project(&k);
    d[0] = digest(&k, ".");
    for (size_t i = 0; i < n; i++) {
        CHANGES[i](k.fds[0]);
        d[i + 1] = digest(&k, ".");
        for (size_t j = 0; j <= i; j++)
            if (digest_eq(&d[i + 1], &d[j]))
                fail_msg("change %zu has the digest of state %zu", i, j);
    }
}

static void a_context_has_no_owners(void **state)
{
    scoped(stack) Stack k;

    (void)state;
    if (geteuid() != 0)
        SKIP("not root: owners cannot be changed");
    make_project(&k);
    k.view.zero_owner = true;
    Digest before = digest(&k, "."), after;
    change_owner(k.fds[0]);
    after = digest(&k, ".");
    assert_true(digest_eq(&before, &after));
}

static void overlay_s_own_attributes_are_no_part_of_a_tree(void **state)
{
    (void)state;
    assert_true(xattr_kept("user.note"));
    assert_true(xattr_kept("security.capability"));
    assert_false(xattr_kept("trusted.overlay.opaque"));
    assert_false(xattr_kept("user.overlay.opaque"));
    assert_false(xattr_kept("user.containers.override_stat"));
    assert_false(xattr_kept("security.selinux"));
    assert_false(xattr_kept("system.posix_acl_access"));
}

static void names_of_one_file_form_a_group_within_the_selection(void **state)
{
    scoped(stack) Stack k;
    Selection sel = {0};
    bool any;

    (void)state;
    stack_init(&k, 1, false);
    put(k.fds[0], "a", "x");
    put(k.fds[0], "b", "x");
    assert_int_equal(linkat(k.fds[0], "a", k.fds[0], "c", 0), 0);
    assert_int_equal(linkat(k.fds[0], "a", k.fds[0], "d", 0), 0);
    select_into(&k, ".", &sel, &any);
    assert_int_equal(sel.tree.v[0].link_group, 1);
    assert_int_equal(sel.tree.v[1].link_group, 0);
    assert_int_equal(sel.tree.v[2].link_group, 1);
    assert_int_equal(sel.tree.v[3].link_group, 1);
    Digest linked = digest(&k, "."), copied, alone = digest(&k, "a"), single;
    assert_int_equal(unlinkat(k.fds[0], "d", 0), 0);
    put(k.fds[0], "d", "x");
    copied = digest(&k, ".");
    assert_false(digest_eq(&linked, &copied));
    /* Another name outside of what is selected means nothing. */
    assert_int_equal(unlinkat(k.fds[0], "c", 0), 0);
    single = digest(&k, "a");
    assert_true(digest_eq(&alone, &single));
}

static void a_file_that_changes_while_it_is_read_is_named(void **state)
{
    scoped(stack) Stack k;
    Selection sel = {0};
    bool any;
    Err e = ERR_INIT;

    (void)state;
    make_project(&k);
    select_into(&k, "cmd/b", &sel, &any);
    put(k.fds[0], "cmd/b/y.go", "longer");
    FAILS(tree_hash(&k.view, &sel.tree, &e), ERR_DOCKERFILE, "'cmd/b/y.go' changed");
    sel = (Selection){0};
    select_into(&k, "cmd/b", &sel, &any);
    assert_int_equal(unlinkat(k.fds[0], "cmd/b/x.go", 0), 0);
    FAILS(tree_hash(&k.view, &sel.tree, &e), ERR_DOCKERFILE, "'cmd/b/x.go'");
}

static void entries_are_the_same_by_all_but_path_and_time(void **state)
{
    scoped(stack) Stack k;
    Selection sel = {0};
    bool any;
    Err e = ERR_INIT;

    (void)state;
    make_project(&k);
    select_into(&k, "cmd/b", &sel, &any);
    OK(tree_hash(&k.view, &sel.tree, &e));
    TreeEntry x = sel.tree.v[0], y = sel.tree.v[1];
    assert_true(tree_entry_same(&x, &y));
    y.mtime.tv_sec++;
    assert_true(tree_entry_same(&x, &y));
    y.mode ^= 1;
    assert_false(tree_entry_same(&x, &y));
    y = x;
    y.content.b[31] ^= 1;
    assert_false(tree_entry_same(&x, &y));
    y = x;
    y.xattrs = &(TreeXattr){"user.a", {"b", 1}};
    y.nxattr = 1;
    assert_false(tree_entry_same(&x, &y));
    y = x;
    y.type = TREE_FIFO;
    assert_false(tree_entry_same(&x, &y));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_and_dots_stay_inside_the_view),
        cmocka_unit_test(loops_and_endless_names_are_errors),
        cmocka_unit_test(forty_links_are_followed_and_no_more),
        cmocka_unit_test(a_view_of_nothing_is_an_empty_root),
        cmocka_unit_test(a_link_to_its_own_directory_is_that_directory),
        cmocka_unit_test(the_upper_directory_hides_and_merges_the_lower),
        cmocka_unit_test(an_opaque_directory_hides_what_lies_below),
        cmocka_unit_test(a_file_between_two_directories_parts_them),
        cmocka_unit_test(a_link_of_one_layer_is_resolved_through_all),
        cmocka_unit_test(random_stacks_look_as_overlayfs_shows_them),
        cmocka_unit_test(a_source_is_a_path_or_a_pattern_by_component),
        cmocka_unit_test(a_malformed_pattern_is_refused),
        cmocka_unit_test(a_source_s_own_link_is_followed_and_those_below_are_kept),
        cmocka_unit_test(sockets_are_left_out),
        cmocka_unit_test(what_is_hidden_is_not_selected_and_passages_only_with_content),
        cmocka_unit_test(touching_a_file_does_not_change_the_digest),
        cmocka_unit_test(whatever_a_layer_would_show_changes_the_digest),
        cmocka_unit_test(a_context_has_no_owners),
        cmocka_unit_test(overlay_s_own_attributes_are_no_part_of_a_tree),
        cmocka_unit_test(names_of_one_file_form_a_group_within_the_selection),
        cmocka_unit_test(a_file_that_changes_while_it_is_read_is_named),
        cmocka_unit_test(entries_are_the_same_by_all_but_path_and_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
