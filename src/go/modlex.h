/*
 * go/modlex.h - the lines of a go.mod file, before anybody knows what they mean.
 */
#ifndef GO_MODLEX_H
#define GO_MODLEX_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* A statement, a line of a block, or what stands in front of a block's parenthesis. */
typedef struct ModLine {
    uint32_t line;  /* number, from 1 */
    uint32_t word;  /* index of the first in ModLines.words */
    uint32_t nword; /* at least one */
    uint32_t block; /* how many of the lines that follow are in its block */
    bool opens;     /* it opens a block */
    Str comment;    /* "//" and what follows, behind the words; empty for none */
} ModLine;

typedef struct ModLines {
    ModLine *v;
    size_t n, cap;
    Str *words; /* as written, quotes included */
    size_t nword, word_cap;
} ModLines;

/* mod_lex - fails with ERR_DOCKERFILE, "name:line: ..."; words point into `text`. */
NODISCARD bool mod_lex(Arena *a, const char *name, Str text, ModLines *ret, Err *e);

/*
 * mod_string - the text that a word stands for: itself, or what is between its double quotes.
 * In the arena; fails with ERR_DOCKERFILE.
 */
NODISCARD bool mod_string(Arena *a, Str word, const char **ret, Err *e);

#endif
