/*
 * plan/: a Dockerfile to steps, a config and a history.
 */
#include "testing.h"

#include "plan/plan.h"

/* A base with two layers and one empty history entry. */
static const char BASE[] =
    "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Env\":[\"PATH=/bin\",\"BASE=b\"],"
    "\"Cmd\":[\"base-cmd\"],\"Entrypoint\":[\"base-entry\"],\"WorkingDir\":\"/base\","
    "\"Labels\":{\"l\":\"base\"},\"ExposedPorts\":{\"1/tcp\":{}}},\"history\":"
    "[{\"created_by\":\"one\"},{\"created_by\":\"two\",\"empty_layer\":true},"
    "{\"created_by\":\"three\"}],\"rootfs\":{\"type\":\"layers\",\"diff_ids\":["
    "\"sha256:1111111111111111111111111111111111111111111111111111111111111111\","
    "\"sha256:2222222222222222222222222222222222222222222222222222222222222222\"]}}";

typedef struct Case {
    Arena arena;
    PlanOpts opts;
    Plan plan;
    StrList images;
    Err e;
} Case;

static void scoped_case_done(Case *c)
{
    arena_done(&c->arena);
}

/* Resolve every image to BASE, and plan. */
static bool try_plan(Case *c, const char *text)
{
    Arena *a = &c->arena;
    DfFile *f = NEW(a, DfFile);
    ImageConfig *config = NEW(a, ImageConfig);
    PlanImages images;
    c->e = (Err)ERR_INIT;
    if (!df_parse(a, "Dockerfile", str_c(arena_strdup(a, text)), 0, f, &c->e) ||
        !image_config_parse(a, BASE, strlen(BASE), config, &c->e) ||
        !plan_images(a, f, &c->opts, NULL, 0, &images, &c->e))
        return false;
    c->images = images.names;
    PlanBase *bases = NEW_N(a, PlanBase, c->images.n + 1);
    for (size_t i = 0; i < c->images.n; i++)
        bases[i] = (PlanBase){.name = c->images.v[i], .config = config};
    return plan_make(a, f, &c->opts, bases, c->images.n, &c->plan, &c->e);
}

/* What must hold of every plan: inputs come earlier, and one layer a step is told in the history.
 */
static void check_shape(const Plan *p)
{
    for (size_t i = 0; i < p->nstep; i++) {
        assert_non_null(p->steps[i].stage);
        assert_non_null(p->steps[i].title);
        for (size_t k = 0; k < p->steps[i].ninput; k++)
            assert_true(p->steps[i].inputs[k] < i);
        if (p->steps[i].kind == STEP_COPY && p->steps[i].u.copy.sources[0].origin == PLAN_STEP)
            assert_true(p->steps[i].u.copy.sources[0].index < i);
    }
    assert_true(p->result < p->nstep);
    for (size_t i = 0; i < p->nhistory; i++)
        if (!p->history[i].from_base)
            assert_int_equal(p->history[i].entry.empty_layer, p->history[i].step == STEP_NONE);
}

static void plan(Case *c, const char *text)
{
    if (!try_plan(c, text))
        fail_msg("%s\n%s", text, c->e.msg);
    check_shape(&c->plan);
}

static void refused(Case *c, const char *text, const char *at, const char *part)
{
    if (try_plan(c, text))
        fail_msg("accepted: %s", text);
    if (c->e.kind != ERR_DOCKERFILE || !str_starts(c->e.msg, "Dockerfile:") ||
        !str_starts(c->e.msg + 11, at) || !strstr(c->e.msg, part))
        fail_msg("%s\n'%s', wanted %s '%s'", text, c->e.msg, at, part);
}

static const PlanStep *last(const Case *c)
{
    return &c->plan.steps[c->plan.result];
}

static size_t count(const Case *c, StepKind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < c->plan.nstep; i++)
        n += c->plan.steps[i].kind == kind;
    return n;
}

