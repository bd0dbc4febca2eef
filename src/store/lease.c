/*
 * store/lease.c - what this process uses: leases while it runs, the time of use when it ends.
 */
#include <errno.h>
#include <inttypes.h>
#include <sys/file.h>
#include <time.h>

#include "base/fs.h"
#include "store/keep.h"

/* A lock file with more is damaged; a build of 100,000 steps has a tenth of it. */
enum { BLOCK = 4096 }; /* of a disk: a small file has one, and its name has room in it */
enum { LEASES_MAX = 64 << 20, BLANK_MAX = 256 << 10, USES_FOLD = 1 << 20, USES_MAX = 64 << 20 };

/* ---- names ---- */

static void name_of(char letter, const Digest *d, char out[static NAME_MAX_LEN])
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(d, hex);
    (void)snprintf(out, NAME_MAX_LEN, "%c%s", letter, hex);
}

bool name_digest(const char *name, Digest *ret)
{
    char text[DIGEST_TEXT_SIZE];
    (void)snprintf(text, sizeof text, "sha256:%s", name + 1);
    return strlen(name) == DIGEST_HEX_SIZE && digest_parse(text, ret);
}

const char *name_path(Arena *a, const char *name)
{
    switch (name[0]) {
    case 'b':
        return arena_printf(a, "blobs/sha256/%s", name + 1);
    case 's':
        return arena_printf(a, "snapshots/%s", name + 1);
    case 'd':
        return name + 1;
    default:
        return NULL;
    }
}

/* ---- leases ---- */

/* The state of a name in `doomed`, 0 when it is not there; s->lock is held. */
static int doom_of(Store *s, const char *name)
{
    static const char SQL[] = "SELECT state FROM doomed WHERE name = ?";
    if (!s->doomed && sqlite3_prepare_v3(s->db, SQL, -1, SQLITE_PREPARE_PERSISTENT, &s->doomed,
                                         NULL) != SQLITE_OK)
        return -1;
    sqlite3_bind_text(s->doomed, 1, name, -1, SQLITE_STATIC);
    int rc = sqlite3_step(s->doomed);
    int state = rc == SQLITE_ROW ? sqlite3_column_int(s->doomed, 0) : rc == SQLITE_DONE ? 0 : -1;
    sqlite3_reset(s->doomed);
    return state;
}

/*
 * A collection has its eye on what we have just leased. With the database's write lock held it can
 * be in one of two states: it has not looked at leases for the last time, and we strike the name
 * off; or the rows are gone. Then what lies in its place goes too, before anybody makes it anew.
 */
static bool rescue(Store *s, const char *name, bool *ret_gone, Err *e)
{
    scoped(arena) Arena a = {0};
    char *strike = sqlite3_mprintf("DELETE FROM doomed WHERE name = %Q", name);
    if (!store_own(s, e)) {
        sqlite3_free(strike);
        return false;
    }
    bool ok = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
    int state = ok ? doom_of(s, name) : -1;
    bool strikes = state == DOOMED;
    if (state == DOOM_DONE) {
        const char *path = name_path(&a, name);
        char to[STORE_TMP_MAX];
        *ret_gone = true;
        (void)snprintf(to, sizeof to, "%.60s/doomed-%u", s->owner, s->ntmp++);
        /* A snapshot's number is never used again: it may lie there until the collection goes on.*/
        strikes = name[0] != 's';
        if (strikes && path)
            (void)renameat(s->dirfd, path, s->dirfd, to);
    }
    if (ok && strikes)
        ok = sqlite3_exec(s->db, strike, NULL, NULL, NULL) == SQLITE_OK;
    ok = ok && state >= 0;
    if (!ok)
        err_set(e, ERR_STORE, "store database '%s/meta.db': %s", s->path, sqlite3_errmsg(s->db));
    (void)sqlite3_exec(s->db, ok ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL);
    sqlite3_free(strike);
    return ok;
}

/* The entry of a name; s->lock is held. */
static Use *use_of(Store *s, const char *name)
{
    uint64_t i;
    if (map_get(&s->use_of, name, &i))
        return &s->uses[i];
    Use *u = ARENA_PUSH(&s->arena, s->uses, s->nuse, s->use_cap);
    u->name = arena_strdup(&s->arena, name);
    (void)map_put(&s->use_of, u->name, s->nuse - 1);
    return u;
}

