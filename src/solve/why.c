/*
 * solve/why.c - the parts of two keys, compared and put into words.
 */
#include "solve/why.h"

#include "base/map.h"

enum { SHOWN_BYTES = 60 };

/* ---- parts ---- */

/* One "name=value" line. */
typedef struct Part {
    const char *name, *value;
} Part;

typedef struct Parts {
    Part *v;
    size_t n, cap;
} Parts;

static const char *unescape(Arena *a, const char *s, size_t n)
{
    char *out = arena_alloc(a, n + 1), *to = out;
    for (size_t i = 0; i < n; i++) {
        bool escape = s[i] == '\\' && i + 1 < n;
        *to++ = !escape ? s[i] : s[++i] == 'n' ? '\n' : s[i];
    }
    return out;
}

static Parts read_parts(Arena *a, const char *text)
{
    Parts p = {0};
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, "\n"), name = strcspn(at, "=\n");
        if (name < len)
            *ARENA_PUSH(a, p.v, p.n, p.cap) =
                (Part){arena_strndup(a, at, name), unescape(a, at + name + 1, len - name - 1)};
        at += len + (at[len] == '\n');
    }
    return p;
}

/* The value of the first part of that name from `*at` on. */
static const char *value_of(const Parts *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->v[i].name, name))
            return p->v[i].value;
    return NULL;
}

/* The members of a list that begins with its length. */
static StrList list_of(Arena *a, const Parts *p, const char *name)
{
    StrList l = {0};
    bool counted = false;
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->v[i].name, name) != 0)
            continue;
        if (counted)
            strlist_add(a, &l, p->v[i].value);
        counted = true;
    }
    return l;
}

/* ---- words ---- */

static void also(Buf *b)
{
    if (b->len)
        buf_puts(b, "; ");
}

/* A text on one line and not too long, from a little before the first difference on. */
static const char *shown(Arena *a, const char *s, size_t from)
{
    scoped(buf) Buf b = BUF_INIT;
    size_t n = strlen(s), start = from > SHOWN_BYTES / 3 ? from - SHOWN_BYTES / 3 : 0;
    if (n <= SHOWN_BYTES)
        start = 0;
    while (start > 0 && (s[start] & 0xc0) == 0x80)
        start--;
    size_t end = start + SHOWN_BYTES < n ? start + SHOWN_BYTES : n;
    while (end < n && (s[end] & 0xc0) == 0x80)
        end++;
    buf_puts(&b, start ? "..." : "");
    for (size_t i = start; i < end; i++)
        buf_putc(&b, s[i] == '\n' ? ' ' : s[i]);
    buf_puts(&b, end < n ? "..." : "");
    return arena_strdup(a, buf_str(&b));
}

static void two(Arena *a, Buf *b, const char *what, const char *was, const char *is)
{
    size_t same = 0;
    while (was[same] && was[same] == is[same])
        same++;
    also(b);
    if (!*was || !*is)
        buf_printf(b, "%s %s (`%s`)", what, *is ? "is new" : "is gone",
                   shown(a, *is ? is : was, 0));
    else
        buf_printf(b, "%s is `%s`, was `%s`", what, shown(a, is, same), shown(a, was, same));
}

/* ---- RUN ---- */

static void compare_command(Arena *a, Buf *b, const Parts *was, const Parts *is)
{
    StrList x = list_of(a, was, "arg"), y = list_of(a, is, "arg");
    bool shell = x.n == y.n && x.n > 1;
    for (size_t i = 0; shell && i + 1 < x.n; i++)
        shell = !strcmp(x.v[i], y.v[i]);
    if (shell) {
        if (strcmp(x.v[x.n - 1], y.v[y.n - 1]) != 0)
            two(a, b, "the command", x.v[x.n - 1], y.v[y.n - 1]);
        return;
    }
    scoped(buf) Buf p = BUF_INIT, q = BUF_INIT;
    bool same_end = x.n && y.n && !strcmp(x.v[x.n - 1], y.v[y.n - 1]);
    for (size_t i = 0; i + same_end < x.n; i++)
        buf_printf(&p, "%s%s", i ? " " : "", x.v[i]);
    for (size_t i = 0; i + same_end < y.n; i++)
        buf_printf(&q, "%s%s", i ? " " : "", y.v[i]);
    if (strcmp(buf_str(&p), buf_str(&q)) != 0)
        two(a, b, same_end ? "SHELL" : "the command", buf_str(&p), buf_str(&q));
}

static const char *find_name(const StrList *l, const char *kv)
{
    size_t n = strcspn(kv, "=");
    for (size_t i = 0; i < l->n; i++)
        if (!strncmp(l->v[i], kv, n + 1))
            return l->v[i] + n + 1;
    return NULL;
}

