/*
 * snapshot/diff.c - what the layer of a snapshot is called, found out once.
 */
#include "base/key.h"
#include "snapshot/snapshot.h"

/* What is remembered: 32 bytes of diff ID, 8 of size, little-endian. */
typedef struct DiffFact {
    Digest diff_id;
    uint8_t size[8];
} DiffFact;

static void fact_key(SnapshotId id, LayerTimes times, Digest *ret)
{
    scoped(arena) Arena a = {0};
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, "diff 1");
    key_text(&k, "snapshot", arena_printf(&a, "%llu", (unsigned long long)id));
    key_text(&k, "times", layer_times_text(&a, times));
    key_end(&k, ret);
}

static bool recall(Store *s, SnapshotId id, LayerTimes times, SnapshotDiff *ret, bool *ret_found,
                   Err *e)
{
    scoped(buf) Buf value = BUF_INIT;
    DiffFact fact;
    Digest key;
    fact_key(id, times, &key);
    if (!store_memo_get(s, &key, &value, ret_found, e))
        return false;
    *ret_found = *ret_found && value.len == sizeof fact;
    if (!*ret_found)
        return true;
    memcpy(&fact, value.ptr, sizeof fact);
    *ret = (SnapshotDiff){.id = fact.diff_id};
    for (size_t i = 0; i < 8; i++)
        ret->size |= (uint64_t)fact.size[i] << (8 * i);
    return true;
}

bool snapshot_diff_known(Store *s, SnapshotId id, LayerTimes times)
{
    SnapshotDiff d;
    Err ignored = ERR_INIT;
    bool found;
    return recall(s, id, times, &d, &found, &ignored) && found;
}

static const LayerForm UNPACKED = {PACK_NOTHING, LAYER_LEVEL_OWN};

bool snapshot_diff_of(int dirfd, LayerTimes times, LayerLent lent, SnapshotDiff *ret, Err *e)
{
    LayerFacts facts;
    if (!layer_name(dirfd, times, lent, &facts, e))
        return false;
    *ret = (SnapshotDiff){facts.diff_id, facts.size};
    return true;
}

bool snapshot_diff_keep(Store *s, SnapshotId id, LayerTimes times, const SnapshotDiff *d, Err *e)
{
    DiffFact fact = {.diff_id = d->id};
    Digest key;
    fact_key(id, times, &key);
    for (size_t i = 0; i < 8; i++)
        fact.size[i] = (uint8_t)(d->size >> (8 * i));
    return store_memo_put(s, &key, &fact, sizeof fact, e);
}

bool snapshot_diff_id(Store *s, SnapshotId id, LayerTimes times, SnapshotDiff *ret, Err *e)
{
    LayerFacts facts;
    bool found;
    if (!recall(s, id, times, ret, &found, e))
        return false;
    if (found)
        return true;
    if (!snapshot_pack(s, id, times, UNPACKED, -1, 1, &facts, e))
        return false;
    *ret = (SnapshotDiff){facts.diff_id, facts.size};
    return snapshot_diff_keep(s, id, times, ret, e);
}
