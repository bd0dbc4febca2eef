/*
 * dockerfile/node.c - one logical line to its name, flags, arguments and here-documents.
 *
 * How the arguments are split follows from the name alone. Source: BuildKit,
 * frontend/dockerfile/parser.
 */
#include "dockerfile/node.h"

#include <ctype.h>
#include <jansson.h>
#include <strings.h>

#include "base/rune.h"

/* A logical line, and the part of it that is being read: text[at..end). */
typedef struct Reader {
    Lexer *lx;
    Arena *arena;
    const LogicalLine *line;
    size_t at, end;
    NodeRead *ret;
} Reader;

/* A word of the line: text[from..to). */
typedef struct Part {
    size_t from, to;
} Part;

typedef struct Parts {
    Part *v;
    size_t n, cap;
} Parts;

/* What separates words where quotes mean nothing: narrower than a white space. */
static bool separator(char c)
{
    return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r';
}

static size_t space_at(const Reader *r, size_t i)
{
    return i < r->end ? str_space(r->line->text + i, r->end - i) : 0;
}

static bool plain_space(char c)
{
    return separator(c) || c == '\n';
}

static void skip_space(Reader *r)
{
    for (size_t n; (n = space_at(r, r->at)) > 0;)
        r->at += n;
}

/* Take the white space off the end of the part. */
static void trim_end(Reader *r)
{
    Str all = {r->line->text + r->at, r->end - r->at};
    Str s = str_trim(all);
    r->end = s.len ? (size_t)(s.ptr - r->line->text) + s.len : r->at;
}

static SrcSpan span(const Reader *r, size_t from, size_t to)
{
    return lex_span(r->lx, r->line, from, to);
}

static void push(Reader *r, DfWords *w, const char *text, size_t n, SrcSpan src)
{
    *ARENA_PUSH(r->arena, w->v, w->n, w->cap) = (DfWord){arena_strndup(r->arena, text, n), src};
}

static void push_part(Reader *r, DfWords *w, size_t from, size_t to)
{
    push(r, w, r->line->text + from, to - from, span(r, from, to));
}

static bool wrong(Reader *r, SrcSpan at, const char *text, const char *name)
{
    r->ret->ok = false;
    r->ret->at = at;
    return err_set(&r->ret->why, ERR_DOCKERFILE, text, name);
}

/* ---- flags ---- */

/*
 * Read one flag from r->at: quotes group and vanish, the escape character takes the next one as it
 * is. Source: BuildKit, extractBuilderFlags.
 */
static void take_flag(Reader *r, Buf *out)
{
    char quote = 0;
    for (; r->at < r->end; r->at++) {
        char c = r->line->text[r->at];
        if (!quote && plain_space(c))
            return;
        if (quote ? c == quote : c == '\'' || c == '"') {
            quote = quote ? 0 : c;
            continue;
        }
        if (c == r->lx->escape) {
            if (r->at + 1 == r->end)
                continue;
            c = r->line->text[++r->at];
        }
        buf_putc(out, c);
    }
}

static void flags(Reader *r, DfNode *node)
{
    for (;;) {
        while (r->at < r->end && plain_space(r->line->text[r->at]))
            r->at++;
        if (r->end - r->at < 2 || memcmp(r->line->text + r->at, "--", 2) != 0)
            break;
        scoped(buf) Buf word = BUF_INIT;
        size_t start = r->at;
        take_flag(r, &word);
        if (word.len == 2) /* a bare "--" ends the flags */
            break;
        push(r, &node->flags, buf_str(&word), word.len, span(r, start, r->at));
    }
    skip_space(r);
    trim_end(r);
}

/* ---- arguments ---- */

/* Split at separators; every separator run counts, quotes are plain characters. */
static bool split(Reader *r, DfNode *node)
{
    while (r->at < r->end) {
        size_t start = r->at;
        while (r->at < r->end && !separator(r->line->text[r->at]))
            r->at++;
        push_part(r, &node->args, start, r->at);
        while (r->at < r->end && separator(r->line->text[r->at]))
            r->at++;
    }
    return true;
}

static bool one(Reader *r, DfNode *node)
{
    if (r->at < r->end)
        push_part(r, &node->args, r->at, r->end);
    return true;
}

