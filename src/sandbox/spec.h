/*
 * sandbox/spec.h - a SandboxSpec across exec, and the lines that come back. Private to the sandbox.
 *
 * The spec travels in a file in memory, so that no command line shows an environment. What comes
 * back on the status socket is one record a message: a letter, a number, a text.
 */
#ifndef SANDBOX_SPEC_H
#define SANDBOX_SPEC_H

#include "sandbox/launch.h"
#include "sandbox/sandbox.h"

typedef enum ReportKind {
    REPORT_ERROR = 'E',  /* number: ErrKind */
    REPORT_STUB = 'S',   /* number: it is a directory; text: path of a mount point that had to be
                            made, relative to the root */
    REPORT_OWN = 'O',    /* text: see SandboxSpec.own */
    REPORT_TTY = 'T',    /* a descriptor comes with it: the other side of the command's terminal */
    REPORT_LISTEN = 'L', /* a descriptor comes with it: see SandboxSpec.listen_port */
    REPORT_WATCH = 'W',  /* a descriptor comes with it: see SandboxSpec.watch */
    REPORT_ROOT =
        'R', /* a descriptor comes with it: the root, which stays mounted as long as it is open */
    REPORT_EXIT = 'X', /* number: wait status of the command */
} ReportKind;

enum { REPORT_TEXT_SIZE = 1024 };

typedef struct Report {
    char kind;
    int number;
    char text[REPORT_TEXT_SIZE];
} Report;

NODISCARD bool spec_write(const SandboxSpec *spec, int *ret_fd, Err *e);
NODISCARD bool spec_read(Arena *a, int fd, SandboxSpec *ret, Err *e);

/* spec_hosts - append the text of a step's /etc/hosts. */
void spec_hosts(const char *hostname, const SandboxShape *shape, Buf *out);

/* launch_namespaces - the namespaces that the first process of a step is born in; a keeper makes
 * most of them for its children. */
uint64_t launch_namespaces(const SandboxSpec *spec);

/* sandbox_mount - in the child: mount the root at <scratch>/root and everything in it, then make it
 * "/". */
NODISCARD bool sandbox_mount(Arena *a, const SandboxSpec *spec, Err *e);
/*
 * command_main - the command's process: take the terminal, drop rights and execute. Never returns.
 *   e  what is wrong already
 */
_Noreturn void command_main(Arena *a, const SandboxSpec *spec, int terminal, Err *e);
/* command_terminal - have a terminal for the command, if it wants one; its other side goes to the
 * builder. *ret is -1 without one. */
NODISCARD bool command_terminal(const SandboxSpec *spec, int *ret, Err *e);
/* ulimits_set - in the command's process, while it may still raise limits. Fails with ERR_ENV. */
NODISCARD bool ulimits_set(const SandboxShape *s, Err *e);
/* report - send one record to the parent; best effort, for nobody else could be told. */
void report(ReportKind kind, int number, const char *text);
/* report_fd - the same with a descriptor. */
void report_fd(ReportKind kind, int fd);

/* rights_real_root - whether this is root of the machine, and not of a user namespace. */
bool rights_real_root(void);

/* program_find - where a program of the system is: in PATH, or where systems have them. */
enum { PROGRAM_PATH_MAX = 4096 };
bool program_find(const char *program, char path[static PROGRAM_PATH_MAX]);

/* stub_remove - in the builder: remove a mount point that was made from `upper`, with the
 * directories that are there only for its sake, unless the command used it. */
void stub_remove(const SandboxSpec *spec, const char *name, bool dir);

#endif
