/*
 * sandbox/user: USER words to numbers by an image's passwd and group.
 */
#include "testing.h"

#include "sandbox/sandbox.h"

static const char PASSWD[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "bin:x:1:1:bin:/bin:/sbin/nologin\n"
                             "app:x:1000:1001:An App,,,:/home/app:/bin/sh\n"
                             "app:x:7:7::/second:/bin/sh\n"
                             "7:x:42:43:a number as a name:/n:/bin/sh\n"
                             "nohome:x:8:8\n"
                             "short:x:9\n"
                             "bad:x:abc:1::/:\n"
                             ":x:11:11::/empty:\n"
                             "last:x:12:12::/last:/bin/sh";
static const char GROUP[] = "root:x:0:\n"
                            "app:x:1001:\n"
                            "wheel:x:10:root,app\n"
                            "audio:x:63:application,app\n"
                            "video:x:44:app,\n"
                            "again:x:10:app\n"
                            "broken:x:abc:app\n"
                            "nomembers:x:77\n"
                            "5:x:500:\n";

static SandboxIds ids(const char *user)
{
    SandboxIds i = {0};
    Err e = ERR_INIT;
    if (!sandbox_user_ids(user, PASSWD, GROUP, &i, &e))
        fail_msg("'%s': %s", user, e.msg);
    return i;
}

static void check(const char *user, uint32_t uid, uint32_t gid, const char *home, size_t ngroup)
{
    SandboxIds i = ids(user);
    if (i.uid != uid || i.gid != gid || strcmp(i.home, home) != 0 || i.ngroup != ngroup)
        fail_msg("'%s': %u:%u %s, %zu groups", user, i.uid, i.gid, i.home, i.ngroup);
}

static void a_name_stands_for_its_first_entry(void **state)
{
    (void)state;
    check("bin", 1, 1, "/bin", 0);
    check("app", 1000, 1001, "/home/app", 3);
    check("last", 12, 12, "/last", 0);
}

static void no_user_at_all_is_root_by_passwd(void **state)
{
    (void)state;
    check("", 0, 0, "/root", 1); /* wheel has root as a member */
    check("0", 0, 0, "/root", 1);
    check("root", 0, 0, "/root", 1);
}

static void other_groups_come_with_the_user_once_each(void **state)
{
    SandboxIds i = ids("app");

    (void)state;
    assert_int_equal(i.ngroup, 3);
    assert_int_equal(i.groups[0], 10);
    assert_int_equal(i.groups[1], 63);
    assert_int_equal(i.groups[2], 44);
}

/* Expected: features.md I20: named groups only where no group was asked for. */
static void a_group_that_was_asked_for_is_the_only_one(void **state)
{
    (void)state;
    check("app:wheel", 1000, 10, "/home/app", 0);
    check("app:99", 1000, 99, "/home/app", 0);
    check("1000:1", 1000, 1, "/home/app", 0);
    check(":wheel", 0, 10, "/root", 0);
    check("app:", 1000, 1001, "/home/app", 3);
    check("bin:5", 1, 500, "/bin", 0); /* a group whose name is a number */
}

static void a_number_needs_no_entry_and_takes_one_that_is_there(void **state)
{
    (void)state;
    check("1000", 1000, 1001, "/home/app", 3);
    check("4242", 4242, 0, "/", 0);
    check("4242:4343", 4242, 4343, "/", 0);
    check("4294967294", 4294967294u, 0, "/", 0);
    check("7", 42, 43, "/n", 0); /* a name before a number */
}

static void what_is_neither_name_nor_number_is_refused_by_name(void **state)
{
    static const char *const BAD[] = {"nobody", "short",      "bad",
                                      "-1",     "4294967295", "1e3",
                                      " root",  "root ",      "99999999999999999999",
                                      "roo"};
    static const char *const BAD_GROUP[] = {"root:none", "root:-1", "0:4294967295", "root:broken"};
    SandboxIds i;
    Err e = ERR_INIT;

    (void)state;
    for (size_t k = 0; k < NELEM(BAD); k++)
        FAILS(sandbox_user_ids(BAD[k], PASSWD, GROUP, &i, &e), ERR_STEP, BAD[k]);
    for (size_t k = 0; k < NELEM(BAD_GROUP); k++)
        FAILS(sandbox_user_ids(BAD_GROUP[k], PASSWD, GROUP, &i, &e), ERR_STEP,
              strchr(BAD_GROUP[k], ':') + 1);
}

static void an_entry_without_a_home_gets_the_root_directory(void **state)
{
    SandboxIds i;
    Err e = ERR_INIT;

    (void)state;
    check("nohome", 8, 8, "/", 0);
    OK(sandbox_user_ids("u", "u:x:5:6:::\n", "", &i, &e));
    assert_string_equal(i.home, "/");
}

static void an_image_without_passwd_has_a_root(void **state)
{
    SandboxIds i;
    Err e = ERR_INIT;

    (void)state;
    OK(sandbox_user_ids("", "", "", &i, &e));
    assert_int_equal(i.uid, 0);
    assert_int_equal(i.gid, 0);
    assert_string_equal(i.home, "/root");
    OK(sandbox_user_ids("5:6", "", "", &i, &e));
    assert_int_equal(i.uid, 5);
    assert_int_equal(i.gid, 6);
    FAILS(sandbox_user_ids("app", "", "", &i, &e), ERR_STEP, "app");
}

static void odd_texts_are_read_without_harm(void **state)
{
    scoped(buf) Buf passwd = BUF_INIT, group = BUF_INIT;
    SandboxIds i;
    Err e = ERR_INIT;

    (void)state;
    buf_puts(&passwd, "\n\n:::::::\n:\n::::\na:b\n# comment\n");
    buf_puts(&passwd, "u:x:1:2:g:/");
    for (int k = 0; k < 1000; k++)
        buf_putc(&passwd, 'h');
    buf_puts(&passwd, ":/bin/sh:more:and:more\n");
    for (int k = 0; k < 500; k++)
        buf_printf(&group, "g%d:x:%d:u\n", k, 1000 + k);
    OK(sandbox_user_ids("u", passwd.ptr, group.ptr, &i, &e));
    assert_int_equal(i.uid, 1);
    assert_int_equal(i.gid, 2);
    assert_true(strlen(i.home) < sizeof i.home);
    assert_int_equal(i.ngroup, NELEM(i.groups));
    OK(sandbox_user_ids("u", "u:x:1:2::/h:/bin/sh\r\n", "", &i, &e));
    assert_string_equal(i.home, "/h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_stands_for_its_first_entry),
        cmocka_unit_test(no_user_at_all_is_root_by_passwd),
        cmocka_unit_test(other_groups_come_with_the_user_once_each),
        cmocka_unit_test(a_group_that_was_asked_for_is_the_only_one),
        cmocka_unit_test(a_number_needs_no_entry_and_takes_one_that_is_there),
        cmocka_unit_test(what_is_neither_name_nor_number_is_refused_by_name),
        cmocka_unit_test(an_entry_without_a_home_gets_the_root_directory),
        cmocka_unit_test(an_image_without_passwd_has_a_root),
        cmocka_unit_test(odd_texts_are_read_without_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
