/*
 * registry/creds.c - credentials from the files and helpers of docker and podman.
 */
#include "registry/creds.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "base/dump.h"
#include "base/fs.h"

enum { FILE_MAX_BYTES = 4 << 20 };

static const char HUB[] = "docker.io", HUB_KEY[] = "https://index.docker.io/v1/";

/* ---- names of hosts ---- */

static bool is_hub(const char *host)
{
    return !strcasecmp(host, HUB) || !strcasecmp(host, "index.docker.io") ||
           !strcasecmp(host, "registry-1.docker.io");
}

const char *creds_key(const char *host)
{
    return is_hub(host) ? HUB_KEY : host;
}

/* The host in a key that may be an URL. */
static const char *host_of(Arena *a, const char *key)
{
    const char *at = str_starts(key, "https://")  ? key + 8
                     : str_starts(key, "http://") ? key + 7
                                                  : key;
    return arena_strndup(a, at, strcspn(at, "/"));
}

bool creds_same_host(Arena *a, const char *key, const char *host)
{
    const char *h = host_of(a, key);
    return !strcasecmp(h, host) || (is_hub(h) && is_hub(host));
}

/*
 * How much of "host/repo" a key of a containers' file names: its length, 0 when another is meant.
 */
static size_t prefix_match(Arena *a, const char *key, const char *host, const char *repo)
{
    const char *full = arena_printf(a, "%s%s%s", host, *repo ? "/" : "", repo);
    size_t n = strlen(key);
    if (str_starts(key, "http")) /* docker's kind of key, in a file of podman's */
        return creds_same_host(a, key, host) ? strlen(host) : 0;
    if (!strncmp(key, full, n) && (!full[n] || full[n] == '/'))
        return n;
    return is_hub(host) && !strchr(key, '/') && is_hub(key) ? strlen(host) : 0;
}

/* ---- base64 ---- */

static int base64_value(char c)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(DIGITS, c) : NULL;
    return at ? (int)(at - DIGITS) : -1;
}

bool base64_decode(Arena *a, const char *text, char **ret, size_t *ret_n)
{
    size_t n = strlen(text), at = 0;
    uint32_t bits = 0;
    unsigned nbit = 0;
    while (n && text[n - 1] == '=')
        n--;
    char *out = arena_alloc(a, n * 3 / 4 + 4);
    for (size_t i = 0; i < n; i++) {
        int v = base64_value(text[i]);
        if (v < 0)
            return false;
        bits = (bits << 6 | (uint32_t)v) & 0xffffff;
        nbit += 6;
        if (nbit >= 8) {
            nbit -= 8;
            out[at++] = (char)(bits >> nbit);
        }
    }
    *ret = out;
    *ret_n = at;
    return n % 4 != 1;
}

char *base64_encode(Arena *a, const void *bytes, size_t n)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = bytes;
    char *out = arena_alloc(a, (n + 2) / 3 * 4 + 1), *q = out;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0u);
        *q++ = DIGITS[v >> 18];
        *q++ = DIGITS[v >> 12 & 63];
        *q++ = i + 1 < n ? DIGITS[v >> 6 & 63] : '=';
        *q++ = i + 2 < n ? DIGITS[v & 63] : '=';
    }
    return out;
}

/* ---- one file ---- */

/* One entry of "auths". An empty one says that a helper has it, or nothing. */
static bool read_entry(Arena *a, const char *key, const json_t *entry, Cred *ret, bool *ret_found,
                       Err *e)
{
    const char *auth = json_str(entry, "auth"), *user = json_keep(a, entry, "username"),
               *password = json_keep(a, entry, "password"),
               *token = json_keep(a, entry, "identitytoken");
    Cred c = {.user = user, .password = password, .identity_token = token};
    if (auth && *auth) {
        char *both;
        size_t n;
        if (!base64_decode(a, auth, &both, &n) || strlen(both) != n || !strchr(both, ':'))
            return err_set(e, ERR_USAGE, "the entry '%s': 'auth' is no base64 of user:password",
                           key);
        char *colon = strchr(both, ':');
        *colon = 0;
        c.user = both;
        c.password = colon + 1;
    }
    *ret_found = c.identity_token || (c.user && *c.user && c.password);
    if (*ret_found)
        *ret = c;
    return true;
}

