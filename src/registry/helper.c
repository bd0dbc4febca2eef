/*
 * registry/helper.c - programs that keep passwords: docker-credential-NAME.
 *
 * Secrets go through pipes, never through arguments, and what a helper prints is shown only when it
 * failed.
 */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "registry/creds.h"

enum { ANSWER_MS = 10000, OUTPUT_MAX = 64 << 10, TICK_MS = 100 };

extern char **environ;

typedef struct Helper {
    const char *program;
    pid_t pid;
    int in, out; /* our ends */
} Helper;

static void scoped_helper_done(Helper *h)
{
    int status;
    scoped_fd_done(&h->in);
    scoped_fd_done(&h->out);
    if (h->pid > 0) {
        kill(-h->pid, SIGKILL); /* with whatever it started */
        while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
}

static bool start(Helper *h, const char *verb, Err *e)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    char *const argv[] = {(char *)h->program, (char *)verb, NULL};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none;
    if (pipe2(in, O_CLOEXEC) < 0)
        return err_errno(e, ERR_ENV, "pipe");
    scoped(fd) int theirs_in = in[0];
    h->in = in[1];
    if (pipe2(out, O_CLOEXEC) < 0)
        return err_errno(e, ERR_ENV, "pipe");
    scoped(fd) int theirs_out = out[1];
    h->out = out[0];
    sigemptyset(&none);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, theirs_in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&fa, theirs_out, STDOUT_FILENO);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    int rc = posix_spawnp(&h->pid, h->program, &fa, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    posix_spawnattr_destroy(&attr);
    if (rc == 0)
        return true;
    h->pid = 0;
    if (rc == ENOENT)
        return err_set(e, ERR_ENV,
                       "credential helper '%s' is not installed: install it, or take it out of the "
                       "file that names it",
                       h->program);
    return err_set(e, ERR_ENV, "credential helper '%s': %s", h->program, strerror(rc));
}

/* A helper that does not read what it is given is no reason to die of SIGPIPE. */
static void feed(Helper *h, const char *input)
{
    sigset_t pipe, before;
    static const struct timespec now = {0};
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    Err ignored = ERR_INIT;
    (void)!fs_write_all(h->in, input, strlen(input), &ignored); /* its answer will tell */
    (void)sigtimedwait(&pipe, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(fd_take(&h->in));
}

static bool read_answer(Helper *h, Buf *out, Err *e)
{
    uint64_t end = clock_ns() + (uint64_t)ANSWER_MS * 1000000;
    for (;;) {
        struct pollfd p = {.fd = h->out, .events = POLLIN};
        if (cancel_wanted())
            return err_set(e, ERR_STEP, "cancelled");
        if (clock_ns() > end)
            return err_set(e, ERR_ENV, "credential helper '%s' has not answered for %d seconds",
                           h->program, ANSWER_MS / 1000);
        if (poll(&p, 1, TICK_MS) <= 0)
            continue;
        char *at = buf_reserve(out, 4096);
        ssize_t n = read(h->out, at, 4096);
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR)
            return err_errno(e, ERR_ENV, "read from credential helper '%s'", h->program);
        if (n < 0)
            continue;
        out->len += (size_t)n;
        out->ptr[out->len] = 0;
        if (out->len > OUTPUT_MAX)
            return err_set(e, ERR_ENV, "credential helper '%s' says more than %d bytes", h->program,
                           OUTPUT_MAX);
    }
}

/* The exit status; the helper has closed its output, and gets a moment to end. */
static bool end(Helper *h, int *ret_status, Err *e)
{
    for (unsigned i = 0; i < ANSWER_MS / TICK_MS; i++) {
        pid_t rc = waitpid(h->pid, ret_status, WNOHANG);
        if (rc == h->pid) {
            h->pid = 0;
            return true;
        }
        if (rc < 0 && errno != EINTR)
            return err_errno(e, ERR_ENV, "wait for credential helper '%s'", h->program);
        (void)poll(NULL, 0, i ? TICK_MS : 2);
    }
    return err_set(e, ERR_ENV, "credential helper '%s' does not end", h->program);
}

static bool good_name(const char *name)
{
    if (!*name || *name == '.')
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            return false;
    return true;
}

/* Its words as a message may show them: one line, nothing that steers a terminal. */
static char *words(Arena *a, const Buf *out)
{
    char *s = arena_strndup(a, buf_str(out), out->len > 300 ? 300 : out->len);
    for (char *p = s; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    for (size_t n = strlen(s); n && s[n - 1] == ' ';)
        s[--n] = 0;
    return s;
}

/* The sentences by which helpers say that they have nothing. */
static bool says_missing(const Buf *out)
{
    static const char *const SENTENCES[] = {"credentials not found", "no credentials server URL",
                                            "no credentials username",
                                            "could not be found in the keychain"};
    for (size_t i = 0; i < NELEM(SENTENCES); i++)
        if (out->len && strstr(out->ptr, SENTENCES[i]))
            return true;
    return false;
}

bool helper_run(Arena *a, const char *name, const char *verb, const char *input, char **ret_output,
                bool *ret_missing, Err *e)
{
    scoped(helper) Helper h = {.in = -1, .out = -1};
    scoped(buf) Buf out = BUF_INIT;
    int status;
    *ret_missing = false;
    if (!good_name(name))
        return err_set(e, ERR_USAGE, "'%s' is no name of a credential helper", name);
    h.program = arena_printf(a, "docker-credential-%s", name);
    if (!start(&h, verb, e))
        return false;
    feed(&h, input);
    if (!read_answer(&h, &out, e) || !end(&h, &status, e))
        return false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        *ret_output = arena_strndup(a, buf_str(&out), out.len);
        return true;
    }
    *ret_missing = says_missing(&out);
    return *ret_missing || err_set(e, ERR_ENV, "credential helper '%s %s' failed: %s", h.program,
                                   verb, words(a, &out));
}

bool helper_get(Arena *a, const char *name, const char *server, Cred *ret, bool *ret_found, Err *e)
{
    scoped(json) json_t *j = NULL;
    char *text = NULL;
    bool missing;
    Err why = ERR_INIT;
    *ret_found = false;
    if (!helper_run(a, name, "get", server, &text, &missing, e))
        return false;
    if (missing)
        return true;
    if (!json_parse(text, strlen(text), &j, &why))
        return err_set(e, ERR_ENV, "credential helper 'docker-credential-%s' answers no JSON",
                       name);
    const char *user = json_str(j, "Username"), *secret = json_str(j, "Secret");
    if (!user || !secret)
        return err_set(e, ERR_ENV,
                       "credential helper 'docker-credential-%s' gives no Username and Secret",
                       name);
    *ret = (Cred){.from = arena_printf(a, "helper 'docker-credential-%s'", name)};
    if (!strcmp(user, "<token>")) {
        ret->identity_token = arena_strdup(a, secret);
        ret->user = "<token>";
    } else {
        ret->user = arena_strdup(a, user);
        ret->password = arena_strdup(a, secret);
    }
    *ret_found = *secret != 0;
    return true;
}
