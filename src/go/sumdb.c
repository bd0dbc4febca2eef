/*
 * go/sumdb.c - the checksum database's client: signed trees and records, each proven before it is
 * believed.
 */
#include "go/sumdb.h"

#include <stdlib.h>

#include "go/sumdbtree.h"
#include "go/unicode.h"

struct GoSumdb {
    Arena arena;
    const char *name;
    NoteKey key;
    SumdbTree tree; /* reads hashes of trees */
    TreeHead latest;
    Buf latest_note;
    GoSumdbFault fault;
    Buf evidence;
};

void go_sumdb_free(GoSumdb *db)
{
    if (!db)
        return;
    sumdb_tree_done(&db->tree);
    buf_done(&db->latest_note);
    buf_done(&db->evidence);
    arena_done(&db->arena);
    free(db);
}

Str go_sumdb_latest(const GoSumdb *db)
{
    return (Str){buf_str(&db->latest_note), db->latest_note.len};
}

GoSumdbFault go_sumdb_fault(const GoSumdb *db)
{
    return db->fault;
}

const char *go_sumdb_evidence(const GoSumdb *db)
{
    return buf_str(&db->evidence);
}

/* What came is not what the database signed; where the tree knows better, it has said so. */
static bool is_false(GoSumdb *db, Err *e)
{
    db->fault = GO_SUMDB_FALSE;
    return err_wrap(e, "checksum database %s", db->name);
}

static bool silent(GoSumdb *db, Err *e)
{
    db->fault = GO_SUMDB_SILENT;
    return err_wrap(e, "checksum database %s", db->name);
}

/* ---- trees ---- */

/* A signed tree. */
typedef struct Signed {
    TreeHead head;
    Str note;
} Signed;

static bool open_tree(GoSumdb *db, Str note, Signed *ret, Err *e)
{
    Str text;
    if (!note_open(&db->key, note, &text, e))
        return is_false(db, e);
    if (!tlog_tree_parse(text, &ret->head)) {
        err_set(e, ERR_CHECK, "malformed tree note");
        return is_false(db, e);
    }
    ret->note = note;
    return true;
}

static void quote_note(Buf *b, const char *what, Str note)
{
    buf_printf(b, "%s\n", what);
    for (size_t at = 0; at < note.len;) {
        const char *nl = memchr(note.ptr + at, '\n', note.len - at);
        size_t n = nl ? (size_t)(nl - note.ptr) - at : note.len - at;
        buf_puts(b, "\t");
        buf_add(b, note.ptr + at, n);
        buf_putc(b, '\n');
        at += n + 1;
    }
}

/* Both trees are signed; `root` is what the newer one has for the records of the older. */
static bool forked(GoSumdb *db, const Signed *old, const Signed *new, const Digest *root, Err *e)
{
    Buf *b = &db->evidence;
    b->len = 0;
    buf_printf(b, "The checksum database %s has signed two histories.\n\n", db->name);
    quote_note(b, "older tree:", old->note);
    quote_note(b, "newer tree:", new->note);
    sumdb_tree_prove(&db->tree, &old->head, &new->head, root, b);
    db->fault = GO_SUMDB_FORKED;
    return err_set(e, ERR_CHECK,
                   "SECURITY: the checksum database %s has signed two histories: trees of %llu and "
                   "%llu records exclude each other",
                   db->name, (unsigned long long)old->head.n, (unsigned long long)new->head.n);
}

/* Does the newer tree begin with the older one? */
static bool check_trees(GoSumdb *db, const Signed *old, const Signed *new, Err *e)
{
    Digest root;
    if (old->head.n == new->head.n) {
        root = new->head.root; /* nothing to fetch: two signatures are the proof */
    } else if (!sumdb_tree_root(&db->tree, &new->head, old->head.n, &root, e)) {
        db->fault = db->tree.silent ? GO_SUMDB_SILENT : GO_SUMDB_FALSE;
        return err_wrap(e, "checksum database %s: trees of %llu and %llu records", db->name,
                        (unsigned long long)old->head.n, (unsigned long long)new->head.n);
    }
    return digest_eq(&root, &old->head.root) || forked(db, old, new, &root, e);
}

