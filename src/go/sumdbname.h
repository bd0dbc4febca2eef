/*
 * go/sumdbname.h - names of checksum databases, which become parts of URLs and paths.
 */
#ifndef GO_SUMDBNAME_H
#define GO_SUMDBNAME_H

#include "base/arena.h"

/*
 * sumdb_name_fault - what is wrong with a name: NULL for nothing. A name is a host and maybe a path
 * whose elements are all names of files.
 */
const char *sumdb_name_fault(Arena *a, const char *name);

#endif
