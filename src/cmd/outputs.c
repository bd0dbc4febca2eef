/*
 * cmd/outputs.c - the words of -o and --annotation.
 */
#include "cmd/outputs.h"

#include <ctype.h>
#include <unistd.h>

#include "base/csv.h"

/* An output being read. */
typedef struct Reading {
    Arena *a;
    Output out;
    const char *type;
    const char *compression, *level;
    bool oci_given, docker;
    bool tar_given;
    OutputNotes notes;
    Err *e;
} Reading;

static bool fail(Reading *r, const char *why)
{
    return err_set(r->e, ERR_USAGE, "--output %s: %s", r->out.text, why);
}

/* ---- annotations ---- */

static const char *const PLACES[] = {[AT_MANIFEST] = "manifest",
                                     [AT_INDEX] = "index",
                                     [AT_MANIFEST_DESCRIPTOR] = "manifest-descriptor",
                                     [AT_INDEX_DESCRIPTOR] = "index-descriptor"};

static bool place_of(Str word, ExportPlace *ret)
{
    for (size_t i = 0; i < NELEM(PLACES); i++)
        if (str_eq(word, PLACES[i])) {
            *ret = (ExportPlace)i;
            return true;
        }
    return false;
}

/* "manifest" or "manifest[linux/arm64]". */
static bool read_place(Arena *a, Str word, ExportNote *ret, Err *e)
{
    const char *open = memchr(word.ptr, '[', word.len);
    Str name = {word.ptr, open ? (size_t)(open - word.ptr) : word.len};
    Platform p;
    if (!place_of(name, &ret->place))
        return err_set(e, ERR_USAGE,
                       "'%.*s' is no place for an annotation: expected manifest, index, "
                       "manifest-descriptor or index-descriptor",
                       (int)word.len, word.ptr);
    if (!open)
        return true;
    if (word.ptr[word.len - 1] != ']' || ret->place == AT_INDEX ||
        ret->place == AT_INDEX_DESCRIPTOR)
        return err_set(e, ERR_USAGE, "'%.*s': expected manifest[OS/ARCH]", (int)word.len, word.ptr);
    const char *text = arena_strndup(a, open + 1, word.len - name.len - 2);
    if (!image_platform_parse(a, text, &p, e))
        return false;
    ret->platform = image_platform_text(a, &p);
    return true;
}

