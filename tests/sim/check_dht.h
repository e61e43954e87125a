/*
 * check_dht.h - judges what the DHT holds and what it answers.
 *
 * Looks into every store at once, which no node can: under each key each of the five points must be
 * held, the same, by the member closest to it and that one's neighbour on either side. A point
 * whose three holders died at once may stay empty until the owner's next renewal, as long as a
 * majority of the points stands. Every second (world_look_seconds) it looks whether a
 * record of a live owner is nowhere any more though not all who held it have died, and whether
 * somebody still holds what its dead owner cannot have renewed. (A member that left, came back
 * among others and claimed the same again, knowing nothing of the tombstone it had left, meets that
 * when the rings become one: the newer buries the older, the member is told, and has DHT_BURIED_US
 * to write anew.) And it asks, as a node would: a claim that a live node believes its own must be
 * found by anybody, with that owner, and not older than it was when asked for; what has expired
 * must not be found.
 */
#ifndef PEAL_SIM_CHECK_DHT_H
#define PEAL_SIM_CHECK_DHT_H

#include "tests/sim/host.h"
#include "tests/sim/stats.h"

enum {
    DHT_ASKS_MAX = 1024,
    DHT_YOUNG_S = 5,  /* a write may take */
    DHT_ENDING_S = 5, /* of its lease, in which the first holders may have dropped it */
    DHT_ENDS_APART_S = 10,
};
#define DHT_END_SLACK_US SEC(3)
#define DHT_BURIED_US SEC(30)
#define DHT_ASK_US SEC(30)

struct dht_ask {
    bool used;
    bool again;    /* it is not the first question */
    bool waits;    /* the answer was wrong or none: asked again with the next second */
    bool outlived; /* what must not be found */
    bool must;     /* nothing was broken: the right answer must come within DHT_ASK_US */
    struct id key, owner;
    uint32_t epoch, sequence; /* that its owner had written when it was asked for */
    uint32_t asker, owner_host;
    usec asked_us;
    enum claim_kind kind;
};

struct dht_check {
    struct dht_ask v[DHT_ASKS_MAX];
    uint64_t asked, at_first /* question */, at_once /* within a second */, right;
    struct stats get_ms;
    uint32_t gone; /* hosts that went off since the judge looked last */
};

/* The key in the DHT of what was claimed, CLAIM_KEY_LEN bytes and not zeros. */
struct id dht_check_key(const struct world *w, const uint8_t *claimed, enum claim_kind kind);
void dht_check_clear(struct dht_check *c);
/* It died or left: what it asked is forgotten. */
void dht_check_host_off(struct dht_check *c, uint32_t host);
void dht_check_second(struct world *w);
size_t dht_check_pending(const struct dht_check *c);
/* `from` asks for what `whose` believes to be its own; false: there is nothing, or no room. */
bool dht_check_ask(struct world *w, struct host *from, const struct host *whose,
                   enum claim_kind kind, bool must);
/* The same for what somebody had who has been off for longer than its lease, if so: it must not be
 * found. */
void dht_check_ask_outlived(struct world *w, struct host *from, const struct host *whose,
                            enum claim_kind kind);
/* Says to stderr when this host comes to hold, changes or drops a record whose key begins so. */
void dht_check_follow(const struct world *w, struct host *h, const char *prefix);
/* Records (key and owner) of which some replica is missing or out of date, now; *records: of how
 * many. explain: says which, to stderr. */
size_t dht_check_replicas(const struct world *w, size_t *records, size_t explain);

#endif
