/*
 * unit/plainwalk.h - the reference's walk over a context, written as plainly as it reads: a loop
 * over all patterns for each path, with what is known of the directory above.
 *
 * Source: moby/patternmatcher, MatchesUsingParentResults; tonistiigi/fsutil, filterFS.Walk. How a
 * single pattern matches is ours; other tests look after that.
 */
#ifndef UNIT_PLAINWALK_H
#define UNIT_PLAINWALK_H

#include <stdlib.h>
#include <string.h>

#include "context/ignore.h"

/* What the walk knows of a directory: for each pattern, whether it matched. */
typedef struct PlainDir {
    bool *matched;
    bool excluded, skipped;
} PlainDir;

static inline bool plain_excludes(const Ignore *ig, const bool *up, const char *path,
                                  bool *ret_matched)
{
    bool excluded = false;
    for (size_t i = 0; i < ignore_count(ig); i++) {
        const Pattern *pt = ignore_pattern(ig, i);
        bool match = up[i];
        if (!match && pt->include == excluded)
            match = pattern_has(pt, path, strlen(path));
        ret_matched[i] = match;
        if (match)
            excluded = !pt->include;
    }
    return excluded;
}

/* Is an excluded directory left unread? */
static inline bool plain_skips(Arena *a, const Ignore *ig, const char *dir)
{
    bool any = false, wild = false;
    for (size_t i = 0; i < ignore_count(ig); i++) {
        const Pattern *pt = ignore_pattern(ig, i);
        any |= pt->include &&
               str_starts(arena_printf(a, "%s/", pt->stem), arena_printf(a, "%s/", dir));
        wild |= pt->include && !pt->plain;
    }
    return !wild && !any;
}

static inline PlainDir plain_top(Arena *a, const Ignore *ig)
{
    return (PlainDir){.matched = NEW_N(a, bool, ignore_count(ig) + 1)};
}

static inline PlainDir plain_enter(Arena *a, const Ignore *ig, const PlainDir *up, const char *dir)
{
    PlainDir d = plain_top(a, ig);
    d.excluded = plain_excludes(ig, up->matched, dir, d.matched) || up->skipped;
    d.skipped = up->skipped || (d.excluded && plain_skips(a, ig, dir));
    return d;
}

/*
 * Go down to `path` in both ways. Returns what is wrong, or NULL; *ret_hidden: does the plain walk
 * leave the path out?
 */
static inline const char *plain_compare(Arena *a, const Ignore *ig, const char *path,
                                        bool *ret_hidden, bool *ret_pruned)
{
    PlainDir plain = plain_top(a, ig);
    IgnoreState st = ignore_top(ig, NEW_N(a, uint64_t, ignore_words(ig) + 1));
    for (const char *p = path; (p = strchr(p, '/')); p++) {
        size_t len = (size_t)(p - path);
        uint64_t *bits = NEW_N(a, uint64_t, ignore_words(ig) + 1);
        bool decided = ignore_excludes(ig, ignore_decide(ig, &st, path, len));
        plain = plain_enter(a, ig, &plain, arena_strndup(a, path, len));
        st = ignore_enter(ig, &st, path, len, bits);
        if (st.excluded != (plain.excluded || st.prune) || decided != st.excluded)
            return "a directory is decided differently";
        if (plain.skipped && !st.prune)
            return "a directory is read that the reference skips";
    }
    bool *matched = NEW_N(a, bool, ignore_count(ig) + 1);
    *ret_hidden = plain.skipped || plain_excludes(ig, plain.matched, path, matched);
    *ret_pruned = st.prune;
    if (*ret_hidden != ignore_excludes(ig, ignore_decide(ig, &st, path, strlen(path))))
        return "a file is decided differently";
    return NULL;
}

#endif
