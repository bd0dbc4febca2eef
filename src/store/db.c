/*
 * store/db.c - the database below the store.
 */
#include "store/db.h"

#include <string.h>
#include <sys/file.h>

/* Raised when a table's meaning changes; a store of another number is refused, not guessed at. */
enum { DB_FORMAT = 5, BUSY_MS = 20000 };
/* A log of more is carried over into the database. */
enum { LOG_PAGES = 64 };

static const char SCHEMA[] =
    "CREATE TABLE IF NOT EXISTS fact(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS snapshot(id INTEGER PRIMARY KEY AUTOINCREMENT, done INTEGER NOT "
    "NULL);"
    /* What a snapshot that holds only a difference stands on, bottom first. */
    "CREATE TABLE IF NOT EXISTS part(snapshot INTEGER NOT NULL, i INTEGER NOT NULL, part INTEGER "
    "NOT NULL, PRIMARY KEY(snapshot, i)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS part_part ON part(part);"
    "CREATE TABLE IF NOT EXISTS layer(diff_id BLOB PRIMARY KEY, snapshot INTEGER NOT NULL) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS record(key BLOB PRIMARY KEY, result BLOB NOT NULL, snapshot "
    "INTEGER NOT NULL,"
    " created INTEGER NOT NULL, inputs TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS memo(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS image(id BLOB PRIMARY KEY, created INTEGER NOT NULL, size INTEGER "
    "NOT NULL,"
    " manifest BLOB, manifest_size INTEGER) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS image_layer(image BLOB NOT NULL, i INTEGER NOT NULL, diff_id BLOB "
    "NOT NULL,"
    " snapshot INTEGER NOT NULL, times TEXT NOT NULL, PRIMARY KEY(image, i)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS tag(name TEXT PRIMARY KEY, image BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS packed(diff_id BLOB NOT NULL, how INTEGER NOT NULL, blob BLOB NOT "
    "NULL,"
    " size INTEGER NOT NULL, PRIMARY KEY(diff_id, how)) WITHOUT ROWID;"
    /* By the names of keep.h: what is known of a thing besides what it is. */
    "CREATE TABLE IF NOT EXISTS use(name TEXT PRIMARY KEY, born INTEGER NOT NULL, used INTEGER NOT "
    "NULL,"
    " uses INTEGER NOT NULL, size INTEGER, type TEXT, what TEXT) WITHOUT ROWID;"
    /* Where layers that are not here can be had, and what registries call our images. */
    "CREATE TABLE IF NOT EXISTS origin(blob BLOB NOT NULL, repo TEXT NOT NULL, diff_id BLOB NOT "
    "NULL,"
    " media_type TEXT NOT NULL, urls TEXT NOT NULL, size INTEGER NOT NULL, seen INTEGER NOT NULL,"
    " PRIMARY KEY(blob, repo, diff_id)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS doc(digest BLOB NOT NULL, platform TEXT NOT NULL, repo TEXT NOT "
    "NULL,"
    " media_type TEXT NOT NULL, image BLOB NOT NULL, PRIMARY KEY(digest, platform, repo)) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS undurable(name TEXT NOT NULL, owner TEXT NOT NULL, boot TEXT NOT "
    "NULL, PRIMARY KEY(name, owner)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS origin_diff ON origin(diff_id);"
    "CREATE INDEX IF NOT EXISTS doc_image ON doc(image);"
    "CREATE TABLE IF NOT EXISTS doomed(name TEXT PRIMARY KEY, state INTEGER NOT NULL) WITHOUT "
    "ROWID;"
    "CREATE INDEX IF NOT EXISTS record_snapshot ON record(snapshot);"
    "CREATE INDEX IF NOT EXISTS layer_snapshot ON layer(snapshot);"
    "CREATE INDEX IF NOT EXISTS image_layer_snapshot ON image_layer(snapshot);"
    "CREATE INDEX IF NOT EXISTS image_layer_diff ON image_layer(diff_id);"
    "CREATE INDEX IF NOT EXISTS packed_blob ON packed(blob);";

static bool db_err(Store *s, Err *e, const char *what)
{
    return err_set(e, ERR_STORE, "%s: store database '%s/meta.db': %s", what, s->path,
                   sqlite3_errmsg(s->db));
}

bool db_begin(Store *s, const char *sql, Stmt *ret, Err *e)
{
    pthread_mutex_lock(&s->lock);
    *ret = (Stmt){.store = s};
    if (sqlite3_prepare_v2(s->db, sql, -1, &ret->st, NULL) != SQLITE_OK)
        return db_err(s, e, "prepare");
    return true;
}

bool db_row(Stmt *q, bool *ret_row, Err *e)
{
    int rc = sqlite3_step(q->st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return db_err(q->store, e, "read or write");
    *ret_row = rc == SQLITE_ROW;
    return true;
}

bool db_run(Stmt *q, Err *e)
{
    bool row;
    return db_row(q, &row, e);
}

void db_end(Stmt *q)
{
    if (!q->store)
        return;
    sqlite3_finalize(q->st);
    pthread_mutex_unlock(&q->store->lock);
    *q = (Stmt){0};
}

void db_bind_digest(Stmt *q, int i, const Digest *d)
{
    sqlite3_bind_blob(q->st, i, d->b, DIGEST_SIZE, SQLITE_TRANSIENT);
}

void db_bind_text(Stmt *q, int i, const char *s)
{
    sqlite3_bind_text(q->st, i, s, -1, SQLITE_TRANSIENT);
}

void db_bind_int(Stmt *q, int i, int64_t v)
{
    sqlite3_bind_int64(q->st, i, v);
}

bool db_digest(const Stmt *q, int col, Digest *ret)
{
    if (sqlite3_column_bytes(q->st, col) != DIGEST_SIZE)
        return false;
    memcpy(ret->b, sqlite3_column_blob(q->st, col), DIGEST_SIZE);
    return true;
}

const char *db_text(const Stmt *q, int col)
{
    return (const char *)sqlite3_column_text(q->st, col);
}

int64_t db_int(const Stmt *q, int col)
{
    return sqlite3_column_int64(q->st, col);
}

static bool exec(Store *s, const char *sql, Err *e)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return db_err(s, e, "set up");
    return true;
}

