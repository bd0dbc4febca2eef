/*
 * go/h1.c - hashes of modules: "h1:" and the base64 of a SHA-256 over the lines of sha256sum(1).
 */
#include "go/h1.h"

#include "go/base64.h"

void h1_text(const Digest *d, char ret[static GO_H1_SIZE])
{
    scoped(buf) Buf b = BUF_INIT;
    buf_puts(&b, "h1:");
    base64_add(&b, d->b, sizeof d->b);
    memcpy(ret, b.ptr, GO_H1_SIZE);
}

void h1_add(Hasher *list, const Digest *file, Str name)
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(file, hex);
    hash_add(list, hex, DIGEST_HEX_SIZE - 1);
    hash_add(list, "  ", 2);
    hash_add(list, name.ptr, name.len);
    hash_add(list, "\n", 1);
}

bool go_h1_valid(const char *text)
{
    uint8_t bytes[DIGEST_SIZE];
    size_t n;
    return strlen(text) == GO_H1_SIZE - 1 && str_starts(text, "h1:") &&
           base64_read(str_c(text + 3), bytes, sizeof bytes, &n) && n == sizeof bytes;
}

void go_h1_of_mod(Str text, char ret[static GO_H1_SIZE])
{
    Hasher list;
    Digest d;
    digest_of(text.ptr, text.len, &d);
    hash_init(&list);
    h1_add(&list, &d, str_c("go.mod"));
    hash_end(&list, &d);
    h1_text(&d, ret);
}
