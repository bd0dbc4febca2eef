/*
 * go/zipnames.h - which names a module's zip may hold.
 */
#ifndef GO_ZIPNAMES_H
#define GO_ZIPNAMES_H

#include "go/zipdir.h"

/*
 * zip_names_check - hold names and said sizes against the rules of modules.
 *
 *   d         sorted by name
 *   prefix    "path@version/"
 *   ret_size  set to the sum of all files' sizes, in bytes
 *
 * Fails with ERR_NETWORK, naming the first entry that is wrong. Source: x/mod/zip, CheckZip.
 */
NODISCARD bool zip_names_check(const ZipDir *d, const char *prefix, uint64_t *ret_size, Err *e);

#endif
