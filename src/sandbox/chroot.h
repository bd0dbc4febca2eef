/*
 * sandbox/chroot.h - a step in a copied root, without namespaces and mounts. Private to the
 * sandbox.
 *
 *   launcher ── fork ──> keeper ── fork ──> the command, in its root
 *
 * The keeper stays outside: it puts things into the root before the command starts, is the parent
 * of every process of the step that loses its own, ends them all, and takes away what it put there.
 */
#ifndef SANDBOX_CHROOT_H
#define SANDBOX_CHROOT_H

#include <signal.h>

#include "sandbox/mount.h"
#include "sandbox/spec.h"

/* Asks the keeper to end the step; SIGKILL would leave the step's processes to others. */
#define CHROOT_END (SIGRTMIN + 1)

/* ---- which mode ---- */

/* chroot_host - whether mode chroot can be had; ERR_ENV names what is missing. */
NODISCARD bool chroot_host(SandboxHost *ret, Err *e);

/* chroot_instead - what `auto` takes when nothing better is to be had; what `e` says of the others
 * stays in the error. */
bool chroot_instead(SandboxHost *ret, Err *e);

/* chroot_userns_works - try to make a user namespace, in a child. */
bool chroot_userns_works(void);

/* ---- rights ---- */

bool rights_have_cap(int cap);
NODISCARD bool rights_drop_bounding(const SandboxSpec *spec, Err *e);
NODISCARD bool rights_filter_calls(Err *e);

/*
 * chroot_wall - in the command's process, after chroot: what keeps it in its root.
 *
 *   root  the command runs as root
 *
 * All lose CAP_SYS_CHROOT for good, for a second chroot is the way out of the first. Root gets
 * Landlock's rules and the seccomp filter besides, under no_new_privs where CAP_SYS_ADMIN is
 * missing; of others it would break their sudo.
 */
NODISCARD bool chroot_wall(const SandboxSpec *spec, bool root, Err *e);

/*
 * chroot_env - variables for programs that find themselves by /proc/self/exe: GOROOT, where PATH
 * leads to a Go installation and the step does not set it.
 */
void chroot_env(Arena *a, StrList *env);

/* chroot_landlock_abi - the kernel's Landlock interface; 0: none. */
int chroot_landlock_abi(void);

/* ---- things put into the root ---- */

/* Something that lies in the root while the command runs. */
typedef struct Place {
    const char *source; /* relative to the working directory; moved to its place */
    bool is_dir;
    bool keep;        /* moved back; else removed */
    bool shred;       /* overwritten first */
    int lock;         /* of a cache, -1 for none */
    struct stat was;  /* of the source */
    const char *name; /* where it is, relative to the root */
    int parent;       /* the directory it is in; -1: not placed */
    const char *aside;
} Place;

typedef struct Places {
    Arena *a;
    const SandboxSpec *spec;
    Root root;
    Place *v;
    size_t n, cap;
    struct Watched {
        const char *path;
        struct stat st;
        bool stub; /* a mount point had to be made below it */
    } * watched;   /* directories that places change */
    size_t nwatched, watched_cap;
    int fifo; /* what the command prints, for /dev/stdout; -1: it prints to the caller's own */
} Places;

/* places_put - put everything there; on failure places_take_away() is still to be called. */
NODISCARD bool places_put(Places *p, Err *e);
/* places_take_away - put the root back as it was, and report what only we changed. */
void places_take_away(Places *p);

/* chroot_main - the keeper. */
_Noreturn void chroot_main(Arena *a, const SandboxSpec *spec);

#endif
