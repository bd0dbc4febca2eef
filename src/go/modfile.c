/*
 * go/modfile.c - the lines of go.mod and go.work to what they say.
 */
#include "go/modfile.h"

#include <stdlib.h>

#include "go/modlex.h"
#include "go/unicode.h"

/* One line being read. */
typedef struct Line {
    Arena *a;
    const char *name;
    GoModKind kind;
    const ModLine *at;
    Str verb;
    const Str *args;
    size_t narg;
    GoModFile *file;
    Err *e;
} Line;

static bool fails(Line *l, const char *fmt, ...) PRINTF_LIKE(2, 3);

static bool fails(Line *l, const char *fmt, ...)
{
    va_list ap;
    char text[512];
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(l->e, ERR_DOCKERFILE, "%s:%u: %s", l->name, l->at->line, text);
}

static bool string(Line *l, Str word, const char **ret)
{
    Err e = ERR_INIT;
    return mod_string(l->a, word, ret, &e) || fails(l, "%s", e.msg);
}

static const char *shown(Line *l, const char *s)
{
    return go_shown(l->a, str_c(s));
}

static const char *verb(Line *l)
{
    return go_shown(l->a, l->verb);
}

/* ---- words ---- */

static size_t digits(const char *s)
{
    size_t n = 0;
    while (s[n] >= '0' && s[n] <= '9')
        n++;
    return n;
}

/* A number without a zero in front, unless it is 0 and may be; how long it is. */
static size_t number(const char *s, bool zero_ok)
{
    size_t n = digits(s);
    return n && *s == '0' && (n > 1 || !zero_ok) ? 0 : n;
}

/* "1.22", and where that ends; 0 when it does not begin so. */
static size_t two_numbers(const char *s)
{
    size_t n = number(s, false);
    size_t m = n && s[n] == '.' ? number(s + n + 1, true) : 0;
    return m ? n + 1 + m : 0;
}

/* 1.22, 1.22.3, 1.22rc1, 1.22.3rc1 */
static bool is_go_version(const char *s)
{
    size_t n = two_numbers(s), letters = 0;
    if (!n)
        return false;
    s += n;
    if (*s == '.') {
        n = number(s + 1, true);
        if (!n)
            return false;
        s += n + 1;
    }
    while (s[letters] >= 'a' && s[letters] <= 'z')
        letters++;
    s += letters;
    n = digits(s);
    return !s[n] && !letters == !n;
}

/* What other go commands wrote into modules that we only depend on: "v1.22.x". */
static const char *lax_go_version(Arena *a, const char *s)
{
    s += *s == 'v';
    size_t n = two_numbers(s);
    return n && s[n] && !strchr(s + n, '\n') ? arena_strndup(a, s, n) : NULL;
}

static bool is_toolchain(const char *s)
{
    return !strcmp(s, "default") || !strcmp(s, "go1") || str_starts(s, "go1.");
}

static bool version(Line *l, Str word, const char *path, const char **ret)
{
    const char *text;
    if (!string(l, word, &text))
        return false;
    *ret = go_version_canonical(l->a, text);
    return *ret || fails(l, "%s %s: version '%s' invalid: must be of the form v1.2.3", verb(l),
                         shown(l, path), shown(l, text));
}

/* A module's path and version, which must belong to each other; no version: `nword` is 1. */
static bool module(Line *l, const Str *words, size_t nword, GoModule *ret)
{
    const char *major;
    GoModule m = {.version = ""};
    if (!string(l, words[0], &m.path) || (nword > 1 && !version(l, words[1], m.path, &m.version)))
        return false;
    if (!go_path_major(m.path, &major))
        return fails(l, "%s: invalid module path '%s'", verb(l), shown(l, m.path));
    if (nword > 1 && !go_version_fits(m.version, major))
        return fails(l, "%s %s: version '%s' invalid: should be %s", verb(l), shown(l, m.path),
                     m.version, *major ? shown(l, major + 1) : "v0 or v1");
    *ret = m;
    return true;
}

/* ---- directives ---- */

static bool do_go(Line *l)
{
    if (*l->file->go)
        return fails(l, "repeated go statement");
    if (l->narg != 1)
        return fails(l, "go directive expects exactly one argument");
    const char *v = arena_strndup(l->a, l->args[0].ptr, l->args[0].len);
    const char *lax = l->kind == GO_MOD_DEPENDENCY ? lax_go_version(l->a, v) : NULL;
    if (strlen(v) != l->args[0].len || (!is_go_version(v) && !lax))
        return fails(l, "invalid go version '%s': must match format 1.23.0", shown(l, v));
    l->file->go = is_go_version(v) ? v : lax;
    return true;
}

