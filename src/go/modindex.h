/*
 * go/modindex.h - the indexes of sources that go keeps in its GOCACHE, and whether one is right.
 *
 * Part of the door. An index says of each file of a module or package what stands before its first
 * declaration. A module of the module cache has one that is named by where the module lies, and by
 * nothing in it; a package of GOROOT has one that is named by names, sizes and times of its files.
 * Whoever hands such an index to another build must know that the files are the same.
 *
 * Source: Go 1.20 and later, cmd/go/internal/modindex, format "go index v2".
 */
#ifndef GO_MODINDEX_H
#define GO_MODINDEX_H

#include <time.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/str.h"

/* A text of a source file, and where it begins there. */
typedef struct GoIndexText {
    Str text;
    uint32_t offset;
} GoIndexText;

typedef struct GoIndexTexts {
    GoIndexText *v;
    size_t n;
} GoIndexTexts;

/* What is said of one file; texts are those of the index. */
typedef struct GoIndexFile {
    Str name, package;
    Str constraint;    /* its //go:build line */
    Str cgo;           /* its #cgo lines */
    bool odd;          /* it could not be read, or has no sources: nothing to compare */
    GoIndexTexts plus; /* its +build lines, without offsets */
    GoIndexTexts imports, embeds, directives;
} GoIndexFile;

typedef struct GoIndexPackage {
    Str dir;  /* relative to the module's root; "" is the root itself */
    bool odd; /* it could not be read */
    GoIndexFile *files;
    size_t nfile;
} GoIndexPackage;

typedef struct GoIndex {
    GoIndexPackage *packages;
    size_t npackage;
} GoIndex;

/*
 * go_index_parse - decode an index. False for what is none of this format, or hurt.
 *
 *   bytes  borrowed by the result
 */
NODISCARD bool go_index_parse(Arena *a, Str bytes, GoIndex *ret);

/* go_index_lists - whether an index says anything of files with such a name. */
bool go_index_lists(const char *name);

/*
 * go_index_right - whether what an index says of a file is what its source says. False also where
 * it is not known: what go parses more thoroughly is not guessed.
 */
bool go_index_right(const GoIndexFile *f, Str source);

/*
 * go_index_of_module - whether an index is that of the module whose files lie here: of the same
 * directories and files, each go_index_right(). False also where something cannot be read.
 *
 *   dirfd  of the module's root
 */
bool go_index_of_module(const GoIndex *x, int dirfd);

/*
 * go_index_module_id - the action an index of a module has.
 *
 *   version  of Go, the first line of GOROOT/VERSION
 *   root     where the module lies, absolute
 */
void go_index_module_id(const char *version, const char *root, Digest *ret);

/* A file of a package, with what its index is named by. */
typedef struct GoIndexStat {
    const char *name;
    struct timespec mtime;
    uint64_t size;
} GoIndexStat;

/*
 * go_index_package_id - the action an index of a package has.
 *
 *   root   of the module, or GOROOT/src
 *   dir    of the package, absolute
 *   files  all that is no directory, by name
 */
void go_index_package_id(const char *version, const char *root, const char *dir,
                         const GoIndexStat *files, size_t n, Digest *ret);

#endif