/* Nothing is known of it: BuildKit's parser keeps one empty argument. */
static bool unknown(Reader *r, DfNode *node)
{
    push(r, &node->args, "", 0, span(r, r->at, r->end));
    return true;
}

static bool hex4(const char *s, size_t n, uint32_t *ret)
{
    uint32_t v = 0;
    for (size_t i = 0; i < 4; i++) {
        if (i >= n || !isxdigit((unsigned char)s[i]))
            return false;
        unsigned char c = (unsigned char)tolower((unsigned char)s[i]);
        v = v * 16 + (unsigned)(isdigit(c) ? c - '0' : c - 'a' + 10);
    }
    *ret = v;
    return true;
}

/* How many bytes the escape takes that s begins with; a surrogate without its pair is *ret_bad. */
static size_t json_escape(const char *s, size_t n, bool *ret_bad)
{
    uint32_t first, second;
    *ret_bad = false;
    if (n < 2 || s[1] != 'u' || !hex4(s + 2, n - 2, &first))
        return n < 2 ? n : 2;
    if (first < 0xD800 || first > 0xDFFF)
        return 6;
    if (first < 0xDC00 && n >= 12 && s[6] == '\\' && s[7] == 'u' && hex4(s + 8, n - 8, &second) &&
        second >= 0xDC00 && second <= 0xDFFF)
        return 12;
    *ret_bad = true;
    return 6;
}

/* JSON text as Go takes it: what is no UTF-8 and surrogates without their pair become U+FFFD. */
static void as_go_reads(const char *s, size_t n, Buf *out)
{
    const char *end = s + n;
    while (s < end) {
        uint32_t rune = 0;
        bool bad = false;
        size_t len = *s == '\\' ? json_escape(s, (size_t)(end - s), &bad) : utf8_rune(s, &rune);
        if (bad || rune == RUNE_BAD)
            buf_puts(out, "\xEF\xBF\xBD");
        else
            buf_add(out, s, len);
        s += len;
    }
}

/*
 * A JSON array of strings. What is no JSON array is no failure: *ret_json is false. An array of
 * other things is one.
 */
static bool string_array(Reader *r, DfNode *node, bool *ret_json)
{
    SrcSpan at = span(r, r->at, r->end);
    scoped(buf) Buf text = BUF_INIT;
    json_error_t je;
    *ret_json = false;
    if (r->at == r->end || r->line->text[r->at] != '[')
        return true;
    as_go_reads(r->line->text + r->at, r->end - r->at, &text);
    json_t *j = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &je);
    bool strings = true, nul = false;
    for (size_t i = 0; i < json_array_size(j) && strings; i++) {
        const json_t *item = json_array_get(j, i);
        const char *v = json_string_value(item);
        size_t n = json_string_length(item);
        nul = v && memchr(v, 0, n);
        strings = v && !nul;
        if (strings)
            push(r, &node->args, v, n, at);
    }
    *ret_json = node->json = json_is_array(j) && strings;
    bool array = j != NULL;
    json_decref(j);
    if (nul)
        return wrong(r, at, "a string of the JSON array holds a NUL character%s", "");
    if (array && !strings)
        return wrong(
            r, at, "when using JSON array syntax, arrays must be comprised of strings only%s", "");
    return true;
}

static bool json_or_one(Reader *r, DfNode *node)
{
    bool json;
    return string_array(r, node, &json) && (json || one(r, node));
}

static bool json_or_split(Reader *r, DfNode *node)
{
    bool json;
    return string_array(r, node, &json) && (json || split(r, node));
}

/*
 * Split at blanks outside quotes; quotes and escapes stay. An escape character at the very end is
 * dropped. Source: BuildKit, parseWords.
 */
static void words(Reader *r, Parts *out)
{
    const char *t = r->line->text;
    for (skip_space(r); r->at < r->end; skip_space(r)) {
        size_t start = r->at, end;
        char quote = 0;
        bool cut = false;
        for (; r->at < r->end && (quote || !space_at(r, r->at)); r->at++) {
            char c = t[r->at];
            if (c == r->lx->escape && quote != '\'') {
                cut = r->at + 1 == r->end;
                if (!cut)
                    r->at++;
            } else if (quote ? c == quote : c == '\'' || c == '"') {
                quote = quote ? 0 : c;
            }
        }
        end = r->at - cut;
        if (end > start)
            *ARENA_PUSH(r->arena, out->v, out->n, out->cap) = (Part){start, end};
    }
}

