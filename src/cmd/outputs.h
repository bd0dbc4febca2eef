/*
 * cmd/outputs.h - what -o, --load, --push and --annotation ask for. Private to `lighter build`.
 */
#ifndef CMD_OUTPUTS_H
#define CMD_OUTPUTS_H

#include "export/export.h"

typedef enum OutputKind {
    OUT_IMAGE,     /* in the store, and maybe sent */
    OUT_DOCKER,    /* docker's archive */
    OUT_LOAD,      /* the same, into docker or podman */
    OUT_OCI,       /* an OCI archive or layout */
    OUT_TAR,       /* the file system as a tar */
    OUT_LOCAL,     /* the file system as files */
    OUT_CACHEONLY, /* nothing: what steps made stays as cache */
} OutputKind;

/* One -o. */
typedef struct Output {
    const char *text; /* as given, for messages */
    OutputKind kind;
    const char *dest; /* a path, "-": stdout, or NULL */
    StrList names;    /* of name=; full references */
    ExportStyle style;
    bool dir;  /* a layout, not an archive */
    bool push; /* of OUT_IMAGE */
    bool by_digest;
    bool styled;             /* it says how the image is to look */
    bool split, split_given; /* each platform goes into a directory of its own */
    enum { REWRITE_UNSAID, REWRITE_YES, REWRITE_NO } rewrite; /* rewrite-timestamp */
} Output;

/*
 * outputs_parse - one -o. Fails with ERR_USAGE, naming what is not known or not done.
 * Source: docker/buildx, util/buildflags/export.go; BuildKit's README, "Output".
 */
NODISCARD bool outputs_parse(Arena *a, const char *text, Output *ret, Err *e);

/* outputs_annotation - one --annotation, appended to `notes`: "[PLACE[PLATFORM],...:]NAME=VALUE".
 */
typedef struct OutputNotes {
    ExportNote *v;
    size_t n, cap;
} OutputNotes;
NODISCARD bool outputs_annotation(Arena *a, const char *text, OutputNotes *notes, Err *e);

#endif
