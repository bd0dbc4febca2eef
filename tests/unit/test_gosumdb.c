/*
 * go/note.c, go/tlog.c, go/tile.c, go/sumdb*.c: the checksum database's client, against
 * golang.org/x/mod/sumdb, and databases and servers that lie.
 */
#include "govectors.h"

#include "golog.h"

/* ---- texts, against x/mod/sumdb/note and x/mod/sumdb/tlog ---- */

static const char *op_note(Arena *a, const Str *in)
{
    NoteKey key;
    Str text;
    Err e = ERR_INIT;
    OK(note_key_parse(a, in[0].ptr, &key, &e));
    if (!note_open(&key, in[1], &text, &e)) {
        assert_int_equal(e.kind, ERR_CHECK);
        return "bad";
    }
    return arena_printf(a, "ok %.*s", (int)text.len, text.ptr);
}

static const char *op_key(Arena *a, const Str *in)
{
    NoteKey key;
    Err e = ERR_INIT;
    if (!no_nul(in[0]))
        return NULL;
    return note_key_parse(a, in[0].ptr, &key, &e)
               ? arena_printf(a, "ok %s %08x", key.name, key.hash)
               : "bad";
}

static const char *op_tree(Arena *a, const Str *in)
{
    TreeHead t;
    if (!tlog_tree_parse(in[0], &t))
        return "bad";
    return arena_printf(a, "ok %llu %s", (unsigned long long)t.n, shown_hash(a, &t.root));
}

static const char *op_record(Arena *a, const Str *in)
{
    uint64_t id;
    Str record, note;
    if (!tlog_record_parse(in[0], &id, &record, &note))
        return "bad";
    return arena_printf(a, "ok %llu|%.*s|%.*s", (unsigned long long)id, (int)record.len, record.ptr,
                        (int)note.len, note.ptr);
}

static const char *op_tile(Arena *a, const Str *in)
{
    GoTile t;
    if (!no_nul(in[0]))
        return NULL;
    if (!go_tile_parse(in[0].ptr, &t))
        return "bad";
    return arena_printf(a, "ok %u %d %llu %u", t.height, t.level, (unsigned long long)t.n, t.width);
}

static const char *op_gosumdb(Arena *a, const Str *in)
{
    GoSumdbName n;
    Err e = ERR_INIT;
    if (!no_nul(in[0]))
        return NULL;
    if (!go_sumdb_name(a, in[0].ptr, &n, &e)) {
        assert_int_equal(e.kind, ERR_USAGE);
        return strstr(e.msg, "not clean") ? NULL
                                          : "bad"; /* a name that would leave its directory */
    }
    return n.off ? "off" : arena_printf(a, "ok %s %s", n.name, n.url ? n.url : "-");
}

static void texts_of_the_database_are_what_the_go_project_reads_in_them(void **state)
{
    static const GoOp OPS[] = {{"note", op_note},     {"key", op_key},   {"tree", op_tree},
                               {"record", op_record}, {"tile", op_tile}, {"gosumdb", op_gosumdb}};
    (void)state;
    vectors(OPS, NELEM(OPS), "note");
}

/* ---- a database in memory ---- */

static bool fetch(void *arg, GoSumdbFetch *v, size_t n, Err *e)
{
    Server *s = arg;
    s->nround++;
    for (size_t i = 0; i < n; i++) {
        const Served *kept = v[i].fresh ? NULL : find(s->kept, s->nkept, v[i].path);
        const Served *f = kept ? kept : find(s->v, s->n, v[i].path);
        s->nfresh += v[i].fresh;
        s->nasked += !kept;
        v[i].kept = kept != NULL;
        v[i].status = f ? 200 : 404;
        if (f)
            buf_add(&v[i].body, f->bytes.ptr, f->bytes.len);
    }
    return !s->down || err_set(e, ERR_NETWORK, "the net is down");
}

/* What is saved is what was served, or the front of a full tile for a narrow one. */
static void save(void *arg, const char *path, const void *bytes, size_t n)
{
    Server *s = arg;
    const Served *f = find(s->v, s->n, path);
    assert_true(f ? f->bytes.len == n && !memcmp(f->bytes.ptr, bytes, n)
                  : strstr(path, ".p/") != NULL);
    keep(s, path, bytes, n);
}

/* "path size\n" and as many bytes, again and again. */
static void serve(Arena *a, Server *s, Str pack)
{
    for (const char *at = pack.ptr, *end = at + pack.len; at < end; s->n++) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        const char *line = arena_strndup(a, at, (size_t)(nl - at)), *blank = strrchr(line, ' ');
        size_t n = strtoul(blank + 1, NULL, 10);
        assert_true(s->n < FILES_MAX && n <= (size_t)(end - nl - 1));
        s->v[s->n].path = arena_strndup(a, line, (size_t)(blank - line));
        s->v[s->n].bytes = (Str){nl + 1, n};
        at = nl + 1 + n;
    }
}

