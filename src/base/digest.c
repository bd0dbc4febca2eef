/*
 * base/digest.c - SHA-256 by libcrypto, and its texts.
 */
#include "base/digest.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cancel.h"

void hash_init(Hasher *h)
{
    SHA256_Init(&h->ctx);
}

void hash_add(Hasher *h, const void *bytes, size_t n)
{
    SHA256_Update(&h->ctx, bytes, n);
}

void hash_end(Hasher *h, Digest *ret)
{
    SHA256_Final(ret->b, &h->ctx);
}

void digest_of(const void *bytes, size_t n, Digest *ret)
{
    Hasher h;
    hash_init(&h);
    hash_add(&h, bytes, n);
    hash_end(&h, ret);
}

bool digest_fd(int fd, Digest *ret, uint64_t *ret_size, Err *e)
{
    char block[64 << 10];
    uint64_t size = 0;
    Hasher h;
    hash_init(&h);
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, ERR_STORE, "read");
        if (n == 0)
            break;
        if (cancel_wanted())
            return err_set(e, ERR_STEP, "cancelled");
        hash_add(&h, block, (size_t)n);
        size += (uint64_t)n;
    }
    hash_end(&h, ret);
    if (ret_size)
        *ret_size = size;
    return true;
}

bool digest_eq(const Digest *a, const Digest *b)
{
    return !memcmp(a->b, b->b, DIGEST_SIZE);
}

bool digest_is_zero(const Digest *d)
{
    static const Digest ZERO;
    return digest_eq(d, &ZERO);
}

void digest_hex(const Digest *d, char out[static DIGEST_HEX_SIZE])
{
    static const char HEX[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        out[2 * i] = HEX[d->b[i] >> 4];
        out[2 * i + 1] = HEX[d->b[i] & 15];
    }
    out[2 * DIGEST_SIZE] = 0;
}

void digest_text(const Digest *d, char out[static DIGEST_TEXT_SIZE])
{
    memcpy(out, "sha256:", 7);
    digest_hex(d, out + 7);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool digest_parse(const char *text, Digest *ret)
{
    if (strncmp(text, "sha256:", 7) != 0 || strlen(text) != DIGEST_TEXT_SIZE - 1)
        return false;
    Digest d;
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        int hi = hex_value(text[7 + 2 * i]), lo = hex_value(text[8 + 2 * i]);
        if (hi < 0 || lo < 0)
            return false;
        d.b[i] = (uint8_t)(hi << 4 | lo);
    }
    *ret = d;
    return true;
}