static const char *env(Case *c, const char *name)
{
    const char *v = env_get(&c->plan.config.env, name);
    return v ? v : "(unset)";
}

static void arg(Case *c, const char *kv)
{
    strlist_add(&c->arena, &c->opts.build_args, kv);
}

static bool warned(const Case *c, const char *part)
{
    for (size_t i = 0; i < c->plan.warnings.n; i++)
        if (strstr(c->plan.warnings.v[i], part))
            return true;
    return false;
}

static void list_is(const StrList *l, const char *words)
{
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0; i < l->n; i++)
        buf_printf(&b, "%s%s", i ? "|" : "", l->v[i]);
    assert_string_equal(buf_str(&b), words);
}

/* ---- stages ---- */

static void a_stage_the_target_does_not_need_does_not_exist(void **state)
{
    static const char TEXT[] = "FROM a AS one\nRUN one\nFROM nowhere:1 AS two\nRUN two\n"
                               "FROM c AS three\nCOPY --from=one /x /y\nFROM d\nRUN last\n";
    scoped(case) Case c = {0};

    (void)state;
    c.opts.target = "three";
    plan(&c, TEXT);
    list_is(&c.images, "a|c");
    assert_int_equal(c.plan.nstage, 2);
    assert_int_equal(count(&c, STEP_RUN), 1);
    assert_int_equal(last(&c)->kind, STEP_COPY);
    scoped(case) Case d = {0};
    plan(&d, TEXT);
    list_is(&d.images, "d");
    assert_int_equal(d.plan.nstep, 2);
}

static void a_target_is_a_name_of_any_case_or_a_number(void **state)
{
    static const char *const TARGETS[] = {"two", "TWO", "1"};

    (void)state;
    for (size_t i = 0; i < NELEM(TARGETS); i++) {
        scoped(case) Case c = {.opts.target = TARGETS[i]};
        plan(&c, "FROM a AS one\nFROM b AS Two\nFROM c\n");
        list_is(&c.images, "b");
    }
    scoped(case) Case c = {.opts.target = "tow"};
    refused(&c, "FROM a AS one\nFROM b AS two\n", "",
            "target stage \"tow\" could not be found (did you mean two?)");
    c.opts.target = "2";
    refused(&c, "FROM a AS one\nFROM b AS two\n", "", "\"2\"");
}

static void copy_reads_a_stage_by_name_or_number_else_an_image(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a AS one\nRUN one\nFROM b\nRUN two\nFROM c\nCOPY --from=One /x /\n"
             "COPY --from=1 /y /\nCOPY --from=img:1 /z /\nCOPY --from=img:1 /z2 /\n");
    list_is(&c.images, "a|b|c|img:1");
    uint32_t from[4];
    size_t n = 0;
    for (size_t i = 0; i < c.plan.nstep; i++)
        if (c.plan.steps[i].kind == STEP_COPY)
            from[n++] = c.plan.steps[i].u.copy.sources[0].index;
    assert_int_equal(n, 4);
    assert_string_equal(c.plan.steps[from[0]].title, "RUN one");
    assert_string_equal(c.plan.steps[from[1]].title, "RUN two");
    assert_int_equal(c.plan.steps[from[2]].kind, STEP_FROM);
    assert_int_equal(from[2], from[3]);
}

static void a_stage_built_on_another_continues_it(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a AS one\nARG X=1\nENV Y=2\nWORKDIR /w\nRUN one\nFROM ONE\nRUN two $X\n");
    list_is(&c.images, "a");
    assert_string_equal(c.plan.config.workdir, "/w");
    assert_string_equal(env(&c, "Y"), "2");
    assert_string_equal(env_get(&last(&c)->u.run.env, "X"), "1");
    assert_string_equal(c.plan.steps[last(&c)->inputs[0]].title, "RUN one");
}

