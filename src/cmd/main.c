/*
 * cmd/main.c - the program: find the command, parse its options, run it, print its error.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/cancel.h"
#include "cmd/cmd.h"

static const Cmd *const CMDS[] = {&CMD_BUILD, &CMD_IMAGES, &CMD_INSPECT,
                                  &CMD_SAVE,  &CMD_LOAD,   &CMD_RUN};

static void print(const Buf *b, int fd)
{
    (void)!write(fd, b->ptr ? b->ptr : "", b->len);
}

static const Cmd *find_cmd(const char *name)
{
    for (size_t i = 0; i < NELEM(CMDS); i++)
        if (!strcmp(CMDS[i]->name, name))
            return CMDS[i];
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
    print(&b, STDOUT_FILENO);
}

static int usage_error(const char *what, const char *word)
{
    fprintf(stderr, "lighter: %s '%s'; 'lighter help' lists the commands\n", what, word);
    return ERR_USAGE;
}

static int run_cmd(const Cmd *c, int argc, char **argv)
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
    if (cancel_signal()) {
        fprintf(stderr, "lighter %s: stopped by signal %d\n", c->name, cancel_signal());
        return 128 + cancel_signal();
    }
    fprintf(stderr, "lighter %s: %s\n", c->name, e.msg);
    return (int)e.kind;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "help";
    if (!strcmp(word, SANDBOX_CHILD_WORD))
        sandbox_child_main();
    if (!strcmp(word, "version") || !strcmp(word, "--version") || !strcmp(word, "-v")) {
        static const char text[] = "lighter " LIGHTER_VERSION "\n";
        return write(STDOUT_FILENO, text, sizeof text - 1) < 0;
    }
    if (!strcmp(word, "help") || !strcmp(word, "--help") || !strcmp(word, "-h")) {
        const Cmd *c = argc > 2 ? find_cmd(argv[2]) : NULL;
        if (argc > 2 && !c)
            return usage_error("unknown command", argv[2]);
        if (c)
            cmd_help(c);
        else
            overview(STDOUT_FILENO);
        return 0;
    }
    const Cmd *c = find_cmd(word);
    if (!c)
        return usage_error("unknown command", word);
    return run_cmd(c, argc - 2, argv + 2);
}
