/*
 * gomod/fetch.c - one request of the GOPROXY protocol, answered out of the store or out of what one
 * proxy says.
 *
 * A proxy's own status is passed on, for it decides whether go asks the next one. What goes wrong
 * on our side is a 502: an error like any other to go, behind which "," ends the search and "|"
 * goes on. Bytes that are proven to be wrong are not handed out at all.
 */
#include <errno.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "gomod/inside.h"
#include "net/net.h"

enum { ERROR_TEXT_MAX = 64 << 10, BLOCK = 32 << 10 };

void got_done(Got *g)
{
    buf_done(&g->text);
    if (g->fd >= 0)
        close(g->fd);
}

/* ---- one at a time ---- */

/* Wait until nobody else fetches this; who comes out looks again whether it is there now. */
static void flight_begin(Gomod *g, Flight *mine, const char *key)
{
    *mine = (Flight){.key = key};
    pthread_mutex_lock(&g->lock);
    for (Flight *f = g->flights; f;) {
        if (strcmp(f->key, key) != 0) {
            f = f->next;
            continue;
        }
        pthread_cond_wait(&g->landed, &g->lock);
        f = g->flights;
    }
    mine->next = g->flights;
    g->flights = mine;
    pthread_mutex_unlock(&g->lock);
}

static void flight_end(Gomod *g, const Flight *mine)
{
    pthread_mutex_lock(&g->lock);
    Flight **at = &g->flights;
    while (*at != mine)
        at = &(*at)->next;
    *at = mine->next;
    pthread_cond_broadcast(&g->landed);
    pthread_mutex_unlock(&g->lock);
}

/* ---- answers ---- */

static void answer(Got *ret, int status, const char *type, const char *text)
{
    ret->status = status;
    ret->type = type;
    ret->text.len = 0;
    buf_puts(&ret->text, text);
}

static void fails(Got *ret, const Err *e)
{
    answer(ret, 502, "text/plain; charset=utf-8", e->msg);
}

static void refuse(Gomod *g, Got *ret, const Err *e)
{
    event_send(&g->sink, &(Event){.kind = EV_WARNING, .text = e->msg});
    answer(ret, 403, "text/plain; charset=utf-8", e->msg);
    ret->refused = true;
}

static void offline(Arena *a, const Ask *ask, Got *ret)
{
    answer(ret, 404, "text/plain; charset=utf-8",
           arena_printf(a, "not in the module store, and --go-offline asks nobody: %s",
                        ask->req->path));
}

/* ---- asking ---- */

static NetAsk net_of(Arena *a, const Ask *ask)
{
    NetAsk n = {.url = go_proxy_url(a, ask->proxy, ask->req->path),
                .flags = NET_GUNZIP,
                .attempts = ask->patient ? 4 : 1};
    return n;
}

static size_t limit(const GoRequest *r)
{
    return r->kind == GO_REQUEST_LOOKUP ? GO_SUMDB_LOOKUP_MAX : GOMOD_TEXT_MAX;
}

/* An answer that is a text, as it comes. */
static void pass_text(Arena *a, const Ask *ask, Got *ret)
{
    NetAnswer ans;
    Err e = ERR_INIT;
    NetAsk n = net_of(a, ask);
    ret->text.len = 0;
    if (!net_ask(a, &n, &ret->text, limit(ask->req), &ans, NULL, &e)) {
        fails(ret, &e);
        return;
    }
    const char *type = net_header(&ans, "Content-Type");
    ret->status = ans.status;
    ret->type = type ? type : "application/octet-stream";
}

/* ---- what a version is ---- */

static bool kept_info(Gomod *g, const Ask *ask, Got *ret)
{
    if (!keep_get_info(g, ask->proxy->url, ask->req->path, &ret->text))
        return false;
    ret->status = 200;
    ret->type = "application/json";
    return true;
}

static void get_info(Gomod *g, Arena *a, const Ask *ask, Got *ret)
{
    GoInfo info;
    Err e = ERR_INIT;
    Flight flight;
    const char *key = arena_printf(a, "info %s %s", ask->proxy->url, ask->req->path);
    if (kept_info(g, ask, ret))
        return;
    if (g->offline) {
        offline(a, ask, ret);
        return;
    }
    flight_begin(g, &flight, key);
    if (kept_info(g, ask, ret)) {
        flight_end(g, &flight);
        return;
    }
    pass_text(a, ask, ret);
    if (ret->status == 200 &&
        go_info_parse(a, ask->req, (Str){buf_str(&ret->text), ret->text.len}, &info, &e)) {
        keep_put_info(g, ask->proxy->url, ask->req->path,
                      (Str){buf_str(&ret->text), ret->text.len});
        view_add_info(g, ask->proxy->url, ask->req->path);
    }
    flight_end(g, &flight);
}

