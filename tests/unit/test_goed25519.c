/*
 * go/ed25519.c: a signature is judged as RFC 8032 and Go's crypto/ed25519 judge it.
 */
#include "govectors.h"

#include "go/note.h"

static const char *verify(Arena *a, const Str *in)
{
    Str key = from_hex(a, arena_strndup(a, in[0].ptr, in[0].len)),
        msg = from_hex(a, arena_strndup(a, in[1].ptr, in[1].len)),
        sig = from_hex(a, arena_strndup(a, in[2].ptr, in[2].len));
    if (key.len != ED25519_KEY_SIZE || sig.len != ED25519_SIG_SIZE)
        return NULL;
    return ed25519_verify((const uint8_t *)key.ptr, msg, (const uint8_t *)sig.ptr) ? "ok" : "bad";
}

static void the_signatures_of_rfc_8032_hold(void **state)
{
    (void)state;
    /* Section 7.1, tests 1, 2, 3 and SHA(abc). */
    static const char *const CASES[][3] = {
        {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
         "c"
         "f9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
         "0"
         "f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f7609"
         "8"
         "4dc6594a7c15e9716ed28dc027beceea1ec40a"},
        {"ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a"
         "3"
         "feebbd454d4423643ce80e2a9ac94fa54ca49f",
         "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66"
         "4"
         "31e0303dca179c138ac17ad9bef1177331a704"}};
    scoped(arena) Arena a = {0};
    for (size_t i = 0; i < NELEM(CASES); i++) {
        Str in[3] = {str_c(CASES[i][0]), str_c(CASES[i][1]), str_c(CASES[i][2])};
        assert_string_equal(verify(&a, in), "ok");
    }
}

static void every_signature_is_judged_as_go_judges_it(void **state)
{
    (void)state;
    static const GoOp OPS[] = {{"verify", verify}};
    vectors(OPS, NELEM(OPS), "ed25519");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_signatures_of_rfc_8032_hold),
        cmocka_unit_test(every_signature_is_judged_as_go_judges_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