static bool words_only(Reader *r, DfNode *node)
{
    Parts p = {0};
    words(r, &p);
    for (size_t i = 0; i < p.n; i++)
        push_part(r, &node->args, p.v[i].from, p.v[i].to);
    return true;
}

/* `ENV name rest of line`: everything after the name is the value. */
static bool legacy_pair(Reader *r, DfNode *node, size_t start, size_t end, const char *name)
{
    const char *t = r->line->text;
    size_t key = start;
    while (key < end && !separator(t[key]))
        key++;
    size_t value = key;
    while (value < end && separator(t[value]))
        value++;
    if (key == end)
        return wrong(r, span(r, start, end), "%s must have two arguments", name);
    push_part(r, &node->args, start, key);
    push_part(r, &node->args, value, end);
    push(r, &node->args, "", 0, span(r, key, value));
    return true;
}

static bool pairs(Reader *r, DfNode *node, const char *name)
{
    Parts p = {0};
    size_t start = r->at, end = r->end;
    words(r, &p);
    for (size_t i = 0; i < p.n; i++) {
        size_t from = p.v[i].from, to = p.v[i].to;
        const char *eq = memchr(r->line->text + from, '=', to - from);
        if (!eq && !i)
            return legacy_pair(r, node, start, end, name);
        if (!eq) {
            scoped(buf) Buf shown = BUF_INIT;
            buf_quote(&shown, arena_strndup(r->arena, r->line->text + from, to - from));
            return wrong(r, span(r, from, to),
                         "Syntax error - can't find = in %s. Must be of the form: name=value",
                         buf_str(&shown));
        }
        size_t at = (size_t)(eq - r->line->text);
        push_part(r, &node->args, from, at);
        push_part(r, &node->args, at + 1, to);
        push_part(r, &node->args, at, at + 1);
    }
    return true;
}

static bool env_pairs(Reader *r, DfNode *node)
{
    return pairs(r, node, "ENV");
}

static bool label_pairs(Reader *r, DfNode *node)
{
    return pairs(r, node, "LABEL");
}

/* HEALTHCHECK: its type, and a command. */
static bool health(Reader *r, DfNode *node)
{
    size_t start = r->at;
    while (r->at < r->end && !plain_space(r->line->text[r->at]))
        r->at++;
    if (r->at == start)
        return true;
    push_part(r, &node->args, start, r->at);
    while (r->at < r->end && plain_space(r->line->text[r->at]))
        r->at++;
    return json_or_one(r, node);
}

static bool line_node(Reader *r, DfNode *node);

static bool sub_instruction(Reader *r, DfNode *node)
{
    if (r->at == r->end)
        return true;
    node->child = NEW(r->arena, DfNode);
    return line_node(r, node->child);
}

static const struct {
    const char *name;
    bool (*read)(Reader *r, DfNode *node);
    bool heredocs;
} FORMS[] = {
    {"ADD", json_or_split, true},       {"ARG", words_only, false},
    {"CMD", json_or_one, false},        {"COPY", json_or_split, true},
    {"ENTRYPOINT", json_or_one, false}, {"ENV", env_pairs, false},
    {"EXPOSE", split, false},           {"FROM", split, false},
    {"HEALTHCHECK", health, false},     {"LABEL", label_pairs, false},
    {"MAINTAINER", one, false},         {"ONBUILD", sub_instruction, false},
    {"RUN", json_or_one, true},         {"SHELL", json_or_one, false},
    {"STOPSIGNAL", one, false},         {"USER", one, false},
    {"VOLUME", json_or_split, false},   {"WORKDIR", one, false},
};

/* The form of an instruction; -1 when nothing is known of it. */
static int form_of(const char *name)
{
    for (size_t i = 0; i < NELEM(FORMS); i++)
        if (!strcasecmp(FORMS[i].name, name))
            return (int)i;
    return -1;
}

