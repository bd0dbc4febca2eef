/*
 * steps/sources.c - the context, stages, named contexts, here-documents, URLs and repositories.
 */
#include "steps/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/fs.h"
#include "base/glob.h"

const char *source_place(StepWork *w, const PlanSource *p)
{
    const char *name = p->path.text;
    if (p->origin == PLAN_GIT)
        name = git_masked(&w->arena, name);
    else if (p->below)
        name = !strcmp(name, "/") ? *p->below ? p->below : "."
                                  : arena_printf(&w->arena, "%s/./%s", name, p->below);
    return arena_printf(&w->arena, "%s:%u: %.*s %s%s", w->env->file->name, p->path.src.line,
                        (int)strcspn(w->step->title, " "), w->step->title,
                        p->origin == PLAN_INLINE ? "<<" : "", name);
}

bool source_result(StepWork *w, const PlanSource *p, Stack *ret, Err *e)
{
    return steps_stack(w->env, &w->arena, &w->results[p->index], ret, e);
}

static const PlanCopy *copy_of(const StepWork *w)
{
    return w->step->kind == STEP_COPY ? &w->step->u.copy : NULL;
}

/* The tree context behind a source; NULL when there is none. */
static const Context *context_of(const StepWork *w, const PlanSource *p)
{
    return p->origin == PLAN_CONTEXT ? w->env->context
           : p->origin == PLAN_NAMED ? w->env->named[p->index]
                                     : NULL;
}

/* Whether something of it was seen before that time. */
static bool forget(const StepWork *w, const PlanSource *p, uint64_t before_ns)
{
    return context_of(w, p) && context_forget(context_of(w, p), before_ns);
}

bool steps_look_again(StepWork *w, uint64_t before_ns)
{
    const PlanCopy *c = copy_of(w);
    const PlanRun *r = w->step->kind == STEP_RUN ? &w->step->u.run : NULL;
    bool early = w->seen_ns < before_ns;
    for (size_t i = 0; c && i < c->nsource; i++)
        early |= forget(w, &c->sources[i], before_ns);
    for (size_t i = 0; r && i < r->nmount; i++)
        early |= forget(w, &r->mounts[i].source, before_ns);
    w->sources = NULL;
    return early;
}

/* ---- what is elsewhere ---- */

static bool find_url(StepWork *w, const PlanSource *p, StepSource *s, Err *e)
{
    const PlanCopy *c = copy_of(w);
    Digest sum;
    SourceHttp req = {.url = p->path.text, .name = source_http_name(&w->arena, p->path.text)};
    if (c && c->checksum) {
        if (!digest_parse(c->checksum, &sum))
            return err_set(e, ERR_DOCKERFILE, "%s: checksum '%s' is not sha256:<64 hex digits>",
                           source_place(w, p), c->checksum);
        req.checksum = &sum;
    }
    if (!source_http(w->env->store, &w->arena, &req, &s->file, e))
        return err_wrap(e, "%s", source_place(w, p));
    s->snapshot = s->file.snapshot;
    return true;
}

/* A repository was asked before the build began. */
static const StepGit *git_of(const StepWork *w, const PlanSource *p)
{
    for (size_t i = 0; i < w->env->ngit; i++)
        if (w->env->git[i].source == p)
            return &w->env->git[i];
    return NULL;
}

static bool fetch_git(const StepsEnv *env, Arena *a, const PlanCopy *c, const PlanSource *p,
                      StepGit *ret, Err *e)
{
    StepGit g = {.source = p};
    bool is_git;
    if (!git_ref_parse(a, p->path.text, &is_git, &g.ref, e))
        return false;
    if (c->keep_git_dir != DF_UNSET && g.ref.keep_git_dir == GIT_UNSAID)
        g.ref.keep_git_dir = c->keep_git_dir == DF_TRUE ? GIT_YES : GIT_NO;
    if (c->checksum && g.ref.checksum && *g.ref.checksum &&
        strcmp(c->checksum, g.ref.checksum) != 0)
        return err_set(e, ERR_DOCKERFILE, "checksum mismatch \"%s\" != \"%s\"", c->checksum,
                       g.ref.checksum);
    if (c->checksum)
        g.ref.checksum = c->checksum;
    const char *text = arena_printf(a, "fetching %s", git_masked(a, p->path.text));
    event_send(&env->sink, &(Event){.kind = EV_TASK, .text = text});
    bool ok = source_git_resolve(env->store, a, &g.ref, &g.commit, e) &&
              source_git(env->store, a, &g.ref, &g.commit, &g.snapshot, e);
    event_send(&env->sink, &(Event){.kind = EV_TASK_DONE, .text = text});
    if (ok)
        *ret = g;
    return ok;
}

