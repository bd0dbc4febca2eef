/*
 * base/rune.h - classes of code points, text that is safe to show, and strings as Go quotes them.
 */
#ifndef BASE_RUNE_H
#define BASE_RUNE_H

#include "base/str.h"

/* rune_is_alnum - letters and digits of all scripts. */
bool rune_is_alnum(uint32_t rune);
/* rune_is_print - what Go's strconv.IsPrint lets stand: no control and no blank but ' '. */
bool rune_is_print(uint32_t rune);

/* rune_width - how many columns of a terminal it takes: 0 (a mark on what is before it), 1 or 2. */
unsigned rune_width(uint32_t rune);

/*
 * buf_add_clean - append text of strangers without what would steer the reader's terminal: escape
 * sequences, control bytes but for tabs, and the control characters beyond ASCII. Other bytes that
 * are not UTF-8 are kept.
 */
void buf_add_clean(Buf *b, const char *text, size_t n);
/* buf_add_clean_lines - the same for text of several lines: newlines are kept too. */
void buf_add_clean_lines(Buf *b, const char *text, size_t n);

/* buf_quote - append `s` in double quotes, with escapes. Source: Go, strconv.Quote. */
void buf_quote(Buf *b, const char *s);
/* buf_quote_list - append ["a" "b"]. Source: Go, fmt's %q of a slice. */
void buf_quote_list(Buf *b, const StrList *l);

#endif
