/*
 * aead_aes.h - AES-256-GCM under aead.h, private to this room. The build takes one of two files:
 * aead_openssl.c, or aead_ipsecmb.c where libipsec-mb is installed (-DPEAL_IPSEC_MB=OFF: not even
 * then), which does the same at a fraction of the cost per packet and knows newer instructions.
 *
 * struct aead_cache, its constructor and its destructor (aead.h) are that file's.
 */
#ifndef PEAL_CRYPTO_AEAD_AES_H
#define PEAL_CRYPTO_AEAD_AES_H

#include "overlay/crypto/aead.h"

/* Both at most FRAME_MAX bytes. */
struct aead_text {
    const void *aad;
    size_t aad_len;
    uint8_t *buf;
    size_t len;
};

void aead_aes_seal(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                   const struct aead_text *text, uint8_t *tag);
/* False: the tag does not match, and the text may hold anything. */
bool aead_aes_open(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                   const struct aead_text *text, const uint8_t *tag) MUST_USE;

#endif
