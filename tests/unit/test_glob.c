/*
 * base/glob: Go's filepath.Match, without its sources.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/glob.h"

typedef enum Answer { NO, YES, MALFORMED } Answer;

typedef struct Case {
    const char *pattern, *name;
    Answer answer;
} Case;

static Answer answer(const char *pattern, const char *name)
{
    bool match = false;
    if (!glob_match(pattern, name, &match))
        return MALFORMED;
    return match ? YES : NO;
}

static void check(const Case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (answer(cases[i].pattern, cases[i].name) != cases[i].answer)
            fail_msg("'%s' on '%s': not %d", cases[i].pattern, cases[i].name, cases[i].answer);
}

/* Expected: the comment of Go's filepath.Match, tried with Go 1.26. */
static void stars_and_question_marks_stay_inside_a_component(void **state)
{
    static const Case CASES[] = {
        {"*.go", "main.go", YES},
        {"*.go", "cmd/main.go", NO},
        {"*/*.go", "cmd/main.go", YES},
        {"a?c", "abc", YES},
        {"a?c", "a/c", NO},
        {"*", "", YES},
        {"*", "a/", NO},
        {"**", "a/b", NO},
        {"a*b*c", "a-b-b-c", YES},
        {"a*b*c", "a-b/-c", NO},
        {"", "", YES},
        {"", "a", NO},
        {"a", "", NO},
        {"go.*m", "go.sum", YES},
        {"*x", "xxx", YES},
        {"nomatch*", "foo", NO},
    };
    (void)state;
    check(CASES, sizeof CASES / sizeof *CASES);
}

/* Expected: as above. A class, unlike in a shell, may take the slash: Go looks at `?` only. */
static void classes_have_ranges_negation_and_escapes(void **state)
{
    static const Case CASES[] = {
        {"[a-c]x", "bx", YES},  {"[a-c]x", "dx", NO},
        {"[^a-c]x", "dx", YES}, {"[!a]", "!", YES},
        {"[!a]", "b", NO},      {"[\\]-a]", "^", YES},
        {"[\\-x]", "-", YES},   {"[c-a]", "b", NO},
        {"a[^b]c", "a/c", YES}, {"\\*", "*", YES},
        {"\\*", "a", NO},       {"\\a", "a", YES},
        {"]", "]", YES},        {"[[]x", "[x", YES},
        {"*[x]", "ax", YES},    {"[ab]*[cd]", "axxd", YES},
    };
    (void)state;
    check(CASES, sizeof CASES / sizeof *CASES);
}

/* Expected: Go's ErrBadPattern; Go reads no further than the first part that fails to match. */
static void a_malformed_part_is_an_error_once_it_is_reached(void **state)
{
    static const Case CASES[] = {
        {"[", "a", MALFORMED},      {"[]", "a", MALFORMED},   {"[]a]", "]", MALFORMED},
        {"[^]a]", "b", MALFORMED},  {"[a", "a", MALFORMED},   {"[a-", "a", MALFORMED},
        {"[-x]", "x", MALFORMED},   {"[x-]", "x", MALFORMED}, {"[a-b-c]", "a", MALFORMED},
        {"\\", "a", MALFORMED},     {"a\\", "b", MALFORMED},  {"[\\", "a", MALFORMED},
        {"a[", "x", MALFORMED},     {"a*[", "ab", MALFORMED}, {"a*[", "x", NO},
        {"[\xFF]", "a", MALFORMED},
    };
    (void)state;
    check(CASES, sizeof CASES / sizeof *CASES);
}

static void glob_valid_sees_a_mistake_wherever_it_is(void **state)
{
    (void)state;
    assert_true(glob_valid(""));
    assert_true(glob_valid("a*[b-d]\\[?"));
    assert_false(glob_valid("a*["));
    assert_false(glob_valid("a**b*c\\"));
    assert_false(glob_valid("*[]a]"));
}

/* Expected: Go decodes names as UTF-8, and each byte that is not counts as one rune. */
static void a_question_mark_takes_one_rune_and_a_stray_byte_counts_as_one(void **state)
{
    static const Case CASES[] = {
        {"a?b", "a☺b", YES},
        {"a???b", "a☺b", NO},
        {"[а-я]", "ж", YES},
        {"[^a]", "ü", YES},
        {"?", "\xC3", YES},
        {"??", "\xE2\x98", YES},
        {"?", "\xC0\x80", NO},
        {"?", "\xED\xA0\x80", NO},
        {"?", "\xF4\x8F\xBF\xBF", YES},
        {"?", "\xF4\x90\x80\x80", NO},
        {"\xFF*", "\xFF", YES},
    };
    (void)state;
    check(CASES, sizeof CASES / sizeof *CASES);
}

/* Backtracking over every star would need longer than the universe has. */
static void many_stars_cost_no_more_than_the_product_of_the_lengths(void **state)
{
    enum { NSTAR = 2000, NNAME = 4000 };
    char *pattern = calloc(1, 2 * NSTAR + 2), *name = calloc(1, NNAME + 1);

    (void)state;
    for (size_t i = 0; i < NSTAR; i++)
        memcpy(pattern + 2 * i, "*a", 2);
    pattern[(size_t)2 * NSTAR] = 'b';
    memset(name, 'a', NNAME);
    assert_int_equal(answer(pattern, name), NO);
    free(pattern);
    free(name);
}

/* Expected: filepath's hasMeta on Unix. */
static void only_star_question_mark_bracket_and_backslash_are_special(void **state)
{
    (void)state;
    assert_true(glob_has_meta("a*"));
    assert_true(glob_has_meta("?"));
    assert_true(glob_has_meta("a[b"));
    assert_true(glob_has_meta("a\\b"));
    assert_false(glob_has_meta("a]b{c}^|!"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stars_and_question_marks_stay_inside_a_component),
        cmocka_unit_test(classes_have_ranges_negation_and_escapes),
        cmocka_unit_test(a_malformed_part_is_an_error_once_it_is_reached),
        cmocka_unit_test(glob_valid_sees_a_mistake_wherever_it_is),
        cmocka_unit_test(a_question_mark_takes_one_rune_and_a_stray_byte_counts_as_one),
        cmocka_unit_test(many_stars_cost_no_more_than_the_product_of_the_lengths),
        cmocka_unit_test(only_star_question_mark_bracket_and_backslash_are_special),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
