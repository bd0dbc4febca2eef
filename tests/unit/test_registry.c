/*
 * registry/: texts of other programs - TOML, challenges, credentials, configuration, tokens - and
 * what they say of a reference.
 */
#include "testing.h"

#include "registry/challenge.h"
#include "registry/client.h"
#include "registry/conf.h"
#include "registry/creds.h"
#include "registry/toml.h"

/* ---- TOML ---- */

/* The canonical JSON of a TOML text. */
static char *toml(Arena *a, const char *text)
{
    scoped(json) json_t *j = NULL;
    scoped(buf) Buf out = BUF_INIT;
    Err e = ERR_INIT;
    OK(toml_parse(text, strlen(text), &j, &e));
    json_text(j, &out);
    return arena_strdup(a, buf_str(&out));
}

static void toml_is_read_as_its_specification_has_it(void **state)
{
    static const struct {
        const char *text, *want;
    } ROWS[] = {
        {"", "{}"},
        {"# only this\n\n", "{}"},
        {"a = 'b'", "{\"a\":\"b\"}"},
        {"a.b.'c.d' = 1\na.e = 2", "{\"a\":{\"b\":{\"c.d\":1},\"e\":2}}"},
        {"[[r]]\nx = 1\n[[r.m]]\ny = 2\n[[r.m]]\ny = 3\n[[r]]\nx = 4",
         "{\"r\":[{\"m\":[{\"y\":2},{\"y\":3}],\"x\":1},{\"x\":4}]}"},
        {"[registry.\"docker.io\"]\nmirrors = [\"a\", # one\n 'b',\n]\nhttp = true",
         "{\"registry\":{\"docker.io\":{\"http\":true,\"mirrors\":[\"a\",\"b\"]}}}"},
        {"[a.b]\nx=1\n[a]\ny=2", "{\"a\":{\"b\":{\"x\":1},\"y\":2}}"},
        {"a = {b = 1, c.d = [ ] }\r\n", "{\"a\":{\"b\":1,\"c\":{\"d\":[]}}}"},
        {"a = \"x\\t\\\"\\u00e9\\U0001F600\"", "{\"a\":\"x\\t\\\"\xc3\xa9\xf0\x9f\x98\x80\"}"},
        {"a = \"\"\"\nx \\\n   y\"\"\"\"", "{\"a\":\"x y\\\"\"}"},
        {"a = '''\nx\\n'''", "{\"a\":\"x\\\\n\"}"},
        {"a = -17\nb = 1_000\nc = 0xff\nd = 0o17\ne = 0b11",
         "{\"a\":-17,\"b\":1000,\"c\":255,\"d\":15,\"e\":3}"},
        {"a = 1.5\nb = 1979-05-27T07:32:00Z\nc = inf",
         "{\"a\":\"1.5\",\"b\":\"1979-05-27T07:32:00Z\",\"c\":\"inf\"}"},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(ROWS); i++)
        assert_string_equal(toml(&a, ROWS[i].text), ROWS[i].want);
}

static void toml_that_is_wrong_is_told_with_its_line(void **state)
{
    static const struct {
        const char *text, *said;
    } ROWS[] = {
        {"a = 1\nb", "line 2: '=' is expected"},
        {"a = 1\na = 2", "line 2: 'a' is there already"},
        {"[a]\n[a]", "line 2: 'a' is there already"},
        {"a = []\n[[a]]", "line 2: 'a' is there already"},
        {"a = {}\n[a.b]", "line 2: 'a' is no table"},
        {"a = {}\na.b = 1", "line 2: 'a' is no table"},
        {"[a]\nb = 1\n[a.b]", "line 3: 'b' is there already"},
        {"[[a]]\n[a]", "line 2: 'a' is there already"},
        {"a = 'x\n'", "line 1: a string without an end"},
        {"a = \"\\q\"", "line 1: an unknown escape"},
        {"a = \"\\ud800\"", "line 1: an escape that is no character"},
        {"a = \"\\u0000\"", "line 1: an escape that is no character"},
        {"a = b", "line 1: a value is expected"},
        {"a = 1 2", "line 1: more than one thing"},
        {"[a", "line 1: ']' is expected"},
        {"[[a]", "line 1: ']]' is expected"},
        {"a = [1 2]", "line 1: ',' or ']' is expected"},
        {"a = {b = 1,}", "line 1: a name is expected"},
        {"a = 0xg", "line 1: no number"},
        {"a = \"\x80\"", "line 1: a string that is no UTF-8"},
        {"a = \"\x01\"", "line 1: a control character"},
    };
    Err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < NELEM(ROWS); i++) {
        json_t *j = NULL;
        FAILS(toml_parse(ROWS[i].text, strlen(ROWS[i].text), &j, &e), ERR_USAGE, ROWS[i].said);
        assert_null(j);
    }
}

