/*
 * cmd/dockerfile.c - `lighter dockerfile parse|expand|plan`: the language, without a build.
 */
#include <stdio.h>

#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/lines.h"
#include "dockerfile/dockerfile.h"
#include "plan/plan.h"

/* ---- parse ---- */

typedef struct ParseOpts {
    const char *format;
} ParseOpts;

static const OptRow PARSE_ROWS[] = {
    {"format", 0, OPT_STRING, offsetof(ParseOpts, format), "FORM",
     "buildkit: S-expressions (default); json: with places and here-documents"},
};
static const OptTable PARSE_TABLE = {"lighter dockerfile parse [--format=buildkit|json] FILE",
                                     "print what a Dockerfile's text says", PARSE_ROWS,
                                     NELEM(PARSE_ROWS), false};

static bool read_file(const char *path, Buf *out, Err *e)
{
    if (!strcmp(path, "-"))
        return fs_read_all(STDIN_FILENO, DF_MAX_SIZE, out, e) ||
               (e->kind = ERR_DOCKERFILE, err_wrap(e, "<stdin>"));
    Err why = ERR_INIT;
    return fs_read_file(AT_FDCWD, path, DF_MAX_SIZE, out, &why) ||
           err_set(e, ERR_DOCKERFILE, "%s", why.msg);
}

static bool one_file(const StrList *operands, Err *e)
{
    if (operands->n == 1)
        return true;
    return err_set(e, ERR_USAGE,
                   operands->n ? "takes one file, and got '%s' too"
                               : "needs a file, or - for stdin",
                   operands->n ? operands->v[1] : "");
}

static bool parse(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const ParseOpts *o = opts;
    const char *format = o->format ? o->format : "buildkit";
    scoped(buf) Buf text = BUF_INIT, out = BUF_INIT;
    DfNodes nodes;
    bool json = !strcmp(format, "json");
    if (!one_file(operands, e))
        return false;
    if (!json && strcmp(format, "buildkit") != 0)
        return err_set(e, ERR_USAGE, "--format=%s: expected buildkit or json", format);
    if (!read_file(operands->v[0], &text, e) ||
        !df_nodes(a, operands->v[0], (Str){buf_str(&text), text.len}, &nodes, e))
        return false;
    if (json)
        df_json(&nodes, text.len, &out);
    else
        df_dump(&nodes, &out);
    *ret_code = 0;
    return fs_write_all(STDOUT_FILENO, buf_str(&out), out.len, e);
}

/* ---- expand ---- */

static const OptTable EXPAND_TABLE = {
    "lighter dockerfile expand",
    "replace variables in words: JSON lines {mode,word,env,escape} from stdin to stdout", NULL, 0,
    false};

static json_t *names_json(const StrList *l)
{
    json_t *list = json_array();
    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(list, json_string_lossy(l->v[i]));
    return list;
}

/* Answer one question; false with a refusal of the input in `e`. */
static bool expand_one(Arena *a, const json_t *q, json_t **ret, Err *e)
{
    const char *word = json_str(q, "word"), *mode = json_str(q, "mode");
    const char *escape = json_str(q, "escape");
    StrList env = json_strlist(a, q, "env"), vars = {0}, matched = {0}, unset = {0}, words;
    for (size_t i = 0; i < env.n; i++) { /* the last of a name counts, "A" means "A=" */
        size_t n = strcspn(env.v[i], "=");
        env_set(a, &vars, arena_strndup(a, env.v[i], n), env.v[i][n] ? env.v[i] + n + 1 : "");
    }
    DfScope scope = {.arena = a,
                     .env = &vars,
                     .escape = escape && *escape ? *escape : '\\',
                     .matched = &matched,
                     .unset = &unset};
    char *text;
    if (!word)
        return err_set(e, ERR_DOCKERFILE, "no word");
    if (mode && strcmp(mode, "word") != 0 && strcmp(mode, "words") != 0)
        return err_set(e, ERR_DOCKERFILE, "mode '%s' is neither word nor words", mode);
    json_t *answer = NULL;
    if (mode && !strcmp(mode, "words")) {
        if (!df_expand_words(&scope, word, &words, e))
            return false;
        answer = json_object();
        json_object_set_new(answer, "words", names_json(&words));
    } else {
        if (!df_expand(&scope, word, &text, e))
            return false;
        answer = json_object();
        json_object_set_new(answer, "word", json_string_lossy(text));
        json_object_set_new(answer, "matched", names_json(&matched));
        json_object_set_new(answer, "unmatched", names_json(&unset));
    }
    *ret = answer;
    return true;
}

