/*
 * dockerfile/make.c - nodes to typed instructions.
 *
 * Source: BuildKit, frontend/dockerfile/instructions: its checks in its order, and its words where
 * people and tools know them.
 */
#include "dockerfile/make.h"

#include <ctype.h>
#include <strings.h>

#include "base/rune.h"
#include "dockerfile/check.h"
#include "dockerfile/duration.h"

/* User text in a message, as Go's %q shows it. */
static const char *quoted(Maker *m, const char *text)
{
    scoped(buf) Buf b = BUF_INIT;
    buf_quote(&b, text);
    return arena_strdup(m->arena, buf_str(&b));
}

static bool fail(Maker *m, const char *text)
{
    return df_err(m->file, &m->in->src, m->e, "%s %s", m->in->name, text);
}

static char *upper(Arena *a, const char *s)
{
    char *v = arena_strdup(a, s);
    for (char *c = v; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    return v;
}

static char *lower(Arena *a, const char *s)
{
    char *v = arena_strdup(a, s);
    for (char *c = v; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return v;
}

static bool stage_name_ok(const char *s)
{
    if (!islower((unsigned char)*s))
        return false;
    for (; *s; s++)
        if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && !strchr("-_.", *s))
            return false;
    return true;
}

static bool make_from(Maker *m)
{
    const DfWords *w = &m->node->args;
    if (w->n == 3 && !strcasecmp(w->v[1].text, "as")) {
        char *name = lower(m->arena, w->v[2].text);
        if (!stage_name_ok(name))
            return df_err(m->file, &w->v[2].src, m->e,
                          "invalid name for build stage: %s, name can't start with a number or "
                          "contain symbols",
                          quoted(m, w->v[2].text));
        m->in->u.from.stage = name;
    } else if (w->n != 1) {
        return fail(m, "requires either one or three arguments: FROM <image> [AS <name>]");
    }
    m->in->u.from.image = w->v[0];
    return make_flags(m);
}

/* The tabs that `<<-` removes in front of each line. */
static const char *chomped(Arena *a, const DfHeredoc *doc)
{
    scoped(buf) Buf b = BUF_INIT;
    bool fresh = true;
    if (!doc->chomp)
        return doc->content;
    for (const char *c = doc->content; *c; c++) {
        if (fresh && *c == '\t')
            continue;
        buf_putc(&b, *c);
        fresh = *c == '\n';
    }
    return arena_strdup(a, buf_str(&b));
}

/*
 * What a RUN with here-documents runs: a sole one is the script itself; otherwise the shell gets
 * the text with all of them, as it was written.
 */
static bool run_heredocs(Maker *m, DfCommand *c)
{
    DfHeredoc mark;
    const DfNode *n = m->node;
    scoped(buf) Buf text = BUF_INIT;
    if (c->argv.n == 1 && df_heredoc_word(m->arena, c->argv.v[0], &mark)) {
        const char *body = chomped(m->arena, &n->heredocs[0]);
        c->heredoc = true;
        c->script = str_starts(body, "#!") ? n->heredocs[0].name : NULL;
        c->argv = (StrList){0};
        strlist_add(m->arena, &c->argv, body);
        if (c->script &&
            (strchr(c->script, '/') || !strcmp(c->script, ".") || !strcmp(c->script, "..")))
            return fail(m, "cannot make a file of a heredoc whose name is a path");
        return true;
    }
    buf_puts(&text, c->argv.n ? c->argv.v[0] : "");
    for (size_t i = 0; i < n->nheredoc; i++)
        buf_printf(&text, "\n%s%s", n->heredocs[i].content, n->heredocs[i].name);
    c->argv = (StrList){0};
    strlist_add(m->arena, &c->argv, buf_str(&text));
    return true;
}

static bool make_command(Maker *m)
{
    DfCommand *c = &m->in->u.command;
    if (!make_flags(m))
        return false;
    for (size_t i = 0; i < m->node->args.n; i++)
        strlist_add(m->arena, &c->argv, m->node->args.v[i].text);
    c->shell = !m->node->json;
    if (c->shell && !c->argv.n) /* without any text it is the shell with an empty script */
        strlist_add(m->arena, &c->argv, "");
    return true;
}

static bool make_run(Maker *m)
{
    DfCommand *c = &m->in->u.command;
    if (!make_command(m))
        return false;
    if (m->node->nheredoc && !run_heredocs(m, c))
        return false;
    if (c->network && strcmp(c->network, "default") != 0 && strcmp(c->network, "none") != 0 &&
        strcmp(c->network, "host") != 0)
        return df_err(m->file, &m->in->src, m->e,
                      "invalid network mode %s: it is default, none or host",
                      quoted(m, c->network));
    if (c->security && strcmp(c->security, "sandbox") != 0 && strcmp(c->security, "insecure") != 0)
        return df_err(m->file, &m->in->src, m->e,
                      "security %s is not valid: it is sandbox or insecure",
                      quoted(m, c->security));
    for (size_t i = 0; i < c->mounts.n; i++) {
        Err why = ERR_INIT;
        DfMount ignored;
        if (!df_mount(m->arena, c->mounts.v[i].text, NULL, &ignored, &why))
            return df_err(m->file, &c->mounts.v[i].src, m->e, "%s", why.msg);
    }
    return true;
}

static const char *heredoc_text(Arena *a, const DfNode *n, const char *name)
{
    for (size_t i = n->nheredoc; i-- > 0;)
        if (!strcmp(n->heredocs[i].name, name))
            return chomped(a, &n->heredocs[i]);
    return "";
}

static bool make_copy(Maker *m)
{
    const DfWords *w = &m->node->args;
    DfCopy *c = &m->in->u.copy;
    DfHeredoc mark;
    if (w->n < 2)
        return fail(m, "requires at least two arguments, but only one was provided. Destination "
                       "could not be determined");
    if (!make_flags(m))
        return false;
    c->dest = w->v[w->n - 1];
    if (df_heredoc_word(m->arena, c->dest.text, &mark))
        return df_err(m->file, &c->dest.src, m->e, "%s cannot accept a heredoc as a destination",
                      m->in->name);
    c->sources = NEW_N(m->arena, DfWord, w->n);
    c->inlines = NEW_N(m->arena, DfInline, w->n);
    for (size_t i = 0; i + 1 < w->n; i++) {
        if (df_heredoc_word(m->arena, w->v[i].text, &mark))
            c->inlines[c->ninline++] = (DfInline){
                mark.name, heredoc_text(m->arena, m->node, mark.name), mark.expand, w->v[i].src};
        else
            c->sources[c->nsource++] = w->v[i];
    }
    return true;
}

/* ENV and LABEL: triples of name, value and delimiter. */
static bool make_pairs(Maker *m)
{
    const DfWords *w = &m->node->args;
    if (!make_flags(m))
        return false;
    if (!w->n)
        return fail(m, "requires at least one argument");
    m->in->u.pairs.v = NEW_N(m->arena, DfPair, w->n / 3);
    for (size_t i = 0; i + 2 < w->n; i += 3) {
        if (!*w->v[i].text)
            return df_err(m->file, &w->v[i].src, m->e, "%s names can not be blank", m->in->name);
        m->in->u.pairs.v[m->in->u.pairs.n++] = (DfPair){w->v[i], w->v[i + 1].text, w->v[i].src};
        m->in->u.pairs.legacy = !*w->v[i + 2].text;
    }
    return true;
}

static bool make_arg(Maker *m)
{
    const DfWords *w = &m->node->args;
    if (!w->n)
        return fail(m, "requires at least one argument");
    m->in->u.pairs.v = NEW_N(m->arena, DfPair, w->n);
    for (size_t i = 0; i < w->n; i++) {
        const char *eq = strchr(w->v[i].text, '=');
        DfPair p = {.key = w->v[i], .src = w->v[i].src};
        if (eq) {
            p.key.text = arena_strndup(m->arena, w->v[i].text, (size_t)(eq - w->v[i].text));
            p.value = eq + 1;
        }
        if (!*p.key.text)
            return df_err(m->file, &w->v[i].src, m->e, "ARG names can not be blank");
        m->in->u.pairs.v[m->in->u.pairs.n++] = p;
    }
    return true;
}

static bool make_words(Maker *m)
{
    if (!m->node->args.n)
        return fail(m, "requires at least one argument");
    m->in->u.words = m->node->args;
    return make_flags(m);
}

/* Flags of STOPSIGNAL and ARG are read by nobody, as in BuildKit. */
static bool make_signal(Maker *m)
{
    if (m->node->args.n != 1)
        return fail(m, "requires exactly one argument");
    m->in->u.words = m->node->args;
    return true;
}

static bool make_one(Maker *m)
{
    if (m->node->args.n != 1)
        return fail(m, "requires exactly one argument");
    m->in->u.words = m->node->args;
    return make_flags(m);
}

static bool make_volume(Maker *m)
{
    if (!make_words(m))
        return false;
    for (size_t i = 0; i < m->in->u.words.n; i++)
        if (!str_trim(str_c(m->in->u.words.v[i].text)).len)
            return fail(m, "specified can not be an empty string");
    return true;
}

static bool make_shell(Maker *m)
{
    if (!make_flags(m))
        return false;
    if (!m->node->args.n)
        return fail(m, "requires at least one argument");
    if (!m->node->json)
        return df_err(m->file, &m->in->src, m->e,
                      "SHELL requires the arguments to be in JSON form: SHELL [\"/bin/bash\", "
                      "\"-c\"]");
    m->in->u.words = m->node->args;
    return true;
}

/* An interval; nothing and zero are the same, and less than a millisecond is none. */
static bool interval(Maker *m, const char *name, const char *text, int64_t *ret)
{
    Err why = ERR_INIT;
    *ret = 0;
    if (!text || !*text)
        return true;
    if (!go_duration(text, ret, &why))
        return df_err(m->file, &m->in->src, m->e, "HEALTHCHECK --%s: %s", name, why.msg);
    if (*ret && *ret < 1000000)
        return df_err(m->file, &m->in->src, m->e, "Interval \"%s\" cannot be less than 1ms", name);
    return true;
}

static bool retries(Maker *m, const char *text, uint32_t *ret)
{
    uint64_t v = 0;
    if (!text || !*text)
        return true;
    bool minus = *text == '-';
    const char *digits = text + (minus || *text == '+');
    if (!*digits || digits[strspn(digits, "0123456789")])
        return df_err(m->file, &m->in->src, m->e,
                      "HEALTHCHECK --retries: strconv.ParseInt: parsing %s: invalid syntax",
                      quoted(m, text));
    if (!str_u64(digits, (uint64_t)INT32_MAX + minus, &v))
        return df_err(m->file, &m->in->src, m->e,
                      "HEALTHCHECK --retries: strconv.ParseInt: parsing %s: value out of range",
                      quoted(m, text));
    if (minus && v)
        return df_err(m->file, &m->in->src, m->e, "--retries cannot be negative (-%u)",
                      (unsigned)v);
    *ret = (uint32_t)v;
    return true;
}

static bool make_health(Maker *m)
{
    const DfWords *w = &m->node->args;
    DfHealth *h = &m->in->u.health;
    if (!w->n)
        return fail(m, "requires at least one argument");
    if (!strcasecmp(w->v[0].text, "NONE")) {
        if (w->n > 1)
            return fail(m, "NONE takes no arguments");
        strlist_add(m->arena, &h->test, "NONE");
        return true;
    }
    if (!make_flags(m))
        return false;
    if (strcasecmp(w->v[0].text, "CMD") != 0)
        return df_err(m->file, &w->v[0].src, m->e, "Unknown type %s in HEALTHCHECK (try CMD)",
                      quoted(m, upper(m->arena, w->v[0].text)));
    if (w->n < 2)
        return df_err(m->file, &m->in->src, m->e, "Missing command after HEALTHCHECK CMD");
    strlist_add(m->arena, &h->test, m->node->json ? "CMD" : "CMD-SHELL");
    for (size_t i = 1; i < w->n; i++)
        strlist_add(m->arena, &h->test, w->v[i].text);
    return interval(m, "interval", h->flags.interval, &h->interval) &&
           interval(m, "timeout", h->flags.timeout, &h->timeout) &&
           interval(m, "start-period", h->flags.start_period, &h->start_period) &&
           interval(m, "start-interval", h->flags.start_interval, &h->start_interval) &&
           retries(m, h->flags.retries, &h->retries);
}

static bool make_onbuild(Maker *m)
{
    const DfNode *child = m->node->child;
    if (!child)
        return fail(m, "requires at least one argument");
    if (!make_flags(m))
        return false;
    if (!strcasecmp(child->name, "ONBUILD"))
        return df_err(m->file, &child->name_src, m->e,
                      "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (!strcasecmp(child->name, "FROM") || !strcasecmp(child->name, "MAINTAINER"))
        return df_err(m->file, &child->name_src, m->e, "%s isn't allowed as an ONBUILD trigger",
                      upper(m->arena, child->name));
    scoped(buf) Buf text = BUF_INIT;
    const char *line = m->node->text + strlen(m->node->name);
    buf_puts(&text, line + strspn(line, " \t\v\f\r"));
    for (size_t i = 0; i < m->node->nheredoc; i++)
        buf_printf(&text, "\n%s%s", m->node->heredocs[i].content, m->node->heredocs[i].name);
    m->in->u.trigger = arena_strdup(m->arena, buf_str(&text));
    return true;
}

typedef struct InstrRow {
    const char *name;
    DfKind kind;
    bool (*make)(Maker *m);
} InstrRow;

static const InstrRow INSTRS[] = {
    {"FROM", DF_FROM, make_from},
    {"ARG", DF_ARG, make_arg},
    {"ENV", DF_ENV, make_pairs},
    {"LABEL", DF_LABEL, make_pairs},
    {"RUN", DF_RUN, make_run},
    {"COPY", DF_COPY, make_copy},
    {"ADD", DF_ADD, make_copy},
    {"WORKDIR", DF_WORKDIR, make_one},
    {"CMD", DF_CMD, make_command},
    {"ENTRYPOINT", DF_ENTRYPOINT, make_command},
    {"EXPOSE", DF_EXPOSE, make_words},
    {"USER", DF_USER, make_one},
    {"VOLUME", DF_VOLUME, make_volume},
    {"STOPSIGNAL", DF_STOPSIGNAL, make_signal},
    {"SHELL", DF_SHELL, make_shell},
    {"HEALTHCHECK", DF_HEALTHCHECK, make_health},
    {"ONBUILD", DF_ONBUILD, make_onbuild},
    {"MAINTAINER", DF_MAINTAINER, make_one},
};

static bool unknown_instr(const Maker *m)
{
    const char *names[NELEM(INSTRS)];
    for (size_t i = 0; i < NELEM(INSTRS); i++)
        names[i] = INSTRS[i].name;
    const char *near = df_suggest(upper(m->arena, m->node->name), names, NELEM(names));
    if (near && !strpbrk(m->node->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        near = lower(m->arena, near); /* in the letters of the file */
    return df_err(m->file, &m->node->name_src, m->e, "unknown instruction: %s%s%s%s", m->node->name,
                  near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

bool make_instr(Maker *m)
{
    DfInstr *in = m->in;
    in->text = m->node->text;
    in->src = m->node->src;
    in->check = check_of(m->arena, &m->node->comments);
    for (size_t i = 0; i < NELEM(INSTRS); i++)
        if (!strcasecmp(INSTRS[i].name, m->node->name)) {
            in->kind = INSTRS[i].kind;
            in->name = INSTRS[i].name;
            return INSTRS[i].make(m);
        }
    return unknown_instr(m);
}
