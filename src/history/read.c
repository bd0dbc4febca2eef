/*
 * history/read.c - records as values.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "history/names.h"

enum { RECORD_MAX = 64 << 20, STEPS_MAX = 100000 };

const char *history_state_word(HistoryState s)
{
    static const char *const WORDS[NHISTORY_STATE] = {[HISTORY_RUNNING] = "running",
                                                      [HISTORY_DONE] = "done",
                                                      [HISTORY_FAILED] = "failed",
                                                      [HISTORY_CANCELLED] = "cancelled",
                                                      [HISTORY_INTERRUPTED] = "interrupted"};
    return WORDS[s];
}

/* ---- lines ---- */

static uint64_t number(const json_t *obj, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(obj, key));
    return v > 0 ? (uint64_t)v : 0;
}

static double real(const json_t *obj, const char *key)
{
    return json_number_value(json_object_get(obj, key));
}

static void keep_new(Arena *a, const json_t *obj, const char *key, const char **field)
{
    const char *text = json_keep(a, obj, key);
    if (text)
        *field = text;
}

typedef struct Reader {
    Arena *a;
    HistoryRecord *r;
    size_t cap;
    bool ended;
} Reader;

static void take_first(Reader *x, const json_t *j)
{
    HistoryRecord *r = x->r;
    r->began_ms = (int64_t)number(j, "began_ms");
    keep_new(x->a, j, "dockerfile", &r->dockerfile);
    keep_new(x->a, j, "target", &r->target);
    keep_new(x->a, j, "context", &r->context);
    r->names = json_strlist(x->a, j, "names");
}

/* Have so many steps at least; of one that nothing was said of, nothing is known. */
static void have_steps(Reader *x, uint64_t n)
{
    HistoryRecord *r = x->r;
    if (n > STEPS_MAX)
        return;
    if (n > x->cap) {
        size_t cap = n * 2 + 16;
        r->steps = arena_grow(x->a, r->steps, x->cap, cap, sizeof *r->steps);
        x->cap = cap;
    }
    r->nstep = n > r->nstep ? n : r->nstep;
}

static HistoryStep *step_at(Reader *x, uint64_t step)
{
    have_steps(x, step);
    return &x->r->steps[step - 1];
}

static void take_step(Reader *x, const json_t *j)
{
    uint64_t step = number(j, "step");
    const char *how = json_str(j, "how");
    if (!step || step > STEPS_MAX)
        return;
    HistoryStep *s = step_at(x, step);
    s->step = (uint32_t)step;
    keep_new(x->a, j, "stage", &s->stage);
    keep_new(x->a, j, "title", &s->title);
    keep_new(x->a, j, "kind", &s->kind);
    keep_new(x->a, j, "key", &s->key);
    keep_new(x->a, j, "run", &s->run);
    keep_new(x->a, j, "log", &s->log);
    s->at = real(j, "at");
    s->seconds = real(j, "seconds");
    for (int i = 0; how && i < NSTEP_HOW; i++)
        if (!strcmp(how, how_word((StepHow)i))) {
            s->over = true;
            s->how = (StepHow)i;
            x->r->count[i]++;
        }
}

static void take_end(Reader *x, const json_t *j)
{
    HistoryRecord *r = x->r;
    const json_t *count = json_object_get(j, "count");
    x->ended = true;
    r->exit_code = (int)number(j, "exit_code");
    r->state = json_is_true(json_object_get(j, "cancelled")) ? HISTORY_CANCELLED
               : r->exit_code                                ? HISTORY_FAILED
                                                             : HISTORY_DONE;
    r->seconds = real(j, "seconds");
    r->size = number(j, "size");
    r->nlayer = number(j, "layers");
    keep_new(x->a, j, "error", &r->error);
    keep_new(x->a, j, "image", &r->image);
    have_steps(x, number(count, "steps"));
    for (int i = 0; i < NSTEP_HOW; i++)
        r->count[i] = number(count, how_word((StepHow)i));
}

static void take_line(Reader *x, const char *line, size_t n)
{
    Err ignored = ERR_INIT;
    json_t *raw = NULL;
    if (!json_parse(line, n, &raw, &ignored)) /* its writer was killed in the middle */
        return;
    scoped(json) json_t *j = raw;
    if (json_object_get(j, "format"))
        take_first(x, j);
    else if (json_object_get(j, "step"))
        take_step(x, j);
    else if (json_object_get(j, "exit_code"))
        take_end(x, j);
    else if (json_object_get(j, "steps"))
        keep_new(x->a, j, "dockerfile", &x->r->dockerfile);
    else if (json_str(j, "warning"))
        strlist_add(x->a, &x->r->warnings, json_str(j, "warning"));
}

/* ---- texts ---- */

/* A record that is there: in a file of its own, or a part of one of many. */
typedef struct Entry {
    const char *name;
    const char *text; /* NULL: in a file of its own */
    size_t n;
} Entry;

typedef struct Shelf {
    Arena *a;
    Entry *v;
    size_t n, cap;
} Shelf;

static const char *name_of(Arena *a, Str line)
{
    json_t *raw = NULL;
    Err ignored = ERR_INIT;
    if (!json_parse(line.ptr, line.len, &raw, &ignored))
        return "";
    scoped(json) json_t *j = raw;
    const char *id = json_str(j, "id");
    return arena_printf(a, "%013llu-%s", (unsigned long long)number(j, "began_ms"), id ? id : "");
}

