/*
 * dockerfile/: here-documents, flags, HEALTHCHECK, ONBUILD, comments, and spans that cover the
 * text.
 */
#include "testing.h"

#include <strings.h>

#include "base/json.h"
#include "dockerfile/dockerfile.h"

static DfFile parse(Arena *a, const char *text)
{
    Err e = ERR_INIT;
    DfFile f = {0};
    if (!df_parse(a, "Dockerfile", str_c(arena_strdup(a, text)), 0, &f, &e))
        fail_msg("%s\n%s", text, e.msg);
    return f;
}

/* The second instruction of "FROM a" and this text. */
static const DfInstr *second(Arena *a, const char *text)
{
    DfFile f = parse(a, arena_printf(a, "FROM a\n%s", text));
    if (f.ninstr < 2)
        fail_msg("'%s': one instruction only", text);
    return &f.instrs[1];
}

static void refused(const char *text, const char *part)
{
    scoped(arena) Arena a = {0};
    DfFile f;
    Err e = ERR_INIT;
    if (df_parse(&a, "Dockerfile", str_c(arena_printf(&a, "FROM a\n%s", text)), 0, &f, &e))
        fail_msg("'%s' was accepted", text);
    if (e.kind != ERR_DOCKERFILE || !strstr(e.msg, part))
        fail_msg("'%s': '%s', wanted '%s'", text, e.msg, part);
}

/* ---- here-documents ---- */

typedef struct DocCase {
    const char *word;
    bool is;
    const char *name;
    bool expand, chomp;
    uint64_t fd;
} DocCase;

/* Expected: tried with BuildKit's parser.ParseHeredoc. */
static void a_mark_names_descriptor_tabs_and_quotes(void **state)
{
    static const DocCase CASES[] = {
        {"<<EOF", true, "EOF", true, false, 0},      {"<<-EOF", true, "EOF", true, true, 0},
        {"3<<EOF", true, "EOF", true, false, 3},     {"<<'EOF'", true, "EOF", false, false, 0},
        {"<<\"EOF\"", true, "EOF", false, false, 0}, {"<<-'E'OF", true, "EOF", false, true, 0},
        {"<< EOF", true, "EOF", true, false, 0},     {"<<E\\OF", true, "EOF", true, false, 0},
        {"<<$x", true, "$x", true, false, 0},        {"<<", false, NULL, false, false, 0},
        {"<<-", false, NULL, false, false, 0},       {"<<<EOF", false, NULL, false, false, 0},
        {"<<A<<B", false, NULL, false, false, 0},    {"a<<EOF", false, NULL, false, false, 0},
        {"<<'EOF", false, NULL, false, false, 0},    {"<<A B", false, NULL, false, false, 0},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        const DocCase *c = &CASES[i];
        DfHeredoc d = {0};
        bool is = df_heredoc_word(&a, c->word, &d);
        if (is != c->is || (is && (strcmp(d.name, c->name) != 0 || d.expand != c->expand ||
                                   d.chomp != c->chomp || d.fd != c->fd)))
            fail_msg("'%s': %d '%s' expand %d chomp %d fd %u", c->word, is, is ? d.name : "",
                     d.expand, d.chomp, (unsigned)d.fd);
    }
}

static void a_sole_document_is_the_script_and_others_stay_text(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    const DfCommand *c = &second(&a, "RUN <<EOF\na\n# b\n\nEOF\nRUN x")->u.command;
    assert_true(c->heredoc && c->shell && !c->script);
    assert_string_equal(c->argv.v[0], "a\n# b\n\n");
    c = &second(&a, "RUN <<-EOF\n\ta\n\t\tb\n\tEOF\n")->u.command;
    assert_string_equal(c->argv.v[0], "a\nb\n");
    c = &second(&a, "RUN <<py\n#!/usr/bin/python\nx\npy")->u.command;
    assert_string_equal(c->script, "py");
    c = &second(&a, "RUN cat <<A <<-'B' > x\na\nA\n\tb\n\tB\n")->u.command;
    assert_false(c->heredoc);
    assert_string_equal(c->argv.v[0], "cat <<A <<-'B' > x\na\nA\n\tb\nB");
    c = &second(&a, "RUN --mount=type=tmpfs,target=/x <<EOF\na\nEOF")->u.command;
    assert_string_equal(c->argv.v[0], "a\n");
    c = &second(&a, "RUN \"<<EOF\"")->u.command;
    assert_string_equal(c->argv.v[0], "\"<<EOF\"");
    c = &second(&a, "CMD <<EOF")->u.command; /* no place for one */
    assert_string_equal(c->argv.v[0], "<<EOF");
}

