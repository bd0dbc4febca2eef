/*
 * cmd/main.c - the program: find the command, parse its options, run it, print its error.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cancel.h"
#include "cmd/cmd.h"
#include "dockerfile/dockerfile.h"

static const Cmd *const CMDS[] = {
    &CMD_BUILD, &CMD_PLAN,  &CMD_WHY,   &CMD_LOG,     &CMD_IMAGES,     &CMD_INSPECT, &CMD_PULL,
    &CMD_PUSH,  &CMD_TAG,   &CMD_COPY,  &CMD_COMPARE, &CMD_VERIFY,     &CMD_HISTORY, &CMD_PACK,
    &CMD_INDEX, &CMD_SAVE,  &CMD_LOAD,  &CMD_RUN,     &CMD_RMI,        &CMD_LOGIN,   &CMD_LOGOUT,
    &CMD_DU,    &CMD_PRUNE, &CMD_STORE, &CMD_CONTEXT, &CMD_DOCKERFILE, &CMD_IMAGE,   &CMD_DOCTOR};
enum { MAX_WORDS = 64 };

static void print(const Buf *b, int fd)
{
    (void)!write(fd, b->ptr ? b->ptr : "", b->len);
}

/* The commands of a group, or all of them; how many. */
static size_t list_cmds(const Cmd *group, const Cmd *ret[MAX_WORDS])
{
    size_t n = 0;
    if (!group)
        for (; n < NELEM(CMDS) && n < MAX_WORDS; n++)
            ret[n] = CMDS[n];
    else
        for (; group->subs[n].name && n < MAX_WORDS; n++)
            ret[n] = &group->subs[n];
    return n;
}

static const Cmd *find_cmd(const Cmd *group, const char *name)
{
    const Cmd *cmds[MAX_WORDS];
    size_t n = list_cmds(group, cmds);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(cmds[i]->name, name))
            return cmds[i];
    return NULL;
}

static void overview(int fd)
{
    scoped(buf) Buf b = BUF_INIT;
    buf_puts(&b, "lighter builds container images from Dockerfiles: one binary, no daemon, no root "
                 "needed.\n\n"
                 "usage: lighter COMMAND [OPTIONS]\n\ncommands:\n");
    for (size_t i = 0; i < NELEM(CMDS); i++)
        buf_printf(&b, "  %-10s %s\n", CMDS[i]->name, CMDS[i]->table->about);
    buf_puts(&b, "  version    print the version\n"
                 "  help       this page, or that of a command\n\n"
                 "'lighter COMMAND --help' lists a command's options. Exit codes: 1 a step failed, "
                 "2 usage, 3 Dockerfile,\n"
                 "4 network or registry, 5 check, 6 environment, 7 store.\n");
    print(&b, fd);
}

static void cmd_help(const Cmd *c)
{
    scoped(buf) Buf b = BUF_INIT;
    opt_help(c->table, &b);
    if (c->subs) {
        buf_puts(&b, "\ncommands:\n");
        for (const Cmd *s = c->subs; s->name; s++)
            buf_printf(&b, "  %-10s %s\n", s->name, s->table->about);
        buf_printf(&b, "\n'lighter %s COMMAND --help' lists a command's options.\n", c->name);
    }
    print(&b, STDOUT_FILENO);
}

/* A word that is no command, with the nearest one that is. */
static int unknown_cmd(const Cmd *group, const char *word)
{
    const Cmd *cmds[MAX_WORDS];
    const char *names[MAX_WORDS];
    size_t n = list_cmds(group, cmds);
    for (size_t i = 0; i < n; i++)
        names[i] = cmds[i]->name;
    const char *near = df_suggest(word, names, n);
    fprintf(stderr,
            "lighter%s%s: unknown command '%s'%s%s%s; 'lighter help%s%s' lists the commands\n",
            group ? " " : "", group ? group->name : "", word, near ? " (did you mean " : "",
            near ? near : "", near ? "?)" : "", group ? " " : "", group ? group->name : "");
    return ERR_USAGE;
}

