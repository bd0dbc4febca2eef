/*
 * image/: configs, manifests and indexes, from hostile text to canonical text.
 */
#include "testing.h"

#include <sys/utsname.h>

#include "image/image.h"

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define D3 "sha256:3333333333333333333333333333333333333333333333333333333333333333"

static bool config(Arena *a, const char *text, ImageConfig *ret, Err *e)
{
    return image_config_parse(a, text, strlen(text), ret, e);
}

/* A config with every member that docker and OCI know and lighter keeps, in canonical form. */
static const char FULL[] =
    "{\"architecture\":\"arm64\",\"author\":\"me\",\"config\":{\"ArgsEscaped\":true,"
    "\"Cmd\":[\"-c\",\"\"],\"Entrypoint\":[\"/bin/sh\"],\"Env\":[\"PATH=/bin\",\"A=\"],"
    "\"ExposedPorts\":{\"443/tcp\":{},\"80/tcp\":{}},"
    "\"Healthcheck\":{\"Interval\":30000000000,\"Test\":[\"CMD\",\"x\"]},"
    "\"Labels\":{\"a.b\":\"c=d\",\"z\":\"\"},\"OnBuild\":[\"RUN x\"],\"Shell\":[\"/bin/bash\"],"
    "\"StopSignal\":\"SIGTERM\",\"User\":\"u:g\",\"Volumes\":{\"/data\":{}},"
    "\"WorkingDir\":\"/w\"},\"created\":\"2020-01-02T03:04:05.678Z\","
    "\"history\":[{\"author\":\"me\",\"comment\":\"c\",\"created\":\"2020-01-02T03:04:05Z\","
    "\"created_by\":\"RUN <é>\",\"empty_layer\":true},{}],\"os\":\"linux\",\"os.version\":\"1.2\","
    "\"rootfs\":{\"diff_ids\":[\"" D1 "\",\"" D2 "\"],\"type\":\"layers\"},\"variant\":\"v8\"}";

static void a_config_reads_and_writes_to_the_same_bytes(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf out = BUF_INIT;
    ImageConfig c;
    Err e = ERR_INIT;

    (void)state;
    OK(config(&a, FULL, &c, &e));
    image_config_text(&c, &out);
    assert_string_equal(out.ptr, FULL);
    assert_int_equal(c.ndiff, 2);
    assert_int_equal(c.nhistory, 2);
    assert_true(c.history[0].empty_layer);
    assert_false(c.history[1].empty_layer);
    assert_string_equal(c.labels[0].name, "a.b");
    assert_string_equal(c.labels[0].value, "c=d");
    assert_string_equal(c.exposed_ports.v[0], "443/tcp");
}

static void members_nobody_reads_are_dropped(void **state)
{
    static const char TEXT[] =
        "{\"id\":\"x\",\"container\":\"y\",\"docker_version\":\"20\",\"Parent\":\"p\","
        "\"config\":{\"Hostname\":\"h\",\"Domainname\":\"\",\"AttachStdin\":false,\"Image\":\"i\","
        "\"Env\":null,\"Cmd\":null,\"Volumes\":null,\"Labels\":null,\"Tty\":true},"
        "\"container_config\":{\"Cmd\":[\"x\"]},\"rootfs\":{\"type\":\"layers\"},\"history\":null,"
        "\"os\":\"linux\",\"architecture\":\"amd64\",\"created\":\"\"}";
    scoped(arena) Arena a = {0};
    scoped(buf) Buf out = BUF_INIT;
    ImageConfig c;
    Err e = ERR_INIT;

    (void)state;
    OK(config(&a, TEXT, &c, &e));
    image_config_text(&c, &out);
    assert_string_equal(out.ptr, "{\"architecture\":\"amd64\",\"config\":{},\"history\":[],"
                                 "\"os\":\"linux\",\"rootfs\":{\"diff_ids\":[],"
                                 "\"type\":\"layers\"}}");
}

