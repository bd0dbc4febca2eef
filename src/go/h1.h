/*
 * go/h1.h - the hash of a list of files, as it grows.
 */
#ifndef GO_H1_H
#define GO_H1_H

#include "base/digest.h"
#include "go/modfile.h"

/* h1_text - a SHA-256 as an h1. */
void h1_text(const Digest *d, char ret[static GO_H1_SIZE]);

/*
 * h1_add - one file more; files come in the bytewise order of their names, which hold no newline.
 * `list` is what the h1 is the hash of. Source: x/mod/sumdb/dirhash, Hash1.
 */
void h1_add(Hasher *list, const Digest *file, Str name);

#endif
