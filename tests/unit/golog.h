/*
 * unit/golog.h - a checksum database in memory, which signs what it is told to: for tests and for
 * the fuzzer.
 */
#ifndef UNIT_GOLOG_H
#define UNIT_GOLOG_H

#include <openssl/evp.h>
#include <stdlib.h>

#include "go/base64.h"
#include "go/go.h"
#include "go/note.h"
#include "go/tlog.h"

/* What a test cannot go on without. */
static inline void must(bool ok)
{
    if (!ok)
        abort();
}

enum { FILES_MAX = 200 };

typedef struct Served {
    const char *path;
    Str bytes;
} Served;

/* The other side: what is served, and what became of it. */
typedef struct Server {
    Served v[FILES_MAX], kept[FILES_MAX];
    size_t n, nkept;
    size_t nround, nasked, nfresh; /* calls of fetch, things asked for, fresh ones among them */
    bool down;
} Server;

static inline Served *find(Served *v, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(v[i].path, path))
            return &v[i];
    return NULL;
}

static inline void keep(Server *s, const char *path, const void *bytes, size_t n)
{
    Served *kept = find(s->kept, s->nkept, path);
    if (!kept) {
        kept = &s->kept[s->nkept++];
        *kept = (Served){.path = strdup(path)};
    }
    free((void *)(uintptr_t)kept->bytes.ptr);
    kept->bytes = (Str){memcpy(malloc(n + 1), bytes, n), n};
}

static inline void scoped_server_done(Server *s)
{
    for (size_t i = 0; i < s->nkept; i++) {
        free((void *)(uintptr_t)s->kept[i].path);
        free((void *)(uintptr_t)s->kept[i].bytes.ptr);
    }
}

static inline const char *shown_hash(Arena *a, const Digest *d)
{
    scoped(buf) Buf b = BUF_INIT;
    base64_add(&b, d->b, sizeof d->b);
    return arena_strdup(a, b.ptr);
}

enum { LEVELS = 20 };

/* Records "a.b/m<i> v1.0.0 ..." and all hashes over them; from `fork` on they are others. */
typedef struct Log {
    Arena arena;
    size_t n, fork;
    size_t served; /* records of the tree that answers to lookups carry */
    Digest *level[LEVELS];
    const char *without; /* a path that is not served */
    Server log;          /* what was kept, and counts */
} Log;

static inline void scoped_log_done(Log *l)
{
    scoped_server_done(&l->log);
    arena_done(&l->arena);
}

static inline Str record(Arena *a, const Log *l, size_t i)
{
    const char *what = i >= l->fork ? "B" : "A", *name = arena_printf(a, "a.b/m%zu v1.0.0", i);
    return str_c(arena_printf(a, "%s h1:%s%040zuabc=\n%s/go.mod h1:%s%040zudef=\n", name, what, i,
                              name, what, i));
}

static inline void grow(Log *l, size_t n, size_t fork)
{
    l->n = l->served = n;
    l->fork = fork;
    for (unsigned level = 0; level < LEVELS; level++)
        l->level[level] = arena_array(&l->arena, (n >> level) + 1, sizeof(Digest));
    for (size_t i = 0; i < n; i++) {
        scoped(arena) Arena a = {0};
        tlog_leaf(record(&a, l, i), &l->level[0][i]);
    }
    for (unsigned level = 1; level < LEVELS; level++)
        for (size_t i = 0; i < n >> level; i++)
            tlog_inner(&l->level[level - 1][2 * i], &l->level[level - 1][2 * i + 1],
                       &l->level[level][i]);
}

static inline EVP_PKEY *signing_key(void)
{
    static const uint8_t SEED[ED25519_KEY_SIZE] = {7};
    static EVP_PKEY *key; /* made once: it costs more than signing */
    if (!key)
        key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, SEED, sizeof SEED);
    return key;
}

static inline uint32_t key_of(Arena *a, const char **ret_text)
{
    uint8_t key[1 + ED25519_KEY_SIZE] = {1};
    size_t n = ED25519_KEY_SIZE;
    Hasher h;
    Digest d;
    scoped(buf) Buf b = BUF_INIT;
    must(EVP_PKEY_get_raw_public_key(signing_key(), key + 1, &n) == 1);
    hash_init(&h);
    hash_add(&h, "own.test\n", 9);
    hash_add(&h, key, sizeof key);
    hash_end(&h, &d);
    uint32_t hash =
        (uint32_t)d.b[0] << 24 | (uint32_t)d.b[1] << 16 | (uint32_t)d.b[2] << 8 | d.b[3];
    buf_printf(&b, "own.test+%08x+", hash);
    base64_add(&b, key, sizeof key);
    *ret_text = arena_strdup(a, b.ptr);
    return hash;
}

