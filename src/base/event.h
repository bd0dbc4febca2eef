/*
 * base/event.h - what rooms tell the person who waits.
 *
 * Library rooms never print. They send events to the sink they were given; ui/ turns them into
 * text. A sink may be called from any thread and does its own locking; strings are borrowed for the
 * call.
 */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include "base/defs.h"

typedef enum EventKind {
    EV_BUILD_START, /* text: name of the build; n: steps in all */
    EV_STEP_START,  /* a step begins to run */
    EV_STEP_LOG,    /* text, len: bytes a step printed, not cut at lines */
    EV_STEP_DONE,   /* how, ns: the step is over */
    EV_NOTE,        /* text: one line worth knowing */
    EV_WARNING,     /* text: one line that asks for action */
} EventKind;

typedef enum StepHow {
    HOW_HIT,       /* taken from the store */
    HOW_RAN,       /* carried out now */
    HOW_FAILED,    /* carried out now, and failed */
    HOW_CANCELLED, /* stopped because another step failed */
    HOW_SKIPPED,   /* never begun because another step failed */
} StepHow;

typedef struct Event {
    EventKind kind;
    const char *stage; /* "builder 3/6" */
    const char *title; /* "COPY . ." */
    const char *text;
    size_t len;
    StepHow how;
    uint64_t ns; /* duration */
    uint32_t n;
} Event;

typedef struct EventSink {
    void (*send)(void *arg, const Event *ev);
    void *arg;
} EventSink;

static inline void event_send(const EventSink *s, const Event *ev)
{
    if (s && s->send)
        s->send(s->arg, ev);
}

#endif
