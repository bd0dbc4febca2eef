/*
 * snapshot/upper.h - the steps that writing into an Upper is made of. Private to the snapshot room.
 *
 * Paths are resolved ones: no link on the way, no leading slash, "" is the root.
 */
#ifndef SNAPSHOT_UPPER_H
#define SNAPSHOT_UPPER_H

#include "snapshot/snapshot.h"

/* upper_own_dir - make sure that a directory of the merged view is in the new snapshot. */
NODISCARD bool upper_own_dir(Upper *u, const char *path, Err *e);

/* upper_new_dir - make a directory, mode 0700, where the merged view has nothing. Over a deletion
 * it hides what is below. Its parent must be in the new snapshot. */
NODISCARD bool upper_new_dir(Upper *u, const char *path, Err *e);

/* upper_clear - make way for something that is no directory: take a deletion of that name back. */
NODISCARD bool upper_clear(Upper *u, const char *path, Err *e);

/* upper_copy_up - make sure that a file which the merged view has is in the new snapshot. */
NODISCARD bool upper_copy_up(Upper *u, const ViewNode *node, Err *e);

/*
 * upper_open_dir - open a directory of the new snapshot by a path that was resolved earlier.
 * *ret_fd is -1 when something else is there now; the link that may be is not followed.
 */
NODISCARD bool upper_open_dir(const Upper *u, const char *path, int *ret_fd, Err *e);

/*
 * snapshot_copy_file - a copy of an opened file at `to`, relative to store_dirfd(), with owner,
 * mode, attributes and time of `t`. Fails with ERR_STORE.
 */
NODISCARD bool snapshot_copy_file(Store *s, int in, const TreeEntry *t, const char *to, Err *e);

/*
 * snapshot_twin_make - give a file of a snapshot a second name, at `to` relative to store_dirfd().
 *
 *   file      it, opened
 *   want      what is to be at `to`
 *   ret_done  false: it has to be a copy, for it is not of this snapshot, or would look otherwise,
 *             or somebody may have the snapshot mounted
 *
 * Fails with ERR_STORE.
 */
NODISCARD bool snapshot_twin_make(Store *s, SnapshotId id, int file, const TreeEntry *want,
                                  const char *to, bool *ret_done, Err *e);

#endif
