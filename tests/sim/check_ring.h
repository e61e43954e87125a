/*
 * check_ring.h - judges the ring: after every event what the event touched, each virtual second
 * everything.
 *
 * Always: a list is in order on its side, names nobody twice, never its owner. A list may pass over
 * a live member only for as long as it takes to notice: RING_CHECK_SETTLE_S while nothing is
 * broken. Whoever follows first live right neighbours comes by every member once: one ordered ring;
 * while nothing is broken and after it was one, it stays one.
 *
 * "Ideal" is what the lists would be if every member knew everybody: it is known here alone. In a
 * partition each part has an ideal of its own. A part's members can become one ring as far as
 * sessions lead (islands.h), and must within RING_CHECK_SETTLE_S.
 */
#ifndef PEAL_SIM_CHECK_RING_H
#define PEAL_SIM_CHECK_RING_H

#include "tests/sim/host.h"

enum { RING_CHECK_SETTLE_S = 60 };

struct ring_place {
    uint64_t prefix; /* the id's first 8 bytes: found without a look at the host */
    struct host *host;
};

struct ring_check {
    struct ring_place *members; /* live ones, by id */
    size_t count, size;
    size_t closed;        /* members whose first neighbours are right on both sides */
    size_t ideal;         /* members whose lists are ideal */
    usec complete_us;     /* when every host that is on was a closed member, first; 0: never yet */
    usec ideal_us;        /* since when all lists are ideal; 0: they are not */
    usec stranded_us;     /* when somebody came last who was told of nobody that is there */
    usec broken_us;       /* when it was not one ordered ring last, by the full check */
    size_t rings;         /* by the full check; 0: lists lead nowhere */
    size_t rings_parted;  /* at the end of the last second of a partition */
    usec crowded_us;      /* in a partition: since when there are more rings than islands; 0 */
    usec skip_longest_us; /* seen so far, by the full check */
};

void ring_check_clear(struct ring_check *c);
/* Something happened at this host. */
void ring_check_touched(struct world *w, struct host *h);
/* Who is reachable for whom changed for everybody. */
void ring_check_all_touched(struct world *w);
/* Counts the rings now. */
void ring_check_count(struct world *w);
/* The full check. */
void ring_check_second(struct world *w);
/* Everybody who is on is a member and all lists are ideal. */
bool ring_check_is_ideal(const struct world *w);
bool ring_check_is_closed(const struct world *w);
/* The live member closest to a key among those that `from` can reach; NULL: none. */
struct host *ring_check_owner(const struct world *w, const struct host *from, const struct id *key);
/* Its nearest members, one on each side, each once. Returns how many. */
size_t ring_check_beside(const struct world *w, const struct host *h, struct host *out[2]);
/* Says to stderr whose lists are not ideal, and what they ought to be. */
void ring_check_explain(const struct world *w, size_t max);

#endif
