/*
 * analyze/elf.h - the few facts of an ELF program that decide whether it can start. Private to
 * analyze.
 */
#ifndef ANALYZE_ELF_H
#define ANALYZE_ELF_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

typedef struct ElfFacts {
    bool is_elf;
    const char *interp;  /* NULL: static, or a library */
    StrList needed;      /* sonames */
    const char *runpath; /* DT_RUNPATH or DT_RPATH, colon list; NULL when absent */
    bool is_go;          /* has Go's build info section */
} ElfFacts;

/*
 * elf_read - read the facts of an open file. Anything malformed is "no ELF", never an error;
 * offsets and sizes from the file are checked before use. 64-bit little-endian only, which is all
 * that is built here.
 */
ElfFacts elf_read(Arena *a, int fd);

#endif
