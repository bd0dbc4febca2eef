/*
 * RUN --mount's keys, --chmod's modes and EXPOSE's ports: small languages inside the language.
 */
#include "testing.h"

#include <sys/wait.h>

#include "plan/chmod.h"
#include "plan/plan.h"
#include "plan/ports.h"

static bool mount(Arena *a, const char *text, DfMount *ret, Err *e)
{
    StrList *env = NEW(a, StrList);
    strlist_add(a, env, "V=/v");
    DfScope s = {.arena = a, .env = env, .escape = '\\'};
    return df_mount(a, text, &s, ret, e);
}

static DfMount mount_ok(Arena *a, const char *text)
{
    DfMount m = {0};
    Err e = ERR_INIT;
    if (!mount(a, text, &m, &e))
        fail_msg("'%s': %s", text, e.msg);
    return m;
}

static void keys_of_a_mount_reach_their_fields(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    DfMount m = mount_ok(&a, "from=b,src=/x,dst=$V/y,rw");
    assert_int_equal(m.type, DF_MOUNT_BIND);
    assert_string_equal(m.from, "b");
    assert_string_equal(m.source, "/x");
    assert_string_equal(m.target, "/v/y");
    assert_false(m.readonly);
    assert_true(mount_ok(&a, "target=/x").readonly);
    m = mount_ok(&a, "TYPE=Cache,id=i,Sharing=LOCKED,mode=0750,uid=1,gid=2,destination=/c");
    assert_int_equal(m.type, DF_MOUNT_CACHE);
    assert_int_equal(m.sharing, DF_LOCKED);
    assert_true(m.sharing_set && m.has_mode && m.has_uid && m.has_gid && !m.readonly);
    assert_int_equal(m.mode, 0750);
    assert_true(mount_ok(&a, "type=cache,ro=t,target=/x").readonly);
    m = mount_ok(&a, "type=tmpfs,target=/t,size=1.5GiB");
    assert_int_equal(m.size, 3ull << 29);
    assert_int_equal(mount_ok(&a, "type=tmpfs,size=64m").size, 64 << 20);
    assert_int_equal(mount_ok(&a, "type=tmpfs,size=100").size, 100);
    m = mount_ok(&a, "type=secret,id=s,env=TOKEN,required");
    assert_string_equal(m.env, "TOKEN");
    assert_true(m.required && m.readonly);
    assert_false(mount_ok(&a, "type=ssh,required=false,mode=0600").required);
    m = mount_ok(&a, "\"target=/a,b\",\"source=c\\\"\"d\"");
    assert_string_equal(m.target, "/a,b");
    assert_string_equal(m.source, "c\"d");
}

/* Texts: BuildKit, instructions/commands_runmount.go. */
static void a_mount_that_is_wrong_is_refused(void **state)
{
    static const char *const ROWS[][2] = {
        {"type=bnd", "unsupported mount type \"bnd\" (did you mean bind?)"},
        {"type=tmp", "unsupported mount type \"tmp\""},
        {"typ=bind", "unexpected key 'typ' in 'typ=bind' (did you mean type?)"},
        {"type=cache,sharing=lockd", "unsupported sharing value \"lockd\" (did you mean locked?)"},
        {"type=bind,sharing=shared", "invalid cache sharing set for bind mount"},
        {"type=tmpfs,mode=755", "mode not allowed for \"tmpfs\" type mounts"},
        {"type=bind,uid=1", "uid not allowed for \"bind\" type mounts"},
        {"gid=1", "gid not allowed for \"bind\" type mounts"},
        {"type=cache,mode=8", "invalid value 8 for mode"},
        {"type=cache,uid=-1", "invalid value -1 for uid"},
        {"type=cache,gid=4294967296", "invalid value 4294967296 for gid"},
        {"type=bind,size=1", "unexpected key 'size' for mount type 'bind'"},
        {"type=tmpfs,size=x", "invalid value for size: x"},
        {"type=tmpfs,size=0x10", "invalid value for size: 0x10"},
        {"type=tmpfs,size=-1", "invalid value for size: -1"},
        {"type=bind,required", "unexpected key 'required' for mount type 'bind'"},
        {"type=secret,id=a,required=yes", "invalid value for required: yes"},
        {"type=secret", "invalid secret mount. one of source, target required"},
        {"type=secret,id=a,src=b", "both source and id can't be set"},
        {"type=secret,id=a,from=b", "secret mount should not have a from"},
        {"type=secret,id=a,sharing=shared", "secret mount should not define sharing"},
        {"ro=maybe", "invalid value for ro: maybe"},
        {"target", "invalid field 'target' must be a key=value pair"},
        {"target=/a,", "invalid field '' must be a key=value pair"},
        {"target=a\"b", "failed to parse csv mounts"},
        {"\"target=a", "failed to parse csv mounts"},
        {"\"target=a\"b", "failed to parse csv mounts"},
        {"", "failed to parse csv mounts: EOF"},
        {"target=${x", "missing '}'"},
    };
    scoped(arena) Arena a = {0};
    DfMount m;
    Err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < NELEM(ROWS); i++)
        FAILS(mount(&a, ROWS[i][0], &m, &e), ERR_DOCKERFILE, ROWS[i][1]);
    OK(df_mount(&a, "type=$x,from=b,typ=y", NULL, &m, &e)); /* variables are not known yet */
    assert_string_equal(m.from, "b");
    FAILS(df_mount(&a, "from=$x", NULL, &m, &e), ERR_DOCKERFILE, "doesn't support variable");
    OK(df_mount(&a, "from=x$", NULL, &m, &e));
}

