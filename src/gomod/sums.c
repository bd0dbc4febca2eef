/*
 * gomod/sums.c - what the bytes of a module must be: go.sum, and where that is silent the checksum
 * database.
 */
#include <errno.h>
#include <sys/file.h>

#include "base/fs.h"
#include "gomod/inside.h"
#include "net/net.h"

/* ---- go.sum ---- */

static const char *key_of(Arena *a, const GoModule *m, bool gomod)
{
    return arena_printf(a, "%s@%s%s", m->path, m->version, gomod ? "/go.mod" : "");
}

/* g->lock is held. */
static const Sum *find(Gomod *g, const GoModule *m, bool gomod)
{
    scoped(arena) Arena a = {0};
    uint64_t at;
    return map_get(&g->sums, key_of(&a, m, gomod), &at) ? (const Sum *)(uintptr_t)at : NULL;
}

bool sums_add(Gomod *g, const GoModule *m, bool gomod, const char *h1)
{
    pthread_mutex_lock(&g->lock);
    const Sum *first = find(g, m, gomod);
    bool known = false;
    for (const Sum *s = first; s; s = s->next)
        known = known || !strcmp(s->h1, h1);
    if (!known) {
        Sum *s = NEW(&g->arena, Sum);
        *s = (Sum){arena_strdup(&g->arena, h1), (Sum *)(uintptr_t)first};
        (void)map_put(&g->sums, key_of(&g->arena, m, gomod), (uint64_t)(uintptr_t)s);
    }
    pthread_mutex_unlock(&g->lock);
    return !known;
}

const char *sums_get(Gomod *g, const GoModule *m, bool gomod)
{
    pthread_mutex_lock(&g->lock);
    const Sum *s = find(g, m, gomod);
    pthread_mutex_unlock(&g->lock);
    return s ? s->h1 : NULL;
}

const char *gomod_sum(Gomod *g, Arena *a, const GoModule *m)
{
    const char *h1 = sums_get(g, m, false);
    return h1 ? arena_strdup(a, h1) : NULL;
}

static bool matches(Gomod *g, const GoModule *m, bool gomod, const char *h1)
{
    bool found = false;
    pthread_mutex_lock(&g->lock);
    for (const Sum *s = find(g, m, gomod); s; s = s->next)
        found = found || !strcmp(s->h1, h1);
    pthread_mutex_unlock(&g->lock);
    return found;
}

/* ---- the checksum database ---- */

static bool kept(Database *d, GoSumdbFetch *v)
{
    scoped(arena) Arena a = {0};
    Err ignored = ERR_INIT;
    size_t before = v->body.len;
    if (v->fresh ||
        !fs_read_file(store_dirfd(d->g->store), arena_printf(&a, "%s/%s", d->dir, v->path), v->max,
                      &v->body, &ignored)) {
        v->body.len = before;
        return false;
    }
    v->kept = true;
    v->status = 200;
    return true;
}

typedef struct TileJob {
    pthread_t thread;
    bool started;
    Database *d;
    GoSumdbFetch *v;
} TileJob;

static void *fetch_one(void *arg)
{
    const TileJob *j = arg;
    scoped(arena) Arena a = {0};
    NetAnswer ans;
    Err ignored = ERR_INIT;
    GoSumdbFetch *v = j->v;
    size_t before = v->body.len;
    NetAsk ask = {.url = arena_printf(&a, "%s/%s", j->d->base, v->path), .attempts = 3};
    if (net_ask(&a, &ask, &v->body, v->max, &ans, NULL, &ignored))
        v->status = ans.status;
    else
        v->body.len = before;
    return NULL;
}