/* A stage may be named as an image is: only earlier stages count for FROM. */
static void from_means_an_earlier_stage_and_else_an_image(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a AS a\nRUN x\nFROM a AS b\nRUN y\n");
    list_is(&c.images, "a");
    assert_int_equal(count(&c, STEP_RUN), 2);
    scoped(case) Case d = {0};
    plan(&d, "FROM later\nFROM a AS later\nRUN y\n");
    list_is(&d.images, "a");
    d.opts.target = "0";
    plan(&d, "FROM later\nFROM a AS later\nRUN y\n");
    list_is(&d.images, "later");
}

static void a_name_given_twice_means_the_latest_one_before(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a AS x\nRUN one\nFROM b AS x\nRUN two\nFROM x\nRUN three\n");
    list_is(&c.images, "b");
}

static void a_cycle_is_refused_with_the_names_of_its_stages(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    refused(&c,
            "FROM a AS one\nCOPY --from=two /x /\nFROM a AS two\nCOPY --from=three /x /\n"
            "FROM a AS three\nCOPY --from=one /x /\nFROM three\n",
            "", "circular dependency");
    assert_non_null(strstr(c.e.msg, "one"));
    assert_non_null(strstr(c.e.msg, "two"));
    assert_non_null(strstr(c.e.msg, "three"));
    refused(&c, "FROM a AS one\nCOPY --from=one /x /\n", "2:1", "one");
    refused(&c, "FROM a\nCOPY --from=0 /x /\n", "2:1", "");
    refused(&c, "FROM b AS one\nCOPY --from=two /x /\nFROM one AS two\n", "", "circular");
}

/* The stage that merely leads to a cycle is no part of it. */
static void a_cycle_does_not_name_the_stage_that_leads_to_it(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    refused(&c,
            "FROM a AS one\nCOPY --from=two /x /\nFROM a AS two\nCOPY --from=one /x /\n"
            "FROM a AS innocent\nCOPY --from=one /x /\n",
            "", "circular dependency");
    assert_null(strstr(c.e.msg, "innocent"));
}

static const char *label(const Case *c, const char *name)
{
    const ImageConfig *config = &c->plan.config;
    for (size_t i = 0; i < config->nlabel; i++)
        if (!strcmp(config->labels[i].name, name))
            return config->labels[i].value;
    return NULL;
}

static void one_image_used_five_times_is_one_step(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a AS s1\nRUN 1\nFROM a AS s2\nRUN 2\nFROM a AS s3\nRUN 3\nFROM a\n"
             "COPY --from=s1 /x /\nCOPY --from=s2 /x /\nCOPY --from=s3 /x /\nCOPY --from=a /x /\n");
    list_is(&c.images, "a");
    assert_int_equal(count(&c, STEP_FROM), 1);
    assert_int_equal(c.plan.nstage, 4);
}

static void a_thousand_stages_are_planned_in_order(void **state)
{
    enum { N = 1000 };
    scoped(case) Case c = {0};
    scoped(buf) Buf b = BUF_INIT;

    (void)state;
    buf_puts(&b, "FROM scratch AS s0\n");
    for (int i = 1; i < N; i++)
        buf_printf(&b, "FROM s%d AS s%d\nCOPY --from=s%d /x /x%d\n", i - 1, i, i / 2, i);
    plan(&c, b.ptr);
    assert_int_equal(c.plan.nstep, N);
    assert_int_equal(c.plan.nstage, N);
    assert_int_equal(c.plan.nhistory, N - 1);
    assert_string_equal(c.plan.config.os, "linux");
}

/* A chain as long as the limit allows must not use up the stack. */
static void ten_thousand_stages_are_planned_and_one_more_is_refused(void **state)
{
    scoped(case) Case c = {0};
    scoped(buf) Buf b = BUF_INIT;

    (void)state;
    buf_puts(&b, "FROM scratch AS s0\n");
    for (int i = 1; i < PLAN_MAX_STAGES; i++)
        buf_printf(&b, "FROM s%d AS s%d\n", i - 1, i);
    plan(&c, b.ptr);
    assert_int_equal(c.plan.nstage, PLAN_MAX_STAGES);
    buf_printf(&b, "FROM scratch\n");
    refused(&c, b.ptr, "10001:1", "more than");
}

