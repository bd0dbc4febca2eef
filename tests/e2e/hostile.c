/*
 * hostile.c - what a hostile step tries: hostile WORD [ARGUMENT...]. Each try is a line "name=ok", or "name=" and the
 * name of the error. Static, so that it runs in an image without anything else. None does harm where it succeeds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/perf_event.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static void say(const char *name, long rc)
{
    printf("%s=%s\n", name, rc >= 0 ? "ok" : strerrorname_np(errno));
    fflush(stdout);
}

/* In a child, for what would change the rest. */
#define TRY(name, call)                                                                            \
    do {                                                                                           \
        fflush(stdout);                                                                            \
        pid_t child_ = fork();                                                                     \
        if (child_ == 0) {                                                                         \
            errno = 0;                                                                             \
            say(name, (long)(call));                                                               \
            _exit(0);                                                                              \
        }                                                                                          \
        int status_;                                                                               \
        waitpid(child_, &status_, 0);                                                              \
        if (WIFSIGNALED(status_))                                                                  \
            printf("%s=signal %d\n", name, WTERMSIG(status_));                                     \
    } while (0)

/* ---- calls that an ordinary user may make where no filter stands in the way ---- */

static long call_32(long nr, long a)
{
#if defined(__x86_64__)
    long rc;
    __asm__ volatile("int $0x80" : "=a"(rc) : "a"(nr), "b"(a) : "memory");
    if (rc < 0 && rc > -4096) {
        errno = (int)-rc;
        return -1;
    }
    return rc;
#else
    (void)nr, (void)a;
    errno = ENOSYS;
    return -1;
#endif
}

static long perf_of_ourselves(void)
{
    struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE,
                                .size = sizeof a,
                                .config = PERF_COUNT_SW_CPU_CLOCK,
                                .exclude_kernel = 1,
                                .exclude_hv = 1};
    return syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

static long io_uring(void)
{
    char params[120] = {0};
    return syscall(425, 1, params);
}

/* A namespace by clone(2), as fork(2) would make a child. */
static long clone_with(unsigned long flags)
{
    long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    return pid;
}

static void calls(void)
{
    static const struct {
        const char *name;
        int flag;
    } KINDS[] = {{"mnt", CLONE_NEWNS},   {"uts", CLONE_NEWUTS}, {"ipc", CLONE_NEWIPC},   {"pid", CLONE_NEWPID},
                 {"net", CLONE_NEWNET},  {"user", CLONE_NEWUSER}, {"cgroup", CLONE_NEWCGROUP}, {"time", 0x80}};
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        char name[40];
        /* With a new user namespace every other kind can be had. */
        snprintf(name, sizeof name, "unshare_%s", KINDS[i].name);
        TRY(name, unshare(KINDS[i].flag | CLONE_NEWUSER));
        snprintf(name, sizeof name, "clone_%s", KINDS[i].name);
        if (KINDS[i].flag != 0x80) /* time is in clone3 only */
            TRY(name, clone_with((unsigned long)(KINDS[i].flag | CLONE_NEWUSER)));
    }
    TRY("clone3", syscall(SYS_clone3, 0, 0));
    TRY("userfaultfd_32bit", call_32(374, 1));
    TRY("add_key", syscall(SYS_add_key, "user", "hostile", "x", 1, -2)); /* of the process */
    TRY("keyctl_join", syscall(SYS_keyctl, 1, "hostile"));
    TRY("keyctl_read", syscall(SYS_keyctl, 6, -3, 0, 0)); /* describe the session's */
    TRY("request_key", syscall(SYS_request_key, "user", "hostile", 0, 0));
    TRY("io_uring", io_uring());
    TRY("userfaultfd", syscall(SYS_userfaultfd, 1)); /* faults of user mode: no right is needed */
    TRY("perf", perf_of_ourselves());
    TRY("fanotify", syscall(SYS_fanotify_init, 0x200, 0)); /* by file ids: no right is needed */
    TRY("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 0));
    TRY("set_mempolicy", syscall(SYS_set_mempolicy, 0, 0, 0));
    TRY("kcmp", syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 1));
    TRY("pidfd_getfd", syscall(438, syscall(SYS_pidfd_open, getpid(), 0), 0, 0));
    TRY("personality", personality(ADDR_NO_RANDOMIZE));
    TRY("socket_alg", socket(38, SOCK_SEQPACKET, 0));
    TRY("socket_vsock", socket(40, SOCK_STREAM, 0));
}

