/*
 * base/rune.h - classes of code points, and strings quoted as Go quotes them.
 */
#ifndef BASE_RUNE_H
#define BASE_RUNE_H

#include "base/str.h"

/* rune_is_alnum - letters and digits of all scripts. */
bool rune_is_alnum(uint32_t rune);
/* rune_is_print - what Go's strconv.IsPrint lets stand: no control and no blank but ' '. */
bool rune_is_print(uint32_t rune);

/* buf_quote - append `s` in double quotes, with escapes. Source: Go, strconv.Quote. */
void buf_quote(Buf *b, const char *s);
/* buf_quote_list - append ["a" "b"]. Source: Go, fmt's %q of a slice. */
void buf_quote_list(Buf *b, const StrList *l);

/*
 * buf_shown - append text of somebody else's for a terminal to show.
 *
 *   keep  control characters that are wanted, such as "\t\n"
 *
 * Other control characters are left out, those of C1 (U+0080 to U+009F, which terminals obey in
 * UTF-8 as well) among them: a Dockerfile, a name or a step's output steers no terminal.
 */
void buf_shown(Buf *b, const char *text, size_t n, const char *keep);

#endif
