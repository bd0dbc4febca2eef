/*
 * sandbox: what is mounted in a step, and a step without a network.
 */
#include "steps.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

/* ---- binds ---- */

static void a_bound_directory_is_read_only_when_asked(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    make_dir(p.store.fd, "src");
    put(p.store.fd, "src/f", "text\n");
    bind_add(&p, "src", "/ro", true);
    bind_add(&p, "src", "/rw", false);
    prints(&p, "cat /ro/f; echo x 2>/dev/null >/ro/g || echo refused; echo y >/rw/h; ls /ro",
           "text\nrefused\nf\nh\n");
    assert_true(exists(p.store.fd, "src/h"));
    upper_has(&p, NOTHING);
}

static void a_bound_file_is_one_file(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    put(p.store.fd, "f", "text\n");
    bind_add(&p, "f", "/new/file", true);
    bind_add(&p, arena_printf(&p.arena, "%s/f", p.store.path), "/absolute", true);
    prints(&p, "cat /new/file /absolute; ls /new; (echo x >/new/file) 2>/dev/null || echo refused",
           "text\ntext\nfile\nrefused\n");
    upper_has(&p, NOTHING);
}

static void a_bound_directory_keeps_its_owner_and_mode(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    make_dir(p.store.fd, "cache");
    assert_int_equal(fchownat(p.store.fd, "cache", 1001, 1002, 0), 0);
    assert_int_equal(fchmodat(p.store.fd, "cache", 0751, 0), 0);
    bind_add(&p, "cache", "/cache", false);
    p.spec.user = "1001";
    prints(&p, "stat -c '%u %g %a' /cache; touch /cache/f", "1001 1002 751\n");
    assert_true(exists(p.store.fd, "cache/f"));
}

static void read_only_reaches_the_mounts_below(void **state)
{
    scoped(place) Place p = place_new();
    struct stat dev, shm;
    (void)state;
    if (stat("/dev", &dev) < 0 || stat("/dev/shm", &shm) < 0 || dev.st_dev == shm.st_dev)
        SKIP("/dev/shm is no mount here");
    bind_add(&p, "/dev", "/host", true);
    const char *name = arena_printf(&p.arena, "shm/lighter-unit-%d", (int)getpid());
    const char *script = arena_printf(&p.arena, "(echo >/host/%s) 2>&1 | grep -o Read-only", name);
    SandboxEnd end;
    Err e = ERR_INIT;
    OK(try_run(&p, script, &end, &e));
    (void)unlink(arena_printf(&p.arena, "/dev/%s", name));
    assert_string_equal(buf_str(&p.out), "Read-only\n");
}

/* ---- overlays ---- */

/* Three layers: a name replaced, a name hidden, links. */
static void stack_add(Place *p, SandboxMount *m)
{
    static const char *const DIRS[] = {"l1", "l1/dir", "l2", "l3", "l3/dir"};
    int s = p->store.fd;
    for (size_t i = 0; i < NELEM(DIRS); i++)
        make_dir(s, DIRS[i]);
    put(s, "l3/dir/both", "old\n");
    put(s, "l1/dir/both", "new\n");
    put(s, "l3/gone", "gone\n");
    put(s, "l2/file", "file\n");
    make_link(s, "l2/absolute", "/dir/both");
    make_link(s, "l2/up", "../../../../dir");
    make_link(s, "l2/out", arena_printf(&p->arena, "%s/outside", p->store.path));
    put(s, "outside", "outside\n");
    if (mknodat(s, "l2/gone", S_IFCHR, makedev(0, 0)) < 0)
        fail_msg("whiteout: %s", strerror(errno));
    assert_int_equal(fchownat(s, "l1", 5, 6, 0), 0);
    assert_int_equal(fchmodat(s, "l1", 0750, 0), 0);
    strlist_add(&p->arena, &m->lowers, "l1");
    strlist_add(&p->arena, &m->lowers, "l2");
    strlist_add(&p->arena, &m->lowers, "l3");
}

