/*
 * store/images.c - images, tags, and the layout's index.json.
 */
#include <sys/file.h>

#include "base/fs.h"
#include "store/keep.h"

static bool put_image_row(Store *s, const StoreImage *img, Err *e)
{
    scoped(stmt) Stmt q = {0};
    /* An image that is there keeps its manifest: its bytes are the same, for its ID is. */
    if (!db_begin(s, "INSERT OR IGNORE INTO image(id, created, size) VALUES(?, ?, ?)", &q, e))
        return false;
    db_bind_digest(&q, 1, &img->id);
    db_bind_int(&q, 2, img->created);
    db_bind_int(&q, 3, (int64_t)img->size);
    return db_run(&q, e);
}

static bool put_layer_row(Store *s, const StoreImage *img, size_t i, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "INSERT OR REPLACE INTO image_layer VALUES(?, ?, ?, ?, ?)", &q, e))
        return false;
    db_bind_digest(&q, 1, &img->id);
    db_bind_int(&q, 2, (int64_t)i);
    db_bind_digest(&q, 3, &img->layers[i].diff_id);
    db_bind_int(&q, 4, (int64_t)img->layers[i].snapshot);
    db_bind_text(&q, 5, img->layers[i].times ? img->layers[i].times : "");
    return db_run(&q, e);
}

static bool read_layers(Store *s, Arena *a, StoreImage *img, Err *e)
{
    size_t cap = 0;
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT diff_id, snapshot, times FROM image_layer WHERE image = ? ORDER BY i",
                  &q, e))
        return false;
    db_bind_digest(&q, 1, &img->id);
    while (db_row(&q, &row, e)) {
        if (!row)
            return true;
        StoreLayer *l = ARENA_PUSH(a, img->layers, img->nlayer, cap);
        if (!db_digest(&q, 0, &l->diff_id))
            return err_set(e, ERR_STORE, "store '%s': damaged layer row", s->path);
        l->snapshot = (SnapshotId)db_int(&q, 1);
        l->times = arena_strdup(a, db_text(&q, 2));
    }
    return false;
}

static bool have_image_row(Store *s, const Digest *id, bool *ret, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT 1 FROM image WHERE id = ?", &q, e))
        return false;
    db_bind_digest(&q, 1, id);
    return db_row(&q, ret, e);
}

/* Whether the rows of this image's layers say what they would say anew. */
static bool same_layers(Store *s, const StoreImage *img, bool *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    StoreImage old = {.id = img->id};
    *ret = false;
    if (!read_layers(s, &a, &old, e))
        return false;
    if (old.nlayer != img->nlayer)
        return true;
    for (size_t i = 0; i < img->nlayer; i++)
        if (!digest_eq(&old.layers[i].diff_id, &img->layers[i].diff_id) ||
            old.layers[i].snapshot != img->layers[i].snapshot)
            return true;
    *ret = true;
    return true;
}

bool store_image_put(Store *s, const StoreImage *img, Err *e)
{
    bool have, same = false, gone;
    if (!lease_image(s, &img->id, &gone, e) || !have_image_row(s, &img->id, &have, e) ||
        (have && !same_layers(s, img, &same, e)))
        return false;
    if (same) /* a build that changed nothing writes nothing */
        return true;
    char name[NAME_MAX_LEN] = "i";
    digest_hex(&img->id, name + 1);
    if (!durable_note(s, name, e))
        return false;
    /* Layers first: an image row promises that they are there. */
    for (size_t i = 0; i < img->nlayer; i++)
        if (!put_layer_row(s, img, i, e))
            return false;
    return put_image_row(s, img, e);
}

