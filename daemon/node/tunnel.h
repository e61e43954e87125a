/*
 * tunnel.h - groups' packets through the public overlay: as they are, from one public node to
 * another, in messages of OVERLAY_PROTO_NODE.
 *
 *   +---------------+-------------------------------+---------------+
 *   | NODE_MSG_     | packet number                 | part | parts  |  packet or part of it ...
 *   |        TUNNEL |                               |               |
 *   +---------------+-------------------------------+---------------+
 *
 * Whoever is on the way sees the two public ids and sealed bytes. What comes out is believed as
 * little as a datagram: first handshake messages are bounded to TUNNEL_STRANGERS_PER_S, the rest
 * has to fit a session. Of packets half here TUNNEL_HALVES_MAX are kept for 2 s, the victim is the
 * oldest.
 *
 * A group's handshakes and control packets go in them by any way there is. Its data (type 0x83) is
 * in no message: it goes bare where the session of the two public nodes goes, and only when that is
 * direct, or relayed by a public node who has agreed to. So workers send and open it like any
 * other, and it is sealed once.
 */
#ifndef PEAL_NODE_TUNNEL_H
#define PEAL_NODE_TUNNEL_H

#include "overlay/core/wire.h"
#include "overlay/overlay.h"

enum {
    TUNNEL_HEADER_LEN = 4,
    TUNNEL_PART_MAX = OVERLAY_BODY_MAX - TUNNEL_HEADER_LEN,
    TUNNEL_PARTS_MAX = 2,
    TUNNEL_PACKET_MAX = TUNNEL_PARTS_MAX * TUNNEL_PART_MAX, /* above PACKET_MAX */
    TUNNEL_HALVES_MAX = 16,
    TUNNEL_STRANGERS_PER_S = 64,
};

struct tunnel_half {
    struct id from;
    uint16_t number;
    uint8_t part; /* that is here */
    usec since_us;
    size_t len;
    uint8_t *bytes; /* NULL: unused */
};

struct tunnels {
    struct env *env;
    struct overlay *overlay;
    void (*deliver)(void *ctx, const struct id *from, uint8_t *pkt, size_t len);
    void *ctx;
    struct tunnel_half halves[TUNNEL_HALVES_MAX];
    uint16_t number;
    uint32_t strangers; /* first messages in the second since */
    usec strangers_us;
    uint64_t sent, received, dropped;
};

/* All is borrowed. deliver may change the packet; it is called from within tunnels_input. */
void tunnels_init(struct tunnels *t, struct env *env, struct overlay *overlay,
                  void (*deliver)(void *ctx, const struct id *from, uint8_t *pkt, size_t len),
                  void *ctx);
void tunnels_clear(struct tunnels *t);
void tunnels_send(struct tunnels *t, const struct id *to, const uint8_t *pkt, size_t len);
/* A message, its type read. */
void tunnels_input(struct tunnels *t, const struct overlay_from *from, struct reader *r);

#endif
