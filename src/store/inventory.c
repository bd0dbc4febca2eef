/*
 * store/inventory.c - everything in the store as one list.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>

#include "base/fs.h"
#include "store/keep.h"

/* What images say of a name. */
enum { OF_TAGGED = 1, OF_IMAGE = 2, OF_LEASED = 4 };

typedef struct Inventory {
    Store *s;
    Arena *a;
    bool measure;
    StoreItem *v;
    size_t n, cap;
    Map index;  /* name -> item */
    Map leases; /* names */
    Map needs;  /* name -> OF_* */
    Map owners; /* blob that is a config or manifest -> its image's item */
    Seen *seen;
    Err *e;
} Inventory;

static void scoped_inventory_done(Inventory *x)
{
    map_done(&x->index);
    map_done(&x->leases);
    map_done(&x->needs);
    map_done(&x->owners);
    seen_free(x->seen);
}

/* ---- rows ---- */

/* Call `row` for each row. It must not begin a statement. */
static bool each(Inventory *x, const char *sql, bool (*row)(Inventory *x, const Stmt *q))
{
    bool more = true;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(x->s, sql, &q, x->e))
        return false;
    while (more) {
        if (!db_row(&q, &more, x->e) || (more && !row(x, &q)))
            return false;
    }
    return true;
}

static const char *hex_name(Inventory *x, char letter, const Digest *d)
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(d, hex);
    return arena_printf(x->a, "%c%s", letter, hex);
}

static const char *snapshot_name(Inventory *x, int64_t id)
{
    return arena_printf(x->a, "s%" PRId64, id);
}

static void need(Inventory *x, const char *name, uint64_t why)
{
    uint64_t have = 0;
    (void)map_get(&x->needs, name, &have);
    (void)map_put(&x->needs, name, have | why);
}

static uint64_t needs_of(const Inventory *x, const char *name)
{
    uint64_t v = 0;
    (void)map_get(&x->needs, name, &v);
    return v;
}

static StoreItem *add(Inventory *x, const char *name)
{
    uint64_t i;
    if (map_get(&x->index, name, &i))
        return &x->v[i];
    StoreItem *it = ARENA_PUSH(x->a, x->v, x->n, x->cap);
    *it = (StoreItem){.name = name, .what = ""};
    (void)map_put(&x->index, name, x->n - 1);
    return it;
}

/* Columns at `col`: born, used, uses, size, type, what of `use`. */
static void take_use(Inventory *x, StoreItem *it, const Stmt *q, int col)
{
    const char *type = db_text(q, col + 4), *what = db_text(q, col + 5);
    if (sqlite3_column_type(q->st, col) != SQLITE_NULL) {
        it->created = db_int(q, col);
        it->used = db_int(q, col + 1);
        it->uses = (uint64_t)db_int(q, col + 2);
        it->size = (uint64_t)db_int(q, col + 3);
    }
    if (type)
        it->type = arena_strdup(x->a, type);
    if (what)
        it->what = arena_strdup(x->a, what);
}

/* ---- images ---- */

/* id, created, manifest, tags, then of `use` */
static bool image_row(Inventory *x, const Stmt *q)
{
    Digest id, manifest;
    uint64_t one;
    if (!db_digest(q, 0, &id))
        return true; /* store_check() tells of it */
    StoreItem *it = add(x, hex_name(x, 'i', &id));
    const char *tags = db_text(q, 3);
    it->type = "image";
    take_use(x, it, q, 4);
    it->what = tags ? arena_strdup(x->a, tags) : "untagged";
    if (!it->created)
        it->created = db_int(q, 1);
    it->needed = tags != NULL;
    uint64_t why =
        OF_IMAGE | (tags ? OF_TAGGED : 0) | (map_get(&x->leases, it->name, &one) ? OF_LEASED : 0);
    need(x, it->name, why);
    it->with[0] = hex_name(x, 'b', &id);
    it->with[1] = db_digest(q, 2, &manifest) ? hex_name(x, 'b', &manifest) : NULL;
    for (size_t i = 0; i < 2 && it->with[i]; i++)
        (void)map_put(&x->owners, it->with[i], (uint64_t)(it - x->v));
    return true;
}