static void check_stack(void)
{
    scoped(place) Place p = place_new();
    stack_add(&p, mount_add(&p, SANDBOX_OVERLAY, "/ro"));
    p.m[0].readonly = true;
    mount_add(&p, SANDBOX_OVERLAY, "/rw")->lowers = p.m[0].lowers;
    prints(&p,
           "cd /ro; ls; cat dir/both; stat -c '%u %g %a' . /rw;"
           "touch x 2>/dev/null || echo refused;"
           "cd /rw; rm -r dir file; echo mine >gone; mkdir -p dir/new; ls . dir; ls /ro/dir",
           "absolute\ndir\nfile\nout\nup\nnew\n5 6 750\n5 6 750\nrefused\n"
           ".:\nabsolute\ndir\ngone\nout\nup\n\ndir:\nnew\nboth\n");
    upper_has(&p, NOTHING);
    assert_true(exists(p.store.fd, "l1/dir/both"));
    assert_false(exists(p.store.fd, "l1/dir/new"));
    /* the next step sees none of it */
    prints(&p, "cat /rw/dir/both /rw/file", "new\nfile\n");
}

static void a_stack_is_seen_as_one_and_writes_to_it_are_lost(void **state)
{
    (void)state;
    check_stack();
    setenv("LIGHTER_TEST_CLASSIC_MOUNT", "1", 1); /* kernels before 6.5 */
    check_stack();
    unsetenv("LIGHTER_TEST_CLASSIC_MOUNT");
}

static void stacks_of_one_directory_and_of_none_are_stacks_too(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    stack_add(&p, mount_add(&p, SANDBOX_OVERLAY, "/one"));
    p.m[0].readonly = true;
    p.m[0].lowers = (StrList){0};
    strlist_add(&p.arena, &p.m[0].lowers, "l2");
    mount_add(&p, SANDBOX_OVERLAY, "/none")->readonly = true;
    mount_add(&p, SANDBOX_OVERLAY, "/empty");
    prints(&p,
           "ls /one; ls -A /none /empty; stat -c %a /none /empty;"
           "touch /none/x 2>/dev/null || echo refused; touch /empty/x",
           "absolute\nfile\nout\nup\n/empty:\n\n/none:\n755\n755\nrefused\n");
}

/* ---- parts of a source ---- */

static void part(const char *sub, const char *script, const char *want)
{
    scoped(place) Place p = place_new();
    stack_add(&p, mount_add(&p, SANDBOX_OVERLAY, "/m"));
    p.m[0].sub = sub;
    p.m[0].readonly = true;
    prints(&p, script, want);
    upper_has(&p, NOTHING);
}

static void a_part_of_a_stack_is_mounted_alone(void **state)
{
    (void)state;
    part("/", "cat /m/file", "file\n");
    part("dir", "ls /m; (touch /m/x) 2>/dev/null || echo refused", "both\nrefused\n");
    part("/dir/both", "cat /m; (echo >/m) 2>/dev/null || echo refused", "new\nrefused\n");
}

static void a_part_stays_inside_its_source(void **state)
{
    static const char *const MISSING[] = {"none", "gone", "file/below", "out"};
    (void)state;
    part("absolute", "cat /m", "new\n");
    part("up", "ls /m", "both\n");
    part("../../../../../../dir", "ls /m", "both\n");
    for (size_t i = 0; i < NELEM(MISSING); i++) {
        scoped(place) Place p = place_new();
        stack_add(&p, mount_add(&p, SANDBOX_OVERLAY, "/m"));
        p.m[0].sub = MISSING[i];
        refused(&p, ERR_STEP, MISSING[i]);
        bind_add(&p, "l2", "/m", false)->sub = MISSING[i]; /* what a step can write to, likewise */
        p.m[0] = p.m[1];
        p.spec.nmount = 1;
        if (strcmp(MISSING[i], "gone") != 0) /* a bind shows the layer as it is */
            refused(&p, ERR_STEP, MISSING[i]);
    }
}

static void a_source_that_is_not_there_is_named(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    bind_add(&p, "nosuch", "/m", false);
    refused(&p, ERR_STEP, "'nosuch' on '/m'");
    p.m[0].sub = "x";
    refused(&p, ERR_STEP, "'nosuch' on '/m'");
}

/* ---- memory ---- */

static void a_tmpfs_has_its_size_and_the_mode_of_what_it_covers(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    assert_int_equal(fchmodat(p.store.fd, "base/old", 0710, 0), 0);
    mount_add(&p, SANDBOX_TMPFS, "/small")->size = 65536;
    mount_add(&p, SANDBOX_TMPFS, "/old");
    mount_add(&p, SANDBOX_TMPFS, "/ro")->readonly = true;
    prints(
        &p,
        "stat -c '%a %u %g' /small /old; head -c 65536 /dev/zero >/small/f && echo full;"
        "(echo >/small/g) 2>/dev/null || echo refused; (echo >/ro/f) 2>/dev/null || echo refused;"
        "head -c 131072 /dev/zero >/old/f; grep -c ' /small tmpfs rw,nosuid,nodev,relatime' "
        "/proc/self/mounts",
        "1777 0 0\n710 0 0\nfull\nrefused\nrefused\n1\n");
}

