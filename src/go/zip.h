/*
 * go/zip.h - zips of modules: checked, hashed, unpacked as the go command leaves them.
 *
 * Part of the door. A zip comes from anybody. What is read of one is held against the rules of
 * modules and against itself before the first byte is used: names, sizes, places. While it is
 * unpacked, bytes are counted; no field that says how many there are is believed.
 *
 * Stricter than the go command, which reads such zips its own way: entries that overlap, are there
 * twice, are encrypted, have another name in front of their data than in the directory, or are
 * marked as links or devices, and bytes in front of the first entry.
 */
#ifndef GO_ZIP_H
#define GO_ZIP_H

#include <time.h>

#include "go/modfile.h"
#include "go/module.h"

enum {
    GO_ZIP_MAX = 500 << 20,    /* bytes of a zip, and of what is in it */
    GO_LICENSE_MAX = 16 << 20, /* bytes of LICENSE at its root */
};

typedef struct GoZip GoZip;

/*
 * go_zip_open - read the directory of a zip and check that it is one of this module.
 *
 *   fd   borrowed until go_zip_free(); a regular file that nobody changes; read with pread(2)
 *   m    which module, at which version; copied
 *   ret  freed by the caller with go_zip_free()
 *
 * Fails with ERR_NETWORK (the zip is no good: whoever sent it is to blame), ERR_DOCKERFILE (`m` is
 * no module at a canonical version) or ERR_STORE (the file cannot be read).
 * Source: x/mod/zip, "restrictions"; PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5.
 */
NODISCARD bool go_zip_open(int fd, const GoModule *m, GoZip **ret, Err *e);
void go_zip_free(GoZip *z);
static inline void scoped_go_zip_done(GoZip **z)
{
    go_zip_free(*z);
}

/* go_zip_size - what the directory says the files have together, in bytes; at most GO_ZIP_MAX. */
uint64_t go_zip_size(const GoZip *z);
/* go_zip_count - entries, directories included. */
size_t go_zip_count(const GoZip *z);

/*
 * go_zip_hash - unpack everything into nowhere and hash it: the zip is whole, and this is its h1.
 *
 * Fails like go_zip_open(), and with ERR_STEP when cancelled. Source: x/mod/sumdb/dirhash, HashZip.
 */
NODISCARD bool go_zip_hash(GoZip *z, char ret_h1[static GO_H1_SIZE], Err *e);

typedef struct GoZipTree {
    int dirfd;                    /* borrowed; an empty directory that becomes the module's */
    bool writable_dirs;           /* directories 0755, as with -modcacherw; else 0555 */
    const struct timespec *mtime; /* of files and directories; NULL: whatever time it is */
} GoZipTree;

/*
 * go_zip_extract - unpack into a directory, and hash on the way: go_zip_hash() need not run before.
 *
 * Files have mode 0444 whatever the zip and the umask say; directories come from names of files
 * only. Nothing is written outside the directory. After a failure a part is there, and so it is
 * when the caller does not like the h1: it belongs into tmp/ until then.
 * Fails like go_zip_hash(), and with ERR_STORE when something cannot be written or the directory is
 * not empty. Source: x/mod/zip, Unzip; Go, cmd/go/internal/modfetch, unzip.
 */
NODISCARD bool go_zip_extract(GoZip *z, const GoZipTree *tree, char ret_h1[static GO_H1_SIZE],
                              Err *e);

/*
 * go_zip_read - append one file to `out`, checked like all.
 *
 *   name       below the module's root: "go.mod", "LICENSE"
 *   max        more bytes are an error
 *   ret_found  false: there is no such file, and nothing was appended
 */
NODISCARD bool go_zip_read(GoZip *z, const char *name, size_t max, Buf *out, bool *ret_found,
                           Err *e);

#endif
