/*
 * store/: blobs, tmp, records, images and tags, alone and with others beside us.
 */
#include "testing.h"

#include <sqlite3.h>
#include <sys/wait.h>

#include "base/json.h"
#include "store/store.h"

static Store *open_store(const char *path, const char *owners)
{
    Store *s = NULL;
    Err e = ERR_INIT;
    if (!store_open(path, owners, &s, &e))
        fail_msg("%s", e.msg);
    return s;
}

/* A fresh store in a scratch directory. */
typedef struct Fixture {
    Scratch dir;
    char path[80];
    Store *s;
} Fixture;

static void scoped_fixture_done(Fixture *f)
{
    store_done(f->s);
    scoped_scratch_done(&f->dir);
}

static void fixture_init(Fixture *f)
{
    *f = (Fixture){.dir = scratch_new()};
    (void)snprintf(f->path, sizeof f->path, "%s/store", f->dir.path);
    f->s = open_store(f->path, "root");
}

/* Changes the records behind the store's back, when no child of ours writes there any more. */
static void edit_database(const Fixture *f, const char *sql)
{
    char path[sizeof f->path + sizeof "/meta.db"];
    sqlite3 *db;

    (void)snprintf(path, sizeof path, "%s/meta.db", f->path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 20000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static bool has_blob(Store *s, const Digest *d)
{
    Err e = ERR_INIT;
    bool have = false;
    if (!store_has_blob(s, d, &have, &e))
        fail_msg("%s", e.msg);
    return have;
}

static bool has_snapshot(Store *s, SnapshotId id)
{
    Err e = ERR_INIT;
    bool have = false;
    if (!store_snapshot_exists(s, id, &have, &e))
        fail_msg("%s", e.msg);
    return have;
}

static Digest digest_text_of(const char *text)
{
    Digest d;
    digest_of(text, strlen(text), &d);
    return d;
}

static Digest put_text(Store *s, const char *text)
{
    Digest d;
    Err e = ERR_INIT;
    OK(store_put_blob(s, text, strlen(text), &d, &e));
    return d;
}

static size_t count_names(int dirfd, const char *path)
{
    scoped(arena) Arena a = {0};
    StrList l;
    Err e = ERR_INIT;
    scoped(fd) int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY);
    OK(fs_list(&a, fd, &l, &e));
    return l.n;
}

/* Names below tmp/ other than our own directory's lock. */
static size_t count_tmp(const Store *s)
{
    scoped(arena) Arena a = {0};
    StrList owners;
    Err e = ERR_INIT;
    size_t n = 0;
    scoped(fd) int fd = openat(store_dirfd(s), "tmp", O_RDONLY | O_DIRECTORY);
    OK(fs_list(&a, fd, &owners, &e));
    for (size_t i = 0; i < owners.n; i++)
        n += count_names(fd, owners.v[i]) - 1;
    return n;
}

/* ---- opening ---- */

static void a_new_store_is_a_valid_empty_layout(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    scoped(json) json_t *j = NULL;
    Err e = ERR_INIT;
    struct stat st;

    (void)state;
    fixture_init(&f);
    assert_string_equal(slurp(&a, store_dirfd(f.s), "oci-layout"),
                        "{\"imageLayoutVersion\":\"1.0.0\"}");
    const char *index = slurp(&a, store_dirfd(f.s), "index.json");
    OK(json_parse(index, strlen(index), &j, &e));
    assert_int_equal(json_integer_value(json_object_get(j, "schemaVersion")), 2);
    assert_int_equal(json_array_size(json_object_get(j, "manifests")), 0);
    assert_true(json_is_array(json_object_get(j, "manifests")));
    assert_string_equal(store_path(f.s), f.path);
    assert_int_equal(fstatat(store_dirfd(f.s), "snapshots", &st, 0), 0);
    assert_int_equal(st.st_mode & 077, 0);
}

static void a_store_of_other_owners_is_refused_and_left_alone(void **state)
{
    scoped(fixture) Fixture f;
    Store *other = NULL;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    FAILS(store_open(f.path, "subuid 1000 100000 65536", &other, &e), ERR_ENV, "'root'");
    FAILS(store_open(f.path, "subuid 1000 100000 65536", &other, &e), ERR_ENV, "LIGHTER_STORE");
    assert_null(other);
    store_done(open_store(f.path, "root"));
    store_done(open_store(f.path, NULL));
}

static void a_store_opened_without_owners_takes_the_first_that_come(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    Store *other = NULL;
    Err e = ERR_INIT;

    (void)state;
    store_done(open_store(s.path, NULL));
    store_done(open_store(s.path, "subuid"));
    FAILS(store_open(s.path, "root", &other, &e), ERR_ENV, "'subuid'");
}

static void a_store_from_the_future_is_refused(void **state)
{
    scoped(fixture) Fixture f;
    Store *again = NULL;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    edit_database(&f, "PRAGMA user_version=99");
    FAILS(store_open(f.path, "root", &again, &e), ERR_STORE, "format 99");
}

static void a_store_that_is_no_directory_or_no_database_is_refused(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    scoped(arena) Arena a = {0};
    Store *st = NULL;
    Err e = ERR_INIT;

    (void)state;
    put(s.fd, "file", "x");
    FAILS(store_open(arena_printf(&a, "%s/file", s.path), "root", &st, &e), ERR_STORE, "file");
    FAILS(store_open(arena_printf(&a, "%s/file/x", s.path), "root", &st, &e), ERR_STORE, "file");
    make_dir(s.fd, "bad");
    put(s.fd, "bad/meta.db", "this is no database, and it is longer than a header of one");
    FAILS(store_open(arena_printf(&a, "%s/bad", s.path), "root", &st, &e), ERR_STORE, "meta.db");
    assert_null(st);
}

static void the_default_path_follows_the_environment(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    setenv("LIGHTER_STORE", "/x/y", 1);
    assert_string_equal(store_default_path(&a), "/x/y");
    setenv("LIGHTER_STORE", "", 1);
    setenv("XDG_DATA_HOME", "/data", 1);
    assert_string_equal(store_default_path(&a),
                        geteuid() == 0 ? "/var/lib/lighter" : "/data/lighter");
    unsetenv("LIGHTER_STORE");
}

/* ---- blobs ---- */

static void a_blob_is_found_by_the_digest_of_its_bytes(void **state)
{
    scoped(fixture) Fixture f;
    scoped(buf) Buf b = BUF_INIT;
    Err e = ERR_INIT;
    uint64_t size;
    int raw;

    (void)state;
    fixture_init(&f);
    Digest d = put_text(f.s, "hello"), want = digest_text_of("hello"), none = digest_text_of("x");
    assert_true(digest_eq(&d, &want));
    assert_true(has_blob(f.s, &d));
    assert_false(has_blob(f.s, &none));
    OK(store_read_blob(f.s, &d, &b, &e));
    assert_string_equal(b.ptr, "hello");
    OK(store_open_blob(f.s, &d, &raw, &size, &e));
    close(raw);
    assert_int_equal(size, 5);
    FAILS(store_open_blob(f.s, &none, &raw, &size, &e), ERR_STORE, "blobs/sha256/");
    put_text(f.s, "hello");
    assert_int_equal(count_names(store_dirfd(f.s), "blobs/sha256"), 1);
    assert_int_equal(count_tmp(f.s), 0);
}

static void bytes_of_another_digest_leave_nothing(void **state)
{
    scoped(fixture) Fixture f;
    Digest want = digest_text_of("expected"), got;
    BlobWriter w;
    uint64_t size;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    OK(blob_begin(f.s, &w, &e));
    OK(blob_write(&w, "expec", 5, &e));
    FAILS(blob_commit(&w, &want, &got, &size, &e), ERR_STORE, "changed or cut");
    blob_abort(&w);
    assert_int_equal(count_names(store_dirfd(f.s), "blobs/sha256"), 0);
    assert_int_equal(count_tmp(f.s), 0);
    OK(blob_begin(f.s, &w, &e));
    OK(blob_write(&w, "expec", 5, &e));
    assert_int_equal(count_tmp(f.s), 1);
    OK(blob_write(&w, "ted", 3, &e));
    OK(blob_commit(&w, &want, &got, &size, &e));
    assert_int_equal(size, 8);
    assert_true(digest_eq(&got, &want));
    blob_abort(&w); /* after a commit it does nothing */
    assert_true(has_blob(f.s, &want));
    OK(blob_begin(f.s, &w, &e));
    blob_abort(&w);
    assert_int_equal(count_tmp(f.s), 0);
}

static void a_damaged_blob_is_noticed_when_it_is_read(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    char hex[DIGEST_HEX_SIZE];
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    Digest d = put_text(f.s, "hello");
    digest_hex(&d, hex);
    put(store_dirfd(f.s), arena_printf(&a, "blobs/sha256/%s", hex), "hellO");
    FAILS(store_read_blob(f.s, &d, &b, &e), ERR_STORE, "damaged");
    put(store_dirfd(f.s), arena_printf(&a, "blobs/sha256/%s", hex), "");
    FAILS(store_read_blob(f.s, &d, &b, &e), ERR_STORE, "damaged");
}

/* ---- tmp ---- */

/* Fork a process that holds a directory in tmp/ until its pipe closes. */
static pid_t hold_tmp(const char *path, int *ret_pipe)
{
    int in[2], out[2];
    char c;
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        Store *s = NULL;
        BlobWriter w;
        Err e = ERR_INIT;
        close(in[1]);
        if (!store_open(path, "root", &s, &e) || !blob_begin(s, &w, &e) ||
            !blob_write(&w, "half", 4, &e))
            _exit(1);
        (void)!write(out[1], "x", 1);
        (void)!read(in[0], &c, 1);
        _exit(0); /* as after kill -9: nothing is cleaned up */
    }
    close(in[0]);
    close(out[1]);
    assert_int_equal(read(out[0], &c, 1), 1);
    close(out[0]);
    *ret_pipe = in[1];
    return pid;
}

