/*
 * steps/goparts.h - what of a module cache lies under one command's root. Private to goparts.c and
 * gotaken.c.
 */
#ifndef STEPS_GOPARTS_H
#define STEPS_GOPARTS_H

#include "base/map.h"
#include "steps/gotexts.h"

/* What lies under the root of one version. */
typedef struct Part {
    const char *base; /* "cache/download/github.com/!burnt!sushi/toml/@v/v1.3.2" below the cache */
    size_t dir;       /* where its directory is among those that are watched */
    const GoText *mod, *info; /* NULL: go asks for it */
} Part;

/* What a file or directory that lies there belongs to. */
typedef enum Role { ROLE_MODULE, ROLE_MOD, ROLE_INFO, ROLE_LIST } Role;
typedef struct Lent {
    GoTree tree;
    Role role;
    size_t i; /* of the part, or of the list in `texts` */
} Lent;

struct GoParts {
    const char *cache; /* the module cache, relative to the root */
    bool download;     /* by `go mod download` */
    bool watched;      /* it is known what is opened */
    Digest place; /* what it is to be remembered of the command by, if that does something else */
    StrList made; /* directories on the way to it that are not below, relative to the root */
    Part *v;
    size_t n, cap;
    Map part_of; /* by base; only until the command runs */
    Lent *lent;
    size_t nlent, lent_cap;
    GoTrees trees;
    GoTexts texts;
    Digest texts_key;
};

#endif