static void toml_that_is_nested_without_end_is_refused(void **state)
{
    scoped(buf) Buf b = BUF_INIT;
    json_t *j = NULL;
    Err e = ERR_INIT;

    (void)state;
    buf_puts(&b, "a = ");
    for (int i = 0; i < 100000; i++)
        buf_putc(&b, '[');
    FAILS(toml_parse(b.ptr, b.len, &j, &e), ERR_USAGE, "nested too deep");
}

/* ---- challenges ---- */

static void a_challenge_is_read_as_servers_write_it(void **state)
{
    static const struct {
        const char *value;
        AuthKind kind;
        const char *realm, *service, *scope;
    } ROWS[] = {
        {"Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\""
         "repository:library/alpine:pull\"",
         AUTH_BEARER, "https://auth.docker.io/token", "registry.docker.io",
         "repository:library/alpine:pull"},
        {"Basic realm=\"Registry Realm\"", AUTH_BASIC, "Registry Realm", "", ""},
        {"basic", AUTH_BASIC, "", "", ""},
        {"Basic realm=x, Bearer realm=\"https://a\", service = b", AUTH_BEARER, "https://a", "b",
         ""},
        {"Bearer realm=\"https://a\" , Basic realm=\"x\"", AUTH_BEARER, "https://a", "", ""},
        {"BEARER Realm=\"https://a/\\\"q\\\"\"", AUTH_BEARER, "https://a/\"q\"", "", ""},
        {"Negotiate, Bearer realm=\"https://a", AUTH_BEARER, "https://a", "", ""},
        {"Negotiate YII=, Basic realm=\"x\"", AUTH_BASIC, "x", "", ""},
        {"Bearer service=\"nowhere\"", AUTH_NONE, "", "", ""},
        {"Digest nonce=\"x\"", AUTH_NONE, "", "", ""},
        {"", AUTH_NONE, "", "", ""},
        {",,=,\"", AUTH_NONE, "", "", ""},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(ROWS); i++) {
        Challenge c = {.kind = AUTH_UNKNOWN};
        challenge_parse(&a, ROWS[i].value, &c);
        assert_int_equal(c.kind, ROWS[i].kind);
        assert_string_equal(c.realm, ROWS[i].realm);
        assert_string_equal(c.service, ROWS[i].service);
        assert_string_equal(c.scope, ROWS[i].scope);
    }
    /* Two headers of one answer. */
    Challenge c = {.kind = AUTH_UNKNOWN};
    challenge_parse(&a, "Basic realm=\"x\"", &c);
    challenge_parse(&a, "Bearer realm=\"https://a\",error=\"insufficient_scope\"", &c);
    assert_int_equal(c.kind, AUTH_BEARER);
    assert_string_equal(c.error, "insufficient_scope");
}

/* ---- tokens ---- */

static void a_token_is_read_with_its_time(void **state)
{
    static const struct {
        const char *text, *token;
        uint64_t seconds;
    } ROWS[] = {
        {"{\"token\":\"t\",\"expires_in\":300}", "t", 300},
        {"{\"access_token\":\"a\"}", "a", 60},
        {"{\"token\":\"\",\"access_token\":\"a\",\"expires_in\":-5}", "a", 60},
        {"{\"token\":\"t\",\"expires_in\":99999999}", "t", 3600},
    };
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    const char *token;
    uint64_t seconds;

    (void)state;
    for (size_t i = 0; i < NELEM(ROWS); i++) {
        OK(token_read(&a, ROWS[i].text, strlen(ROWS[i].text), &token, &seconds, &e));
        assert_string_equal(token, ROWS[i].token);
        assert_int_equal(seconds, ROWS[i].seconds);
    }
    FAILS(token_read(&a, "{}", 2, &token, &seconds, &e), ERR_NETWORK, "no token");
    FAILS(token_read(&a, "[", 1, &token, &seconds, &e), ERR_NETWORK, "no JSON");
    static const char SMUGGLED[] = "{\"token\":\"x\\r\\nCookie: y\"}";
    FAILS(token_read(&a, SMUGGLED, sizeof SMUGGLED - 1, &token, &seconds, &e), ERR_NETWORK,
          "bytes that no token has");
}

/* ---- credentials ---- */

