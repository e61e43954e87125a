/*
 * secret.h - types that hold secrets (struct types, never bare uint8_t *), each with its wipe, and
 * the key derivations of the design: HKDF (RFC 5869) over HMAC-BLAKE2b-512, SHA-256, keyed BLAKE2b.
 *
 * Nothing here draws randomness: keys are made from bytes that the caller hands in.
 */
#ifndef PEAL_CRYPTO_SECRET_H
#define PEAL_CRYPTO_SECRET_H

#include "overlay/core/err.h"
#include "overlay/core/id.h"

enum { MAC_LEN = 16, SIGNATURE_LEN = 64, HASH_LEN = 32 };

struct secret {
    uint8_t b[32];
};
struct sign_public { /* Ed25519 */
    uint8_t b[32];
};
struct sign_secret { /* Ed25519: seed and public key, libsodium's layout */
    uint8_t b[64];
};
struct dh_public { /* X25519 */
    uint8_t b[32];
};
struct dh_secret {
    uint8_t b[32];
};

void secret_clear(struct secret *s);
void sign_secret_clear(struct sign_secret *s);
void dh_secret_clear(struct dh_secret *s);
void wipe(void *p, size_t len);               /* never optimised away */
bool equal_ct(const void *a, const void *b, size_t len); /* constant time */

/* libsodium's sodium_init and CPU detection; call once per process before anything here. 0 or -ERR_CRYPTO. */
int crypto_start(void);
/* This CPU has AES and CLMUL instructions. After crypto_start. */
bool crypto_has_aes(void);

void sign_keys(struct sign_public *pub, struct sign_secret *sec, const struct secret *seed);
void sign(uint8_t sig[SIGNATURE_LEN], const void *msg, size_t len, const struct sign_secret *sec);
/* Strict Ed25519 (canonical S, no small order), as libsodium does. */
bool sign_verify(const uint8_t sig[SIGNATURE_LEN], const void *msg, size_t len, const struct sign_public *pub);
/* The X25519 static key of the handshake, converted from the signing key. False: not a valid point. */
bool sign_public_to_dh(struct dh_public *out, const struct sign_public *pub);
void sign_secret_to_dh(struct dh_secret *out, const struct sign_secret *sec);

void dh_keys(struct dh_public *pub, struct dh_secret *sec, const struct secret *seed);
/* False when the result is all zero (a low-order point was sent). */
bool dh(struct secret *out, const struct dh_secret *sec, const struct dh_public *pub);

void sha256(uint8_t out[HASH_LEN], const void *bytes, size_t len);
/* SHA-256 over the concatenation of n parts. */
struct bytes {
    const void *p;
    size_t len;
};
void sha256_parts(uint8_t out[HASH_LEN], const struct bytes *parts, size_t n);
/* SHA-256 of the parts, truncated to an id. */
struct id id_hash(const struct bytes *parts, size_t n);
/* BLAKE2b keyed, 16 bytes out: the MACs before Noise and cookies. */
void mac16(uint8_t out[MAC_LEN], const struct secret *key, const void *bytes, size_t len);
/* RFC 5869 with HMAC-BLAKE2b-512; salt empty; 32 bytes. The info is the label, and where there is
 * context a zero byte and the context, so that no label runs into its context. */
void kdf(struct secret *out, const struct secret *key, const char *label, const void *context, size_t context_len);

/* Node ids (design 2). In a CA group of (public key, group id, enrolment number as 8 bytes). */
struct id node_id_certified(const struct sign_public *pub, const struct id *group, uint64_t enrolment);
struct id node_id_self(const struct sign_public *pub);

#endif
