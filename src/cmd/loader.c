/*
 * cmd/loader.c - images into the docker or podman of this machine.
 *
 * docker, and podman's service, are asked over their socket. podman without a service is a program,
 * which has to see the caller's own namespaces: a child is forked for it before ours are entered,
 * and becomes podman when the first byte comes.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "cmd/buildrun.h"

struct Loader {
    const char *socket; /* NULL: podman's program */
    pid_t child;
    int to; /* its stdin */
};

/* In the child: wait to be needed, then become podman. */
_Noreturn static void become_podman(int from)
{
    char go;
    ssize_t n;
    do
        n = read(from, &go, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1) /* the build failed */
        _exit(0);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (dup2(from, STDIN_FILENO) >= 0 && null >= 0 && dup2(null, STDOUT_FILENO) >= 0)
        execlp("podman", "podman", "load", "-q", (char *)NULL);
    _exit(127);
}

static bool on_path(const char *program)
{
    const char *path = getenv("PATH");
    char name[4096];
    for (const char *p = path ? path : ""; *p;) {
        size_t n = strcspn(p, ":");
        (void)snprintf(name, sizeof name, "%.*s/%s", (int)n, p, program);
        if (access(name, X_OK) == 0)
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

bool loader_new(Arena *a, Loader **ret, Err *e)
{
    Loader l = {.to = -1};
    int ends[2];
    *ret = NULL;
    if (!source_engine(a, &l.socket, e))
        return err_wrap(e, "--load");
    if (!l.socket) {
        if (!on_path("podman"))
            return true;
        if (pipe2(ends, O_CLOEXEC) < 0)
            return err_errno(e, ERR_ENV, "make a pipe to podman");
        l.child = fork();
        if (l.child < 0)
            return err_errno(e, ERR_ENV, "fork");
        if (!l.child) {
            close(ends[1]);
            become_podman(ends[0]);
        }
        close(ends[0]);
        l.to = ends[1];
    }
    *ret = NEW(a, Loader);
    **ret = l;
    return true;
}

static bool end_podman(Loader *l, bool sent, Err *e)
{
    int status;
    close(l->to);
    l->to = -1;
    while (waitpid(l->child, &status, 0) < 0 && errno == EINTR)
        ;
    l->child = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return sent;
    *e = (Err)ERR_INIT; /* a broken pipe, and podman has said why */
    return err_set(e, ERR_ENV, "'podman load' failed (%s %d)",
                   WIFEXITED(status) ? "exit code" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static bool send_podman(Loader *l, Store *s, Arena *a, const ExportItem *items, size_t n,
                        const ExportStyle *style, Err *e)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    (void)sigaction(SIGPIPE, &ignore, &before);
    bool ok = fs_write_all(l->to, "g", 1, e) &&
              export_stream(s, a, items, n, style, EXPORT_DOCKER, l->to, e);
    ok = end_podman(l, ok, e);
    (void)sigaction(SIGPIPE, &before, NULL);
    return ok;
}

/* An engine wants to know how much comes, so the archive is written down first. */
static bool send_engine(Loader *l, Store *s, Arena *a, const ExportItem *items, size_t n,
                        const ExportStyle *style, Err *e)
{
    char tmp[STORE_TMP_MAX];
    struct stat st;
    if (!store_tmp(s, "load", tmp, e))
        return false;
    scoped(fd) int fd = openat(store_dirfd(s), tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), tmp);
    (void)unlinkat(store_dirfd(s), tmp, 0);
    if (!export_stream(s, a, items, n, style, EXPORT_DOCKER, fd, e))
        return false;
    if (fstat(fd, &st) < 0)
        return err_errno(e, ERR_STORE, "stat '%s/%s'", store_path(s), tmp);
    return source_engine_load(l->socket, fd, (uint64_t)st.st_size, e);
}

bool loader_send(Loader *l, Store *s, Arena *a, const ExportItem *items, size_t n,
                 const ExportStyle *style, EventSink sink, Err *e)
{
    if (!l->socket && l->to < 0)
        return err_set(e, ERR_USAGE, "podman is given an image once a build");
    bool ok = l->socket ? send_engine(l, s, a, items, n, style, e)
                        : send_podman(l, s, a, items, n, style, e);
    if (ok)
        event_send(&sink, &(Event){.kind = EV_NOTE,
                                   .text = l->socket ? arena_printf(a,
                                                                    "loaded into the engine at "
                                                                    "'%s'",
                                                                    l->socket)
                                                     : "loaded into podman"});
    return ok;
}

void loader_done(Loader *l)
{
    if (!l || l->to < 0)
        return;
    close(l->to); /* the child ends without having become podman */
    (void)waitpid(l->child, NULL, 0);
}
