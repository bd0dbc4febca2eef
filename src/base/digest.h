/*
 * base/digest.h - SHA-256 names: "sha256:<64 hex>".
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <openssl/sha.h>

#include "base/defs.h"
#include "base/err.h"

enum { DIGEST_SIZE = 32, DIGEST_HEX_SIZE = 65, DIGEST_TEXT_SIZE = 72 };

typedef struct Digest {
    uint8_t b[DIGEST_SIZE];
} Digest;

/*
 * A running SHA-256. libcrypto's low-level functions, not EVP: the assembly is the same (SHA-NI),
 * and they need no provider to be fetched, which costs a millisecond in each process, nor the whole
 * library linked.
 */
typedef struct Hasher {
    SHA256_CTX ctx;
} Hasher;

void hash_init(Hasher *h);
void hash_add(Hasher *h, const void *bytes, size_t n);
void hash_end(Hasher *h, Digest *ret);
void digest_of(const void *bytes, size_t n, Digest *ret);
/* digest_fd - hash what is left of `fd` up to its end; `ret_size` (may be NULL) is set to the bytes
 * read. */
NODISCARD bool digest_fd(int fd, Digest *ret, uint64_t *ret_size, Err *e);

bool digest_eq(const Digest *a, const Digest *b);
bool digest_is_zero(const Digest *d);
/* digest_hex - 64 lower-case hex digits and a NUL. */
void digest_hex(const Digest *d, char out[static DIGEST_HEX_SIZE]);
/* digest_text - "sha256:" and the hex. */
void digest_text(const Digest *d, char out[static DIGEST_TEXT_SIZE]);
/* digest_parse - "sha256:<hex>", exactly. False for anything else (other algorithms included). */
NODISCARD bool digest_parse(const char *text, Digest *ret);

#endif
