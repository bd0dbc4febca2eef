/*
 * steps/, tree/: cache keys, to the byte. docs/cache-keys.md describes them.
 *
 * The digests here were made by tests/e2e/cachekeys.py, which was written from that page: a key
 * that changes makes every store run everything again, so it changes with its format number, and
 * with this file.
 */
#include "testing.h"

#include <sys/resource.h>

#include "steps/kinds.h"
#include "steps/sources.h"

/* Digests that stand for results and contents. */
enum { PARENT = 0x11, CONTENT = 0x22, OTHER = 0x33 };

typedef struct Fixture {
    StepsEnv env;
    StepResult parent;
    PlanStep step;
    StepWork work;
} Fixture;

static Digest digest_filled(uint8_t byte)
{
    Digest d;
    memset(d.b, byte, sizeof d.b);
    return d;
}

static void fixture_init(Fixture *f, StepKind kind)
{
    *f = (Fixture){.parent = {.id = digest_filled(PARENT)}, .step = {.kind = kind}};
    f->work = (StepWork){.env = &f->env, .step = &f->step, .parent = &f->parent};
    f->work.key_parts.text = (Buf)BUF_INIT;
}

static void scoped_fixture_done(Fixture *f)
{
    steps_work_done(&f->work);
}

static StrList list(Arena *a, const char *const *v, size_t n)
{
    StrList l = {0};
    for (size_t i = 0; i < n; i++)
        strlist_add(a, &l, v[i]);
    return l;
}
#define LIST(f, ...)                                                                               \
    list(&(f)->work.arena, (const char *const[]){__VA_ARGS__},                                     \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void digest_is(const Digest *got, const char *want)
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(got, hex);
    assert_string_equal(hex, want);
}

static void key_is(Fixture *f, const char *want)
{
    Err e = ERR_INIT;
    bool known = false;
    OK(steps_key(&f->work, &known, &e));
    assert_true(known);
    digest_is(&f->work.key, want);
}

/* ---- FROM and WORKDIR ---- */

static void a_base_is_its_layers_config_and_platform(void **state)
{
    SourceImage image = {.id = digest_filled(OTHER),
                         .chain = digest_filled(CONTENT),
                         .config = {.os = "linux", .architecture = "arm64", .variant = "v8"}};
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f, STEP_FROM);
    f.env.bases = &image;
    StepResult r = steps_base(&f.work);
    digest_is(&r.id, "debcee11bf27314f5ef41ebacc9804e4a0c7cd41faac3d5ed1541d101815294d");
    f.step.u.base = STEP_NONE;
    r = steps_base(&f.work);
    digest_is(&r.id, "a29ce1a21815079c64051a4fdf62eb383a6a088fdd944a63d12196d62e46b579");
}

static void a_workdir_is_its_path_and_user(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f, STEP_WORKDIR);
    f.step.u.workdir.path = "/w";
    f.step.u.workdir.user = "u";
    key_is(&f, "e1c0d773b9b3849b13184e69321260f054a16cac3daf37e1216198818c5b7aed");
}

/* ---- RUN ---- */

static void run_init(Fixture *f)
{
    fixture_init(f, STEP_RUN);
    f->step.u.run = (PlanRun){.argv = LIST(f, "/bin/sh", "-c", "make"),
                              .env = LIST(f, "PATH=/bin", "A=1"),
                              .cwd = "/w",
                              .user = "u"};
}

static void a_plain_run_has_words_environment_directory_user_network_and_host_name(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    run_init(&f);
    key_is(&f, "d2917c64156239620051f643f69bfa3590658fdec502cf3665371278ab89799d");
}

static void what_a_run_asks_for_beyond_that_is_in_its_key(void **state)
{
    const SandboxUlimit limit = {RLIMIT_NOFILE, 64, 128};
    scoped(fixture) Fixture f;
    (void)state;
    run_init(&f);
    f.step.u.run.network = PLAN_NET_NONE;
    f.step.u.run.insecure = true;
    f.step.u.run.script = "/dev/pipes/EOF";
    f.step.u.run.script_text = "echo x\n";
    f.env.hostname = "h";
    f.env.shape = (SandboxShape){
        .hosts = LIST(&f, "1.2.3.4\tx"), .shm_size = 1 << 20, .ulimits = &limit, .nulimit = 1};
    f.env.fast_owners = true;
    key_is(&f, "efa6080787b5afaa1c5d6be619385b8ad3cf1064aed2c100765a3a2b0c93ef54");
}

static void what_only_limits_or_is_secret_is_in_no_key(void **state)
{
    const StepSecret secret = {"token", {(char *)(uintptr_t) "value", 5}};
    const StepAgent agent = {"default", "/run/agent"};
    scoped(fixture) Fixture f;
    (void)state;
    run_init(&f);
    f.env.step_env = LIST(&f, "http_proxy=http://proxy", "GOPROXY=off");
    f.env.secrets = &secret;
    f.env.nsecret = 1;
    f.env.agents = &agent;
    f.env.nagent = 1;
    f.env.limits = (SandboxLimits){.memory = 1 << 20, .cpu_weight = 3, .pids = 7, .cpus = "0"};
    f.env.cache_ns = "mine";
    f.env.scope = "scope";
    f.env.host.mode = MODE_CHROOT;
    key_is(&f, "d2917c64156239620051f643f69bfa3590658fdec502cf3665371278ab89799d");
}

