/*
 * go/unicode.h - code points as Go's own tables have them.
 *
 * What a module path, a file in a module or a word of go.mod may be made of, and which two names
 * are equal but for case, is what the go command says; the C library's tables are of another
 * version of Unicode.
 */
#ifndef GO_UNICODE_H
#define GO_UNICODE_H

#include "base/str.h"

/* go_rune_is_letter - Go's unicode.IsLetter. */
bool go_rune_is_letter(uint32_t rune);
/* go_rune_is_print - Go's unicode.IsPrint: graphic, and no blank but U+0020. */
bool go_rune_is_print(uint32_t rune);
/*
 * go_rune_fold - one code point for all that are equal but for case: two strings are equal in the
 * sense of Go's strings.EqualFold when all theirs fold to the same.
 */
uint32_t go_rune_fold(uint32_t rune);
/*
 * go_rune_at - the code point at `p`, before `end`, and how many bytes it takes (never 0).
 *
 * Bytes that are not UTF-8 count as RUNE_BAD, one at a time; a NUL is a code point like others.
 */
size_t go_rune_at(const char *p, const char *end, uint32_t *ret_rune);
/* go_utf8_valid - whether all of `s` is UTF-8. */
bool go_utf8_valid(Str s);

/*
 * go_shown - hostile bytes as a message may show them: cut at a limit, with '?' for what does not
 * print. In the arena.
 */
const char *go_shown(Arena *a, Str s);
/* What an Err needs no arena for: room for go_shown_into(), the NUL included. */
enum { GO_SHOWN_SIZE = 160 };
const char *go_shown_into(char out[static GO_SHOWN_SIZE], Str s);

#endif
