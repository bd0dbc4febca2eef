/*
 * source/git.c - git references to commits, and commits to directories.
 */
#include "source/git.h"

#include <errno.h>
#include <fts.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/key.h"
#include "store/store.h"

/* What changes in how a commit is written to a directory changes this number. */
#define TREE_FORMAT "git tree 1"

/* ---- resolve ---- */

/* A ref name that git can have and that is neither an option nor a pattern: git-check-ref-format.*/
static bool ref_ok(const char *ref)
{
    if (*ref == '-' || str_ends(ref, ".lock") || strstr(ref, "..") || strstr(ref, "@{"))
        return false;
    for (; *ref; ref++)
        if ((unsigned char)*ref <= ' ' || *ref == 0x7f || strchr("~^:?*[\\", *ref))
            return false;
    return true;
}

static bool check_ref(Arena *a, const GitRef *r, Err *e)
{
    if (*r->remote == '-')
        return err_set(e, ERR_DOCKERFILE, "invalid git remote '%s'", r->remote);
    if (!ref_ok(r->ref))
        return err_set(e, ERR_DOCKERFILE, "invalid git ref '%s' of '%s'", r->ref,
                       git_masked(a, r->remote));
    if (strspn(r->checksum, "0123456789abcdefABCDEF") != strlen(r->checksum))
        return err_set(e, ERR_DOCKERFILE,
                       "invalid checksum '%s' for '%s': expected the hex digits of a commit",
                       r->checksum, git_masked(a, r->remote));
    return true;
}

static bool bad_checksum(Arena *a, const GitRef *r, const char *id, const char *peeled, Err *e)
{
    return err_set(e, ERR_CHECK, "'%s': expected checksum to match %s, got %s%s%s",
                   git_masked(a, r->remote), r->checksum, id, *peeled ? " or " : "", peeled);
}

/* References that name their commit. */
static bool resolve_pinned(Arena *a, const GitRef *r, GitCommit *ret, Err *e)
{
    if (git_is_id(r->ref)) {
        if (!str_starts(r->ref, r->checksum))
            return bad_checksum(a, r, r->ref, "", e);
        *ret = (GitCommit){r->ref, r->ref, r->ref};
        return true;
    }
    if (!git_is_id(r->checksum))
        return err_set(e, ERR_DOCKERFILE,
                       "'%s': fetch-by-commit requires a checksum that is a full commit hash, got "
                       "'%s'",
                       git_masked(a, r->remote), r->checksum);
    *ret = (GitCommit){r->checksum, r->checksum, r->checksum};
    if (*r->ref)
        ret->ref = str_starts(r->ref, "refs/") ? r->ref : arena_printf(a, "refs/heads/%s", r->ref);
    return true;
}

static bool ls_remote(const GitRef *r, const char *const *args, Arena *a, StrList *ret, Err *e)
{
    scoped(git_run)
        GitRun run = {.git_dir = "/dev/null", .reach = GIT_REMOTE, .lock = -1, .remote = r->remote};
    if (!git_run(&run, args, e))
        return false;
    char *rest = arena_strndup(a, buf_str(&run.out), run.out.len), *line;
    while ((line = strsep(&rest, "\n")))
        strlist_add(a, ret, line);
    return true;
}

/* The parts of "<left>\t<name>"; NULL for another line. */
static const char *after_tab(const char *line, const char **ret_left, Arena *a)
{
    const char *tab = strchr(line, '\t');
    if (!tab)
        return NULL;
    *ret_left = arena_strndup(a, line, (size_t)(tab - line));
    return tab + 1;
}

static bool default_branch(Arena *a, const GitRef *r, const char **ret, Err *e)
{
    static const char SYMREF[] = "ref: ";
    const char *args[] = {"ls-remote", "--symref", "--", r->remote, "HEAD", NULL};
    StrList lines = {0};
    if (!ls_remote(r, args, a, &lines, e))
        return false;
    for (size_t i = 0; i < lines.n; i++) {
        const char *left = "", *name = after_tab(lines.v[i], &left, a);
        if (!name || strcmp(name, "HEAD") != 0 || !str_starts(left, SYMREF))
            continue;
        *ret = left + sizeof SYMREF - 1;
        if (str_starts(*ret, "refs/heads/") && ref_ok(*ret))
            return true;
    }
    return err_set(e, ERR_NETWORK, "could not find default branch for repository '%s'",
                   git_masked(a, r->remote));
}

/* What a name can stand for, in the order in which it does. */
typedef enum Meaning { AS_WRITTEN, AS_BRANCH, AS_TAG, AS_PEELED } Meaning;
enum { NMEANING = AS_PEELED + 1 };

