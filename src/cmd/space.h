/*
 * cmd/space.h - sizes, ages and filters as docker's commands write them. Private to cmd.
 */
#ifndef CMD_SPACE_H
#define CMD_SPACE_H

#include <regex.h>

#include "cmd/cmd.h"

/*
 * space_parse - "10GB", "512m", "10%" (of the disk that `fd` is on) to bytes. Units are powers of
 * 1024, as docker's are where it takes sizes. Fails with ERR_USAGE.
 */
NODISCARD bool space_parse(const char *text, int fd, uint64_t *ret, Err *e);

/* space_check - whether --max-cache and LIGHTER_MAX_CACHE can be read. */
NODISCARD bool space_check(const char *option, Err *e);
/*
 * space_ceiling - how big the cache may be: the option, else LIGHTER_MAX_CACHE, else a tenth of the
 * disk or 10 GB, whichever is more, but at most half of the disk.
 *
 *   ret_asked  whether somebody said it
 */
NODISCARD bool space_ceiling(const Store *s, const char *option, uint64_t *ret, bool *ret_asked,
                             Err *e);

/* One condition of --filter. */
typedef struct SpaceTest {
    const char *key, *value; /* value: NULL for a flag */
    enum { TEST_EQ, TEST_NE, TEST_RE } how;
    regex_t re;
    int64_t seconds; /* until */
} SpaceTest;

typedef struct SpaceFilter {
    SpaceTest *v;
    size_t n;
} SpaceFilter;

/*
 * filter_parse - "KEY[=VALUE][,...]" of every --filter; all must hold.
 *
 *   until=AGE (unused-for)     not used for so long: 24h, 90m, 7d
 *   id=, type=, description=   equal; != not equal; ~= a regular expression
 *   inuse shared private mutable immutable
 *
 * Fails with ERR_USAGE.
 */
NODISCARD bool filter_parse(Arena *a, const StrList *texts, SpaceFilter *ret, Err *e);
void filter_done(SpaceFilter *f);
static inline void scoped_space_filter_done(SpaceFilter *f)
{
    filter_done(f);
}
bool filter_match(const SpaceFilter *f, const StoreItem *it, int64_t now);
/* filter_names - whether a condition asks for just this value: type=log. */
bool filter_names(const SpaceFilter *f, const char *key, const char *value);

/* space_items - open the store, enter its namespaces and list everything, measured. */
NODISCARD bool space_items(Arena *a, const char *isolation, Store **ret_store, StoreItem **ret,
                           size_t *ret_n, Err *e);

/* History in a table: its many small files are one row. */
typedef struct SpaceFold {
    size_t n, nbuild;
    uint64_t size;
    int64_t used;
} SpaceFold;

/* space_row - an item as a line of a table; space_head - the line above, space_rows_end - the last
 * one. */
void space_head(Buf *out);
void space_row(SpaceFold *f, const StoreItem *it, Buf *out);
void space_rows_end(const SpaceFold *f, Buf *out);

#endif
