/*
 * base/event.h - what rooms tell the person who waits.
 *
 * Library rooms never print. They send events to the sink they were given; ui/ turns them into
 * text, history/ into a record. A sink may be called from any thread and does its own locking;
 * strings are borrowed for the call.
 *
 *   EV_BUILD_START
 *     WAIT* EV_STEP_DONE                        a hit: it never starts
 *     WAIT* EV_STEP_START { LOG | WAIT }* EV_STEP_DONE
 *     EV_TASK+ EV_TASK_DONE                     inside a step or beside all of them
 *   EV_BUILD_DONE                               also of a build that failed before it started
 */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include "base/defs.h"
#include "base/digest.h"

typedef enum EventKind {
    EV_BUILD_START, /* text: name of the Dockerfile; n: steps in all */
    EV_STEP_START,  /* a step begins to run */
    EV_STEP_LOG,    /* text, len: bytes a step printed, not cut at lines */
    EV_STEP_WAIT,   /* text: what a step waits for, maybe before it begins; NULL: it goes on */
    EV_STEP_DONE,   /* how, at_ns, ns, key, created, log: the step is over */
    EV_TASK,        /* text: work that goes on; done, total: bytes, total 0 when nobody knows */
    EV_TASK_DONE,   /* text: and is over */
    EV_SPAN,        /* at_ns, ns, text: a part of the work is over, in this very thread; without
                       text it was all of the step */
    EV_NOTE,        /* text: one line worth knowing */
    EV_WARNING,     /* text: one line that asks for action */
    EV_RESULT,      /* text: what the build came to, in one line; nothing failed */
    EV_PAUSE,       /* the terminal is somebody else's from here on */
    EV_BUILD_DONE,  /* end */
} EventKind;

typedef enum StepHow {
    HOW_HIT,       /* taken from the store */
    HOW_RAN,       /* carried out now */
    HOW_FAILED,    /* carried out now, and failed */
    HOW_CANCELLED, /* stopped because another step failed */
    HOW_SKIPPED,   /* never begun because another step failed */
} StepHow;
enum { NSTEP_HOW = HOW_SKIPPED + 1 };

/* What became of a build. */
typedef struct EventEnd {
    int exit_code;     /* 0: it succeeded */
    bool cancelled;    /* by a signal */
    const char *error; /* NULL when it succeeded */
    const char *image; /* its ID; NULL when there is none */
    const char *const *names;
    size_t nname;
    uint64_t size; /* bytes of the image's layers */
    size_t nlayer, nstep, count[NSTEP_HOW];
    uint64_t ns; /* how long it took */
} EventEnd;

typedef struct Event {
    EventKind kind;
    uint32_t step;     /* which one, from 1 in the order of the plan; 0: none */
    const char *what;  /* its kind: "from", "run", "copy", "workdir" */
    const char *stage; /* "builder 3/6" */
    const char *title; /* "COPY . ." */
    const char *text;
    size_t len;
    StepHow how;
    uint64_t at_ns, ns;   /* clock_ns() when it began; how long it took */
    uint64_t done, total; /* bytes */
    const Digest *key;    /* NULL: not known */
    int64_t created;      /* seconds since the epoch: when the result's step ran; 0: not known */
    const char *log;      /* name of the file with all that the step printed; NULL: nothing */
    uint32_t n;
    const EventEnd *end;
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

/* Several sinks as one: each gets every event, in this order. */
enum { EVENT_FAN_MAX = 4 };
typedef struct EventFan {
    EventSink v[EVENT_FAN_MAX];
    size_t n;
} EventFan;

/* event_fan_add - one more sink, before other threads send. */
void event_fan_add(EventFan *f, EventSink s);
EventSink event_fan(EventFan *f);

/*
 * event_span - a part of the work that this thread began at `at_ns` is over.
 *
 *   step  that it belongs to; 0: none
 *   text  NULL: it was the whole step
 */
void event_span(const EventSink *s, uint32_t step, const char *text, uint64_t at_ns);

/* event_note, event_warning - one line, as printf(3) writes it. */
void event_note(const EventSink *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void event_warning(const EventSink *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* how_word - "HIT", "RAN", "FAILED", "CANCELLED" or "SKIPPED". */
const char *how_word(StepHow how);

#endif
