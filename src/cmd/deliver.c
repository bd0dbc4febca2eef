/*
 * cmd/deliver.c - `lighter build`: images to where -o, --push and --load send them.
 */
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "cmd/buildrun.h"

/* ---- what is asked for ---- */

static bool add_notes(Build *b)
{
    OutputNotes notes = {0};
    bool taken = false;
    for (size_t i = 0; i < b->opts->annotations.n; i++)
        if (!outputs_annotation(b->arena, b->opts->annotations.v[i], &notes, b->e))
            return false;
    for (size_t i = 0; i < b->noutput && notes.n; i++) {
        Output *o = &b->outputs[i];
        if (o->kind == OUT_TAR || o->kind == OUT_LOCAL || o->kind == OUT_CACHEONLY)
            continue;
        OutputNotes all = {0};
        for (size_t k = 0; k < o->style.nnote; k++)
            *ARENA_PUSH(b->arena, all.v, all.n, all.cap) = o->style.notes[k];
        for (size_t k = 0; k < notes.n; k++)
            *ARENA_PUSH(b->arena, all.v, all.n, all.cap) = notes.v[k];
        o->style.notes = all.v;
        o->style.nnote = all.n;
        o->styled = taken = true;
    }
    if (notes.n && !taken) /* of the image in the store, then */
        b->outputs[b->noutput++] = (Output){.text = "--annotation",
                                            .kind = OUT_IMAGE,
                                            .styled = true,
                                            .style = {.notes = notes.v, .nnote = notes.n}};
    return true;
}

/* --push and --load, as buildx adds them to what -o says. */
static void add_short(Build *b)
{
    bool image = false;
    for (size_t i = 0; b->opts->push && i < b->noutput; i++)
        if (b->outputs[i].kind == OUT_IMAGE)
            b->outputs[i].push = image = true;
    if (b->opts->push && !image)
        b->outputs[b->noutput++] = (Output){.text = "--push", .kind = OUT_IMAGE, .push = true};
    if (b->opts->load)
        b->outputs[b->noutput++] =
            (Output){.text = "--load", .kind = OUT_LOAD, .style = {.docker = true}};
}

static bool check_notes(Build *b, const Output *o)
{
    for (size_t i = 0; i < o->style.nnote && b->ntarget == 1; i++) {
        const ExportNote *note = &o->style.notes[i];
        if (note->place == AT_INDEX || note->place == AT_INDEX_DESCRIPTOR)
            return err_set(b->e, ERR_USAGE,
                           "annotation '%s' is of an index, and an image for one platform has none",
                           note->name);
    }
    return true;
}

static bool check_output(Build *b, const Output *o)
{
    bool docker = o->kind == OUT_DOCKER || o->kind == OUT_LOAD;
    if (!check_notes(b, o))
        return false;
    if (docker && b->ntarget > 1)
        return err_set(b->e, ERR_USAGE,
                       "--output %s: docker's archives hold no index of several platforms: use "
                       "type=oci or --push, or one --platform",
                       o->text);
    if (o->push && !o->names.n && !b->names.n)
        return err_set(b->e, ERR_USAGE, "%s needs a name to push to: --tag REGISTRY/NAME:TAG",
                       o->text);
    if (o->push && b->opts->remote.offline)
        return err_set(b->e, ERR_USAGE, "--offline and %s exclude each other", o->text);
    if (b->ntarget > 1 && (o->kind == OUT_TAR || o->kind == OUT_LOCAL) && !o->split)
        return err_set(b->e, ERR_USAGE,
                       "--output %s: several platforms need directories of their own, so "
                       "platform-split=false is not supported",
                       o->text);
    return true;
}

bool build_outputs(Build *b)
{
    const StrList *l = &b->opts->outputs;
    bool load = false;
    b->outputs = NEW_N(b->arena, Output, l->n + 3);
    for (size_t i = 0; i < l->n; i++)
        if (!outputs_parse(b->arena, l->v[i], &b->outputs[b->noutput++], b->e))
            return false;
    add_short(b);
    if (!add_notes(b))
        return false;
    for (size_t i = 0; i < b->noutput; i++) {
        const Output *o = &b->outputs[i];
        if (!check_output(b, o))
            return false;
        b->keep_times = b->keep_times || o->rewrite == REWRITE_NO;
        load = load || o->kind == OUT_LOAD;
        b->stdout_taken = b->stdout_taken || (o->dest && !strcmp(o->dest, "-"));
        for (size_t k = 0; o->kind == OUT_IMAGE && k < o->names.n; k++)
            strlist_add_once(b->arena, &b->names, o->names.v[k]);
    }
    return !load || b->dry || loader_new(b->arena, &b->loader, b->e);
}

static const StrList *names_for(const Build *b, const Output *o)
{
    return o->names.n ? &o->names : &b->names;
}

