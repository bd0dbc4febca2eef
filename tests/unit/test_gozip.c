/*
 * go/zip*.c: zips of modules against golang.org/x/mod/zip, and zips that mean harm.
 */
#include "govectors.h"

#include <libdeflate.h>
#include <sys/mman.h>
#include <zlib.h>

#include "base/cancel.h"
#include "go/go.h"
#include "go/h1.h"

static const GoModule MODULE = {"a.b/c", "v1.0.0"};
#define PREFIX "a.b/c@v1.0.0/"

static int memory_file(const void *bytes, size_t n)
{
    Err e = ERR_INIT;
    int fd = memfd_create("zip", MFD_CLOEXEC);
    if (fd < 0 || !fs_write_all(fd, bytes, n, &e))
        fail_msg("memfd: %s", e.msg);
    return fd;
}

/* ---- against x/mod/zip and x/mod/sumdb/dirhash ---- */

/* What only we refuse; see go/zip.h. */
static bool is_stricter(const char *msg)
{
    static const char *const WORDS[] = {"overlaps",
                                        "more than one entry",
                                        "differs from its directory",
                                        "in front of its first",
                                        "irregular",
                                        "encrypted",
                                        "bytes behind its end",
                                        "not where it says",
                                        "damaged directory",
                                        "split one",
                                        "end records differ",
                                        "bytes behind its data",
                                        "damaged zip64 record",
                                        "damaged zip64 locator",
                                        "in its directory than it says"};
    for (size_t i = 0; i < NELEM(WORDS); i++)
        if (strstr(msg, WORDS[i]))
            return true;
    return false;
}

static const char *op_zip(Arena *a, const Str *in)
{
    scoped(fd) int fd = memory_file(in[0].ptr, in[0].len);
    scoped(scratch) Scratch dir = scratch_new();
    scoped(go_zip) GoZip *z = NULL;
    char h1[GO_H1_SIZE] = "", again[GO_H1_SIZE] = "";
    Err e = ERR_INIT, e2 = ERR_INIT;
    GoZipTree tree = {.dirfd = dir.fd, .writable_dirs = true};
    bool ok = go_zip_open(fd, &MODULE, &z, &e) && go_zip_hash(z, h1, &e);
    if (z) { /* one way through the zip says what the other says */
        bool extracted = go_zip_extract(z, &tree, again, &e2);
        assert_true(ok ? extracted && !strcmp(h1, again) : !extracted && !strcmp(e.msg, e2.msg));
    }
    if (!ok)
        assert_int_equal(e.kind, ERR_NETWORK);
    if (!ok && is_stricter(e.msg))
        return NULL;
    return ok ? arena_printf(a, "ok %s", h1) : "bad";
}

static void zips_are_what_the_go_project_takes_them_for(void **state)
{
    static const GoOp OPS[] = {{"zip", op_zip}};
    (void)state;
    vectors(OPS, NELEM(OPS), "zip");
}

/* ---- zips by hand. Source: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.16. ---- */

typedef struct File {
    const char *name;
    Str data;      /* as it is in the zip */
    uint64_t size; /* unpacked */
    uint32_t crc;  /* of the unpacked bytes */
    unsigned method, flags, mode;
    const char *local; /* the name in front of the data; NULL: the same */
    int back;          /* how far in front of its place the directory says it is */
} File;

typedef struct Zip {
    Buf bytes, dir;
    unsigned n;
} Zip;

static void scoped_zip_done(Zip *z)
{
    buf_done(&z->bytes);
    buf_done(&z->dir);
}

static void num(Buf *b, unsigned size, uint64_t v)
{
    for (unsigned i = 0; i < size; i++)
        buf_putc(b, (char)(v >> 8 * i));
}

