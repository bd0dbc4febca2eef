/*
 * source/giturl: which texts are git references, and what they say.
 */
#include "testing.h"

#include "source/source.h"

typedef struct UrlCase {
    const char *text, *remote, *short_name, *ref, *subdir;
} UrlCase;

static GitRef parse(Arena *a, const char *text)
{
    GitRef r = {0};
    bool is_git = false;
    Err e = ERR_INIT;
    if (!git_ref_parse(a, text, &is_git, &r, &e) || !is_git)
        fail_msg("'%s': no git reference: %s", text, e.msg);
    return r;
}

/* Expectations follow BuildKit's dfgitutil and gitutil and were compared with them. */
static void git_references_are_taken_apart(void **state)
{
    static const UrlCase CASES[] = {
        {"https://h.example/a/b.git", "https://h.example/a/b.git", "b", "", ""},
        {"HTTPS://h.example/b.git#v1", "https://h.example/b.git", "b", "v1", ""},
        {"https://h.example/b.git#a/b:c/d", "https://h.example/b.git", "b", "a/b", "c/d"},
        {"https://h.example/b.git#:c", "https://h.example/b.git", "b", "", "c"},
        {"https://h.example/b.git#v:../../x/./y/", "https://h.example/b.git", "b", "v", "x/y"},
        {"https://h.example/b.git#:..", "https://h.example/b.git", "b", "", ""},
        {"https://h.example/b.git#%76%31", "https://h.example/b.git", "b", "v1", ""},
        {"https://u:p@h.example:8443/b.git", "https://u:p@h.example:8443/b.git", "b", "", ""},
        {"https://u%40x:p%3a@h.example/b.git", "https://u%40x:p%3A@h.example/b.git", "b", "", ""},
        {"https://[::1]:80/b.git", "https://[::1]:80/b.git", "b", "", ""},
        {"http://h.example/my repo.git", "http://h.example/my%20repo.git", "my%20repo", "", ""},
        {"http://h.example/b%2egit", "http://h.example/b%2egit", "b%2egit", "", ""},
        {"git://h.example/b", "git://h.example/b", "b", "", ""},
        {"git://h.example:1234/a/b.git#x", "git://h.example:1234/a/b.git", "b", "x", ""},
        {"ssh://git@h.example:22/a/b.git", "ssh://git@h.example:22/a/b.git", "b", "", ""},
        {"ssh://git@h.example/~/b", "ssh://git@h.example/~/b", "b", "", ""},
        {"git@h.example:a/b.git", "git@h.example:a/b.git", "b", "", ""},
        {"git@h.example:/srv/b#x%20:y", "git@h.example:/srv/b", "b", "x%20", "y"},
        {"some-user@h.example:b.git?branch=x", "some-user@h.example:b.git", "some-user@h.example:b",
         "refs/heads/x", ""},
        {"github.com/a/b", "https://github.com/a/b", "b", "", ""},
        {"github.com/a/b.git#v:s", "https://github.com/a/b.git", "b", "v", "s"},
        {"https://h.example/b.git?ref=v1&subdir=/s", "https://h.example/b.git", "b", "v1", "s"},
        {"https://h.example/b.git?tag=v1", "https://h.example/b.git", "b", "refs/tags/v1", ""},
        {"https://h.example/b.git?tag=refs/tags/v1", "https://h.example/b.git", "b", "refs/tags/v1",
         ""},
        {"https://h.example/b.git?branch=m", "https://h.example/b.git", "b", "refs/heads/m", ""},
        {"https://h.example/b.git?subdir=s#v1", "https://h.example/b.git", "b", "v1", "s"},
        {"https://h.example/b.git?ref=a+b%2b&&", "https://h.example/b.git", "b", "a b+", ""},
        {"https://h.example/b.git?a;b=1&x=%zz", "https://h.example/b.git", "b", "", ""},
        {"https://h.example/b.git?ref=v1#v1", "https://h.example/b.git", "b", "v1", ""},
    };
    scoped(arena) Arena a = {0};
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        GitRef r = parse(&a, CASES[i].text);
        assert_string_equal(r.remote, CASES[i].remote);
        assert_string_equal(r.short_name, CASES[i].short_name);
        assert_string_equal(r.ref, CASES[i].ref);
        assert_string_equal(r.subdir, CASES[i].subdir);
    }
}