bool deliver_check(Build *b)
{
    for (size_t i = 0; i < b->noutput; i++) {
        const Output *o = &b->outputs[i];
        const StrList *names = names_for(b, o);
        if (o->rewrite == REWRITE_YES && !b->rewritten)
            return err_set(b->e, ERR_USAGE,
                           "--output %s: rewrite-timestamp=true needs a time: --epoch=N or "
                           "SOURCE_DATE_EPOCH",
                           o->text);
        for (size_t k = 0; o->push && k < names->n; k++)
            if (!registry_check_push(b->registry, b->arena, names->v[k], b->e))
                return err_wrap(b->e, "%s", o->text);
    }
    return true;
}

/* ---- carrying it out ---- */

/* The images of all targets as one thing under a name. */
static ExportItem item(Build *b, const char *name)
{
    Digest *ids = NEW_N(b->arena, Digest, b->ntarget);
    for (size_t i = 0; i < b->ntarget; i++)
        ids[i] = b->targets[i].id;
    return (ExportItem){.ids = ids, .nid = b->ntarget, .name = name};
}

static void items_for(Build *b, const Output *o, ExportItem **ret, size_t *ret_n)
{
    const StrList *names = names_for(b, o);
    *ret_n = names->n ? names->n : 1;
    *ret = NEW_N(b->arena, ExportItem, *ret_n);
    for (size_t i = 0; i < *ret_n; i++)
        (*ret)[i] = item(b, names->n ? names->v[i] : NULL);
}

/* Enter the namespaces where layers may have to be fetched: helpers must still see their user. */
static bool enter_to_fetch(Build *b)
{
    for (size_t i = 0; !b->env.entered && i < b->ntarget; i++)
        if (!source_prepare_bytes(b->store, &b->targets[i].id, b->registry, b->e))
            return false;
    return result_enter(b);
}

static bool fetch(Build *b)
{
    if (!enter_to_fetch(b))
        return false;
    for (size_t i = 0; i < b->ntarget; i++)
        if (!source_fetch(b->store, &b->targets[i].id, b->registry, b->e))
            return false;
    return true;
}

static bool to_image(Build *b, const Output *o)
{
    ExportItem it = item(b, NULL);
    ExportDoc doc;
    const ExportStyle *style = o->styled ? &o->style : NULL;
    if ((o->styled || o->push) && !(o->style.force ? fetch(b) : enter_to_fetch(b)))
        return false;
    for (size_t i = 0; o->styled && i < b->ntarget; i++)
        if (!export_keep(b->store, &b->targets[i].id, style, b->e))
            return false;
    return !o->push || export_push(b->store, b->registry, b->arena, &it, style, names_for(b, o),
                                   o->by_digest, &doc, b->e);
}

static bool to_files(Build *b, const Output *o)
{
    ExportItem *items;
    size_t n;
    items_for(b, o, &items, &n);
    ExportForm form = o->kind == OUT_DOCKER ? EXPORT_DOCKER : EXPORT_OCI;
    return fetch(b) &&
           export_files(b->store, b->arena, items, n, &o->style, form, o->dest, o->dir, b->e);
}

static bool to_engine(Build *b, const Output *o)
{
    ExportItem *items;
    size_t n;
    if (!b->loader) {
        event_send(&b->env.sink,
                   &(Event){.kind = EV_NOTE,
                            .text = "--load: neither docker nor podman is here; the image is in "
                                    "lighter's own store ('lighter images')"});
        return true;
    }
    items_for(b, o, &items, &n);
    return fetch(b) &&
           loader_send(b->loader, b->store, b->arena, items, n, &o->style, b->env.sink, b->e);
}

/* "linux_arm64", as BuildKit names the directories. */
static const char *directory_of(Build *b, const Output *o, const Target *t)
{
    if (b->ntarget == 1 && !o->split_given)
        return NULL;
    if (!o->split)
        return NULL;
    char *name = arena_strdup(b->arena, t->text);
    for (char *c = name; *c; c++)
        *c = *c == '/' ? '_' : *c;
    return name;
}

static bool to_root(Build *b, const Output *o)
{
    StackView *views = NEW_N(b->arena, StackView, b->ntarget);
    ExportRoot *roots = NEW_N(b->arena, ExportRoot, b->ntarget);
    bool ok = enter_to_fetch(b);
    for (size_t i = 0; ok && i < b->ntarget; i++) {
        Stack st;
        ok = steps_stack(&b->env, b->arena, result_of(b, &b->targets[i]), &st, b->e) &&
             stack_view(b->store, &st, -1, &views[i], b->e);
        roots[i] = (ExportRoot){&views[i].view, directory_of(b, o, &b->targets[i])};
    }
    ok = ok && (o->kind == OUT_TAR ? export_roots_tar(roots, b->ntarget, b->times, o->dest, b->e)
                                   : export_roots_dir(roots, b->ntarget, b->times, o->dest, b->e));
    for (size_t i = 0; i < b->ntarget; i++)
        stack_view_done(&views[i]);
    return ok;
}