static void copy_takes_several_documents_and_none_as_its_destination(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    const DfCopy *c = &second(&a, "COPY x <<a <<-\"b\" /d/\n\t$A\na\n\t\t$B\n\tb\n")->u.copy;
    assert_int_equal(c->nsource, 1);
    assert_int_equal(c->ninline, 2);
    assert_string_equal(c->inlines[0].name, "a");
    assert_string_equal(c->inlines[0].content, "\t$A\n");
    assert_true(c->inlines[0].expand);
    assert_string_equal(c->inlines[1].content, "$B\n");
    assert_false(c->inlines[1].expand);
    assert_string_equal(c->dest.text, "/d/");
    c = &second(&a, "ADD <<a /d\r\nx\r\na\r\n")->u.copy; /* line ends stay */
    assert_string_equal(c->inlines[0].content, "x\r\n");
    refused("COPY x <<a\nb\na", "COPY cannot accept a heredoc as a destination");
    refused("COPY <<a /d\nb\n", "unterminated heredoc");
    refused("RUN <<a\n a\n", "unterminated heredoc");
}

/* ---- errors ---- */

static void one_run_tells_all_errors_with_their_lines(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf many = BUF_INIT;
    DfFile f;
    Err e = ERR_INIT;

    (void)state;
    FAILS(
        df_parse(&a, "D", str_c("FROM a\nRUNN x \\\n  y\nUSER\nCOPY --x a b\nLABEL a"), 0, &f, &e),
        ERR_DOCKERFILE,
        "D:2:1: unknown instruction: RUNN (did you mean RUN?)\n-->   2 | RUNN x \\\n"
        "D:4:1: USER requires exactly one argument\n-->   4 | USER\n"
        "D:5:6: unknown flag: --x\n-->   5 | COPY --x a b\n"
        "D:6:7: LABEL must have two arguments\n-->   6 | LABEL a");
    buf_puts(&many, "FROM a\n");
    for (int i = 0; i < 15; i++)
        buf_puts(&many, "USER\n");
    FAILS(df_parse(&a, "D", str_c(many.ptr), 0, &f, &e), ERR_DOCKERFILE, "D: 5 more errors");
}

/* ---- flags ---- */

static void flags_of_copy_and_add_reach_their_places(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    const DfCopy *c = &second(&a, "COPY --from=b --chown=1:2 --chmod=u+x --link --parents=FALSE "
                                  "--exclude=a --exclude='b c' x y")
                           ->u.copy;
    assert_string_equal(c->from, "b");
    assert_string_equal(c->chown, "1:2");
    assert_string_equal(c->chmod, "u+x");
    assert_int_equal(c->link, DF_TRUE);
    assert_int_equal(c->parents, DF_FALSE);
    assert_int_equal(c->excludes.n, 2);
    assert_string_equal(c->excludes.v[1].text, "b c");
    c = &second(&a, "ADD --keep-git-dir=True --checksum=sha256:x --unpack=false --link=true x y")
             ->u.copy;
    assert_int_equal(c->keep_git_dir, DF_TRUE);
    assert_string_equal(c->checksum, "sha256:x");
    assert_int_equal(c->unpack, DF_FALSE);
    assert_int_equal(second(&a, "ADD x y")->u.copy.unpack, DF_UNSET);
    assert_string_equal(second(&a, "COPY --from= x y")->u.copy.from, "");
    assert_string_equal(second(&a, "COPY --chown=\"a b\" x y")->u.copy.chown, "a b");
    const DfCommand *r =
        &second(&a, "RUN --mount=a --network=none --mount=b --security=sandbox x")->u.command;
    assert_int_equal(r->mounts.n, 2);
    assert_string_equal(r->network, "none");
    assert_string_equal(r->security, "sandbox");
}