static bool merge(GoSumdb *db, const Signed *t, Err *e)
{
    Signed known = {db->latest, go_sumdb_latest(db)};
    if (t->head.n <= known.head.n)
        return check_trees(db, t, &known, e);
    if (!check_trees(db, &known, t, e))
        return false;
    db->latest = t->head;
    db->latest_note.len = 0;
    buf_add(&db->latest_note, t->note.ptr, t->note.len);
    return true;
}

static bool refuse_forked(const GoSumdb *db, Err *e)
{
    return err_set(e, ERR_CHECK, "checksum database %s has signed two histories, and is not asked",
                   db->name);
}

bool go_sumdb_merge(GoSumdb *db, Str note, Err *e)
{
    Signed t;
    if (db->fault == GO_SUMDB_FORKED)
        return refuse_forked(db, e);
    db->fault = GO_SUMDB_SOUND;
    bool ok = !note.len || (open_tree(db, note, &t, e) && merge(db, &t, e));
    sumdb_tree_settle(&db->tree, ok);
    return ok;
}

bool go_sumdb_new(const GoSumdbName *name, const GoSumdbIo *io, Str latest, GoSumdb **ret, Err *e)
{
    GoSumdb *db = calloc(1, sizeof *db);
    if (!db)
        die_nomem();
    if (!note_key_parse(&db->arena, name->key, &db->key, e)) {
        go_sumdb_free(db);
        return false;
    }
    db->name = db->key.name;
    tlog_empty(&db->latest.root);
    sumdb_tree_init(&db->tree, io);
    if (!go_sumdb_merge(db, latest, e)) {
        go_sumdb_free(db);
        return err_wrap(e, "remembered tree");
    }
    *ret = db;
    return true;
}

/* ---- records ---- */

/* One module on its way from the name to the proof. */
typedef struct Lookup {
    const GoModule *mod;
    const char *path; /* "lookup/..." */
    bool answered;
    bool kept;
    Str body;
    uint64_t id;
    Str record;
    Signed tree;
} Lookup;

static bool name_lookup(Arena *a, const GoModule *m, Lookup *ret, Err *e)
{
    const char *path, *version;
    if (!go_path_escape(a, m->path, &path, e) || !go_version_escape(a, m->version, &version, e))
        return false;
    *ret = (Lookup){.mod = m, .path = arena_printf(a, "lookup/%s@%s", path, version)};
    return true;
}

/* Answers to all lookups; a module the database does not know has a status and no answer. */
static bool fetch_lookups(GoSumdb *db, Arena *a, Lookup *v, size_t n, bool fresh,
                          GoSumdbAnswer *ret, Err *e)
{
    GoSumdbFetch *f = arena_array(a, n, sizeof *f);
    for (size_t i = 0; i < n; i++)
        f[i] = (GoSumdbFetch){.path = v[i].path, .max = GO_SUMDB_LOOKUP_MAX, .fresh = fresh};
    bool ok = sumdb_tree_fetch(&db->tree, f, n, e);
    for (size_t i = 0; i < n; i++) {
        ret[i] = (GoSumdbAnswer){.status = ok ? f[i].status : 0};
        v[i].answered = ok && f[i].status == 200;
        v[i].kept = f[i].kept;
        size_t len = f[i].body.len < f[i].max ? f[i].body.len : f[i].max; /* more is malformed */
        v[i].body = (Str){arena_strndup(a, buf_str(&f[i].body), len), len};
        buf_done(&f[i].body);
    }
    return ok || silent(db, e);
}

static bool read_lookup(GoSumdb *db, Lookup *l, Err *e)
{
    Str note;
    if (!tlog_record_parse(l->body, &l->id, &l->record, &note)) {
        err_set(e, ERR_CHECK, "malformed record of %s@%s", l->mod->path, l->mod->version);
        return is_false(db, e);
    }
    l->tree = (Signed){.note = note};
    if (note.len)
        return open_tree(db, note, &l->tree, e);
    tlog_empty(&l->tree.head.root); /* no tree is the tree of no records */
    return true;
}