static void members_of_a_wrong_type_do_no_harm(void **state)
{
    static const char *const ODD[] = {
        "{\"os\":\"linux\",\"architecture\":\"a\",\"config\":[]}",
        "{\"os\":\"linux\",\"architecture\":\"a\",\"config\":{\"Env\":{\"a\":1},\"Cmd\":\"x\","
        "\"Labels\":[1],\"ExposedPorts\":[\"80\"],\"Volumes\":7,\"User\":5,\"Healthcheck\":[]}}",
        "{\"os\":\"linux\",\"architecture\":\"a\",\"config\":{\"Env\":[1,null,\"A\",\"=\",\"\"],"
        "\"Labels\":{\"\":\"x\",\"a=b\":\"y\",\"n\":1}}}",
        "{\"os\":\"linux\",\"architecture\":\"a\",\"history\":[1,null,\"x\",{\"created\":5}]}",
        "{\"os\":\"linux\",\"architecture\":\"a\",\"history\":{\"a\":1},\"rootfs\":5}",
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(ODD); i++) {
        scoped(buf) Buf out = BUF_INIT, again = BUF_INIT;
        ImageConfig c;
        Err e = ERR_INIT;
        OK(config(&a, ODD[i], &c, &e));
        image_config_text(&c, &out);
        OK(config(&a, out.ptr, &c, &e));
        image_config_text(&c, &again);
        assert_string_equal(again.ptr, out.ptr);
    }
}

/* A label's name may hold '=': it must come out as it went in. */
static void a_label_keeps_a_name_with_an_equals_sign(void **state)
{
    static const char TEXT[] = "{\"os\":\"linux\",\"architecture\":\"a\",\"config\":{\"Labels\":"
                               "{\"a=b\":\"c\"}}}";
    scoped(arena) Arena a = {0};
    scoped(buf) Buf out = BUF_INIT;
    ImageConfig c;
    Err e = ERR_INIT;

    (void)state;
    OK(config(&a, TEXT, &c, &e));
    image_config_text(&c, &out);
    assert_non_null(strstr(out.ptr, "\"Labels\":{\"a=b\":\"c\"}"));
}

static void a_config_that_cannot_be_run_is_refused(void **state)
{
    static const struct {
        const char *text, *part;
    } BAD[] = {
        {"", "image config"},
        {"[]", "object"},
        {"{\"os\":\"linux\"}", "architecture"},
        {"{\"architecture\":\"amd64\",\"os\":\"\"}", "os"},
        {"{\"os\":\"l\",\"architecture\":\"a\",\"rootfs\":{\"diff_ids\":[\"x\"]}}", "diff_ids[0]"},
        {"{\"os\":\"l\",\"architecture\":\"a\",\"rootfs\":{\"diff_ids\":[\"" D1 "\",5]}}",
         "diff_ids[1]"},
        {"{\"os\":\"l\",\"os\":\"m\",\"architecture\":\"a\"}", "duplicate"},
    };
    scoped(arena) Arena a = {0};
    scoped(buf) Buf many = BUF_INIT;
    ImageConfig c;
    Err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < NELEM(BAD); i++)
        FAILS(config(&a, BAD[i].text, &c, &e), ERR_STORE, BAD[i].part);
    buf_puts(&many, "{\"os\":\"l\",\"architecture\":\"a\",\"rootfs\":{\"diff_ids\":[");
    for (int i = 0; i <= IMAGE_MAX_LAYERS; i++)
        buf_printf(&many, "%s\"" D1 "\"", i ? "," : "");
    buf_puts(&many, "]}}");
    FAILS(config(&a, many.ptr, &c, &e), ERR_STORE, "limit");
}

static void a_value_that_is_not_utf8_is_still_written(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf out = BUF_INIT;
    ImageConfig c = image_config_empty(&a);
    Err e = ERR_INIT;

    (void)state;
    env_set(&a, &c.env, "A", "\xFF");
    image_label_set(&a, &c, "k\xFE", "v");
    image_set_add(&a, &c.volumes, "/v\xFF");
    image_config_text(&c, &out);
    assert_non_null(strstr(out.ptr, "\"A=\uFFFD\""));
    assert_non_null(strstr(out.ptr, "\"k\uFFFD\":\"v\""));
    assert_non_null(strstr(out.ptr, "\"/v\uFFFD\":{}"));
    OK(config(&a, out.ptr, &c, &e));
}

