/*
 * steps/sources.h - where the files of a step come from. Private to the steps room.
 *
 * A PlanSource is looked at in two moments: for the step's key, when just enough is found out to
 * name its content, and when the step runs, when its files are opened.
 */
#ifndef STEPS_SOURCES_H
#define STEPS_SOURCES_H

#include "steps/steps.h"

typedef struct StepSource {
    bool named;     /* `content` is set */
    Digest content; /* what stands for the source in the key */
    bool selected;
    bool unnamed;        /* what is selected need have no digests: it is in no key */
    Selection selection; /* once `selected` */
    SnapshotId snapshot; /* URL and git: the directory that holds the files, once named */
    SourceFile file;     /* URL */
} StepSource;

/* The files of a source, opened. */
typedef struct OpenSource {
    const View *view;
    StackView stack;
    Store *store;
    char tmp[STORE_TMP_MAX]; /* of a here-document */
    int fd;
    View own;
} OpenSource;

#define OPEN_SOURCE_INIT                                                                           \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/*
 * source_name - set `s->content`, reading no more than that takes.
 *
 *   ret_known  false: it must wait until the namespaces are entered, because a snapshot must be
 *              read or a server asked
 */
NODISCARD bool source_name(StepWork *w, const PlanSource *p, StepSource *s, bool *ret_known,
                           Err *e);

/* source_is_remembered - whether the digest of a PLAN_STEP source is known from an earlier time. */
NODISCARD bool source_is_remembered(StepWork *w, const PlanSource *p, bool *ret, Err *e);

/* source_open - open its files for reading; source_close() when done. */
NODISCARD bool source_open(StepWork *w, const PlanSource *p, StepSource *s, OpenSource *ret,
                           Err *e);
void source_close(OpenSource *o);
static inline void scoped_open_source_done(OpenSource *o)
{
    source_close(o);
}

/* source_select - set `s->selection`: what the source stands for, with digests. */
NODISCARD bool source_select(StepWork *w, const PlanSource *p, const View *v, StepSource *s,
                             Err *e);

/* source_result - the directories that a PLAN_STEP source's result is made of. */
NODISCARD bool source_result(StepWork *w, const PlanSource *p, Stack *ret, Err *e);

/* source_place - "Dockerfile:3: COPY x", for messages. */
const char *source_place(StepWork *w, const PlanSource *p);

#endif
