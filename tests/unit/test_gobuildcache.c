/*
 * go/buildcache.c: files of a GOCACHE, those of this machine's go command among them.
 */
#include "testing.h"

#include <ftw.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "go/go.h"

#define ACTION "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OUTPUT "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ENTRY "v1 " ACTION " " OUTPUT "                    7  1700000000123456789\n"

static void an_entry_is_read_and_written_as_go_does(void **state)
{
    GoCacheEntry x;
    char hex[DIGEST_HEX_SIZE], text[GO_CACHE_ENTRY_SIZE + 1];
    (void)state;
    assert_true(go_cache_entry_parse(str_c(ENTRY), &x));
    digest_hex(&x.action, hex);
    assert_string_equal(hex, ACTION);
    digest_hex(&x.output, hex);
    assert_string_equal(hex, OUTPUT);
    assert_int_equal(x.size, 7);
    assert_int_equal(x.time, 1700000000123456789);
    go_cache_entry_text(&x, text);
    assert_string_equal(text, ENTRY);
}

/* Each byte changed in turn: what is still an entry says something else, and is written so. */
static void no_byte_of_an_entry_may_be_another(void **state)
{
    char text[] = ENTRY, again[GO_CACHE_ENTRY_SIZE + 1];
    GoCacheEntry x;
    (void)state;
    for (size_t n = 0; n < GO_CACHE_ENTRY_SIZE; n++)
        assert_false(go_cache_entry_parse((Str){text, n}, &x));
    assert_false(go_cache_entry_parse((Str){text, GO_CACHE_ENTRY_SIZE + 1}, &x));
    for (size_t i = 0; i < GO_CACHE_ENTRY_SIZE; i++) {
        for (unsigned c = 0; c < 256; c++) {
            text[i] = (char)c;
            if (!go_cache_entry_parse((Str){text, GO_CACHE_ENTRY_SIZE}, &x))
                continue;
            go_cache_entry_text(&x, again);
            assert_memory_equal(text, again, GO_CACHE_ENTRY_SIZE);
        }
        text[i] = ENTRY[i];
    }
    static const char *const SIZES[] = {"                   -1", "                   +1",
                                        "                   01", "                    ",
                                        " 9223372036854775808",  "1                   ",
                                        "            1      2"};
    for (size_t i = 0; i < NELEM(SIZES); i++) {
        char bad[] = ENTRY;
        memcpy(bad + 3 + 65 + 65, SIZES[i] + strlen(SIZES[i]) - 20, 20);
        assert_false(go_cache_entry_parse(str_c(bad), &x));
    }
}

static void names_lie_in_the_directory_of_their_first_digits(void **state)
{
    Digest id;
    char path[GO_CACHE_PATH_SIZE];
    (void)state;
    assert_int_equal(go_cache_name("00/" ACTION "-a", &id), GO_CACHE_ACTION);
    go_cache_path(GO_CACHE_ACTION, &id, path);
    assert_string_equal(path, "00/" ACTION "-a");
    assert_int_equal(go_cache_name("e3/" OUTPUT "-d", &id), GO_CACHE_OUTPUT);
    static const char *const OTHERS[] = {
        "README",
        "trim.txt",
        "e4/" OUTPUT "-d",
        "e3/" OUTPUT "-x",
        "e3/" OUTPUT "-d/x",
        "e3/" OUTPUT,
        OUTPUT "-d",
        "",
        "E3/E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855-d"};
    for (size_t i = 0; i < NELEM(OTHERS); i++)
        assert_int_equal(go_cache_name(OTHERS[i], &id), GO_CACHE_OTHER);
}

static void an_index_of_files_is_told_from_other_outputs(void **state)
{
    static const struct {
        const char *text;
        bool index;
    } CASES[] = {{"go index v2\n\1\2", true},
                 {"go index v", true},
                 {"go index ", false},
                 {"!<arch>\n", false},
                 {"", false}};
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        GoCacheOutput out;
        Digest want;
        Err e = ERR_INIT;
        scoped(fd) int fd = memfd_create("output", MFD_CLOEXEC);
        OK(fs_write_all(fd, CASES[i].text, strlen(CASES[i].text), &e));
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        OK(go_cache_output_read(fd, &out, &e));
        digest_of(CASES[i].text, strlen(CASES[i].text), &want);
        assert_true(digest_eq(&out.digest, &want) && out.size == strlen(CASES[i].text));
        assert_int_equal(out.index, CASES[i].index);
    }
}

/* ---- what the go command writes ---- */

static size_t nentry, noutput, nindex;
static const char *cache;

static int visit(const char *path, const struct stat *st, int type, struct FTW *f)
{
    Digest id;
    Err e = ERR_INIT;
    (void)f;
    if (type != FTW_F)
        return 0;
    scoped(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    switch (go_cache_name(path + strlen(cache) + 1, &id)) {
    case GO_CACHE_ACTION: {
        scoped(buf) Buf b = BUF_INIT;
        GoCacheEntry x;
        OK(fs_read_all(fd, GO_CACHE_ENTRY_SIZE, &b, &e));
        assert_true(go_cache_entry_parse((Str){b.ptr, b.len}, &x) && digest_eq(&x.action, &id));
        nentry++;
        break;
    }
    case GO_CACHE_OUTPUT: {
        GoCacheOutput out;
        OK(go_cache_output_read(fd, &out, &e));
        assert_true(digest_eq(&out.digest, &id) && out.size == (uint64_t)st->st_size);
        noutput++;
        nindex += out.index;
        break;
    }
    case GO_CACHE_OTHER:
        break;
    }
    return 0;
}

static void what_go_itself_writes_is_what_is_taken(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(scratch) Scratch dir = scratch_new();
    (void)state;
    make_dir(dir.fd, "m");
    put(dir.fd, "m/go.mod", "module m.x/m\n");
    put(dir.fd, "m/a.go", "package m\n\nfunc F() int { return 1 }\n");
    cache = arena_printf(&a, "%s/cache", dir.path);
    int rc = system(arena_printf(&a,
                                 "cd %s/m && GOCACHE=%s GOPATH=%s/go GOFLAGS= GOTOOLCHAIN=local "
                                 "CGO_ENABLED=0 go build . >/dev/null 2>&1",
                                 dir.path, cache, dir.path));
    if (WIFEXITED(rc) && WEXITSTATUS(rc) == 127)
        SKIP("there is no go command");
    assert_int_equal(rc, 0);
    nftw(cache, visit, 16, FTW_PHYS);
    assert_true(nentry >= 2 && noutput >= 1);
    print_message("%zu entries, %zu outputs, %zu of them indexes\n", nentry, noutput, nindex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_read_and_written_as_go_does),
        cmocka_unit_test(no_byte_of_an_entry_may_be_another),
        cmocka_unit_test(names_lie_in_the_directory_of_their_first_digits),
        cmocka_unit_test(an_index_of_files_is_told_from_other_outputs),
        cmocka_unit_test(what_go_itself_writes_is_what_is_taken),
    };
    return cmocka_run_group_tests_name("gobuildcache", tests, NULL, NULL);
}
