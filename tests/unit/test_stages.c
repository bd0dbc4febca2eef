/*
 * plan/stages: what names mean, which stages are needed, and what is warned of.
 */
#include "testing.h"

#include "plan/plan.h"

static const char BASE[] = "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{%s},"
                           "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";

typedef struct Case {
    Arena arena;
    PlanOpts opts;
    const char *onbuild; /* JSON array; of the image "trig" */
    Plan plan;
    StrList images;
    Err e;
} Case;

static void scoped_case_done(Case *c)
{
    arena_done(&c->arena);
}

static bool config_of(Case *c, const char *name, ImageConfig *ret)
{
    const char *onbuild = c->onbuild && !strcmp(name, "trig")
                              ? arena_printf(&c->arena, "\"OnBuild\":%s", c->onbuild)
                              : "";
    const char *text = arena_printf(&c->arena, BASE, onbuild);
    return image_config_parse(&c->arena, text, strlen(text), ret, &c->e);
}

/* Ask for images until nothing new is named, as the caller of the room does. */
static bool try_plan(Case *c, const char *text)
{
    Arena *a = &c->arena;
    DfFile *f = NEW(a, DfFile);
    PlanBase *bases = NEW_N(a, PlanBase, 32);
    size_t n = 0;
    c->e = (Err)ERR_INIT;
    if (!df_parse(a, "Dockerfile", str_c(arena_strdup(a, text)), 0, f, &c->e))
        return false;
    for (size_t before = SIZE_MAX; before != n;) {
        before = n;
        PlanImages images;
        if (!plan_images(a, f, &c->opts, bases, n, &images, &c->e))
            return false;
        c->images = images.names;
        for (size_t i = 0; i < c->images.n; i++) {
            bool known = false;
            for (size_t k = 0; k < n; k++)
                known = known || !strcmp(bases[k].name, c->images.v[i]);
            ImageConfig *config = NEW(a, ImageConfig);
            if (known || n == 32)
                continue;
            if (!config_of(c, c->images.v[i], config))
                return false;
            bases[n++] = (PlanBase){.name = c->images.v[i], .config = config};
        }
    }
    return plan_make(a, f, &c->opts, bases, n, &c->plan, &c->e);
}

static void plan(Case *c, const char *text)
{
    if (!try_plan(c, text))
        fail_msg("%s\n%s", text, c->e.msg);
}

static void refused(Case *c, const char *text, const char *part)
{
    if (try_plan(c, text))
        fail_msg("accepted: %s", text);
    if (c->e.kind != ERR_DOCKERFILE || !strstr(c->e.msg, part))
        fail_msg("%s\n'%s', wanted '%s'", text, c->e.msg, part);
}

static void images_are(const Case *c, const char *words)
{
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0; i < c->images.n; i++)
        buf_printf(&b, "%s%s", i ? "|" : "", c->images.v[i]);
    assert_string_equal(buf_str(&b), words);
}

static size_t warned(const Case *c, const char *part)
{
    size_t n = 0;
    for (size_t i = 0; i < c->plan.warnings.n; i++)
        n += strstr(c->plan.warnings.v[i], part) != NULL;
    return n;
}

/* Source: BuildKit counts images of --from and mounts behind the stages (features.md, case 28). */
static void images_that_only_from_names_are_counted_behind_the_stages(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a\nCOPY --from=x /a /a\nCOPY --from=1 /b /b\n");
    images_are(&c, "a|x");
    plan(&c, "FROM a\nRUN --mount=type=cache,target=/c --mount=from=y,target=/y z\n"
             "COPY --from=2 /b /b\n"); /* 1 is the mount without from: nothing */
    images_are(&c, "a|y");
    refused(&c, "FROM a\nCOPY --from=1 /b /b\n", "invalid stage index 1");
    refused(&c, "FROM a\nCOPY --from=-1 /b /b\n", "invalid stage index -1");
}

