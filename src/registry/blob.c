/*
 * registry/blob.c - a blob's bytes in order, whatever happens on the way.
 *
 * Connections break; the reader does not notice. What was read so far is known by its number of
 * bytes, and is asked for no more where the server knows ranges. The bytes go into the store as
 * they pass.
 */
#include <stdlib.h>

#include "base/cancel.h"
#include "base/fs.h"
#include "registry/client.h"

enum {
    TELL_NS = 100000000,
    BLOCK = 64 << 10,
    RETRIES = NET_ATTEMPTS,
    BIG = 16 << 20,      /* bytes whose download is announced */
    PROGRESS = 64 << 10, /* bytes for which a broken connection is forgiven */
};

/* One place to ask: a server and a path, or an URL of a foreign layer. */
typedef struct Place {
    Endpoint ep;
    const char *url; /* NULL: the repository's blob */
    const char *repo;
} Place;

struct RegistryBlob {
    Registry *r;
    Store *s;
    Arena arena;
    Digest digest;
    uint64_t size;
    char text[DIGEST_TEXT_SIZE];
    Place *places;
    size_t nplace, place_cap, iplace;
    Answer answer;
    bool open;
    uint64_t at;       /* bytes given so far */
    uint64_t skip;     /* bytes that come again and were given before */
    uint64_t mark;     /* where the connection began to give */
    unsigned failures; /* since there was progress */
    BlobWriter writer;
    bool writing, over, corrupt;
    Err failed;           /* why reading ended before its time */
    uint64_t began, told; /* when the sink was told last how far it is */
};

/* ---- where ---- */

static bool add_repo(RegistryBlob *b, const StoreOrigin *o, Err *e)
{
    ImageRef ref;
    Endpoint *eps;
    size_t n;
    if (!*o->repo)
        return true;
    if (!image_ref_parse(&b->arena, arena_printf(&b->arena, "%s@%s", o->repo, b->text), &ref, e) ||
        !conf_endpoints(&b->r->conf, &b->arena, &ref, false, &eps, &n, e))
        return false;
    for (size_t i = 0; i < n; i++)
        *ARENA_PUSH(&b->arena, b->places, b->nplace, b->place_cap) =
            (Place){.ep = eps[i], .repo = o->repo};
    return true;
}

/* "https://host/..." of a foreign layer, asked without credentials. */
static void add_url(RegistryBlob *b, const char *url)
{
    const char *at = strstr(url, "://");
    if (!at || (!str_starts(url, "https://") && !str_starts(url, "http://")))
        return;
    const char *host = arena_strndup(&b->arena, at + 3, strcspn(at + 3, "/?#"));
    *ARENA_PUSH(&b->arena, b->places, b->nplace, b->place_cap) =
        (Place){.ep = {.host = host,
                       .path = "",
                       .plain = str_starts(url, "http://"),
                       .insecure = str_starts(url, "http://")},
                .url = url,
                .repo = net_mask_url(&b->arena, url)};
}

static bool add_places(RegistryBlob *b, const StoreOrigin *origins, size_t n, Err *e)
{
    if (!client_load(b->r, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!add_repo(b, &origins[i], e))
            return false;
        for (size_t k = 0; k < origins[i].urls.n; k++)
            add_url(b, origins[i].urls.v[k]);
    }
    return b->nplace ||
           err_set(e, ERR_STORE, "layer %s is not in the store, and nobody knows where it is",
                   b->text);
}

/* ---- asking ---- */

static Call call_for(RegistryBlob *b, const Place *p)
{
    Arena *a = &b->arena;
    Call c = {.what = arena_printf(a, "layer %.19s of '%s'", b->text, p->repo),
              .ep = &p->ep,
              .url = p->url,
              .path = arena_printf(a, "/v2/%s/blobs/%s", p->ep.path, b->text),
              .attempts = 1};
    if (!p->url)
        strlist_add(a, &c.scopes, client_scope(a, p->ep.path, "pull"));
    /* The closed form: some servers know no other. */
    if (b->at)
        strlist_add(a, &c.headers,
                    arena_printf(a, "Range: bytes=%llu-%llu", (unsigned long long)b->at,
                                 (unsigned long long)b->size - 1));
    return c;
}

static bool too_long(RegistryBlob *b, const Place *p, uint64_t length, Err *e)
{
    b->corrupt = true;
    return err_set(e, ERR_NETWORK,
                   "layer %s of '%s' at '%s': %llu bytes, where the manifest says %llu", b->text,
                   p->repo, p->ep.host, (unsigned long long)length, (unsigned long long)b->size);
}

/* Where a 206 begins; servers have been seen to send another part than they were asked for. */
static bool starts_at(const NetAnswer *head, uint64_t at)
{
    const char *range = net_header(head, "Content-Range");
    return !range || (!strncasecmp(range, "bytes ", 6) && strtoull(range + 6, NULL, 10) == at);
}