/* ---- variables: features.md V4 to V7, V12 ---- */

static void from_sees_global_arguments_and_only_them(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    arg(&c, "V=given");
    plan(&c,
         "ARG V=1 W=2\nARG X=$V-$W\nFROM a:$V AS one\nENV V=3\nARG Y=4\nFROM b:${X} AS two\n"
         "COPY --from=one /x /\nFROM c:${Y:-none}\nCOPY --from=one /x /\nCOPY --from=two /x /\n");
    list_is(&c.images, "a:given|b:given-2|c:none");
    refused(&c, "ARG U\nFROM $U\n", "2:6", "blank");
    refused(&c, "FROM a AS one\nARG I=x\nFROM $I\n", "3:6", "blank");
    refused(&c, "FROM ${a\n", "1:6", "}");
}

static void a_global_argument_is_seen_in_a_stage_once_redeclared(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "ARG G=global H=h\nFROM a\nENV A=$G\nARG G\nENV B=$G\nARG G=own\nENV C=$G\n"
             "ARG H=mine\nENV D=$H\n");
    assert_string_equal(env(&c, "A"), "");
    assert_string_equal(env(&c, "B"), "global");
    assert_string_equal(env(&c, "C"), "own");
    assert_string_equal(env(&c, "D"), "mine");
    assert_true(warned(&c, "'$G'"));
    scoped(case) Case d = {0};
    arg(&d, "G=given");
    plan(&d, "ARG G=global\nFROM a\nARG G=own\nENV A=$G\n");
    assert_string_equal(env(&d, "A"), "given");
}

static void an_argument_ends_with_its_stage(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    arg(&c, "X=given");
    plan(&c, "FROM a AS one\nARG X=1\nRUN one\nFROM a\nENV A=$X\nCOPY --from=one /x /\n");
    assert_string_equal(env(&c, "A"), "");
    assert_string_equal(env(&c, "X"), "(unset)");
}

static void one_instruction_sees_the_values_before_it(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a\nENV a=1\nENV a=2 b=$a c=${b:-none}\nLABEL a=$a b=$b\nENV d=\"$a $b\"\n");
    assert_string_equal(env(&c, "a"), "2");
    assert_string_equal(env(&c, "b"), "1");
    assert_string_equal(env(&c, "c"), "none");
    assert_string_equal(env(&c, "d"), "2 1");
    assert_string_equal(label(&c, "b"), "1");
}

/* Expected: features.md V7: both are writes to one environment, in order. */
static void of_arg_and_env_the_later_one_wins(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a\nENV X=env\nARG X=arg\nENV A=$X\nRUN x\n");
    assert_string_equal(env(&c, "A"), "arg");
    assert_string_equal(env(&c, "X"), "env");
    assert_string_equal(env_get(&last(&c)->u.run.env, "X"), "arg");
    plan(&c, "FROM a\nARG X=arg\nENV X=env\nENV A=$X\nRUN x\n");
    assert_string_equal(env(&c, "A"), "env");
    assert_string_equal(env_get(&last(&c)->u.run.env, "X"), "env");
    plan(&c, "FROM a\nARG BASE=arg\nENV A=$BASE\n");
    assert_string_equal(env(&c, "A"), "arg");
    plan(&c, "FROM a\nENV X=env\nARG X\nENV A=$X\n");
    assert_string_equal(env(&c, "A"), "env");
}

static void an_argument_counts_from_its_line_on(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    arg(&c, "X=given");
    plan(&c, "FROM a\nRUN one\nARG X\nRUN two\n");
    const PlanStep *two = last(&c), *one = &c.plan.steps[two->inputs[0]];
    assert_null(env_get(&one->u.run.env, "X"));
    assert_string_equal(env_get(&two->u.run.env, "X"), "given");
    assert_string_equal(env(&c, "X"), "(unset)");
    const char *by = c.plan.history[c.plan.nhistory - 1].entry.created_by;
    assert_string_equal(by, "RUN |1 X=given /bin/sh -c two # buildkit");
}

