/*
 * unit/test_owner.c - owners that the kernel cannot keep, and the trees that carry them.
 */
#include "testing.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/owner.h"
#include "layer/layer.h"
#include "tree/tree.h"

static int remember(void **state)
{
    (void)state;
    owners_remember(true);
    return 0;
}

static int forget(void **state)
{
    (void)state;
    owners_remember(false);
    return 0;
}

static void touch(const Scratch *s, const char *name)
{
    int fd = openat(s->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
}

/* The owner that is read of a file. */
static struct stat read_of(const Scratch *s, const char *name)
{
    struct stat st;
    assert_int_equal(fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    owner_read(s->fd, name, &st);
    return st;
}

static void assert_owner(const Scratch *s, const char *name, uint32_t uid, uint32_t gid)
{
    struct stat st = read_of(s, name);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_gid, gid);
}

static void what_nothing_is_written_of_belongs_to_root(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    (void)state;
    touch(&s, "f");
    assert_int_equal(symlinkat("f", s.fd, "l"), 0);
    assert_owner(&s, "f", 0, 0);
    assert_owner(&s, "l", 0, 0);
}

static void files_directories_links_and_fifos_keep_owners(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    (void)state;
    touch(&s, "f");
    assert_int_equal(mkdirat(s.fd, "d", 0700), 0);
    assert_int_equal(symlinkat("nowhere", s.fd, "d/l"), 0);
    assert_int_equal(mkfifoat(s.fd, "p", 0600), 0);
    assert_int_equal(linkat(s.fd, "f", s.fd, "hard", 0), 0);
    assert_int_equal(owner_chown(s.fd, s.fd, "f", 4294967294U, 2), 0);
    assert_int_equal(owner_chown(s.fd, s.fd, "d", 3, 4), 0);
    int d = openat(s.fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(owner_chown(s.fd, d, "l", 5, 6), 0);
    close(d);
    assert_int_equal(owner_chown(s.fd, s.fd, "p", 7, 8), 0);
    assert_owner(&s, "f", 4294967294U, 2);
    assert_owner(&s, "hard", 4294967294U, 2);
    assert_owner(&s, "d", 3, 4);
    assert_owner(&s, "d/l", 5, 6);
    assert_owner(&s, "p", 7, 8);
}

static void the_last_owner_counts_and_root_leaves_no_attribute(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    char path[128];
    (void)state;
    touch(&s, "f");
    (void)snprintf(path, sizeof path, "%s/f", s.path);
    assert_int_equal(symlinkat("x", s.fd, "l"), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(owner_chown(s.fd, s.fd, "l", i, i), 0);
        assert_int_equal(owner_chown(s.fd, s.fd, "f", i, i), 0);
        assert_owner(&s, "l", i, i);
    }
    assert_int_equal(owner_chown(s.fd, s.fd, "l", 0, 0), 0);
    assert_int_equal(owner_chown(s.fd, s.fd, "f", 0, 0), 0);
    assert_owner(&s, "l", 0, 0);
    assert_int_equal(listxattr(path, NULL, 0), 0);
}

static void a_device_is_an_empty_file_that_says_so(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    struct stat raw;
    (void)state;
    assert_int_equal(owner_mknod(s.fd, "null", S_IFCHR | 0600, makedev(1, 3)), 0);
    assert_int_equal(owner_chown(s.fd, s.fd, "null", 0, 6), 0);
    struct stat st = read_of(&s, "null");
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(st.st_rdev, makedev(1, 3));
    assert_int_equal(st.st_gid, 6);
    assert_int_equal(fstatat(s.fd, "null", &raw, 0), 0);
    assert_true(S_ISREG(raw.st_mode));
}

static void damaged_records_are_no_owners(void **state)
{
    static const char *const BAD[] = {"", "1", "x:y", "1:2:c", "1:2:c:3", "-"};
    scoped(scratch) Scratch s = scratch_new();
    char path[128];
    (void)state;
    touch(&s, "f");
    (void)snprintf(path, sizeof path, "%s/f", s.path);
    for (size_t i = 0; i < NELEM(BAD); i++) {
        assert_int_equal(setxattr(path, OWNER_XATTR, BAD[i], strlen(BAD[i]), 0), 0);
        assert_owner(&s, "f", 0, 0);
    }
    static const char TABLE[] = "0123456789abcdef1 2 l\0nonsense\0 \0"
                                "9 9 l";
    assert_int_equal(symlinkat("x", s.fd, "l"), 0);
    int fd = openat(s.fd, OWNER_LINKS, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, TABLE, sizeof TABLE - 1), sizeof TABLE - 1);
    assert_owner(&s, "l", 1, 2); /* the last record has no end: its writer was killed */
    assert_int_equal(write(fd, "", 1), 1);
    assert_owner(&s, "l", 9, 9);
    close(fd);
}

static void views_show_owners_and_hide_the_table(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    scoped(arena) Arena a = {0};
    View v = {.dirfds = &s.fd, .n = 1, .overlay = true};
    ViewNode node;
    StrList names;
    Err e = ERR_INIT;
    (void)state;
    assert_int_equal(symlinkat("x", s.fd, "l"), 0);
    assert_int_equal(owner_chown(s.fd, s.fd, "l", 5, 6), 0);
    OK(view_lookup(&v, "/l", VIEW_NOFOLLOW, &node, &e));
    assert_int_equal(node.st.st_gid, 6);
    OK(view_lookup(&v, "/", VIEW_NOFOLLOW, &node, &e));
    OK(view_list(&v, &a, &node, &names, &e));
    assert_int_equal(names.n, 1);
}

static void contexts_know_nothing_of_it(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    scoped(arena) Arena a = {0};
    View v = {.dirfds = &s.fd, .n = 1, .zero_owner = true};
    ViewNode node;
    TreeEntry t;
    Err e = ERR_INIT;
    (void)state;
    touch(&s, "f");
    assert_int_equal(owner_chown(s.fd, s.fd, "f", 5, 6), 0);
    OK(view_lookup(&v, "/f", VIEW_NOFOLLOW, &node, &e));
    OK(view_entry(&v, &a, &node, &t, &e));
    assert_int_equal(t.uid, 0);
    assert_int_equal(t.nxattr, 0);
}

/* A packed tree unpacks into one that packs to the same bytes. */
static void layers_carry_owners_both_ways(void **state)
{
    scoped(scratch) Scratch s = scratch_new(), to = scratch_new(), tmp = scratch_new();
    LayerFacts one, two;
    Digest plain, packed;
    LayerTimes times = {TIMES_FIXED, 1};
    bool implied;
    Err e = ERR_INIT;
    (void)state;
    touch(&s, "f");
    assert_int_equal(owner_chown(s.fd, s.fd, "f", 5, 6), 0);
    assert_int_equal(symlinkat("x", s.fd, "l"), 0);
    assert_int_equal(owner_chown(s.fd, s.fd, "l", 7, 8), 0);
    assert_int_equal(owner_mknod(s.fd, "dev", S_IFBLK | 0600, makedev(7, 1)), 0);
    int fd = openat(tmp.fd, "layer", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    OK(layer_pack(s.fd, times, PACK_PLAIN, fd, 1, &one, &e));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    LayerIn *in = layer_in_new(fd, LAYER_PLAIN);
    OK(layer_unpack(in, to.fd, true, NULL, &implied, &e));
    OK(layer_in_finish(in, &plain, &packed, NULL, &e));
    layer_in_done(in);
    close(fd);
    assert_owner(&to, "l", 7, 8);
    assert_true(S_ISBLK(read_of(&to, "dev").st_mode));
    OK(layer_pack(to.fd, times, PACK_NOTHING, -1, 1, &two, &e));
    assert_true(digest_eq(&one.diff_id, &two.diff_id));
}

static void in_other_modes_the_kernel_is_asked(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    (void)state;
    touch(&s, "f");
    assert_int_equal(owner_chown(s.fd, s.fd, "f", 5, 6), 0);
    assert_owner(&s, "f", 5, 6);
    owners_remember(false);
    assert_owner(&s, "f", geteuid(), getegid());
    assert_int_equal(owner_chown(s.fd, s.fd, "f", geteuid(), getegid()), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, remember, forget)
    const struct CMUnitTest tests[] = {
        T(what_nothing_is_written_of_belongs_to_root),
        T(files_directories_links_and_fifos_keep_owners),
        T(the_last_owner_counts_and_root_leaves_no_attribute),
        T(a_device_is_an_empty_file_that_says_so),
        T(damaged_records_are_no_owners),
        T(views_show_owners_and_hide_the_table),
        T(contexts_know_nothing_of_it),
        T(layers_carry_owners_both_ways),
        T(in_other_modes_the_kernel_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
