/*
 * history/history.h - the door of the history room: what builds left behind, to be looked at later.
 *
 *   STORE/builds/<ms>-<id>           the record of a build, one JSON object a line
 *   STORE/builds/short, short.old    records of builds in which nothing ran, one after the other
 *   STORE/logs/<created>-<key>.log   all that one run of a step printed; <key>: 24 hex digits of it
 *
 * A record is written as the build goes on and locked while it does, so what a killed build wrote
 * is there, and that it was killed can be seen. To make a file takes a fifth of the time of a build
 * of hits, so that is done when something begins that takes time.
 *
 * A log is made with its first byte; one of a run that failed ends in .failed.log. The run that
 * made a step's result is named by the step's key and the second it began in, which the store keeps
 * with the result: so a build that found the result finds its log, however many builds later. A log
 * stays as long as a record that is kept names its run.
 *
 * Readers take no lock and wait for nobody. Nothing here is needed to build: what cannot be written
 * is left out, and what is damaged is passed over.
 *
 * Used by: steps, cmd.  Uses: base.
 */
#ifndef HISTORY_HISTORY_H
#define HISTORY_HISTORY_H

#include "base/arena.h"
#include "base/err.h"
#include "base/event.h"
#include "base/str.h"

/* ---- writing ---- */

/* What is known of a build when it begins; strings may be NULL. */
typedef struct HistoryMeta {
    const char *dockerfile, *target;
    const char *context;  /* without secrets in it */
    const StrList *names; /* full references */
    uint64_t began_ns;    /* clock_ns() when it did */
} HistoryMeta;

typedef struct HistoryBuild HistoryBuild;

/* history_begin - a record of a build that begins; `storefd` stays open. Fails with ERR_ENV. */
NODISCARD bool history_begin(int storefd, const HistoryMeta *m, HistoryBuild **ret, Err *e);
/* history_write - write now what is known, for something comes that takes time. */
void history_write(HistoryBuild *b);
/* history_sink - what it is told becomes part of the record; not what steps print. It lives as long
 * as `b`. */
EventSink history_sink(HistoryBuild *b);
/*
 * history_end - the build is over, and what is told later is no part of it; without it the record
 * is of one that was interrupted. Fails with ERR_STORE when no record could be written.
 */
NODISCARD bool history_end(HistoryBuild *b, const EventEnd *end, Err *e);
/* history_done - close the record. NULL is fine. */
void history_done(HistoryBuild *b);

enum { HISTORY_NAME_MAX = 80 };

/* The log of a step that runs. */
typedef struct HistoryLog {
    int storefd, fd; /* fd: -1 until something is printed */
    bool lost;       /* it could not be written */
    char name[HISTORY_NAME_MAX];
} HistoryLog;

#define HISTORY_LOG_NONE                                                                           \
    {                                                                                              \
        .storefd = -1, .fd = -1                                                                    \
    }

/* history_log_begin - `created`: seconds since the epoch, as the store keeps them with the result
 */
void history_log_begin(HistoryLog *l, int storefd, const Digest *key, int64_t created);
/* history_log_add - the first byte makes the file. */
void history_log_add(HistoryLog *l, const char *bytes, size_t n);
/* history_log_end - close it. Its name below logs/, in the arena; NULL: there is none. */
const char *history_log_end(HistoryLog *l, Arena *a, bool failed);

/* ---- keeping ---- */

typedef struct HistoryLimits {
    size_t builds;
    uint64_t log_bytes; /* on the disk */
} HistoryLimits;

/*
 * history_tidy - drop the oldest records, and logs that no record names any more. To be done after
 * builds in which something ran; records of others keep themselves to a megabyte or two.
 */
void history_tidy(int storefd, const HistoryLimits *l);

/* history_drop - drop records, but for those of running builds; how many went. */
size_t history_drop(int storefd, const StrList *names);

/* ---- reading ---- */

typedef enum HistoryState {
    HISTORY_RUNNING,
    HISTORY_DONE,
    HISTORY_FAILED,
    HISTORY_CANCELLED,
    HISTORY_INTERRUPTED, /* its process is gone and did not say how it ended */
} HistoryState;
enum { NHISTORY_STATE = HISTORY_INTERRUPTED + 1 };

/* history_state_word - "running", "done", "failed", "cancelled" or "interrupted". */
const char *history_state_word(HistoryState s);

typedef struct HistoryStep {
    uint32_t step; /* from 1; 0: nothing is known of it */
    const char *stage, *title, *kind;
    bool over;
    StepHow how;        /* once it is over */
    double at, seconds; /* since the build began; how long */
    const char *key;    /* hex; NULL: not known */
    const char *run;    /* names the run that made the result; NULL: none */
    const char *log;    /* of this build's own run; NULL: it printed nothing, or did not run */
} HistoryStep;

typedef struct HistoryRecord {
    const char *name, *id; /* of the file; for people */
    HistoryState state;
    int64_t began_ms; /* since the epoch */
    double seconds;   /* how long it took; 0: it is not over */
    int exit_code;
    const char *dockerfile, *target, *context, *image, *error;
    StrList names, warnings;
    uint64_t size, nlayer;
    size_t nstep, count[NSTEP_HOW];
    HistoryStep *steps; /* nstep of them, step 1 first; NULL in a brief record */
} HistoryRecord;

/*
 * history_list - the newest records, newest first, without their steps.
 *
 * Damaged ones show what is left of them. Fails with ERR_STORE.
 */
NODISCARD bool history_list(int storefd, Arena *a, size_t max, HistoryRecord **ret, size_t *ret_n,
                            Err *e);
/*
 * history_find - the record that a user means: "^0" the newest, "^1" the one before, or the first
 * digits of an id. Fails with ERR_USAGE: none, or several.
 */
NODISCARD bool history_find(int storefd, Arena *a, const char *word, HistoryRecord *ret, Err *e);

/*
 * history_open_log - the log of the run that made a step's result.
 *
 *   ret_fd  -1: it printed nothing
 *
 * Fails with ERR_USAGE when the log is not kept any more, or the step did not run.
 */
NODISCARD bool history_open_log(int storefd, Arena *a, const HistoryStep *s, int *ret_fd, Err *e);

#endif
