/*
 * dockerfile/: lines, instructions, places, and the words of the language.
 */
#include "testing.h"

#include "base/json.h"
#include "dockerfile/dockerfile.h"

static void parse_bytes(Arena *a, const char *text, size_t len, DfFile *f)
{
    Err e = ERR_INIT;
    if (!df_parse(a, "Dockerfile", (Str){text, len}, 0, f, &e))
        fail_msg("%s\n%s", text, e.msg);
}

static DfFile parse(Arena *a, const char *text)
{
    DfFile f = {0};
    parse_bytes(a, text, strlen(text), &f);
    return f;
}

/* The second instruction of "FROM a" and this text. */
static const DfInstr *second(Arena *a, const char *text, DfFile *f)
{
    *f = parse(a, arena_printf(a, "FROM a\n%s", text));
    if (f->ninstr < 2)
        fail_msg("'%s': one instruction only", text);
    return &f->instrs[1];
}

static const char *refusal(Arena *a, const char *text)
{
    DfFile f;
    Err e = ERR_INIT;
    if (df_parse(a, "Dockerfile", str_c(text), 0, &f, &e))
        fail_msg("'%s' was accepted", text);
    if (e.kind != ERR_DOCKERFILE)
        fail_msg("'%s': kind %d", text, (int)e.kind);
    return arena_strdup(a, e.msg);
}

typedef struct Refusal {
    const char *text, *at, *part;
} Refusal;

static void check_refusals(const Refusal *rows, size_t n)
{
    scoped(arena) Arena a = {0};
    for (size_t i = 0; i < n; i++) {
        const char *msg = refusal(&a, rows[i].text);
        if (!str_starts(msg, arena_printf(&a, "Dockerfile:%s: ", rows[i].at)) ||
            !strstr(msg, rows[i].part))
            fail_msg("'%s': '%s', wanted %s and '%s'", rows[i].text, msg, rows[i].at, rows[i].part);
    }
}

/* ---- lines ---- */

/* Expected: features.md F2, tried with BuildKit's parser. */
static void a_continued_line_is_joined_as_it_stands(void **state)
{
    static const struct {
        const char *text, *line;
    } CASES[] = {
        {"RUN a \\\n  b", "RUN a   b"},
        {"RUN a\\\nb", "RUN ab"},
        {"RUN a \\ \t\n b", "RUN a  b"},
        {"RUN a \\\n# c\n  # d\n b", "RUN a  b"},
        {"RUN a \\\n\n\n b", "RUN a  b"},
        {"RUN a \\\r\n b\r\n", "RUN a  b"},
        {"RUN \\\n\\\n a", "RUN  a"},
        {"RUN a\\\\\nRUN b", "RUN a\\\\"},
        {"  \t RUN a", "RUN a"},
        {"R\\\nUN a", "RUN a"},
        {"RUN a \\", "RUN a"},
        {"RUN a \\\n", "RUN a"},
        {"RUN a # no comment", "RUN a # no comment"},
        {"RUN a \\\n b # no comment \\\n c", "RUN a  b # no comment  c"},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        DfFile f;
        assert_string_equal(second(&a, CASES[i].text, &f)->text, CASES[i].line);
    }
}

static void a_blank_line_in_a_continuation_warns_and_a_comment_does_not(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    DfFile f = parse(&a, "FROM a\nRUN b \\\n# c\n  d\n");
    assert_int_equal(f.warnings.n, 0);
    f = parse(&a, "FROM a\nRUN b \\\n\n  # c\n \t\n  d\n");
    assert_int_equal(f.warnings.n, 1);
    assert_non_null(strstr(f.warnings.v[0], "Dockerfile:6: ")); /* where the instruction ends */
    assert_non_null(strstr(f.warnings.v[0], "NoEmptyContinuation"));
}

static void blank_lines_comments_and_the_byte_order_mark_are_nothing(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    DfFile f = parse(&a, "\xEF\xBB\xBF# c\r\n\r\n\t \n from A\r\n#x\r\n\\\n\ncmd  b  \r\n");
    assert_int_equal(f.ninstr, 2);
    assert_string_equal(f.instrs[0].name, "FROM");
    assert_string_equal(f.instrs[0].u.from.image.text, "A");
    assert_int_equal(f.instrs[0].src.line, 4);
    assert_int_equal(f.instrs[0].src.col, 2);
    assert_string_equal(f.instrs[1].text, "cmd  b");
}

