#include "overlay/crypto/hmac.h"

#include <sodium.h>

enum { BLOCK_LEN = 128 }; /* RFC 7693 2.1 */

/* BLAKE2b-512 over (key ^ pad), then the parts. */
static void hash_padded(uint8_t out[HMAC_LEN], const uint8_t *key, size_t key_len, uint8_t pad,
                        const struct bytes *parts, size_t n)
{
    crypto_generichash_state state;
    uint8_t block[BLOCK_LEN];

    for (size_t i = 0; i < BLOCK_LEN; i++)
        block[i] = pad ^ (i < key_len ? key[i] : 0);
    crypto_generichash_init(&state, NULL, 0, HMAC_LEN);
    crypto_generichash_update(&state, block, sizeof block);
    for (size_t i = 0; i < n; i++)
        crypto_generichash_update(&state, parts[i].p, parts[i].len);
    crypto_generichash_final(&state, out, HMAC_LEN);
    wipe(block, sizeof block);
    wipe(&state, sizeof state);
}

void hmac(uint8_t out[HMAC_LEN], const void *key, size_t key_len, const struct bytes *parts,
          size_t n)
{
    uint8_t inner[HMAC_LEN];
    struct bytes whole = {inner, sizeof inner};

    CHECK(key_len <= BLOCK_LEN);
    hash_padded(inner, key, key_len, 0x36, parts, n);
    hash_padded(out, key, key_len, 0x5c, &whole, 1);
    wipe(inner, sizeof inner);
}