static void a_clone_changes_without_its_original(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf out = BUF_INIT;
    ImageConfig c;
    Err e = ERR_INIT;

    (void)state;
    OK(config(&a, FULL, &c, &e));
    ImageConfig n = image_config_clone(&a, &c);
    env_set(&a, &n.env, "PATH", "/changed");
    image_label_set(&a, &n, "z", "changed");
    image_set_add(&a, &n.exposed_ports, "1/tcp");
    image_config_add_history(&a, &n, &(ImageHistory){.created_by = "new"});
    n.history[0].comment = "changed";
    image_config_text(&c, &out);
    assert_string_equal(out.ptr, FULL);
    assert_int_equal(n.nhistory, 3);
}

static void a_set_is_sorted_and_holds_each_string_once(void **state)
{
    scoped(arena) Arena a = {0};
    StrList set = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        image_set_add(&a, &set, arena_printf(&a, "%d", i * 7 % 50));
    assert_int_equal(set.n, 50);
    for (size_t i = 1; i < set.n; i++)
        assert_true(strcmp(set.v[i - 1], set.v[i]) < 0);
}

/* Expected: OCI config.md: ChainID(L0|...|Ln) = Digest(ChainID(L0|...|Ln-1) + " " + DiffID(Ln)). */
static void the_chain_id_is_the_formula_of_the_specification(void **state)
{
    scoped(arena) Arena a = {0};
    Digest d[3], chain;
    char text[DIGEST_TEXT_SIZE];

    (void)state;
    assert_true(digest_parse(D1, &d[0]) && digest_parse(D2, &d[1]) && digest_parse(D3, &d[2]));
    image_chain_id(d, 0, &chain);
    assert_true(digest_is_zero(&chain));
    image_chain_id(d, 1, &chain);
    assert_true(digest_eq(&chain, &d[0]));

    const char *want = D1;
    for (size_t n = 2; n <= 3; n++) {
        Digest one;
        const char *both = arena_printf(&a, "%s %s", want, n == 2 ? D2 : D3);
        digest_of(both, strlen(both), &one);
        digest_text(&one, text);
        want = arena_strdup(&a, text);
        image_chain_id(d, n, &chain);
        digest_text(&chain, text);
        assert_string_equal(text, want);
    }
    /* Python: sha256(b"sha256:11... sha256:22...") */
    image_chain_id(d, 2, &chain);
    digest_text(&chain, text);
    assert_string_equal(text,
                        "sha256:9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5");
}

static void a_manifest_reads_and_writes_to_the_same_bytes(void **state)
{
    static const char TEXT[] =
        "{\"config\":{\"digest\":\"" D1 "\",\"mediaType\":\"" MT_OCI_CONFIG "\",\"size\":7},"
        "\"layers\":[{\"digest\":\"" D2 "\",\"mediaType\":\"" MT_OCI_LAYER_GZIP
        "\",\"size\":9007199254740993}],\"mediaType\":\"" MT_OCI_MANIFEST "\",\"schemaVersion\":2}";
    scoped(arena) Arena a = {0};
    scoped(buf) Buf out = BUF_INIT;
    ImageManifest m;
    Err e = ERR_INIT;

    (void)state;
    OK(image_manifest_parse(&a, TEXT, strlen(TEXT), &m, &e));
    assert_int_equal(m.nlayer, 1);
    assert_true(m.layers[0].size == 9007199254740993u);
    image_manifest_text(&m, &out);
    assert_string_equal(out.ptr, TEXT);
}

#define CONFIG "\"config\":{\"digest\":\"" D1 "\",\"size\":7}"

