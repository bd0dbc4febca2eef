/*
 * registry/conffile.h - rows of the table of registries, for its readers. Private to the registry
 * room.
 */
#ifndef REGISTRY_CONFFILE_H
#define REGISTRY_CONFFILE_H

#include "registry/conf.h"

/* conf_add - a new, empty row. */
ConfRegistry *conf_add(Conf *c, const char *file, const char *prefix);

/*
 * conf_location - "host[:port][/path]", with "http://" or "https://" before it where that is
 * usual. False for what cannot be one.
 */
bool conf_location(Arena *a, const char *text, const char **ret, bool *ret_plain);

#endif