static void a_named_context_stands_for_a_stage_or_an_image(void **state)
{
    static const PlanContext STAGE[] = {{"one", true}}, IMAGE[] = {{"docker.io/library/a", true}};

    (void)state;
    scoped(case) Case c = {.opts = {.contexts = STAGE, .ncontext = 1}};
    plan(&c, "FROM a AS one\nRUN broken\nFROM b\nCOPY --from=one /x /y\n");
    images_are(&c, "b");
    scoped(case) Case d = {.opts = {.contexts = IMAGE, .ncontext = 1}};
    plan(&d, "FROM a\nCOPY --from=a:latest /x /y\nCOPY --from=a:2 /x /y\n");
    images_are(&d, "a:2");
}

static void a_trigger_makes_its_images_and_stages_needed(void **state)
{
    scoped(case)
        Case c = {.onbuild = "[\"COPY --from=tool /x /y\",\"RUN --mount=from=st,target=/s z\"]"};

    (void)state;
    plan(&c, "FROM s AS st\nRUN one\nFROM trig\n");
    images_are(&c, "s|trig|tool");
    assert_int_equal(c.plan.nstage, 2);
    assert_int_equal(c.plan.config.onbuild.n, 0);
    c.onbuild = "[\"COPY --from=late /x /y\"]";
    c.opts.target = "x";
    refused(&c, "FROM trig AS x\nFROM b AS late\n", "cannot copy from stage \"late\"");
}

static void onbuild_of_a_stage_fires_in_what_is_built_on_it(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a AS base\nONBUILD ENV X=1\nONBUILD RUN y\nFROM base\nFROM base AS last\n");
    assert_string_equal(env_get(&c.plan.config.env, "X"), "1");
    assert_int_equal(c.plan.config.onbuild.n, 0);
    c.opts.target = "base";
    plan(&c, "FROM a AS base\nONBUILD ENV X=1\nFROM b\n");
    assert_null(env_get(&c.plan.config.env, "X"));
    assert_string_equal(c.plan.config.onbuild.v[0], "ENV X=1");
}

static void a_cycle_or_a_later_stage_is_refused(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    refused(&c, "FROM a AS x\nCOPY --from=y /a /b\nFROM b AS y\nCOPY --from=x /a /b\nFROM c\n",
            "circular dependency detected on stage: x -> y -> x");
    refused(&c, "FROM a AS x\nRUN --mount=from=x,target=/b z\n", "circular dependency");
    refused(&c, "FROM a AS x\nCOPY --from=y /a /b\nFROM b AS y\nFROM x\n",
            "cannot copy from stage \"y\", it needs to be defined before current stage \"x\"");
    refused(&c, "FROM a AS x\nRUN --mount=from=y,target=/b z\nFROM b AS y\nFROM x\n",
            "cannot mount from stage \"y\", stage needs to be defined before");
    plan(&c, "FROM a AS x\nCOPY --from=y /a /b\nFROM b AS y\n"); /* nobody needs x */
    refused(&c, "FROM a\nCOPY --from=$x /a /b\n", "variable expansion is not supported for --from");
}

static void a_platform_matters_where_the_stage_is_needed(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM --platform=linux/s390x a AS x\nFROM --platform=$BUILDPLATFORM b\n");
    plan(&c, "FROM --platform=linux/s390x a\n");
    refused(&c, "FROM --platform=$NO a\n", "empty platform value from expression $NO");
    refused(&c, "FROM --platform=a/b/c/d a\n", "failed to parse platform");
}

