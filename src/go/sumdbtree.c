/*
 * go/sumdbtree.c - which tiles prove a hash, fetching and proving them.
 */
#include "go/sumdbtree.h"

#include "go/base64.h"

/* Tiles of at most 8 KiB; when a call ends with more of them, all are forgotten. */
enum { REMEMBERED_MAX = 512 };

/* One tile that is needed. */
typedef struct Need {
    GoTile tile;
    const char *path;
    const uint8_t *hashes; /* tile.width of them */
    size_t parent;         /* index of the tile that proves it; SIZE_MAX: the root does */
    bool remembered, kept;
    bool damaged; /* something came, of the wrong size */
} Need;

/* The tiles of one reading; parents stand before their children. */
typedef struct Needs {
    Arena arena;
    const TreeHead *tree;
    Need *v;
    size_t n, cap;
    Map by_path;
    bool fresh; /* nothing remembered and nothing kept is used */
} Needs;

void sumdb_tree_init(SumdbTree *t, const GoSumdbIo *io)
{
    *t = (SumdbTree){.io = io};
}

static void forget(SumdbTree *t)
{
    map_done(&t->tiles);
    arena_done(&t->arena);
}

void sumdb_tree_done(SumdbTree *t)
{
    forget(t);
}

bool sumdb_tree_fetch(SumdbTree *t, GoSumdbFetch *v, size_t n, Err *e)
{
    return !n || t->io->fetch(t->io->arg, v, n, e);
}

void sumdb_tree_save(const SumdbTree *t, const char *path, const void *bytes, size_t n)
{
    if (t->io->save)
        t->io->save(t->io->arg, path, bytes, n);
}

/* ---- planning ---- */

static const char *tile_path(Arena *a, const GoTile *tile)
{
    char *path = arena_alloc(a, GO_TILE_PATH_SIZE);
    go_tile_path(tile, path);
    return path;
}

static bool known(const Needs *s, const GoTile *tile, size_t *ret)
{
    char path[GO_TILE_PATH_SIZE];
    uint64_t i;
    go_tile_path(tile, path);
    if (!map_get(&s->by_path, path, &i))
        return false;
    *ret = (size_t)i;
    return true;
}

static size_t add(Needs *s, GoTile tile, size_t parent)
{
    const char *path = tile_path(&s->arena, &tile);
    *ARENA_PUSH(&s->arena, s->v, s->n, s->cap) =
        (Need){.tile = tile, .path = path, .parent = parent};
    (void)map_put(&s->by_path, path, s->n - 1);
    return s->n - 1;
}

/* The tiles whose hashes make the root: those at the right edge of the tree. */
static void need_root(Needs *s, const TreeNode *cover, size_t n)
{
    size_t ignored;
    for (size_t i = 0; i < n; i++) {
        GoTile tile = tlog_tile(cover[i], s->tree->n);
        if (!known(s, &tile, &ignored))
            add(s, tile, SIZE_MAX);
    }
}

/* A node's tile, and those above it up to one that is needed anyway. */
static void need_node(Needs *s, TreeNode node)
{
    GoTile way[TLOG_LEVELS];
    size_t n = 0, parent;
    GoTile tile = tlog_tile(node, s->tree->n);
    for (; !known(s, &tile, &parent); tile = tlog_tile_parent(tile, s->tree->n))
        way[n++] = tile; /* only full tiles have a parent, and the edge is known */
    while (n--)
        parent = add(s, way[n], parent);
}

/* ---- fetching ---- */

static size_t tile_size(const GoTile *tile)
{
    return (size_t)tile->width * DIGEST_SIZE;
}

static GoTile whole(GoTile tile)
{
    tile.width = TILE_FULL;
    return tile;
}

/* Take one answer into the plan. `want` is what was asked for: the tile, or the full one. */
static void take(Needs *s, Need *need, const GoTile *want, const GoSumdbFetch *f)
{
    size_t n = tile_size(&need->tile);
    if (f->status != 200)
        return;
    need->kept = f->kept;
    need->damaged = f->body.len != tile_size(want);
    if (need->damaged)
        return;
    uint8_t *copy = arena_alloc(&s->arena, n);
    memcpy(copy, f->body.ptr, n); /* of a full tile, what was there */
    need->hashes = copy;
}