static void a_file_without_instructions_or_stages_is_refused(void **state)
{
    static const char *const NOTHING[] = {"\n", "# c\n", "# escape=`\n", " \t\r\n"};
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(NOTHING); i++)
        assert_non_null(strstr(refusal(&a, NOTHING[i]), "no instructions"));
    assert_non_null(strstr(refusal(&a, ""), "cannot be empty"));
    assert_non_null(strstr(refusal(&a, "ARG a\nRUN b\n"), "Dockerfile:2:1: no build stage"));
}

static void a_nul_byte_and_an_endless_file_are_refused(void **state)
{
    scoped(arena) Arena a = {0};
    DfFile f;
    Err e = ERR_INIT;
    char *big = arena_alloc(&a, DF_MAX_SIZE + 2);

    (void)state;
    FAILS(df_parse(&a, "D", (Str){"FROM a\0b", 8}, 0, &f, &e), ERR_DOCKERFILE, "NUL");
    memset(big, 'x', DF_MAX_SIZE + 1);
    memcpy(big, "FROM ", 5);
    FAILS(df_parse(&a, "D", str_c(big), 0, &f, &e), ERR_DOCKERFILE, "limit");
    big[DF_MAX_SIZE] = 0;
    OK(df_parse(&a, "D", str_c(big), 0, &f, &e));
}

/* Many lines and long ones must not cost their product. */
/* Its size makes anything that is not linear outlast the suite's limit. */
static void a_large_file_is_read_in_linear_time(void **state)
{
    enum { N = 120000 };
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;

    (void)state;
    buf_puts(&b, "FROM a\nRUN x");
    for (int i = 0; i < N; i++)
        buf_puts(&b, " \\\n && echo");
    buf_puts(&b, "\nENV");
    for (int i = 0; i < N; i++)
        buf_printf(&b, " A%d=%d", i, i);
    buf_putc(&b, '\n');
    for (int i = 0; i < N; i++)
        buf_puts(&b, "USER x\n");
    DfFile f = parse(&a, b.ptr);
    assert_int_equal(f.ninstr, N + 3);
    assert_int_equal(f.instrs[2].u.pairs.n, N);
}

/* ---- directives ---- */

/* Expected: features.md F3. */
static void the_escape_directive_counts_only_in_front_of_all_else(void **state)
{
    static const struct {
        const char *text;
        char escape;
    } CASES[] = {
        {"# escape=`\nFROM a", '`'},
        {"#\tEsCaPe \t=\t ` \r\nFROM a", '`'},
        {"# syntax=docker/dockerfile:1\n# escape=`\nFROM a", '`'},
        {"\xEF\xBB\xBF# escape=`\nFROM a", '`'},
        {"# escape=\\\nFROM a", '\\'},
        {"# comment\n# escape=`\nFROM a", '\\'},
        {"\n# escape=`\nFROM a", '\\'},
        {"# unknown=x\n# escape=`\nFROM a", '\\'},
        {"FROM a\n# escape=`\n", '\\'},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        DfFile f = parse(&a, CASES[i].text);
        if (f.escape != CASES[i].escape)
            fail_msg("'%s': escape is '%c'", CASES[i].text, f.escape);
    }
    DfFile f = parse(&a, "# escape=`\nFROM a\nRUN c:\\x\\ `\n  y\nENV A=b` c\n");
    assert_string_equal(f.instrs[1].text, "RUN c:\\x\\   y");
    assert_int_equal(f.instrs[2].u.pairs.n, 1);
}

static void a_directive_that_is_wrong_or_foreign_is_refused_with_its_line(void **state)
{
    static const Refusal ROWS[] = {
        {"# escape=x\nFROM a", "1:1", "escape"},
        {"# escape=``\nFROM a", "1:1", "escape"},
        {"# escape=`\n# escape=`\nFROM a", "2:1", "only one escape"},
        {"# check=skip=all\n# syntax=foo/bar\nFROM a", "2:1", "foo/bar"},
        {"# syntax=docker/dockerfile-evil:1\nFROM a", "1:1", "docker/dockerfile-evil"},
    };
    (void)state;
    check_refusals(ROWS, NELEM(ROWS));
}

/* ---- what is refused ---- */