static size_t split_asks(Arena *a, Str text, GoModule *mods, size_t max)
{
    size_t n = 0;
    char *copy = arena_strndup(a, text.ptr, text.len), *state = NULL;
    for (char *line = strtok_r(copy, "\n", &state); line && n < max;
         line = strtok_r(NULL, "\n", &state)) {
        char *blank = strchr(line, ' ');
        *blank = 0;
        mods[n++] = (GoModule){line, blank + 1};
    }
    return n;
}

static GoSumdb *client(Arena *a, const char *key, Str latest, Server *s, Err *e)
{
    GoSumdbName name;
    GoSumdb *db = NULL;
    GoSumdbIo *io = NEW(a, GoSumdbIo);
    *io = (GoSumdbIo){fetch, save, s};
    Err own = ERR_INIT;
    if (!go_sumdb_name(a, key, &name, &own))
        fail_msg("%s", own.msg);
    return go_sumdb_new(&name, io, latest, &db, e) ? db : NULL;
}

/* ---- whole sessions, against x/mod/sumdb ---- */

/*
 * All at once must come to the same as one after the other; but what a tile was missing for need
 * not be asked for when the newest tree is known first.
 */
static void check_batch(Arena *a, const Str *in, const GoModule *mods, size_t n, bool good,
                        bool forked)
{
    scoped(server) Server s = {0};
    GoSumdbAnswer r[4];
    Err e = ERR_INIT;
    serve(a, &s, in[3]);
    scoped(go_sumdb) GoSumdb *db = client(a, in[0].ptr, in[1], &s, &e);
    bool ok = db && go_sumdb_lookup(db, a, mods, n, r, &e);
    assert_true(good ? ok : !(ok && forked));
    if (!ok) /* nothing of a bad answer is kept */
        for (size_t i = 0; i < s.nkept; i++)
            assert_false(str_starts(s.kept[i].path, "lookup/"));
    if (!ok)
        return;
    /* what was kept is enough, and verifies, without the network */
    s.down = false;
    s.n = 0;
    size_t nkept = s.nkept;
    scoped(go_sumdb) GoSumdb *offline = client(a, in[0].ptr, go_sumdb_latest(db), &s, &e);
    assert_non_null(offline);
    for (size_t i = 0; i < n; i++)
        if (r[i].found)
            OK(go_sumdb_lookup(offline, a, &mods[i], 1, &r[i], &e));
    assert_int_equal(s.nkept, nkept);
}

static const char *op_sumdb(Arena *a, const Str *in)
{
    scoped(server) Server s = {0};
    scoped(buf) Buf out = BUF_INIT;
    GoModule mods[4];
    Err e = ERR_INIT;
    bool good = true;
    size_t n = split_asks(a, in[2], mods, NELEM(mods));
    serve(a, &s, in[3]);
    scoped(go_sumdb) GoSumdb *db = client(a, in[0].ptr, in[1], &s, &e);
    if (!db)
        return "bad\n";
    for (size_t i = 0; i < n && good; i++) {
        GoSumdbAnswer r;
        good = go_sumdb_lookup(db, a, &mods[i], 1, &r, &e);
        bool forked = go_sumdb_fault(db) == GO_SUMDB_FORKED;
        /* two trees of one size: x/mod may see damaged tiles only, we see two signatures */
        if (forked && !strstr(go_sumdb_evidence(db), "root of the first"))
            return NULL;
        if (!good)
            buf_puts(&out, forked ? "forked\n" : "bad\n");
        else if (!r.found)
            buf_puts(&out, "missing\n");
        else
            buf_printf(&out, "ok %s %s\n", r.h1 ? r.h1 : "-", r.gomod_h1 ? r.gomod_h1 : "-");
    }
    assert_int_equal(good, go_sumdb_fault(db) == GO_SUMDB_SOUND);
    assert_int_equal(*go_sumdb_evidence(db) != 0, go_sumdb_fault(db) == GO_SUMDB_FORKED);
    check_batch(a, in, mods, n, good, go_sumdb_fault(db) == GO_SUMDB_FORKED);
    return arena_strdup(a, out.ptr);
}

static void a_session_ends_as_with_the_go_projects_client(void **state)
{
    static const GoOp OPS[] = {{"sumdb", op_sumdb}};
    (void)state;
    vectors(OPS, NELEM(OPS), "sumdb");
}