/*
 * Ask for tiles of the plan: as wide as they are in the tree, or, `full`, complete: a database
 * drops a narrow tile once it has grown. What does not come has no hashes afterwards.
 */
static bool ask(SumdbTree *t, Needs *s, bool full, Err *e)
{
    size_t n = 0, *which = arena_array(&s->arena, s->n + 1, sizeof *which);
    GoSumdbFetch *f = arena_array(&s->arena, s->n + 1, sizeof *f);
    for (size_t i = 0; i < s->n; i++) {
        GoTile tile = full ? whole(s->v[i].tile) : s->v[i].tile;
        bool done = s->v[i].hashes || s->v[i].damaged;
        if (done || (full && s->v[i].tile.width == TILE_FULL))
            continue;
        f[n] = (GoSumdbFetch){.path = full ? tile_path(&s->arena, &tile) : s->v[i].path,
                              .max = tile_size(&tile),
                              .fresh = s->fresh};
        which[n++] = i;
    }
    bool ok = sumdb_tree_fetch(t, f, n, e);
    for (size_t i = 0; i < n; i++) {
        Need *need = &s->v[which[i]];
        GoTile tile = full ? whole(need->tile) : need->tile;
        if (ok)
            take(s, need, &tile, &f[i]);
        buf_done(&f[i].body);
    }
    return ok;
}

static void recall(SumdbTree *t, Needs *s)
{
    uint64_t at;
    for (size_t i = 0; i < s->n && !s->fresh; i++) {
        if (!map_get(&t->tiles, s->v[i].path, &at))
            continue;
        s->v[i].hashes = (const uint8_t *)(uintptr_t)at;
        s->v[i].remembered = true;
    }
}

static bool fetch_all(SumdbTree *t, Needs *s, Err *e)
{
    recall(t, s);
    if (!ask(t, s, false, e) || !ask(t, s, true, e)) {
        t->silent = true;
        return false;
    }
    for (size_t i = 0; i < s->n; i++) {
        if (s->v[i].damaged)
            return err_set(e, ERR_CHECK, "'%s' has the wrong size", s->v[i].path);
        if (s->v[i].hashes)
            continue;
        t->silent = true;
        return err_set(e, ERR_NETWORK, "'%s' did not come", s->v[i].path);
    }
    return true;
}

/* ---- proving ---- */

static void node_hash(const Needs *s, TreeNode node, Digest *ret)
{
    size_t i = 0;
    GoTile tile = tlog_tile(node, s->tree->n);
    (void)known(s, &tile, &i);
    tlog_tile_hash(node, s->v[i].hashes, ret);
}

static bool prove(const Needs *s, const TreeNode *cover, size_t ncover)
{
    Digest hashes[TLOG_LEVELS], d;
    for (size_t i = 0; i < ncover; i++)
        node_hash(s, cover[i], &hashes[i]);
    tlog_fold(hashes, ncover, &d);
    if (!digest_eq(&d, &s->tree->root))
        return false;
    for (size_t i = 0; i < s->n; i++) {
        const Need *need = &s->v[i];
        if (need->parent == SIZE_MAX)
            continue;
        /* All hashes of a full tile make one of its parent's. */
        tlog_tile_hash((TreeNode){TILE_HEIGHT * ((unsigned)need->tile.level + 1), need->tile.n},
                       s->v[need->parent].hashes, &hashes[0]);
        Digest left, right;
        tlog_tile_hash((TreeNode){TILE_HEIGHT - 1, 0}, need->hashes, &left);
        tlog_tile_hash((TreeNode){TILE_HEIGHT - 1, 1}, need->hashes, &right);
        tlog_inner(&left, &right, &d);
        if (!digest_eq(&d, &hashes[0]))
            return false;
    }
    return true;
}

/* Tiles that this reading found remembered stay where they are: it still points to them. */
static void remember(SumdbTree *t, const Needs *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const Need *need = &s->v[i];
        size_t n = tile_size(&need->tile);
        if (need->remembered)
            continue;
        SumdbProven *p = NEW(&t->arena, SumdbProven);
        uint8_t *copy = arena_alloc(&t->arena, n);
        memcpy(copy, need->hashes, n);
        *p = (SumdbProven){.path = arena_strdup(&t->arena, need->path), .bytes = copy, .n = n};
        (void)map_put(&t->tiles, p->path, (uint64_t)(uintptr_t)copy);
        if (need->kept)
            continue;
        p->next = t->unsaved;
        t->unsaved = p;
    }
}

