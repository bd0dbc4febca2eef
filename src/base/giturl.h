/*
 * base/giturl.h - texts that name git repositories.
 *
 * What ADD, contexts and named contexts may be given instead of a path. Nothing is asked of
 * anybody: see source/ for what a reference stands for.
 */
#ifndef BASE_GITURL_H
#define BASE_GITURL_H

#include "base/arena.h"
#include "base/err.h"

/* A setting that a reference may leave to its user. */
typedef enum GitChoice { GIT_UNSAID = 0, GIT_NO, GIT_YES } GitChoice;

/*
 * A git reference: what ADD, a named context or the main context can name instead of a path. Texts
 * are never NULL; they are empty where nothing was said.
 */
typedef struct GitRef {
    const char *remote;     /* what git is given: no fragment, no query; may hold credentials */
    const char *short_name; /* last part of the path, without ".git" */
    const char *ref;        /* branch, tag, full ref name or commit; "": the default branch */
    const char *subdir;     /* cleaned, no slash in front; "": the whole tree */
    const char *checksum;   /* hex digits the commit (or tag object) must start with */
    GitChoice keep_git_dir; /* unsaid: no */
    GitChoice submodules;   /* unsaid: yes */
    bool commit_times;      /* mtime=commit: every file has the time of the commit */
    bool fetch_by_commit;   /* `checksum` is the commit; `ref` is only its name */
    bool unencrypted;       /* git:// or http:// */
    bool like_path;         /* "github.com/...": also a path; docker takes it for contexts only */
} GitRef;

/*
 * git_ref_parse - tell git references from other texts, and take one apart.
 *
 * True without *ret_is_git: the text is no git reference (a path, an image, a plain URL). Fails
 * with ERR_DOCKERFILE for a git reference with a fragment or query that cannot be meant; a caller
 * that read it from the command line sets the kind to ERR_USAGE.
 * Source: BuildKit, frontend/dockerfile/dfgitutil and util/gitutil; URLs as Go's net/url has them.
 */
NODISCARD bool git_ref_parse(Arena *a, const char *text, bool *ret_is_git, GitRef *ret, Err *e);

/* git_masked - a remote as messages may show it: user and password of http(s) are "xxxxx", and so
 * is every other scheme's password. */
const char *git_masked(Arena *a, const char *remote);

/* git_scheme - "http", "https", "ssh" or "git" of a remote; "ssh" for user@host:path. */
const char *git_scheme(const char *remote);
/* git_is_id - 40 or 64 lower-case hex digits. */
bool git_is_id(const char *s);
/* http_url_is - whether a text is an address of the web; ask git_ref_parse() first. */
bool http_url_is(const char *text);

#endif