static void only_what_the_dead_left_is_swept(void **state)
{
    scoped(fixture) Fixture f;
    Err e = ERR_INIT;
    BlobWriter w;
    int pipe_fd, status;

    (void)state;
    fixture_init(&f);
    OK(blob_begin(f.s, &w, &e));
    pid_t pid = hold_tmp(f.path, &pipe_fd);
    assert_int_equal(count_tmp(f.s), 2);
    store_sweep(f.s);
    assert_int_equal(count_tmp(f.s), 2);
    close(pipe_fd);
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_int_equal(status, 0);
    store_sweep(f.s);
    assert_int_equal(count_tmp(f.s), 1);
    assert_int_equal(count_names(store_dirfd(f.s), "tmp"), 1);
    blob_abort(&w);
}

static void a_directory_being_made_is_swept_with_its_process(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    int status;

    (void)state;
    fixture_init(&f);
    pid_t dead = fork();
    if (dead == 0)
        _exit(0);
    assert_true(waitpid(dead, &status, 0) == dead);
    const char *gone = arena_printf(&a, "tmp/.new-%d-0", (int)dead);
    const char *alive = arena_printf(&a, "tmp/.new-%d-7", (int)getppid());
    make_dir(store_dirfd(f.s), gone);
    make_dir(store_dirfd(f.s), alive);
    store_sweep(f.s);
    assert_false(exists(store_dirfd(f.s), gone));
    assert_true(exists(store_dirfd(f.s), alive));
}

