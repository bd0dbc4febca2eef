/*
 * dockerfile/flags.c - the flags of each instruction.
 */
#include <stddef.h>
#include <strings.h>

#include "dockerfile/make.h"

static bool parse_word(const char *word, bool *ret)
{
    *ret = !strcasecmp(word, "true");
    return *ret || !strcasecmp(word, "false");
}

typedef enum FlagType {
    FLAG_BOOL,    /* into a DfBool */
    FLAG_STRING,  /* into a const char * */
    FLAG_STRINGS, /* into DfWords */
    FLAG_REFUSED, /* part of the language, not carried out */
} FlagType;

typedef struct FlagRow {
    DfKind kind;
    const char *name;
    FlagType type;
    size_t slot; /* in DfInstr */
} FlagRow;

#define SLOT(member) offsetof(DfInstr, u.member)
static const FlagRow FLAGS[] = {
    {DF_FROM, "platform", FLAG_STRING, SLOT(from.platform)},
    {DF_COPY, "from", FLAG_STRING, SLOT(copy.from)},
    {DF_COPY, "chown", FLAG_STRING, SLOT(copy.chown)},
    {DF_COPY, "chmod", FLAG_STRING, SLOT(copy.chmod)},
    {DF_COPY, "link", FLAG_BOOL, SLOT(copy.link)},
    {DF_COPY, "parents", FLAG_BOOL, SLOT(copy.parents)},
    {DF_COPY, "exclude", FLAG_STRINGS, SLOT(copy.excludes)},
    {DF_ADD, "chown", FLAG_STRING, SLOT(copy.chown)},
    {DF_ADD, "chmod", FLAG_STRING, SLOT(copy.chmod)},
    {DF_ADD, "link", FLAG_BOOL, SLOT(copy.link)},
    {DF_ADD, "keep-git-dir", FLAG_BOOL, SLOT(copy.keep_git_dir)},
    {DF_ADD, "checksum", FLAG_STRING, SLOT(copy.checksum)},
    {DF_ADD, "unpack", FLAG_BOOL, SLOT(copy.unpack)},
    {DF_ADD, "exclude", FLAG_STRINGS, SLOT(copy.excludes)},
    {DF_RUN, "mount", FLAG_STRINGS, SLOT(command.mounts)},
    {DF_RUN, "network", FLAG_STRING, SLOT(command.network)},
    {DF_RUN, "security", FLAG_STRING, SLOT(command.security)},
    {DF_RUN, "device", FLAG_REFUSED, 0},
    {DF_HEALTHCHECK, "interval", FLAG_STRING, SLOT(health.flags.interval)},
    {DF_HEALTHCHECK, "timeout", FLAG_STRING, SLOT(health.flags.timeout)},
    {DF_HEALTHCHECK, "start-period", FLAG_STRING, SLOT(health.flags.start_period)},
    {DF_HEALTHCHECK, "start-interval", FLAG_STRING, SLOT(health.flags.start_interval)},
    {DF_HEALTHCHECK, "retries", FLAG_STRING, SLOT(health.flags.retries)},
};

static const FlagRow *find_flag(DfKind kind, const char *name)
{
    for (size_t i = 0; i < NELEM(FLAGS); i++)
        if (FLAGS[i].kind == kind && !strcmp(FLAGS[i].name, name))
            return &FLAGS[i];
    return NULL;
}

static bool unknown_flag(Maker *m, const DfWord *w, const char *name)
{
    const char *names[NELEM(FLAGS)];
    size_t n = 0;
    for (size_t i = 0; i < NELEM(FLAGS); i++)
        if (FLAGS[i].kind == m->in->kind)
            names[n++] = FLAGS[i].name;
    const char *near = df_suggest(name, names, n);
    return df_err(m->file, &w->src, m->e, "unknown flag: --%s%s%s%s", name,
                  near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static bool take_bool(Maker *m, const DfWord *w, const char *name, const char *value, DfBool *slot)
{
    bool on = true;
    if (value && !*value)
        return df_err(m->file, &w->src, m->e, "missing a value on flag: --%s", name);
    if (value && !parse_word(value, &on))
        return df_err(m->file, &w->src, m->e, "expecting boolean value for flag --%s, not: %s",
                      name, value);
    *slot = on ? DF_TRUE : DF_FALSE;
    return true;
}

static bool take_flag(Maker *m, const DfWord *w)
{
    size_t len = strcspn(w->text + 2, "=");
    const char *name = arena_strndup(m->arena, w->text + 2, len);
    const char *value = w->text[2 + len] ? w->text + 2 + len + 1 : NULL;
    const FlagRow *row = find_flag(m->in->kind, name);
    if (!row)
        return unknown_flag(m, w, name);
    if (row->type == FLAG_REFUSED)
        return df_err(m->file, &w->src, m->e, "%s --%s: not supported", m->in->name, name);
    void *slot = (char *)m->in + row->slot;
    DfWords *list = slot;
    const char **text = slot;
    DfBool *flag = slot;
    bool twice = row->type == FLAG_BOOL ? *flag != DF_UNSET : row->type == FLAG_STRING && *text;
    if (twice)
        return df_err(m->file, &w->src, m->e, "duplicate flag specified: --%s", name);
    if (row->type == FLAG_BOOL)
        return take_bool(m, w, name, value, flag);
    if (!value)
        return df_err(m->file, &w->src, m->e, "missing a value on flag: --%s", name);
    if (row->type == FLAG_STRING)
        *text = value;
    else
        *ARENA_PUSH(m->arena, list->v, list->n, list->cap) = (DfWord){value, w->src};
    return true;
}

bool make_flags(Maker *m)
{
    for (size_t i = 0; i < m->node->flags.n; i++)
        if (!take_flag(m, &m->node->flags.v[i]))
            return false;
    return true;
}
