/*
 * trail.h - a trail of channel numbers along the ring: the way that data takes whose session has no
 * other path than the ring (neither a direct one nor a relay), so that workers seal, forward and
 * open it as they do with relayed data. Everything else of such a session, and data while there is
 * no trail, goes in routed messages as before (carry.c).
 *
 * A trail leads one way, from a source to an end, by hops that have direct paths to each other: of
 * two neighbours on the ring who are relayed, the relay becomes one, too. A
 * relay packet (channel.h) goes along it: each hop puts in the number that the next one has drawn.
 * The numbers are told from the end backwards, by a routed message that each hop rewrites:
 *
 *   source            hop              hop              end
 *     | MSG_TRAIL_ASK: token (in the session)            |
 *     |------------------------------------------------->|
 *     |                | ROUTE_PROTO_TRAIL: token, n1    |    n1: what the end receives with
 *     |                |                |<---------------|
 *     |                | token, n2      |                     n2: what that hop receives with
 *     |  token, n3     |<---------------|
 *     |<---------------|                                      sends n3 to that hop
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------------------------------------------------------+
 *   | token, 8: of the question                                     |
 *   +---------------------------------------------------------------+
 *   | number: what its teller receives with; 0 from the end itself before it is sent
 *   +---------------------------------------------------------------+
 *
 * What was told is a trial: the next question goes along it, and only the answer to that makes it
 * the trail (RFC 9000 8.2). Questions go on along it, one each TRAIL_ASK_US while data does, so
 * that hops and end keep their numbers, and the source notices within TRAIL_TRIES of them when it
 * leads nowhere any more: then data goes in messages again, and the next trail is tried later and
 * later. A token is random, used once, and goes to the end inside the session: so whoever makes up
 * an answer stands on the way of the end's messages, and could drop them as well.
 *
 * Nobody can have packets sent to anybody else: a number leads to the neighbour that told its own,
 * and only packets of the neighbour that was told take it. No loop: a number leads to one that was
 * drawn before it. No more hops than a message makes (ROUTE_HOPS_MAX).
 *
 * Limits: TRAILS_MAX numbers given out, TRAILS_EACH of them that lead to one neighbour or end here
 * for one source; victim: the one not named for longest, if for TRAIL_STALE_S at least, else the
 * newcomer. A number that was not named for TRAIL_LIFE_S is taken back. Bytes by the meters of what
 * is relayed: half of relay_mbit for one trail, all of it together. Who does not relay carries
 * trails all the same, as it passes on messages: they are only used where nothing else is left.
 */
#ifndef PEAL_OVERLAY_TRAIL_H
#define PEAL_OVERLAY_TRAIL_H

#include "overlay/overlay_internal.h"

enum {
    TRAIL_TOKEN_LEN = 8,
    TRAIL_TOLD_LEN = TRAIL_TOKEN_LEN + 4,
    TRAIL_PACKETS = 32, /* so many between two reports of the data plane (1 s) are worth one */
    TRAIL_ASK_US = 500000,
    TRAIL_AGAIN_US = 250000, /* and a round trip: while the last one is not answered */
    TRAIL_TRIES = 4,         /* questions in vain: it is given up */
    TRAIL_UNUSED_S = 3,      /* so little data for so long: it ends */
    TRAIL_RETRY_S = 5,       /* after one that was given up; doubled each time, */
    TRAIL_RETRY_MAX_S = 300,
    TRAILS_MAX = 128,
    TRAILS_EACH = 32,
    TRAIL_STALE_S = 2,
    TRAIL_LIFE_S = 5,
};

/* A number that we gave out. */
struct trail {
    struct leg in;    /* packets with it come from the neighbour nearer to the source */
    struct leg out;   /* and go on by this; tx 0: they end here */
    struct id source; /* of a trail that ends here; else zero */
    struct meter *meter;
    usec named_us;
};

struct trail_question {
    uint8_t token[TRAIL_TOKEN_LEN];
    bool open;  /* not answered yet */
    bool trial; /* went along the trial */
};

/* Of a session whose source we are. Made when its data first goes over the ring, gone with it. */
struct trail_source {
    struct link *link;
    struct alarm alarm; /* the next question; not set while there is no trail, and none is sought */
    struct leg way;     /* proven: data goes by it; tx 0: none */
    struct leg trial;   /* told, and not proven yet; tx 0: none */
    struct trail_question questions[TRAIL_TRIES]; /* the latest; victim: the oldest */
    unsigned asked;
    uint8_t in_vain;  /* questions since an answer */
    uint8_t failures; /* trails given up since one was proven */
    bool sought;
    usec used_us;  /* data went in numbers worth a trail */
    usec retry_us; /* none is sought before */
    uint64_t packets;
};

/* The data plane has sent so many packets to that peer in all. */
void trail_data_seen(struct overlay *o, struct link *l, uint64_t tx_packets);
/* Where data of a session over the ring goes; `out` stays as it is when there is no trail. */
void trail_data(const struct overlay *o, const struct link *l, struct overlay_data *out);
bool trail_is_proven(const struct link *l);
/* A data packet along the trail. False: there is none. */
bool trail_send(struct overlay *o, const struct link *l, const uint8_t *pkt, size_t len);
/* A packet of the session with `to->peer`, with a question in it. */
void trail_send_question(struct overlay *o, const struct path_addr *to, const uint8_t *pkt,
                         size_t len);
/* A packet that came along a trail that ends here; opened in place. */
void trail_packet(struct overlay *o, const struct trail *t, uint8_t *pkt, size_t len);

/* MSG_TRAIL_ASK. False: malformed. */
bool trail_ask_input(struct overlay *o, struct link *from, struct reader *r);
/* Where a message of ROUTE_PROTO_TRAIL goes for the next hop: there, or to the relay between us,
 * which then is one, too. NULL: there is no direct path to either. */
struct link *trail_hop(const struct overlay *o, struct link *next);
/* A message of ROUTE_PROTO_TRAIL, ours or another's, is about to go to `next`: what it is to say
 * there. False: it goes nowhere. */
bool trail_pass(struct overlay *o, const struct passage *p, const struct id *next,
                uint8_t told[TRAIL_TOLD_LEN]);
/* It is for us. */
void trail_told_input(struct overlay *o, const struct link *from, const struct route_header *h,
                      struct reader *r);

/* The session with this node is gone. */
void trails_link_down(struct overlay *o, struct link *l);
void trails_due(struct overlay *o, struct alarm *alarm);
void trails_clear(struct overlay *o);

#endif
