/*
 * dockerfile/dockerfile.h - the door of the Dockerfile room.
 *
 * In: the text of a Dockerfile. Out: a DfFile, the list of its instructions as typed values with
 * their place in the text, nothing expanded. It also owns the words of the language: df_expand
 * replaces variables in one word. It never touches a file system, an image or an environment of its
 * own.
 *
 * Reading has two levels, as in BuildKit. Nodes are what any text gives: names, flags, arguments
 * and here-documents with their places, whether they mean anything or not. Instructions are nodes
 * that mean something; a flag or a form that is part of the language and not carried out by lighter
 * is refused here, by name and place, so that no later room can forget it.
 *
 * Used by: plan, lint, cmd.  Uses: base.
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

/* One word as written, quotes and variables included. */
typedef struct DfWord {
    const char *text;
    SrcSpan src;
} DfWord;

typedef struct DfWords {
    DfWord *v;
    size_t n, cap;
} DfWords;

typedef struct DfHeredoc {
    const char *name;
    const char *content; /* as written, leading tabs included */
    uint64_t fd;
    bool expand; /* no part of the name was quoted */
    bool chomp;  /* `<<-` */
} DfHeredoc;

/* ---- nodes ---- */

typedef struct DfNode {
    const char *name; /* as written */
    const char *text; /* the logical line: continuations joined, comments gone */
    SrcSpan src;      /* the instruction, here-documents excluded */
    SrcSpan name_src;
    SrcSpan whole;        /* up to the end of its last line, here-documents included */
    DfWords flags;        /* "--name=value", quotes removed */
    DfWords args;         /* ENV and LABEL: name, value and "=" or "" in turn */
    bool json;            /* the arguments were a JSON array */
    struct DfNode *child; /* ONBUILD: its instruction */
    DfHeredoc *heredocs;
    size_t nheredoc, heredoc_cap;
    StrList comments; /* right above it, without the `#` */
} DfNode;

typedef struct DfNodes {
    DfNode *v;
    size_t n, cap;
    char escape;
} DfNodes;

/* ---- instructions ---- */

typedef enum DfKind {
    DF_FROM,
    DF_ARG,
    DF_ENV,
    DF_LABEL,
    DF_RUN,
    DF_COPY,
    DF_ADD,
    DF_WORKDIR,
    DF_CMD,
    DF_ENTRYPOINT,
    DF_EXPOSE,
    DF_USER,
    DF_VOLUME,
    DF_STOPSIGNAL,
    DF_SHELL,
    DF_HEALTHCHECK,
    DF_ONBUILD,
    DF_MAINTAINER,
} DfKind;

/* KEY=VALUE of ENV, LABEL and ARG. */
typedef struct DfPair {
    DfWord key;
    const char *value; /* NULL: ARG without a default */
    SrcSpan src;
} DfPair;

typedef enum DfBool { DF_UNSET, DF_FALSE, DF_TRUE } DfBool;

typedef struct DfFrom {
    DfWord image;
    const char *stage;    /* lower case, NULL when unnamed */
    const char *platform; /* as written, NULL when absent */
} DfFrom;

/* RUN, CMD, ENTRYPOINT: shell form has one argument, the whole text. */
typedef struct DfCommand {
    bool shell;
    StrList argv;
    /* RUN only */
    DfWords mounts; /* --mount values, to be read by df_mount() when variables are known */
    const char *network, *security; /* checked; NULL when absent */
    bool heredoc;       /* the whole command is one here-document: argv holds its body */
    const char *script; /* and the body begins with "#!": the file's name, to be executed */
} DfCommand;

/* A file written in the Dockerfile itself. */
typedef struct DfInline {
    const char *name, *content; /* content: tabs of `<<-` removed */
    bool expand;
    SrcSpan src;
} DfInline;

