/*
 * go/note.h - signed notes: a text and who stands behind it.
 */
#ifndef GO_NOTE_H
#define GO_NOTE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum { ED25519_KEY_SIZE = 32, ED25519_SIG_SIZE = 64 };

/* Who signs. */
typedef struct NoteKey {
    const char *name;
    uint32_t hash; /* of name and key; tells a server's keys apart */
    uint8_t key[ED25519_KEY_SIZE];
} NoteKey;

/*
 * note_key_parse - a verifier key as it is published: name+hash+base64. In the arena.
 *
 * Fails with ERR_USAGE: keys come from settings. Source: x/mod/sumdb/note, NewVerifier.
 */
NODISCARD bool note_key_parse(Arena *a, const char *text, NoteKey *ret, Err *e);

/*
 * note_open - the text of a note that `key` signed. Signatures of others are passed over.
 *
 *   ret_text  points into `msg`; ends with a newline
 *
 * Fails with ERR_CHECK. Source: x/mod/sumdb/note, Open.
 */
NODISCARD bool note_open(const NoteKey *key, Str msg, Str *ret_text, Err *e);

/* ed25519_verify - is `sig` that of `msg` by `key`? Source: RFC 8032, section 5.1.7. */
bool ed25519_verify(const uint8_t key[static ED25519_KEY_SIZE], Str msg,
                    const uint8_t sig[static ED25519_SIG_SIZE]);

#endif
