/*
 * base/str.h - bytes with a length, growing buffers, lists of strings, code points.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/defs.h"

/* Borrowed bytes; not NUL-terminated. */
typedef struct Str {
    const char *ptr;
    size_t len;
} Str;

static inline Str str_c(const char *s)
{
    return (Str){s, strlen(s)};
}
static inline bool str_eq(Str a, const char *b)
{
    return a.len == strlen(b) && !memcmp(a.ptr, b, a.len);
}

/* str_same - whether two texts are the same bytes. */
bool str_same(Str a, Str b);
/* str_order - less than, equal to or greater than 0, as `a` is bytewise before `b`, `b`, or after.
 */
int str_order(Str a, Str b);

/* A buffer on the heap that grows; always NUL-terminated once something was added. */
typedef struct Buf {
    char *ptr;
    size_t len, cap;
} Buf;

#define BUF_INIT                                                                                   \
    {                                                                                              \
        0                                                                                          \
    }

void buf_add(Buf *b, const void *bytes, size_t n);
void buf_puts(Buf *b, const char *s);
void buf_putc(Buf *b, char c);
void buf_printf(Buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* buf_reserve - make room for `n` more bytes and return where they go; the caller adds to len. */
char *buf_reserve(Buf *b, size_t n);
void buf_done(Buf *b);
/* buf_str - the content as a C string ("" when empty), valid until the next change. */
static inline const char *buf_str(const Buf *b)
{
    return b->ptr ? b->ptr : "";
}
static inline void scoped_buf_done(Buf *b)
{
    buf_done(b);
}

/* A list of strings in an arena. */
typedef struct StrList {
    char **v;
    size_t n, cap;
} StrList;

void strlist_add(Arena *a, StrList *l, const char *s);
/* strlist_add_once - add a string that is not in the list yet. */
void strlist_add_once(Arena *a, StrList *l, const char *s);
/* strlist_sort - bytewise. */
void strlist_sort(StrList *l);
/* strlist_copy - a new list of the same strings, which are shared. */
StrList strlist_copy(Arena *a, const StrList *l);
/* strlist_argv - a NULL-terminated array of the same strings in the arena. */
char **strlist_argv(Arena *a, const StrList *l);

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
/* str_size - bytes as people write them ("14.2 MB"), decimal units as docker uses; into a
 * static-free buffer. */
void str_size(uint64_t bytes, char *out, size_t cap);
/* str_u64 - the whole of `s` as a decimal number up to `max`. False when it is anything else. */
bool str_u64(const char *s, uint64_t max, uint64_t *ret);
/*
 * str_ram_size - a size as docker takes it: "64m", "1.5GiB", "100"; units are powers of 1024.
 * False when it is anything else. Source: docker/go-units, RAMInBytes.
 */
bool str_ram_size(const char *s, uint64_t *ret);

/* str_bool - the words Go's strconv.ParseBool takes; false when it is none of them. */
bool str_bool(const char *s, bool *ret);

/* What utf8_rune gives for bytes that are not UTF-8. */
enum { RUNE_BAD = 0xFFFD };

/*
 * utf8_rune - the first code point of a string, and how many bytes it takes (0 at the end).
 *
 * Bytes that are not UTF-8 count as RUNE_BAD, one at a time, as in Go. The string ends at a NUL or
 * at whatever ASCII byte the caller stops at: nothing behind one is read.
 */
size_t utf8_rune(const char *s, uint32_t *ret_rune);
/* utf8_rune_n - the same of `n` bytes that nothing ends; a NUL is a code point like others. */
size_t utf8_rune_n(const char *s, size_t n, uint32_t *ret_rune);
/* utf8_cut - the most bytes up to `n` that do not end inside a code point. */
size_t utf8_cut(const char *s, size_t n);
/* utf8_head - the bytes of a C string, or where it has more than `max`, of its beginning. */
size_t utf8_head(const char *s, size_t max);

/*
 * str_space - how many bytes the white space takes that `n` bytes begin with: one rune of it, or 0.
 * White space is what Go's unicode.IsSpace says.
 */
size_t str_space(const char *s, size_t n);
/* str_trim - the part of `s` without white space around it. */
Str str_trim(Str s);

/* env_get - value of NAME in a list of NAME=VALUE, or NULL. */
const char *env_get(const StrList *env, const char *name);
/* env_set - replace NAME's entry where it stands, or append it. */
void env_set(Arena *a, StrList *env, const char *name, const char *value);

#endif
