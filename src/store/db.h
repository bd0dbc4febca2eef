/*
 * store/db.h - SQLite with our way of failing. Private to the store.
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <pthread.h>
#include <sqlite3.h>

#include "store/store.h"

struct Store {
    char *path;
    int dirfd;
    int lockfd; /* of our directory below tmp/; -1 until the first store_tmp */
    char owner[STORE_TMP_MAX];
    unsigned ntmp;
    sqlite3 *db;
    pthread_mutex_t
        lock; /* one statement at a time: the connection is shared by the pool's threads */
};

NODISCARD bool db_open(Store *s, const char *owners, Err *e);

/* A prepared statement under the store's lock; db_end releases both. */
typedef struct Stmt {
    Store *store;
    sqlite3_stmt *st;
} Stmt;

/* db_begin - prepare `sql`; the lock is held until db_end, also after a failure. */
NODISCARD bool db_begin(Store *s, const char *sql, Stmt *ret, Err *e);
/* db_row - step; *ret_row tells whether a row is there. */
NODISCARD bool db_row(Stmt *q, bool *ret_row, Err *e);
/* db_run - step a statement that gives no row. */
NODISCARD bool db_run(Stmt *q, Err *e);
void db_end(Stmt *q);
static inline void scoped_stmt_done(Stmt *q)
{
    db_end(q);
}

void db_bind_digest(Stmt *q, int i, const Digest *d);
void db_bind_text(Stmt *q, int i, const char *s);
void db_bind_int(Stmt *q, int i, int64_t v);
bool db_digest(const Stmt *q, int col, Digest *ret);
const char *db_text(const Stmt *q, int col);
int64_t db_int(const Stmt *q, int col);

#endif
