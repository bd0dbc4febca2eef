/*
 * snapshot/untar.c and what it stands on: archives told by their content, unpacked over a stack
 * without a mount and compared with overlayfs, and archives that mean harm.
 *
 * Archives are written here by hand, or by tar, xz, bzip2 and zstd themselves.
 */
#include "testing.h"

#include <lzma.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <zlib.h>

#include "snapshot/snapshot.h"

#define NEEDS_ROOT()                                                                               \
    if (geteuid() != 0)                                                                            \
    SKIP("not root: owners, devices and whiteouts cannot be made")

enum { BLOCK = 512 };

/* ---- archives by hand. Source: POSIX pax, "ustar Interchange Format". ---- */

typedef struct Raw {
    const char *name, *link;
    char type;
    unsigned mode, uid, gid, mtime;
    const char *data;
    unsigned major, minor;
} Raw;

static void checksum(char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += (unsigned char)h[i];
    (void)snprintf(h + 148, 8, "%06o", sum);
}

static void add_data(Buf *b, const char *data, size_t size)
{
    static const char ZERO[BLOCK];
    buf_add(b, data, size);
    buf_add(b, ZERO, (BLOCK - size % BLOCK) % BLOCK);
}

static void add_header(Buf *b, const Raw *r, size_t size)
{
    char h[BLOCK] = {0};
    memcpy(h, r->name, strlen(r->name) < 100 ? strlen(r->name) : 100);
    (void)snprintf(h + 100, 8, "%07o", r->mode ? r->mode : 0644);
    (void)snprintf(h + 108, 8, "%07o", r->uid);
    (void)snprintf(h + 116, 8, "%07o", r->gid);
    (void)snprintf(h + 124, 12, "%011zo", size);
    (void)snprintf(h + 136, 12, "%011o", r->mtime ? r->mtime : 1000000);
    h[156] = r->type ? r->type : '0';
    if (r->link)
        memcpy(h + 157, r->link, strlen(r->link) < 100 ? strlen(r->link) : 100);
    memcpy(h + 257, "ustar\00000", 8);
    (void)snprintf(h + 329, 8, "%07o", r->major);
    (void)snprintf(h + 337, 8, "%07o", r->minor);
    checksum(h);
    buf_add(b, h, sizeof h);
}

static void add(Buf *b, Raw r)
{
    size_t size = r.data ? strlen(r.data) : 0;
    add_header(b, &r, size);
    add_data(b, r.data ? r.data : "", size);
}

/* A PAX header with one record. */
static void add_record(Buf *b, char type, const char *key, const char *value)
{
    scoped(buf) Buf r = BUF_INIT;
    size_t body = strlen(key) + strlen(value) + 3, len = body + 1;
    while (len != body + (size_t)snprintf(NULL, 0, "%zu", len))
        len = body + (size_t)snprintf(NULL, 0, "%zu", len);
    buf_printf(&r, "%zu %s=%s\n", len, key, value);
    add_header(b, &(Raw){.name = "pax", .type = type}, r.len);
    add_data(b, r.ptr, r.len);
}

static void add_end(Buf *b)
{
    static const char END[2 * BLOCK];
    buf_add(b, END, sizeof END);
}

static int memory_file(const void *bytes, size_t n)
{
    Err e = ERR_INIT;
    int fd = memfd_create("tar", MFD_CLOEXEC);
    if (fd < 0 || !fs_write_all(fd, bytes, n, &e) || lseek(fd, 0, SEEK_SET) != 0)
        fail_msg("memfd: %s", e.msg);
    return fd;
}

static void gzip_to(Buf *out, const void *bytes, size_t n)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, 0), Z_OK);
    size_t cap = deflateBound(&z, n) + 64;
    z.next_in = (void *)(uintptr_t)bytes;
    z.avail_in = (uInt)n;
    z.next_out = (void *)buf_reserve(out, cap);
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->len += cap - z.avail_out;
    deflateEnd(&z);
}

/* ---- stores and stacks ---- */

enum { MAX_LAYERS = 3 };

typedef struct Fixture {
    Scratch dir;
    Arena arena;
    Store *s;
    Stack below;
    Buf tar;
} Fixture;

static void scoped_fixture_done(Fixture *f)
{
    store_done(f->s);
    buf_done(&f->tar);
    arena_done(&f->arena);
    scoped_scratch_done(&f->dir);
}

static void fixture_init(Fixture *f)
{
    Err e = ERR_INIT;
    *f = (Fixture){.dir = scratch_new()};
    OK(store_open(arena_printf(&f->arena, "%s/store", f->dir.path), "root", &f->s, &e));
}

/* Publish the directory `name` of the scratch directory as the next layer. */
static void push_layer(Fixture *f, const char *name)
{
    char tmp[STORE_TMP_MAX];
    SnapshotId id;
    Err e = ERR_INIT;
    OK(store_tmp(f->s, "layer", tmp, &e));
    assert_int_equal(renameat(f->dir.fd, name, store_dirfd(f->s), tmp), 0);
    OK(store_snapshot_add(f->s, tmp, &id, &e));
    f->below = stack_push(&f->arena, &f->below, id);
}

/* Names below tmp/ other than our own directory's lock. */
static size_t count_tmp(Fixture *f)
{
    StrList owners, names;
    Err e = ERR_INIT;
    size_t n = 0;
    scoped(fd) int fd = openat(store_dirfd(f->s), "tmp", O_RDONLY | O_DIRECTORY);
    OK(fs_list(&f->arena, fd, &owners, &e));
    for (size_t i = 0; i < owners.n; i++) {
        scoped(fd) int sub = openat(fd, owners.v[i], O_RDONLY | O_DIRECTORY);
        OK(fs_list(&f->arena, sub, &names, &e));
        n += names.n - 1;
    }
    return n;
}

static bool unpack_fd(Fixture *f, int fd, const char *dest, UntarOpts o, Stack *ret, Err *e)
{
    SnapshotId id;
    scoped(upper) Upper up = {.dirfd = -1};
    if (!upper_begin(f->s, &f->below, &up, e) || !upper_untar(&up, fd, dest, &o, e) ||
        !upper_commit(&up, &id, e))
        return false;
    *ret = stack_push(&f->arena, &f->below, id);
    return true;
}

/* Unpack f->tar, ended, over the stack; *ret is the stack with the result on top. */
static bool unpack(Fixture *f, const char *dest, UntarOpts o, Stack *ret, Err *e)
{
    scoped(fd) int fd = memory_file(buf_str(&f->tar), f->tar.len);
    return unpack_fd(f, fd, dest, o, ret, e);
}

/* One line a file, what can be seen through the stack. */
static void describe(Fixture *f, const View *v, const char *path, Buf *out)
{
    Err e = ERR_INIT;
    StrList names;
    ViewNode *n = NEW(&f->arena, ViewNode);
    OK(view_lookup(v, path, VIEW_NOFOLLOW, n, &e));
    OK(view_list(v, &f->arena, n, &names, &e));
    for (size_t i = 0; i < names.n; i++) {
        const char *full = *path ? arena_printf(&f->arena, "%s/%s", path, names.v[i]) : names.v[i];
        TreeEntry t;
        OK(view_lookup(v, full, VIEW_NOFOLLOW, n, &e));
        OK(view_entry(v, &f->arena, n, &t, &e));
        buf_printf(out, "%s %o %u:%u", full, t.mode, t.uid, t.gid);
        if (t.type == TREE_FILE) {
            scoped(buf) Buf text = BUF_INIT;
            scoped(fd) int fd = view_open(v, n);
            OK(fs_read_all(fd, 1 << 20, &text, &e));
            buf_printf(out, " =%s", buf_str(&text));
        } else if (t.type == TREE_SYMLINK) {
            buf_printf(out, " ->%s", t.link);
        } else if (t.type == TREE_DIR) {
            buf_puts(out, " /");
        } else {
            buf_printf(out, " type%d", (int)t.type);
        }
        buf_putc(out, '\n');
        if (t.type == TREE_DIR)
            describe(f, v, full, out);
    }
}

