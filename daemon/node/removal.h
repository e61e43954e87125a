/*
 * removal.h - how what the CA says about removed members reaches this node, and goes on from here
 * (design 8). The set itself (overlay/crypto/removed.h) is the host's; everything in it is signed.
 *
 * A removal comes from the group's service, to the three members nearest on the ring to the group's
 * removal key (removals_watching), which broadcast it and put it into the DHT. Beside that every
 * handshake says what number its sender has, and each node tells its peers when its own number
 * grew; whoever is behind asks for what is missing, removals first, then the CRL piece by piece. So
 * a member that was away learns from the first peer that it meets.
 *
 *    REMOVAL  signed message
 *    HAVE     8 bytes highest number, 8 bytes the CRL's number, 4 bytes its length
 *    ASK      8 bytes number: send what is above, then HAVE
 *    CRL_ASK  8 bytes number, 4 bytes offset
 *    CRL_PART 8 bytes number, 4 bytes offset, bytes
 *
 * All but REMOVAL count only from a peer with a session. Answers are bounded per second; one CRL is
 * fetched at a time, and a peer whose CRL did not verify is not asked for one again.
 */
#ifndef PEAL_NODE_REMOVAL_H
#define PEAL_NODE_REMOVAL_H

#include "daemon/node/node.h"
#include "dht/dht.h"
#include "overlay/core/wire.h"

enum {
    REMOVALS_WATCHERS = 3,
    REMOVALS_PER_ANSWER = 16,
    REMOVALS_ANSWERS_PER_S =
        64, /* messages; beyond: dropped, the asker is told at the next change */
    REMOVALS_CRL_MAX = 6 * 1024 * 1024,
    REMOVALS_PART = 1024,
    REMOVALS_PART_TRIES = 5,
    REMOVALS_SPREAD_S = 2,  /* after a change, when the broadcast had its time */
    REMOVALS_LOOK_S = 3600, /* in the DHT, jittered */
    REMOVALS_RECORD_S = 86400,
};

struct crl_fetch {
    uint8_t *bytes; /* NULL: none under way */
    struct id peer;
    uint64_t number;
    uint32_t len, have, size;
    uint8_t tries;
    usec due_us;
};

struct removals {
    struct removed *set; /* NULL: a group without CA, and nothing here does anything */
    const struct cert_ca *ca;
    struct env *env;
    struct overlay *overlay;
    struct dht *dht;
    struct id key; /* in the DHT and on the ring */
    struct crl_fetch fetch;
    struct id liar; /* its CRL did not verify */
    struct {
        struct id peer;
        uint64_t after;
    } asked;          /* last */
    uint32_t answers; /* in the second since */
    usec answers_us;
    usec spread_us, look_us;
    bool grew;    /* since the caller last cleared it */
    uint64_t bad; /* messages that did not verify */
};

/* All is borrowed. */
void removals_init(struct removals *r, const struct node_config *config, struct env *env,
                   struct overlay *overlay, struct dht *dht);
void removals_clear(struct removals *r);
void removals_tick(struct removals *r);
usec removals_deadline(const struct removals *r);

/* From the service, or what was kept: a removal, which is spread, and a CRL. */
enum removed_news removals_told(struct removals *r, const uint8_t *message, size_t len);
enum removed_news removals_told_crl(struct removals *r, const uint8_t *der, size_t len,
                                    const char **why);
/* We are one of the members that ask the service all the time. */
bool removals_watching(const struct removals *r);

void removals_peer_up(struct removals *r, const struct id *peer);
/* A message of ours (enum node_msg), its type read. False: malformed or not allowed. */
bool removals_input(struct removals *r, uint8_t type, const struct overlay_from *from,
                    struct reader *body);

#endif