static bool do_toolchain(Line *l)
{
    if (*l->file->toolchain)
        return fails(l, "repeated toolchain statement");
    if (l->narg != 1)
        return fails(l, "toolchain directive expects exactly one argument");
    const char *v = arena_strndup(l->a, l->args[0].ptr, l->args[0].len);
    if (!is_toolchain(v))
        return fails(l, "invalid toolchain version '%s': must match format go1.23.0 or default",
                     shown(l, v));
    l->file->toolchain = v;
    return true;
}

static bool do_module(Line *l)
{
    const char *path;
    if (l->file->module)
        return fails(l, "repeated module statement");
    if (l->narg != 1)
        return fails(l, "usage: module module/path");
    if (!string(l, l->args[0], &path))
        return false;
    l->file->module = path;
    return true;
}

static bool do_godebug(Line *l)
{
    const char *v = l->narg == 1 ? arena_strndup(l->a, l->args[0].ptr, l->args[0].len) : "";
    if (l->narg != 1 || strpbrk(v, "\"`',") || !strchr(v, '='))
        return fails(l, "usage: godebug key=value");
    strlist_add(l->a, &l->file->godebugs, v);
    return true;
}

/* "// indirect", alone or in front of something else. */
static bool is_indirect(Str comment)
{
    if (comment.len < 2)
        return false;
    Str rest = str_trim((Str){comment.ptr + 2, comment.len - 2});
    size_t n = 0;
    while (n < rest.len && !str_space(rest.ptr + n, rest.len - n))
        n++;
    return n == rest.len ? str_eq(rest, "indirect") : str_eq((Str){rest.ptr, n}, "indirect;");
}

static bool requirement(Line *l, GoModule *ret)
{
    if (l->narg != 2)
        return fails(l, "usage: %s module/path v1.2.3", verb(l));
    return module(l, l->args, 2, ret);
}

static bool do_require(Line *l)
{
    GoModule m;
    GoModFile *f = l->file;
    if (!requirement(l, &m))
        return false;
    *ARENA_PUSH(l->a, f->requires, f->nrequire, f->require_cap) =
        (GoRequire){m, is_indirect(l->at->comment), l->at->line};
    return true;
}

static bool do_exclude(Line *l)
{
    GoModule m;
    GoModFile *f = l->file;
    if (!requirement(l, &m))
        return false;
    *ARENA_PUSH(l->a, f->excludes, f->nexclude, f->exclude_cap) = m;
    return true;
}

static bool is_arrow(Str s)
{
    return str_eq(s, "=>");
}

/* Rooted, or beginning with . or .. as an element; of Windows too, for files travel. */
static bool is_directory(const char *s)
{
    size_t dots = strspn(s, ".");
    bool drive = ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z')) && s[1] == ':';
    if (dots == 0)
        return *s == '/' || *s == '\\' || drive;
    return dots <= 2 && (!s[dots] || s[dots] == '/' || s[dots] == '\\');
}

static bool replacement(Line *l, const Str *words, size_t nword, GoModule *ret)
{
    GoModule m = {.version = ""};
    if (!string(l, words[0], &m.path))
        return false;
    bool directory = is_directory(m.path);
    if (nword == 2 && !version(l, words[1], m.path, &m.version))
        return false;
    if (nword == 2 && directory)
        return fails(l, "replacement module directory path '%s' cannot have version",
                     shown(l, m.path));
    if (nword == 1 && !directory)
        return fails(l, strchr(m.path, '@')
                            ? "replacement module must match format 'path version', "
                              "not 'path@version'"
                            : "replacement module without version must be directory "
                              "path (rooted or starting with . or ..)");
    if (nword == 1 && strchr(m.path, '\\'))
        return fails(l, "replacement directory appears to be Windows path");
    *ret = m;
    return true;
}

static bool do_replace(Line *l)
{
    GoReplace r = {.line = l->at->line};
    GoModFile *f = l->file;
    size_t arrow = l->narg >= 2 && is_arrow(l->args[1]) ? 1 : 2;
    if (l->narg < arrow + 2 || l->narg > arrow + 3 || !is_arrow(l->args[arrow]))
        return fails(l,
                     "usage: replace module/path [v1.2.3] => other/module v1.4 (or a directory)");
    if (!module(l, l->args, arrow, &r.old) ||
        !replacement(l, l->args + arrow + 1, l->narg - arrow - 1, &r.with))
        return false;
    *ARENA_PUSH(l->a, f->replaces, f->nreplace, f->replace_cap) = r;
    return true;
}

