/*
 * go/modindex.c, go/modsource.c, go/modtree.c: indexes that this machine's go command writes are
 * recognised, are right for the files they were made of, and for no others.
 */
#include "testing.h"

#include <sys/wait.h>

#include "go/go.h"

typedef struct File {
    const char *path, *text;
} File;

/* What a Go file may begin with, in the many ways it may be written. */
static const File MODULE[] = {
    {"go.mod", "module example.test/dep\n\ngo 1.17\n"},
    {"plain.go",
     "// Package dep is one.\npackage dep\n\nimport \"fmt\"\n\nfunc F() { fmt.Println() }\n"},
    {"all.go",
     "/* a comment */ // another\n//go:build linux || !linux\n// +build linux !linux\n\n"
     "package dep; import ( f \"fmt\"; . \"strings\"\n\t_ `embed` // embeds\n\t\"os\" /* x */ )\n"
     "import \"io\"\nimport /* of */ e \"errors\"\n\n//go:embed data.txt  *.s\nvar text string\n"
     "var x = ToUpper(f.Sprint(os.Args, io.EOF, e.New(text)))\n"},
    {"old.go", "// Copyright\n\n// +build plan9 windows\n// +build amd64\n\npackage dep\n"},
    {"c.go", "//go:build never\n\npackage dep\n\n/*\n#cgo CFLAGS: -I.\n #cgo LDFLAGS: "
             "-lm\n#include <math.h>\n*/\n"
             "import \"C\"\n"},
    {"lines.go",
     "//go:build never\n\npackage dep\n\n// #cgo pkg-config: m\n// int x;\nimport \"C\"\n"},
    {"empty.go", "package dep"},
    {"dep_test.go", "package dep_test\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) {}\n"},
    {"a.s", "// of no use\n//go:build never\n\nTEXT x\n"},
    {"h.h", "/* +build */\n#define X\n"},
    {"o.syso", "\177ELF"},
    {"data.txt", "data\n"},
    {"_not.go", "what\n"},
    {".not.go", "what\n"},
    {"main/main.go",
     "//go:debug panicnil=1\n\n//go:generate true\npackage main\n\nfunc main() {}\n"},
    {"testdata/x", "x\n"},
    {"inner/go.mod", "module example.test/dep/inner\n"},
    {"inner/x.go", "not looked at\n"},
};

typedef struct Fixture {
    Scratch dir;
    Arena a;
    const char *version; /* of Go */
} Fixture;

static void scoped_fixture_done(Fixture *f)
{
    arena_done(&f->a);
    scoped_scratch_done(&f->dir);
}

static const char *root_of(Fixture *f)
{
    return arena_printf(&f->a, "%s/mod/example.test/dep@v1.0.0", f->dir.path);
}

static void put_deep(Fixture *f, const char *path, const char *text)
{
    Err e = ERR_INIT;
    const char *slash = strrchr(path, '/');
    OK(fs_mkdirs(f->dir.fd, arena_strndup(&f->a, path, (size_t)(slash - path)), &e));
    put(f->dir.fd, path, text);
}

static void put_module(Fixture *f, const char *path, const char *text)
{
    put_deep(f, arena_printf(&f->a, "mod/example.test/dep@v1.0.0/%s", path), text);
}

static const char *said(Fixture *f, const char *command)
{
    char line[256] = "";
    FILE *p = popen(
        arena_printf(&f->a, "GOTOOLCHAIN=local GOENV=off GOFLAGS= %s 2>/dev/null", command), "r");
    if (!p || !fgets(line, sizeof line, p))
        line[0] = 0;
    pclose(p);
    return arena_strndup(&f->a, line, strcspn(line, "\n"));
}

