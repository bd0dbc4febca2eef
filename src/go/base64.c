/*
 * go/base64.c - bytes to base64 and back.
 */
#include "go/base64.h"

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_add(Buf *b, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    for (; n; p += 3, n = n > 3 ? n - 3 : 0) {
        uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
        buf_putc(b, DIGITS[v >> 18]);
        buf_putc(b, DIGITS[v >> 12 & 63]);
        buf_putc(b, n > 1 ? DIGITS[v >> 6 & 63] : '=');
        buf_putc(b, n > 2 ? DIGITS[v & 63] : '=');
    }
}

static int value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_read(Str text, void *out, size_t cap, size_t *ret_n)
{
    uint8_t *w = out;
    size_t pad = 0;
    if (text.len % 4)
        return false;
    while (pad < 2 && pad < text.len && text.ptr[text.len - 1 - pad] == '=')
        pad++;
    size_t n = text.len / 4 * 3 - pad;
    if (n > cap)
        return false;
    for (size_t i = 0; i < text.len - pad; i++) {
        int v = value(text.ptr[i]);
        if (v < 0)
            return false;
        size_t at = i / 4 * 3;
        switch (i % 4) { /* each digit ends one byte and begins the next */
        case 0:
            w[at] = (uint8_t)(v << 2);
            break;
        case 1:
            w[at] |= (uint8_t)(v >> 4);
            if (at + 1 < n)
                w[at + 1] = (uint8_t)(v << 4);
            break;
        case 2:
            w[at + 1] |= (uint8_t)(v >> 2);
            if (at + 2 < n)
                w[at + 2] = (uint8_t)(v << 6);
            break;
        default:
            w[at + 2] |= (uint8_t)v;
            break;
        }
    }
    *ret_n = n;
    return true;
}
