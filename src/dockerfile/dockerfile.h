/*
 * dockerfile/dockerfile.h - the door of the Dockerfile room.
 *
 * In: the text of a Dockerfile. Out: a DfFile, the list of its instructions as typed values with
 * their place in the text, nothing expanded. It also owns the words of the language: df_expand
 * replaces variables in one word. It never touches a file system, an image or an environment of its
 * own.
 *
 * An instruction or flag that is part of the language and not carried out by lighter is refused
 * here, by name and place, so that no later room can forget it.
 *
 * Used by: plan, lint.  Uses: base.
 */
#ifndef DOCKERFILE_DOCKERFILE_H
#define DOCKERFILE_DOCKERFILE_H

#include "base/arena.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"

/* A Dockerfile over this size is refused. */
enum { DF_MAX_SIZE = 4 << 20 };

/* Where something stands in the text. Lines and columns count from 1, columns in bytes. */
typedef struct SrcSpan {
    uint32_t line, col;
    uint32_t end_line; /* the last line it reaches */
    uint32_t off, len; /* byte range in the file */
} SrcSpan;

typedef enum DfKind {
    DF_FROM,
    DF_ARG,
    DF_ENV,
    DF_LABEL,
    DF_RUN,
    DF_COPY,
    DF_WORKDIR,
    DF_CMD,
    DF_ENTRYPOINT,
    DF_EXPOSE,
    DF_USER,
} DfKind;

/* One word as written, quotes and variables included. */
typedef struct DfWord {
    const char *text;
    SrcSpan src;
} DfWord;

/* KEY=VALUE of ENV, LABEL and ARG. */
typedef struct DfPair {
    DfWord key;
    const char *value; /* NULL: ARG without a default */
    SrcSpan src;
} DfPair;

typedef struct DfFrom {
    DfWord image;
    const char *stage;    /* lower case, NULL when unnamed */
    const char *platform; /* as written, NULL when absent */
} DfFrom;

/* RUN, CMD, ENTRYPOINT: shell form has one argument, the whole text. */
typedef struct DfCommand {
    bool shell;
    StrList argv;
} DfCommand;

typedef struct DfCopy {
    const char *from; /* --from as written, NULL: the context */
    DfWord *sources;
    size_t nsource;
    DfWord dest;
} DfCopy;

typedef struct DfInstr {
    DfKind kind;
    const char *name; /* upper case */
    const char *text; /* the logical line: continuations joined, comments gone */
    SrcSpan src;
    union {
        DfFrom from;
        DfCommand command; /* RUN, CMD, ENTRYPOINT */
        DfCopy copy;
        struct {
            DfPair *v;
            size_t n;
        } pairs; /* ENV, LABEL, ARG */
        struct {
            DfWord *v;
            size_t n;
        } words; /* EXPOSE, and one word for USER and WORKDIR */
    } u;
} DfInstr;

/* What the check directive asks of warnings, which end in their rule's name: "... (UndefinedVar)".
 */
typedef struct DfCheck {
    StrList skip;
    bool skip_all, error; /* error: a warning that is not skipped fails the build */
} DfCheck;

typedef struct DfFile {
    const char *name; /* for messages: "Dockerfile" */
    Str text;
    char escape; /* '\\' or '`' */
    DfInstr *instrs;
    size_t ninstr;
    StrList warnings; /* "Dockerfile:3: ..." */
    DfCheck check;
} DfFile;

/*
 * df_parse - read a whole Dockerfile.
 *
 *   name  for messages; borrowed for the life of the arena
 *   text  borrowed for the life of the arena
 *
 * Fails with ERR_DOCKERFILE; the message begins "name:line:col:".
 * Source: Dockerfile reference; behaviour rows F1-F11 of features.md.
 */
NODISCARD bool df_parse(Arena *a, const char *name, Str text, DfFile *ret, Err *e);

/* df_err - set ERR_DOCKERFILE with "file:line:col: " before the message. Returns false. */
bool df_err(const DfFile *f, const SrcSpan *at, Err *e, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* df_excerpt - append the source lines of `at` with numbers and an arrow at its first line. */
void df_excerpt(const DfFile *f, const SrcSpan *at, Buf *out);

/* df_suggest - the entry of `names` closest to `word`, or NULL when none is near (a third of its
 * length). */
const char *df_suggest(const char *word, const char *const *names, size_t n);

/*
 * df_expand - process quotes, escapes and variables of one word.
 *
 *   env        NAME=VALUE list to look in
 *   escape     the file's escape character
 *   unset      may be NULL; names that were looked up and are not set are added
 *
 * Fails with ERR_DOCKERFILE (unclosed quote, bad substitution, ${x:?word}), without a place in
 * front. Source: Dockerfile reference, section "Environment replacement".
 */
NODISCARD bool df_expand(Arena *a, const char *word, const StrList *env, char escape, char **ret,
                         StrList *unset, Err *e);

/* df_expand_words - as df_expand, and splits the result at unquoted blanks (EXPOSE). */
NODISCARD bool df_expand_words(Arena *a, const char *word, const StrList *env, char escape,
                               StrList *ret, StrList *unset, Err *e);

#endif
