/*
 * cmd/login.c - `lighter login` and `lighter logout`.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/remote.h"

enum { PASSWORD_MAX = 64 << 10 };

typedef struct LoginOpts {
    const char *user, *password;
    bool from_stdin;
    RemoteOpts remote;
} LoginOpts;

#define FIELD(f) offsetof(LoginOpts, f)
static const OptRow LOGIN_ROWS[] = {
    {"username", 'u', OPT_STRING, FIELD(user), "USER", "who logs in"},
    {"password-stdin", 0, OPT_BOOL, FIELD(from_stdin), NULL,
     "read the password or token from stdin"},
    {"password", 'p', OPT_STRING, FIELD(password), "PASSWORD",
     "the password; others on this machine can see it: prefer --password-stdin"},
    REMOTE_ROWS(LoginOpts),
    {"get-login", 0, OPT_REFUSED, 0, NULL, "not yet"},
    {"cert-dir", 0, OPT_REFUSED, 0, NULL, "not yet; certificates lie in /etc/docker/certs.d/HOST"},
};
static const OptTable LOGIN_TABLE = {"lighter login [OPTIONS] [REGISTRY]",
                                     "log in to a registry (default docker.io)", LOGIN_ROWS,
                                     NELEM(LOGIN_ROWS), false};

static const char *host_of(const StrList *operands)
{
    return operands->n ? operands->v[0] : "docker.io";
}

static char *line_of(Arena *a, const Buf *b)
{
    size_t n = b->len;
    while (n && (b->ptr[n - 1] == '\n' || b->ptr[n - 1] == '\r'))
        n--;
    return arena_strndup(a, buf_str(b), n);
}

static bool read_stdin(Arena *a, const char **ret, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    if (!fs_read_all(STDIN_FILENO, PASSWORD_MAX, &b, e)) {
        e->kind = ERR_USAGE;
        return err_wrap(e, "--password-stdin");
    }
    *ret = line_of(a, &b);
    explicit_bzero(b.ptr, b.len);
    if (strlen(*ret) == 0)
        return err_set(e, ERR_USAGE, "--password-stdin: stdin is empty");
    return true;
}

/* Ask the terminal, without showing what is typed if it is a secret. */
static bool ask(Arena *a, const char *what, bool secret, const char **ret, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    struct termios before, quiet;
    char c;
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
        return err_set(e, ERR_USAGE, "%s: there is no terminal to ask; use %s", what,
                       secret ? "--password-stdin" : "--username");
    quiet = before;
    quiet.c_lflag &= secret ? ~(tcflag_t)ECHO : ~(tcflag_t)0;
    fprintf(stderr, "%s: ", what);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    ssize_t n;
    while ((n = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n' && b.len < PASSWORD_MAX)
        buf_putc(&b, c);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    if (secret)
        fprintf(stderr, "\n");
    *ret = line_of(a, &b);
    if (b.ptr)
        explicit_bzero(b.ptr, b.len);
    if (n < 0 && cancel_wanted())
        return err_set(e, ERR_STEP, "cancelled");
    return **ret || err_set(e, ERR_USAGE, "%s: nothing was typed", what);
}

static bool who(Arena *a, const LoginOpts *o, const char **ret_user, const char **ret_password,
                Err *e)
{
    *ret_user = o->user;
    *ret_password = o->password;
    if (o->password && o->from_stdin)
        return err_set(e, ERR_USAGE, "--password and --password-stdin exclude each other");
    if (o->from_stdin && !o->user)
        return err_set(e, ERR_USAGE, "--password-stdin needs --username");
    if (!*ret_user && !ask(a, "Username", false, ret_user, e))
        return false;
    if (strchr(*ret_user, ':'))
        return err_set(e, ERR_USAGE, "user '%s': a name holds no ':'", *ret_user);
    if (o->from_stdin)
        return read_stdin(a, ret_password, e);
    return *ret_password || ask(a, "Password", true, ret_password, e);
}

static bool run_login(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const LoginOpts *o = opts;
    scoped(registry) Registry *r = NULL;
    const char *user, *password;
    RegistryLogin done;
    if (operands->n > 1)
        return err_set(e, ERR_USAGE, "takes one registry, and got '%s' too", operands->v[1]);
    if (o->password)
        fprintf(stderr, "warning: others can see --password while this runs, and it stays in the "
                        "shell's history: use --password-stdin\n");
    if (!remote_new(&o->remote, (EventSink){NULL, NULL}, &r, e) ||
        !who(a, o, &user, &password, e) ||
        !registry_login(r, a, host_of(operands), user, password, &done, e))
        return false;
    if (!done.helper)
        fprintf(stderr,
                "warning: the password lies in '%s' in clear text (base64); a credential helper "
                "(\"credsStore\" there) would keep it safe\n",
                done.file);
    printf("logged in to %s as %s\n", host_of(operands), user);
    *ret_code = 0;
    return true;
}

const Cmd CMD_LOGIN = {"login", &LOGIN_TABLE, sizeof(LoginOpts), run_login, NULL};

/* ---- logout ---- */

typedef struct LogoutOpts {
    const char *authfile;
} LogoutOpts;

static const OptRow LOGOUT_ROWS[] = {
    {"authfile", 0, OPT_STRING, offsetof(LogoutOpts, authfile), "PATH",
     "the file to forget them in (default: every file that is read)"},
    {"all", 'a', OPT_REFUSED, 0, NULL, "not yet; name the registry"},
};
static const OptTable LOGOUT_TABLE = {"lighter logout [OPTIONS] [REGISTRY]",
                                      "forget a login (default docker.io)", LOGOUT_ROWS,
                                      NELEM(LOGOUT_ROWS), false};

static bool run_logout(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    const LogoutOpts *o = opts;
    RemoteOpts remote = {.authfile = o->authfile};
    scoped(registry) Registry *r = NULL;
    StrList files;
    if (operands->n > 1)
        return err_set(e, ERR_USAGE, "takes one registry, and got '%s' too", operands->v[1]);
    if (!remote_new(&remote, (EventSink){NULL, NULL}, &r, e) ||
        !registry_logout(r, a, host_of(operands), &files, e))
        return false;
    for (size_t i = 0; i < files.n; i++)
        printf("login to %s removed from '%s'\n", host_of(operands), files.v[i]);
    if (!files.n)
        printf("not logged in to %s\n", host_of(operands));
    *ret_code = 0;
    return true;
}

const Cmd CMD_LOGOUT = {"logout", &LOGOUT_TABLE, sizeof(LogoutOpts), run_logout, NULL};