bool store_image_get(Store *s, Arena *a, const Digest *id, StoreImage *ret, bool *ret_found, Err *e)
{
    StoreImage img = {.id = *id};
    bool packed, gone;
    if (!lease_image(s, id, &gone, e))
        return false;
    {
        bool row;
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, "SELECT created, size, manifest FROM image WHERE id = ?", &q, e))
            return false;
        db_bind_digest(&q, 1, id);
        if (!db_row(&q, &row, e))
            return false;
        *ret_found = row;
        if (!row)
            return true;
        img.created = db_int(&q, 0);
        img.size = (uint64_t)db_int(&q, 1);
        packed = db_digest(&q, 2, &img.manifest);
    }
    img.packed = packed;
    if (!store_has_blob(s, id, ret_found, e))
        return false;
    if (!*ret_found)
        return true;
    if (!read_layers(s, a, &img, e))
        return false;
    *ret = img;
    return true;
}

bool store_image_packed(Store *s, const Digest *id, const Digest *manifest, uint64_t size, Err *e)
{
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "UPDATE image SET manifest = ?, manifest_size = ? WHERE id = ?", &q, e))
        return false;
    db_bind_digest(&q, 1, manifest);
    db_bind_int(&q, 2, (int64_t)size);
    db_bind_digest(&q, 3, id);
    return db_run(&q, e);
}

bool store_manifest_layers(Store *s, Arena *a, const StoreImage *img, const Descriptor **ret,
                           Err *e)
{
    scoped(buf) Buf text = BUF_INIT;
    ImageManifest m;
    bool have = img->packed;
    *ret = NULL;
    if (have && !store_has_blob(s, &img->manifest, &have, e))
        return false;
    if (!have)
        return true;
    if (!store_read_blob(s, &img->manifest, &text, e) ||
        !image_manifest_parse(a, buf_str(&text), text.len, &m, e))
        return false;
    *ret = m.nlayer == img->nlayer ? m.layers : NULL;
    return true;
}

static bool find_tag(Store *s, const char *name, Digest *ret, bool *ret_found, Err *e)
{
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT image FROM tag WHERE name = ?", &q, e))
        return false;
    db_bind_text(&q, 1, name);
    if (!db_row(&q, &row, e))
        return false;
    *ret_found = row && db_digest(&q, 0, ret);
    return true;
}

/*
 * An image has lost a tag: what no other tag needs of it is cache from now on. The counter may be
 * too high, never too low: what cannot be told here makes it so high that it is taken anew.
 */
static bool count_as_cache(Store *s, const Digest *id, Err *e)
{
    enum { DOCUMENTS = 16 << 10 }; /* config and manifest */
    static const int64_t UNKNOWN = INT64_C(1) << 50;
    static const char SQL[] =
        "UPDATE fact SET value = value + ?2 + (SELECT coalesce(sum(CASE"
        " WHEN EXISTS(SELECT 1 FROM part WHERE snapshot = l.snapshot) THEN ?3"
        " ELSE coalesce((SELECT size FROM use WHERE name = 's' || l.snapshot), ?3) END"
        " + coalesce((SELECT sum(size) FROM packed WHERE diff_id = l.diff_id), 0)), 0)"
        " FROM image_layer l WHERE l.image = ?1 AND NOT EXISTS(SELECT 1 FROM image_layer o"
        " JOIN tag t ON t.image = o.image WHERE o.diff_id = l.diff_id)) WHERE name = 'cache'";
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, SQL, &q, e))
        return false;
    db_bind_digest(&q, 1, id);
    db_bind_int(&q, 2, DOCUMENTS);
    db_bind_int(&q, 3, UNKNOWN);
    return db_run(&q, e);
}

bool store_tag(Store *s, const char *name, const Digest *id, Err *e)
{
    Digest before;
    bool had;
    if (!find_tag(s, name, &before, &had, e))
        return false;
    if (had && digest_eq(&before, id)) /* a build that changed nothing writes nothing */
        return true;
    {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, "INSERT OR REPLACE INTO tag VALUES(?, ?)", &q, e))
            return false;
        db_bind_text(&q, 1, name);
        db_bind_digest(&q, 2, id);
        if (!db_run(&q, e))
            return false;
    }
    return !had || count_as_cache(s, &before, e);
}

