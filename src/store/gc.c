/*
 * store/gc.c - what goes when the cache is over its ceiling, and what goes with it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/fs.h"
#include "store/keep.h"

enum { MEMO_DAYS = 60, DAY = 86400 };

bool store_item_idle(const StoreItem *it, bool all)
{
    return it->name[0] != '.' && !it->in_use && !it->needed &&
           (all || (!it->shared && !it->history));
}

/* ---- dropping ---- */

/* Images without a tag that cannot be without this snapshot or blob. */
static bool add_dependents(Store *s, Arena *a, const char *name, StrList *names, Err *e)
{
    static const char BLOB[] = "SELECT i.id, i.manifest FROM image i WHERE i.id IN (SELECT l.image "
                               "FROM image_layer l JOIN packed p ON p.diff_id = l.diff_id WHERE "
                               "p.blob = ?1) AND i.id NOT IN (SELECT image FROM tag)";
    static const char SNAPSHOT[] = "SELECT i.id, i.manifest FROM image i WHERE i.id IN (SELECT "
                                   "image FROM image_layer WHERE snapshot = ?1 AND times <> '') "
                                   "AND i.id NOT IN (SELECT image FROM tag)";
    bool row = true;
    Digest d;
    if (name[0] != 's' && name[0] != 'b')
        return true;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, name[0] == 's' ? SNAPSHOT : BLOB, &q, e))
        return false;
    if (name[0] == 's')
        db_bind_int(&q, 1, (int64_t)strtoull(name + 1, NULL, 10));
    else if (name_digest(name, &d))
        db_bind_digest(&q, 1, &d);
    while (row) {
        char hex[DIGEST_HEX_SIZE];
        if (!db_row(&q, &row, e))
            return false;
        if (!row || !db_digest(&q, 0, &d))
            continue;
        digest_hex(&d, hex);
        strlist_add(a, names, arena_printf(a, "i%s", hex));
        strlist_add(a, names, arena_printf(a, "b%s", hex));
        if (!db_digest(&q, 1, &d))
            continue;
        digest_hex(&d, hex);
        strlist_add(a, names, arena_printf(a, "b%s", hex));
    }
    return true;
}

/* The items' names first, in their order, then what must go with them, each once. */
static bool all_names(Store *s, Arena *a, const StoreItem *const *items, size_t n, StrList *ret,
                      Err *e)
{
    scoped(map) Map seen = {0};
    StrList more = {0};
    for (size_t i = 0; i < n; i++) {
        strlist_add(a, ret, items[i]->name);
        (void)map_put(&seen, items[i]->name, 1);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < NELEM(items[i]->with) && items[i]->with[k]; k++)
            strlist_add(a, &more, items[i]->with[k]);
        if (!add_dependents(s, a, items[i]->name, &more, e))
            return false;
    }
    for (size_t i = 0; i < more.n; i++)
        if (map_put(&seen, more.v[i], 1))
            strlist_add(a, ret, more.v[i]);
    return true;
}

static bool drop_locked(Store *s, const StoreItem *const *items, size_t n, bool *ret_gone, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names = {0};
    if (!all_names(s, &a, items, n, &names, e))
        return false;
    bool *gone = NEW_N(&a, bool, names.n + 1);
    bool ok = collect(s, &names, false, gone, e);
    memcpy(ret_gone, gone, n * sizeof *gone);
    return ok;
}

bool store_drop(Store *s, const StoreItem *const *items, size_t n, bool *ret_gone, Err *e)
{
    scoped(fd) int lock = -1;
    if (!collect_lock(s, true, &lock, e))
        return false;
    return collect_debris(s, e) && drop_locked(s, items, n, ret_gone, e) &&
           store_cache_unknown(s, e);
}

bool store_drop_memos(Store *s, int64_t before, uint64_t *ret_n, Err *e)
{
    static const char *const SQL[] = {
        "DELETE FROM memo WHERE NOT EXISTS (SELECT 1 FROM use WHERE name = 'k' || lower(hex(key)) "
        "AND used >= ?1)",
        "DELETE FROM use WHERE substr(name, 1, 1) = 'k' AND used < ?1"};
    *ret_n = 0;
    if (!uses_fold(s, e))
        return false;
    for (size_t i = 0; i < NELEM(SQL); i++) {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, SQL[i], &q, e))
            return false;
        db_bind_int(&q, 1, before);
        if (!db_run(&q, e))
            return false;
        if (i == 0)
            *ret_n = (uint64_t)sqlite3_changes(s->db);
    }
    return true;
}

/* ---- the ceiling ---- */

bool store_gc_due(Store *s, uint64_t ceiling)
{
    scoped(buf) Buf text = BUF_INIT;
    Err ignored = ERR_INIT;
    uint64_t size;
    return !db_fact_get(s, "cache", &text, &ignored) ||
           !str_u64(buf_str(&text), UINT64_MAX, &size) || size > ceiling;
}

/* The cache: what no image with a tag has a part in. */
static bool is_cache(const StoreItem *it)
{
    return it->name[0] != '.' && !it->shared && !it->needed && !it->history;
}

