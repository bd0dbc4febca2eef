/*
 * dockerfile/make.h - nodes to typed instructions. Private to the dockerfile room.
 */
#ifndef DOCKERFILE_MAKE_H
#define DOCKERFILE_MAKE_H

#include "dockerfile/dockerfile.h"

/* The instruction being made. */
typedef struct Maker {
    Arena *arena;
    DfFile *file;
    const DfNode *node;
    DfInstr *in;
    Err *e;
} Maker;

/* make_instr - read the node into `in`. Fails with ERR_DOCKERFILE, the place in front. */
NODISCARD bool make_instr(Maker *m);
/* make_flags - read the node's flags into `in`, whose kind is known. Fails likewise. */
NODISCARD bool make_flags(Maker *m);

#endif