bool steps_fetch_git(StepsEnv *env, Arena *a, Err *e)
{
    size_t cap = 0;
    for (size_t i = 0; i < env->plan->nstep; i++) {
        const PlanStep *s = &env->plan->steps[i];
        for (size_t k = 0; s->kind == STEP_COPY && k < s->u.copy.nsource; k++) {
            const PlanSource *p = &s->u.copy.sources[k];
            StepGit *g = p->origin == PLAN_GIT ? ARENA_PUSH(a, env->git, env->ngit, cap) : NULL;
            if (g && !fetch_git(env, a, &s->u.copy, p, g, e))
                return err_wrap(e, "%s:%u: ADD %s", env->file->name, p->path.src.line,
                                git_masked(a, p->path.text));
        }
    }
    return true;
}

static bool filter_of(StepWork *w, const PlanSource *p, ContextFilter **ret, Err *e);
static const char *pattern_of(StepWork *w, const PlanSource *p, const StepSource *s);
static bool failed(StepWork *w, const PlanSource *p, Err *e);

/* ---- names for keys ---- */

static void name_inline(const PlanSource *p, StepSource *s)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, "inline 1");
    key_text(&k, "name", p->path.text);
    key_text(&k, "content", p->content);
    key_end(&k, &s->content);
}

/* A file of the web is its name, its bytes and its time. */
static bool name_url(StepWork *w, const PlanSource *p, StepSource *s, Err *e)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    char time_text[32];
    if (!find_url(w, p, s, e))
        return false;
    (void)snprintf(time_text, sizeof time_text, "%lld", (long long)s->file.mtime);
    key_begin(&k, "url 1");
    key_text(&k, "name", s->file.name);
    key_digest(&k, "content", &s->file.digest);
    key_text(&k, "modified", time_text);
    key_end(&k, &s->content);
    return true;
}

/* A repository is its commit, and what is taken of it. */
static bool name_git(StepWork *w, const PlanSource *p, StepSource *s, Err *e)
{
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    const StepGit *g = git_of(w, p);
    if (!g)
        return err_set(e, ERR_ENV, "%s: was not fetched", source_place(w, p));
    s->snapshot = g->snapshot;
    key_begin(&k, "git 1");
    key_text(&k, "commit", g->commit.commit);
    key_text(&k, "subdir", g->ref.subdir);
    key_text(&k, "submodules", g->ref.submodules == GIT_NO ? "no" : "yes");
    key_text(&k, "times", g->ref.commit_times ? "commit" : "checkout");
    if (g->ref.keep_git_dir == GIT_YES) { /* .git knows where it came from */
        key_text(&k, "remote", g->ref.remote);
        key_text(&k, "ref", g->commit.ref);
    }
    key_end(&k, &s->content);
    return true;
}

/* A stage's files never change, so what a source of it digests to is remembered by the stage's
 * result and all that chooses among its files. */
static void memo_key(const StepWork *w, const PlanSource *p, Digest *ret)
{
    const PlanCopy *c = copy_of(w);
    scoped(key) KeyBuilder k = {.text = BUF_INIT};
    key_begin(&k, "selection 3");
    key_text(&k, "for", c ? "copy" : "mount"); /* only a COPY's source is a pattern */
    key_digest(&k, "of", &w->results[p->index].id);
    key_text(&k, "source", p->path.text);
    key_text(&k, "below", p->below ? p->below : "");
    if (c)
        key_list(&k, "exclude", &c->excludes);
    key_end(&k, ret);
}

static bool recall_step(StepWork *w, const PlanSource *p, Digest *key, Digest *ret, bool *ret_found,
                        Err *e)
{
    scoped(buf) Buf value = BUF_INIT;
    memo_key(w, p, key);
    if (!store_memo_get(w->env->store, key, &value, ret_found, e))
        return false;
    *ret_found = *ret_found && value.len == DIGEST_SIZE;
    if (*ret_found)
        memcpy(ret->b, value.ptr, DIGEST_SIZE);
    return true;
}

bool source_is_remembered(StepWork *w, const PlanSource *p, bool *ret, Err *e)
{
    Digest key, content;
    return recall_step(w, p, &key, &content, ret, e);
}

