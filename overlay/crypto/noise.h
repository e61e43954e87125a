/*
 * noise.h - the Noise Protocol Framework (rev. 34): patterns XX and XXpsk3 with 25519, ChaChaPoly
 * and BLAKE2b. Symmetric state, handshake state, Split; nothing else. Checked byte for byte against
 * the published vectors (tests/vectors/test_noise.c).
 *
 * Messages in order: 1 (initiator), 2 (responder), 3 (initiator). The ephemeral's seed comes from
 * the caller. After a failed read the state is unusable and wiped. Noise's own integers are
 * little-endian (its nonces); nobody outside this file meets them.
 */
#ifndef PEAL_CRYPTO_NOISE_H
#define PEAL_CRYPTO_NOISE_H

#include "overlay/crypto/secret.h"

enum {
    NOISE_HASH_LEN = 64,
    NOISE_MSG1_LEN = 32,           /* plus the payload, which is in clear (XX) */
    NOISE_MSG1_PSK_LEN = 32 + 16,  /* XXpsk3: the payload is sealed under the ephemeral alone */
    NOISE_MSG2_LEN = 32 + 48 + 16, /* plus the payload */
    NOISE_MSG3_LEN = 48 + 16,      /* plus the payload */
};

struct noise; /* opaque; about 400 bytes */

/* psk NULL: plain XX. Copies everything. NULL when out of memory. */
struct noise *noise_new(bool initiator, const void *prologue, size_t prologue_len,
                        const struct dh_secret *static_secret, const struct secret *psk);
void noise_free(struct noise *n); /* wipes; NULL is fine */

/* Writes the next message (whose turn it is is CHECKed) to out. Returns its length; -ERR_RANGE (does
 * not fit, nothing done), -ERR_CRYPTO (the peer's key is a point of low order; the state is wiped),
 * -ERR_BAD_STATE (it was wiped before). */
int noise_write(struct noise *n, const struct secret *ephemeral_seed, const void *payload,
                size_t payload_len, uint8_t *out, size_t out_size) MUST_USE;
/* Reads the next message; payload may alias nothing of msg. Returns the payload's length, -ERR_CRYPTO,
 * -ERR_FORMAT (wrong length, or more than payload_size), or -ERR_BAD_STATE (wiped before). */
int noise_read(struct noise *n, const uint8_t *msg, size_t msg_len, uint8_t *payload, size_t payload_size) MUST_USE;

/* Valid once the message that carries it was read (2 for the initiator, 3 for the responder). */
const struct dh_public *noise_remote_static(const struct noise *n);
bool noise_done(const struct noise *n);

struct noise_result {
    struct secret tx, rx;   /* Split(), by our role */
    struct secret export;   /* HKDF of the final chaining key: base of the data keys */
    uint8_t hash[NOISE_HASH_LEN];
};
/* Only when done. Wipes n's keys. */
void noise_split(struct noise *n, struct noise_result *out);
void noise_result_clear(struct noise_result *r);

#endif
