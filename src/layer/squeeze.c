/*
 * layer/squeeze.c - parallel block gzip.
 */
#include "layer/squeeze.h"

#include <libdeflate.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/pool.h"

/* These two decide the bytes of every layer: docs/architecture.md names them, and they change with
 * the format only. */
enum { BLOCK_SIZE = 1 << 20, GZIP_LEVEL = 6 };
enum { PLAIN_SIZE = 64 << 10, MAX_THREADS = 16 };

typedef struct Block {
    Job job; /* first, so that a Job is its Block */
    struct libdeflate_compressor *comp;
    uint8_t *in, *out;
    size_t n, cap, nout;
    bool done;
} Block;

struct Squeeze {
    LayerPacking how;
    int outfd;
    Hasher plain, packed;
    uint64_t size, packed_size;
    Pool *pool;
    Block *blocks; /* a ring: head is the oldest not yet written, tail the one being filled */
    size_t nblock, head, tail, nused;
};

static void compress_block(Job *job)
{
    Block *b = (Block *)job;
    b->nout = libdeflate_gzip_compress(b->comp, b->in, b->n, b->out, b->cap);
}

bool squeeze_new(LayerPacking how, int outfd, unsigned nthread, Squeeze **ret, Err *e)
{
    scoped(squeeze) Squeeze *q = calloc(1, sizeof *q);
    if (!q)
        die_nomem();
    q->how = how;
    q->outfd = outfd;
    hash_init(&q->plain);
    hash_init(&q->packed);
    if (how != PACK_NOTHING) {
        if (nthread > MAX_THREADS)
            nthread = MAX_THREADS;
        q->nblock = how == PACK_GZIP ? nthread + 1 : 1;
        q->blocks = calloc(q->nblock, sizeof *q->blocks);
        if (!q->blocks)
            die_nomem();
        if (how == PACK_GZIP && !pool_new(nthread, &q->pool, e))
            return false;
    }
    *ret = q;
    q = NULL;
    return true;
}

/* Buffers are made when a block is first used: a small layer needs one. */
static void prepare(Squeeze *q, Block *b)
{
    if (b->in)
        return;
    b->in = malloc(q->how == PACK_GZIP ? BLOCK_SIZE : PLAIN_SIZE);
    if (!b->in)
        die_nomem();
    if (q->how != PACK_GZIP)
        return;
    b->comp = libdeflate_alloc_compressor(GZIP_LEVEL);
    if (!b->comp)
        die_nomem();
    b->cap = libdeflate_gzip_compress_bound(b->comp, BLOCK_SIZE);
    b->out = malloc(b->cap);
    if (!b->out)
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
    if (q->how == PACK_PLAIN) {
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
    if (q->how == PACK_NOTHING)
        return true;
    size_t full = q->how == PACK_GZIP ? BLOCK_SIZE : PLAIN_SIZE;
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
    if (q->how != PACK_NOTHING && q->blocks[q->tail].n && !flush_block(q, e))
        return false;
    while (q->nused)
        if (!drain_one(q, e))
            return false;
    LayerFacts f = {.size = q->size, .packed_size = q->packed_size};
    hash_end(&q->plain, &f.diff_id);
    if (q->how != PACK_NOTHING)
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
        if (q->blocks[i].comp)
            libdeflate_free_compressor(q->blocks[i].comp);
        free(q->blocks[i].in);
        free(q->blocks[i].out);
    }
    free(q->blocks);
    free(q);
}