static void base64_goes_there_and_back(void **state)
{
    static const struct {
        const char *plain, *text;
    } ROWS[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"}};
    scoped(arena) Arena a = {0};
    char *out;
    size_t n;

    (void)state;
    for (size_t i = 0; i < NELEM(ROWS); i++) {
        assert_string_equal(base64_encode(&a, ROWS[i].plain, strlen(ROWS[i].plain)), ROWS[i].text);
        assert_true(base64_decode(&a, ROWS[i].text, &out, &n));
        assert_int_equal(n, strlen(ROWS[i].plain));
        assert_string_equal(out, ROWS[i].plain);
    }
    assert_false(base64_decode(&a, "Zm9vY", &out, &n));
    assert_false(base64_decode(&a, "Zm 9v", &out, &n));
    assert_false(base64_decode(&a, "Z=9v", &out, &n));
}

/* The user a file has for a repository, "-" for none. */
static const char *user(Arena *a, const char *text, bool containers, const char *host,
                        const char *repo)
{
    scoped(json) json_t *j = NULL;
    Err e = ERR_INIT;
    Cred c;
    bool found;
    OK(json_parse(text, strlen(text), &j, &e));
    OK(creds_in_file(a, j, containers, host, repo, &c, &found, &e));
    return !found ? "-" : c.identity_token ? c.identity_token : c.user;
}

static void keys_of_credentials_are_hosts_urls_and_for_podman_repositories(void **state)
{
    static const char FILE[] =
        "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"aHViOng=\"},"
        "\"plain.example\":{\"auth\":\"cGxhaW46eA==\"},"
        "\"https://url.example/v2/\":{\"username\":\"url\",\"password\":\"x\"},"
        "\"plain.example/team\":{\"auth\":\"dGVhbTp4\"},"
        "\"empty.example\":{},"
        "\"token.example\":{\"auth\":\"eDo=\",\"identitytoken\":\"idt\"}}}";
    scoped(arena) Arena a = {0};

    (void)state;
    for (int containers = 0; containers < 2; containers++) {
        assert_string_equal(user(&a, FILE, containers, "docker.io", "library/x"), "hub");
        assert_string_equal(user(&a, FILE, containers, "plain.example", "x"), "plain");
        assert_string_equal(user(&a, FILE, containers, "url.example", "x"), "url");
        assert_string_equal(user(&a, FILE, containers, "empty.example", "x"), "-");
        assert_string_equal(user(&a, FILE, containers, "token.example", "x"), "idt");
        assert_string_equal(user(&a, FILE, containers, "plain.example:5000", "x"), "-");
        assert_string_equal(user(&a, FILE, containers, "example", "x"), "-");
    }
    assert_string_equal(user(&a, FILE, true, "plain.example", "team/x"), "team");
    assert_string_equal(user(&a, FILE, true, "plain.example", "teams/x"), "plain");
    assert_string_equal(user(&a, "[]", false, "x", "y"), "-");
    assert_string_equal(user(&a, "{\"auths\":{\"x\":[]}}", false, "x", "y"), "-");
}

static void what_is_stored_is_found_and_nobody_else_can_read_it(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(scratch) Scratch s = scratch_new();
    Err e = ERR_INIT;
    const char *helper, *path = arena_printf(&a, "%s/sub/config.json", s.path);
    struct stat st;
    bool had;

    (void)state;
    OK(creds_store(&a, path, "docker.io", "me", "p:w", &helper, &e));
    assert_null(helper);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    char *text = slurp(&a, s.fd, "sub/config.json");
    assert_non_null(strstr(text, "https://index.docker.io/v1/"));
    assert_string_equal(user(&a, text, false, "docker.io", "x"), "me");
    OK(creds_erase(&a, path, "registry-1.docker.io", &had, &e));
    assert_true(had);
    OK(creds_erase(&a, path, "docker.io", &had, &e));
    assert_false(had);
    put(s.fd, "bad", "{");
    FAILS(creds_store(&a, arena_printf(&a, "%s/bad", s.path), "h", "u", "p", &helper, &e),
          ERR_USAGE, "/bad'");
    assert_string_equal(slurp(&a, s.fd, "bad"), "{");
}

/* ---- configuration ---- */

static void scoped_conf_done(Conf *c)
{
    conf_done(c);
}

/* The endpoints of a reference as one line: "host/path" with its marks. */
static const char *ends(Arena *a, const Conf *c, const char *name, bool push)
{
    scoped(buf) Buf b = BUF_INIT;
    ImageRef ref;
    Endpoint *v;
    size_t n;
    Err e = ERR_INIT;
    OK(image_ref_parse(a, name, &ref, &e));
    OK(conf_endpoints(c, a, &ref, push, &v, &n, &e));
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s%s/%s%s%s%s", i ? " " : "", v[i].host, v[i].path, v[i].mirror ? "+" : "",
                   v[i].insecure ? "!" : "", v[i].plain ? "http" : "");
    return arena_strdup(a, buf_str(&b));
}

