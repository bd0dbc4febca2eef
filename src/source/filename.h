/*
 * source/filename.h - what a downloaded file is called. Private to the source room.
 */
#ifndef SOURCE_FILENAME_H
#define SOURCE_FILENAME_H

#include "base/arena.h"

/*
 * http_file_name - the name for what was fetched: one path component, never "", "." or "..".
 *
 *   wanted       NULL or "", or the name the caller asks for: its last component
 *   disposition  NULL, or the Content-Disposition header: its filename, if it can be read
 *
 * Else the last component of the URL's path, and "download" when there is none that can be used.
 * Source: BuildKit's source/http; RFC 6266; RFC 2231, sections 3 and 4.
 */
const char *http_file_name(Arena *a, const char *url, const char *wanted, const char *disposition);

/* url_base - the last component of the URL's path, percent-decoded; NULL when it has none. */
const char *url_base(Arena *a, const char *url);

#endif
