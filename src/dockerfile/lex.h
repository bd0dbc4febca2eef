/*
 * dockerfile/lex.h - logical lines: continuations joined, comments gone, every byte's place
 * remembered.
 */
#ifndef DOCKERFILE_LEX_H
#define DOCKERFILE_LEX_H

#include "dockerfile/dockerfile.h"

/* Where a part of a logical line comes from. */
typedef struct LineRun {
    uint32_t at;  /* where it begins in the text */
    uint32_t off; /* and in the file */
    uint32_t bol; /* where its physical line begins in the file */
    uint32_t line;
} LineRun;

/* One instruction's text. */
typedef struct LogicalLine {
    char *text;
    size_t len, cap;
    LineRun *runs; /* one a physical line, in their order */
    size_t nrun, run_cap;
    uint32_t line, end_line; /* first and last physical line, from 1 */
    uint32_t start, end;     /* byte range in the file, up to the end of the last line */
    uint32_t text_line;      /* the last physical line before here-documents */
    bool empty_continuation; /* a blank line stood inside */
    StrList comments;        /* right above it, without the `#` */
} LogicalLine;

typedef struct Lexer {
    Arena *arena;
    const DfFile *file;
    size_t at;     /* offset of the next physical line */
    size_t bol;    /* of the last one read */
    uint32_t line; /* number of the last physical line read */
    char escape;
    bool directives;  /* still in the zone where parser directives may stand */
    bool syntax_only; /* the file began with `#!` */
    unsigned seen;    /* directives met, one bit each */
    bool any_syntax;  /* a foreign frontend is no error */
    bool raw;         /* what directives ask for does not matter, but for the escape character */
    StrList warnings;
    DfCheck check;
    StrList comments;     /* since the last instruction */
    const SrcSpan *fixed; /* not NULL: where all of this text is said to be */
} Lexer;

void lex_init(Lexer *lx, Arena *a, const DfFile *file);
/* lex_next - the next logical line; *ret_got is false at the end of the file. */
NODISCARD bool lex_next(Lexer *lx, LogicalLine *ret, bool *ret_got, Err *e);
/*
 * lex_heredoc - read a here-document's body, which begins with the next physical line.
 * Sets doc->content and moves the end of `l`; false when the terminator never comes.
 */
bool lex_heredoc(Lexer *lx, LogicalLine *l, DfHeredoc *doc);
/* lex_span - the place of text[from..to) of a logical line. */
SrcSpan lex_span(const Lexer *lx, const LogicalLine *l, size_t from, size_t to);

#endif
