/*
 * cookie.h - what stands before Noise: MAC1, MAC2 and the cookie that binds a source under load.
 *
 * Follows WireGuard (Donenfeld 2017) 5.3 and 5.4.7. MAC1 proves knowledge of the group key, so that
 * a scanner meets silence; MAC2 proves that the sender receives at its source address, and is asked
 * for only under load. Nothing here keeps state per source.
 *
 * Every handshake packet ends in the two MACs, each keyed BLAKE2b of all bytes before it:
 *
 *   +---------------------------------------------------------------+
 *   | handshake header and Noise message ...                        |
 *   +---------------------------------------------------------------+
 *   | MAC1, 16: under HKDF(group key, "peal handshake mac")         |
 *   +---------------------------------------------------------------+
 *   | MAC2, 16: under the cookie; zero when none is held            |
 *   +---------------------------------------------------------------+
 *
 * The cookie reply, smaller than any message 1 (72 bytes at least):
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------+-----------------------------------------------+
 *   | type 0x81     | zero                                          |
 *   +---------------+-----------------------------------------------+
 *   | receiver index: the sender index of message 1                 |
 *   +---------------------------------------------------------------+
 *   | nonce, 24                                                     |
 *   +---------------------------------------------------------------+
 *   | cookie, 16, sealed; tag, 16                                   |
 *   +---------------------------------------------------------------+
 *
 * Sealed by ChaCha20-Poly1305 under HKDF(HKDF(group key, "peal cookie"), nonce) with a zero AEAD
 * nonce and MAC1 of the message answered as associated data: the extended-nonce construction of
 * XChaCha20 with the room's own HKDF in HChaCha20's place. The cookie itself is a MAC of the source
 * under a secret that changes every 120 s; the one before still passes.
 */
#ifndef PEAL_OVERLAY_COOKIE_H
#define PEAL_OVERLAY_COOKIE_H

#include "overlay/session.h"

enum {
    COOKIE_LEN = 16,
    COOKIE_NONCE_LEN = 24,
    COOKIE_REPLY_LEN = 8 + COOKIE_NONCE_LEN + COOKIE_LEN + PACKET_TAG_LEN,
    COOKIE_LIFE_S = 120,
    COOKIE_MACS_LEN = 2 * MAC_LEN, /* at the end of every handshake packet */
};

/* Both made from the group key. */
struct cookie_keys {
    struct secret mac1;
    struct secret seal;
};
void cookie_keys_make(struct cookie_keys *keys, const struct secret *group_key);
void cookie_keys_clear(struct cookie_keys *keys);

/* What an initiator holds for one target. */
struct cookie {
    uint8_t b[COOKIE_LEN];
    usec until_us; /* 0: none held */
};

/* Fills the last COOKIE_MACS_LEN bytes of pkt. cookie may be NULL or past its time: MAC2 is zero
 * then. */
void cookie_stamp(const struct cookie_keys *keys, const struct cookie *cookie, usec now_us,
                  uint8_t *pkt, size_t len);
/* len is at least COOKIE_MACS_LEN. */
bool cookie_mac1_ok(const struct cookie_keys *keys, const uint8_t *pkt, size_t len);

/* The responder's rotating secrets; no secret is drawn before the first is needed. */
struct cookie_jar {
    struct secret now, before;
    usec drawn_us;
    bool drawn, has_before;
};
void cookie_jar_clear(struct cookie_jar *jar);
/* MAC2 of pkt was made with a cookie that we gave to `from` lately. */
bool cookie_mac2_ok(struct cookie_jar *jar, const struct env *env, const struct path_addr *from,
                    const uint8_t *pkt, size_t len);
/* The answer to the message 1 in pkt. */
void cookie_reply_make(struct cookie_jar *jar, const struct cookie_keys *keys,
                       struct seal_worker *worker, const struct env *env,
                       const struct path_addr *from, const uint8_t *pkt, size_t len,
                       uint8_t out[COOKIE_REPLY_LEN]);
/* Opens a reply to the message whose MAC1 was `mac1`. False: not for it, or forged. */
bool cookie_reply_open(const struct cookie_keys *keys, struct seal_worker *worker, usec now_us,
                       const uint8_t mac1[MAC_LEN], const uint8_t reply[COOKIE_REPLY_LEN],
                       struct cookie *out);

#endif
