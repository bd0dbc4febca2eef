/*
 * base/opt.c - options by table.
 */
#include "base/opt.h"

typedef struct Parse {
    Arena *arena;
    const OptTable *table;
    void *out;
    int argc, at;
    char *const *argv;
    Err *e;
} Parse;

static const OptRow *row_by_name(const OptTable *t, Str name)
{
    for (size_t i = 0; i < t->nrow; i++)
        if (t->rows[i].name && str_eq(name, t->rows[i].name))
            return &t->rows[i];
    return NULL;
}

static const OptRow *row_by_letter(const OptTable *t, char letter)
{
    for (size_t i = 0; i < t->nrow; i++)
        if (t->rows[i].letter == letter)
            return &t->rows[i];
    return NULL;
}

static bool set_bool(Parse *p, const OptRow *r, const char *value)
{
    bool v = true;
    if (value) {
        if (!strcmp(value, "false") || !strcmp(value, "0"))
            v = false;
        else if (strcmp(value, "true") != 0 && strcmp(value, "1") != 0)
            return err_set(p->e, ERR_USAGE, "--%s: '%s' is neither true nor false", r->name, value);
    }
    *(bool *)((char *)p->out + r->offset) = r->kind == OPT_OFF ? !v : v;
    return true;
}

/* Store one option; `value` is what stood after '=' or directly after the letter, or NULL. */
static bool store(Parse *p, const OptRow *r, const char *value)
{
    char *field = (char *)p->out + r->offset;
    if (r->kind == OPT_REFUSED)
        return err_set(p->e, ERR_USAGE, "--%s is not supported: %s", r->name, r->help);
    if (r->kind == OPT_BOOL || r->kind == OPT_OFF)
        return set_bool(p, r, value);
    if (!value) {
        if (p->at >= p->argc)
            return err_set(p->e, ERR_USAGE, "--%s needs a value (%s)", r->name, r->value);
        value = p->argv[p->at++];
    }
    if (r->kind == OPT_LIST)
        strlist_add(p->arena, (StrList *)(void *)field, value);
    else
        *(const char **)(void *)field = value;
    return true;
}

static bool unknown(Parse *p, const char *what)
{
    const char *usage = p->table->usage; /* its words in lower case are the command */
    size_t n = strspn(usage, "abcdefghijklmnopqrstuvwxyz ");
    while (n && usage[n] && usage[n - 1] != ' ')
        n--; /* back to where the word began */
    while (n && usage[n - 1] == ' ')
        n--;
    return err_set(p->e, ERR_USAGE, "unknown option '%s'; '%.*s --help' lists the options", what,
                   (int)n, usage);
}

static bool parse_long(Parse *p, const char *arg)
{
    const char *eq = strchr(arg, '=');
    Str name = eq ? (Str){arg, (size_t)(eq - arg)} : str_c(arg);
    const OptRow *r = row_by_name(p->table, name);
    if (!r)
        return unknown(p, arena_printf(p->arena, "--%.*s", (int)name.len, name.ptr));
    return store(p, r, eq ? eq + 1 : NULL);
}

static bool parse_letters(Parse *p, const char *arg)
{
    for (const char *c = arg; *c; c++) {
        const OptRow *r = row_by_letter(p->table, *c);
        if (!r)
            return unknown(p, arena_printf(p->arena, "-%c", *c));
        if (r->kind == OPT_BOOL || r->kind == OPT_OFF) {
            if (!store(p, r, NULL))
                return false;
            continue;
        }
        const char *rest = c[1] == '=' ? c + 2 : c[1] ? c + 1 : NULL;
        return store(p, r, rest);
    }
    return true;
}

bool opt_parse(Arena *a, const OptTable *t, int argc, char *const *argv, void *out,
               StrList *ret_operands, bool *ret_help, Err *e)
{
    Parse p = {a, t, out, argc, 0, argv, e};
    StrList operands = {0};
    bool options = true;
    *ret_help = false;

    while (p.at < argc) {
        const char *arg = argv[p.at++];
        if (!options || arg[0] != '-' || !arg[1]) {
            strlist_add(a, &operands, arg);
            options = options && !t->stop_at_operand;
        } else if (!strcmp(arg, "--")) {
            options = false;
        } else if (!strcmp(arg, "--help") || (!strcmp(arg, "-h") && !row_by_letter(t, 'h'))) {
            *ret_help = true;
            return true;
        } else if (arg[1] == '-' ? !parse_long(&p, arg + 2) : !parse_letters(&p, arg + 1)) {
            return false;
        }
    }
    *ret_operands = operands;
    return true;
}

void opt_help(const OptTable *t, Buf *out)
{
    buf_printf(out, "usage: %s\n\n%s\n", t->usage, t->about);
    if (t->nrow)
        buf_puts(out, "\noptions:\n");
    for (size_t i = 0; i < t->nrow; i++) {
        const OptRow *r = &t->rows[i];
        if (r->kind == OPT_REFUSED)
            continue;
        char left[64];
        (void)snprintf(left, sizeof left, "%c%c%s--%s%s%s", r->letter ? '-' : ' ',
                       r->letter ? r->letter : ' ', r->letter ? ", " : "  ", r->name,
                       r->value ? " " : "", r->value ? r->value : "");
        buf_printf(out, "  %-32s %s\n", left, r->help);
    }
    bool any = false;
    for (size_t i = 0; i < t->nrow; i++) {
        if (t->rows[i].kind != OPT_REFUSED)
            continue;
        buf_printf(out, "%s--%s",
                   any ? " " : "\nknown to docker build, refused here for now: ", t->rows[i].name);
        any = true;
    }
    if (any)
        buf_putc(out, '\n');
}