bool store_untag(Store *s, const char *name, bool *ret_last, Err *e)
{
    Digest id;
    bool had, more = false;
    *ret_last = false;
    if (!find_tag(s, name, &id, &had, e) || !had)
        return e->kind == ERR_NONE;
    {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, "DELETE FROM tag WHERE name = ?", &q, e))
            return false;
        db_bind_text(&q, 1, name);
        if (!db_run(&q, e))
            return false;
    }
    {
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, "SELECT 1 FROM tag WHERE image = ?", &q, e))
            return false;
        db_bind_digest(&q, 1, &id);
        if (!db_row(&q, &more, e))
            return false;
    }
    *ret_last = !more;
    return store_cache_unknown(s, e);
}

/* An ID's first digits, if they mean one image. */
static bool find_prefix(Store *s, const char *prefix, Digest *ret, bool *ret_found, Err *e)
{
    size_t n = strlen(prefix);
    bool row;
    *ret_found = false;
    if (n < 4 || n > 64 || strspn(prefix, "0123456789abcdef") != n)
        return true;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT id FROM image WHERE substr(lower(hex(id)), 1, ?) = ? LIMIT 2", &q, e))
        return false;
    db_bind_int(&q, 1, (int64_t)n);
    db_bind_text(&q, 2, prefix);
    if (!db_row(&q, &row, e))
        return false;
    if (!row)
        return true;
    *ret_found = db_digest(&q, 0, ret);
    if (!db_row(&q, &row, e))
        return false;
    if (row)
        return err_set(e, ERR_USAGE,
                       "'%s' is the start of more than one image ID: give more digits", prefix);
    return true;
}

/* An image by the digest of its manifest, as name@sha256:... means it. */
static bool find_manifest(Store *s, Arena *a, const char *digest, Digest *ret, bool *ret_found,
                          Err *e)
{
    Digest d;
    bool row;
    *ret_found = false;
    if (!digest_parse(digest, &d))
        return true;
    scoped(stmt) Stmt q = {0};
    /* An index leads to one image a platform; this machine's is meant. */
    Platform host = image_platform_host();
    if (!db_begin(s,
                  "SELECT id FROM image WHERE manifest = ?1 OR id = ?1 UNION ALL SELECT image FROM "
                  "(SELECT image FROM doc JOIN image ON image.id = doc.image WHERE digest = ?1 "
                  "ORDER BY platform <> ?2)",
                  &q, e))
        return false;
    db_bind_digest(&q, 1, &d);
    db_bind_text(&q, 2, image_platform_text(a, &host));
    if (!db_row(&q, &row, e))
        return false;
    *ret_found = row && db_digest(&q, 0, ret);
    return true;
}

bool store_find(Store *s, Arena *a, const char *name, Digest *ret, bool *ret_found, Err *e)
{
    ImageRef ref;
    Err unparsable = ERR_INIT;
    if (str_starts(name, "sha256:"))
        return find_manifest(s, a, name, ret, ret_found, e) &&
               (*ret_found || find_prefix(s, name + 7, ret, ret_found, e));
    *ret_found = false;
    if (image_ref_parse(a, name, &ref, &unparsable)) {
        if (ref.digest)
            return find_manifest(s, a, ref.digest, ret, ret_found, e);
        if (!find_tag(s, image_ref_tagged(a, &ref), ret, ret_found, e))
            return false;
    }
    return *ret_found || find_prefix(s, name, ret, ret_found, e);
}

