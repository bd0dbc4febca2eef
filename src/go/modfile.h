/*
 * go/modfile.h - go.mod, go.work and go.sum.
 *
 * Part of the door. The files are read by the grammar and checks of the go command, and no
 * further: nothing is asked of anybody, so a version must be written out (v1.2.3, no branch).
 */
#ifndef GO_MODFILE_H
#define GO_MODFILE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "go/module.h"

enum {
    GO_MOD_MAX = 16 << 20, /* bytes of a go.mod, as the go command limits it */
    GO_SUM_MAX = 64 << 20, /* bytes of a go.sum; the largest known are below 2 MB */
};

/* ---- go.mod and go.work ---- */

typedef struct GoRequire {
    GoModule mod;
    bool indirect; /* "// indirect" behind it */
    uint32_t line;
} GoRequire;

typedef struct GoReplace {
    GoModule old;  /* version "": whichever is chosen */
    GoModule with; /* version "": `path` is a directory */
    uint32_t line;
} GoReplace;

/* What a file says, in its order; in the arena. Texts that were not given are "". */
typedef struct GoModFile {
    const char *module;    /* path of the module; go.work has none */
    const char *go;        /* "1.22" */
    const char *toolchain; /* "go1.22.3" or "default" */
    GoRequire *requires;
    size_t nrequire, require_cap;
    GoReplace *replaces;
    size_t nreplace, replace_cap;
    GoModule *excludes;
    size_t nexclude, exclude_cap;
    StrList tools;    /* import paths */
    StrList ignores;  /* directories */
    StrList godebugs; /* key=value */
    StrList uses;     /* directories with modules; only go.work has them */
} GoModFile;

typedef enum GoModKind {
    GO_MOD_MAIN,       /* go.mod of the module that is built: every mistake counts */
    GO_MOD_DEPENDENCY, /* go.mod of another one: what is unknown or only for the main one is ignored
                        */
    GO_MOD_WORK,       /* go.work */
} GoModKind;

/*
 * go_mod_parse - read a go.mod or go.work file.
 *
 *   name  as messages show it; they begin with name:line:
 *   text  at most GO_MOD_MAX bytes
 *
 * `retract` is checked and dropped. Fails with ERR_DOCKERFILE at the first mistake.
 * Source: Go modules reference, "go.mod files" and "Workspaces"; x/mod/modfile.
 */
NODISCARD bool go_mod_parse(Arena *a, const char *name, Str text, GoModKind kind, GoModFile *ret,
                            Err *e);

typedef struct GoModuleList {
    GoModule *v;
    size_t n;
    bool whole; /* nothing else is downloaded */
} GoModuleList;

/*
 * go_mod_downloads - the modules whose zip a plain `go mod download` fetches, after `replace`.
 *
 * They are the require lines of a main module that says go 1.17 or newer. An older one needs the
 * graph of all go.mod files, and so does a line that is excluded: then the list is a part, and says
 * so. Source: Go, cmd/go/internal/modcmd, runDownload.
 */
void go_mod_downloads(Arena *a, const GoModFile *mod, GoModuleList *ret);

/* ---- go.sum ---- */

/* One line: the checksum of a module's zip, or of its go.mod alone. */
typedef struct GoSumLine {
    GoModule mod;
    bool gomod;
    const char *hash; /* "h1:..." in all files that are written today */
    uint32_t line;
} GoSumLine;

typedef struct GoSumFile {
    GoSumLine *v; /* by path, version, zip before go.mod, line */
    size_t n;
} GoSumFile;

typedef enum GoSumVerdict {
    GO_SUM_UNKNOWN, /* no line, or none with a kind of hash that we know */
    GO_SUM_MATCH,
    GO_SUM_MISMATCH, /* the file names another h1: the bytes must not be used */
} GoSumVerdict;

/*
 * go_sum_parse - read a go.sum or go.work.sum file of at most GO_SUM_MAX bytes.
 *
 *   name  as messages show it; they begin with name:line:
 *
 * Fails with ERR_DOCKERFILE for a line without three words.
 * Source: Go modules reference, "go.sum files"; Go, cmd/go/internal/modfetch, readGoSum.
 */
NODISCARD bool go_sum_parse(Arena *a, const char *name, Str text, GoSumFile *ret, Err *e);

/* go_sum_check - is `h1` what the file says of this module's zip, or of its go.mod? */
GoSumVerdict go_sum_check(const GoSumFile *sum, const GoModule *m, bool gomod, const char *h1);

/* go_sum_find - the first h1 of a module's zip, or of its go.mod; NULL when there is none. */
const char *go_sum_find(const GoSumFile *sum, const GoModule *m, bool gomod);

/* ---- h1 ---- */

/* "h1:", base64 of a SHA-256, and a NUL. */
enum { GO_H1_SIZE = 48 };

/* go_h1_valid - a text that is exactly an h1. */
bool go_h1_valid(const char *text);

/*
 * go_h1_of_mod - the h1 of a go.mod file. That of a zip is go_zip_hash()'s.
 * Source: x/mod/sumdb/dirhash, Hash1.
 */
void go_h1_of_mod(Str text, char ret[static GO_H1_SIZE]);

#endif
