/*
 * base/opt.h - command options from a table; the same rows print --help.
 */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include "base/arena.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"

typedef enum OptKind {
    OPT_BOOL,    /* --x, --x=true, --x=false          -> bool */
    OPT_OFF,     /* the same words, but true means false: of what is on unless it is turned off */
    OPT_STRING,  /* --x V, --x=V, -x V; last one wins -> const char * */
    OPT_LIST,    /* as OPT_STRING, repeatable         -> StrList */
    OPT_REFUSED, /* known to docker, not done here: refused with `help` as the reason */
} OptKind;

typedef struct OptRow {
    const char *name; /* long name without dashes */
    char letter;      /* short name or 0 */
    OptKind kind;
    size_t offset; /* of the field in the caller's struct */
    const char *value;
    const char *help;
} OptRow;

typedef struct OptTable {
    const char *usage; /* "lighter build [OPTIONS] CONTEXT" */
    const char *about; /* one sentence */
    const OptRow *rows;
    size_t nrow;
    bool stop_at_operand; /* what follows the first operand is the operand's (`run IMAGE CMD...`) */
} OptTable;

/*
 * opt_parse - read `argv` (without the command's name) into `out` by the table.
 *
 *   ret_operands  what is not an option, in order; "--" ends the options
 *   ret_help      set to true when --help was met, or -h if no row has that letter (then nothing
 *                 else counts)
 *
 * Fails with ERR_USAGE, naming the option.
 */
NODISCARD bool opt_parse(Arena *a, const OptTable *t, int argc, char *const *argv, void *out,
                         StrList *ret_operands, bool *ret_help, Err *e);

/* opt_help - append the help page of the table to `out`. */
void opt_help(const OptTable *t, Buf *out);

#endif
