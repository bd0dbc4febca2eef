/*
 * layer/in.c - packed bytes from a descriptor to plain bytes, both hashed on the way.
 */
#include <bzlib.h>
#include <errno.h>
#include <lzma.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/fs.h"
#include "layer/in.h"

enum {
    IN_SIZE = 64 << 10,
    MAGIC_SIZE = 8,
    ZSTD_WINDOW_LOG_MAX = 27,  /* 128 MiB, what the zstd program takes by default */
    XZ_MEMORY_MAX = 192 << 20, /* a dictionary of 128 MiB; xz -9 has 64 MiB */
};

struct LayerIn {
    int fd; /* unless there is `read` */
    LayerRead *read;
    void *arg;
    LayerFormat format;
    Hasher packed, plain;
    uint64_t plain_size;
    z_stream z;
    bool z_open, member_end;
    ZSTD_DStream *zs;
    bool frame_end;
    lzma_stream xz;
    bool xz_open, xz_end;
    bz_stream bz;
    bool bz_open;
    bool trouble;
    bool eof; /* of the descriptor */
    size_t at, n;
    uint8_t buf[IN_SIZE];
};

LayerIn *layer_in_new(int fd, LayerFormat format)
{
    LayerIn *in = calloc(1, sizeof *in);
    if (!in)
        die_nomem();
    in->fd = fd;
    in->format = format;
    hash_init(&in->packed);
    hash_init(&in->plain);
    return in;
}

LayerIn *layer_in_from(LayerRead *read, void *arg, LayerFormat format)
{
    LayerIn *in = layer_in_new(-1, format);
    in->read = read;
    in->arg = arg;
    return in;
}

void layer_in_done(LayerIn *in)
{
    if (!in)
        return;
    if (in->z_open)
        inflateEnd(&in->z);
    if (in->bz_open)
        BZ2_bzDecompressEnd(&in->bz);
    lzma_end(&in->xz);
    ZSTD_freeDStream(in->zs);
    free(in);
}

bool layer_in_trouble(const LayerIn *in)
{
    return in->trouble;
}

/* Packed bytes from wherever they come; none at the end. */
static bool take(LayerIn *in, void *buf, size_t cap, size_t *ret_n, Err *e)
{
    ssize_t n = -1;
    if (in->read) {
        in->trouble = !in->read(in->arg, buf, cap, ret_n, e);
        return !in->trouble;
    }
    do
        n = read(in->fd, buf, cap);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        in->trouble = true;
        return err_errno(e, ERR_STORE, "read archive");
    }
    *ret_n = (size_t)n;
    return true;
}

static bool fill(LayerIn *in, Err *e)
{
    while (in->at == in->n && !in->eof) {
        size_t n;
        if (!take(in, in->buf, sizeof in->buf, &n, e))
            return false;
        in->at = 0;
        in->n = n;
        in->eof = n == 0;
        hash_add(&in->packed, in->buf, in->n);
    }
    return true;
}

/* Source: RFC 1952, RFC 8878 (frames and skippable frames), the .xz file format 1.1, bzip2(1). */
static LayerFormat by_magic(const uint8_t *p, size_t n)
{
    if (n >= 3 && !memcmp(p, "\x1f\x8b\x08", 3))
        return LAYER_GZIP;
    if (n >= 4 && !memcmp(p, "\x28\xb5\x2f\xfd", 4))
        return LAYER_ZSTD;
    if (n >= 8 && (p[0] & 0xf0) == 0x50 && !memcmp(p + 1, "\x2a\x4d\x18", 3))
        return LAYER_ZSTD;
    if (n >= 6 && !memcmp(p,
                          "\xfd"
                          "7zXZ\0",
                          6))
        return LAYER_XZ;
    if (n >= 3 && !memcmp(p, "BZh", 3))
        return LAYER_BZIP2;
    return LAYER_PLAIN;
}

