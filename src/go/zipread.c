/*
 * go/zipread.c - one entry of a zip to its bytes, counted and checked.
 *
 * By zlib, although libdeflate needs two thirds of the time: what we take and keep must be what the
 * go command takes as well. On 3 million damaged streams zlib and Go's compress/flate were of one
 * mind; libdeflate took 6,293 that both refuse (codes with one symbol, used as if they had two).
 */
#include "go/zipread.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/cancel.h"
#include "go/unicode.h"

enum {
    LOCAL_SIZE = 30,
    LOCAL_MAGIC = 0x04034b50,
    DESCRIPTOR_MAGIC = 0x08074b50,
    BLOCK = 256 << 10, /* holds a local header with the longest names */
};

struct ZipReader {
    int fd;
    uint64_t size; /* of the file */
    uint64_t at;   /* what `in` holds: n bytes from here on */
    size_t n;
    uint64_t next; /* where the last entry ended */
    bool ahead;    /* entries come in the order they lie: read more than is wanted */
    z_stream z;
    uint8_t in[BLOCK], out[BLOCK];
};

/* One entry on its way out. */
typedef struct Out {
    const ZipEntry *x;
    bool (*sink)(void *arg, const void *bytes, size_t n, Err *e);
    void *arg;
    uint64_t n;
    uint32_t crc;
    Hasher hash;
} Out;

