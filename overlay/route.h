/*
 * route.h - the header of routed messages, and the choice of the next hop.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------+---------------+---------------+
 *   | flags         | hops          | proto         |
 *   +---------------+---------------+---------------+---------------+
 *   | key, 20 ...                                                   |
 *   | source, 20 ...                                                |
 *   | bound, 16 ...                                                 |
 *   | via, 20, if ROUTE_FLAG_VIA ...                                |
 *   | through, 20, if ROUTE_FLAG_THROUGH ...                        |
 *   | body ...                                                      |
 *   +---------------------------------------------------------------+
 *
 * Routing is greedy with one-hop lookahead: of all nodes that we or (so they told us) our peers
 * have a session with, the one closest to the key is aimed at, and the message goes to it or to the
 * peer that knows it. `bound` is the distance of the node aimed at, the top 16 bytes of it; who is
 * closer itself, as where a message begins, has its own distance for one.
 *
 * No loops: at every hop either `bound` shrinks, or the message arrives at the very node aimed at.
 * A node that cannot keep its neighbour's promise (its list was out of date) turns the message
 * ROUTE_FLAG_PLAIN once and for all: from there each hop is itself closer than every one before it.
 *
 * Around silent peers (detour.c) a message that finds nobody closer begins anew at another peer,
 * three times at most: ROUTE_FLAG_ANEW counts.
 *
 * `via` names the node through which a source that is no ring member can be answered; `through`
 * is such a node on the way to the key: the message is routed to it first, and anew from there.
 */
#ifndef PEAL_OVERLAY_ROUTE_H
#define PEAL_OVERLAY_ROUTE_H

#include "overlay/ring.h"

enum {
    ROUTE_HEADER_MIN = 59,
    ROUTE_HEADER_MAX = 99,
    ROUTE_HOPS_MAX = 250, /* a ring that has no shortcuts yet is long; counted */
    ROUTE_BOUND_LEN = 16,
};

enum route_mode {
    ROUTE_EXACT = OVERLAY_EXACT,
    ROUTE_NEAREST = OVERLAY_NEAREST,
    ROUTE_RIGHT, /* the first member clockwise of the key, the key itself not */
    ROUTE_LEFT,  /* and counter-clockwise */
};

enum route_flag {
    ROUTE_FLAG_MODE = 0x03,
    ROUTE_FLAG_VIA = 0x04,
    ROUTE_FLAG_THROUGH = 0x08,
    ROUTE_FLAG_PLAIN = 0x10, /* no lookahead any more */
    ROUTE_FLAG_SEEK = 0x20,  /* the source itself is no destination and no hop */
    ROUTE_FLAG_ANEW = 0xc0,  /* how often it began anew, around silent peers */
    ROUTE_FLAG_ANEW_ONCE = 0x40,
};

/* The protos of the ring itself; those below are of enum overlay_proto. Bodies: overlay_internal.h.
 */
enum route_proto {
    ROUTE_PROTO_ASK = 64,
    ROUTE_PROTO_LISTS = 65,
    ROUTE_PROTO_INTRODUCE = 66,
    ROUTE_PROTO_PACKET = 67,
    ROUTE_PROTO_PING = 68,
    ROUTE_PROTO_PONG = 69,
    ROUTE_PROTO_TRAIL = 70,
};

struct route_header {
    uint8_t flags;
    uint8_t hops;
    uint8_t proto;
    uint8_t bound[ROUTE_BOUND_LEN];
    struct id key, source, via, through; /* via, through: zero when none */
};

/* A header as its source makes it: nothing aimed at yet. */
struct route_header route_new(const struct id *source, const struct id *key, enum route_mode mode,
                              uint8_t proto);
void route_write(struct writer *w, const struct route_header *h);
/* The body is what is left in r. False: malformed. */
bool route_read(struct reader *r, struct route_header *h);

/* Peers that owe an answer (ring_peer.silent) are no hops for it: an answer that is not the
 * closest one's, or a second one, does no harm. The caller sets `silent` before a step. */
bool route_goes_around(const struct route_header *h);
/* A member at random that is not silent; NULL: there is none. */
struct ring_peer *route_anywhere(const struct ring *ring);

enum route_verdict {
    ROUTE_FORWARD, /* to *next; the header was brought up to date */
    ROUTE_DELIVER, /* it is for us */
    ROUTE_NOBODY,  /* its one destination is not reachable from here */
    ROUTE_TOO_FAR, /* hop limit */
};
/* What a step has to heed. All borrowed. */
struct route_way {
    bool direct;           /* only peers with a direct path are hops: for packets that themselves
                              make up an indirect path */
    const struct id *from; /* who handed it over; NULL: it is ours */
    const struct ring_peer *except; /* no hop for it: a copy is to share none with what goes by that
                                       one, as far as we choose; NULL: all may be */
};
/* What to do with a message that arrived here (or starts here: hops 0). */
enum route_verdict route_step(const struct ring *ring, struct route_header *h,
                              const struct route_way *way, struct ring_peer **next);

#endif
