/*
 * context/pattern.h - one pattern of an ignore file, without its `!`. Private to context/.
 *
 * In: the pattern's text, trimmed and clean, then paths. Out: matches or not, each path taken as a
 * whole or with the directories above it. Paths are clean and relative, as in ignore.h.
 *
 * Used by: ignore.  Uses: regex.
 */
#ifndef CONTEXT_PATTERN_H
#define CONTEXT_PATTERN_H

#include "base/arena.h"
#include "base/defs.h"
#include "context/regex.h"

typedef enum PatternKind {
    PATTERN_EXACT,  /* equal to text */
    PATTERN_PREFIX, /* starts with text */
    PATTERN_SUFFIX, /* ends with text, or is text without its leading '/' */
    PATTERN_GLOB,   /* has one `*`: a start, perhaps `**` "/", the star, an end */
    PATTERN_REGEX,
} PatternKind;

/* Immutable once compiled: any number of threads may match against it. */
typedef struct Pattern {
    PatternKind kind;
    bool include;        /* was written with a `!` */
    uint32_t line;       /* where, for messages */
    const char *written; /* the line, without the white space around it */
    const char *text;    /* what to compare with; the first `len` bytes count */
    size_t len;
    Regex re; /* set for PATTERN_GLOB, where it is slower and says the same, and PATTERN_REGEX */
    struct {
        const char *tail;
        size_t nlead, ntail; /* the start is that of `text` */
        bool dirs;           /* directories may stand between start and star */
    } glob;
    /*
     * What a walker compares with a directory to see whether it may skip it: the pattern without a
     * last "/" and stars. `plain`: that has no wildcard. Source: fsutil's
     * patternWithoutTrailingGlob.
     */
    const char *stem;
    bool plain;
} Pattern;

/*
 * pattern_compile - prepare a pattern for matching.
 *
 *   text  borrowed for as long as the pattern lives
 *   ret   set on success, but for `include`, `line` and `written`, which are the caller's
 *
 * False, with ret untouched, when the pattern is malformed: for Go's filepath.Match or as the
 * regular expression that moby rewrites it to. Source: patternmatcher's Pattern.compile.
 */
NODISCARD bool pattern_compile(Arena *a, const char *text, Pattern *ret);

/* pattern_has - does the pattern match just this path, of `len` bytes? */
bool pattern_has(const Pattern *pt, const char *path, size_t len);
/* pattern_covers - does the pattern match the path or a directory above it? */
bool pattern_covers(const Pattern *pt, const char *path);
/* pattern_may_continue - can it match a path that continues `stem`, "" or ending in a slash? */
bool pattern_may_continue(const Pattern *pt, const char *stem, size_t len);

#endif