static void add(Zip *z, File f)
{
    size_t at = z->bytes.len - (size_t)f.back;
    const char *local = f.local ? f.local : f.name;
    num(&z->bytes, 4, 0x04034b50);
    num(&z->bytes, 2, 20);
    num(&z->bytes, 2, f.flags);
    num(&z->bytes, 2, f.method);
    num(&z->bytes, 4, 0);
    num(&z->bytes, 4, f.crc);
    num(&z->bytes, 4, f.data.len);
    num(&z->bytes, 4, f.size);
    num(&z->bytes, 2, strlen(local));
    num(&z->bytes, 2, 0);
    buf_puts(&z->bytes, local);
    buf_add(&z->bytes, f.data.ptr, f.data.len);
    num(&z->dir, 4, 0x02014b50);
    num(&z->dir, 2, 3 << 8 | 20);
    num(&z->dir, 2, 20);
    num(&z->dir, 2, f.flags);
    num(&z->dir, 2, f.method);
    num(&z->dir, 4, 0);
    num(&z->dir, 4, f.crc);
    num(&z->dir, 4, f.data.len);
    num(&z->dir, 4, f.size);
    num(&z->dir, 2, strlen(f.name));
    num(&z->dir, 2, 0);
    num(&z->dir, 2, 0);
    num(&z->dir, 4, 0);
    num(&z->dir, 4, (uint64_t)f.mode << 16);
    num(&z->dir, 4, at);
    buf_puts(&z->dir, f.name);
    z->n++;
}

static void add_text(Zip *z, const char *name, const char *text)
{
    Str s = str_c(text);
    add(z, (File){.name = name,
                  .data = s,
                  .size = s.len,
                  .crc = libdeflate_crc32(0, s.ptr, s.len),
                  .mode = S_IFREG | 0755});
}

/* Deflated: zlib when the caller says so much is to come out, else the same by another name. */
static void add_packed(Zip *z, const char *name, const void *bytes, size_t n, uint64_t said)
{
    scoped(buf) Buf out = BUF_INIT;
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    size_t cap = libdeflate_deflate_compress_bound(c, n);
    out.len = libdeflate_deflate_compress(c, bytes, n, buf_reserve(&out, cap), cap);
    libdeflate_free_compressor(c);
    add(z, (File){.name = name,
                  .data = {out.ptr, out.len},
                  .size = said,
                  .crc = libdeflate_crc32(0, bytes, n),
                  .method = 8});
}

static int finish(Zip *z)
{
    size_t at = z->bytes.len;
    buf_add(&z->bytes, buf_str(&z->dir), z->dir.len);
    num(&z->bytes, 4, 0x06054b50);
    num(&z->bytes, 4, 0);
    num(&z->bytes, 2, z->n);
    num(&z->bytes, 2, z->n);
    num(&z->bytes, 4, z->dir.len);
    num(&z->bytes, 4, at);
    num(&z->bytes, 2, 0);
    return memory_file(z->bytes.ptr, z->bytes.len);
}

/* Open and unpack into nowhere. */
static bool whole(Zip *zip, Err *e)
{
    char h1[GO_H1_SIZE];
    scoped(fd) int fd = finish(zip);
    scoped(go_zip) GoZip *z = NULL;
    return go_zip_open(fd, &MODULE, &z, e) && go_zip_hash(z, h1, e);
}

/* It is refused, with this in the message; the next zip begins empty. */
static void refused(Zip *z, const char *part)
{
    Err e = ERR_INIT;
    FAILS(whole(z, &e), ERR_NETWORK, part);
    scoped_zip_done(z);
    *z = (Zip){0};
}