static void closing_a_store_leaves_nothing_in_tmp(void **state)
{
    scoped(scratch) Scratch s = scratch_new();
    char one[STORE_TMP_MAX], two[STORE_TMP_MAX];
    Err e = ERR_INIT;

    (void)state;
    Store *st = open_store(s.path, "root");
    OK(store_tmp(st, "a", one, &e));
    OK(store_tmp(st, "a", two, &e));
    assert_string_not_equal(one, two);
    make_dir(store_dirfd(st), one);
    put(store_dirfd(st), two, "x");
    store_done(st);
    assert_int_equal(count_names(s.fd, "tmp"), 0);
}

/* ---- snapshots, records, memos ---- */

static SnapshotId add_snapshot(Store *s)
{
    char tmp[STORE_TMP_MAX];
    SnapshotId id;
    Err e = ERR_INIT;
    OK(store_tmp(s, "snap", tmp, &e));
    make_dir(store_dirfd(s), tmp);
    OK(store_snapshot_add(s, tmp, &id, &e));
    return id;
}

static void a_snapshot_gets_a_number_of_its_own(void **state)
{
    scoped(fixture) Fixture f;
    char path[STORE_TMP_MAX];
    SnapshotId id;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    SnapshotId one = add_snapshot(f.s), two = add_snapshot(f.s);
    assert_true(one != 0 && two != 0 && one != two);
    assert_true(has_snapshot(f.s, 0));
    assert_true(has_snapshot(f.s, two));
    assert_false(has_snapshot(f.s, two + 1));
    store_snapshot_path(one, path);
    assert_true(exists(store_dirfd(f.s), path));
    FAILS(store_snapshot_add(f.s, "tmp/none", &id, &e), ERR_STORE, "tmp/none");
}

static void a_record_lives_as_long_as_its_snapshot(void **state)
{
    scoped(fixture) Fixture f;
    Digest key = digest_text_of("key"), other = digest_text_of("other");
    StoreRecord r = {.created = 1700000000, .result = digest_text_of("result")}, got;
    char path[STORE_TMP_MAX];
    bool found;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    r.snapshot = add_snapshot(f.s);
    OK(store_record_get(f.s, &key, &got, &found, &e));
    assert_false(found);
    OK(store_record_put(f.s, &key, &r, "a=b\n", &e));
    store_done(f.s);
    f.s = open_store(f.path, "root");
    OK(store_record_get(f.s, &key, &got, &found, &e));
    assert_true(found);
    assert_true(digest_eq(&got.result, &r.result));
    assert_int_equal(got.snapshot, r.snapshot);
    assert_int_equal(got.created, r.created);
    OK(store_record_get(f.s, &other, &got, &found, &e));
    assert_false(found);
    r.created = 5;
    OK(store_record_put(f.s, &key, &r, "", &e));
    OK(store_record_get(f.s, &key, &got, &found, &e));
    assert_int_equal(got.created, 5);
    store_snapshot_path(r.snapshot, path);
    OK(fs_remove_tree(store_dirfd(f.s), path, &e));
    OK(store_record_get(f.s, &key, &got, &found, &e));
    assert_false(found);
}

static void an_unpacked_layer_is_found_while_it_is_there(void **state)
{
    scoped(fixture) Fixture f;
    Digest diff = digest_text_of("layer");
    SnapshotId id = 0;
    char path[STORE_TMP_MAX];
    bool found;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    OK(store_layer_get(f.s, &diff, &id, &found, &e));
    assert_false(found);
    SnapshotId snapshot = add_snapshot(f.s);
    OK(store_layer_put(f.s, &diff, snapshot, &e));
    OK(store_layer_get(f.s, &diff, &id, &found, &e));
    assert_true(found);
    assert_int_equal(id, snapshot);
    store_snapshot_path(id, path);
    OK(fs_remove_tree(store_dirfd(f.s), path, &e));
    OK(store_layer_get(f.s, &diff, &id, &found, &e));
    assert_false(found);
}

static void a_memo_keeps_any_bytes(void **state)
{
    scoped(fixture) Fixture f;
    Digest key = digest_text_of("memo"), empty = digest_text_of("empty");
    scoped(buf) Buf b = BUF_INIT;
    bool found;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    OK(store_memo_get(f.s, &key, &b, &found, &e));
    assert_false(found);
    OK(store_memo_put(f.s, &key, "a\0b", 3, &e));
    OK(store_memo_put(f.s, &empty, NULL, 0, &e));
    OK(store_memo_get(f.s, &key, &b, &found, &e));
    assert_true(found);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.ptr, "a\0b", 3);
    OK(store_memo_get(f.s, &empty, &b, &found, &e));
    assert_true(found);
    assert_int_equal(b.len, 3);
}

static void a_packed_layer_is_found_while_its_blob_is_there(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    Digest diff = digest_text_of("diff"), got, blob;
    char hex[DIGEST_HEX_SIZE];
    uint64_t size = 0;
    bool found;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    blob = put_text(f.s, "packed");
    OK(store_packed_put(f.s, &diff, COMP_GZIP, &blob, 6, &e));
    OK(store_packed_get(f.s, &diff, COMP_GZIP, &got, &size, &found, &e));
    assert_true(found);
    assert_true(digest_eq(&got, &blob));
    assert_int_equal(size, 6);
    OK(store_packed_get(f.s, &diff, COMP_ZSTD, &got, &size, &found, &e));
    assert_false(found);
    digest_hex(&blob, hex);
    assert_int_equal(unlinkat(store_dirfd(f.s), arena_printf(&a, "blobs/sha256/%s", hex), 0), 0);
    OK(store_packed_get(f.s, &diff, COMP_GZIP, &got, &size, &found, &e));
    assert_false(found);
}

/* ---- images ---- */