static const char *seen(Fixture *f, const Stack *st)
{
    Err e = ERR_INIT;
    scoped(stack_view) StackView v = {0};
    scoped(buf) Buf b = BUF_INIT;
    OK(stack_view(f->s, st, -1, &v, &e));
    if (st->n)
        describe(f, &v.view, "", &b);
    return arena_strdup(&f->arena, buf_str(&b));
}

static struct stat stat_seen(Fixture *f, const Stack *st, const char *path)
{
    Err e = ERR_INIT;
    ViewNode n;
    scoped(stack_view) StackView v = {0};
    OK(stack_view(f->s, st, -1, &v, &e));
    OK(view_lookup(&v.view, path, VIEW_NOFOLLOW, &n, &e));
    assert_true(n.exists);
    return n.st;
}

static void unpacks_to(Fixture *f, const char *dest, UntarOpts o, const char *want)
{
    Stack st;
    Err e = ERR_INIT;
    add_end(&f->tar);
    OK(unpack(f, dest, o, &st, &e));
    assert_string_equal(seen(f, &st), want);
    assert_int_equal(count_tmp(f), 0);
}

/* ---- what is an archive ---- */

static bool is_archive(const void *bytes, size_t n)
{
    Err e = ERR_INIT;
    bool yes;
    scoped(fd) int fd = memory_file(bytes, n);
    OK(layer_archive_detect(fd, &yes, &e));
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
    return yes;
}

static void content_tells_an_archive(void **state)
{
    scoped(buf) Buf tar = BUF_INIT, gz = BUF_INIT, text = BUF_INIT, global = BUF_INIT;
    scoped(buf) Buf sparse = BUF_INIT, end = BUF_INIT, up = BUF_INIT, skip = BUF_INIT;
    char bad[BLOCK];

    (void)state;
    add(&tar, (Raw){.name = "f", .data = "x"});
    assert_true(is_archive(tar.ptr, tar.len));
    assert_true(is_archive(tar.ptr, BLOCK)); /* what is cut later fails later */
    assert_false(is_archive(tar.ptr, BLOCK - 1));
    assert_false(is_archive("", 0));
    assert_false(is_archive("hello\n", 6));
    assert_false(is_archive("BZhello, this is a text", 23));
    add_end(&end);
    assert_false(is_archive(end.ptr, end.len));
    memcpy(bad, tar.ptr, BLOCK);
    bad[0] = 'g';
    assert_false(is_archive(bad, sizeof bad));

    gzip_to(&gz, tar.ptr, tar.len);
    assert_true(is_archive(gz.ptr, gz.len));
    assert_false(is_archive(gz.ptr, 12));
    gzip_to(&text, "just a text", 11);
    assert_false(is_archive(text.ptr, text.len));

    add_record(&global, 'g', "comment", "a commit"); /* git archive of an empty tree */
    add_end(&global);
    assert_true(is_archive(global.ptr, global.len));
    add(&sparse, (Raw){.name = "f", .type = 'S'});
    assert_true(is_archive(sparse.ptr, sparse.len));
    add(&up, (Raw){.name = "../f"});
    assert_true(is_archive(up.ptr, up.len));
    buf_add(&skip, "\x53\x2a\x4d\x18\x02\0\0\0xx\x53\x2a\x4d\x18", 14);
    assert_false(is_archive(skip.ptr, skip.len));
}

static void detection_leaves_the_file_where_it_was(void **state)
{
    scoped(buf) Buf b = BUF_INIT;
    Err e = ERR_INIT;
    bool yes;

    (void)state;
    buf_puts(&b, "head");
    add(&b, (Raw){.name = "f"});
    scoped(fd) int fd = memory_file(b.ptr, b.len);
    assert_int_equal(lseek(fd, 4, SEEK_SET), 4);
    OK(layer_archive_detect(fd, &yes, &e));
    assert_true(yes);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 4);

    scoped(fd) int dir = open("/", O_RDONLY | O_DIRECTORY);
    FAILS(layer_archive_detect(dir, &yes, &e), ERR_STORE, "read archive");
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    FAILS(layer_archive_detect(ends[0], &yes, &e), ERR_STORE, "archive");
    close(ends[0]);
    close(ends[1]);
}

/* What would need too much memory is neither called an archive nor copied as a file. */
static void memory_of_decoders_is_bounded(void **state)
{
    scoped(buf) Buf tar = BUF_INIT, zst = BUF_INIT;
    uint8_t xz[4096];
    size_t n = 0;
    Err e = ERR_INIT;
    bool yes;

    (void)state;
    add(&tar, (Raw){.name = "f"});
    assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, (uint8_t *)tar.ptr, tar.len,
                                             xz, &n, sizeof xz),
                     LZMA_OK);
    assert_true(is_archive(xz, n));
    /* The block header says how large the dictionary is; 34 is 512 MiB. Format: .xz 1.1, 3.1. */
    size_t head = ((size_t)xz[12] + 1) * 4;
    uint8_t *filter = memmem(xz + 14, head, "\x21\x01", 2);
    assert_non_null(filter);
    filter[2] = 34;
    uint32_t crc = lzma_crc32(xz + 12, head - 4, 0);
    for (size_t i = 0; i < 4; i++)
        xz[12 + head - 4 + i] = (uint8_t)(crc >> (8 * i));
    scoped(fd) int fd = memory_file(xz, n);
    FAILS(layer_archive_detect(fd, &yes, &e), ERR_ENV, "512 MiB");

    /* A frame of one raw block whose window is 2^28. RFC 8878, 3.1.1. */
    uint32_t block = (uint32_t)tar.len << 3 | 1;
    buf_add(&zst, "\x28\xb5\x2f\xfd\x00\x90", 6);
    buf_add(&zst, &block, 3);
    buf_add(&zst, tar.ptr, tar.len);
    scoped(fd) int wide = memory_file(zst.ptr, zst.len);
    FAILS(layer_archive_detect(wide, &yes, &e), ERR_ENV, "128 MiB");
    zst.ptr[5] = (char)0x88; /* 2^27 */
    assert_true(is_archive(zst.ptr, zst.len));
}

/* ---- packed archives, by the programs that make them ---- */

static const char *const PACKERS[] = {"cat", "gzip", "xz", "bzip2", "zstd -q"};

static bool have(const char *packer)
{
    char cmd[80];
    (void)snprintf(cmd, sizeof cmd, "command -v %.*s >/dev/null", (int)strcspn(packer, " "),
                   packer);
    return system(cmd) == 0;
}

static void shell(Fixture *f, const char *script)
{
    const char *cmd = arena_printf(&f->arena, "cd %s && { %s; }", f->dir.path, script);
    if (system(cmd) != 0)
        fail_msg("'%s' failed", cmd);
}