static void other_texts_are_no_git_references(void **state)
{
    static const char *const TEXTS[] = {
        "",
        ".",
        "./.git",
        "../x.git",
        ".git",
        "file",
        "dir/x.git",
        "/srv/x.git",
        "alpine:3",
        "https://h.example/",
        "https://h.example/b",
        "https://h.example/b.git/",
        "x.example/a/b.git",
        "https://h.example/b.git.tar",
        "https://h.example/b.git:#x",
        "https://h.example/b?x=.git",
        "file:///srv/b.git",
        "ext::sh -c x",
        "httpx://h.example/b.git",
        "ftp://h.example/b.git",
        "oci-layout://dir",
        "docker-image://x",
        "https://h.example:x/b.git",
        "https://a b/c.git",
        "https://h.example/b%zz.git",
        "https://h.example/\001b.git",
        "https://[::1/b.git",
        "https://[x]/b.git",
        "https://u?@h/b",
        "https://h.example/b.git#%zz",
        "git@h.example",
        "@h.example:x",
        "git@:x",
        "a b@h.example:x",
        "git@h.example:b?x=%zz",
        "git@h.example:a\nb",
        "https://h.example/%00.git",
        "github.com",
        "https://h.example/b.git%0",
        "-x@h_x:y",
    };
    scoped(arena) Arena a = {0};
    (void)state;
    for (size_t i = 0; i < NELEM(TEXTS); i++) {
        GitRef r;
        bool is_git = true;
        Err e = ERR_INIT;
        if (!git_ref_parse(&a, TEXTS[i], &is_git, &r, &e) || is_git)
            fail_msg("'%s' is taken for a git reference: %s", TEXTS[i], e.msg);
    }
}

static void queries_set_everything_else(void **state)
{
    scoped(arena) Arena a = {0};
    (void)state;
    GitRef r = parse(&a, "https://h/b.git");
    assert_true(r.keep_git_dir == GIT_UNSAID && r.submodules == GIT_UNSAID);
    assert_false(r.commit_times || r.fetch_by_commit || r.unencrypted || r.like_path);
    assert_string_equal(r.checksum, "");
    r = parse(&a,
              "http://h/b.git?keep-git-dir&submodules=0&mtime=commit&fetch-by-commit=T&commit=ab");
    assert_true(r.keep_git_dir == GIT_YES && r.submodules == GIT_NO);
    assert_true(r.commit_times && r.fetch_by_commit && r.unencrypted);
    assert_string_equal(r.checksum, "ab");
    r = parse(&a, "git://h/b?keep-git-dir=False&submodules=&mtime=checkout&checksum=cd");
    assert_true(r.keep_git_dir == GIT_NO && r.submodules == GIT_YES && r.unencrypted);
    assert_false(r.commit_times || r.fetch_by_commit);
    assert_string_equal(r.checksum, "cd");
    assert_true(parse(&a, "github.com/a/b").like_path);
    assert_false(parse(&a, "ssh://h/b").unencrypted);
}

static void queries_that_cannot_be_meant_are_refused(void **state)
{
    static const char *const CASES[][2] = {
        {"?ref=a#b", "ref conflicts: 'b' vs 'a'"},
        {"?ref=a&tag=a", "ref conflicts: 'a' vs 'refs/tags/a'"},
        {"?branch=a&tag=b", "branch conflicts with tag"},
        {"?branch=a#b", "ref conflicts"},
        {"?subdir=x#v:y", "subdir conflicts: 'y' vs 'x'"},
        {"?checksum=aa&commit=bb", "checksum conflicts"},
        {"?mtime=now", "invalid mtime value: 'now'"},
        {"?mtime", "query 'mtime' has no value"},
        {"?ref=", "query 'ref' has no value"},
        {"?ref=a&ref=a", "query 'ref' has multiple values"},
        {"?submodules=maybe", "invalid submodules value: 'maybe'"},
        {"?keep-git-dir=2", "invalid keep-git-dir value: '2'"},
        {"?fetch-by-commit=x", "invalid fetch-by-commit value: 'x'"},
        {"?invalid=1", "unexpected query 'invalid'"},
        {"?Ref=1", "unexpected query 'Ref'"},
        {"?=1", "unexpected query ''"},
    };
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;
    GitRef r;
    bool is_git;
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        const char *text = arena_printf(&a, "https://me:secret@h/b.git%s", CASES[i][0]);
        FAILS(git_ref_parse(&a, text, &is_git, &r, &e), ERR_DOCKERFILE, CASES[i][1]);
        FAILS(git_ref_parse(&a, text, &is_git, &r, &e), ERR_DOCKERFILE, "'https://xxxxx:xxxxx@h/");
    }
}

static void credentials_are_masked(void **state)
{
    static const char *const CASES[][2] = {
        {"https://u:p@h/b.git", "https://xxxxx:xxxxx@h/b.git"},
        {"https://token@h:1/b.git", "https://xxxxx@h:1/b.git"},
        {"https://h/b@c.git", "https://h/b@c.git"},
        {"ssh://git@h/b", "ssh://git@h/b"},
        {"ssh://git:pw@h:1/b", "ssh://git:xxxxx@h:1/b"},
        {"git@h:b", "git@h:b"},
        {"git://h:1/b", "git://h:1/b"},
    };
    scoped(arena) Arena a = {0};
    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++)
        assert_string_equal(git_masked(&a, CASES[i][0]), CASES[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(git_references_are_taken_apart),
        cmocka_unit_test(other_texts_are_no_git_references),
        cmocka_unit_test(queries_set_everything_else),
        cmocka_unit_test(queries_that_cannot_be_meant_are_refused),
        cmocka_unit_test(credentials_are_masked),
    };
    return cmocka_run_group_tests_name("giturl", tests, NULL, NULL);
}