static bool sniff(LayerIn *in, Err *e)
{
    if (!fill(in, e))
        return false;
    while (in->n < MAGIC_SIZE && !in->eof) { /* a pipe may give a byte at a time */
        size_t n;
        if (!take(in, in->buf + in->n, sizeof in->buf - in->n, &n, e))
            return false;
        hash_add(&in->packed, in->buf + in->n, n);
        in->n += n;
        in->eof = n == 0;
    }
    in->format = by_magic(in->buf, in->n);
    return true;
}

static bool read_plain(LayerIn *in, uint8_t *out, size_t cap, size_t *ret_n, Err *e)
{
    if (!fill(in, e))
        return false;
    size_t n = in->n - in->at < cap ? in->n - in->at : cap;
    memcpy(out, in->buf + in->at, n);
    in->at += n;
    *ret_n = n;
    return true;
}

static bool read_gzip(LayerIn *in, uint8_t *out, size_t cap, size_t *ret_n, Err *e)
{
    if (!in->z_open) {
        if (inflateInit2(&in->z, 15 + 16) != Z_OK)
            die_nomem();
        in->z_open = true;
    }
    in->z.next_out = out;
    in->z.avail_out = (uInt)cap;
    while (in->z.avail_out == cap) {
        if (!fill(in, e))
            return false;
        if (in->at == in->n) {
            if (!in->member_end)
                return err_set(e, ERR_STORE, "gzip stream ends in the middle");
            break;
        }
        if (in->member_end) { /* another member follows */
            inflateReset(&in->z);
            in->member_end = false;
        }
        in->z.next_in = in->buf + in->at;
        in->z.avail_in = (uInt)(in->n - in->at);
        int rc = inflate(&in->z, Z_NO_FLUSH);
        in->at = in->n - in->z.avail_in;
        if (rc == Z_STREAM_END)
            in->member_end = true;
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return err_set(e, ERR_STORE, "damaged gzip stream: %s",
                           in->z.msg ? in->z.msg : "no detail");
    }
    *ret_n = cap - in->z.avail_out;
    return true;
}