/* image, diff_id, snapshot, times, blob */
static bool image_layer_row(Inventory *x, const Stmt *q)
{
    Digest image, blob;
    if (!db_digest(q, 0, &image))
        return true;
    uint64_t why = needs_of(x, hex_name(x, 'i', &image));
    if (db_digest(q, 4, &blob))
        need(x, hex_name(x, 'b', &blob), why);
    if (db_text(q, 3) && *db_text(q, 3) && db_int(q, 2))
        need(x, snapshot_name(x, db_int(q, 2)), why);
    return true;
}

/*
 * The unpacked form of an image's layer is a convenience: it can be unpacked again. Such snapshots
 * are the image's, but no image loses anything without them.
 */
typedef struct Chain {
    Digest image;
    Digest *ids;
    size_t n, cap;
} Chain;

static bool layers_of_images(Inventory *x)
{
    Arena *a = x->a;
    Chain c = {.n = 0};
    Map of = {0}; /* hex of diff or chain ID -> OF_* */
    bool row = true, any = false, ok = true;
    {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(x->s, "SELECT image, diff_id FROM image_layer ORDER BY image, i", &q, x->e))
            return false;
        while (ok && row && (ok = db_row(&q, &row, x->e)) && row) {
            Digest image, chain;
            Digest diff;
            if (!db_digest(&q, 0, &image) || !db_digest(&q, 1, &diff))
                continue;
            if (!any || !digest_eq(&image, &c.image))
                c.n = 0;
            c.image = image;
            any = true;
            *ARENA_PUSH(a, c.ids, c.n, c.cap) = diff;
            image_chain_id(c.ids, c.n, &chain);
            uint64_t why = needs_of(x, hex_name(x, 'i', &image)), have = 0;
            const char *names[] = {hex_name(x, 'l', &diff), hex_name(x, 'l', &chain)};
            for (size_t i = 0; i < 2; i++) {
                have = 0;
                (void)map_get(&of, names[i], &have);
                (void)map_put(&of, names[i], have | why);
            }
        }
    }
    row = true;
    scoped(stmt) Stmt q = {0};
    ok = ok && db_begin(x->s, "SELECT diff_id, snapshot FROM layer", &q, x->e);
    while (ok && row && (ok = db_row(&q, &row, x->e)) && row) {
        Digest diff;
        uint64_t have = 0, i;
        if (!db_digest(&q, 0, &diff) || !map_get(&x->index, snapshot_name(x, db_int(&q, 1)), &i))
            continue;
        const char *name = hex_name(x, 'l', &diff);
        (void)map_get(&of, name, &have);
        StoreItem *it = &x->v[i];
        it->type = "layer";
        it->what = arena_printf(a, "layer sha256:%.12s, unpacked", name + 1);
        it->shared = have & OF_TAGGED;
        it->in_use = it->in_use || (have & OF_LEASED);
    }
    map_done(&of);
    return ok;
}

/* snapshot, part: a part is needed by what stands on it; those above come first. */
static bool part_row(Inventory *x, const Stmt *q)
{
    const char *part = snapshot_name(x, db_int(q, 1));
    uint64_t i, why = needs_of(x, snapshot_name(x, db_int(q, 0)));
    if (why)
        need(x, part, why);
    if (map_get(&x->index, part, &i) && !*x->v[i].what) { /* no step made it alone */
        x->v[i].type = "regular";
        x->v[i].what = "files that several steps share";
    }
    return true;
}

/* ---- snapshots and records ---- */

/* id, done, then of `use` */
static bool snapshot_row(Inventory *x, const Stmt *q)
{
    StoreItem *it = add(x, snapshot_name(x, db_int(q, 0)));
    it->type = "internal";
    it->size = UINT64_MAX; /* not known yet */
    take_use(x, it, q, 2);
    if (sqlite3_column_type(q->st, 5) == SQLITE_NULL)
        it->size = UINT64_MAX;
    if (!db_int(q, 1))
        it->what = "unfinished";
    return true;
}