#define TOKEN "x9-never-on-a-disk-9x"

static void a_file_in_memory_has_its_bytes_mode_and_owner(void **state)
{
    static const char BYTES[] = "a\0b\n";
    scoped(place) Place p = place_new();
    SandboxMount *m = file_add(&p, "/run/secrets/one", "", 0440);
    (void)state;
    m->bytes = BYTES;
    m->size = sizeof BYTES - 1;
    m->uid = 7;
    m->gid = 8;
    file_add(&p, "/empty", "", 0400);
    prints(
        &p,
        "stat -c '%a %u %g %s' /run/secrets/one /empty; od -An -c /run/secrets/one;"
        "(echo >/empty) 2>/dev/null || echo refused; chmod 777 /empty 2>/dev/null || echo refused",
        "440 7 8 4\n400 0 0 0\n   a  \\0   b  \\n\nrefused\nrefused\n");
    upper_has(&p, NOTHING);
}

static void a_file_in_memory_is_for_its_owner(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    file_add(&p, "/mine", "mine\n", 0400)->uid = 1000;
    file_add(&p, "/others", "others\n", 0400);
    p.spec.user = "1000";
    prints(&p, "cat /mine; cat /others 2>/dev/null || echo refused", "mine\nrefused\n");
}

static void a_file_in_memory_is_executed_when_its_mode_says_so(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    file_add(&p, "/script", "#!/bin/sh\necho ran\n", 0755);
    file_add(&p, "/text", "#!/bin/sh\necho ran\n", 0444);
    prints(&p,
           "/script; /text 2>/dev/null || echo refused;"
           "grep -c ' /text tmpfs ro,nosuid,nodev,noexec' /proc/self/mounts;"
           "grep -c ' /script tmpfs ro,nosuid,nodev,relatime' /proc/self/mounts",
           "ran\nrefused\n1\n1\n");
}

static void a_file_in_memory_is_on_no_disk_and_nowhere_else(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    file_add(&p, "/run/secrets/one", TOKEN, 0400);
    p.sought = TOKEN;
    /* the parts make the word, so that no command line has it */
    prints(&p,
           "echo started; w=x9-never-on; w=$w-a-disk-9x; grep -lsr $w /run /dev /etc /tmp /old;"
           "cat /proc/1/cmdline /proc/1/environ /proc/self/environ 2>/dev/null | grep -c $w;"
           "grep -s $w /proc/1/mem; ls /proc/1/fd | grep -cx '[35]'; true",
           "started\n/run/secrets/one\n0\n0\n");
    assert_true(p.searched);
    assert_false(p.found);
    assert_false(store_holds(&p, TOKEN));
    put(p.store.fd, "probe", TOKEN); /* the search would have found it */
    assert_true(store_holds(&p, TOKEN));
}

static void too_much_in_memory_is_refused(void **state)
{
    scoped(place) Place p = place_new();
    (void)state;
    file_add(&p, "/a", "x", 0400);
    file_add(&p, "/b", "", 0400)->size = UINT64_MAX;
    refused(&p, ERR_STEP, "33554432 bytes");
}

/* ---- the network ---- */

/* A listener of this machine that a step may or may not reach. */
static int listener(struct sockaddr *addr, socklen_t *n)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, addr, *n) < 0 || listen(fd, 8) < 0 || getsockname(fd, addr, n) < 0)
        fail_msg("listen: %s", strerror(errno));
    return fd;
}

static const char *try_connect(const struct sockaddr *addr, socklen_t n)
{
    scoped(fd) int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, addr, n) == 0 ? "yes" : strerrorname_np(errno);
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static struct sockaddr_un abstract(const char *name, socklen_t *ret_n)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "%s", name);
    *ret_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    return un;
}

