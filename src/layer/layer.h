/*
 * layer/layer.h - the door of the layer room: directories to tar streams, and back.
 *
 * Packing: an Upper (what one step wrote, in overlay form) becomes a tar stream whose bytes follow
 * from its content and the rule for times alone: names sorted, PAX where ustar is too small,
 * whiteouts as `.wh.`, fixed compression blocks. The stream is hashed, compressed and hashed again
 * in one pass.
 *
 * Unpacking: a stream from outside is hostile. It is read with limits into one directory, and
 * nothing it says can touch another.
 *
 * Used by: snapshot, export, analyze, cache, source, cmd.  Uses: base, tree.
 */
#ifndef LAYER_LAYER_H
#define LAYER_LAYER_H

#include "base/arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "tree/tree.h"

/* ---- times ---- */

typedef enum TimesKind {
    TIMES_KEEP,  /* whole seconds of the file's own time, as docker */
    TIMES_CLAMP, /* later ones become `at`: SOURCE_DATE_EPOCH with rewrite-timestamp */
    TIMES_FIXED, /* all are `at` */
} TimesKind;

typedef struct LayerTimes {
    TimesKind kind;
    int64_t at; /* seconds since the epoch */
} LayerTimes;

/* 2000-01-01T00:00:00Z, the time of --epoch=content. */
enum { TIMES_CONTENT = 946684800 };

/* layer_times_text / _parse - the rule as it is kept beside a layer: "keep", "clamp 1700000000",
 * "fixed 0". */
char *layer_times_text(Arena *a, LayerTimes t);
bool layer_times_parse(const char *text, LayerTimes *ret);

/* ---- packing ---- */

typedef enum LayerPacking { PACK_NOTHING, PACK_PLAIN, PACK_GZIP, PACK_ZSTD } LayerPacking;

/* Levels besides the formats' own, from 1 on: gzip's end at 9, zstd's at 22. */
enum { LAYER_LEVEL_OWN = 0, LAYER_LEVEL_STORE = -1, LAYER_GZIP_MAX = 9, LAYER_ZSTD_MAX = 22 };

/* What a layer is packed as. */
typedef struct LayerForm {
    LayerPacking how;
    int level; /* LAYER_LEVEL_OWN is gzip's 6 and zstd's 3; LAYER_LEVEL_STORE, gzip's only, stores
                */
} LayerForm;

typedef struct LayerFacts {
    Digest diff_id;
    uint64_t size; /* bytes of the tar stream */
    Digest packed; /* equal to diff_id for PACK_PLAIN, unset for PACK_NOTHING */
    uint64_t packed_size;
} LayerFacts;

/*
 * layer_pack - write the layer that the directory `upper` stands for, at the format's own level.
 *
 *   upper    directory fd; -1 is a layer without entries
 *   how      PACK_NOTHING only hashes; `outfd` is then unused
 *   nthread  threads that compress; the bytes do not depend on it
 *
 * Fails with ERR_STORE (I/O) or ERR_STEP (a name no layer can hold). Source: OCI image-spec 1.1,
 * layer.md.
 */
NODISCARD bool layer_pack(int upper, LayerTimes times, LayerPacking how, int outfd,
                          unsigned nthread, LayerFacts *ret, Err *e);
/*
 * layer_pack_parts - the same of a layer that lies in several directories, top first.
 *
 * What upper ones hide is not in it, nor is that they hide it: deletions are of lower parts only.
 */
NODISCARD bool layer_pack_parts(const int *dirfds, size_t n, LayerTimes times, LayerForm form,
                                int outfd, unsigned nthread, LayerFacts *ret, Err *e);

/* A file whose bytes are not there yet: they are what is read of `fd` from its beginning. */
typedef struct LayerLent {
    const char *path; /* relative to the layer; NULL: there is none */
    int fd;
} LayerLent;

/* layer_name - what layer_pack() would call a layer, with PACK_NOTHING. */
NODISCARD bool layer_name(int upper, LayerTimes times, LayerLent lent, LayerFacts *ret, Err *e);

/*
 * layer_pack_root - write all that a stack shows, as a plain tar: a file system, and no layer.
 *
 *   below    NULL, or a directory that everything is put into, as "linux_arm64"
 *   end      write the end of the archive behind it; false: more follows in the same file
 */
NODISCARD bool layer_pack_root(const View *v, const char *below, LayerTimes times, int outfd,
                               bool end, Err *e);

/*
 * layer_repack - a layer's stream in another form; its bytes unpacked stay as they are.
 */
typedef struct LayerIn LayerIn;
NODISCARD bool layer_repack(LayerIn *in, LayerForm form, int outfd, unsigned nthread,
                            LayerFacts *ret, Err *e);

/* ---- reading streams ---- */

/* How the bytes of a stream are packed; LAYER_SNIFF looks at the first ones. */
typedef enum LayerFormat {
    LAYER_PLAIN,
    LAYER_GZIP,
    LAYER_ZSTD,
    LAYER_XZ,
    LAYER_BZIP2,
    LAYER_SNIFF,
} LayerFormat;

