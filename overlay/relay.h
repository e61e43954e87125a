/*
 * relay.h - how a session with a peer that cannot be reached directly gets relayed paths: who could
 * relay, which one does, which stand by.
 *
 * Begins when a session that is needed has come up and has no direct path. The two ends tell each
 * other, over what connects them now, which nodes they have direct sessions with:
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------+---------------+
 *   | flags         | count         |
 *   +---------------+---------------+-------------------------------+
 *   | node id, 20 ...                                               |
 *   +-------------------------------+---------------+---------------+
 *   | round trip, 0.1 ms            | age, log2 s   | spare         | ... count times
 *   +-------------------------------+---------------+---------------+
 *
 * Who is in both lists can relay at once. Each end also connects to the RELAY_MEETS nearest of the
 * other's list that it does not know, to make an overlap or a better one, and reports what it
 * measured. The end with the lower id opens channels (channel.h) through the best RELAY_WAYS by
 * choose.h; each becomes a path of the session once it is proven, and session.h sends on the one
 * that is measured best. The others stand by: asked for a sign of life every RELAY_PING_S, so that
 * the channel and the verdict on it stay fresh. One that dies, is ended or whose relay says goodbye
 * leaves the session's paths at once; its place is filled by the next best, and its relay is left
 * alone for a growing while.
 *
 * Ends when the session does, or has had a direct path for RELAY_SPARE_S.
 *
 * What a peer says only makes us open sessions with nodes of its list, RELAY_MEETS for one pair and
 * RELAY_MEETS_ALL at a time, over the ring: never a packet to an address that it names.
 */
#ifndef PEAL_OVERLAY_RELAY_H
#define PEAL_OVERLAY_RELAY_H

#include "overlay/overlay_internal.h"

enum {
    RELAY_WAYS = 3,                  /* one carries, two stand by */
    RELAY_WAYS_MAX = RELAY_WAYS + 1, /* while one is replaced */
    RELAY_CANDIDATES_MAX = 48,       /* in a list; the nearest are told */
    RELAY_ENTRY_LEN = ID_LEN + 4,
    RELAY_RTT_UNIT_US = 100,
    RELAY_MEETS = 6,
    RELAY_MEETS_ALL = 32,
    RELAY_BAD_MAX = 8, /* relays that failed one pair; victim: the oldest */
    RELAY_PING_S = 20,
    RELAY_SPARE_S = 10,
};

/* One channel that ends here. */
enum way_state {
    WAY_ASKED,  /* OPEN is out. To TRIED when it is accepted */
    WAY_TRIED,  /* accepted by both; the session tries whether it is a path. To PROVEN */
    WAY_PROVEN, /* it is one, until the session gave it up. To LEFT by the relay's goodbye */
    WAY_LEFT,   /* no path any more; what is still under way arrives */
};

struct way {
    struct leg leg; /* its neighbour is the relay */
    struct id peer;
    enum way_state state;
    uint8_t tries; /* of OPEN */
    usec since_us; /* in this state */
    usec at_us;    /* next OPEN */
    usec rtt_us;   /* both ends' round trips to the relay together, as told; 0: not known */
};

/* A node of the peer's list. */
struct relay_candidate {
    struct id id;
    uint16_t rtt; /* the peer's to it; 0: not measured */
    uint8_t log_age, spare;
    bool met; /* we hold a session with it to measure it */
};

struct relay_bad {
    struct id id;
    uint8_t times;
    usec until_us;
};

enum relay_list_flag { RELAY_LIST_ANSWER = 1 /* tell me yours */ };

/* The search for relays between us and one peer. */
struct relay {
    struct link *link;
    struct alarm alarm;
    usec began_us;
    usec ask_us;    /* when the peer's list is asked for again */
    usec meet_us;   /* until then we measure */
    usec told_us;   /* our list went out */
    usec direct_us; /* a direct path is there since then; 0: none */
    uint8_t asks;
    uint8_t told_common; /* of the peer's candidates: measured by us when we told last */
    bool heard;          /* the peer's list is here */
    bool asked;          /* the peer began: it needs one, even if what it says of that was lost */
    struct way *ways[RELAY_WAYS_MAX];
    size_t way_count;
    struct relay_candidate *candidates; /* RELAY_CANDIDATES_MAX, or NULL before the first list */
    size_t candidate_count;
    struct relay_bad bad[RELAY_BAD_MAX];
};

/* What may matter to the search for this peer changed: roles, path, state. Begins and ends it. */
void relay_follow(struct overlay *o, struct link *l);
/* The session is gone. */
void relay_free(struct overlay *o, struct link *l);
/* The same at the end of the overlay: nobody is told. */
void relay_discard(struct overlay *o, struct link *l);
/* A node that may be a relay of ours says goodbye: the others take over before it is gone. */
void relays_leave(struct overlay *o, const struct id *relay);
/* It has no direct path any more. */
void relays_lost(struct overlay *o, const struct id *relay);
/* The session with it is gone. */
void relays_link_down(struct overlay *o, const struct id *relay);

/* A packet of a session over one of our ways, out and in; opened in place. */
void relay_send(struct overlay *o, const struct path_addr *to, const uint8_t *pkt, size_t len);
void relay_packet(struct overlay *o, const struct way *way, uint8_t *pkt, size_t len);

/* Where data goes that takes this path: into `out`, which stays as it is when nowhere now. */
void relay_data(const struct overlay *o, const struct path_addr *path, struct overlay_data *out);
/* The relay that carries, and those that stand by. */
void relay_info(const struct link *l, struct overlay_peer_info *out);

/* Which are in use, opened or failed for that peer. Returns how many, at most max. */
size_t relay_list(const struct overlay *o, const struct link *l, struct overlay_relay *out,
                  size_t max);

bool relay_neighbours_input(struct overlay *o, struct link *from, struct reader *r);
bool relay_invite_input(struct overlay *o, struct link *from, struct reader *r);
bool relay_accept_input(struct overlay *o, struct link *from, struct reader *r);
bool relay_end_input(struct overlay *o, struct link *from, struct reader *r);

#endif