static bool collect_down_to(Store *s, Arena *a, uint64_t ceiling, StoreGc *ret, Err *e)
{
    StoreItem *v = NULL;
    size_t n = 0, nout = 0;
    uint64_t total = 0;
    if (!store_items(s, a, 0, &v, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        total += is_cache(&v[i]) ? v[i].size : 0;
    const StoreItem **out = NEW_N(a, const StoreItem *, n + 1);
    for (size_t i = 0; i < n && total > ceiling; i++) {
        if (!is_cache(&v[i]) || !store_item_idle(&v[i], false))
            continue;
        out[nout++] = &v[i];
        total -= v[i].size;
    }
    bool *gone = NEW_N(a, bool, nout + 1);
    if (nout && !drop_locked(s, out, nout, gone, e))
        return false;
    for (size_t i = 0; i < nout; i++) {
        ret->n += gone[i];
        ret->freed += gone[i] ? out[i]->size : 0;
        total += gone[i] ? 0 : out[i]->size;
    }
    ret->kept = total;
    return true;
}

bool store_gc(Store *s, uint64_t ceiling, StoreGc *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    char text[24];
    scoped(fd) int lock = -1;
    uint64_t nmemo;
    *ret = (StoreGc){0};
    if (!collect_lock(s, false, &lock, e))
        return false;
    if (lock < 0)
        return true;
    if (!collect_debris(s, e) || !collect_down_to(s, &a, ceiling, ret, e) ||
        (ret->n && !store_drop_memos(s, (int64_t)time(NULL) - MEMO_DAYS * DAY, &nmemo, e)))
        return false;
    (void)snprintf(text, sizeof text, "%" PRIu64, ret->kept);
    return db_fact_put(s, "cache", text, e);
}

void store_gc_later(Store *s, uint64_t ceiling)
{
    s->collects = true;
    s->ceiling = ceiling;
}

/* ---- images ---- */

static const char *named(Arena *a, char letter, const Digest *d)
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(d, hex);
    return arena_printf(a, "%c%s", letter, hex);
}

static bool find_in(Store *s, const char *sql, const Digest *d, Stmt *q, bool *ret_row, Err *e)
{
    if (!db_begin(s, sql, q, e))
        return false;
    db_bind_digest(q, 1, d);
    return db_row(q, ret_row, e);
}

/* All packed forms of a layer. */
static bool add_packed(Store *s, Arena *a, const Digest *diff_id, StrList *names, Err *e)
{
    bool row;
    Digest blob;
    scoped(stmt) Stmt q = {0};
    if (!find_in(s, "SELECT blob FROM packed WHERE diff_id = ?", diff_id, &q, &row, e))
        return false;
    while (row) {
        if (db_digest(&q, 0, &blob))
            strlist_add(a, names, named(a, 'b', &blob));
        if (!db_row(&q, &row, e))
            return false;
    }
    return true;
}

/* The unpacked form of a layer, by its diff ID or chain ID. */
static bool add_unpacked(Store *s, Arena *a, const Digest *id, StrList *names, Err *e)
{
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!find_in(s, "SELECT snapshot FROM layer WHERE diff_id = ?", id, &q, &row, e))
        return false;
    if (row && db_int(&q, 0))
        strlist_add(a, names, arena_printf(a, "s%" PRId64, db_int(&q, 0)));
    return true;
}

static bool in_an_image(Store *s, const Digest *diff_id, bool *ret, Err *e)
{
    scoped(stmt) Stmt q = {0};
    return find_in(s, "SELECT 1 FROM image_layer WHERE diff_id = ?", diff_id, &q, ret, e);
}

static bool drop_unpacked(Store *s, Arena *a, const StoreImage *img, Err *e)
{
    StrList names = {0};
    Digest *diffs = NEW_N(a, Digest, img->nlayer + 1), chain;
    for (size_t i = 0; i < img->nlayer; i++) {
        bool kept;
        diffs[i] = img->layers[i].diff_id;
        image_chain_id(diffs, i + 1, &chain);
        if (!in_an_image(s, &diffs[i], &kept, e) ||
            (!kept &&
             (!add_unpacked(s, a, &diffs[i], &names, e) || !add_unpacked(s, a, &chain, &names, e))))
            return false;
    }
    return collect(s, &names, false, NEW_N(a, bool, names.n + 1), e);
}

bool store_remove_image(Store *s, const Digest *id, bool *ret_gone, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names = {0};
    StoreImage img;
    bool found;
    scoped(fd) int lock = -1;
    *ret_gone = true;
    if (!collect_lock(s, true, &lock, e))
        return false;
    if (!store_image_get(s, &a, id, &img, &found, e) || !collect_debris(s, e))
        return false;
    if (!found)
        img = (StoreImage){.id = *id};
    strlist_add(&a, &names, named(&a, 'i', id));
    strlist_add(&a, &names, named(&a, 'b', id));
    if (img.packed)
        strlist_add(&a, &names, named(&a, 'b', &img.manifest));
    for (size_t i = 0; i < img.nlayer; i++)
        if (!add_packed(s, &a, &img.layers[i].diff_id, &names, e))
            return false;
    bool *gone = NEW_N(&a, bool, names.n);
    if (!collect(s, &names, false, gone, e))
        return false;
    *ret_gone = gone[0];
    return !gone[0] || drop_unpacked(s, &a, &img, e);
}
