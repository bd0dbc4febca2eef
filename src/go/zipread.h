/*
 * go/zipread.h - the bytes of a zip's entries.
 */
#ifndef GO_ZIPREAD_H
#define GO_ZIPREAD_H

#include "base/digest.h"
#include "go/zipdir.h"

/* Reads the entries of one zip, one at a time, in any order. */
typedef struct ZipReader ZipReader;

/* zip_reader_new - `fd` is borrowed. */
ZipReader *zip_reader_new(int fd);
void zip_reader_free(ZipReader *r);
static inline void scoped_zip_reader_done(ZipReader **r)
{
    zip_reader_free(*r);
}

/*
 * zip_reader_entry - unpack one entry: exactly the bytes that its size and CRC promise.
 *
 *   sink        called with the bytes in pieces, in order; false ends the reading and sets `e`
 *   ret_digest  SHA-256 of them
 *
 * Fails with ERR_NETWORK, ERR_STORE or ERR_STEP (cancelled). A few entries' worth of memory is used
 * whatever the sizes are.
 */
NODISCARD bool zip_reader_entry(ZipReader *r, const ZipEntry *x,
                                bool (*sink)(void *arg, const void *bytes, size_t n, Err *e),
                                void *arg, Digest *ret_digest, Err *e);

#endif