static const char *trim(const char *s, const char *prefix)
{
    return str_starts(s, prefix) ? s + strlen(prefix) : s;
}

static bool pick(Arena *a, const GitRef *r, const char *ref, const StrList *lines, GitCommit *ret,
                 Err *e)
{
    const char *ids[NMEANING] = {0}, *names[NMEANING];
    names[AS_WRITTEN] = arena_printf(a, "refs/%s", trim(ref, "refs/"));
    names[AS_BRANCH] = arena_printf(a, "refs/heads/%s", trim(ref, "refs/heads/"));
    names[AS_TAG] = arena_printf(a, "refs/tags/%s", trim(ref, "refs/tags/"));
    names[AS_PEELED] = arena_printf(a, "%s^{}", names[AS_TAG]);
    for (size_t i = 0; i < lines->n; i++) {
        const char *id = "", *name = after_tab(lines->v[i], &id, a);
        for (size_t m = 0; name && git_is_id(id) && m < NMEANING; m++)
            if (!strcmp(name, names[m]))
                ids[m] = id;
    }
    Meaning m = ids[AS_WRITTEN] ? AS_WRITTEN : ids[AS_BRANCH] ? AS_BRANCH : AS_TAG;
    if (!ids[m])
        return err_set(e, ERR_DOCKERFILE, "repository '%s' does not contain ref %s",
                       git_masked(a, r->remote), ref);
    /* A tag given by its full name is AS_WRITTEN, and peeled as well. */
    bool is_tag = !strcmp(names[m], names[AS_TAG]);
    const char *peeled = is_tag && ids[AS_PEELED] ? ids[AS_PEELED] : NULL;
    if (!str_starts(ids[m], r->checksum) && !(peeled && str_starts(peeled, r->checksum)))
        return bad_checksum(a, r, ids[m], peeled ? peeled : "", e);
    *ret = (GitCommit){ids[m], peeled ? peeled : ids[m], names[m]};
    return true;
}

bool source_git_resolve(Store *s, Arena *a, const GitRef *r, GitCommit *ret, Err *e)
{
    const char *ref = r->ref;
    StrList lines = {0};
    (void)s;
    if (!check_ref(a, r, e))
        return false;
    if (git_is_id(r->ref) || r->fetch_by_commit)
        return resolve_pinned(a, r, ret, e);
    if (!*ref && !default_branch(a, r, &ref, e))
        return false;
    const char *args[] = {"ls-remote", "--", r->remote, ref, arena_printf(a, "%s^{}", ref), NULL};
    return ls_remote(r, args, a, &lines, e) && pick(a, r, ref, &lines, ret, e);
}

/* ---- checkout ---- */

/* One tree on its way into the store. Paths are absolute but for `tmp`. */
typedef struct Checkout {
    GitRepo *repo;
    const GitRef *ref;
    const GitCommit *commit;
    bool keep;                /* leave .git there */
    char tmp[STORE_TMP_MAX];  /* a directory with `tree`, and git's index beside it */
    const char *tree, *index; /* absolute */
    Arena *a;
} Checkout;

static bool keeps_git(const GitRef *r)
{
    return r->keep_git_dir == GIT_YES && !*r->subdir; /* a part of a tree has no repository */
}

/* Run git in the new tree, which has a .git. */
static bool run_in_tree(const Checkout *w, GitReach reach, const char *config,
                        const char *const *args, GitRun *run, Err *e)
{
    run->work_tree = w->tree;
    run->reach = reach;
    run->config = config;
    run->lock = w->repo->lock;
    run->remote = w->ref->remote;
    return git_run(run, args, e);
}

static bool in_tree(const Checkout *w, GitReach reach, const char *const *args, Err *e)
{
    scoped(git_run) GitRun run = {0};
    return run_in_tree(w, reach, NULL, args, &run, e);
}

/* Whether the commit has submodules. */
static bool has_modules(const Checkout *w, bool *ret, Err *e)
{
    const char *args[] = {"cat-file", "-e", arena_printf(w->a, "%s:.gitmodules", w->commit->id),
                          NULL};
    Err why = ERR_INIT;
    scoped(git_run)
        GitRun run = {.git_dir = w->repo->path, .lock = w->repo->lock, .remote = w->ref->remote};
    *ret = git_run(&run, args, &why);
    return *ret || run.exited_badly || err_set(e, why.kind, "%s", why.msg);
}

