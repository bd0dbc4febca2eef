/*
 * context/index.c - the file format of context indexes.
 */
#include "context/index.h"

#include <libdeflate.h>
#include <sys/mman.h>

#include "base/fs.h"

typedef struct Header {
    char magic[16];
    uint32_t crc; /* of everything behind this field */
    uint32_t nroot, nblock, nentry, text_len;
    uint32_t unused[3]; /* so that what follows is aligned */
} Header;

static const char MAGIC[16] = "lighter index 1";
enum { CRC_FROM = offsetof(Header, nroot) };
/* Kernels stamp files with a clock that advances by up to 10 ms; some file systems keep seconds,
 * and FAT every other one. */
enum { SLACK_NS = 20000000, SLACK_SECONDS = 2 };

static bool in_text(const Index *x, uint32_t at)
{
    return at < x->text_len; /* and the text ends with a NUL */
}

static bool entry_fits(const Index *x, uint32_t block, const IndexEntry *t)
{
    bool dir = S_ISDIR(t->st.mode), link = S_ISLNK(t->st.mode);
    return in_text(x, t->name) && t->name_len < x->text_len - t->name &&
           /* A block stands behind the one that it is below, so none is below itself. */
           (!dir || (t->more > block && t->more < x->nblock)) && (!link || in_text(x, t->more));
}

/* Everything that points somewhere must point inside. */
static bool fits(const Index *x)
{
    for (uint32_t i = 0; i < x->nroot; i++)
        if (!in_text(x, x->roots[i].name) || x->roots[i].block >= x->nblock)
            return false;
    for (uint32_t i = 0; i < x->nblock; i++) {
        const IndexBlock *b = &x->blocks[i];
        if (b->first > x->nentry || b->n > x->nentry - b->first)
            return false;
        for (uint32_t k = 0; k < b->n; k++)
            if (!entry_fits(x, i, &x->entries[b->first + k]))
                return false;
    }
    return x->text_len > 0 && !x->text[x->text_len - 1];
}

static bool take(Index *x)
{
    const Header *h = x->map;
    const char *p = x->map;
    if (x->size < sizeof *h || memcmp(h->magic, MAGIC, sizeof MAGIC) != 0)
        return false;
    uint64_t want = sizeof *h + (uint64_t)h->nroot * sizeof(IndexRoot) +
                    (uint64_t)h->nblock * sizeof(IndexBlock) +
                    (uint64_t)h->nentry * sizeof(IndexEntry) + h->text_len;
    if (x->size != want || libdeflate_crc32(0, p + CRC_FROM, x->size - CRC_FROM) != h->crc)
        return false;
    x->nroot = h->nroot;
    x->nblock = h->nblock;
    x->nentry = h->nentry;
    x->text_len = h->text_len;
    x->entries = (const void *)(p + sizeof *h);
    x->roots = (const void *)(x->entries + x->nentry);
    x->blocks = (const void *)(x->roots + x->nroot);
    x->text = (const void *)(x->blocks + x->nblock);
    return fits(x);
}

void index_open(int dirfd, const char *path, Index *ret)
{
    struct stat st;
    Index x = {0};
    *ret = x;
    scoped(fd) int fd = openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0)
        return;
    x.size = (size_t)st.st_size;
    x.map = mmap(NULL, x.size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (x.map == MAP_FAILED)
        return;
    if (take(&x))
        *ret = x;
    else
        (void)munmap(x.map, x.size);
}

void index_done(Index *x)
{
    if (x->map)
        (void)munmap(x->map, x->size);
    *x = (Index){0};
}

const IndexRoot *index_root(const Index *x, const char *name)
{
    for (uint32_t i = 0; i < x->nroot; i++)
        if (!strcmp(index_text(x, x->roots[i].name), name))
            return &x->roots[i];
    return NULL;
}

/* ---- writing ---- */

void index_writer_done(IndexWriter *w)
{
    buf_done(&w->roots);
    buf_done(&w->blocks);
    buf_done(&w->entries);
    buf_done(&w->text);
}

uint32_t index_add_text(IndexWriter *w, const char *s, size_t len)
{
    size_t at = w->text.len;
    buf_add(&w->text, s, len);
    buf_putc(&w->text, 0);
    return (uint32_t)at;
}

