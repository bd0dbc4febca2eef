/*
 * source/http.c - files of web servers, kept as snapshots and asked about before they are fetched
 * again.
 *
 * Two memos say what is kept: one by URL, whose file is good if the server says so, and one by URL
 * and digest, whose file is good for whoever wants that digest.
 */
#include <errno.h>
#include <limits.h>
#include <time.h>

#include "base/fs.h"
#include "base/key.h"
#include "net/net.h"
#include "source/filename.h"
#include "source/source.h"

/* More than any file of a build; a server must not fill the disk with less than that. */
#define FILE_BYTES_MAX ((uint64_t)64 << 30)

/* A file that is in the store, and what the server called this state of it. */
typedef struct Kept {
    SourceFile file;
    const char *etag, *modified; /* validators for the next request, or NULL */
} Kept;

/* ---- memos ---- */

static void memo_key(const SourceHttp *req, const Digest *digest, Digest *ret)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, digest ? "http digest 1" : "http 1");
    key_text(&k, "url", req->url);
    key_text(&k, "name", req->name ? req->name : "");
    key_list(&k, "headers", &req->headers);
    if (digest)
        key_digest(&k, "digest", digest);
    key_end(&k, ret);
}

enum { F_DIGEST, F_NAME, F_SNAPSHOT, F_SIZE, F_MTIME, F_ETAG, F_MODIFIED };
enum { NFIELD = F_MODIFIED + 1 };

/* Fields are ended by NUL, for names and ETags may hold any other byte. */
static bool split_fields(Arena *a, const Buf *b, const char *out[static NFIELD])
{
    size_t at = 0;
    for (size_t i = 0; i < NFIELD; i++) {
        const char *end = at < b->len ? memchr(b->ptr + at, 0, b->len - at) : NULL;
        if (!end)
            return false;
        out[i] = arena_strdup(a, b->ptr + at);
        at = (size_t)(end - b->ptr) + 1;
    }
    return at == b->len;
}

static bool read_fields(const char *const f[static NFIELD], Kept *ret)
{
    SourceFile *file = &ret->file;
    uint64_t mtime;
    if (!digest_parse(f[F_DIGEST], &file->digest) ||
        !str_u64(f[F_SNAPSHOT], INT64_MAX, &file->snapshot) ||
        !str_u64(f[F_SIZE], INT64_MAX, &file->size) || !str_u64(f[F_MTIME], INT64_MAX, &mtime))
        return false;
    file->name = f[F_NAME];
    file->mtime = (int64_t)mtime;
    ret->etag = *f[F_ETAG] ? f[F_ETAG] : NULL;
    ret->modified = *f[F_MODIFIED] ? f[F_MODIFIED] : NULL;
    return true;
}

/* What is kept under a key, if it is still there. */
static bool recall(Store *s, Arena *a, const SourceHttp *req, const Digest *digest, Kept *ret,
                   bool *ret_found, Err *e)
{
    scoped(buf) Buf value = BUF_INIT;
    const char *fields[NFIELD];
    Digest key;
    memo_key(req, digest, &key);
    if (!store_memo_get(s, &key, &value, ret_found, e))
        return false;
    /* The empty snapshot always exists, and no file is in it. */
    *ret_found = *ret_found && split_fields(a, &value, fields) && read_fields(fields, ret) &&
                 ret->file.snapshot;
    return !*ret_found || store_snapshot_exists(s, ret->file.snapshot, ret_found, e);
}

static bool remember(Store *s, const SourceHttp *req, const Digest *digest, const Kept *k, Err *e)
{
    scoped(buf) Buf value = BUF_INIT;
    char text[DIGEST_TEXT_SIZE];
    Digest key;
    digest_text(&k->file.digest, text);
    buf_printf(&value, "%s%c%s%c%llu%c%llu%c%lld%c%s%c%s%c", text, 0, k->file.name, 0,
               (unsigned long long)k->file.snapshot, 0, (unsigned long long)k->file.size, 0,
               (long long)k->file.mtime, 0, k->etag ? k->etag : "", 0,
               k->modified ? k->modified : "", 0);
    memo_key(req, digest, &key);
    return store_memo_put(s, &key, buf_str(&value), value.len, e);
}

/* ---- times ---- */

/* Seconds of an HTTP date in any of its three forms, or -1: RFC 9110, section 5.6.7. */
static int64_t http_time(const char *text)
{
    static const char *const FORMS[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %e %H:%M:%S %Y"};
    for (size_t i = 0; text && i < NELEM(FORMS); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, FORMS[i], &tm);
        if (end && !*end)
            return (int64_t)timegm(&tm);
    }
    return -1;
}

/*
 * The Last-Modified that may be asked with later. A file that changed in the second in which it was
 * fetched may have changed again in it: RFC 9110, section 8.8.2.2.
 */
static const char *strong_modified(const NetReply *r)
{
    int64_t modified = http_time(r->last_modified), date = http_time(r->date);
    return modified >= 0 && modified < date ? r->last_modified : NULL;
}

/* ---- downloads ---- */

/* A directory below tmp/ that becomes a snapshot, or goes. */
typedef struct Download {
    Store *store;
    char tmp[STORE_TMP_MAX];
    int dirfd, fd;
} Download;

static void scoped_download_done(Download *d)
{
    Err ignored = ERR_INIT;
    scoped_fd_done(&d->fd);
    scoped_fd_done(&d->dirfd);
    if (*d->tmp)
        (void)fs_remove_tree(store_dirfd(d->store), d->tmp, &ignored); /* else the sweep does */
}

