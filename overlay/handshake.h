/*
 * handshake.h - three packets that turn two strangers of one group into a session: Noise XX, or
 * XXpsk3 where the group key is also the psk (Noise rev. 34), behind the MACs of cookie.h.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------+---------------+-------------------------------+
 *   | type 0x80     | message 1..3  | zero                          |
 *   +---------------+---------------+-------------------------------+
 *   | sender index                                                  |
 *   +---------------------------------------------------------------+
 *   | receiver index: messages 2 and 3 only                         |
 *   +---------------------------------------------------------------+
 *   | Noise message: 1 has no payload, 2 and 3 carry a hello        |
 *   +---------------------------------------------------------------+
 *   | zero padding: message 1 on UDP only, to 1200 bytes in all     |
 *   +---------------------------------------------------------------+
 *   | MAC1, 16; MAC2, 16                                            |
 *   +---------------------------------------------------------------+
 *
 * Prologue: "peal", 1 byte version, the overlay's id. The indices are those of the control packets
 * that follow. Messages 2 and 3 stay below 1200 bytes, so that nothing is amplified. The padding
 * lies outside Noise: one and the same message 1 goes to several targets, padded or (over the ring)
 * not.
 *
 * The initiator sends the same message 1 again until it is answered, then message 3 until the first
 * packet under the new keys; the responder holds a half-open slot that answers a repeated message 1
 * with the very same message 2. A message 1 touches no session; only message 3, which cannot be
 * replayed because it answers our own ephemeral, does.
 *
 * Half-open slots: HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE of one address (IPv6: one /64), 5 s from the
 * last message 1 and 10 s in all; victim: the oldest, of the same source first. Above
 * HANDSHAKE_LOAD message 1s a second, or with three quarters of the slots taken, a cookie is asked
 * for first. MAC2 of messages 2 and 3 is zero, that of message 1 zero or right: any other brings a
 * cookie.
 */
#ifndef PEAL_OVERLAY_HANDSHAKE_H
#define PEAL_OVERLAY_HANDSHAKE_H

#include "overlay/session.h"

enum {
    HANDSHAKE_PACKET1_LEN = 1200, /* message 1 on UDP */
    HANDSHAKE_PACKET_MAX = 1199,  /* messages 2 and 3 */
    HANDSHAKE_TARGETS_MAX = 4,    /* of one attempt; further ones are dropped */
    HANDSHAKE_TIMEOUT_S = 5,      /* an attempt, and a half-open slot */
    HALF_OPEN_MAX = 256,
    HALF_OPEN_PER_SOURCE = 4,
    HALF_OPEN_BUSY = HALF_OPEN_MAX * 3 / 4,
    HANDSHAKE_LOAD = 64,
};

struct attempt;
struct control;

/* Begins an exchange as initiator. rekey: for a session that is up. False: no index or memory left.
 */
bool handshake_begin(struct session *s, const struct path_addr *to, bool rekey);
/* One more way to try; does nothing once message 2 came. */
void handshake_add_target(struct session *s, const struct path_addr *to);
bool handshake_has_target(const struct session *s, const struct path_addr *to);
/* Somebody waits for it: the first message over the ring goes a second way, too. */
void handshake_hurry(struct session *s);
void handshake_abort(struct session *s);
void handshake_tick(struct session *s);
usec handshake_deadline(const struct session *s);
/* A packet under the keys with this receiver index was opened: the peer has message 3. */
void handshake_confirmed(struct session *s, uint32_t index);

/* New keys that wait for their first packet, if this is their receiver index; else NULL. */
struct control *handshake_next_keys(const struct session *s, uint32_t index);

/* True: the packet was for this overlay (its MAC1 is right). */
bool handshake_input(struct sessions *ss, const struct path_addr *from, const uint8_t *pkt,
                     size_t len);
bool handshake_cookie_input(struct sessions *ss, const uint8_t *pkt, size_t len);
/* Half-open slots past their time go. */
void handshake_sweep(struct sessions *ss);
usec handshake_sweep_deadline(const struct sessions *ss);
void handshake_clear(struct sessions *ss);

#endif
