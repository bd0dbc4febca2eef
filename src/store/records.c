/*
 * store/records.c - snapshots, and what keys led to.
 */
#include <errno.h>

#include "base/fs.h"
#include "store/db.h"

void store_snapshot_path(SnapshotId id, char out[static STORE_TMP_MAX])
{
    (void)snprintf(out, STORE_TMP_MAX, "snapshots/%llu", (unsigned long long)id);
}

bool store_snapshot_exists(const Store *s, SnapshotId id)
{
    char path[STORE_TMP_MAX];
    store_snapshot_path(id, path);
    return id == 0 || faccessat(s->dirfd, path, F_OK, 0) == 0;
}

static bool snapshot_row(Store *s, SnapshotId *ret, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "INSERT INTO snapshot(done) VALUES(0)", &q, e) || !db_run(&q, e))
        return false;
    *ret = (SnapshotId)sqlite3_last_insert_rowid(s->db);
    return true;
}

static bool snapshot_ready(Store *s, SnapshotId id, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "UPDATE snapshot SET done = 1 WHERE id = ?", &q, e))
        return false;
    db_bind_int(&q, 1, (int64_t)id);
    return db_run(&q, e);
}

bool store_snapshot_add(Store *s, const char *tmp, SnapshotId *ret, Err *e)
{
    char path[STORE_TMP_MAX];
    SnapshotId id;
    for (;;) {
        if (!snapshot_row(s, &id, e))
            return false;
        store_snapshot_path(id, path);
        if (renameat(s->dirfd, tmp, s->dirfd, path) == 0)
            break;
        /* A directory that no row knows, left when somebody removed the database: its number is
         * passed over. */
        if (errno != ENOTEMPTY && errno != EEXIST)
            return err_errno(e, ERR_STORE, "rename '%s' to '%s/%s'", tmp, s->path, path);
    }
    if (!snapshot_ready(s, id, e))
        return false;
    *ret = id;
    return true;
}

bool store_layer_get(Store *s, const Digest *diff_id, SnapshotId *ret, bool *ret_found, Err *e)
{
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT snapshot FROM layer WHERE diff_id = ?", &q, e))
        return false;
    db_bind_digest(&q, 1, diff_id);
    if (!db_row(&q, &row, e))
        return false;
    /* A directory that somebody removed is as good as never unpacked. */
    *ret_found = row && store_snapshot_exists(s, (SnapshotId)db_int(&q, 0));
    if (*ret_found)
        *ret = (SnapshotId)db_int(&q, 0);
    return true;
}

bool store_layer_put(Store *s, const Digest *diff_id, SnapshotId id, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "INSERT OR REPLACE INTO layer VALUES(?, ?)", &q, e))
        return false;
    db_bind_digest(&q, 1, diff_id);
    db_bind_int(&q, 2, (int64_t)id);
    return db_run(&q, e);
}

bool store_record_get(Store *s, const Digest *key, StoreRecord *ret, bool *ret_found, Err *e)
{
    bool row;
    StoreRecord r = {0};
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT result, snapshot, created FROM record WHERE key = ?", &q, e))
        return false;
    db_bind_digest(&q, 1, key);
    if (!db_row(&q, &row, e))
        return false;
    if (row) {
        r.snapshot = (SnapshotId)db_int(&q, 1);
        r.created = db_int(&q, 2);
        row = db_digest(&q, 0, &r.result) && store_snapshot_exists(s, r.snapshot);
    }
    *ret_found = row;
    if (row)
        *ret = r;
    return true;
}

bool store_record_put(Store *s, const Digest *key, const StoreRecord *r, const char *inputs, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "INSERT OR REPLACE INTO record VALUES(?, ?, ?, ?, ?)", &q, e))
        return false;
    db_bind_digest(&q, 1, key);
    db_bind_digest(&q, 2, &r->result);
    db_bind_int(&q, 3, (int64_t)r->snapshot);
    db_bind_int(&q, 4, r->created);
    db_bind_text(&q, 5, inputs);
    return db_run(&q, e);
}

bool store_memo_get(Store *s, const Digest *key, Buf *ret, bool *ret_found, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT value FROM memo WHERE key = ?", &q, e))
        return false;
    db_bind_digest(&q, 1, key);
    if (!db_row(&q, ret_found, e))
        return false;
    if (*ret_found)
        buf_add(ret, sqlite3_column_blob(q.st, 0), (size_t)sqlite3_column_bytes(q.st, 0));
    return true;
}

bool store_memo_put(Store *s, const Digest *key, const void *bytes, size_t n, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "INSERT OR REPLACE INTO memo VALUES(?, ?)", &q, e))
        return false;
    db_bind_digest(&q, 1, key);
    /* A zero-length blob is bound by address, for NULL would bind SQL's NULL. */
    sqlite3_bind_blob(q.st, 2, n ? bytes : "", (int)n, SQLITE_TRANSIENT);
    return db_run(&q, e);
}

bool store_packed_get(Store *s, const Digest *diff_id, Compression how, Digest *ret,
                      uint64_t *ret_size, bool *ret_found, Err *e)
{
    bool row;
    Digest blob;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT blob, size FROM packed WHERE diff_id = ? AND how = ?", &q, e))
        return false;
    db_bind_digest(&q, 1, diff_id);
    db_bind_int(&q, 2, how);
    if (!db_row(&q, &row, e))
        return false;
    *ret_found = row && db_digest(&q, 0, &blob) && store_has_blob(s, &blob);
    if (*ret_found) {
        *ret = blob;
        *ret_size = (uint64_t)db_int(&q, 1);
    }
    return true;
}

bool store_packed_put(Store *s, const Digest *diff_id, Compression how, const Digest *blob,
                      uint64_t size, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "INSERT OR REPLACE INTO packed VALUES(?, ?, ?, ?)", &q, e))
        return false;
    db_bind_digest(&q, 1, diff_id);
    db_bind_int(&q, 2, how);
    db_bind_digest(&q, 3, blob);
    db_bind_int(&q, 4, (int64_t)size);
    return db_run(&q, e);
}
