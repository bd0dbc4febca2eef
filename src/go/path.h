/*
 * go/path.h - the rules of paths for those who have texts with a length.
 */
#ifndef GO_PATH_H
#define GO_PATH_H

#include "base/str.h"

typedef enum PathKind { PATH_MODULE, PATH_IMPORT, PATH_FILE } PathKind;

enum { PATH_WHY_SIZE = 80 };

/* path_fault - what is wrong with a path: NULL for nothing, else a text, which may be in `why`. */
const char *path_fault(Str path, PathKind kind, char why[static PATH_WHY_SIZE]);

#endif