static void every_packing_is_read_whole_and_in_parts(void **state)
{
    (void)state;
    NEEDS_ROOT();
    for (size_t i = 0; i < NELEM(PACKERS); i++) {
        scoped(fixture) Fixture f;
        Stack st;
        Err e = ERR_INIT;
        bool yes;
        if (!have(PACKERS[i]))
            SKIP("%s is not installed", PACKERS[i]);
        fixture_init(&f);
        shell(&f, "mkdir in && chmod 755 in && cd in && mkdir d && printf one >d/a && "
                  "seq 200000 >b && ln d/a d/c && chmod 755 d && chmod 644 b d/a");
        /* two members, cut where no block ends */
        shell(&f, arena_printf(&f.arena,
                               "tar -C in -cf t b d && head -c 70001 t | %s >p && "
                               "tail -c +70002 t | %s >>p",
                               PACKERS[i], PACKERS[i]));
        scoped(fd) int fd = openat(f.dir.fd, "p", O_RDONLY);
        OK(layer_archive_detect(fd, &yes, &e));
        if (!yes)
            fail_msg("%s: no archive", PACKERS[i]);
        if (!unpack_fd(&f, fd, "/", (UntarOpts){0}, &st, &e))
            fail_msg("%s: %s", PACKERS[i], e.msg);
        assert_int_equal(stat_seen(&f, &st, "b").st_size, 1288895);
        assert_int_equal(stat_seen(&f, &st, "d/c").st_nlink, 2);

        /* behind the archive's end nobody looks; before it, bytes that are no member are damage */
        if (!i)
            continue;
        shell(&f, arena_printf(&f.arena, "%s <t >p && printf garbage >>p", PACKERS[i]));
        scoped(fd) int behind = openat(f.dir.fd, "p", O_RDONLY);
        if (!unpack_fd(&f, behind, "/", (UntarOpts){0}, &st, &e))
            fail_msg("%s: %s", PACKERS[i], e.msg);
        shell(&f, arena_printf(&f.arena, "head -c 70001 t | %s >p && printf garbagegarbage >>p",
                               PACKERS[i]));
        scoped(fd) int before = openat(f.dir.fd, "p", O_RDONLY);
        FAILS(unpack_fd(&f, before, "/", (UntarOpts){0}, &st, &e), ERR_STEP, "");
        shell(&f, arena_printf(&f.arena, "%s <t >q && head -c 3000 q >p", PACKERS[i]));
        scoped(fd) int cut = openat(f.dir.fd, "p", O_RDONLY);
        FAILS(unpack_fd(&f, cut, "/", (UntarOpts){0}, &st, &e), ERR_STEP, "ends in the middle");
        assert_int_equal(count_tmp(&f), 0);
    }
}

/* ---- how docker unpacks ---- */

static void the_destination_is_made_and_a_dot_leaves_it_alone(void **state)
{
    scoped(fixture) Fixture f;

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    make_dir(f.dir.fd, "l");
    make_dir(f.dir.fd, "l/have");
    assert_int_equal(fchmodat(f.dir.fd, "l/have", 01777, 0), 0);
    push_layer(&f, "l");
    add(&f.tar, (Raw){.name = "./", .type = '5', .mode = 0700, .uid = 5});
    add(&f.tar, (Raw){.name = "./f", .uid = 3, .gid = 4, .data = "x"});
    unpacks_to(&f, "/have/", (UntarOpts){0}, "have 1777 0:0 /\nhave/f 644 3:4 =x\n");
    unpacks_to(&f, "/new/dir", (UntarOpts){.chown = true, .uid = 8, .gid = 9},
               "have 1777 0:0 /\nnew 755 8:9 /\nnew/dir 755 8:9 /\nnew/dir/f 644 8:9 =x\n");
}

/* In docker's code only names that clean to "." are passed over. */
static void a_slash_means_the_destination_itself(void **state)
{
    scoped(fixture) Fixture f;
    Stack st;
    Err e = ERR_INIT;

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    add(&f.tar, (Raw){.name = "/", .type = '5', .mode = 0700, .uid = 5, .mtime = 77});
    unpacks_to(&f, "/d", (UntarOpts){0}, "d 700 5:0 /\n");
    OK(unpack(&f, "/d", (UntarOpts){0}, &st, &e));
    assert_int_equal(stat_seen(&f, &st, "d").st_mtime, 77);
    buf_done(&f.tar);
    f.tar = (Buf)BUF_INIT;
    add(&f.tar, (Raw){.name = "..", .data = "x"});
    FAILS(unpack(&f, "/d", (UntarOpts){0}, &st, &e), ERR_STEP, "root");
    buf_done(&f.tar);
    f.tar = (Buf)BUF_INIT;
    add(&f.tar, (Raw){.name = ".", .data = "x"});
    add(&f.tar, (Raw){.name = "a/..", .type = '5', .mode = 0700});
    unpacks_to(&f, "/d", (UntarOpts){0}, "d 755 0:0 /\n");
}

static void parents_left_out_belong_to_root_even_with_an_owner(void **state)
{
    scoped(fixture) Fixture f;

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    add(&f.tar, (Raw){.name = "a/b/f", .mode = 04755});
    unpacks_to(&f, "/", (UntarOpts){.chown = true, .uid = 7, .gid = 7},
               "a 755 0:0 /\na/b 755 0:0 /\na/b/f 4755 7:7 =\n");
}

static void names_are_clipped_at_the_destination(void **state)
{
    scoped(fixture) Fixture f;

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    make_dir(f.dir.fd, "l");
    make_dir(f.dir.fd, "l/etc");
    make_dir(f.dir.fd, "l/d");
    make_link(f.dir.fd, "l/d/abs", "/etc");
    make_link(f.dir.fd, "l/d/up", "../../etc");
    make_dir(f.dir.fd, "l/d/x");
    make_dir(f.dir.fd, "l/d/x/y");
    make_link(f.dir.fd, "l/d/x/y/abs", "/etc");
    make_link(f.dir.fd, "l/to-d", "d/../d");
    push_layer(&f, "l");
    add(&f.tar, (Raw){.name = "../../one", .data = "1"});
    add(&f.tar, (Raw){.name = "/two", .data = "2"});
    add(&f.tar, (Raw){.name = "etc", .type = '5', .mode = 0755});
    add(&f.tar, (Raw){.name = "abs/three", .data = "3"}); /* the destination is the root of links */
    add(&f.tar, (Raw){.name = "up/four", .data = "4"});
    add(&f.tar, (Raw){.name = "x/y/abs/seven", .data = "7"});
    add(&f.tar, (Raw){.name = "five", .type = '1', .link = "../../../one"});
    add(&f.tar, (Raw){.name = "six", .type = '2', .link = "/../../etc/passwd"});
    unpacks_to(&f, "/to-d", (UntarOpts){0},
               "d 755 0:0 /\n"
               "d/abs 777 0:0 ->/etc\n"
               "d/etc 755 0:0 /\n"
               "d/etc/four 644 0:0 =4\n"
               "d/etc/seven 644 0:0 =7\n"
               "d/etc/three 644 0:0 =3\n"
               "d/five 644 0:0 =1\n"
               "d/one 644 0:0 =1\n"
               "d/six 777 0:0 ->/../../etc/passwd\n"
               "d/two 644 0:0 =2\n"
               "d/up 777 0:0 ->../../etc\n"
               "d/x 755 0:0 /\n"
               "d/x/y 755 0:0 /\n"
               "d/x/y/abs 777 0:0 ->/etc\n"
               "etc 755 0:0 /\n"
               "to-d 777 0:0 ->d/../d\n");
}