static bool name_step(StepWork *w, const PlanSource *p, StepSource *s, bool *ret_known, Err *e)
{
    Digest key;
    bool found;
    if (!recall_step(w, p, &key, &s->content, &found, e))
        return false;
    if (found)
        return true;
    *ret_known = w->env->entered;
    if (!*ret_known)
        return true;
    scoped(open_source) OpenSource o = OPEN_SOURCE_INIT;
    return source_open(w, p, s, &o, e) && source_select(w, p, o.view, s, e) &&
           store_memo_put(w->env->store, &key, s->content.b, DIGEST_SIZE, e);
}

/* Where nothing has changed, a directory of the context is not even listed for its name. */
static bool name_tree(StepWork *w, const PlanSource *p, StepSource *s, Err *e)
{
    scoped(open_source) OpenSource o = OPEN_SOURCE_INIT;
    scoped(filter) ContextFilter *chosen = NULL;
    bool same = false;
    if (!source_open(w, p, s, &o, e) || !filter_of(w, p, &chosen, e))
        return false;
    if (!context_unchanged(context_of(w, p), &w->arena, pattern_of(w, p, s), chosen, &s->content,
                           &same, e))
        return failed(w, p, e);
    return same || source_select(w, p, o.view, s, e);
}

bool source_name(StepWork *w, const PlanSource *p, StepSource *s, bool *ret_known, Err *e)
{
    bool ok = true;
    *ret_known = true;
    if (s->named)
        return true;
    switch (p->origin) {
    case PLAN_CONTEXT:
    case PLAN_NAMED:
        ok = name_tree(w, p, s, e);
        break;
    case PLAN_STEP:
        ok = name_step(w, p, s, ret_known, e);
        break;
    case PLAN_INLINE:
        name_inline(p, s);
        break;
    case PLAN_URL:
        ok = name_url(w, p, s, e);
        break;
    case PLAN_GIT:
        ok = name_git(w, p, s, e);
        break;
    case PLAN_EMPTY:
        break;
    }
    s->named = ok && *ret_known;
    return ok;
}

/* ---- files ---- */

/* A here-document becomes a file in a directory of its own. */
static bool open_inline(StepWork *w, const PlanSource *p, OpenSource *o, Err *e)
{
    Store *store = w->env->store;
    if (!store_tmp(store, "inline", o->tmp, e))
        return false;
    o->store = store;
    if (mkdirat(store_dirfd(store), o->tmp, 0700) < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s'", store_path(store), o->tmp);
    if (!fs_open_dir(store_dirfd(store), o->tmp, &o->fd, e))
        return false;
    scoped(fd) int fd =
        openat(o->fd, p->path.text, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == ENAMETOOLONG || errno == ENOENT || errno == EISDIR))
        return err_errno(e, ERR_DOCKERFILE, "%s", source_place(w, p));
    if (fd < 0)
        return err_errno(e, ERR_STORE, "create '%s/%s/%s'", store_path(store), o->tmp,
                         p->path.text);
    if (fchmod(fd, 0644) < 0)
        return err_errno(e, ERR_STORE, "change mode of '%s'", p->path.text);
    return fs_write_all(fd, p->content, strlen(p->content), e) ||
           err_wrap(e, "write '%s/%s'", store_path(store), o->tmp);
}

bool source_open(StepWork *w, const PlanSource *p, StepSource *s, OpenSource *ret, Err *e)
{
    const Context *c = context_of(w, p);
    Stack st;
    bool ok = true;
    switch (p->origin) {
    case PLAN_CONTEXT:
    case PLAN_NAMED:
        if (!c)
            return err_set(e, ERR_DOCKERFILE, "%s: this build has no context", source_place(w, p));
        ret->view = context_view(c);
        return true;
    case PLAN_STEP:
        ret->view = &ret->stack.view;
        return source_result(w, p, &st, e) && stack_view(w->env->store, &st, -1, &ret->stack, e);
    case PLAN_INLINE:
        ok = open_inline(w, p, ret, e);
        break;
    case PLAN_URL:
    case PLAN_GIT:
        ok = store_snapshot_open(w->env->store, s->snapshot, &ret->fd, e);
        break;
    case PLAN_EMPTY:
        return err_set(e, ERR_DOCKERFILE, "%s: there is nothing to copy from scratch",
                       source_place(w, p));
    }
    ret->own = (View){.dirfds = &ret->fd, .n = 1, .zero_owner = true};
    ret->view = &ret->own;
    return ok;
}

