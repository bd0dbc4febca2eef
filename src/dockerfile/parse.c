/*
 * dockerfile/parse.c - logical lines to typed instructions.
 */
#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

#include "dockerfile/dockerfile.h"
#include "dockerfile/lex.h"

/* The instruction being read: its rest of line and how far reading got. */
typedef struct Reader {
    Arena *arena;
    DfFile *file;
    const Lexer *lx;
    const LogicalLine *line;
    size_t at; /* start of what is not read yet, blanks skipped */
    DfInstr *in;
    Err *e;
} Reader;

bool df_err(const DfFile *f, const SrcSpan *at, Err *e, const char *fmt, ...)
{
    char msg[ERR_MSG_MAX / 2];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    return err_set(e, ERR_DOCKERFILE, "%s:%u:%u: %s", f->name, at->line, at->col, msg);
}

static bool space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static const char *rest(const Reader *r)
{
    return r->line->text + r->at;
}

static void skip_space(Reader *r)
{
    while (space(*rest(r)))
        r->at++;
}

static SrcSpan span(const Reader *r, size_t from, size_t to)
{
    return lex_span(r->lx, r->line, from, to);
}

static DfWord word(const Reader *r, size_t from, size_t to)
{
    return (DfWord){arena_strndup(r->arena, r->line->text + from, to - from), span(r, from, to)};
}

/* ---- words ---- */

/* Split the rest at blanks, quotes as plain characters (FROM, COPY, EXPOSE). */
static void split_plain(Reader *r, DfWord **ret, size_t *ret_n)
{
    DfWord *v = NULL;
    size_t n = 0, cap = 0;
    for (skip_space(r); *rest(r); skip_space(r)) {
        size_t start = r->at;
        while (*rest(r) && !space(*rest(r)))
            r->at++;
        *ARENA_PUSH(r->arena, v, n, cap) = word(r, start, r->at);
    }
    *ret = v;
    *ret_n = n;
}

/* End of the word at `i`: blanks inside quotes and after the escape character belong to it. */
static size_t quoted_end(const char *s, size_t i, char escape)
{
    char quote = 0;
    for (; s[i]; i++) {
        if (!quote && space(s[i]))
            break;
        if (s[i] == escape && quote != '\'') {
            if (!s[i + 1])
                continue;
            i++;
        } else if (quote) {
            if (s[i] == quote)
                quote = 0;
        } else if (s[i] == '\'' || s[i] == '"') {
            quote = s[i];
        }
    }
    return i;
}

/* Split the rest at blanks outside quotes (ENV, LABEL, ARG). */
static void split_quoted(Reader *r, DfWord **ret, size_t *ret_n)
{
    DfWord *v = NULL;
    size_t n = 0, cap = 0;
    for (skip_space(r); *rest(r); skip_space(r)) {
        size_t start = r->at;
        r->at = quoted_end(r->line->text, r->at, r->lx->escape);
        size_t end = r->at;
        /* An escape character at the very end of the line escapes nothing and is dropped. */
        if (!r->line->text[end] && end - start >= 1 && r->line->text[end - 1] == r->lx->escape &&
            (end - start < 2 || r->line->text[end - 2] != r->lx->escape))
            end--;
        if (end > start)
            *ARENA_PUSH(r->arena, v, n, cap) = word(r, start, end);
    }
    *ret = v;
    *ret_n = n;
}

/* The rest as one word without blanks around it; NULL text when nothing is there. */
static DfWord whole(Reader *r)
{
    skip_space(r);
    size_t end = r->line->len;
    while (end > r->at && space(r->line->text[end - 1]))
        end--;
    if (end == r->at)
        return (DfWord){0};
    return word(r, r->at, end);
}

/* A JSON array of strings, if the rest is exactly that. */
static bool json_form(const Reader *r, StrList *ret)
{
    const char *s = rest(r);
    if (*s != '[')
        return false;
    json_error_t je;
    json_t *j = json_loads(s, 0, &je);
    bool ok = json_is_array(j);
    StrList l = {0};
    for (size_t i = 0; ok && i < json_array_size(j); i++) {
        const char *v = json_string_value(json_array_get(j, i));
        ok = v != NULL;
        if (ok)
            strlist_add(r->arena, &l, v);
    }
    json_decref(j);
    if (ok)
        *ret = l;
    return ok;
}

/* ---- here-documents: found, and refused ---- */

static bool is_heredoc_word(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && isdigit((unsigned char)s[i]))
        i++;
    if (n - i < 3 || s[i] != '<' || s[i + 1] != '<')
        return false;
    i += 2;
    if (s[i] == '-')
        i++;
    return i < n && !memchr(s + i, '<', n - i);
}