/* The value of a line "name=value" of a record's inputs; NULL when there is none. */
static const char *input(Arena *a, const char **at, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = *at; *p;) {
        size_t len = strcspn(p, "\n");
        const char *line = p;
        p += len + (p[len] == '\n');
        if (len > n && !strncmp(line, name, n) && line[n] == '=') {
            *at = p;
            return arena_strndup(a, line + n + 1, len - n - 1);
        }
    }
    return NULL;
}

/* The step that a record's inputs describe, in one line. */
static const char *step_title(Arena *a, const char *inputs)
{
    scoped(buf) Buf b = BUF_INIT;
    const char *at = inputs, *kind = input(a, &at, "key"), *value;
    if (kind && str_starts(kind, "run")) {
        buf_puts(&b, "RUN");
        (void)input(a, &at, "arg"); /* how many there are */
        while ((value = input(a, &at, "arg")) && b.len < 200)
            buf_printf(&b, " %s", value);
    } else if (kind && str_starts(kind, "copy")) {
        const char *dest_at = inputs, *dest = input(a, &dest_at, "dest");
        buf_puts(&b, "COPY");
        while ((value = input(a, &at, "source")) && b.len < 200)
            buf_printf(&b, " %s", value);
        buf_printf(&b, " %s", dest ? dest : "");
    } else if (kind && str_starts(kind, "workdir")) {
        value = input(a, &at, "path");
        buf_printf(&b, "WORKDIR %s", value ? value : "");
    } else {
        buf_puts(&b, kind ? kind : "");
    }
    return arena_strdup(a, buf_str(&b));
}

/* snapshot, key, created, inputs, then of `use` (of a record without snapshot) */
static bool record_row(Inventory *x, const Stmt *q)
{
    Digest key;
    int64_t id = db_int(q, 0);
    uint64_t i;
    if (!db_digest(q, 1, &key))
        return true;
    const char *name = id ? snapshot_name(x, id) : hex_name(x, 'r', &key);
    if (id && !map_get(&x->index, name, &i))
        return true;
    StoreItem *it = add(x, name);
    if (!id)
        take_use(x, it, q, 4);
    it->type = "regular";
    it->what = step_title(x->a, db_text(q, 3) ? db_text(q, 3) : "");
    if (!it->created)
        it->created = db_int(q, 2);
    if (!it->used)
        it->used = it->created;
    return true;
}

/* ---- what lies on the disk ---- */

static uint64_t usage(Inventory *x, const char *path)
{
    return tree_usage(x->s->dirfd, path, x->seen);
}

