/*
 * snapshot/copytree.h - files copied with all that a layer keeps of them. Private to the snapshot
 * room.
 *
 * Both sides name an entry by one path, relative to their own root, without links on the way. Only
 * one thread works in a tree that is written to.
 */
#ifndef SNAPSHOT_COPYTREE_H
#define SNAPSHOT_COPYTREE_H

#include "base/map.h"
#include "snapshot/snapshot.h"

typedef struct Copier {
    int src, dst;
    Map links; /* inode of `src` -> index in `paths` + 1: names of one file stay names of one */
    const char **paths;
    size_t npath, path_cap;
    Arena arena;
    bool no_reflink; /* the file system said so */
} Copier;

void copier_done(Copier *c);
static inline void scoped_copier_done(Copier *c)
{
    copier_done(c);
}

/* copy_entry - copy what is no directory; sockets are left out, and device nodes below /dev that
 * may not be made. Nothing is at `path` yet. */
NODISCARD bool copy_entry(Copier *c, const char *path, const struct stat *st, Err *e);

/* copy_dress - give a directory that was made its owner, mode and attributes. */
NODISCARD bool copy_dress(const Copier *c, const char *path, const struct stat *st, Err *e);

/* copy_time - give it its time, when all is written in it. */
NODISCARD bool copy_time(const Copier *c, const char *path, const struct stat *st, Err *e);

/* copy_layer - lay one snapshot over what `dst` has, as overlayfs would show it; "" is the root. */
NODISCARD bool copy_layer(Copier *c, const char *path, Err *e);

/* copy_one - the same for one entry of the snapshot. */
NODISCARD bool copy_one(Copier *c, const char *path, Err *e);

#endif
