/*
 * hmac.h - HMAC (RFC 2104) over unkeyed BLAKE2b-512: what Noise calls HMAC-HASH with BLAKE2b, and
 * the core of HKDF (RFC 5869). libsodium has HMAC for SHA-2 only, so the two pads are ours.
 */
#ifndef PEAL_CRYPTO_HMAC_H
#define PEAL_CRYPTO_HMAC_H

#include "overlay/crypto/secret.h"

enum { HMAC_LEN = 64 };

/* HMAC over the concatenation of n parts. key_len is at most 128, BLAKE2b's block. */
void hmac(uint8_t out[HMAC_LEN], const void *key, size_t key_len, const struct bytes *parts,
          size_t n);

#endif