/* Whether an answer's bytes can be used, and from where on. */
static bool take_head(RegistryBlob *b, const Place *p, const Call *c, Err *e)
{
    const NetAnswer *head = &b->answer.head;
    uint64_t length = head->length < 0 ? 0 : (uint64_t)head->length;
    if (head->status == 206 && b->at && starts_at(head, b->at)) {
        b->skip = 0;
        return length <= b->size - b->at || too_long(b, p, b->at + length, e);
    }
    if (head->status == 200) { /* from the beginning, whatever was asked */
        b->skip = b->at;
        return length <= b->size || too_long(b, p, length, e);
    }
    if (head->status == 206)
        return err_set(e, ERR_NETWORK, "%s: '%s' sends another part than it was asked for", c->what,
                       p->ep.host);
    return client_refused_open(&b->arena, c, &b->answer, e);
}

static bool give_up(RegistryBlob *b, const Err *once, Err *e)
{
    return err_set(e, once->kind, "%s%s", once->msg,
                   b->failures > 1 ? " (tried several times)" : "");
}

/* Whether another try may help, here or at the next place. */
static bool go_on(RegistryBlob *b, const NetAnswer *head, const Err *once, bool passing, Err *e)
{
    const Place *p = &b->places[b->iplace];
    unsigned most = p->ep.mirror || b->iplace + 1 < b->nplace ? 2 : RETRIES;
    if (cancel_wanted() || net_forbidden() || (once->kind != ERR_NETWORK))
        return give_up(b, once, e);
    b->failures++;
    if (passing && b->failures < most)
        return net_pause(b->failures, head, p->ep.host, e);
    if (b->iplace + 1 == b->nplace)
        return give_up(b, once, e);
    if (p->ep.mirror)
        client_note(b->r, "mirror '%s' is passed over: %s", p->ep.host, once->msg);
    b->iplace++;
    b->failures = 0;
    return true;
}

/* Who waits for a big one wants to know for what. */
static void tell_begin(RegistryBlob *b, const Place *p)
{
    char size[32];
    str_size(b->size, size, sizeof size);
    if (b->size >= BIG)
        client_note(b->r, "fetching %.19s  %s from %s", b->text, size, p->ep.host);
}

static void tell(RegistryBlob *b, EventKind kind)
{
    char text[64];
    (void)snprintf(text, sizeof text, "fetching %.19s", b->text);
    event_send(&b->r->opts.sink,
               &(Event){.kind = kind, .text = text, .done = b->at, .total = b->size});
}

/* How far it is, ten times a second. */
static void tell_progress(RegistryBlob *b)
{
    uint64_t now = clock_ns();
    if (now - b->told < TELL_NS)
        return;
    b->told = now;
    tell(b, EV_TASK);
}

/* Have an answer whose bytes go on at b->at. */
static bool connect_blob(RegistryBlob *b, Err *e)
{
    while (!b->open) {
        const Place *p = &b->places[b->iplace];
        Call c = call_for(b, p);
        Err once = ERR_INIT;
        NetFault fault = NET_FAULT_OTHER;
        bool ok = client_open(b->r, &b->arena, &c, &b->answer, &fault, &once);
        NetAnswer head = b->answer.head;
        bool answered = ok;
        if (ok && head.status == 416 && b->at) { /* it knows no ranges: from the beginning */
            answer_close(&b->answer);
            Call whole = c;
            whole.headers = (StrList){0};
            ok = answered = client_open(b->r, &b->arena, &whole, &b->answer, &fault, &once);
            head = b->answer.head;
        }
        b->open = ok && take_head(b, p, &c, &once);
        b->mark = b->at;
        if (b->open && !b->at)
            tell_begin(b, p);
        if (b->open)
            return true;
        answer_close(&b->answer);
        bool passing = answered ? net_passing(head.status)
                                : fault == NET_FAULT_CONNECT || fault == NET_FAULT_CUT;
        if (!go_on(b, answered ? &head : NULL, &once, passing, e))
            return false;
    }
    return true;
}

/* ---- reading ---- */

bool registry_blob_open(Registry *r, Store *s, const StoreOrigin *origins, size_t norigin,
                        bool again, RegistryBlob **ret, Err *e)
{
    RegistryBlob *b = calloc(1, sizeof *b);
    if (!b)
        die_nomem();
    b->r = r;
    b->s = s;
    b->began = clock_ns();
    if (norigin) {
        b->digest = origins[0].blob;
        b->size = origins[0].size;
    }
    digest_text(&b->digest, b->text);
    if (!add_places(b, origins, norigin, e) || !blob_begin(s, &b->writer, e)) {
        registry_blob_close(b);
        return false;
    }
    b->writing = true;
    if (again && b->nplace > 1 && b->places[0].ep.mirror)
        b->iplace = 1;
    *ret = b;
    return true;
}