void sumdb_tree_settle(SumdbTree *t, bool good)
{
    for (const SumdbProven *p = t->unsaved; good && p; p = p->next)
        sumdb_tree_save(t, p->path, p->bytes, p->n);
    t->unsaved = NULL;
    if (!good || t->tiles.n >= REMEMBERED_MAX)
        forget(t);
}

static bool leans_on_old(const Needs *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].remembered || s->v[i].kept)
            return true;
    return false;
}

static bool read_once(SumdbTree *t, Needs *s, const TreeNode *nodes, size_t n, Digest *ret, Err *e)
{
    TreeNode cover[TLOG_LEVELS];
    size_t ncover = tlog_cover(0, s->tree->n, cover);
    need_root(s, cover, ncover);
    for (size_t i = 0; i < n; i++)
        need_node(s, nodes[i]);
    if (!fetch_all(t, s, e))
        return false;
    if (!prove(s, cover, ncover))
        return err_set(e, ERR_CHECK, "tiles that do not add up to the signed tree of %llu records",
                       (unsigned long long)s->tree->n);
    for (size_t i = 0; i < n; i++)
        node_hash(s, nodes[i], &ret[i]);
    remember(t, s);
    return true;
}

bool sumdb_tree_read(SumdbTree *t, const TreeHead *tree, const TreeNode *nodes, size_t n,
                     Digest *ret, Err *e)
{
    t->silent = false;
    if (!n)
        return true;
    for (bool fresh = false;; fresh = true) {
        Err once = ERR_INIT;
        Needs s = {.tree = tree, .fresh = fresh};
        bool ok = read_once(t, &s, nodes, n, ret, &once);
        bool again = !ok && !t->silent && !fresh && leans_on_old(&s);
        map_done(&s.by_path);
        arena_done(&s.arena);
        if (ok)
            return true;
        /* What was kept may be damaged, or of another history: ask before anybody is accused. */
        if (!again)
            return err_set(e, once.kind, "%s", once.msg);
    }
}

static bool range_root(SumdbTree *t, const TreeHead *tree, uint64_t from, uint64_t to, Digest *ret,
                       Err *e)
{
    TreeNode cover[TLOG_LEVELS];
    Digest hashes[TLOG_LEVELS];
    size_t n = tlog_cover(from, to, cover);
    if (!sumdb_tree_read(t, tree, cover, n, hashes, e))
        return false;
    tlog_fold(hashes, n, ret);
    return true;
}

bool sumdb_tree_root(SumdbTree *t, const TreeHead *tree, uint64_t n, Digest *ret, Err *e)
{
    if (n)
        return range_root(t, tree, 0, n, ret, e);
    tlog_empty(ret);
    return true;
}

/* ---- evidence ---- */

static void add_hash(Buf *out, const Digest *d)
{
    buf_putc(out, '\t');
    base64_add(out, d->b, sizeof d->b);
    buf_putc(out, '\n');
}

/* The hashes for records from..to, of which those before `old` are the older tree's. */
static bool add_proof(SumdbTree *t, const TreeHead *tree, uint64_t from, uint64_t to, uint64_t old,
                      Buf *out)
{
    Digest d;
    Err ignored = ERR_INIT;
    if (old == to && from == 0)
        return true;
    if (old != to) {
        /* the largest power of two below the number of records divides them */
        uint64_t left = 1ull << (63 - (unsigned)__builtin_clzll(to - from - 1)), mid = from + left;
        bool before = old <= mid;
        if (!add_proof(t, tree, before ? from : mid, before ? mid : to, old, out))
            return false;
        if (!range_root(t, tree, before ? mid : from, before ? to : mid, &d, &ignored))
            return false;
    } else if (!range_root(t, tree, from, to, &d, &ignored)) {
        return false;
    }
    add_hash(out, &d);
    return true;
}

void sumdb_tree_prove(SumdbTree *t, const TreeHead *old, const TreeHead *new, const Digest *root,
                      Buf *out)
{
    if (old->n == new->n || !old->n)
        return;
    buf_printf(out, "root of the first %llu records of the newer tree, and the proof of it:\n",
               (unsigned long long)old->n);
    add_hash(out, root);
    size_t len = out->len;
    if (!add_proof(t, new, 0, new->n, old->n, out))
        out->len = len;
}
