/*
 * base/event.c - several sinks as one, and events with less to write.
 */
#include "base/event.h"

#include <assert.h>
#include <stdarg.h>

#include "base/fs.h"

const char *how_word(StepHow how)
{
    static const char *const WORDS[NSTEP_HOW] = {[HOW_HIT] = "HIT",
                                                 [HOW_RAN] = "RAN",
                                                 [HOW_FAILED] = "FAILED",
                                                 [HOW_CANCELLED] = "CANCELLED",
                                                 [HOW_SKIPPED] = "SKIPPED"};
    return WORDS[how];
}

static void fan_send(void *arg, const Event *ev)
{
    EventFan *f = arg;
    for (size_t i = 0; i < f->n; i++)
        event_send(&f->v[i], ev);
}

void event_fan_add(EventFan *f, EventSink s)
{
    assert(f->n < EVENT_FAN_MAX);
    f->v[f->n++] = s;
}

EventSink event_fan(EventFan *f)
{
    return (EventSink){fan_send, f};
}

void event_span(const EventSink *s, uint32_t step, const char *text, uint64_t at_ns)
{
    event_send(
        s,
        &(Event){
            .kind = EV_SPAN, .step = step, .text = text, .at_ns = at_ns, .ns = clock_ns() - at_ns});
}

static void send_line(const EventSink *s, EventKind kind, const char *fmt, va_list ap)
{
    scoped(buf) Buf b = BUF_INIT;
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0)
        (void)vsnprintf(buf_reserve(&b, (size_t)n), (size_t)n + 1, fmt, again);
    va_end(again);
    event_send(s, &(Event){.kind = kind, .text = buf_str(&b)});
}

void event_note(const EventSink *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_line(s, EV_NOTE, fmt, ap);
    va_end(ap);
}

void event_warning(const EventSink *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_line(s, EV_WARNING, fmt, ap);
    va_end(ap);
}