bool store_list(Store *s, Arena *a, StoreTag **ret, size_t *ret_n, Err *e)
{
    static const char SQL[] = "SELECT tag.name, image.id, image.created, image.size, (SELECT "
                              "count(*) FROM image_layer WHERE image = image.id)"
                              " FROM image LEFT JOIN tag ON tag.image = image.id"
                              " ORDER BY tag.name IS NULL, image.created DESC, tag.name, image.id";
    StoreTag *v = NULL;
    size_t n = 0, cap = 0;
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, SQL, &q, e))
        return false;
    while (db_row(&q, &row, e)) {
        if (!row) {
            *ret = v;
            *ret_n = n;
            return true;
        }
        StoreTag *t = ARENA_PUSH(a, v, n, cap);
        const char *name = db_text(&q, 0);
        t->name = name ? arena_strdup(a, name) : NULL;
        if (!db_digest(&q, 1, &t->id))
            return err_set(e, ERR_STORE, "store '%s': damaged image row", s->path);
        t->created = db_int(&q, 2);
        t->size = (uint64_t)db_int(&q, 3);
        t->nlayer = (size_t)db_int(&q, 4);
    }
    return false;
}

bool store_others(Store *s, Arena *a, const char *name, StoreTag **ret, size_t *ret_n, Err *e)
{
    StoreTag *v = NULL;
    size_t n = 0, cap = 0;
    bool row;
    scoped(stmt) Stmt q = {0};
    if (!db_begin(s, "SELECT name, image FROM tag WHERE name > ?1 AND name < ?2 ORDER BY name", &q,
                  e))
        return false;
    db_bind_text(&q, 1, arena_printf(a, "%s%c", name, STORE_PLATFORM_MARK));
    db_bind_text(&q, 2, arena_printf(a, "%s%c", name, STORE_PLATFORM_MARK + 1));
    while (db_row(&q, &row, e)) {
        if (!row) {
            *ret = v;
            *ret_n = n;
            return true;
        }
        StoreTag *t = ARENA_PUSH(a, v, n, cap);
        t->name = arena_strdup(a, db_text(&q, 0));
        if (!db_digest(&q, 1, &t->id))
            return err_set(e, ERR_STORE, "store '%s': damaged tag row", s->path);
    }
    return false;
}

/* Layers of `image` whose bytes are still in a registry: a reader of the layout would miss them. */
#define MISSING                                                                                    \
    "SELECT 1 FROM image_layer l WHERE l.image = image.id AND EXISTS (SELECT 1 FROM origin o "     \
    "WHERE o.diff_id = l.diff_id) AND NOT EXISTS (SELECT 1 FROM packed p JOIN origin o ON "        \
    "o.diff_id = p.diff_id AND o.blob = p.blob WHERE p.diff_id = l.diff_id)"

bool store_publish(Store *s, Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf text = BUF_INIT;
    ImageIndex x = {0};
    size_t cap = 0;
    /* The lock makes the last writer the one that read the database last. */
    scoped(fd) int lock = openat(s->dirfd, "index.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return err_errno(e, ERR_STORE, "lock '%s/index.lock'", s->path);
    {
        static const char SQL[] =
            "SELECT image.manifest, image.manifest_size, tag.name, (SELECT media_type FROM doc "
            "WHERE digest = image.manifest) FROM image LEFT JOIN tag ON tag.image = image.id"
            " WHERE image.manifest IS NOT NULL AND NOT EXISTS (" MISSING ") ORDER BY tag.name, "
            "image.id";
        bool row = true;
        scoped(stmt) Stmt q = {0};
        if (!db_begin(s, SQL, &q, e))
            return false;
        while (row) {
            if (!db_row(&q, &row, e))
                return false;
            if (!row)
                break;
            Descriptor *d = ARENA_PUSH(&a, x.manifests, x.nmanifest, cap);
            const char *name = db_text(&q, 2);
            const char *type = db_text(&q, 3);
            d->media_type = type ? arena_strdup(&a, type) : MT_OCI_MANIFEST;
            d->size = (uint64_t)db_int(&q, 1);
            /* A reader that asks for a name wants this machine's. */
            d->ref_name =
                name && !strchr(name, STORE_PLATFORM_MARK) ? arena_strdup(&a, name) : NULL;
            if (!db_digest(&q, 0, &d->digest))
                return err_set(e, ERR_STORE, "store '%s': damaged image row", s->path);
        }
    }
    image_index_text(&x, &text);
    return store_replace(s, "index.json", buf_str(&text), text.len, e);
}
