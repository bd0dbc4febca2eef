/*
 * sandbox/sandbox.h - the door of the sandbox: one command, isolated, over a stack of directories.
 *
 * In: a SandboxSpec. Out: the exit status, and whatever the command wrote in `upper`. Lighter
 * executes itself once, as a launcher with one thread; for each command the launcher forks a
 * process in fresh namespaces that mounts the root, drops rights and executes the command. All
 * mounts live in that process' mount namespace, so that the kernel removes them when its last
 * process dies, however it dies; and it dies with the builder.
 *
 *   lighter ── exec self ──> launcher ── clone ──> init (pid 1 of the step) ── fork ──> the command
 *
 * Used by: steps, cmd.  Uses: base.
 */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* ---- modes ---- */

typedef enum SandboxMode {
    MODE_ROOT,     /* real root with CAP_SYS_ADMIN */
    MODE_ROOTLESS, /* a user namespace with a full range of ids, by newuidmap */
    MODE_CHROOT,   /* root in a container without rights to mount: a copied root and chroot(2) */
    MODE_SINGLE,   /* a user namespace with one id; owners are remembered (base/owner.h) */
} SandboxMode;

/* One contiguous range of subordinate ids. */
typedef struct SubRange {
    uint32_t start, count;
} SubRange;

typedef struct SandboxHost {
    SandboxMode mode;
    bool nested;         /* MODE_ROOT: root of a user namespace that somebody else made */
    SubRange uids, gids; /* MODE_ROOTLESS */
} SandboxHost;

/*
 * sandbox_host - what this user may do here.
 *
 *   isolation  "auto", "root", "rootless", "single" or "chroot"
 *
 * Fails with ERR_USAGE (unknown word) or ERR_ENV, naming what is missing and the line that gives
 * it.
 */
NODISCARD bool sandbox_host(const char *isolation, SandboxHost *ret, Err *e);

/* sandbox_in_userns - whether steps run in a user namespace, where overlayfs has marks of its own.
 */
bool sandbox_in_userns(const SandboxHost *h);

/* sandbox_owners - the host's way of keeping owners, as store_open() compares it; in the arena. */
char *sandbox_owners(Arena *a, const SandboxHost *h);

/*
 * sandbox_enter - enter the mode's namespaces, once a process and with no other thread alive.
 *
 * Only a user namespace: mounts are made in each step's own mount namespace, and descriptors of the
 * store stay in the one they were opened in. For MODE_ROOT nothing is to do. After it this process
 * is root of its user namespace and may own files for all ids of the range; its supplementary
 * groups stay, for files readable through them stay readable. Source: user_namespaces(7),
 * newuidmap(1).
 */
NODISCARD bool sandbox_enter(const SandboxHost *h, Err *e);

/* ---- what can be had here ---- */

/* One thing that was tried, never judged by a version. */
typedef struct SandboxFact {
    const char *name;  /* a word for programs: "overlay-userns" */
    const char *title; /* for people */
    bool ok;
    const char *detail; /* what was seen; "" when there is nothing to add */
} SandboxFact;

typedef struct SandboxFacts {
    SandboxFact *v;
    size_t n, cap;
} SandboxFacts;

/*
 * sandbox_probe - try everything that a mode or an option may want. Each is tried in a child, so
 * that nothing of it stays.
 *
 *   dir  absolute, empty, on the store's file system; what is left in it the caller removes
 */
void sandbox_probe(Arena *a, const char *dir, SandboxFacts *ret);

/* sandbox_fact - whether the fact of this name holds. */
bool sandbox_fact(const SandboxFacts *f, const char *name);

/* ---- one command ---- */

/*
 * What is mounted in a step's root besides what every step has.
 *
 * A target is resolved inside the step's root and `sub` inside its source only: absolute links and
 * `..` stay there. A missing target is made, and removed from `upper` after the step with its
 * parents where all that is still empty. Targets "/" and below /proc are refused.
 */
typedef enum SandboxMountKind {
    SANDBOX_BIND,    /* a directory or file as it is: what is written stays */
    SANDBOX_OVERLAY, /* a stack of directories; what is written is thrown away */
    SANDBOX_TMPFS,   /* an empty directory in memory */
    SANDBOX_FILE,    /* a file in memory, read-only: it never exists on a disk */
    SANDBOX_SOCKET,  /* a socket that leads to a socket of the caller's */
} SandboxMountKind;