/* An image whose config is this text, with two layers. */
static Digest put_image(Store *s, const char *config, int64_t created)
{
    StoreLayer layers[2] = {{.diff_id = digest_text_of("l1"), .snapshot = 0, .times = "keep"},
                            {.diff_id = digest_text_of("l2"), .snapshot = 7}};
    StoreImage img = {
        .id = put_text(s, config), .created = created, .size = 1000, .layers = layers, .nlayer = 2};
    Err e = ERR_INIT;
    OK(store_image_put(s, &img, &e));
    return img.id;
}

static bool find(Store *s, const char *name, Digest *ret)
{
    scoped(arena) Arena a = {0};
    bool found;
    Err e = ERR_INIT;
    if (!store_find(s, &a, name, ret, &found, &e))
        fail_msg("'%s': %s", name, e.msg);
    return found;
}

static void an_image_is_kept_with_its_layers(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    StoreImage img;
    bool found;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    Digest id = put_image(f.s, "{1}", 50), none = digest_text_of("none"), l2 = digest_text_of("l2");
    (void)put_image(f.s, "{1}", 50);
    OK(store_image_get(f.s, &a, &id, &img, &found, &e));
    assert_true(found);
    assert_int_equal(img.created, 50);
    assert_int_equal(img.size, 1000);
    assert_false(img.packed);
    assert_int_equal(img.nlayer, 2);
    assert_string_equal(img.layers[0].times, "keep");
    assert_true(digest_eq(&img.layers[1].diff_id, &l2));
    assert_int_equal(img.layers[1].snapshot, 7);
    OK(store_image_get(f.s, &a, &none, &img, &found, &e));
    assert_false(found);
}

static void names_tags_digests_and_prefixes_find_an_image(void **state)
{
    static const char *const NAMES[] = {"app", "app:latest", "docker.io/library/app",
                                        "docker.io/library/app:latest"};
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    char hex[DIGEST_HEX_SIZE], manifest_text[DIGEST_TEXT_SIZE];
    Digest got, other, manifest = digest_text_of("manifest");
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    Digest id = put_image(f.s, "{1}", 1);
    other = put_image(f.s, "{2}", 2);
    OK(store_tag(f.s, "docker.io/library/app:latest", &id, &e));
    OK(store_tag(f.s, "localhost:5000/app:1", &other, &e));
    OK(store_image_packed(f.s, &id, &manifest, 10, &e));
    for (size_t i = 0; i < NELEM(NAMES); i++) {
        if (!find(f.s, NAMES[i], &got) || !digest_eq(&got, &id))
            fail_msg("'%s' was not found", NAMES[i]);
    }
    assert_true(find(f.s, "localhost:5000/app:1", &got) && digest_eq(&got, &other));
    assert_false(find(f.s, "localhost:5000/app", &got));
    assert_false(find(f.s, "app:2", &got));
    digest_hex(&id, hex);
    digest_text(&manifest, manifest_text);
    assert_true(find(f.s, arena_printf(&a, "sha256:%s", hex), &got) && digest_eq(&got, &id));
    assert_true(find(f.s, arena_printf(&a, "sha256:%.8s", hex), &got) && digest_eq(&got, &id));
    assert_true(find(f.s, hex, &got) && digest_eq(&got, &id));
    assert_true(find(f.s, arena_printf(&a, "%.4s", hex), &got) && digest_eq(&got, &id));
    assert_false(find(f.s, arena_printf(&a, "%.3s", hex), &got));
    assert_false(find(f.s, arena_printf(&a, "%s0", hex), &got));
    assert_true(find(f.s, arena_printf(&a, "app@%s", manifest_text), &got) && digest_eq(&got, &id));
    assert_false(find(f.s, "", &got));
    assert_false(find(f.s, "sha256:", &got));
    assert_false(find(f.s, "%", &got));
    assert_false(find(f.s, "____", &got));
    /* A tag moves. */
    OK(store_tag(f.s, "docker.io/library/app:latest", &other, &e));
    assert_true(find(f.s, "app", &got) && digest_eq(&got, &other));
}

static void a_prefix_of_two_images_is_refused(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    Digest one = {{0xab, 0xcd, 0x12}}, two = {{0xab, 0xcd, 0x13}}, got;
    StoreImage img = {.id = one};
    bool found;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    OK(store_image_put(f.s, &img, &e));
    img.id = two;
    OK(store_image_put(f.s, &img, &e));
    FAILS(store_find(f.s, &a, "abcd", &got, &found, &e), ERR_USAGE, "'abcd'");
    FAILS(store_find(f.s, &a, "sha256:abcd1", &got, &found, &e), ERR_USAGE, "more digits");
    assert_true(find(f.s, "abcd13", &got));
    assert_true(digest_eq(&got, &two));
    /* A name wins over digits that could be an ID. */
    OK(store_tag(f.s, "docker.io/library/abcd:latest", &one, &e));
    assert_true(find(f.s, "abcd", &got) && digest_eq(&got, &one));
}

static void the_list_has_tags_first_and_newest_first(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    StoreTag *v;
    size_t n;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    Digest old = put_image(f.s, "{old}", 10), new = put_image(f.s, "{new}", 20);
    (void)put_image(f.s, "{untagged}", 30);
    OK(store_tag(f.s, "a:1", &old, &e));
    OK(store_tag(f.s, "b:2", &new, &e));
    OK(store_tag(f.s, "b:1", &new, &e));
    OK(store_list(f.s, &a, &v, &n, &e));
    assert_int_equal(n, 4);
    assert_string_equal(v[0].name, "b:1");
    assert_string_equal(v[1].name, "b:2");
    assert_string_equal(v[2].name, "a:1");
    assert_null(v[3].name);
    assert_int_equal(v[3].created, 30);
    assert_int_equal(v[0].nlayer, 2);
    assert_true(digest_eq(&v[2].id, &old));
}

