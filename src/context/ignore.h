/*
 * context/ignore.h - which files of a context an ignore file leaves out. Private to context/.
 *
 * In: the text of a .dockerignore (or a list of patterns), then paths. Out: excluded or not, and
 * the pattern that says so; `!` in front of a pattern makes it include. Nothing here touches a file
 * system.
 *
 * There are two questions, and on rare patterns two answers. ignore_match asks about one path: the
 * last pattern that matches it *or a directory above it* decides. A walk asks directory by
 * directory, as BuildKit reads a context, and that is what a build sees:
 *
 *     IgnoreState top = ignore_top(ig, bits);
 *     for each entry `path` of a directory with state `up`:
 *         a directory:    IgnoreState st = ignore_enter(ig, &up, path, len, its own bits);
 *                         st.prune: leave it unread; st.excluded: read it, and let it exist if
 *                         something below does; else it exists
 *         anything else:  exists unless ignore_excludes(ig, ignore_decide(ig, &up, path, len))
 *
 * In a walk a pattern is tried only where it could change the answer so far, and what it matches
 * counts for everything below. So after `**` "/" `*.md`, `!docs` brings nothing back: when the walk
 * comes to docs nothing is excluded yet, and no file is called docs.
 *
 * Paths are relative to the context and clean: "a/b", no "./", no "..". The context itself, ".", is
 * never excluded.
 *
 * Used by: context, dirs, walk.  Uses: pattern.
 */
#ifndef CONTEXT_IGNORE_H
#define CONTEXT_IGNORE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "context/pattern.h"

/* Parsed patterns, in their order. Immutable: any number of threads may match against it. */
typedef struct Ignore Ignore;

/* The number of no pattern. */
#define IGNORE_NONE UINT32_MAX

/* What is known of one directory during a walk. */
typedef struct IgnoreState {
    bool excluded;
    bool prune;        /* excluded, and nothing below can be included again */
    uint32_t decider;  /* the pattern that decides, from 0; IGNORE_NONE when none matches */
    uint64_t *matched; /* a bit for each pattern: found to match this directory or one above */
} IgnoreState;

/*
 * ignore_parse - read the text of an ignore file.
 *
 *   text  UTF-8, with or without a byte order mark; lines end in LF or CR LF
 *   file  its name, for messages
 *   ret   set on success, in the arena; keeps nothing of `text`
 *
 * A '#' in the first column starts a comment. Other lines are trimmed, cleaned as paths and freed
 * of a leading '/'; blank ones are skipped. Fails with ERR_DOCKERFILE and "file:line: ..." for a
 * malformed pattern, a lone '!', a NUL byte or a line of 64 KiB and more.
 *
 * Source: github.com/moby/patternmatcher, ignorefile.ReadAll.
 */
NODISCARD bool ignore_parse(Arena *a, Str text, const char *file, Ignore **ret, Err *e);

/*
 * ignore_from_patterns - take a list of patterns; "line" n is then the n-th of the list, from 1.
 *
 * No comments and no leading '/' here. Fails with ERR_DOCKERFILE.
 * Source: patternmatcher.New. Its patterns become regular expressions, and so do ours, with all
 * that follows: besides `*`, `**`, `?`, `[...]` and `\x`, an unescaped `|`, `^` and `a{2}` in a
 * pattern with a wildcard mean what they mean in a Go regular expression, and `\d` is a digit.
 * `\p{...}` is refused.
 */
NODISCARD bool ignore_from_patterns(Arena *a, const StrList *patterns, Ignore **ret, Err *e);

/* ignore_count, ignore_pattern - the patterns, in their order from 0. */
size_t ignore_count(const Ignore *ig);
const Pattern *ignore_pattern(const Ignore *ig, size_t i);

/*
 * ignore_match - does a pattern speak of `path`, and does the last one that does exclude it?
 *
 *   ret_excluded  always set; false when no pattern matches
 *   ret_line      always set: the line of the deciding pattern, a `!` one included; 0 for none
 *
 * Returns whether a pattern matches. Source: patternmatcher's MatchesOrParentMatches.
 */
bool ignore_match(const Ignore *ig, const char *path, bool *ret_excluded, uint32_t *ret_line);

/* ignore_words - how many words of bits a state needs. */
size_t ignore_words(const Ignore *ig);

/* ignore_top - the state of the context itself. `bits` are the caller's, ignore_words of them. */
IgnoreState ignore_top(const Ignore *ig, uint64_t *bits);

/*
 * ignore_enter - what the patterns say of a directory.
 *
 *   up    the state of the directory it is in
 *   dir   its path, `len` bytes
 *   bits  the caller's, ignore_words of them, not those of `up`; the result keeps them
 *
 * Below a pruned directory everything is excluded by what excludes that one.
 * Source: patternmatcher's MatchesUsingParentResults; `prune`: github.com/tonistiigi/fsutil,
 * filterFS.Walk, whose way of not looking into a directory can be seen from outside (`!a/` `*`
 * "/" `**` brings back nothing below a/b).
 */
IgnoreState ignore_enter(const Ignore *ig, const IgnoreState *up, const char *dir, size_t len,
                         uint64_t *bits);

/* ignore_decide - the pattern that decides about a path in the directory of `up`. */
uint32_t ignore_decide(const Ignore *ig, const IgnoreState *up, const char *path, size_t len);
/* ignore_excludes - is a decision an exclusion? */
bool ignore_excludes(const Ignore *ig, uint32_t decider);
/* ignore_has_matched - was a pattern found to match the directory or one above? */
bool ignore_has_matched(const IgnoreState *st, uint32_t i);

#endif
