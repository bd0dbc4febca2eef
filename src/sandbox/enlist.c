/*
 * sandbox/enlist.c - the command's side: which calls go to the warden, and how it gets them.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "sandbox/warden.h"

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#endif

#define CREATING (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))

const Watched WATCHED[] = {
    {SYS_fchown, on_fchown},
    {SYS_fchownat, on_fchownat},
    {SYS_mknodat, on_mknodat},
    {SYS_mkdirat, on_mkdirat},
    {SYS_symlinkat, on_symlinkat},
    {SYS_openat, on_openat, 2, CREATING},
    {SYS_openat2, on_openat2},
#ifdef SYS_chown /* what newer architectures have only with a directory descriptor */
    {SYS_chown, on_chown},
    {SYS_lchown, on_lchown},
    {SYS_mknod, on_mknod},
    {SYS_mkdir, on_mkdir},
    {SYS_symlink, on_symlink},
    {SYS_open, on_open, 1, CREATING},
    {SYS_creat, on_creat},
    {SYS_stat, on_stat, .when = UNLESS_FAST},
    {SYS_lstat, on_lstat, .when = UNLESS_FAST},
#endif
    {SYS_fstat, on_fstat, .when = UNLESS_FAST},
    {SYS_newfstatat, on_newfstatat, .when = UNLESS_FAST},
    {SYS_statx, on_statx, .when = UNLESS_FAST},
    {SYS_listxattr, on_listxattr},
    {SYS_llistxattr, on_llistxattr},
    {SYS_flistxattr, on_flistxattr},
    {SYS_setxattr, on_setxattr},
    {SYS_lsetxattr, on_lsetxattr},
    {SYS_fsetxattr, on_fsetxattr},
    {SYS_setuid, on_setuid},
    {SYS_setgid, on_setgid},
    {SYS_setreuid, on_setreuid},
    {SYS_setregid, on_setregid},
    {SYS_setresuid, on_setresuid},
    {SYS_setresgid, on_setresgid},
    {SYS_setfsuid, on_setfsuid},
    {SYS_setfsgid, on_setfsgid},
    {SYS_setgroups, on_setgroups},
    {SYS_getuid, on_getuid},
    {SYS_geteuid, on_geteuid},
    {SYS_getgid, on_getgid},
    {SYS_getegid, on_getegid},
    {SYS_getresuid, on_getresuid},
    {SYS_getresgid, on_getresgid},
    {SYS_getgroups, on_getgroups},
    {SYS_execve, on_execve},
    {SYS_execveat, on_execveat},
    {SYS_chroot, on_chroot},
    {SYS_renameat2, on_renameat, .when = WITH_LINKS},
    {SYS_linkat, on_linkat, .when = WITH_LINKS},
    {SYS_fchmodat, on_fchmodat, .when = WITH_LINKS},
    {SYS_utimensat, on_utimensat, .when = WITH_LINKS},
#ifdef SYS_rename
    {SYS_rename, on_rename, .when = WITH_LINKS},
    {SYS_renameat, on_renameat, .when = WITH_LINKS},
    {SYS_link, on_rename, .when = WITH_LINKS},
    {SYS_chmod, on_chmod, .when = WITH_LINKS},
#endif
};
const size_t NWATCHED = NELEM(WATCHED);

enum { MAX_PROGRAM = 8 + 5 * NELEM(WATCHED) };

static size_t watch(struct sock_filter *f, const Watched *w)
{
    const struct sock_filter notify = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                             allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    size_t n = 0;
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)w->nr, 0,
                                          w->mask ? 4 : 1);
    if (w->mask) {
        f[n++] = (struct sock_filter)BPF_STMT(
            BPF_LD | BPF_W | BPF_ABS,
            (uint32_t)(offsetof(struct seccomp_data, args) + w->arg * sizeof(uint64_t)));
        f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, w->mask, 0, 1);
    }
    f[n++] = notify;
    if (w->mask)
        f[n++] = allow;
    return n;
}

/* Programs of another architecture's table are left to the kernel: they have one id. */
static size_t program(bool fast, struct sock_filter f[static MAX_PROGRAM])
{
    size_t n = 0;
    f[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    f[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < NWATCHED; i++)
        if (WATCHED[i].when == ALWAYS || (WATCHED[i].when == UNLESS_FAST && !fast) ||
            (WATCHED[i].when == WITH_LINKS && below_has_links()))
            n += watch(f + n, &WATCHED[i]);
    f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    return n;
}

static int install(bool fast)
{
    struct sock_filter f[MAX_PROGRAM];
    struct sock_fprog prog = {.filter = f, .len = (unsigned short)program(fast, f)};
    unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    /* A signal must not make the kernel ask twice for what was done once (5.19). */
    int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | (1U << 5), &prog);
    if (fd < 0 && errno == EINVAL)
        fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
    return fd;
}

static bool send_fds(const Enlist *hello, int listener, int root)
{
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec io = {(void *)hello, sizeof *hello};
    struct msghdr m = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(c), (int[2]){listener, root}, 2 * sizeof(int));
    return sendmsg(FD_WARDEN, &m, MSG_NOSIGNAL) == (ssize_t)sizeof *hello;
}

bool warden_enlist(const SandboxSpec *spec, const SandboxIds *ids, Err *e)
{
    Enlist hello = {.cred = {.ngroup = 1, .groups = {ids->gid}}};
    Cred *c = &hello.cred;
    for (size_t i = 0; i < NELEM(c->uid); i++) {
        c->uid[i] = ids->uid;
        c->gid[i] = ids->gid;
    }
    for (size_t i = 0; i < ids->ngroup && c->ngroup < NELEM(c->groups); i++)
        c->groups[c->ngroup++] = ids->groups[i];
    /* Who a thread is, children inherit as they inherit this; see call_become(). */
    if (prctl(PR_SET_TIMERSLACK, CRED_SLACK, 0, 0, 0) < 0)
        return err_errno(e, ERR_ENV, "set the timer slack");
    scoped(fd) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    scoped(fd) int listener = root < 0 ? -1 : install(spec->fast_owners);
    if (listener < 0)
        return err_errno(e, ERR_ENV, "install the filter of mode single");
    if (!send_fds(&hello, listener, root))
        return err_errno(e, ERR_ENV, "tell the warden");
    close(FD_WARDEN);
    return true;
}
