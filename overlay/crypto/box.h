/*
 * box.h - small things sealed for a group, to be read once by whoever has the key: LAN beacons and
 * rendezvous records. XChaCha20-Poly1305, whose nonce is long enough to be random.
 *
 *   +-----------+------------------------+---------+
 *   | nonce, 24 | sealed bytes           | tag, 16 |
 *   +-----------+------------------------+---------+
 *
 * Nothing here draws randomness: the caller hands the nonce in. What is sealed may be shown again
 * by anybody: freshness is the caller's affair.
 */
#ifndef PEAL_CRYPTO_BOX_H
#define PEAL_CRYPTO_BOX_H

#include "overlay/crypto/secret.h"

enum { BOX_NONCE_LEN = 24, BOX_EXTRA_LEN = BOX_NONCE_LEN + 16 };

/* Writes len + BOX_EXTRA_LEN bytes. aad is authenticated and not sent. */
void box_seal(uint8_t *out, const uint8_t nonce[BOX_NONCE_LEN], const void *bytes, size_t len,
              const struct bytes *aad, const struct secret *key);
/* Writes len - BOX_EXTRA_LEN bytes. False: too short, or not sealed so with this key. */
bool box_open(uint8_t *out, const uint8_t *box, size_t len, const struct bytes *aad,
              const struct secret *key) MUST_USE;

#endif
