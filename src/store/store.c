/*
 * store/store.c - opening, and blobs.
 */
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/vfs.h>

#include "base/fs.h"
#include "store/keep.h"

enum { SMALL_BLOB_MAX = 4 << 20 };

char *store_default_path(Arena *a)
{
    const char *env = getenv("LIGHTER_STORE");
    if (env && *env)
        return arena_strdup(a, env);
    if (geteuid() == 0)
        return arena_strdup(a, "/var/lib/lighter");
    const char *data = getenv("XDG_DATA_HOME");
    if (data && *data)
        return arena_printf(a, "%s/lighter", data);
    const char *home = getenv("HOME");
    return arena_printf(a, "%s/.local/share/lighter", home ? home : "");
}

/* WAL and flock need one host's memory; magic numbers from statfs(2). */
static bool check_fs(Store *s, Err *e)
{
    static const long NETWORK[] = {0x6969 /* NFS */,
                                   0x517b /* SMB */,
                                   (long)0xff534d42 /* CIFS */,
                                   (long)0xfe534d42 /* SMB2 */,
                                   0x01021997 /* 9P */,
                                   0x00c36400 /* CEPH */};
    struct statfs sf;
    if (fstatfs(s->dirfd, &sf) < 0)
        return err_errno(e, ERR_STORE, "statfs '%s'", s->path);
    for (size_t i = 0; i < NELEM(NETWORK); i++)
        if ((long)sf.f_type == NETWORK[i])
            return err_set(
                e, ERR_ENV,
                "store '%s' is on a network file system: set LIGHTER_STORE to a local directory",
                s->path);
    return true;
}

/*
 * Records name build arguments, and layers hold files that were private: nobody else reads here,
 * also where the directory was there before, with nothing in it. A store that is there keeps the
 * mode its owner gave it.
 */
static bool close_to_others(Store *s, Err *e)
{
    scoped(arena) Arena a = {0};
    StrList names;
    struct stat st;
    if (!fs_list(&a, s->dirfd, &names, e))
        return false;
    if (fstat(s->dirfd, &st) < 0)
        return err_errno(e, ERR_STORE, "stat '%s'", s->path);
    for (size_t i = 0; i < names.n; i++)
        if (strcmp(names.v[i], "lost+found") != 0)
            return true;
    return fchmod(s->dirfd, st.st_mode & 0700) == 0 || errno == EPERM ||
           err_errno(e, ERR_STORE, "change mode of '%s'", s->path);
}

bool store_replace(Store *s, const char *name, const char *bytes, size_t n, Err *e)
{
    char tmp[STORE_TMP_MAX];
    /* The sweep knows by the number when nobody will rename it any more. */
    (void)snprintf(tmp, sizeof tmp, "tmp/.new-%d-%s", (int)getpid(), name);
    if (!fs_write_file(s->dirfd, tmp, bytes, n, e)) {
        (void)unlinkat(s->dirfd, tmp, 0);
        return err_wrap(e, "store '%s'", s->path);
    }
    if (renameat(s->dirfd, tmp, s->dirfd, name) == 0)
        return true;
    err_errno(e, ERR_STORE, "rename to '%s/%s'", s->path, name);
    (void)unlinkat(s->dirfd, tmp, 0);
    return false;
}

static const char LAYOUT[] = "{\"imageLayoutVersion\":\"1.0.0\"}";

bool store_layout_anew(Store *s, Err *e)
{
    return store_publish(s, e) && store_replace(s, "oci-layout", LAYOUT, sizeof LAYOUT - 1, e);
}

static bool make_tree(Store *s, Err *e)
{
    /* Snapshots hold other systems' setuid programs: nobody else walks in there. */
    static const char *const DIRS[] = {"blobs", "blobs/sha256", "snapshots", "tmp", "logs"};
    static const char INDEX[] =
        "{\"manifests\":[],\"mediaType\":\"" MT_OCI_INDEX "\",\"schemaVersion\":2}";
    if (faccessat(s->dirfd, "oci-layout", F_OK, 0) == 0 && faccessat(s->dirfd, "tmp", F_OK, 0) == 0)
        return true;
    if (!close_to_others(s, e))
        return false;
    for (size_t i = 0; i < NELEM(DIRS); i++)
        if (mkdirat(s->dirfd, DIRS[i], i < 2 ? 0755 : 0700) < 0 && errno != EEXIST)
            return err_errno(e, ERR_STORE, "create '%s/%s'", s->path, DIRS[i]);
    if (faccessat(s->dirfd, "index.json", F_OK, 0) < 0 &&
        !store_replace(s, "index.json", INDEX, sizeof INDEX - 1, e))
        return false;
    return store_replace(s, "oci-layout", LAYOUT, sizeof LAYOUT - 1, e);
}

bool store_open(const char *path, const char *owners, Store **ret, Err *e)
{
    scoped(store) Store *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path)))
        die_nomem();
    s->dirfd = s->lockfd = s->leasefd = -1;
    pthread_mutex_init(&s->lock, NULL);
    if (!fs_mkdirs(AT_FDCWD, path, e) || !fs_open_dir(AT_FDCWD, path, &s->dirfd, e))
        return err_wrap(e, "store");
    if (!check_fs(s, e) || !make_tree(s, e) || !db_open(s, owners, e) || !durable_recover(s, e))
        return false;
    *ret = s;
    s = NULL;
    return true;
}

