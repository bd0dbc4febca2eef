/*
 * sandbox/warden.h - the parts of the warden. Private to the sandbox.
 *
 * The warden stands outside the step: another pid namespace, no filter, its root directory the
 * step's. It trusts nothing the step says. Arguments are read once; paths are walked by openat2
 * without magic links, so a name in the step's /proc leads to nothing of the warden's or of
 * init's; what a process refers to by descriptor is taken from that process' own table. An answer
 * is never a permission: what a call may do is decided by namespaces and by docker's filter, which
 * judges every call before it comes here, so that letting the kernel carry a call out after all
 * (PASS) gives a step nothing it did not have. What a step can confuse by changing memory or names
 * meanwhile is who owns a file of its own image.
 */
#ifndef SANDBOX_WARDEN_H
#define SANDBOX_WARDEN_H

#include <linux/seccomp.h>
#include <sys/stat.h>

#include "base/map.h"
#include "base/owner.h"
#include "sandbox/single.h"

/* Who a thread is, as the kernel would keep it. */
typedef struct Cred {
    uint32_t uid[4], gid[4]; /* by CredId */
    uint32_t ngroup;
    uint32_t groups[64];
} Cred;
/* The timer slack of the command, in ns: the kernel's default. creds[i] is CRED_SLACK + i. */
enum { CRED_SLACK = 50000, MAX_CREDS = 20000 };
enum CredId { CRED_REAL, CRED_EFFECTIVE, CRED_SAVED, CRED_FS };

/* What the command tells when it enlists. The root directory and the listener come with it. */
typedef struct Enlist {
    Cred cred;
} Enlist;

/* An owner that no attribute can hold, of the inode that `key` names. */
typedef struct Note {
    char *key;
    uint32_t uid, gid;
} Note;

struct Warden {
    Arena *arena;
    const SandboxSpec *spec;
    int sock, listener;
    int proc; /* the keeper's own /proc; the working directory is self/fd in it */
    int root, upper, store, scratch;
    uint64_t root_mount;
    bool lower_links; /* a layer below has a table */
    bool chrooted;    /* a process has called chroot: roots are looked up */
    Cred *creds;      /* [0]: the command's; threads of others say so by their timer slack */
    size_t ncred, cred_cap;
    Note *notes;
    size_t nnote, note_cap;
    Map note_of; /* key -> index in notes */
};

/* One call that waits. */
typedef struct Call {
    Warden *w;
    const struct seccomp_notif *req;
    const uint64_t *arg;
} Call;

/* What a handler returns: a value, -errno, or one of these. */
#define PASS INT64_MIN           /* the kernel carries the call out */
#define ANSWERED (INT64_MIN + 1) /* the handler has answered */

typedef int64_t (*Handler)(const Call *c);

/* ---- the process that calls ---- */

/* call_valid - whether the caller still waits, so that its pid is still its own. */
bool call_valid(const Call *c);
/* call_text - a path argument; 0 or -errno. */
int call_text(const Call *c, uint64_t address, char *out, size_t cap);
int call_read(const Call *c, uint64_t address, void *out, size_t n);
int call_write(const Call *c, uint64_t address, const void *bytes, size_t n);
/* call_open - what the caller means by dirfd and path, as O_PATH. A descriptor, or -errno. */
int call_open(const Call *c, int dirfd, const char *path, bool follow);
/* call_fd - the caller's own descriptor, as O_PATH. */
int call_fd(const Call *c, int fd);
/* call_parent - the directory that the last name of `path` is in, and that name. */
int call_parent(const Call *c, int dirfd, const char *path, char base[static 256]);
mode_t call_umask(const Call *c);

/* ---- who it is ---- */

const Cred *call_cred(const Call *c);
/* call_become - let the caller be somebody else from here on. 0 or -errno. */
int call_become(const Call *c, const Cred *cred);

/* ---- what is remembered ---- */

/* owner_of - of an O_PATH descriptor; false: nothing, so 0:0 and what it looks like. */
bool owner_of(Warden *w, int fd, Owner *ret);
/* owner_note - remember; 0 or -errno. */
int owner_note(Warden *w, int fd, const Owner *o);
/* owner_lift - copy a link or fifo of a layer below up, if its table knows an owner, and remember
 * that. 0 or -errno. */
int owner_lift(Warden *w, int fd);
/* notes_write - the table of the step's links and fifos, into the scratch directory. */
NODISCARD bool notes_write(Warden *w, Err *e);

/* ---- handlers ---- */

/* One system call that comes here; `mask` not 0: only if argument `arg` has one of its bits. */
typedef struct Watched {
    int nr;
    Handler handler;
    uint8_t arg;
    uint32_t mask;
    enum {
        ALWAYS,
        UNLESS_FAST, /* not with --owners=fast */
        WITH_LINKS,  /* where a layer below has a table */
    } when;
} Watched;

extern const Watched WATCHED[];
extern const size_t NWATCHED;

/* below_has_links - whether a layer below has a table; known from warden_new() on, in what it forks
 * too. */
bool below_has_links(void);

int64_t on_chown(const Call *c), on_lchown(const Call *c), on_fchown(const Call *c),
    on_fchownat(const Call *c);
int64_t on_mknod(const Call *c), on_mknodat(const Call *c), on_mkdir(const Call *c),
    on_mkdirat(const Call *c), on_symlink(const Call *c), on_symlinkat(const Call *c),
    on_open(const Call *c), on_openat(const Call *c), on_openat2(const Call *c),
    on_creat(const Call *c);
int64_t on_stat(const Call *c), on_lstat(const Call *c), on_fstat(const Call *c),
    on_newfstatat(const Call *c), on_statx(const Call *c), on_listxattr(const Call *c),
    on_llistxattr(const Call *c), on_flistxattr(const Call *c), on_setxattr(const Call *c),
    on_lsetxattr(const Call *c), on_fsetxattr(const Call *c);
int64_t on_setuid(const Call *c), on_setgid(const Call *c), on_setreuid(const Call *c),
    on_setregid(const Call *c), on_setresuid(const Call *c), on_setresgid(const Call *c),
    on_setfsuid(const Call *c), on_setfsgid(const Call *c), on_setgroups(const Call *c),
    on_getuid(const Call *c), on_geteuid(const Call *c), on_getgid(const Call *c),
    on_getegid(const Call *c), on_getresuid(const Call *c), on_getresgid(const Call *c),
    on_getgroups(const Call *c), on_execve(const Call *c), on_execveat(const Call *c),
    on_chroot(const Call *c);
int64_t on_rename(const Call *c), on_renameat(const Call *c), on_linkat(const Call *c),
    on_chmod(const Call *c), on_fchmodat(const Call *c), on_utimensat(const Call *c);

#endif
