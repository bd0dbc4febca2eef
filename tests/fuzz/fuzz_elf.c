/*
 * fuzz_elf - a program from an image; a text it names is never longer than the limit.
 */
#include <assert.h>
#include <sys/mman.h>

#include "analyze/elf.h"
#include "base/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    scoped(fd) int fd = memfd_create("elf", MFD_CLOEXEC);

    if (!fs_write_all(fd, bytes, n, &e))
        return 0;
    ElfFacts f = elf_read(&a, fd);
    assert(f.is_elf || (!f.interp && !f.needed.n && !f.runpath && !f.is_go));
    assert(!f.interp || strlen(f.interp) < 4096);
    return 0;
}