/* ---- go.mod ---- */

static bool kept_mod(Gomod *g, const Ask *ask, Got *ret)
{
    const char *h1 = sums_get(g, &ask->req->mod, true);
    if (!h1 || !gomod_mod(g, h1, &ret->text))
        return false;
    ret->status = 200;
    ret->type = "text/plain; charset=utf-8";
    return true;
}

static void judge_mod(Gomod *g, Arena *a, const Ask *ask, Got *ret)
{
    char h1[GO_H1_SIZE];
    Err e = ERR_INIT;
    Str text = {buf_str(&ret->text), ret->text.len};
    go_h1_of_mod(text, h1);
    switch (
        sums_judge(g, ask->settings, &ask->req->mod, true, h1, go_proxy_shown(a, ask->proxy), &e)) {
    case SUM_PROVEN:
        keep_put_mod(g, h1, text);
        view_add(g, &ask->req->mod, true, h1);
        break;
    case SUM_WRONG:
        refuse(g, ret, &e);
        break;
    case SUM_UNKNOWN:
        break;
    }
}

static void get_mod(Gomod *g, Arena *a, const Ask *ask, Got *ret)
{
    Flight flight;
    const char *key = arena_printf(a, "mod %s@%s", ask->req->mod.path, ask->req->mod.version);
    sums_recall(g, ask->settings, &ask->req->mod, true);
    if (kept_mod(g, ask, ret))
        return;
    if (g->offline) {
        offline(a, ask, ret);
        return;
    }
    flight_begin(g, &flight, key);
    if (!kept_mod(g, ask, ret)) {
        pass_text(a, ask, ret);
        if (ret->status == 200)
            judge_mod(g, a, ask, ret);
    }
    flight_end(g, &flight);
}

/* ---- zips ---- */

static bool kept_zip(Gomod *g, const Ask *ask, Got *ret)
{
    struct stat st;
    const char *h1 = sums_get(g, &ask->req->mod, false);
    scoped(fd) int fd = h1 ? keep_open_zip(g, h1) : -1;
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    ret->status = 200;
    ret->type = "application/zip";
    ret->size = (uint64_t)st.st_size;
    ret->fd = fd_take(&fd);
    return true;
}

/* The body of a 200, into a file. */
static bool take_zip(NetStream *s, int fd, Digest *ret_sha256, uint64_t *ret_size, Err *e)
{
    scoped(buf) Buf block = BUF_INIT;
    Hasher h;
    uint64_t size = 0;
    char *p = buf_reserve(&block, BLOCK);
    hash_init(&h);
    for (size_t n = 1; n;) {
        if (!net_read(s, p, BLOCK, &n, e) || !fs_write_all(fd, p, n, e))
            return false;
        hash_add(&h, p, n);
        if ((size += n) > GO_ZIP_MAX)
            return err_set(e, ERR_NETWORK, "a zip of more than %d bytes", GO_ZIP_MAX);
    }
    hash_end(&h, ret_sha256);
    *ret_size = size;
    return true;
}

/* Its h1; what go.sum lists is unpacked at once where trees are wanted, for it is read but once so.
 */
static bool hash_zip(Gomod *g, const Ask *ask, GoZip *z, const char *tree,
                     char ret_h1[static GO_H1_SIZE], Err *e)
{
    if (!g->trees || !sums_get(g, &ask->req->mod, false))
        return go_zip_hash(z, ret_h1, e);
    return tree_extract(g, z, tree, ret_h1, e);
}

/* *ret_known is false when nobody says what it should be, or it cannot be read; then it is go's to
 * judge. */
static bool judge_zip(Gomod *g, Arena *a, const Ask *ask, int fd, const char *dir,
                      char h1[static GO_H1_SIZE], bool *ret_known, Err *e)
{
    scoped(go_zip) GoZip *z = NULL;
    Err why = ERR_INIT;
    const char *source = go_proxy_shown(a, ask->proxy), *tree = arena_printf(a, "%s/tree", dir);
    *ret_known = false;
    if (!go_zip_open(fd, &ask->req->mod, &z, &why) || !hash_zip(g, ask, z, tree, h1, &why)) {
        event_send(&g->sink,
                   &(Event){.kind = EV_WARNING,
                            .text = arena_printf(a, "%s@%s: its zip from %s is not kept: %s",
                                                 ask->req->mod.path, ask->req->mod.version, source,
                                                 why.msg)});
        return true;
    }
    SumVerdict v = sums_judge(g, ask->settings, &ask->req->mod, false, h1, source, e);
    *ret_known = v == SUM_PROVEN;
    return v != SUM_WRONG;
}

