/*
 * net/ and source/http.c: transfers against a real server (http_server.py beside this file), what
 * is kept of them, names of files, and what messages show of an URL.
 */
#include "testing.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/cancel.h"
#include "net/curl.h"
#include "net/net.h"
#include "net/url.h"
#include "source/filename.h"
#include "source/source.h"

/* ---- the server ---- */

typedef struct Server {
    pid_t pid;
    int port;
} Server;

static Server server_start(const char *cert, const char *key)
{
    char script[512], line[16] = "";
    int out[2];
    const char *dir = getenv("LIGHTER_UNIT");
    (void)snprintf(script, sizeof script, "%s/http_server.py", dir ? dir : "tests/unit");
    if (pipe(out) < 0)
        fail_msg("pipe: %s", strerror(errno));
    Server s = {.pid = fork()};
    if (s.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], STDOUT_FILENO);
        execl("/usr/bin/python3", "python3", script, cert, key, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    for (size_t n = 0; n < sizeof line - 1 && read(out[0], line + n, 1) == 1; n++)
        if (line[n] == '\n')
            break;
    s.port = atoi(line);
    close(out[0]);
    if (!s.port)
        fail_msg("'%s' did not start: is LIGHTER_UNIT the directory tests/unit?", script);
    return s;
}

static void scoped_server_done(Server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

static Server web;

static int start_web(void **state)
{
    static const char *const OURS[] = {"http_proxy", "https_proxy", "all_proxy",
                                       "no_proxy",   "HTTPS_PROXY", "ALL_PROXY",
                                       "NO_PROXY",   "HTTP_PROXY",  "SSL_CERT_FILE"};
    (void)state;
    for (size_t i = 0; i < NELEM(OURS); i++)
        unsetenv(OURS[i]);
    web = server_start(NULL, NULL);
    return 0;
}

static int stop_web(void **state)
{
    (void)state;
    scoped_server_done(&web);
    return 0;
}

/* An URL of the server: "/path?query". */
static char *at(Arena *a, const char *path)
{
    return arena_printf(a, "http://127.0.0.1:%d%s", web.port, path);
}

/* Fetch into memory, without a limit that matters; fails the test if it does not work. */
static char *get(Arena *a, const char *url, NetReply *ret)
{
    scoped(buf) Buf b = BUF_INIT;
    NetReply r;
    Err e = ERR_INIT;
    OK(net_get(a, &(NetRequest){.url = url, .into = &b, .max_size = 1 << 20}, &r, &e));
    if (ret)
        *ret = r;
    return arena_strndup(a, buf_str(&b), b.len);
}

static int seen(Arena *a, const char *path)
{
    return atoi(get(a, at(a, arena_printf(a, "/seen?%s", path)), NULL));
}

static int bytes_sent(Arena *a, const char *path)
{
    return atoi(get(a, at(a, arena_printf(a, "/bytes?%s", path)), NULL));
}

static bool get_fails(Arena *a, const char *url, Err *e)
{
    scoped(buf) Buf b = BUF_INIT;
    NetReply r;
    return net_get(a, &(NetRequest){.url = url, .into = &b, .max_size = 1 << 20}, &r, e);
}

static Digest digest_text_of(const char *text)
{
    Digest d;
    digest_of(text, strlen(text), &d);
    return d;
}

/* ---- transfers ---- */

static void a_body_comes_with_its_digest_and_headers(void **state)
{
    scoped(arena) Arena a = {0};
    NetReply r;
    Digest want = digest_text_of("hello\n");

    (void)state;
    const char *url =
        at(&a, "/f?etag=W/%22one%22&modified=Sun,%2006%20Nov%201994%2008:49:37%20GMT");
    assert_string_equal(get(&a, url, &r), "hello\n");
    assert_int_equal(r.status, 200);
    assert_int_equal(r.size, 6);
    assert_true(digest_eq(&r.digest, &want));
    assert_string_equal(r.etag, "W/\"one\"");
    assert_string_equal(r.last_modified, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_non_null(r.date);
    assert_null(r.disposition);
    assert_string_equal(r.final_url, url);
    assert_string_equal(get(&a, at(&a, "/f?chunked=1"), NULL), "hello\n");
    assert_string_equal(get(&a, at(&a, "/f?echo=User-Agent"), NULL), "lighter/" LIGHTER_VERSION);
}

static void a_body_goes_into_a_file_behind_what_is_there(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(scratch) Scratch s = scratch_new();
    scoped(fd) int fd = openat(s.fd, "f", O_RDWR | O_CREAT, 0600);
    NetReply r;
    Err e = ERR_INIT;

    (void)state;
    OK(fs_write_all(fd, "> ", 2, &e));
    /* The first attempt gets 100 bytes of something, which do not stay. */
    NetRequest req = {.url = at(&a, "/file?torn=1"), .fd = fd, .max_size = 200};
    Digest want = digest_text_of("hello\n");
    OK(net_get(&a, &req, &r, &e));
    assert_string_equal(slurp(&a, s.fd, "f"), "> hello\n");
    assert_true(digest_eq(&r.digest, &want));
    assert_string_equal(get(&a, at(&a, "/buffer?torn=1"), &r), "hello\n");
    assert_int_equal(r.size, 6);
    assert_int_equal(seen(&a, "/buffer?torn=1"), 2);
}

static void a_file_that_cannot_be_written_is_the_disks_error(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(scratch) Scratch s = scratch_new();
    NetReply r;
    Err e = ERR_INIT;

    (void)state;
    put(s.fd, "f", "");
    scoped(fd) int fd = openat(s.fd, "f", O_RDONLY);
    FAILS(net_get(&a, &(NetRequest){.url = at(&a, "/ro"), .fd = fd, .max_size = 6}, &r, &e),
          ERR_STORE, "/ro");
    assert_true(seen(&a, "/ro") <= 1);
}

static void gzip_on_the_way_is_unpacked_where_it_was_offered(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    NetReply r;
    Err e = ERR_INIT;
    const char *url = at(&a, "/z?encoding=gzip&body=unpacked");
    NetRequest req = {.url = url, .into = &b, .max_size = 8, .gunzip = true};

    (void)state;
    OK(net_get(&a, &req, &r, &e));
    assert_string_equal(buf_str(&b), "unpacked");
    assert_int_equal(r.size, 8);
    assert_memory_equal(get(&a, url, NULL), "\x1f\x8b", 2);
    /* A small body that unpacks to a large one meets the limit. */
    req.url = at(&a, "/z?encoding=gzip&size=1000000");
    req.max_size = 999999;
    FAILS(net_get(&a, &req, &r, &e), ERR_NETWORK, "limit of 999999 bytes");
}

static void a_body_over_the_limit_is_refused(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    NetReply r;
    Err e = ERR_INIT;
    NetRequest req = {.url = at(&a, "/big?size=101"), .into = &b, .max_size = 100};

    (void)state;
    FAILS(net_get(&a, &req, &r, &e), ERR_NETWORK, "limit of 100 bytes");
    assert_int_equal(b.len, 0); /* its length was announced */
    req.url = at(&a, "/big?size=101&chunked=1");
    FAILS(net_get(&a, &req, &r, &e), ERR_NETWORK, "limit of 100 bytes");
    req.url = at(&a, "/big?size=100&chunked=1");
    b.len = 0;
    OK(net_get(&a, &req, &r, &e));
    assert_int_equal(b.len, 100);
}

static void a_status_that_is_no_success_is_named(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;

    (void)state;
    FAILS(get_fails(&a, at(&a, "/gone?status=404"), &e), ERR_NETWORK,
          "/gone?status=404': status 404");
    FAILS(get_fails(&a, at(&a, "/denied?status=403"), &e), ERR_NETWORK, "status 403");
    FAILS(get_fails(&a, at(&a, "/odd?status=304"), &e), ERR_NETWORK, "status 304");
    assert_int_equal(seen(&a, "/gone?status=404"), 1);
}

static void what_is_kept_is_asked_about(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    NetReply r;
    Err e = ERR_INIT;
    NetRequest req = {.url = at(&a, "/e?etag=%22v1%22"), .into = &b, .max_size = 100};

    (void)state;
    req.have_etag = "\"v1\"";
    OK(net_get(&a, &req, &r, &e));
    assert_int_equal(r.status, 304);
    assert_true(r.unchanged);
    req.have_etag = "\"v0\"";
    OK(net_get(&a, &req, &r, &e));
    assert_false(r.unchanged);
    assert_string_equal(buf_str(&b), "hello\n");
    /* A server that ignores the question says the same with its answer, which is not read. */
    b.len = 0;
    req.url = at(&a, "/naive?etag=W/%22v1%22&naive=1");
    req.have_etag = "\"v1\"";
    OK(net_get(&a, &req, &r, &e));
    assert_true(r.unchanged);
    assert_int_equal(b.len, 0);
}

/* ---- trying again ---- */

static void a_failing_server_is_asked_again(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    assert_string_equal(get(&a, at(&a, "/flaky?fail=1"), NULL), "hello\n");
    assert_int_equal(seen(&a, "/flaky?fail=1"), 2);
    assert_string_equal(get(&a, at(&a, "/slow?fail=1&code=408"), NULL), "hello\n");
    assert_string_equal(get(&a, at(&a, "/busy?fail=1&code=429&after=1"), NULL), "hello\n");
    assert_int_equal(seen(&a, "/busy?fail=1&code=429&after=1"), 2);
}

static void a_server_that_keeps_failing_is_given_up(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;

    (void)state;
    FAILS(get_fails(&a, at(&a, "/down?fail=9&code=503"), &e), ERR_NETWORK,
          "status 503 (tried 6 times)");
    assert_int_equal(seen(&a, "/down?fail=9&code=503"), NET_ATTEMPTS);
}

static void a_server_that_wants_a_long_pause_is_given_up_at_once(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;

    (void)state;
    FAILS(get_fails(&a, at(&a, "/later?fail=9&code=429&after=3600"), &e), ERR_NETWORK,
          "asked again in 3600 seconds");
    assert_int_equal(seen(&a, "/later?fail=9&code=429&after=3600"), 1);
}

static void a_cut_body_is_no_body(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;

    (void)state;
    FAILS(get_fails(&a, at(&a, "/cut?cut=3"), &e), ERR_NETWORK, "3 bytes remaining");
    assert_int_equal(seen(&a, "/cut?cut=3"), NET_ATTEMPTS);
}

static void a_closed_port_is_an_error_that_names_it(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;

    (void)state;
    Server gone = server_start(NULL, NULL);
    scoped_server_done(&gone);
    FAILS(get_fails(&a, arena_printf(&a, "http://me:secret@127.0.0.1:%d/x", gone.port), &e),
          ERR_NETWORK, arena_printf(&a, "http://me:xxxxx@127.0.0.1:%d/x'", gone.port));
}

/* ---- redirects and credentials ---- */

static void a_redirect_is_followed(void **state)
{
    scoped(arena) Arena a = {0};
    NetReply r;
    Err e = ERR_INIT;

    (void)state;
    const char *hop = at(&a, "/a?status=302&location=/b%3Fbody=there&etag=before&disposition=x");
    assert_string_equal(get(&a, hop, &r), "there");
    assert_string_equal(r.final_url, at(&a, "/b?body=there"));
    assert_null(r.etag); /* the redirect's, not the file's */
    FAILS(get_fails(&a, at(&a, "/a?status=302&location=/c%3Fstatus=404%26token=12"), &e),
          ERR_NETWORK, at(&a, "/c?status=404&token=xxxxx'): status 404"));
}

static void redirects_end(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;

    (void)state;
    FAILS(get_fails(&a, at(&a, "/loop?status=302&location=@self"), &e), ERR_NETWORK, "redirects");
    assert_int_equal(seen(&a, "/loop?status=302&location=@self"), NET_REDIRECTS + 1);
}

static void a_redirect_leaves_http_for_nothing_else(void **state)
{
    scoped(arena) Arena a = {0};
    Err e = ERR_INIT;

    (void)state;
    FAILS(get_fails(&a, at(&a, "/r?status=302&location=file:///etc/passwd"), &e), ERR_NETWORK,
          "\"file\"");
    FAILS(get_fails(&a, at(&a, "/r?status=302&location=ftp://127.0.0.1/x"), &e), ERR_NETWORK,
          "\"ftp\"");
    FAILS(get_fails(&a, "file:///etc/passwd", &e), ERR_NETWORK, "no http or https URL");
    FAILS(get_fails(&a, "127.0.0.1/x", &e), ERR_NETWORK, "no http or https URL");
}

static void credentials_stay_with_their_host(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    NetReply r;
    Err e = ERR_INIT;
    NetRequest req = {.into = &b, .max_size = 100};

    (void)state;
    strlist_add(&a, &req.headers, "Authorization: Bearer 123");
    req.url = at(&a, "/r?status=302&location=/e%3Fecho=Authorization");
    OK(net_get(&a, &req, &r, &e));
    assert_string_equal(buf_str(&b), "Bearer 123");
    b.len = 0;
    req.url = at(
        &a, arena_printf(&a, "/r?status=302&location=http://localhost:%d/e%%3Fecho=Authorization",
                         web.port));
    OK(net_get(&a, &req, &r, &e));
    assert_string_equal(buf_str(&b), "none");
    assert_string_equal(
        get(&a, arena_printf(&a, "http://me:pw@127.0.0.1:%d/e?echo=Authorization", web.port), NULL),
        "Basic bWU6cHc=");
    assert_string_equal(
        get(&a,
            arena_printf(&a,
                         "http://me:pw@127.0.0.1:%d/"
                         "r?status=302&location=http://localhost:%d/e%%3Fecho=Authorization",
                         web.port, web.port),
            NULL),
        "none");
}

static void the_environments_proxy_is_asked(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    static const char *const SPELLINGS[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < NELEM(SPELLINGS); i++) {
        setenv(SPELLINGS[i], at(&a, ""), 1);
        assert_string_equal(get(&a, "http://nowhere.invalid/x?body=by-proxy", NULL), "by-proxy");
        unsetenv(SPELLINGS[i]);
    }
    /* Nobody asks a proxy for this machine. */
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    assert_string_equal(get(&a, at(&a, "/direct?body=direct"), NULL), "direct");
    unsetenv("http_proxy");
}

/* Ask, and give the status; the body goes to `into`. */
static int ask(Arena *a, const NetAsk *q, Buf *into, NetAnswer *ret)
{
    Err e = ERR_INIT;
    into->len = 0;
    OK(net_ask(a, q, into, 1 << 20, ret, NULL, &e));
    return ret->status;
}

static void only_a_known_certificate_is_trusted(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(scratch) Scratch s = scratch_new();
    Err e = ERR_INIT;
    const char *cert = arena_printf(&a, "%s/cert", s.path),
               *key = arena_printf(&a, "%s/key", s.path);

    (void)state;
    if (system(arena_printf(&a,
                            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
                            "-subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s "
                            ">/dev/null 2>&1",
                            key, cert)) != 0)
        SKIP("needs the package openssl");
    scoped(server) Server tls = server_start(cert, key);
    const char *url = arena_printf(&a, "https://127.0.0.1:%d/x", tls.port);
    FAILS(get_fails(&a, url, &e), ERR_NETWORK, "certificate");
    setenv("SSL_CERT_FILE", cert, 1);
    assert_string_equal(get(&a, url, NULL), "hello\n");
    /* The certificate is for another name. */
    FAILS(get_fails(&a, arena_printf(&a, "https://localhost:%d/x", tls.port), &e), ERR_NETWORK,
          "localhost");
    unsetenv("SSL_CERT_FILE");

    scoped(buf) Buf b = BUF_INIT;
    NetAnswer ans;
    NetTrust trust = {.ca_pem = slurp(&a, s.fd, "cert")};
    assert_int_equal(ask(&a, &(NetAsk){.url = url, .trust = &trust}, &b, &ans), 200);
    trust = (NetTrust){.insecure = true};
    assert_int_equal(ask(&a, &(NetAsk){.url = url, .trust = &trust}, &b, &ans), 200);
    /* What was said for one request counts for no other. */
    FAILS(get_fails(&a, url, &e), ERR_NETWORK, "certificate");
    NetAsk down = {.url = arena_printf(&a, "%s?status=302&location=%s", url, at(&a, "/plain")),
                   .trust = &trust};
    FAILS(net_ask(&a, &down, &b, 100, &ans, NULL, &e), ERR_NETWORK, "from https to http");
    assert_int_equal(seen(&a, "/plain"), 0);
}

/* ---- any exchange ---- */

static void a_body_is_sent_with_any_method_and_any_status_is_an_answer(void **state)
{
    static const char *const METHODS[] = {"POST", "PUT", "PATCH"};
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    NetAnswer ans;

    (void)state;
    for (size_t i = 0; i < NELEM(METHODS); i++) {
        NetAsk q = {.method = METHODS[i],
                    .url = at(&a, "/up?status=202&location=/elsewhere"),
                    .has_body = true,
                    .body = "hello\n",
                    .body_size = 6};
        assert_int_equal(ask(&a, &q, &b, &ans), 202);
        assert_string_equal(
            buf_str(&b), arena_printf(&a,
                                      "%s 6 "
                                      "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6"
                                      "be03",
                                      METHODS[i]));
        assert_string_equal(net_header(&ans, "LOCATION"), "/elsewhere");
        assert_null(net_header(&ans, "Locatio"));
    }
    NetAsk empty = {.method = "POST", .url = at(&a, "/up"), .has_body = true, .body = ""};
    assert_int_equal(ask(&a, &empty, &b, &ans), 200);
    assert_true(str_starts(buf_str(&b), "POST 0 "));
    assert_int_equal(ask(&a, &(NetAsk){.method = "DELETE", .url = at(&a, "/x")}, &b, &ans), 200);
    assert_string_equal(buf_str(&b), "DELETE");
    assert_int_equal(ask(&a, &(NetAsk){.method = "HEAD", .url = at(&a, "/h?size=12")}, &b, &ans),
                     200);
    assert_int_equal(ans.length, 12);
    assert_int_equal(b.len, 0);
    assert_int_equal(ask(&a, &(NetAsk){.url = at(&a, "/no?status=401&body=why")}, &b, &ans), 401);
    assert_string_equal(buf_str(&b), "why");
}

static void part_of_a_file_is_sent_without_being_held(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(scratch) Scratch s = scratch_new();
    scoped(buf) Buf b = BUF_INIT;
    scoped(fd) int fd = openat(s.fd, "f", O_RDWR | O_CREAT, 0600);
    NetAnswer ans;

    (void)state;
    assert_int_equal(ftruncate(fd, 9 << 20), 0);
    NetAsk q = {.method = "PUT",
                .url = at(&a, "/up"),
                .has_body = true,
                .body_fd = fd,
                .body_at = 1 << 20,
                .body_size = 8 << 20};
    assert_int_equal(ask(&a, &q, &b, &ans), 200);
    assert_string_equal(buf_str(&b), "PUT 8388608 "
                                     "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053"
                                     "e74");
    /* A file that is shorter than it was said to be is no body. */
    Err e = ERR_INIT;
    q.body_size = 9 << 20;
    FAILS(net_ask(&a, &q, &b, 100, &ans, NULL, &e), ERR_NETWORK, "too short");
}

static void a_refusal_comes_before_the_body_is_sent(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(scratch) Scratch s = scratch_new();
    scoped(buf) Buf b = BUF_INIT;
    scoped(fd) int fd = openat(s.fd, "f", O_RDWR | O_CREAT, 0600);
    NetAnswer ans;
    uint64_t t0 = clock_ns();

    (void)state;
    assert_int_equal(ftruncate(fd, (off_t)1 << 30), 0);
    NetAsk q = {.method = "PUT",
                .url = at(&a, "/up?early=1&status=413"),
                .has_body = true,
                .body_fd = fd,
                .body_size = 1 << 30,
                .attempts = 1};
    assert_int_equal(ask(&a, &q, &b, &ans), 413);
    assert_true(clock_ns() - t0 < 5000000000u);
}

static void a_passing_status_is_asked_again_and_then_given(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    NetAnswer ans;

    (void)state;
    NetAsk q = {.method = "PUT",
                .url = at(&a, "/try?fail=2&code=503"),
                .has_body = true,
                .body = "again",
                .body_size = 5};
    assert_int_equal(ask(&a, &q, &b, &ans), 200);
    assert_true(str_starts(buf_str(&b), "PUT 5 "));
    q = (NetAsk){.url = at(&a, "/stays?fail=9&code=503"), .attempts = 2};
    assert_int_equal(ask(&a, &q, &b, &ans), 503);
    assert_int_equal(seen(&a, "/stays?fail=9&code=503"), 2);
}

static void a_stream_gives_a_body_piece_by_piece_and_tells_when_it_is_cut(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(net_stream) NetStream *s = NULL, *cut = NULL;
    Err e = ERR_INIT;
    NetAnswer ans;
    char block[1000];
    size_t n = 1, total = 0;

    (void)state;
    OK(net_open(&a, &(NetAsk){.url = at(&a, "/s?size=3000000")}, &s, &ans, NULL, &e));
    assert_int_equal(ans.length, 3000000);
    while (n) {
        OK(net_read(s, block, sizeof block, &n, &e));
        total += n;
    }
    assert_int_equal(total, 3000000);
    OK(net_open(&a, &(NetAsk){.url = at(&a, "/s?size=3000000&cut=2000000")}, &cut, &ans, NULL, &e));
    for (total = 0; net_read(cut, block, sizeof block, &n, &e); total += n)
        assert_true(n > 0);
    assert_int_equal(total, 2000000);
    assert_int_equal(e.kind, ERR_NETWORK);
}

static void connections_are_kept_for_the_next_call(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    NetAnswer ans;

    (void)state;
    int before = atoi(get(&a, at(&a, "/connections"), NULL));
    for (int i = 0; i < 5; i++) {
        get(&a, at(&a, "/k?size=100000"), NULL);
        ask(&a, &(NetAsk){.url = at(&a, "/k?status=404&size=9000")}, &b, &ans);
        ask(&a, &(NetAsk){.method = "HEAD", .url = at(&a, "/k?size=100000")}, &b, &ans);
    }
    assert_int_equal(atoi(get(&a, at(&a, "/connections"), NULL)), before);
}

static void nobody_is_told_from_a_broken_connection(void **state)
{
    scoped(arena) Arena a = {0};
    scoped(buf) Buf b = BUF_INIT;
    Err e = ERR_INIT;
    NetAnswer ans;
    NetFault fault;

    (void)state;
    Server gone = server_start(NULL, NULL);
    scoped_server_done(&gone);
    NetAsk q = {.url = arena_printf(&a, "http://127.0.0.1:%d/", gone.port), .attempts = 1};
    FAILS(net_ask(&a, &q, &b, 100, &ans, &fault, &e), ERR_NETWORK, "onnect");
    assert_int_equal(fault, NET_FAULT_CONNECT);
    q.url = arena_printf(&a, "https://127.0.0.1:%d/", web.port);
    FAILS(net_ask(&a, &q, &b, 100, &ans, &fault, &e), ERR_NETWORK, "https://127.0.0.1");
    assert_int_equal(fault, NET_FAULT_TLS);
    q.url = at(&a, "/cut?cut=3");
    FAILS(net_ask(&a, &q, &b, 100, &ans, &fault, &e), ERR_NETWORK, "3 bytes remaining");
    assert_int_equal(fault, NET_FAULT_CUT);
}

static void a_location_is_read_against_what_it_answers(void **state)
{
    static const struct {
        const char *base, *ref, *want;
    } ROWS[] = {
        {"https://h:1/v2/a/b?x=1", "/v2/c?d", "https://h:1/v2/c?d"},
        {"https://h:1/v2/a/b?x=1", "c", "https://h:1/v2/a/c"},
        {"https://h:1/v2/a/b?x=/1", "?y", "https://h:1/v2/a/b?y"},
        {"https://h:1/v2/a/b", "//other/z", "https://other/z"},
        {"https://h:1/v2/a/b", "http://other:2/z", "http://other:2/z"},
        {"https://h:1/v2/a/b", "", "https://h:1/v2/a/b"},
        {"https://h", "c", "https://h/c"},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(ROWS); i++)
        assert_string_equal(net_resolve_url(&a, ROWS[i].base, ROWS[i].ref), ROWS[i].want);
}

static void an_origin_is_scheme_host_and_port(void **state)
{
    (void)state;
    assert_true(net_same_origin("https://h/x", "HTTPS://H:443/y"));
    assert_true(net_same_origin("http://u:p@h/x", "http://h:80"));
    assert_false(net_same_origin("https://h/x", "http://h/x"));
    assert_false(net_same_origin("https://h/x", "https://h:444/x"));
    assert_false(net_same_origin("https://h/x", "https://h@other/x"));
    assert_false(net_same_origin("https://h/x", "ftp://h/x"));
    assert_true(url_loopback("http://127.1.2.3:5/x"));
    assert_true(url_loopback("https://[::1]:5000/"));
    assert_true(url_loopback("http://LocalHost"));
    assert_false(url_loopback("http://127.example.org@host/"));
    assert_false(url_loopback("http://localhost.example.org/"));
}

/* ---- cancelling: the flag cannot be taken back, so each in a process of its own ---- */

static void *raise_soon(void *arg)
{
    (void)arg;
    poll(NULL, 0, 300);
    cancel_raise();
    return NULL;
}

/* Whether a transfer that is cancelled while it waits says so. */
static bool ends_when_cancelled(const char *url)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        scoped(arena) Arena a = {0};
        pthread_t thread;
        Err e = ERR_INIT;
        alarm(25); /* before the wait would end by itself */
        pthread_create(&thread, NULL, raise_soon, NULL);
        bool got = get_fails(&a, url, &e);
        pthread_join(thread, NULL);
        _exit(!got && e.kind == ERR_STEP && strstr(e.msg, "cancelled") ? 0 : 1);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static void every_wait_ends_when_it_is_cancelled(void **state)
{
    scoped(arena) Arena a = {0};

    (void)state;
    assert_true(ends_when_cancelled(at(&a, "/hang?cut=3&hold=1")));
    assert_true(ends_when_cancelled(at(&a, "/pause?fail=1&code=503&after=30")));
}

/* ---- threads, and the library itself ---- */

static void *get_often(void *body)
{
    scoped(arena) Arena a = {0};
    const char *url = at(&a, arena_printf(&a, "/t?body=%s", (const char *)body));
    for (int i = 0; i < 10; i++) {
        scoped(buf) Buf b = BUF_INIT;
        NetReply r;
        Err e = ERR_INIT;
        NetRequest req = {.url = url, .into = &b, .max_size = 100};
        if (!net_get(&a, &req, &r, &e) || strcmp(buf_str(&b), body) != 0)
            return body;
    }
    return NULL;
}

static void threads_fetch_beside_each_other(void **state)
{
    char bodies[8][32];
    pthread_t threads[NELEM(bodies)];

    (void)state;
    for (size_t i = 0; i < NELEM(bodies); i++) {
        (void)snprintf(bodies[i], sizeof bodies[i], "of-thread-%zu", i);
        assert_int_equal(pthread_create(&threads[i], NULL, get_often, bodies[i]), 0);
    }
    for (size_t i = 0; i < NELEM(bodies); i++) {
        void *failed = "?";
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

static void a_missing_libcurl_is_named_as_a_package(void **state)
{
    static const char *const NONE[] = {"libcurl-that-is-not-here.so.4", NULL};
    static const char *const OTHER[] = {"libc.so.6", NULL};
    CurlApi api;
    Err e = ERR_INIT;

    (void)state;
    FAILS(curl_load(NONE, &api, &e), ERR_ENV, "install the package libcurl4");
    FAILS(curl_load(OTHER, &api, &e), ERR_ENV, "curl_global_init");
}

/* ---- URLs ---- */

static void secrets_of_an_url_are_not_shown(void **state)
{
    static const char *const CASES[][2] = {
        {"https://host/path", "https://host/path"},
        {"https://me:pw@host/path", "https://me:xxxxx@host/path"},
        {"https://me:p@w:x@host:8/p@th", "https://me:xxxxx@host:8/p@th"},
        {"https://token@host", "https://xxxxx@host"},
        {"https://:pw@host", "https://:xxxxx@host"},
        {"https://host?user=me@home", "https://host?user=me@home"},
        {"https://host/f?v=1&X-Amz-Signature=abc&X-Amz-Date=2&sig=a%2Fb=",
         "https://host/f?v=1&X-Amz-Signature=xxxxx&X-Amz-Date=2&sig=xxxxx"},
        {"https://host/f?ACCESS_TOKEN=1;api_key=2#token=3",
         "https://host/f?ACCESS_TOKEN=xxxxx;api_key=xxxxx#token=xxxxx"},
        {"https://host/f?%74oken=1&flag&=&a", "https://host/f?%74oken=xxxxx&flag&=&a"},
        {"no url at all", "no url at all"},
        {"me:pw@host/x", "me:xxxxx@host/x"},
        {"https://host/\x1b[2J\n", "https://host/?[2J?"},
        {"", ""},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++)
        assert_string_equal(net_mask_url(&a, CASES[i][0]), CASES[i][1]);
}

static void an_url_is_sent_as_a_request_line_can_hold_it(void **state)
{
    static const char *const CASES[][2] = {
        {"http://h/a%20b/[c]!'()*?d=[e]{f}", "http://h/a%20b/[c]!'()*?d=[e]{f}"},
        {"http://h/a b/{c}^?d e", "http://h/a%20b/%7Bc%7D%5E?d%20e"},
        {"HTTPS://h/\xc3\xa4?\xc3\xa4", "HTTPS://h/%C3%A4?%C3%A4"},
        {"http://\xc3\xa4.de", "http://\xc3\xa4.de"},
    };
    scoped(arena) Arena a = {0};
    const char *got;
    Err e = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++) {
        OK(url_to_send(&a, CASES[i][0], &got, &e));
        assert_string_equal(got, CASES[i][1]);
    }
    FAILS(url_to_send(&a, "http://h/\r\nHost: x", &got, &e), ERR_NETWORK, "control character");
    FAILS(url_to_send(&a, "gopher://h/", &got, &e), ERR_NETWORK, "no http or https URL");
    FAILS(url_to_send(&a, "", &got, &e), ERR_NETWORK, "no http or https URL");
}

/* ---- names of files ---- */

typedef struct NameCase {
    const char *url, *disposition, *want;
} NameCase;

static void an_urls_path_names_its_file(void **state)
{
    static const NameCase CASES[] = {
        {"http://h/a/b.txt", NULL, "b.txt"},
        {"http://h/a/b.txt?c=/d#/e", NULL, "b.txt"},
        {"http://h/a/b/", NULL, "b"},
        {"http://h/a%20b%2Ec", NULL, "a b.c"},
        {"http://h/a%2Fb", NULL, "b"},
        {"http://h/%2e%2e", NULL, "download"},
        {"http://h/x/..", NULL, "download"},
        {"http://h/.", NULL, "download"},
        {"http://h/%00", NULL, "download"},
        {"http://h/a%0Ab", NULL, "download"},
        {"http://h/%c2%85%c2%90", NULL, "download"},
        {"http://h/%zz", NULL, "download"},
        {"http://h/%4", NULL, "download"},
        {"http://h/", NULL, "download"},
        {"http://h", NULL, "download"},
        {"http://h?a=/b", NULL, "download"},
        {"http://h/%20a%c2%a0", NULL, "a"},
        {"http://h/\xe8\xb3\x87", NULL, "\xe8\xb3\x87"},
        {"http://h/a\\b", NULL, "a\\b"},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++)
        assert_string_equal(http_file_name(&a, CASES[i].url, NULL, NULL), CASES[i].want);
    assert_string_equal(http_file_name(&a, "http://h/u", " ../../etc/passwd ", "a; filename=d"),
                        "passwd");
    assert_string_equal(http_file_name(&a, "http://h/u", "..", NULL), "download");
    assert_string_equal(http_file_name(&a, "http://h/u", "", NULL), "u");
    assert_string_equal(source_http_name(&a, "http://h/"), "__unnamed__");
    assert_string_equal(source_http_name(&a, "http://h/a.tgz?x"), "a.tgz");
}

/* Expectations are what Go's mime.ParseMediaType and BuildKit's rules give. */
static void content_disposition_names_a_file(void **state)
{
    static const NameCase CASES[] = {
        {NULL, "attachment; filename=a.txt", "a.txt"},
        {NULL, "ATTACHMENT ;  FileName = \"a b.txt\" ; size=3;", "a b.txt"},
        {NULL, "attachment; filename=\"../../x\"", "x"},
        {NULL, "attachment; filename=../../x", "u"}, /* a slash needs quotes */
        {NULL, "attachment; filename=\"..\"", "download"},
        {NULL, "attachment; filename=\"/etc/\"", "u"},
        {NULL, "attachment; filename=\"\"", "u"},
        {NULL, "attachment; filename=\"a\\\"b\"", "a\"b"},
        {NULL, "attachment; filename=\"C:\\dir\\a\"", "C:\\dir\\a"},
        {NULL, "attachment; filename=\"open", "u"},
        {NULL, "attachment; filename", "u"},
        {NULL, "attachment; filename=a; filename=b", "u"},
        {NULL, "attachment; filename=a; filename=a", "a"},
        {NULL, "attachment; filename=a b", "u"},
        {NULL, "filename=a", "u"},
        {NULL, "", "u"},
        {NULL, "a/b; filename=a", "a"},
        {NULL, "a/; filename=a", "u"},
        {NULL, "attachment; filename*=UTF-8''%e2%82%ac%20rates; filename=plain",
         "\xe2\x82\xac rates"},
        {NULL, "attachment; filename*=utf-8'en'..%2f..%2fx", "x"},
        {NULL, "attachment; filename*=ISO-8859-1''%a3; filename=plain", "plain"},
        {NULL, "attachment; filename*=UTF-8''%zz; filename=plain", "plain"},
        {NULL, "attachment; filename*0=\"a \"; filename*1*=%62; filename*2=c", "a bc"},
        {NULL, "attachment; filename*0*=utf-8''%61; filename*1=b; filename*3=d", "ab"},
        {NULL, "attachment; filename=\"a\x01z\"", "download"},
    };
    scoped(arena) Arena a = {0};

    (void)state;
    for (size_t i = 0; i < NELEM(CASES); i++)
        assert_string_equal(http_file_name(&a, "http://h/u", NULL, CASES[i].disposition),
                            CASES[i].want);
}

/* ---- files in the store ---- */

typedef struct Fixture {
    Scratch dir;
    Store *s;
    Arena a;
} Fixture;

static void scoped_fixture_done(Fixture *f)
{
    arena_done(&f->a);
    store_done(f->s);
    scoped_scratch_done(&f->dir);
}

static void fixture_init(Fixture *f)
{
    Err e = ERR_INIT;
    *f = (Fixture){.dir = scratch_new()};
    OK(store_open(arena_printf(&f->a, "%s/store", f->dir.path), "root", &f->s, &e));
}

static SourceFile fetch(Fixture *f, const char *url, const char *sha256_of)
{
    SourceFile r;
    Digest d = digest_text_of(sha256_of ? sha256_of : "");
    Err e = ERR_INIT;
    OK(source_http(f->s, &f->a, &(SourceHttp){.url = url, .checksum = sha256_of ? &d : NULL}, &r,
                   &e));
    return r;
}

/* The one file of a snapshot: its text, its facts in *ret. */
static char *file_of(Fixture *f, const SourceFile *file, struct stat *ret)
{
    char path[STORE_TMP_MAX];
    StrList names = {0};
    Err e = ERR_INIT;
    store_snapshot_path(file->snapshot, path);
    scoped(fd) int fd = openat(store_dirfd(f->s), path, O_RDONLY | O_DIRECTORY);
    OK(fs_list(&f->a, fd, &names, &e));
    assert_int_equal(names.n, 1);
    assert_string_equal(names.v[0], file->name);
    assert_int_equal(fstatat(fd, file->name, ret, AT_SYMLINK_NOFOLLOW), 0);
    return slurp(&f->a, fd, file->name);
}

static size_t entries(Fixture *f, const char *dir)
{
    StrList names = {0};
    Err e = ERR_INIT;
    scoped(fd) int fd = openat(store_dirfd(f->s), dir, O_RDONLY | O_DIRECTORY);
    OK(fs_list(&f->a, fd, &names, &e));
    return names.n;
}

/* What is left below tmp/ beside the lock. */
static size_t unfinished(Fixture *f)
{
    StrList owners = {0};
    Err e = ERR_INIT;
    size_t n = 0;
    scoped(fd) int fd = openat(store_dirfd(f->s), "tmp", O_RDONLY | O_DIRECTORY);
    OK(fs_list(&f->a, fd, &owners, &e));
    for (size_t i = 0; i < owners.n; i++)
        n += entries(f, arena_printf(&f->a, "tmp/%s", owners.v[i])) - 1;
    return n;
}

static void a_fetched_file_has_the_facts_docker_gives_it(void **state)
{
    scoped(fixture) Fixture f;
    struct stat st, dir;
    char path[STORE_TMP_MAX];
    Digest want = digest_text_of("hello\n");

    (void)state;
    fixture_init(&f);
    umask(077);
    SourceFile r = fetch(
        &f, at(&f.a, "/dir/my%20file?modified=Sun,%2006%20Nov%201994%2008:49:37%20GMT"), NULL);
    umask(022);
    assert_string_equal(r.name, "my file");
    assert_string_equal(file_of(&f, &r, &st), "hello\n");
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    store_snapshot_path(r.snapshot, path);
    assert_int_equal(fstatat(store_dirfd(f.s), path, &dir, 0), 0);
    assert_int_equal(dir.st_mode, S_IFDIR | 0755);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(st.st_gid, getegid());
    assert_int_equal(st.st_mtime, 784111777);
    assert_int_equal(st.st_mtim.tv_nsec, 0);
    assert_int_equal(r.mtime, 784111777);
    assert_int_equal(r.size, 6);
    assert_true(digest_eq(&r.digest, &want));
    assert_int_equal(unfinished(&f), 0);
    r = fetch(&f, at(&f.a, "/undated"), NULL);
    (void)file_of(&f, &r, &st);
    assert_int_equal(st.st_mtime, 0);
    assert_int_equal(r.mtime, 0);
}

static void all_three_forms_of_a_date_are_read(void **state)
{
    static const char *const FORMS[] = {
        "Sun,%2006%20Nov%201994%2008:49:37%20GMT",
        "Sunday,%2006-Nov-94%2008:49:37%20GMT",
        "Sun%20Nov%20%206%2008:49:37%201994",
    };
    scoped(fixture) Fixture f;

    (void)state;
    fixture_init(&f);
    for (size_t i = 0; i < NELEM(FORMS); i++)
        assert_int_equal(
            fetch(&f, at(&f.a, arena_printf(&f.a, "/d%zu?modified=%s", i, FORMS[i])), NULL).mtime,
            784111777);
    assert_int_equal(fetch(&f, at(&f.a, "/bad?modified=yesterday"), NULL).mtime, 0);
    assert_int_equal(
        fetch(&f, at(&f.a, "/old?modified=Mon,%2001%20Jan%201900%2000:00:00%20GMT"), NULL).mtime,
        0);
}

static void the_server_names_the_file_unless_the_caller_does(void **state)
{
    scoped(fixture) Fixture f;
    struct stat st;
    SourceFile r;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    const char *url = at(&f.a, "/u?disposition=attachment;filename%3D%22../../x%22");
    r = fetch(&f, url, NULL);
    assert_string_equal(r.name, "x");
    assert_string_equal(file_of(&f, &r, &st), "hello\n");
    /* A name of its own is a file of its own. */
    OK(source_http(f.s, &f.a, &(SourceHttp){.url = url, .name = "wanted"}, &r, &e));
    assert_string_equal(r.name, "wanted");
    assert_string_equal(file_of(&f, &r, &st), "hello\n");
    r = fetch(&f, at(&f.a, "/body"), NULL);
    assert_string_equal(r.name, "body");
    assert_string_equal(file_of(&f, &r, &st), "hello\n");
    char *longest = arena_alloc(&f.a, 301);
    memset(longest, 'n', 300);
    FAILS(source_http(f.s, &f.a, &(SourceHttp){.url = url, .name = longest}, &r, &e), ERR_NETWORK,
          "300 bytes");
    assert_int_equal(unfinished(&f), 0);
}

static void an_unchanged_file_is_asked_about_and_not_sent_again(void **state)
{
    static const char *const PATHS[] = {
        "/tagged?etag=%22v1%22",
        "/ignorant?etag=%22v1%22&naive=1&hold=1&size=100",
        "/dated?since=1&modified=Sun,%2006%20Nov%201994%2008:49:37%20GMT",
    };
    scoped(fixture) Fixture f;

    (void)state;
    fixture_init(&f);
    for (size_t i = 0; i < NELEM(PATHS); i++) {
        SourceFile first = fetch(&f, at(&f.a, PATHS[i]), NULL);
        SourceFile second = fetch(&f, at(&f.a, PATHS[i]), NULL);
        assert_int_equal(second.snapshot, first.snapshot);
        assert_int_equal(second.mtime, first.mtime);
        assert_string_equal(second.name, first.name);
        assert_true(digest_eq(&second.digest, &first.digest));
        assert_int_equal(seen(&f.a, PATHS[i]), 2);
    }
    assert_int_equal(bytes_sent(&f.a, PATHS[0]), 6);
    assert_int_equal(bytes_sent(&f.a, PATHS[2]), 6);
    assert_int_equal(entries(&f, "snapshots"), NELEM(PATHS));
}

static void a_time_that_may_not_tell_two_states_apart_is_not_asked_with(void **state)
{
    scoped(fixture) Fixture f;

    (void)state;
    fixture_init(&f);
    /* Later than the server's own Date. */
    const char *path = "/fresh?since=1&modified=Fri,%2031%20Dec%202999%2023:59:59%20GMT";
    fetch(&f, at(&f.a, path), NULL);
    fetch(&f, at(&f.a, path), NULL);
    assert_int_equal(bytes_sent(&f.a, path), 12);
}

static void a_changed_file_is_fetched_again(void **state)
{
    scoped(fixture) Fixture f;
    struct stat st;

    (void)state;
    fixture_init(&f);
    const char *url = at(&f.a, "/counter?body=@count");
    SourceFile first = fetch(&f, url, NULL), second = fetch(&f, url, NULL);
    assert_string_equal(file_of(&f, &first, &st), "1");
    assert_string_equal(file_of(&f, &second, &st), "2");
    /* The same bytes, name and time are one snapshot, also without a validator. */
    url = at(&f.a, "/same");
    first = fetch(&f, url, NULL);
    second = fetch(&f, url, NULL);
    assert_int_equal(first.snapshot, second.snapshot);
    assert_int_equal(unfinished(&f), 0);
}

static void a_snapshot_that_is_gone_is_fetched_again(void **state)
{
    static const char *const PATHS[] = {"/lost?etag=%22v1%22", "/lost?sum=1"};
    scoped(fixture) Fixture f;
    char path[STORE_TMP_MAX];
    struct stat st;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    for (size_t i = 0; i < NELEM(PATHS); i++) {
        const char *sum = i ? "hello\n" : NULL;
        SourceFile r = fetch(&f, at(&f.a, PATHS[i]), sum);
        store_snapshot_path(r.snapshot, path);
        OK(fs_remove_tree(store_dirfd(f.s), path, &e));
        r = fetch(&f, at(&f.a, PATHS[i]), sum);
        assert_string_equal(file_of(&f, &r, &st), "hello\n");
    }
}

static void a_file_of_a_held_checksum_needs_no_network(void **state)
{
    scoped(fixture) Fixture f;

    (void)state;
    fixture_init(&f);
    Server other = server_start(NULL, NULL);
    const char *url = arena_printf(&f.a, "http://127.0.0.1:%d/f", other.port);
    const char *unpinned = arena_printf(&f.a, "http://127.0.0.1:%d/g", other.port);
    SourceFile r = fetch(&f, url, "hello\n");
    SourceFile u = fetch(&f, unpinned, NULL);
    scoped_server_done(&other);
    assert_int_equal(fetch(&f, url, "hello\n").snapshot, r.snapshot);
    assert_string_equal(fetch(&f, url, "hello\n").name, "f");
    /* What came without a checksum has one all the same. */
    assert_int_equal(fetch(&f, unpinned, "hello\n").snapshot, u.snapshot);
}

static void other_bytes_than_the_checksums_are_not_kept(void **state)
{
    scoped(fixture) Fixture f;
    SourceFile r;
    Err e = ERR_INIT;
    char want[DIGEST_TEXT_SIZE], got[DIGEST_TEXT_SIZE];

    (void)state;
    fixture_init(&f);
    Digest d = digest_text_of("other"), hello = digest_text_of("hello\n");
    digest_text(&d, want);
    digest_text(&hello, got);
    SourceHttp req = {.url = at(&f.a, "/f?etag=%22sum%22&token=12"), .checksum = &d};
    const char *message =
        arena_printf(&f.a, "token=xxxxx': digest mismatch: expected %s, got %s", want, got);
    FAILS(source_http(f.s, &f.a, &req, &r, &e), ERR_CHECK, message);
    assert_int_equal(unfinished(&f), 0);
    assert_int_equal(entries(&f, "snapshots"), 0);
    /* The same when the server says that what is kept is what it has. */
    fetch(&f, req.url, NULL);
    FAILS(source_http(f.s, &f.a, &req, &r, &e), ERR_CHECK, message);
    assert_int_equal(bytes_sent(&f.a, "/f?etag=%22sum%22&token=12"), 12);
    assert_int_equal(entries(&f, "snapshots"), 1);
}

static void a_failed_fetch_keeps_nothing(void **state)
{
    static const char *const PATHS[] = {"/no?status=404", "/part?status=206",
                                        "/cut?cut=5&chunked=1"};
    scoped(fixture) Fixture f;
    SourceFile r;
    Err e = ERR_INIT;

    (void)state;
    fixture_init(&f);
    for (size_t i = 0; i < NELEM(PATHS); i++)
        FAILS(source_http(f.s, &f.a, &(SourceHttp){.url = at(&f.a, PATHS[i])}, &r, &e), ERR_NETWORK,
              PATHS[i]);
    assert_int_equal(unfinished(&f), 0);
    assert_int_equal(entries(&f, "snapshots"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_comes_with_its_digest_and_headers),
        cmocka_unit_test(a_body_goes_into_a_file_behind_what_is_there),
        cmocka_unit_test(a_file_that_cannot_be_written_is_the_disks_error),
        cmocka_unit_test(gzip_on_the_way_is_unpacked_where_it_was_offered),
        cmocka_unit_test(a_body_over_the_limit_is_refused),
        cmocka_unit_test(a_status_that_is_no_success_is_named),
        cmocka_unit_test(what_is_kept_is_asked_about),
        cmocka_unit_test(a_failing_server_is_asked_again),
        cmocka_unit_test(a_server_that_keeps_failing_is_given_up),
        cmocka_unit_test(a_server_that_wants_a_long_pause_is_given_up_at_once),
        cmocka_unit_test(a_cut_body_is_no_body),
        cmocka_unit_test(a_closed_port_is_an_error_that_names_it),
        cmocka_unit_test(a_redirect_is_followed),
        cmocka_unit_test(redirects_end),
        cmocka_unit_test(a_redirect_leaves_http_for_nothing_else),
        cmocka_unit_test(credentials_stay_with_their_host),
        cmocka_unit_test(the_environments_proxy_is_asked),
        cmocka_unit_test(a_body_is_sent_with_any_method_and_any_status_is_an_answer),
        cmocka_unit_test(part_of_a_file_is_sent_without_being_held),
        cmocka_unit_test(a_refusal_comes_before_the_body_is_sent),
        cmocka_unit_test(a_passing_status_is_asked_again_and_then_given),
        cmocka_unit_test(a_stream_gives_a_body_piece_by_piece_and_tells_when_it_is_cut),
        cmocka_unit_test(connections_are_kept_for_the_next_call),
        cmocka_unit_test(nobody_is_told_from_a_broken_connection),
        cmocka_unit_test(a_location_is_read_against_what_it_answers),
        cmocka_unit_test(an_origin_is_scheme_host_and_port),
        cmocka_unit_test(only_a_known_certificate_is_trusted),
        cmocka_unit_test(every_wait_ends_when_it_is_cancelled),
        cmocka_unit_test(threads_fetch_beside_each_other),
        cmocka_unit_test(a_missing_libcurl_is_named_as_a_package),
        cmocka_unit_test(secrets_of_an_url_are_not_shown),
        cmocka_unit_test(an_url_is_sent_as_a_request_line_can_hold_it),
        cmocka_unit_test(an_urls_path_names_its_file),
        cmocka_unit_test(content_disposition_names_a_file),
        cmocka_unit_test(a_fetched_file_has_the_facts_docker_gives_it),
        cmocka_unit_test(all_three_forms_of_a_date_are_read),
        cmocka_unit_test(the_server_names_the_file_unless_the_caller_does),
        cmocka_unit_test(an_unchanged_file_is_asked_about_and_not_sent_again),
        cmocka_unit_test(a_time_that_may_not_tell_two_states_apart_is_not_asked_with),
        cmocka_unit_test(a_changed_file_is_fetched_again),
        cmocka_unit_test(a_snapshot_that_is_gone_is_fetched_again),
        cmocka_unit_test(a_file_of_a_held_checksum_needs_no_network),
        cmocka_unit_test(other_bytes_than_the_checksums_are_not_kept),
        cmocka_unit_test(a_failed_fetch_keeps_nothing),
    };
    return cmocka_run_group_tests(tests, start_web, stop_web);
}
