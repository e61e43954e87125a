/*
 * aead.h - the two AEADs of the data plane, and the first of them under Noise: ChaCha20-Poly1305
 * (RFC 8439) by libsodium, AES-256-GCM (NIST SP 800-38D, 96-bit nonces) by OpenSSL's EVP.
 *
 * The algorithms stand behind one table in aead.c, so that a faster one takes a row's place without
 * a caller's notice. Never chooses a nonce: seal.h and noise.h count.
 */
#ifndef PEAL_CRYPTO_AEAD_H
#define PEAL_CRYPTO_AEAD_H

#include "overlay/crypto/seal.h"

enum { AEAD_NONCE_LEN = 12 };

/* One thread's cipher contexts: the AES key schedules of the keys it used last. NULL when out of
 * memory or when libcrypto lacks the cipher. */
struct aead_cache;
struct aead_cache *aead_cache_new(void);
void aead_cache_free(struct aead_cache *cache); /* wipes; NULL is fine */

/* What one call works on. `hint` picks the cache slot and may be any number that mostly differs
 * between keys; it must not be secret. */
struct aead_key {
    enum seal_alg alg;
    uint32_t hint;
    const struct secret *secret;
};

/* In place; allocates nothing. cache may be NULL for SEAL_CHACHA20_POLY1305. */
void aead_seal(struct aead_cache *cache, const struct aead_key *key,
               const uint8_t nonce[AEAD_NONCE_LEN], const void *aad, size_t aad_len, uint8_t *buf,
               size_t len, uint8_t tag[PACKET_TAG_LEN]);
/* False: the tag does not match, and buf is zeroed. */
bool aead_open(struct aead_cache *cache, const struct aead_key *key,
               const uint8_t nonce[AEAD_NONCE_LEN], const void *aad, size_t aad_len, uint8_t *buf,
               size_t len, const uint8_t tag[PACKET_TAG_LEN]) MUST_USE;

#endif
