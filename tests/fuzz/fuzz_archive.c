/*
 * fuzz_archive - a file that may be an archive, packed in any way. The bytes are looked at and read
 * as they come; taken as a tar they are also packed in every way we can pack, and must then read
 * the same. Header checksums are put right first.
 */
#include <assert.h>
#include <bzlib.h>
#include <lzma.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#include "base/digest.h"
#include "base/fs.h"
#include "layer/layer.h"
#include "layer/tarfmt.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { MAX_IN = 64 << 10, MAX_OUT = 2 * MAX_IN };

static void fix_checksum(char *block)
{
    unsigned sum = 8 * ' ';
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i < 148 || i >= 156 ? (unsigned char)block[i] : 0;
    (void)snprintf(block + 148, 8, "%06o", sum);
    block[155] = ' ';
}

static void hash_text(Hasher *h, const char *s)
{
    hash_add(h, s ? s : "", s ? strlen(s) + 1 : 1);
}

/* What a reader sees of an archive, up to its end or its first fault. */
static Digest contents(int fd, bool *ret_ok)
{
    char block[700];
    Hasher h;
    Digest d;
    TarReader t;
    TarEntry x;
    Err e = ERR_INIT;
    bool got = true, ok = true;
    scoped(layer_in) LayerIn *in = layer_in_new(fd, LAYER_SNIFF);
    tar_reader_init(&t, in);
    t.clip = true;
    hash_init(&h);
    while (ok && got) {
        ok = tar_next(&t, &x, &got, &e);
        if (!ok || !got)
            break;
        assert(x.name[0] != '/' && strcmp(x.name, "..") != 0 && !str_starts(x.name, "../"));
        hash_text(&h, x.name);
        hash_text(&h, x.link);
        hash_add(&h, &x.size, sizeof x.size);
        for (size_t k = 1; k && (ok = tar_read(&t, block, sizeof block, &k, &e));)
            hash_add(&h, block, k);
    }
    assert(ok == !e.kind);
    tar_reader_done(&t);
    hash_end(&h, &d);
    *ret_ok = ok;
    return d;
}

static int file_of(const void *bytes, size_t n)
{
    Err e = ERR_INIT;
    int fd = memfd_create("archive", MFD_CLOEXEC);
    if (!fs_write_all(fd, bytes, n, &e) || lseek(fd, 0, SEEK_SET) != 0)
        abort();
    return fd;
}

static size_t pack_gzip(const uint8_t *in, size_t n, uint8_t *out)
{
    z_stream z = {.next_in = (void *)(uintptr_t)in, .next_out = out, .avail_out = MAX_OUT};
    z.avail_in = (uInt)n;
    if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, 0) != Z_OK)
        abort();
    int rc = deflate(&z, Z_FINISH);
    assert(rc == Z_STREAM_END);
    deflateEnd(&z);
    return MAX_OUT - z.avail_out;
}

static size_t pack_xz(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t at = 0;
    if (lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, in, n, out, &at, MAX_OUT) != LZMA_OK)
        abort();
    return at;
}

static size_t pack_bzip2(const uint8_t *in, size_t n, uint8_t *out)
{
    unsigned len = MAX_OUT;
    if (BZ2_bzBuffToBuffCompress((char *)out, &len, (char *)(uintptr_t)in, (unsigned)n, 1, 0, 0) !=
        BZ_OK)
        abort();
    return len;
}

static size_t pack_zstd(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t len = ZSTD_compress(out, MAX_OUT, in, n, 1);
    assert(!ZSTD_isError(len));
    return len;
}

/* One input in two members, so that their seam lies anywhere. */
static void reads_the_same(const uint8_t *tar, size_t n, Digest want, bool want_ok)
{
    static size_t (*const PACK[])(const uint8_t *, size_t, uint8_t *) = {pack_gzip, pack_xz,
                                                                         pack_bzip2, pack_zstd};
    static uint8_t out[2 * MAX_OUT];
    size_t cut = n ? tar[n / 2] * n / 256 : 0;
    for (size_t i = 0; i < NELEM(PACK); i++) {
        bool ok;
        size_t len = PACK[i](tar, cut, out);
        len += PACK[i](tar + cut, n - cut, out + len);
        scoped(fd) int fd = file_of(out, len);
        Digest d = contents(fd, &ok);
        assert(ok == want_ok && digest_eq(&d, &want));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    bool archive = false, ok;
    if (n > MAX_IN)
        return 0;
    char *copy = arena_alloc(&a, n + 1);
    if (n)
        memcpy(copy, bytes, n);
    for (size_t i = 0; i + TAR_BLOCK <= n; i += TAR_BLOCK)
        if (!memcmp(copy + i + 257, "ustar", 5))
            fix_checksum(copy + i);
    scoped(fd) int fd = file_of(copy, n);
    if (!layer_archive_detect(fd, &archive, &e)) {
        assert(e.kind);
        return 0;
    }
    assert(lseek(fd, 0, SEEK_CUR) == 0);
    Digest d = contents(fd, &ok);
    assert(n || !archive);
    /* what has a magic number of its own would be unpacked twice */
    if (archive && n >= TAR_BLOCK && !memcmp(copy + 257, "ustar", 5))
        reads_the_same((const uint8_t *)copy, n, d, ok);
    return 0;
}
