/*
 * go/ed25519.c - one signature, by libcrypto.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "go/note.h"

/* The machine's openssl.cnf names modules made for another libcrypto than the one in us. */
static void without_config(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

bool ed25519_verify(const uint8_t key[static ED25519_KEY_SIZE], Str msg,
                    const uint8_t sig[static ED25519_SIG_SIZE])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, without_config);
    EVP_PKEY *k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_KEY_SIZE);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (!c)
        die_nomem();
    bool ok = k && EVP_DigestVerifyInit(c, NULL, NULL, NULL, k) == 1 &&
              EVP_DigestVerify(c, sig, ED25519_SIG_SIZE, (const uint8_t *)msg.ptr, msg.len) == 1;
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(k);
    return ok;
}