/* One record of sum.golang.org from when it had 72 million, by the key that Go has built in. */
static void the_database_that_everybody_asks_is_believed(void **state)
{
    static const GoOp OPS[] = {{"sumdb", op_sumdb}};
    (void)state;
    vectors(OPS, NELEM(OPS), "sumgolang");
}

/* ---- databases of our own, as large as we like ---- */

static void fifty_modules_take_two_rounds(void **state)
{
    scoped(log) Log l = {0};
    GoModule mods[50];
    GoSumdbAnswer r[50];
    Err e = ERR_INIT;
    (void)state;
    grow(&l, 5000, SIZE_MAX);
    l.served = 2000; /* answers carry trees of many times, as those of sum.golang.org */
    for (size_t i = 0; i < NELEM(mods); i++)
        mods[i] = module_nr(&l.arena, i * 97);
    scoped(go_sumdb) GoSumdb *db = log_client(&l.arena, &l, signed_tree(&l.arena, &l, 5000));
    OK(go_sumdb_lookup(db, &l.arena, mods, NELEM(mods), r, &e));
    assert_int_equal(l.log.nround, 2);
    assert_true(r[49].found && r[49].status == 200);
    assert_true(str_starts(r[49].h1, "h1:A") && str_ends(r[49].h1, "4753abc="));
    assert_true(str_ends(r[49].gomod_h1, "4753def="));
    /* what was kept is proven without asking anybody */
    size_t asked = l.log.nasked;
    OK(go_sumdb_lookup(db, &l.arena, mods, 1, r, &e));
    assert_int_equal(l.log.nasked, asked);
}

static void a_newer_tree_is_remembered_once_it_continues_the_older(void **state)
{
    scoped(log) Log l = {0};
    GoSumdbAnswer r;
    Err e = ERR_INIT;
    (void)state;
    grow(&l, 900, SIZE_MAX);
    Str old = signed_tree(&l.arena, &l, 300), new = signed_tree(&l.arena, &l, 900);
    scoped(go_sumdb) GoSumdb *db = log_client(&l.arena, &l, old);
    GoModule m = module_nr(&l.arena, 42);
    OK(go_sumdb_lookup(db, &l.arena, &m, 1, &r, &e));
    assert_string_equal(go_sumdb_latest(db).ptr, new.ptr);
    OK(go_sumdb_merge(db, old, &e)); /* what another process remembered */
    assert_string_equal(go_sumdb_latest(db).ptr, new.ptr);
    OK(go_sumdb_merge(db, (Str){"", 0}, &e));
}

static void two_histories_are_proven_and_end_all_trust(void **state)
{
    scoped(log) Log l = {0}, other = {0};
    GoSumdbAnswer r;
    Err e = ERR_INIT;
    (void)state;
    grow(&l, 700, SIZE_MAX);
    grow(&other, 1000, 500);
    GoModule m = module_nr(&l.arena, 3);
    scoped(go_sumdb) GoSumdb *db = log_client(&l.arena, &other, signed_tree(&l.arena, &l, 700));
    FAILS(
        go_sumdb_lookup(db, &l.arena, &m, 1, &r, &e), ERR_CHECK,
        "SECURITY: the checksum database own.test has signed two histories: trees of 700 and 1000");
    assert_int_equal(go_sumdb_fault(db), GO_SUMDB_FORKED);
    const char *evidence = go_sumdb_evidence(db);
    assert_non_null(strstr(evidence, "go.sum database tree\n\t700\n"));
    assert_non_null(strstr(evidence, "go.sum database tree\n\t1000\n"));
    assert_non_null(strstr(evidence, "root of the first 700 records of the newer tree"));
    assert_int_equal(other.log.nkept, 0); /* neither record nor tile */
    size_t rounds = other.log.nround;
    FAILS(go_sumdb_lookup(db, &l.arena, &m, 1, &r, &e), ERR_CHECK, "is not asked");
    FAILS(go_sumdb_merge(db, signed_tree(&l.arena, &l, 700), &e), ERR_CHECK, "is not asked");
    assert_int_equal(other.log.nround, rounds);
}

static void two_trees_of_one_size_need_no_tiles_to_be_a_fork(void **state)
{
    scoped(log) Log l = {0}, other = {0};
    Err e = ERR_INIT;
    (void)state;
    grow(&l, 700, SIZE_MAX);
    grow(&other, 700, 699);
    scoped(go_sumdb) GoSumdb *db = log_client(&l.arena, &other, signed_tree(&l.arena, &l, 700));
    FAILS(go_sumdb_merge(db, signed_tree(&l.arena, &other, 700), &e), ERR_CHECK, "two histories");
    assert_int_equal(go_sumdb_fault(db), GO_SUMDB_FORKED);
    assert_int_equal(other.log.nround, 0);
}

