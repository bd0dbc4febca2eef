/*
 * cmd/past.c - records of builds as rows, pages and JSON.
 */
#include "cmd/past.h"

#include <time.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/rune.h"
#include "cmd/space.h"
#include "image/image.h"
#include "image/ref.h"
#include "ui/ui.h"

static const char *result_text(Arena *a, const HistoryRecord *r)
{
    const char *word = history_state_word(r->state);
    return r->state == HISTORY_FAILED ? arena_printf(a, "%s (%d)", word, r->exit_code) : word;
}

/* "9: 5 HIT, 4 RAN" */
static const char *steps_text(Arena *a, const HistoryRecord *r)
{
    scoped(buf) Buf b = BUF_INIT;
    bool any = false;
    buf_printf(&b, "%zu", r->nstep);
    for (int how = 0; how < NSTEP_HOW; how++) {
        if (!r->count[how])
            continue;
        buf_printf(&b, "%s%zu %s", any ? ", " : ": ", r->count[how], how_word((StepHow)how));
        any = true;
    }
    return arena_strdup(a, b.ptr);
}

static const char *seconds_text(Arena *a, double seconds)
{
    char text[32];
    ui_seconds((uint64_t)(seconds * 1e9), text);
    return arena_strdup(a, text);
}

/* How long it took, or has been running. */
static double took(const HistoryRecord *r)
{
    return r->state == HISTORY_RUNNING ? (double)time(NULL) - (double)r->began_ms / 1000
                                       : r->seconds;
}

static const char *name_text(Arena *a, const char *full)
{
    ImageRef ref;
    Err ignored = ERR_INIT;
    return image_ref_parse(a, full, &ref, &ignored) ? image_ref_familiar(a, &ref) : full;
}

/* Text that a Dockerfile or a context made, for a terminal. */
static const char *clean(Arena *a, const char *text)
{
    scoped(buf) Buf b = BUF_INIT;
    if (text)
        buf_add_clean(&b, text, strlen(text));
    return arena_strndup(a, buf_str(&b), b.len);
}

/* ---- JSON ---- */

static json_t *counts(const HistoryRecord *r)
{
    json_t *j = json_object();
    json_object_set_new(j, "steps", json_integer((json_int_t)r->nstep));
    for (int how = 0; how < NSTEP_HOW; how++)
        json_object_set_new(j, how_word((StepHow)how), json_integer((json_int_t)r->count[how]));
    return j;
}

static json_t *texts(const StrList *l)
{
    json_t *j = json_array();
    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(j, json_string_lossy(l->v[i]));
    return j;
}

static json_t *step_json(const HistoryStep *s)
{
    json_t *j = json_object();
    json_object_set_new(j, "step", json_integer(s->step));
    json_set_str(j, "stage", s->stage);
    json_set_str(j, "title", s->title);
    json_set_str(j, "kind", s->kind);
    json_set_str(j, "how", s->over ? how_word(s->how) : NULL);
    json_set_str(j, "key", s->key);
    json_set_str(j, "log", s->log);
    json_object_set_new(j, "at", json_real(s->at));
    json_object_set_new(j, "seconds", json_real(s->seconds));
    return j;
}

void past_json(Arena *a, const HistoryRecord *r, Buf *out)
{
    scoped(json) json_t *j = json_object();
    json_set_str(j, "id", r->id);
    json_set_str(j, "began", image_time(a, r->began_ms / 1000));
    json_object_set_new(j, "began_ms", json_integer(r->began_ms));
    json_set_str(j, "state", history_state_word(r->state));
    json_object_set_new(j, "seconds", json_real(took(r)));
    if (r->state != HISTORY_RUNNING && r->state != HISTORY_INTERRUPTED)
        json_object_set_new(j, "exit_code", json_integer(r->exit_code));
    json_set_str(j, "dockerfile", r->dockerfile);
    json_set_str(j, "target", r->target);
    json_set_str(j, "context", r->context);
    json_object_set_new(j, "names", texts(&r->names));
    json_set_str(j, "image", r->image);
    json_set_str(j, "error", r->error);
    json_object_set_new(j, "count", counts(r));
    if (r->image) {
        json_object_set_new(j, "size", json_integer((json_int_t)r->size));
        json_object_set_new(j, "layers", json_integer((json_int_t)r->nlayer));
    }
    if (r->steps) {
        json_t *steps = json_array();
        for (size_t i = 0; i < r->nstep; i++)
            if (r->steps[i].step)
                json_array_append_new(steps, step_json(&r->steps[i]));
        json_object_set_new(j, "steps", steps);
        json_object_set_new(j, "warnings", texts(&r->warnings));
    }
    json_text(j, out);
    buf_putc(out, '\n');
}

