/*
 * source/git: repositories as directories of the store. A small server of this program hands them
 * out over git://, so that nothing leaves the machine.
 */
#include "testing.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/cancel.h"
#include "source/source.h"

static GitRef parse(Arena *a, const char *text)
{
    GitRef r = {0};
    bool is_git = false;
    Err e = ERR_INIT;
    if (!git_ref_parse(a, text, &is_git, &r, &e) || !is_git)
        fail_msg("'%s': no git reference: %s", text, e.msg);
    return r;
}

/* A store, repositories below srv/, and a server for them. */
typedef struct Fixture {
    Scratch dir;
    Store *s;
    Arena a;
    pid_t server;
    int port;
} Fixture;

/* A shell command in the scratch directory. */
static void sh(const Fixture *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void sh(const Fixture *f, const char *fmt, ...)
{
    scoped(arena) Arena a = {0};
    char cmd[4096];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    if (system(arena_printf(&a, "cd %s && { %s; } >sh.log 2>&1", f->dir.path, cmd)) != 0)
        fail_msg("%s: %s", cmd, slurp(&a, f->dir.fd, "sh.log"));
}

/* What a git command prints in srv/<repo>, without the newline. */
static const char *ask(Fixture *f, const char *repo, const char *cmd)
{
    sh(f, "git -C srv/%s %s >answer", repo, cmd);
    char *s = slurp(&f->a, f->dir.fd, "answer");
    s[strcspn(s, "\n")] = 0;
    return s;
}

/*
 * One connection of git's protocol: "git-upload-pack /[v0/]repo\0host=...". Below /v0/ the server
 * is an old one, which hands out nothing but the tips of its branches and tags.
 */
static _Noreturn void serve(const Fixture *f, int c)
{
    char line[1024] = {0}, path[1200];
    size_t n = 0;
    while (n < 4 || n < strtoul((char[]){line[0], line[1], line[2], line[3], 0}, NULL, 16)) {
        if (n + 1 >= sizeof line || read(c, line + n, 1) != 1)
            _exit(1);
        n++;
    }
    const char *name = strchr(line, '/');
    bool old = name && str_starts(name, "/v0/");
    if (!name)
        _exit(1);
    (void)snprintf(path, sizeof path, "%s/srv%s", f->dir.path, name + (old ? 3 : 0));
    if (!old)
        (void)setenv("GIT_PROTOCOL", "version=2", 1);
    (void)dup2(c, 0);
    (void)dup2(c, 1);
    (void)execlp("git", "git", "upload-pack", "--strict", path, (char *)NULL);
    _exit(1);
}

static void start_server(Fixture *f)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)f->port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    (void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (s < 0 || bind(s, (struct sockaddr *)&addr, len) < 0 || listen(s, 16) < 0 ||
        getsockname(s, (struct sockaddr *)&addr, &len) < 0)
        fail_msg("server: %s", strerror(errno));
    f->port = ntohs(addr.sin_port);
    f->server = fork();
    if (f->server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGCHLD, SIG_IGN);
        for (;;) {
            int c = accept(s, NULL, NULL);
            if (c >= 0 && fork() == 0) {
                (void)signal(SIGCHLD, SIG_DFL);
                serve(f, c);
            }
            close(c);
        }
    }
    close(s);
}

static void stop_server(Fixture *f)
{
    if (f->server > 0) {
        (void)kill(f->server, SIGKILL);
        (void)waitpid(f->server, NULL, 0);
    }
    f->server = 0;
}

static void scoped_fixture_done(Fixture *f)
{
    stop_server(f);
    store_done(f->s);
    arena_done(&f->a);
    scoped_scratch_done(&f->dir);
}

/*
 * srv/repo.git: main with two commits, a branch, a light and an annotated tag at the first commit.
 * srv/super.git: mod.git as a submodule, at a path below it, by a relative URL.
 */