static void compare_env(Arena *a, Buf *b, const Parts *was, const Parts *is)
{
    StrList x = list_of(a, was, "env"), y = list_of(a, is, "env");
    size_t before = b->len;
    bool order = x.n == y.n;
    for (size_t i = 0; i < y.n; i++) {
        const char *old = find_name(&x, y.v[i]), *value = strchr(y.v[i], '=');
        int n = (int)strcspn(y.v[i], "=");
        order = order && !strcmp(x.v[i], y.v[i]);
        if (!value || (old && !strcmp(old, value + 1)))
            continue;
        also(b);
        if (old)
            buf_printf(b, "%.*s is `%s`, was `%s`", n, y.v[i], shown(a, value + 1, 0),
                       shown(a, old, 0));
        else
            buf_printf(b, "%.*s is `%s`, was unset", n, y.v[i], shown(a, value + 1, 0));
    }
    for (size_t i = 0; i < x.n; i++) {
        const char *value = strchr(x.v[i], '=');
        if (!value || find_name(&y, x.v[i]))
            continue;
        also(b);
        buf_printf(b, "%.*s is unset, was `%s`", (int)strcspn(x.v[i], "="), x.v[i],
                   shown(a, value + 1, 0));
    }
    if (!order && b->len == before) {
        also(b);
        buf_puts(b, "the environment is in another order");
    }
}

/* A mount with all that is said of it, up to the next. */
typedef struct Mount {
    const char *target;
    Part *v;
    size_t n;
} Mount;

static size_t mounts_of(Arena *a, const Parts *p, Mount **ret)
{
    Mount *v = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (!strcmp(p->v[i].name, "mount"))
            *ARENA_PUSH(a, v, n, cap) = (Mount){.target = p->v[i].value, .v = &p->v[i + 1]};
        else if (n)
            v[n - 1].n++;
    }
    *ret = v;
    return n;
}

static void compare_mount(Arena *a, Buf *b, const Mount *was, const Mount *is)
{
    bool options = was->n != is->n, files = false;
    for (size_t i = 0; i < was->n && i < is->n; i++) {
        if (!strcmp(was->v[i].value, is->v[i].value) && !strcmp(was->v[i].name, is->v[i].name))
            continue;
        bool digest =
            str_starts(was->v[i].value, "sha256:") && !strcmp(was->v[i].name, is->v[i].name);
        files = files || digest;
        options = options || !digest;
    }
    (void)a;
    if (options || files) {
        also(b);
        buf_printf(b, "%s %s changed", options ? "the mount on" : "files that are mounted on",
                   is->target);
    }
}

static void compare_mounts(Arena *a, Buf *b, const Parts *was, const Parts *is)
{
    Mount *x = NULL, *y = NULL;
    size_t nx = mounts_of(a, was, &x), ny = mounts_of(a, is, &y);
    for (size_t i = 0; i < ny; i++) {
        size_t k = 0;
        while (k < nx && strcmp(x[k].target, y[i].target) != 0)
            k++;
        if (k < nx) {
            compare_mount(a, b, &x[k], &y[i]);
            continue;
        }
        also(b);
        buf_printf(b, "the mount on %s is new", y[i].target);
    }
    for (size_t i = 0; i < nx; i++) {
        size_t k = 0;
        while (k < ny && strcmp(y[k].target, x[i].target) != 0)
            k++;
        if (k == ny) {
            also(b);
            buf_printf(b, "the mount on %s is gone", x[i].target);
        }
    }
}

/* ---- single values, of any kind ---- */

static const struct {
    const char *name, *words;
} VALUES[] = {{"path", "WORKDIR"},
              {"cwd", "WORKDIR"},
              {"user", "USER"},
              {"network", "the network"},
              {"security", "--security"},
              {"hostname", "the host name"},
              {"shm", "--shm-size"},
              {"owners", "--owners"},
              {"script", "the here-document"},
              {"gocache", "GOCACHE outside of the layer"},
              {"platform", "the platform"},
              {"dest", "the destination"},
              {"chown", "--chown"},
              {"chmod", "--chmod"},
              {"unpack", "what is unpacked"},
              {"link", "--link"}};

static void compare_values(Arena *a, Buf *b, const Parts *was, const Parts *is)
{
    for (size_t i = 0; i < NELEM(VALUES); i++) {
        const char *x = value_of(was, VALUES[i].name), *y = value_of(is, VALUES[i].name);
        if (strcmp(x ? x : "", y ? y : "") != 0)
            two(a, b, VALUES[i].words, x ? x : "", y ? y : "");
    }
}