/*
 * layer_in_new - read from `fd` (borrowed), unpacking as it goes. Free with layer_in_done.
 *
 * Members, frames and streams that follow each other are one stream; other bytes behind them are
 * an error when they are reached. Memory does not follow the archive's size: a zstd window may have
 * 128 MiB, an xz decoder 192 MiB; archives that want more are refused.
 */
LayerIn *layer_in_new(int fd, LayerFormat format);
/*
 * layer_in_from - the same for bytes that come from elsewhere than a descriptor: a download that is
 * unpacked while it goes on.
 *
 *   read  gives at least one byte, or *ret_n is 0 at the end; its failures are passed on
 */
typedef bool LayerRead(void *arg, void *buf, size_t cap, size_t *ret_n, Err *e);
LayerIn *layer_in_from(LayerRead *read, void *arg, LayerFormat format);
void layer_in_done(LayerIn *in);
static inline void scoped_layer_in_done(LayerIn **in)
{
    layer_in_done(*in);
}
/* layer_in_trouble - whether the last failure was a read error or a limit of ours, so that the
 * bytes themselves may be good. */
bool layer_in_trouble(const LayerIn *in);
/*
 * layer_in_finish - read to the end and give the digests of the unpacked and of the packed bytes.
 */
NODISCARD bool layer_in_finish(LayerIn *in, Digest *ret_plain, Digest *ret_packed,
                               uint64_t *ret_plain_size, Err *e);

/* One entry of a tar stream; strings live until the next step. */
typedef struct TarEntry {
    const char
        *name; /* as in the archive, cleaned: no leading slash, no trailing one; "" is the root */
    const char *raw;  /* as in the archive */
    const char *link; /* cleaned as `name` for hard links, else as in the archive */
    char type; /* '0' file, '1' hard link, '2' symlink, '3' char, '4' block, '5' directory, '6' fifo
                */
    uint32_t mode, uid, gid, major, minor;
    uint64_t size;
    struct timespec mtime;
    TreeXattr *xattrs;
    size_t nxattr;
} TarEntry;

typedef struct TarReader {
    LayerIn *in;
    Arena arena; /* of the current entry */
    uint64_t left, pad;
    uint64_t nentry;
    uint64_t nheader; /* headers that could be read, whatever is thought of what they say */
    bool clip;        /* `..` stops at the archive's root; else a name with it is refused */
    bool end;
} TarReader;

void tar_reader_init(TarReader *t, LayerIn *in);
void tar_reader_done(TarReader *t);
/* tar_next - skip what is left of the current entry and read the next; *ret_got is false at the
 * end. */
NODISCARD bool tar_next(TarReader *t, TarEntry *ret, bool *ret_got, Err *e);
/* tar_read - up to `cap` bytes of the current entry; *ret_n is 0 at its end. */
NODISCARD bool tar_read(TarReader *t, void *buf, size_t cap, size_t *ret_n, Err *e);

/*
 * layer_archive_detect - whether a file is a tar archive, packed or not, as ADD asks.
 *
 *   fd  a regular file at its start or elsewhere; is left at the same place
 *
 * Its bytes decide, never its name: unpacked by their magic number they must begin with a tar
 * header that has a right checksum. An empty file or an archive of nothing is none. What is damaged
 * before the end of the first header is no archive; what is damaged later is one that cannot be
 * unpacked. Fails when the file cannot be read, or would need more memory than layer_in_new()
 * allows, for then nobody knows. Source: BuildKit, solver/llbsolver/file, isArchivePath.
 */
NODISCARD bool layer_archive_detect(int fd, bool *ret_archive, Err *e);

/*
 * layer_unpack - write a layer's entries into the empty directory `dirfd`, in overlay form.
 *
 *   in_userns    opaque directories get user.overlay.opaque,
 *                and device nodes below dev/ are left out
 *   below        NULL: nothing is known of it; or the layers below: a directory that the archive
 * has entries in and no entry of is made as it is there, else 0755 0:0 ret_implied  whether that
 * happened, so that the result is good over this stack only, and not at all where the stack was not
 * known
 *
 * Fails with ERR_STORE: hostile names, limits, I/O. Nothing outside `dirfd` is touched.
 */
NODISCARD bool layer_unpack(LayerIn *in, int dirfd, bool in_userns, const View *below,
                            bool *ret_implied, Err *e);

/* ---- writing small archives ---- */

/* tar_put_file / _end - a plain tar of regular files with fixed facts, for OCI archives. */
NODISCARD bool tar_put_header(int outfd, const char *name, uint64_t size, Err *e);
NODISCARD bool tar_put_dir(int outfd, const char *name, Err *e);
NODISCARD bool tar_put_padding(int outfd, uint64_t size, Err *e);
NODISCARD bool tar_put_end(int outfd, Err *e);

#endif
