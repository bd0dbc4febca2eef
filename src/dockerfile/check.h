/*
 * dockerfile/check.h - which warnings are wanted. Private to the dockerfile room.
 */
#ifndef DOCKERFILE_CHECK_H
#define DOCKERFILE_CHECK_H

#include "dockerfile/dockerfile.h"

/* check_of - what the comments above an instruction ask for, or NULL. */
const DfCheck *check_of(Arena *a, const StrList *comments);

#endif