bool creds_in_file(Arena *a, const json_t *file, bool containers, const char *host,
                   const char *repo, Cred *ret, bool *ret_found, Err *e)
{
    const char *key, *best_key = NULL;
    const json_t *entry, *best = NULL;
    size_t best_len = 0;
    *ret_found = false;
    json_object_foreach((json_t *)json_object_get(file, "auths"), key, entry)
    {
        size_t len = containers                      ? prefix_match(a, key, host, repo)
                     : creds_same_host(a, key, host) ? strlen(host)
                                                     : 0;
        if (len <= best_len || !json_is_object(entry))
            continue;
        best = entry;
        best_key = key;
        best_len = len;
    }
    return !best || read_entry(a, best_key, best, ret, ret_found, e);
}

/* The helper that a file names for a host, NULL when it names none. */
static const char *helper_of(Arena *a, const json_t *file, const char *host)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)json_object_get(file, "credHelpers"), key, value)
    {
        if (creds_same_host(a, key, host) && json_is_string(value))
            return arena_strdup(a, json_string_value(value));
    }
    return NULL;
}

static bool in_helpers(Creds *c, const json_t *file, const char *host, Cred *ret, bool *ret_found,
                       Err *e)
{
    const char *own = helper_of(&c->arena, file, host);
    const char *store = json_keep(&c->arena, file, "credsStore");
    *ret_found = false;
    if (own)
        return helper_get(&c->arena, own, creds_key(host), ret, ret_found, e);
    return !store || helper_get(&c->arena, store, creds_key(host), ret, ret_found, e);
}

static bool load(AuthFile *f, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    if (f->loaded)
        return true;
    scoped(fd) int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && !f->must_exist && (errno == ENOENT || errno == EACCES || errno == ENOTDIR)) {
        f->loaded = true;
        return true;
    }
    if (fd < 0)
        return err_errno(e, ERR_USAGE, "open '%s'", f->path);
    dump_forbid();
    if (!fs_read_all(fd, FILE_MAX_BYTES, &text, e) ||
        (text.len && !json_parse(text.ptr, text.len, &f->json, e))) {
        e->kind = ERR_USAGE;
        return err_wrap(e, "'%s'", f->path);
    }
    f->loaded = true;
    return true;
}

static bool in_one(Creds *c, AuthFile *f, const char *host, const char *repo, Cred *ret,
                   bool *ret_found, Err *e)
{
    *ret_found = false;
    if (!load(f, e))
        return false;
    if (!f->json)
        return true;
    if (!in_helpers(c, f->json, host, ret, ret_found, e) ||
        (!*ret_found &&
         !creds_in_file(&c->arena, f->json, f->containers, host, repo, ret, ret_found, e)))
        return err_wrap(e, "'%s'", f->path);
    if (*ret_found && !ret->from)
        ret->from = arena_printf(&c->arena, "'%s'", f->path);
    return true;
}

/* ---- all places ---- */

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static void add(Creds *c, const char *path, unsigned flags)
{
    c->files[c->nfile++] =
        (AuthFile){.path = path, .containers = flags & 1, .must_exist = (flags & 2) != 0};
}

static const char *home(Arena *a, const char *rest)
{
    return arena_printf(a, "%s/%s", env("HOME") ? env("HOME") : "", rest);
}

static const char *docker_file(Arena *a)
{
    return env("DOCKER_CONFIG") ? arena_printf(a, "%s/config.json", env("DOCKER_CONFIG"))
                                : home(a, ".docker/config.json");
}

static const char *config_home(Arena *a)
{
    return env("XDG_CONFIG_HOME") ? env("XDG_CONFIG_HOME") : home(a, ".config");
}

void creds_init(Creds *c, const char *authfile)
{
    enum { CONTAINERS = 1, MUST_EXIST = 2 };
    *c = (Creds){.nfile = 0};
    pthread_mutex_init(&c->lock, NULL);
    if (authfile) {
        add(c, arena_strdup(&c->arena, authfile), CONTAINERS | MUST_EXIST);
        return;
    }
    if (env("REGISTRY_AUTH_FILE"))
        add(c, env("REGISTRY_AUTH_FILE"), CONTAINERS);
    if (env("XDG_RUNTIME_DIR"))
        add(c, arena_printf(&c->arena, "%s/containers/auth.json", env("XDG_RUNTIME_DIR")),
            CONTAINERS);
    add(c, arena_printf(&c->arena, "%s/containers/auth.json", config_home(&c->arena)), CONTAINERS);
    add(c, docker_file(&c->arena), 0);
}

