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

#endif
