/*
 * steps/gotexts.c - what go wrote of the words of proxies is remembered, by command.
 *
 * Of a go.mod its h1 is, which go.sum proves; of an .info and of a list of versions the text, which
 * nothing does. So only commands are believed that run nothing but go, and only as long as the go
 * command, what the proxy said, and go.sum are the same.
 */
#include "steps/gotexts.h"

#include "base/fs.h"
#include "base/map.h"

enum { INFO_MAX = 4096 };

const char *gotexts_base(Arena *a, const GoModule *m)
{
    const char *path, *version;
    Err ignored = ERR_INIT;
    if (!go_path_escape(a, m->path, &path, &ignored) ||
        !go_version_escape(a, m->version, &version, &ignored))
        return NULL;
    return arena_printf(a, "cache/download/%s/@v/%s", path, version);
}

const char *gotexts_without(Arena *a, const char *text,
                            bool (*gone)(const void *arg, const char *version), const void *arg)
{
    scoped(buf) Buf out = BUF_INIT;
    for (const char *p = text; *p; p += *p == '\n') {
        size_t n = strcspn(p, "\n");
        const char *version = arena_strndup(a, p, n);
        if (!gone(arg, version))
            buf_printf(&out, "%s\n", version);
        p += n;
    }
    return arena_strdup(a, buf_str(&out));
}

/* ---- what is remembered ---- */

/* The layers that the go command is in, and what is asked of it. */
static bool name_of(StepWork *w, const StepGo *g, const View *v, Digest *ret)
{
    scoped(key) KeyBuilder k;
    Str stage = plan_stage_place(w->step);
    const char *version = go_version_in(&w->arena, v, &g->root);
    key_begin(&k, "gotexts 1");
    key_text(&k, "scope", w->env->go_scope ? w->env->go_scope : "");
    key_text(&k, "stage", arena_strndup(&w->arena, stage.ptr, stage.len));
    key_list(&k, "arg", &w->step->u.run.argv);
    key_text(&k, "cache", g->root.settings.gomodcache);
    key_text(&k, "goroot", g->root.goroot);
    key_text(&k, "go", version ? version : "");
    key_end(&k, ret);
    return version != NULL;
}

/* The next word of a line. */
static const char *word(Arena *a, const char **p, char end)
{
    const char ends[] = {end, '\n', 0};
    size_t n = strcspn(*p, ends);
    const char *ret = arena_strndup(a, *p, n);
    *p += n + ((*p)[n] == end && end != '\n');
    return ret;
}

/* "m <h1> <base>", "i <said> <base> <text>", "l <dir> <version> <version>..."; a base has no space.
 */
static void parse(Arena *a, const char *text, GoTexts *ret)
{
    for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        char kind = *p;
        if (!kind || p[1] != ' ')
            continue;
        p += 2;
        if (kind == 'l') {
            GoVersions *l = ARENA_PUSH(a, ret->lists, ret->nlist, ret->list_cap);
            l->dir = word(a, &p, ' ');
            char *versions = arena_strdup(a, word(a, &p, '\n'));
            for (char *c = versions; *c; c++)
                *c = *c == ' ' ? '\n' : *c;
            l->text = *versions ? arena_printf(a, "%s\n", versions) : versions;
            continue;
        }
        GoText *t = ARENA_PUSH(a, ret->v, ret->n, ret->cap);
        *t = (GoText){.base = NULL};
        *(kind == 'm' ? &t->mod : &t->said) = word(a, &p, ' ');
        t->base = word(a, &p, kind == 'm' ? '\n' : ' ');
        if (kind == 'i')
            t->info = word(a, &p, '\n');
    }
}

bool gotexts_keep(StepWork *w, const Digest *key, const GoTexts *t, Err *e)
{
    scoped(buf) Buf b = BUF_INIT, old = BUF_INIT;
    bool found;
    for (size_t i = 0; i < t->n; i++) {
        const GoText *x = &t->v[i];
        if (x->mod)
            buf_printf(&b, "m %s %s\n", x->mod, x->base);
        if (x->info)
            buf_printf(&b, "i %s %s %s\n", x->said, x->base, x->info);
    }
    for (size_t i = 0; i < t->nlist; i++) {
        buf_printf(&b, "l %s", t->lists[i].dir);
        for (const char *p = t->lists[i].text; *p; p += strcspn(p, "\n") + 1)
            buf_printf(&b, " %.*s", (int)strcspn(p, "\n"), p);
        buf_putc(&b, '\n');
    }
    if (!store_memo_get(w->env->store, key, &old, &found, e))
        return false;
    return (found && str_same((Str){buf_str(&old), old.len}, (Str){buf_str(&b), b.len})) ||
           store_memo_put(w->env->store, key, buf_str(&b), b.len, e);
}

/* ---- what of it is good today ---- */

/* The go.mod files that go.sum names, by base: number + 1, or 0 where two differ. */
static void learned(StepWork *w, Map *ret)
{
    GoModule m;
    const char *h1, *other;
    Gomod *g = w->env->gomod;
    for (size_t i = 0; gomod_known_mod(g, i, &m, &h1); i++) {
        uint64_t before;
        const char *base = gotexts_base(&w->arena, &m);
        if (!base)
            continue;
        bool differs = map_get(ret, base, &before) && before &&
                       gomod_known_mod(g, before - 1, &m, &other) && strcmp(h1, other) != 0;
        (void)map_put(ret, base, differs ? 0 : i + 1);
    }
}