/* All records in a file of many. */
static void add_short(Shelf *s, int storefd, const char *file)
{
    scoped(buf) Buf text = BUF_INIT;
    scoped(fd) int fd = history_open(storefd, "builds", file, O_RDONLY);
    Err ignored = ERR_INIT;
    if (fd < 0 || !fs_read_all(fd, RECORD_MAX, &text, &ignored))
        return;
    const char *p = arena_strndup(s->a, buf_str(&text), text.len), *end = p + text.len;
    Entry *x = NULL;
    for (Str line; next_line(&p, end, &line);) {
        if (is_first_line(line, NULL)) {
            x = ARENA_PUSH(s->a, s->v, s->n, s->cap);
            *x = (Entry){.name = name_of(s->a, line), .text = line.ptr};
        }
        if (x)
            x->n += line.len;
    }
}

static int newest_first(const void *a, const void *b)
{
    return strcmp(((const Entry *)b)->name, ((const Entry *)a)->name);
}

static bool load(int storefd, Arena *a, Shelf *ret, Err *e)
{
    Shelf s = {.a = a};
    StrList names;
    size_t n = 0;
    if (!list_dir(storefd, a, "builds", &names, e))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        if (is_short(names.v[i]))
            add_short(&s, storefd, names.v[i]);
        else
            *ARENA_PUSH(a, s.v, s.n, s.cap) = (Entry){.name = names.v[i]};
    }
    for (size_t i = 0; i < s.n; i++)
        if (id_of(s.v[i].name))
            s.v[n++] = s.v[i];
    s.n = n;
    if (n)
        qsort(s.v, n, sizeof *s.v, newest_first);
    *ret = s;
    return true;
}

/* ---- records ---- */

/* Whether it ends with the line that has the counts, as when the build came to its end. */
static bool has_counts(const char *text, size_t n)
{
    if (!n || text[n - 1] != '\n')
        return false;
    const char *nl = memrchr(text, '\n', n - 1);
    return str_starts(nl ? nl + 1 : text, "{\"exit_code\"");
}

/* `brief`: without steps, unless they must be counted. */
static void read_lines(Reader *x, const char *text, size_t len, bool brief)
{
    bool skip = brief && has_counts(text, len);
    const char *p = text, *end = text + len;
    for (Str line; next_line(&p, end, &line);)
        if (!skip || !str_starts(line.ptr, "{\"step\":"))
            take_line(x, line.ptr, line.len);
}

/* False: it has just been dropped. */
static bool read_record(int storefd, Arena *a, const Entry *x, bool brief, HistoryRecord *ret)
{
    scoped(buf) Buf text = BUF_INIT;
    scoped(fd) int fd = x->text ? -1 : history_open(storefd, "builds", x->name, O_RDONLY);
    Err ignored = ERR_INIT;
    *ret = (HistoryRecord){.name = x->name, .id = id_of(x->name), .state = HISTORY_INTERRUPTED};
    if (fd < 0 && !x->text)
        return false;
    /* Asked before it is read: a build that ends in between has written its last line. */
    bool locked = fd >= 0 && is_locked(fd);
    if (fd >= 0 && !fs_read_all(fd, RECORD_MAX, &text, &ignored))
        text.len = 0;
    if (locked || (fd >= 0 && !text.len)) /* its writer has just made it */
        ret->state = HISTORY_RUNNING;
    ret->began_ms = strtoll(x->name, NULL, 10);
    Reader reader = {.a = a, .r = ret};
    read_lines(&reader, x->text ? x->text : buf_str(&text), x->text ? x->n : text.len, brief);
    return true;
}

bool history_list(int storefd, Arena *a, size_t max, HistoryRecord **ret, size_t *ret_n, Err *e)
{
    Shelf s;
    if (!load(storefd, a, &s, e))
        return false;
    HistoryRecord *v = NEW_N(a, HistoryRecord, (s.n < max ? s.n : max) + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n && n < max; i++)
        n += read_record(storefd, a, &s.v[i], true, &v[n]);
    *ret = v;
    *ret_n = n;
    return true;
}

/* ---- which ---- */

static bool find_nth(const Shelf *s, const char *word, const Entry **ret, Err *e)
{
    uint64_t n;
    if (!str_u64(word + 1, UINT32_MAX, &n))
        return err_set(e, ERR_USAGE, "'%s': expected ^1, ^2...", word);
    if (n >= s->n)
        return err_set(e, ERR_USAGE, "'%s': there are %zu builds", word, s->n);
    *ret = &s->v[n];
    return true;
}

static bool find_id(const Shelf *s, const char *word, const Entry **ret, Err *e)
{
    const Entry *found = NULL;
    for (size_t i = 0; i < s->n && *word; i++) {
        if (!str_starts(id_of(s->v[i].name), word))
            continue;
        if (found)
            return err_set(e, ERR_USAGE, "'%s' is the beginning of several builds' ids", word);
        found = &s->v[i];
    }
    *ret = found;
    return found ||
           err_set(e, ERR_USAGE, "no build '%s'; 'lighter log' lists those that are kept", word);
}

bool history_find(int storefd, Arena *a, const char *word, HistoryRecord *ret, Err *e)
{
    Shelf s;
    const Entry *x = NULL;
    if (!load(storefd, a, &s, e) ||
        !(word[0] == '^' ? find_nth(&s, word, &x, e) : find_id(&s, word, &x, e)))
        return false;
    return read_record(storefd, a, x, false, ret) ||
           err_set(e, ERR_USAGE, "build '%s' has just been dropped", word);
}