static void a_flag_that_is_wrong_is_named(void **state)
{
    static const char *const ROWS[][2] = {
        {"COPY --link=1 a b", "expecting boolean value for flag --link, not: 1"},
        {"COPY --link= a b", "missing a value on flag: --link"},
        {"COPY --link --link a b", "duplicate flag specified: --link"},
        {"COPY --chown a b", "missing a value on flag: --chown"},
        {"COPY --exclude a b", "missing a value on flag: --exclude"},
        {"COPY --checksum=x a b", "unknown flag: --checksum"},
        {"ADD --from=x a b", "unknown flag: --from"},
        {"ADD --parents a b", "unknown flag: --parents"},
        {"RUN --mont=x y", "unknown flag: --mont (did you mean mount?)"},
        {"RUN --network=bridge y", "invalid network mode \"bridge\""},
        {"RUN --security=x y", "security \"x\" is not valid"},
        {"ENV --x A=b", "unknown flag: --x"},
        {"LABEL --x A=b", "unknown flag: --x"},
        {"EXPOSE --x 80", "unknown flag: --x"},
        {"USER --x u", "unknown flag: --x"},
        {"VOLUME --x /u", "unknown flag: --x"},
        {"WORKDIR --x /u", "unknown flag: --x"},
        {"SHELL --x [\"a\"]", "unknown flag: --x"},
        {"ENTRYPOINT --x a", "unknown flag: --x"},
        {"ONBUILD --x RUN a", "unknown flag: --x"},
        {"RUN --mount=from=$a,target=/x y", "'from' doesn't support variable expansion"},
        {"RUN --mount= y", "failed to parse csv mounts: EOF"},
        {"SHELL a b", "SHELL requires the arguments to be in JSON form"},
        {"SHELL []", "SHELL requires at least one argument"},
        {"VOLUME [\" \"]", "VOLUME specified can not be an empty string"},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(ROWS); i++)
        refused(ROWS[i][0], ROWS[i][1]);
    (void)second(&a, "ARG --x A"); /* read by nobody, as in BuildKit */
    (void)second(&a, "STOPSIGNAL --x 9");
}

/* ---- HEALTHCHECK ---- */

static void healthcheck_has_three_forms_and_five_flags(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    const DfHealth *h = &second(&a, "HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=+3 "
                                    "--start-period=0 --start-interval=1ms cmd curl  x")
                             ->u.health;
    assert_string_equal(h->test.v[0], "CMD-SHELL");
    assert_string_equal(h->test.v[1], "curl  x");
    assert_int_equal(h->interval, 90000000000);
    assert_int_equal(h->timeout, 1500000000);
    assert_int_equal(h->start_period, 0);
    assert_int_equal(h->start_interval, 1000000);
    assert_int_equal(h->retries, 3);
    h = &second(&a, "HEALTHCHECK CMD [\"a\", \"b\"]")->u.health;
    assert_string_equal(h->test.v[0], "CMD");
    assert_int_equal(h->test.n, 3);
    h = &second(&a, "HEALTHCHECK NONE")->u.health;
    assert_string_equal(h->test.v[0], "NONE");
    assert_int_equal(h->test.n, 1);
}

