/*
 * rendezvous.h - how the members of a group find each other in the public overlay, and nobody else
 * finds them. Part of the public overlay's node; serves the groups of this daemon.
 *
 * From the group's key come, new for each day (Unix time / 86400), an Ed25519 key pair and a
 * sealing key. The pair's public half names the place in the public DHT, and all that stands there
 * is signed with it (dht_put_rendezvous): a stranger can neither tell which place is a group's nor
 * write there. Each member puts one record, under an owner id that only it can compute:
 *
 *   +------------------------------------------------------------------------+
 *   | box (overlay/crypto/box.h) over:                                       |
 *   |   version 1, the member's id in the public overlay 20,                 |
 *   |   its id in the group 20                      authenticated: the owner |
 *   +------------------------------------------------------------------------+
 *
 * It stands for an hour and is written again every 25 minutes. Where there are DHT_VALUES_MAX
 * already a further member's is refused: it finds the others, which is what it is for. Looked for
 * at once, then after 2 s growing to 60 s while the group has no connection, soon when the public
 * overlay gets a new one, and every 10 minutes when all is well, so that rings that formed apart
 * find each other. Around midnight the neighbouring day is looked
 * at too: clocks may differ by RENDEZVOUS_SKEW_S. Nothing happens while the wall clock is not
 * known.
 *
 * What is found is a hint: a removed member still has the group's key. Its certificate is what the
 * handshake asks for. From the first removal on, whoever has that key and no place in the ring is
 * to learn little here: the REMOVALS_WATCHERS members nearest on the ring to its removal key stay
 * in the list, for whoever comes, and the others hide (node_is_host): after RENDEZVOUS_HIDE_S they
 * take their records away.
 */
#ifndef PEAL_NODE_RENDEZVOUS_H
#define PEAL_NODE_RENDEZVOUS_H

#include "daemon/node/node.h"
#include "dht/dht.h"

enum {
    RENDEZVOUS_GROUPS_MAX = 63, /* as many as a daemon has; one more is refused */
    RENDEZVOUS_VERSION = 1,
    RENDEZVOUS_DAY_S = 86400,
    RENDEZVOUS_SKEW_S = 2 * 3600,
    RENDEZVOUS_LEASE_S = 3600,
    RENDEZVOUS_AGAIN_S = 25 * 60,
    RENDEZVOUS_RETRY_S = 10, /* when it could not be written */
    RENDEZVOUS_HIDE_S = 10,  /* neighbours come and go while a ring forms */
    RENDEZVOUS_SOON_S = 1,
    RENDEZVOUS_LOOK_FIRST_S = 2,
    RENDEZVOUS_LOOK_LAST_S = 60,
    RENDEZVOUS_LOOK_CONNECTED_S = 600,
};

struct rendezvous_group;
struct rendezvous {
    struct env *env;
    struct dht *dht;
    struct id overlay, self; /* the public overlay's id, and ours in it */
    void (*met)(void *ctx, uint32_t token, const struct id *end, const struct id *member);
    void *ctx;
    struct rendezvous_group *groups[RENDEZVOUS_GROUPS_MAX]; /* NULL: free */
    usec looked_us;                                         /* at the clock, last */
    uint64_t published, hidden;                             /* records written, and taken back */
    uint64_t found, refused; /* refused: records that are none of ours */
};

/* All is borrowed. `met` is called from within dht_message and dht_tick: never about ourselves. */
void rendezvous_init(struct rendezvous *r, const struct node_config *config, struct env *env,
                     struct dht *dht,
                     void (*met)(void *ctx, uint32_t token, const struct id *end,
                                 const struct id *member),
                     void *ctx);
void rendezvous_clear(struct rendezvous *r);
/* 0, -ERR_FULL, -ERR_NOMEM. */
int rendezvous_add(struct rendezvous *r, const struct node_meeting *m) MUST_USE;
void rendezvous_remove(struct rendezvous *r, uint32_t token);
/* The group has no connection to anybody. */
void rendezvous_set_lonely(struct rendezvous *r, uint32_t token, bool lonely);
/* Of the group's members others are to be found here, not we. At first we are. */
void rendezvous_set_hidden(struct rendezvous *r, uint32_t token, bool hidden);
/* The public overlay has grown by one who may know more than we did: lonely groups look soon. */
void rendezvous_peer_up(struct rendezvous *r);
void rendezvous_tick(struct rendezvous *r);
usec rendezvous_deadline(const struct rendezvous *r);

#endif