static void a_platform_argument_is_global_and_may_be_given(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM --platform=$BUILDPLATFORM a:$TARGETOS\nENV A=$TARGETARCH\nARG TARGETARCH\n"
             "ENV B=$TARGETARCH\n");
    list_is(&c.images, "a:linux");
    assert_string_equal(env(&c, "A"), "");
    assert_string_equal(env(&c, "B"), image_arch());
    arg(&c, "TARGETOS=other");
    plan(&c, "FROM a:$TARGETOS\n");
    list_is(&c.images, "a:other");
    refused(&c, "FROM --platform=a/b/c/d a\n", "1:1", "a/b/c/d");
}

static void a_build_argument_that_nobody_takes_warns(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    arg(&c, "USED=1");
    arg(&c, "TYPO=1");
    arg(&c, "GLOBAL=1");
    arg(&c, "http_proxy=x");
    arg(&c, "ELSEWHERE=1");
    plan(&c, "ARG GLOBAL\nFROM a AS other\nARG ELSEWHERE\nFROM a\nARG USED\n");
    assert_true(warned(&c, "'TYPO'"));
    assert_true(warned(&c, "'ELSEWHERE'"));
    assert_false(warned(&c, "USED"));
    assert_false(warned(&c, "GLOBAL"));
    assert_false(warned(&c, "http_proxy"));
}

/* ---- config ---- */

static void entrypoint_resets_an_inherited_cmd_only(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a\nENTRYPOINT [\"e\"]\n");
    list_is(&c.plan.config.cmd, "");
    list_is(&c.plan.config.entrypoint, "e");
    plan(&c, "FROM a\nCMD own\nENTRYPOINT [\"e\"]\n");
    list_is(&c.plan.config.cmd, "/bin/sh|-c|own");
    plan(&c, "FROM a\nENTRYPOINT e\nCMD [\"own\"]\n");
    list_is(&c.plan.config.cmd, "own");
    list_is(&c.plan.config.entrypoint, "/bin/sh|-c|e");
    plan(&c, "FROM a AS one\nCMD own\nFROM one\nENTRYPOINT [\"e\"]\n");
    list_is(&c.plan.config.cmd, "");
    plan(&c, "FROM a\nCMD []\n");
    list_is(&c.plan.config.cmd, "");
    list_is(&c.plan.config.entrypoint, "base-entry");
    plan(&c, "FROM a\n");
    list_is(&c.plan.config.cmd, "base-cmd");
}

static void a_relative_workdir_goes_on_from_the_last(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a\nWORKDIR x\nWORKDIR ../y\nENV D=/e\nWORKDIR $D/f\nWORKDIR g h\nRUN x\n");
    assert_string_equal(c.plan.config.workdir, "/e/f/g h");
    assert_string_equal(last(&c)->u.run.cwd, "/e/f/g h");
    assert_int_equal(count(&c, STEP_WORKDIR), 4);
    assert_string_equal(c.plan.steps[1].u.workdir.path, "/base/x");
    assert_string_equal(c.plan.steps[2].u.workdir.path, "/base/y");
    plan(&c, "FROM scratch\nWORKDIR ../../a\n");
    assert_string_equal(c.plan.config.workdir, "/a");
    plan(&c, "FROM scratch\nWORKDIR /\n");
    assert_int_equal(c.plan.nstep, 1);
    assert_int_equal(c.plan.nhistory, 1);
}

