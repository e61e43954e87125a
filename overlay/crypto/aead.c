#include "overlay/crypto/aead.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_SLOTS = 32 }; /* the victim is whoever held the slot */

struct slot {
    EVP_CIPHER_CTX *ctx;
    struct secret key; /* whose schedule ctx holds, if loaded */
    bool loaded;
};

struct aead_cache {
    EVP_CIPHER *aes; /* fetched once: a fetch takes locks */
    struct slot slots[CACHE_SLOTS];
};

struct text {
    const void *aad;
    size_t aad_len;
    uint8_t *buf;
    size_t len;
};

struct method {
    void (*seal)(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                 const struct text *text, uint8_t *tag);
    bool (*open)(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                 const struct text *text, const uint8_t *tag);
};

static void chacha_seal(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                        const struct text *t, uint8_t *tag)
{
    CHECK(crypto_aead_chacha20poly1305_ietf_encrypt_detached(t->buf, tag, NULL, t->buf, t->len,
                                                             t->aad, t->aad_len, NULL, nonce,
                                                             key->secret->b) == 0);
}

static bool chacha_open(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                        const struct text *t, const uint8_t *tag)
{
    return crypto_aead_chacha20poly1305_ietf_decrypt_detached(
               t->buf, NULL, t->buf, t->len, tag, t->aad, t->aad_len, nonce, key->secret->b) == 0;
}

/* The context with this key's schedule; expands the key only when another was in the slot. */
static EVP_CIPHER_CTX *aes_context(struct aead_cache *cache, const struct aead_key *key)
{
    struct slot *slot = &cache->slots[key->hint % CACHE_SLOTS];

    if (!slot->loaded || !equal_ct(slot->key.b, key->secret->b, sizeof slot->key.b)) {
        CHECK(EVP_CipherInit_ex2(slot->ctx, cache->aes, key->secret->b, NULL, 1, NULL) == 1);
        slot->key = *key->secret;
        slot->loaded = true;
    }
    return slot->ctx;
}

/* Sets the nonce and runs the associated data and the text through. */
static void aes_run(EVP_CIPHER_CTX *ctx, int sealing, const uint8_t *nonce, const struct text *t)
{
    int n;

    CHECK(EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, sealing, NULL) == 1);
    CHECK(t->aad_len == 0 || EVP_CipherUpdate(ctx, NULL, &n, t->aad, (int)t->aad_len) == 1);
    CHECK(t->len == 0 || EVP_CipherUpdate(ctx, t->buf, &n, t->buf, (int)t->len) == 1);
}

static void aes_seal(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                     const struct text *t, uint8_t *tag)
{
    EVP_CIPHER_CTX *ctx = aes_context(cache, key);
    uint8_t rest[PACKET_TAG_LEN];
    int n;

    aes_run(ctx, 1, nonce, t);
    CHECK(EVP_CipherFinal_ex(ctx, rest, &n) == 1 && n == 0);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, PACKET_TAG_LEN, tag) == 1);
}

static bool aes_open(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                     const struct text *t, const uint8_t *tag)
{
    EVP_CIPHER_CTX *ctx = aes_context(cache, key);
    uint8_t expected[PACKET_TAG_LEN], rest[PACKET_TAG_LEN];
    int n;

    memcpy(expected, tag, sizeof expected); /* the control takes a pointer that is not const */
    aes_run(ctx, 0, nonce, t);
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, PACKET_TAG_LEN, expected) == 1);
    return EVP_CipherFinal_ex(ctx, rest, &n) == 1;
}

static const struct method *method_of(enum seal_alg alg)
{
    static const struct method methods[] = {
        [SEAL_CHACHA20_POLY1305] = {chacha_seal, chacha_open},
        [SEAL_AES_256_GCM] = {aes_seal, aes_open},
    };

    CHECK(alg == SEAL_CHACHA20_POLY1305 || alg == SEAL_AES_256_GCM);
    return &methods[alg];
}

void aead_seal(struct aead_cache *cache, const struct aead_key *key,
               const uint8_t nonce[AEAD_NONCE_LEN], const void *aad, size_t aad_len, uint8_t *buf,
               size_t len, uint8_t tag[PACKET_TAG_LEN])
{
    const struct text text = {aad, aad_len, buf, len};

    CHECK(aad_len <= FRAME_MAX && len <= FRAME_MAX);
    method_of(key->alg)->seal(cache, key, nonce, &text, tag);
}

bool aead_open(struct aead_cache *cache, const struct aead_key *key,
               const uint8_t nonce[AEAD_NONCE_LEN], const void *aad, size_t aad_len, uint8_t *buf,
               size_t len, const uint8_t tag[PACKET_TAG_LEN])
{
    const struct text text = {aad, aad_len, buf, len};

    CHECK(aad_len <= FRAME_MAX && len <= FRAME_MAX);
    if (method_of(key->alg)->open(cache, key, nonce, &text, tag))
        return true;
    if (len > 0)
        memset(buf, 0, len);
    return false;
}

struct aead_cache *aead_cache_new(void)
{
    struct aead_cache *cache = calloc(1, sizeof *cache);

    if (cache == NULL)
        return NULL;
    cache->aes = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (cache->aes == NULL)
        goto fail;
    for (size_t i = 0; i < CACHE_SLOTS; i++)
        if ((cache->slots[i].ctx = EVP_CIPHER_CTX_new()) == NULL)
            goto fail;
    return cache;
fail:
    aead_cache_free(cache);
    return NULL;
}

void aead_cache_free(struct aead_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < CACHE_SLOTS; i++)
        EVP_CIPHER_CTX_free(cache->slots[i].ctx); /* cleanses the schedule */
    EVP_CIPHER_free(cache->aes);
    wipe(cache, sizeof *cache);
    free(cache);
}
