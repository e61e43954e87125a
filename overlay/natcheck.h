/*
 * natcheck.h - what reports alone do not tell of the NAT that we are behind: whether those behind
 * it reach each other by its outer address, whom it lets in, and how long it remembers (RFC 4787 5,
 * 6 and 4.3; RFC 5780 4.3 to 4.6, with members in place of servers of two addresses).
 *
 * Begins NATCHECK_CALM_S after peers reported an outer address, again when that is another one, and
 * every NATCHECK_AGAIN_S. What is sent are STUN Binding indications under an id of ours; the one
 * that comes back in is the answer.
 *
 *   hairpin    we send one to our own outer address.
 *   filtering  a neighbour has another member send one: a stranger, whom we have not sent to.
 *   life       we send a Binding request to such a stranger, are silent for 30 s, 60 s, 120 s, and
 *              have it send again. For NATs that have one mapping for all remotes.
 *
 *     us                       neighbour                 stranger
 *      | ASK: id, whom we know   |                          |
 *      |------------------------>| POKE: id, where we are   |
 *      |     ASKED: id, who, ep  |------------------------->|
 *      |<------------------------|                          |
 *      |<---------------------------- indication, id -------|
 *
 * The neighbour names the endpoint that it has proven to be ours, so that nobody can point it at
 * another; a stranger is one that is reached where it says it is. A stranger sends NATCHECK_POKES a
 * second at most, 20 bytes each, and each neighbour passes on NATCHECK_ASKS in NATCHECK_ASKS_S of
 * one asker: a member that lies reflects no more than that. A lie makes us wrong about our NAT, and
 * a longer silence than it bears is noticed like any other (probe.h).
 *
 * Where everybody has been sent to, as in a small group, filtering and life stay unknown.
 */
#ifndef PEAL_OVERLAY_NATCHECK_H
#define PEAL_OVERLAY_NATCHECK_H

#include "overlay/core/id.h"
#include "overlay/core/wire.h"
#include "overlay/overlay.h"
#include "overlay/stun.h"

enum {
    NATCHECK_CALM_S = 3,
    NATCHECK_AGAIN_S = 3600,
    NATCHECK_SOON_S = 600,      /* where nobody could tell */
    NATCHECK_TRIES = 3,         /* of one packet that may be lost */
    NATCHECK_FILTER_TRIES = 16, /* neighbours asked */
    NATCHECK_STRANGERS = 2,     /* that got in, before we believe that all do */
    NATCHECK_SPOILT = 3,        /* silences broken by other traffic, after which we leave it */
    NATCHECK_ASKS = 8,
    NATCHECK_ASKS_S = 10,
    NATCHECK_POKES = 8,
    NATCHECK_SENT = 64, /* slots for addresses that were sent to; those of one slot are alike */
    NATCHECK_SENT_S = 3600,
    NATCHECK_ASK_LEN = STUN_ID_LEN + ID_LEN,
    NATCHECK_EXCEPT_LEN = 4,  /* of the id of somebody that the asker knows */
    NATCHECK_EXCEPT_MAX = 64, /* told; the rest may be taken for strangers, to no avail */
    NATCHECK_ASK_MAX = NATCHECK_ASK_LEN + NATCHECK_EXCEPT_MAX * NATCHECK_EXCEPT_LEN,
    NATCHECK_ENDPOINT_MAX = 19,
};

enum natcheck_step {
    NATCHECK_IDLE,    /* nothing to find out now. To HAIRPIN by news, or in time */
    NATCHECK_HAIRPIN, /* one to ourselves is out. To FILTER by it, or after NATCHECK_TRIES */
    NATCHECK_FILTER,  /* a neighbour was asked. To IDLE when strangers get in or there are none, to
                         OPEN when none gets in */
    NATCHECK_OPEN,    /* a request went to a stranger, a second one is due. To WAIT */
    NATCHECK_WAIT,    /* silent towards it. To ASK */
    NATCHECK_ASK,     /* it was to send. To OPEN for a longer silence; to FILTER, for another
                         stranger, when we were not silent; or IDLE */
};

struct alarm;
struct link;
struct overlay;

/* As far as is known; the rest of *out is left alone. */
void natcheck_tell(const struct overlay *o, struct overlay_nat *out);
/* A peer reports where we are. */
void natcheck_news(struct overlay *o);
void natcheck_due(struct overlay *o, struct alarm *alarm);
/* Something goes there. */
void natcheck_sent(struct overlay *o, const struct addr *to);
/* A Binding indication came. */
void natcheck_indication(struct overlay *o, const struct endpoint *from, const struct stun_id *id);

bool natcheck_ask_input(struct overlay *o, struct link *from, struct reader *r);
bool natcheck_asked_input(struct overlay *o, struct link *from, struct reader *r);
bool natcheck_poke_input(struct overlay *o, struct link *from, struct reader *r);

#endif