static void the_published_index_lists_packed_images_by_name(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    ImageIndex x;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    Digest one = put_image(f.s, "{1}", 1), two = put_image(f.s, "{2}", 2);
    Digest manifest = put_text(f.s, "{\"manifest\":1}");
    OK(store_tag(f.s, "docker.io/library/a:1", &one, &e));
    OK(store_tag(f.s, "docker.io/library/a:2", &one, &e));
    OK(store_tag(f.s, "docker.io/library/b:1", &two, &e));
    OK(store_image_packed(f.s, &one, &manifest, 14, &e));
    OK(store_publish(f.s, &e));
    const char *text = slurp(&a, store_dirfd(f.s), "index.json");
    OK(image_index_parse(&a, text, strlen(text), &x, &e));
    assert_int_equal(x.nmanifest, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(digest_eq(&x.manifests[i].digest, &manifest));
        assert_int_equal(x.manifests[i].size, 14);
        assert_string_equal(x.manifests[i].media_type, MT_OCI_MANIFEST);
        assert_string_equal(x.manifests[i].ref_name,
                            i ? "docker.io/library/a:2" : "docker.io/library/a:1");
    }
    assert_false(exists(store_dirfd(f.s), "index.json.tmp"));
}

/* ---- several processes ---- */

enum { NWRITER = 4, NROUND = 60 };

static int write_a_lot(const char *path, int who)
{
    Store *s = NULL;
    Err e = ERR_INIT;
    if (!store_open(path, "root", &s, &e)) {
        print_message("%s\n", e.msg);
        return 1;
    }
    for (int i = 0; i < NROUND; i++) {
        char text[64], tmp[STORE_TMP_MAX];
        Digest d, shared;
        SnapshotId id = 0;
        (void)snprintf(text, sizeof text, "%d %d", who, i);
        StoreRecord r = {.created = i};
        bool ok = store_put_blob(s, text, strlen(text), &d, &e) &&
                  store_put_blob(s, text + 2, strlen(text) - 2, &shared, &e) &&
                  store_tmp(s, "snap", tmp, &e) && mkdirat(store_dirfd(s), tmp, 0755) == 0 &&
                  store_snapshot_add(s, tmp, &id, &e);
        r.snapshot = id;
        StoreImage img = {.id = d, .created = i};
        ok = ok && store_record_put(s, &d, &r, "x", &e) && store_image_put(s, &img, &e) &&
             store_image_packed(s, &d, &d, 5, &e) && store_tag(s, "shared:1", &d, &e);
        if (i % 20 == 0) {
            ok = ok && store_publish(s, &e);
            store_sweep(s);
        }
        if (!ok) {
            print_message("%s\n", e.msg);
            return 2;
        }
    }
    store_done(s);
    return 0;
}

static void processes_that_make_a_store_at_once_all_have_it(void **state)
{
    enum { NTRY = 30 };

    (void)state;
    for (int round = 0; round < NTRY; round++) {
        scoped(scratch) Scratch dir = scratch_new();
        scoped(arena) Arena a = {0};
        const char *path = arena_printf(&a, "%s/store", dir.path);
        pid_t pids[NWRITER];
        int failed = 0;
        for (int i = 0; i < NWRITER; i++) {
            pids[i] = fork();
            if (pids[i] == 0) {
                Store *s = NULL;
                Err e = ERR_INIT;
                bool ok = store_open(path, "root", &s, &e);
                if (!ok)
                    print_message("round %d: %s\n", round, e.msg);
                store_done(s);
                _exit(!ok);
            }
        }
        for (int i = 0; i < NWRITER; i++) {
            int status;
            assert_true(waitpid(pids[i], &status, 0) == pids[i]);
            failed += status != 0;
        }
        assert_int_equal(failed, 0);
    }
}

static void processes_that_write_at_once_lose_nothing(void **state)
{
    scoped(scratch) Scratch dir = scratch_new();
    scoped(arena) Arena a = {0};
    const char *path = arena_printf(&a, "%s/store", dir.path);
    pid_t pids[NWRITER];
    Err e = ERR_INIT;

    (void)state;
    store_done(open_store(path, "root")); /* the race of making it has its own test */
    for (int i = 0; i < NWRITER; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit(write_a_lot(path, i));
    }
    for (int i = 0; i < NWRITER; i++) {
        int status;
        assert_true(waitpid(pids[i], &status, 0) == pids[i]);
        assert_int_equal(status, 0);
    }
    Store *s = open_store(path, "root");
    for (int who = 0; who < NWRITER; who++)
        for (int i = 0; i < NROUND; i++) {
            StoreRecord r;
            bool found;
            Digest d = digest_text_of(arena_printf(&a, "%d %d", who, i));
            OK(store_record_get(s, &d, &r, &found, &e));
            assert_true(found && has_blob(s, &d));
            assert_int_equal(r.created, i);
        }
    assert_int_equal(count_names(store_dirfd(s), "snapshots"), NWRITER * NROUND);
    assert_int_equal(count_names(store_dirfd(s), "tmp"), 0);
    store_done(s);
}

/* ---- what is kept, and what goes ---- */

static SnapshotId add_filled(Store *s, size_t bytes)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    char tmp[STORE_TMP_MAX];
    SnapshotId id;
    Err e = ERR_INIT;
    OK(store_tmp(s, "snap", tmp, &e));
    make_dir(store_dirfd(s), tmp);
    while (b.len < bytes)
        buf_putc(&b, 'x');
    put(store_dirfd(s), arena_printf(&a, "%s/f", tmp), buf_str(&b));
    OK(store_snapshot_add(s, tmp, &id, &e));
    return id;
}