static void a_manifest_that_promises_nothing_is_refused(void **state)
{
    static const struct {
        const char *text, *part;
    } BAD[] = {
        {"{}", "layers"},
        {"[]", "image manifest"},
        {"{\"schemaVersion\":1,\"fsLayers\":[]}", "schema 1"},
        {"{\"layers\":[]}", "digest"},
        {"{\"layers\":{}," CONFIG "}", "layers"},
        {"{\"layers\":[5]," CONFIG "}", "digest"},
        {"{\"layers\":[{\"digest\":\"sha512:1\",\"size\":1}]," CONFIG "}", "digest"},
        {"{\"layers\":[{\"digest\":\"" D1 "\"}]," CONFIG "}", "size"},
        {"{\"layers\":[{\"digest\":\"" D1 "\",\"size\":-1}]," CONFIG "}", "size"},
        {"{\"layers\":[{\"digest\":\"" D1 "\",\"size\":1.5}]," CONFIG "}", "size"},
        {"{\"layers\":[{\"digest\":\"" D1 "\",\"size\":1e99}]," CONFIG "}", "size"},
        {"{\"layers\":[{\"digest\":\"" D1 "\",\"size\":99999999999999999999}]," CONFIG "}", "JSON"},
        {"{\"layers\":[{\"digest\":\"" D1 "\",\"size\":\"1\"}]," CONFIG "}", "size"},
    };
    scoped(arena) Arena a = {0};
    scoped(buf) Buf many = BUF_INIT;
    ImageManifest m;
    Err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < NELEM(BAD); i++)
        FAILS(image_manifest_parse(&a, BAD[i].text, strlen(BAD[i].text), &m, &e), ERR_STORE,
              BAD[i].part);
    buf_puts(&many, "{" CONFIG ",\"layers\":[");
    for (int i = 0; i <= IMAGE_MAX_LAYERS; i++)
        buf_printf(&many, "%s{\"digest\":\"" D1 "\",\"size\":1}", i ? "," : "");
    buf_puts(&many, "]}");
    FAILS(image_manifest_parse(&a, many.ptr, many.len, &m, &e), ERR_STORE, "limit");
}

static void an_index_tells_names_platforms_and_attestations(void **state)
{
    static const char TEXT[] =
        "{\"manifests\":[{\"mediaType\":\"m\",\"digest\":\"" D1 "\",\"size\":1,\"platform\":"
        "{\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v7\"},"
        "\"annotations\":{\"org.opencontainers.image.ref.name\":\"a:1\",\"x\":1}},"
        "{\"digest\":\"" D2 "\",\"size\":2,\"annotations\":{\"vnd.docker.reference.type\":"
        "\"attestation-manifest\"},\"platform\":{\"architecture\":\"unknown\",\"os\":\"unknown\"}}]"
        "}";
    scoped(arena) Arena a = {0};
    scoped(buf) Buf out = BUF_INIT;
    ImageIndex x;
    Err e = ERR_INIT;

    (void)state;
    OK(image_index_parse(&a, TEXT, strlen(TEXT), &x, &e));
    assert_int_equal(x.nmanifest, 2);
    assert_string_equal(x.manifests[0].ref_name, "a:1");
    assert_string_equal(x.manifests[0].architecture, "arm");
    assert_string_equal(x.manifests[0].variant, "v7");
    assert_false(x.manifests[0].attestation);
    assert_true(x.manifests[1].attestation);
    assert_null(x.manifests[1].ref_name);
    x.nmanifest = 1;
    image_index_text(&x, &out);
    assert_string_equal(
        out.ptr, "{\"manifests\":[{\"annotations\":{\"org.opencontainers.image.ref.name\":\"a:1\"},"
                 "\"digest\":\"" D1 "\",\"mediaType\":\"m\",\"platform\":{\"architecture\":\"arm\","
                 "\"os\":\"linux\",\"variant\":\"v7\"},\"size\":1}],\"mediaType\":\"" MT_OCI_INDEX
                 "\",\"schemaVersion\":2}");
}