void registry_blob_close(RegistryBlob *b)
{
    if (!b)
        return;
    answer_close(&b->answer);
    if (b->writing)
        blob_abort(&b->writer);
    if (b->told)
        tell(b, EV_TASK_DONE);
    arena_done(&b->arena);
    free(b);
}

/* The end: are the bytes those that were asked for? */
static bool finish(RegistryBlob *b, Err *e)
{
    const Place *p = &b->places[b->iplace];
    Digest got;
    char text[DIGEST_TEXT_SIZE], size[32];
    Hasher h = b->writer.hash;
    hash_end(&h, &got);
    if (!digest_eq(&got, &b->digest)) {
        b->corrupt = true;
        digest_text(&got, text);
        return err_set(e, ERR_NETWORK, "digest mismatch in '%s' at '%s': expected %s, got %s",
                       p->repo, p->ep.host, b->text, text);
    }
    b->over = true;
    b->writing = false;
    if (!blob_commit(&b->writer, &b->digest, &got, NULL, e))
        return false;
    str_size(b->size, size, sizeof size);
    client_note(b->r, "fetched %.19s  %s in %.1f s", b->text, size,
                (double)(clock_ns() - b->began) / 1e9);
    return true;
}

/* Some bytes of the answer, less those that were given before; 0: it ended. */
static bool read_some(RegistryBlob *b, char *buf, size_t cap, size_t *ret_n, Err *e)
{
    for (;;) {
        size_t n;
        if (!net_read(b->answer.stream, buf, cap, &n, e))
            return false;
        if (b->skip < n) {
            memmove(buf, buf + b->skip, n - b->skip);
            n -= b->skip;
            b->skip = 0;
            *ret_n = n;
            return true;
        }
        b->skip -= n;
        if (n == 0) {
            *ret_n = 0;
            return true;
        }
    }
}

/* A body that broke off, or ended before its time. */
static bool broken(RegistryBlob *b, const Err *once, Err *e)
{
    answer_close(&b->answer);
    b->open = false;
    return go_on(b, NULL, once, true, e);
}

static bool read_blob(RegistryBlob *b, void *buf, size_t cap, size_t *ret_n, Err *e)
{
    while (!b->over && b->at < b->size) {
        Err once = ERR_INIT;
        size_t n = 0;
        if (!connect_blob(b, e))
            return false;
        bool ok = read_some(b, buf, cap, &n, &once);
        if (ok && n > b->size - b->at)
            return too_long(b, &b->places[b->iplace], b->at + n, e);
        if (n && ok) {
            b->at += n;
            if (b->at - b->mark >= PROGRESS)
                b->failures = 0;
            *ret_n = n;
            tell_progress(b);
            return blob_write(&b->writer, buf, n, e);
        }
        if (ok)
            err_set(&once, ERR_NETWORK, "layer %s of '%s': ends after %llu of %llu bytes", b->text,
                    b->places[b->iplace].repo, (unsigned long long)b->at,
                    (unsigned long long)b->size);
        if (!broken(b, &once, e))
            return false;
    }
    *ret_n = 0;
    return b->over || finish(b, e);
}

bool registry_blob_read(void *blob, void *buf, size_t cap, size_t *ret_n, Err *e)
{
    RegistryBlob *b = blob;
    if (read_blob(b, buf, cap, ret_n, &b->failed))
        return true;
    return err_set(e, b->failed.kind, "%s", b->failed.msg);
}

bool registry_blob_verdict(RegistryBlob *b, bool *ret_corrupt, Err *e)
{
    char block[BLOCK];
    bool ok = b->over || b->failed.kind == ERR_NONE;
    for (size_t n = 1; n && ok && !b->over;)
        ok = read_blob(b, block, sizeof block, &n, &b->failed);
    *ret_corrupt = b->corrupt;
    return b->over || err_set(e, b->failed.kind, "%s", b->failed.msg);
}

static bool fetch_once(Registry *r, Store *s, const StoreOrigin *origins, size_t norigin,
                       bool again, bool *ret_corrupt, Err *e)
{
    scoped(registry_blob) RegistryBlob *b = NULL;
    char block[BLOCK];
    *ret_corrupt = false;
    if (!registry_blob_open(r, s, origins, norigin, again, &b, e))
        return false;
    for (size_t n = 1; n;)
        if (!registry_blob_read(b, block, sizeof block, &n, e)) {
            *ret_corrupt = b->corrupt;
            return false;
        }
    return true;
}

bool registry_fetch(Registry *r, Store *s, const StoreOrigin *origins, size_t norigin, Err *e)
{
    bool corrupt;
    Err once = ERR_INIT;
    if (fetch_once(r, s, origins, norigin, false, &corrupt, &once))
        return true;
    if (!corrupt)
        return err_set(e, once.kind, "%s", once.msg);
    return fetch_once(r, s, origins, norigin, true, &corrupt, e);
}
