/*
 * go/buildcache.c - entries and outputs of a GOCACHE, written by anybody.
 */
#include "go/buildcache.h"

#include <errno.h>
#include <unistd.h>

#include "base/cancel.h"

enum { HEX = DIGEST_HEX_SIZE - 1, NUMBER = 20 };

/* 64 small hex digits. */
static bool read_hex(const char *s, Digest *ret)
{
    char text[DIGEST_TEXT_SIZE];
    (void)snprintf(text, sizeof text, "sha256:%.*s", (int)HEX, s);
    return digest_parse(text, ret);
}

/* A number at the right of its field, blanks at the left. */
static bool read_number(const char *s, uint64_t *ret)
{
    char text[NUMBER + 1] = {0};
    size_t at = 0;
    while (at < NUMBER - 1 && s[at] == ' ')
        at++;
    memcpy(text, s + at, NUMBER - at);
    return (*text != '0' || !text[1]) && strlen(text) == NUMBER - at &&
           str_u64(text, INT64_MAX, ret);
}

bool go_cache_entry_parse(Str text, GoCacheEntry *ret)
{
    GoCacheEntry x;
    if (text.len != GO_CACHE_ENTRY_SIZE)
        return false;
    const char *action = text.ptr + 3, *output = action + HEX + 1, *size = output + HEX + 1,
               *time = size + NUMBER + 1;
    if (memcmp(text.ptr, "v1 ", 3) != 0 || action[HEX] != ' ' || output[HEX] != ' ' ||
        size[NUMBER] != ' ' || time[NUMBER] != '\n')
        return false;
    if (!read_hex(action, &x.action) || !read_hex(output, &x.output) ||
        !read_number(size, &x.size) || !read_number(time, &x.time))
        return false;
    *ret = x;
    return true;
}

void go_cache_entry_text(const GoCacheEntry *x, char ret[static GO_CACHE_ENTRY_SIZE + 1])
{
    char action[DIGEST_HEX_SIZE], output[DIGEST_HEX_SIZE];
    digest_hex(&x->action, action);
    digest_hex(&x->output, output);
    (void)snprintf(ret, GO_CACHE_ENTRY_SIZE + 1, "v1 %s %s %20llu %20llu\n", action, output,
                   (unsigned long long)x->size, (unsigned long long)x->time);
}

void go_cache_subkey(const Digest *action, const char *name, Digest *ret)
{
    Hasher h;
    hash_init(&h);
    hash_add(&h, "subkey:", 7);
    hash_add(&h, action->b, sizeof action->b);
    hash_add(&h, name, strlen(name));
    hash_end(&h, ret);
}

GoCacheName go_cache_name(const char *path, Digest *ret_id)
{
    enum { DIR_SIZE = 3, ENDING = 2 };
    const char *name = path + DIR_SIZE, *ending = name + HEX;
    if (strlen(path) != DIR_SIZE + HEX + ENDING || path[2] != '/' || memcmp(path, name, 2) != 0 ||
        ending[0] != '-' || (ending[1] != 'a' && ending[1] != 'd') || !read_hex(name, ret_id))
        return GO_CACHE_OTHER;
    return ending[1] == 'a' ? GO_CACHE_ACTION : GO_CACHE_OUTPUT;
}

void go_cache_path(GoCacheName kind, const Digest *id, char ret[static GO_CACHE_PATH_SIZE])
{
    char hex[DIGEST_HEX_SIZE];
    digest_hex(id, hex);
    (void)snprintf(ret, GO_CACHE_PATH_SIZE, "%.2s/%s-%c", hex, hex,
                   kind == GO_CACHE_ACTION ? 'a' : 'd');
}

static const char INDEX[] = "go index v";

bool go_cache_is_index(Str head)
{
    return head.len >= sizeof INDEX - 1 && !memcmp(head.ptr, INDEX, sizeof INDEX - 1);
}

bool go_cache_output_read(int fd, GoCacheOutput *ret, Err *e)
{
    char block[64 << 10], head[sizeof INDEX - 1];
    size_t nhead = 0;
    GoCacheOutput out = {.size = 0};
    Hasher h;
    hash_init(&h);
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, ERR_STORE, "read");
        if (n == 0)
            break;
        if (cancel_wanted())
            return err_set(e, ERR_STEP, "cancelled");
        for (ssize_t i = 0; i < n && nhead < sizeof head; i++)
            head[nhead++] = block[i];
        hash_add(&h, block, (size_t)n);
        out.size += (uint64_t)n;
    }
    hash_end(&h, &out.digest);
    out.index = go_cache_is_index((Str){head, nhead});
    *ret = out;
    return true;
}