static void a_copy_destination_is_absolute_and_keeps_its_slash(void **state)
{
    static const struct {
        const char *copy, *dest;
    } CASES[] = {
        {"COPY x y", "/base/y"},    {"COPY x y/", "/base/y/"},   {"COPY x .", "/base/"},
        {"COPY x ./", "/base/"},    {"COPY x /", "/"},           {"COPY x ../..", "/"},
        {"COPY x y/.", "/base/y/"}, {"COPY x /a/../b//", "/b/"}, {"COPY x $BASE", "/base/b"},
        {"COPY x ..", "/"},         {"COPY x \"\"", "/base/"},
    };

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        scoped(case) Case c = {0};
        plan(&c, arena_printf(&c.arena, "FROM a\n%s\n", CASES[i].copy));
        assert_string_equal(last(&c)->u.copy.dest, CASES[i].dest);
    }
}

static void expose_takes_ranges_protocols_and_host_parts(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a\nENV P=90-91\nEXPOSE 80 53/UDP 8000:81 127.0.0.1:82:83/sctp $P 80/tcp\n");
    list_is(&c.plan.config.exposed_ports, "1/tcp|53/udp|80/tcp|81/tcp|83/sctp|90/tcp|91/tcp");
    refused(&c, "FROM a\nEXPOSE 80/foo\n", "2:8", "foo");
    refused(&c, "FROM a\nEXPOSE 80 65536\n", "2:11", "65536");
    refused(&c, "FROM a\nEXPOSE 9-8\n", "2:8", "9-8");
    refused(&c, "FROM a\nEXPOSE x\n", "2:8", "x");
    refused(&c, "FROM a\nEXPOSE 1-2-3\n", "2:8", "1-2-3");
    refused(&c, "FROM a\nEXPOSE -1\n", "2:8", "-1");
}

static void labels_of_the_command_line_are_put_over_the_file_s(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    strlist_add(&c.arena, &c.opts.labels, "l=given");
    strlist_add(&c.arena, &c.opts.labels, "empty");
    plan(&c, "FROM a\nLABEL l=file m=\"a b\" \"n o\"=p\n");
    assert_string_equal(label(&c, "l"), "given");
    assert_string_equal(label(&c, "m"), "a b");
    assert_string_equal(label(&c, "n o"), "p");
    assert_string_equal(label(&c, "empty"), "");
}

static void history_has_one_entry_an_instruction_and_one_layer_a_step(void **state)
{
    scoped(case) Case c = {0};
    size_t layers = 0, empty = 0;

    (void)state;
    plan(&c, "FROM a\nARG X\nENV A=b\nRUN x\nCOPY a b\nWORKDIR /w\nWORKDIR /\nUSER u\nLABEL l=m\n"
             "EXPOSE 80\nCMD c\nENTRYPOINT e\n");
    assert_int_equal(c.plan.nhistory, 3 + 11);
    for (size_t i = 0; i < c.plan.nhistory; i++) {
        assert_int_equal(c.plan.history[i].from_base, i < 3);
        layers += !c.plan.history[i].entry.empty_layer;
        empty += c.plan.history[i].entry.empty_layer;
    }
    assert_int_equal(layers, c.plan.config.ndiff + 3);
    assert_int_equal(empty, 1 + 8);
    /* The steps of the history are those of the chain, in order. */
    uint32_t at = c.plan.result;
    for (size_t i = c.plan.nhistory; i-- > 3;) {
        if (c.plan.history[i].step == STEP_NONE)
            continue;
        assert_int_equal(c.plan.history[i].step, at);
        at = c.plan.steps[at].inputs[0];
    }
    assert_int_equal(c.plan.steps[at].kind, STEP_FROM);
}

static void what_a_stage_changes_its_base_does_not_see(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a AS one\nENV A=1\nFROM one AS two\nENV A=2 B=2\nLABEL l=two\nEXPOSE 2\nRUN x\n"
             "FROM one\nCOPY --from=two /x /\nENV C=3\n");
    assert_string_equal(env(&c, "A"), "1");
    assert_string_equal(env(&c, "B"), "(unset)");
    assert_string_equal(label(&c, "l"), "base");
    list_is(&c.plan.config.exposed_ports, "1/tcp");
    assert_int_equal(c.plan.nhistory, 3 + 3);
}

