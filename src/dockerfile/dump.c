/*
 * dockerfile/dump.c - nodes as text, for people and for other programs.
 */
#include <ctype.h>
#include <strings.h>

#include "base/json.h"
#include "base/rune.h"
#include "dockerfile/dockerfile.h"

static char *lower(Arena *a, const char *name)
{
    char *s = arena_strdup(a, name);
    for (char *c = s; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return s;
}

/* ---- BuildKit's form ---- */

/* What BuildKit reads rune by rune has U+FFFD for each byte that is not UTF-8. */
static const char *runes(Arena *a, const char *s)
{
    scoped(buf) Buf b = BUF_INIT;
    uint32_t rune;
    for (size_t n; (n = utf8_rune(s, &rune)) > 0; s += n)
        if (rune == RUNE_BAD)
            buf_puts(&b, "\xEF\xBF\xBD");
        else
            buf_add(&b, s, n);
    return arena_strdup(a, buf_str(&b));
}

static bool by_runes(const DfNode *n)
{
    bool pairs = !strcasecmp(n->name, "ENV") || !strcasecmp(n->name, "LABEL");
    bool legacy = n->args.n == 3 && !*n->args.v[2].text;
    return (pairs && !legacy) || !strcasecmp(n->name, "ARG");
}

static void dump_node(Arena *a, const DfNode *n, Buf *out)
{
    bool gap = *n->name; /* a sole escape character leaves an instruction without a name */
    buf_printf(out, "(%s", runes(a, lower(a, n->name)));
    if (n->flags.n) {
        StrList l = {0};
        for (size_t i = 0; i < n->flags.n; i++)
            strlist_add(a, &l, n->flags.v[i].text);
        buf_putc(out, ' ');
        buf_quote_list(out, &l);
    }
    for (size_t i = 0; i < n->args.n; i++) {
        if (gap || i)
            buf_putc(out, ' ');
        buf_quote(out, by_runes(n) ? runes(a, n->args.v[i].text) : n->args.v[i].text);
    }
    if (n->child) {
        buf_putc(out, ' ');
        dump_node(a, n->child, out);
    }
    buf_putc(out, ')');
}

void df_dump(const DfNodes *nodes, Buf *out)
{
    scoped(arena) Arena a = {0};
    for (size_t i = 0; i < nodes->n; i++) {
        dump_node(&a, &nodes->v[i], out);
        buf_putc(out, '\n');
    }
}

/* ---- JSON ---- */

static json_t *range_json(uint32_t off, uint32_t len)
{
    json_t *j = json_object();
    json_object_set_new(j, "offset", json_integer(off));
    json_object_set_new(j, "length", json_integer(len));
    return j;
}

static json_t *span_json(const SrcSpan *s)
{
    json_t *j = range_json(s->off, s->len);
    json_object_set_new(j, "line", json_integer(s->line));
    json_object_set_new(j, "column", json_integer(s->col));
    json_object_set_new(j, "endLine", json_integer(s->end_line));
    return j;
}

static json_t *words_json(const DfWords *w)
{
    json_t *list = json_array();
    for (size_t i = 0; i < w->n; i++) {
        json_t *j = json_object();
        json_object_set_new(j, "text", json_string_lossy(w->v[i].text));
        json_object_set_new(j, "span", span_json(&w->v[i].src));
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *flags_json(const DfWords *w)
{
    json_t *list = json_array();
    for (size_t i = 0; i < w->n; i++)
        json_array_append_new(list, json_string_lossy(w->v[i].text));
    return list;
}

static json_t *heredocs_json(const DfNode *n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n->nheredoc; i++) {
        const DfHeredoc *d = &n->heredocs[i];
        json_t *j = json_object();
        json_object_set_new(j, "name", json_string_lossy(d->name));
        json_object_set_new(j, "content", json_string_lossy(d->content));
        json_object_set_new(j, "fd", json_integer((json_int_t)(d->fd & INT64_MAX)));
        json_object_set_new(j, "expand", json_boolean(d->expand));
        json_object_set_new(j, "chomp", json_boolean(d->chomp));
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *node_json(Arena *a, const DfNode *n)
{
    json_t *j = json_object();
    json_object_set_new(j, "name", json_string_lossy(lower(a, n->name)));
    json_object_set_new(j, "flags", flags_json(&n->flags));
    json_object_set_new(j, "flagSpans", words_json(&n->flags));
    json_object_set_new(j, "args", words_json(&n->args));
    json_object_set_new(j, "json", json_boolean(n->json));
    json_object_set_new(j, "heredocs", heredocs_json(n));
    json_object_set_new(j, "span", span_json(&n->src));
    if (n->child)
        json_object_set_new(j, "child", node_json(a, n->child));
    return j;
}

void df_json(const DfNodes *nodes, size_t text_len, Buf *out)
{
    scoped(arena) Arena a = {0};
    json_t *list = json_array();
    uint32_t at = 0;
    for (size_t i = 0; i < nodes->n; i++) {
        const DfNode *n = &nodes->v[i];
        json_t *j = node_json(&a, n);
        json_object_set_new(j, "start", json_integer(n->whole.line));
        json_object_set_new(j, "end", json_integer(n->whole.end_line));
        json_object_set_new(j, "before", range_json(at, n->whole.off - at));
        json_object_set_new(j, "whole", range_json(n->whole.off, n->whole.len));
        at = n->whole.off + n->whole.len;
        if (i + 1 == nodes->n)
            json_object_set_new(j, "after", range_json(at, (uint32_t)text_len - at));
        json_array_append_new(list, j);
    }
    json_text(list, out);
    buf_putc(out, '\n');
    json_decref(list);
}