static bool refuse_heredoc(Reader *r)
{
    for (size_t i = r->at; r->line->text[i];) {
        while (space(r->line->text[i]))
            i++;
        size_t end = quoted_end(r->line->text, i, r->lx->escape);
        if (is_heredoc_word(r->line->text + i, end - i)) {
            SrcSpan at = span(r, i, end);
            return df_err(r->file, &at, r->e, "%s: here-documents are not supported yet",
                          r->in->name);
        }
        i = end;
    }
    return true;
}

/* ---- flags ---- */

/* A flag an instruction has in the language. `why` set: known, and refused with that reason. */
typedef struct FlagRow {
    DfKind kind;
    const char *name;
    const char *why;
} FlagRow;

#define LATER "not supported yet"
static const FlagRow FLAGS[] = {
    {DF_FROM, "platform", NULL}, {DF_COPY, "from", NULL},   {DF_COPY, "chown", LATER},
    {DF_COPY, "chmod", LATER},   {DF_COPY, "link", LATER},  {DF_COPY, "parents", LATER},
    {DF_COPY, "exclude", LATER}, {DF_RUN, "mount", LATER},  {DF_RUN, "network", LATER},
    {DF_RUN, "security", LATER}, {DF_RUN, "device", LATER},
};

static bool take_flag(Reader *r, const char *name, const char *value, const SrcSpan *at)
{
    for (size_t i = 0; i < NELEM(FLAGS); i++) {
        if (FLAGS[i].kind != r->in->kind || strcmp(FLAGS[i].name, name) != 0)
            continue;
        if (FLAGS[i].why)
            return df_err(r->file, at, r->e, "%s --%s: %s", r->in->name, name, FLAGS[i].why);
        if (!value || !*value)
            return df_err(r->file, at, r->e, "%s --%s: needs a value", r->in->name, name);
        const char **slot = r->in->kind == DF_FROM ? &r->in->u.from.platform : &r->in->u.copy.from;
        if (*slot)
            return df_err(r->file, at, r->e, "%s --%s: given twice", r->in->name, name);
        *slot = arena_strdup(r->arena, value);
        return true;
    }
    return df_err(r->file, at, r->e, "%s: unknown flag '--%s'", r->in->name, name);
}

static bool flags(Reader *r)
{
    for (skip_space(r); !strncmp(rest(r), "--", 2); skip_space(r)) {
        size_t start = r->at;
        while (*rest(r) && !space(*rest(r)))
            r->at++;
        SrcSpan at = span(r, start, r->at);
        if (r->at - start == 2) /* a bare "--" ends the flags */
            break;
        char *text = arena_strndup(r->arena, r->line->text + start + 2, r->at - start - 2);
        char *eq = strchr(text, '=');
        if (eq)
            *eq = 0;
        if (!take_flag(r, text, eq ? eq + 1 : NULL, &at))
            return false;
    }
    skip_space(r);
    return true;
}

/* ---- instructions ---- */

static bool stage_name_ok(const char *s)
{
    if (!islower((unsigned char)*s))
        return false;
    for (; *s; s++)
        if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && !strchr("-_.", *s))
            return false;
    return true;
}

