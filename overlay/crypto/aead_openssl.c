#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/crypto/aead_aes.h"

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

/* The context with this key's schedule; expands the key only when another was in the slot. Nobody
 * else chooses either key, so the time that comparing them takes tells nothing. */
static EVP_CIPHER_CTX *aes_context(struct aead_cache *cache, const struct aead_key *key)
{
    struct slot *slot = &cache->slots[key->hint % CACHE_SLOTS];

    if (!slot->loaded || memcmp(slot->key.b, key->secret->b, sizeof slot->key.b) != 0) {
        CHECK(EVP_CipherInit_ex2(slot->ctx, cache->aes, key->secret->b, NULL, 1, NULL) == 1);
        slot->key = *key->secret;
        slot->loaded = true;
    }
    return slot->ctx;
}

/* Sets the nonce and runs the associated data and the text through. */
static void aes_run(EVP_CIPHER_CTX *ctx, int sealing, const uint8_t *nonce,
                    const struct aead_text *t)
{
    int n;

    CHECK(EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, sealing, NULL) == 1);
    CHECK(t->aad_len == 0 || EVP_CipherUpdate(ctx, NULL, &n, t->aad, (int)t->aad_len) == 1);
    CHECK(t->len == 0 || EVP_CipherUpdate(ctx, t->buf, &n, t->buf, (int)t->len) == 1);
}

/* EVP_CIPHER_CTX_ctrl comes here too, by way of a search for the control's name. */
struct tag_param {
    OSSL_PARAM list[2];
};

static struct tag_param tag_param(uint8_t *tag)
{
    return (struct tag_param){
        {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, PACKET_TAG_LEN),
         OSSL_PARAM_construct_end()}};
}

void aead_aes_seal(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                   const struct aead_text *t, uint8_t *tag)
{
    EVP_CIPHER_CTX *ctx = aes_context(cache, key);
    struct tag_param param = tag_param(tag);
    uint8_t rest[PACKET_TAG_LEN];
    int n;

    aes_run(ctx, 1, nonce, t);
    CHECK(EVP_CipherFinal_ex(ctx, rest, &n) == 1 && n == 0);
    CHECK(EVP_CIPHER_CTX_get_params(ctx, param.list) == 1);
}

bool aead_aes_open(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                   const struct aead_text *t, const uint8_t *tag)
{
    EVP_CIPHER_CTX *ctx = aes_context(cache, key);
    uint8_t expected[PACKET_TAG_LEN], rest[PACKET_TAG_LEN];
    struct tag_param param = tag_param(expected);
    int n;

    memcpy(expected, tag, sizeof expected); /* a parameter's pointer is not const */
    aes_run(ctx, 0, nonce, t);
    CHECK(EVP_CIPHER_CTX_set_params(ctx, param.list) == 1);
    return EVP_CipherFinal_ex(ctx, rest, &n) == 1;
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
