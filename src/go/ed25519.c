/*
 * go/ed25519.c - one signature, verified.
 *
 * Written out here because libcrypto's way to Ed25519 leads through EVP, which makes the program
 * 3.8 MB bigger. Nothing is secret in a verification, so nothing needs to take the same time; one
 * takes about a millisecond, and a build needs a few.
 *
 * A field element is sixteen limbs of about 16 bits, a point has extended coordinates X:Y:Z:T.
 * Source: RFC 8032, section 5.1; the arithmetic follows TweetNaCl (public domain).
 */
#include <openssl/sha.h>

#include "go/note.h"

enum { LIMBS = 16 };
typedef int64_t Fe[LIMBS]; /* an integer modulo 2^255 - 19 */
typedef Fe Point[4];

static const Fe ZERO = {0}, ONE = {1};
/* The curve's constant d, twice it, the base point, and a square root of -1. */
static const Fe D = {0x78a3, 0x1359, 0x4dca, 0x75eb, 0xd8ab, 0x4141, 0x0a4d, 0x0070,
                     0xe898, 0x7779, 0x4079, 0x8cc7, 0xfe73, 0x2b6f, 0x6cee, 0x5203};
static const Fe D2 = {0xf159, 0x26b2, 0x9b94, 0xebd6, 0xb156, 0x8283, 0x149a, 0x00e0,
                      0xd130, 0xeef3, 0x80f2, 0x198e, 0xfce7, 0x56df, 0xd9dc, 0x2406};
static const Fe BASE_X = {0xd51a, 0x8f25, 0x2d60, 0xc956, 0xa7b2, 0x9525, 0xc760, 0x692c,
                          0xdc5c, 0xfdd6, 0xe231, 0xc0a4, 0x53fe, 0xcd6e, 0x36d3, 0x2169};
static const Fe BASE_Y = {0x6658, 0x6666, 0x6666, 0x6666, 0x6666, 0x6666, 0x6666, 0x6666,
                          0x6666, 0x6666, 0x6666, 0x6666, 0x6666, 0x6666, 0x6666, 0x6666};
static const Fe ROOT = {0xa0b0, 0x4a0e, 0x1b27, 0xc4ee, 0xe478, 0xad2f, 0x1806, 0x2f43,
                        0xd7a7, 0x3dfb, 0x0099, 0x2b4d, 0xdf0b, 0x4fc1, 0x2480, 0x2b83};

/* ---- the field ---- */

static void copy(Fe r, const Fe a)
{
    memcpy(r, a, sizeof(Fe));
}

/* Bring limbs back to 16 bits; what runs over the top counts 38 = 2 * 19 at the bottom. */
static void carry(Fe o)
{
    for (size_t i = 0; i < LIMBS; i++) {
        o[i] += INT64_C(1) << 16;
        int64_t c = o[i] >> 16;
        o[(i + 1) * (i < LIMBS - 1)] += c - 1 + 37 * (c - 1) * (i == LIMBS - 1);
        o[i] -= c * 65536;
    }
}

static void add(Fe o, const Fe a, const Fe b)
{
    for (size_t i = 0; i < LIMBS; i++)
        o[i] = a[i] + b[i];
}

static void sub(Fe o, const Fe a, const Fe b)
{
    for (size_t i = 0; i < LIMBS; i++)
        o[i] = a[i] - b[i];
}

static void mul(Fe o, const Fe a, const Fe b)
{
    int64_t t[2 * LIMBS] = {0};
    for (size_t i = 0; i < LIMBS; i++)
        for (size_t k = 0; k < LIMBS; k++)
            t[i + k] += a[i] * b[k];
    for (size_t i = 0; i < LIMBS - 1; i++)
        t[i] += 38 * t[i + LIMBS];
    for (size_t i = 0; i < LIMBS; i++)
        o[i] = t[i];
    carry(o);
    carry(o);
}

/* The 32 bytes of the number, fully reduced. */
static void pack(uint8_t o[static 32], const Fe n)
{
    Fe m, t;
    copy(t, n);
    for (int i = 0; i < 3; i++)
        carry(t);
    for (int k = 0; k < 2; k++) { /* less the prime, if that is not below zero */
        m[0] = t[0] - 0xffed;
        for (size_t i = 1; i < LIMBS - 1; i++) {
            m[i] = t[i] - 0xffff - ((m[i - 1] >> 16) & 1);
            m[i - 1] &= 0xffff;
        }
        m[15] = t[15] - 0x7fff - ((m[14] >> 16) & 1);
        bool below = (m[15] >> 16) & 1;
        m[14] &= 0xffff;
        if (!below)
            copy(t, m);
    }
    for (size_t i = 0; i < LIMBS; i++) {
        o[2 * i] = (uint8_t)(t[i] & 0xff);
        o[2 * i + 1] = (uint8_t)((t[i] >> 8) & 0xff);
    }
}

static void unpack(Fe o, const uint8_t n[static 32])
{
    for (size_t i = 0; i < LIMBS; i++)
        o[i] = n[2 * i] + ((int64_t)n[2 * i + 1] << 8);
    o[15] &= 0x7fff;
}

static bool equal(const Fe a, const Fe b)
{
    uint8_t x[32], y[32];
    pack(x, a);
    pack(y, b);
    return !memcmp(x, y, sizeof x);
}

static bool is_odd(const Fe a)
{
    uint8_t d[32];
    pack(d, a);
    return d[0] & 1;
}

/* a^(p-2), the inverse: all bits of the exponent are set but 2 and 4. */
static void invert(Fe o, const Fe a)
{
    Fe c;
    copy(c, a);
    for (int i = 253; i >= 0; i--) {
        mul(c, c, c);
        if (i != 2 && i != 4)
            mul(c, c, a);
    }
    copy(o, c);
}