static bool parse_from(Reader *r)
{
    DfWord *w;
    size_t n;
    split_plain(r, &w, &n);
    if (n == 3 && !strcasecmp(w[1].text, "as")) {
        char *name = arena_strdup(r->arena, w[2].text);
        for (char *c = name; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        if (!stage_name_ok(name))
            return df_err(r->file, &w[2].src, r->e,
                          "invalid name for build stage: '%s', name can't start with a number or "
                          "contain symbols",
                          w[2].text);
        r->in->u.from.stage = name;
    } else if (n != 1) {
        return df_err(r->file, &r->in->src, r->e,
                      "FROM requires either one argument, or three: FROM <source> [AS <name>]");
    }
    r->in->u.from.image = w[0];
    return true;
}

static bool parse_command(Reader *r)
{
    DfCommand *c = &r->in->u.command;
    if (r->in->kind == DF_RUN && !refuse_heredoc(r))
        return false;
    if (json_form(r, &c->argv)) {
        if (r->in->kind == DF_RUN && !c->argv.n)
            return df_err(r->file, &r->in->src, r->e, "RUN: the exec form needs a program");
        return true;
    }
    /* Shell form; without any text it is the shell with an empty script. */
    DfWord w = whole(r);
    c->shell = true;
    strlist_add(r->arena, &c->argv, w.text ? w.text : "");
    return true;
}

static bool parse_copy(Reader *r)
{
    StrList json;
    DfWord *w;
    size_t n;
    if (!refuse_heredoc(r))
        return false;
    if (json_form(r, &json)) {
        n = json.n;
        w = NEW_N(r->arena, DfWord, n);
        for (size_t i = 0; i < n; i++)
            w[i] = (DfWord){json.v[i], span(r, r->at, r->line->len)};
    } else {
        split_plain(r, &w, &n);
    }
    if (n < 2)
        return df_err(r->file, &r->in->src, r->e,
                      "COPY requires at least two arguments, the last is the destination");
    r->in->u.copy.sources = w;
    r->in->u.copy.nsource = n - 1;
    r->in->u.copy.dest = w[n - 1];
    return true;
}

static DfPair split_pair(const Reader *r, const DfWord *w, const char *eq)
{
    DfPair p = {.src = w->src};
    p.key.text = arena_strndup(r->arena, w->text, (size_t)(eq - w->text));
    p.key.src = w->src;
    p.value = eq + 1;
    return p;
}

/* `ENV name rest of line`: everything after the name is the value. */
static bool parse_legacy_pair(Reader *r, size_t start)
{
    size_t key_end = start;
    const char *t = r->line->text;
    while (t[key_end] && !space(t[key_end]))
        key_end++;
    r->at = key_end;
    DfWord value = whole(r);
    if (!value.text)
        return df_err(r->file, &r->in->src, r->e, "%s must have two arguments", r->in->name);
    DfPair *p = NEW(r->arena, DfPair);
    *p = (DfPair){.key = word(r, start, key_end), .value = value.text, .src = value.src};
    r->in->u.pairs.v = p;
    r->in->u.pairs.n = 1;
    return true;
}

static bool parse_pairs(Reader *r)
{
    DfWord *w;
    size_t n, start = r->at;
    bool arg = r->in->kind == DF_ARG;
    split_quoted(r, &w, &n);
    if (!n)
        return df_err(r->file, &r->in->src, r->e, "%s requires at least one argument", r->in->name);
    if (!arg && !strchr(w[0].text, '='))
        return parse_legacy_pair(r, start);

    DfPair *v = NEW_N(r->arena, DfPair, n);
    for (size_t i = 0; i < n; i++) {
        const char *eq = strchr(w[i].text, '=');
        if (!eq && !arg)
            return df_err(r->file, &w[i].src, r->e,
                          "%s: can't find = in '%s': must be of the form name=value", r->in->name,
                          w[i].text);
        v[i] = eq ? split_pair(r, &w[i], eq) : (DfPair){.key = w[i], .src = w[i].src};
        if (!*v[i].key.text)
            return df_err(r->file, &w[i].src, r->e, "%s names can not be blank", r->in->name);
    }
    r->in->u.pairs.v = v;
    r->in->u.pairs.n = n;
    return true;
}

static bool parse_words(Reader *r)
{
    split_plain(r, &r->in->u.words.v, &r->in->u.words.n);
    if (!r->in->u.words.n)
        return df_err(r->file, &r->in->src, r->e, "%s requires at least one argument", r->in->name);
    return true;
}

static bool parse_one(Reader *r)
{
    DfWord w = whole(r);
    if (!w.text)
        return df_err(r->file, &r->in->src, r->e, "%s requires exactly one argument", r->in->name);
    r->in->u.words.v = NEW(r->arena, DfWord);
    r->in->u.words.v[0] = w;
    r->in->u.words.n = 1;
    return true;
}

typedef struct InstrRow {
    const char *name;
    DfKind kind;
    bool (*parse)(Reader *r); /* NULL: part of the language, not carried out yet */
} InstrRow;

static const InstrRow INSTRS[] = {
    {"FROM", DF_FROM, parse_from},
    {"ARG", DF_ARG, parse_pairs},
    {"ENV", DF_ENV, parse_pairs},
    {"LABEL", DF_LABEL, parse_pairs},
    {"RUN", DF_RUN, parse_command},
    {"COPY", DF_COPY, parse_copy},
    {"WORKDIR", DF_WORKDIR, parse_one},
    {"CMD", DF_CMD, parse_command},
    {"ENTRYPOINT", DF_ENTRYPOINT, parse_command},
    {"EXPOSE", DF_EXPOSE, parse_words},
    {"USER", DF_USER, parse_one},
    {.name = "ADD"},
    {.name = "VOLUME"},
    {.name = "STOPSIGNAL"},
    {.name = "SHELL"},
    {.name = "HEALTHCHECK"},
    {.name = "ONBUILD"},
    {.name = "MAINTAINER"},
};

static const InstrRow *find_instr(Str name)
{
    for (size_t i = 0; i < NELEM(INSTRS); i++)
        if (strlen(INSTRS[i].name) == name.len && !strncasecmp(INSTRS[i].name, name.ptr, name.len))
            return &INSTRS[i];
    return NULL;
}

static bool unknown_instr(const Reader *r, Str name, const SrcSpan *at)
{
    const char *names[NELEM(INSTRS)];
    for (size_t i = 0; i < NELEM(INSTRS); i++)
        names[i] = INSTRS[i].name;
    char *upper = arena_strndup(r->arena, name.ptr, name.len);
    for (char *c = upper; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    const char *near = df_suggest(upper, names, NELEM(names));
    return df_err(r->file, at, r->e, "unknown instruction: %.*s%s%s%s", (int)name.len, name.ptr,
                  near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static bool parse_line(Reader *r)
{
    size_t n = 0;
    while (r->line->text[n] && !space(r->line->text[n]))
        n++;
    Str name = {r->line->text, n};
    SrcSpan name_at = span(r, 0, n);
    r->at = n;

    const InstrRow *row = find_instr(name);
    if (!row)
        return unknown_instr(r, name, &name_at);
    if (!row->parse)
        return df_err(r->file, &name_at, r->e, "%s is not supported yet", row->name);

    DfInstr *in = r->in;
    in->kind = row->kind;
    in->name = row->name;
    in->src = span(r, 0, r->line->len);
    in->src.end_line = r->line->end_line;
    size_t end = r->line->len;
    while (end && space(r->line->text[end - 1]))
        end--;
    in->text = arena_strndup(r->arena, r->line->text, end);
    return flags(r) && row->parse(r);
}

bool df_parse(Arena *a, const char *name, Str text, DfFile *ret, Err *e)
{
    DfFile f = {.name = name, .text = text};
    if (text.len > DF_MAX_SIZE)
        return err_set(e, ERR_DOCKERFILE, "%s: larger than the limit of %d bytes", name,
                       DF_MAX_SIZE);
    if (memchr(text.ptr ? text.ptr : "", 0, text.len))
        return err_set(e, ERR_DOCKERFILE, "%s: holds a NUL byte, so it is not a text", name);

    Lexer lx;
    lex_init(&lx, a, &f);
    size_t cap = 0;
    for (;;) {
        LogicalLine l;
        bool got;
        if (!lex_next(&lx, &l, &got, e))
            return false;
        if (!got)
            break;
        if (l.empty_continuation)
            strlist_add(a, &f.warnings,
                        arena_printf(a, "%s:%u: empty continuation line (NoEmptyContinuation)",
                                     name, l.line));
        Reader r = {a, &f, &lx, &l, 0, ARENA_PUSH(a, f.instrs, f.ninstr, cap), e};
        if (!parse_line(&r))
            return false;
    }
    f.escape = lx.escape;
    f.check = lx.check;
    if (!f.ninstr)
        return err_set(e, ERR_DOCKERFILE, "%s: the file has no instructions", name);
    for (size_t i = 0; i < f.ninstr && f.instrs[i].kind != DF_FROM; i++)
        if (f.instrs[i].kind != DF_ARG)
            return df_err(&f, &f.instrs[i].src, e,
                          "no build stage in current context: %s must come after FROM",
                          f.instrs[i].name);
    *ret = f;
    return true;
}

void df_excerpt(const DfFile *f, const SrcSpan *at, Buf *out)
{
    uint32_t line = 1, end = at->end_line < at->line ? at->line : at->end_line;
    for (size_t i = 0; i < f->text.len && line <= end;) {
        const char *p = f->text.ptr + i;
        const char *nl = memchr(p, '\n', f->text.len - i);
        size_t n = nl ? (size_t)(nl - p) : f->text.len - i;
        if (line >= at->line)
            buf_printf(out, "%s%4u | %.*s\n", line == at->line ? "-->" : "   ", line, (int)n, p);
        i += n + 1;
        line++;
    }
}

/*
 * How many letters to insert, drop, change or swap with their neighbour (optimal string alignment)
 * to get from one short name to the other; long ones count as far.
 */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 32 };
    size_t n = strlen(a), m = strlen(b), d[MAX + 1][MAX + 1];
    if (n > MAX || m > MAX)
        return MAX;
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *df_suggest(const char *given, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t least = strlen(given) / 3 + 1;
    if (least > 3)
        least = 3;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(given, names[i]);
        if (d && d <= least) {
            best = names[i];
            least = d - 1;
        }
    }
    return best;
}
