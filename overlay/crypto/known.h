/*
 * known.h - what a member says to its group's service: up to which number it knows what was
 * removed, and for how long already, so that the administrator sees how far a removal has spread.
 *
 *   version (1 byte, 1), group id (20), node id (20), number (8), seconds since it was learned (4);
 *   then the node's Ed25519 signature (64) over "peal known" (10 bytes) and everything before the
 *   signature.
 *
 * Times are told as an age: nobody's clock has to be right. A replayed one says nothing new, since
 * numbers only grow.
 */
#ifndef PEAL_CRYPTO_KNOWN_H
#define PEAL_CRYPTO_KNOWN_H

#include "overlay/core/id.h"
#include "overlay/crypto/secret.h"

enum { KNOWN_LEN = 1 + ID_LEN + ID_LEN + 8 + 4 + SIGNATURE_LEN };

struct known {
    struct id group, node;
    uint64_t number;
    uint32_t age_s;
};

void known_write(const struct known *k, const struct sign_secret *key, uint8_t out[KNOWN_LEN]);
/* Does not judge the signature: whose key that is follows from the node. */
bool known_read(struct known *out, const uint8_t *message, size_t len);
bool known_signed_by(const uint8_t message[KNOWN_LEN], const struct sign_public *key);

#endif