/* What a directory takes itself. */
static uint64_t own_usage(Inventory *x, const char *path)
{
    struct stat st;
    return fstatat(x->s->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0
                                                                    : (uint64_t)st.st_blocks * 512;
}

static bool list(Inventory *x, const char *path, StrList *ret)
{
    scoped(fd) int fd = openat(x->s->dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *ret = (StrList){0};
    return fd < 0 || fs_list(x->a, fd, ret, x->e);
}

static void set_times(Inventory *x, StoreItem *it)
{
    struct stat st;
    const char *path = name_path(x->a, it->name);
    if (it->used || !path || fstatat(x->s->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    it->created = it->used = st.st_mtime;
}

static bool add_snapshots(Inventory *x)
{
    StrList names;
    if (!list(x, "snapshots", &names))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        uint64_t at;
        const char *name = arena_printf(x->a, "s%s", names.v[i]);
        if (map_get(&x->index, name, &at))
            continue;
        StoreItem *it = add(x, name);
        it->type = "internal";
        it->what = "left behind";
        it->size = UINT64_MAX;
    }
    return true;
}

static bool add_blobs(Inventory *x)
{
    StrList names;
    if (!list(x, "blobs/sha256", &names))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        const char *name = arena_printf(x->a, "b%s", names.v[i]);
        uint64_t image, size = usage(x, arena_printf(x->a, "blobs/sha256/%s", names.v[i]));
        if (map_get(&x->owners, name, &image)) {
            x->v[image].size += size;
            continue;
        }
        StoreItem *it = add(x, name);
        it->type = "blob";
        it->what = "of no image";
        it->size = size;
    }
    return true;
}

/* blob, diff_id, then of `use` */
static bool packed_row(Inventory *x, const Stmt *q)
{
    Digest blob, diff;
    uint64_t i;
    if (!db_digest(q, 0, &blob) || !db_digest(q, 1, &diff) ||
        !map_get(&x->index, hex_name(x, 'b', &blob), &i))
        return true;
    x->v[i].type = "layer";
    x->v[i].what = arena_printf(x->a, "layer sha256:%.12s, packed", hex_name(x, 'l', &diff) + 1);
    return true;
}

/* name, then of `use`: times of what has no row of its own */
static bool use_row(Inventory *x, const Stmt *q)
{
    uint64_t i;
    const char *name = db_text(q, 0);
    if (!name || !map_get(&x->index, name, &i))
        return true;
    StoreItem *it = &x->v[i];
    uint64_t size = it->size;
    const char *what = it->what, *type = it->type;
    take_use(x, it, q, 1);
    if (name[0] == 'b') {
        it->size = size;
        it->what = what;
        it->type = type;
    } else if (x->measure || sqlite3_column_type(q->st, 4) == SQLITE_NULL) {
        it->size = size;
    }
    return true;
}

static bool add_dirs(Inventory *x, const char *top, const char *type)
{
    StrList names;
    if (!list(x, top, &names))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        StoreItem *it = add(x, arena_printf(x->a, "d%s/%s", top, names.v[i]));
        it->type = type;
        it->mutable = true;
        it->size = UINT64_MAX;
    }
    return true;
}

/*
 * What builds left behind: records and output of steps, which the history room writes. A file that
 * is locked is still written.
 */
static bool add_history(Inventory *x, const char *top)
{
    StrList names;
    if (!list(x, top, &names))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        StoreItem *it = add(x, arena_printf(x->a, "d%s/%s", top, names.v[i]));
        scoped(fd) int fd = openat(x->s->dirfd, it->name + 1, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        it->type = "log";
        it->what = !strcmp(top, "logs") ? "what a step printed" : "record of a build";
        it->size = UINT64_MAX;
        it->history = true;
        it->in_use = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
    }
    return true;
}

/* What is nobody's: the database, work of running processes, the directories themselves. */
static bool add_internal(Inventory *x)
{
    static const char *const CONTAINERS[] = {".",      "snapshots", "blobs",  "blobs/sha256",
                                             "mounts", "git",       "index",  "builds",
                                             "logs",   "gomod",     "gocache"};
    static const char *const KNOWN[] = {"snapshots", "blobs", "mounts", "git",    "index",
                                        "builds",    "logs",  "gomod",  "gocache"};
    StrList names;
    if (!list(x, ".", &names))
        return false;
    uint64_t database = 0, rest = 0;
    for (size_t i = 0; i < NELEM(CONTAINERS); i++)
        rest += own_usage(x, CONTAINERS[i]);
    for (size_t i = 0; i < names.n; i++) {
        const char *name = names.v[i];
        bool known = false;
        for (size_t k = 0; k < NELEM(KNOWN); k++)
            known = known || !strcmp(KNOWN[k], name);
        if (known)
            continue;
        uint64_t size = usage(x, name);
        if (str_starts(name, "meta.db")) {
            database += size;
            continue;
        }
        if (strcmp(name, "tmp") != 0) {
            rest += size;
            continue;
        }
        StoreItem *it = add(x, ".tmp");
        it->what = "work of running processes";
        it->size = size;
    }
    StoreItem *it = add(x, ".database");
    it->what = "what the store knows";
    it->size = database;
    it = add(x, ".layout");
    it->what = "the store's own files and directories";
    it->size = rest;
    for (size_t i = 0; i < x->n; i++)
        if (x->v[i].name[0] == '.') {
            x->v[i].type = "internal";
            x->v[i].in_use = true;
        }
    return true;
}

/* Uses that are not in the database yet. */
static bool add_logged(Inventory *x)
{
    LoggedUse *v = NULL;
    size_t n = 0;
    if (!uses_read(x->s->dirfd, "uses", x->a, &v, &n, x->e))
        return false;
    for (size_t i = 0; i < n; i++) {
        uint64_t at;
        if (!map_get(&x->index, v[i].name, &at))
            continue;
        StoreItem *it = &x->v[at];
        it->used = v[i].when > it->used ? v[i].when : it->used;
        it->uses++;
    }
    return true;
}

/* ---- all of it ---- */

static void set_ids(Inventory *x)
{
    for (size_t i = 0; i < x->n; i++) {
        StoreItem *it = &x->v[i];
        bool digest = it->name[0] == 'i' || it->name[0] == 'b';
        it->id = digest               ? arena_printf(x->a, "sha256:%s", it->name + 1)
                 : it->name[0] == 'r' ? arena_printf(x->a, "r%.24s", it->name + 1)
                 : it->name[0] == 's' ? it->name
                                      : it->name + 1;
    }
}

static void finish_items(Inventory *x)
{
    for (size_t i = 0; i < x->n; i++) {
        StoreItem *it = &x->v[i];
        uint64_t one, why = needs_of(x, it->name);
        const char *path = name_path(x->a, it->name);
        if (path && it->name[0] != 'b' && (x->measure || it->size == UINT64_MAX))
            it->size = usage(x, path);
        set_times(x, it);
        it->shared = it->shared || (why & OF_TAGGED);
        it->needed = it->needed || (why & OF_TAGGED);
        it->in_use = it->in_use || (why & OF_LEASED) || map_get(&x->leases, it->name, &one);
    }
}

static int older_first(const void *a, const void *b)
{
    const StoreItem *x = a, *y = b;
    if (x->used != y->used)
        return x->used < y->used ? -1 : 1;
    if (x->uses != y->uses)
        return x->uses < y->uses ? -1 : 1;
    return strcmp(x->name, y->name);
}

#define USE_COLUMNS "u.born, u.used, u.uses, u.size, u.type, u.what"

static bool take_all(Inventory *x)
{
    return leases_read(x->s, x->a, &x->leases, x->e) &&
           each(x,
                "SELECT i.id, i.created, i.manifest, (SELECT group_concat(name, ', ') FROM tag "
                "WHERE image = i.id), " USE_COLUMNS
                " FROM image i LEFT JOIN use u ON u.name = 'i' || lower(hex(i.id))",
                image_row) &&
           each(x,
                "SELECT l.image, l.diff_id, l.snapshot, l.times, p.blob FROM image_layer l LEFT "
                "JOIN packed p ON p.diff_id = l.diff_id",
                image_layer_row) &&
           each(x,
                "SELECT s.id, s.done, " USE_COLUMNS
                " FROM snapshot s LEFT JOIN use u ON u.name = 's' || s.id",
                snapshot_row) &&
           each(x,
                "SELECT r.snapshot, r.key, r.created, r.inputs, " USE_COLUMNS
                " FROM record r LEFT JOIN use u ON r.snapshot = 0 AND u.name = 'r' || "
                "lower(hex(r.key))",
                record_row) &&
           each(x, "SELECT snapshot, part FROM part", part_row) && layers_of_images(x) &&
           add_snapshots(x) && add_blobs(x) &&
           each(x, "SELECT p.blob, p.diff_id FROM packed p", packed_row) &&
           add_dirs(x, "mounts", "exec.cachemount") && add_dirs(x, "git", "source.git") &&
           add_dirs(x, "index", "source.local") && add_dirs(x, "gomod", "go.module") &&
           add_dirs(x, "gocache", "go.buildcache") && add_history(x, "builds") &&
           add_history(x, "logs") &&
           each(x,
                "SELECT u.name, " USE_COLUMNS
                " FROM use u WHERE substr(u.name, 1, 1) IN ('b', 'd')",
                use_row) &&
           add_internal(x);
}

bool store_items(Store *s, Arena *a, unsigned flags, StoreItem **ret, size_t *ret_n, Err *e)
{
    scoped(inventory) Inventory x = {
        .s = s, .a = a, .measure = flags & STORE_MEASURE, .seen = seen_new(), .e = e};
    if (!take_all(&x))
        return false;
    if (!add_logged(&x))
        return false;
    set_ids(&x);
    finish_items(&x);
    if (x.n)
        qsort(x.v, x.n, sizeof *x.v, older_first);
    *ret = x.v;
    *ret_n = x.n;
    return true;
}
