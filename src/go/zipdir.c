/*
 * go/zipdir.c - the end of a zip to the list of its entries.
 */
#include "go/zipdir.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "go/unicode.h"

/* Sizes of the fixed parts of records, and the longest comment behind the last. */
enum {
    END_SIZE = 22,
    LOCATOR_SIZE = 20,
    END64_SIZE = 56,
    CENTRAL_SIZE = 46,
    LOCAL_SIZE = 30,
    DESCRIPTOR_MIN = 12,
    COMMENT_MAX = 0xffff,
    EXTRA_ZIP64 = 1,
};

enum {
    END_MAGIC = 0x06054b50,
    LOCATOR_MAGIC = 0x07064b50,
    END64_MAGIC = 0x06064b50,
    CENTRAL_MAGIC = 0x02014b50
};

enum {
    FLAG_ENCRYPTED = 1 << 0,
    FLAG_DESCRIPTOR = 1 << 3,
    FLAG_STRONG = 1 << 6,
    FLAG_MASKED = 1 << 13
};

/* "Look into the zip64 record." */
static const uint32_t FULL16 = 0xffff, FULL32 = 0xffffffff;

/* Where the directory lies and what it is said to hold. */
typedef struct Span {
    uint64_t offset, size, count;
} Span;

static bool bad(Err *e, const char *what)
{
    return err_set(e, ERR_NETWORK, "zip: %s", what);
}

