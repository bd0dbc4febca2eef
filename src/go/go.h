/*
 * go/go.h - the door of the Go room: what lighter knows of Go.
 *
 * Bytes, files and texts of the Go world, read and checked; nothing here opens a connection. A
 * caller that wants modules brings its own way to fetch and its own place to keep.
 *
 *   go/module.h      paths and versions of modules, escaped and plain
 *   go/settings.h    the settings of a go command, those of the caller among them; GOPROXY lists
 *   go/request.h     what a go command asks of a proxy, and what it is told
 *   go/modfile.h     go.mod, go.work, go.sum, and which modules they want; h1
 *   go/zip.h         zips of modules: checked, hashed, unpacked
 *   go/sumdb.h       a client of a checksum database
 *   go/buildcache.h  the files of a GOCACHE
 *   go/modindex.h    indexes of sources in it
 *
 * Used by: gomod, steps, cmd.  Uses: base, and net for showing URLs.
 */
#ifndef GO_GO_H
#define GO_GO_H

#include "go/buildcache.h"
#include "go/modfile.h"
#include "go/modindex.h"
#include "go/module.h"
#include "go/request.h"
#include "go/settings.h"
#include "go/sumdb.h"
#include "go/zip.h"

#endif