static bool is_good_mod(StepWork *w, const StepGo *g, const Map *known, const GoText *t)
{
    uint64_t i;
    GoModule m;
    const char *h1;
    return map_get(known, t->base, &i) && i && gomod_known_mod(w->env->gomod, i - 1, &m, &h1) &&
           !go_is_private(&g->root.settings, m.path) &&
           (!t->mod || (!strcmp(h1, t->mod) && gomod_has_mod(w->env->gomod, h1)));
}

static bool is_good_info(StepWork *w, const StepGo *g, const GoText *t)
{
    Digest d;
    char hex[DIGEST_HEX_SIZE];
    const char *path = arena_printf(&w->arena, "%s.info", t->base + strlen("cache/download/"));
    if (!gomod_step_said(g->mod, path, &d))
        return false;
    digest_hex(&d, hex);
    return !strcmp(hex, t->said);
}

typedef struct Lacks {
    Arena *a;
    const Map *mods; /* by base */
    const char *dir;
} Lacks;

static bool lacks(const void *arg, const char *version)
{
    const Lacks *x = arg;
    uint64_t one;
    return !map_get(x->mods, arena_printf(x->a, "%s%s", x->dir, version), &one);
}

bool gotexts_read(StepWork *w, const StepGo *g, const View *v, Digest *key, GoTexts *ret, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    scoped(map) Map known = {0}, mods = {0};
    GoTexts all = {.n = 0};
    bool found;
    *ret = (GoTexts){.n = 0};
    if (!name_of(w, g, v, key) || w->env->go_fresh)
        return true;
    if (!store_memo_get(w->env->store, key, &b, &found, e))
        return false;
    if (!found)
        return true;
    parse(&w->arena, buf_str(&b), &all);
    learned(w, &known);
    for (size_t i = 0; i < all.n; i++) {
        const GoText *t = &all.v[i];
        if (!is_good_mod(w, g, &known, t) || (t->info && !is_good_info(w, g, t)))
            continue;
        *ARENA_PUSH(&w->arena, ret->v, ret->n, ret->cap) = *t;
        if (!t->mod)
            continue;
        (void)map_put(&mods, t->base, 1);
        (void)map_put(&mods, path_dir(&w->arena, t->base), 1); /* with a slash at its end */
    }
    for (size_t i = 0; i < all.nlist; i++) {
        uint64_t one;
        Lacks x = {&w->arena, &mods, all.lists[i].dir};
        if (!map_get(&mods, x.dir, &one))
            continue;
        const char *text = gotexts_without(&w->arena, all.lists[i].text, lacks, &x);
        *ARENA_PUSH(&w->arena, ret->lists, ret->nlist, ret->list_cap) = (GoVersions){x.dir, text};
    }
    return true;
}

/* ---- what a command wrote ---- */

static bool has(StepWork *w, int cache, const char *base, const char *ending)
{
    return faccessat(cache, arena_printf(&w->arena, "%s%s", base, ending), F_OK,
                     AT_SYMLINK_NOFOLLOW) == 0;
}

/* A text of one line that goes into ours. */
static const char *read_line(StepWork *w, int cache, const char *path)
{
    scoped(buf) Buf b = BUF_INIT;
    Err ignored = ERR_INIT;
    if (!fs_read_file(cache, path, INFO_MAX, &b, &ignored) || !b.len ||
        strlen(buf_str(&b)) != b.len || strchr(buf_str(&b), '\n'))
        return NULL;
    return arena_strdup(&w->arena, buf_str(&b));
}

static void learn_infos(StepWork *w, const GomodStep *mod, int cache, GoTexts *t)
{
    GoModule m;
    const char *h1;
    for (size_t i = 0; gomod_wanted(w->env->gomod, i, &m, &h1); i++) {
        Digest d;
        char hex[DIGEST_HEX_SIZE];
        const char *base = gotexts_base(&w->arena, &m);
        if (!base || !has(w, cache, base, ".info"))
            continue;
        const char *path = arena_printf(&w->arena, "%s.info", base);
        const char *text = read_line(w, cache, path);
        if (!text || !gomod_step_said(mod, path + strlen("cache/download/"), &d))
            continue;
        digest_hex(&d, hex);
        *ARENA_PUSH(&w->arena, t->v, t->n, t->cap) =
            (GoText){.base = base, .info = text, .said = arena_strdup(&w->arena, hex)};
    }
}

bool gotexts_learn(StepWork *w, const GomodStep *mod, int cache, GoTexts *t, Err *e)
{
    scoped(map) Map dirs = {0};
    GoModule m;
    const char *h1;
    for (size_t i = 0; gomod_known_mod(w->env->gomod, i, &m, &h1); i++) {
        const char *base = gotexts_base(&w->arena, &m);
        if (base && has(w, cache, base, ".mod"))
            *ARENA_PUSH(&w->arena, t->v, t->n, t->cap) = (GoText){.base = base, .mod = h1};
    }
    learn_infos(w, mod, cache, t);
    for (size_t i = 0; i < t->nlist; i++)
        (void)map_put(&dirs, t->lists[i].dir, 1);
    for (size_t i = 0; i < t->n; i++) {
        scoped(buf) Buf b = BUF_INIT;
        const char *dir = path_dir(&w->arena, t->v[i].base);
        const char *list = arena_printf(&w->arena, "%slist", dir);
        if (!t->v[i].mod || !map_put(&dirs, dir, 1) || !has(w, cache, list, ""))
            continue;
        if (!fs_read_file(cache, list, GOTEXTS_LIST_MAX, &b, e))
            return false;
        *ARENA_PUSH(&w->arena, t->lists, t->nlist, t->list_cap) =
            (GoVersions){dir, arena_strdup(&w->arena, buf_str(&b))};
    }
    return true;
}
