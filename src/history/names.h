/*
 * history/names.h - what the files are called. Private to history.
 */
#ifndef HISTORY_NAMES_H
#define HISTORY_NAMES_H

#include "history/history.h"

enum { ID_HEX = 12, KEY_HEX = 24, RUN_MAX = 48 };

/* run_of - "1732000000-0123456789abcdef01234567" */
void run_of(const Digest *key, int64_t created, char out[static RUN_MAX]);
/* run_len - how many bytes of a log's name are its run. */
size_t run_len(const char *log);
/* id_of - the id in a record's name; NULL: it is no record. */
const char *id_of(const char *name);

/* The files with many records. */
extern const char *const SHORT_FILES[2];
/* is_short - whether it is one of them. */
bool is_short(const char *name);
/* How the first line of a record begins. */
#define RECORD_START "{\"format\":"
/* is_first_line - whether this line begins the record of that name; of any record for NULL. */
bool is_first_line(Str line, const char *name);
/* next_line - the line at `at`, with its newline if it has one, and go on behind it. False: none.
 */
bool next_line(const char **at, const char *end, Str *ret);

/* history_open - a file below builds/ or logs/; -1 with errno. */
int history_open(int storefd, const char *dir, const char *name, int flags);
/* is_locked - whether a process is writing it. */
bool is_locked(int fd);
/* list_dir - its names, bytewise; none if it is not there. */
NODISCARD bool list_dir(int storefd, Arena *a, const char *dir, StrList *ret, Err *e);

#endif