static void a_tree_is_left_as_the_go_command_leaves_it(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(zip) Zip z = {0};
    scoped(scratch) Scratch dir = scratch_new();
    struct stat st;
    struct timespec when = {.tv_sec = 1000000000};
    char h1[GO_H1_SIZE], again[GO_H1_SIZE];
    bool found;
    Err e = ERR_INIT;
    (void)state;
    add_text(&z, PREFIX "b/c/run.sh", "#!/bin/sh\n");
    add_text(&z, PREFIX "a.go", "package a\n");
    add_text(&z, PREFIX "empty/", "");
    add_packed(&z, PREFIX "b-/x", "xxxxxxxx", 8, 8);
    add_packed(&z, PREFIX "b/x", "xxxxxxxx", 8, 8);
    scoped(fd) int fd = finish(&z);
    scoped(go_zip) GoZip *zip = NULL;
    OK(go_zip_open(fd, &MODULE, &zip, &e));
    assert_int_equal(go_zip_count(zip), 5);
    assert_int_equal(go_zip_size(zip), 36);
    make_dir(dir.fd, "m");
    scoped(fd) int mfd = openat(dir.fd, "m", O_RDONLY | O_DIRECTORY);
    mode_t mask = umask(077);
    OK(go_zip_extract(zip, &(GoZipTree){.dirfd = mfd, .mtime = &when}, h1, &e));
    umask(mask);
    OK(go_zip_hash(zip, again, &e));
    assert_string_equal(h1, again);
    assert_string_equal(slurp(&a, mfd, "a.go"), "package a\n");
    assert_string_equal(slurp(&a, mfd, "b/x"), "xxxxxxxx");
    assert_string_equal(slurp(&a, mfd, "b-/x"), "xxxxxxxx");
    assert_false(exists(mfd, "empty"));
    assert_int_equal(fstatat(mfd, "b/c/run.sh", &st, 0), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0444);
    assert_int_equal(st.st_mtime, 1000000000);
    static const char *const DIRS[] = {".", "b", "b/c", "b-"};
    for (size_t i = 0; i < NELEM(DIRS); i++) {
        assert_int_equal(fstatat(mfd, DIRS[i], &st, 0), 0);
        assert_int_equal(st.st_mode, S_IFDIR | 0555);
        assert_int_equal(st.st_mtime, 1000000000);
    }
    FAILS(go_zip_extract(zip, &(GoZipTree){.dirfd = mfd}, h1, &e), ERR_STORE, "not empty");
    make_dir(dir.fd, "w");
    scoped(fd) int wfd = openat(dir.fd, "w", O_RDONLY | O_DIRECTORY);
    OK(go_zip_extract(zip, &(GoZipTree){.dirfd = wfd, .writable_dirs = true}, h1, &e));
    assert_int_equal(fstatat(wfd, "b/c", &st, 0), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0755);
    scoped(buf) Buf text = BUF_INIT;
    OK(go_zip_read(zip, "a.go", 10, &text, &found, &e));
    assert_true(found);
    assert_string_equal(text.ptr, "package a\n");
    OK(go_zip_read(zip, "go.mod", 10, &text, &found, &e));
    assert_false(found);
    FAILS(go_zip_read(zip, "a.go", 9, &text, &found, &e), ERR_NETWORK, "larger than it may be");
    assert_int_equal(text.len, 10);
}

/* More files than one thread takes; number `bad`, if there is one, has another CRC than it says. */
static int many_files(Zip *z, size_t bad, char ret_h1[static GO_H1_SIZE])
{
    enum { FILES = 2100 };
    scoped(arena) Arena a = {0};
    Hasher list;
    Digest d;
    hash_init(&list);
    for (size_t i = 0; i < FILES; i++) { /* in the order of names; directories are cut anywhere */
        const char *name =
            arena_printf(&a, PREFIX "d%zu/e%02zu/f%zu.go", i / 700, i % 700 / 25, i % 25 + 10);
        Str text = str_c(arena_printf(&a, "package f%zu\n", i));
        add(z, (File){.name = name,
                      .data = text,
                      .size = text.len,
                      .crc = libdeflate_crc32(0, text.ptr, text.len) ^ (i == bad),
                      .mode = S_IFREG | 0644});
        digest_of(text.ptr, text.len, &d);
        h1_add(&list, &d, str_c(name));
    }
    hash_end(&list, &d);
    h1_text(&d, ret_h1);
    return finish(z);
}

static void several_threads_leave_the_tree_and_the_hash_that_one_leaves(void **state)
{
    static const size_t BAD[] = {0, 700, 2099};
    scoped(arena) Arena a = {0};
    scoped(zip) Zip z = {0};
    scoped(scratch) Scratch dir = scratch_new();
    char h1[GO_H1_SIZE], right[GO_H1_SIZE];
    struct timespec when = {.tv_sec = 1000000000};
    struct stat st;
    Err e = ERR_INIT;

    (void)state;
    scoped(fd) int fd = many_files(&z, SIZE_MAX, right);
    scoped(go_zip) GoZip *zip = NULL;
    OK(go_zip_open(fd, &MODULE, &zip, &e));
    OK(go_zip_extract(zip, &(GoZipTree){.dirfd = dir.fd, .mtime = &when}, h1, &e));
    assert_string_equal(h1, right);
    assert_string_equal(slurp(&a, dir.fd, "d0/e00/f10.go"), "package f0\n");
    assert_string_equal(slurp(&a, dir.fd, "d2/e26/f29.go"), "package f2069\n");
    static const char *const DIRS[] = {".", "d0", "d1/e27", "d2"};
    for (size_t i = 0; i < NELEM(DIRS); i++) {
        assert_int_equal(fstatat(dir.fd, DIRS[i], &st, 0), 0);
        assert_int_equal(st.st_mode, S_IFDIR | 0555);
        assert_int_equal(st.st_mtime, 1000000000);
    }
    for (size_t i = 0; i < NELEM(BAD); i++) {
        scoped(zip) Zip hurt = {0};
        scoped(fd) int hurt_fd = many_files(&hurt, BAD[i], right);
        scoped(go_zip) GoZip *one = NULL;
        OK(go_zip_open(hurt_fd, &MODULE, &one, &e));
        FAILS(go_zip_hash(one, h1, &e), ERR_NETWORK, "wrong CRC");
    }
}