static void fixture_init(Fixture *f)
{
    static const char DOWNLOAD[] = "mod/cache/download/example.test/dep/@v/v1.0.0";
    *f = (Fixture){.dir = scratch_new()};
    f->version = said(f, "go env GOVERSION");
    if (!*f->version)
        SKIP("there is no go command");
    if (strncmp(f->version, "go1.20", 6) < 0 && f->version[4] == '1')
        SKIP("this go writes indexes of another format");
    for (size_t i = 0; i < NELEM(MODULE); i++)
        put_module(f, MODULE[i].path, MODULE[i].text);
    put_deep(f, arena_printf(&f->a, "%s.mod", DOWNLOAD), MODULE[0].text);
    put_deep(f, arena_printf(&f->a, "%s.info", DOWNLOAD), "{\"Version\":\"v1.0.0\"}");
    put_deep(f, arena_printf(&f->a, "%s.ziphash", DOWNLOAD),
             "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    put_deep(f, "m/go.mod", "module m.x/m\n\ngo 1.17\n\nrequire example.test/dep v1.0.0\n");
    put_deep(f, "m/m.go", "package m\n\nimport _ \"example.test/dep\"\n");
}

/* `go list` reads what the module's packages import, and so makes indexes. */
static void run_go(Fixture *f)
{
    const char *at = f->dir.path;
    int rc = system(arena_printf(
        &f->a,
        "cd %s/m && GOCACHE=%s/cache GOMODCACHE=%s/mod GOPROXY=off GOSUMDB=off GOENV=off TZ=UTC "
        "GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=0 go list -deps . >%s/said 2>&1",
        at, at, at, at));
    if (rc)
        (void)!system(arena_printf(&f->a, "cat %s/said", at));
    assert_int_equal(rc, 0);
}

/* What GOCACHE has under this action. False: nothing. */
static bool index_at(Fixture *f, const Digest *action, GoIndex *ret)
{
    scoped(buf) Buf entry = BUF_INIT, index = BUF_INIT;
    char path[GO_CACHE_PATH_SIZE];
    Err e = ERR_INIT;
    GoCacheEntry x;
    go_cache_path(GO_CACHE_ACTION, action, path);
    if (!fs_read_file(f->dir.fd, arena_printf(&f->a, "cache/%s", path), 4096, &entry, &e))
        return false;
    assert_true(go_cache_entry_parse((Str){entry.ptr, entry.len}, &x));
    go_cache_path(GO_CACHE_OUTPUT, &x.output, path);
    OK(fs_read_file(f->dir.fd, arena_printf(&f->a, "cache/%s", path), 1 << 28, &index, &e));
    char *bytes = arena_alloc(&f->a, index.len);
    memcpy(bytes, index.ptr, index.len);
    assert_true(go_index_parse(&f->a, (Str){bytes, index.len}, ret));
    return true;
}

static bool right(Fixture *f, const GoIndex *x)
{
    scoped(fd) int fd = open(root_of(f), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return go_index_of_module(x, fd);
}

/* The index that go makes of the module. */
static GoIndex module_index(Fixture *f)
{
    Digest id;
    GoIndex x;
    run_go(f);
    go_index_module_id(f->version, root_of(f), &id);
    assert_true(index_at(f, &id, &x));
    return x;
}

static void an_index_of_a_module_is_right_for_its_own_files(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    GoIndex x = module_index(&f);
    assert_int_equal(x.npackage, 3); /* the root, main, testdata */
    assert_true(right(&f, &x));
    put_module(&f, "plain.go",
               "// Package dep is one.\npackage dep\n\nimport \"fmt\"\n\nvar other = "
               "fmt.Sprint(\"import\")\n");
    put_module(&f, "inner/x.go", "still not looked at\n");
    put_module(&f, "data.txt", "other\n");
    assert_true(right(&f, &x)); /* what it says nothing of may be another */
}

/* Each changes what go selects, or what it tells the compiler. NULL: the file goes. */
static void an_index_is_wrong_for_files_that_say_something_else(void **state)
{
    static const File EDITS[] = {
        {"plain.go", NULL},
        {"more.go", "package dep\n"},
        {"more.c", "int x;\n"},
        {"more/x", "a directory\n"},
        {"main/main.go", NULL},
        {"inner/go.mod", NULL},
        {"plain.go", "// Package dep is one.\npackage pep\n\nimport \"fmt\"\n"},
        {"plain.go", "// Package dep is one.\npackage dep\n\nimport \"fmu\"\n"},
        {"plain.go", "// Package dep is one.\npackage dep\n\nimport \"fmt\"\nimport \"os\"\n"},
        {"plain.go", "// Package dep is one.\npackage dep\n\n"},
        {"plain.go", "// Package dep is one.\npackage dep\n\nimport \"fmt\n"},
        {"plain.go", "//go:build  linux\n\npackage dep \n\nimport \"fmt\"\n"},
        {"plain.go", "//go:binary-only-package\npackage dep\n\nimport \"fmt\"\n"},
        {"empty.go", "package dep\n\nimport \"C\"\n"},
        {"empty.go", ""},
        {"all.go",
         "/* a comment */ // another\n//go:build linux || !linux\n// +build linux !linux\n\n"
         "package dep; import ( f \"fmt\"; . \"strings\"\n\t_ `embed` // embeds\n\t\"os\" /* x */ "
         ")\n"
         "import \"io\"\nimport /* of */ e \"errors\"\n\n//go:embed data.txt\nvar text string\n"},
        {"all.go",
         "/* a comment */ // another\n//go:build linux || !linux\n// +build linux !linux\n\n"
         "package dep; import ( f \"fmt\"; . \"strings\"\n\t_ `embed` // embeds\n\t\"os\" /* x */ "
         ")\n"
         "import \"io\"\nimport /* of */ e \"errors\"\n\n//go:embed data.txt  *.s\n//go:embed "
         "x\nvar text string\n"},
        {"old.go", "// Copyright\n\n// +build plan9 windowt\n// +build amd64\n\npackage dep\n"},
        {"old.go", "// Copyright\n\n// +build plan9 windows\n// +buile amd64\n\npackage dep\n"},
        {"c.go", "//go:build never\n\npackage dep\n\n/*\n#cgo CFLAGS: -J.\n #cgo LDFLAGS: "
                 "-lm\n#include <math.h>\n*/\n"
                 "import \"C\"\n"},
        {"c.go", "//go:build never\n\npackage dep\n\n/*\n#cgo CFLAGS: -I.\n #xgo LDFLAGS: "
                 "-lm\n#include <math.h>\n*/\n"
                 "import \"C\"\n"},
        {"lines.go", "//go:build never\n\npackage dep\n\n// #cgo pkg-config: m\n// #cgo LDFLAGS: "
                     "-lx\nimport \"C\"\n"},
        {"a.s", "// of no use\n//go:build nevex\n\nTEXT x\n"},
        {"h.h", "//go:build never\n#define X\n"},
        {"main/main.go",
         "//go:debug panicnil=0\n\n//go:generate true\npackage main\n\nfunc main() {}\n"},
        {"main/main.go",
         "//go:debug panicnil=1\n\n// o:generate true\npackage main\n\nfunc main() {}\n"},
    };
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    GoIndex x = module_index(&f);
    for (size_t i = 0; i < NELEM(EDITS); i++) {
        Err e = ERR_INIT;
        const char *path = EDITS[i].path, *before = NULL;
        for (size_t k = 0; k < NELEM(MODULE); k++)
            if (!strcmp(MODULE[k].path, path))
                before = MODULE[k].text;
        const char *at = arena_printf(&f.a, "mod/example.test/dep@v1.0.0/%s", path);
        if (EDITS[i].text)
            put_module(&f, path, EDITS[i].text);
        else
            assert_int_equal(unlinkat(f.dir.fd, at, 0), 0);
        if (right(&f, &x))
            fail_msg("edit %zu: %s is thought to be the same", i, path);
        OK(fs_remove_tree(f.dir.fd,
                          before ? at
                                 : arena_printf(&f.a, "mod/example.test/dep@v1.0.0/%.*s",
                                                (int)strcspn(path, "/"), path),
                          &e));
        if (before)
            put_module(&f, path, before);
        assert_true(right(&f, &x));
    }
    assert_int_equal(symlinkat("plain.go", f.dir.fd, "mod/example.test/dep@v1.0.0/link"), 0);
    assert_false(right(&f, &x));
}

/* Its text says what is wrong with it, and that it was read; more is not known. */
static void an_index_of_a_file_that_does_not_parse_is_not_trusted(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    put_module(&f, "testdata/bad.go", "package bad\n\nimport (\n");
    GoIndex x = module_index(&f);
    assert_false(right(&f, &x));
}

static void a_package_of_goroot_has_the_name_that_go_gives_it(void **state)
{
    static const char *const PACKAGES[] = {"fmt", "internal/abi", "unicode/utf8"};
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    run_go(&f);
    const char *root = arena_printf(&f.a, "%s/src", said(&f, "go env GOROOT"));
    for (size_t i = 0; i < NELEM(PACKAGES); i++) {
        StrList names;
        Err e = ERR_INIT;
        Digest id;
        GoIndex x;
        size_t n = 0;
        const char *dir = arena_printf(&f.a, "%s/%s", root, PACKAGES[i]);
        scoped(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        OK(fs_list(&f.a, fd, &names, &e));
        GoIndexStat *files = NEW_N(&f.a, GoIndexStat, names.n);
        for (size_t k = 0; k < names.n; k++) {
            struct stat st;
            assert_int_equal(fstatat(fd, names.v[k], &st, AT_SYMLINK_NOFOLLOW), 0);
            if (!S_ISDIR(st.st_mode))
                files[n++] = (GoIndexStat){names.v[k], st.st_mtim, (uint64_t)st.st_size};
        }
        go_index_package_id(f.version, root, dir, files, n, &id);
        assert_true(index_at(&f, &id, &x) && x.npackage == 1);
        assert_int_equal(x.packages[0].dir.len, strlen(PACKAGES[i]));
        files[0].mtime.tv_nsec ^= 1;
        go_index_package_id(f.version, root, dir, files, n, &id);
        assert_false(index_at(&f, &id, &x));
    }
}

static void an_index_that_is_hurt_is_refused(void **state)
{
    static const uint8_t ONE[] = "go index v2\n\x1c\0\0\0\1\0\0\0\0\0\0\0\x1c\0\0\0\0\xff";
    scoped(arena) Arena a = {0};
    GoIndex x;
    (void)state;
    for (size_t n = 0; n < sizeof ONE; n++)
        assert_false(go_index_parse(&a, (Str){(const char *)ONE, n}, &x)); /* no package is there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_of_a_module_is_right_for_its_own_files),
        cmocka_unit_test(an_index_is_wrong_for_files_that_say_something_else),
        cmocka_unit_test(an_index_of_a_file_that_does_not_parse_is_not_trusted),
        cmocka_unit_test(a_package_of_goroot_has_the_name_that_go_gives_it),
        cmocka_unit_test(an_index_that_is_hurt_is_refused),
    };
    return cmocka_run_group_tests_name("gomodindex", tests, NULL, NULL);
}