static void a_healthcheck_that_is_wrong_is_refused(void **state)
{
    static const char *const ROWS[][2] = {
        {"HEALTHCHECK", "HEALTHCHECK requires at least one argument"},
        {"HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"},
        {"HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"},
        {"HEALTHCHECK CMD []", "Missing command after HEALTHCHECK CMD"},
        {"HEALTHCHECK curl x", "Unknown type \"CURL\" in HEALTHCHECK (try CMD)"},
        {"HEALTHCHECK --interval=1us CMD x", "Interval \"interval\" cannot be less than 1ms"},
        {"HEALTHCHECK --timeout=-1s CMD x", "Interval \"timeout\" cannot be less than 1ms"},
        {"HEALTHCHECK --timeout=1 CMD x", "time: missing unit in duration \"1\""},
        {"HEALTHCHECK --timeout=1x CMD x", "time: unknown unit \"x\" in duration \"1x\""},
        {"HEALTHCHECK --timeout=s CMD x", "time: invalid duration \"s\""},
        {"HEALTHCHECK --retries=x CMD x", "parsing \"x\": invalid syntax"},
        {"HEALTHCHECK --retries=2147483648 CMD x", "value out of range"},
        {"HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"},
    };
    (void)state;
    for (size_t i = 0; i < NELEM(ROWS); i++)
        refused(ROWS[i][0], ROWS[i][1]);
}

/* ---- ONBUILD ---- */

static void a_trigger_keeps_its_text_and_is_read_again(void **state)
{
    static const char *const TEXTS[][2] = {
        {"ONBUILD RUN a  b", "RUN a  b"},
        {"onbuild \t copy --chown=1 [\"a b\", \"c\"]", "copy --chown=1 [\"a b\", \"c\"]"},
        {"ONBUILD RUN a \\\n  b", "RUN a   b"},
        {"ONBUILD RUN <<E\na\nE", "RUN <<E\na\nE"},
        {"ONBUILD COPY <<-E <<F /x/\n\ta\n\tE\nb\nF", "COPY <<-E <<F /x/\n\ta\nE\nb\nF"},
    };
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < NELEM(TEXTS); i++) {
        const DfInstr *in = second(&a, TEXTS[i][0]);
        assert_string_equal(in->u.trigger, TEXTS[i][1]);
        DfFile f = parse(&a, "FROM base\n");
        DfInstr fired;
        OK(df_parse_trigger(&a, &f, &f.instrs[0].src, in->u.trigger, &fired, &e));
        assert_true(fired.onbuild);
        assert_int_equal(fired.src.line, 1);
    }
}