/* The signed tree of the first `n` records. */
static inline Str signed_tree(Arena *a, const Log *l, size_t n)
{
    scoped(buf) Buf b = BUF_INIT;
    TreeNode cover[TLOG_LEVELS];
    Digest hashes[TLOG_LEVELS], root;
    uint8_t sig[4 + ED25519_SIG_SIZE];
    size_t len = ED25519_SIG_SIZE, ncover = tlog_cover(0, n, cover);
    const char *ignored;
    uint32_t hash = key_of(a, &ignored);
    for (size_t i = 0; i < ncover; i++)
        hashes[i] = l->level[cover[i].level][cover[i].n];
    tlog_fold(hashes, ncover, &root);
    buf_printf(&b, "go.sum database tree\n%zu\n%s\n", n, shown_hash(a, &root));
    for (size_t i = 0; i < 4; i++)
        sig[i] = (uint8_t)(hash >> (24 - 8 * i));
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    must(EVP_DigestSignInit(c, NULL, NULL, NULL, signing_key()) == 1);
    must(EVP_DigestSign(c, sig + 4, &len, (const uint8_t *)b.ptr, b.len) == 1);
    EVP_MD_CTX_free(c);
    buf_puts(&b, "\n\xe2\x80\x94 own.test ");
    base64_add(&b, sig, sizeof sig);
    buf_putc(&b, '\n');
    return str_c(arena_strndup(a, b.ptr, b.len));
}

static inline int answer(Arena *a, const Log *l, GoSumdbFetch *f)
{
    size_t i;
    GoTile t;
    if (l->without && !strcmp(l->without, f->path))
        return 404;
    if (sscanf(f->path, "lookup/a.b/m%zu@v1.0.0", &i) == 1 && i < l->n) {
        Str text = record(a, l, i), tree = signed_tree(a, l, l->served > i ? l->served : i + 1);
        buf_printf(&f->body, "%zu\n%s\n%s", i, text.ptr, tree.ptr);
        return 200;
    }
    if (!go_tile_parse(f->path, &t) || (t.n << 8) + t.width > l->n >> 8 * t.level)
        return 404;
    buf_add(&f->body, l->level[8 * t.level] + (t.n << 8), t.width * sizeof(Digest));
    return 200;
}

static inline bool fetch_log(void *arg, GoSumdbFetch *v, size_t n, Err *e)
{
    Log *l = arg;
    l->log.nround++;
    for (size_t i = 0; i < n; i++) {
        scoped(arena) Arena a = {0};
        const Served *kept = v[i].fresh ? NULL : find(l->log.kept, l->log.nkept, v[i].path);
        l->log.nfresh += v[i].fresh;
        l->log.nasked += !kept;
        v[i].kept = kept != NULL;
        if (kept)
            buf_add(&v[i].body, kept->bytes.ptr, kept->bytes.len);
        v[i].status = kept ? 200 : answer(&a, l, &v[i]);
        must(v[i].body.len <= v[i].max);
    }
    return !l->log.down || err_set(e, ERR_NETWORK, "the net is down");
}

static inline void save_log(void *arg, const char *path, const void *bytes, size_t n)
{
    Log *l = arg;
    if (l->log.nkept < FILES_MAX)
        keep(&l->log, path, bytes, n);
}

static inline GoSumdb *log_client(Arena *a, Log *l, Str latest)
{
    GoSumdbName name;
    GoSumdb *db = NULL;
    const char *key;
    Err e = ERR_INIT;
    GoSumdbIo *io = NEW(a, GoSumdbIo);
    *io = (GoSumdbIo){fetch_log, save_log, l};
    (void)key_of(a, &key);
    must(go_sumdb_name(a, key, &name, &e) && go_sumdb_new(&name, io, latest, &db, &e));
    return db;
}

static inline GoModule module_nr(Arena *a, size_t i)
{
    return (GoModule){arena_printf(a, "a.b/m%zu", i), "v1.0.0"};
}

#endif