static void each_mount_is_in_the_key_by_what_it_asks_for(void **state)
{
    PlanMount mounts[] = {
        {.spec = {.type = DF_MOUNT_BIND, .readonly = true},
         .target = "/b",
         .source = {.origin = PLAN_CONTEXT, .path = {.text = "src"}}},
        {.spec = {.type = DF_MOUNT_CACHE,
                  .id = "go",
                  .sharing = DF_LOCKED,
                  .has_mode = true,
                  .mode = 0700,
                  .has_uid = true,
                  .uid = 7,
                  .has_gid = true,
                  .gid = 8},
         .target = "/c",
         .source = {.origin = PLAN_EMPTY, .path = {.text = ""}}},
        {.spec = {.type = DF_MOUNT_TMPFS, .size = 4096}, .target = "/t"},
        {.spec = {.type = DF_MOUNT_SECRET, .id = "token", .env = "TOKEN", .required = true}},
        {.spec = {.type = DF_MOUNT_SSH, .id = "default"}, .target = "/run/ssh"},
    };
    StepSource sources[NELEM(mounts)] = {{.named = true, .content = digest_filled(CONTENT)}};
    scoped(fixture) Fixture f;
    (void)state;
    run_init(&f);
    f.step.u.run.mounts = mounts;
    f.step.u.run.nmount = NELEM(mounts);
    f.work.sources = sources;
    key_is(&f, "d979e3212ab6bf2e2a0590cb681744d29deb38eeaf6c53009314bc238b430b2c");
}

/* ---- COPY ---- */

static void a_copy_is_where_to_how_and_what(void **state)
{
    PlanSource from[] = {{.origin = PLAN_CONTEXT, .path = {.text = "a"}},
                         {.origin = PLAN_STEP, .path = {.text = "b*"}}};
    StepSource sources[] = {{.named = true, .content = digest_filled(CONTENT)},
                            {.named = true, .content = digest_filled(OTHER)}};
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f, STEP_COPY);
    f.step.u.copy = (PlanCopy){.sources = from,
                               .nsource = NELEM(from),
                               .dest = "/d/",
                               .chown = "u:g",
                               .chmod = {.text = "u+x"},
                               .unpack = true};
    f.work.sources = sources;
    key_is(&f, "fc4f21c6295eba385a27ddbeeb9595666440eabcee58d37008c2077b3d42120d");
}

static void a_linked_copy_does_not_know_what_it_lies_on_and_its_result_does(void **state)
{
    PlanSource from = {.origin = PLAN_INLINE, .path = {.text = "X"}, .content = "hello\n"};
    const StoreRecord rec = {.result = digest_filled(CONTENT)};
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f, STEP_COPY);
    f.step.u.copy = (PlanCopy){.sources = &from, .nsource = 1, .dest = "/d", .link = true};
    key_is(&f, "4814d0eb6cc634bfd09fbfce598cade327de4381e6d396c9a3a6d68c162b1cda");
    StepResult r = steps_from_record(&f.work, &rec);
    digest_is(&r.id, "2275ecfd817dd02b5297991ef1839613cfacc18d95552ee879e76d649d4e45ae");
}

/* ---- files ---- */

static TreeEntry file_entry(const char *path, uint32_t mode, const char *content)
{
    TreeEntry t = {.path = path, .type = TREE_FILE, .mode = mode, .size = strlen(content)};
    digest_of(content, strlen(content), &t.content);
    return t;
}

static void a_tree_is_its_entries_in_order_without_times(void **state)
{
    TreeXattr attr = {"user.x", {(char *)(uintptr_t) "\0v", 2}};
    TreeEntry v[] = {
        {.path = "d", .type = TREE_DIR, .mode = 0755, .passage = true, .mtime = {1, 2}},
        file_entry("d/f", 04755, "abc"),
        file_entry("d/g", 04755, "abc"),
        {.path = "l", .type = TREE_SYMLINK, .mode = 0777, .link = "d/f", .ctime = {3, 4}},
        {.path = "n", .type = TREE_CHAR, .mode = 0600, .major = 1, .minor = 3},
    };
    Digest got;
    (void)state;
    for (size_t i = 1; i < 3; i++) {
        v[i].uid = 1;
        v[i].gid = 2;
    }
    v[1].xattrs = &attr;
    v[1].nxattr = 1;
    v[2].link_group = 2;
    tree_digest(&(Tree){.v = v, .n = NELEM(v)}, &got);
    digest_is(&got, "1576e2b2085b3c608578b27a5c835998bb1e7bc37f1cbb680a5ef80884c20690");
}

static void a_selection_is_its_roots_by_their_last_names_and_its_tree(void **state)
{
    TreeEntry v[] = {file_entry("a", 0644, "a"), file_entry("b", 0644, "b"),
                     file_entry("f", 0644, "f")};
    Selected roots[] = {{.name = "deep/src", .is_dir = true, .n = 2},
                        {.name = "f", .first = 2, .n = 1}};
    Selection s = {.tree = {.v = v, .n = NELEM(v)}, .roots = roots, .nroot = NELEM(roots)};
    Digest got;
    (void)state;
    selection_digest(&s, &got);
    digest_is(&got, "a6f46c8de87a586a9129cede03f30d255f7b180a4401c7b06963ea9b6469c60b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_base_is_its_layers_config_and_platform),
        cmocka_unit_test(a_workdir_is_its_path_and_user),
        cmocka_unit_test(a_plain_run_has_words_environment_directory_user_network_and_host_name),
        cmocka_unit_test(what_a_run_asks_for_beyond_that_is_in_its_key),
        cmocka_unit_test(what_only_limits_or_is_secret_is_in_no_key),
        cmocka_unit_test(each_mount_is_in_the_key_by_what_it_asks_for),
        cmocka_unit_test(a_copy_is_where_to_how_and_what),
        cmocka_unit_test(a_linked_copy_does_not_know_what_it_lies_on_and_its_result_does),
        cmocka_unit_test(a_tree_is_its_entries_in_order_without_times),
        cmocka_unit_test(a_selection_is_its_roots_by_their_last_names_and_its_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
