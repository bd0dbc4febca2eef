/*
 * cmd/context.c - `lighter context`: what an ignore file makes of a context.
 */
#include "context/context.h"
#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/lines.h"

/* ---- match ---- */

typedef struct MatchOpts {
    char nothing;
} MatchOpts;

static const OptTable MATCH_TABLE = {
    "lighter context match  (stdin: lines of {\"patterns\":[...],\"path\":PATH} or "
    "{\"ignore\":TEXT,\"path\":PATH})",
    "ask ignore patterns about single paths; answers are lines of JSON", NULL, 0, false};

typedef struct Question {
    bool has_patterns;
    StrList patterns;
    const char *text, *path;
} Question;

/* The members of a question; `why` is what is wrong with it. */
static bool read_members(Arena *a, const json_t *j, Question *ret, const char **ret_why)
{
    const json_t *patterns = json_object_get(j, "patterns"), *item;
    size_t i;

    *ret = (Question){.has_patterns = patterns != NULL,
                      .text = json_str(j, "ignore"),
                      .path = json_str(j, "path")};
    if (!ret->path)
        *ret_why = "no string 'path'";
    else if (!patterns == !ret->text)
        *ret_why = "it takes either a list 'patterns' or a string 'ignore'";
    else if (patterns && !json_is_array(patterns))
        *ret_why = "'patterns' is no list";
    json_array_foreach(patterns, i, item)
    {
        if (json_is_string(item))
            strlist_add(a, &ret->patterns, json_string_value(item));
        else
            *ret_why = "'patterns' holds more than strings";
    }
    return !*ret_why;
}

static bool read_question(Arena *a, const Lines *l, Str line, json_t **ret_json, Question *ret,
                          Err *e)
{
    json_error_t wrong;
    const char *why = NULL;

    *ret_json = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &wrong);
    if (!*ret_json)
        return err_set(e, ERR_USAGE, "line %zu, column %d: not JSON: %s", l->nr, wrong.column,
                       wrong.text);
    return read_members(a, *ret_json, ret, &why) ||
           err_set(e, ERR_USAGE, "line %zu: %s", l->nr, why);
}

static bool answer(Lines *l, Str line, bool *refused, Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(json) json_t *j = NULL;
    Question q;
    Err why = ERR_INIT;
    bool excluded;

    if (!read_question(&a, l, line, &j, &q, e))
        return false;
    if (context_match(&a, q.has_patterns ? &q.patterns : NULL, q.text, q.path, &excluded, &why)) {
        json_t *said = json_object();
        json_object_set_new(said, "match", json_boolean(excluded));
        lines_answer(l, said);
    } else {
        lines_refuse(l, &why);
        *refused = true;
    }
    return true;
}

static bool run_match(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    scoped(lines) Lines l = {0};
    bool any = false, refused = false;
    Str line;

    (void)a, (void)opts;
    if (operands->n)
        return err_set(e, ERR_USAGE, "takes questions on standard input, and got '%s'",
                       operands->v[0]);
    while (lines_next(&l, &line, &any, e)) {
        if (!any) {
            *ret_code = refused ? ERR_DOCKERFILE : 0;
            return true;
        }
        if (line.ptr[strspn(line.ptr, " \t\r")] && !answer(&l, line, &refused, e))
            break;
    }
    Err ignored = ERR_INIT; /* the first failure is the one to tell */
    (void)!lines_flush(&l, &ignored);
    return false;
}

/* ---- ls ---- */

typedef struct LsOpts {
    const char *ignore_file, *why;
    bool sizes;
} LsOpts;

static const OptRow LS_ROWS[] = {
    {"ignore-file", 0, OPT_STRING, offsetof(LsOpts, ignore_file), "FILE",
     "use this ignore file instead of DIR/.dockerignore"},
    {"sizes", 0, OPT_BOOL, offsetof(LsOpts, sizes), NULL,
     "put each file's bytes in front, and a total at the end"},
    {"why", 0, OPT_STRING, offsetof(LsOpts, why), "PATH",
     "tell which line of the ignore file decides about PATH in DIR"},
};
static const OptTable LS_TABLE = {
    "lighter context ls [OPTIONS] DIR",
    "list what a build would see of a context, sorted by bytes, directories with a '/'", LS_ROWS,
    NELEM(LS_ROWS), false};

enum { OUT_BYTES = 256 << 10 };

