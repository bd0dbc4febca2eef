/*
 * sandbox: where something is mounted in a step, and what stays of that place after it.
 */
#include "steps.h"

/* ---- targets ---- */

static void links_of_the_image_lead_to_targets_inside_it(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    make_dir(p.store.fd, "src");
    put(p.store.fd, "src/f", "text\n");
    make_dir(p.store.fd, "victim");
    const char *victim = arena_printf(&p.arena, "%s/victim", p.store.path);
    make_link(p.store.fd, "base/escape", victim);
    make_link(p.store.fd, "base/relative", "../../../old");
    make_link(p.store.fd, "base/dangling", "made/by/us");
    bind_add(&p, "src", "/escape/new", true);
    bind_add(&p, "src", "/relative", true);
    bind_add(&p, "src", "/dangling", true);
    prints(&p, arena_printf(&p.arena, "cat %s/new/f old/f made/by/us/f", victim),
           "text\ntext\ntext\n");
    assert_false(exists(p.store.fd, "victim/new"));
    upper_has(&p, NOTHING);
}

static void the_root_and_proc_are_no_targets(void **state)
{
    static const char *const BAD[][2] = {{"/", "'/'"},
                                         {"/old/..", "'/'"},
                                         {"/toroot", "'/toroot'"},
                                         {"/proc", "'/proc'"},
                                         {"/proc/self", "'/proc/self"},
                                         {"/toproc/sys", "'/toproc/sys'"},
                                         {"relative", "'relative'"}};
    (void)state;
    for (size_t i = 0; i < NELEM(BAD); i++) {
        scoped(place) Place p = place_new();
        make_link(p.store.fd, "base/toroot", "/");
        make_link(p.store.fd, "base/toproc", "proc");
        mount_add(&p, SANDBOX_TMPFS, BAD[i][0]);
        refused(&p, ERR_STEP, BAD[i][1]);
        make_dir(p.store.fd, "src");
        p.m[0] = (SandboxMount){.kind = SANDBOX_BIND, .source = "src", .target = BAD[i][0]};
        refused(&p, ERR_STEP, BAD[i][1]);
    }
}

static void a_file_and_a_directory_do_not_fit_each_other(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    put(p.store.fd, "base/file", "");
    put(p.store.fd, "f", "");
    bind_add(&p, "f", "/old", true);
    refused(&p, ERR_STEP, "'/old'");
    mount_add(&p, SANDBOX_TMPFS, "/file");
    p.m[0] = p.m[1];
    p.spec.nmount = 1;
    refused(&p, ERR_STEP, "'/file'");
}

/* ---- what stays of a target ---- */

static void targets_that_were_made_are_gone_after_the_step(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    make_dir(p.store.fd, "base/old/a");
    make_dir(p.store.fd, "base/old/a/b");
    mount_add(&p, SANDBOX_TMPFS, "/tmp");
    mount_add(&p, SANDBOX_TMPFS, "/one/target");
    mount_add(&p, SANDBOX_TMPFS, "/one/other");
    mount_add(&p, SANDBOX_TMPFS, "/old/a/b/c/d");
    file_add(&p, "/run/secrets/id", "text", 0400);
    prints(&p, "stat -c '%a %u %g' /one /old/a/b/c", "755 0 0\n755 0 0\n");
    upper_has(&p, NOTHING); /* nor the copied up /old */
}

static void what_the_step_wrote_beside_a_target_stays(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    mount_add(&p, SANDBOX_TMPFS, "/one/target");
    mount_add(&p, SANDBOX_TMPFS, "/old/target");
    prints(&p, "touch /one/mine /one/target/lost /old/mine; chmod 700 /one", "");
    upper_has(&p, "dev old one proc sys ");
    assert_true(in_upper(&p, "one/mine") && in_upper(&p, "old/mine"));
    assert_false(in_upper(&p, "one/target") || in_upper(&p, "old/target"));
}

static time_t upper_time(const Place *p, const char *name)
{
    scoped(arena) Arena a = {0};
    struct stat st;
    if (fstatat(p->store.fd, arena_printf(&a, "%s/%s", p->spec.upper, name), &st, 0) < 0)
        fail_msg("'%s': %s", name, strerror(errno));
    return st.st_mtime;
}

