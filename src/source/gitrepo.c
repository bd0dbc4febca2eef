/*
 * source/gitrepo.c - a remote's repository in the store: one at a time works in it, and what a
 * killed one left behind does not matter.
 */
#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <sys/file.h>

#include "base/cancel.h"
#include "source/git.h"

enum { LOCK_WAIT_MS = 50 };

static GitRun run_in(const GitRepo *repo, GitReach reach)
{
    return (GitRun){
        .git_dir = repo->path, .reach = reach, .lock = repo->lock, .remote = repo->remote};
}

/* The store's path as every process and git see it. */
static bool absolute_root(Store *s, Arena *a, char **ret, Err *e)
{
    char proc[40], path[PATH_MAX];
    (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", store_dirfd(s));
    ssize_t n = readlink(proc, path, sizeof path - 1);
    if (n < 0)
        return err_errno(e, ERR_STORE, "path of store '%s'", store_path(s));
    *ret = arena_strndup(a, path, (size_t)n);
    return true;
}

static bool wait_for_lock(GitRepo *repo, Err *e)
{
    while (flock(repo->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_errno(e, ERR_STORE, "lock '%s/%s'", repo->root, repo->dir);
        if (cancel_wanted())
            return err_set(e, ERR_STEP, "cancelled");
        (void)usleep(LOCK_WAIT_MS * 1000);
    }
    return true;
}

/* Locks and half written files of git processes that are dead: nobody else can be in here. */
static void remove_leftovers(const GitRepo *repo)
{
    char *const roots[] = {repo->path, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *f; walk && (f = fts_read(walk));)
        if (f->fts_info != FTS_D && f->fts_info != FTS_DP &&
            (str_ends(f->fts_name, ".lock") || str_starts(f->fts_name, "tmp_")))
            (void)unlink(f->fts_accpath); /* best effort: git names the lock that is in its way */
    if (walk)
        (void)fts_close(walk);
}

/* Made beside and renamed, so that a repository that is there is whole. */
static bool make_repo(GitRepo *repo, Arena *a, Err *e)
{
    char tmp[STORE_TMP_MAX];
    const char *final = arena_printf(a, "%s/repo", repo->dir);
    if (faccessat(store_dirfd(repo->store), final, F_OK, 0) == 0)
        return true;
    if (!store_tmp(repo->store, "git", tmp, e))
        return false;
    const char *path = arena_printf(a, "%s/%s", repo->root, tmp);
    const char *args[] = {"init",        "--quiet", "--bare",
                          "--template=", path,      repo->sha256 ? "--object-format=sha256" : NULL,
                          NULL};
    scoped(git_run) GitRun run = {.lock = repo->lock, .remote = repo->remote};
    if (!git_run(&run, args, e))
        return false;
    if (renameat(store_dirfd(repo->store), tmp, store_dirfd(repo->store), final) < 0)
        return err_errno(e, ERR_STORE, "rename to '%s/%s'", repo->root, final);
    return true;
}

/* Mark the directory as worked in; when it is marked already, he who did it was killed. */
static bool enter(GitRepo *repo, Arena *a, Err *e)
{
    const char *busy = arena_printf(a, "%s/busy", repo->dir);
    scoped(fd) int fd = openat(store_dirfd(repo->store), busy, O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST)
        return err_errno(e, ERR_STORE, "create '%s/%s'", repo->root, busy);
    if (fd < 0)
        remove_leftovers(repo);
    return make_repo(repo, a, e);
}

bool git_repo_open(Store *s, Arena *a, const GitRef *r, const GitCommit *c, GitRepo *ret, Err *e)
{
    char hex[DIGEST_HEX_SIZE];
    Digest d;
    scoped(git_repo)
        GitRepo repo = {.store = s, .remote = r->remote, .lock = -1, .sha256 = strlen(c->id) > 40};
    digest_of(r->remote, strlen(r->remote), &d);
    digest_hex(&d, hex);
    repo.dir = arena_printf(a, "git/%.32s%s", hex, repo.sha256 ? "-sha256" : "");
    if (!absolute_root(s, a, &repo.root, e))
        return false;
    repo.path = arena_printf(a, "%s/%s/repo", repo.root, repo.dir);
    if (!store_use(s, repo.dir, git_masked(a, r->remote), e))
        return false;
    if ((mkdirat(store_dirfd(s), "git", 0700) < 0 && errno != EEXIST) ||
        (mkdirat(store_dirfd(s), repo.dir, 0700) < 0 && errno != EEXIST))
        return err_errno(e, ERR_STORE, "create '%s/%s'", repo.root, repo.dir);
    const char *lock = arena_printf(a, "%s/lock", repo.dir);
    repo.lock = openat(store_dirfd(s), lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (repo.lock < 0)
        return err_errno(e, ERR_STORE, "open '%s/%s'", repo.root, lock);
    if (!wait_for_lock(&repo, e) || !enter(&repo, a, e))
        return false;
    *ret = repo;
    repo.lock = -1;
    return true;
}

void git_repo_done(GitRepo *repo)
{
    char busy[128];
    if (repo->lock < 0)
        return;
    (void)snprintf(busy, sizeof busy, "%s/busy", repo->dir);
    /* A cancelled git may have been killed in the middle. */
    if (!cancel_wanted())
        (void)unlinkat(store_dirfd(repo->store), busy, 0);
    close(repo->lock);
    repo->lock = -1;
}

/* ---- fetching ---- */

/* Only what a ref of ours keeps counts as held: git writes refs last, so all below is there. */
static bool held(const GitRepo *repo, Arena *a, const char *id, bool *ret, Err *e)
{
    const char *args[] = {"rev-parse", "--verify", "--quiet",
                          arena_printf(a, "refs/lighter/%s^{commit}", id), NULL};
    Err why = ERR_INIT;
    scoped(git_run) GitRun run = run_in(repo, GIT_LOCAL);
    *ret = git_run(&run, args, &why);
    return *ret || run.exited_badly || err_set(e, why.kind, "%s", why.msg);
}

static bool says(const GitRun *run, const char *a, const char *b)
{
    const char *text = buf_str(&run->err);
    return run->exited_badly && (strstr(text, a) || strstr(text, b));
}

/* Everything, for servers that give no commit by its name. */
static bool fetch_all(const GitRepo *repo, Arena *a, const char *id, Err *e)
{
    const char *shallow = arena_printf(a, "%s/shallow", repo->path);
    StrList args = {0};
    strlist_add(a, &args, "fetch");
    strlist_add(a, &args, "--quiet");
    strlist_add(a, &args, "--no-tags");
    strlist_add(a, &args, "--prune"); /* before updating: "a" may have become "a/b" */
    if (access(shallow, F_OK) == 0)
        strlist_add(a, &args, "--unshallow");
    strlist_add(a, &args, "--");
    strlist_add(a, &args, repo->remote);
    strlist_add(a, &args, "+refs/heads/*:refs/all/heads/*");
    strlist_add(a, &args, "+refs/tags/*:refs/all/tags/*");
    scoped(git_run) GitRun run = run_in(repo, GIT_REMOTE);
    if (!git_run(&run, (const char *const *)strlist_argv(a, &args), e))
        return false;
    const char *keep[] = {"update-ref", arena_printf(a, "refs/lighter/%s", id), id, NULL};
    run.reach = GIT_LOCAL;
    if (git_run(&run, keep, e))
        return true;
    if (!run.exited_badly)
        return false;
    *e = (Err)ERR_INIT;
    return err_set(e, ERR_DOCKERFILE, "no branch or tag of '%s' contains commit %s",
                   git_masked(a, repo->remote), id);
}

/* One object and what it needs, without history where the server can do that. */
static bool fetch_one(const GitRepo *repo, Arena *a, const char *id, Err *e)
{
    const char *spec = arena_printf(a, "+%s:refs/lighter/%s", id, id);
    const char *shallow[] = {"fetch", "--quiet",    "--no-tags", "--depth=1",
                             "--",    repo->remote, spec,        NULL};
    const char *whole[] = {"fetch", "--quiet", "--no-tags", "--", repo->remote, spec, NULL};
    Err why = ERR_INIT;
    scoped(git_run) GitRun run = run_in(repo, GIT_REMOTE);
    if (git_run(&run, shallow, &why))
        return true;
    if (says(&run, "--depth", "shallow")) {
        why = (Err)ERR_INIT;
        if (git_run(&run, whole, &why))
            return true;
    }
    if (says(&run, "not our ref", "unadvertised object"))
        return fetch_all(repo, a, id, e);
    return err_set(e, why.kind, "%s", why.msg);
}

/* What lies in the store is damaged (a power cut), which no further fetch would mend. */
static bool is_damaged(const GitRepo *repo)
{
    static const char *const FSCK[] = {"fsck", "--connectivity-only", "--no-dangling",
                                       "--no-progress", NULL};
    Err ignored = ERR_INIT;
    scoped(git_run) GitRun run = run_in(repo, GIT_LOCAL);
    return !git_run(&run, FSCK, &ignored) && run.exited_badly;
}

bool git_repo_mend(GitRepo *repo, Arena *a, Err *e)
{
    char tmp[STORE_TMP_MAX];
    Err ignored = ERR_INIT;
    const char *path = arena_printf(a, "%s/repo", repo->dir);
    if (cancel_wanted() || !is_damaged(repo) || !store_tmp(repo->store, "git", tmp, &ignored) ||
        renameat(store_dirfd(repo->store), path, store_dirfd(repo->store), tmp) < 0)
        return false;
    (void)fs_remove_tree(store_dirfd(repo->store), tmp, &ignored); /* best effort: tmp/ is swept */
    *e = (Err)ERR_INIT;
    return make_repo(repo, a, e);
}

bool git_repo_fetch(GitRepo *repo, Arena *a, const GitCommit *c, Err *e)
{
    bool have = false;
    if (!held(repo, a, c->id, &have, e))
        return false;
    if (have)
        return true;
    if (!fetch_one(repo, a, c->id, e))
        return false;
    if (!held(repo, a, c->id, &have, e))
        return false;
    return have || err_set(e, ERR_DOCKERFILE, "'%s' in '%s' is no commit", c->id,
                           git_masked(a, repo->remote));
}
