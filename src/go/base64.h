/*
 * go/base64.h - base64 with its padding, as hashes and signatures of the Go world are written.
 */
#ifndef GO_BASE64_H
#define GO_BASE64_H

#include "base/str.h"

/* base64_add - append the text of `n` bytes. Source: RFC 4648, section 4. */
void base64_add(Buf *b, const void *bytes, size_t n);

/*
 * base64_read - the bytes of a text, at most `cap` of them.
 *
 * False for other characters, a wrong length or padding, and for more than `cap` bytes. Bits that
 * the padding leaves over may be anything, as Go reads them.
 */
NODISCARD bool base64_read(Str text, void *out, size_t cap, size_t *ret_n);

#endif