/* A step of this name that made `bytes`. */
static SnapshotId add_step(Store *s, const char *name, size_t bytes)
{
    scoped(arena) Arena a = {0};
    Digest key = digest_text_of(name);
    Err e = ERR_INIT;
    StoreRecord r = {
        .result = key, .created = 1700000000, .snapshot = bytes ? add_filled(s, bytes) : 0};
    OK(store_record_put(s, &key, &r, arena_printf(&a, "key=run 2\narg=1\narg=%s\n", name), &e));
    return r.snapshot;
}

static bool has_step(Store *s, const char *name)
{
    StoreRecord r;
    Digest key = digest_text_of(name);
    bool found;
    Err e = ERR_INIT;
    OK(store_record_get(s, &key, &r, &found, &e));
    return found;
}

/* Leases end with a process, and here that is a closed store. */
static void reopen(Fixture *f)
{
    Err e = ERR_INIT;
    OK(store_note_uses(f->s, &e));
    store_done(f->s);
    f->s = open_store(f->path, "root");
}

static const StoreItem *item(Store *s, Arena *a, const char *what)
{
    StoreItem *v = NULL;
    size_t n = 0;
    Err e = ERR_INIT;
    OK(store_items(s, a, STORE_MEASURE, &v, &n, &e));
    for (size_t i = 0; i < n; i++)
        if (!strcmp(v[i].what, what))
            return &v[i];
    return NULL;
}

static bool drop_one(Store *s, const StoreItem *it)
{
    bool gone;
    Err e = ERR_INIT;
    OK(store_drop(s, &it, 1, &gone, &e));
    return gone;
}

static size_t count_findings(Store *s, bool repair)
{
    scoped(arena) Arena a = {0};
    StoreFinding *v = NULL;
    size_t n = 0;
    Err e = ERR_INIT;
    OK(store_check(s, &a, repair, &v, &n, &e));
    for (size_t i = 0; i < n; i++)
        print_message("%s\n", v[i].text);
    return n;
}

static void a_dropped_step_takes_its_rows_and_files_with_it(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    char path[STORE_TMP_MAX];

    (void)state;
    fixture_init(&f);
    store_snapshot_path(add_step(f.s, "one", 100000), path);
    add_step(f.s, "two", 0);
    reopen(&f);
    const StoreItem *one = item(f.s, &a, "RUN one"), *two = item(f.s, &a, "RUN two");
    assert_non_null(one);
    assert_true(one->size >= 100000 && !one->in_use && store_item_idle(one, false));
    assert_int_equal(two->size, 0);
    assert_true(drop_one(f.s, one));
    assert_true(drop_one(f.s, two));
    assert_false(has_step(f.s, "one") || has_step(f.s, "two"));
    assert_false(exists(store_dirfd(f.s), path));
    assert_int_equal(count_tmp(f.s), 0);
    assert_int_equal(count_findings(f.s, false), 0);
}

