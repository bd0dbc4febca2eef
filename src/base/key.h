/*
 * base/key.h - a digest over named, length-framed fields, and the same fields as text.
 *
 * The encoding of one field is: u32 length of name, name, u64 length of value, value, all
 * little-endian; the first field is the kind of key with its format number. The text, one
 * "name=value" a line with `\n` and `\\` for line feeds and backslashes, is what `why` compares
 * later; it is not hashed.
 */
#ifndef BASE_KEY_H
#define BASE_KEY_H

#include "base/digest.h"
#include "base/str.h"

typedef struct KeyBuilder {
    Hasher hash;
    Buf text;
} KeyBuilder;

/* key_begin - start a key of this kind; the kind carries the format: "run 1". */
void key_begin(KeyBuilder *k, const char *kind);
void key_text(KeyBuilder *k, const char *name, const char *value);
void key_digest(KeyBuilder *k, const char *name, const Digest *d);
/* key_list - the number of strings and each of them. */
void key_list(KeyBuilder *k, const char *name, const StrList *l);
/* key_end - the digest; the text stays until key_done. */
void key_end(KeyBuilder *k, Digest *ret);
void key_done(KeyBuilder *k);
static inline void scoped_key_done(KeyBuilder *k)
{
    key_done(k);
}

#endif