void source_close(OpenSource *o)
{
    Err ignored = ERR_INIT;
    stack_view_done(&o->stack);
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
    if (o->store)
        fs_remove_tree(store_dirfd(o->store), o->tmp, &ignored);
    o->store = NULL;
}

/* ---- selecting ---- */

static bool missing(StepWork *w, const PlanSource *p, Err *e)
{
    const Context *c = context_of(w, p);
    const char *path =
        p->below && *p->below ? path_join(&w->arena, p->path.text, p->below) : p->path.text;
    if (p->below && !*p->below)
        return err_set(e, ERR_DOCKERFILE,
                       "%s: --parents copies what is named behind the pivot, and nothing is: write "
                       "'*' there for all of it",
                       source_place(w, p));
    if (!c)
        return err_set(e, ERR_DOCKERFILE, "%s: not found in '%s'", source_place(w, p),
                       p->from ? p->from : p->path.text);
    return err_set(e, ERR_DOCKERFILE, "%s: not in the %s (%s)", source_place(w, p),
                   p->origin == PLAN_NAMED ? p->from : "context",
                   context_why_missing(c, &w->arena, path));
}

/* Only COPY has patterns, and neither names of files that were made nor addresses are any. */
static const char *pattern_of(StepWork *w, const PlanSource *p, const StepSource *s)
{
    bool plain = !copy_of(w) || p->origin == PLAN_INLINE;
    const char *name = p->origin == PLAN_URL ? s->file.name : plain ? p->path.text : NULL;
    if (!name)
        return p->origin == PLAN_GIT ? "." : p->path.text;
    scoped(buf) Buf b = BUF_INIT;
    for (const char *c = name; *c; c++) {
        if (strchr("*?[\\", *c))
            buf_putc(&b, '\\');
        buf_putc(&b, *c);
    }
    return arena_strdup(&w->arena, buf_str(&b));
}

/* What chooses below a source; NULL when nothing does. */
static bool filter_of(StepWork *w, const PlanSource *p, ContextFilter **ret, Err *e)
{
    const PlanCopy *c = copy_of(w);
    StrList include = {0}, none = {0};
    if (p->below)
        strlist_add(&w->arena, &include, p->below);
    const StrList *exclude = c ? &c->excludes : &none;
    return (!include.n && !exclude->n) || context_filter(&w->arena, &include, exclude, ret, e) ||
           err_wrap(e, "%s", source_place(w, p));
}

static bool failed(StepWork *w, const PlanSource *p, Err *e)
{
    if (context_of(w, p) && e->kind == ERR_STORE) /* the caller's files, not the store's */
        e->kind = ERR_DOCKERFILE;
    return err_wrap(e, "%s", source_place(w, p));
}

bool source_select(StepWork *w, const PlanSource *p, const View *v, StepSource *s, Err *e)
{
    const PlanCopy *c = copy_of(w);
    scoped(filter) ContextFilter *chosen = NULL;
    bool any;
    if (!filter_of(w, p, &chosen, e))
        return false;
    TreeFilter filter = chosen ? context_filter_of(chosen) : (TreeFilter){0};
    const char *pattern = pattern_of(w, p, s);
    s->selection = (Selection){0};
    if (!tree_select(v, &w->arena, pattern, chosen ? &filter : NULL, &s->selection, &any, e) ||
        (!s->unnamed && !tree_hash(v, &s->selection.tree, e)))
        return failed(w, p, e);
    bool plain = !c || !glob_has_meta(p->path.text);
    bool must = p->below ? plain && !glob_has_meta(p->below) : plain;
    if (must && (!any || (p->below && !s->selection.tree.n)))
        return missing(w, p, e);
    if (context_of(w, p))
        context_learn(context_of(w, p), chosen, pattern, &s->selection);
    if (!any)
        event_warning(&w->env->sink, "%s: nothing matches", source_place(w, p));
    Digest content;
    s->selected = true;
    if (s->unnamed)
        return true;
    selection_digest(&s->selection, &content);
    if (!s->named) /* otherwise the key was made of something shorter */
        s->content = content;
    else if (context_of(w, p) && !digest_eq(&content, &s->content))
        return err_set(e, ERR_STEP, "%s: changed since it was looked at", source_place(w, p)) ||
               err_moved(e, MOVED_CHANGED);
    return true;
}
