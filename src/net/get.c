/*
 * net/get.c - the file behind an URL.
 */
#include <strings.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "net/net.h"
#include "net/stream.h"

enum { BLOCK = 128 << 10 };

/* One net_get. */
typedef struct Get {
    Arena *arena;
    const NetRequest *req;
    NetAsk ask;
    const char *shown; /* "GET 'https://...'" */
    uint64_t start;    /* where the body begins in `fd` or `into` */
    NetReply reply;
} Get;

static bool same_etag(const char *a, const char *b)
{
    /* Weak comparison, as If-None-Match has it: RFC 9110, section 8.8.3.2. */
    return a && b && !strcmp(a + (str_starts(a, "W/") ? 2 : 0), b + (str_starts(b, "W/") ? 2 : 0));
}

static bool is_ok(int status)
{
    return status >= 200 && status < 300;
}

/*
 * Some servers know no If-None-Match and send everything with the very ETag that was asked about,
 * which says the same as 304 and may be left unread.
 */
static void take_head(Get *g, const NetAnswer *ans)
{
    NetReply *r = &g->reply;
    *r = (NetReply){.status = ans->status,
                    .etag = net_header(ans, "ETag"),
                    .last_modified = net_header(ans, "Last-Modified"),
                    .date = net_header(ans, "Date"),
                    .disposition = net_header(ans, "Content-Disposition"),
                    .content_type = net_header(ans, "Content-Type"),
                    .final_url = ans->url};
    r->unchanged = (r->status == 304 && (g->req->have_etag || g->req->have_modified)) ||
                   (is_ok(r->status) && same_etag(g->req->have_etag, r->etag));
}

static bool too_large(Get *g, Err *e)
{
    return err_set(e, ERR_NETWORK, "%s: more than the limit of %llu bytes", g->shown,
                   (unsigned long long)g->req->max_size);
}

/* A body begun by an attempt before is dropped. */
static bool rewind_body(Get *g, Err *e)
{
    const NetRequest *req = g->req;
    if (req->into)
        req->into->len = (size_t)g->start;
    else if (ftruncate(req->fd, (off_t)g->start) < 0 ||
             lseek(req->fd, (off_t)g->start, SEEK_SET) < 0)
        return err_errno(e, ERR_STORE, "%s: file for the body", g->shown);
    return true;
}

static bool read_body(Get *g, NetStream *s, const NetAnswer *ans, Err *e)
{
    const NetRequest *req = g->req;
    Hasher hash;
    char block[BLOCK];
    /* The length of a packed body says nothing of the body. */
    bool packed = req->gunzip && net_header(ans, "Content-Encoding");
    if (!packed && ans->length > 0 && (uint64_t)ans->length > req->max_size)
        return too_large(g, e);
    hash_init(&hash);
    for (size_t n = 1; n;) {
        if (!net_read(s, block, sizeof block, &n, e))
            return false;
        if (n > req->max_size - g->reply.size)
            return too_large(g, e);
        g->reply.size += n;
        hash_add(&hash, block, n);
        if (req->into)
            buf_add(req->into, block, n);
        else if (!fs_write_all(req->fd, block, n, e))
            return err_wrap(e, "%s", g->shown);
    }
    hash_end(&hash, &g->reply.digest);
    return true;
}

static bool no_success(Get *g, const NetAnswer *ans, Err *e)
{
    const char *first = net_mask_url(g->arena, g->req->url),
               *last = net_mask_url(g->arena, ans->url);
    const char *detour =
        strcmp(first, last) != 0 ? arena_printf(g->arena, " (redirected to '%s')", last) : "";
    if (!net_passing(ans->status))
        return err_set(e, ERR_NETWORK, "%s%s: status %d", g->shown, detour, ans->status);
    return err_set(e, ERR_NETWORK, "%s%s: status %d (tried %d times)", g->shown, detour,
                   ans->status, NET_ATTEMPTS);
}

/* One answer. *ret_cut: its body broke off, and may be asked for again. */
static bool attempt(Get *g, bool *ret_cut, Err *e)
{
    scoped(net_stream) NetStream *s = NULL;
    NetAnswer ans;
    *ret_cut = false;
    if (!rewind_body(g, e) || !net_open(g->arena, &g->ask, &s, &ans, NULL, e))
        return false;
    take_head(g, &ans);
    if (g->reply.unchanged)
        return true;
    if (!is_ok(ans.status))
        return no_success(g, &ans, e);
    bool ok = read_body(g, s, &ans, e);
    *ret_cut = !ok && stream_fault(s) == NET_FAULT_CUT && !cancel_wanted();
    return ok;
}

static bool begin(Get *g, Err *e)
{
    const NetRequest *req = g->req;
    g->shown = arena_printf(g->arena, "GET '%s'", net_mask_url(g->arena, req->url));
    g->ask = (NetAsk){.url = req->url,
                      .headers = strlist_copy(g->arena, &req->headers),
                      .flags = NET_MAY_DOWNGRADE | (req->gunzip ? NET_GUNZIP : 0u)};
    if (req->have_etag)
        strlist_add(g->arena, &g->ask.headers,
                    arena_printf(g->arena, "If-None-Match: %s", req->have_etag));
    if (req->have_modified)
        strlist_add(g->arena, &g->ask.headers,
                    arena_printf(g->arena, "If-Modified-Since: %s", req->have_modified));
    off_t at = req->into ? (off_t)req->into->len : lseek(req->fd, 0, SEEK_CUR);
    if (at < 0)
        return err_errno(e, ERR_STORE, "%s: file for the body", g->shown);
    g->start = (uint64_t)at;
    return true;
}

bool net_get(Arena *a, const NetRequest *req, NetReply *ret, Err *e)
{
    Get g = {.arena = a, .req = req};
    if (!begin(&g, e))
        return false;
    for (unsigned n = 1;; n++) {
        Err once = ERR_INIT;
        bool cut;
        if (attempt(&g, &cut, &once)) {
            *ret = g.reply;
            return true;
        }
        if (cut && n < NET_ATTEMPTS) {
            if (!net_pause(n, NULL, g.shown, e))
                return false;
            continue;
        }
        return err_set(e, once.kind, cut ? "%s (tried %u times)" : "%s", once.msg, n);
    }
}