static void run_knows_user_directory_and_shell(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a\nENV U=me\nUSER $U:grp\nRUN echo \"$U\" \\\n  &&  true\n");
    list_is(&last(&c)->u.run.argv, "/bin/sh|-c|echo \"$U\"   &&  true");
    assert_string_equal(last(&c)->u.run.user, "me:grp");
    assert_string_equal(last(&c)->u.run.cwd, "/base");
    plan(&c, "FROM a\nRUN [\"echo\", \"$BASE\"]\n");
    list_is(&last(&c)->u.run.argv, "echo|$BASE");
    assert_string_equal(c.plan.config.user ? c.plan.config.user : "", "");
}

static void an_undefined_variable_warns_with_its_line(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a\n\nCOPY $NOPE/x $BASE /d/\n");
    assert_true(warned(&c, "Dockerfile:3"));
    assert_true(warned(&c, "'$NOPE'"));
    assert_false(warned(&c, "BASE"));
}

static void a_step_points_at_its_instruction(void **state)
{
    static const char TEXT[] = "FROM a AS b\n\nRUN x \\\n  y\nCOPY c d\n";
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, TEXT);
    const PlanStep *run = &c.plan.steps[1];
    assert_string_equal(run->stage, "b 2/3");
    assert_int_equal(run->src.line, 3);
    assert_int_equal(run->src.end_line, 4);
    assert_memory_equal(TEXT + run->src.off, "RUN x", 5);
    assert_string_equal(last(&c)->stage, "b 3/3");
    assert_string_equal(last(&c)->u.copy.sources[0].path.text, "c");
    assert_int_equal(last(&c)->u.copy.sources[0].path.src.col, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stage_the_target_does_not_need_does_not_exist),
        cmocka_unit_test(a_target_is_a_name_of_any_case_or_a_number),
        cmocka_unit_test(copy_reads_a_stage_by_name_or_number_else_an_image),
        cmocka_unit_test(a_stage_built_on_another_continues_it),
        cmocka_unit_test(from_means_an_earlier_stage_and_else_an_image),
        cmocka_unit_test(a_name_given_twice_means_the_latest_one_before),
        cmocka_unit_test(a_cycle_is_refused_with_the_names_of_its_stages),
        cmocka_unit_test(a_cycle_does_not_name_the_stage_that_leads_to_it),
        cmocka_unit_test(one_image_used_five_times_is_one_step),
        cmocka_unit_test(a_thousand_stages_are_planned_in_order),
        cmocka_unit_test(ten_thousand_stages_are_planned_and_one_more_is_refused),
        cmocka_unit_test(from_sees_global_arguments_and_only_them),
        cmocka_unit_test(a_global_argument_is_seen_in_a_stage_once_redeclared),
        cmocka_unit_test(an_argument_ends_with_its_stage),
        cmocka_unit_test(one_instruction_sees_the_values_before_it),
        cmocka_unit_test(of_arg_and_env_the_later_one_wins),
        cmocka_unit_test(an_argument_counts_from_its_line_on),
        cmocka_unit_test(a_platform_argument_is_global_and_may_be_given),
        cmocka_unit_test(a_build_argument_that_nobody_takes_warns),
        cmocka_unit_test(entrypoint_resets_an_inherited_cmd_only),
        cmocka_unit_test(a_relative_workdir_goes_on_from_the_last),
        cmocka_unit_test(a_copy_destination_is_absolute_and_keeps_its_slash),
        cmocka_unit_test(expose_takes_ranges_protocols_and_host_parts),
        cmocka_unit_test(labels_of_the_command_line_are_put_over_the_file_s),
        cmocka_unit_test(history_has_one_entry_an_instruction_and_one_layer_a_step),
        cmocka_unit_test(what_a_stage_changes_its_base_does_not_see),
        cmocka_unit_test(run_knows_user_directory_and_shell),
        cmocka_unit_test(an_undefined_variable_warns_with_its_line),
        cmocka_unit_test(a_step_points_at_its_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
