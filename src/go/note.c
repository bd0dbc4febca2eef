/*
 * go/note.c - keys and signed notes as the Go project writes them.
 */
#include "go/note.h"

#include "base/digest.h"
#include "go/base64.h"
#include "go/unicode.h"

enum { ALG_ED25519 = 1, SIGS_MAX = 100, HASH_SIZE = 4 };

static const char SIG_PREFIX[] = "\xe2\x80\x94 "; /* an em dash and a blank */

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ---- keys ---- */

static bool name_ok(Str name)
{
    if (!name.len || !go_utf8_valid(name) || memchr(name.ptr, '+', name.len))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (str_space(name.ptr + i, name.len - i))
            return false;
    return true;
}

static bool hex_number(const char *s, uint32_t *ret)
{
    uint32_t v = 0;
    for (size_t i = 0; i < 8; i++) {
        char c = (char)(s[i] >= 'A' && s[i] <= 'F' ? s[i] | 0x20 : s[i]);
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret = v;
    return true;
}

static uint32_t key_hash(const char *name, const uint8_t *key, size_t n)
{
    Hasher h;
    Digest d;
    hash_init(&h);
    hash_add(&h, name, strlen(name));
    hash_add(&h, "\n", 1);
    hash_add(&h, key, n);
    hash_end(&h, &d);
    return big_endian(d.b);
}

bool note_key_parse(Arena *a, const char *text, NoteKey *ret, Err *e)
{
    uint8_t key[1 + ED25519_KEY_SIZE];
    size_t n, name = strcspn(text, "+");
    NoteKey k = {.name = arena_strndup(a, text, name)};
    const char *hash = text + name + (text[name] != 0);
    if (strcspn(hash, "+") != 8 || hash[8] != '+' || !hex_number(hash, &k.hash) ||
        !name_ok(str_c(k.name)) || !base64_read(str_c(hash + 9), key, sizeof key, &n) || !n)
        return err_set(e, ERR_USAGE, "malformed verifier key '%s'", go_shown(a, str_c(text)));
    if (k.hash != key_hash(k.name, key, n))
        return err_set(e, ERR_USAGE, "verifier key '%s': its hash is not that of its key",
                       go_shown(a, str_c(text)));
    if (key[0] != ALG_ED25519 || n != sizeof key)
        return err_set(e, ERR_USAGE, "verifier key '%s': not an Ed25519 key",
                       go_shown(a, str_c(text)));
    memcpy(k.key, key + 1, sizeof k.key);
    *ret = k;
    return true;
}

/* ---- notes ---- */

static bool malformed(Err *e)
{
    return err_set(e, ERR_CHECK, "malformed note");
}

/* UTF-8 without control characters; a newline is none. */
static bool chars_ok(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' && s.ptr[i] != '\n')
            return false;
    return go_utf8_valid(s);
}

typedef enum SigVerdict { SIG_MALFORMED, SIG_UNKNOWN, SIG_GOOD, SIG_BAD } SigVerdict;

/* "name base64", behind the dash. */
static SigVerdict judge(const NoteKey *key, Str line, Str text)
{
    scoped(arena) Arena a = {0};
    const char *blank = memchr(line.ptr, ' ', line.len);
    size_t nname = blank ? (size_t)(blank - line.ptr) : line.len, n;
    Str name = {line.ptr, nname}, b64 = {"", 0};
    if (blank)
        b64 = (Str){blank + 1, line.len - nname - 1};
    uint8_t *sig = arena_alloc(&a, b64.len + 1);
    if (!name_ok(name) || !base64_read(b64, sig, b64.len, &n) || n <= HASH_SIZE)
        return SIG_MALFORMED;
    if (!str_eq(name, key->name) || big_endian(sig) != key->hash)
        return SIG_UNKNOWN;
    bool good =
        n == HASH_SIZE + ED25519_SIG_SIZE && ed25519_verify(key->key, text, sig + HASH_SIZE);
    return good ? SIG_GOOD : SIG_BAD;
}

/* Where the blank line in front of the signatures is: the last one. */
static const char *find_split(Str msg)
{
    for (size_t i = msg.len; i >= 2; i--)
        if (msg.ptr[i - 1] == '\n' && msg.ptr[i - 2] == '\n')
            return msg.ptr + i - 2;
    return NULL;
}

bool note_open(const NoteKey *key, Str msg, Str *ret_text, Err *e)
{
    const char *end = msg.ptr + msg.len, *split = find_split(msg);
    size_t nsig = 0, skip = sizeof SIG_PREFIX - 1;
    bool good = false;
    if (!chars_ok(msg) || !split || split + 2 == end || end[-1] != '\n')
        return malformed(e);
    Str text = {msg.ptr, (size_t)(split + 1 - msg.ptr)};
    for (const char *at = split + 2; at < end;) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        Str line = {at, (size_t)(nl - at)};
        at = nl + 1;
        if (line.len < skip || memcmp(line.ptr, SIG_PREFIX, skip) != 0 || ++nsig > SIGS_MAX)
            return malformed(e);
        SigVerdict v = judge(key, (Str){line.ptr + skip, line.len - skip}, text);
        if (v == SIG_MALFORMED)
            return malformed(e);
        if (v == SIG_BAD && !good) /* who signs twice is judged by the first */
            return err_set(e, ERR_CHECK, "invalid signature by '%s'", key->name);
        good = good || v == SIG_GOOD;
    }
    if (!good)
        return err_set(e, ERR_CHECK, "note is not signed by '%s'", key->name);
    *ret_text = text;
    return true;
}
