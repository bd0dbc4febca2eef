/*
 * store/collect.c - letting go of things while others build. keep.h has the order of events.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>

#include "base/fs.h"
#include "store/keep.h"

/* Names a transaction: no writer waits for long. */
enum { BATCH = 200 };

typedef struct Collection {
    Store *s;
    bool forced;
    Arena arena;
    Map leases;
    bool images_gone;
    Err *e;
} Collection;

static void scoped_collection_done(Collection *c)
{
    map_done(&c->leases);
    arena_done(&c->arena);
}

bool collect_lock(Store *s, bool wait, int *ret_fd, Err *e)
{
    scoped(fd) int fd = openat(s->dirfd, "gc.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open '%s/gc.lock'", s->path);
    *ret_fd = -1;
    while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
        if (errno == EWOULDBLOCK)
            return true;
        if (errno != EINTR)
            return err_errno(e, ERR_STORE, "lock '%s/gc.lock'", s->path);
    }
    *ret_fd = fd_take(&fd);
    return true;
}

/* ---- statements about one name ---- */

/* ?1 is the digest of the name, or the number of a snapshot, or nothing. */
static void bind_name(Stmt *q, const char *name)
{
    Digest d;
    if (name[0] == 's')
        db_bind_int(q, 1, (int64_t)strtoull(name + 1, NULL, 10));
    else if (name_digest(name, &d))
        db_bind_digest(q, 1, &d);
}

static bool run_about(Collection *c, const char *sql, const char *name, bool *ret_row)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(c->s, sql, &q, c->e))
        return false;
    bind_name(&q, name);
    return db_row(&q, ret_row, c->e);
}

static bool set_doom(Collection *c, const char *name, int state)
{
    static const char *const SQL[] = {"DELETE FROM doomed WHERE name = ?1",
                                      "INSERT OR REPLACE INTO doomed VALUES(?1, 1)",
                                      "INSERT OR REPLACE INTO doomed VALUES(?1, 2)"};
    scoped(stmt) Stmt q = {0};
    if (!db_begin(c->s, SQL[state], &q, c->e))
        return false;
    db_bind_text(&q, 1, name);
    return db_run(&q, c->e);
}

static bool doom_is(Collection *c, const char *name, int state, bool *ret)
{
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(c->s, "SELECT state FROM doomed WHERE name = ?", &q, c->e))
        return false;
    db_bind_text(&q, 1, name);
    if (!db_row(&q, &row, c->e))
        return false;
    *ret = row && db_int(&q, 0) == state;
    return true;
}

/* Whether something that stays needs it. Images that go were taken before what they need. */
static bool needed(Collection *c, const char *name, bool *ret)
{
    const char *sql = NULL;
    *ret = false;
    switch (name[0]) {
    case 'i':
        sql = "SELECT 1 FROM tag WHERE image = ?1";
        break;
    case 'b':
        sql = "SELECT 1 FROM image WHERE id = ?1 OR manifest = ?1 UNION ALL SELECT 1 FROM packed p "
              "JOIN image_layer l ON l.diff_id = p.diff_id WHERE p.blob = ?1";
        break;
    case 's':
        sql = "SELECT 1 FROM image_layer WHERE snapshot = ?1 AND times <> '' UNION ALL SELECT 1 "
              "FROM part WHERE part = ?1";
        break;
    default:
        break;
    }
    return c->forced || !sql || run_about(c, sql, name, ret);
}