void store_done(Store *s)
{
    if (!s)
        return;
    tmp_done(s);
    sqlite3_finalize(s->doomed);
    db_close(s);
    if (s->leasefd >= 0)
        close(s->leasefd);
    durable_settle(s); /* holds no lock of ours */
    map_done(&s->use_of);
    arena_done(&s->arena);
    if (s->dirfd >= 0)
        close(s->dirfd);
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

const char *store_path(const Store *s)
{
    return s->path;
}

int store_dirfd(const Store *s)
{
    return s->dirfd;
}

/* ---- blobs ---- */

static void blob_path(const Digest *d, char out[static 96])
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(d, hex);
    (void)snprintf(out, 96, "blobs/sha256/%s", hex);
}

bool store_has_blob(Store *s, const Digest *d, bool *ret, Err *e)
{
    char path[96];
    bool gone;
    blob_path(d, path);
    if (!lease_blob(s, d, &gone, e))
        return false;
    *ret = !gone && faccessat(s->dirfd, path, R_OK, 0) == 0;
    return true;
}

bool store_open_blob(const Store *s, const Digest *d, int *ret_fd, uint64_t *ret_size, Err *e)
{
    char path[96];
    struct stat st;
    blob_path(d, path);
    scoped(fd) int fd = openat(s->dirfd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "open blob '%s'", path);
    if (fstat(fd, &st) < 0)
        return err_errno(e, ERR_STORE, "stat blob '%s'", path);
    *ret_size = (uint64_t)st.st_size;
    *ret_fd = fd_take(&fd);
    return true;
}

bool store_read_blob(const Store *s, const Digest *d, Buf *ret, Err *e)
{
    int raw;
    uint64_t size;
    Digest got;
    if (!store_open_blob(s, d, &raw, &size, e))
        return false;
    scoped(fd) int fd = raw;
    size_t start = ret->len;
    if (!fs_read_all(fd, SMALL_BLOB_MAX, ret, e))
        return false;
    digest_of(buf_str(ret) + start, ret->len - start, &got);
    if (!digest_eq(&got, d)) {
        char text[DIGEST_TEXT_SIZE];
        digest_text(d, text);
        return err_set(e, ERR_STORE,
                       "blob %s is damaged: remove it from '%s/blobs/sha256' and load or build the "
                       "image again",
                       text, s->path);
    }
    return true;
}

bool blob_begin(Store *s, BlobWriter *w, Err *e)
{
    *w = (BlobWriter){.store = s, .fd = -1};
    if (!store_tmp(s, "blob", w->tmp, e))
        return false;
    w->fd = openat(s->dirfd, w->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (w->fd < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", s->path, w->tmp);
    hash_init(&w->hash);
    return true;
}

bool blob_write(BlobWriter *w, const void *bytes, size_t n, Err *e)
{
    hash_add(&w->hash, bytes, n);
    w->size += n;
    if (!fs_write_all(w->fd, bytes, n, e))
        return err_wrap(e, "store '%s'", w->store->path);
    return true;
}

static const char *name_of_blob(const Digest *d, char out[static NAME_MAX_LEN])
{
    out[0] = 'b';
    digest_hex(d, out + 1);
    return out;
}

bool blob_commit_as(BlobWriter *w, const Digest *name, Err *e)
{
    char path[96], label[NAME_MAX_LEN];
    struct stat st;
    bool gone;
    blob_path(name, path);
    /* From here on no collection takes it; what one took before is replaced. */
    if (!lease_blob(w->store, name, &gone, e)) {
        blob_abort(w);
        return false;
    }
    if (fstat(w->fd, &st) == 0)
        lease_blob_size(w->store, name, (uint64_t)st.st_blocks * 512);
    if (!durable_note(w->store, name_of_blob(name, label), e)) {
        blob_abort(w);
        return false;
    }
    if (renameat(w->store->dirfd, w->tmp, w->store->dirfd, path) < 0) {
        err_errno(e, ERR_STORE, "rename to '%s/%s'", w->store->path, path);
        blob_abort(w);
        return false;
    }
    close(w->fd);
    w->fd = -1;
    return true;
}

bool blob_commit(BlobWriter *w, const Digest *expect, Digest *ret, uint64_t *ret_size, Err *e)
{
    Digest got;
    hash_end(&w->hash, &got);
    if (expect && !digest_eq(expect, &got)) {
        char want[DIGEST_TEXT_SIZE], have[DIGEST_TEXT_SIZE];
        digest_text(expect, want);
        digest_text(&got, have);
        blob_abort(w);
        return err_set(e, ERR_STORE, "bytes of %s are %s: they were changed or cut on the way",
                       want, have);
    }
    if (!blob_commit_as(w, &got, e))
        return false;
    *ret = got;
    if (ret_size)
        *ret_size = w->size;
    return true;
}

void blob_abort(BlobWriter *w)
{
    if (w->fd < 0)
        return;
    close(w->fd);
    w->fd = -1;
    (void)unlinkat(w->store->dirfd, w->tmp, 0); /* best effort: tmp/ is swept */
}

bool store_put_blob(Store *s, const void *bytes, size_t n, Digest *ret, Err *e)
{
    BlobWriter w;
    bool have;
    digest_of(bytes, n, ret);
    if (!store_has_blob(s, ret, &have, e))
        return false;
    if (have)
        return true;
    if (!blob_begin(s, &w, e))
        return false;
    if (!blob_write(&w, bytes, n, e)) {
        blob_abort(&w);
        return false;
    }
    return blob_commit(&w, NULL, ret, NULL, e);
}