static bool open_tmp(Gomod *g, const char *dir, int *ret, Err *e)
{
    scoped(arena) Arena a = {0};
    int store = store_dirfd(g->store);
    if (mkdirat(store, dir, 0755) < 0 || fchmodat(store, dir, 0755, 0) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(g->store), dir);
    *ret =
        openat(store, arena_printf(&a, "%s/zip", dir), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return *ret >= 0 || err_errno(e, ERR_STORE, "create '%s/%s/zip'", store_path(g->store), dir);
}

/* A zip that came whole: judged, and kept if it is proven. */
static bool settle_zip(Gomod *g, Arena *a, const Ask *ask, const char *dir, const Digest *sha256,
                       Got *ret, Err *e)
{
    char h1[GO_H1_SIZE];
    bool known;
    if (ask->settings && go_is_private(ask->settings, ask->req->mod.path))
        return true;
    if (!judge_zip(g, a, ask, ret->fd, dir, h1, &known, e)) {
        close(fd_take(&ret->fd));
        refuse(g, ret, e);
        return true;
    }
    GomodMaterial m = {ask->req->mod, h1, *sha256};
    if (known && !keep_put_zip(g, dir, &m, go_proxy_shown(a, ask->proxy), e))
        return false;
    if (known)
        view_add(g, &ask->req->mod, false, h1);
    return true;
}

static bool fetch_zip(Gomod *g, Arena *a, const Ask *ask, const char *dir, Got *ret, Err *e)
{
    scoped(net_stream) NetStream *s = NULL;
    NetAnswer ans;
    NetAsk n = net_of(a, ask);
    Digest sha256;
    int raw = -1;
    if (!net_open(a, &n, &s, &ans, NULL, e))
        return false;
    if (ans.status != 200) {
        size_t got = 1;
        char *p = buf_reserve(&ret->text, ERROR_TEXT_MAX);
        if (!net_read(s, p, ERROR_TEXT_MAX - 1, &got, e))
            return false;
        ret->text.len = got;
        p[got] = 0;
        ret->status = ans.status;
        ret->type = "text/plain; charset=utf-8";
        return true;
    }
    if (!open_tmp(g, dir, &raw, e))
        return false;
    scoped(fd) int fd = raw;
    if (!take_zip(s, fd, &sha256, &ret->size, e))
        return false;
    ret->fd = fd_take(&fd);
    ret->status = 200;
    ret->type = "application/zip";
    return settle_zip(g, a, ask, dir, &sha256, ret, e);
}

static void load_zip(Gomod *g, Arena *a, const Ask *ask, Got *ret)
{
    char dir[STORE_TMP_MAX];
    Err e = ERR_INIT;
    if (!store_tmp(g->store, "module", dir, &e) || !fetch_zip(g, a, ask, dir, ret, &e)) {
        if (ret->fd >= 0)
            close(fd_take(&ret->fd));
        fails(ret, &e);
    }
    if (faccessat(store_dirfd(g->store), dir, F_OK, 0) == 0)
        store_discard(g->store, dir);
}

static void get_zip(Gomod *g, Arena *a, const Ask *ask, Got *ret)
{
    Flight flight;
    const char *key = arena_printf(a, "zip %s@%s", ask->req->mod.path, ask->req->mod.version);
    sums_recall(g, ask->settings, &ask->req->mod, false); /* of a toolchain only the zip is asked */
    if (kept_zip(g, ask, ret))
        return;
    if (g->offline) {
        offline(a, ask, ret);
        return;
    }
    flight_begin(g, &flight, key);
    if (!kept_zip(g, ask, ret))
        load_zip(g, a, ask, ret);
    flight_end(g, &flight);
}

/* ---- all of them ---- */

void fetch(Gomod *g, Arena *a, const Ask *ask, Got *ret)
{
    const GoRequest *r = ask->req;
    bool closed = r->mod.path && go_is_private(ask->settings, r->mod.path);
    switch (r->kind) {
    case GO_REQUEST_ZIP:
        if (closed && !g->offline)
            load_zip(g, a, ask, ret);
        else
            get_zip(g, a, ask, ret);
        return;
    case GO_REQUEST_MOD:
        if (!closed) {
            get_mod(g, a, ask, ret);
            return;
        }
        break;
    case GO_REQUEST_INFO:
        if (!closed && r->canonical) {
            get_info(g, a, ask, ret);
            return;
        }
        break;
    case GO_REQUEST_LIST:
    case GO_REQUEST_LATEST:
    case GO_REQUEST_SUPPORTED:
    case GO_REQUEST_TREE:
    case GO_REQUEST_LOOKUP:
    case GO_REQUEST_TILE:
        break;
    }
    if (g->offline)
        offline(a, ask, ret);
    else
        pass_text(a, ask, ret);
}