static void fixture_init(Fixture *f)
{
    Err e = ERR_INIT;
    *f = (Fixture){.dir = scratch_new()};
    (void)setenv("HOME", f->dir.path, 1);
    (void)setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
    static const char *const WHO[] = {"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME",
                                      "GIT_COMMITTER_EMAIL"};
    for (size_t i = 0; i < NELEM(WHO); i++)
        (void)setenv(WHO[i], "t@x", 1);
    (void)setenv("GIT_COMMITTER_DATE", "1600000000 +0000", 1);
    OK(store_open(arena_printf(&f->a, "%s/store", f->dir.path), "root", &f->s, &e));
    sh(f,
       "mkdir srv && git init -q --bare -b main srv/repo.git && git init -q -b main w && cd w && "
       "mkdir -p sub/deep && echo one >a && echo deep >sub/deep/f && echo x >run.sh && "
       "chmod 755 run.sh && chmod 600 a && ln -s a link && ln -s /etc evil && git add . && "
       "git commit -qm one && git tag v1 && git tag -a -m m v1a && git branch old && "
       "echo two >a && git commit -qam two && git branch feat/x && "
       "git push -q ../srv/repo.git main old feat/x v1 v1a");
    start_server(f);
}

static void add_super(Fixture *f, const char *name, const char *url)
{
    sh(f, "if ! [ -d srv/mod.git ]; then git init -q --bare -b main srv/mod.git && "
          "git init -q -b main m && cd m && echo mod >f && git add . && git commit -qm m && "
          "git push -q ../srv/mod.git main; fi");
    const char *id = ask(f, "mod.git", "rev-parse main");
    sh(f,
       "git init -q --bare -b main srv/%s && git init -q -b main %s.w && cd %s.w && mkdir lib && "
       "printf '[submodule \"m\"]\\n\\tpath = lib/m\\n\\turl = %s\\n' >.gitmodules && echo s >s && "
       "git add . && git update-index --add --cacheinfo 160000,%s,lib/m && git commit -qm s && "
       "git push -q ../srv/%s main",
       name, name, name, url, id, name);
}

static GitRef ref_of(Fixture *f, const char *rest)
{
    return parse(&f->a, arena_printf(&f->a, "git://127.0.0.1:%d/%s", f->port, rest));
}

static GitCommit resolve(Fixture *f, const char *rest)
{
    GitRef r = ref_of(f, rest);
    GitCommit c = {0};
    Err e = ERR_INIT;
    OK(source_git_resolve(f->s, &f->a, &r, &c, &e));
    return c;
}

static SnapshotId get(Fixture *f, const char *rest)
{
    GitRef r = ref_of(f, rest);
    GitCommit c = resolve(f, rest);
    SnapshotId id = 0;
    Err e = ERR_INIT;
    OK(source_git(f->s, &f->a, &r, &c, &id, &e));
    return id;
}

/* A path in a snapshot, relative to the scratch directory. */
static const char *in_snapshot(Fixture *f, SnapshotId id, const char *path)
{
    char dir[STORE_TMP_MAX];
    store_snapshot_path(id, dir);
    return arena_printf(&f->a, "store/%s/%s", dir, path);
}

