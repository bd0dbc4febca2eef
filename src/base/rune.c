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
#include <wchar.h>
#include <wctype.h>

static locale_t unicode;

static void load_unicode(void)
{
    unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static bool have_unicode(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_unicode);
    return unicode != NULL;
}

static bool in_class(uint32_t rune, int (*class)(wint_t, locale_t))
{
    return !have_unicode() || class((wint_t)rune, unicode);
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

unsigned rune_width(uint32_t rune)
{
    if (rune < 0x300)
        return 1;
    if (!have_unicode())
        return rune < 0x1100 ? 1 : 2; /* too much shifts a line, too little breaks it */
    locale_t before = uselocale(unicode);
    int width = wcwidth((wchar_t)rune);
    (void)uselocale(before);
    return width < 0 ? 1 : (unsigned)width;
}

/* ---- text to be shown ---- */

/*
 * How many bytes the escape sequence takes that begins the text with an ESC. Its end may be
 * missing. Source: ECMA-48, 5.3 and 5.4; xterm's ctlseqs for the strings.
 */
static size_t escape_len(const char *s, size_t n)
{
    size_t i = 2;
    if (n < 2)
        return n;
    if (s[1] == '[') {
        while (i < n && s[i] >= 0x20 && s[i] <= 0x3f)
            i++;
        return i < n && s[i] >= 0x40 && s[i] <= 0x7e ? i + 1 : i;
    }
    if (s[1] && strchr("]PX^_", s[1])) { /* up to BEL or ESC \\ */
        while (i < n && s[i] != '\a' && s[i] != 0x1b)
            i++;
        return i < n && s[i] == '\a' ? i + 1 : i + 1 < n && s[i + 1] == '\\' ? i + 2 : i;
    }
    i = 1;
    while (i < n && s[i] >= 0x20 && s[i] <= 0x2f)
        i++;
    return i < n && s[i] >= 0x30 && s[i] <= 0x7e ? i + 1 : i;
}

/* Control characters beyond ASCII are U+0080 to U+009F, or these as single bytes. */
static bool high_control(const char *s, size_t size, uint32_t rune)
{
    return (size == 1 && (unsigned char)*s >= 0x80 && (unsigned char)*s < 0xA0) ||
           (rune >= 0x80 && rune < 0xA0);
}

void buf_add_clean(Buf *b, const char *text, size_t n)
{
    const char *s = text, *end = text + n;
    while (s < end) {
        const char *start = s;
        uint32_t rune;
        while (s < end && ((unsigned char)*s >= 0x20 || *s == '\t') && (unsigned char)*s < 0x7f)
            s++;
        buf_add(b, start, (size_t)(s - start));
        if (s == end)
            break;
        if (*s == 0x1b) {
            s += escape_len(s, (size_t)(end - s));
            continue;
        }
        size_t size = utf8_rune_n(s, (size_t)(end - s), &rune);
        if ((unsigned char)*s >= 0x80 && !high_control(s, size, rune))
            buf_add(b, s, size);
        s += size;
    }
}

void buf_add_clean_lines(Buf *b, const char *text, size_t n)
{
    const char *end = text + n, *nl;
    for (; (nl = memchr(text, '\n', (size_t)(end - text))); text = nl + 1) {
        buf_add_clean(b, text, (size_t)(nl - text));
        buf_putc(b, '\n');
    }
    buf_add_clean(b, text, (size_t)(end - text));
}

/* ---- quoting ---- */

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
