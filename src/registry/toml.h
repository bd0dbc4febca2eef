/*
 * registry/toml.h - TOML text to a tree of JSON values. Private to the registry room.
 *
 * For the files in which other programs keep what is said about registries. All of TOML 1.0 is
 * read; numbers with a point, dates and times are kept as strings, for nobody here asks for them.
 */
#ifndef REGISTRY_TOML_H
#define REGISTRY_TOML_H

#include "base/json.h"

enum { TOML_MAX = 1 << 20 };

/*
 * toml_parse - tables are objects, arrays of tables are arrays of objects. The caller owns *ret.
 *
 * Fails with ERR_USAGE; the message begins with "line N:". Source: toml.io, version 1.0.0.
 */
NODISCARD bool toml_parse(const char *text, size_t len, json_t **ret, Err *e);

#endif