ZipReader *zip_reader_new(int fd)
{
    ZipReader *r = calloc(1, sizeof *r);
    struct stat st;
    if (!r || inflateInit2(&r->z, -15) != Z_OK)
        die_nomem();
    r->fd = fd;
    r->size = fstat(fd, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
    return r;
}

void zip_reader_free(ZipReader *r)
{
    if (!r)
        return;
    inflateEnd(&r->z);
    free(r);
}

static bool bad(const ZipEntry *x, const char *what, Err *e)
{
    char shown[GO_SHOWN_SIZE];
    return err_set(e, ERR_NETWORK, "zip: '%s': %s", go_shown_into(shown, x->name), what);
}

/*
 * `n` bytes at `offset`, of at most BLOCK. Entries that lie together are read together; whoever
 * shuffles them does not make us read blocks for each.
 */
static bool window(ZipReader *r, uint64_t offset, size_t n, const uint8_t **ret, Err *e)
{
    if (offset < r->at || offset - r->at > r->n || r->n - (offset - r->at) < n) {
        uint64_t left = r->size > offset ? r->size - offset : 0;
        size_t want = left < BLOCK ? (size_t)left : BLOCK;
        r->n = 0;
        if (!r->ahead || want < n) /* fewer are left: it fails, and says so */
            want = n;
        if (!zip_pread(r->fd, r->in, want, offset, e))
            return false;
        r->at = offset;
        r->n = want;
    }
    *ret = r->in + (offset - r->at);
    return true;
}

/* The header in front of the data must be one, and be the directory's. */
static bool find_data(ZipReader *r, const ZipEntry *x, uint64_t *ret_at, Err *e)
{
    const uint8_t *p;
    if (!window(r, x->offset, LOCAL_SIZE + x->name.len, &p, e))
        return false;
    size_t nname = zip_u16(p + 26), nextra = zip_u16(p + 28);
    if (zip_u32(p) != LOCAL_MAGIC)
        return bad(x, "no entry where its directory says", e);
    if (nname != x->name.len || memcmp(p + LOCAL_SIZE, x->name.ptr, nname) != 0 ||
        zip_u16(p + 8) != x->method)
        return bad(x, "differs from its directory", e);
    uint64_t at = x->offset + LOCAL_SIZE + nname + nextra;
    if (at > x->limit || x->limit - at < x->packed)
        return bad(x, "overlaps what follows it", e);
    *ret_at = at;
    return true;
}

static bool put(Out *o, const void *bytes, size_t n, Err *e)
{
    if (n > o->x->size - o->n)
        return bad(o->x, "more bytes than its size says", e);
    if (cancel_wanted())
        return err_set(e, ERR_STEP, "cancelled");
    o->n += n;
    o->crc = libdeflate_crc32(o->crc, bytes, n);
    hash_add(&o->hash, bytes, n);
    return !n || o->sink(o->arg, bytes, n, e);
}

static bool stored(ZipReader *r, uint64_t at, Out *o, Err *e)
{
    if (o->x->packed != o->x->size)
        return bad(o->x, "two sizes, and not packed", e);
    for (uint64_t left = o->x->packed; left;) {
        const uint8_t *p;
        size_t n = left < BLOCK ? (size_t)left : BLOCK;
        if (!window(r, at, n, &p, e) || !put(o, p, n, e))
            return false;
        at += n;
        left -= n;
    }
    return true;
}

static bool inflate_some(ZipReader *r, Out *o, bool *ret_end, Err *e)
{
    r->z.next_out = r->out;
    r->z.avail_out = BLOCK;
    int rc = inflate(&r->z, Z_NO_FLUSH);
    if (rc == Z_MEM_ERROR)
        die_nomem();
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return bad(o->x, "damaged data", e);
    *ret_end = rc == Z_STREAM_END;
    return put(o, r->out, BLOCK - r->z.avail_out, e);
}

static bool deflated(ZipReader *r, uint64_t at, Out *o, Err *e)
{
    bool end = false;
    inflateReset(&r->z);
    for (uint64_t left = o->x->packed; left && !end;) {
        const uint8_t *p;
        size_t n = left < BLOCK ? (size_t)left : BLOCK;
        if (!window(r, at, n, &p, e))
            return false;
        r->z.next_in = (uint8_t *)(uintptr_t)p;
        r->z.avail_in = (uInt)n;
        do
            if (!inflate_some(r, o, &end, e))
                return false;
        while (!end && (r->z.avail_in || !r->z.avail_out));
        left -= n;
        at += n;
        if (end && (left || r->z.avail_in))
            return bad(o->x, "bytes behind its data", e);
    }
    return end || bad(o->x, "its data ends in the middle", e);
}

/* The CRC once more, maybe behind a magic number; its sizes come in two widths and say nothing. */
static bool descriptor(ZipReader *r, uint64_t at, const ZipEntry *x, Err *e)
{
    const uint8_t *p;
    size_t n = x->limit - at < 8 ? (size_t)(x->limit - at) : 8;
    if (n < 4)
        return bad(x, "overlaps what follows it", e);
    if (!window(r, at, n, &p, e))
        return false;
    bool magic = zip_u32(p) == DESCRIPTOR_MAGIC && n == 8;
    return zip_u32(magic ? p + 4 : p) == x->crc || bad(x, "its CRC is said twice and differs", e);
}

static bool is_dir(const ZipEntry *x)
{
    return x->name.len && x->name.ptr[x->name.len - 1] == '/';
}

static bool unpack(ZipReader *r, uint64_t at, Out *o, Err *e)
{
    if (is_dir(o->x)) /* some tools pack the nothing that is in it */
        return true;
    return o->x->method == ZIP_STORED ? stored(r, at, o, e) : deflated(r, at, o, e);
}

static bool check_crc(ZipReader *r, uint64_t end, const Out *o, Err *e)
{
    const ZipEntry *x = o->x;
    if (is_dir(x))
        return true;
    if (x->descriptor && !descriptor(r, end, x, e))
        return false;
    /* As for Go's reader: without a descriptor, 0 is one that was not given. */
    bool given = x->crc || x->descriptor;
    return !given || o->crc == x->crc || bad(x, "wrong CRC", e);
}

bool zip_reader_entry(ZipReader *r, const ZipEntry *x,
                      bool (*sink)(void *arg, const void *bytes, size_t n, Err *e), void *arg,
                      Digest *ret_digest, Err *e)
{
    uint64_t at = 0;
    Out o = {.x = x, .sink = sink, .arg = arg};
    hash_init(&o.hash);
    r->ahead = x->offset == r->next;
    r->next = x->limit;
    if (!find_data(r, x, &at, e) || !unpack(r, at, &o, e))
        return false;
    if (o.n != x->size)
        return bad(x, "fewer bytes than its size says", e);
    if (!check_crc(r, at + x->packed, &o, e))
        return false;
    hash_end(&o.hash, ret_digest);
    return true;
}