#define D "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void a_reference_has_its_servers_in_order(void **state)
{
    static const char FILE[] =
        "[[registry]]\nprefix = 'docker.io'\n[[registry.mirror]]\nlocation = 'm1'\n"
        "[[registry.mirror]]\nlocation = 'm2:5000/hub'\ninsecure = true\n"
        "[[registry.mirror]]\nlocation = 'm3'\npull-from-mirror = 'digest-only'\n"
        "[[registry.mirror]]\nlocation = 'http://m4'\npull-from-mirror = 'tag-only'\n"
        "[[registry]]\nprefix = 'docker.io/team'\nlocation = 'own.example/t'\n"
        "[[registry]]\nprefix = '*.wild.example'\nlocation = 'tame.example'\n"
        "[[registry]]\nlocation = 'bad.example'\nblocked = true\n"
        "[[registry]]\nlocation = 'open.example:80'\ninsecure = true\n";
    scoped(arena) Arena a = {0};
    scoped(conf) Conf c = {.n = 0};
    Err e = ERR_INIT;
    ImageRef ref;
    Endpoint *v;
    size_t n;

    (void)state;
    assert_string_equal(ends(&a, &c, "alpine", false), "registry-1.docker.io/library/alpine");
    assert_string_equal(ends(&a, &c, "localhost:5000/x", false), "localhost:5000/x!");
    assert_string_equal(ends(&a, &c, "127.0.0.1/x", false), "127.0.0.1/x!");
    OK(conf_read(&c, "f", FILE, sizeof FILE - 1, true, &e));
    assert_string_equal(ends(&a, &c, "alpine:3", false),
                        "m1/library/alpine+ m2:5000/hub/library/alpine+! m4/library/alpine+!http "
                        "registry-1.docker.io/library/alpine");
    assert_string_equal(ends(&a, &c, "alpine" D, false),
                        "m1/library/alpine+ m2:5000/hub/library/alpine+! m3/library/alpine+ "
                        "registry-1.docker.io/library/alpine");
    assert_string_equal(ends(&a, &c, "alpine", true), "registry-1.docker.io/library/alpine");
    /* The row that says most decides; what it does not say is not taken from another. */
    assert_string_equal(ends(&a, &c, "team/app", true), "own.example/t/app");
    assert_string_equal(ends(&a, &c, "teams/app", true), "registry-1.docker.io/teams/app");
    assert_string_equal(ends(&a, &c, "a.wild.example/x", false), "tame.example/x");
    assert_string_equal(ends(&a, &c, "wild.example/x", false), "wild.example/x");
    assert_string_equal(ends(&a, &c, "open.example:80/x", false), "open.example:80/x!");
    OK(image_ref_parse(&a, "bad.example/x", &ref, &e));
    FAILS(conf_endpoints(&c, &a, &ref, false, &v, &n, &e), ERR_USAGE, "blocked by 'f'");
}

static void dockers_and_buildkits_files_fill_the_same_table(void **state)
{
    static const char DAEMON[] = "{\"registry-mirrors\":[\"https://m.example/\"],"
                                 "\"insecure-registries\":[\"10.1.0.0/16\",\"lab:5000\"],"
                                 "\"log-driver\":\"x\"}";
    static const char BUILDKITD[] =
        "[worker.oci]\nenabled = true\n[registry.\"quay.io\"]\nmirrors = "
        "['q.example']\n[registry.\"q.example\"]\nhttp = true\n";
    scoped(arena) Arena a = {0};
    scoped(conf) Conf c = {.n = 0};
    Err e = ERR_INIT;

    (void)state;
    OK(conf_read_daemon(&c, "daemon.json", DAEMON, sizeof DAEMON - 1, &e));
    OK(conf_read_buildkitd(&c, "buildkitd.toml", BUILDKITD, sizeof BUILDKITD - 1, &e));
    assert_string_equal(ends(&a, &c, "alpine", false),
                        "m.example/library/alpine+ registry-1.docker.io/library/alpine");
    assert_string_equal(ends(&a, &c, "10.1.2.3:5000/x", false), "10.1.2.3:5000/x!");
    assert_string_equal(ends(&a, &c, "10.2.2.3:5000/x", false), "10.2.2.3:5000/x");
    assert_string_equal(ends(&a, &c, "lab:5000/x", false), "lab:5000/x!");
    assert_string_equal(ends(&a, &c, "quay.io/x", false), "q.example/x+!http quay.io/x");
    FAILS(conf_read_daemon(&c, "d", "{\"registry-mirrors\":\"x\"}", 24, &e), ERR_USAGE, "no list");
}