/* COPY and ADD. Strings are as written, NULL when absent. */
typedef struct DfCopy {
    const char *from;
    const char *chown, *chmod, *checksum;
    DfBool link, parents, keep_git_dir, unpack;
    DfWords excludes;
    DfWord *sources;
    size_t nsource;
    DfInline *inlines; /* copied after the sources */
    size_t ninline;
    DfWord dest;
} DfCopy;

typedef struct DfHealth {
    StrList test;                                            /* NONE, CMD or CMD-SHELL in front */
    int64_t interval, timeout, start_period, start_interval; /* nanoseconds, 0: not given */
    uint32_t retries;
    struct {
        const char *interval, *timeout, *start_period, *start_interval, *retries;
    } flags; /* as written, NULL when absent */
} DfHealth;

/* What a check directive asks of warnings, which end in their rule's name: "... (UndefinedVar)". */
typedef struct DfCheck {
    StrList skip;
    bool skip_all, error; /* error: a warning that is not skipped fails the build */
} DfCheck;

typedef struct DfInstr {
    DfKind kind;
    const char *name; /* upper case */
    const char *text; /* the logical line: continuations joined, comments gone */
    SrcSpan src;
    const struct DfCheck *check; /* asked for by a comment right above it; NULL when none */
    bool onbuild;                /* it is a trigger of the base; src is the FROM line's */
    union {
        DfFrom from;
        DfCommand command; /* RUN, CMD, ENTRYPOINT */
        DfCopy copy;       /* COPY, ADD */
        DfHealth health;
        struct {
            DfPair *v;
            size_t n;
            bool legacy;     /* NAME and the rest of the line */
        } pairs;             /* ENV, LABEL, ARG */
        DfWords words;       /* EXPOSE, VOLUME, SHELL, and one word for the others */
        const char *trigger; /* ONBUILD: the instruction's text, here-documents included */
    } u;
} DfInstr;

typedef struct DfFile {
    const char *name; /* for messages: "Dockerfile" */
    Str text;
    char escape; /* '\\' or '`' */
    DfInstr *instrs;
    size_t ninstr;
    StrList warnings; /* "Dockerfile:3: ..." */
    DfCheck check;
} DfFile;

/* df_parse: a `syntax` directive that names a foreign frontend is no error. */
enum { DF_ANY_SYNTAX = 1 << 0 };

/*
 * df_parse - read a whole Dockerfile.
 *
 *   name   for messages; borrowed for the life of the arena
 *   text   borrowed for the life of the arena
 *   flags  DF_ANY_SYNTAX or 0
 *
 * Fails with ERR_DOCKERFILE; the message holds one "name:line:col: ..." and the lines it means for
 * each instruction that is wrong, in their order. Source: Dockerfile reference; behaviour rows
 * F1-F11 of features.md.
 */
NODISCARD bool df_parse(Arena *a, const char *name, Str text, unsigned flags, DfFile *ret, Err *e);

/*
 * df_parse_trigger - read one ONBUILD trigger of a base image.
 *
 *   file  the Dockerfile whose FROM line fires it; messages and spans name `at` in it
 *
 * Fails with ERR_DOCKERFILE.
 */
NODISCARD bool df_parse_trigger(Arena *a, const DfFile *file, const SrcSpan *at,
                                const char *trigger, DfInstr *ret, Err *e);

/*
 * df_nodes - read a Dockerfile as far as its text goes, without asking what instructions mean.
 * Fails as df_parse(). Source: BuildKit, frontend/dockerfile/parser.
 */
NODISCARD bool df_nodes(Arena *a, const char *name, Str text, DfNodes *ret, Err *e);

/* df_dump - append the S-expression that BuildKit's parser prints: one line an instruction. */
void df_dump(const DfNodes *nodes, Buf *out);

/*
 * df_json - append a JSON array with all that nodes hold. The spans `before`, `whole` and `after`
 * of all instructions, in their order, cover every byte of the text once.
 */
void df_json(const DfNodes *nodes, size_t text_len, Buf *out);

/* df_err - set ERR_DOCKERFILE with "file:line:col: " before the message and the lines meant behind
 * it. Returns false. */
