/*
 * unit/govectors.h - cases whose answers are the Go project's own.
 *
 * tests/go/vectors made them; a line is {"op", "in", "out"}, with the texts in hex when "x" is
 * there. LIGHTER_GO_CASES may name a directory with files of the same names, for runs with millions
 * of cases.
 */
#ifndef UNIT_GOVECTORS_H
#define UNIT_GOVECTORS_H

#include "testing.h"

#include "base/json.h"

enum { GO_ARGS_MAX = 6 };

/* The answer to one case, in the arena; NULL when our interface has no room for such an input. */
typedef struct GoOp {
    const char *name;
    const char *(*answer)(Arena *a, const Str *in);
} GoOp;

/* Does `s` fit a C string? */
static inline bool no_nul(Str s)
{
    return !memchr(s.ptr, 0, s.len);
}

static inline int hex_nibble(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static inline Str from_hex(Arena *a, const char *s)
{
    size_t n = strlen(s) / 2;
    char *out = arena_alloc(a, n + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(hex_nibble(s[2 * i]) << 4 | hex_nibble(s[2 * i + 1]));
    return (Str){out, n};
}

/* Answer the case on one line and compare; true when there was an answer. */
static inline bool vector_line(Arena *a, const GoOp *ops, size_t nop, const char *line, size_t len)
{
    Err e = ERR_INIT;
    Str in[GO_ARGS_MAX] = {{"", 0}};
    scoped(json) json_t *j = NULL;
    OK(json_parse(line, len, &j, &e));
    bool hex = json_is_true(json_object_get(j, "x"));
    StrList args = json_strlist(a, j, "in");
    if (args.n > GO_ARGS_MAX)
        fail_msg("too many inputs: %.*s", (int)len, line);
    for (size_t i = 0; i < args.n; i++)
        in[i] = hex ? from_hex(a, args.v[i]) : str_c(args.v[i]);
    const char *op = json_str(j, "op"), *want = json_str(j, "out");
    if (hex)
        want = from_hex(a, want).ptr;
    for (size_t i = 0; i < nop; i++) {
        if (strcmp(ops[i].name, op) != 0)
            continue;
        const char *got = ops[i].answer(a, in);
        if (got && strcmp(got, want) != 0)
            fail_msg("we say '%s', not '%s': %.*s", got, want, (int)len, line);
        return got != NULL;
    }
    fail_msg("unknown op: %s", op);
    return false;
}

static inline void vector_file(const GoOp *ops, size_t nop, const char *path)
{
    size_t ncase = 0, nskip = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        fail_msg("open '%s': %s", path, strerror(errno));
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0;) {
        scoped(arena) Arena a = {0};
        ncase++;
        nskip += !vector_line(&a, ops, nop, line, (size_t)n);
    }
    free(line);
    fclose(f);
    assert_true(ncase > 0);
    print_message("%s: %zu cases, %zu of them without an answer\n", path, ncase, nskip);
}

static inline void vectors(const GoOp *ops, size_t nop, const char *kind)
{
    scoped(arena) Arena a = {0};
    const char *unit = getenv("LIGHTER_UNIT"), *more = getenv("LIGHTER_GO_CASES");
    if (!unit)
        SKIP("LIGHTER_UNIT, the directory of the unit tests, is not set");
    vector_file(ops, nop, arena_printf(&a, "%s/../vectors/go/%s.jsonl", unit, kind));
    const char *path = arena_printf(&a, "%s/%s.jsonl", more ? more : "", kind);
    if (more && access(path, F_OK) == 0)
        vector_file(ops, nop, path);
}

static inline const char *truth(bool b)
{
    return b ? "true" : "false";
}

#endif