static bool drop_rows(Collection *c, const char *name)
{
    static const char *const IMAGE[] = {
        "DELETE FROM tag WHERE image = ?1", "DELETE FROM doc WHERE image = ?1",
        "DELETE FROM image_layer WHERE image = ?1", "DELETE FROM image WHERE id = ?1", NULL};
    /* An image that loses a packed layer is packed anew, manifest and all; unless a registry has
     * the very bytes. */
    static const char *const BLOB[] = {
        "UPDATE image SET manifest = NULL WHERE manifest = ?1 OR id IN (SELECT l.image FROM "
        "image_layer l JOIN packed p ON p.diff_id = l.diff_id WHERE p.blob = ?1 AND p.blob NOT IN "
        "(SELECT blob FROM origin))",
        "DELETE FROM packed WHERE blob = ?1", NULL};
    static const char *const SNAPSHOT[] = {"DELETE FROM record WHERE snapshot = ?1 OR snapshot IN "
                                           "(SELECT snapshot FROM part WHERE part = ?1)",
                                           "DELETE FROM part WHERE snapshot = ?1",
                                           "DELETE FROM layer WHERE snapshot = ?1",
                                           "DELETE FROM snapshot WHERE id = ?1", NULL};
    static const char *const RECORD[] = {"DELETE FROM record WHERE key = ?1", NULL};
    static const char *const MEMO[] = {"DELETE FROM memo WHERE key = ?1", NULL};
    static const char *const NOTHING[] = {NULL};
    const char *const *sql = name[0] == 'i'   ? IMAGE
                             : name[0] == 'b' ? BLOB
                             : name[0] == 's' ? SNAPSHOT
                             : name[0] == 'r' ? RECORD
                             : name[0] == 'k' ? MEMO
                                              : NOTHING;
    bool row;
    for (; *sql; sql++)
        if (!run_about(c, *sql, name, &row))
            return false;
    if (name[0] == 'd') {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(c->s, "DELETE FROM fact WHERE name = 'whole ' || ?", &q, c->e))
            return false;
        db_bind_text(&q, 1, name + 1);
        if (!db_run(&q, c->e))
            return false;
    }
    scoped(stmt) Stmt q = {0};
    if (!db_begin(c->s, "DELETE FROM use WHERE name = ?", &q, c->e))
        return false;
    db_bind_text(&q, 1, name);
    c->images_gone = c->images_gone || name[0] == 'i' || name[0] == 'b';
    return db_run(&q, c->e);
}

/* ---- the three steps ---- */

/* Run a step in one transaction. */
static bool in_txn(Collection *c, bool (*step)(Collection *c, const StrList *names, bool *gone),
                   const StrList *names, bool *gone)
{
    Err ignored = ERR_INIT;
    if (!db_exec(c->s, "BEGIN IMMEDIATE", c->e))
        return false;
    if (step(c, names, gone) && db_exec(c->s, "COMMIT", c->e))
        return true;
    (void)!db_exec(c->s, "ROLLBACK", &ignored);
    return false;
}

static bool announce(Collection *c, const StrList *names, bool *gone)
{
    (void)gone;
    for (size_t i = 0; i < names->n; i++)
        if (!set_doom(c, names->v[i], DOOMED))
            return false;
    return true;
}

static bool forget(Collection *c, const StrList *names, bool *gone)
{
    uint64_t one;
    if (!leases_read(c->s, &c->arena, &c->leases, c->e))
        return false;
    for (size_t i = 0; i < names->n; i++) {
        const char *name = names->v[i];
        bool mine, keep = true;
        if (!doom_is(c, name, DOOMED, &mine) || (mine && !needed(c, name, &keep)))
            return false;
        gone[i] = mine && !keep && !map_get(&c->leases, name, &one);
        if (!gone[i] && mine && !set_doom(c, name, 0))
            return false;
        if (gone[i] && (!drop_rows(c, name) || !set_doom(c, name, DOOM_DONE)))
            return false;
    }
    return true;
}

/* Rename what lies there into tmp/, whence it is removed when the database knows. */
static bool take_away(Collection *c, const StrList *names, bool *gone)
{
    for (size_t i = 0; i < names->n; i++) {
        char to[STORE_TMP_MAX];
        bool still;
        const char *from = name_path(&c->arena, names->v[i]);
        if (!gone[i])
            continue;
        /* Who wanted it meanwhile has taken it away himself, and may have made a new one. */
        if (!doom_is(c, names->v[i], DOOM_DONE, &still) || !set_doom(c, names->v[i], 0))
            return false;
        if (!still || !from)
            continue;
        if (!store_tmp(c->s, "gone", to, c->e))
            return false;
        if (renameat(c->s->dirfd, from, c->s->dirfd, to) < 0 && errno != ENOENT)
            return err_errno(c->e, ERR_STORE, "move '%s/%s' away", c->s->path, from);
        if (names->v[i][0] != 's')
            continue;
        store_snapshot_mark(strtoull(names->v[i] + 1, NULL, 10), to);
        (void)unlinkat(c->s->dirfd, to, 0); /* at worst it stays, and is of nothing */
    }
    return true;
}