bool db_exec(Store *s, const char *sql, Err *e)
{
    pthread_mutex_lock(&s->lock);
    bool ok = sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK || db_err(s, e, "write");
    pthread_mutex_unlock(&s->lock);
    return ok;
}

bool db_number(Store *s, const char *sql, int64_t *ret, Err *e)
{
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, sql, &q, e) || !db_row(&q, &row, e))
        return false;
    if (row)
        *ret = db_int(&q, 0);
    return true;
}

bool db_names(Store *s, Arena *a, const char *sql, const char *param, StrList *ret, Err *e)
{
    bool row = true;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, sql, &q, e))
        return false;
    if (param)
        db_bind_text(&q, 1, param);
    while (row) {
        if (!db_row(&q, &row, e))
            return false;
        if (row)
            strlist_add(a, ret, db_text(&q, 0));
    }
    return true;
}

bool db_fact_get(Store *s, const char *name, Buf *ret, Err *e)
{
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT value FROM fact WHERE name = ?", &q, e))
        return false;
    db_bind_text(&q, 1, name);
    if (!db_row(&q, &row, e))
        return false;
    if (row)
        buf_puts(ret, db_text(&q, 0));
    return true;
}

bool db_fact_put(Store *s, const char *name, const char *value, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "INSERT OR REPLACE INTO fact VALUES(?, ?)", &q, e))
        return false;
    db_bind_text(&q, 1, name);
    db_bind_text(&q, 2, value);
    return db_run(&q, e);
}

static bool check_owners(Store *s, const char *owners, Err *e)
{
    scoped(buf) Buf have = BUF_INIT;
    if (!owners)
        return true;
    if (!db_fact_get(s, "owners", &have, e))
        return false;
    if (!have.len)
        return db_fact_put(s, "owners", owners, e);
    if (!strcmp(have.ptr, owners))
        return true;
    return err_set(
        e, ERR_ENV,
        "store '%s' was filled in mode '%s', and this is '%s': file owners would differ; "
        "set LIGHTER_STORE to another directory, or use the same --isolation",
        s->path, have.ptr, owners);
}

static bool read_version(Store *s, int *ret, Err *e)
{
    sqlite3_stmt *st = NULL;
    bool ok = sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK &&
              sqlite3_step(st) == SQLITE_ROW;
    if (ok)
        *ret = sqlite3_column_int(st, 0);
    else
        db_err(s, e, "open");
    sqlite3_finalize(st);
    return ok;
}

/* Make the tables. Changing to WAL wants the file alone and does not wait for it, so that a lock of
 * ours does. */
static bool set_up(Store *s, Err *e)
{
    if (flock(s->dirfd, LOCK_EX) < 0)
        return err_errno(e, ERR_STORE, "lock '%s'", s->path);
    bool ok = exec(s, "PRAGMA journal_mode=WAL; BEGIN IMMEDIATE", e) && exec(s, SCHEMA, e) &&
              exec(s, "PRAGMA user_version=5; COMMIT", e);
    (void)flock(s->dirfd, LOCK_UN);
    return ok;
}

/* How long the log is, in pages; it is carried over when nobody waits for us any more. */
static int log_grew(void *arg, sqlite3 *db, const char *name, int pages)
{
    Store *s = arg;
    (void)db;
    (void)name;
    s->log_pages = pages;
    return SQLITE_OK;
}

void db_close(Store *s)
{
    if (s->log_pages > LOG_PAGES && !s->undurable) { /* else it is done when nobody waits */
        /* Whoever opens the database next cannot know how much was carried over, so all of it is,
         * and the log emptied; where another process reads it, that one's turn comes. */
        sqlite3_busy_timeout(s->db, 0);
        (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    sqlite3_close(s->db);
}

static bool connect_as(Store *s, int flags, Err *e)
{
    scoped(buf) Buf path = BUF_INIT;
    buf_printf(&path, "%s/meta.db", s->path);
    if (sqlite3_open_v2(path.ptr, &s->db, flags, NULL) != SQLITE_OK)
        return db_err(s, e, "open");
    sqlite3_busy_timeout(s->db, BUSY_MS);
    /*
     * A checkpoint waits for the disk, so none is made in a step's way. The log is kept when we
     * leave, and carried over when it has grown; it is small enough to be read at every start.
     */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_wal_hook(s->db, log_grew, s);
    return exec(s, "PRAGMA synchronous=NORMAL", e);
}

bool db_connect(Store *s, Err *e)
{
    return connect_as(s, SQLITE_OPEN_READWRITE, e);
}

bool db_open(Store *s, const char *owners, Err *e)
{
    int version;
    if (!connect_as(s, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, e))
        return false;
    if (!read_version(s, &version, e))
        return false;
    if (version > DB_FORMAT)
        return err_set(e, ERR_STORE,
                       "store '%s' has format %d and this lighter knows %d: use a newer lighter",
                       s->path, version, DB_FORMAT);
    if (version < DB_FORMAT && !set_up(s, e))
        return false;
    return check_owners(s, owners, e);
}
