/*
 * dockerfile/node.h - logical lines to nodes.
 */
#ifndef DOCKERFILE_NODE_H
#define DOCKERFILE_NODE_H

#include "dockerfile/lex.h"

/* A node, and what was wrong with its text. */
typedef struct NodeRead {
    DfNode node;
    bool ok; /* false: `why` at `at` */
    SrcSpan at;
    Err why;
} NodeRead;

/*
 * node_next - read the next instruction's node, its here-documents included; *ret_got is false at
 * the end of the file. A node that is wrong in itself is a success with ret->ok false, so that
 * reading can go on; fails only where it cannot.
 */
NODISCARD bool node_next(Lexer *lx, LogicalLine *line, NodeRead *ret, bool *ret_got, Err *e);

#endif
