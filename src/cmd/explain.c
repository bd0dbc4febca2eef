/*
 * cmd/explain.c - why steps run: `lighter plan`, `lighter why`, `lighter build --why`.
 */
#include "base/fs.h"
#include "base/key.h"
#include "cmd/buildrun.h"

/* ---- before ---- */

bool explain_plan(Build *b)
{
    static const char *const WORDS[] = {[WILL_HIT] = "HIT", [WILL_RUN] = "RUN", [WILL_TELL] = "?"};
    unsigned flags = b->opts->no_cache ? SOLVE_NO_CACHE : 0;
    Prediction *v;
    size_t n[NELEM(WORDS)] = {0};
    if (!solve_predict(&b->env, flags, b->arena, &v, b->e))
        return false;
    for (size_t i = 0; i < b->plan.nstep; i++) {
        printf("%-4s [%s] %s\n", WORDS[v[i]], b->plan.steps[i].stage, b->plan.steps[i].title);
        n[v[i]]++;
    }
    printf("%zu of %zu steps would be reused, %zu run", n[WILL_HIT], b->plan.nstep, n[WILL_RUN]);
    if (n[WILL_TELL])
        printf("; %zu (?) depend on what a command leaves", n[WILL_TELL]);
    printf("\n");
    return true;
}

/* ---- after ---- */

/* The key of what is remembered of the last build that ran something. */
static void memo_key(Digest *ret)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, "why 1");
    key_end(&k, ret);
}

bool explain_tell(Build *b)
{
    scoped(buf) Buf text = BUF_INIT;
    Digest key;
    for (size_t i = 0; i < b->sol.nstep && b->sol.why; i++) {
        const PlanStep *p = &b->plan.steps[i];
        if (!b->sol.why[i])
            continue;
        const char *line = arena_printf(b->arena, "[%s] %s: %s", p->stage, p->title, b->sol.why[i]);
        if (b->opts->why)
            event_send(&b->env.sink,
                       &(Event){.kind = EV_NOTE, .text = arena_printf(b->arena, "why: %s", line)});
        buf_printf(&text, "%s\n", line);
    }
    memo_key(&key);
    return !text.len || store_memo_put(b->store, &key, text.ptr, text.len, b->e);
}

/* ---- --check-cache ---- */

bool recheck_parse(Build *b, unsigned *ret)
{
    const char *text = b->opts->check_cache;
    size_t n = strlen(text);
    uint64_t v;
    char *digits = arena_strndup(b->arena, text, n && text[n - 1] == '%' ? n - 1 : n);
    if (!str_u64(digits, 100, &v) || !v)
        return err_set(b->e, ERR_USAGE, "--check-cache=%s: expected 1%% to 100%%", text);
    *ret = (unsigned)v;
    return true;
}

bool recheck(Build *b)
{
    StrList found = {0};
    unsigned percent = 0;
    size_t n;
    if (!b->opts->check_cache)
        return true;
    if (!recheck_parse(b, &percent) || !solve_recheck(&b->env, &b->sol, percent, &found, &n, b->e))
        return false;
    for (size_t i = 0; i < found.n; i++)
        event_send(&b->env.sink, &(Event){.kind = EV_WARNING, .text = found.v[i]});
    if (found.n)
        return err_set(b->e, ERR_CHECK,
                       "--check-cache: of %zu steps that were run again not all "
                       "gave what they gave before",
                       n);
    event_send(&b->env.sink,
               &(Event){.kind = EV_NOTE,
                        .text = arena_printf(b->arena,
                                             "--check-cache: %zu steps were run again, and gave "
                                             "what they gave before",
                                             n)});
    return true;
}

/* ---- lighter why ---- */

typedef struct WhyOpts {
    char nothing;
} WhyOpts;

static const OptTable WHY_TABLE = {
    "lighter why [STEP]",
    "tell why the steps of the last build ran, or those whose line has STEP in it", NULL, 0, false};

static bool run_why(Arena *a, const void *opts, const StrList *operands, int *ret_code, Err *e)
{
    scoped(store) Store *s = NULL;
    scoped(buf) Buf text = BUF_INIT;
    SandboxHost host;
    Digest key;
    bool found, any = false;
    char *save = NULL;
    (void)opts;
    if (operands->n > 1)
        return err_set(e, ERR_USAGE, "takes one step, and got '%s' too", operands->v[1]);
    if (!cmd_store(a, NULL, &host, &s, e))
        return false;
    store_just_looks(s);
    memo_key(&key);
    if (!store_memo_get(s, &key, &text, &found, e))
        return false;
    if (!found)
        return err_set(e, ERR_USAGE, "no build has run a step in the store '%s'", store_path(s));
    for (char *l = strtok_r(text.ptr, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        if (operands->n && !strstr(l, operands->v[0]))
            continue;
        any = true;
        printf("%s\n", l);
    }
    *ret_code = 0;
    return any || err_set(e, ERR_USAGE,
                          "the last build that ran steps ran none with '%s' in its line; 'lighter "
                          "why' lists them",
                          operands->v[0]);
}

const Cmd CMD_WHY = {"why", &WHY_TABLE, sizeof(WhyOpts), run_why, NULL};