/* ---- tables ---- */

void past_head(Buf *out)
{
    buf_printf(out, "%-13s %-16s %-10s %-13s %-24s %s\n", "BUILD", "STARTED", "TOOK", "RESULT",
               "STEPS", "IMAGE");
}

void past_row(Arena *a, const HistoryRecord *r, Buf *out)
{
    char age[40];
    cmd_age(r->began_ms / 1000, "unknown", age, sizeof age);
    buf_printf(out, "%-13s %-16s %-10s %-13s %-24s %s\n", r->id, age, seconds_text(a, took(r)),
               result_text(a, r), steps_text(a, r),
               r->names.n ? clean(a, name_text(a, r->names.v[0]))
               : r->image ? arena_printf(a, "%.19s", r->image)
                          : clean(a, r->dockerfile));
}

static void put_field(Buf *out, const char *name, const char *value)
{
    if (value && *value)
        buf_printf(out, "%-12s %s\n", name, value);
}

/* The size of a step's own log; "" when it printed nothing. */
static const char *log_size(int storefd, Arena *a, const HistoryStep *s)
{
    struct stat st;
    char size[32];
    if (!s->log ||
        fstatat(storefd, arena_printf(a, "logs/%s", s->log), &st, AT_SYMLINK_NOFOLLOW) < 0)
        return s->log ? "dropped" : "";
    str_size((uint64_t)st.st_size, size, sizeof size);
    return arena_strdup(a, size);
}

static void print_steps(int storefd, Arena *a, const HistoryRecord *r, Buf *out)
{
    buf_printf(out, "\n%5s  %-9s  %-9s  %-9s  %-9s  %s\n", "STEP", "HOW", "AT", "TOOK", "LOG",
               "INSTRUCTION");
    for (size_t i = 0; i < r->nstep; i++) {
        const HistoryStep *s = &r->steps[i];
        if (!s->step)
            continue;
        buf_printf(out, "%5u  %-9s  %-9s  %-9s  %-9s  [%s] %.100s\n", s->step,
                   s->over                       ? how_word(s->how)
                   : r->state == HISTORY_RUNNING ? "running"
                                                 : "-",
                   s->at > 0 ? seconds_text(a, s->at) : "",
                   s->seconds > 0 ? seconds_text(a, s->seconds) : "", log_size(storefd, a, s),
                   s->stage ? s->stage : "", clean(a, s->title));
    }
}

void past_page(int storefd, Arena *a, const HistoryRecord *r, Buf *out)
{
    char age[40], size[32];
    cmd_age(r->began_ms / 1000, "unknown", age, sizeof age);
    str_size(r->size, size, sizeof size);
    put_field(out, "Build:", r->id);
    put_field(out, "Started:", arena_printf(a, "%s (%s)", image_time(a, r->began_ms / 1000), age));
    put_field(out, "Took:", seconds_text(a, took(r)));
    put_field(out, "Result:", result_text(a, r));
    put_field(out, "Dockerfile:", clean(a, r->dockerfile));
    put_field(out, "Target:", clean(a, r->target));
    put_field(out, "Context:", clean(a, r->context));
    for (size_t i = 0; i < r->names.n; i++)
        put_field(out, i ? "" : "Names:", clean(a, name_text(a, r->names.v[i])));
    if (r->image)
        put_field(out, "Image:",
                  arena_printf(a, "%s (%s in %llu layers)", r->image, size,
                               (unsigned long long)r->nlayer));
    put_field(out, "Steps:", steps_text(a, r));
    if (r->error)
        put_field(out, "Error:", clean(a, arena_strndup(a, r->error, strcspn(r->error, "\n"))));
    for (size_t i = 0; i < r->warnings.n; i++)
        put_field(out, i ? "" : "Warnings:", clean(a, r->warnings.v[i]));
    print_steps(storefd, a, r, out);
}