static void a_trigger_that_cannot_fire_is_refused(void **state)
{
    scoped(arena) Arena a = {0};
    DfFile f = parse(&a, "ARG x\nFROM base\n");
    DfInstr in;
    Err e = ERR_INIT;

    (void)state;
    refused("ONBUILD", "ONBUILD requires at least one argument");
    refused("ONBUILD ONBUILD RUN a", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    refused("ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger");
    refused("ONBUILD MAINTAINER x", "MAINTAINER isn't allowed as an ONBUILD trigger");
    const SrcSpan *at = &f.instrs[1].src;
    FAILS(df_parse_trigger(&a, &f, at, "RUN a\nRUN b", &in, &e), ERR_DOCKERFILE,
          "Dockerfile:2:1: ");
    FAILS(df_parse_trigger(&a, &f, at, "FROM b", &in, &e), ERR_DOCKERFILE, "no FROM");
    FAILS(df_parse_trigger(&a, &f, at, "", &in, &e), ERR_DOCKERFILE, "nothing to do");
    FAILS(df_parse_trigger(&a, &f, at, "FOO b", &in, &e), ERR_DOCKERFILE, "unknown instruction");
    FAILS(df_parse_trigger(&a, &f, at, "RUN <<E\nx", &in, &e), ERR_DOCKERFILE, "unterminated");
}

/* ---- checks ---- */

static void a_check_is_read_from_directive_argument_and_comment(void **state)
{
    scoped(arena) Arena a = {0};
    DfCheck c;
    Err e = ERR_INIT;

    (void)state;
    DfFile f = parse(&a, "# check=skip=A,B // why\nFROM a\n");
    assert_int_equal(f.check.skip.n, 2); /* what follows a blank is a remark */
    f = parse(&a, "# check=skip=A,B;error=true\nFROM a\n");
    assert_string_equal(f.check.skip.v[1], "B");
    assert_true(f.check.error && !f.check.skip_all);
    OK(df_check(&a, "skip=all;error=0;experimental=all", &c, &e));
    assert_true(c.skip_all && !c.error);
    OK(df_check(&a, " ", &c, &e));
    FAILS(df_check(&a, "skip", &c, &e), ERR_DOCKERFILE, "invalid check option \"skip\"");
    FAILS(df_check(&a, "foo=x", &c, &e), ERR_DOCKERFILE, "invalid check option \"foo\"");
    FAILS(df_check(&a, "error=maybe", &c, &e), ERR_DOCKERFILE, "error=maybe");
    f = parse(&a, "FROM a\n# check=skip=X // why\n# more\nRUN a\n\nRUN b\n# check=bad\nRUN c\n");
    assert_string_equal(f.instrs[1].check->skip.v[0], "X");
    assert_null(f.instrs[2].check);
    assert_null(f.instrs[3].check);
}

/* ---- spans ---- */

static Str span(const char *text, const SrcSpan *s)
{
    return (Str){text + s->off, s->len};
}

/* What a span covers, as the logical line has it: without marks of continuation and comments. */
static void joined(const char *p, size_t n, char escape, Buf *out)
{
    size_t i = 0;
    while (i < n) {
        size_t k = i + 1;
        while (k < n && (p[k] == ' ' || p[k] == '\t' || p[k] == '\r'))
            k++;
        if (p[i] != escape || k >= n || p[k] != '\n' || (i && p[i - 1] == escape)) {
            buf_putc(out, p[i++]);
            continue;
        }
        for (i = k + 1; i < n;) { /* blank lines and comments */
            size_t w = i;
            while (w < n && (p[w] == ' ' || p[w] == '\t' || p[w] == '\r'))
                w++;
            if (w < n && p[w] != '\n' && p[w] != '#')
                break;
            while (w < n && p[w] != '\n')
                w++;
            i = w + 1;
        }
    }
}

static void check_word(const char *text, const DfNode *n, const DfWord *w, char escape, bool exact)
{
    assert_true(w->src.off >= n->whole.off);
    assert_true(w->src.off + w->src.len <= n->whole.off + n->whole.len);
    assert_true(w->src.line >= n->whole.line && w->src.end_line <= n->whole.end_line);
    if (!exact)
        return;
    scoped(buf) Buf got = BUF_INIT;
    Str s = span(text, &w->src);
    joined(s.ptr, s.len, escape, &got);
    if (strcmp(buf_str(&got), w->text) != 0)
        fail_msg("'%s'\nspan '%.*s' is not '%s'", text, (int)s.len, s.ptr, w->text);
}

static void check_node(const char *text, const DfNode *top, const DfNode *n, char escape)
{
    for (size_t i = 0; i < n->flags.n; i++)
        check_word(text, top, &n->flags.v[i], escape, false);
    for (size_t i = 0; i < n->args.n; i++)
        check_word(text, top, &n->args.v[i], escape, !n->json && *n->args.v[i].text);
    if (n->child)
        check_node(text, top, n->child, escape);
}

/* Every byte is covered once, in order. False: the text is no Dockerfile. */
static bool check_cover(const char *text, size_t len)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf out = BUF_INIT;
    scoped(json) json_t *list = NULL;
    DfNodes nodes;
    Err e = ERR_INIT;
    size_t at = 0, i;
    json_t *j;
    if (!df_nodes(&a, "D", (Str){text, len}, &nodes, &e))
        return false;
    df_json(&nodes, len, &out);
    OK(json_parse(out.ptr, out.len, &list, &e));
    json_array_foreach(list, i, j)
    {
        static const char *const PARTS[] = {"before", "whole", "after"};
        for (size_t k = 0; k < NELEM(PARTS); k++) {
            const json_t *part = json_object_get(j, PARTS[k]);
            if (!part && k == 2 && i + 1 < json_array_size(list))
                continue;
            assert_int_equal(json_integer_value(json_object_get(part, "offset")), at);
            at += (size_t)json_integer_value(json_object_get(part, "length"));
        }
        check_node(text, &nodes.v[i], &nodes.v[i], nodes.escape);
    }
    assert_int_equal(at, len);
    return true;
}

