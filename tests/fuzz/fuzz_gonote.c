/*
 * fuzz_gonote - a text as everything that a checksum database and a go command can send in one
 * line or a few: notes, keys, trees, records, names of tiles, settings, requests. What is read is
 * written as it was.
 */
#include <assert.h>

#include "go/go.h"
#include "go/note.h"
#include "go/tlog.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_note(Arena *a, Str all, const char *text)
{
    /* the key of sum.golang.org, and a name that is easy to write */
    static const char KEY[] =
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    NoteKey key;
    TreeHead tree;
    uint64_t id;
    Str part, note;
    Err e = ERR_INIT, e2 = ERR_INIT, e3 = ERR_INIT;
    assert(note_key_parse(a, KEY, &key, &e));
    if (note_open(&key, all, &part, &e2))
        assert(part.ptr == all.ptr && part.len < all.len && part.ptr[part.len - 1] == '\n');
    if (note_key_parse(a, text, &key, &e3))
        assert(str_starts(text, key.name) && text[strlen(key.name)] == '+');
    if (tlog_tree_parse(all, &tree))
        assert(tree.n < 1ull << TLOG_LEVELS && str_starts(text, "go.sum database tree\n"));
    if (tlog_record_parse(all, &id, &part, &note))
        assert(part.ptr + part.len + 1 == note.ptr && note.ptr + note.len == all.ptr + all.len);
}

static void check_names(Arena *a, const char *text)
{
    GoSumdbName name, again;
    GoTile tile;
    Err e = ERR_INIT, e2 = ERR_INIT;
    char path[GO_TILE_PATH_SIZE];
    if (go_tile_parse(text, &tile)) {
        go_tile_path(&tile, path);
        assert(!strcmp(path, text) && tile.width && tile.width <= 1u << tile.height);
    }
    if (!go_sumdb_name(a, text, &name, &e) || name.off)
        return;
    assert(!strstr(name.name, "..") || !strstr(name.name, "/../"));
    assert(go_sumdb_name(a, name.key, &again, &e2) && !strcmp(again.name, name.name));
}

static void check_request(Arena *a, Str all)
{
    GoRequest r, again;
    Err e[4] = {ERR_INIT};
    const char *path = "", *version = "";
    if (!go_request_parse(a, all, &r, &e[0])) {
        assert(e[0].kind == ERR_NETWORK && str_starts(e[0].msg, "not found"));
        return;
    }
    assert(go_request_parse(a, str_c(r.path), &again, &e[1]) || strchr(r.path, '%'));
    assert(!strstr(r.path, "/../") && *r.path != '/' && !str_starts(r.path, "../"));
    assert(!r.mod.path || go_path_escape(a, r.mod.path, &path, &e[2]));
    assert(!r.mod.version || go_version_escape(a, r.mod.version, &version, &e[3]));
    assert(!r.mod.path || (strstr(r.path, path) && strstr(r.path, version)));
    assert(!r.canonical || go_module_check(&r.mod, &e[3]));
    assert(!r.sumdb == !r.rest && (r.sumdb || r.mod.path));
}

static void check_answers(Arena *a, Str all)
{
    GoRequest any = {.kind = GO_REQUEST_LATEST};
    GoInfo i;
    Err e = ERR_INIT;
    if (go_info_parse(a, &any, all, &i, &e))
        assert(go_version_valid(i.version));
    StrList l = go_list_parse(a, all);
    for (size_t k = 0; k < l.n; k++)
        assert(go_version_valid(l.v[k]) && !go_version_is_pseudo(l.v[k]));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    if (!n || n > 8192)
        return 0;
    Str all = {arena_strndup(&a, (const char *)bytes, n), n};
    check_note(&a, all, all.ptr);
    check_names(&a, all.ptr);
    check_request(&a, all);
    check_answers(&a, all);
    return 0;
}