/* Read text[at..end) as one instruction. */
static bool line_node(Reader *r, DfNode *node)
{
    skip_space(r);
    trim_end(r);
    size_t start = r->at, end = r->end;
    while (r->at < r->end && !separator(r->line->text[r->at]))
        r->at++;
    node->name = arena_strndup(r->arena, r->line->text + start, r->at - start);
    node->name_src = span(r, start, r->at);
    node->src = span(r, start, end);
    node->text = arena_strndup(r->arena, r->line->text + start, end - start);
    flags(r, node);
    int form = form_of(node->name);
    return (form < 0 ? unknown : FORMS[form].read)(r, node);
}

/* ---- here-documents ---- */

static size_t quotes_in(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += *s == '\'' || *s == '"';
    return n;
}

/* The name of a here-document from what stands behind its `<<`. */
static bool heredoc_name(Arena *a, const char *text, DfHeredoc *ret)
{
    StrList words = {0}, raw = {0}, env = {0};
    Err ignored = ERR_INIT;
    DfScope s = {.arena = a, .env = &env, .escape = '\\', .flags = DF_KEEP_UNSET};
    if (!df_expand_words(&s, text, &words, &ignored) || words.n != 1)
        return false;
    s.flags |= DF_KEEP_QUOTES;
    if (!df_expand_words(&s, text, &raw, &ignored) || raw.n != 1)
        return false;
    ret->name = words.v[0];
    ret->expand = quotes_in(words.v[0]) == quotes_in(raw.v[0]);
    return true;
}

bool df_heredoc_word(Arena *a, const char *word, DfHeredoc *ret)
{
    DfHeredoc doc = {0};
    while (isdigit((unsigned char)*word)) {
        uint64_t digit = (uint64_t)(*word++ - '0');
        doc.fd = doc.fd > (UINT64_MAX - digit) / 10 ? UINT64_MAX : doc.fd * 10 + digit;
    }
    if (strncmp(word, "<<", 2) != 0)
        return false;
    word += 2;
    doc.chomp = *word == '-';
    word += doc.chomp;
    word += strspn(word, "\t\n\f\r ");
    if (!*word || strchr(word, '<') || !heredoc_name(a, word, &doc))
        return false;
    *ret = doc;
    return true;
}

static bool may_have_heredocs(const DfNode *node)
{
    if (node->child)
        node = node->child;
    int form = form_of(node->name);
    return form >= 0 && FORMS[form].heredocs && !node->json;
}

/* Find the marks in the line and read the bodies below it, in their order. */
static bool heredocs(Lexer *lx, LogicalLine *line, DfNode *node, Err *e)
{
    StrList marks, env = {0};
    Err ignored = ERR_INIT;
    DfScope s = {.arena = lx->arena,
                 .env = &env,
                 .escape = '\\',
                 .flags = DF_KEEP_QUOTES | DF_KEEP_ESCAPES | DF_KEEP_UNSET};
    if (!may_have_heredocs(node) || !strstr(line->text, "<<") ||
        !df_expand_words(&s, line->text, &marks, &ignored))
        return true;
    for (size_t i = 0; i < marks.n; i++) {
        DfHeredoc doc;
        if (!df_heredoc_word(lx->arena, marks.v[i], &doc))
            continue;
        if (!lex_heredoc(lx, line, &doc))
            return df_err(lx->file, &node->src, e,
                          "unterminated heredoc: no line '%s' ends what %s begins", doc.name,
                          marks.v[i]);
        *ARENA_PUSH(lx->arena, node->heredocs, node->nheredoc, node->heredoc_cap) = doc;
    }
    return true;
}

bool node_next(Lexer *lx, LogicalLine *line, NodeRead *ret, bool *ret_got, Err *e)
{
    *ret = (NodeRead){.ok = true, .why = ERR_INIT};
    if (!lex_next(lx, line, ret_got, e) || !*ret_got)
        return !*ret_got && !e->kind;
    Reader r = {.lx = lx, .arena = lx->arena, .line = line, .end = line->len, .ret = ret};
    bool ok = line_node(&r, &ret->node);
    if (ok && !heredocs(lx, line, &ret->node, e))
        return false;
    ret->node.comments = line->comments;
    ret->node.whole = (SrcSpan){.line = line->line,
                                .col = ret->node.src.col,
                                .end_line = line->end_line,
                                .off = line->start,
                                .len = line->end - line->start};
    return true;
}