static void names_that_would_leave_the_module_are_refused(void **state)
{
    static const char *const NAMES[] = {PREFIX "../x", PREFIX "/x",   PREFIX "a/../../x",
                                        PREFIX "./x",  PREFIX "a//x", PREFIX "a\\..\\x",
                                        PREFIX "x\n",  PREFIX "con"};
    scoped(zip) Zip z = {0};
    (void)state;
    for (size_t i = 0; i < NELEM(NAMES); i++) {
        add_text(&z, NAMES[i], "x");
        refused(&z, "zip: 'a.b/c@v1.0.0/");
    }
    add_text(&z, "a.b/c@v1.0.1/x", "x");
    refused(&z, "not below 'a.b/c@v1.0.0/'");
    add_text(&z, "a.b/C@v1.0.0/x", "x");
    refused(&z, "not below");
}

static void two_names_for_one_file_are_refused(void **state)
{
    static const char *const PAIRS[][2] = {{PREFIX "a", PREFIX "A"},
                                           {PREFIX "a/x", PREFIX "A/y"},
                                           {PREFIX "a", PREFIX "a/x"},
                                           {PREFIX "s", PREFIX "\xc5\xbf"},
                                           {PREFIX "k/x", PREFIX "\xe2\x84\xaa/x"},
                                           {PREFIX "\xc3\xa4", PREFIX "\xc3\x84"},
                                           {PREFIX "a", PREFIX "a"},
                                           {PREFIX "a/", PREFIX "a/"},
                                           {PREFIX "a", PREFIX "a/"},
                                           {PREFIX "a/", PREFIX "A/x"}};
    scoped(zip) Zip z = {0};
    (void)state;
    for (size_t i = 0; i < NELEM(PAIRS); i++) {
        add_text(&z, PAIRS[i][0], "");
        add_text(&z, PAIRS[i][1], "");
        refused(&z, "zip: '");
    }
    Err e = ERR_INIT;
    add_text(&z, PREFIX "a/", "");
    add_text(&z, PREFIX "a/x", "x");
    add_text(&z, PREFIX "a-", "x");
    OK(whole(&z, &e));
}

static void links_and_devices_are_refused(void **state)
{
    static const unsigned MODES[] = {S_IFLNK | 0777, S_IFCHR | 0666, S_IFIFO | 0666, S_IFSOCK,
                                     S_IFDIR | 0755};
    scoped(zip) Zip z = {0};
    (void)state;
    for (size_t i = 0; i < NELEM(MODES); i++) {
        add(&z, (File){.name = PREFIX "x", .data = {"/etc", 4}, .size = 4, .mode = MODES[i]});
        refused(&z, "irregular");
    }
}

static void go_mod_is_at_the_root_and_in_small_letters(void **state)
{
    scoped(zip) Zip z = {0};
    Err e = ERR_INIT;
    (void)state;
    add_text(&z, PREFIX "sub/go.mod", "module x\n");
    refused(&z, "not in module root directory");
    add_text(&z, PREFIX "sub/Go.Mod", "module x\n");
    refused(&z, "not in module root directory");
    add_text(&z, PREFIX "GO.MOD", "module x\n");
    refused(&z, "lowercase");
    add_text(&z, PREFIX "go.mod", "module x\n");
    OK(whole(&z, &e));
}

static void sizes_over_the_limits_are_refused_before_a_byte_is_unpacked(void **state)
{
    scoped(zip) Zip z = {0};
    (void)state;
    add(&z, (File){.name = PREFIX "go.mod", .data = {"", 0}, .size = GO_MOD_MAX + 1, .method = 8});
    refused(&z, "go.mod file too large");
    add(&z,
        (File){.name = PREFIX "LICENSE", .data = {"", 0}, .size = GO_LICENSE_MAX + 1, .method = 8});
    refused(&z, "LICENSE file too large");
    add(&z, (File){.name = PREFIX "a", .data = {"", 0}, .size = GO_ZIP_MAX - 10, .method = 8});
    add(&z, (File){.name = PREFIX "b", .data = {"", 0}, .size = 11, .method = 8});
    refused(&z, "more than 524288000 bytes unpacked");
    add(&z, (File){.name = PREFIX "a", .data = {"", 0}, .size = UINT32_MAX, .method = 8});
    refused(&z, "more than 524288000 bytes unpacked");
    scoped(fd) int fd = memfd_create("big", MFD_CLOEXEC);
    scoped(go_zip) GoZip *zip = NULL;
    Err e = ERR_INIT;
    assert_int_equal(ftruncate(fd, GO_ZIP_MAX + 1), 0);
    FAILS(go_zip_open(fd, &MODULE, &zip, &e), ERR_NETWORK, "larger than 524288000 bytes");
}

