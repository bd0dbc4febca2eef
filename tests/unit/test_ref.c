/*
 * image/ref: docker's names of images.
 */
#include <jansson.h>

#include "image/ref.h"
#include "testing.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* Expected: distribution/reference, run on the same texts. */
static const struct Form {
    const char *text, *full, *familiar, *tagged;
} FORMS[] = {
    {"ubuntu", "docker.io/library/ubuntu", "ubuntu", "docker.io/library/ubuntu:latest"},
    {"ubuntu:24.04", "docker.io/library/ubuntu:24.04", "ubuntu:24.04",
     "docker.io/library/ubuntu:24.04"},
    {"index.docker.io/me/app", "docker.io/me/app", "me/app", "docker.io/me/app:latest"},
    {"docker.io/library/a/b", "docker.io/library/a/b", "library/a/b",
     "docker.io/library/a/b:latest"},
    {"localhost/x", "localhost/x", "localhost/x", "localhost/x:latest"},
    {"localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1", "localhost:5000/x:1"},
    {"[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x:latest"},
    {"GHCR/x", "GHCR/x", "GHCR/x", "GHCR/x:latest"},
    {"a:5000", "docker.io/library/a:5000", "a:5000", "docker.io/library/a:5000"},
    {"a__b/c--d.e", "docker.io/a__b/c--d.e", "a__b/c--d.e", "docker.io/a__b/c--d.e:latest"},
    {"a@sha256:" HEX64, "docker.io/library/a@sha256:" HEX64, "a@sha256:" HEX64,
     "docker.io/library/a@sha256:" HEX64},
    {"q.io/a:1@sha256:" HEX64, "q.io/a:1@sha256:" HEX64, "q.io/a:1@sha256:" HEX64,
     "q.io/a:1@sha256:" HEX64},
    {"a@sha512:" HEX64 HEX64, "docker.io/library/a@sha512:" HEX64 HEX64, "a@sha512:" HEX64 HEX64,
     "docker.io/library/a@sha512:" HEX64 HEX64},
};

static void a_name_is_completed_shortened_and_tagged_as_docker_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < NELEM(FORMS); i++) {
        scoped(arena) Arena a = {0};
        Err e = ERR_INIT;
        ImageRef ref;
        assert_true(image_ref_parse(&a, FORMS[i].text, &ref, &e));
        assert_string_equal(image_ref_full(&a, &ref), FORMS[i].full);
        assert_string_equal(image_ref_familiar(&a, &ref), FORMS[i].familiar);
        assert_string_equal(image_ref_tagged(&a, &ref), FORMS[i].tagged);
    }
}

static void absent_tag_and_digest_are_null(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    ImageRef ref;

    (void)state;
    assert_true(image_ref_parse(&a, "ubuntu", &ref, &e));
    assert_null(ref.tag);
    assert_null(ref.digest);
    assert_true(image_ref_parse(&a, "q.io:80/b/c:t@sha256:" HEX64, &ref, &e));
    assert_string_equal(ref.domain, "q.io:80");
    assert_string_equal(ref.path, "b/c");
    assert_string_equal(ref.tag, "t");
    assert_string_equal(ref.digest, "sha256:" HEX64);
}

/* Expected: the errors of distribution/reference, except for the last (see ref.h). */
static const struct Refusal {
    const char *text, *why;
} REFUSALS[] = {
    {"", "invalid reference format"},
    {"/a", "invalid reference format"},
    {"a/", "invalid reference format"},
    {"a//b", "invalid reference format"},
    {"a:", "invalid reference format"},
    {"a:-x", "invalid reference format"},
    {"a:b:c", "invalid reference format"},
    {"a.-b/c", "invalid reference format"},
    {"a___b", "invalid reference format"},
    {"a..b", "invalid reference format"},
    {"q.io:/a", "invalid reference format"},
    {"[::1/a", "invalid reference format"},
    {"https://q.io/a", "invalid reference format"},
    {"a b", "invalid reference format"},
    {"a@sha256:abc", "invalid reference format"},
    {"a@sha256:" HEX64 "0", "invalid checksum digest length"},
    {"a@sha256:ABCDEF6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
     "invalid checksum digest format"},
    {"a@md5:0123456789abcdef0123456789abcdef", "unsupported digest algorithm"},
    {"Ubuntu:1", "repository name (library/Ubuntu) must be lowercase"},
    {"My_Org/app", "repository name must be lowercase"},
    {HEX64, "cannot specify 64-byte hexadecimal strings"},
    {"my_app.x/y", "invalid reference format"},
};

