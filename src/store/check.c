/*
 * store/check.c - everything in the store against everything else.
 *
 * Rows are written after what they name and removed before it, so a row that names what is not
 * there was not left by a killed process: somebody removed something, or the disk lost it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "base/fs.h"
#include "store/keep.h"

typedef struct Check {
    Store *s;
    Arena *a;
    bool repair;
    StoreFinding *v;
    size_t n, cap;
    Err *e;
} Check;

static StoreFinding *found(Check *c, const char *lost, const char *fmt, ...) PRINTF_LIKE(3, 4);
static StoreFinding *found(Check *c, const char *lost, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    StoreFinding *f = ARENA_PUSH(c->a, c->v, c->n, c->cap);
    *f = (StoreFinding){.text = arena_strdup(c->a, text), .lost = lost};
    return f;
}

/* Drop one broken thing. It stays when a running process uses it. */
static bool drop(Check *c, const char *name, bool *ret_gone)
{
    StrList one = {0};
    strlist_add(c->a, &one, name);
    *ret_gone = false;
    return !c->repair || collect(c->s, &one, true, ret_gone, c->e);
}

/* Names that a query gives. */
static bool query(Check *c, const char *sql, StrList *ret)
{
    bool row = true;
    scoped(stmt) Stmt q = {0};
    *ret = (StrList){0};
    if (!db_begin(c->s, sql, &q, c->e))
        return false;
    while (row) {
        if (!db_row(&q, &row, c->e))
            return false;
        if (row)
            strlist_add(c->a, ret, db_text(&q, 0) ? db_text(&q, 0) : "");
    }
    return true;
}

