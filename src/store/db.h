/*
 * store/db.h - SQLite with our way of failing. Private to the store.
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <pthread.h>
#include <sqlite3.h>

#include "base/map.h"
#include "store/store.h"

/* Something this process uses; the lease on it is a line in our lock file. */
typedef struct Use {
    const char *name; /* see keep.h */
    bool leased;
    bool fresh;    /* made by this process, so its size is not known yet */
    bool in_place; /* a directory that changes: its size is taken anew after each use */
    uint64_t size; /* once known */
    uint64_t grew; /* by so much, by what this process put into it */
    const char *type, *what;
} Use;

typedef struct Janitor Janitor; /* of tmp.c */

struct Store {
    char *path;
    int dirfd;
    int lockfd; /* of our directory below tmp/; -1 until the first store_tmp */
    char owner[STORE_TMP_MAX];
    unsigned ntmp;
    Janitor *janitor; /* NULL until something is discarded */
    sqlite3 *db;
    int log_pages; /* of the database's log, after our last write */
    pthread_mutex_t
        lock; /* one statement at a time: the connection is shared by the pool's threads */
    /* Leases, under the lock. */
    int leasefd; /* our file below leases/; -1 until the first lease */
    off_t lease_end;
    Arena arena;
    Use *uses;
    size_t nuse, use_cap;
    Map use_of;           /* name -> index in uses */
    sqlite3_stmt *doomed; /* asks whether a name is being collected */
    bool looks;           /* this process only looks: it takes no leases */
    bool undurable;       /* something was noted by durable_note() */
    bool collects;        /* the process that is left behind makes the cache fit `ceiling` */
    uint64_t ceiling;
    size_t nlost; /* see store_lost() */
};

/* store_replace - make or replace a file at the top of the store, whole or not at all. */
NODISCARD bool store_replace(Store *s, const char *name, const char *bytes, size_t n, Err *e);
/* store_layout_anew - write the files that make the store an OCI layout, from the database. */
NODISCARD bool store_layout_anew(Store *s, Err *e);
/* store_own - have a directory of our own below tmp/; s->lock is held. */
NODISCARD bool store_own(Store *s, Err *e);
/* tmp_done - remove our directory below tmp/. */
void tmp_done(Store *s);

NODISCARD bool db_open(Store *s, const char *owners, Err *e);
/* db_connect - the same for a database that was open before; when it is gone, none is made. */
NODISCARD bool db_connect(Store *s, Err *e);
void db_close(Store *s);

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

/* db_exec - statements without parameters and rows. */
NODISCARD bool db_exec(Store *s, const char *sql, Err *e);
/* db_number - the first column of the first row; *ret is left alone without a row. */
NODISCARD bool db_number(Store *s, const char *sql, int64_t *ret, Err *e);
/* db_names - append the first column of all rows. param: the statement's one parameter, or NULL. */
NODISCARD bool db_names(Store *s, Arena *a, const char *sql, const char *param, StrList *ret,
                        Err *e);
NODISCARD bool db_fact_get(Store *s, const char *name, Buf *ret, Err *e);
NODISCARD bool db_fact_put(Store *s, const char *name, const char *value, Err *e);

void db_bind_digest(Stmt *q, int i, const Digest *d);
void db_bind_text(Stmt *q, int i, const char *s);
void db_bind_int(Stmt *q, int i, int64_t v);
bool db_digest(const Stmt *q, int col, Digest *ret);
const char *db_text(const Stmt *q, int col);
int64_t db_int(const Stmt *q, int col);

#endif