/* Whether the bytes `a` and `b` are a control character of C1 in UTF-8. */
static bool is_c1(char a, char b)
{
    return (unsigned char)a == 0xc2 && ((unsigned char)b & 0xe0) == 0x80;
}

/* Can a name stand on a line as it is? Not with control characters, nor as a quoted name does. */
static bool is_plain(Str path)
{
    unsigned char odd = path.ptr[0] == '"';

    for (size_t i = 0; i < path.len; i++)
        odd |= (unsigned char)path.ptr[i] < ' ' || path.ptr[i] == 0x7f ||
               (i > 0 && is_c1(path.ptr[i - 1], path.ptr[i]));
    return !odd;
}

/* A name in double quotes, with the escapes of C. */
static void quote(Buf *out, Str path)
{
    static const char ESCAPED[] = "\a\b\t\n\v\f\r\"\\", LETTERS[] = "abtnvfr\"\\";

    buf_putc(out, '"');
    for (size_t i = 0; i < path.len; i++) {
        const char *at = strchr(ESCAPED, path.ptr[i]);
        if (at)
            buf_printf(out, "\\%c", LETTERS[at - ESCAPED]);
        else if ((unsigned char)path.ptr[i] < ' ' || path.ptr[i] == 0x7f ||
                 (i + 1 < path.len && is_c1(path.ptr[i], path.ptr[i + 1])) ||
                 (i > 0 && is_c1(path.ptr[i - 1], path.ptr[i])))
            buf_printf(out, "\\%03o", (unsigned)(unsigned char)path.ptr[i]);
        else
            buf_putc(out, path.ptr[i]);
    }
    buf_putc(out, '"');
}

static bool flush(Buf *out, Err *e)
{
    size_t n = out->len;
    out->len = 0;
    return !n || fs_write_all(STDOUT_FILENO, out->ptr, n, e) || err_wrap(e, "write the list");
}

static bool list(const Context *c, bool sizes, Err *e)
{
    scoped(walk) ContextWalk *w = context_walk_new(c, NULL, sizes ? CONTEXT_SIZES : CONTEXT_NAMES);
    scoped(buf) Buf out = BUF_INIT;
    ContextEntry entry;
    uint64_t total = 0;
    bool any = true;

    while (any) {
        if (!context_walk_step(w, &entry, &any, e))
            break;
        if (!any)
            continue;
        if (sizes)
            buf_printf(&out, "%llu\t", (unsigned long long)entry.size);
        if (is_plain(entry.path))
            buf_add(&out, entry.path.ptr, entry.path.len);
        else
            quote(&out, entry.path);
        buf_putc(&out, '\n');
        total += entry.size;
        if (out.len > OUT_BYTES && !flush(&out, e))
            return false;
    }
    if (sizes && !any)
        buf_printf(&out, "%llu\ttotal\n", (unsigned long long)total);
    /* What was listed before a failure is written; the failure is told. */
    Err later = ERR_INIT;
    return flush(&out, any ? &later : e) && !any;
}

static bool run_ls(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const LsOpts *o = opts;
    scoped(context) Context *c = NULL;
    char *why;

    if (operands->n != 1)
        return err_set(e, ERR_USAGE, "takes one directory%s%s%s",
                       operands->n ? ", and got '" : "; '.' is this one",
                       operands->n ? operands->v[1] : "", operands->n ? "' too" : "");
    if (o->why && o->sizes)
        return err_set(e, ERR_USAGE, "--why tells about one path, --sizes about all");
    const char *dir = operands->v[0];
    if (o->ignore_file ? !context_open_with(a, dir, o->ignore_file, &c, e)
                       : !context_open(a, dir, NULL, &c, e))
        return false;
    *ret_code = 0;
    if (!o->why)
        return list(c, o->sizes, e);
    if (!context_why(c, a, o->why, &why, e))
        return false;
    cmd_print(stdout, why);
    putchar('\n');
    return true;
}

static const Cmd SUBS[] = {{"ls", &LS_TABLE, sizeof(LsOpts), run_ls, NULL},
                           {"match", &MATCH_TABLE, sizeof(MatchOpts), run_match, NULL},
                           {.name = NULL}};
static const OptTable GROUP_TABLE = {"lighter context COMMAND",
                                     "questions about build contexts and their ignore files", NULL,
                                     0, false};

const Cmd CMD_CONTEXT = {.name = "context", .table = &GROUP_TABLE, .subs = SUBS};
