/*
 * steps/golook.c - the go command of a step's root, and the settings it would have.
 */
#include "steps/golang.h"

#include "base/fs.h"

enum { SMALL_MAX = 1 << 20 };

/* A file of the root as text; "" when there is none. */
static bool read_text(const View *v, const char *path, Buf *out, Err *e)
{
    ViewNode node;
    if (!view_lookup(v, path, VIEW_FOLLOW, &node, e))
        return false;
    if (!node.exists || !S_ISREG(node.st.st_mode))
        return true;
    scoped(fd) int fd = view_open(v, &node);
    Err ignored = ERR_INIT;
    if (fd >= 0 && !fs_read_all(fd, SMALL_MAX, out, &ignored))
        out->len = 0; /* a file of a megabyte is no such file */
    return true;
}

/* The directory above bin/go, with links followed, which is how the go command finds it, too. */
static const char *goroot_of(Arena *a, const ViewNode *go)
{
    static const char TAIL[] = "/bin/go";
    size_t n = strlen(go->path);
    if (!str_ends(go->path, TAIL))
        return NULL;
    return arena_printf(a, "/%.*s", (int)(n - (sizeof TAIL - 1)), go->path);
}

static bool find_go(Arena *a, const View *v, const StrList *env, const char **ret, Err *e)
{
    const char *path = env_get(env, "PATH");
    *ret = NULL;
    if (!path)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    while (*path && !*ret) {
        size_t n = strcspn(path, ":");
        ViewNode node;
        if (n && *path == '/') {
            if (!view_lookup(v, arena_printf(a, "%.*s/go", (int)n, path), VIEW_FOLLOW, &node, e))
                return false;
            if (node.exists && S_ISREG(node.st.st_mode) && node.st.st_mode & 0111)
                *ret = goroot_of(a, &node);
        }
        path += n;
        path += *path == ':';
    }
    return true;
}

static bool find_user(StepWork *w, const View *v, GoRoot *r, Err *e)
{
    scoped(buf) Buf passwd = BUF_INIT, group = BUF_INIT;
    SandboxIds ids;
    Err unknown = ERR_INIT;
    if (!read_text(v, "/etc/passwd", &passwd, e) || !read_text(v, "/etc/group", &group, e))
        return false;
    if (!sandbox_user_ids(w->step->u.run.user, buf_str(&passwd), buf_str(&group), &ids, &unknown))
        return true; /* the step fails for it */
    r->uid = ids.uid;
    r->gid = ids.gid;
    if (!env_get(&r->env, "HOME"))
        env_set(&w->arena, &r->env, "HOME", arena_strdup(&w->arena, ids.home));
    return true;
}

static bool find_settings(StepWork *w, const View *v, GoRoot *r, Err *e)
{
    scoped(buf) Buf user = BUF_INIT, goroot = BUF_INIT;
    Arena *a = &w->arena;
    const char *file = go_env_path(a, &r->env);
    if ((file && *file == '/' && !read_text(v, file, &user, e)) ||
        !read_text(v, arena_printf(a, "%s/go.env", r->goroot), &goroot, e))
        return false;
    StrList of_user = go_env_text(a, GO_ENV_USER, (Str){buf_str(&user), user.len}),
            of_root = go_env_text(a, GO_ENV_GOROOT, (Str){buf_str(&goroot), goroot.len});
    go_settings(a, &r->env, &of_user, &of_root, &r->settings);
    return true;
}

/* Passwords that go would send to a proxy, and does not send to us. */
static bool find_netrc(StepWork *w, const View *v, GoRoot *r, Err *e)
{
    const PlanRun *run = &w->step->u.run;
    const char *home = env_get(&r->env, "HOME"), *auth = env_get(&r->env, "GOAUTH");
    ViewNode node = {0};
    r->netrc = env_get(&r->env, "NETRC") || (auth && strcmp(auth, "off") != 0);
    for (size_t i = 0; i < run->nmount; i++)
        r->netrc = r->netrc || (run->mounts[i].target && strstr(run->mounts[i].target, "netrc"));
    if (!r->netrc && home && *home == '/' &&
        !view_lookup(v, arena_printf(&w->arena, "%s/.netrc", home), VIEW_FOLLOW, &node, e))
        return false;
    r->netrc = r->netrc || node.exists;
    return true;
}

bool go_look(StepWork *w, const View *v, const StrList *env, GoRoot *ret, Err *e)
{
    GoRoot r = {.env = strlist_copy(&w->arena, env)};
    if (!find_go(&w->arena, v, env, &r.goroot, e))
        return false;
    if (r.goroot &&
        (!find_user(w, v, &r, e) || !find_settings(w, v, &r, e) || !find_netrc(w, v, &r, e)))
        return false;
    *ret = r;
    return true;
}

bool go_named(const PlanRun *r, const char *word)
{
    bool found = r->script_text && strstr(r->script_text, word);
    for (size_t i = 0; i < r->argv.n; i++)
        found = found || strstr(r->argv.v[i], word);
    return found;
}