static void what_is_in_the_way_is_replaced_and_directories_merge(void **state)
{
    scoped(fixture) Fixture f;
    Stack st;
    Err e = ERR_INIT;

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    make_dir(f.dir.fd, "l");
    make_dir(f.dir.fd, "l/dir");
    put(f.dir.fd, "l/dir/keep", "k");
    make_dir(f.dir.fd, "l/gone");
    put(f.dir.fd, "l/gone/x", "x");
    put(f.dir.fd, "l/file", "old");
    make_link(f.dir.fd, "l/link", "dir");
    push_layer(&f, "l");
    add(&f.tar, (Raw){.name = "dir", .type = '5', .mode = 0750, .uid = 2, .mtime = 99});
    add(&f.tar, (Raw){.name = "gone", .data = "now a file"});
    add(&f.tar, (Raw){.name = "file", .type = '5', .mode = 0755});
    add(&f.tar, (Raw){.name = "file/in", .data = "i"});
    add(&f.tar, (Raw){.name = "link", .type = '5', .mode = 0755});
    unpacks_to(&f, "/", (UntarOpts){0},
               "dir 750 2:0 /\ndir/keep 644 0:0 =k\nfile 755 0:0 /\nfile/in 644 0:0 =i\n"
               "gone 644 0:0 =now a file\nlink 755 0:0 /\n");
    OK(unpack(&f, "/", (UntarOpts){0}, &st, &e));
    assert_int_equal(stat_seen(&f, &st, "dir").st_mtime, 99);
    assert_int_equal(stat_seen(&f, &st, "gone").st_mtime, 1000000);
}

/* "l/l" is "l" itself while l leads to "."; what comes after it goes elsewhere. */
static void what_an_archive_replaced_is_not_remembered(void **state)
{
    scoped(fixture) Fixture f;
    Stack st;
    Err e = ERR_INIT;

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    add(&f.tar, (Raw){.name = "l", .type = '2', .link = "."});
    add(&f.tar, (Raw){.name = "l/f"});
    add(&f.tar, (Raw){.name = "l/l", .type = '5', .mode = 0755});
    add(&f.tar, (Raw){.name = "l/g"});
    add(&f.tar, (Raw){.name = "d/e", .type = '5', .mode = 0700, .mtime = 7});
    add(&f.tar, (Raw){.name = "d"});
    add(&f.tar, (Raw){.name = "d", .type = '5', .mode = 0755});
    add(&f.tar, (Raw){.name = "d/e/f"});
    unpacks_to(&f, "/", (UntarOpts){0},
               "d 755 0:0 /\nd/e 755 0:0 /\nd/e/f 644 0:0 =\nf 644 0:0 =\nl 755 0:0 /\n"
               "l/g 644 0:0 =\n");
    OK(unpack(&f, "/", (UntarOpts){0}, &st, &e));
    assert_int_not_equal(stat_seen(&f, &st, "d/e").st_mtime, 7);
}

static void a_hard_link_shares_a_file_of_the_image_and_gives_it_its_fields(void **state)
{
    scoped(fixture) Fixture f;
    Stack st;
    Err e = ERR_INIT;

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    make_dir(f.dir.fd, "l");
    make_dir(f.dir.fd, "l/d");
    put(f.dir.fd, "l/d/low", "low");
    push_layer(&f, "l");
    add(&f.tar, (Raw){.name = "new", .type = '1', .link = "d/low", .mode = 0600, .uid = 6});
    add_end(&f.tar);
    OK(unpack(&f, "/", (UntarOpts){0}, &st, &e));
    assert_string_equal(seen(&f, &st), "d 755 0:0 /\nd/low 600 6:0 =low\nnew 600 6:0 =low\n");
    struct stat a = stat_seen(&f, &st, "d/low"), b = stat_seen(&f, &st, "new");
    assert_int_equal(a.st_ino, b.st_ino);
    assert_int_equal(a.st_nlink, 2);
}

static void attributes_and_nodes_are_made(void **state)
{
    scoped(fixture) Fixture f;
    Stack st;
    Err e = ERR_INIT;
    char value[8] = {0}, path[STORE_TMP_MAX];

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    add_record(&f.tar, 'x', "SCHILY.xattr.user.colour", "red");
    add(&f.tar, (Raw){.name = "f"});
    add_record(&f.tar, 'x', "SCHILY.xattr.trusted.overlay.opaque", "y");
    add(&f.tar, (Raw){.name = "d", .type = '5', .mode = 0755});
    add(&f.tar, (Raw){.name = "p", .type = '6', .mode = 0622});
    add(&f.tar, (Raw){.name = "null", .type = '3', .major = 1, .minor = 3, .mode = 0666});
    add(&f.tar, (Raw){.name = ".wh.x", .data = "a name"});
    unpacks_to(&f, "/", (UntarOpts){0},
               ".wh.x 644 0:0 =a name\nd 755 0:0 /\nf 644 0:0 =\nnull 666 0:0 type4\n"
               "p 622 0:0 type3\n");
    OK(unpack(&f, "/", (UntarOpts){0}, &st, &e));
    store_snapshot_path(st.ids[st.n - 1], path);
    scoped(fd) int top = openat(store_dirfd(f.s), path, O_RDONLY | O_DIRECTORY);
    scoped(fd) int fd = openat(top, "f", O_RDONLY);
    if (fgetxattr(fd, "user.colour", value, sizeof value) >= 0)
        assert_string_equal(value, "red");
    assert_false(overlay_opaque(top, "d"));
    assert_int_equal(stat_seen(&f, &st, "null").st_rdev, makedev(1, 3));

    /* no layer can hold such a name, and the packer says so */
    LayerFacts facts;
    FAILS(layer_pack(top, (LayerTimes){0}, PACK_NOTHING, -1, 1, &facts, &e), ERR_STEP, ".wh.");
}

/* ---- removal, and the older functions over it ---- */

static void a_directory_made_over_a_deletion_hides_what_was_there(void **state)
{
    scoped(fixture) Fixture f;
    Err e = ERR_INIT;
    SnapshotId id;
    ViewNode n;
    TreeEntry t;

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    make_dir(f.dir.fd, "l");
    make_dir(f.dir.fd, "l/d");
    make_dir(f.dir.fd, "l/d/e");
    put(f.dir.fd, "l/d/e/f", "old");
    put(f.dir.fd, "l/g", "new");
    push_layer(&f, "l");
    scoped(upper) Upper up = {.dirfd = -1};
    OK(upper_begin(f.s, &f.below, &up, &e));
    OK(upper_remove(&up, "d/e", &e));
    OK(upper_remove(&up, "none/at/all", &e));
    FAILS(upper_remove(&up, "", &e), ERR_STEP, "root");
    OK(view_lookup(&up.all.view, "d/e", VIEW_NOFOLLOW, &n, &e));
    assert_false(n.exists);
    OK(upper_mkdirs(&up, "d/e", 0755, 1, 2, &e));
    OK(view_lookup(&up.all.view, "g", VIEW_NOFOLLOW, &n, &e));
    OK(view_entry(&up.all.view, &f.arena, &n, &t, &e));
    OK(upper_put(&up, &up.all.view, &t, "d/e/h", NULL, &e));
    assert_true(overlay_opaque(up.dirfd, "d/e"));
    OK(upper_remove(&up, "g", &e));
    OK(view_entry(&up.all.view, &f.arena, &n, &t, &e));
    OK(upper_commit(&up, &id, &e));
    Stack st = stack_push(&f.arena, &f.below, id);
    assert_string_equal(seen(&f, &st), "d 755 0:0 /\nd/e 755 1:2 /\nd/e/h 644 0:0 =new\n");
}

/* ---- a file whose bytes come later ---- */