typedef struct SandboxMount {
    SandboxMountKind kind;
    const char *target; /* absolute */
    bool readonly;
    const char *source; /* BIND: relative to `storefd`, or absolute; SOCKET: absolute */
    StrList lowers;     /* OVERLAY: relative to `storefd`, top first; none: an empty directory */
    const char *sub;    /* BIND, OVERLAY: file or directory inside that is mounted; NULL: all */
    const void *bytes;  /* FILE */
    uint64_t size;      /* FILE: of `bytes`; TMPFS: limit in bytes, 0: the kernel's */
    uint32_t mode;      /* FILE, SOCKET: permission bits; a FILE without an x bit is noexec */
    uint32_t uid, gid;  /* FILE, SOCKET: as the step counts them */
} SandboxMount;

typedef enum SandboxNet {
    SANDBOX_NET_HOST, /* the caller's */
    SANDBOX_NET_NONE, /* its own, with a loopback interface and nothing else */
    SANDBOX_NET_USER, /* its own, which passt connects with the caller's */
} SandboxNet;

/* A limit of the command's process, setrlimit(2). */
typedef struct SandboxUlimit {
    int resource;
    uint64_t soft, hard; /* RLIM_INFINITY: none */
} SandboxUlimit;

/* What a caller asks for all commands of a build. All zero is docker's default. */
typedef struct SandboxShape {
    StrList hosts;     /* lines of /etc/hosts, after the standard ones */
    uint64_t shm_size; /* of /dev/shm in bytes; 0: 64 MiB */
    const SandboxUlimit *ulimits;
    size_t nulimit;
} SandboxShape;

/*
 * sandbox_ulimit_parse - "TYPE=SOFT[:HARD]" with docker's types; -1 is no limit.
 * Fails with ERR_USAGE. Source: docker/go-units, ParseUlimit.
 */
NODISCARD bool sandbox_ulimit_parse(Arena *a, const char *text, SandboxUlimit *ret, Err *e);
/* sandbox_ulimit_text - the same limit, always with both values; in the arena. */
char *sandbox_ulimit_text(Arena *a, const SandboxUlimit *u);
/*
 * sandbox_check_ulimits - whether a child of this process may have these limits; with no other
 * thread alive. Fails with ERR_ENV, naming the limit and how far it may go.
 */
NODISCARD bool sandbox_check_ulimits(const SandboxShape *s, Err *e);

/*
 * What a command and its children may take together, by cgroup v2; 0: no limit of that kind. It
 * shapes no result, so it belongs into no key.
 */
#define SANDBOX_UNLIMITED UINT64_MAX
typedef struct SandboxLimits {
    uint64_t memory;      /* bytes */
    uint64_t memory_swap; /* bytes of memory and swap together; 0: twice `memory` */
    uint64_t cpu_quota_us, cpu_period_us;
    uint64_t cpu_weight;     /* 1 to 10000 */
    const char *cpus, *mems; /* as cpuset(7) lists them, "0-3,7" */
    uint64_t pids;
    const char *parent; /* a group to make those of the commands in, from the hierarchy's root */
} SandboxLimits;

bool sandbox_limits_any(const SandboxLimits *l);
/*
 * sandbox_limits_begin - find or make the control group that those of the commands are made in;
 * once a process, before sandbox_enter() and with no other thread alive. Processes in the caller's
 * own group may move into one below it. Fails with ERR_ENV, naming what is missing and the line
 * that gives it.
 */
NODISCARD bool sandbox_limits_begin(const SandboxLimits *l, Err *e);

typedef struct SandboxSpec {
    bool in_userns;
    /*
     * MODE_CHROOT: `upper` is the whole root, copied, and `lowers` are not looked at. Mounts are
     * things moved to their place and away again: a BIND of a directory below the store is what it
     * names, one below `scratch` may be lost; OVERLAYs, other BINDs and SANDBOX_NET_NONE are
     * refused.
     */
    bool copied;
    StrList *own; /* copied: gets the paths that the sandbox changed and put back, and the command
                     did not touch; in own_arena */
    Arena *own_arena;
    int storefd;         /* directory that the names below are relative to */
    StrList lowers;      /* top first; empty: FROM scratch */
    const char *upper;   /* written to; must exist */
    const char *scratch; /* an empty directory for the work directory and the mount point */
    const char *points;  /* NULL, or what sandbox_points() made */
    StrList argv, env;
    const char *cwd;
    const char *user; /* "", name, number, user:group */
    const char *hostname;
    const SandboxMount *mounts; /* any order; mounted bytewise by target as BuildKit does, so that a
                                   directory comes before what is mounted in it */
    size_t nmount;
    SandboxNet net;
    /*
     * Not 0, and a network of its own: a TCP socket listens on this port of the command's loopback
     * before the command begins, and is handed to `listening`, which takes it, in the thread of
     * sandbox_run().
     */
    unsigned listen_port;
    void (*listening)(void *arg, int fd);
    void *listening_arg;
    /*
     * Directories of the command's root: a descriptor of inotify(7), which tells of each file that
     * is opened in one of them, is handed to `watching`, which takes it, in the thread of
     * sandbox_run(). The first has the number 1 there, and so on. Where that cannot be had, none
     * comes.
     */
    StrList watch;
    void (*watching)(void *arg, int fd);
    void *watching_arg;
    SandboxShape shape;
    const SandboxLimits *limits; /* NULL: none */
    bool insecure;               /* all the rights this process has, instead of docker's default */
    bool fast_owners;            /* MODE_SINGLE: remembered owners are not shown to the command */
    bool readonly;               /* the root cannot be written to, mounts can */
    /*
     * The command has the caller's stdin, stdout and stderr; signals are passed on to it instead of
     * ending it; and a program that cannot be executed is an exit code, 126 or 127 as shells count,
     * with a line on stderr.
     */
    bool interactive;
    bool no_input; /* interactive: but stdin is empty */
    bool tty;      /* interactive: a terminal of its own, which the caller's is connected with */
} SandboxSpec;