uint32_t index_add_block(IndexWriter *w, uint32_t n)
{
    size_t first = w->entries.len / sizeof(IndexEntry), size = n * sizeof(IndexEntry);
    IndexBlock b = {(uint32_t)first, n};
    memset(buf_reserve(&w->entries, size), 0, size);
    w->entries.len += size;
    buf_add(&w->blocks, &b, sizeof b);
    return (uint32_t)(w->blocks.len / sizeof b - 1);
}

IndexEntry *index_entry(IndexWriter *w, uint32_t block, uint32_t i)
{
    const IndexBlock *b = (const IndexBlock *)(const void *)w->blocks.ptr + block;
    return (IndexEntry *)(void *)w->entries.ptr + b->first + i;
}

void index_add_root(IndexWriter *w, const IndexRoot *root)
{
    buf_add(&w->roots, root, sizeof *root);
}

uint32_t index_copy_block(IndexWriter *w, const Index *from, uint32_t block)
{
    const IndexBlock *b = &from->blocks[block];
    uint32_t to = index_add_block(w, b->n);
    for (uint32_t i = 0; i < b->n; i++) {
        IndexEntry t = from->entries[b->first + i];
        t.name = index_add_text(w, index_text(from, t.name), t.name_len);
        if (S_ISDIR(t.st.mode))
            t.more = index_copy_block(w, from, t.more);
        else if (S_ISLNK(t.st.mode))
            t.more = index_add_text(w, index_text(from, t.more), strlen(index_text(from, t.more)));
        *index_entry(w, to, i) = t;
    }
    return to;
}

bool index_write(const IndexWriter *w, int dirfd, const char *path, Err *e)
{
    const Buf *parts[] = {&w->entries, &w->roots, &w->blocks, &w->text};
    Header h = {.nroot = (uint32_t)(w->roots.len / sizeof(IndexRoot)),
                .nblock = (uint32_t)(w->blocks.len / sizeof(IndexBlock)),
                .nentry = (uint32_t)(w->entries.len / sizeof(IndexEntry)),
                .text_len = (uint32_t)w->text.len};
    if (w->text.len >= UINT32_MAX) /* names alone are not that long: TREE_MAX_ENTRIES */
        return err_set(e, ERR_STORE, "'%s': the names are too long for an index", path);
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    h.crc = libdeflate_crc32(0, (const char *)&h + CRC_FROM, sizeof h - CRC_FROM);
    for (size_t i = 0; i < NELEM(parts); i++)
        h.crc = libdeflate_crc32(h.crc, buf_str(parts[i]), parts[i]->len);
    scoped(fd) int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, ERR_STORE, "create '%s'", path);
    if (!fs_write_all(fd, &h, sizeof h, e))
        return err_wrap(e, "write '%s'", path);
    for (size_t i = 0; i < NELEM(parts); i++)
        if (!fs_write_all(fd, buf_str(parts[i]), parts[i]->len, e))
            return err_wrap(e, "write '%s'", path);
    return true;
}

/* ---- stat data ---- */

void index_stat(const struct stat *st, IndexStat *ret)
{
    bool device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
    *ret = (IndexStat){.ino = st->st_ino,
                       .size = device ? st->st_rdev : (uint64_t)st->st_size,
                       .mtime = st->st_mtim.tv_sec,
                       .ctime = st->st_ctim.tv_sec,
                       .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
                       .ctime_ns = (uint32_t)st->st_ctim.tv_nsec,
                       .mode = st->st_mode};
}

bool index_same(const IndexStat *a, const IndexStat *b)
{
    return a->ino == b->ino && a->size == b->size && a->mtime == b->mtime && a->ctime == b->ctime &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns && a->mode == b->mode;
}

static bool is_near(int64_t sec, uint32_t ns, struct timespec now)
{
    if (sec > now.tv_sec + SLACK_SECONDS) /* set by hand, or another clock: then it tells nothing */
        return true;
    if (sec < now.tv_sec - SLACK_SECONDS - 1)
        return false;
    int64_t age = (now.tv_sec - sec) * 1000000000 + (now.tv_nsec - (int64_t)ns);
    return age < (ns ? SLACK_NS : (int64_t)SLACK_SECONDS * 1000000000);
}

bool index_racy(const IndexStat *st, struct timespec now)
{
    /*
     * Any write moves the ctime, and nobody sets it by hand; but where an mtime has no fractions,
     * the file system may have none for the ctime either, and keep it in memory only.
     */
    return is_near(st->ctime, st->ctime_ns, now) ||
           (st->mtime <= now.tv_sec && is_near(st->mtime, st->mtime_ns, now));
}