/* All of one round at once: they take one way to the server together. */
static bool fetch_all(void *arg, GoSumdbFetch *v, size_t n, Err *e)
{
    scoped(arena) Arena a = {0};
    Database *d = arg;
    TileJob *jobs = NEW_N(&a, TileJob, n + 1);
    for (size_t i = 0; i < n; i++) {
        jobs[i] = (TileJob){.d = d, .v = &v[i]};
        if (kept(d, &v[i]) || d->g->offline)
            continue;
        jobs[i].started =
            i + 1 < n && pthread_create(&jobs[i].thread, NULL, fetch_one, &jobs[i]) == 0;
        if (!jobs[i].started)
            (void)fetch_one(&jobs[i]);
    }
    for (size_t i = 0; i < n; i++)
        if (jobs[i].started)
            pthread_join(jobs[i].thread, NULL);
    (void)e;
    return true;
}

static void save(void *arg, const char *path, const void *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Database *d = arg;
    (void)keep_write(d->g, arena_printf(&a, "%s/%s", d->dir, path),
                     (Str){bytes, n}); /* else it is fetched again */
}

static int probe(void *arg, const char *url)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf body = BUF_INIT;
    NetAnswer ans;
    Err ignored = ERR_INIT;
    (void)arg;
    NetAsk ask = {.url = url, .attempts = 2};
    return net_ask(&a, &ask, &body, 1 << 20, &ans, NULL, &ignored) ? ans.status : 0;
}

/* Where the store has what a database served, relative to it. */
static const char *place(Arena *a, const GoSumdbName *name)
{
    char hex[DIGEST_HEX_SIZE];
    Digest id;
    digest_of(name->key, strlen(name->key), &id);
    digest_hex(&id, hex);
    return arena_printf(a, "gomod/sumdb/%.32s", hex);
}

/* Fills in d->db, or d->why. g->sumdb_lock is held. */
static void connect_db(Database *d, const GoSettings *s, GoSumdbIo *io)
{
    Gomod *g = d->g;
    scoped(buf) Buf latest = BUF_INIT;
    GoSumdbName name;
    GoProxyList proxies;
    Err e = ERR_INIT, ignored = ERR_INIT;
    Arena *a = &g->sumdb_arena;
    bool ok = go_sumdb_name(a, s->gosumdb, &name, &e) && go_proxy_list(a, s->goproxy, &proxies, &e);
    if (ok && name.off)
        ok = err_set(&e, ERR_NETWORK, "GOSUMDB=off");
    if (ok) {
        d->dir = place(a, &name);
        ok = (keep_dirs(g, d->dir) || err_set(&e, ERR_STORE, "create its directory")) &&
             store_use_made(g->store, "gomod/sumdb", "checksum databases", true, &e);
    }
    if (ok && !fs_read_file(store_dirfd(g->store), arena_printf(a, "%s/newest", d->dir), 1 << 20,
                            &latest, &ignored))
        latest.len = 0;
    if (ok && g->offline)
        d->base = "";
    else
        ok = ok && go_sumdb_route(a, &name, &proxies, probe, d, &d->base, &e);
    ok = ok && go_sumdb_new(&name, io, (Str){buf_str(&latest), latest.len}, &d->db, &e);
    d->why = ok ? "" : arena_strdup(a, e.msg);
}

/* g->sumdb_lock is held. */
static Database *database(Gomod *g, const GoSettings *s)
{
    Arena *a = &g->sumdb_arena;
    const char *setting = arena_printf(a, "%s %s", s->gosumdb, s->goproxy);
    for (Database *d = g->databases; d; d = d->next)
        if (!strcmp(d->setting, setting))
            return d;
    Database *d = NEW(a, Database);
    GoSumdbIo *io = NEW(a, GoSumdbIo);
    *d = (Database){.setting = setting, .g = g, .next = g->databases};
    *io = (GoSumdbIo){.fetch = fetch_all, .save = save, .arg = d};
    g->databases = d;
    connect_db(d, s, io);
    return d;
}

/* Another process may have seen a newer tree since; both must be one history. */
static void remember(Database *d, Err *e)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf theirs = BUF_INIT;
    Err ignored = ERR_INIT;
    int store = store_dirfd(d->g->store);
    const char *path = arena_printf(&a, "%s/newest", d->dir);
    scoped(fd) int lock = openat(store, d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return;
    if (fs_read_file(store, path, 1 << 20, &theirs, &ignored) && theirs.len &&
        !go_sumdb_merge(d->db, (Str){theirs.ptr, theirs.len}, e))
        return;
    Str newest = go_sumdb_latest(d->db);
    if (newest.len != theirs.len || memcmp(newest.ptr, buf_str(&theirs), theirs.len) != 0)
        (void)keep_write(d->g, path, newest); /* else the older one is remembered */
}

