/*
 * dockerfile/lex.h - logical lines: continuations joined, comments gone, every byte's place
 * remembered.
 */
#ifndef DOCKERFILE_LEX_H
#define DOCKERFILE_LEX_H

#include "dockerfile/dockerfile.h"

/* One instruction's text. `pos[i]` is the file offset of text[i]. */
typedef struct LogicalLine {
    char *text;
    uint32_t *pos;
    size_t len, cap;
    uint32_t line, end_line; /* first and last physical line, from 1 */
    bool empty_continuation; /* a blank line stood inside */
} LogicalLine;

typedef struct Lexer {
    Arena *arena;
    const DfFile *file;
    size_t at;     /* offset of the next physical line */
    uint32_t line; /* number of the last physical line read */
    char escape;
    bool directives; /* still in the zone where parser directives may stand */
    unsigned seen;   /* directives met, one bit each */
    DfCheck check;
    uint32_t *starts; /* offset of each physical line's start */
    size_t nstart;
} Lexer;

void lex_init(Lexer *lx, Arena *a, const DfFile *file);
/* lex_next - the next logical line; *ret_got is false at the end of the file. */
NODISCARD bool lex_next(Lexer *lx, LogicalLine *ret, bool *ret_got, Err *e);
/* lex_span - the place of text[from..to) of a logical line. */
SrcSpan lex_span(const Lexer *lx, const LogicalLine *l, size_t from, size_t to);

#endif
