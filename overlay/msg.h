/*
 * msg.h - every control message's number and the frame that carries it.
 *
 * A control packet's sealed payload is one or more messages, each: 1 byte type, 2 bytes length, body.
 * Which types a session may receive, their least and most length and their handlers stand in const
 * tables: session.c for its own, overlay.c for the ring's. An unknown type is skipped and counted.
 */
#ifndef PEAL_OVERLAY_MSG_H
#define PEAL_OVERLAY_MSG_H

#include "overlay/core/limits.h"

enum { MSG_HEADER_LEN = 3 };

enum msg_type {
    /* Between the two ends of a session; handled in session.c and path.c. */
    MSG_PING = 1,           /* nonce 4, flags 1: asks for MSG_PONG on the path it came by. Flags: enum ping_flag */
    MSG_PONG = 2,           /* nonce 4, flags 1, observed endpoint of the asker (family 0 unless UDP) */
    MSG_CLOSE = 3,          /* reason 1: the session is over, forget it */
    MSG_DATA_KEY_INIT = 4,  /* generation 4, receiver index 4, ephemeral 32 */
    MSG_DATA_KEY_REPLY = 5, /* the same */
    MSG_DATA_KEY_DONE = 6,  /* generation 4: the initiator has installed it; the responder may send with it */
    MSG_PATH_CHALLENGE = 7, /* 8 random bytes, padding */
    MSG_PATH_RESPONSE = 8,  /* the 8 bytes, then the endpoint they came from */
    MSG_ENDPOINTS = 9,      /* our candidate endpoints changed: count 1, endpoints */

    /* The ring's; handled in link.c, transit.c, broadcast.c. */
    MSG_ROUTE = 32,      /* route.h */
    MSG_NEIGHBOURS = 33, /* link.c: MSG_ROLES, then near lists and shortcuts of the sender */
    MSG_ROLES = 34,      /* link.c: sequence 2, state 1, what the sender needs this session for 1 */
    MSG_BROADCAST = 35,  /* broadcast.c */
    MSG_SAID_HEARD = 36, /* sequence 2: MSG_NEIGHBOURS or MSG_ROLES arrived */
    MSG_BROADCAST_HEARD = 37, /* origin 20, number 4: MSG_BROADCAST arrived */
    MSG_MEMBERS = 38, /* link.c: how large the sender believes the ring, RING_VIEWS times 2 */

    /* Relayed paths; handled in relay.c and channel.c, drawn there. */
    MSG_RELAY_NEIGHBOURS = 48, /* between the ends: who could relay */
    MSG_RELAY_OPEN = 49,       /* an end to a relay: a channel to that node */
    MSG_RELAY_INVITE = 50,     /* the relay to the other end */
    MSG_RELAY_ACCEPT = 51,     /* the other end to the relay, the relay to the first */
    MSG_RELAY_END = 52,        /* refused, or over */
    MSG_RELAY_SPARE = 53,      /* how much more the sender would relay */

    /* natcheck.h */
    MSG_NAT_ASK = 54,   /* id 12, node 20 (zero: any but those whose ids begin so, 4 each): have it send a STUN indication to us */
    MSG_NAT_ASKED = 55, /* id 12, node 20, its endpoint: it was told to */
    MSG_NAT_POKE = 56,  /* id 12, endpoint: send one there */

    MSG_TRAIL_ASK = 57, /* token 8: a trail from the sender, or a sign of life by it (trail.h) */

    /* For the rooms above; overlay.h's protos ride in these and in MSG_ROUTE. */
    MSG_UPPER = 64, /* proto 1, body */
};

#endif
