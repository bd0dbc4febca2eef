/*
 * store/durable.c - what would be lost when the power goes, without waiting for the disk.
 *
 * Nothing is synced in a step's way. Whatever is published is noted in the table `undurable`, in
 * front of the rows that lead to it, with the boot it was made in. When a process has ended its
 * work it leaves a child behind, which has the kernel write everything out and then strikes off
 * what was there before it began. A note of another boot is of something that may be torn: that is
 * dropped with all that leads to it, and made again. SQLite's log keeps the order of commits, so no
 * row survives its note's loss.
 *
 * A directory that changes in place (a cache mount, a git repository) is noted by each process that
 * uses it, and the note stays until that process is dead and what it wrote is on the disk.
 */
#include <errno.h>
#include <linux/close_range.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
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
    bool row = true;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT DISTINCT name FROM undurable WHERE boot <> ?", &q, e))
        return false;
    db_bind_text(&q, 1, boot);
    while (row) {
        if (!db_row(&q, &row, e))
            return false;
        if (row)
            strlist_add(a, ret, db_text(&q, 0));
    }
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
    int lock = -1;
    if (!boot_id(boot) || !torn_names(s, &a, boot, &names, e))
        return !names.n;
    if (!names.n)
        return true;
    if (!collect_lock(s, true, &lock, e))
        return false;
    scoped(fd) int held = lock;
    names.n = 0; /* another process may have done it while we waited */
    bool *gone = NULL;
    bool ok = torn_names(s, &a, boot, &names, e);
    gone = NEW_N(&a, bool, names.n + 1);
    ok = ok && (!names.n || collect(s, &names, true, gone, e)) && strike_boots(s, boot, e);
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
        if (row && is_whole(s, db_text(&q, 0), db_text(&q, 1), db_int(&q, 2)))
            *ARENA_PUSH(a, v, n, cap) =
                (Note){arena_strdup(a, db_text(&q, 0)), arena_strdup(a, db_text(&q, 1))};
    }
    *ret = v;
    *ret_n = n;
    return true;
}

static bool strike(Store *s, const Note *n, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "DELETE FROM undurable WHERE name = ? AND owner = ?", &q, e))
        return false;
    db_bind_text(&q, 1, n->name);
    db_bind_text(&q, 2, n->owner);
    return db_run(&q, e);
}

static bool strike_all(Store *s, const Note *v, size_t n, Err *e)
{
    bool ok = db_exec(s, "BEGIN IMMEDIATE", e);
    for (size_t i = 0; ok && i < n; i++)
        ok = strike(s, &v[i], e);
    return ok && db_exec(s, "COMMIT", e);
}

/* With a connection of its own: one must not be carried over a fork. */
static void write_out(Store *parent)
{
    scoped(arena) Arena a = {0};
    Err ignored = ERR_INIT; /* nobody is there to be told; what is noted stays noted */
    Store s = {.path = parent->path, .dirfd = parent->dirfd, .lockfd = -1, .leasefd = -1};
    Note *v = NULL;
    size_t n = 0;
    pthread_mutex_init(&s.lock, NULL);
    if (!db_connect(&s, &ignored))
        return;
    bool ok = read_notes(&s, &a, &v, &n, &ignored) && syncfs(s.dirfd) == 0;
    if (ok)
        (void)strike_all(&s, v, n, &ignored);
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
    (void)close_range(4, ~0U, 0);
}

void durable_settle(Store *s)
{
    if (!s->undurable)
        return;
    pid_t pid = fork();
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
    if (pid != 0) /* where none is to be had, the next process's child does it */
        return;
    /* Twice, so that nobody who waits for our process's children has one more. */
    if (fork() == 0) {
        let_go(s);
        write_out(s);
    }
    _exit(0);
}
