#include "overlay/crypto/box.h"

#include <sodium.h>
#include <string.h>

_Static_assert(BOX_NONCE_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES &&
                   BOX_EXTRA_LEN - BOX_NONCE_LEN == crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "as drawn in box.h");

void box_seal(uint8_t *out, const uint8_t nonce[BOX_NONCE_LEN], const void *bytes, size_t len,
              const struct bytes *aad, const struct secret *key)
{
    memcpy(out, nonce, BOX_NONCE_LEN);
    CHECK(crypto_aead_xchacha20poly1305_ietf_encrypt(out + BOX_NONCE_LEN, NULL, bytes, len, aad->p,
                                                     aad->len, NULL, nonce, key->b) == 0);
}

bool box_open(uint8_t *out, const uint8_t *box, size_t len, const struct bytes *aad,
              const struct secret *key)
{
    return len >= BOX_EXTRA_LEN && crypto_aead_xchacha20poly1305_ietf_decrypt(
                                       out, NULL, NULL, box + BOX_NONCE_LEN, len - BOX_NONCE_LEN,
                                       aad->p, aad->len, box, key->b) == 0;
}
