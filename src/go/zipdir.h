/*
 * go/zipdir.h - the directory of a zip, as far as it can be believed without reading the entries.
 */
#ifndef GO_ZIPDIR_H
#define GO_ZIPDIR_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

typedef enum ZipMethod { ZIP_STORED = 0, ZIP_DEFLATED = 8 } ZipMethod;

enum {
    /* Some times what the largest modules have, and a bound for the memory that a zip can claim. */
    ZIP_DIR_MAX = 32 << 20,    /* bytes of a directory */
    ZIP_ENTRIES_MAX = 1 << 18, /* entries, and again directories that they imply */
};

/* One entry. Offsets are in the file. */
typedef struct ZipEntry {
    Str name;
    uint64_t packed, size; /* bytes in the zip and unpacked, as the directory says */
    uint64_t offset;       /* where its local header begins */
    uint64_t limit;        /* where the next entry or the directory begins */
    uint32_t crc;          /* 0 without a descriptor: not given */
    uint16_t method;
    bool descriptor; /* behind its data the CRC is said once more */
} ZipEntry;

typedef struct ZipDir {
    ZipEntry *v; /* by name, bytewise */
    size_t n;
} ZipDir;

/*
 * zip_dir_read - find and read the directory of a zip of `size` bytes.
 *
 * Entries lie one behind the other between the file's begin and the directory; each is stored or
 * deflated, not encrypted, a file or a directory by its mode. Names may still be anything.
 * Fails with ERR_NETWORK or ERR_STORE. Source: PKWARE APPNOTE 6.3.10, sections 4.3.12 to 4.3.16,
 * 4.4, 4.5.3.
 */
NODISCARD bool zip_dir_read(Arena *a, int fd, uint64_t size, ZipDir *ret, Err *e);

/* zip_pread - exactly `n` bytes at `offset`; fewer is ERR_NETWORK. */
NODISCARD bool zip_pread(int fd, void *buf, size_t n, uint64_t offset, Err *e);

/* Numbers in a zip are little-endian and lie anywhere. */
static inline uint16_t zip_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t zip_u32(const uint8_t *p)
{
    return zip_u16(p) | (uint32_t)zip_u16(p + 2) << 16;
}
static inline uint64_t zip_u64(const uint8_t *p)
{
    return zip_u32(p) | (uint64_t)zip_u32(p + 4) << 32;
}

#endif
