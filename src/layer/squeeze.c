/*
 * layer/squeeze.c - parallel gzip and zstd, block by block.
 */
#include "layer/squeeze.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/fs.h"
#include "base/pool.h"

/*
 * These decide the bytes of every layer: docs/architecture.md names them, and they change with the
 * format only. zstd looks back farther than gzip's 32 KiB, so its blocks are larger.
 */
enum { GZIP_BLOCK = 1 << 20, GZIP_LEVEL = 6, ZSTD_BLOCK = 4 << 20, ZSTD_LEVEL = 3 };
enum { PLAIN_SIZE = 64 << 10, MAX_THREADS = 16 };

typedef struct Block {
    Job job; /* first, so that a Job is its Block */
    int level;
    struct libdeflate_compressor *gzip;
    ZSTD_CCtx *zstd;
    uint8_t *in, *out;
    size_t n, cap, nout;
    bool done;
} Block;

struct Squeeze {
    LayerForm form;
    int outfd;
    Hasher plain, packed;
    uint64_t size, packed_size;
    Pool *pool;
    Block *blocks; /* a ring: head is the oldest not yet written, tail the one being filled */
    size_t nblock, head, tail, nused;
};

static size_t block_size(LayerPacking how)
{
    static const size_t SIZES[] = {[PACK_NOTHING] = PLAIN_SIZE,
                                   [PACK_PLAIN] = PLAIN_SIZE,
                                   [PACK_GZIP] = GZIP_BLOCK,
                                   [PACK_ZSTD] = ZSTD_BLOCK};
    return SIZES[how];
}

static bool compresses(const Squeeze *q)
{
    return q->form.how == PACK_GZIP || q->form.how == PACK_ZSTD;
}

static void compress_block(Job *job)
{
    Block *b = (Block *)job;
    if (b->gzip) {
        b->nout = libdeflate_gzip_compress(b->gzip, b->in, b->n, b->out, b->cap);
        return;
    }
    size_t n = ZSTD_compressCCtx(b->zstd, b->out, b->cap, b->in, b->n, b->level);
    b->nout = ZSTD_isError(n) ? 0 : n;
}

bool squeeze_new(LayerForm form, int outfd, unsigned nthread, Squeeze **ret, Err *e)
{
    scoped(squeeze) Squeeze *q = calloc(1, sizeof *q);
    if (!q)
        die_nomem();
    q->form = form;
    q->outfd = outfd;
    hash_init(&q->plain);
    hash_init(&q->packed);
    if (form.how != PACK_NOTHING) {
        if (nthread > MAX_THREADS)
            nthread = MAX_THREADS;
        q->nblock = compresses(q) ? nthread + 1 : 1;
        q->blocks = calloc(q->nblock, sizeof *q->blocks);
        if (!q->blocks)
            die_nomem();
        if (compresses(q) && !pool_new(nthread, &q->pool, e))
            return false;
    }
    *ret = q;
    q = NULL;
    return true;
}

static int level_of(LayerForm form)
{
    int own = form.how == PACK_GZIP ? GZIP_LEVEL : ZSTD_LEVEL;
    return form.level == LAYER_LEVEL_OWN ? own : form.level == LAYER_LEVEL_STORE ? 0 : form.level;
}

/* Buffers are made when a block is first used: a small layer needs one. */
static void prepare(Squeeze *q, Block *b)
{
    size_t size = block_size(q->form.how);
    if (b->in)
        return;
    b->in = malloc(size);
    if (!b->in)
        die_nomem();
    if (!compresses(q))
        return;
    b->level = level_of(q->form);
    if (q->form.how == PACK_GZIP)
        b->gzip = libdeflate_alloc_compressor(b->level);
    else
        b->zstd = ZSTD_createCCtx();
    b->cap = b->gzip ? libdeflate_gzip_compress_bound(b->gzip, size) : ZSTD_compressBound(size);
    b->out = malloc(b->cap);
    if ((!b->gzip && !b->zstd) || !b->out)
        die_nomem();
}

static bool put(Squeeze *q, const void *p, size_t n, Err *e)
{
    hash_add(&q->packed, p, n);
    q->packed_size += n;
    return fs_write_all(q->outfd, p, n, e);
}

/* Wait for the oldest block and write it. */
static bool drain_one(Squeeze *q, Err *e)
{
    Block *b = &q->blocks[q->head];
    while (!b->done) {
        Block *any = (Block *)pool_next(q->pool);
        any->done = true;
    }
    b->done = false;
    q->head = (q->head + 1) % q->nblock;
    q->nused--;
    size_t n = b->n;
    b->n = 0;
    if (!b->nout)
        return err_set(e, ERR_STORE, "compressing a block of %zu bytes failed", n);
    return put(q, b->out, b->nout, e);
}

static bool flush_block(Squeeze *q, Err *e)
{
    Block *b = &q->blocks[q->tail];
    if (q->form.how == PACK_PLAIN) {
        size_t n = b->n;
        b->n = 0;
        return put(q, b->in, n, e);
    }
    b->job = (Job){.run = compress_block};
    q->tail = (q->tail + 1) % q->nblock;
    q->nused++;
    pool_add(q->pool, &b->job);
    return q->nused < q->nblock || drain_one(q, e);
}

bool squeeze_add(Squeeze *q, const void *bytes, size_t n, Err *e)
{
    const uint8_t *p = bytes;
    hash_add(&q->plain, bytes, n);
    q->size += n;
    if (q->form.how == PACK_NOTHING)
        return true;
    size_t full = block_size(q->form.how);
    while (n) {
        Block *b = &q->blocks[q->tail];
        prepare(q, b);
        size_t take = full - b->n < n ? full - b->n : n;
        memcpy(b->in + b->n, p, take);
        b->n += take;
        p += take;
        n -= take;
        if (b->n == full && !flush_block(q, e))
            return false;
    }
    return true;
}

bool squeeze_end(Squeeze *q, LayerFacts *ret, Err *e)
{
    if (q->form.how != PACK_NOTHING && q->blocks[q->tail].n && !flush_block(q, e))
        return false;
    while (q->nused)
        if (!drain_one(q, e))
            return false;
    LayerFacts f = {.size = q->size, .packed_size = q->packed_size};
    hash_end(&q->plain, &f.diff_id);
    if (q->form.how != PACK_NOTHING)
        hash_end(&q->packed, &f.packed);
    *ret = f;
    return true;
}

void squeeze_done(Squeeze *q)
{
    if (!q)
        return;
    pool_done(q->pool);
    for (size_t i = 0; i < q->nblock; i++) {
        if (q->blocks[i].gzip)
            libdeflate_free_compressor(q->blocks[i].gzip);
        ZSTD_freeCCtx(q->blocks[i].zstd);
        free(q->blocks[i].in);
        free(q->blocks[i].out);
    }
    free(q->blocks);
    free(q);
}