/* a^((p-5)/8): all bits of the exponent are set but 1. */
static void power_2523(Fe o, const Fe a)
{
    Fe c;
    copy(c, a);
    for (int i = 250; i >= 0; i--) {
        mul(c, c, c);
        if (i != 1)
            mul(c, c, a);
    }
    copy(o, c);
}

/* ---- points ---- */

static void point_add(Point p, const Point q)
{
    Fe a, b, c, d, t, e, f, g, h;
    sub(a, p[1], p[0]);
    sub(t, q[1], q[0]);
    mul(a, a, t);
    add(b, p[0], p[1]);
    add(t, q[0], q[1]);
    mul(b, b, t);
    mul(c, p[3], q[3]);
    mul(c, c, D2);
    mul(d, p[2], q[2]);
    add(d, d, d);
    sub(e, b, a);
    sub(f, d, c);
    add(g, d, c);
    add(h, b, a);
    mul(p[0], e, f);
    mul(p[1], h, g);
    mul(p[2], g, f);
    mul(p[3], e, h);
}

static void point_pack(uint8_t r[static 32], const Point p)
{
    Fe tx, ty, zi;
    invert(zi, p[2]);
    mul(tx, p[0], zi);
    mul(ty, p[1], zi);
    pack(r, ty);
    r[31] = (uint8_t)(r[31] ^ (is_odd(tx) ? 0x80 : 0));
}

/* The negative of the point that 32 bytes stand for; false when they stand for none. */
static bool point_unpack_negative(Point r, const uint8_t p[static 32])
{
    Fe t, check, num, den, den2, den4, den6;
    copy(r[2], ONE);
    unpack(r[1], p);
    mul(num, r[1], r[1]); /* x^2 = (y^2 - 1) / (d y^2 + 1) */
    mul(den, num, D);
    sub(num, num, r[2]);
    add(den, r[2], den);
    mul(den2, den, den);
    mul(den4, den2, den2);
    mul(den6, den4, den2);
    mul(t, den6, num);
    mul(t, t, den);
    power_2523(t, t);
    mul(t, t, num);
    mul(t, t, den);
    mul(t, t, den);
    mul(r[0], t, den);
    mul(check, r[0], r[0]);
    mul(check, check, den);
    if (!equal(check, num))
        mul(r[0], r[0], ROOT);
    mul(check, r[0], r[0]);
    mul(check, check, den);
    if (!equal(check, num))
        return false;
    if (is_odd(r[0]) == p[31] >> 7)
        sub(r[0], ZERO, r[0]);
    mul(r[3], r[0], r[1]);
    return true;
}

/* p = s * q, s little-endian. `q` is used up. */
static void point_times(Point p, Point q, const uint8_t s[static 32])
{
    copy(p[0], ZERO);
    copy(p[1], ONE);
    copy(p[2], ONE);
    copy(p[3], ZERO);
    for (int i = 0; i < 256; i++) {
        if (s[i / 8] >> (i & 7) & 1)
            point_add(p, (const Fe *)q);
        Point twice;
        memcpy(twice, q, sizeof(Point));
        point_add(q, (const Fe *)twice);
    }
}

/* ---- scalars: modulo the base point's order L ---- */

static const uint8_t L[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                              0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                              0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};

static bool below_order(const uint8_t s[static 32])
{
    for (int i = 31; i >= 0; i--)
        if (s[i] != L[i])
            return s[i] < L[i];
    return false;
}

/* The rest of a 512 bit number, by L; bytes are taken away from the top. */
static void reduce(uint8_t r[static 32], const uint8_t h[static 64])
{
    int64_t x[64], c;
    for (int i = 0; i < 64; i++)
        x[i] = h[i];
    for (int i = 63; i >= 32; i--) {
        c = 0;
        int k = i - 32;
        for (; k < i - 12; k++) {
            x[k] += c - 16 * x[i] * L[k - (i - 32)];
            c = (x[k] + 128) >> 8;
            x[k] -= c * 256;
        }
        x[k] += c;
        x[i] = 0;
    }
    c = 0;
    for (int k = 0; k < 32; k++) {
        x[k] += c - (x[31] >> 4) * L[k];
        c = x[k] >> 8;
        x[k] &= 255;
    }
    for (int k = 0; k < 32; k++)
        x[k] -= c * L[k];
    for (int i = 0; i < 32; i++) {
        x[i + 1] += x[i] >> 8;
        r[i] = (uint8_t)(x[i] & 255);
    }
}

/* ---- the signature ---- */

bool ed25519_verify(const uint8_t key[static ED25519_KEY_SIZE], Str msg,
                    const uint8_t sig[static ED25519_SIG_SIZE])
{
    uint8_t hash[64], k[32], seen[32];
    Point minus_key, base, p, q;
    SHA512_CTX c;
    if (!below_order(sig + 32) || !point_unpack_negative(minus_key, key))
        return false;
    SHA512_Init(&c);
    SHA512_Update(&c, sig, 32);
    SHA512_Update(&c, key, ED25519_KEY_SIZE);
    SHA512_Update(&c, msg.ptr, msg.len);
    SHA512_Final(hash, &c);
    reduce(k, hash);
    point_times(p, minus_key, k); /* R = s B - k A */
    copy(base[0], BASE_X);
    copy(base[1], BASE_Y);
    copy(base[2], ONE);
    mul(base[3], BASE_X, BASE_Y);
    point_times(q, base, sig + 32);
    point_add(p, (const Fe *)q);
    point_pack(seen, (const Fe *)p);
    return !memcmp(seen, sig, sizeof seen);
}