/* The tree alone, with an index of its own: no other checkout's files are taken for ours. */
static bool write_tree(const Checkout *w, Err *e)
{
    const char *args[] = {"read-tree", "--reset", "-u", w->commit->id, NULL};
    scoped(git_run) GitRun run = {.git_dir = w->repo->path,
                                  .work_tree = w->tree,
                                  .index = w->index,
                                  .lock = w->repo->lock,
                                  .remote = w->ref->remote};
    return git_run(&run, args, e);
}

/* "file://" and the repository's path; git decodes %XX in it. */
static const char *repo_url(const Checkout *w)
{
    scoped(buf) Buf b = BUF_INIT;
    buf_puts(&b, "file://");
    for (const char *c = w->repo->path; *c; c++)
        if (*c == '%')
            buf_puts(&b, "%25");
        else
            buf_putc(&b, *c);
    return arena_strdup(w->a, buf_str(&b));
}

/*
 * A repository with the one commit, its branch or tag under its name, HEAD at the commit and the
 * remote as origin, without credentials: what docker leaves with keep-git-dir.
 */
static bool write_repository(const Checkout *w, Err *e)
{
    const GitCommit *c = w->commit;
    const char *spec = arena_printf(w->a, "refs/lighter/%s%s%s", c->id,
                                    git_is_id(c->ref) ? "" : ":", git_is_id(c->ref) ? "" : c->ref);
    const char *init[] = {"init",        "--quiet",
                          "--template=", w->repo->sha256 ? "--object-format=sha256" : "--",
                          w->tree,       NULL};
    const char *origin[] = {"remote", "add", "origin", git_masked(w->a, w->ref->remote), NULL};
    const char *fetch[] = {"fetch",     "--quiet",   "--update-head-ok",
                           "--depth=1", "--no-tags", "--",
                           repo_url(w), spec,        NULL};
    const char *checkout[] = {"checkout", "--quiet", "--force", "--detach", c->id, NULL};
    scoped(git_run) GitRun run = {.lock = w->repo->lock, .remote = w->ref->remote};
    if (!git_run(&run, init, e) || !in_tree(w, GIT_LOCAL, origin, e) ||
        !in_tree(w, GIT_FILES, fetch, e) || !in_tree(w, GIT_LOCAL, checkout, e))
        return false;
    /* It names a path of this machine. */
    const char *fetched = arena_printf(w->a, "%s/.git/FETCH_HEAD", w->tree);
    return unlink(fetched) == 0 || errno == ENOENT ||
           err_errno(e, ERR_STORE, "remove '%s'", fetched);
}

/*
 * Relative URLs of submodules start from origin, whose credentials are not to be written down: git
 * gets them for this run only. A name of a setting ends at its first '='.
 */
static const char *credentials(const Checkout *w)
{
    const char *real = w->ref->remote, *masked = git_masked(w->a, real);
    const char *host = strstr(real, "://");
    size_t n = host ? (size_t)(strcspn(host + 3, "/") + 4) + (size_t)(host - real) : 0;
    if (!strcmp(real, masked) || strlen(real) < n)
        return NULL;
    const char *m = strstr(masked, "://");
    const char *base = arena_strndup(w->a, real, n);
    if (!m || strchr(base, '='))
        return NULL;
    return arena_printf(w->a, "url.%s.insteadOf=%.*s", base,
                        (int)(strcspn(m + 3, "/") + 4 + (size_t)(m - masked)), masked);
}

static bool write_modules(const Checkout *w, Err *e)
{
    static const char *const SHALLOW[] = {"submodule",   "--quiet",   "update", "--init",
                                          "--recursive", "--depth=1", NULL};
    static const char *const WHOLE[] = {"submodule", "--quiet",     "update",
                                        "--init",    "--recursive", NULL};
    Err why = ERR_INIT;
    scoped(git_run) GitRun run = {0};
    if (run_in_tree(w, GIT_REMOTE, credentials(w), SHALLOW, &run, &why))
        return true;
    /* Plain files over HTTP know no depth. */
    if (run.exited_badly && strstr(buf_str(&run.err), "shallow")) {
        why = (Err)ERR_INIT;
        if (run_in_tree(w, GIT_REMOTE, credentials(w), WHOLE, &run, &why))
            return true;
    }
    return err_set(e, why.kind, "%s", why.msg);
}

/* A path that is too long for a system call is how a tree could hide something from a walk. */
static bool readable(const FTSENT *f, Err *e)
{
    if (f->fts_info != FTS_DNR && f->fts_info != FTS_ERR && f->fts_info != FTS_NS)
        return true;
    errno = f->fts_errno;
    return err_errno(e, ERR_STORE, "read '%.200s'", f->fts_path);
}