/* ---- what root may do and a step's root may not ---- */

static long set_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return syscall(SYS_clock_settime, CLOCK_REALTIME, &now);
}

/* Allowed by the filter, so that the right alone decides. */
static long adjust_clock(void)
{
    struct timex t = {0};
    if (adjtimex(&t) < 0)
        return -1;
    t.modes = ADJ_TICK; /* what it is */
    return adjtimex(&t) < 0 ? -1 : 0;
}

static long make_immutable(void)
{
    int flags = FS_IMMUTABLE_FL, none = 0;
    int fd = open("/immutable", O_RDONLY | O_CREAT, 0600);
    if (fd < 0)
        return -1;
    int rc = ioctl(fd, FS_IOC_SETFLAGS, &flags);
    if (rc == 0)
        ioctl(fd, FS_IOC_SETFLAGS, &none);
    int saved = errno;
    unlink("/immutable");
    errno = saved;
    return rc;
}

/* The interface is set to what it is. */
static long set_interface(void)
{
    struct ifreq lo = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &lo) < 0)
        return -1;
    return ioctl(fd, SIOCSIFFLAGS, &lo);
}

static long set_trusted(void)
{
    int fd = open("/trusted", O_RDONLY | O_CREAT, 0600);
    return fd < 0 ? -1 : fsetxattr(fd, "trusted.hostile", "x", 1, 0);
}

static long pivot(void)
{
    mkdir("/pivot", 0755);
    return syscall(SYS_pivot_root, "/pivot", "/pivot");
}