static struct stat seen_at(const Upper *up, const char *path)
{
    struct stat st;
    assert_int_equal(fstatat(up->dirfd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st;
}

static void a_lent_file_gets_its_bytes_and_nothing_else_changes(void **state)
{
    static const struct timespec OLD[] = {{1000000, 5}, {1000000, 7}};
    static const LayerLent NOTHING = {0};
    const LayerTimes keep = {.kind = TIMES_KEEP};
    scoped(fixture) Fixture f;
    scoped(buf) Buf text = BUF_INIT;
    SnapshotDiff before, after, empty;
    ViewNode n;
    TreeEntry t;
    Err e = ERR_INIT;
    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    make_dir(f.dir.fd, "l");
    put(f.dir.fd, "l/f", "bytes");
    push_layer(&f, "l");
    scoped(upper) Upper up = {.dirfd = -1};
    OK(upper_begin(f.s, &f.below, &up, &e));
    OK(upper_mkdirs(&up, "d/e", 0755, 0, 0, &e));
    OK(view_lookup(&up.all.view, "f", VIEW_NOFOLLOW, &n, &e));
    OK(view_entry(&up.all.view, &f.arena, &n, &t, &e));
    t.uid = 7;
    t.mode = 04750;
    up.lend = true;
    OK(upper_put(&up, &up.all.view, &t, "d/e/f", NULL, &e));
    assert_string_equal(up.lent.path, "d/e/f");
    OK(upper_put(&up, &up.all.view, &t, "d/e/second", NULL, &e));
    assert_int_equal(utimensat(up.dirfd, "d/e", OLD, 0), 0);
    struct stat lent = seen_at(&up, "d/e/f");
    OK(snapshot_diff_of(up.dirfd, keep, up.lent, &before, &e));
    OK(snapshot_diff_of(up.dirfd, keep, NOTHING, &empty, &e));
    assert_false(digest_eq(&before.id, &empty.id));
    OK(upper_copy_lent(&up, &e));
    OK(upper_own_lent(&up, &e));
    assert_null(up.lent.path);
    OK(snapshot_diff_of(up.dirfd, keep, NOTHING, &after, &e));
    assert_true(digest_eq(&before.id, &after.id));
    OK(fs_read_file(up.dirfd, "d/e/f", 64, &text, &e));
    assert_string_equal(buf_str(&text), "bytes");
    struct stat own = seen_at(&up, "d/e/f"), dir = seen_at(&up, "d/e");
    assert_int_equal(own.st_mode, lent.st_mode);
    assert_int_equal(own.st_uid, 7);
    assert_memory_equal(&own.st_mtim, &lent.st_mtim, sizeof own.st_mtim);
    assert_memory_equal(&dir.st_mtim, &OLD[1], sizeof dir.st_mtim);
}

/* ---- the same on overlayfs itself ---- */

/* One random name: few, so that layers and archives meet. */
static const char *random_name(uint64_t *seed)
{
    static const char *const NAMES[] = {"a", "b", "c", "d"};
    return NAMES[next_random(seed) % NELEM(NAMES)];
}

static const char *random_target(uint64_t *seed)
{
    static const char *const TARGETS[] = {"a",   "../b",  "/c",     "/a/b", "../../d", ".",
                                          "b/c", "/a/..", "../a/b", "d/",   "/",       "none"};
    return TARGETS[next_random(seed) % NELEM(TARGETS)];
}

static bool random_layer(Arena *a, int dirfd, const char *dir, unsigned depth, uint64_t *seed)
{
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
            if (next_random(seed) % 4 == 0) {
                scoped(fd) int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY);
                if (fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
                    return false;
            }
            if (!random_layer(a, dirfd, arena_printf(a, "%s/", path), depth + 1, seed))
                return false;
            break;
        case 3:
        case 4:
            if (!fs_write_file(dirfd, path, "xxxxxxxxx", next_random(seed) % 10, &e))
                return false;
            break;
        case 5:
            if (symlinkat(random_target(seed), dirfd, path) < 0)
                return false;
            break;
        case 6:
            if (mknodat(dirfd, path, S_IFCHR, makedev(0, 0)) < 0)
                return false;
            break;
        default:
            break;
        }
    }
    return true;
}

static const char *random_path(Arena *a, uint64_t *seed)
{
    const char *p = random_name(seed);
    for (unsigned n = next_random(seed) % 3; n; n--)
        p = arena_printf(a, "%s/%s", p, next_random(seed) % 12 ? random_name(seed) : "..");
    return p;
}

enum { MAX_RAW = 14 };

static size_t random_archive(Arena *a, Raw *raw, uint64_t *seed)
{
    static const char TYPES[] = "0005551126";
    size_t n = 1 + next_random(seed) % MAX_RAW;
    for (size_t i = 0; i < n; i++) {
        Raw r = {.name = i && next_random(seed) % 3 == 0 ? raw[next_random(seed) % i].name
                                                         : random_path(a, seed),
                 .type = TYPES[next_random(seed) % (sizeof TYPES - 1)],
                 .mode = next_random(seed) % 010000 | 0100,
                 .uid = next_random(seed) % 3,
                 .gid = next_random(seed) % 3,
                 .mtime = 1 + next_random(seed) % 1000000};
        if (r.type == '1')
            r.link =
                i && next_random(seed) % 2 ? raw[next_random(seed) % i].name : random_path(a, seed);
        if (r.type == '2')
            r.link = random_target(seed);
        if (r.type == '0')
            r.data = &"yyyyyyyyy"[next_random(seed) % 10];
        raw[i] = r;
    }
    return n;
}

/* The reference: plain system calls on a mounted overlay, with the destination as root. */
typedef struct Ref {
    Arena *a;
    int root;
    int dirs[MAX_RAW];
    time_t times[MAX_RAW];
    size_t ndir;
} Ref;