/* No tree that git wrote has another .git than those of repositories. */
static bool remove_git(const Checkout *w, Err *e)
{
    char *const roots[] = {(char *)w->tree, NULL};
    StrList found = {0};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (!walk)
        return err_errno(e, ERR_STORE, "read '%s'", w->tree);
    bool ok = true;
    for (FTSENT *f; ok && (f = fts_read(walk));) {
        if (!(ok = readable(f, e)) || f->fts_info == FTS_DP || strcmp(f->fts_name, ".git") != 0)
            continue;
        strlist_add(w->a, &found, f->fts_path);
        (void)fts_set(walk, f, FTS_SKIP);
    }
    (void)fts_close(walk);
    if (!ok)
        return false;
    for (size_t i = 0; i < found.n; i++)
        if (!fs_remove_tree(AT_FDCWD, found.v[i], e))
            return false;
    return true;
}

/* ---- times ---- */

static bool commit_time(const Checkout *w, struct timespec *ret, Err *e)
{
    const char *args[] = {"show", "--no-patch", "--format=%ct",
                          arena_printf(w->a, "%s^{commit}", w->commit->id), NULL};
    uint64_t seconds = 0;
    scoped(git_run)
        GitRun run = {.git_dir = w->repo->path, .lock = w->repo->lock, .remote = w->ref->remote};
    if (!git_run(&run, args, e))
        return false;
    char *line = arena_strndup(w->a, buf_str(&run.out), strcspn(buf_str(&run.out), "\n"));
    if (!str_u64(line, INT64_MAX, &seconds))
        return err_set(e, ERR_NETWORK, "commit %s of '%s' has the time '%s'", w->commit->commit,
                       git_masked(w->a, w->ref->remote), line);
    *ret = (struct timespec){.tv_sec = (time_t)seconds};
    return true;
}

/* Directories after what is in them. */
static bool set_times(const Checkout *w, const char *dir, Err *e)
{
    char *const roots[] = {(char *)dir, NULL};
    struct timespec t = {0};
    if (!commit_time(w, &t, e))
        return false;
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (!walk)
        return err_errno(e, ERR_STORE, "read '%s'", dir);
    bool ok = true;
    for (FTSENT *f; ok && (f = fts_read(walk));) {
        ok = readable(f, e);
        if (ok && f->fts_info != FTS_D &&
            utimensat(AT_FDCWD, f->fts_accpath, (struct timespec[]){t, t}, AT_SYMLINK_NOFOLLOW) < 0)
            ok = err_errno(e, ERR_STORE, "set the time of '%s'", f->fts_path);
    }
    (void)fts_close(walk);
    return ok;
}

/* ---- into the store ---- */

static bool write_all(const Checkout *w, Err *e)
{
    bool modules = false;
    if (w->ref->submodules != GIT_NO && !has_modules(w, &modules, e))
        return false;
    if (!w->keep && !modules)
        return write_tree(w, e);
    if (!write_repository(w, e) || (modules && !write_modules(w, e)))
        return false;
    return w->keep || remove_git(w, e);
}