bool df_err(const DfFile *f, const SrcSpan *at, Err *e, const char *fmt, ...) PRINTF_LIKE(4, 5);

/*
 * df_check - read the text of a check directive, "skip=A,B;error=true", as the directive and the
 * build argument BUILDKIT_DOCKERFILE_CHECK have it. Fails with ERR_DOCKERFILE, without a place.
 */
NODISCARD bool df_check(Arena *a, const char *text, DfCheck *ret, Err *e);

/* df_warn - append "file:line: text (rule)" to `out`, if no comment above `in` skips the rule. */
void df_warn(Arena *a, const DfFile *f, const DfInstr *in, const char *rule, StrList *out,
             const char *fmt, ...) PRINTF_LIKE(6, 7);

/* df_excerpt - append the source lines of `at` with numbers and an arrow at its first line. */
void df_excerpt(const DfFile *f, const SrcSpan *at, Buf *out);

/* df_suggest - the entry of `names` closest to `word`, the first of equals; NULL when none is near
 * (two letters) or `word` is one of them. */
const char *df_suggest(const char *word, const char *const *names, size_t n);

/* ---- words ---- */

/* Departures from how a word of an instruction is read. */
enum {
    DF_KEEP_QUOTES = 1 << 0,  /* quotes stay in the result */
    DF_KEEP_ESCAPES = 1 << 1, /* so do escape characters */
    DF_NO_QUOTES = 1 << 2,    /* quotes are characters like any other (here-documents) */
    DF_KEEP_UNSET = 1 << 3,   /* what names an unset variable stays as written */
};

/* What words are read with. */
typedef struct DfScope {
    const StrList *env;       /* NAME=VALUE */
    char escape;              /* the file's escape character */
    unsigned flags;           /* DF_KEEP_QUOTES... */
    StrList *matched, *unset; /* may be NULL; names that were looked up, each once */
    Arena *arena;
} DfScope;

/*
 * df_expand - process quotes, escapes and variables of one word.
 *
 * Fails with ERR_DOCKERFILE (unclosed quote, bad substitution, ${x:?word}), without a place in
 * front. Source: Dockerfile reference, section "Environment replacement".
 */
NODISCARD bool df_expand(const DfScope *s, const char *word, char **ret, Err *e);

/* df_expand_words - as df_expand, and splits the result at unquoted blanks (EXPOSE). */
NODISCARD bool df_expand_words(const DfScope *s, const char *word, StrList *ret, Err *e);

/* df_heredoc_word - whether an argument is a here-document's mark, "<<EOF"; *ret without content.
 */
bool df_heredoc_word(Arena *a, const char *word, DfHeredoc *ret);

/* ---- mounts ---- */

typedef enum DfMountType {
    DF_MOUNT_BIND,
    DF_MOUNT_CACHE,
    DF_MOUNT_TMPFS,
    DF_MOUNT_SECRET,
    DF_MOUNT_SSH,
} DfMountType;

typedef enum DfSharing { DF_SHARED, DF_PRIVATE, DF_LOCKED } DfSharing;

/* RUN --mount. Strings are NULL when absent. */
typedef struct DfMount {
    DfMountType type;
    const char *from, *source, *target, *id;
    const char *env; /* secret: the variable's name */
    bool readonly, required;
    uint64_t size; /* tmpfs: bytes, 0 for the default */
    DfSharing sharing;
    bool sharing_set;
    bool has_mode, has_uid, has_gid;
    uint32_t mode, uid, gid;
} DfMount;

/*
 * df_mount - read one --mount value.
 *
 *   s  what its values are expanded with; NULL: nothing is expanded, and only what does not depend
 *      on variables is checked and set (type when it is plain, from)
 *
 * Fails with ERR_DOCKERFILE, without a place in front. Source: Dockerfile reference, "RUN --mount".
 */
NODISCARD bool df_mount(Arena *a, const char *text, const DfScope *s, DfMount *ret, Err *e);

#endif