static int ref_dir(Ref *r, const char *path, bool make)
{
    int fd = fs_open_in_root(r->root, *path ? path : ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd >= 0 || errno != ENOENT || !make || !*path)
        return fd;
    const char *base = path_base(path);
    const char *dir = arena_strndup(r->a, path, base == path ? 0 : (size_t)(base - path - 1));
    scoped(fd) int up = ref_dir(r, dir, true);
    if (up < 0 || mkdirat(up, base, 0755) < 0 || fchownat(up, base, 0, 0, 0) < 0 ||
        fchmodat(up, base, 0755, 0) < 0)
        return -1;
    return openat(up, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

static bool ref_dress(Ref *r, int dir, const char *base, const Raw *t)
{
    struct stat st;
    struct timespec ts[2] = {{.tv_sec = t->mtime}, {.tv_sec = t->mtime}};
    if (fchownat(dir, base, t->uid, t->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    if (!S_ISLNK(st.st_mode) && fchmodat(dir, base, t->mode, 0) < 0)
        return false;
    if (S_ISDIR(st.st_mode)) {
        r->dirs[r->ndir] = openat(dir, base, O_RDONLY | O_DIRECTORY);
        r->times[r->ndir++] = t->mtime;
        return true;
    }
    if (t->type == '1' && S_ISLNK(st.st_mode))
        return true;
    return utimensat(dir, base, ts, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool ref_link(Ref *r, const char *link, int dir, const char *base)
{
    const char *last = path_base(link);
    scoped(fd) int from =
        ref_dir(r, arena_strndup(r->a, link, last == link ? 0 : (size_t)(last - link - 1)), false);
    return from >= 0 && linkat(from, last, dir, base, 0) == 0;
}

static bool ref_entry(Ref *r, const Raw *t)
{
    const char *name = path_clean(r->a, arena_printf(r->a, "/%s", t->name)) + 1;
    const char *base = path_base(name);
    struct stat st;
    Err e = ERR_INIT;
    if (!*name) { /* "a/.." is ".", "a/../.." is ".." */
        if (!strcmp(path_clean(r->a, t->name), "."))
            return true;
        return t->type == '5' && ref_dress(r, r->root, ".", t);
    }
    scoped(fd) int dir =
        ref_dir(r, arena_strndup(r->a, name, base == name ? 0 : (size_t)(base - name - 1)), true);
    if (dir < 0)
        return false;
    bool there = fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0;
    bool merge = there && S_ISDIR(st.st_mode) && t->type == '5';
    if (there && !merge && !fs_remove_tree(dir, base, &e))
        return false;
    switch (t->type) {
    case '0': {
        scoped(fd) int fd = openat(dir, base, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0 || !fs_write_all(fd, t->data, strlen(t->data), &e))
            return false;
        break;
    }
    case '1':
        if (!ref_link(r, path_clean(r->a, arena_printf(r->a, "/%s", t->link)) + 1, dir, base))
            return false;
        break;
    case '2':
        if (symlinkat(t->link, dir, base) < 0)
            return false;
        break;
    case '5':
        if (!merge && mkdirat(dir, base, 0700) < 0)
            return false;
        break;
    default:
        if (mknodat(dir, base, S_IFIFO | 0600, 0) < 0)
            return false;
    }
    return ref_dress(r, dir, base, t);
}

/* *ret_n: how many entries were good. */
static bool ref_unpack(Arena *a, int mnt, const char *dest, const Raw *raw, size_t n, size_t *ret_n)
{
    Ref image = {.a = a, .root = mnt};
    scoped(fd) int root = ref_dir(&image, dest, true);
    Ref r = {.a = a, .root = root};
    bool ok = root >= 0;
    *ret_n = 0;
    for (size_t i = 0; ok && i < n; i++)
        if ((ok = ref_entry(&r, &raw[i])))
            ++*ret_n;
    for (size_t i = 0; i < r.ndir; i++) {
        struct timespec ts[2] = {{.tv_sec = r.times[i]}, {.tv_sec = r.times[i]}};
        if (futimens(r.dirs[i], ts) < 0)
            ok = false;
        close(r.dirs[i]);
    }
    return ok;
}

/* Names that overlayfs lists and then says are there. */
static void list_mount(Arena *a, int fd, StrList *ret)
{
    StrList all;
    struct stat st;
    Err e = ERR_INIT;
    *ret = (StrList){0};
    if (!fs_list(a, fd, &all, &e))
        return;
    for (size_t i = 0; i < all.n; i++)
        if (fstatat(fd, all.v[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
            strlist_add(a, ret, all.v[i]);
}

static bool same_file(int x, int y, const char *name)
{
    struct stat s, t;
    char l[256] = {0}, m[256] = {0};
    if (fstatat(x, name, &s, AT_SYMLINK_NOFOLLOW) < 0 ||
        fstatat(y, name, &t, AT_SYMLINK_NOFOLLOW) < 0 || s.st_mode != t.st_mode ||
        s.st_uid != t.st_uid || s.st_gid != t.st_gid)
        return false;
    /* times of directories that nobody set are those of the test */
    bool set = !S_ISDIR(s.st_mode) || s.st_mtime <= 1000000 || t.st_mtime <= 1000000;
    if (set && (s.st_mtime > 1000000) != (t.st_mtime > 1000000))
        return false;
    if (set && s.st_mtime <= 1000000 && s.st_mtime != t.st_mtime)
        return false;
    if (S_ISDIR(s.st_mode))
        return true;
    if (s.st_size != t.st_size || s.st_nlink != t.st_nlink)
        return false;
    if (S_ISLNK(s.st_mode))
        return readlinkat(x, name, l, 255) >= 0 && readlinkat(y, name, m, 255) >= 0 &&
               !strcmp(l, m);
    if (!S_ISREG(s.st_mode))
        return true;
    scoped(fd) int f = openat(x, name, O_RDONLY);
    scoped(fd) int g = openat(y, name, O_RDONLY);
    return read(f, l, 255) == s.st_size && read(g, m, 255) == s.st_size && !strcmp(l, m);
}

static bool same_mounts(Arena *a, int x, int y, const char *where)
{
    StrList l, m;
    list_mount(a, x, &l);
    list_mount(a, y, &m);
    for (size_t i = 0; i < l.n || i < m.n; i++) {
        if (i >= l.n || i >= m.n || strcmp(l.v[i], m.v[i]) != 0 || !same_file(x, y, l.v[i])) {
            print_message("'%s/%s' differs from overlayfs' '%s'\n", where,
                          i < l.n ? l.v[i] : "nothing", i < m.n ? m.v[i] : "nothing");
            return false;
        }
        scoped(fd) int u = openat(x, l.v[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        scoped(fd) int v = openat(y, l.v[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (u >= 0 && !same_mounts(a, u, v, arena_printf(a, "%s/%s", where, l.v[i])))
            return false;
    }
    return true;
}

static void lower_option(Fixture *f, const Stack *st, Buf *out)
{
    buf_puts(out, "lowerdir=");
    for (size_t i = st->n; i-- > 0;) {
        char path[STORE_TMP_MAX];
        store_snapshot_path(st->ids[i], path);
        buf_printf(out, "%s/store/%s%s", f->dir.path, path, i ? ":" : "");
    }
}

enum { SAME = 0, DIFFERENT = 1, NO_OVERLAY = 77 };

/* Mount the stack with a fresh upper directory and unpack the reference. */
static bool mount_reference(Fixture *f, const char *dest, const Raw *raw, size_t n, size_t *ret_n,
                            int *ret_fd)
{
    scoped(buf) Buf options = BUF_INIT;
    const char *mnt = arena_printf(&f->arena, "%s/mnt", f->dir.path);
    const char *name = arena_printf(&f->arena, "ref%zu", n);
    make_dir(f->dir.fd, name);
    make_dir(f->dir.fd, arena_printf(&f->arena, "%s/up", name));
    make_dir(f->dir.fd, arena_printf(&f->arena, "%s/work", name));
    lower_option(f, &f->below, &options);
    buf_printf(&options, ",upperdir=%s/%s/up,workdir=%s/%s/work,index=off,redirect_dir=nofollow",
               f->dir.path, name, f->dir.path, name);
    (void)umount2(mnt, MNT_DETACH);
    if (mount("overlay", mnt, "overlay", 0, options.ptr) < 0)
        _exit(NO_OVERLAY);
    *ret_fd = open(mnt, O_RDONLY | O_DIRECTORY);
    return ref_unpack(&f->arena, *ret_fd, dest, raw, n, ret_n);
}

/* The mount of the reference, and the one of what we wrote. Of an archive that overlayfs refuses
 * three of four are cut before the entry that is refused. */
static int compare_mounts(Fixture *f, const char *dest, const Raw *raw, size_t n, bool *ret_good)
{
    scoped(buf) Buf our = BUF_INIT;
    Stack st;
    Err e = ERR_INIT;
    size_t ngood;
    const char *mine = arena_printf(&f->arena, "%s/mine", f->dir.path);
    scoped(fd) int x = -1;
    bool want = mount_reference(f, dest, raw, n, &ngood, &x);
    if (!want && ngood && raw[0].mode % 4) {
        close(x);
        n = ngood;
        want = mount_reference(f, dest, raw, n, &ngood, &x);
    }
    for (size_t i = 0; i < n; i++)
        add(&f->tar, raw[i]);
    add_end(&f->tar);
    bool ok = unpack(f, dest, (UntarOpts){0}, &st, &e);
    if (ok != want) {
        print_message("ours %s %s, overlayfs %s\n", ok ? "is good" : "fails:", e.msg,
                      want ? "is good" : "fails");
        return DIFFERENT;
    }
    *ret_good = ok;
    if (!ok)
        return e.kind == ERR_STEP || e.kind == ERR_STORE ? SAME : DIFFERENT;
    make_dir(f->dir.fd, "empty"); /* one directory is not enough for a mount */
    lower_option(f, &st, &our);
    buf_printf(&our, ":%s/empty", f->dir.path);
    if (mount("overlay", mine, "overlay", MS_RDONLY, our.ptr) < 0)
        return DIFFERENT;
    scoped(fd) int y = open(mine, O_RDONLY | O_DIRECTORY);
    return same_mounts(&f->arena, y, x, "") ? SAME : DIFFERENT;
}

static int compare_one(uint64_t seed, bool *ret_good)
{
    static const char *const DESTS[] = {"", "a", "a/b", "b", "c/d"};
    scoped(fixture) Fixture f;
    Raw raw[MAX_RAW];
    fixture_init(&f);
    make_dir(f.dir.fd, "mnt");
    make_dir(f.dir.fd, "mine");
    for (size_t i = 0, n = 1 + seed % MAX_LAYERS; i < n; i++) {
        make_dir(f.dir.fd, "l");
        scoped(fd) int l = openat(f.dir.fd, "l", O_RDONLY | O_DIRECTORY);
        if (!random_layer(&f.arena, l, "", 0, &seed))
            return DIFFERENT;
        push_layer(&f, "l");
    }
    const char *dest = DESTS[next_random(&seed) % NELEM(DESTS)];
    size_t n = random_archive(&f.arena, raw, &seed);
    int code = compare_mounts(&f, dest, raw, n, ret_good);
    for (size_t i = 0; code == DIFFERENT && i < n; i++)
        print_message("  %c '%s' '%s'\n", raw[i].type, raw[i].name, raw[i].link ? raw[i].link : "");
    (void)umount2(arena_printf(&f.arena, "%s/mnt", f.dir.path), MNT_DETACH);
    (void)umount2(arena_printf(&f.arena, "%s/mine", f.dir.path), MNT_DETACH);
    return code;
}

/* Run in a mount namespace of its own; the child's exit status. */
static int in_child(int (*body)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(NO_OVERLAY);
        _exit(body());
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int compare_many(void)
{
    enum { NSEED = 250 };
    int code = SAME, ngood = 0;
    for (uint64_t seed = 1; code == SAME && seed <= NSEED; seed++) {
        bool good = false;
        code = compare_one(seed * 7919, &good);
        ngood += good;
        if (code == DIFFERENT)
            print_message("seed %llu\n", (unsigned long long)seed);
    }
    print_message("%d archives were good\n", ngood);
    return code == SAME && ngood < NSEED / 4 ? DIFFERENT : code;
}

static void random_archives_over_random_stacks_give_what_overlayfs_gives(void **state)
{
    (void)state;
    NEEDS_ROOT();
    int code = in_child(compare_many);
    if (code == NO_OVERLAY)
        SKIP("overlayfs cannot be mounted here");
    assert_int_equal(code, SAME);
}

/* As root of a user namespace, where trusted.* attributes and most devices are refused. */
static int in_namespace(void)
{
    scoped(fixture) Fixture f;
    scoped(buf) Buf options = BUF_INIT;
    Err e = ERR_INIT;
    SnapshotId id;
    UntarOpts o = {0};
    fixture_init(&f);
    make_dir(f.dir.fd, "l");
    make_dir(f.dir.fd, "l/d");
    put(f.dir.fd, "l/d/old", "x");
    make_dir(f.dir.fd, "l/gone");
    push_layer(&f, "l");
    add(&f.tar, (Raw){.name = "gone", .data = "file"});
    add(&f.tar, (Raw){.name = "d", .data = "file"});
    add(&f.tar, (Raw){.name = "d", .type = '5', .mode = 0755});
    add(&f.tar, (Raw){.name = "d/new", .data = "x"});
    add(&f.tar, (Raw){.name = "dev/null", .type = '3', .major = 1, .minor = 3});
    add_end(&f.tar);
    scoped(upper) Upper up = {.dirfd = -1};
    scoped(fd) int fd = memory_file(f.tar.ptr, f.tar.len);
    if (!upper_begin(f.s, &f.below, &up, &e))
        return DIFFERENT;
    up.in_userns = true;
    if (!upper_untar(&up, fd, "/", &o, &e) || !upper_commit(&up, &id, &e)) {
        print_message("%s\n", e.msg);
        return DIFFERENT;
    }
    Stack st = stack_push(&f.arena, &f.below, id);
    make_dir(f.dir.fd, "mnt");
    const char *mnt = arena_printf(&f.arena, "%s/mnt", f.dir.path);
    lower_option(&f, &st, &options);
    buf_puts(&options, ",userxattr");
    if (mount("overlay", mnt, "overlay", MS_RDONLY, options.ptr) < 0)
        return NO_OVERLAY;
    scoped(fd) int m = open(mnt, O_RDONLY | O_DIRECTORY);
    bool ok = exists(m, "d/new") && !exists(m, "d/old") && !exists(m, "dev/null") &&
              exists(m, "dev") && exists(m, "gone");
    (void)umount2(mnt, MNT_DETACH);
    return ok ? SAME : DIFFERENT;
}

static void a_user_namespace_marks_directories_its_own_way(void **state)
{
    int status;

    (void)state;
    NEEDS_ROOT();
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
            _exit(NO_OVERLAY);
        scoped(fd) int maps = open("/proc/self/uid_map", O_WRONLY);
        scoped(fd) int deny = open("/proc/self/setgroups", O_WRONLY);
        scoped(fd) int gids = open("/proc/self/gid_map", O_WRONLY);
        if (write(maps, "0 0 1", 5) != 5 || write(deny, "deny", 4) != 4 ||
            write(gids, "0 0 1", 5) != 5)
            _exit(NO_OVERLAY);
        _exit(in_namespace());
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_OVERLAY)
        SKIP("no overlayfs in a user namespace here");
    assert_int_equal(WEXITSTATUS(status), SAME);
}

/* ---- archives that mean harm ---- */

static void hostile_archives_fail_and_leave_nothing(void **state)
{
    static const struct {
        Raw v[4];
        const char *part;
    } CASES[] = {
        {{{.name = "f", .data = "x"}, {.name = "f/g"}}, "not a directory"},
        {{{.name = "l", .type = '2', .link = "none"}, {.name = "l/g"}}, "does not exist"},
        {{{.name = "l", .type = '2', .link = "l"}, {.name = "l/g"}}, "too many"},
        {{{.name = "l", .type = '2', .link = "../../../../tmp"}, {.name = "l/g"}}, "not exist"},
        {{{.name = "h", .type = '1', .link = "../../../../etc/passwd"}}, "not exist"},
        {{{.name = "h", .type = '1', .link = "h"}}, "no file"},
        {{{.name = "d", .type = '5'}, {.name = "h", .type = '1', .link = "d"}}, "no file"},
        {{{.name = "h", .type = '1', .link = "/"}}, "no file"},
        {{{.name = "d", .type = '5'}, {.name = "d", .type = '1', .link = "d/x"}}, "not exist"},
        {{{.name = "w", .type = '3'}}, "0:0"},
        {{{.name = "s", .type = '2', .link = ""}}, "create link"},
        {{{.name = "s", .type = 'S'}}, "sparse"},
        {{{.name = "s", .type = 'D'}}, "unknown type"},
    };

    (void)state;
    NEEDS_ROOT();
    for (size_t i = 0; i < NELEM(CASES); i++) {
        scoped(fixture) Fixture f;
        Stack st;
        Err e = ERR_INIT;
        fixture_init(&f);
        for (size_t k = 0; k < NELEM(CASES[i].v) && CASES[i].v[k].name; k++)
            add(&f.tar, CASES[i].v[k]);
        add_end(&f.tar);
        FAILS(unpack(&f, "/dest", (UntarOpts){0}, &st, &e), ERR_STEP, CASES[i].part);
        assert_int_equal(count_tmp(&f), 0);
        assert_false(exists(store_dirfd(f.s), "snapshots/1"));
    }
}

static void cut_damaged_and_endless_archives_fail(void **state)
{
    scoped(fixture) Fixture f;
    Stack st;
    Err e = ERR_INIT;
    scoped(buf) Buf deep = BUF_INIT;

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    add(&f.tar, (Raw){.name = "f", .data = "some data"});
    f.tar.len -= 1;
    FAILS(unpack(&f, "/", (UntarOpts){0}, &st, &e), ERR_STEP, "ends in the middle");
    f.tar.len = BLOCK + 4;
    FAILS(unpack(&f, "/", (UntarOpts){0}, &st, &e), ERR_STEP, "ends in the middle");
    f.tar.len = 0;
    add(&f.tar, (Raw){.name = "f"});
    add_end(&f.tar);
    f.tar.len -= BLOCK;
    add(&f.tar, (Raw){.name = "g"});
    FAILS(unpack(&f, "/", (UntarOpts){0}, &st, &e), ERR_STEP, "one empty block");

    f.tar.len = 0;
    for (int i = 0; i < 513; i++)
        buf_puts(&deep, "d/");
    add_record(&f.tar, 'x', "path", deep.ptr);
    add(&f.tar, (Raw){.name = "d", .type = '5'});
    FAILS(unpack(&f, "/", (UntarOpts){0}, &st, &e), ERR_STEP, "nested deeper");
    assert_int_equal(count_tmp(&f), 0);
    f.tar.len = 0;
    deep.ptr[deep.len - 2] = 0;
    add_record(&f.tar, 'x', "path", deep.ptr);
    add(&f.tar, (Raw){.name = "d", .type = '5'});
    OK(unpack(&f, "/", (UntarOpts){0}, &st, &e));
    FAILS(unpack(&f, "/one/more", (UntarOpts){0}, &st, &e), ERR_STEP, "nested");
}

/* A directory whose time is owed becomes a link to one outside. */
static void owed_times_and_modes_do_not_follow_links(void **state)
{
    scoped(fixture) Fixture f;
    Stack st;
    SnapshotId id;
    struct stat before, after;
    Err e = ERR_INIT;

    (void)state;
    NEEDS_ROOT();
    fixture_init(&f);
    make_dir(f.dir.fd, "outside");
    make_dir(f.dir.fd, "outside/d");
    const char *outside = arena_printf(&f.arena, "%s/outside", f.dir.path);
    add(&f.tar, (Raw){.name = "l", .type = '5', .mode = 0755});
    add(&f.tar, (Raw){.name = "l/d", .type = '5', .mode = 07777, .mtime = 5});
    add(&f.tar, (Raw){.name = "l", .type = '2', .link = outside});
    add_end(&f.tar);
    assert_int_equal(fstatat(f.dir.fd, "outside/d", &before, 0), 0);
    OK(unpack(&f, "/", (UntarOpts){0}, &st, &e));
    scoped(fd) int fd = memory_file(f.tar.ptr, f.tar.len);
    OK(snapshot_from_tar(f.s, fd, &id, &e));
    assert_int_equal(fstatat(f.dir.fd, "outside/d", &after, 0), 0);
    assert_int_equal(before.st_mtime, after.st_mtime);
    assert_int_equal(before.st_mode, after.st_mode);
}

/* ---- contexts ---- */

/* As somebody without rights. */
static int context_of_nobody(void)
{
    scoped(fixture) Fixture f;
    Err e = ERR_INIT;
    SnapshotId id;
    struct stat st;
    char path[STORE_TMP_MAX];
    if (setgid(65534) < 0 || setuid(65534) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0)
        return NO_OVERLAY;
    fixture_init(&f);
    add(&f.tar, (Raw){.name = "./", .type = '5', .mode = 0700});
    add(&f.tar, (Raw){.name = "shut", .type = '5', .mode = 0555, .uid = 7, .mtime = 12});
    add(&f.tar, (Raw){.name = "shut/f", .mode = 0755, .uid = 9, .data = "text", .mtime = 13});
    add(&f.tar, (Raw){.name = "shut/deep", .type = '5', .mode = 0500, .mtime = 14});
    add(&f.tar, (Raw){.name = "null", .type = '3', .major = 1, .minor = 3});
    add(&f.tar, (Raw){.name = "whiteout", .type = '3'});
    add(&f.tar, (Raw){.name = "l", .type = '2', .link = "/etc/passwd"});
    add(&f.tar, (Raw){.name = "h", .type = '1', .link = "shut/f", .mode = 0755, .mtime = 13});
    add(&f.tar, (Raw){.name = ".wh.x"});
    add_end(&f.tar);
    scoped(fd) int fd = memory_file(f.tar.ptr, f.tar.len);
    OK(snapshot_from_tar(f.s, fd, &id, &e));
    store_snapshot_path(id, path);
    scoped(fd) int root = openat(store_dirfd(f.s), path, O_RDONLY | O_DIRECTORY);
    assert_string_equal(slurp(&f.arena, root, "h"), "text");
    assert_int_equal(fstatat(root, "shut", &st, 0), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0555);
    assert_int_equal(st.st_mtime, 12);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(fstatat(root, "shut/deep", &st, 0), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0500);
    assert_int_equal(st.st_mtime, 14);
    assert_false(exists(root, "null") || exists(root, "whiteout"));
    assert_true(exists(root, ".wh.x"));
    assert_int_equal(readlinkat(root, "l", path, sizeof path), 11);

    f.tar.len = 0;
    add_end(&f.tar);
    scoped(fd) int empty = memory_file(f.tar.ptr, f.tar.len);
    OK(snapshot_from_tar(f.s, empty, &id, &e));
    assert_int_equal(id, 0);
    scoped(fd) int text = memory_file("FROM scratch\n", 13);
    FAILS(snapshot_from_tar(f.s, text, &id, &e), ERR_STEP, "ends in the middle");
    assert_int_equal(count_tmp(&f), 0);
    return SAME;
}

static void a_context_needs_no_rights(void **state)
{
    int status;

    (void)state;
    NEEDS_ROOT();
    pid_t pid = fork();
    if (pid == 0)
        _exit(context_of_nobody());
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SAME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lent_file_gets_its_bytes_and_nothing_else_changes),
        cmocka_unit_test(content_tells_an_archive),
        cmocka_unit_test(detection_leaves_the_file_where_it_was),
        cmocka_unit_test(memory_of_decoders_is_bounded),
        cmocka_unit_test(every_packing_is_read_whole_and_in_parts),
        cmocka_unit_test(the_destination_is_made_and_a_dot_leaves_it_alone),
        cmocka_unit_test(a_slash_means_the_destination_itself),
        cmocka_unit_test(parents_left_out_belong_to_root_even_with_an_owner),
        cmocka_unit_test(names_are_clipped_at_the_destination),
        cmocka_unit_test(what_is_in_the_way_is_replaced_and_directories_merge),
        cmocka_unit_test(what_an_archive_replaced_is_not_remembered),
        cmocka_unit_test(a_hard_link_shares_a_file_of_the_image_and_gives_it_its_fields),
        cmocka_unit_test(attributes_and_nodes_are_made),
        cmocka_unit_test(a_directory_made_over_a_deletion_hides_what_was_there),
        cmocka_unit_test(random_archives_over_random_stacks_give_what_overlayfs_gives),
        cmocka_unit_test(a_user_namespace_marks_directories_its_own_way),
        cmocka_unit_test(hostile_archives_fail_and_leave_nothing),
        cmocka_unit_test(cut_damaged_and_endless_archives_fail),
        cmocka_unit_test(owed_times_and_modes_do_not_follow_links),
        cmocka_unit_test(a_context_needs_no_rights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
