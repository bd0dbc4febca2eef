/*
 * ui/choose.c - which view suits the caller, by option and environment.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "ui/ui.h"

enum { LOG_LINES = 6, LOG_LINES_MAX = 100 };

static const struct {
    const char *word;
    UiStyle style;
} STYLES[] = {
    {"auto", UI_TTY},  {"tty", UI_TTY},   {"plain", UI_PLAIN},     {"quiet", UI_NONE},
    {"none", UI_NONE}, {"json", UI_JSON}, {"rawjson", UI_RAWJSON},
};

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static bool read_word(const char *word, const char *from, UiStyle *ret, Err *e)
{
    for (size_t i = 0; i < NELEM(STYLES); i++)
        if (!strcmp(STYLES[i].word, word)) {
            *ret = STYLES[i].style;
            return true;
        }
    return err_set(e, ERR_USAGE, "%s=%s: expected auto, tty, plain, quiet, none, json or rawjson",
                   from, word);
}

/* One that can move its cursor. */
static bool is_capable(const char *term)
{
    return term && strcmp(term, "dumb") != 0 && strcmp(term, "unknown") != 0;
}

/* Off where LIGHTER_CI_GROUPS says so. */
static UiFold fold(void)
{
    const char *wanted = env("LIGHTER_CI_GROUPS"), *github = env("GITHUB_ACTIONS"),
               *gitlab = env("GITLAB_CI");
    bool yes;
    if (wanted && str_bool(wanted, &yes) && !yes)
        return UI_FOLD_NONE;
    if (github && str_bool(github, &yes) && yes)
        return UI_FOLD_GITHUB;
    return gitlab && str_bool(gitlab, &yes) && yes ? UI_FOLD_GITLAB : UI_FOLD_NONE;
}

static unsigned log_lines(void)
{
    const char *text = env("LIGHTER_TTY_LOG_LINES");
    uint64_t n;
    text = text ? text : env("BUILDKIT_TTY_LOG_LINES");
    return text && str_u64(text, LOG_LINES_MAX, &n) ? (unsigned)n : LOG_LINES;
}

/* Source: https://no-color.org */
static void colors(UiColors *c)
{
    const char *own = env("BUILDKIT_COLORS");
    if (env("NO_COLOR"))
        return;
    ui_colors_parse("run=blue:cancel=yellow:warning=yellow:error=red", c);
    if (own)
        ui_colors_parse(own, c);
}

bool ui_choose(const char *option, UiOpts *ret, Err *e)
{
    const char *from = option ? "--progress" : "BUILDKIT_PROGRESS";
    const char *word = option ? option : env("BUILDKIT_PROGRESS");
    bool terminal = isatty(STDERR_FILENO);
    UiOpts o = {.fd = STDERR_FILENO, .log_lines = log_lines()};
    word = word ? word : "auto";
    if (!read_word(word, from, &o.style, e))
        return false;
    if (!strcmp(word, "tty") && !terminal)
        return err_set(e, ERR_USAGE, "%s=tty: stderr is no terminal; auto takes plain there", from);
    o.quiet = !strcmp(word, "quiet");
    if (o.style == UI_TTY && (!terminal || !is_capable(env("TERM"))))
        o.style = UI_PLAIN;
    if (o.style == UI_PLAIN)
        o.fold = fold();
    if (terminal && is_capable(env("TERM")))
        colors(&o.colors);
    *ret = o;
    return true;
}