void creds_done(Creds *c)
{
    for (size_t i = 0; i < c->nfile; i++)
        json_decref(c->files[i].json);
    pthread_mutex_destroy(&c->lock);
    arena_done(&c->arena);
}

/* DOCKER_AUTH_CONFIG holds what a file of docker's would. */
static bool in_env(Creds *c, const char *host, const char *repo, Cred *ret, bool *ret_found, Err *e)
{
    scoped(json) json_t *j = NULL;
    const char *text = env("DOCKER_AUTH_CONFIG");
    *ret_found = false;
    if (!text)
        return true;
    if (!json_parse(text, strlen(text), &j, e) ||
        !creds_in_file(&c->arena, j, false, host, repo, ret, ret_found, e)) {
        e->kind = ERR_USAGE;
        return err_wrap(e, "DOCKER_AUTH_CONFIG");
    }
    ret->from = *ret_found ? "DOCKER_AUTH_CONFIG" : NULL;
    return true;
}

static bool search(Creds *c, const char *host, const char *repo, Cred *ret, Err *e)
{
    bool found = false;
    for (size_t i = 0; i < c->nfile && !found; i++)
        if (!in_one(c, &c->files[i], host, repo, ret, &found, e))
            return false;
    if (!found && !in_env(c, host, repo, ret, &found, e))
        return false;
    if (found)
        dump_forbid();
    else
        *ret = (Cred){.user = NULL};
    return true;
}

static Found *remembered(Creds *c, const char *host, const char *repo)
{
    for (size_t i = 0; i < c->nfound; i++)
        if (!strcmp(c->found[i].host, host) && !strcmp(c->found[i].repo, repo))
            return &c->found[i];
    return NULL;
}

void creds_only(Creds *c, const char *user, const char *password)
{
    Cred *one = NEW(&c->arena, Cred);
    *one = (Cred){.user = arena_strdup(&c->arena, user),
                  .password = arena_strdup(&c->arena, password),
                  .from = "the command line"};
    c->only = one;
}

bool creds_find(Creds *c, const char *host, const char *repo, Cred *ret, Err *e)
{
    if (c->only) {
        *ret = *c->only;
        return true;
    }
    pthread_mutex_lock(&c->lock);
    Found *f = remembered(c, host, repo);
    Cred cred = {.user = NULL};
    bool ok = f || search(c, host, repo, &cred, e);
    if (ok && !f) {
        f = ARENA_PUSH(&c->arena, c->found, c->nfound, c->found_cap);
        *f = (Found){arena_strdup(&c->arena, host), arena_strdup(&c->arena, repo), cred};
    }
    if (ok)
        *ret = f->cred;
    pthread_mutex_unlock(&c->lock);
    return ok || err_wrap(e, "credentials for '%s'", host);
}

/* ---- login and logout ---- */

const char *creds_file(Arena *a, const char *authfile)
{
    return authfile                    ? authfile
           : env("REGISTRY_AUTH_FILE") ? env("REGISTRY_AUTH_FILE")
                                       : docker_file(a);
}

StrList creds_all_files(Arena *a, const char *authfile)
{
    Creds c;
    StrList l = {0};
    creds_init(&c, authfile);
    for (size_t i = 0; i < c.nfile; i++)
        if (access(c.files[i].path, F_OK) == 0)
            strlist_add_once(a, &l, arena_strdup(a, c.files[i].path));
    creds_done(&c);
    return l;
}

/* A file of JSON, or an empty object where there is none. */
static bool read_file(const char *path, json_t **ret, Err *e)
{
    AuthFile f = {.path = path};
    if (!load(&f, e))
        return false;
    if (f.json && !json_is_object(f.json)) {
        json_decref(f.json);
        return err_set(e, ERR_USAGE, "'%s' holds no JSON object", path);
    }
    *ret = f.json ? f.json : json_object();
    return true;
}

