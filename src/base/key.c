/*
 * base/key.c - framed fields to one digest.
 */
#include "base/key.h"

static void field(KeyBuilder *k, const char *name, const void *value, size_t n)
{
    uint8_t head[12];
    size_t len = strlen(name);
    for (size_t i = 0; i < 4; i++)
        head[i] = (uint8_t)(len >> (8 * i));
    for (size_t i = 0; i < 8; i++)
        head[4 + i] = (uint8_t)((uint64_t)n >> (8 * i));
    hash_add(&k->hash, head, 4);
    hash_add(&k->hash, name, len);
    hash_add(&k->hash, head + 4, 8);
    hash_add(&k->hash, value, n);
}

void key_begin(KeyBuilder *k, const char *kind)
{
    *k = (KeyBuilder){.text = BUF_INIT};
    hash_init(&k->hash);
    key_text(k, "key", kind);
}

void key_text(KeyBuilder *k, const char *name, const char *value)
{
    field(k, name, value ? value : "", value ? strlen(value) : 0);
    buf_printf(&k->text, "%s=", name);
    for (const char *p = value ? value : ""; *p; p++)
        if (*p == '\n' || *p == '\\')
            buf_puts(&k->text, *p == '\n' ? "\\n" : "\\\\");
        else
            buf_putc(&k->text, *p);
    buf_putc(&k->text, '\n');
}

void key_digest(KeyBuilder *k, const char *name, const Digest *d)
{
    char text[DIGEST_TEXT_SIZE];
    digest_text(d, text);
    field(k, name, d->b, DIGEST_SIZE);
    buf_printf(&k->text, "%s=%s\n", name, text);
}

void key_list(KeyBuilder *k, const char *name, const StrList *l)
{
    char count[24];
    (void)snprintf(count, sizeof count, "%zu", l->n);
    key_text(k, name, count);
    for (size_t i = 0; i < l->n; i++)
        key_text(k, name, l->v[i]);
}

void key_end(KeyBuilder *k, Digest *ret)
{
    hash_end(&k->hash, ret);
}

void key_done(KeyBuilder *k)
{
    buf_done(&k->text);
}