static int newest_first(const void *a, const void *b)
{
    const TreeHead *x = &(*(Lookup *const *)a)->tree.head, *y = &(*(Lookup *const *)b)->tree.head;
    if (x->n != y->n)
        return x->n < y->n ? 1 : -1;
    return memcmp(x->root.b, y->root.b, sizeof x->root.b);
}

/* Is this the tree of the lookup before? They are sorted. */
static bool repeats(Lookup *const *v, size_t i)
{
    return i && !newest_first(&v[i - 1], &v[i]);
}

static bool check_ids(GoSumdb *db, Lookup *const *v, size_t n, Err *e)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i]->id < db->latest.n)
            continue;
        err_set(e, ERR_CHECK, "%s@%s: record %llu of a tree of %llu", v[i]->mod->path,
                v[i]->mod->version, (unsigned long long)v[i]->id, (unsigned long long)db->latest.n);
        return is_false(db, e);
    }
    return true;
}

/* What has been read for the trees and records of one call: hashes in the order of nodes. */
typedef struct Reading {
    TreeNode *nodes;
    Digest *hashes;
    size_t n;
} Reading;

/* All that proves older trees and records in the newest tree is read at once. */
static bool read_proofs(GoSumdb *db, Arena *a, Lookup *const *v, size_t n, Reading *ret, Err *e)
{
    Reading r = {.nodes = arena_array(a, n, (TLOG_LEVELS + 1) * sizeof *r.nodes)};
    for (size_t i = 0; i < n; i++) {
        if (!repeats(v, i))
            r.n += tlog_cover(0, v[i]->tree.head.n, r.nodes + r.n);
        r.nodes[r.n++] = (TreeNode){0, v[i]->id};
    }
    r.hashes = arena_array(a, r.n, sizeof *r.hashes);
    if (!sumdb_tree_read(&db->tree, &db->latest, r.nodes, r.n, r.hashes, e))
        return db->tree.silent ? silent(db, e) : is_false(db, e);
    *ret = r;
    return true;
}

/* One tree against what the newest has for as many records. */
static bool prove_tree(GoSumdb *db, const Signed *t, const Digest *hashes, size_t n, Err *e)
{
    Signed known = {db->latest, go_sumdb_latest(db)};
    Digest root;
    if (n)
        tlog_fold(hashes, n, &root);
    else
        tlog_empty(&root);
    return digest_eq(&root, &t->head.root) || forked(db, t, &known, &root, e);
}

static bool prove_record(GoSumdb *db, const Lookup *l, const Digest *hash, Err *e)
{
    Digest leaf;
    tlog_leaf(l->record, &leaf);
    if (digest_eq(&leaf, hash))
        return true;
    err_set(e, ERR_CHECK, "%s@%s: the record is not the one in the tree", l->mod->path,
            l->mod->version);
    return is_false(db, e);
}

/*
 * Something could not be proven, and it may be because there are two histories: then that is said,
 * and not `why`. Trees alone need fewer tiles than trees and records.
 */
static bool look_for_fork(GoSumdb *db, Lookup *const *v, size_t n, const Err *why, Err *e)
{
    GoSumdbFault fault = db->fault;
    for (size_t i = 0; i < n; i++) {
        Err ignored = ERR_INIT;
        if (!repeats(v, i) && v[i]->tree.note.len && !merge(db, &v[i]->tree, &ignored) &&
            db->fault == GO_SUMDB_FORKED)
            return err_set(e, ignored.kind, "%s", ignored.msg);
    }
    db->fault = fault;
    return err_set(e, why->kind, "%s", why->msg);
}