static void what_a_living_process_uses_stays_until_it_ends(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    int in[2], out[2], status;
    char c;

    (void)state;
    fixture_init(&f);
    add_step(f.s, "used", 10);
    add_step(f.s, "idle", 10);
    reopen(&f);
    const StoreItem *used = item(f.s, &a, "RUN used"), *idle = item(f.s, &a, "RUN idle");
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        Store *s = open_store(f.path, "root");
        close(in[1]);
        (void)!write(out[1], has_step(s, "used") ? "y" : "n", 1);
        (void)!read(in[0], &c, 1);
        _exit(0); /* as after kill -9 */
    }
    close(in[0]);
    assert_int_equal(read(out[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_true(item(f.s, &a, "RUN used")->in_use);
    assert_false(drop_one(f.s, used)); /* it was idle when it was listed */
    assert_true(drop_one(f.s, idle));
    close(in[1]);
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_false(item(f.s, &a, "RUN used")->in_use);
    assert_true(drop_one(f.s, used));
    close(out[0]);
    close(out[1]);
}

static void what_a_tag_needs_stays_and_an_untagged_image_goes_with_its_step(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    bool last, found;
    StoreImage got;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    StoreLayer layer = {
        .diff_id = digest_text_of("l"), .snapshot = add_step(f.s, "made", 10), .times = "keep"};
    StoreImage img = {.id = put_text(f.s, "{image}"), .layers = &layer, .nlayer = 1};
    OK(store_image_put(f.s, &img, &e));
    OK(store_tag(f.s, "docker.io/library/app:latest", &img.id, &e));
    reopen(&f);
    const StoreItem *made = item(f.s, &a, "RUN made");
    assert_true(made->needed && made->shared && !store_item_idle(made, true));
    assert_false(drop_one(f.s, made));
    assert_true(item(f.s, &a, "docker.io/library/app:latest")->size > 0);
    OK(store_untag(f.s, "docker.io/library/app:latest", &last, &e));
    assert_true(last);
    made = item(f.s, &a, "RUN made");
    assert_true(store_item_idle(made, false));
    assert_true(drop_one(f.s, made));
    OK(store_image_get(f.s, &a, &img.id, &got, &found, &e));
    assert_false(found);
    assert_false(has_blob(f.s, &img.id));
    assert_int_equal(count_findings(f.s, false), 0);
}

static void the_ceiling_drops_the_longest_unused(void **state)
{
    static const char *const NAMES[] = {"a", "b", "c", "d"};
    scoped(fixture) Fixture f;
    StoreGc gc;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    for (size_t i = 0; i < NELEM(NAMES); i++)
        add_step(f.s, NAMES[i], 1000000);
    reopen(&f);
    assert_true(store_gc_due(f.s, 100000000)); /* nobody has counted yet */
    OK(store_gc(f.s, 100000000, &gc, &e));
    assert_int_equal(gc.n, 0);
    assert_true(gc.kept >= 4000000 && gc.kept < 4100000);
    assert_false(store_gc_due(f.s, 100000000));
    assert_true(store_gc_due(f.s, 3900000));
    edit_database(&f, "UPDATE use SET used = used - CASE name WHEN 's3' THEN 900 "
                      "WHEN 's1' THEN 800 ELSE 10 END");
    OK(store_gc(f.s, 2500000, &gc, &e));
    assert_int_equal(gc.n, 2);
    assert_true(gc.kept <= 2500000 && gc.freed >= 2000000);
    assert_false(store_gc_due(f.s, 2500000));
    assert_false(has_step(f.s, "a") || has_step(f.s, "c"));
    assert_true(has_step(f.s, "b") && has_step(f.s, "d"));
    add_step(f.s, "e", 1000000);
    OK(store_note_uses(f.s, &e));
    assert_true(store_gc_due(f.s, 2500000)); /* what was made is counted without looking around */
}

/* An image of one layer, which a step of `bytes` made; 0: a layer that nobody measured. */
static Digest image_of(Store *s, const char *name, size_t bytes)
{
    StoreLayer layer = {.diff_id = digest_text_of(name),
                        .times = "keep",
                        .snapshot = bytes ? add_step(s, name, bytes) : 0};
    StoreImage img = {.id = put_text(s, name), .created = 1, .layers = &layer, .nlayer = 1};
    Err e = ERR_INIT;
    OK(store_image_put(s, &img, &e));
    return img.id;
}

static void a_tag_that_moves_adds_what_it_leaves_to_the_cache(void **state)
{
    scoped(fixture) Fixture f;
    StoreGc gc;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    Digest one = image_of(f.s, "one", 1000000), two = image_of(f.s, "two", 2000000);
    Digest unknown = image_of(f.s, "unknown", 0);
    OK(store_tag(f.s, "a:1", &one, &e));
    OK(store_tag(f.s, "a:2", &one, &e));
    OK(store_tag(f.s, "b:1", &two, &e));
    OK(store_tag(f.s, "c:1", &unknown, &e));
    reopen(&f);
    OK(store_gc(f.s, 5000000, &gc, &e));
    assert_int_equal(gc.kept, 0); /* all is of tags */
    OK(store_tag(f.s, "a:1", &two, &e));
    assert_false(store_gc_due(f.s, 900000)); /* a:2 needs it still */
    OK(store_tag(f.s, "a:2", &two, &e));
    assert_true(store_gc_due(f.s, 900000));
    assert_false(store_gc_due(f.s, 1200000));
    OK(store_tag(f.s, "c:1", &two, &e));
    assert_true(store_gc_due(f.s, UINT64_C(1) << 40)); /* it must look */
    OK(store_gc(f.s, UINT64_C(1) << 40, &gc, &e));
    assert_true(gc.kept >= 1000000 && gc.kept < 1200000);
    assert_false(store_gc_due(f.s, 1200000));
}

static void a_directory_in_use_stays_and_is_measured_anew(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    OK(store_use(f.s, "mounts/m", "gocache", &e));
    make_dir(store_dirfd(f.s), "mounts");
    make_dir(store_dirfd(f.s), "mounts/m");
    make_dir(store_dirfd(f.s), "mounts/m/data");
    OK(store_note_uses(f.s, &e));
    const StoreItem *m = item(f.s, &a, "gocache");
    assert_true(m->in_use && m->mutable);
    assert_string_equal(m->type, "exec.cachemount");
    assert_false(drop_one(f.s, m));
    while (b.len < 300000)
        buf_putc(&b, 'x');
    put(store_dirfd(f.s), "mounts/m/data/f", buf_str(&b));
    reopen(&f);
    m = item(f.s, &a, "gocache");
    assert_true(m->size >= 300000 && m->size < 400000);
    assert_true(drop_one(f.s, m));
    assert_false(exists(store_dirfd(f.s), "mounts/m"));
}

/* A collection that was killed between its steps, as the database shows it. */
static void a_killed_collection_is_finished_or_forgotten(void **state)
{
    scoped(fixture) Fixture f;
    char one[STORE_TMP_MAX], two[STORE_TMP_MAX];

    (void)state;
    fixture_init(&f);
    store_snapshot_path(add_step(f.s, "one", 10), one);
    store_snapshot_path(add_step(f.s, "two", 10), two);
    reopen(&f);
    edit_database(&f, "INSERT INTO doomed VALUES('s1', 1), ('s2', 2);"
                      "DELETE FROM record WHERE snapshot = 2;"
                      "DELETE FROM snapshot WHERE id = 2;"
                      "INSERT INTO snapshot VALUES(77, 0)");
    assert_true(has_step(f.s, "one")); /* using it strikes it off the list */
    assert_int_equal(count_findings(f.s, false), 0);
    assert_true(exists(store_dirfd(f.s), one));
    assert_false(exists(store_dirfd(f.s), two));
    assert_true(has_step(f.s, "one"));
}

static void a_directory_whose_collection_is_decided_is_made_anew_by_who_wants_it(void **state)
{
    scoped(fixture) Fixture f;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    make_dir(store_dirfd(f.s), "mounts");
    make_dir(store_dirfd(f.s), "mounts/m");
    edit_database(&f, "INSERT INTO doomed VALUES('dmounts/m', 2)");
    OK(store_use(f.s, "mounts/m", "x", &e));
    assert_false(exists(store_dirfd(f.s), "mounts/m")); /* the old one is out of the way */
    make_dir(store_dirfd(f.s), "mounts/m");
    make_dir(store_dirfd(f.s), "mounts/m/data");
    assert_int_equal(count_findings(f.s, false), 0);
    assert_true(exists(store_dirfd(f.s), "mounts/m"));
}

static void damage_is_found_and_repaired(void **state)
{
    scoped(fixture) Fixture f;
    scoped(arena) Arena a = {0};
    char path[STORE_TMP_MAX], hex[DIGEST_HEX_SIZE];
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    assert_int_equal(count_findings(f.s, false), 0);
    reopen(&f);
    store_snapshot_path(add_step(f.s, "lost", 10), path);
    Digest blob = put_text(f.s, "bytes");
    digest_hex(&blob, hex);
    reopen(&f);
    OK(fs_remove_tree(store_dirfd(f.s), path, &e));
    put(store_dirfd(f.s), arena_printf(&a, "blobs/sha256/%s", hex), "Bytes");
    make_dir(store_dirfd(f.s), "snapshots/99");
    assert_int_equal(count_findings(f.s, false), 3);
    assert_int_equal(count_findings(f.s, true), 3);
    assert_int_equal(count_findings(f.s, false), 0);
    assert_false(exists(store_dirfd(f.s), "snapshots/99"));
    assert_false(has_blob(f.s, &blob));
}

enum { NCOLLECT = 40 };

/* Make, use and check steps until told to stop; nothing that was found may vanish. */
static int use_a_lot(const char *path, int who)
{
    for (int i = 0; i < NCOLLECT; i++) {
        scoped(arena) Arena a = {0};
        Store *s = open_store(path, "root");
        const char *name = arena_printf(&a, "step %d", (who + i) % 5);
        char text[16], dir[STORE_TMP_MAX];
        Digest d, key = digest_text_of(name);
        StoreRecord r;
        bool found;
        Err e = ERR_INIT;
        if (!store_record_get(s, &key, &r, &found, &e))
            return 1;
        if (!found)
            r.snapshot = add_step(s, name, 10);
        (void)snprintf(text, sizeof text, "blob %d", i % 3);
        if (!store_put_blob(s, text, strlen(text), &d, &e))
            return 2;
        for (int k = 0; k < 20; k++) {
            store_snapshot_path(r.snapshot, dir);
            if (!exists(store_dirfd(s), dir) || !has_blob(s, &d))
                return 3;
            usleep(200);
        }
        if (!store_note_uses(s, &e))
            return 4;
        store_done(s);
    }
    return 0;
}

static void collections_beside_processes_take_nothing_they_use(void **state)
{
    scoped(fixture) Fixture f;
    pid_t pids[NWRITER];
    int left = NWRITER, failed = 0;
    size_t dropped = 0;

    (void)state;
    fixture_init(&f);
    for (int i = 0; i < NWRITER; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit(use_a_lot(f.path, i));
    }
    while (left) {
        StoreGc gc;
        Err e = ERR_INIT;
        int status;
        OK(store_gc(f.s, 0, &gc, &e));
        dropped += gc.n;
        while (left && waitpid(-1, &status, WNOHANG) > 0) {
            left--;
            failed += status != 0;
        }
    }
    assert_int_equal(failed, 0);
    assert_true(dropped > 0);
    assert_int_equal(count_findings(f.s, false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_store_is_a_valid_empty_layout),
        cmocka_unit_test(a_store_of_other_owners_is_refused_and_left_alone),
        cmocka_unit_test(a_store_opened_without_owners_takes_the_first_that_come),
        cmocka_unit_test(a_store_from_the_future_is_refused),
        cmocka_unit_test(a_store_that_is_no_directory_or_no_database_is_refused),
        cmocka_unit_test(the_default_path_follows_the_environment),
        cmocka_unit_test(a_blob_is_found_by_the_digest_of_its_bytes),
        cmocka_unit_test(bytes_of_another_digest_leave_nothing),
        cmocka_unit_test(a_damaged_blob_is_noticed_when_it_is_read),
        cmocka_unit_test(only_what_the_dead_left_is_swept),
        cmocka_unit_test(a_directory_being_made_is_swept_with_its_process),
        cmocka_unit_test(closing_a_store_leaves_nothing_in_tmp),
        cmocka_unit_test(a_snapshot_gets_a_number_of_its_own),
        cmocka_unit_test(a_record_lives_as_long_as_its_snapshot),
        cmocka_unit_test(an_unpacked_layer_is_found_while_it_is_there),
        cmocka_unit_test(a_memo_keeps_any_bytes),
        cmocka_unit_test(a_packed_layer_is_found_while_its_blob_is_there),
        cmocka_unit_test(an_image_is_kept_with_its_layers),
        cmocka_unit_test(names_tags_digests_and_prefixes_find_an_image),
        cmocka_unit_test(a_prefix_of_two_images_is_refused),
        cmocka_unit_test(the_list_has_tags_first_and_newest_first),
        cmocka_unit_test(the_published_index_lists_packed_images_by_name),
        cmocka_unit_test(processes_that_make_a_store_at_once_all_have_it),
        cmocka_unit_test(processes_that_write_at_once_lose_nothing),
        cmocka_unit_test(a_dropped_step_takes_its_rows_and_files_with_it),
        cmocka_unit_test(what_a_living_process_uses_stays_until_it_ends),
        cmocka_unit_test(what_a_tag_needs_stays_and_an_untagged_image_goes_with_its_step),
        cmocka_unit_test(the_ceiling_drops_the_longest_unused),
        cmocka_unit_test(a_tag_that_moves_adds_what_it_leaves_to_the_cache),
        cmocka_unit_test(a_directory_in_use_stays_and_is_measured_anew),
        cmocka_unit_test(a_killed_collection_is_finished_or_forgotten),
        cmocka_unit_test(a_directory_whose_collection_is_decided_is_made_anew_by_who_wants_it),
        cmocka_unit_test(damage_is_found_and_repaired),
        cmocka_unit_test(collections_beside_processes_take_nothing_they_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
