/*
 * seal.h - key objects: an AEAD key with its counter (sending) or its replay window (receiving).
 *
 * A key object is made once, reference counted, never copied and never stored; whoever publishes or
 * uses it holds a reference, so that a counter can never run twice. Sealing takes the next counter
 * atomically; opening marks the counter atomically: any number of threads may use one object, and
 * each packet is accepted exactly once.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------+---------------+-------------------------------+
 *   | type 82 or 83 | flags         | zero                          |
 *   +---------------+---------------+-------------------------------+
 *   | receiver index                                                |
 *   +---------------------------------------------------------------+
 *   | counter                                                       |
 *   |                                                               |
 *   +---------------------------------------------------------------+
 *   | sealed payload ...                                  | tag, 16 |
 *
 * The 16 header bytes are the associated data; the nonce is 4 zero bytes and the counter. The
 * counter starts at 0. A sender stops at SEAL_COUNTER_MAX (AES-GCM's bound at our packet sizes).
 */
#ifndef PEAL_CRYPTO_SEAL_H
#define PEAL_CRYPTO_SEAL_H

#include "overlay/core/limits.h"
#include "overlay/crypto/secret.h"

enum seal_alg { SEAL_CHACHA20_POLY1305 = 1, SEAL_AES_256_GCM = 2 };

/* Numbers on the wire (the AEADs offered and chosen in the handshake are a bit mask, 1 << alg). */

#define SEAL_COUNTER_RENEW (UINT64_C(1) << 27)
#define SEAL_COUNTER_MAX (UINT64_C(1) << 28)

enum {
    SEAL_WINDOW_DATA = 16384, /* counters remembered; design asks for at least 8192 */
    SEAL_WINDOW_CONTROL = 128, /* a control session has never as many packets under way */
};

struct seal_key;

/* One reference for the caller. window 0: a sending key. The receiving window is allocated with the
 * first packet that authenticates. NULL when out of memory. index: the receiver index that goes
 * into (or is expected in) the header, host order. */
struct seal_key *seal_key_new(enum seal_alg alg, const struct secret *key, uint32_t index, uint32_t window);
struct seal_key *seal_key_ref(struct seal_key *k);
void seal_key_unref(struct seal_key *k); /* the last one wipes; NULL is fine */
enum seal_alg seal_key_alg(const struct seal_key *k);
uint32_t seal_key_index(const struct seal_key *k);
uint64_t seal_key_counter(const struct seal_key *k); /* packets sealed, or 1 + highest accepted */

/* What one thread needs to seal and open: cipher contexts with the last few keys loaded, and room
 * to put a packet together. */
struct seal_worker;
struct seal_worker *seal_worker_new(void);
void seal_worker_free(struct seal_worker *w);
/* PACKET_MAX bytes, to be given back: the worker's own, or while that is lent (a packet inside
 * another) allocated. NULL: out of memory. */
uint8_t *seal_buffer(struct seal_worker *w);
void seal_buffer_drop(struct seal_worker *w, uint8_t *buffer); /* NULL is fine */

/*
 * pkt has PACKET_HEADER_LEN bytes of room, then len bytes of payload, then PACKET_TAG_LEN bytes of
 * room. Writes the header (type, flags, index, next counter), seals in place. Returns the packet's whole
 * length, or -ERR_RANGE when the counter has reached its end. Any thread, each with its own worker.
 */
int seal_packet(struct seal_worker *w, struct seal_key *k, uint8_t type, uint8_t flags, uint8_t *pkt,
                size_t len) MUST_USE;
/*
 * Opens pkt (whole packet, len bytes) in place: the payload starts at pkt + PACKET_HEADER_LEN.
 * Returns the payload's length; -ERR_FORMAT (too short, zero bytes not zero), -ERR_CRYPTO (does not
 * authenticate: pkt is unchanged or scrambled, do not use), -ERR_RANGE (replayed or too old), -ERR_NOMEM (no
 * room for the window: drop). The counter is marked only after the tag verified.
 */
int open_packet(struct seal_worker *w, struct seal_key *k, uint8_t *pkt, size_t len) MUST_USE;

/* One-shot, for vectors and sealed records: same algorithms, any nonce and AAD. In place; tag follows. */
void seal_raw(struct seal_worker *w, enum seal_alg alg, const struct secret *key, const uint8_t nonce[12],
              const void *aad, size_t aad_len, uint8_t *buf, size_t len, uint8_t tag[PACKET_TAG_LEN]);
bool open_raw(struct seal_worker *w, enum seal_alg alg, const struct secret *key, const uint8_t nonce[12],
              const void *aad, size_t aad_len, uint8_t *buf, size_t len, const uint8_t tag[PACKET_TAG_LEN]);

#endif