bool zip_pread(int fd, void *buf, size_t n, uint64_t offset, Err *e)
{
    for (uint8_t *p = buf; n;) {
        ssize_t got = pread(fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(e, ERR_STORE, "read zip");
        if (got == 0)
            return bad(e, "it ends in the middle");
        p += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

/* ---- the end records ---- */

/* The last end record, whose comment must reach to the end of the file. */
static bool find_end(int fd, uint64_t size, uint64_t *ret_at, uint8_t ret_end[static END_SIZE],
                     Err *e)
{
    size_t n = size < END_SIZE + COMMENT_MAX ? (size_t)size : END_SIZE + COMMENT_MAX;
    scoped(arena) Arena a = {0};
    uint8_t *tail = arena_alloc(&a, n + 1);
    if (!zip_pread(fd, tail, n, size - n, e))
        return false;
    for (size_t i = n < END_SIZE ? 0 : n - END_SIZE + 1; i-- > 0;) {
        if (zip_u32(tail + i) != END_MAGIC)
            continue;
        if (i + END_SIZE + zip_u16(tail + i + 20) != n)
            return bad(e, "bytes behind its end");
        *ret_at = size - n + i;
        memcpy(ret_end, tail + i, END_SIZE);
        return true;
    }
    return bad(e, "no end record: not a zip, or cut");
}

/* A number of the end record: what it says itself, or the larger one of the zip64 record. */
static bool agree(uint64_t small, uint64_t full, uint64_t large)
{
    return small == full || small == large;
}

/* The zip64 record, when its locator stands in front of the end record at *at, which is moved. */
static bool read_end64(int fd, uint64_t *at, Span *s, Err *e)
{
    uint8_t loc[LOCATOR_SIZE], rec[END64_SIZE];
    if (*at < LOCATOR_SIZE)
        return true;
    if (!zip_pread(fd, loc, sizeof loc, *at - sizeof loc, e))
        return false;
    if (zip_u32(loc) != LOCATOR_MAGIC)
        return true;
    uint64_t where = zip_u64(loc + 8), limit = *at - sizeof loc;
    if (zip_u32(loc + 4) != 0 || zip_u32(loc + 16) != 1)
        return bad(e, "a part of a split one");
    if (limit < sizeof rec || where > limit - sizeof rec)
        return bad(e, "damaged zip64 locator");
    if (!zip_pread(fd, rec, sizeof rec, where, e))
        return false;
    Span large = {zip_u64(rec + 48), zip_u64(rec + 40), zip_u64(rec + 32)};
    if (zip_u32(rec) != END64_MAGIC || zip_u64(rec + 4) != limit - where - 12)
        return bad(e, "damaged zip64 record");
    if (zip_u32(rec + 16) || zip_u32(rec + 20) || zip_u64(rec + 24) != large.count)
        return bad(e, "a part of a split one");
    /* Go looks for a zip64 record when the count or the offset says so, not for the size alone. */
    bool asks = s->count == FULL16 || s->offset == FULL32;
    if (!agree(s->count, FULL16, large.count) || !agree(s->offset, FULL32, large.offset) ||
        !agree(s->size, asks ? FULL32 : large.size, large.size))
        return bad(e, "its two end records differ");
    *s = large;
    *at = where;
    return true;
}

static bool find_directory(int fd, uint64_t size, Span *ret, Err *e)
{
    uint8_t end[END_SIZE] = {0};
    uint64_t at = 0;
    if (!find_end(fd, size, &at, end, e))
        return false;
    Span s = {zip_u32(end + 16), zip_u32(end + 12), zip_u16(end + 10)};
    bool split = zip_u16(end + 8) != s.count || (zip_u16(end + 4) && zip_u16(end + 4) != FULL16) ||
                 (zip_u16(end + 6) && zip_u16(end + 6) != FULL16);
    if (split)
        return bad(e, "a part of a split one");
    if (!read_end64(fd, &at, &s, e))
        return false;
    /* The directory ends where the end records begin; so nothing lies in front of the zip. */
    if (s.offset > at || s.size != at - s.offset)
        return bad(e, "its directory is not where it says");
    if (s.size > ZIP_DIR_MAX || s.count > ZIP_ENTRIES_MAX)
        return err_set(e, ERR_NETWORK,
                       "zip: its directory is over the limit of %d MiB or %d entries",
                       ZIP_DIR_MAX >> 20, ZIP_ENTRIES_MAX);
    if (s.count > s.size / CENTRAL_SIZE)
        return bad(e, "more entries than its directory has room for");
    *ret = s;
    return true;
}

/* ---- entries ---- */

/* Sizes and offset that need 64 bits stand in the extra field, in this order, as far as needed. */
static bool read_extra(Str extra, ZipEntry *x)
{
    uint64_t *want[3] = {&x->size, &x->packed, &x->offset};
    bool need[3];
    const uint8_t *p = (const uint8_t *)extra.ptr, *end = p + extra.len;
    for (size_t i = 0; i < NELEM(want); i++)
        need[i] = *want[i] == FULL32;
    while (end - p >= 4 && end - p - 4 >= zip_u16(p + 2)) {
        const uint8_t *field = p + 4, *stop = field + zip_u16(p + 2);
        for (size_t i = 0; zip_u16(p) == EXTRA_ZIP64 && i < NELEM(want); i++) {
            if (!need[i])
                continue;
            if (stop - field < 8)
                return false;
            *want[i] = zip_u64(field);
            need[i] = false;
            field += 8;
        }
        p = stop;
    }
    /* A size of 4 GiB less one byte needs no zip64; it is over our limit anyway. */
    return !need[1] && !need[2];
}

/* By the mode that Unix and macOS write: neither link nor device nor anything else. */
static bool is_regular(const uint8_t *p, Str name)
{
    unsigned system = p[5], mode = zip_u32(p + 38) >> 16 & S_IFMT;
    bool dir = name.len && name.ptr[name.len - 1] == '/';
    if (system != 3 && system != 19)
        return true;
    return !mode || mode == S_IFREG || (dir && mode == S_IFDIR);
}

static bool shown_bad(Err *e, Str name, const char *what)
{
    char shown[GO_SHOWN_SIZE];
    return err_set(e, ERR_NETWORK, "zip: '%s': %s", go_shown_into(shown, name), what);
}

static bool read_central(const uint8_t *p, size_t left, ZipEntry *ret, size_t *ret_n, Err *e)
{
    if (left < CENTRAL_SIZE || zip_u32(p) != CENTRAL_MAGIC)
        return bad(e, "damaged directory");
    size_t nname = zip_u16(p + 28), nextra = zip_u16(p + 30), ncomment = zip_u16(p + 32);
    if (left - CENTRAL_SIZE < nname + nextra + ncomment)
        return bad(e, "damaged directory");
    unsigned flags = zip_u16(p + 8);
    ZipEntry x = {
        .name = {(const char *)p + CENTRAL_SIZE, nname},
        .method = zip_u16(p + 10),
        .crc = zip_u32(p + 16),
        .packed = zip_u32(p + 20),
        .size = zip_u32(p + 24),
        .offset = zip_u32(p + 42),
        .descriptor = flags & FLAG_DESCRIPTOR,
    };
    if (flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED))
        return shown_bad(e, x.name, "encrypted");
    bool dir = nname && x.name.ptr[nname - 1] == '/'; /* its data is never looked at */
    if (!dir && x.method != ZIP_STORED && x.method != ZIP_DEFLATED)
        return shown_bad(e, x.name, "packed in another way than deflate");
    if (!is_regular(p, x.name))
        return shown_bad(e, x.name, "a link or another irregular file");
    if (!read_extra((Str){x.name.ptr + nname, nextra}, &x))
        return shown_bad(e, x.name, "damaged zip64 field");
    *ret = x;
    *ret_n = CENTRAL_SIZE + nname + nextra + ncomment;
    return true;
}

static int by_offset(const void *a, const void *b)
{
    const ZipEntry *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int by_name(const void *a, const void *b)
{
    const ZipEntry *x = a, *y = b;
    return str_order(x->name, y->name);
}

/* Each entry has at least its header, name and data to itself. */
static bool apart(ZipDir *d, uint64_t dir_offset, Err *e)
{
    if (d->n)
        qsort(d->v, d->n, sizeof *d->v, by_offset);
    if (d->n ? d->v[0].offset : dir_offset)
        return bad(e, "bytes in front of its first entry");
    for (size_t i = 0; i < d->n; i++) {
        ZipEntry *x = &d->v[i];
        uint64_t least = LOCAL_SIZE + x->name.len + (x->descriptor ? DESCRIPTOR_MIN : 0);
        x->limit = i + 1 < d->n ? x[1].offset : dir_offset;
        if (x->offset > x->limit || x->limit - x->offset < least ||
            x->limit - x->offset - least < x->packed)
            return shown_bad(e, x->name, "overlaps what follows it");
    }
    return true;
}

bool zip_dir_read(Arena *a, int fd, uint64_t size, ZipDir *ret, Err *e)
{
    Span s = {0};
    ZipDir d = {0};
    if (!find_directory(fd, size, &s, e))
        return false;
    uint8_t *bytes = arena_alloc(a, (size_t)s.size + 1);
    if (!zip_pread(fd, bytes, (size_t)s.size, s.offset, e))
        return false;
    d.v = arena_array(a, (size_t)s.count + 1, sizeof *d.v);
    size_t at = 0;
    for (size_t n = 0; d.n < s.count; at += n)
        if (!read_central(bytes + at, (size_t)s.size - at, &d.v[d.n++], &n, e))
            return false;
    if (at != s.size)
        return bad(e, "more entries in its directory than it says");
    if (!apart(&d, s.offset, e))
        return false;
    if (d.n)
        qsort(d.v, d.n, sizeof *d.v, by_name);
    *ret = d;
    return true;
}
