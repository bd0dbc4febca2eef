/*
 * sandbox/single.h - mode `single`: one id, and a process that answers for the rest. Private to the
 * sandbox.
 */
#ifndef SANDBOX_SINGLE_H
#define SANDBOX_SINGLE_H

#include <sys/types.h>

#include "sandbox/spec.h"

/* single_host - whether this machine gives a user namespace with one id and a kernel that lets a
 * process answer another's system calls. Fails with ERR_ENV. */
NODISCARD bool single_host(SandboxHost *h, Err *e);
/* single_enter - see sandbox_enter(). Source: user_namespaces(7). */
NODISCARD bool single_enter(Err *e);

/*
 * The warden: the keeper of a step in mode `single`. It answers those system calls of the step that
 * one id cannot carry out, does what they mean in the step's root, and remembers owners as
 * base/owner.h says. The command enlists: it installs a filter that sends those calls to the
 * warden, and gives it the descriptor they arrive at.
 */
typedef struct Warden Warden;

/* warden_new - in the keeper, before it forks: what is to be had from outside the step's root. The
 * command's end of the socket becomes FD_WARDEN. Lives in the arena. */
NODISCARD bool warden_new(Arena *a, const SandboxSpec *spec, Warden **ret, Err *e);
/* warden_serve - answer until `init` is dead; its wait status. */
NODISCARD bool warden_serve(Warden *w, pid_t init, int *ret_status, Err *e);
/* warden_enlist - in the command's process, with CAP_SYS_ADMIN: calls from here on are answered. */
NODISCARD bool warden_enlist(const SandboxSpec *spec, const SandboxIds *ids, Err *e);

/* links_any - whether one of these directories has a table of links. */
bool links_any(int dirfd, const StrList *lowers);
/* links_hide - a deletion in the directory `top`, which hides the tables of those below it. */
NODISCARD bool links_hide(int dirfd, const char *top, Err *e);
/* links_prepare - before the mount: hide the tables of the layers below from the step. */
NODISCARD bool links_prepare(const SandboxSpec *spec, Err *e);
/* links_settle - in the builder, when the step is gone: put the step's table into its upper. */
NODISCARD bool links_settle(const SandboxSpec *spec, Err *e);

#endif
