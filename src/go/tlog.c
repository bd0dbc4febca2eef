/*
 * go/tlog.c - the arithmetic of a log of records, as RFC 6962 has it.
 */
#include "go/tlog.h"

#include "go/base64.h"
#include "go/unicode.h"

void tlog_leaf(Str record, Digest *ret)
{
    Hasher h;
    hash_init(&h);
    hash_add(&h, "\0", 1);
    hash_add(&h, record.ptr, record.len);
    hash_end(&h, ret);
}

void tlog_inner(const Digest *left, const Digest *right, Digest *ret)
{
    Hasher h;
    hash_init(&h);
    hash_add(&h, "\1", 1);
    hash_add(&h, left->b, sizeof left->b);
    hash_add(&h, right->b, sizeof right->b);
    hash_end(&h, ret);
}

void tlog_empty(Digest *ret)
{
    digest_of("", 0, ret);
}

size_t tlog_cover(uint64_t from, uint64_t to, TreeNode ret[static TLOG_LEVELS])
{
    size_t n = 0;
    while (from < to) {
        unsigned level = 63 - (unsigned)__builtin_clzll(to - from);
        ret[n++] = (TreeNode){level, from >> level};
        from += 1ull << level;
    }
    return n;
}

void tlog_fold(const Digest *hashes, size_t n, Digest *ret)
{
    Digest d = hashes[n - 1];
    for (size_t i = n - 1; i-- > 0;)
        tlog_inner(&hashes[i], &d, &d);
    *ret = d;
}

/* ---- texts ---- */

/* A decimal number without zeros in front, below two to the power of TLOG_LEVELS. */
static bool number(Str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (!s.len || s.len > 19 || (s.len > 1 && *s.ptr == '0'))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    *ret = v;
    return v < 1ull << TLOG_LEVELS;
}

/* The line at the front of *s, which is moved behind it; false when there is no whole one. */
static bool next_line(Str *s, Str *ret)
{
    const char *nl = s->len ? memchr(s->ptr, '\n', s->len) : NULL;
    if (!nl)
        return false;
    size_t n = (size_t)(nl - s->ptr);
    *ret = (Str){s->ptr, n};
    *s = (Str){nl + 1, s->len - n - 1};
    return true;
}

bool tlog_tree_parse(Str text, TreeHead *ret)
{
    enum { TEXT_MAX = 1000000 };
    Str line, count, root;
    TreeHead t;
    size_t n;
    if (text.len > TEXT_MAX || !next_line(&text, &line) || !str_eq(line, "go.sum database tree") ||
        !next_line(&text, &count) || !next_line(&text, &root) || !number(count, &t.n) ||
        !base64_read(root, t.root.b, sizeof t.root.b, &n) || n != sizeof t.root.b)
        return false;
    *ret = t; /* lines that follow are for newer readers */
    return true;
}

/* Lines of UTF-8 without control characters, none of them empty. */
static bool record_ok(Str s)
{
    for (size_t i = 0; i < s.len; i++) {
        bool nl = s.ptr[i] == '\n';
        if (((unsigned char)s.ptr[i] < ' ' && !nl) || (nl && i && s.ptr[i - 1] == '\n'))
            return false;
    }
    return s.len && s.ptr[s.len - 1] == '\n' && go_utf8_valid(s);
}

bool tlog_record_parse(Str body, uint64_t *ret_id, Str *ret_record, Str *ret_note)
{
    Str id;
    uint64_t v;
    if (!next_line(&body, &id) || !number(id, &v) || !body.len)
        return false;
    const char *blank = memmem(body.ptr, body.len, "\n\n", 2);
    if (!blank)
        return false;
    Str record = {body.ptr, (size_t)(blank + 1 - body.ptr)};
    if (!record_ok(record))
        return false;
    *ret_id = v;
    *ret_record = record;
    *ret_note = (Str){blank + 2, body.len - record.len - 1};
    return true;
}

/* ---- tiles ---- */

/* As many of the hashes of a level as a tile has in a tree of `n` records. */
static uint32_t tile_width(unsigned level, uint64_t itile, uint64_t n)
{
    uint64_t there = (n >> level * TILE_HEIGHT) - (itile << TILE_HEIGHT);
    return there < TILE_FULL ? (uint32_t)there : TILE_FULL;
}

GoTile tlog_tile(TreeNode node, uint64_t n)
{
    unsigned level = node.level / TILE_HEIGHT, inside = node.level % TILE_HEIGHT;
    uint64_t itile = node.n >> (TILE_HEIGHT - inside);
    return (GoTile){TILE_HEIGHT, (int32_t)level, itile, tile_width(level, itile, n)};
}

GoTile tlog_tile_parent(GoTile t, uint64_t n)
{
    unsigned level = (unsigned)t.level + 1;
    uint64_t itile = t.n >> TILE_HEIGHT;
    return (GoTile){TILE_HEIGHT, (int32_t)level, itile, tile_width(level, itile, n)};
}

/* The root over 2^height hashes. */
static void perfect(const uint8_t *hashes, unsigned height, Digest *ret)
{
    if (!height) {
        memcpy(ret->b, hashes, sizeof ret->b);
        return;
    }
    Digest left, right;
    perfect(hashes, height - 1, &left);
    perfect(hashes + ((size_t)DIGEST_SIZE << (height - 1)), height - 1, &right);
    tlog_inner(&left, &right, ret);
}

void tlog_tile_hash(TreeNode node, const uint8_t *hashes, Digest *ret)
{
    unsigned inside = node.level % TILE_HEIGHT;
    size_t at = (size_t)(node.n & ((1ull << (TILE_HEIGHT - inside)) - 1)) << inside;
    perfect(hashes + at * DIGEST_SIZE, inside, ret);
}
