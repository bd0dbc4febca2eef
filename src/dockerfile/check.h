/*
 * dockerfile/check.h - which warnings are wanted. Private to the dockerfile room.
 */
#ifndef DOCKERFILE_CHECK_H
#define DOCKERFILE_CHECK_H

#include "dockerfile/dockerfile.h"

/* go_bool - the words Go's strconv.ParseBool takes; false when it is none of them. */
bool go_bool(const char *s, bool *ret);

/* check_of - what the comments above an instruction ask for, or NULL. */
const DfCheck *check_of(Arena *a, const StrList *comments);

#endif
