/*
 * cmd/cmd.h - the commands: options in, other rooms called in order, results for people out.
 *
 * This is the only room that writes to stdout and the only one that knows all others.
 */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/opt.h"
#include "sandbox/sandbox.h"
#include "store/store.h"

/*
 * One command. `table` describes its options; `run` gets them parsed.
 *
 * A group (`lighter context ls`) has `subs` instead of `run`; its table has no rows and says what
 * the commands are about.
 */
typedef struct Cmd {
    const char *name; /* the word a user types: "ls" */
    const OptTable *table;
    size_t opts_size;
    /* The exit code is ret_code when it returns true, and the error's kind when it does not. */
    bool (*run)(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e);
    const struct Cmd *subs; /* a group's commands, up to one without a name */
} Cmd;

extern const Cmd CMD_BUILD, CMD_IMAGES, CMD_INSPECT, CMD_SAVE, CMD_LOAD, CMD_RUN, CMD_RMI, CMD_DU,
    CMD_PRUNE, CMD_LOG, CMD_DOCTOR, CMD_PULL, CMD_PUSH, CMD_COPY, CMD_COMPARE, CMD_VERIFY,
    CMD_HISTORY, CMD_PACK, CMD_TAG, CMD_LOGIN, CMD_LOGOUT, CMD_WHY, CMD_PLAN;
extern const Cmd CMD_CONTEXT, CMD_DOCKERFILE, CMD_IMAGE, CMD_INDEX, CMD_STORE; /* groups */

/* cmd_store - open the user's store for what this host can do. NULL isolation: snapshots are not
 * touched. */
NODISCARD bool cmd_store(Arena *a, const char *isolation, SandboxHost *ret_host, Store **ret,
                         Err *e);

/* cmd_find - the image a user means, or ERR_USAGE with what to do. */
NODISCARD bool cmd_find(Store *s, Arena *a, const char *name, Digest *ret, Err *e);

/* cmd_print - print text in which may be somebody else's words, so that it steers no terminal. */
void cmd_print(FILE *to, const char *text);

/* cmd_age - "3 hours ago", as people read ages; `when` in seconds since the epoch, `none` for 0. */
void cmd_age(int64_t when, const char *none, char *out, size_t cap);

#endif