/* ---- platforms ---- */

static const char *picked(Arena *a, const char *want, const char *const *have)
{
    ImageIndex x = {.manifests = NEW_N(a, Descriptor, 16)};
    Platform p;
    Err e = ERR_INIT;
    size_t i;
    for (; have[x.nmanifest]; x.nmanifest++) {
        Descriptor *d = &x.manifests[x.nmanifest];
        Platform is;
        if (!*have[x.nmanifest])
            continue;
        OK(image_platform_parse(a, have[x.nmanifest], &is, &e));
        *d = (Descriptor){.os = is.os, .architecture = is.architecture, .variant = is.variant};
        d->attestation = !strcmp(is.os, "unknown");
    }
    OK(image_platform_parse(a, want, &p, &e));
    return image_platform_pick(&x, &p, &i) ? have[i] : "none";
}

static void the_nearest_platform_is_picked(void **state)
{
    static const char *const MANY[] = {
        "linux/arm/v5",   "linux/arm/v6", "linux/arm/v7",  "linux/arm64/v8",  "linux/amd64",
        "linux/amd64/v3", "linux/386",    "windows/amd64", "unknown/unknown", NULL};
    static const char *const FEW[] = {"linux/386", "linux/arm/v6", NULL};
    static const char *const SILENT[] = {"", "linux/s390x", NULL};
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    Platform p;

    (void)state;
    assert_string_equal(picked(&a, "linux/amd64", MANY), "linux/amd64");
    assert_string_equal(picked(&a, "linux/amd64/v2", MANY), "linux/amd64");
    assert_string_equal(picked(&a, "linux/amd64/v4", MANY), "linux/amd64/v3");
    assert_string_equal(picked(&a, "linux/x86_64", MANY), "linux/amd64");
    assert_string_equal(picked(&a, "linux/arm64", MANY), "linux/arm64/v8");
    assert_string_equal(picked(&a, "linux/arm", MANY), "linux/arm/v7");
    assert_string_equal(picked(&a, "linux/arm/v6", MANY), "linux/arm/v6");
    assert_string_equal(picked(&a, "linux/arm/v8", MANY), "linux/arm/v7");
    assert_string_equal(picked(&a, "windows/amd64", MANY), "windows/amd64");
    assert_string_equal(picked(&a, "linux/riscv64", MANY), "none");
    assert_string_equal(picked(&a, "linux/amd64", FEW), "linux/386");
    assert_string_equal(picked(&a, "linux/arm64", FEW), "linux/arm/v6");
    assert_string_equal(picked(&a, "linux/amd64", SILENT), "");
    assert_string_equal(picked(&a, "linux/s390x", SILENT), "linux/s390x");
    FAILS(image_platform_parse(&a, "linux", &p, &e), ERR_USAGE, "OS/ARCHITECTURE");
    FAILS(image_platform_parse(&a, "linux//amd64", &p, &e), ERR_USAGE, "OS/ARCHITECTURE");
    FAILS(image_platform_parse(&a, "linux/a/b/c", &p, &e), ERR_USAGE, "OS/ARCHITECTURE");
    FAILS(image_platform_parse(&a, "linux/a b", &p, &e), ERR_USAGE, "OS/ARCHITECTURE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(toml_is_read_as_its_specification_has_it),
        cmocka_unit_test(toml_that_is_wrong_is_told_with_its_line),
        cmocka_unit_test(toml_that_is_nested_without_end_is_refused),
        cmocka_unit_test(a_challenge_is_read_as_servers_write_it),
        cmocka_unit_test(a_token_is_read_with_its_time),
        cmocka_unit_test(base64_goes_there_and_back),
        cmocka_unit_test(keys_of_credentials_are_hosts_urls_and_for_podman_repositories),
        cmocka_unit_test(what_is_stored_is_found_and_nobody_else_can_read_it),
        cmocka_unit_test(a_reference_has_its_servers_in_order),
        cmocka_unit_test(dockers_and_buildkits_files_fill_the_same_table),
        cmocka_unit_test(the_nearest_platform_is_picked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
