/*
 * source/git.h - running git, and the repositories that are kept in the store. Private to source.
 *
 *   STORE/git/<hash of remote>/lock    flock: held by whoever works there and by its git processes
 *   STORE/git/<hash of remote>/repo    bare; refs/lighter/<id> keeps what was fetched
 *   STORE/git/<hash of remote>/busy    there while somebody works: left over, he was killed
 */
#ifndef SOURCE_GIT_H
#define SOURCE_GIT_H

#include "base/fs.h"
#include "base/str.h"
#include "source/source.h"

enum { GIT_ID_MAX = 65 };

/* ---- gitrun.c ---- */

/* What one run of git may reach. */
typedef enum GitReach {
    GIT_LOCAL,  /* nothing */
    GIT_REMOTE, /* git, http, https and ssh; submodules as well */
    GIT_FILES,  /* repositories of this machine: the store's own */
} GitReach;

/* One run. Paths are absolute. */
typedef struct GitRun {
    const char *git_dir;   /* NULL: none */
    const char *work_tree; /* NULL: none */
    const char *index;     /* NULL: the repository's */
    const char *config;    /* one more NAME=VALUE, or NULL */
    GitReach reach;
    int lock;           /* a descriptor that git and what it starts hold open; -1: none */
    const char *remote; /* for messages, and whose credentials are masked in them */
    Buf out;            /* its standard output */
    Buf err;            /* the end of its standard error, control characters replaced */
    bool exited_badly;  /* it ran and said no, as opposed to not having run */
} GitRun;

void git_run_done(GitRun *r);
static inline void scoped_git_run_done(GitRun *r)
{
    git_run_done(r);
}

/*
 * git_run - run git with these arguments (NULL at the end) and wait for it.
 *
 * The environment is built from nothing, so that no setting of the user or the system changes what
 * is fetched or written. `out` and `err` are replaced. Fails with ERR_NETWORK when git fails (its
 * last lines are in the message), ERR_ENV when there is no git, ERR_STEP when cancelled.
 */
NODISCARD bool git_run(GitRun *r, const char *const *args, Err *e);

/* ---- gitrepo.c ---- */

/* A remote's repository in the store, locked. */
typedef struct GitRepo {
    Store *store;
    const char *remote;
    char *root; /* absolute path of the store */
    char *dir;  /* of the repository's directory, relative to the store */
    char *path; /* of the bare repository, absolute */
    int lock;
    bool sha256; /* names objects by SHA-256 */
} GitRepo;

/* git_repo_open - wait for the lock and make the repository if there is none. */
NODISCARD bool git_repo_open(Store *s, Arena *a, const GitRef *r, const GitCommit *c, GitRepo *ret,
                             Err *e);
/* git_repo_fetch - have the commit in the repository, from the network if it is not there yet. */
NODISCARD bool git_repo_fetch(GitRepo *repo, Arena *a, const GitCommit *c, Err *e);
/*
 * git_repo_mend - after a failure: whether the repository was damaged, and is a new one now, so
 * that it is worth trying again. Sets `e` to a later failure, if any.
 */
NODISCARD bool git_repo_mend(GitRepo *repo, Arena *a, Err *e);
void git_repo_done(GitRepo *repo);
static inline void scoped_git_repo_done(GitRepo *repo)
{
    git_repo_done(repo);
}

#endif