static int run_cmd(const Cmd *group, const Cmd *c, int argc, char **argv)
{
    scoped(arena) Arena a = {0};
    void *opts = arena_alloc(&a, c->opts_size);
    StrList operands = {0};
    bool help;
    int code = 0;
    Err e = ERR_INIT;
    if (opt_parse(&a, c->table, argc, argv, opts, &operands, &help, &e)) {
        if (help) {
            cmd_help(c);
            return 0;
        }
        if (c->run(&a, opts, &operands, &code, &e))
            return code;
    }
    const char *title = group ? arena_printf(&a, "%s %s", group->name, c->name) : c->name;
    if (cancel_signal()) {
        fprintf(stderr, "lighter %s: stopped by signal %d\n", title, cancel_signal());
        return 128 + cancel_signal();
    }
    cmd_print(stderr, arena_printf(&a, "lighter %s: %s\n", title, e.msg));
    return (int)e.kind;
}

static bool is_help(const char *word)
{
    return !strcmp(word, "--help") || !strcmp(word, "-h");
}

/* `lighter GROUP WORD...` */
static int run_group(const Cmd *group, int argc, char **argv)
{
    if (argc < 1) {
        fprintf(stderr, "lighter %s: needs a command; 'lighter help %s' lists them\n", group->name,
                group->name);
        return ERR_USAGE;
    }
    if (is_help(argv[0])) {
        cmd_help(group);
        return 0;
    }
    const Cmd *c = find_cmd(group, argv[0]);
    return c ? run_cmd(group, c, argc - 1, argv + 1) : unknown_cmd(group, argv[0]);
}

/* docker's long names of commands, so that scripts run with a link called docker. */
static const struct {
    const char *group, *word, *cmd;
} SPELLINGS[] = {
    {"buildx", "build", "build"},  {"buildx", "b", "build"},
    {"builder", "build", "build"}, {"image", "build", "build"},
    {"image", "ls", "images"},     {"image", "list", "images"},
    {"image", "pull", "pull"},     {"image", "push", "push"},
    {"image", "tag", "tag"},       {"image", "inspect", "inspect"},
    {"image", "save", "save"},     {"image", "load", "load"},
    {"image", "rm", "rmi"},        {"image", "history", "history"},
    {"image", "remove", "rmi"},    {"container", "run", "run"},
    {"buildx", "du", "du"},        {"system", "df", "du"},
    {"buildx", "prune", "prune"},  {"builder", "prune", "prune"},
    {"system", "prune", "prune"},  {"buildx", "version", "version"},
};

/* The command that two words of docker's mean, or NULL. */
static const char *short_name(const char *group, const char *word)
{
    for (size_t i = 0; i < NELEM(SPELLINGS); i++)
        if (!strcmp(SPELLINGS[i].group, group) && !strcmp(SPELLINGS[i].word, word))
            return SPELLINGS[i].cmd;
    return NULL;
}

/* `lighter help [WORD...]` */
static int run_help(int argc, char **argv)
{
    const Cmd *c = NULL;
    for (int i = 0; i < argc && (!c || c->subs); i++) {
        const Cmd *group = c;
        c = find_cmd(group, argv[i]);
        if (!c)
            return unknown_cmd(group, argv[i]);
    }
    if (c)
        cmd_help(c);
    else
        overview(STDOUT_FILENO);
    return 0;
}

/*
 * A caller may have closed one of the three: what is opened next would take its place, and be read
 * or written as if it were the terminal. They are opened so that using them fails as it did.
 */
static void standard_files(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "help";
    if (!strcmp(word, SANDBOX_CHILD_WORD))
        sandbox_child_main();
    standard_files();
    const char *meant = argc > 2 ? short_name(word, argv[2]) : NULL;
    if (meant) {
        word = meant;
        argc--;
        argv++;
    }
    if (!strcmp(word, "version") || !strcmp(word, "--version") || !strcmp(word, "-v")) {
        static const char text[] = "lighter " LIGHTER_VERSION "\n";
        return write(STDOUT_FILENO, text, sizeof text - 1) < 0;
    }
    if (!strcmp(word, "help") || is_help(word))
        return run_help(argc > 2 ? argc - 2 : 0, argv + 2);
    const Cmd *c = find_cmd(NULL, word);
    if (!c)
        return unknown_cmd(NULL, word);
    return c->subs ? run_group(c, argc - 2, argv + 2) : run_cmd(NULL, c, argc - 2, argv + 2);
}
