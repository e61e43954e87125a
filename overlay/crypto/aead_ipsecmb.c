#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/crypto/aead_aes.h"

enum { CACHE_SLOTS = 32 }; /* the victim is whoever held the slot */

struct slot {
    _Alignas(64) struct gcm_key_data schedule; /* the library asks for it, its header may not */
    struct secret key;                         /* whose schedule it is, if loaded */
    bool loaded;
};

/* The manager is a table of functions for this CPU, and an error code that they write: so each
 * thread has one of its own. */
struct aead_cache {
    IMB_MGR *manager;
    struct slot slots[CACHE_SLOTS];
};

struct aead_cache *aead_cache_new(void)
{
    struct aead_cache *cache = aligned_alloc(_Alignof(struct aead_cache), sizeof *cache);

    if (cache == NULL)
        return NULL;
    *cache = (struct aead_cache){.manager = alloc_mb_mgr(0)};
    if (cache->manager == NULL) {
        free(cache);
        return NULL;
    }
    init_mb_mgr_auto(cache->manager, NULL);
    return cache;
}

void aead_cache_free(struct aead_cache *cache)
{
    if (cache == NULL)
        return;
    free_mb_mgr(cache->manager);
    wipe(cache, sizeof *cache);
    free(cache);
}

/* The key's schedule; expands the key only when another was in the slot. Nobody
 * else chooses either key, so the time that comparing them takes tells nothing. */
static const struct gcm_key_data *schedule_of(struct aead_cache *cache, const struct aead_key *key)
{
    struct slot *slot = &cache->slots[key->hint % CACHE_SLOTS];

    if (!slot->loaded || memcmp(slot->key.b, key->secret->b, sizeof slot->key.b) != 0) {
        IMB_AES256_GCM_PRE(cache->manager, key->secret->b, &slot->schedule);
        slot->key = *key->secret;
        slot->loaded = true;
    }
    return &slot->schedule;
}

void aead_aes_seal(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                   const struct aead_text *t, uint8_t *tag)
{
    _Alignas(64) struct gcm_context_data context;

    IMB_AES256_GCM_ENC(cache->manager, schedule_of(cache, key), &context, t->buf, t->buf, t->len,
                       nonce, t->aad, t->aad_len, tag, PACKET_TAG_LEN);
}

bool aead_aes_open(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                   const struct aead_text *t, const uint8_t *tag)
{
    _Alignas(64) struct gcm_context_data context;
    uint8_t computed[PACKET_TAG_LEN];

    IMB_AES256_GCM_DEC(cache->manager, schedule_of(cache, key), &context, t->buf, t->buf, t->len,
                       nonce, t->aad, t->aad_len, computed, PACKET_TAG_LEN);
    return CRYPTO_memcmp(computed, tag, sizeof computed) == 0; /* cheaper than libsodium's */
}