static void a_narrow_tile_that_is_gone_is_cut_from_the_full_one(void **state)
{
    scoped(log) Log l = {0};
    GoSumdbAnswer r;
    Err e = ERR_INIT;
    (void)state;
    grow(&l, 600, SIZE_MAX);
    l.served = 500;
    l.without = "tile/8/0/001.p/244";
    GoModule m = module_nr(&l.arena, 499);
    scoped(go_sumdb) GoSumdb *db = log_client(&l.arena, &l, (Str){"", 0});
    OK(go_sumdb_lookup(db, &l.arena, &m, 1, &r, &e));
    const Served *kept = find(l.log.kept, l.log.nkept, "tile/8/0/001.p/244");
    assert_true(kept && kept->bytes.len == (size_t)244 * DIGEST_SIZE);
    assert_null(find(l.log.kept, l.log.nkept, "tile/8/0/001")); /* the rest of it is not proven */
}

static void what_is_kept_and_damaged_is_asked_for_again(void **state)
{
    scoped(log) Log l = {0};
    GoSumdbAnswer r;
    Err e = ERR_INIT;
    (void)state;
    grow(&l, 600, SIZE_MAX);
    GoModule m = module_nr(&l.arena, 7);
    scoped(go_sumdb) GoSumdb *first = log_client(&l.arena, &l, (Str){"", 0});
    OK(go_sumdb_lookup(first, &l.arena, &m, 1, &r, &e));
    for (size_t i = 0; i < l.log.nkept; i++) {
        char *bytes = (char *)(uintptr_t)l.log.kept[i].bytes.ptr;
        bytes[0] ^= 1; /* each thing in turn: a tile, or the record */
        scoped(go_sumdb) GoSumdb *db = log_client(&l.arena, &l, go_sumdb_latest(first));
        l.log.nfresh = 0;
        OK(go_sumdb_lookup(db, &l.arena, &m, 1, &r, &e));
        assert_true(r.found && l.log.nfresh > 0);
        assert_int_equal(go_sumdb_fault(db), GO_SUMDB_SOUND);
    }
    /* cut on disk: not taken for what the server says */
    l.log.kept[0].bytes.len--;
    scoped(go_sumdb) GoSumdb *db = log_client(&l.arena, &l, go_sumdb_latest(first));
    OK(go_sumdb_lookup(db, &l.arena, &m, 1, &r, &e));
}

static void a_module_that_is_not_known_is_no_failure(void **state)
{
    scoped(log) Log l = {0};
    GoSumdbAnswer r[2];
    Err e = ERR_INIT;
    (void)state;
    grow(&l, 10, SIZE_MAX);
    GoModule mods[] = {module_nr(&l.arena, 99), module_nr(&l.arena, 9)};
    scoped(go_sumdb) GoSumdb *db = log_client(&l.arena, &l, (Str){"", 0});
    OK(go_sumdb_lookup(db, &l.arena, mods, 2, r, &e));
    assert_true(!r[0].found && r[0].status == 404 && !r[0].h1 && r[1].found);
    GoModule bad = {"a.b/\x01", "v1.0.0"};
    FAILS(go_sumdb_lookup(db, &l.arena, &bad, 1, r, &e), ERR_DOCKERFILE, "malformed module path");
}

static void a_net_that_is_down_is_told_from_a_lie(void **state)
{
    scoped(log) Log l = {0};
    GoSumdbAnswer r;
    Err e = ERR_INIT;
    (void)state;
    grow(&l, 300, SIZE_MAX);
    GoModule m = module_nr(&l.arena, 7);
    scoped(go_sumdb) GoSumdb *db = log_client(&l.arena, &l, (Str){"", 0});
    l.log.down = true;
    FAILS(go_sumdb_lookup(db, &l.arena, &m, 1, &r, &e), ERR_NETWORK, "own.test: the net is down");
    assert_int_equal(go_sumdb_fault(db), GO_SUMDB_SILENT);
    l.log.down = false;
    l.without = "tile/8/0/000";
    FAILS(go_sumdb_lookup(db, &l.arena, &m, 1, &r, &e), ERR_NETWORK, "'tile/8/0/000' did not come");
    assert_int_equal(go_sumdb_fault(db), GO_SUMDB_SILENT);
    l.without = NULL;
    OK(go_sumdb_lookup(db, &l.arena, &m, 1, &r, &e));
    assert_int_equal(go_sumdb_fault(db), GO_SUMDB_SOUND);
}