/* The caller's own ids are 0:0 of a snapshot, before sandbox_enter as after it. */
static bool own(int fd, mode_t mode)
{
    return fchown(fd, geteuid(), getegid()) == 0 && fchmod(fd, mode) == 0;
}

static const char BODY[] = "body"; /* until the headers have said its name */

static bool begin(Store *s, Download *ret, Err *e)
{
    ret->store = s;
    if (!store_tmp(s, "http", ret->tmp, e))
        return false;
    if (mkdirat(store_dirfd(s), ret->tmp, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(s), ret->tmp);
    if (!fs_open_dir(store_dirfd(s), ret->tmp, &ret->dirfd, e))
        return false;
    ret->fd = openat(ret->dirfd, BODY, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (ret->fd < 0 || !own(ret->dirfd, 0755) || !own(ret->fd, 0600))
        return err_errno(e, ERR_STORE, "create '%s/%s/%s'", store_path(s), ret->tmp, BODY);
    return true;
}

/* Name and time the file, and publish its directory. */
static bool publish(Download *d, const NetReply *r, const char *url, SourceFile *file, Err *e)
{
    int64_t modified = http_time(r->last_modified);
    struct timespec times[2] = {{.tv_sec = modified < 0 ? 0 : modified}};
    struct stat st;
    times[1] = times[0];
    if (strlen(file->name) > NAME_MAX)
        return err_set(e, ERR_NETWORK, "the file's name of %zu bytes is over the limit of %d",
                       strlen(file->name), NAME_MAX);
    if (futimens(d->fd, times) < 0 || fstat(d->fd, &st) < 0 ||
        renameat(d->dirfd, BODY, d->dirfd, file->name) < 0)
        return err_errno(e, ERR_STORE, "finish '%s/%s/%s'", store_path(d->store), d->tmp,
                         file->name);
    file->mtime = st.st_mtime; /* what the file system could keep of it */
    if (!store_snapshot_add(d->store, d->tmp, &file->snapshot, e))
        return false;
    store_describe(d->store, file->snapshot, "source.http", url);
    *d->tmp = 0;
    return true;
}

static bool check(const SourceHttp *req, const Digest *got, Err *e)
{
    char want[DIGEST_TEXT_SIZE], have[DIGEST_TEXT_SIZE];
    if (!req->checksum || digest_eq(req->checksum, got))
        return true;
    digest_text(req->checksum, want);
    digest_text(got, have);
    return err_set(e, ERR_CHECK, "digest mismatch: expected %s, got %s", want, have);
}

/*
 * A server that gives no validators sends the same file each time: one snapshot of it is enough.
 * Only its name and time must be the same, too.
 */
static bool have_already(Store *s, Arena *a, const SourceHttp *req, const NetReply *r,
                         SourceFile *file, bool *ret_have, Err *e)
{
    Kept old;
    int64_t modified = http_time(r->last_modified);
    if (!recall(s, a, req, &file->digest, &old, ret_have, e))
        return false;
    *ret_have = *ret_have && !strcmp(old.file.name, file->name) &&
                old.file.mtime == (modified < 0 ? 0 : modified);
    if (*ret_have)
        *file = old.file;
    return true;
}

/* Keep what was downloaded, if it is what was asked for. */
static bool take(Download *d, Arena *a, const SourceHttp *req, const NetReply *r, Kept *ret, Err *e)
{
    Kept k = {.etag = r->etag, .modified = strong_modified(r)};
    bool have;
    if (r->status == 206)
        return err_set(e, ERR_NETWORK, "the server sent a part that was not asked for");
    k.file.name = http_file_name(a, req->url, req->name, r->disposition);
    k.file.digest = r->digest;
    k.file.size = r->size;
    if (!check(req, &r->digest, e) || !have_already(d->store, a, req, r, &k.file, &have, e) ||
        (!have && !publish(d, r, net_mask_url(a, req->url), &k.file, e)) ||
        !remember(d->store, req, NULL, &k, e) || !remember(d->store, req, &k.file.digest, &k, e))
        return false;
    *ret = k;
    return true;
}

/* Ask the server whether it has something else than *k, and make *k what it has. */
static bool refresh(Store *s, Arena *a, const SourceHttp *req, Kept *k, Err *e)
{
    scoped(download) Download d = {.dirfd = -1, .fd = -1};
    NetReply r;
    if (!begin(s, &d, e))
        return false;
    NetRequest get = {
        .url = req->url,
        .headers = req->headers,
        .have_etag = k->etag,
        /* Only where there is no ETag: a server that heeds the coarser one must not answer. */
        .have_modified = k->etag ? NULL : k->modified,
        .gunzip = true,
        .max_size = FILE_BYTES_MAX,
        .fd = d.fd,
    };
    if (!net_get(a, &get, &r, e))
        return false;
    bool ok = r.unchanged ? check(req, &k->file.digest, e) : take(&d, a, req, &r, k, e);
    return ok || err_wrap(e, "'%s'", net_mask_url(a, req->url));
}

bool source_http(Store *s, Arena *a, const SourceHttp *req, SourceFile *ret, Err *e)
{
    Kept k;
    bool found = false;
    if (req->checksum && !recall(s, a, req, req->checksum, &k, &found, e))
        return false;
    if (!found) {
        if (!recall(s, a, req, NULL, &k, &found, e))
            return false;
        if (!found)
            k = (Kept){0};
        if (!refresh(s, a, req, &k, e))
            return false;
    }
    *ret = k.file;
    return true;
}
