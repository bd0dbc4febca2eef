/*
 * base/rune.c - classes of code points.
 *
 * The tables are the C library's, in its locale-free UTF-8 form; where it has none, every code
 * point beyond ASCII counts as a printable letter.
 */
#include "base/rune.h"

#include <ctype.h>
#include <locale.h>
#include <pthread.h>
#include <wctype.h>

static locale_t unicode;

static void load_unicode(void)
{
    unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static bool in_class(uint32_t rune, int (*class)(wint_t, locale_t))
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_unicode);
    return !unicode || class((wint_t)rune, unicode);
}

bool rune_is_alnum(uint32_t rune)
{
    return rune < 0x80 ? isalnum((int)rune) != 0 : in_class(rune, iswalnum_l);
}

/* Blanks of other scripts, and marks that only steer: not printed although the C library would. */
static bool invisible(uint32_t rune)
{
    return rune == 0xA0 || rune == 0xAD || rune == 0x1680 || (rune >= 0x2000 && rune <= 0x200F) ||
           (rune >= 0x2028 && rune <= 0x202F) || (rune >= 0x205F && rune <= 0x206F) ||
           rune == 0x3000 || rune == 0xFEFF || (rune >= 0xFFF9 && rune <= 0xFFFB) ||
           (rune >= 0xE000 && rune <= 0xF8FF) || rune >= 0xE0000;
}

bool rune_is_print(uint32_t rune)
{
    if (rune < 0x80)
        return rune >= 0x20 && rune < 0x7F;
    return !invisible(rune) && in_class(rune, iswprint_l);
}

static void quote_ascii(Buf *b, char c)
{
    static const char SHORT[] = "\aa\bb\ff\nn\rr\tt\vv\\\\\"\"";
    for (size_t i = 0; SHORT[i]; i += 2)
        if (SHORT[i] == c) {
            buf_printf(b, "\\%c", SHORT[i + 1]);
            return;
        }
    if (rune_is_print((unsigned char)c))
        buf_putc(b, c);
    else
        buf_printf(b, "\\x%02x", (unsigned char)c);
}

void buf_quote(Buf *b, const char *s)
{
    uint32_t rune;
    buf_putc(b, '"');
    for (size_t n; (n = utf8_rune(s, &rune)) > 0; s += n) {
        if (n == 1 && rune == RUNE_BAD)
            buf_printf(b, "\\x%02x", (unsigned char)*s);
        else if (n == 1)
            quote_ascii(b, *s);
        else if (rune_is_print(rune))
            buf_add(b, s, n);
        else
            buf_printf(b, rune < 0x10000 ? "\\u%04x" : "\\U%08x", rune);
    }
    buf_putc(b, '"');
}

void buf_quote_list(Buf *b, const StrList *l)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            buf_putc(b, ' ');
        buf_quote(b, l->v[i]);
    }
    buf_putc(b, ']');
}

/* Whether text begins with a character that a terminal obeys; how many bytes the character takes.
 */
static bool steers(const char *p, size_t n, const char *keep, size_t *ret_len)
{
    char one[5] = {0};
    uint32_t rune;
    unsigned char c = (unsigned char)*p;
    *ret_len = 1;
    if (c < 0x80)
        return (c < 0x20 && (!c || !strchr(keep, c))) || c == 0x7F;
    memcpy(one, p, n < 4 ? n : 4);
    *ret_len = utf8_rune(one, &rune);
    if (*ret_len == 1) /* no UTF-8: what a terminal of one byte a character makes of it */
        rune = c;
    return rune >= 0x80 && rune < 0xA0;
}

void buf_shown(Buf *b, const char *text, size_t n, const char *keep)
{
    size_t from = 0;
    for (size_t i = 0, len; i < n; i += len)
        if (steers(text + i, n - i, keep, &len)) {
            buf_add(b, text + from, i - from);
            from = i + len;
        }
    buf_add(b, text + from, n - from);
}
