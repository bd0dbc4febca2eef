/*
 * store/records.c - snapshots, and what keys led to.
 */
#include <errno.h>

#include "base/fs.h"
#include "store/keep.h"

void store_snapshot_path(SnapshotId id, char out[static STORE_TMP_MAX])
{
    (void)snprintf(out, STORE_TMP_MAX, "snapshots/%llu", (unsigned long long)id);
}

void store_snapshot_mark(SnapshotId id, char out[static STORE_TMP_MAX])
{
    (void)snprintf(out, STORE_TMP_MAX, "twins/%llu", (unsigned long long)id);
}

bool store_snapshot_open(Store *s, SnapshotId id, int *ret_fd, Err *e)
{
    char path[STORE_TMP_MAX];
    store_snapshot_path(id, path);
    return fs_open_dir(s->dirfd, path, ret_fd, e);
}

bool store_snapshot_parts(Store *s, Arena *a, SnapshotId id, SnapshotId **ret, size_t *ret_n,
                          Err *e)
{
    SnapshotId *v = NULL;
    size_t n = 0, cap = 0;
    bool row = id != 0;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT part FROM part WHERE snapshot = ? ORDER BY i", &q, e))
        return false;
    db_bind_int(&q, 1, (int64_t)id);
    while (row) {
        if (!db_row(&q, &row, e))
            return false;
        if (row)
            *ARENA_PUSH(a, v, n, cap) = (SnapshotId)db_int(&q, 0);
    }
    if (id)
        *ARENA_PUSH(a, v, n, cap) = id;
    *ret = v;
    *ret_n = n;
    return true;
}

static bool part_exists(Store *s, SnapshotId id, bool *ret, Err *e)
{
    char path[STORE_TMP_MAX];
    bool gone;
    store_snapshot_path(id, path);
    if (!lease_snapshot(s, id, false, &gone, e))
        return false;
    *ret = !gone && faccessat(s->dirfd, path, F_OK, 0) == 0;
    return true;
}

bool store_snapshot_exists(Store *s, SnapshotId id, bool *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    SnapshotId *parts;
    size_t n;
    *ret = true;
    if (!store_snapshot_parts(s, &a, id, &parts, &n, e))
        return false;
    /* From the top: what stands on others goes before they do. */
    for (; *ret && n > 0; n--)
        if (!part_exists(s, parts[n - 1], ret, e))
            return false;
    return true;
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
    /* A collection that began before our lease may have taken the row of what was not there yet. */
    if (!db_begin(s, "INSERT OR REPLACE INTO snapshot(id, done) VALUES(?, 1)", &q, e))
        return false;
    db_bind_int(&q, 1, (int64_t)id);
    return db_run(&q, e);
}

static bool put_parts(Store *s, SnapshotId id, const SnapshotId *below, size_t n, Err *e)
{
    for (size_t i = 0; i < n; i++) {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, "INSERT OR REPLACE INTO part VALUES(?, ?, ?)", &q, e))
            return false;
        db_bind_int(&q, 1, (int64_t)id);
        db_bind_int(&q, 2, (int64_t)i);
        db_bind_int(&q, 3, (int64_t)below[i]);
        if (!db_run(&q, e))
            return false;
    }
    return true;
}

bool store_snapshot_add(Store *s, const char *tmp, SnapshotId *ret, Err *e)
{
    return store_snapshot_add_over(s, tmp, NULL, 0, ret, e);
}

bool store_snapshot_add_over(Store *s, const char *tmp, const SnapshotId *below, size_t n,
                             SnapshotId *ret, Err *e)
{
    char path[STORE_TMP_MAX];
    SnapshotId id;
    for (;;) {
        bool gone;
        char name[NAME_MAX_LEN];
        if (!snapshot_row(s, &id, e) || !lease_snapshot(s, id, true, &gone, e))
            return false;
        (void)snprintf(name, sizeof name, "s%llu", (unsigned long long)id);
        if (!durable_note(s, name, e))
            return false;
        if (gone)
            continue;
        store_snapshot_path(id, path);
        if (renameat(s->dirfd, tmp, s->dirfd, path) == 0)
            break;
        /* A directory that no row knows, left when somebody removed the database: its number is
         * passed over. */
        if (errno != ENOTEMPTY && errno != EEXIST)
            return err_errno(e, ERR_STORE, "rename '%s' to '%s/%s'", tmp, s->path, path);
    }
    if (!put_parts(s, id, below, n, e) || !snapshot_ready(s, id, e))
        return false;
    *ret = id;
    return true;
}

