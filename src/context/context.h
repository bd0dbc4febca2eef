/*
 * context/context.h - the door of the context room: the directory a build may copy from.
 *
 * In: a directory and its ignore file. Out: a View (tree/) that holds just the files a COPY may
 * see, read only where a COPY looks; or a list of all of them, for people who want to know.
 * Everything in it counts as owned by 0:0.
 *
 * What an ignore file leaves out is what BuildKit's walk over a context leaves out; ignore.h has
 * the rule. One difference: where BuildKit names a file and then, by another rule, sends it
 * without its content, ours has its content.
 *
 * Used by: steps, lint, cmd.  Uses: base, tree.
 */
#ifndef CONTEXT_CONTEXT_H
#define CONTEXT_CONTEXT_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "tree/tree.h"

typedef struct Context Context;

/*
 * context_open - open a context directory and read its ignore file.
 *
 *   dir         path of the directory
 *   dockerfile  path of the Dockerfile, NULL when it comes from elsewhere;
 * `<dockerfile>.dockerignore` beside it wins entirely over `.dockerignore` in the context's root
 *
 * The context lives in the arena, its descriptor until context_done. Fails with ERR_USAGE (no
 * directory) or ERR_DOCKERFILE (malformed pattern). Source: Dockerfile reference, ".dockerignore
 * file".
 */
NODISCARD bool context_open(Arena *a, const char *dir, const char *dockerfile, Context **ret,
                            Err *e);
/* context_open_with - the same with an ignore file of the caller's choice, which must be there. */
NODISCARD bool context_open_with(Arena *a, const char *dir, const char *ignore_file, Context **ret,
                                 Err *e);
/* context_open_all - a directory without any ignore file: what came from a repository or an archive
 * is there as a whole. */
NODISCARD bool context_open_all(Arena *a, const char *dir, Context **ret, Err *e);
void context_done(Context *c);
/* context_dir - the directory as an absolute path without links, in the arena; context_ignore_name
 * - its ignore file's name, "" when it has none. */
char *context_dir(const Context *c, Arena *a);
const char *context_ignore_name(const Context *c);
/* context_ignore_text - the ignore file's bytes; borrowed. */
Str context_ignore_text(const Context *c);
static inline void scoped_context_done(Context **c)
{
    context_done(*c);
}

/* context_view - the files that may be copied; borrowed from the context. Any thread may look. */
const View *context_view(const Context *c);

/*
 * context_keep - remember what was seen of the files, and what the last build saw.
 *
 *   path  of the index, relative to `dirfd`; both are borrowed until context_done
 *
 * A file whose stat data is as it was when the index was written is not opened again. Without this
 * nothing is remembered. Call it before anything is looked at.
 */
void context_keep(Context *c, int dirfd, const char *path);
/*
 * context_save - write the index if anything is new.
 *
 *   tmp      where it is made, on the same file system, relative to `dirfd`
 *   ret_new  whether there was no index before, and is one now
 *
 * Not made durable: an index that a power cut tore is none. Fails with ERR_STORE.
 */
NODISCARD bool context_save(Context *c, const char *tmp, bool *ret_new, Err *e);

/*
 * context_why_missing - why `path` cannot be copied, as a clause for a message: "excluded by
 * .dockerignore line 3" or "no such file or directory". In the arena.
 */
char *context_why_missing(const Context *c, Arena *a, const char *path);

/*
 * context_why - what becomes of `path` and which line says so: "sent: no pattern matches",
 * "excluded by .dockerignore line 3: `*.md`", "not there". In the arena; fails as a walk does.
 */
NODISCARD bool context_why(const Context *c, Arena *a, const char *path, char **ret, Err *e);

/*
 * context_match - would these patterns exclude this one path, by itself or by a directory above?
 *
 *   patterns  a list as it is, or NULL: then
 *   text      of an ignore file
 *
 * Nothing is read. Fails with ERR_DOCKERFILE (malformed pattern). Source: patternmatcher's
 * MatchesOrParentMatches; a walk may decide otherwise, see ignore.h.
 */
NODISCARD bool context_match(Arena *a, const StrList *patterns, const char *text, const char *path,
                             bool *ret_excluded, Err *e);

/* ---- filters ---- */

typedef struct ContextFilter ContextFilter;

/*
 * context_filter - patterns that choose below a directory that is copied.
 *
 *   include  what counts; an empty list: everything
 *   exclude  what does not count all the same; `!` brings back
 *
 * Patterns are those of an ignore file's lines, relative to the directory. The filter lives in the
 * arena until context_filter_done. Fails with ERR_DOCKERFILE (malformed pattern).
 * Source: Dockerfile reference, COPY --exclude and --parents.
 */
NODISCARD bool context_filter(Arena *a, const StrList *include, const StrList *exclude,
                              ContextFilter **ret, Err *e);
/* context_filter_of - the same as tree_select() takes it; borrowed. */
TreeFilter context_filter_of(const ContextFilter *f);
void context_filter_done(ContextFilter *f);
/*
 * context_unchanged - whether what a COPY source stands for is known to be what it was, so that
 * nothing needs to be listed.
 *
 *   f              NULL, or the filter below it
 *   ret            set when it is so: its selection_digest()
 *
 * False for anything but a directory. Fails as tree_select() does.
 */
NODISCARD bool context_unchanged(const Context *c, Arena *a, const char *source,
                                 const ContextFilter *f, Digest *ret, bool *ret_unchanged, Err *e);
/* context_forget - look at everything anew from here on: what was seen has changed. True: some of
 * it had been seen before that time (clock_ns). */
bool context_forget(const Context *c, uint64_t before_ns);
/* context_learn - what a source selects, for the next build's context_unchanged(). */
void context_learn(const Context *c, const ContextFilter *f, const char *source,
                   const Selection *sel);
static inline void scoped_filter_done(ContextFilter **f)
{
    context_filter_done(*f);
}

/* ---- the whole list ---- */

/* One thing that a COPY of everything would copy. */
typedef struct ContextEntry {
    Str path;      /* relative; a directory ends in '/'. Valid until the next step */
    uint64_t size; /* a file's bytes, when asked for; else 0 */
} ContextEntry;

typedef enum ContextSizes { CONTEXT_NAMES, CONTEXT_SIZES } ContextSizes;

typedef struct ContextWalk ContextWalk;

/*
 * context_walk_new - start to list a context, which must outlive the walk.
 *
 *   below  NULL, or a clean path: only it and what is below it is looked at
 */
ContextWalk *context_walk_new(const Context *c, const char *below, ContextSizes sizes);
void context_walk_free(ContextWalk *w);
static inline void scoped_walk_done(ContextWalk **w)
{
    context_walk_free(*w);
}

/*
 * context_walk_step - the next entry, in the order of the paths' bytes.
 *
 *   ret_any  false at the end
 *
 * An excluded directory in which something is included comes before that; sockets are left out, as
 * a COPY leaves them out. Nothing is opened that the ignore file closes. Fails with ERR_DOCKERFILE
 * on a directory that cannot be read, naming it; one that is excluded itself is passed over.
 */
NODISCARD bool context_walk_step(ContextWalk *w, ContextEntry *ret, bool *ret_any, Err *e);

#endif
