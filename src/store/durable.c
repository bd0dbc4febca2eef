/*
 * store/durable.c - what would be lost when the power goes, without waiting for the disk.
 *
 * Nothing is synced in a step's way. Whatever is published is noted in the table `undurable`, in
 * front of the rows that lead to it, with the boot it was made in. When a process has ended its
 * work it leaves a child behind, which has the kernel write everything out and then strikes off
 * what was there before it began; where the cache has grown too big it collects, too. A note of
 * another boot is of something that may be torn: that is dropped with all that leads to it, and
 * made again. SQLite's log keeps the order of commits, so no row survives its note's loss. But the
 * end of the log may be lost as well: so the first process of a boot also drops what no row knows,
 * a blob above all, for that is believed by its name.
 *
 * A directory that changes in place (a cache mount, a git repository) is noted by each process that
 * uses it, and the note stays until that process is dead and what it wrote is on the disk. Then the
 * directory's change time is kept. Who uses it again touches it first, and a journal keeps the
 * order of that and of what is written after: so in another boot it is whole if its time is that
 * one.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/late.h"
#include "store/keep.h"

enum { BOOT_ID_LEN = 36 };

static bool boot_id(char out[static BOOT_ID_LEN + 1])
{
    scoped(fd) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    out[BOOT_ID_LEN] = 0;
    return fd >= 0 && read(fd, out, BOOT_ID_LEN) == BOOT_ID_LEN;
}

bool durable_note(Store *s, const char *name, Err *e)
{
    char boot[BOOT_ID_LEN + 1];
    pthread_mutex_lock(&s->lock);
    bool ok = store_own(s, e);
    pthread_mutex_unlock(&s->lock);
    if (!ok)
        return false;
    if (!boot_id(boot))
        boot[0] = 0; /* never this boot: dropped if the process does not live to strike it off */
    s->undurable = true;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "INSERT OR REPLACE INTO undurable(name, owner, boot) VALUES(?, ?, ?)", &q, e))
        return false;
    db_bind_text(&q, 1, name);
    db_bind_text(&q, 2, s->owner);
    db_bind_text(&q, 3, boot);
    return db_run(&q, e);
}

/* ---- after another boot ---- */

static bool torn_names(Store *s, Arena *a, const char *boot, StrList *ret, Err *e)
{
    return db_names(s, a, "SELECT DISTINCT name FROM undurable WHERE boot <> ?", boot, ret, e);
}