/* ---- chmod ---- */

static void an_octal_mode_replaces_and_is_checked(void **state)
{
    PlanChmod c;
    Err e = ERR_INIT;

    (void)state;
    OK(chmod_parse("0755", &c, &e));
    assert_int_equal(plan_chmod(&c, 04600, true), 0755);
    OK(chmod_parse("7777", &c, &e));
    assert_int_equal(plan_chmod(&c, 0, false), 07777);
    FAILS(chmod_parse("64a", &c, &e), ERR_DOCKERFILE,
          "invalid chmod parameter: '64a'. it should be octal string and between 0 and 07777");
    FAILS(chmod_parse("10000", &c, &e), ERR_DOCKERFILE, "'10000'. it should be octal string");
    FAILS(chmod_parse("8", &c, &e), ERR_DOCKERFILE, "'8'");
    FAILS(chmod_parse("u", &c, &e), ERR_DOCKERFILE, "'u'");
    FAILS(chmod_parse("u+x,", &c, &e), ERR_DOCKERFILE, "'u+x,'");
    FAILS(chmod_parse("u+q", &c, &e), ERR_DOCKERFILE, "'u+q'");
    FAILS(chmod_parse("", &c, &e), ERR_DOCKERFILE, "''");
}

static const char *random_modes(Arena *a, uint64_t *seed)
{
    static const char *const WHO[] = {"", "u", "g", "o", "a", "ug", "go", "ugo"};
    /* Where X, t and copied classes meet other changes, BuildKit follows BSD, and differs. */
    static const char *const PERMS[] = {"", "r", "w", "x", "s", "rw", "rwx", "xs", "wx"};
    scoped(buf) Buf b = BUF_INIT;
    for (uint32_t n = next_random(seed) % 3 + 1; n-- > 0;) {
        buf_puts(&b, WHO[next_random(seed) % NELEM(WHO)]);
        for (uint32_t k = next_random(seed) % 2 + 1; k-- > 0;) {
            buf_putc(&b, "+-="[next_random(seed) % 3]);
            buf_puts(&b, PERMS[next_random(seed) % NELEM(PERMS)]);
        }
        if (n)
            buf_putc(&b, ',');
    }
    return arena_strdup(a, buf_str(&b));
}

typedef struct ModeCase {
    const char *text;
    uint32_t before;
    bool dir;
} ModeCase;