/* A fork is kept as proof, to be published. */
static bool forked(Database *d, Err *e)
{
    scoped(arena) Arena a = {0};
    const char *text = go_sumdb_evidence(d->db), *path = arena_printf(&a, "%s/forked", d->dir);
    if (*text && keep_write(d->g, path, str_c(text)))
        err_wrap(e, "the proof lies in '%s/%s'", store_path(d->g->store), path);
    return false;
}

bool sumdb_sums(Gomod *g, const GoSettings *s, const GoModule *m, Err *e)
{
    scoped(arena) Arena a = {0};
    GoSumdbAnswer ans = {0};
    pthread_mutex_lock(&g->sumdb_lock);
    Database *d = database(g, s);
    bool ok =
        d->db ? go_sumdb_lookup(d->db, &a, m, 1, &ans, e) : err_set(e, ERR_NETWORK, "%s", d->why);
    if (ok)
        remember(d, e);
    if (d->db && go_sumdb_fault(d->db) == GO_SUMDB_FORKED)
        ok = forked(d, e);
    if (ok && ans.h1 && ans.found)
        (void)sums_add(g, m, false, ans.h1);
    if (ok && ans.gomod_h1 && ans.found)
        (void)sums_add(g, m, true, ans.gomod_h1);
    pthread_mutex_unlock(&g->sumdb_lock);
    return ok && ans.found;
}

void sums_recall(Gomod *g, const GoSettings *s, const GoModule *m, bool gomod)
{
    scoped(arena) Arena a = {0};
    GoSumdbName name;
    const char *path, *version;
    Err ignored = ERR_INIT;
    if (sums_get(g, m, gomod) || !go_uses_sumdb(s, m->path) ||
        !go_sumdb_name(&a, s->gosumdb, &name, &ignored) || name.off ||
        !go_path_escape(&a, m->path, &path, &ignored) ||
        !go_version_escape(&a, m->version, &version, &ignored))
        return;
    const char *record = arena_printf(&a, "%s/lookup/%s@%s", place(&a, &name), path, version);
    if (faccessat(store_dirfd(g->store), record, F_OK, 0) == 0)
        (void)sumdb_sums(g, s, m, &ignored); /* who judges the bytes hears of it again */
}

void sumdb_done(Gomod *g)
{
    for (Database *d = g->databases; d; d = d->next)
        go_sumdb_free(d->db);
    arena_done(&g->sumdb_arena);
}

/* ---- verdicts ---- */

static SumVerdict wrong(const GoModule *m, bool gomod, const char *want, const char *h1,
                        const char *source, const char *says, Err *e)
{
    err_set(
        e, ERR_CHECK,
        "%s@%s: %s is not what %s says: expected %s, got %s, from %s: the proxy or something on "
        "the way to it changed it, or a version was published twice",
        m->path, m->version, gomod ? "its go.mod" : "its zip", says, want, h1, source);
    return SUM_WRONG;
}

SumVerdict sums_judge(Gomod *g, const GoSettings *s, const GoModule *m, bool gomod, const char *h1,
                      const char *source, Err *e)
{
    Err why = ERR_INIT;
    const char *want = sums_get(g, m, gomod), *says = "go.sum";
    if (!want && go_uses_sumdb(s, m->path)) {
        says = "the checksum database";
        if (!sumdb_sums(g, s, m, &why) && why.kind == ERR_CHECK) {
            *e = why;
            return SUM_WRONG;
        }
        want = sums_get(g, m, gomod);
    }
    if (!want)
        return SUM_UNKNOWN;
    return matches(g, m, gomod, h1) ? SUM_PROVEN : wrong(m, gomod, want, h1, source, says, e);
}