/* A version, or an interval "[v1.0.0, v1.9.9]"; any text counts as one, as in the go command. */
static bool do_retract(Line *l)
{
    static const char *const SIGNS[] = {"[", NULL, ",", NULL, "]"};
    const char *ignored;
    size_t want = l->narg && str_eq(l->args[0], "[") ? NELEM(SIGNS) : 1;
    if (l->kind == GO_MOD_DEPENDENCY)
        return true;
    if (!l->narg || str_eq(l->args[0], "("))
        return fails(l, "expected '[' or version");
    for (size_t i = 0; i < want; i++) {
        const char *sign = want > 1 ? SIGNS[i] : NULL;
        if (i >= l->narg)
            return fails(l, "expected '%s'", sign ? sign : "version");
        if (sign ? !str_eq(l->args[i], sign) : !string(l, l->args[i], &ignored))
            return fails(l, "expected '%s'", sign ? sign : "version");
    }
    return l->narg == want || fails(l, "unexpected token after version");
}

static bool one_text(Line *l, StrList *list)
{
    const char *text;
    if (l->narg != 1)
        return fails(l, "%s directive expects exactly one argument", verb(l));
    if (!string(l, l->args[0], &text))
        return false;
    strlist_add(l->a, list, text);
    return true;
}

static bool do_tool(Line *l)
{
    return one_text(l, &l->file->tools);
}

static bool do_ignore(Line *l)
{
    return one_text(l, &l->file->ignores);
}

static bool do_use(Line *l)
{
    return one_text(l, &l->file->uses);
}

enum { IN_MAIN = 1, IN_DEP = 2, IN_WORK = 4, BLOCKS = 8 };

typedef struct Directive {
    const char *verb;
    unsigned where; /* kinds of files that know it; whether it takes a block */
    bool (*run)(Line *l);
} Directive;

static const Directive DIRECTIVES[] = {
    {"module", IN_MAIN | IN_DEP | BLOCKS, do_module},
    {"go", IN_MAIN | IN_DEP | IN_WORK, do_go},
    {"toolchain", IN_MAIN | IN_WORK, do_toolchain},
    {"require", IN_MAIN | IN_DEP | BLOCKS, do_require},
    {"replace", IN_MAIN | IN_WORK | BLOCKS, do_replace},
    {"exclude", IN_MAIN | BLOCKS, do_exclude},
    {"retract", IN_MAIN | IN_DEP | BLOCKS, do_retract},
    {"tool", IN_MAIN | BLOCKS, do_tool},
    {"ignore", IN_MAIN | IN_DEP | BLOCKS, do_ignore},
    {"godebug", IN_MAIN | IN_WORK | BLOCKS, do_godebug},
    {"use", IN_WORK | BLOCKS, do_use},
};

/* What this kind of file knows by the verb; NULL for nothing. */
static const Directive *find(const Line *l)
{
    unsigned here = l->kind == GO_MOD_MAIN ? IN_MAIN : l->kind == GO_MOD_WORK ? IN_WORK : IN_DEP;
    for (size_t i = 0; i < NELEM(DIRECTIVES); i++)
        if (DIRECTIVES[i].where & here && str_eq(l->verb, DIRECTIVES[i].verb))
            return &DIRECTIVES[i];
    return NULL;
}

/* Modules we depend on may be made for a newer go command. */
static bool unknown(Line *l, const char *what)
{
    return l->kind == GO_MOD_DEPENDENCY || fails(l, "unknown %s: %s", what, verb(l));
}

static bool statement(Line *l, const ModLines *lines)
{
    const Directive *d = find(l);
    l->args = lines->words + l->at->word + 1;
    l->narg = l->at->nword - 1;
    return d ? d->run(l) : unknown(l, "directive");
}

static bool block(Line *l, const ModLines *lines)
{
    const ModLine *head = l->at;
    const Directive *d = find(l);
    if (!d || !(d->where & BLOCKS) || head->nword > 1)
        return unknown(l, "block type");
    for (uint32_t i = 1; i <= head->block; i++) {
        l->at = head + i;
        l->args = lines->words + l->at->word;
        l->narg = l->at->nword;
        if (!d->run(l))
            return false;
    }
    return true;
}

bool go_mod_parse(Arena *a, const char *name, Str text, GoModKind kind, GoModFile *ret, Err *e)
{
    ModLines lines;
    GoModFile f = {.go = "", .toolchain = ""};
    Line l = {.a = a, .name = name, .kind = kind, .file = &f, .e = e};
    if (text.len > GO_MOD_MAX)
        return err_set(e, ERR_DOCKERFILE, "%s: larger than %d bytes", name, GO_MOD_MAX);
    if (!mod_lex(a, name, text, &lines, e))
        return false;
    for (size_t i = 0; i < lines.n; i += 1 + lines.v[i].block) {
        l.at = &lines.v[i];
        l.verb = lines.words[l.at->word];
        if (l.at->opens ? !block(&l, &lines) : !statement(&l, &lines))
            return false;
    }
    if (!f.module)
        f.module = "";
    *ret = f;
    return true;
}
