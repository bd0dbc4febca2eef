/*
 * layer/in.c - packed bytes from a descriptor to plain bytes, both hashed on the way.
 */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/fs.h"
#include "layer/in.h"

enum {
    IN_SIZE = 64 << 10,
    ZSTD_WINDOW_LOG_MAX = 27
}; /* 128 MiB, what the zstd program takes by default */

struct LayerIn {
    int fd;
    LayerFormat format;
    Hasher packed, plain;
    uint64_t plain_size;
    z_stream z;
    bool z_open, member_end;
    ZSTD_DStream *zs;
    bool frame_end;
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

void layer_in_done(LayerIn *in)
{
    if (!in)
        return;
    if (in->z_open)
        inflateEnd(&in->z);
    ZSTD_freeDStream(in->zs);
    free(in);
}

static bool fill(LayerIn *in, Err *e)
{
    while (in->at == in->n && !in->eof) {
        ssize_t n = read(in->fd, in->buf, sizeof in->buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, ERR_STORE, "read archive");
        in->at = 0;
        in->n = (size_t)n;
        in->eof = n == 0;
        hash_add(&in->packed, in->buf, in->n);
    }
    return true;
}

static bool sniff(LayerIn *in, Err *e)
{
    if (!fill(in, e))
        return false;
    while (in->n < 4 && !in->eof) { /* a pipe may give a byte at a time */
        ssize_t n = read(in->fd, in->buf + in->n, sizeof in->buf - in->n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, ERR_STORE, "read archive");
        hash_add(&in->packed, in->buf + in->n, (size_t)n);
        in->n += (size_t)n;
        in->eof = n == 0;
    }
    in->format = LAYER_PLAIN;
    if (in->n >= 2 && in->buf[0] == 0x1f && in->buf[1] == 0x8b)
        in->format = LAYER_GZIP;
    else if (in->n >= 4 && !memcmp(in->buf, "\x28\xb5\x2f\xfd", 4))
        in->format = LAYER_ZSTD;
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
        if (ZSTD_isError(rc))
            return err_set(e, ERR_STORE, "damaged zstd stream: %s", ZSTD_getErrorName(rc));
        in->frame_end = rc == 0;
        in->at = i.pos;
    }
    *ret_n = o.pos;
    return true;
}

bool layer_in_read(LayerIn *in, void *buf, size_t cap, size_t *ret_n, Err *e)
{
    size_t n = 0;
    if (in->format == LAYER_SNIFF && !sniff(in, e))
        return false;
    bool ok = in->format == LAYER_GZIP   ? read_gzip(in, buf, cap, &n, e)
              : in->format == LAYER_ZSTD ? read_zstd(in, buf, cap, &n, e)
                                         : read_plain(in, buf, cap, &n, e);
    if (!ok)
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
