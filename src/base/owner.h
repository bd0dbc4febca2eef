/*
 * base/owner.h - who a file belongs to, where the kernel cannot keep it.
 *
 * In mode `single` one id owns every file of a store, and the owner that an image means is written
 * beside the file: of files and directories in an extended attribute; of symbolic links and fifos,
 * which take none, in a table at the root of the snapshot they are in. A device node, which the
 * kernel makes for nobody there, is an empty file whose attribute says what it stands for. What
 * nothing is written of belongs to 0:0. Modes are the file's own.
 *
 * In every other mode these functions are the system calls they are named after.
 */
#ifndef BASE_OWNER_H
#define BASE_OWNER_H

#include <sys/stat.h>

#include "base/defs.h"

/* Archives from outside and trees drop this name with all of `user.containers.`. */
#define OWNER_XATTR "user.containers.lighter_owner"
/* Names that begin so are aufs' own, and no layer can hold them. */
#define OWNER_LINKS ".wh..wh.lighter"

/* owners_remember - from here on, this process and its threads keep owners beside files; once, at
 * the start. */
void owners_remember(bool on);
bool owners_remembered(void);

/* ---- trees on disk ---- */

/*
 * owner_chown - give a file to uid:gid; a link itself, not what it leads to. 0, or -1 with errno.
 *
 *   rootfd  the snapshot's directory
 *   dirfd   where `name` is, in it
 */
int owner_chown(int rootfd, int dirfd, const char *name, uint32_t uid, uint32_t gid);

/* owner_fchown - the same for an open file of a file system in memory, which before Linux 6.6 takes
 * no attributes: it stays 0:0 then. */
int owner_fchown(int fd, uint32_t uid, uint32_t gid);

/* owner_mknod - make a fifo or a device node that owner_read() will see. 0, or -1 with errno. */
int owner_mknod(int dirfd, const char *name, mode_t mode, dev_t dev);

/* owner_read - what is remembered of the file `path` below `rootfd`, into its `st`. */
void owner_read(int rootfd, const char *path, struct stat *st);

/* ---- one file ---- */

typedef struct Owner {
    uint32_t uid, gid;
    mode_t type; /* S_IFCHR or S_IFBLK: what an empty file stands for; else 0 */
    uint32_t major, minor;
} Owner;

/* owner_put - write it to the file that `path` leads to. 0, or -1 with errno. */
int owner_put(const char *path, const Owner *o);
/* owner_get - false when nothing is written there. */
bool owner_get(const char *path, Owner *ret);
/* owner_show - let `st` say what is remembered. */
void owner_show(const Owner *o, struct stat *st);

/* ---- the table of links and fifos ---- */

/* owner_links_add - append to the table `name` in the directory `dirfd`; a later record of a path
 * wins. 0, or -1 with errno. */
int owner_links_add(int dirfd, const char *name, const char *path, uint32_t uid, uint32_t gid);
/* owner_links_get - the record of `path` in the table OWNER_LINKS of `rootfd`. */
bool owner_links_get(int rootfd, const char *path, uint32_t *ret_uid, uint32_t *ret_gid);

#endif