/* Replace the file, which nobody else may read; a link to it is followed. */
static bool write_file(Arena *a, const char *path, const json_t *j, Err *e)
{
    char *real = realpath(path, NULL);
    const char *to = real ? arena_strdup(a, real) : path;
    const char *tmp = arena_printf(a, "%s.%d", to, (int)getpid());
    const char *slash = strrchr(to, '/');
    free(real);
    if (slash && slash > to) {
        const char *dir = arena_strndup(a, to, (size_t)(slash - to));
        if (access(dir, F_OK) < 0 && (!fs_mkdirs(AT_FDCWD, dir, e) || chmod(dir, 0700) < 0))
            return e->kind != ERR_NONE ? false : err_errno(e, ERR_USAGE, "create '%s'", dir);
    }
    char *text = json_dumps(j, JSON_INDENT(2));
    if (!text)
        die_nomem();
    scoped(fd) int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool ok = fd >= 0 || err_errno(e, ERR_USAGE, "create '%s'", tmp);
    ok = ok && fs_write_all(fd, text, strlen(text), e) && fs_write_all(fd, "\n", 1, e);
    if (ok && (fsync(fd) < 0 || rename(tmp, to) < 0))
        ok = err_errno(e, ERR_USAGE, "write '%s'", to);
    if (!ok && fd >= 0)
        (void)unlink(tmp);
    free(text);
    return ok;
}

/* The helper that keeps what is stored for a host; NULL: the file itself does. */
static const char *keeper(Arena *a, const json_t *file, const char *host)
{
    const char *own = helper_of(a, file, host);
    return own ? own : json_keep(a, file, "credsStore");
}

/* Every entry that means the host goes, under whatever key. */
static bool drop_entries(Arena *a, json_t *auths, const char *host)
{
    bool had = false;
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(auths, next, key, value)
    {
        if (!creds_same_host(a, key, host) || (strchr(key, '/') && !str_starts(key, "http")))
            continue;
        (void)json_object_del(auths, key);
        had = true;
    }
    return had;
}

static bool give_to_helper(Arena *a, const char *helper, const char *key, const char *user,
                           const char *password, Err *e)
{
    scoped(json) json_t *j = json_object();
    scoped(buf) Buf text = BUF_INIT;
    char *output;
    bool missing;
    json_set_str(j, "ServerURL", key);
    json_set_str(j, "Username", user);
    json_set_str(j, "Secret", password);
    json_text(j, &text);
    bool ok = helper_run(a, helper, "store", buf_str(&text), &output, &missing, e);
    explicit_bzero(text.ptr, text.len);
    return ok && (!missing || err_set(e, ERR_ENV, "credential helper '%s' refuses", helper));
}

bool creds_store(Arena *a, const char *path, const char *host, const char *user,
                 const char *password, const char **ret_helper, Err *e)
{
    scoped(json) json_t *j = NULL;
    if (!read_file(path, &j, e))
        return false;
    const char *helper = keeper(a, j, host), *key = creds_key(host);
    json_t *auths = json_object_get(j, "auths"), *entry = json_object();
    if (!json_is_object(auths)) {
        auths = json_object();
        json_object_set_new(j, "auths", auths);
    }
    (void)drop_entries(a, auths, host);
    json_object_set_new(auths, key, entry); /* with a helper: that there is something */
    if (!helper) {
        const char *both = arena_printf(a, "%s:%s", user, password);
        json_set_str(entry, "auth", base64_encode(a, both, strlen(both)));
    }
    if (helper && !give_to_helper(a, helper, key, user, password, e))
        return false;
    *ret_helper = helper;
    return write_file(a, path, j, e);
}

bool creds_erase(Arena *a, const char *path, const char *host, bool *ret_had, Err *e)
{
    scoped(json) json_t *j = NULL;
    if (!read_file(path, &j, e))
        return false;
    const char *helper = keeper(a, j, host);
    json_t *auths = json_object_get(j, "auths");
    *ret_had = json_is_object(auths) && drop_entries(a, auths, host);
    if (helper) {
        char *output;
        bool missing = false, found;
        Cred had;
        if (!helper_get(a, helper, creds_key(host), &had, &found, e) ||
            (found && !helper_run(a, helper, "erase", creds_key(host), &output, &missing, e)))
            return false;
        *ret_had = *ret_had || found;
    }
    return !*ret_had || write_file(a, path, j, e);
}