static bool carry_out(Build *b, const Output *o)
{
    switch (o->kind) {
    case OUT_IMAGE:
        return to_image(b, o);
    case OUT_DOCKER:
    case OUT_OCI:
        return to_files(b, o);
    case OUT_LOAD:
        return to_engine(b, o);
    case OUT_TAR:
    case OUT_LOCAL:
        return to_root(b, o);
    case OUT_CACHEONLY:
        return true;
    }
    return true;
}

/* ---- what is told of it ---- */

static bool write_text(const char *path, const char *text, size_t n, const char *option, Err *e)
{
    OutFile f;
    if (!out_begin(path, &f, e))
        return err_wrap(e, "%s", option);
    bool ok = fs_write_all(f.fd, text, n, e) && out_commit(&f, e);
    out_abort(&f);
    return ok || err_wrap(e, "%s", option);
}

/* The style of the last output that is an image: its digests are those that are told. */
static const ExportStyle *told_style(const Build *b)
{
    const ExportStyle *style = NULL;
    for (size_t i = 0; i < b->noutput; i++) {
        OutputKind k = b->outputs[i].kind;
        if (k == OUT_DOCKER || k == OUT_OCI || k == OUT_LOAD ||
            (k == OUT_IMAGE && b->outputs[i].styled))
            style = &b->outputs[i].style;
    }
    return style;
}

/* What was made of which Go modules: a field of our own. */
static json_t *go_modules(const Build *b)
{
    json_t *all = json_array();
    for (size_t i = 0; i < b->nmaterial; i++) {
        const GomodMaterial *m = &b->materials[i];
        static const Digest NONE = {{0}};
        char sum[DIGEST_TEXT_SIZE];
        json_t *j = json_object();
        digest_text(&m->zip, sum);
        json_set_str(j, "h1", m->h1);
        json_set_str(j, "module", m->mod.path);
        json_set_str(j, "version", m->mod.version);
        if (!digest_eq(&m->zip, &NONE))
            json_set_str(j, "zip", sum);
        json_array_append_new(all, j);
    }
    return all;
}

/* Source: docker/buildx, docs/reference/buildx_build.md, "--metadata-file". */
static bool write_metadata(Build *b, const ExportDoc *doc)
{
    scoped(json) json_t *j = json_object();
    scoped(buf) Buf names = BUF_INIT, text = BUF_INIT;
    char digest[DIGEST_TEXT_SIZE];
    for (size_t i = 0; i < b->names.n; i++)
        buf_printf(&names, "%s%s", i ? "," : "", b->names.v[i]);
    digest_text(&build_target(b)->id, digest);
    json_set_str(j, "buildx.build.ref",
                 arena_printf(b->arena, "lighter/lighter/%.25s", digest + 7));
    if (b->ntarget == 1)
        json_set_str(j, "containerimage.config.digest", digest);
    Descriptor top = doc->top;
    top.urls.n = top.nnote = 0; /* annotations are the image's, not the file's */
    top.ref_name = NULL;
    json_object_set_new(j, "containerimage.descriptor", image_descriptor_json(&top));
    digest_text(&doc->top.digest, digest);
    json_set_str(j, "containerimage.digest", digest);
    if (names.len)
        json_set_str(j, "image.name", names.ptr);
    if (b->nmaterial)
        json_object_set_new(j, "lighter.go.modules", go_modules(b));
    char *out = json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS);
    buf_printf(&text, "%s\n", out);
    free(out);
    return write_text(b->opts->metadata, text.ptr, text.len, "--metadata-file", b->e);
}

/* --iidfile, --metadata-file and -q name an image by its config, and several by their index. */
static bool tell(Build *b)
{
    const BuildOpts *o = b->opts;
    char text[DIGEST_TEXT_SIZE];
    ExportItem it = item(b, NULL);
    ExportDoc doc;
    b->id = build_target(b)->id;
    if (o->metadata || (b->ntarget > 1 && (o->iidfile || b->watch.opts.quiet))) {
        if (!enter_to_fetch(b) ||
            !export_document(b->store, b->arena, &it, told_style(b), &doc, b->e) ||
            (o->metadata && !write_metadata(b, &doc)))
            return false;
        b->id = b->ntarget > 1 ? doc.top.digest : b->id;
    }
    digest_text(&b->id, text);
    return !o->iidfile || write_text(o->iidfile, text, strlen(text), "--iidfile", b->e);
}

bool deliver(Build *b)
{
    for (size_t i = 0; i < b->noutput; i++)
        if (!carry_out(b, &b->outputs[i]))
            return err_wrap(b->e, "%s%s", str_starts(b->outputs[i].text, "--") ? "" : "--output ",
                            b->outputs[i].text);
    return tell(b);
}