static bool expand(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    scoped(lines) Lines l = {0};
    (void)a;
    (void)opts;
    *ret_code = 0;
    if (operands->n)
        return err_set(e, ERR_USAGE, "takes no operand, and got '%s'", operands->v[0]);
    for (;;) {
        scoped(arena) Arena own = {0};
        scoped(json) json_t *q = NULL;
        Err why = ERR_INIT;
        json_t *answer = NULL;
        Str line;
        bool any;
        if (!lines_next(&l, &line, &any, e))
            return false;
        if (!any)
            return true;
        if (!json_parse(line.ptr, line.len, &q, &why))
            return err_set(e, ERR_USAGE, "line %zu: %s", l.nr, why.msg);
        if (expand_one(&own, q, &answer, &why))
            lines_answer(&l, answer);
        else
            lines_refuse(&l, &why);
    }
}

/* ---- plan ---- */

typedef struct PlanCmdOpts {
    const char *target;
    StrList build_args;
} PlanCmdOpts;

static const OptRow PLAN_ROWS[] = {
    {"target", 0, OPT_STRING, offsetof(PlanCmdOpts, target), "STAGE", "plan up to this stage"},
    {"build-arg", 0, OPT_LIST, offsetof(PlanCmdOpts, build_args), "NAME=VALUE", "set an ARG"},
};
static const OptTable PLAN_TABLE = {
    "lighter dockerfile plan [OPTIONS] FILE",
    "print the steps a build would take; images count as empty, for none is asked for", PLAN_ROWS,
    NELEM(PLAN_ROWS), false};

static void print_step(const Plan *p, size_t i, Buf *out)
{
    const PlanStep *s = &p->steps[i];
    buf_printf(out, "%4zu  %s: %.*s", i, s->stage, (int)strcspn(s->title, "\n"), s->title);
    for (size_t k = 0; k < s->ninput; k++)
        buf_printf(out, "%s%u", k ? ", " : "  <- ", s->inputs[k]);
    buf_putc(out, '\n');
}

/* All images are known, and none says anything: enough for every step but what a base triggers. */
static bool make_plan(Arena *a, const DfFile *f, const PlanOpts *o, Plan *ret, Err *e)
{
    PlanImages images;
    ImageConfig empty = image_config_empty(a);
    if (!plan_images(a, f, o, NULL, 0, &images, e))
        return false;
    PlanBase *bases = NEW_N(a, PlanBase, images.names.n + 1);
    for (size_t i = 0; i < images.names.n; i++)
        bases[i] = (PlanBase){images.names.v[i], &empty, images.platforms.v[i]};
    return plan_make(a, f, o, bases, images.names.n, ret, e);
}

static bool plan(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const PlanCmdOpts *o = opts;
    PlanOpts po = {.target = o->target, .build_args = o->build_args};
    scoped(buf) Buf text = BUF_INIT, out = BUF_INIT;
    DfFile f;
    Plan p;
    if (!one_file(operands, e) || !read_file(operands->v[0], &text, e))
        return false;
    for (size_t i = 0; i < o->build_args.n; i++)
        if (!strchr(o->build_args.v[i], '='))
            return err_set(e, ERR_USAGE, "--build-arg %s: expected NAME=VALUE", o->build_args.v[i]);
    if (!df_parse(a, path_base(operands->v[0]), (Str){buf_str(&text), text.len}, 0, &f, e) ||
        !make_plan(a, &f, &po, &p, e))
        return false;
    for (size_t i = 0; i < p.nstep; i++)
        print_step(&p, i, &out);
    buf_printf(&out, "%zu steps in %zu stages; the image is what step %u leaves\n", p.nstep,
               p.nstage, p.result);
    for (size_t i = 0; i < p.warnings.n; i++)
        cmd_print(stderr, arena_printf(a, "warning: %s\n", p.warnings.v[i]));
    *ret_code = 0;
    cmd_print(stdout, buf_str(&out));
    return fflush(stdout) == 0 || err_errno(e, ERR_ENV, "write to stdout");
}

static const Cmd SUBS[] = {
    {.name = "parse", .table = &PARSE_TABLE, .opts_size = sizeof(ParseOpts), .run = parse},
    {.name = "expand", .table = &EXPAND_TABLE, .opts_size = 1, .run = expand},
    {.name = "plan", .table = &PLAN_TABLE, .opts_size = sizeof(PlanCmdOpts), .run = plan},
    {.name = NULL},
};
static const OptTable TABLE = {"lighter dockerfile COMMAND", "read Dockerfiles without building",
                               NULL, 0, false};
const Cmd CMD_DOCKERFILE = {.name = "dockerfile", .table = &TABLE, .subs = SUBS};
