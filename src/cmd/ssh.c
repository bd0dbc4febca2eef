/*
 * cmd/ssh.c - the agents of --ssh: the caller's own, or one that has just the keys that were named.
 *
 * An agent for keys is OpenSSH's. It runs a shell that reads from a pipe of ours and then ends the
 * agent, so that it does not outlive this process however that ends.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "cmd/buildrun.h"

extern char **environ;

/* Agents that we have started. */
struct SshAgents {
    char **dirs;
    int *pipes; /* their lives */
    pid_t *pids;
    size_t n;
};

static bool is_socket(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/*
 * The environment of ssh-add. Nobody is asked for a passphrase: the build would wait for somebody
 * who does not know.
 */
static char **add_env(Arena *a, const char *socket)
{
    StrList env = {0};
    for (char **e = environ; *e; e++)
        strlist_add(a, &env, *e);
    env_set(a, &env, "SSH_AUTH_SOCK", socket);
    env_set(a, &env, "SSH_ASKPASS_REQUIRE", "force");
    env_set(a, &env, "SSH_ASKPASS", "/bin/false");
    return strlist_argv(a, &env);
}

static bool spawn(Build *b, const char *const *argv, char **env, int in, pid_t *ret)
{
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, in, STDIN_FILENO);
    posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawnp(ret, argv[0], &fa, NULL, (char *const *)argv, env);
    posix_spawn_file_actions_destroy(&fa);
    if (rc == ENOENT)
        return err_set(b->e, ERR_ENV,
                       "--ssh with key files needs the program %s: apt-get install openssh-client",
                       argv[0]);
    errno = rc;
    return rc == 0 || err_errno(b->e, ERR_ENV, "run %s", argv[0]);
}

/* A private directory for the agent's socket, whose name must be short. */
static char *agent_dir(Build *b)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    char *dir = arena_printf(b->arena, "%s/lighter-ssh-XXXXXX", run && *run ? run : "/tmp");
    if (!mkdtemp(dir)) {
        err_errno(b->e, ERR_ENV, "create '%s'", dir);
        return NULL;
    }
    return dir;
}

/* ssh-agent makes its socket before it runs its program, but that does not tell us. */
static bool wait_for(Build *b, const char *socket, pid_t pid)
{
    enum { TRIES = 500, PAUSE_US = 10000 };
    for (int i = 0; i < TRIES && !is_socket(socket); i++) {
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return err_set(b->e, ERR_ENV, "ssh-agent ended before it made its socket");
        usleep(PAUSE_US);
    }
    return is_socket(socket) || err_set(b->e, ERR_ENV, "ssh-agent made no socket");
}

static bool start_agent(Build *b, const char *socket)
{
    const char *argv[] = {"ssh-agent", "-a", socket, "sh", "-c", "cat; kill \"$SSH_AGENT_PID\"",
                          NULL};
    struct SshAgents *s = b->ssh;
    int p[2];
    if (pipe2(p, O_CLOEXEC) < 0)
        return err_errno(b->e, ERR_ENV, "pipe");
    s->pipes[s->n - 1] = p[1];
    bool ok = spawn(b, argv, environ, p[0], &s->pids[s->n - 1]);
    close(p[0]);
    return ok && wait_for(b, socket, s->pids[s->n - 1]);
}

static bool add_keys(Build *b, const char *text, const char *socket, const StrList *keys)
{
    StrList argv = {0};
    pid_t pid;
    int status = 1;
    strlist_add(b->arena, &argv, "ssh-add");
    strlist_add(b->arena, &argv, "-q");
    for (size_t i = 0; i < keys->n; i++)
        strlist_add(b->arena, &argv, keys->v[i]);
    char **env = add_env(b->arena, socket);
    scoped(fd) int none = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!spawn(b, (const char *const *)strlist_argv(b->arena, &argv), env, none, &pid))
        return false;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status == 0 ||
           err_set(b->e, ERR_USAGE,
                   "--ssh %s: ssh-add does not take the key; a key with a passphrase must be in an "
                   "agent already (--ssh %.*s with SSH_AUTH_SOCK)",
                   text, (int)strcspn(text, "="), text);
}

static bool agent_with(Build *b, const char *text, const StrList *keys, const char **ret)
{
    struct SshAgents *s = b->ssh;
    char *dir = agent_dir(b);
    if (!dir)
        return false;
    s->dirs[s->n++] = dir;
    const char *socket = arena_printf(b->arena, "%s/agent", dir);
    *ret = socket;
    return start_agent(b, socket) && add_keys(b, text, socket, keys);
}

/* "ID", "ID=SOCKET" or "ID=KEY[,KEY]". */
static bool read_one(Build *b, const char *text, StepAgent *ret)
{
    StrList paths = {0};
    char *save = NULL;
    size_t n = strcspn(text, "=");
    const char *id = arena_strndup(b->arena, text, n), *own = getenv("SSH_AUTH_SOCK");
    if (!*id)
        return err_set(b->e, ERR_USAGE, "--ssh '%s': expected ID[=SOCKET|=KEY[,KEY]]", text);
    char *list = arena_strdup(b->arena, text[n] ? text + n + 1 : "");
    for (char *p = strtok_r(list, ",", &save); p; p = strtok_r(NULL, ",", &save))
        strlist_add(b->arena, &paths, p);
    if (!paths.n && (!own || !*own))
        return err_set(b->e, ERR_USAGE,
                       "--ssh %s: SSH_AUTH_SOCK is not set: start an agent, or name a key with "
                       "--ssh %s=KEYFILE",
                       text, id);
    if (!paths.n)
        strlist_add(b->arena, &paths, own);
    ret->id = id;
    for (size_t i = 0; i < paths.n; i++) {
        char *path = realpath(paths.v[i], NULL);
        if (!path)
            return err_errno(b->e, ERR_USAGE, "--ssh %s: '%s'", text, paths.v[i]);
        paths.v[i] = arena_strdup(b->arena, path);
        free(path);
        if (is_socket(paths.v[i]) && paths.n > 1)
            return err_set(b->e, ERR_USAGE, "--ssh %s: one socket, or keys", text);
        ret->socket = paths.v[i];
    }
    return is_socket(ret->socket) || agent_with(b, text, &paths, &ret->socket);
}

bool ssh_read(Build *b)
{
    const StrList *l = &b->opts->ssh;
    StepAgent *v = NEW_N(b->arena, StepAgent, l->n + 1);
    if (!l->n)
        return true;
    b->ssh = NEW(b->arena, struct SshAgents);
    *b->ssh = (struct SshAgents){.dirs = NEW_N(b->arena, char *, l->n),
                                 .pipes = NEW_N(b->arena, int, l->n),
                                 .pids = NEW_N(b->arena, pid_t, l->n)};
    for (size_t i = 0; i < l->n; i++)
        if (!read_one(b, l->v[i], &v[i]))
            return false;
    b->env.agents = v;
    b->env.nagent = l->n;
    return true;
}

void ssh_done(Build *b)
{
    for (size_t i = 0; b->ssh && i < b->ssh->n; i++) {
        Err ignored = ERR_INIT;
        if (b->ssh->pipes[i] > 0)
            close(b->ssh->pipes[i]);
        if (b->ssh->pids[i] > 0)
            (void)waitpid(b->ssh->pids[i], NULL, 0);
        (void)fs_remove_tree(AT_FDCWD, b->ssh->dirs[i], &ignored); /* best effort */
    }
}