/* One shell makes all changes with chmod(1), with no umask. */
static void run_chmod(const Scratch *s, const ModeCase *v, size_t n)
{
    scoped(buf) Buf script = BUF_INIT;
    buf_printf(&script, "umask 0; cd '%s'\n", s->path);
    for (size_t i = 0; i < n; i++)
        buf_printf(&script, "chmod -- '%s' %zu\n", v[i].text, i);
    put(s->fd, "script", script.ptr);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/script", s->path);
    pid_t pid = fork();
    if (!pid) {
        execl("/bin/sh", "sh", path, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void symbolic_modes_change_what_chmod_changes(void **state)
{
    enum { N = 400 };
    scoped(scratch) Scratch s = scratch_new();
    scoped(arena) Arena a = {0};
    ModeCase *v = NEW_N(&a, ModeCase, N);
    uint64_t seed = 11;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        const char *name = arena_printf(&a, "%zu", i);
        v[i] = (ModeCase){random_modes(&a, &seed), next_random(&seed) & 06777, false};
        v[i].dir = next_random(&seed) % 3 == 0 && !strchr(v[i].text, 's');
        v[i].before &= v[i].dir ? 0777 : 06777; /* chmod(1) is careful with directories' set-id */
        if (v[i].dir)
            make_dir(s.fd, name);
        else
            put(s.fd, name, "");
        assert_int_equal(fchmodat(s.fd, name, v[i].before, 0), 0);
    }
    run_chmod(&s, v, N);
    for (size_t i = 0; i < N; i++) {
        PlanChmod c;
        struct stat st;
        Err e = ERR_INIT;
        OK(chmod_parse(v[i].text, &c, &e));
        assert_int_equal(fstatat(s.fd, arena_printf(&a, "%zu", i), &st, 0), 0);
        uint32_t got = plan_chmod(&c, v[i].before, v[i].dir);
        if (got != (st.st_mode & 07777))
            fail_msg("'%s' of %s %04o: %04o, and chmod gives %04o", v[i].text,
                     v[i].dir ? "directory" : "file", v[i].before, got,
                     (unsigned)st.st_mode & 07777);
    }
}

/* Expected: tried with the library BuildKit uses. */
static void sticky_runnable_and_copied_bits_follow_bsd(void **state)
{
    static const struct {
        const char *text;
        uint32_t before, after;
        bool dir;
    } CASES[] = {
        {"u=rwX,go=rX", 0600, 0644, false}, {"u=rwX,go=rX", 0700, 0755, false},
        {"u=rwX,go=rX", 0600, 0755, true},  {"+X", 0644, 0644, false},
        {"+x,+X", 0600, 0711, false},       {"+t", 0755, 01755, true},
        {"o+t", 0755, 0755, true},          {"=t", 02214, 01000 | 02214, false},
        {"g=u", 0750, 0770, false},         {"go=u-w", 0700, 0755, false},
        {"ugo=u+w", 04457, 04666, true},    {"-st", 03246, 02246, false},
        {"u+s,g+s", 0755, 06755, false},    {"a=", 07777, 01000, false},
    };
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        PlanChmod c;
        Err e = ERR_INIT;
        OK(chmod_parse(CASES[i].text, &c, &e));
        uint32_t got = plan_chmod(&c, CASES[i].before, CASES[i].dir);
        if (got != CASES[i].after)
            fail_msg("'%s' of %04o: %04o, wanted %04o", CASES[i].text, CASES[i].before, got,
                     CASES[i].after);
    }
}

/* ---- ports ---- */

/* Expected: tried with BuildKit's parsePort. */
static void a_port_has_a_range_a_protocol_and_a_host_part(void **state)
{
    static const struct {
        const char *text, *proto;
        unsigned first, last;
        bool upper, mapped;
    } CASES[] = {
        {"80", "tcp", 80, 80, false, false},         {"80/", "tcp", 80, 80, false, false},
        {"80/UDP", "udp", 80, 80, true, false},      {"+8-00010/sctp", "sctp", 8, 10, false, false},
        {"0-65535", "tcp", 0, 65535, false, false},  {"90:80", "tcp", 80, 80, false, true},
        {":80", "tcp", 80, 80, false, false},        {"1.2.3.4::80", "tcp", 80, 80, false, true},
        {"[::1]:90:80", "tcp", 80, 80, false, true}, {"::1:90:80", "tcp", 80, 80, false, true},
        {"90-99:80", "tcp", 80, 80, false, true},    {"90-91:80-81", "tcp", 80, 81, false, true},
    };
    static const char *const WRONG[][2] = {
        {"", "invalid port: \"\": no port specified"},
        {"/tcp", "no port specified"},
        {"80/Foo", "invalid port: \"80/Foo\": invalid proto: Foo"},
        {"80/tcp/x", "invalid proto: tcp/x"},
        {"65536", "invalid containerPort: 65536"},
        {"80-", "invalid containerPort: 80-"},
        {"81-80", "invalid containerPort: 81-80"},
        {"x", "invalid containerPort: x"},
        {"x:80", "invalid hostPort: x"},
        {"90-92:80-81", "invalid ranges specified for container and host Ports: 80-81 and 90-92"},
        {"a:90:80", "invalid IP address: a"},
        {"[::1:90:80", "invalid IP address"},
        {"01.2.3.4::80", "invalid IP address: 01.2.3.4"},
    };
    scoped(arena) Arena a = {0};
    PortSpec p;
    StrList all = {0};
    Err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        OK(port_spec(&a, CASES[i].text, &p, &e));
        if (strcmp(p.proto, CASES[i].proto) != 0 || p.first != CASES[i].first ||
            p.last != CASES[i].last || p.upper != CASES[i].upper || p.mapped != CASES[i].mapped)
            fail_msg("'%s': %u-%u/%s upper %d mapped %d", CASES[i].text, p.first, p.last, p.proto,
                     p.upper, p.mapped);
    }
    for (size_t i = 0; i < NELEM(WRONG); i++)
        FAILS(port_spec(&a, WRONG[i][0], &p, &e), ERR_DOCKERFILE, WRONG[i][1]);
    OK(port_spec(&a, "0-65535", &p, &e));
    for (int i = 0; i < 3; i++)
        OK(port_list(&a, &p, &all, &e));
    FAILS(port_list(&a, &p, &all, &e), ERR_DOCKERFILE, "more than");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_a_mount_reach_their_fields),
        cmocka_unit_test(a_mount_that_is_wrong_is_refused),
        cmocka_unit_test(an_octal_mode_replaces_and_is_checked),
        cmocka_unit_test(symbolic_modes_change_what_chmod_changes),
        cmocka_unit_test(sticky_runnable_and_copied_bits_follow_bsd),
        cmocka_unit_test(a_port_has_a_range_a_protocol_and_a_host_part),
    };
    return cmocka_run_group_tests_name("mountspec", tests, NULL, NULL);
}