/* The newest tree first, so that the others are held against it and not it against each of them. */
static bool prove_all(GoSumdb *db, Arena *a, Lookup **v, size_t n, Err *e)
{
    TreeNode cover[TLOG_LEVELS];
    Reading r = {0};
    for (size_t i = 0; i < n; i++)
        if (!read_lookup(db, v[i], e))
            return false;
    if (!n)
        return true;
    qsort(v, n, sizeof *v, newest_first);
    if (v[0]->tree.head.n >= db->latest.n && v[0]->tree.note.len && !merge(db, &v[0]->tree, e))
        return false;
    Err why = ERR_INIT;
    if (!check_ids(db, v, n, &why) || !read_proofs(db, a, v, n, &r, &why))
        return look_for_fork(db, v, n, &why, e);
    for (size_t i = 0, at = 0; i < n; i++) {
        size_t ncover = repeats(v, i) ? 0 : tlog_cover(0, v[i]->tree.head.n, cover);
        if (!repeats(v, i) && !prove_tree(db, &v[i]->tree, r.hashes + at, ncover, e))
            return false;
        at += ncover + 1;
        if (!prove_record(db, v[i], &r.hashes[at - 1], e))
            return false;
    }
    return true;
}

/* The first h1 on a line "path version[/go.mod] h1:..."; NULL for none. */
static const char *find_sum(Arena *a, Str record, const GoModule *m, const char *suffix)
{
    const char *want = arena_printf(a, "%s %s%s h1:", m->path, m->version, suffix);
    size_t skip = strlen(want);
    for (size_t at = 0; at < record.len;) {
        const char *line = record.ptr + at, *nl = memchr(line, '\n', record.len - at);
        size_t n = (size_t)(nl - line); /* a record ends with a newline */
        if (n > skip && !memcmp(line, want, skip))
            return arena_strndup(a, line + skip - 3, n - skip + 3);
        at += n + 1;
    }
    return NULL;
}

/* What has been proven, to the caller and to his store. */
static void give(GoSumdb *db, Arena *a, const Lookup *l, GoSumdbAnswer *ret)
{
    ret->found = true;
    ret->h1 = find_sum(a, l->record, l->mod, "");
    ret->gomod_h1 = find_sum(a, l->record, l->mod, "/go.mod");
    if (!l->kept)
        sumdb_tree_save(&db->tree, l->path, l->body.ptr, l->body.len);
}

static bool look_up(GoSumdb *db, Arena *a, Lookup *v, size_t n, bool fresh, GoSumdbAnswer *ret,
                    Err *e)
{
    scoped(arena) Arena scratch = {0};
    Lookup **answered = arena_array(&scratch, n, sizeof *answered);
    Err once = ERR_INIT;
    size_t got = 0;
    bool kept = false;
    if (!fetch_lookups(db, &scratch, v, n, fresh, ret, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        kept = kept || (v[i].answered && v[i].kept);
        if (v[i].answered)
            answered[got++] = &v[i];
    }
    bool ok = prove_all(db, &scratch, answered, got, &once);
    if (!ok && db->fault == GO_SUMDB_FALSE && kept && !fresh) {
        /* What was kept may be damaged: ask before anybody is accused. */
        db->fault = GO_SUMDB_SOUND;
        return look_up(db, a, v, n, true, ret, e);
    }
    for (size_t i = 0; ok && i < n; i++)
        if (v[i].answered)
            give(db, a, &v[i], &ret[i]);
    return ok || err_set(e, once.kind, "%s", once.msg);
}

bool go_sumdb_lookup(GoSumdb *db, Arena *a, const GoModule *mods, size_t n, GoSumdbAnswer *ret,
                     Err *e)
{
    enum { AT_ONCE = 64 }; /* a bound for the memory of bodies and tiles */
    scoped(arena) Arena scratch = {0};
    if (db->fault == GO_SUMDB_FORKED)
        return refuse_forked(db, e);
    db->fault = GO_SUMDB_SOUND;
    Lookup *v = arena_array(&scratch, n + 1, sizeof *v);
    for (size_t i = 0; i < n; i++)
        if (!name_lookup(&scratch, &mods[i], &v[i], e))
            return false;
    bool ok = true;
    for (size_t i = 0; i < n && ok; i += AT_ONCE) {
        ok = look_up(db, a, v + i, n - i < AT_ONCE ? n - i : AT_ONCE, false, ret + i, e);
        sumdb_tree_settle(&db->tree, ok);
    }
    return ok;
}