static bool read_zstd(LayerIn *in, uint8_t *out, size_t cap, size_t *ret_n, Err *e)
{
    ZSTD_outBuffer o = {out, cap, 0};
    if (!in->zs) {
        in->zs = ZSTD_createDStream();
        if (!in->zs)
            die_nomem();
        ZSTD_DCtx_setParameter(in->zs, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
        in->frame_end = true;
    }
    while (o.pos == 0) {
        if (!fill(in, e))
            return false;
        if (in->at == in->n) {
            if (!in->frame_end)
                return err_set(e, ERR_STORE, "zstd stream ends in the middle");
            break;
        }
        ZSTD_inBuffer i = {in->buf, in->n, in->at};
        size_t rc = ZSTD_decompressStream(in->zs, &o, &i);
        if (ZSTD_isError(rc) && ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge) {
            in->trouble = true;
            return err_set(e, ERR_ENV,
                           "zstd stream wants a window over 128 MiB: pack it without --long");
        }
        if (ZSTD_isError(rc))
            return err_set(e, ERR_STORE, "damaged zstd stream: %s", ZSTD_getErrorName(rc));
        in->frame_end = rc == 0;
        in->at = i.pos;
    }
    *ret_n = o.pos;
    return true;
}

static bool xz_failed(LayerIn *in, lzma_ret rc, Err *e)
{
    if (rc == LZMA_MEMLIMIT_ERROR) {
        in->trouble = true;
        return err_set(e, ERR_ENV,
                       "xz stream needs %llu MiB of memory, over the limit of %d: pack it with a "
                       "smaller dictionary, as xz -9",
                       (unsigned long long)(lzma_memusage(&in->xz) >> 20), XZ_MEMORY_MAX >> 20);
    }
    if (rc == LZMA_MEM_ERROR)
        die_nomem();
    if (rc == LZMA_BUF_ERROR)
        return err_set(e, ERR_STORE, "xz stream ends in the middle");
    return err_set(e, ERR_STORE, "damaged xz stream (liblzma says %d)", (int)rc);
}

static bool read_xz(LayerIn *in, uint8_t *out, size_t cap, size_t *ret_n, Err *e)
{
    if (!in->xz_open) {
        in->xz = (lzma_stream)LZMA_STREAM_INIT;
        if (lzma_stream_decoder(&in->xz, XZ_MEMORY_MAX, LZMA_CONCATENATED) != LZMA_OK)
            die_nomem();
        in->xz_open = true;
    }
    in->xz.next_out = out;
    in->xz.avail_out = cap;
    while (in->xz.avail_out == cap && !in->xz_end) {
        if (!fill(in, e))
            return false;
        in->xz.next_in = in->buf + in->at;
        in->xz.avail_in = in->n - in->at;
        lzma_ret rc = lzma_code(&in->xz, in->at == in->n ? LZMA_FINISH : LZMA_RUN);
        in->at = in->n - in->xz.avail_in;
        in->xz_end = rc == LZMA_STREAM_END;
        if (rc != LZMA_OK && rc != LZMA_STREAM_END)
            return xz_failed(in, rc, e);
    }
    *ret_n = cap - in->xz.avail_out;
    return true;
}

static bool read_bzip2(LayerIn *in, uint8_t *out, size_t cap, size_t *ret_n, Err *e)
{
    unsigned room = cap < IN_SIZE ? (unsigned)cap : IN_SIZE;
    in->bz.next_out = (char *)out;
    in->bz.avail_out = room;
    while (in->bz.avail_out == room) {
        if (!fill(in, e))
            return false;
        if (in->at == in->n) {
            if (!in->member_end)
                return err_set(e, ERR_STORE, "bzip2 stream ends in the middle");
            break;
        }
        if (!in->bz_open) {
            if (BZ2_bzDecompressInit(&in->bz, 0, 0) != BZ_OK)
                die_nomem();
            in->bz_open = true;
            in->member_end = false;
        }
        in->bz.next_in = (char *)in->buf + in->at;
        in->bz.avail_in = (unsigned)(in->n - in->at);
        int rc = BZ2_bzDecompress(&in->bz);
        in->at = in->n - in->bz.avail_in;
        if (rc == BZ_STREAM_END) {
            in->member_end = true;
            in->bz_open = false;
            BZ2_bzDecompressEnd(&in->bz);
        } else if (rc == BZ_MEM_ERROR) {
            die_nomem();
        } else if (rc != BZ_OK) {
            return err_set(e, ERR_STORE, "damaged bzip2 stream (libbz2 says %d)", rc);
        }
    }
    *ret_n = room - in->bz.avail_out;
    return true;
}

static bool read_some(LayerIn *in, uint8_t *out, size_t cap, size_t *ret_n, Err *e)
{
    switch (in->format) {
    case LAYER_GZIP:
        return read_gzip(in, out, cap, ret_n, e);
    case LAYER_ZSTD:
        return read_zstd(in, out, cap, ret_n, e);
    case LAYER_XZ:
        return read_xz(in, out, cap, ret_n, e);
    case LAYER_BZIP2:
        return read_bzip2(in, out, cap, ret_n, e);
    case LAYER_PLAIN:
    case LAYER_SNIFF:
        break;
    }
    return read_plain(in, out, cap, ret_n, e);
}

bool layer_in_read(LayerIn *in, void *buf, size_t cap, size_t *ret_n, Err *e)
{
    size_t n = 0;
    if (in->format == LAYER_SNIFF && !sniff(in, e))
        return false;
    if (!read_some(in, buf, cap, &n, e))
        return false;
    hash_add(&in->plain, buf, n);
    in->plain_size += n;
    *ret_n = n;
    return true;
}

bool layer_in_finish(LayerIn *in, Digest *ret_plain, Digest *ret_packed, uint64_t *ret_plain_size,
                     Err *e)
{
    uint8_t rest[16 << 10];
    for (size_t n = 1; n;)
        if (!layer_in_read(in, rest, sizeof rest, &n, e))
            return false;
    hash_end(&in->plain, ret_plain);
    hash_end(&in->packed, ret_packed);
    if (ret_plain_size)
        *ret_plain_size = in->plain_size;
    return true;
}
