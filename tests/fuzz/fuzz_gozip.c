/*
 * fuzz_gozip - a module's zip. Where the directory lies is put right first, for a fuzzer does not
 * keep three numbers in step; what is hashed is also unpacked, to the same hash and nowhere else.
 */
#include <assert.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "go/go.h"
#include "go/zipdir.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { END_SIZE = 22 };

static size_t nfile;

static int count(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)path;
    (void)f;
    assert(type == FTW_F || type == FTW_D || type == FTW_DP);
    assert(type != FTW_F || (S_ISREG(st->st_mode) && (st->st_mode & 07777) == 0444));
    nfile += type == FTW_F;
    return 0;
}

static uint8_t *find(uint8_t *p, size_t n, const char *magic)
{
    return memmem(p, n, magic, 4);
}

/* The end record at the very end says where the first entry of a directory is. */
static void repair(uint8_t *p, size_t n)
{
    uint8_t *end = n >= END_SIZE ? p + n - END_SIZE : p, *dir = find(p, n, "PK\1\2");
    if (n < END_SIZE || zip_u32(end) != 0x06054b50 || !dir || dir >= end)
        return;
    uint32_t size = (uint32_t)(end - dir), offset = (uint32_t)(dir - p);
    memcpy(end + 12, &size, 4);
    memcpy(end + 16, &offset, 4);
    memset(end + 20, 0, 2);
}

static void unpack(GoZip *z, const char *want)
{
    char dir[] = "/tmp/lighter-fuzz-zip-XXXXXX", h1[GO_H1_SIZE];
    Err e = ERR_INIT, ignored = ERR_INIT;
    if (!mkdtemp(dir))
        abort();
    scoped(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = go_zip_extract(z, &(GoZipTree){.dirfd = fd, .writable_dirs = true}, h1, &e);
    assert(ok ? !strcmp(h1, want) : e.kind == ERR_STORE); /* names too long for a file system */
    nfile = 0;
    nftw(dir, count, 16, FTW_PHYS);
    assert(nfile <= go_zip_count(z));
    (void)fs_remove_tree(AT_FDCWD, dir, &ignored);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const GoModule MODULE = {"a.b/c", "v1.0.0"};
    scoped(arena) Arena a = {0};
    scoped(buf) Buf text = BUF_INIT;
    Err e = ERR_INIT;
    char h1[GO_H1_SIZE];
    bool found;
    uint8_t *copy = arena_alloc(&a, n + 1);
    if (n)
        memcpy(copy, bytes, n);
    repair(copy, n);
    scoped(fd) int fd = memfd_create("zip", MFD_CLOEXEC);
    scoped(go_zip) GoZip *z = NULL;
    if (!fs_write_all(fd, copy, n, &e))
        abort();
    if (!go_zip_open(fd, &MODULE, &z, &e)) {
        assert(e.kind == ERR_NETWORK && str_starts(e.msg, "a.b/c@v1.0.0: zip: "));
        return 0;
    }
    assert(go_zip_size(z) <= GO_ZIP_MAX && go_zip_count(z) <= n / 46);
    bool whole = go_zip_hash(z, h1, &e);
    assert(whole ? go_h1_valid(h1) : e.kind == ERR_NETWORK);
    Err again = ERR_INIT;
    if (go_zip_read(z, "go.mod", 1000, &text, &found, &again))
        assert(found || !text.len);
    if (whole)
        unpack(z, h1);
    return 0;
}