/* Texts and lines: BuildKit's checks. */
static void warnings_name_their_rule_and_line(void **state)
{
    static const char *const ROWS[][2] = {
        {"FROM a\nENV A b\n", ":2: \"ENV key=value\" should be used instead of legacy \"ENV key "
                              "value\" format (LegacyKeyValueFormat)"},
        {"FROM a\nLABEL A b\n", "(LegacyKeyValueFormat)"},
        {"FROM a\nCMD [\"a\"]\nCMD [\"b\"]\n", ":2: Multiple CMD instructions"},
        {"FROM a\nENTRYPOINT a\nENTRYPOINT b\n", "(MultipleInstructionsDisallowed)"},
        {"FROM a\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n", "Multiple HEALTHCHECK"},
        {"FROM a AS x\nFROM b AS x\n", ":2: Duplicate stage name \"x\""},
        {"FROM a AS scratch\n", "(ReservedStageName)"},
        {"FROM a$B\n", "FROM argument 'B' is not declared (UndefinedArgInFrom)"},
        {"FROM a\nENV FOO=1\nUSER $FO\n",
         ":3: Usage of undefined variable '$FO' (did you mean $FOO?) (UndefinedVar)"},
        {"FROM a\nCOPY <<E /x\n$B\nE\n", "'$B' (UndefinedVar)"},
        {"FROM a\nEXPOSE 80/TCP\n", "(ExposeProtoCasing)"},
        {"FROM a\nEXPOSE 1:80\n", "(ExposeInvalidFormat)"},
        {"FROM a\nRUN b \\\n\n c\n", ":4: Empty continuation line (NoEmptyContinuation)"},
    };
    (void)state;
    for (size_t i = 0; i < NELEM(ROWS); i++) {
        scoped(case) Case c = {0};
        plan(&c, ROWS[i][0]);
        if (warned(&c, ROWS[i][1]) != 1)
            fail_msg("%s: %zu warnings, first '%s'", ROWS[i][0], c.plan.warnings.n,
                     c.plan.warnings.n ? c.plan.warnings.v[0] : "");
    }
}

static void a_comment_above_an_instruction_keeps_a_warning_away(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a\n# check=skip=LegacyKeyValueFormat // old\nENV A b\nENV B c\n"
             "# check=skip=all\nENV C $NO\n");
    assert_int_equal(warned(&c, "LegacyKeyValueFormat"), 1);
    assert_int_equal(warned(&c, "UndefinedVar"), 0);
    plan(&c, "FROM a AS x\nCMD a\nFROM x\nCMD b\n"); /* one in each stage */
    assert_int_equal(warned(&c, "MultipleInstructionsDisallowed"), 0);
}

static void expose_takes_words_in_the_order_of_their_texts(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "FROM a\nENV P=\"9/udp 5-6\"\nEXPOSE 80 $P 10\n");
    assert_string_equal(c.plan.history[c.plan.nhistory - 1].entry.created_by,
                        "EXPOSE [9/udp 5/tcp 6/tcp 10/tcp 80/tcp]");
    assert_int_equal(c.plan.config.exposed_ports.n, 5);
    refused(&c, "FROM a\nEXPOSE x\n", "invalid containerPort: x");
    refused(&c, "FROM a\nRUN []\n", "RUN in its exec form needs a program");
    refused(&c, "FROM a\nSTOPSIGNAL 0\n", "invalid signal: 0");
    refused(&c, "FROM a\nSTOPSIGNAL NOPE\n", "invalid signal: NOPE");
}

static void the_target_and_a_date_are_arguments_too(void **state)
{
    scoped(case) Case c = {0};

    (void)state;
    plan(&c, "ARG SOURCE_DATE_EPOCH=7\nFROM a AS x\nARG TARGETSTAGE\nLABEL t=$TARGETSTAGE\n");
    assert_string_equal(c.plan.epoch, "7");
    assert_string_equal(c.plan.config.labels[0].value, "x");
    plan(&c, "FROM a\nARG TARGETSTAGE\nLABEL t=$TARGETSTAGE\n");
    assert_string_equal(c.plan.config.labels[0].value, "default");
    refused(&c, "ARG SOURCE_DATE_EPOCH=not-a-timestamp\nFROM a\n",
            "invalid SOURCE_DATE_EPOCH: not-a-timestamp");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_that_only_from_names_are_counted_behind_the_stages),
        cmocka_unit_test(a_named_context_stands_for_a_stage_or_an_image),
        cmocka_unit_test(a_trigger_makes_its_images_and_stages_needed),
        cmocka_unit_test(onbuild_of_a_stage_fires_in_what_is_built_on_it),
        cmocka_unit_test(a_cycle_or_a_later_stage_is_refused),
        cmocka_unit_test(a_platform_matters_where_the_stage_is_needed),
        cmocka_unit_test(warnings_name_their_rule_and_line),
        cmocka_unit_test(a_comment_above_an_instruction_keeps_a_warning_away),
        cmocka_unit_test(expose_takes_words_in_the_order_of_their_texts),
        cmocka_unit_test(the_target_and_a_date_are_arguments_too),
    };
    return cmocka_run_group_tests_name("stages", tests, NULL, NULL);
}