static void more_tiles_than_are_remembered_are_no_trouble(void **state)
{
    enum { MANY = 600 };
    scoped(log) Log l = {0};
    GoModule *mods = NEW_N(&l.arena, GoModule, MANY);
    GoSumdbAnswer *r = NEW_N(&l.arena, GoSumdbAnswer, MANY);
    Err e = ERR_INIT;
    (void)state;
    grow(&l, MANY * 256, SIZE_MAX);
    for (size_t i = 0; i < MANY; i++) /* each in a tile of its own */
        mods[i] = module_nr(&l.arena, i * 256);
    scoped(go_sumdb) GoSumdb *db = log_client(&l.arena, &l, (Str){"", 0});
    for (size_t round = 0; round < 2; round++) {
        OK(go_sumdb_lookup(db, &l.arena, mods, MANY, r, &e));
        for (size_t i = 0; i < MANY; i++)
            assert_true(r[i].found && r[i].h1 && r[i].gomod_h1);
    }
}

/* ---- routes ---- */

typedef struct Asked {
    const int *statuses;
    size_t n;
    char last[200];
} Asked;

static int probe(void *arg, const char *url)
{
    Asked *p = arg;
    (void)snprintf(p->last, sizeof p->last, "%s", url);
    return p->statuses[p->n++];
}

static void the_database_is_asked_through_the_first_proxy_that_serves_it(void **state)
{
    static const struct {
        const char *proxies, *sumdb;
        int statuses[3];
        const char *base; /* NULL: fails */
        size_t nprobe;
    } CASES[] = {
        {"https://p,https://q", "sum.golang.org", {200}, "https://p/sumdb/sum.golang.org", 1},
        {"https://p,https://q/x/",
         "sum.golang.org",
         {404, 200},
         "https://q/x/sumdb/sum.golang.org",
         2},
        {"https://p,direct", "sum.golang.org", {410}, "https://sum.golang.org", 1},
        {"https://p|https://q", "sum.golang.org", {503, 200}, "https://q/sumdb/sum.golang.org", 2},
        {"https://p|direct", "sum.golang.org", {0}, "https://sum.golang.org", 1},
        {"https://p,direct", "sum.golang.org", {403}, NULL, 1},
        {"https://p,direct", "sum.golang.org", {0}, NULL, 1},
        {"direct", "sum.golang.org", {0}, "https://sum.golang.org", 0},
        {"off", "sum.golang.org", {0}, "https://sum.golang.org", 0},
        {"https://p", "sum.golang.google.cn", {0}, "https://sum.golang.google.cn", 0},
    };
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        GoProxyList l;
        GoSumdbName db;
        const char *base = NULL;
        Asked p = {CASES[i].statuses, 0, ""};
        OK(go_proxy_list(&a, CASES[i].proxies, &l, &e));
        OK(go_sumdb_name(&a, CASES[i].sumdb, &db, &e));
        assert_string_equal(db.name, "sum.golang.org");
        if (CASES[i].base)
            OK(go_sumdb_route(&a, &db, &l, probe, &p, &base, &e));
        else
            FAILS(go_sumdb_route(&a, &db, &l, probe, &p, &base, &e), ERR_NETWORK,
                  "proxy 'https://p'");
        assert_int_equal(p.n, CASES[i].nprobe);
        if (CASES[i].base)
            assert_string_equal(base, CASES[i].base);
        if (p.n)
            assert_true(str_ends(p.last, "/sumdb/sum.golang.org/supported"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_the_database_are_what_the_go_project_reads_in_them),
        cmocka_unit_test(a_session_ends_as_with_the_go_projects_client),
        cmocka_unit_test(the_database_that_everybody_asks_is_believed),
        cmocka_unit_test(fifty_modules_take_two_rounds),
        cmocka_unit_test(a_newer_tree_is_remembered_once_it_continues_the_older),
        cmocka_unit_test(two_histories_are_proven_and_end_all_trust),
        cmocka_unit_test(two_trees_of_one_size_need_no_tiles_to_be_a_fork),
        cmocka_unit_test(a_narrow_tile_that_is_gone_is_cut_from_the_full_one),
        cmocka_unit_test(what_is_kept_and_damaged_is_asked_for_again),
        cmocka_unit_test(a_module_that_is_not_known_is_no_failure),
        cmocka_unit_test(a_net_that_is_down_is_told_from_a_lie),
        cmocka_unit_test(more_tiles_than_are_remembered_are_no_trouble),
        cmocka_unit_test(the_database_is_asked_through_the_first_proxy_that_serves_it),
    };
    return cmocka_run_group_tests_name("gosumdb", tests, NULL, NULL);
}
