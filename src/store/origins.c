/*
 * store/origins.c - where layers can be had that are not here, and what registries call images.
 *
 * Rows here promise nothing of this machine's disk. A row whose layer no image has any more is
 * forgotten when an image goes, but not on the day it was written: its image may be on its way.
 */
#include <time.h>

#include "store/keep.h"

enum { ORIGIN_KEPT_S = 86400 };

/* Lists of URLs are one text, a line each: no URL has a line's end. */
static char *join(Arena *a, const StrList *l)
{
    scoped(buf) Buf b = BUF_INIT;
    for (size_t i = 0; i < l->n; i++)
        if (!strchr(l->v[i], '\n'))
            buf_printf(&b, "%s%s", b.len ? "\n" : "", l->v[i]);
    return arena_strdup(a, buf_str(&b));
}

static StrList split(Arena *a, const char *text)
{
    StrList l = {0};
    char *save = NULL, *copy = arena_strdup(a, text);
    for (char *p = strtok_r(copy, "\n", &save); p; p = strtok_r(NULL, "\n", &save))
        strlist_add(a, &l, p);
    return l;
}

bool store_origin_put(Store *s, const Digest *diff_id, const StoreOrigin *o, Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "INSERT OR REPLACE INTO origin VALUES(?, ?, ?, ?, ?, ?, ?)", &q, e))
        return false;
    db_bind_digest(&q, 1, &o->blob);
    db_bind_text(&q, 2, o->repo);
    db_bind_digest(&q, 3, diff_id);
    db_bind_text(&q, 4, o->media_type);
    db_bind_text(&q, 5, join(&a, &o->urls));
    db_bind_int(&q, 6, (int64_t)o->size);
    db_bind_int(&q, 7, (int64_t)time(NULL));
    return db_run(&q, e);
}

bool store_origins(Store *s, Arena *a, const Digest *diff_id, StoreOrigin **ret, size_t *ret_n,
                   Err *e)
{
    static const char SQL[] = "SELECT blob, repo, media_type, urls, size FROM origin WHERE diff_id "
                              "= ? ORDER BY seen DESC, repo";
    size_t cap = 0;
    bool row = true;
    scoped(stmt) Stmt q = {0};
    *ret = NULL;
    *ret_n = 0;
    if (!db_begin(s, SQL, &q, e))
        return false;
    db_bind_digest(&q, 1, diff_id);
    while (row) {
        if (!db_row(&q, &row, e))
            return false;
        if (!row)
            break;
        StoreOrigin *o = ARENA_PUSH(a, *ret, *ret_n, cap);
        if (!db_digest(&q, 0, &o->blob))
            return err_set(e, ERR_STORE, "store '%s': damaged origin row", s->path);
        o->repo = arena_strdup(a, db_text(&q, 1));
        o->media_type = arena_strdup(a, db_text(&q, 2));
        o->urls = split(a, db_text(&q, 3));
        o->size = (uint64_t)db_int(&q, 4);
    }
    return true;
}

bool store_blob_repos(Store *s, Arena *a, const Digest *blob, StrList *ret, Err *e)
{
    bool row = true;
    scoped(stmt) Stmt q = {0};
    *ret = (StrList){0};
    if (!db_begin(s, "SELECT repo FROM origin WHERE blob = ? ORDER BY seen DESC, repo", &q, e))
        return false;
    db_bind_digest(&q, 1, blob);
    while (row) {
        if (!db_row(&q, &row, e))
            return false;
        if (row && *db_text(&q, 0))
            strlist_add_once(a, ret, db_text(&q, 0));
    }
    return true;
}

bool store_doc_put(Store *s, const Digest *image, const StoreDoc *d, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "INSERT OR REPLACE INTO doc VALUES(?, ?, ?, ?, ?)", &q, e))
        return false;
    db_bind_digest(&q, 1, &d->digest);
    db_bind_text(&q, 2, d->platform);
    db_bind_text(&q, 3, d->repo);
    db_bind_text(&q, 4, d->media_type);
    db_bind_digest(&q, 5, image);
    return db_run(&q, e);
}

bool store_doc_find(Store *s, const Digest *digest, const char *platform, Digest *ret,
                    bool *ret_found, Err *e)
{
    static const char SQL[] =
        "SELECT id FROM image WHERE manifest = ?1 UNION ALL SELECT image FROM doc JOIN image ON "
        "image.id = doc.image WHERE digest = ?1 AND (platform = ?2 OR media_type NOT IN "
        "('" MT_OCI_INDEX "', '" MT_DOCKER_LIST "'))";
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, SQL, &q, e))
        return false;
    db_bind_digest(&q, 1, digest);
    db_bind_text(&q, 2, platform);
    if (!db_row(&q, &row, e))
        return false;
    *ret_found = row && db_digest(&q, 0, ret);
    return true;
}

bool store_docs(Store *s, Arena *a, const Digest *image, StoreDoc **ret, size_t *ret_n, Err *e)
{
    size_t cap = 0;
    bool row = true;
    scoped(stmt) Stmt q = {0};
    *ret = NULL;
    *ret_n = 0;
    if (!db_begin(s,
                  "SELECT digest, platform, repo, media_type FROM doc WHERE image = ? ORDER BY "
                  "repo, digest",
                  &q, e))
        return false;
    db_bind_digest(&q, 1, image);
    while (row) {
        if (!db_row(&q, &row, e))
            return false;
        if (!row)
            break;
        StoreDoc *d = ARENA_PUSH(a, *ret, *ret_n, cap);
        if (!db_digest(&q, 0, &d->digest))
            return err_set(e, ERR_STORE, "store '%s': damaged doc row", s->path);
        d->platform = arena_strdup(a, db_text(&q, 1));
        d->repo = arena_strdup(a, db_text(&q, 2));
        d->media_type = arena_strdup(a, db_text(&q, 3));
    }
    return true;
}

bool origins_forget(Store *s, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s,
                  "DELETE FROM origin WHERE seen < ? AND diff_id NOT IN (SELECT diff_id FROM "
                  "image_layer)",
                  &q, e))
        return false;
    db_bind_int(&q, 1, (int64_t)time(NULL) - ORIGIN_KEPT_S);
    return db_run(&q, e);
}
