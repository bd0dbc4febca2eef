/*
 * sandbox/spec.h - a SandboxSpec across exec, and the lines that come back. Private to the sandbox.
 *
 * The spec travels in a sealed memfd, so that no command line shows an environment. What comes back
 * on the status pipe is one record a write: a letter, a number, a text.
 */
#ifndef SANDBOX_SPEC_H
#define SANDBOX_SPEC_H

#include "sandbox/sandbox.h"

/* Descriptors the child finds; FD_WARDEN is the command's, in mode `single`. */
enum { FD_SPEC = 3, FD_STATUS = 4, FD_STORE = 5, FD_WARDEN = 6, FD_NFIXED = 7 };

typedef enum ReportKind {
    REPORT_ERROR = 'E', /* number: ErrKind */
    REPORT_STUB = 'S',  /* number: it is a directory; text: path of a mount point that had to be
                           made, relative to the root */
    REPORT_OWN = 'O',   /* text: see SandboxSpec.own */
    REPORT_EXIT = 'X',  /* number: wait status of the command */
} ReportKind;

enum { REPORT_TEXT_SIZE = 1024 };

typedef struct Report {
    char kind;
    int number;
    char text[REPORT_TEXT_SIZE];
} Report;

NODISCARD bool spec_write(const SandboxSpec *spec, int *ret_fd, Err *e);
NODISCARD bool spec_read(Arena *a, int fd, SandboxSpec *ret, Err *e);

/* spec_hosts - append the text of the step's /etc/hosts. */
void spec_hosts(const SandboxSpec *spec, Buf *out);

/* sandbox_mount - in the child: mount the root at <scratch>/root and everything in it, then make it
 * "/". */
NODISCARD bool sandbox_mount(Arena *a, const SandboxSpec *spec, Err *e);
/* sandbox_exec - in the command's process: drop rights and execute. Returns only on failure. */
bool sandbox_exec(Arena *a, const SandboxSpec *spec, Err *e);
/* ulimits_set - in the command's process, while it may still raise limits. Fails with ERR_ENV. */
NODISCARD bool ulimits_set(const SandboxShape *s, Err *e);
/* report - send one record to the parent; best effort, for nobody else could be told. */
void report(ReportKind kind, int number, const char *text);

/* stub_remove - in the builder: remove a mount point that was made from `upper`, with the
 * directories that are there only for its sake, unless the command used it. */
void stub_remove(const SandboxSpec *spec, const char *name, bool dir);

#endif