/* Words in front of a name's colon are places when they can be nothing else. */
static size_t places_length(const char *text)
{
    size_t n = strcspn(text, ":=");
    if (text[n] != ':' || strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789_-/[],") < n)
        return 0;
    return n;
}

bool outputs_annotation(Arena *a, const char *text, OutputNotes *notes, Err *e)
{
    size_t n = places_length(text);
    const char *key = text + (n ? n + 1 : 0), *eq = strchr(key, '=');
    if (!eq || eq == key)
        return err_set(e, ERR_USAGE, "--annotation '%s': expected [PLACE:]NAME=VALUE", text);
    ExportNote note = {
        .place = AT_MANIFEST, .name = arena_strndup(a, key, (size_t)(eq - key)), .value = eq + 1};
    if (!n) {
        *ARENA_PUSH(a, notes->v, notes->n, notes->cap) = note;
        return true;
    }
    for (const char *p = text; p < text + n;) {
        size_t len = strcspn(p, ",:");
        note.platform = NULL;
        if (!read_place(a, (Str){p, len}, &note, e))
            return err_wrap(e, "--annotation '%s'", text);
        *ARENA_PUSH(a, notes->v, notes->n, notes->cap) = note;
        p += len + 1;
    }
    return true;
}

/* "annotation[-PLACE][[PLATFORM]].NAME" of an -o. */
static bool take_annotation(Reading *r, const char *key, const char *value)
{
    const char *at = key + strlen("annotation"), *dot = strchr(at, '.');
    ExportNote note = {.value = value};
    if (!dot || !dot[1])
        return fail(r, "expected annotation.NAME=VALUE");
    Str place = {at, (size_t)(dot - at)};
    if (place.len && *place.ptr == '-')
        place = (Str){place.ptr + 1, place.len - 1};
    else
        place = str_c(arena_printf(r->a, "manifest%.*s", (int)place.len, place.ptr));
    note.name = dot + 1;
    if (!read_place(r->a, place, &note, r->e))
        return err_wrap(r->e, "--output %s", r->out.text);
    *ARENA_PUSH(r->a, r->notes.v, r->notes.n, r->notes.cap) = note;
    r->out.styled = true;
    return true;
}

/* ---- options ---- */

static bool read_bool(Reading *r, const char *key, const char *value, bool *ret)
{
    return str_bool(value, ret) ||
           fail(r, arena_printf(r->a, "%s=%s is neither true nor false", key, value));
}

static bool take_names(Reading *r, const char *value)
{
    char *save = NULL;
    for (char *p = strtok_r(arena_strdup(r->a, value), ",", &save); p;
         p = strtok_r(NULL, ",", &save)) {
        ImageRef ref;
        if (!image_ref_parse(r->a, p, &ref, r->e))
            return err_wrap(r->e, "--output %s", r->out.text);
        if (ref.digest)
            return fail(r, "name=: a digest follows from the content and cannot be chosen");
        strlist_add_once(r->a, &r->out.names, image_ref_tagged(r->a, &ref));
    }
    return true;
}

/* What would change something and is not done. */
static const struct {
    const char *key, *why;
} REFUSED[] = {
    {"context", "docker contexts are not read: DOCKER_HOST says which engine is meant"},
    {"name-canonical", "names with digests are not kept: 'lighter inspect' shows them"},
    {"dangling-name-prefix", "an image without a name has its ID"},
    {"buildinfo", "there is none"},
    {"buildinfo-attrs", "there is none"},
    {"registry.insecure", "use --tls-verify=false"},
    {"prefer-nondist-layers", "layers that are not to be distributed always stay so"},
    {"danging-name-prefix", "an image without a name has its ID"},
};

static bool refused(Reading *r, const char *key)
{
    for (size_t i = 0; i < NELEM(REFUSED); i++)
        if (!strcmp(REFUSED[i].key, key))
            return fail(r, arena_printf(r->a, "%s is not supported: %s", key, REFUSED[i].why));
    return fail(r, arena_printf(r->a, "'%s' is not known", key));
}

/* Options of which lighter has one way: true or false is what it does anyway. */
static bool only_way(Reading *r, const char *key, const char *value, bool way, const char *why)
{
    bool yes;
    if (!read_bool(r, key, value, &yes))
        return false;
    return yes == way || fail(r, arena_printf(r->a, "%s=%s is not supported: %s", key, value, why));
}

static bool take_mode(Reading *r, const char *value)
{
    return !strcmp(value, "copy") ||
           fail(r,
                arena_printf(r->a, "mode=%s is not supported: what is in the directory stays there",
                             value));
}

static bool take_bool(Reading *r, const char *key, const char *value, bool *ret_known)
{
    const struct {
        const char *key;
        bool *to;
        bool style;
    } ROWS[] = {
        {"push", &r->out.push, false},
        {"push-by-digest", &r->out.by_digest, false},
        {"force-compression", &r->out.style.force, true},
        {"platform-split", &r->out.split, false},
    };
    for (size_t i = 0; i < NELEM(ROWS); i++)
        if (!strcmp(ROWS[i].key, key)) {
            *ret_known = true;
            r->out.styled = r->out.styled || ROWS[i].style;
            r->out.split_given = r->out.split_given || ROWS[i].to == &r->out.split;
            return read_bool(r, key, value, ROWS[i].to);
        }
    *ret_known = false;
    return true;
}

static bool take(Reading *r, const char *key, const char *value)
{
    bool known, yes;
    if (!strcmp(key, "dest")) {
        r->out.dest = value;
        return *value || fail(r, "dest= needs a path");
    }
    if (!strcmp(key, "name"))
        return take_names(r, value);
    if (!take_bool(r, key, value, &known) || known)
        return known && r->e->kind == ERR_NONE;
    if (!strcmp(key, "compression") || !strcmp(key, "compression-level")) {
        *(strcmp(key, "compression") ? &r->level : &r->compression) = value;
        return r->out.styled = true;
    }
    if (!strcmp(key, "oci-mediatypes")) {
        r->oci_given = r->out.styled = true;
        return read_bool(r, key, value, &yes) && (r->docker = !yes, true);
    }
    if (!strcmp(key, "tar")) {
        r->tar_given = true;
        return read_bool(r, key, value, &yes) && (r->out.dir = !yes, true);
    }
    if (!strcmp(key, "rewrite-timestamp")) {
        if (!read_bool(r, key, value, &yes))
            return false;
        r->out.rewrite = yes ? REWRITE_YES : REWRITE_NO;
        return true;
    }
    if (!strcmp(key, "unpack") || !strcmp(key, "store"))
        return only_way(r, key, value, true, "an image is always kept in the store");
    if (!strcmp(key, "mode"))
        return take_mode(r, value);
    return str_starts(key, "annotation") ? take_annotation(r, key, value) : refused(r, key);
}

/* ---- what the whole says ---- */

static bool read_type(Reading *r)
{
    static const struct {
        const char *name;
        OutputKind kind;
    } ROWS[] = {{"image", OUT_IMAGE},
                {"registry", OUT_IMAGE},
                {"docker", OUT_DOCKER},
                {"oci", OUT_OCI},
                {"tar", OUT_TAR},
                {"local", OUT_LOCAL},
                {"cacheonly", OUT_CACHEONLY}};
    for (size_t i = 0; i < NELEM(ROWS); i++)
        if (!strcmp(ROWS[i].name, r->type)) {
            r->out.kind = ROWS[i].kind;
            r->out.push = r->out.push || !strcmp(r->type, "registry");
            return true;
        }
    return fail(r, arena_printf(r->a,
                                "type '%s' is not known: expected image, registry, docker, oci, "
                                "tar, local or cacheonly",
                                r->type));
}

static bool read_compression(Reading *r)
{
    static const struct {
        const char *name;
        LayerPacking how;
        uint64_t max;
    } ROWS[] = {{"gzip", PACK_GZIP, LAYER_GZIP_MAX},
                {"zstd", PACK_ZSTD, LAYER_ZSTD_MAX},
                {"uncompressed", PACK_PLAIN, 0}};
    const char *name = r->compression ? r->compression : "gzip";
    size_t i = 0;
    uint64_t level;
    if (!strcmp(name, "estargz"))
        return fail(r,
                    "compression=estargz is not supported: use gzip, which the same readers take, "
                    "or zstd");
    while (i < NELEM(ROWS) && strcmp(ROWS[i].name, name) != 0)
        i++;
    if (i == NELEM(ROWS))
        return fail(
            r, arena_printf(r->a, "compression=%s: expected gzip, zstd or uncompressed", name));
    r->out.style.form.how = r->compression ? ROWS[i].how : PACK_NOTHING;
    if (!r->level)
        return true;
    if (!str_u64(r->level, ROWS[i].max, &level))
        return fail(r, ROWS[i].max ? arena_printf(r->a, "compression-level=%s: %s has 0 to %u",
                                                  r->level, name, (unsigned)ROWS[i].max)
                                   : "compression-level: what is not compressed has no level");
    r->out.style.form.how = ROWS[i].how;
    r->out.style.form.level = level                      ? (int)level
                              : ROWS[i].how == PACK_GZIP ? LAYER_LEVEL_STORE
                                                         : LAYER_LEVEL_OWN;
    if (level == (ROWS[i].how == PACK_GZIP ? 6 : 3)) /* their own */
        r->out.style.form.level = LAYER_LEVEL_OWN;
    return true;
}

static bool read_media_types(Reading *r)
{
    bool zstd = r->out.style.form.how == PACK_ZSTD;
    bool docker_kind = r->out.kind == OUT_DOCKER || r->out.kind == OUT_LOAD;
    if (zstd && r->docker)
        return fail(r, "compression=zstd and oci-mediatypes=false exclude each other: docker's "
                       "media types name no zstd that all its registries take");
    r->out.style.docker = r->oci_given ? r->docker : docker_kind && !zstd;
    return true;
}

static bool check_kind(Reading *r)
{
    Output *o = &r->out;
    bool files = o->kind == OUT_TAR || o->kind == OUT_LOCAL || o->kind == OUT_CACHEONLY;
    bool archive = o->kind == OUT_DOCKER || o->kind == OUT_OCI;
    if (files && (o->styled || o->names.n))
        return fail(r, "it holds no image, so it has no name, no compression and no annotations");
    if (o->kind != OUT_IMAGE && (o->push || o->by_digest))
        return fail(r, "push is of type=image and type=registry");
    if (o->by_digest && !o->push)
        return fail(r, "push-by-digest needs push=true");
    if (o->dest && (o->kind == OUT_IMAGE || o->kind == OUT_CACHEONLY))
        return fail(r, "dest is of type=oci, docker, tar and local");
    if (r->tar_given && !archive && o->kind != OUT_LOAD)
        return fail(r, "tar is of type=oci and type=docker");
    if (o->kind == OUT_LOCAL && !o->dest)
        return fail(r, "needs dest=DIR");
    if (o->dir && !o->dest)
        return fail(r, "tar=false needs dest=DIR");
    if (o->dest && !strcmp(o->dest, "-") && (o->dir || o->kind == OUT_LOCAL))
        return fail(r, "a directory cannot go to stdout");
    return true;
}

/* Without a place archives go to stdout, and docker's go to docker. */
static bool set_dest(Reading *r)
{
    Output *o = &r->out;
    if (o->kind == OUT_DOCKER && !o->dest)
        o->kind = OUT_LOAD;
    if (!o->dest && !o->dir && (o->kind == OUT_OCI || o->kind == OUT_TAR))
        o->dest = "-";
    if (o->dest && !strcmp(o->dest, "-") && isatty(STDOUT_FILENO))
        return fail(r, "will not write an archive to a terminal: use dest=PATH or a pipe");
    return true;
}

static bool read_fields(Reading *r, const StrList *fields)
{
    for (size_t i = 0; i < fields->n; i++) {
        char *field = fields->v[i], *eq = strchr(field, '=');
        if (!eq)
            return fail(r, arena_printf(r->a, "'%s' has no value: expected KEY=VALUE", field));
        *eq = 0;
        bool note = !strncasecmp(field, "annotation", strlen("annotation"));
        for (char *c = field; *c && (!note || *c != '.'); c++)
            *c = (char)tolower((unsigned char)*c);
        if (!strcmp(field, "type"))
            r->type = eq + 1;
        else if (!take(r, field, eq + 1))
            return false;
    }
    return true;
}

bool outputs_parse(Arena *a, const char *text, Output *ret, Err *e)
{
    Reading r = {.a = a, .out = {.text = text, .split = true}, .e = e};
    StrList fields = {0};
    if (!*text)
        return fail(&r, "needs a path, or type=TYPE");
    if (!csv_fields(a, text, &fields, e))
        return err_wrap(e, "--output %s", text);
    if (fields.n == 1 && !strchr(text, '=')) { /* a path, or "-" */
        bool out = !strcmp(text, "-");
        r.type = out ? "tar" : "local";
        r.out.dest = text;
    } else if (!read_fields(&r, &fields)) {
        return false;
    }
    if (!r.type)
        return fail(&r, "needs type=TYPE");
    if (!read_type(&r) || !set_dest(&r) || !read_compression(&r) || !read_media_types(&r) ||
        !check_kind(&r))
        return false;
    r.out.style.notes = r.notes.v;
    r.out.style.nnote = r.notes.n;
    *ret = r.out;
    return true;
}