/* The directory that was asked for, opened without following a link. */
static bool find_subdir(const Checkout *w, const char **ret, Err *e)
{
    const char *sub = w->ref->subdir;
    scoped(fd) int tree = -1;
    *ret = w->tree;
    if (!fs_open_dir(AT_FDCWD, w->tree, &tree, e))
        return false;
    scoped(fd) int fd =
        fs_open_beneath(tree, *sub ? sub : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(e, ERR_DOCKERFILE, "invalid subdir '%s' of '%s'", sub,
                         git_masked(w->a, w->ref->remote));
    if (fchmod(fd, 0755) < 0)
        return err_errno(e, ERR_STORE, "change mode of '%s'", w->tree);
    if (*sub)
        *ret = arena_printf(w->a, "%s/%s", w->tree, sub);
    return true;
}

static bool publish(const Checkout *w, SnapshotId *ret, Err *e)
{
    const char *dir = NULL;
    if (!find_subdir(w, &dir, e) || (w->ref->commit_times && !set_times(w, dir, e)))
        return false;
    const char *rel =
        arena_printf(w->a, "%s/tree%s%s", w->tmp, *w->ref->subdir ? "/" : "", w->ref->subdir);
    if (!store_snapshot_add(w->repo->store, rel, ret, e))
        return false;
    store_describe(
        w->repo->store, *ret, "source.git.checkout",
        arena_printf(w->a, "%s#%s", git_masked(w->a, w->ref->remote), w->commit->commit));
    return true;
}

static bool checkout(GitRepo *repo, Arena *a, const GitRef *r, const GitCommit *c, SnapshotId *ret,
                     Err *e)
{
    Checkout w = {.repo = repo, .ref = r, .commit = c, .keep = keeps_git(r), .a = a};
    int dirfd = store_dirfd(repo->store);
    Err ignored = ERR_INIT;
    if (!store_tmp(repo->store, "git", w.tmp, e))
        return false;
    const char *tree = arena_printf(a, "%s/tree", w.tmp);
    w.tree = arena_printf(a, "%s/%s", repo->root, tree);
    w.index = arena_printf(a, "%s/%s/index", repo->root, w.tmp);
    bool ok = mkdirat(dirfd, w.tmp, 0700) == 0 && mkdirat(dirfd, tree, 0755) == 0;
    if (!ok)
        err_errno(e, ERR_STORE, "create '%s'", w.tree);
    ok = ok && write_all(&w, e) && publish(&w, ret, e);
    (void)fs_remove_tree(dirfd, w.tmp, &ignored); /* best effort: tmp/ is swept */
    return ok;
}

/* Everything that can change a byte of the result; where it came from shows in .git only. */
static void tree_key(Arena *a, const GitRef *r, const GitCommit *c, Digest *ret)
{
    scoped(key) KeyBuilder k;
    key_begin(&k, TREE_FORMAT);
    key_text(&k, "commit", keeps_git(r) ? c->id : c->commit);
    key_text(&k, "subdir", r->subdir);
    key_text(&k, "submodules", r->submodules == GIT_NO ? "no" : "yes");
    key_text(&k, "mtime", r->commit_times ? "commit" : "checkout");
    key_text(&k, "git-dir", keeps_git(r) ? c->ref : "");
    key_text(&k, "origin", keeps_git(r) ? git_masked(a, r->remote) : "");
    key_end(&k, ret);
}

static bool known_tree(Store *s, const Digest *key, SnapshotId *ret, bool *ret_found, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    uint64_t id = 0;
    if (!store_memo_get(s, key, &b, ret_found, e))
        return false;
    *ret_found = *ret_found && str_u64(buf_str(&b), UINT64_MAX, &id);
    if (*ret_found && !store_snapshot_exists(s, id, ret_found, e))
        return false;
    if (*ret_found)
        *ret = id;
    return true;
}

static bool fetch_and_checkout(GitRepo *repo, Arena *a, const GitRef *r, const GitCommit *c,
                               SnapshotId *ret, Err *e)
{
    return git_repo_fetch(repo, a, c, e) && checkout(repo, a, r, c, ret, e);
}

bool source_git(Store *s, Arena *a, const GitRef *r, const GitCommit *c, SnapshotId *ret, Err *e)
{
    Digest key;
    bool found = false;
    char text[24];
    tree_key(a, r, c, &key);
    if (!known_tree(s, &key, ret, &found, e))
        return false;
    if (found)
        return true;
    scoped(git_repo) GitRepo repo = {.lock = -1};
    if (!git_repo_open(s, a, r, c, &repo, e))
        return false;
    /* Whoever held the lock may have done it. */
    if (!known_tree(s, &key, ret, &found, e))
        return false;
    if (found)
        return true;
    if (!fetch_and_checkout(&repo, a, r, c, ret, e) &&
        !(e->kind != ERR_DOCKERFILE && git_repo_mend(&repo, a, e) &&
          fetch_and_checkout(&repo, a, r, c, ret, e)))
        return false;
    (void)snprintf(text, sizeof text, "%" PRIu64, *ret);
    return store_memo_put(s, &key, text, strlen(text), e);
}

bool source_git_time(Store *s, Arena *a, const GitRef *r, const GitCommit *c, int64_t *ret, Err *e)
{
    const char *args[] = {"log", "-1", "--no-show-signature", "--format=%ct", c->commit, NULL};
    scoped(git_repo) GitRepo repo = {.lock = -1};
    uint64_t at;
    if (!git_repo_open(s, a, r, c, &repo, e) || !git_repo_fetch(&repo, a, c, e))
        return false;
    scoped(git_run) GitRun run = {
        .git_dir = repo.path, .reach = GIT_LOCAL, .lock = repo.lock, .remote = r->remote};
    if (!git_run(&run, args, e))
        return false;
    char *text = arena_strndup(a, buf_str(&run.out), strcspn(buf_str(&run.out), "\n"));
    if (!str_u64(text, INT64_MAX, &at))
        return err_set(e, ERR_NETWORK, "'%s': commit %.40s has no time after 1970",
                       git_masked(a, r->remote), c->commit);
    *ret = (int64_t)at;
    return true;
}
