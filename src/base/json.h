/*
 * base/json.h - reading hostile JSON and writing JSON that is the same each time.
 *
 * jansson parses and prints; these helpers add limits, typed access and the one output form that
 * enters digests: compact, keys sorted, UTF-8 unescaped.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"

static inline void scoped_json_done(json_t **j)
{
    json_decref(*j);
}

/* json_parse - one JSON document, at most 4 MiB, no duplicate keys. The caller owns *ret. */
NODISCARD bool json_parse(const char *text, size_t len, json_t **ret, Err *e);
/* json_text - append the canonical text of `j` to `out`. */
void json_text(const json_t *j, Buf *out);

/* json_quote - append a JSON string of `n` bytes; what is not UTF-8 becomes U+FFFD. */
void json_quote(Buf *out, const char *text, size_t n);
/* json_put - append `,"name":"text"`, nothing for NULL; json_put_number - `,"name":value`. */
void json_put(Buf *out, const char *name, const char *text);
void json_put_number(Buf *out, const char *name, uint64_t value);
/* json_put_seconds - `,"name":S.UUUUUU`. */
void json_put_seconds(Buf *out, const char *name, uint64_t ns);

/* json_str - the string at `key`, or NULL when absent or of another type; borrowed. */
const char *json_str(const json_t *obj, const char *key);
/* json_keep - a copy of the string at `key` in the arena; NULL when absent, empty or of another
 * type. */
const char *json_keep(Arena *a, const json_t *obj, const char *key);
/* json_strlist - the array of strings at `key` in the arena; other types are left out. */
StrList json_strlist(Arena *a, const json_t *obj, const char *key);
/*
 * json_set_str - set a string; NULL sets nothing. Invalid UTF-8 is written with U+FFFD, as Go does.
 */
void json_set_str(json_t *obj, const char *key, const char *value);
/*
 * json_set_lossy - set a member (taken) whose name may be any bytes; invalid UTF-8 becomes U+FFFD.
 */
void json_set_lossy(json_t *obj, const char *key, json_t *value);
/* json_string_lossy - a JSON string of any bytes; invalid UTF-8 becomes U+FFFD. */
json_t *json_string_lossy(const char *value);

#endif