/* Run inside a step: say what there is. Arguments: port and name of listeners outside. */
static int look_around(char **argv)
{
    struct sockaddr_in there = loopback((uint16_t)strtoul(argv[0], NULL, 10)), here = loopback(0),
                       outside = loopback(htons(80));
    socklen_t n = sizeof here, un_n;
    struct sockaddr_un un = abstract(argv[1], &un_n);
    struct ifaddrs *all;
    unsigned others = 0, up = 0;
    if (getifaddrs(&all) == 0)
        for (struct ifaddrs *i = all; i; i = i->ifa_next) {
            others += strcmp(i->ifa_name, "lo") != 0;
            up += !strcmp(i->ifa_name, "lo") && i->ifa_flags & IFF_UP;
        }
    outside.sin_addr.s_addr = inet_addr("192.0.2.1"); /* TEST-NET-1, RFC 5737 */
    (void)listener((struct sockaddr *)&here, &n);
    printf("lo %s, others %s\n", up ? "up" : "down", others ? "some" : "none");
    printf("here %s\n", try_connect((struct sockaddr *)&here, n));
    printf("there %s\n", try_connect((struct sockaddr *)&there, n));
    printf("abstract %s\n", try_connect((struct sockaddr *)&un, un_n));
    if (others == 0)
        printf("outside %s\n", try_connect((struct sockaddr *)&outside, n));
    return fflush(stdout) != 0;
}

/* A step that runs this program's look_around(). */
static const char *look(Place *p, uint16_t port, const char *name)
{
    Err e = ERR_INIT;
    uint64_t size;
    scoped(fd) int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
                   out = openat(p->store.fd, "self", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    OK(fs_copy_data(in, out, &size, &e));
    bind_add(p, "self", "/self", true);
    return arena_printf(&p->arena, "exec /self --look %u %s", port, name);
}

static void a_step_without_network_has_a_loopback_of_its_own(void **state)
{
    scoped(place) Place p = place_new();
    struct sockaddr_in there = loopback(0);
    socklen_t n = sizeof there, un_n;
    char name[64];
    (void)state;
    (void)snprintf(name, sizeof name, "lighter-unit-%d", (int)getpid());
    struct sockaddr_un un = abstract(name, &un_n);
    int listening[] = {listener((struct sockaddr *)&there, &n),
                       listener((struct sockaddr *)&un, &un_n)};
    const char *script = look(&p, there.sin_port, name);
    SandboxEnd end;
    Err e = ERR_INIT;
    OK(try_run(&p, script, &end, &e));
    if (!strstr(buf_str(&p.out), "here yes\nthere yes\n")) /* so that the next can fail */
        fail_msg("with the caller's network: %s", buf_str(&p.out));
    p.spec.net = SANDBOX_NET_NONE;
    prints(&p, script,
           "lo up, others none\nhere yes\nthere ECONNREFUSED\nabstract ECONNREFUSED\n"
           "outside ENETUNREACH\n");
    if (!in_userns) /* a container's masks in /sys can keep a user namespace from a new one */
        prints(&p, "ls /sys/class/net; (echo 1 >/sys/class/net/lo/mtu) 2>&1 | grep -o Read-only",
               "lo\nRead-only\n");
    for (size_t i = 0; i < NELEM(listening); i++)
        close(listening[i]);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bound_directory_is_read_only_when_asked),
        cmocka_unit_test(a_bound_file_is_one_file),
        cmocka_unit_test(a_bound_directory_keeps_its_owner_and_mode),
        cmocka_unit_test(read_only_reaches_the_mounts_below),
        cmocka_unit_test(a_stack_is_seen_as_one_and_writes_to_it_are_lost),
        cmocka_unit_test(stacks_of_one_directory_and_of_none_are_stacks_too),
        cmocka_unit_test(a_part_of_a_stack_is_mounted_alone),
        cmocka_unit_test(a_part_stays_inside_its_source),
        cmocka_unit_test(a_source_that_is_not_there_is_named),
        cmocka_unit_test(a_tmpfs_has_its_size_and_the_mode_of_what_it_covers),
        cmocka_unit_test(a_file_in_memory_has_its_bytes_mode_and_owner),
        cmocka_unit_test(a_file_in_memory_is_for_its_owner),
        cmocka_unit_test(a_file_in_memory_is_executed_when_its_mode_says_so),
        cmocka_unit_test(a_file_in_memory_is_on_no_disk_and_nowhere_else),
        cmocka_unit_test(too_much_in_memory_is_refused),
        cmocka_unit_test(a_step_without_network_has_a_loopback_of_its_own),
    };
    return cmocka_run_group_tests_name(in_userns ? "mounts in a user namespace" : "mounts as root",
                                       tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "--look"))
        _exit(look_around(argv + 2));
    return run_in_modes(argc, argv, run_all);
}