/* 64 MiB of zeros in 64 KiB, said to be less: by both ways of unpacking. */
static void a_bomb_is_stopped_at_the_size_it_gave(void **state)
{
    enum { BIG = 64 << 20 };
    static char zeros[BIG];
    scoped(zip) Zip z = {0};
    (void)state;
    add_packed(&z, PREFIX "x", zeros, BIG, 1000);
    refused(&z, "more bytes than its size says");
    add_packed(&z, PREFIX "x", zeros, BIG, 3 << 20);
    refused(&z, "more bytes than its size says");
    add_packed(&z, PREFIX "x", zeros, 5 << 20, 6 << 20);
    refused(&z, "fewer bytes than its size says");
    add_packed(&z, PREFIX "x", zeros, 100, 200);
    refused(&z, "fewer bytes than its size says");
    Err e = ERR_INIT;
    add_packed(&z, PREFIX "x", zeros, BIG, BIG);
    add_packed(&z, PREFIX "y", zeros, 1 << 20, 1 << 20);
    OK(whole(&z, &e));
}

static void a_flipped_bit_of_content_is_found_by_the_crc(void **state)
{
    static char text[3 << 20];
    scoped(zip) Zip z = {0};
    (void)state;
    add_text(&z, PREFIX "x", "hello");
    z.bytes.ptr[z.bytes.len - 1] ^= 1;
    refused(&z, "wrong CRC");
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + next_random(&seed) % 16);
    add_packed(&z, PREFIX "x", text, sizeof text, sizeof text);
    z.bytes.ptr[30 + strlen(PREFIX "x") + 100] ^= 1;
    refused(&z, "'a.b/c@v1.0.0/x'");
}

static void entries_that_share_bytes_are_refused(void **state)
{
    scoped(zip) Zip z = {0};
    (void)state;
    add_text(&z, PREFIX "a", "0123456789");
    add(&z,
        (File){.name = PREFIX "b", .local = PREFIX "b", .data = {"x", 1}, .size = 1, .back = 5});
    refused(&z, "overlaps what follows it");
    add_text(&z, PREFIX "a", "0123456789"); /* both are the first entry */
    size_t len = z.bytes.len;
    add(&z, (File){.name = PREFIX "b", .data = {"x", 1}, .size = 1, .back = (int)len});
    refused(&z, "overlaps what follows it");
    add(&z, (File){.name = PREFIX "a", .data = {"x", 1}, .size = 1, .local = PREFIX "b"});
    refused(&z, "differs from its directory");
    add(&z, (File){.name = PREFIX "a", .data = {"x", 1}, .size = 1, .flags = 1});
    refused(&z, "encrypted");
    add(&z, (File){.name = PREFIX "a", .data = {"x", 1}, .size = 1, .method = 14});
    refused(&z, "another way than deflate");
}

static void a_cut_zip_is_refused_wherever_it_is_cut(void **state)
{
    scoped(zip) Zip z = {0};
    (void)state;
    add_text(&z, PREFIX "a", "0123456789");
    add_packed(&z, PREFIX "b", "xxxxxxxxxxxx", 12, 12);
    close(finish(&z));
    for (size_t n = 0; n < z.bytes.len; n++) {
        scoped(fd) int cut = memory_file(z.bytes.ptr, n);
        scoped(go_zip) GoZip *zip = NULL;
        Err e = ERR_INIT;
        FAILS(go_zip_open(cut, &MODULE, &zip, &e), ERR_NETWORK, "a.b/c@v1.0.0: zip: ");
    }
}