static struct stat stat_of(Fixture *f, SnapshotId id, const char *path)
{
    struct stat st;
    if (fstatat(f->dir.fd, in_snapshot(f, id, path), &st, AT_SYMLINK_NOFOLLOW) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return st;
}

static void assert_text(Fixture *f, SnapshotId id, const char *path, const char *want)
{
    assert_string_equal(slurp(&f->a, f->dir.fd, in_snapshot(f, id, path)), want);
}

static bool has(Fixture *f, SnapshotId id, const char *path)
{
    return exists(f->dir.fd, in_snapshot(f, id, path));
}

static void names_mean_what_git_means(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    const char *one = ask(&f, "repo.git", "rev-parse old"),
               *two = ask(&f, "repo.git", "rev-parse main");
    const char *tag = ask(&f, "repo.git", "rev-parse v1a");
    const struct {
        const char *text, *id, *commit, *ref;
    } CASES[] = {
        {"repo.git", two, two, "refs/heads/main"},
        {"repo.git#main", two, two, "refs/heads/main"},
        {"repo.git#heads/old", one, one, "refs/heads/old"},
        {"repo.git?branch=feat/x", two, two, "refs/heads/feat/x"},
        {"repo.git#v1", one, one, "refs/tags/v1"},
        {"repo.git#v1a", tag, one, "refs/tags/v1a"},
        {"repo.git?tag=v1a", tag, one, "refs/tags/v1a"},
        {arena_printf(&f.a, "repo.git#%s", one), one, one, one},
        {arena_printf(&f.a, "repo.git?checksum=%.7s", two), two, two, "refs/heads/main"},
        {arena_printf(&f.a, "repo.git?checksum=%.9s#v1a", one), tag, one, "refs/tags/v1a"},
        {arena_printf(&f.a, "repo.git?checksum=%.9s#v1a", tag), tag, one, "refs/tags/v1a"},
        {arena_printf(&f.a, "x.git?fetch-by-commit&commit=%s#n", one), one, one, "refs/heads/n"},
    };
    for (size_t i = 0; i < NELEM(CASES); i++) {
        GitCommit c = resolve(&f, CASES[i].text);
        assert_string_equal(c.id, CASES[i].id);
        assert_string_equal(c.commit, CASES[i].commit);
        assert_string_equal(c.ref, CASES[i].ref);
    }
}

static void refused(Fixture *f, const char *rest, ErrKind kind, const char *part)
{
    GitRef r = ref_of(f, rest);
    GitCommit c;
    Err e = ERR_INIT;
    FAILS(source_git_resolve(f->s, &f->a, &r, &c, &e), kind, part);
}

static void what_does_not_resolve_says_why(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    const char *one = ask(&f, "repo.git", "rev-parse old");
    refused(&f, "repo.git#nope", ERR_DOCKERFILE, "does not contain ref nope");
    refused(&f, "repo.git#x", ERR_DOCKERFILE, "does not contain ref x"); /* feat/x is another */
    refused(&f, "repo.git#--upload-pack=touch", ERR_DOCKERFILE, "invalid git ref '--upload-pack");
    refused(&f, "repo.git?ref=a*", ERR_DOCKERFILE, "invalid git ref");
    refused(&f, "repo.git?checksum=ffffff", ERR_CHECK, "expected checksum to match ffffff, got ");
    refused(&f, arena_printf(&f.a, "repo.git?checksum=ab12ef#%s", one), ERR_CHECK, "got ");
    refused(&f, "repo.git?checksum=xyz", ERR_DOCKERFILE, "invalid checksum 'xyz'");
    refused(&f, "repo.git?fetch-by-commit#main", ERR_DOCKERFILE, "fetch-by-commit requires");
    refused(&f, "gone.git", ERR_NETWORK, "git ls-remote for 'git://127.0.0.1");
    sh(&f, "git init -q --bare srv/empty.git");
    refused(&f, "empty.git", ERR_NETWORK, "could not find default branch");
    stop_server(&f);
    refused(&f, "repo.git#main", ERR_NETWORK, "Connection refused");
    const char *path = arena_strdup(&f.a, getenv("PATH"));
    (void)setenv("PATH", "/nonexistent", 1);
    refused(&f, "repo.git#main", ERR_ENV, "install the package 'git'");
    (void)setenv("PATH", path, 1);
}

static void modes_are_gits_whatever_the_umask(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    mode_t before = umask(077);
    SnapshotId id = get(&f, "repo.git");
    (void)umask(before);
    assert_text(&f, id, "a", "two\n");
    assert_int_equal(stat_of(&f, id, "").st_mode, S_IFDIR | 0755);
    assert_int_equal(stat_of(&f, id, "a").st_mode, S_IFREG | 0644);
    assert_int_equal(stat_of(&f, id, "run.sh").st_mode, S_IFREG | 0755);
    assert_int_equal(stat_of(&f, id, "sub/deep").st_mode, S_IFDIR | 0755);
    assert_true(S_ISLNK(stat_of(&f, id, "link").st_mode));
    assert_false(has(&f, id, ".git"));
    assert_true(get(&f, "repo.git#feat/x") == id); /* one commit, one tree */
    assert_text(&f, get(&f, "repo.git#v1"), "a", "one\n");
    assert_text(&f, get(&f, "repo.git#v1a"), "a", "one\n");
    assert_true(get(&f, "repo.git#v1") == get(&f, "repo.git#v1a"));
}

static void a_part_of_a_tree_is_its_directory(void **state)
{
    scoped(fixture) Fixture f;
    Err e = ERR_INIT;
    SnapshotId id;
    static const char *const BAD[] = {"repo.git#:evil", "repo.git#:evil/ssl", "repo.git#:a",
                                      "repo.git#:none"};
    (void)state;
    fixture_init(&f);
    id = get(&f, "repo.git?keep-git-dir#main:sub");
    assert_text(&f, id, "deep/f", "deep\n");
    assert_false(has(&f, id, "a") || has(&f, id, ".git"));
    assert_text(&f, get(&f, "repo.git#:sub/deep"), "f", "deep\n");
    assert_true(get(&f, "repo.git#main:/sub/") == id);
    for (size_t i = 0; i < NELEM(BAD); i++) {
        GitRef r = ref_of(&f, BAD[i]);
        GitCommit c = resolve(&f, BAD[i]);
        FAILS(source_git(f.s, &f.a, &r, &c, &id, &e), ERR_DOCKERFILE, "invalid subdir");
    }
}

static void times_are_those_of_the_commit_when_asked(void **state)
{
    static const char *const PATHS[] = {"", "a", "sub", "sub/deep/f", "link"};
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    SnapshotId id = get(&f, "repo.git?mtime=commit"), now = get(&f, "repo.git");
    for (size_t i = 0; i < NELEM(PATHS); i++) {
        assert_int_equal(stat_of(&f, id, PATHS[i]).st_mtim.tv_sec, 1600000000);
        assert_int_not_equal(stat_of(&f, now, PATHS[i]).st_mtim.tv_sec, 1600000000);
    }
    assert_int_equal(stat_of(&f, get(&f, "repo.git?mtime=commit#v1a:sub"), "deep").st_mtim.tv_sec,
                     1600000000);
}

static void a_kept_repository_works(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    const char *one = ask(&f, "repo.git", "rev-parse old");
    const struct {
        const char *text, *name, *subject;
    } CASES[] = {
        {"repo.git?keep-git-dir", "refs/heads/main", "two"},
        {"repo.git?keep-git-dir#v1a", "refs/tags/v1a^{commit}", "one"},
        {"repo.git?keep-git-dir#v1", "refs/tags/v1", "one"},
        {arena_printf(&f.a, "repo.git?keep-git-dir#%s", one), "HEAD", "one"},
    };
    for (size_t i = 0; i < NELEM(CASES); i++) {
        const char *dir = in_snapshot(&f, get(&f, CASES[i].text), "");
        sh(&f,
           "cd %s && [ \"$(git log -1 --format=%%s)\" = %s ] && [ -z \"$(git status -s)\" ] && "
           "[ \"$(git rev-parse HEAD)\" = \"$(git rev-parse '%s')\" ] && "
           "[ \"$(git remote get-url origin)\" = git://127.0.0.1:%d/repo.git ] && "
           "! git symbolic-ref -q HEAD && ! [ -e .git/FETCH_HEAD ] && ! [ -e .git/hooks ] && "
           "! grep -rq %s .git/config .git/logs",
           dir, CASES[i].subject, CASES[i].name, f.port, f.dir.path);
    }
}

static void submodules_come_along(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    add_super(&f, "super.git", "../mod.git");
    SnapshotId id = get(&f, "super.git");
    assert_text(&f, id, "lib/m/f", "mod\n");
    assert_text(&f, id, "s", "s\n");
    assert_false(has(&f, id, ".git") || has(&f, id, "lib/m/.git"));
    assert_text(&f, get(&f, "super.git#:lib/m"), "f", "mod\n");
    id = get(&f, "super.git?submodules=false");
    assert_true(has(&f, id, "lib/m"));
    assert_false(has(&f, id, "lib/m/f"));
    id = get(&f, "super.git?keep-git-dir");
    sh(&f, "cd %s && git -C lib/m log -1 --format=%%s | grep -qx m && [ -z \"$(git status -s)\" ]",
       in_snapshot(&f, id, ""));
}

static void submodules_of_this_machine_are_refused(void **state)
{
    static const char *const URLS[] = {"file://%s/srv/mod.git", "%s/srv/mod.git",
                                       "ext::touch %s/escaped"};
    scoped(fixture) Fixture f;
    Err e = ERR_INIT;
    SnapshotId id;
    (void)state;
    fixture_init(&f);
    for (size_t i = 0; i < NELEM(URLS); i++) {
        char url[200];
        const char *percent = strstr(URLS[i], "%s"), *name = arena_printf(&f.a, "bad%zu.git", i);
        (void)snprintf(url, sizeof url, "%.*s%s%s", (int)(percent - URLS[i]), URLS[i], f.dir.path,
                       percent + 2);
        add_super(&f, name, url);
        GitRef r = ref_of(&f, name);
        GitCommit c = resolve(&f, name);
        FAILS(source_git(f.s, &f.a, &r, &c, &id, &e), ERR_NETWORK, "not allowed");
    }
    assert_false(exists(f.dir.fd, "escaped"));
}

static void a_held_commit_needs_no_network(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    const char *two = ask(&f, "repo.git", "rev-parse main");
    const char *pinned = arena_printf(&f.a, "repo.git#%s", two);
    SnapshotId id = get(&f, "repo.git");
    stop_server(&f);
    assert_true(get(&f, pinned) == id);
    assert_text(&f, get(&f, arena_printf(&f.a, "%s:sub", pinned)), "deep/f", "deep\n");
    assert_text(&f, get(&f, arena_printf(&f.a, "repo.git?keep-git-dir&checksum=%.8s#%s", two, two)),
                "a", "two\n");
    start_server(&f);
    /* A snapshot that is gone is made again. */
    sh(&f, "rm -r %s", in_snapshot(&f, id, ""));
    assert_text(&f, get(&f, "repo.git"), "a", "two\n");
}

static void commits_that_are_no_tips_are_found(void **state)
{
    scoped(fixture) Fixture f;
    Err e = ERR_INIT;
    SnapshotId id;
    (void)state;
    fixture_init(&f);
    sh(&f, "cd w && for i in 3 4 5; do echo $i >a && git commit -qam $i; done && "
           "git push -q ../srv/repo.git main");
    const char *mid = ask(&f, "repo.git", "rev-parse main~1");
    assert_text(&f, get(&f, arena_printf(&f.a, "repo.git#%s", mid)), "a", "4\n");
    /* The old server's refusal makes us take all; a shallow repository becomes whole for it. */
    assert_text(&f, get(&f, "v0/repo.git#old"), "a", "one\n");
    mid = ask(&f, "repo.git", "rev-parse main~2");
    assert_text(&f, get(&f, arena_printf(&f.a, "v0/repo.git#%s", mid)), "a", "3\n");
    const char *none = "v0/repo.git#0123456789012345678901234567890123456789";
    GitRef r = ref_of(&f, none);
    GitCommit c = resolve(&f, none);
    FAILS(source_git(f.s, &f.a, &r, &c, &id, &e), ERR_DOCKERFILE, "contains commit 0123456789");
}

static void what_a_killed_process_left_is_no_obstacle(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    (void)get(&f, "repo.git#old");
    sh(&f,
       "cd store/git/* && : >busy && : >repo/shallow.lock && : >repo/config.lock && "
       ": >repo/packed-refs.lock && : >repo/refs/lighter/%s.lock",
       ask(&f, "repo.git", "rev-parse main"));
    assert_text(&f, get(&f, "repo.git#main"), "a", "two\n");
    sh(&f, "cd store/git/* && ! [ -e busy ] && [ -z \"$(find . -name '*.lock')\" ]");
}

static void a_damaged_repository_is_made_anew(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    (void)get(&f, "repo.git#old");
    sh(&f, "find store/git/*/repo/objects -type f -exec sh -c 'chmod +w $1 && : >$1' - {} ';'");
    assert_text(&f, get(&f, "repo.git#old:sub"), "deep/f", "deep\n");
    assert_text(&f, get(&f, "repo.git"), "a", "two\n");
}

static void two_processes_agree_on_one_tree(void **state)
{
    scoped(fixture) Fixture f;
    int p[2];
    pid_t child[4];
    SnapshotId ids[NELEM(child)];
    (void)state;
    fixture_init(&f);
    assert_int_equal(pipe(p), 0);
    for (size_t i = 0; i < NELEM(child); i++) {
        child[i] = fork();
        if (child[i] == 0) {
            Err e = ERR_INIT;
            Store *own;
            GitRef r = ref_of(&f, "repo.git");
            GitCommit c;
            bool ok = store_open(store_path(f.s), "root", &own, &e) &&
                      source_git_resolve(own, &f.a, &r, &c, &e) &&
                      source_git(own, &f.a, &r, &c, &ids[0], &e);
            if (!ok)
                (void)fprintf(stderr, "child: %s\n", e.msg);
            ok = ok && write(p[1], &ids[0], sizeof ids[0]) == (ssize_t)sizeof ids[0];
            _exit(ok ? 0 : 1);
        }
    }
    for (size_t i = 0; i < NELEM(child); i++) {
        int status = -1;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_int_equal(status, 0);
        assert_int_equal(read(p[0], &ids[i], sizeof ids[i]), (ssize_t)sizeof ids[i]);
        assert_true(ids[i] == ids[0]);
    }
    assert_text(&f, ids[0], "a", "two\n");
}

/* A server that takes a connection and says nothing; what a process does there ends as asked. */
static int stall(Fixture *f, pid_t *ret_child)
{
    GitRef r = parse(&f->a, arena_printf(&f->a, "git://127.0.0.1:%d/repo.git", f->port));
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0 || bind(s, (struct sockaddr *)&addr, len) < 0 || listen(s, 1) < 0 ||
        getsockname(s, (struct sockaddr *)&addr, &len) < 0)
        fail_msg("server: %s", strerror(errno));
    r.remote = arena_printf(&f->a, "git://127.0.0.1:%d/x", ntohs(addr.sin_port));
    *ret_child = fork();
    if (*ret_child == 0) {
        GitCommit c;
        Err e = ERR_INIT;
        cancel_install();
        _exit(source_git_resolve(f->s, &f->a, &r, &c, &e) ? 0 : (int)e.kind);
    }
    int c = accept(s, NULL, NULL);
    close(s);
    return c;
}

