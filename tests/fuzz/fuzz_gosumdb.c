/*
 * fuzz_gosumdb - a whole session with a database whose answers are damaged on the way: how large
 * its trees are, who asks for what, and which bytes of which answers change is the fuzzer's choice.
 * What is believed is true, what is kept is what the database has, and damage is no fork.
 */
#include <assert.h>

#include "../unit/golog.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { RECORDS = 600, ASKS_MAX = 4 };

static Log honest;

/* Three bytes damage one answer: its number, where, what. */
typedef struct Session {
    const uint8_t *damage;
    size_t ndamage;
    size_t nanswer;
} Session;

static int truth(GoSumdbFetch *f)
{
    scoped(arena) Arena a = {0};
    return answer(&a, &honest, f);
}

static bool fetch(void *arg, GoSumdbFetch *v, size_t n, Err *e)
{
    Session *s = arg;
    for (size_t i = 0; i < n; i++, s->nanswer++) {
        v[i].status = truth(&v[i]);
        for (size_t k = 0; k + 3 <= s->ndamage; k += 3) {
            const uint8_t *d = s->damage + k;
            if (d[0] % 16 != s->nanswer % 16)
                continue;
            if (d[0] >= 240 && v[i].body.len)
                v[i].body.len -= d[1] % v[i].body.len;
            else if (d[0] >= 224)
                v[i].status = d[1] * 3;
            else if (d[0] >= 208)
                buf_add(&v[i].body, d + 1, 1);
            else if (v[i].body.len)
                v[i].body.ptr[d[1] * v[i].body.len / 256] ^= (char)d[2];
        }
    }
    return s->ndamage % 3 != 2 || s->nanswer < 5 || err_set(e, ERR_NETWORK, "down");
}

static void save(void *arg, const char *path, const void *bytes, size_t n)
{
    GoSumdbFetch f = {.path = path, .max = GO_SUMDB_LOOKUP_MAX};
    (void)arg;
    int status = truth(&f);
    bool lookup = str_starts(path, "lookup/");
    /* another signature of the same tree does not come about; a tile is what it is */
    assert(status == 200 && (lookup || f.body.len == n) && n <= f.body.len);
    assert(lookup || !memcmp(f.body.ptr, bytes, n));
    buf_done(&f.body);
}

static void ask(Arena *a, GoSumdb *db, const uint8_t *ids, size_t n)
{
    GoModule mods[ASKS_MAX];
    GoSumdbAnswer r[ASKS_MAX];
    Err e = ERR_INIT;
    for (size_t i = 0; i < n; i++)
        mods[i] = module_nr(a, (size_t)ids[i] * RECORDS / 256);
    bool ok = go_sumdb_lookup(db, a, mods, n, r, &e);
    assert(ok == (go_sumdb_fault(db) == GO_SUMDB_SOUND) && ok == !e.kind);
    assert(go_sumdb_fault(db) != GO_SUMDB_FORKED && !*go_sumdb_evidence(db));
    for (size_t i = 0; ok && i < n; i++) {
        if (!r[i].found)
            continue;
        const char *want = record(a, &honest, (size_t)ids[i] * RECORDS / 256).ptr;
        assert(strstr(want, r[i].h1) && strstr(want, r[i].gomod_h1));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    GoSumdbName name;
    const char *key;
    Err e = ERR_INIT;
    if (n < 8 || n > 256)
        return 0;
    if (!honest.n)
        grow(&honest, RECORDS, SIZE_MAX);
    Session s = {bytes + 8, n - 8, 0};
    GoSumdbIo io = {fetch, save, &s};
    size_t known = (size_t)bytes[0] * RECORDS / 255;
    honest.served = (size_t)bytes[1] * RECORDS / 255;
    (void)key_of(&a, &key);
    assert(go_sumdb_name(&a, key, &name, &e));
    scoped(go_sumdb) GoSumdb *db = NULL;
    Str latest = known ? signed_tree(&a, &honest, known) : (Str){"", 0};
    assert(go_sumdb_new(&name, &io, latest, &db, &e));
    size_t first = 1 + bytes[2] % (ASKS_MAX - 1);
    ask(&a, db, bytes + 3, first);
    ask(&a, db, bytes + 3 + first, 1);
    return 0;
}