static bool there(const Check *c, const char *path)
{
    return faccessat(c->s->dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- the database ---- */

static bool check_database(Check *c)
{
    StrList said;
    if (!query(c, "PRAGMA integrity_check(3)", &said))
        return false;
    if (said.n == 1 && !strcmp(said.v[0], "ok"))
        return true;
    const char *text = said.n ? said.v[0] : "it gives no answer";
    StoreFinding *f = found(c, "indexes", "database: %s", text);
    size_t i = (size_t)(f - c->v);
    if (!c->repair)
        return true;
    if (!db_exec(c->s, "REINDEX", c->e) || !query(c, "PRAGMA integrity_check(3)", &said))
        return false;
    c->v[i].repaired = said.n == 1 && !strcmp(said.v[0], "ok");
    return true;
}

/* Rows that cannot be read as what they should be. */
static bool check_rows(Check *c)
{
    static const struct {
        const char *what, *lost, *where, *table;
    } ROWS[] = {
        {"step record", "the step runs again",
         "length(key) <> 32 OR length(result) <> 32 OR typeof(snapshot) <> 'integer'", "record"},
        {"unpacked layer", "it is unpacked again",
         "length(diff_id) <> 32 OR typeof(snapshot) <> 'integer'", "layer"},
        {"memo", "it is found out again", "length(key) <> 32", "memo"},
        {"packed layer", "it is packed again, or must be loaded",
         "length(diff_id) <> 32 OR length(blob) <> 32", "packed"},
        {"image", "build or load it again",
         "length(id) <> 32 OR (manifest IS NOT NULL AND length(manifest) <> 32) OR id IN (SELECT "
         "image FROM image_layer WHERE length(diff_id) <> 32 OR typeof(snapshot) <> 'integer')",
         "image"},
        {"origin", "the layer must be had elsewhere", "length(blob) <> 32 OR length(diff_id) <> 32",
         "origin"},
        {"document", "a registry is asked again", "length(digest) <> 32 OR length(image) <> 32",
         "doc"},
        {"image's layer", "build or load the image again",
         "length(image) <> 32 OR length(diff_id) <> 32 OR typeof(snapshot) <> 'integer'",
         "image_layer"},
    };
    for (size_t i = 0; i < NELEM(ROWS); i++) {
        int64_t n = 0;
        if (!db_number(c->s,
                       arena_printf(c->a, "SELECT count(*) FROM %s WHERE %s", ROWS[i].table,
                                    ROWS[i].where),
                       &n, c->e))
            return false;
        if (!n)
            continue;
        StoreFinding *f = found(c, ROWS[i].lost, "database: %" PRId64 " damaged rows of kind '%s'",
                                n, ROWS[i].what);
        if (c->repair &&
            !db_exec(c->s,
                     arena_printf(c->a, "DELETE FROM %s WHERE %s", ROWS[i].table, ROWS[i].where),
                     c->e))
            return false;
        f->repaired = c->repair;
    }
    return true;
}

/* Rows that name other rows which are not there. */
static bool check_links(Check *c)
{
    static const struct {
        const char *what, *lost, *select, *repair;
    } LINKS[] = {
        {"step record", "the step runs again",
         "SELECT lower(hex(key)) FROM record WHERE snapshot <> 0 AND snapshot NOT IN (SELECT id "
         "FROM snapshot)",
         "DELETE FROM record WHERE snapshot <> 0 AND snapshot NOT IN (SELECT id FROM snapshot)"},
        {"unpacked layer", "it is unpacked again",
         "SELECT lower(hex(diff_id)) FROM layer WHERE snapshot <> 0 AND snapshot NOT IN (SELECT id "
         "FROM snapshot)",
         "DELETE FROM layer WHERE snapshot <> 0 AND snapshot NOT IN (SELECT id FROM snapshot)"},
        {"tag", "build or load the image again",
         "SELECT name FROM tag WHERE image NOT IN (SELECT id FROM image)",
         "DELETE FROM tag WHERE image NOT IN (SELECT id FROM image)"},
    };
    for (size_t i = 0; i < NELEM(LINKS); i++) {
        StrList names;
        if (!query(c, LINKS[i].select, &names))
            return false;
        for (size_t k = 0; k < names.n; k++)
            found(c, LINKS[i].lost, "%s %.60s: what it leads to is gone", LINKS[i].what, names.v[k])
                ->repaired = c->repair;
        if (names.n && c->repair && !db_exec(c->s, LINKS[i].repair, c->e))
            return false;
    }
    return true;
}

/* ---- snapshots and caches ---- */

/* A difference without what it stands on is nothing, and must not be taken for a whole. */
static bool check_parts(Check *c)
{
    StrList names;
    if (!query(c,
               "SELECT DISTINCT 's' || snapshot FROM part WHERE part NOT IN (SELECT id FROM "
               "snapshot)",
               &names))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        bool gone;
        size_t at = c->n;
        found(c, "what made it runs again", "snapshot %s: one that it stands on is gone",
              names.v[i] + 1);
        if (!drop(c, names.v[i], &gone))
            return false;
        c->v[at].repaired = gone;
    }
    return true;
}

static bool check_missing_snapshots(Check *c)
{
    StrList names;
    if (!query(c, "SELECT 's' || id FROM snapshot WHERE done = 1", &names))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        bool gone;
        if (there(c, name_path(c->a, names.v[i])))
            continue;
        size_t at = c->n;
        found(c, "what made it runs again", "snapshot %s: its directory is gone", names.v[i] + 1);
        if (!drop(c, names.v[i], &gone))
            return false;
        c->v[at].repaired = gone;
    }
    return true;
}

