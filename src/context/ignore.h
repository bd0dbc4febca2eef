/*
 * context/ignore.h - which files of a context an ignore file leaves out. Private to context/.
 *
 * In: the text of a .dockerignore (or a list of patterns), then paths. Out: excluded or not, and
 * the line that says so. The last pattern that matches a path *or a directory above it* decides;
 * `!` in front of a pattern makes it include. Nothing here touches a file system.
 *
 * A walker asks directory by directory, so that no directory is matched twice:
 *
 *     IgnoreState top = ignore_enter(a, ig, NULL, ".");
 *     for each entry `path` of a directory with state `up`:
 *         a directory:    IgnoreState st = ignore_enter(a, ig, &up, path);
 *                         descend unless st.prune; list it unless st.excluded
 *         anything else:  ignore_match_in(ig, &up, path, &excluded, &line)
 *
 * Paths are relative to the context and clean: "a/b", no "./", no "..". The context itself, ".", is
 * never excluded.
 */
#ifndef CONTEXT_IGNORE_H
#define CONTEXT_IGNORE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* Parsed patterns, in their order. Immutable: any number of threads may match against it. */
typedef struct Ignore Ignore;

/* What is known of one directory during a walk. */
typedef struct IgnoreState {
    bool excluded;
    bool prune;        /* excluded, and nothing below can be included again */
    uint32_t line;     /* the deciding line, 0 when no pattern matches */
    uint64_t *matched; /* a bit for each pattern: it matches this directory or one above */
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

/*
 * ignore_match - does a pattern speak of `path`, and does the last one that does exclude it?
 *
 *   ret_excluded  always set; false when no pattern matches
 *   ret_line      always set: the line of the deciding pattern, a `!` one included; 0 for none
 *
 * Returns whether a pattern matches. Source: patternmatcher's MatchesOrParentMatches.
 */
bool ignore_match(const Ignore *ig, const char *path, bool *ret_excluded, uint32_t *ret_line);

/*
 * ignore_may_reinclude - could a `!` pattern bring back anything strictly below `dir`?
 *
 * False when none can, so that a walker may leave an excluded directory unread; where `dir` is
 * excluded, `!` patterns before the one that says so do not count. "." is the whole context.
 */
bool ignore_may_reinclude(const Ignore *ig, const char *dir);

/*
 * ignore_enter - what the patterns say of a directory.
 *
 *   parent  the state of the directory it is in; NULL: look at everything above as well
 *   dir     its path, "." for the context itself
 *
 * The result's bits live in the arena.
 */
IgnoreState ignore_enter(Arena *a, const Ignore *ig, const IgnoreState *parent, const char *dir);

/* ignore_match_in - as ignore_match, for a path directly inside the directory of `parent`. */
bool ignore_match_in(const Ignore *ig, const IgnoreState *parent, const char *path,
                     bool *ret_excluded, uint32_t *ret_line);

#endif
