#include "overlay/crypto/aead.h"

#include <sodium.h>
#include <string.h>

#include "overlay/crypto/aead_aes.h"

struct method {
    void (*seal)(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                 const struct aead_text *text, uint8_t *tag);
    bool (*open)(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                 const struct aead_text *text, const uint8_t *tag);
};

static void chacha_seal(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                        const struct aead_text *t, uint8_t *tag)
{
    CHECK(crypto_aead_chacha20poly1305_ietf_encrypt_detached(t->buf, tag, NULL, t->buf, t->len,
                                                             t->aad, t->aad_len, NULL, nonce,
                                                             key->secret->b) == 0);
}

static bool chacha_open(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                        const struct aead_text *t, const uint8_t *tag)
{
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(
               t->buf, NULL, t->buf, t->len, tag, t->aad, t->aad_len, nonce, key->secret->b) == 0;
}

static const struct method *method_of(enum seal_alg alg)
{
    static const struct method methods[] = {
        [SEAL_CHACHA20_POLY1305] = {chacha_seal, chacha_open},
        [SEAL_AES_256_GCM] = {aead_aes_seal, aead_aes_open},
    };

    CHECK(alg == SEAL_CHACHA20_POLY1305 || alg == SEAL_AES_256_GCM);
    return &methods[alg];
}

void aead_seal(struct aead_cache *cache, const struct aead_key *key,
               const uint8_t nonce[AEAD_NONCE_LEN], const void *aad, size_t aad_len, uint8_t *buf,
               size_t len, uint8_t tag[PACKET_TAG_LEN])
{
    const struct aead_text text = {aad, aad_len, buf, len};

    CHECK(aad_len <= FRAME_MAX && len <= FRAME_MAX);
    method_of(key->alg)->seal(cache, key, nonce, &text, tag);
}

bool aead_open(struct aead_cache *cache, const struct aead_key *key,
               const uint8_t nonce[AEAD_NONCE_LEN], const void *aad, size_t aad_len, uint8_t *buf,
               size_t len, const uint8_t tag[PACKET_TAG_LEN])
{
    const struct aead_text text = {aad, aad_len, buf, len};

    CHECK(aad_len <= FRAME_MAX && len <= FRAME_MAX);
    if (method_of(key->alg)->open(cache, key, nonce, &text, tag))
        return true;
    if (len > 0)
        memset(buf, 0, len);
    return false;
}