static void compare_list(Arena *a, Buf *b, const Parts *was, const Parts *is, const char *name,
                         const char *words)
{
    StrList x = list_of(a, was, name), y = list_of(a, is, name);
    bool same = x.n == y.n;
    for (size_t i = 0; same && i < x.n; i++)
        same = !strcmp(x.v[i], y.v[i]);
    if (same)
        return;
    also(b);
    buf_puts(b, words);
}

/* ---- COPY ---- */

/* Sources come in pairs: what they are called, and what their content is called. */
static void compare_sources(Arena *a, Buf *b, const Parts *was, const Parts *is, const char *files)
{
    scoped(buf) Buf x = BUF_INIT, y = BUF_INIT;
    bool content = false;
    size_t i = 0, k = 0;
    while (i < was->n && strcmp(was->v[i].name, "source") != 0)
        i++;
    while (k < is->n && strcmp(is->v[k].name, "source") != 0)
        k++;
    for (; i < was->n || k < is->n; i++, k++) {
        const Part *p = i < was->n ? &was->v[i] : NULL, *q = k < is->n ? &is->v[k] : NULL;
        if (p && !strcmp(p->name, "source"))
            buf_printf(&x, "%s%s", x.len ? " " : "", p->value);
        if (q && !strcmp(q->name, "source"))
            buf_printf(&y, "%s%s", y.len ? " " : "", q->value);
        content = content || !p || !q || (strcmp(p->value, q->value) != 0);
    }
    if (strcmp(buf_str(&x), buf_str(&y)) != 0) {
        two(a, b, "what is copied", buf_str(&x), buf_str(&y));
    } else if (content) {
        also(b);
        buf_puts(b, files ? files : "the content of what is copied changed");
    }
}

const char *why_differs(Arena *a, const char *was, const char *is, const char *parent,
                        const char *files)
{
    scoped(buf) Buf b = BUF_INIT;
    Parts x = read_parts(a, was), y = read_parts(a, is);
    const char *kx = value_of(&x, "key"), *ky = value_of(&y, "key");
    if (!kx || !ky || strcmp(kx, ky) != 0)
        return "another lighter made it, which names steps in another way";
    const char *px = value_of(&x, "parent"), *py = value_of(&y, "parent");
    bool copy = str_starts(ky, "copy");
    if (strcmp(px ? px : "", py ? py : "") != 0)
        buf_puts(&b, parent);
    compare_values(a, &b, &x, &y);
    if (copy) {
        compare_sources(a, &b, &x, &y, files);
    } else {
        compare_command(a, &b, &x, &y);
        compare_env(a, &b, &x, &y);
        compare_list(a, &b, &x, &y, "host", "--add-host changed");
        compare_list(a, &b, &x, &y, "ulimit", "--ulimit changed");
        compare_mounts(a, &b, &x, &y);
    }
    return arena_strdup(a, buf_str(&b));
}

/* ---- the nearest earlier record ---- */

/* The two names of a step; `nth` tells equal lines of a stage apart. */
typedef struct Names {
    Digest line, number;
} Names;

static const char *stage_of(Arena *a, const PlanStep *p)
{
    Str place = plan_stage_place(p);
    return arena_strndup(a, place.ptr, place.len);
}

/* "5" of "builder 5/6" */
static const char *number_of(Arena *a, const PlanStep *p)
{
    const char *at = strrchr(p->stage, ' ');
    return at ? arena_strndup(a, at + 1, strcspn(at + 1, "/")) : "";
}

static void name_step(const StepsEnv *env, Arena *a, const PlanStep *p, uint64_t nth, Names *ret)
{
    scoped(key) KeyBuilder line = {.text = BUF_INIT}, number = {.text = BUF_INIT};
    key_begin(&line, "line 1");
    key_text(&line, "scope", env->scope);
    key_text(&line, "stage", stage_of(a, p));
    key_text(&line, "title", p->title);
    key_text(&line, "nth", arena_printf(a, "%llu", (unsigned long long)nth));
    key_end(&line, &ret->line);
    key_begin(&number, "number 1");
    key_text(&number, "scope", env->scope);
    key_text(&number, "stage", stage_of(a, p));
    key_text(&number, "number", number_of(a, p));
    key_text(&number, "kind", arena_printf(a, "%d", (int)p->kind));
    key_end(&number, &ret->number);
}

static Names *name_steps(const StepsEnv *env, Arena *a)
{
    scoped(map) Map seen = {0};
    Names *v = NEW_N(a, Names, env->plan->nstep + 1);
    for (size_t i = 0; i < env->plan->nstep; i++) {
        const PlanStep *p = &env->plan->steps[i];
        const char *at = arena_printf(a, "%s %s", stage_of(a, p), p->title);
        uint64_t nth = 0;
        (void)map_get(&seen, at, &nth);
        name_step(env, a, p, nth, &v[i]);
        (void)map_put(&seen, at, nth + 1);
    }
    return v;
}