static void an_index_without_a_list_or_over_the_limit_is_refused(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf many = BUF_INIT;
    ImageIndex x;
    Err e = ERR_INIT;

    (void)state;
    FAILS(image_index_parse(&a, "{}", 2, &x, &e), ERR_STORE, "manifests");
    FAILS(image_index_parse(&a, "{\"manifests\":[{}]}", 18, &x, &e), ERR_STORE, "digest");
    buf_puts(&many, "{\"manifests\":[");
    for (int i = 0; i < 5000; i++)
        buf_printf(&many, "%s{\"digest\":\"" D1 "\",\"size\":1}", i ? "," : "");
    buf_puts(&many, "]}");
    FAILS(image_index_parse(&a, many.ptr, many.len, &x, &e), ERR_STORE, "limit");
}

static void media_types_say_what_a_blob_is(void **state)
{
    Compression c = COMP_NONE;

    (void)state;
    assert_true(image_is_index(MT_OCI_INDEX) && image_is_index(MT_DOCKER_LIST));
    assert_true(image_is_manifest(MT_OCI_MANIFEST) && image_is_manifest(MT_DOCKER_MANIFEST));
    assert_false(image_is_index(MT_OCI_MANIFEST) || image_is_index(NULL) || image_is_manifest(""));
    assert_true(image_layer_compression(MT_OCI_LAYER_ZSTD, &c));
    assert_int_equal(c, COMP_ZSTD);
    assert_true(image_layer_compression(MT_DOCKER_LAYER_GZIP, &c));
    assert_int_equal(c, COMP_GZIP);
    assert_true(image_layer_compression(MT_DOCKER_LAYER, &c));
    assert_int_equal(c, COMP_NONE);
    assert_false(image_layer_compression("application/vnd.oci.image.layer.v1.tar+xz", &c));
    assert_false(image_layer_compression(MT_OCI_CONFIG, &c));
    assert_false(image_layer_compression(NULL, &c));
}

static void scratch_has_this_machine_s_platform_and_a_path(void **state)
{
    scoped(arena) Arena a = {0};
    struct utsname u;
    ImageConfig c = image_config_empty(&a);

    (void)state;
    assert_int_equal(uname(&u), 0);
    if (!strcmp(u.machine, "x86_64"))
        assert_string_equal(c.architecture, "amd64");
    if (!strcmp(u.machine, "aarch64"))
        assert_string_equal(c.architecture, "arm64");
    assert_string_equal(c.os, "linux");
    assert_non_null(env_get(&c.env, "PATH"));
}

static void times_are_written_as_rfc_3339_in_utc(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    setenv("TZ", "Asia/Tokyo", 1);
    assert_string_equal(image_time(&a, 0), "1970-01-01T00:00:00Z");
    assert_string_equal(image_time(&a, 1485449953), "2017-01-26T16:59:13Z");
    assert_string_equal(image_time(&a, -1), "1969-12-31T23:59:59Z");
    assert_string_equal(image_time(&a, 253402300799), "9999-12-31T23:59:59Z");
    assert_string_equal(image_time(&a, INT64_MAX), "1970-01-01T00:00:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_config_reads_and_writes_to_the_same_bytes),
        cmocka_unit_test(members_nobody_reads_are_dropped),
        cmocka_unit_test(members_of_a_wrong_type_do_no_harm),
        cmocka_unit_test(a_label_keeps_a_name_with_an_equals_sign),
        cmocka_unit_test(a_config_that_cannot_be_run_is_refused),
        cmocka_unit_test(a_value_that_is_not_utf8_is_still_written),
        cmocka_unit_test(a_clone_changes_without_its_original),
        cmocka_unit_test(a_set_is_sorted_and_holds_each_string_once),
        cmocka_unit_test(the_chain_id_is_the_formula_of_the_specification),
        cmocka_unit_test(a_manifest_reads_and_writes_to_the_same_bytes),
        cmocka_unit_test(a_manifest_that_promises_nothing_is_refused),
        cmocka_unit_test(an_index_tells_names_platforms_and_attestations),
        cmocka_unit_test(an_index_without_a_list_or_over_the_limit_is_refused),
        cmocka_unit_test(media_types_say_what_a_blob_is),
        cmocka_unit_test(scratch_has_this_machine_s_platform_and_a_path),
        cmocka_unit_test(times_are_written_as_rfc_3339_in_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
