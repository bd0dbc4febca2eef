/*
 * gomod/http.c: the heads of requests that the gateway reads.
 */
#include "testing.h"

#include "gomod/inside.h"

static bool read_head(const char *text, HttpHead *ret, size_t *ret_size)
{
    return http_head(str_c(text), ret, ret_size);
}

static void a_head_is_read_once_it_is_whole(void **state)
{
    static const char TEXT[] =
        "GET /a/@v/list HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n";
    HttpHead h;
    size_t size;
    (void)state;
    for (size_t n = 0; n < sizeof TEXT - 1; n++) {
        assert_true(http_head((Str){TEXT, n}, &h, &size));
        assert_int_equal(size, 0);
    }
    assert_true(read_head(TEXT, &h, &size));
    assert_int_equal(size, sizeof TEXT - 1);
    assert_true(str_eq(h.method, "GET") && str_eq(h.path, "/a/@v/list") && !h.close);
}

static void what_follows_a_head_is_the_next_one(void **state)
{
    static const char TEXT[] = "HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
    HttpHead h;
    size_t size;
    (void)state;
    assert_true(read_head(TEXT, &h, &size) && str_eq(h.method, "HEAD"));
    assert_true(read_head(TEXT + size, &h, &size) && str_eq(h.path, "/b"));
}

static void who_says_close_and_http_1_0_get_one_answer(void **state)
{
    HttpHead h;
    size_t size;
    (void)state;
    assert_true(read_head("GET / HTTP/1.0\r\n\r\n", &h, &size) && h.close);
    assert_true(read_head("GET / HTTP/1.1\r\nconnection:  Close\r\n\r\n", &h, &size) && h.close);
    assert_true(read_head("GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", &h, &size) &&
                !h.close);
}

static void what_is_no_request_for_a_module_is_refused(void **state)
{
    static const char *const BAD[] = {
        "GET http://h/ HTTP/1.1\r\n\r\n", /* of a forward proxy */
        "CONNECT h:443 HTTP/1.1\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET /\r\n\r\n",
        "\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", /* a body would be the next head */
        "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
    };
    HttpHead h;
    size_t size;
    (void)state;
    for (size_t i = 0; i < NELEM(BAD); i++)
        if (read_head(BAD[i], &h, &size))
            fail_msg("taken: %s", BAD[i]);
    assert_false(http_head((Str){"GE\0T", 4}, &h, &size));
    assert_true(read_head("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", &h, &size));
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(a_head_is_read_once_it_is_whole),
        cmocka_unit_test(what_follows_a_head_is_the_next_one),
        cmocka_unit_test(who_says_close_and_http_1_0_get_one_answer),
        cmocka_unit_test(what_is_no_request_for_a_module_is_refused),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