static char *mutated(Arena *a, const char *text, uint64_t *seed)
{
    static const char *const PARTS[] = {"\\\n", "\n",   " ",      "\t",         "\r\n",
                                        "#",    "\"",   "'",      "[",          "]",
                                        "\\",   "<<E ", "\nE\n",  "--x=y ",     "$a",
                                        "\xFF", "é",    "\nRUN ", "\nENV a=b ", " \\ \n# c\n\n"};
    scoped(buf) Buf b = BUF_INIT;
    buf_puts(&b, text);
    for (uint32_t n = next_random(seed) % 6; n-- > 0;) {
        size_t at = next_random(seed) % (b.len + 1);
        const char *part = PARTS[next_random(seed) % NELEM(PARTS)];
        char *tail = arena_strdup(a, buf_str(&b) + at);
        size_t cut = next_random(seed) % 4;
        b.len = at;
        buf_puts(&b, part);
        buf_puts(&b, strlen(tail) > cut ? tail + cut : "");
    }
    return arena_strndup(a, buf_str(&b), b.len);
}

static void spans_cover_every_byte_of_any_file_once(void **state)
{
    static const char *const FILES[] = {"parser.jsonl", "parser-corpus.jsonl", "heredoc.jsonl"};
    const char *dir = getenv("LIGHTER_VECTORS");
    uint64_t seed = 7;
    size_t n = 0;

    (void)state;
    static const char ODD[] = "\xEF\xBB\xBF# c\n\n \tFROM a \\\n\n# d\n b\nRUN <<E\nx\nE\n\n# end";
    assert_true(check_cover(ODD, strlen(ODD)));
    for (size_t i = 0; i < NELEM(FILES); i++) {
        scoped(arena) Arena a = {0};
        char line[1 << 17];
        FILE *f = dir ? fopen(arena_printf(&a, "%s/%s", dir, FILES[i]), "re") : NULL;
        while (f && fgets(line, sizeof line, f)) {
            scoped(json) json_t *j = NULL;
            Err e = ERR_INIT;
            const char *text =
                json_parse(line, strlen(line), &j, &e) ? json_str(j, "dockerfile") : NULL;
            if (!text)
                continue;
            n += check_cover(text, strlen(text));
            for (int k = 0; k < 20; k++) {
                scoped(arena) Arena own = {0};
                char *other = mutated(&own, text, &seed);
                (void)check_cover(other, strlen(other));
            }
        }
        if (f)
            (void)fclose(f);
    }
    if (!n)
        SKIP("LIGHTER_VECTORS names no directory with %s", FILES[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_names_descriptor_tabs_and_quotes),
        cmocka_unit_test(a_sole_document_is_the_script_and_others_stay_text),
        cmocka_unit_test(copy_takes_several_documents_and_none_as_its_destination),
        cmocka_unit_test(one_run_tells_all_errors_with_their_lines),
        cmocka_unit_test(flags_of_copy_and_add_reach_their_places),
        cmocka_unit_test(a_flag_that_is_wrong_is_named),
        cmocka_unit_test(healthcheck_has_three_forms_and_five_flags),
        cmocka_unit_test(a_healthcheck_that_is_wrong_is_refused),
        cmocka_unit_test(a_trigger_keeps_its_text_and_is_read_again),
        cmocka_unit_test(a_trigger_that_cannot_fire_is_refused),
        cmocka_unit_test(a_check_is_read_from_directive_argument_and_comment),
        cmocka_unit_test(spans_cover_every_byte_of_any_file_once),
    };
    return cmocka_run_group_tests_name("language", tests, NULL, NULL);
}