/* What lies in a directory of the store and is not among those that a query knows. */
static bool unknown_in(Store *s, Arena *a, const char *dir, char letter, const char *sql,
                       StrList *ret, Err *e)
{
    scoped(map) Map known = {0};
    StrList names = {0}, rows = {0};
    scoped(fd) int fd = openat(s->dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || err_errno(e, ERR_STORE, "open '%s/%s'", s->path, dir);
    if (!fs_list(a, fd, &names, e) || !db_names(s, a, sql, NULL, &rows, e))
        return false;
    for (size_t i = 0; i < rows.n; i++)
        (void)map_put(&known, rows.v[i], 1);
    for (size_t i = 0; i < names.n; i++) {
        uint64_t one;
        const char *name = arena_printf(a, "%c%.100s", letter, names.v[i]);
        if (!map_get(&known, name, &one))
            strlist_add(a, ret, name);
    }
    return true;
}

/* When a directory that changes in place was changed or touched last, as text; NULL: it is none. */
static const char *touched(Store *s, Arena *a, const char *path)
{
    struct stat st;
    if (!path || (!str_starts(path, "mounts/") && !str_starts(path, "git/")))
        return NULL;
    if (fstatat(s->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return NULL;
    return arena_printf(a, "%lld.%09ld", (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

/* Directories below `top` that were changed since they were on the disk. */
static bool changed_in(Store *s, Arena *a, const char *top, StrList *ret, Err *e)
{
    StrList names = {0};
    scoped(fd) int fd = openat(s->dirfd, top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || err_errno(e, ERR_STORE, "open '%s/%s'", s->path, top);
    if (!fs_list(a, fd, &names, e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        scoped(buf) Buf kept = BUF_INIT;
        const char *path = arena_printf(a, "%s/%.80s", top, names.v[i]);
        const char *now = touched(s, a, path);
        if (!db_fact_get(s, arena_printf(a, "whole %s", path), &kept, e))
            return false;
        if (now && strcmp(now, buf_str(&kept)) != 0)
            strlist_add(a, ret, arena_printf(a, "d%s", path));
    }
    return true;
}

/* What another boot has left of which no row tells whether it was on the disk. */
static bool unknown_names(Store *s, Arena *a, StrList *ret, Err *e)
{
    return unknown_in(s, a, "snapshots", 's', "SELECT 's' || id FROM snapshot", ret, e) &&
           unknown_in(s, a, "blobs/sha256", 'b',
                      "SELECT 'b' || lower(hex(blob)) FROM packed UNION "
                      "SELECT 'b' || lower(hex(id)) FROM image UNION "
                      "SELECT 'b' || lower(hex(manifest)) FROM image WHERE manifest IS NOT NULL "
                      "UNION SELECT name FROM use WHERE substr(name, 1, 1) = 'b'",
                      ret, e) &&
           changed_in(s, a, "mounts", ret, e) && changed_in(s, a, "git", ret, e);
}

static bool same_boot(Store *s, const char *boot, bool *ret, Err *e)
{
    scoped(buf) Buf last = BUF_INIT;
    if (!db_fact_get(s, "boot", &last, e))
        return false;
    *ret = !strcmp(buf_str(&last), boot);
    return true;
}

static bool strike_boots(Store *s, const char *boot, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "DELETE FROM undurable WHERE boot <> ?", &q, e))
        return false;
    db_bind_text(&q, 1, boot);
    return db_run(&q, e);
}

bool durable_recover(Store *s, Err *e)
{
    scoped(arena) Arena a = {0};
    char boot[BOOT_ID_LEN + 1];
    StrList names = {0};
    bool same;
    int lock = -1;
    if (!boot_id(boot) || sqlite3_db_readonly(s->db, "main") == 1)
        return true;
    if (!same_boot(s, boot, &same, e) || !torn_names(s, &a, boot, &names, e))
        return false;
    if (same && !names.n)
        return true;
    if (!collect_lock(s, true, &lock, e))
        return false;
    scoped(fd) int held = lock;
    names.n = 0; /* another process may have done it while we waited */
    bool ok = same_boot(s, boot, &same, e) && torn_names(s, &a, boot, &names, e) &&
              (same || unknown_names(s, &a, &names, e));
    bool *gone = NEW_N(&a, bool, names.n + 1);
    ok = ok && (!names.n || collect(s, &names, true, gone, e)) && strike_boots(s, boot, e) &&
         (same || (store_layout_anew(s, e) && db_fact_put(s, "boot", boot, e)));
    (void)held;
    s->nlost = ok ? names.n : 0;
    return ok || err_wrap(e, "drop what was not on the disk when the machine stopped");
}

size_t store_lost(const Store *s)
{
    return s->nlost;
}

/* ---- writing out ---- */

/* A note that may be struck off once everything is written. */
typedef struct Note {
    const char *name, *owner;
    const char *touched; /* see touched() */
} Note;

/* Whether what a note is about was complete when it was read. */
static bool is_whole(Store *s, const char *name, const char *owner, int64_t done)
{
    scoped(arena) Arena a = {0};
    const char *path = name_path(&a, name);
    if (name[0] == 's' && !done)
        return false;
    if (name[0] == 'd')
        return tmp_owner_dead(s, owner);
    return !path || faccessat(s->dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool read_notes(Store *s, Arena *a, Note **ret, size_t *ret_n, Err *e)
{
    Note *v = NULL;
    size_t n = 0, cap = 0;
    bool row = true;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s,
                  "SELECT u.name, u.owner, s.done FROM undurable u LEFT JOIN snapshot s ON u.name "
                  "= 's' || s.id",
                  &q, e))
        return false;
    while (row) {
        if (!db_row(&q, &row, e))
            return false;
        if (!row || !is_whole(s, db_text(&q, 0), db_text(&q, 1), db_int(&q, 2)))
            continue;
        const char *name = arena_strdup(a, db_text(&q, 0));
        *ARENA_PUSH(a, v, n, cap) =
            (Note){name, arena_strdup(a, db_text(&q, 1)), touched(s, a, name_path(a, name))};
    }
    *ret = v;
    *ret_n = n;
    return true;
}

static bool strike(Store *s, const Note *n, Err *e)
{
    {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, "DELETE FROM undurable WHERE name = ? AND owner = ?", &q, e))
            return false;
        db_bind_text(&q, 1, n->name);
        db_bind_text(&q, 2, n->owner);
        if (!db_run(&q, e))
            return false;
    }
    if (!n->touched)
        return true;
    /* Whoever uses it still has a note of his own. */
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s,
                  "INSERT OR REPLACE INTO fact SELECT 'whole ' || substr(?1, 2), ?2 WHERE NOT "
                  "EXISTS (SELECT 1 FROM undurable WHERE name = ?1)",
                  &q, e))
        return false;
    db_bind_text(&q, 1, n->name);
    db_bind_text(&q, 2, n->touched);
    return db_run(&q, e);
}

static bool strike_all(Store *s, const Note *v, size_t n, Err *e)
{
    bool ok = db_exec(s, "BEGIN IMMEDIATE", e);
    for (size_t i = 0; ok && i < n; i++)
        ok = strike(s, &v[i], e);
    return ok && db_exec(s, "COMMIT", e);
}

static void write_out(Store *s)
{
    scoped(arena) Arena a = {0};
    Err ignored = ERR_INIT; /* nobody is there to be told; what is noted stays noted */
    Note *v = NULL;
    size_t n = 0;
    if (read_notes(s, &a, &v, &n, &ignored) && syncfs(s->dirfd) == 0)
        (void)strike_all(s, v, n, &ignored);
}

/* With a connection of its own: one must not be carried over a fork. */
static void work_behind(const Store *parent)
{
    Err ignored = ERR_INIT;
    StoreGc gc;
    Store s = {.path = parent->path, .dirfd = parent->dirfd, .lockfd = -1, .leasefd = -1};
    pthread_mutex_init(&s.lock, NULL);
    if (db_connect(&s, &ignored)) { /* else the store is gone meanwhile */
        write_out(&s);
        if (parent->collects)
            (void)!store_gc(&s, parent->ceiling, &gc, &ignored); /* else the next build's does it */
        tmp_done(&s);
    }
    db_close(&s);
}

/* Nothing of ours may hold anybody up: neither a reader of our output, nor a lock. */
static void let_go(Store *s)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int dir = s->dirfd;
    for (int i = 0; null >= 0 && i < 3; i++)
        (void)dup2(null, i);
    (void)setsid();
    if (dir != 3 && dup3(dir, 3, O_CLOEXEC) < 0)
        _exit(1);
    s->dirfd = 3;
    late_close_others(4);
}

void durable_settle(Store *s)
{
    if (!s->undurable && !s->collects)
        return;
    pid_t pid = fork();
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
    if (pid != 0) /* where none is to be had, the next process's child does it */
        return;
    /* Twice, so that nobody who waits for our process's children has one more. */
    if (fork() == 0) {
        let_go(s);
        work_behind(s);
    }
    _exit(0);
}