/* Entries of a directory that no row or program of ours would have made. */
static bool check_orphans(Check *c)
{
    scoped(fd) int fd = openat(c->s->dirfd, "snapshots", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scoped(map) Map known = {0};
    StrList names = {0}, rows;
    if (!query(c, "SELECT 's' || id FROM snapshot UNION SELECT name FROM doomed WHERE state = 2",
               &rows))
        return false;
    for (size_t i = 0; i < rows.n; i++)
        (void)map_put(&known, rows.v[i], 1);
    if (fd < 0 || !fs_list(c->a, fd, &names, c->e))
        return fd < 0 ? err_errno(c->e, ERR_STORE, "open '%s/snapshots'", c->s->path) : false;
    for (size_t i = 0; i < names.n; i++) {
        uint64_t one;
        bool gone;
        const char *name = arena_printf(c->a, "s%s", names.v[i]);
        int64_t row = 0;
        if (map_get(&known, name, &one))
            continue;
        /* A build may have made it since the rows were read. */
        if (!db_number(c->s,
                       arena_printf(c->a, "SELECT count(*) FROM snapshot WHERE id = %llu",
                                    strtoull(names.v[i], NULL, 10)),
                       &row, c->e))
            return false;
        if (row)
            continue;
        size_t at = c->n;
        found(c, "nothing", "snapshots/%s: the database knows nothing of it", names.v[i]);
        if (!drop(c, name, &gone))
            return false;
        c->v[at].repaired = gone;
    }
    return true;
}

static bool check_mounts(Check *c)
{
    scoped(fd) int fd = openat(c->s->dirfd, "mounts", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    StrList names = {0};
    if (fd < 0)
        return true;
    if (!fs_list(c->a, fd, &names, c->e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        bool gone;
        if (there(c, arena_printf(c->a, "mounts/%s/data", names.v[i])))
            continue;
        size_t at = c->n;
        found(c, "the cache begins empty", "mounts/%s: the cache's directory is gone", names.v[i]);
        if (!drop(c, arena_printf(c->a, "dmounts/%s", names.v[i]), &gone))
            return false;
        c->v[at].repaired = gone;
    }
    return true;
}

/* ---- blobs ---- */

static bool check_blob(Check *c, const char *hex)
{
    const char *path = arena_printf(c->a, "blobs/sha256/%s", hex);
    const char *name = arena_printf(c->a, "b%s", hex);
    Digest want, got;
    Err why = ERR_INIT;
    bool named = name_digest(name, &want), gone;
    scoped(fd) int fd = openat(c->s->dirfd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) /* collected meanwhile */
        return true;
    bool read = fd >= 0 && digest_fd(fd, &got, NULL, &why);
    if (named && read && digest_eq(&want, &got))
        return true;
    size_t at = c->n;
    found(c, "it is packed, built or loaded again", "blob sha256:%s: %s", hex,
          !named  ? "its name is no digest"
          : !read ? "it cannot be read"
                  : "its bytes are others");
    if (!drop(c, name, &gone))
        return false;
    c->v[at].repaired = gone;
    return true;
}

static bool check_blobs(Check *c)
{
    scoped(fd) int fd = openat(c->s->dirfd, "blobs/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    StrList names = {0};
    if (fd < 0)
        return err_errno(c->e, ERR_STORE, "open '%s/blobs/sha256'", c->s->path);
    if (!fs_list(c->a, fd, &names, c->e))
        return false;
    for (size_t i = 0; i < names.n; i++)
        if (!check_blob(c, names.v[i]))
            return false;
    return true;
}

/* Rows whose blob is not there. */
static bool check_missing_blobs(Check *c)
{
    StrList names;
    if (!query(c,
               "SELECT DISTINCT 'b' || lower(hex(blob)) FROM packed UNION SELECT 'b' || "
               "lower(hex(manifest)) FROM image WHERE manifest IS NOT NULL",
               &names))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        bool gone;
        if (there(c, name_path(c->a, names.v[i])))
            continue;
        size_t at = c->n;
        found(c, "it is packed again, or must be loaded", "blob sha256:%s is gone", names.v[i] + 1);
        if (!drop(c, names.v[i], &gone))
            return false;
        c->v[at].repaired = gone;
    }
    return true;
}

/* ---- images ---- */

/* What is missing of an image; NULL: nothing. A layer is there packed, as a snapshot, or in a
 * registry. */
static const char *missing_of(Check *c, const Digest *id)
{
    StoreImage img;
    Digest *diffs, chain;
    bool have;
    Err ignored = ERR_INIT;
    if (!store_has_blob(c->s, id, &have, &ignored) || !have)
        return "its config is gone";
    if (!store_image_get(c->s, c->a, id, &img, &have, &ignored) || !have)
        return "it cannot be read";
    diffs = NEW_N(c->a, Digest, img.nlayer + 1);
    for (size_t i = 0; i < img.nlayer; i++) {
        static const Compression HOW[] = {COMP_NONE, COMP_GZIP, COMP_ZSTD};
        Digest blob;
        SnapshotId snapshot;
        uint64_t size;
        diffs[i] = img.layers[i].diff_id;
        image_chain_id(diffs, i + 1, &chain);
        have = *img.layers[i].times &&
               store_snapshot_exists(c->s, img.layers[i].snapshot, &have, &ignored) && have;
        for (size_t k = 0; k < NELEM(HOW) && !have; k++)
            if (!store_packed_get(c->s, &diffs[i], HOW[k], &blob, &size, &have, &ignored))
                have = false;
        StoreOrigin *origins = NULL;
        size_t norigin = 0;
        if (!have && store_origins(c->s, c->a, &diffs[i], &origins, &norigin, &ignored))
            have = norigin > 0; /* a registry has it */
        if (!have && (!store_layer_get(c->s, &diffs[i], &snapshot, &have, &ignored) ||
                      (!have && !store_layer_get(c->s, &chain, &snapshot, &have, &ignored))))
            have = false;
        if (!have)
            return arena_printf(c->a, "layer %zu is gone", i + 1);
    }
    return NULL;
}

static bool check_images(Check *c)
{
    StrList names;
    if (!query(c, "SELECT 'i' || lower(hex(id)) FROM image WHERE length(id) = 32", &names))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        Digest id;
        bool gone;
        const char *what = name_digest(names.v[i], &id) ? missing_of(c, &id) : NULL;
        if (!what)
            continue;
        size_t at = c->n;
        found(c, "build or load it again", "image %.12s: %s", names.v[i] + 1, what);
        if (!drop(c, names.v[i], &gone))
            return false;
        c->v[at].repaired = gone;
    }
    return true;
}

static bool check_index(Check *c)
{
    scoped(buf) Buf text = BUF_INIT;
    Err why = ERR_INIT;
    ImageIndex x = {0};
    const char *wrong = NULL;
    if (!fs_read_file(c->s->dirfd, "index.json", 64 << 20, &text, &why) ||
        !image_index_parse(c->a, buf_str(&text), text.len, &x, &why))
        wrong = "it cannot be read";
    for (size_t i = 0; !wrong && i < x.nmanifest; i++) {
        char hex[DIGEST_HEX_SIZE];
        digest_hex(&x.manifests[i].digest, hex);
        if (!there(c, arena_printf(c->a, "blobs/sha256/%s", hex)))
            wrong = "it names a manifest that is gone";
    }
    if (wrong)
        found(c, "nothing: it is written anew", "index.json: %s", wrong)->repaired = c->repair;
    return !wrong || !c->repair || store_publish(c->s, c->e);
}

/* ---- all of it ---- */

bool store_check(Store *s, Arena *a, bool repair, StoreFinding **ret, size_t *ret_n, Err *e)
{
    Check c = {.s = s, .a = a, .repair = repair, .e = e};
    scoped(fd) int lock = -1;
    store_just_looks(s);
    if (!collect_lock(s, true, &lock, e))
        return false;
    store_sweep(s);
    /* From what names least to what names most: each finding's repair is what the next looks at. */
    if (!check_database(&c) || !check_rows(&c) || !check_index(&c) || !collect_debris(s, e) ||
        !check_missing_snapshots(&c) || !check_parts(&c) || !check_orphans(&c) ||
        !check_mounts(&c) || !check_links(&c) || !check_blobs(&c) || !check_missing_blobs(&c) ||
        !check_images(&c) || (c.n && !store_cache_unknown(s, e)))
        return false;
    *ret = c.v;
    *ret_n = c.n;
    return true;
}

bool store_bad_snapshot(Store *s, SnapshotId id, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names = {0};
    SnapshotId *parts;
    size_t n;
    scoped(fd) int lock = -1;
    if (!collect_lock(s, true, &lock, e) || !store_snapshot_parts(s, &a, id, &parts, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        strlist_add(&a, &names, arena_printf(&a, "s%" PRIu64, parts[i]));
    return collect(s, &names, true, NEW_N(&a, bool, n + 1), e);
}

bool store_set_aside(const char *path, Err *e)
{
    static const char *const PARTS[] = {"meta.db-wal", "meta.db-shm", "meta.db"};
    int raw;
    if (!fs_open_dir(AT_FDCWD, path, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    for (size_t i = 0; i < NELEM(PARTS); i++) {
        char to[96];
        (void)snprintf(to, sizeof to, "broken-%lld-%s", (long long)time(NULL), PARTS[i]);
        if (renameat(fd, PARTS[i], fd, to) < 0 && errno != ENOENT)
            return err_errno(e, ERR_STORE, "move '%s/%s' aside", path, PARTS[i]);
    }
    return true;
}