static void rights(void)
{
    char handle[128] = {0};
    *(unsigned *)handle = 8;
    TRY("adjust_clock", adjust_clock());
    TRY("set_clock", set_clock());
    TRY("immutable", make_immutable());
    TRY("interface", set_interface());
    TRY("trusted_attribute", set_trusted());
    TRY("nice", setpriority(PRIO_PROCESS, 0, -5));
    TRY("host_name", sethostname("hostile", 7));
    TRY("mount", mount("hostile", "/tmp", "tmpfs", 0, ""));
    TRY("bind", mount("/etc", "/tmp", NULL, MS_BIND, NULL));
    TRY("remount", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
    TRY("umount", umount2("/proc/sys", MNT_DETACH));
    TRY("unmask", umount2("/proc/timer_list", MNT_DETACH));
    TRY("move_mount", mount("/proc/sys", "/tmp", NULL, MS_MOVE, NULL));
    TRY("pivot_root", pivot());
    TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    TRY("clone_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    TRY("bpf", syscall(SYS_bpf, 0, handle, 72));
    TRY("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
    TRY("load_module", syscall(SYS_init_module, "", 0, ""));
    TRY("unload_module", syscall(SYS_delete_module, "hostile", O_NONBLOCK));
    TRY("dmesg", syscall(SYS_syslog, 10, 0, 0)); /* its size */
    TRY("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
    TRY("acct", acct("/nowhere"));
    TRY("swapon", syscall(SYS_swapon, "/nowhere", 0));
    TRY("by_handle", syscall(SYS_open_by_handle_at, AT_FDCWD, handle, O_RDONLY));
#if defined(__x86_64__)
    TRY("iopl", syscall(SYS_iopl, 3));
#endif
    TRY("packet_socket", socket(AF_PACKET, SOCK_RAW, 0x0300));
    TRY("raw_socket", socket(AF_INET, SOCK_RAW, 1));
}

/* ---- files of the kernel ---- */

/* Whether each can be opened for writing; nothing is written. */
static void writable(int n, char **paths)
{
    for (int i = 0; i < n; i++) {
        errno = 0;
        say(paths[i], open(paths[i], O_WRONLY));
    }
}

/* ---- devices ---- */

/* Make the block device MAJOR:MINOR and /dev/null's twin in each directory and open them. */
static void devices(int n, char **args)
{
    dev_t disk = makedev((unsigned)atoi(args[0]), (unsigned)atoi(args[1]));
    for (int i = 2; i < n; i++) {
        char path[4096], name[4100], bytes[16] = {0};
        snprintf(path, sizeof path, "%s/hostile-disk", args[i]);
        snprintf(name, sizeof name, "make %s", args[i]);
        unlink(path);
        say(name, mknod(path, S_IFBLK | 0666, disk));
        snprintf(name, sizeof name, "read %s", args[i]);
        int fd = open(path, O_RDONLY);
        say(name, fd < 0 ? -1 : read(fd, bytes, 12));
        snprintf(name, sizeof name, "write %s", args[i]);
        say(name, open(path, O_WRONLY));
        printf("bytes %s=%s\n", args[i], bytes);
        snprintf(path, sizeof path, "%s/hostile-null", args[i]);
        unlink(path);
        mknod(path, S_IFCHR | 0666, makedev(1, 3));
        snprintf(name, sizeof name, "null %s", args[i]);
        say(name, open(path, O_RDWR));
    }
}

/* ---- other processes ---- */

/* Let go at once, for a process that is stopped would keep the build. */
static long trace(int how, pid_t pid)
{
    long rc = ptrace(how, pid, 0, 0);
    if (rc == 0 && how == PTRACE_SEIZE)
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    if (rc == 0) {
        waitpid(pid, NULL, __WALL);
        ptrace(PTRACE_DETACH, pid, 0, 0);
    }
    return rc;
}

static void reach(const char *who, pid_t pid)
{
    static const char *const FILES[] = {"mem", "environ", "maps", "auxv", "root", "cwd", "exe", "fd/0", "fd/4", "ns/mnt"};
    char name[64], path[64], bytes[8];
    struct iovec mine = {bytes, sizeof bytes}, theirs = {(void *)reach, sizeof bytes};
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, FILES[i]);
        snprintf(name, sizeof name, "%s %s", who, FILES[i]);
        TRY(name, open(path, strcmp(FILES[i], "mem") ? O_RDONLY : O_RDWR));
    }
    snprintf(name, sizeof name, "%s attach", who);
    TRY(name, trace(PTRACE_ATTACH, pid));
    snprintf(name, sizeof name, "%s seize", who);
    TRY(name, trace(PTRACE_SEIZE, pid));
    snprintf(name, sizeof name, "%s read", who);
    TRY(name, syscall(SYS_process_vm_readv, pid, &mine, 1, &theirs, 1, 0));
    snprintf(name, sizeof name, "%s write", who);
    TRY(name, syscall(SYS_process_vm_writev, pid, &mine, 1, &theirs, 1, 0));
}

/* What the arguments name: a word and a process number, or "parent". */
static void processes(int n, char **args)
{
    for (int i = 0; i + 1 < n; i += 2) {
        pid_t pid = strcmp(args[i + 1], "parent") ? (pid_t)atoi(args[i + 1]) : getppid();
        char name[64];
        reach(args[i], pid);
        snprintf(name, sizeof name, "%s stop", args[i]);
        TRY(name, kill(pid, 0));
        snprintf(name, sizeof name, "%s queue", args[i]);
        siginfo_t si = {.si_code = SI_QUEUE};
        TRY(name, syscall(SYS_rt_sigqueueinfo, pid, 0, &si));
    }
}

/* ---- descriptors, sockets, terminals ---- */

static void descriptors(void)
{
    int open_ones = 0;
    for (int fd = 3; fd < 4096; fd++)
        open_ones += fcntl(fd, F_GETFD) >= 0;
    printf("descriptors=%d\n", open_ones);
}

/* The working directory, which may have been asked for as a descriptor. */
static void here(void)
{
    char at[4096] = "?";
    struct stat st, root;
    if (!getcwd(at, sizeof at))
        strcpy(at, strerrorname_np(errno));
    printf("here=%s\n", at);
    say("up", stat("..", &st) == 0 && stat("/", &root) == 0 ? 0 : -1);
}

static void abstract(const char *wanted)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(a.sun_path + 1, wanted, strlen(wanted));
    say("abstract", connect(fd, (struct sockaddr *)&a, (socklen_t)(sizeof a.sun_family + 1 + strlen(wanted))));
}

static void type_into_terminal(void)
{
    static const char TEXT[] = "typed-by-hostile\n";
    int fds[4] = {0, 1, 2, open("/dev/tty", O_RDWR)};
    for (int i = 0; i < 4; i++) {
        char name[16];
        int rc = 0;
        for (size_t k = 0; k < sizeof TEXT - 1 && rc == 0; k++)
            rc = ioctl(fds[i], TIOCSTI, &TEXT[k]);
        snprintf(name, sizeof name, "type %d", i);
        say(name, rc);
    }
}

/* In the builder's place: a session of its own with a key that everybody in it may use, and then the program. */
static int in_session(char **args)
{
    syscall(SYS_keyctl, 1, NULL);
    long key = syscall(SYS_add_key, "user", args[0], "x", 1, -3);
    syscall(SYS_keyctl, 5, key, 0x3f3f3f3f);
    syscall(SYS_keyctl, 5, -3, 0x3f3f3f3f);
    execv(args[1], args + 1);
    return 1;
}

/* A key of the session that the caller put there. */
static void session_key(const char *name)
{
    say("session_key", syscall(SYS_keyctl, 10, -3, "user", name, 0));
}

/* ---- lighter's own program ---- */

/* Called as hostile-ld did: descriptor `fd` is /proc/self/exe of a process that was lighter. */
static void own_program(const char *fd)
{
    char path[64], link[4096] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%s", fd);
    if (readlink(path, link, sizeof link - 1) < 0)
        strcpy(link, strerrorname_np(errno));
    printf("program=%s\n", *link ? "there" : "none");
    say("program_write", open(path, O_WRONLY));
    say("program_truncate", truncate(path, 0));
}

/* ---- leaving a chroot ---- */

static void leave(const char *file, const char *socket_path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    mkdir("/hole", 0755);
    say("chroot", chroot("/hole"));
    for (int i = 0; i < 64; i++)
        (void)!chdir("..");
    (void)!chroot(".");
    say("read", open(file, O_RDONLY));
    say("stat", access(file, F_OK));
    say("chmod", chmod(file, 0777));
    snprintf(a.sun_path, sizeof a.sun_path, "%s", socket_path);
    say("connect", connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a));
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    const char *first = argc > 2 ? argv[2] : "";
    if (!strcmp(word, "calls"))
        calls();
    else if (!strcmp(word, "rights"))
        rights();
    else if (!strcmp(word, "writable"))
        writable(argc - 2, argv + 2);
    else if (!strcmp(word, "devices"))
        devices(argc - 2, argv + 2);
    else if (!strcmp(word, "processes"))
        processes(argc - 2, argv + 2);
    else if (!strcmp(word, "descriptors"))
        descriptors();
    else if (!strcmp(word, "here"))
        here();
    else if (!strcmp(word, "abstract"))
        abstract(first);
    else if (!strcmp(word, "type"))
        type_into_terminal();
    else if (!strcmp(word, "key"))
        session_key(first);
    else if (!strcmp(word, "in-session") && argc > 3)
        return in_session(argv + 2);
    else if (!strcmp(word, "program"))
        own_program(first);
    else if (!strcmp(word, "leave"))
        leave(first, argc > 3 ? argv[3] : "");
    else
        return 2;
    return 0;
}
