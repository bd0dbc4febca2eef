/*
 * dockerfile/parse.c - whole texts: instructions, triggers and nodes.
 */
#include "dockerfile/make.h"
#include "dockerfile/node.h"

/* Errors one run tells of. */
enum { MAX_ERRORS = 10 };

/* Errors of one run, each with its place. */
typedef struct Errors {
    Buf text;
    unsigned n;
} Errors;

static void note(Errors *all, const Err *e)
{
    if (++all->n <= MAX_ERRORS)
        buf_printf(&all->text, "%s%s", all->n > 1 ? "\n" : "", e->msg);
}

static bool checked_text(const char *name, Str text, Err *e)
{
    if (text.len > DF_MAX_SIZE)
        return err_set(e, ERR_DOCKERFILE, "%s: larger than the limit of %d bytes", name,
                       DF_MAX_SIZE);
    if (memchr(text.ptr ? text.ptr : "", 0, text.len))
        return err_set(e, ERR_DOCKERFILE, "%s: holds a NUL byte, so it is not a text", name);
    return true;
}

/* Whether an instruction stands where it may: only ARG before the first FROM. */
static bool in_place(Maker *m, bool *stage)
{
    *stage = *stage || m->in->kind == DF_FROM;
    return *stage || m->in->kind == DF_ARG ||
           df_err(m->file, &m->in->src, m->e,
                  "no build stage in current context: %s must come after FROM", m->in->name);
}

static bool read_all(Arena *a, DfFile *f, Lexer *lx, Errors *all, Err *e)
{
    size_t cap = 0;
    bool stage = false;
    for (;;) {
        LogicalLine l;
        NodeRead r;
        Err why = ERR_INIT;
        bool got;
        if (!node_next(lx, &l, &r, &got, e))
            return false;
        if (!got)
            return true;
        if (l.empty_continuation)
            strlist_add(a, &f->warnings,
                        arena_printf(a, "%s:%u: Empty continuation line (NoEmptyContinuation)",
                                     f->name, l.text_line));
        f->escape = lx->escape;
        DfNode *node = NEW(a, DfNode);
        *node = r.node;
        Maker m = {a, f, node, ARENA_PUSH(a, f->instrs, f->ninstr, cap), &why};
        bool ok =
            r.ok ? make_instr(&m) && in_place(&m, &stage) : df_err(f, &r.at, &why, "%s", r.why.msg);
        stage = stage || m.in->kind == DF_FROM;
        if (!ok)
            note(all, &why);
    }
}

bool df_parse(Arena *a, const char *name, Str text, unsigned flags, DfFile *ret, Err *e)
{
    DfFile f = {.name = name, .text = text};
    Errors all = {0};
    Lexer lx;
    if (!checked_text(name, text, e))
        return false;
    lex_init(&lx, a, &f);
    lx.any_syntax = flags & DF_ANY_SYNTAX;
    Err why = ERR_INIT;
    if (!read_all(a, &f, &lx, &all, &why))
        note(&all, &why);
    if (all.n > MAX_ERRORS)
        buf_printf(&all.text, "\n%s: %u more errors", name, all.n - MAX_ERRORS);
    if (all.n)
        err_set(e, ERR_DOCKERFILE, "%s", buf_str(&all.text));
    buf_done(&all.text);
    if (all.n)
        return false;
    for (size_t i = 0; i < lx.warnings.n; i++)
        strlist_add(a, &f.warnings, lx.warnings.v[i]);
    f.escape = lx.escape;
    f.check = lx.check;
    if (!f.ninstr)
        return err_set(e, ERR_DOCKERFILE, "%s: %s", name,
                       text.len ? "file with no instructions" : "the Dockerfile cannot be empty");
    *ret = f;
    return true;
}

bool df_parse_trigger(Arena *a, const DfFile *file, const SrcSpan *at, const char *trigger,
                      DfInstr *ret, Err *e)
{
    DfFile f = {.name = file->name, .text = str_c(trigger), .escape = '\\'};
    DfFile *shown = NEW(a, DfFile);
    Lexer lx;
    LogicalLine l;
    NodeRead r;
    bool got = false, more = false;
    *shown = *file;
    lex_init(&lx, a, &f);
    lx.fixed = at;
    Err why = ERR_INIT;
    if (!node_next(&lx, &l, &r, &got, &why) || !got || !r.ok)
        return df_err(file, at, e, "ONBUILD trigger '%.200s' of the base: %s", trigger,
                      !got && !why.kind ? "nothing to do"
                      : r.ok            ? why.msg
                                        : r.why.msg);
    DfNode *node = NEW(a, DfNode), rest = r.node;
    *node = rest;
    DfInstr in = {.onbuild = true};
    Maker m = {a, shown, node, &in, &why};
    if (!make_instr(&m))
        return err_set(e, ERR_DOCKERFILE, "ONBUILD trigger '%.200s' of the base: %s", trigger,
                       why.msg);
    if (!node_next(&lx, &l, &r, &more, &why) || more || in.kind == DF_FROM)
        return df_err(file, at, e,
                      "ONBUILD trigger '%.200s' of the base: it must be one "
                      "instruction, and no FROM",
                      trigger);
    in.onbuild = true;
    *ret = in;
    return true;
}

bool df_nodes(Arena *a, const char *name, Str text, DfNodes *ret, Err *e)
{
    DfFile f = {.name = name, .text = text};
    DfNodes out = {0};
    Lexer lx;
    if (!checked_text(name, text, e))
        return false;
    lex_init(&lx, a, &f);
    lx.raw = true;
    for (;;) {
        LogicalLine l;
        NodeRead r;
        bool got;
        if (!node_next(&lx, &l, &r, &got, e))
            return false;
        if (!got)
            break;
        if (!r.ok)
            return df_err(&f, &r.at, e, "%s", r.why.msg);
        *ARENA_PUSH(a, out.v, out.n, out.cap) = r.node;
    }
    if (!out.n)
        return err_set(e, ERR_DOCKERFILE, "%s: file with no instructions", name);
    out.escape = lx.escape;
    *ret = out;
    return true;
}
