/*
 * fuzz_tar - a layer from outside, packed or not. Header checksums are put right first, for a
 * fuzzer does not guess them; a wrong one is a unit test.
 */
#include <assert.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "layer/layer.h"
#include "layer/tarfmt.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void fix_checksum(char *block)
{
    unsigned sum = 8 * ' ';
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i < 148 || i >= 156 ? (unsigned char)block[i] : 0;
    (void)snprintf(block + 148, 8, "%06o", sum);
    block[155] = ' ';
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    scoped(fd) int fd = memfd_create("tar", MFD_CLOEXEC);
    char *copy = arena_alloc(&a, n + 1), block[700];

    if (n)
        memcpy(copy, bytes, n);
    for (size_t i = 0; i + TAR_BLOCK <= n; i += TAR_BLOCK)
        if (!memcmp(copy + i + 257, "ustar", 5))
            fix_checksum(copy + i);
    if (!fs_write_all(fd, copy, n, &e) || lseek(fd, 0, SEEK_SET) != 0)
        return 0;
    scoped(layer_in) LayerIn *in = layer_in_new(fd, LAYER_SNIFF);
    TarReader t;
    tar_reader_init(&t, in);
    TarEntry x;
    bool got = true;
    while (got && tar_next(&t, &x, &got, &e) && got) {
        uint64_t left = x.size;
        assert(x.name[0] != '/' && !str_starts(x.name, "../") && !str_ends(x.name, "/"));
        for (size_t k = 1; k && tar_read(&t, block, sizeof block, &k, &e);)
            left -= k;
        assert(e.kind || !left);
    }
    tar_reader_done(&t);
    return 0;
}
