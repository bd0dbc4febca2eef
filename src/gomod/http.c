/*
 * gomod/http.c - the head of a request.
 */
#include <strings.h>

#include "gomod/inside.h"

static Str next_line(Str *rest)
{
    const char *nl = memchr(rest->ptr, '\n', rest->len);
    size_t n = nl ? (size_t)(nl - rest->ptr) : rest->len;
    Str line = {rest->ptr, n && rest->ptr[n - 1] == '\r' ? n - 1 : n};
    n += nl != NULL;
    *rest = (Str){rest->ptr + n, rest->len - n};
    return line;
}

static Str word(Str *line)
{
    const char *sp = memchr(line->ptr, ' ', line->len);
    size_t n = sp ? (size_t)(sp - line->ptr) : line->len;
    Str w = {line->ptr, n};
    n += sp != NULL;
    *line = (Str){line->ptr + n, line->len - n};
    return w;
}

/* Is this line the header of this name, and does its value begin so? */
static bool says(Str line, const char *name, const char *value)
{
    size_t n = strlen(name);
    if (line.len <= n || strncasecmp(line.ptr, name, n) != 0 || line.ptr[n] != ':')
        return false;
    Str v = str_trim((Str){line.ptr + n + 1, line.len - n - 1});
    return v.len >= strlen(value) && !strncasecmp(v.ptr, value, strlen(value));
}

bool http_head(Str bytes, HttpHead *ret, size_t *ret_size)
{
    static const char END[] = "\r\n\r\n";
    HttpHead h = {.close = false};
    const char *end = memmem(bytes.ptr, bytes.len, END, sizeof END - 1);
    *ret_size = 0;
    if (!end)
        return !memchr(bytes.ptr, 0, bytes.len);
    Str rest = {bytes.ptr, (size_t)(end - bytes.ptr) + 2};
    if (memchr(rest.ptr, 0, rest.len))
        return false;
    Str line = next_line(&rest);
    h.method = word(&line);
    h.path = word(&line);
    bool old = str_eq(line, "HTTP/1.0");
    if (!h.method.len || !h.path.len || *h.path.ptr != '/' || !(old || str_eq(line, "HTTP/1.1")))
        return false;
    h.close = old;
    while (rest.len) {
        line = next_line(&rest);
        h.close = h.close || says(line, "Connection", "close");
        /* Nobody who asks a proxy sends a body; where one begins is not ours to find out. */
        if (says(line, "Transfer-Encoding", "") ||
            (says(line, "Content-Length", "") && !says(line, "Content-Length", "0")))
            return false;
    }
    *ret = h;
    *ret_size = (size_t)(end - bytes.ptr) + sizeof END - 1;
    return true;
}
