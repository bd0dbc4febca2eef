/*
 * context/inside.h - what a Context is made of. Private to context/.
 */
#ifndef CONTEXT_INSIDE_H
#define CONTEXT_INSIDE_H

#include "context/context.h"
#include "context/dirs.h"
#include "context/ignore.h"
#include "context/known.h"

struct Context {
    int dirfd;
    const char *dir;
    const char *ignore_name; /* as messages call it */
    Str ignore_text;
    Ignore *ignore; /* NULL when there is none */
    Dirs *dirs;     /* of `ignore` */
    View view;
    Known known;
};

#endif