bool store_layer_get(Store *s, const Digest *diff_id, SnapshotId *ret, bool *ret_found, Err *e)
{
    SnapshotId id = 0;
    bool row;
    {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, "SELECT snapshot FROM layer WHERE diff_id = ?", &q, e))
            return false;
        db_bind_digest(&q, 1, diff_id);
        if (!db_row(&q, &row, e))
            return false;
        id = row ? (SnapshotId)db_int(&q, 0) : 0;
    }
    /* A directory that somebody removed is as good as never unpacked. */
    *ret_found = row;
    if (row && !store_snapshot_exists(s, id, ret_found, e))
        return false;
    if (*ret_found)
        *ret = id;
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
    {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, "SELECT result, snapshot, created FROM record WHERE key = ?", &q, e))
            return false;
        db_bind_digest(&q, 1, key);
        if (!db_row(&q, &row, e))
            return false;
        if (row) {
            r.snapshot = (SnapshotId)db_int(&q, 1);
            r.created = db_int(&q, 2);
            row = db_digest(&q, 0, &r.result);
        }
    }
    if (row && !store_snapshot_exists(s, r.snapshot, &row, e))
        return false;
    if (row && !r.snapshot)
        note_use(s, 'r', key);
    *ret_found = row;
    if (row)
        *ret = r;
    return true;
}

bool store_record_inputs(Store *s, const Digest *key, Buf *ret, bool *ret_found, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT inputs FROM record WHERE key = ?", &q, e))
        return false;
    db_bind_digest(&q, 1, key);
    if (!db_row(&q, ret_found, e))
        return false;
    const char *text = *ret_found ? db_text(&q, 0) : NULL;
    buf_puts(ret, text ? text : "");
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
    if (!db_run(&q, e))
        return false;
    db_end(&q);
    if (!r->snapshot)
        note_use(s, 'r', key);
    return true;
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
    db_end(&q);
    if (*ret_found)
        note_use(s, 'k', key);
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
    if (!db_run(&q, e))
        return false;
    db_end(&q);
    note_use(s, 'k', key);
    return true;
}

bool store_memo_put_all(Store *s, const StoreMemo *v, size_t n, Err *e)
{
    Err ignored = ERR_INIT;
    bool ok = db_exec(s, "BEGIN IMMEDIATE", e);
    for (size_t i = 0; ok && i < n; i++)
        ok = store_memo_put(s, &v[i].key, v[i].value.ptr, v[i].value.len, e);
    if (ok && db_exec(s, "COMMIT", e))
        return true;
    (void)!db_exec(s, "ROLLBACK", &ignored);
    return false;
}

bool store_packed_get(Store *s, const Digest *diff_id, Compression how, Digest *ret,
                      uint64_t *ret_size, bool *ret_found, Err *e)
{
    bool row;
    Digest blob;
    uint64_t size = 0;
    {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, "SELECT blob, size FROM packed WHERE diff_id = ? AND how = ?", &q, e))
            return false;
        db_bind_digest(&q, 1, diff_id);
        db_bind_int(&q, 2, how);
        if (!db_row(&q, &row, e))
            return false;
        row = row && db_digest(&q, 0, &blob);
        size = row ? (uint64_t)db_int(&q, 1) : 0;
    }
    *ret_found = row;
    if (row && !store_has_blob(s, &blob, ret_found, e))
        return false;
    if (*ret_found) {
        *ret = blob;
        *ret_size = size;
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