static bool hangs_up(int c)
{
    char bytes[256];
    ssize_t n;
    while ((n = read(c, bytes, sizeof bytes)) > 0)
        ;
    close(c);
    return n == 0;
}

static void a_cancelled_build_ends_git(void **state)
{
    static const int SIGNALS[] = {SIGTERM, SIGKILL};
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    for (size_t i = 0; i < NELEM(SIGNALS); i++) {
        pid_t child;
        int status = -1, c = stall(&f, &child);
        assert_true(c >= 0);
        (void)kill(child, SIGNALS[i]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(SIGNALS[i] == SIGKILL ? WIFSIGNALED(status) : WEXITSTATUS(status) == ERR_STEP);
        assert_true(hangs_up(c));
    }
}

/* The caller's repository, settings and hooks have no part in it. */
static void settings_of_the_user_do_not_count(void **state)
{
    scoped(fixture) Fixture f;
    (void)state;
    fixture_init(&f);
    sh(&f,
       "mkdir -p .config/git && echo '* text eol=crlf' | tee .config/git/attributes >attrs && "
       "printf '[core]\\n\\tautocrlf = true\\n\\thooksPath = %s/hooks\\n[url \"git://none/\"]\\n\\t"
       "insteadOf = git://127.0.0.1\\n' >.gitconfig && mkdir hooks && "
       "printf '#!/bin/sh\\ntouch %s/hooked\\n' >hooks/post-checkout && chmod +x hooks/*",
       f.dir.path, f.dir.path);
    (void)unsetenv("GIT_CONFIG_GLOBAL");
    SnapshotId id = get(&f, "repo.git?keep-git-dir");
    (void)setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
    assert_text(&f, id, "a", "two\n");
    assert_false(exists(f.dir.fd, "hooked"));
}

/* Plain files over HTTP, as any web server has them. */
static void a_plain_web_server_will_do(void **state)
{
    static const char SERVER[] =
        "exec python3 -c 'import http.server as h, os, functools as t\n"
        "s = h.ThreadingHTTPServer((\"127.0.0.1\", 0), t.partial(h.SimpleHTTPRequestHandler, "
        "directory=\"%s/srv\"))\n"
        "print(s.server_port, os.getpid(), flush=True)\n"
        "s.serve_forever()' 2>/dev/null";
    scoped(fixture) Fixture f;
    int port = 0, pid = 0;
    char cmd[1024], line[64] = {0};
    Err e = ERR_INIT;
    SnapshotId id = 0;
    GitCommit c = {0};
    (void)state;
    fixture_init(&f);
    add_super(&f, "super.git", "../mod.git");
    sh(&f, "for r in srv/*.git; do git -C $r update-server-info; done");
    (void)snprintf(cmd, sizeof cmd, SERVER, f.dir.path);
    FILE *server = popen(cmd, "re");
    if (!server || !fgets(line, sizeof line, server) || sscanf(line, "%d %d", &port, &pid) != 2)
        fail_msg("no web server");
    GitRef r = parse(&f.a, arena_printf(&f.a,
                                        "http://me:secret@127.0.0.1:%d/super.git"
                                        "?keep-git-dir&mtime=commit",
                                        port));
    bool ok = source_git_resolve(f.s, &f.a, &r, &c, &e) && source_git(f.s, &f.a, &r, &c, &id, &e);
    GitRef gone = parse(&f.a, arena_printf(&f.a, "http://me:secret@127.0.0.1:%d/x.git", port));
    Err why = ERR_INIT;
    bool found = source_git_resolve(f.s, &f.a, &gone, &c, &why);
    (void)kill(pid, SIGTERM);
    (void)pclose(server);
    if (!ok)
        fail_msg("%s", e.msg);
    assert_text(&f, id, "lib/m/f", "mod\n");
    sh(&f, "cd %s && git log -1 && ! grep -r secret .", in_snapshot(&f, id, ""));
    assert_false(found);
    assert_true(strstr(why.msg, "xxxxx:xxxxx@127.0.0.1") && !strstr(why.msg, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_mean_what_git_means),
        cmocka_unit_test(what_does_not_resolve_says_why),
        cmocka_unit_test(modes_are_gits_whatever_the_umask),
        cmocka_unit_test(a_part_of_a_tree_is_its_directory),
        cmocka_unit_test(times_are_those_of_the_commit_when_asked),
        cmocka_unit_test(a_kept_repository_works),
        cmocka_unit_test(submodules_come_along),
        cmocka_unit_test(submodules_of_this_machine_are_refused),
        cmocka_unit_test(a_held_commit_needs_no_network),
        cmocka_unit_test(commits_that_are_no_tips_are_found),
        cmocka_unit_test(what_a_killed_process_left_is_no_obstacle),
        cmocka_unit_test(a_damaged_repository_is_made_anew),
        cmocka_unit_test(two_processes_agree_on_one_tree),
        cmocka_unit_test(a_cancelled_build_ends_git),
        cmocka_unit_test(settings_of_the_user_do_not_count),
        cmocka_unit_test(a_plain_web_server_will_do),
    };
    return cmocka_run_group_tests_name("git", tests, NULL, NULL);
}
