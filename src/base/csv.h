/*
 * base/csv.h - comma separated values, as docker's options have them: type=image,"name=a,b".
 */
#ifndef BASE_CSV_H
#define BASE_CSV_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/*
 * csv_fields - the fields of one line: plain up to a comma, or all of it in double quotes, where ""
 * is a quote. Fails with ERR_USAGE. Source: RFC 4180, as encoding/csv of Go reads it.
 */
NODISCARD bool csv_fields(Arena *a, const char *text, StrList *ret, Err *e);

#endif
