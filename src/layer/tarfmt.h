/*
 * layer/tarfmt.h - tar headers: POSIX ustar with PAX records. Private to the layer room.
 */
#ifndef LAYER_TARFMT_H
#define LAYER_TARFMT_H

#include "base/str.h"
#include "layer/layer.h"

enum { TAR_BLOCK = 512 };

/* Fields at their offsets. Source: POSIX.1-2017 pax, "ustar Interchange Format". */
typedef struct TarHeader {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8], typeflag,
        linkname[100];
    char magic[6], version[2], uname[32], gname[32], devmajor[8], devminor[8], prefix[155], pad[12];
} TarHeader;

_Static_assert(sizeof(TarHeader) == TAR_BLOCK, "a tar header is one block");

/* tar_format - append the header blocks of an entry, PAX records first where ustar cannot hold a
 * field. */
void tar_format(const TarEntry *t, Buf *out);

#endif