/*
 * Blank out what the last owner wrote. Cutting the file off would be simpler and takes ext4 a
 * millisecond: it writes a file to the disk that is made empty and filled again.
 */
static bool blank(int fd)
{
    char spaces[4096];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return false;
    if (st.st_size > BLANK_MAX)
        return ftruncate(fd, 0) == 0;
    memset(spaces, '\n', sizeof spaces);
    for (off_t at = 0; at < st.st_size;) {
        size_t n = (size_t)(st.st_size - at);
        ssize_t done = pwrite(fd, spaces, n < sizeof spaces ? n : sizeof spaces, at);
        if (done <= 0)
            return false;
        at += done;
    }
    return true;
}

/*
 * A file for our leases: the first below leases/ that nobody has locked. The files stay, for a
 * build of hits makes and removes nothing. Until it is blank what the last owner wrote counts as
 * ours, which does no harm.
 */
static bool have_file(Store *s, Err *e)
{
    for (unsigned i = 0; s->leasefd < 0; i++) {
        char path[40];
        (void)snprintf(path, sizeof path, "leases/%u", i);
        scoped(fd) int fd = openat(s->dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 && errno == ENOENT &&
            (mkdirat(s->dirfd, "leases", 0700) == 0 || errno == EEXIST))
            fd = openat(s->dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return err_errno(e, ERR_STORE, "open '%s/%s'", s->path, path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue;
        if (!blank(fd))
            return err_errno(e, ERR_STORE, "write '%s/%s'", s->path, path);
        s->leasefd = fd_take(&fd);
    }
    return true;
}

static bool write_lease(Store *s, const char *line, Err *e)
{
    size_t n = strlen(line), done = 0;
    while (done < n) { /* a full disk takes the half of it first, and says why after */
        ssize_t w = pwrite(s->leasefd, line + done, n - done, s->lease_end + (off_t)done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return err_errno(e, ERR_STORE, "write a lease in store '%s'", s->path);
        done += (size_t)w;
    }
    s->lease_end += (off_t)n;
    return true;
}

static bool lease(Store *s, const char *name, bool fresh, bool *ret_gone, Err *e)
{
    bool ok = true;
    *ret_gone = false;
    if (s->looks)
        return true;
    pthread_mutex_lock(&s->lock);
    Use *u = use_of(s, name);
    u->fresh = u->fresh || fresh;
    if (!u->leased) {
        char line[NAME_MAX_LEN + 2];
        (void)snprintf(line, sizeof line, "%s\n", name);
        ok = have_file(s, e) && write_lease(s, line, e);
        int state = ok ? doom_of(s, name) : 0;
        if (state)
            ok = rescue(s, name, ret_gone, e);
        u->leased = ok && !*ret_gone;
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

bool lease_blob(Store *s, const Digest *d, bool *ret_gone, Err *e)
{
    char name[NAME_MAX_LEN];
    name_of('b', d, name);
    return lease(s, name, false, ret_gone, e);
}

bool lease_image(Store *s, const Digest *id, bool *ret_gone, Err *e)
{
    char name[NAME_MAX_LEN];
    name_of('i', id, name);
    return lease(s, name, false, ret_gone, e);
}

bool lease_snapshot(Store *s, SnapshotId id, bool fresh, bool *ret_gone, Err *e)
{
    char name[NAME_MAX_LEN];
    (void)snprintf(name, sizeof name, "s%" PRIu64, id);
    return lease(s, name, fresh, ret_gone, e);
}

void lease_blob_size(Store *s, const Digest *d, uint64_t size)
{
    char name[NAME_MAX_LEN];
    name_of('b', d, name);
    pthread_mutex_lock(&s->lock);
    use_of(s, name)->size = size;
    pthread_mutex_unlock(&s->lock);
}

void note_use(Store *s, char letter, const Digest *d)
{
    char name[NAME_MAX_LEN];
    if (s->looks)
        return;
    name_of(letter, d, name);
    pthread_mutex_lock(&s->lock);
    (void)use_of(s, name);
    pthread_mutex_unlock(&s->lock);
}

bool store_use(Store *s, const char *path, const char *what, Err *e)
{
    char name[NAME_MAX_LEN];
    bool gone;
    (void)snprintf(name, sizeof name, "d%.120s", path);
    if (!lease(s, name, false, &gone, e))
        return false;
    if (!s->looks && !durable_note(s, name, e))
        return false;
    if (!s->looks) /* see durable.c; what is not there yet gets its time when it is made */
        (void)utimensat(s->dirfd, path, NULL, AT_SYMLINK_NOFOLLOW);
    pthread_mutex_lock(&s->lock);
    Use *u = use_of(s, name);
    u->in_place = true;
    u->what = arena_strdup(&s->arena, what);
    pthread_mutex_unlock(&s->lock);
    return true;
}

/* `grew` is added to what is there. */
static bool use_changed(Store *s, const char *path, const char *what, bool fresh, uint64_t grew,
                        Err *e)
{
    char name[NAME_MAX_LEN];
    bool gone;
    (void)snprintf(name, sizeof name, "d%.120s", path);
    if (!lease(s, name, fresh, &gone, e))
        return false;
    if (!fresh && !grew)
        return true;
    pthread_mutex_lock(&s->lock);
    Use *u = use_of(s, name);
    bool noted = u->what != NULL;
    u->what = arena_strdup(&s->arena, what);
    u->grew += grew;
    pthread_mutex_unlock(&s->lock);
    return noted || durable_note(s, name, e);
}

bool store_use_made(Store *s, const char *path, const char *what, bool made, Err *e)
{
    return use_changed(s, path, what, made, 0, e);
}

bool store_use_grew(Store *s, const char *path, const char *what, uint64_t size, Err *e)
{
    return use_changed(s, path, what, false, (size | (BLOCK - 1)) + 1, e);
}

bool store_index(Store *s, const char *dir, const char *rule, char out[static STORE_TMP_MAX],
                 Err *e)
{
    char hex[DIGEST_HEX_SIZE], name[NAME_MAX_LEN];
    bool gone;
    Digest d;
    Hasher h;
    hash_init(&h);
    hash_add(&h, dir, strlen(dir) + 1);
    hash_add(&h, rule, strlen(rule) + 1);
    hash_end(&h, &d);
    digest_hex(&d, hex);
    (void)snprintf(out, STORE_TMP_MAX, "index/%.32s", hex);
    (void)snprintf(name, sizeof name, "d%s", out);
    if (!s->looks && mkdirat(s->dirfd, "index", 0700) < 0 && errno != EEXIST)
        return err_errno(e, ERR_STORE, "create '%s/index'", s->path);
    return lease(s, name, false, &gone, e);
}

void store_describe(Store *s, SnapshotId id, const char *type, const char *what)
{
    char name[NAME_MAX_LEN];
    if (!id)
        return;
    (void)snprintf(name, sizeof name, "s%" PRIu64, id);
    pthread_mutex_lock(&s->lock);
    Use *u = use_of(s, name);
    u->type = arena_strdup(&s->arena, type);
    u->what = arena_strdup(&s->arena, what);
    pthread_mutex_unlock(&s->lock);
}

void store_just_looks(Store *s)
{
    s->looks = true;
}

/* ---- what others use ---- */

static void read_lines(Arena *a, char *text, Map *ret)
{
    /* A line that is being written has no end yet, and its writer has not looked yet either. */
    for (char *end; (end = strchr(text, '\n')); text = end + 1) {
        *end = 0;
        if (*text)
            (void)map_put(ret, arena_strdup(a, text), 1);
    }
}

bool leases_read(Store *s, Arena *a, Map *ret, Err *e)
{
    scoped(fd) int dir = openat(s->dirfd, "leases", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    StrList names;
    if (dir < 0)
        return errno == ENOENT || err_errno(e, ERR_STORE, "open '%s/leases'", s->path);
    if (!fs_list(a, dir, &names, e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        scoped(buf) Buf text = BUF_INIT;
        scoped(fd) int fd = openat(dir, names.v[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return err_errno(e, ERR_STORE, "open '%s/leases/%s'", s->path, names.v[i]);
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) /* its process is dead */
            continue;
        if (!fs_read_all(fd, LEASES_MAX, &text, e))
            return err_wrap(e, "'%s/leases/%s'", s->path, names.v[i]);
        if (text.len)
            read_lines(a, text.ptr, ret);
    }
    return true;
}

/* ---- what is remembered ---- */

bool store_cache_unknown(Store *s, Err *e)
{
    return db_exec(s, "DELETE FROM fact WHERE name = 'cache'", e);
}

/* How much bigger the cache is by one use, and what it is written down as. */
static bool write_use(Store *s, Stmt *q, const Use *u, int64_t now, Err *e)
{
    bool row;
    sqlite3_reset(q->st);
    db_bind_text(q, 1, u->name);
    db_bind_int(q, 2, now);
    if (u->size || u->fresh)
        db_bind_int(q, 3, (int64_t)u->size);
    else
        sqlite3_bind_null(q->st, 3);
    sqlite3_bind_text(q->st, 4, u->type, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(q->st, 5, u->what, -1, SQLITE_TRANSIENT);
    (void)s;
    return db_row(q, &row, e);
}

static bool old_size(Store *s, const char *name, uint64_t *ret, Err *e)
{
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT size FROM use WHERE name = ?", &q, e))
        return false;
    db_bind_text(&q, 1, name);
    if (!db_row(&q, &row, e))
        return false;
    *ret = row ? (uint64_t)db_int(&q, 0) : 0;
    return true;
}

/* Take the sizes of what is new or has changed, and add up by how much the cache grew. */
static bool measure(Store *s, int64_t *ret_growth, Err *e)
{
    scoped(arena) Arena a = {0};
    for (size_t i = 0; i < s->nuse; i++) {
        Use *u = &s->uses[i];
        uint64_t before = 0;
        if ((u->in_place || u->grew) && !old_size(s, u->name, &before, e))
            return false;
        if (u->grew && before)
            u->size = before + u->grew;
        else if (u->fresh || u->in_place || u->grew)
            u->size = tree_usage(s->dirfd, name_path(&a, u->name), NULL);
        *ret_growth += (int64_t)u->size - (int64_t)before;
    }
    return true;
}

static bool write_uses(Store *s, Err *e)
{
    /* Memos are counted in days: an unchanged build need not write them. */
    static const char SQL[] =
        "INSERT INTO use VALUES(?1, ?2, ?2, 1, ?3, ?4, ?5) ON CONFLICT(name) DO UPDATE SET"
        " used = ?2, uses = uses + 1, size = coalesce(?3, size), type = coalesce(?4, type),"
        " what = coalesce(?5, what) WHERE substr(?1, 1, 1) <> 'k' OR used < ?2 - 86400";
    int64_t now = (int64_t)time(NULL);
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, SQL, &q, e))
        return false;
    for (size_t i = 0; i < s->nuse; i++)
        if (!write_use(s, &q, &s->uses[i], now, e))
            return false;
    return true;
}

/*
 * A build of hits writes no row: what it used is one line in a file, "TIME NAME NAME...", and
 * whoever writes to the database next takes the lines over. A line lost by a crash is a use
 * forgotten.
 */
static bool log_uses(Store *s)
{
    scoped(buf) Buf line = BUF_INIT;
    struct stat st;
    Err ignored = ERR_INIT;
    scoped(fd) int fd = openat(s->dirfd, "uses", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > USES_FOLD)
        return false;
    buf_printf(&line, "%lld", (long long)time(NULL));
    for (size_t i = 0; i < s->nuse; i++)
        buf_printf(&line, " %s", s->uses[i].name);
    buf_putc(&line, '\n');
    return fs_write_all(fd, line.ptr, line.len, &ignored);
}

bool uses_read(int dirfd, const char *path, Arena *a, LoggedUse **ret, size_t *ret_n, Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    size_t cap = 0;
    char *lines = NULL;
    *ret_n = 0;
    if (faccessat(dirfd, path, F_OK, 0) < 0)
        return true;
    if (!fs_read_file(dirfd, path, USES_MAX, &text, e))
        return false;
    for (char *line = text.len ? strtok_r(text.ptr, "\n", &lines) : NULL; line;
         line = strtok_r(NULL, "\n", &lines)) {
        char *words = NULL, *word = strtok_r(line, " ", &words);
        uint64_t when;
        if (!word || !str_u64(word, INT64_MAX, &when))
            continue;
        while ((word = strtok_r(NULL, " ", &words)))
            if (strlen(word) < NAME_MAX_LEN)
                *ARENA_PUSH(a, *ret, *ret_n, cap) =
                    (LoggedUse){arena_strdup(a, word), (int64_t)when};
    }
    return true;
}

static bool write_logged(Store *s, const LoggedUse *v, size_t n, Err *e)
{
    static const char SQL[] =
        "UPDATE use SET used = max(used, ?2), uses = uses + 1 WHERE name = ?1";
    scoped(stmt) Stmt q = {0};
    bool row;
    if (!n)
        return true;
    if (!db_begin(s, SQL, &q, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        sqlite3_reset(q.st);
        db_bind_text(&q, 1, v[i].name);
        db_bind_int(&q, 2, v[i].when);
        if (!db_row(&q, &row, e))
            return false;
    }
    return true;
}

static bool grow(Store *s, int64_t by, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "UPDATE fact SET value = value + ? WHERE name = 'cache'", &q, e))
        return false;
    db_bind_int(&q, 1, by);
    return db_run(&q, e);
}

/* Take the lines away, so that nobody else counts them too. */
static bool take_log(Store *s, Arena *a, LoggedUse **ret, size_t *ret_n, Err *e)
{
    char tmp[STORE_TMP_MAX];
    if (!store_tmp(s, "uses", tmp, e))
        return false;
    if (renameat(s->dirfd, "uses", s->dirfd, tmp) < 0)
        return errno == ENOENT || err_errno(e, ERR_STORE, "move '%s/uses'", s->path);
    bool ok = uses_read(s->dirfd, tmp, a, ret, ret_n, e);
    (void)unlinkat(s->dirfd, tmp, 0); /* best effort: tmp/ is swept */
    return ok;
}

bool uses_fold(Store *s, Err *e)
{
    scoped(arena) Arena a = {0};
    LoggedUse *v = NULL;
    size_t n = 0;
    Err ignored = ERR_INIT;
    if (faccessat(s->dirfd, "uses", F_OK, 0) < 0)
        return true;
    if (!take_log(s, &a, &v, &n, e) || !db_exec(s, "BEGIN IMMEDIATE", e))
        return false;
    bool ok = write_logged(s, v, n, e) && db_exec(s, "COMMIT", e);
    if (!ok)
        (void)!db_exec(s, "ROLLBACK", &ignored);
    return ok;
}

bool store_note_uses(Store *s, Err *e)
{
    int64_t growth = 0;
    bool news = false;
    if (!s->nuse)
        return true;
    for (size_t i = 0; i < s->nuse; i++)
        news =
            news || s->uses[i].fresh || s->uses[i].in_place || s->uses[i].size || s->uses[i].grew;
    if (!news && log_uses(s))
        return true;
    scoped(arena) Arena a = {0};
    LoggedUse *logged = NULL;
    size_t nlogged = 0;
    if (!take_log(s, &a, &logged, &nlogged, e) || !measure(s, &growth, e) ||
        !db_exec(s, "BEGIN IMMEDIATE", e))
        return false;
    bool ok = write_logged(s, logged, nlogged, e) && write_uses(s, e) &&
              (!growth || grow(s, growth, e)) && db_exec(s, "COMMIT", e);
    Err ignored = ERR_INIT;
    if (!ok)
        (void)!db_exec(s, "ROLLBACK", &ignored);
    for (size_t i = 0; ok && i < s->nuse; i++) { /* said once; the leases stay */
        Use *u = &s->uses[i];
        u->fresh = false;
        u->size = u->grew = 0;
        u->type = u->what = NULL;
    }
    return ok;
}
