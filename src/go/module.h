/*
 * go/module.h - names of modules: paths, versions, and how both stand in URLs and file names.
 *
 * Part of the door. The rules are those of the go command, so that what it takes is taken and what
 * it refuses is refused; none of these functions asks anybody.
 */
#ifndef GO_MODULE_H
#define GO_MODULE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* A module at a version, both in plain form (not escaped). Texts are borrowed. */
typedef struct GoModule {
    const char *path;    /* "github.com/BurntSushi/toml" */
    const char *version; /* "v1.3.2"; NULL or "" where none is meant */
} GoModule;

/* ---- paths ---- */

/*
 * go_path_check - is this a module path, as `require` and the go command take it?
 *
 * Fails with ERR_DOCKERFILE and the reason; a caller that has the path from elsewhere sets another
 * kind. Source: Go modules reference, "Module paths"; x/mod/module, CheckPath.
 */
NODISCARD bool go_path_check(const char *path, Err *e);
/* go_import_path_check - the same for the path of a package. Source: x/mod, CheckImportPath. */
NODISCARD bool go_import_path_check(const char *path, Err *e);
/* go_file_path_check - the same for a file's path in a module. Source: x/mod, CheckFilePath. */
NODISCARD bool go_file_path_check(Str path, Err *e);

/*
 * go_path_major - the end of a module path that names its major version.
 *
 *   ret_major  set to the "/v2" or, below gopkg.in, ".v1" that `path` ends with; else to ""
 *
 * False when the path ends like one and is none ("/v1", "/v2.1", "/v02").
 * Source: x/mod/module, SplitPathVersion.
 */
NODISCARD bool go_path_major(const char *path, const char **ret_major);

/*
 * go_path_private - does one of the comma-separated patterns match the first elements of `path`?
 *
 * How GOPRIVATE, GONOPROXY, GONOSUMDB and GOINSECURE are read: each pattern is a glob over as many
 * elements as it has itself; empty and malformed ones match nothing.
 * Source: `go help private`; x/mod/module, MatchPrefixPatterns.
 */
bool go_path_private(const char *patterns, const char *path);

/*
 * go_path_escape, go_path_unescape - a module path to the form it has in URLs and in the module
 * cache ("!" and a small letter for each capital), and back. Results are in the arena.
 *
 * Fail with ERR_DOCKERFILE for what is no module path; a path that should be escaped and is not
 * fails too, because a store without case would mix two modules up.
 * Source: Go modules reference, "GOPROXY protocol"; x/mod/module, EscapePath and UnescapePath.
 */
NODISCARD bool go_path_escape(Arena *a, const char *path, const char **ret, Err *e);
NODISCARD bool go_path_unescape(Arena *a, Str escaped, const char **ret, Err *e);
/*
 * go_version_escape, go_version_unescape - the same for versions, which may be names of branches
 * and must then be names of files. Source: x/mod/module, EscapeVersion and UnescapeVersion.
 */
NODISCARD bool go_version_escape(Arena *a, const char *version, const char **ret, Err *e);
NODISCARD bool go_version_unescape(Arena *a, Str escaped, const char **ret, Err *e);

/*
 * go_module_check - a valid path, a valid version, and one that belongs to the other.
 *
 * Fails with ERR_DOCKERFILE. Source: x/mod/module, Check.
 */
NODISCARD bool go_module_check(const GoModule *m, Err *e);

/* ---- versions of modules ---- */

/* go_version_valid - a semantic version with its "v"; "v1" and "v1.2" are short for zeros. */
bool go_version_valid(const char *v);
/*
 * go_version_compare - below, equal to or above 0 as `v` is older than, as old as or newer than
 * `w`. Build metadata does not count; what is no version is older than all that are. Source:
 * semver.org 2.0.0, section 11; x/mod/semver, Compare.
 */
int go_version_compare(const char *v, const char *w);
/*
 * go_version_canonical - "v1" as "v1.0.0", without build metadata but for "+incompatible"; in the
 * arena. NULL when `v` is no version. Source: x/mod/module, CanonicalVersion.
 */
const char *go_version_canonical(Arena *a, const char *v);
/* go_version_is_canonical - whether go_version_canonical() would return the same text. */
bool go_version_is_canonical(const char *v);
/* go_version_is_pseudo - one made of a commit's time and hash. Source: x/mod/module. */
bool go_version_is_pseudo(const char *v);
/* go_version_is_incompatible - a version that ends with "+incompatible". */
bool go_version_is_incompatible(const char *v);
/*
 * go_version_fits - may a module whose path ends with `major` (see go_path_major) have this
 * version? Source: x/mod/module, CheckPathMajor.
 */
bool go_version_fits(const char *v, const char *major);

/* ---- versions of Go itself, without "go": "1.22", "1.21rc2", "1.23.4" ---- */

/* go_release_valid - a version of Go. */
bool go_release_valid(const char *v);
/*
 * go_release_compare - as go_version_compare(), for versions of Go: 1.21 < 1.21rc1 < 1.21.0.
 * Source: Go's internal/gover, Compare.
 */
int go_release_compare(const char *v, const char *w);

#endif