static void an_unknown_instruction_is_named_with_its_neighbour(void **state)
{
    static const Refusal ROWS[] = {
        {"FORM alpine", "1:1", "unknown instruction: FORM (did you mean FROM?)"},
        {"FROM a\n\n  copi x y", "3:3", "unknown instruction: copi (did you mean copy?)"},
        {"FROM a\nENTRYPOIN x", "2:1", "(did you mean ENTRYPOINT?)"},
        {"FROM a\nXYZZY", "2:1", "unknown instruction: XYZZY"},
        {"FROM a\n\"RUN\" x", "2:1", "unknown instruction: \"RUN\""},
        {"FROM a\nRUNx", "2:1", "did you mean RUN?"},
        {"FROM a\nCMDS=1 \\\n b", "2:1", "unknown instruction"},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    check_refusals(ROWS, NELEM(ROWS));
    assert_null(strstr(refusal(&a, "FROM a\nXYZZYXYZZY"), "did you mean"));
}

/* Of the language only --device is not carried out. */
static void what_is_not_carried_out_is_refused_by_name_and_place(void **state)
{
    static const Refusal ROWS[] = {
        {"FROM a\nRUN --device=x b", "2:5", "RUN --device: not supported"},
        {"FROM a\nRUN --network=none \\\n  --device=x b", "3:3", "RUN --device"},
    };
    (void)state;
    check_refusals(ROWS, NELEM(ROWS));
}

static void flags_are_checked_by_instruction(void **state)
{
    static const Refusal ROWS[] = {
        {"FROM a\nCOPY --form=x b c", "2:6", "unknown flag: --form (did you mean from?)"},
        {"FROM --from=x a", "1:6", "unknown flag: --from"},
        {"FROM a\nRUN --from=x b", "2:5", "unknown flag: --from"},
        {"FROM a\nCMD --x=y b", "2:5", "unknown flag: --x"},
        {"FROM a\nCOPY --from b c", "2:6", "missing a value on flag: --from"},
        {"FROM a\nCOPY --from=x --from=y b c", "2:15", "duplicate flag specified: --from"},
        {"FROM a\nCOPY --=x b c", "2:6", "unknown flag: --"},
        {"FROM a\nMAINTAINER --boo joe", "2:12", "unknown flag: --boo"},
    };
    scoped(arena) Arena a = {0};
    DfFile f;

    (void)state;
    check_refusals(ROWS, NELEM(ROWS));
    const DfInstr *in = second(&a, "COPY --from=x [\"b c\", \"d\"]", &f);
    assert_string_equal(in->u.copy.from, "x");
    assert_string_equal(in->u.copy.sources[0].text, "b c");
    in = second(&a, "RUN -- x", &f);
    assert_string_equal(in->u.command.argv.v[0], "x");
    in = second(&a, "RUN echo --mount=x", &f);
    assert_string_equal(in->u.command.argv.v[0], "echo --mount=x");
}

static void instructions_without_their_arguments_are_refused(void **state)
{
    static const Refusal ROWS[] = {
        {"FROM", "1:1", "FROM requires"},
        {"FROM a as", "1:1", "FROM requires"},
        {"FROM a b c", "1:1", "FROM requires"},
        {"FROM a as b c", "1:1", "FROM requires"},
        {"FROM a as 1b", "1:11", "invalid name for build stage: \"1b\""},
        {"FROM a as b/c", "1:11", "invalid name for build stage: \"b/c\""},
        {"FROM a as .b", "1:11", "invalid name for build stage: \".b\""},
        {"FROM a\nCOPY b", "2:1", "COPY requires"},
        {"FROM a\nCOPY [\"b\"]", "2:1", "COPY requires"},
        {"FROM a\nENV", "2:1", "ENV requires"},
        {"FROM a\nENV A", "2:5", "ENV must have two arguments"},
        {"FROM a\nENV A=b C", "2:9", "can't find = in \"C\""},
        {"FROM a\nENV =b", "2:5", "blank"},
        {"FROM a\nLABEL", "2:1", "LABEL requires"},
        {"FROM a\nARG", "2:1", "ARG requires"},
        {"FROM a\nARG =x", "2:5", "blank"},
        {"FROM a\nEXPOSE", "2:1", "EXPOSE requires"},
        {"FROM a\nUSER  ", "2:1", "USER requires"},
        {"FROM a\nWORKDIR", "2:1", "WORKDIR requires"},
    };
    (void)state;
    check_refusals(ROWS, NELEM(ROWS));
}

/* ---- instructions ---- */

static void from_takes_a_platform_and_a_lower_cased_name(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    DfFile f = parse(&a, "FROM --platform=linux/amd64 a:1@sha256:x AS Build-1.x_y");
    assert_string_equal(f.instrs[0].u.from.image.text, "a:1@sha256:x");
    assert_string_equal(f.instrs[0].u.from.stage, "build-1.x_y");
    assert_string_equal(f.instrs[0].u.from.platform, "linux/amd64");
    f = parse(&a, "FROM a");
    assert_null(f.instrs[0].u.from.stage);
    assert_null(f.instrs[0].u.from.platform);
}

/* Expected: features.md F7. */
static void only_a_json_array_of_strings_is_the_exec_form(void **state)
{
    static const struct {
        const char *text;
        bool shell;
        size_t n;
        const char *first;
    } CASES[] = {
        {"CMD [\"a\", \"b c\"]", false, 2, "a"},
        {"CMD [ ]", false, 0, NULL},
        {"CMD [\"a\" \\\n , \"b\"]", false, 2, "a"},
        {"CMD [\"\\u00e9\\n\\\"\"]", false, 1, "é\n\""},
        {"CMD ['a']", true, 1, "['a']"},
        {"CMD [\"a\",]", true, 1, "[\"a\",]"},
        {"CMD [\"a\"] b", true, 1, "[\"a\"] b"},
        {"CMD [\"a\"", true, 1, "[\"a\""},
        {"CMD [\"\\ud83d\\ude00\", \"\\ud83d\"]", false, 2, "😀"},
        {"CMD [\"\xC3\"]", false, 1, "\xEF\xBF\xBD"}, /* as Go reads what is no UTF-8 */
        {"CMD {\"a\":\"b\"}", true, 1, "{\"a\":\"b\"}"},
        {"CMD a  $B \"c\"  ", true, 1, "a  $B \"c\""},
        {"ENTRYPOINT [\"\"]", false, 1, ""},
        {"RUN [\"x\", \"-c\"]", false, 2, "x"},
        {"RUN [ -f x ]", true, 1, "[ -f x ]"},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        DfFile f;
        const DfCommand *c = &second(&a, CASES[i].text, &f)->u.command;
        if (c->shell != CASES[i].shell || c->argv.n != CASES[i].n)
            fail_msg("'%s': shell %d, %zu words", CASES[i].text, c->shell, c->argv.n);
        if (c->argv.n)
            assert_string_equal(c->argv.v[0], CASES[i].first);
    }
    static const Refusal ROWS[] = {
        {"FROM a\nCMD [\"a\", 1]", "2:5", "arrays must be comprised of strings only"},
        {"FROM a\nCMD [[\"a\"]]", "2:5", "strings only"},
        {"FROM a\nCMD [99999999999999999999]", "2:5", "strings only"},
        {"FROM a\nCMD [\"\\u0000\"]", "2:5", "NUL"},
    };
    check_refusals(ROWS, NELEM(ROWS));
}

static void env_splits_at_blanks_outside_quotes(void **state)
{
    scoped(arena) Arena a = {0};
    DfFile f;

    (void)state;
    const DfInstr *in =
        second(&a, "ENV A=b  C='d e' D=\"f \\\" g\" E=h\\ i F= G=x=y \\\n  H=\"\"", &f);
    static const char *const WANT[][2] = {
        {"A", "b"}, {"C", "'d e'"}, {"D", "\"f \\\" g\""}, {"E", "h\\ i"},
        {"F", ""},  {"G", "x=y"},   {"H", "\"\""},
    };
    assert_int_equal(in->u.pairs.n, NELEM(WANT));
    for (size_t i = 0; i < NELEM(WANT); i++) {
        assert_string_equal(in->u.pairs.v[i].key.text, WANT[i][0]);
        assert_string_equal(in->u.pairs.v[i].value, WANT[i][1]);
    }
}

/* Expected: features.md V5: `ENV ONE TWO= THREE=x` sets ONE to the rest. */
static void the_old_env_form_takes_the_rest_of_the_line(void **state)
{
    scoped(arena) Arena a = {0};
    DfFile f;

    (void)state;
    const DfInstr *in = second(&a, "ENV ONE TWO= THREE=x  ", &f);
    assert_int_equal(in->u.pairs.n, 1);
    assert_string_equal(in->u.pairs.v[0].key.text, "ONE");
    assert_string_equal(in->u.pairs.v[0].value, "TWO= THREE=x");
    in = second(&a, "LABEL a \t b  c", &f);
    assert_string_equal(in->u.pairs.v[0].value, "b  c");
}

static void arg_takes_several_names_with_and_without_defaults(void **state)
{
    scoped(arena) Arena a = {0};
    DfFile f;

    (void)state;
    const DfInstr *in = second(&a, "ARG A B=1 C= D=\"x y\"", &f);
    assert_int_equal(in->u.pairs.n, 4);
    assert_null(in->u.pairs.v[0].value);
    assert_string_equal(in->u.pairs.v[1].value, "1");
    assert_string_equal(in->u.pairs.v[2].value, "");
    assert_string_equal(in->u.pairs.v[3].value, "\"x y\"");
}

static void copy_has_sources_and_a_destination(void **state)
{
    scoped(arena) Arena a = {0};
    DfFile f;

    (void)state;
    const DfInstr *in = second(&a, "COPY a \"b\" \\\n c/ ./", &f);
    assert_int_equal(in->u.copy.nsource, 3);
    assert_string_equal(in->u.copy.sources[1].text, "\"b\"");
    assert_string_equal(in->u.copy.dest.text, "./");
    assert_null(in->u.copy.from);
    in = second(&a, "EXPOSE 80 $P \\\n 81-82/udp", &f);
    assert_int_equal(in->u.words.n, 3);
    assert_string_equal(in->u.words.v[2].text, "81-82/udp");
    in = second(&a, "WORKDIR  a b  ", &f);
    assert_int_equal(in->u.words.n, 1);
    assert_string_equal(in->u.words.v[0].text, "a b");
}

/* ---- places ---- */

static void check_place(const DfFile *f, const DfWord *w, uint32_t line, uint32_t col)
{
    assert_int_equal(w->src.line, line);
    assert_int_equal(w->src.col, col);
    assert_int_equal(w->src.len, strlen(w->text));
    assert_memory_equal(f->text.ptr + w->src.off, w->text, w->src.len);
}

static void a_place_points_at_the_very_bytes(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    DfFile f = parse(&a, "\xEF\xBB\xBF# c\r\nFROM a AS b\r\n\r\n  COPY x \\\r\n# c\r\n"
                         "\r\n\ty  z \\\n   /d\n\nENV A=1 \\\n B=é C=2\n");
    const DfInstr *copy = &f.instrs[1], *env = &f.instrs[2];
    check_place(&f, &f.instrs[0].u.from.image, 2, 6);
    assert_int_equal(copy->src.line, 4);
    assert_int_equal(copy->src.col, 3);
    assert_int_equal(copy->src.end_line, 8);
    check_place(&f, &copy->u.copy.sources[0], 4, 8);
    check_place(&f, &copy->u.copy.sources[1], 7, 2);
    check_place(&f, &copy->u.copy.sources[2], 7, 5);
    check_place(&f, &copy->u.copy.dest, 8, 4);
    assert_int_equal(env->src.end_line, 11);
    assert_int_equal(env->u.pairs.v[2].src.line, 11);
    assert_int_equal(env->u.pairs.v[2].src.col, 7); /* columns count bytes */
    assert_memory_equal(f.text.ptr + env->u.pairs.v[1].src.off, "B=é", env->u.pairs.v[1].src.len);
}

static void a_word_over_two_lines_spans_both(void **state)
{
    scoped(arena) Arena a = {0};
    DfFile f;

    (void)state;
    const DfInstr *in = second(&a, "COPY ab\\\ncd /d", &f);
    const DfWord *w = &in->u.copy.sources[0];
    assert_string_equal(w->text, "abcd");
    assert_int_equal(w->src.line, 2);
    assert_int_equal(w->src.end_line, 3);
    assert_memory_equal(f.text.ptr + w->src.off, "ab\\\ncd", w->src.len);
    check_place(&f, &in->u.copy.dest, 3, 4);
}

static void an_excerpt_shows_the_lines_with_an_arrow(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    DfFile f;

    (void)state;
    const DfInstr *in = second(&a, "RUN a \\\n  b", &f);
    df_excerpt(&f, &in->src, &b);
    assert_string_equal(b.ptr, "-->   2 | RUN a \\\n      3 |   b\n");
}

static void a_suggestion_is_near_and_never_the_word_itself(void **state)
{
    static const char *const NAMES[] = {"builder", "runtime", "a"};

    (void)state;
    assert_string_equal(df_suggest("bulider", NAMES, 3), "builder");
    assert_string_equal(df_suggest("runtme", NAMES, 3), "runtime");
    assert_null(df_suggest("deploy", NAMES, 3));
    assert_null(df_suggest("builder", NAMES, 1));
    assert_null(df_suggest("x", NAMES, 0));
}

/* ---- words ---- */

static void escapes_and_quotes_follow_the_file_s_escape_character(void **state)
{
    static const struct {
        char escape;
        const char *word, *want;
    } CASES[] = {
        {'\\', "a\\ b", "a b"},      {'\\', "\\$A", "$A"},
        {'\\', "'\\$A'", "\\$A"},    {'\\', "\"\\$A\\\"\\x\"", "$A\"\\x"},
        {'\\', "\"$A\"'$A'", "1$A"}, {'`', "c:\\x`$A\\$A", "c:\\x$A\\1"},
        {'`', "\"`\"\"", "\""},      {'\\', "$", "$"},
        {'\\', "a$", "a$"},          {'\\', "$ b", "$ b"},
        {'\\', "a\\", "a"},          {'\\', "${A}${A}x", "11x"},
        {'\\', "$A_", ""},           {'\\', "$A-b", "1-b"},
    };
    scoped(arena) Arena a = {0};
    StrList env = {0};

    (void)state;
    env_set(&a, &env, "A", "1");
    for (size_t i = 0; i < NELEM(CASES); i++) {
        Err e = ERR_INIT;
        char *got;
        OK(df_expand(&(DfScope){.arena = &a, .env = &env, .escape = CASES[i].escape}, CASES[i].word,
                     &got, &e));
        if (strcmp(got, CASES[i].want) != 0)
            fail_msg("%s: '%s', not '%s'", CASES[i].word, got, CASES[i].want);
    }
}

static void names_that_are_not_set_are_reported(void **state)
{
    scoped(arena) Arena a = {0};
    StrList env = {0}, unset = {0};
    Err e = ERR_INIT;
    char *got;

    (void)state;
    env_set(&a, &env, "E", "");
    OK(df_expand(&(DfScope){.arena = &a, .env = &env, .escape = '\\', .unset = &unset},
                 "$A ${C} $E", &got, &e));
    assert_string_equal(got, "  ");
    assert_int_equal(unset.n, 2);
    assert_string_equal(unset.v[0], "A");
    assert_string_equal(unset.v[1], "C");
}

static void a_broken_substitution_is_an_error_that_names_the_word(void **state)
{
    static const char *const BAD[] = {"${",     "${A",       "${}",   "${:}",  "${A:",     "${A:-",
                                      "${A:x}", "${A:-${B}", "\"a",   "'a",    "${A:?no}", "${A?}",
                                      "${A/x",  "${A:#x}",   "${A~}", "${{A}}"};
    scoped(arena) Arena a = {0};
    StrList env = {0}, words;
    char *got;

    (void)state;
    for (size_t i = 0; i < NELEM(BAD); i++) {
        Err e = ERR_INIT;
        FAILS(df_expand(&(DfScope){.arena = &a, .env = &env, .escape = '\\'}, BAD[i], &got, &e),
              ERR_DOCKERFILE, BAD[i]);
        FAILS(df_expand_words(&(DfScope){.arena = &a, .env = &env, .escape = '\\'}, BAD[i], &words,
                              &e),
              ERR_DOCKERFILE, BAD[i]);
    }
}

static void nesting_without_end_is_refused(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    StrList env = {0};
    Err e = ERR_INIT;
    char *got;

    (void)state;
    for (int i = 0; i < 100000; i++)
        buf_puts(&b, "${A:-");
    FAILS(df_expand(&(DfScope){.arena = &a, .env = &env, .escape = '\\'}, b.ptr, &got, &e),
          ERR_DOCKERFILE, "${A:-");
}

/* Expected: what a user must read to find the mistake, however long the word is. */
static void the_cause_of_a_failure_is_not_cut_off_behind_a_long_word(void **state)
{
    scoped(arena) Arena a = {0};
    StrList env = {0};
    Err e = ERR_INIT;
    char *got, *word = arena_alloc(&a, 2 * ERR_MSG_MAX);

    (void)state;
    memset(word, 'x', 2 * ERR_MSG_MAX - 1);
    word[0] = '"';
    FAILS(df_expand(&(DfScope){.arena = &a, .env = &env, .escape = '\\'}, word, &got, &e),
          ERR_DOCKERFILE, "double-quote");
}

/* Expected: BuildKit, where only unquoted values are split. */
static void a_quoted_value_stays_one_word(void **state)
{
    static const struct {
        const char *word;
        size_t n;
    } CASES[] = {{"$B", 2},      {"\"$B\"", 1},           {"\"${B}\"$B", 2}, {"$B$B", 3},
                 {"'$B' $B", 3}, {"\"${A:-\"$B\"}\"", 1}, {"\"$B $B\"", 1},  {"x\\ y", 1}};
    scoped(arena) Arena a = {0};
    StrList env = {0}, words;
    Err e = ERR_INIT;

    (void)state;
    env_set(&a, &env, "B", "x y");
    for (size_t i = 0; i < NELEM(CASES); i++) {
        OK(df_expand_words(&(DfScope){.arena = &a, .env = &env, .escape = '\\'}, CASES[i].word,
                           &words, &e));
        if (words.n != CASES[i].n)
            fail_msg("%s: %zu words", CASES[i].word, words.n);
    }
}

/* 1 MB in the file must not become 1 TB in memory. */
static void a_result_that_multiplies_is_refused(void **state)
{
    enum { N = 8000 };
    scoped(arena) Arena a = {0};
    StrList env = {0};
    Err e = ERR_INIT;
    char *got, *big = arena_alloc(&a, N + 1);

    (void)state;
    memset(big, 'x', N);
    env_set(&a, &env, "A", big);
    FAILS(df_expand(&(DfScope){.arena = &a, .env = &env, .escape = '\\'}, "${A//x/$A}", &got, &e),
          ERR_DOCKERFILE, "too large");
}

static void replacing_in_a_long_value_takes_no_quadratic_time(void **state)
{
    enum { N = 500000 }; /* anything that is not linear outlasts the suite's limit */
    scoped(arena) Arena a = {0};
    StrList env = {0};
    Err e = ERR_INIT;
    char *got, *big = arena_alloc(&a, N + 1);

    (void)state;
    memset(big, 'x', N);
    env_set(&a, &env, "A", big);
    OK(df_expand(&(DfScope){.arena = &a, .env = &env, .escape = '\\'}, "${A//y/z}", &got, &e));
    assert_string_equal(got, big);
}

/* ---- open vectors ---- */

static bool words_equal(const json_t *want, const StrList *got)
{
    if (json_array_size(want) != got->n)
        return false;
    for (size_t i = 0; i < got->n; i++)
        if (strcmp(json_string_value(json_array_get(want, i)), got->v[i]) != 0)
            return false;
    return true;
}

/* "unmatched" is a set: the judge sorts both sides. */
static bool unmatched_equal(const json_t *want, const StrList *got)
{
    for (size_t i = 0; i < got->n; i++) {
        bool found = false;
        for (size_t k = 0; k < json_array_size(want); k++)
            found = found || !strcmp(json_string_value(json_array_get(want, k)), got->v[i]);
        if (!found)
            return false;
    }
    for (size_t k = 0; k < json_array_size(want); k++) {
        bool found = false;
        for (size_t i = 0; i < got->n; i++)
            found = found || !strcmp(json_string_value(json_array_get(want, k)), got->v[i]);
        if (!found)
            return false;
    }
    return true;
}

/* Whether the answer to one vector is the reference's; `shown` gets the answer. */
static bool vector_ok(Arena *a, const json_t *c, Buf *shown)
{
    bool words = !strcmp(json_str(c, "mode"), "words");
    StrList env = json_strlist(a, c, "env"), list = {0}, unset = {0};
    Err e = ERR_INIT;
    char *got = NULL;
    DfScope scope = {.arena = a, .env = &env, .escape = '\\', .unset = &unset};
    bool ok = words ? df_expand_words(&scope, json_str(c, "word"), &list, &e)
                    : df_expand(&scope, json_str(c, "word"), &got, &e);
    for (size_t i = 0; i < list.n; i++)
        buf_printf(shown, "[%s]", list.v[i]);
    buf_puts(shown, !ok ? e.msg : words ? "" : got);
    if (json_object_get(c, "error"))
        return !ok;
    if (!ok)
        return false;
    const json_t *want = json_object_get(c, "expect"), *unmatched = json_object_get(c, "unmatched");
    if (!(words ? words_equal(want, &list) : !strcmp(json_string_value(want), got)))
        return false;
    return !unmatched || unmatched_equal(unmatched, &unset);
}

/* Expected: words.jsonl, BuildKit's own tests and its answers to ours. */
static void every_open_vector_of_words_is_answered_as_buildkit_does(void **state)
{
    const char *dir = getenv("LIGHTER_VECTORS");
    scoped(arena) Arena a = {0};
    size_t good = 0, all = 0;

    (void)state;
    scoped(fd) int dirfd = dir ? open(dir, O_RDONLY | O_DIRECTORY) : -1;
    if (dirfd < 0 || !exists(dirfd, "words.jsonl"))
        SKIP("LIGHTER_VECTORS names no directory with words.jsonl");
    char *save = NULL, *text = slurp(&a, dirfd, "words.jsonl");
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        scoped(json) json_t *c = NULL;
        scoped(buf) Buf shown = BUF_INIT;
        Err e = ERR_INIT;
        OK(json_parse(line, strlen(line), &c, &e));
        all++;
        if (vector_ok(&a, c, &shown))
            good++;
        else
            print_message("%s\n  got %s\n", line, buf_str(&shown));
    }
    print_message("words: %zu of %zu\n", good, all);
    assert_true(all > 300);
    assert_int_equal(good, all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_continued_line_is_joined_as_it_stands),
        cmocka_unit_test(a_blank_line_in_a_continuation_warns_and_a_comment_does_not),
        cmocka_unit_test(blank_lines_comments_and_the_byte_order_mark_are_nothing),
        cmocka_unit_test(a_file_without_instructions_or_stages_is_refused),
        cmocka_unit_test(a_nul_byte_and_an_endless_file_are_refused),
        cmocka_unit_test(a_large_file_is_read_in_linear_time),
        cmocka_unit_test(the_escape_directive_counts_only_in_front_of_all_else),
        cmocka_unit_test(a_directive_that_is_wrong_or_foreign_is_refused_with_its_line),
        cmocka_unit_test(an_unknown_instruction_is_named_with_its_neighbour),
        cmocka_unit_test(what_is_not_carried_out_is_refused_by_name_and_place),
        cmocka_unit_test(flags_are_checked_by_instruction),
        cmocka_unit_test(instructions_without_their_arguments_are_refused),
        cmocka_unit_test(from_takes_a_platform_and_a_lower_cased_name),
        cmocka_unit_test(only_a_json_array_of_strings_is_the_exec_form),
        cmocka_unit_test(env_splits_at_blanks_outside_quotes),
        cmocka_unit_test(the_old_env_form_takes_the_rest_of_the_line),
        cmocka_unit_test(arg_takes_several_names_with_and_without_defaults),
        cmocka_unit_test(copy_has_sources_and_a_destination),
        cmocka_unit_test(a_place_points_at_the_very_bytes),
        cmocka_unit_test(a_word_over_two_lines_spans_both),
        cmocka_unit_test(an_excerpt_shows_the_lines_with_an_arrow),
        cmocka_unit_test(a_suggestion_is_near_and_never_the_word_itself),
        cmocka_unit_test(escapes_and_quotes_follow_the_file_s_escape_character),
        cmocka_unit_test(names_that_are_not_set_are_reported),
        cmocka_unit_test(a_broken_substitution_is_an_error_that_names_the_word),
        cmocka_unit_test(nesting_without_end_is_refused),
        cmocka_unit_test(the_cause_of_a_failure_is_not_cut_off_behind_a_long_word),
        cmocka_unit_test(a_quoted_value_stays_one_word),
        cmocka_unit_test(a_result_that_multiplies_is_refused),
        cmocka_unit_test(replacing_in_a_long_value_takes_no_quadratic_time),
        cmocka_unit_test(every_open_vector_of_words_is_answered_as_buildkit_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