static void names_that_collide_in_a_hash_table_cost_nothing_here(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(zip) Zip z = {0};
    Err e = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < 60000; i++)
        add_text(&z, arena_printf(&a, PREFIX "d%zu/%06zu", i % 7, i), "");
    OK(whole(&z, &e));
    scoped_zip_done(&z);
    z = (Zip){0};
    char *deep = arena_alloc(&a, 60001);
    memcpy(deep, PREFIX, sizeof PREFIX - 1);
    for (size_t i = sizeof PREFIX - 1; i < 60000; i++)
        deep[i] = i % 2 ? 'a' : '/';
    for (size_t i = 0; i < 20; i++) { /* 30,000 directories each */
        deep[sizeof PREFIX - 1] = (char)('b' + i);
        deep[59999] = 'x';
        add_text(&z, arena_strdup(&a, deep), "");
    }
    refused(&z, "too many directories");
}

/* Bytes that this process has read from files. Source: proc(5), /proc/pid/io. */
static uint64_t bytes_read(Arena *a)
{
    scoped(buf) Buf b = BUF_INIT;
    Err e = ERR_INIT;
    if (!fs_read_file(AT_FDCWD, "/proc/self/io", 4096, &b, &e))
        return 0;
    const char *line = strstr(arena_strdup(a, buf_str(&b)), "rchar: ");
    return line ? strtoull(line + 7, NULL, 10) : 0;
}

/* In the order of their names, which is ours, entries lie as far apart as they can. */
static void of_shuffled_entries_no_more_is_read_than_they_have(void **state)
{
    enum { MANY = 65000 };
    scoped(arena) Arena a = {0};
    scoped(zip) Zip z = {0};
    Err e = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < MANY; i++)
        add_text(&z, arena_printf(&a, PREFIX "%05zu", i * 50021 % MANY), "x");
    uint64_t before = bytes_read(&a);
    if (!before)
        SKIP("/proc/self/io cannot be read");
    OK(whole(&z, &e));
    assert_true(bytes_read(&a) - before < 4 * z.bytes.len);
}

static void a_version_that_is_not_canonical_names_no_zip(void **state)
{
    scoped(fd) int fd = memory_file("", 0);
    scoped(go_zip) GoZip *z = NULL;
    Err e = ERR_INIT;
    (void)state;
    FAILS(go_zip_open(fd, &(GoModule){"a.b/c", "v1"}, &z, &e), ERR_DOCKERFILE, "not canonical");
    FAILS(go_zip_open(fd, &(GoModule){"a.b/c", "v2.0.0"}, &z, &e), ERR_DOCKERFILE, "major version");
    FAILS(go_zip_open(fd, &(GoModule){"c", "v1.0.0"}, &z, &e), ERR_DOCKERFILE, "missing dot");
    FAILS(go_zip_open(fd, &MODULE, &z, &e), ERR_NETWORK, "not a zip, or cut");
}

static void a_cancelled_build_does_not_wait_for_a_zip(void **state)
{
    scoped(zip) Zip z = {0};
    Err e = ERR_INIT;
    (void)state;
    add_text(&z, PREFIX "a", "0123456789");
    cancel_raise();
    FAILS(whole(&z, &e), ERR_STEP, "cancelled");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zips_are_what_the_go_project_takes_them_for),
        cmocka_unit_test(a_tree_is_left_as_the_go_command_leaves_it),
        cmocka_unit_test(several_threads_leave_the_tree_and_the_hash_that_one_leaves),
        cmocka_unit_test(names_that_would_leave_the_module_are_refused),
        cmocka_unit_test(two_names_for_one_file_are_refused),
        cmocka_unit_test(links_and_devices_are_refused),
        cmocka_unit_test(go_mod_is_at_the_root_and_in_small_letters),
        cmocka_unit_test(sizes_over_the_limits_are_refused_before_a_byte_is_unpacked),
        cmocka_unit_test(a_bomb_is_stopped_at_the_size_it_gave),
        cmocka_unit_test(a_flipped_bit_of_content_is_found_by_the_crc),
        cmocka_unit_test(entries_that_share_bytes_are_refused),
        cmocka_unit_test(a_cut_zip_is_refused_wherever_it_is_cut),
        cmocka_unit_test(names_that_collide_in_a_hash_table_cost_nothing_here),
        cmocka_unit_test(of_shuffled_entries_no_more_is_read_than_they_have),
        cmocka_unit_test(a_version_that_is_not_canonical_names_no_zip),
        cmocka_unit_test(a_cancelled_build_does_not_wait_for_a_zip), /* last: it cannot be undone */
    };
    return cmocka_run_group_tests_name("gozip", tests, NULL, NULL);
}