/* How a command ended. */
typedef struct SandboxEnd {
    int code;   /* exit code; 128 + signal as shells count when a signal ended it */
    int signal; /* 0, or the signal */
    bool cancelled;
    uint64_t oom; /* processes of the step that were killed because its memory limit was reached */
} SandboxEnd;

/* Where output goes: NULL read function means the caller's own stdout and stderr. */
typedef struct SandboxOutput {
    void (*take)(void *arg, const char *bytes, size_t n);
    void *arg;
} SandboxOutput;

/*
 * sandbox_start - make ready for sandbox_run(): once a process, after sandbox_enter(), in a thread
 * that lives as long as commands run, for they die with it. Fails with ERR_ENV.
 */
NODISCARD bool sandbox_start(Err *e);
/* sandbox_stop - end what sandbox_start() began, if it did; no command runs any more. */
void sandbox_stop(void);

/*
 * sandbox_points - make what commands with the same host name and hosts can share, in a new
 * directory `path` below `dirfd`: the text of their /etc/hosts, and a layer to lie under all
 * others, in which /etc/hosts and /etc/resolv.conf can be mounted on, where an image lacks them.
 * Fails with ERR_STORE.
 */
NODISCARD bool sandbox_points(int dirfd, const char *path, const char *hostname,
                              const SandboxShape *shape, Err *e);

/*
 * sandbox_run - run one command and wait for it and for all its children's end.
 *
 * Any thread may call it; the first call does what sandbox_start() does, if nobody did. Mount
 * points that had to be made are removed from `upper` again, and directories keep their times in
 * it. Fails with ERR_ENV (the kernel refuses a part of the sandbox), or ERR_STEP (no such program
 * or user in the image, a mount without source or with a target that cannot be one); a command that
 * merely fails is a success with ret->code.
 */
NODISCARD bool sandbox_run(const SandboxSpec *spec, const SandboxOutput *out, SandboxEnd *ret,
                           Err *e);

/* sandbox_child_main - what `lighter` does when it is executed as a launcher; never returns. */
_Noreturn void sandbox_child_main(void);
/* The word in argv[1] that asks for it. */
#define SANDBOX_CHILD_WORD "--sandbox-child"

/* Who a command runs as. WORKDIR needs the numbers too, without a process. */
typedef struct SandboxIds {
    uint32_t uid, gid;
    uint32_t groups[64];
    size_t ngroup;
    char home[256];
} SandboxIds;

/*
 * sandbox_user_ids - the numbers behind `user`.
 *
 *   passwd, group  texts of /etc/passwd and /etc/group, "" when absent
 *
 * Numbers need no entry. Fails with ERR_STEP when a name is unknown.
 * Source: docker's USER rules (features.md I20, I28).
 */
NODISCARD bool sandbox_user_ids(const char *user, const char *passwd, const char *group,
                                SandboxIds *ret, Err *e);

/*
 * sandbox_new_owner - who owns what WORKDIR makes and COPY --chown gives away, as BuildKit reads
 * it: a bare number is the group too, a name has its group of passwd, and an unknown name is root.
 * Returns false when a name is unknown.
 */
bool sandbox_new_owner(const char *user, const char *passwd, const char *group, uint32_t *ret_uid,
                       uint32_t *ret_gid);

/* Whether programs of another machine run here. */
typedef enum SandboxEmulator {
    EMULATOR_NONE,
    EMULATOR_OUTSIDE, /* one is registered, but is not found in an image's root */
    EMULATOR_READY,
} SandboxEmulator;

/* sandbox_emulator - what binfmt_misc does with programs of an architecture, by Go's name. */
SandboxEmulator sandbox_emulator(const char *architecture);

#endif