static void empty_own_tmp(Collection *c)
{
    StrList names = {0};
    Err ignored = ERR_INIT;
    if (c->s->lockfd < 0)
        return;
    scoped(fd) int fd = openat(c->s->dirfd, c->s->owner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || !fs_list(&c->arena, fd, &names, &ignored))
        return;
    for (size_t i = 0; i < names.n; i++) {
        Err once = ERR_INIT;
        if (str_starts(names.v[i], "gone-"))
            (void)fs_remove_tree(fd, names.v[i], &once); /* best effort: tmp/ is swept */
    }
}

static bool collect_batch(Collection *c, const StrList *names, bool *gone)
{
    Err ignored = ERR_INIT;
    if (!in_txn(c, announce, names, gone))
        return false;
    /* Rows that are gone stay gone, before the first byte goes. */
    bool ok = db_exec(c->s, "PRAGMA synchronous=FULL", c->e) && in_txn(c, forget, names, gone);
    (void)!db_exec(c->s, "PRAGMA synchronous=NORMAL", &ignored);
    /* The layout's index must not name what is not there. */
    if (!ok || (c->images_gone && !store_publish(c->s, c->e)) || !in_txn(c, take_away, names, gone))
        return false;
    empty_own_tmp(c);
    return true;
}

/* Images first, for they need the others; then snapshots, those that stand on others before them.
 */
static uint64_t rank(const char *name)
{
    return name[0] == 'i'   ? 0
           : name[0] == 's' ? UINT64_MAX / 2 - strtoull(name + 1, NULL, 10)
                            : UINT64_MAX;
}

static int by_rank(const void *a, const void *b, void *arg)
{
    const StrList *names = arg;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    uint64_t rx = rank(names->v[x]), ry = rank(names->v[y]);
    return rx != ry ? rx < ry ? -1 : 1 : x < y ? -1 : x > y;
}

bool collect(Store *s, const StrList *names, bool forced, bool *ret_gone, Err *e)
{
    scoped(collection) Collection c = {.s = s, .forced = forced, .e = e};
    StrList batch = {.v = NEW_N(&c.arena, char *, BATCH)};
    size_t *order = NEW_N(&c.arena, size_t, names->n + 1);
    for (size_t i = 0; i < names->n; i++)
        order[i] = i;
    qsort_r(order, names->n, sizeof *order, by_rank, (void *)(uintptr_t)names);
    for (size_t first = 0; first < names->n; first += batch.n) {
        bool gone[BATCH] = {false};
        batch.n = names->n - first < BATCH ? names->n - first : BATCH;
        /* What is needed is asked when images are gone from the database. */
        for (size_t k = 0; k < batch.n; k++) {
            if (k && (names->v[order[first + k]][0] == 'i') != (batch.v[0][0] == 'i'))
                batch.n = k;
            else
                batch.v[k] = names->v[order[first + k]];
        }
        bool ok = collect_batch(&c, &batch, gone);
        for (size_t k = 0; k < batch.n; k++)
            ret_gone[order[first + k]] = gone[k];
        if (!ok)
            return false;
        map_done(&c.leases);
        c.leases = (Map){0};
    }
    return !c.images_gone || origins_forget(s, e);
}

/* ---- after a crash ---- */

bool collect_debris(Store *s, Err *e)
{
    scoped(collection) Collection c = {.s = s, .e = e};
    StrList done = {0}, half = {0};
    if (!db_names(s, &c.arena, "SELECT name FROM doomed WHERE state = 2", NULL, &done, e) ||
        !db_names(s, &c.arena, "SELECT 's' || id FROM snapshot WHERE done = 0", NULL, &half, e) ||
        !db_names(s, &c.arena,
                  "SELECT DISTINCT 'i' || lower(hex(image)) FROM image_layer WHERE image NOT IN "
                  "(SELECT id FROM image) AND length(image) = 32",
                  NULL, &half, e))
        return false;
    bool *gone = NEW_N(&c.arena, bool, done.n + half.n + 1);
    for (size_t i = 0; i < done.n; i++)
        gone[i] = true;
    if (done.n && !in_txn(&c, take_away, &done, gone))
        return false;
    int64_t left = 0;
    empty_own_tmp(&c);
    if (!db_number(s, "SELECT count(*) FROM doomed WHERE state = 1", &left, e) ||
        (left && !db_exec(s, "DELETE FROM doomed WHERE state = 1", e)))
        return false;
    return !half.n || collect(s, &half, false, gone, e);
}