/* What is remembered by a name: the step's key, and the line that it stood on. */
static bool earlier(const StepsEnv *env, Arena *a, const Digest *name, Digest *ret_key,
                    const char **ret_parent, bool *ret_found, Err *e)
{
    scoped(buf) Buf value = BUF_INIT;
    if (!store_memo_get(env->store, name, &value, ret_found, e))
        return false;
    *ret_found = *ret_found && value.len >= DIGEST_SIZE;
    if (!*ret_found)
        return true;
    memcpy(ret_key->b, value.ptr, DIGEST_SIZE);
    *ret_parent = arena_strndup(a, value.ptr + DIGEST_SIZE, value.len - DIGEST_SIZE);
    return true;
}

static const PlanStep *parent_of(const StepsEnv *env, size_t i)
{
    const PlanStep *p = &env->plan->steps[i];
    return p->ninput ? &env->plan->steps[p->inputs[0]] : NULL;
}

/* "busybox" of "FROM busybox AS b" */
static const char *base_of(Arena *a, const char *title)
{
    const char *name = title + strlen("FROM ");
    return arena_strndup(a, name, strcspn(name, " "));
}

static bool is_planned(const StepsEnv *env, const char *title)
{
    for (size_t i = 0; i < env->plan->nstep; i++)
        if (!strcmp(env->plan->steps[i].title, title))
            return true;
    return false;
}

/* What to say when the step stands on another result than before. */
static const char *parent_words(const StepsEnv *env, const Solution *s, size_t i, const char *was)
{
    Arena *a = (Arena *)(uintptr_t)&s->arena;
    const PlanStep *p = parent_of(env, i);
    if (!p)
        return "it stands on something else";
    bool ran = s->how[env->plan->steps[i].inputs[0]] == HOW_RAN;
    bool other = strcmp(p->title, was) != 0 && *was;
    if (other && p->kind == STEP_FROM && str_starts(was, "FROM "))
        return arena_printf(a, "the base is `%s`, was `%s`", base_of(a, p->title), base_of(a, was));
    if (other && (!ran || is_planned(env, was)))
        return arena_printf(a, "it comes after `%s`, and came after `%s`", shown(a, p->title, 0),
                            shown(a, was, 0));
    if (p->kind == STEP_FROM)
        return arena_printf(a, "%s is another image than before", base_of(a, p->title));
    return arena_printf(a, "`%s` before it %s", shown(a, p->title, 0),
                        ran ? "ran again" : "has another result");
}

static bool tell_step(const StepsEnv *env, Solution *s, size_t i, const Names *names, Err *e)
{
    StepWork *w = &s->works[i];
    Digest key;
    const char *was_parent = "", *words = NULL;
    const Digest *by[] = {&names->line, &names->number};
    for (size_t k = 0; k < NELEM(by) && !words; k++) {
        scoped(buf) Buf inputs = BUF_INIT;
        bool found;
        if (!earlier(env, &s->arena, by[k], &key, &was_parent, &found, e) ||
            (found && !store_record_inputs(env->store, &key, &inputs, &found, e)))
            return false;
        if (found && digest_eq(&key, &w->key))
            words = "it was to run again (--no-cache)";
        else if (found)
            words = why_differs(&s->arena, buf_str(&inputs), buf_str(&w->key_parts.text),
                                parent_words(env, s, i, was_parent), w->changes);
    }
    s->why[i] = words ? words : "it was not built here before";
    return true;
}

bool why_tell(const StepsEnv *env, Solution *s, Err *e)
{
    const Names *names = name_steps(env, &s->arena);
    s->why = NEW_N(&s->arena, const char *, s->nstep + 1);
    for (size_t i = 0; i < s->nstep; i++)
        if (s->how[i] == HOW_RAN && !tell_step(env, s, i, &names[i], e))
            return false;
    return true;
}

bool why_remember(const StepsEnv *env, const Solution *s, Err *e)
{
    scoped(arena) Arena a = {0};
    const Names *names = name_steps(env, &a);
    StoreMemo *v = NEW_N(&a, StoreMemo, 2 * s->nstep + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->nstep; i++) {
        const PlanStep *p = parent_of(env, i);
        if (env->plan->steps[i].kind == STEP_FROM)
            continue;
        size_t len = DIGEST_SIZE + (p ? strlen(p->title) : 0);
        char *value = arena_alloc(&a, len + 1);
        memcpy(value, s->works[i].key.b, DIGEST_SIZE);
        memcpy(value + DIGEST_SIZE, p ? p->title : "", len - DIGEST_SIZE);
        v[n++] = (StoreMemo){names[i].line, {value, len}};
        v[n++] = (StoreMemo){names[i].number, {value, len}};
    }
    return store_memo_put_all(env->store, v, n, e);
}