static void what_is_no_name_is_refused_in_dockers_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < NELEM(REFUSALS); i++) {
        scoped(arena) Arena a = {0};
        Err e = ERR_INIT;
        ImageRef ref;
        if (image_ref_parse(&a, REFUSALS[i].text, &ref, &e))
            fail_msg("'%s' was accepted", REFUSALS[i].text);
        assert_int_equal(e.kind, ERR_USAGE);
        if (!str_ends(e.msg, REFUSALS[i].why))
            fail_msg("'%s': %s", REFUSALS[i].text, e.msg);
    }
}

/* Expected: RepositoryNameTotalLengthMax is 255 and counts the path only; a tag has up to 128. */
static void lengths_end_at_255_for_the_path_and_128_for_the_tag(void **state)
{
    static const struct {
        int npath, ntag;
        bool ok;
    } CASES[] = {{255, 1, true}, {256, 1, false}, {1, 128, true}, {1, 129, false}};
    char chars[300];

    (void)state;
    memset(chars, 'a', sizeof chars);
    for (size_t i = 0; i < NELEM(CASES); i++) {
        scoped(arena) Arena a = {0};
        Err e = ERR_INIT;
        ImageRef ref;
        const char *text =
            arena_printf(&a, "q.io/%.*s:%.*s", CASES[i].npath, chars, CASES[i].ntag, chars);
        assert_int_equal(image_ref_parse(&a, text, &ref, &e), CASES[i].ok);
    }
}

static bool field_equals(json_t *o, const char *key, const char *got)
{
    const char *want = json_string_value(json_object_get(o, key));
    return !want || !strcmp(want, got);
}

/* Expected: containers/image's own tables; see the vectors' README. */
static void the_open_vectors_of_names_all_pass(void **state)
{
    const char *dir = getenv("LIGHTER_VECTORS");
    scoped(arena) Arena a = {0};
    FILE *f = dir ? fopen(arena_printf(&a, "%s/refs.jsonl", dir), "re") : NULL;
    size_t ncase = 0;

    (void)state;
    if (!f)
        SKIP("LIGHTER_VECTORS names no directory with refs.jsonl");
    for (json_t *o; (o = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(o), ncase++) {
        const char *name = json_string_value(json_object_get(o, "name"));
        Err e = ERR_INIT;
        ImageRef ref;
        bool ok = image_ref_parse(&a, name, &ref, &e);
        if (ok != !json_is_true(json_object_get(o, "error")) ||
            (ok && !(field_equals(o, "full", image_ref_full(&a, &ref)) &&
                     field_equals(o, "familiar", image_ref_familiar(&a, &ref)) &&
                     field_equals(o, "domain", ref.domain) && field_equals(o, "path", ref.path))))
            fail_msg("%s: '%s' %s", json_string_value(json_object_get(o, "id")), name, e.msg);
    }
    fclose(f);
    print_message("%zu vectors\n", ncase);
    assert_true(ncase > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_completed_shortened_and_tagged_as_docker_does),
        cmocka_unit_test(absent_tag_and_digest_are_null),
        cmocka_unit_test(what_is_no_name_is_refused_in_dockers_words),
        cmocka_unit_test(lengths_end_at_255_for_the_path_and_128_for_the_tag),
        cmocka_unit_test(the_open_vectors_of_names_all_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