static void targets_leave_no_time_in_the_directories_above(void **state)
{
    scoped(place) Place p = place_new();
    struct timespec when[2] = {{1000000, 0}, {1000000, 0}};
    (void)state;
    make_dir(p.store.fd, "base/old/below");
    assert_int_equal(utimensat(p.store.fd, "base/old", when, 0), 0);
    mount_add(&p, SANDBOX_TMPFS, "/old/target");
    file_add(&p, "/old/file", "x", 0400);
    prints(&p, "stat -c %Y /old; touch /old/below/mine", "1000000\n");
    assert_int_equal(upper_time(&p, "old"), 1000000);
    prints(&p, "touch -d @2000000 /old", "");
    assert_false(in_upper(&p, "old"));
    prints(&p, "touch /old/below/mine; touch -d @2000000 /old", "");
    assert_int_equal(upper_time(&p, "old"), 2000000);
}

static void a_target_that_was_there_stays(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    make_dir(p.store.fd, "base/old/target");
    put(p.store.fd, "base/empty", "");
    mount_add(&p, SANDBOX_TMPFS, "/old/target");
    file_add(&p, "/empty", "text\n", 0444);
    prints(&p, "cat /empty", "text\n");
    prints(&p, "rm -r /old/target 2>/dev/null; cat /empty", "text\n");
    upper_has(&p, NOTHING); /* no whiteout either */
}

/* BuildKit counts all parents of a target that the image lacks, and only for its own mounts. */
static void dev_stays_unless_something_is_mounted_in_it(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    file_add(&p, "/dev/pipes/EOF", "text\n", 0755);
    prints(&p, "cat /dev/pipes/EOF", "text\n");
    upper_has(&p, "proc sys ");
    p.m[0].target = "/device";
    prints(&p, "cat /device", "text\n");
    upper_has(&p, NOTHING);
}

static void a_directory_is_mounted_before_what_is_in_it(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    make_dir(p.store.fd, "src");
    make_dir(p.store.fd, "src/sub");
    put(p.store.fd, "src/f", "text\n");
    file_add(&p, "/a/b/sub/key", "key\n", 0400);
    bind_add(&p, "src", "/a/b", false);
    mount_add(&p, SANDBOX_TMPFS, "/a");
    mount_add(&p, SANDBOX_TMPFS, "/a-b");
    prints(&p, "ls /a; cat /a/b/f /a/b/sub/key", "b\ntext\nkey\n");
    upper_has(&p, NOTHING);
    p.m[1].readonly = true; /* the mount point of before is still in the bound directory */
    prints(&p, "cat /a/b/sub/key", "key\n");
    p.m[0].target = "/a/b/none";
    refused(&p, ERR_STEP, "'/a/b/none'");
}

static void the_last_of_two_mounts_on_one_target_is_seen(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    file_add(&p, "/etc/hosts", "first\n", 0400);
    file_add(&p, "/etc//hosts", "second\n", 0400);
    prints(&p, "cat /etc/hosts", "second\n");
    upper_has(&p, NOTHING);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_of_the_image_lead_to_targets_inside_it),
        cmocka_unit_test(the_root_and_proc_are_no_targets),
        cmocka_unit_test(a_file_and_a_directory_do_not_fit_each_other),
        cmocka_unit_test(targets_that_were_made_are_gone_after_the_step),
        cmocka_unit_test(what_the_step_wrote_beside_a_target_stays),
        cmocka_unit_test(targets_leave_no_time_in_the_directories_above),
        cmocka_unit_test(a_target_that_was_there_stays),
        cmocka_unit_test(dev_stays_unless_something_is_mounted_in_it),
        cmocka_unit_test(a_directory_is_mounted_before_what_is_in_it),
        cmocka_unit_test(the_last_of_two_mounts_on_one_target_is_seen),
    };
    return cmocka_run_group_tests_name(
        in_userns ? "targets in a user namespace" : "targets as root", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return run_in_modes(argc, argv, run_all);
}
