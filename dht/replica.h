/*
 * replica.h - who else holds what we hold: the member closest to a point and its neighbour on
 * either side. This file knows the ring around us and copies what a holder accepts; fill.h asks
 * for what a new neighbour shares with us, handover.h gives away what is not ours any more,
 * repair.h finds what still differs.
 *
 * A write is acknowledged to its asker when both neighbours have it. One of the two is enough when
 * the other did not answer twice (what it holds is compared soon); none is not, unless we are
 * alone: then the asker has to repeat it. Bound: WRITES_MAX under way; more are not acknowledged,
 * the asker repeats.
 */
#ifndef PEAL_DHT_REPLICA_H
#define PEAL_DHT_REPLICA_H

#include "dht/fill.h"
#include "dht/handover.h"
#include "dht/parcel.h"
#include "dht/repair.h"

enum {
    WRITES_MAX = 256,
    WRITE_TRIES = 3,
    WRITE_ENOUGH_TRIES = 2, /* after so many, one of two will do */
    NEAR_RING_MAX = 2 * OVERLAY_NEAR + 1,
};
#define WRITE_TRY_US MSEC(300)
#define LOOK_US MSEC(100)   /* how often to look whether the overlay has taken us in */
#define UPHEAVAL_US SEC(30) /* half of the neighbours gone within this is one */
#define SETTLE_US MSEC(600) /* between a change and what we do about it: changes come in groups */

struct write;
struct replica {
    struct id ring[NEAR_RING_MAX]; /* the members around us, clockwise, each once */
    size_t count, self;            /* ring[self] is us */
    struct id left[OVERLAY_NEAR], right[OVERLAY_NEAR];
    size_t lefts, rights;
    bool whole; /* ring[] is all of the ring */
    bool member, changed, leaving;
    /* ring[] as it was at known_us, to see upheavals; zero: it started anew since, and whoever
     * comes back under its old id holds nothing of what it held */
    struct id known[NEAR_RING_MAX];
    size_t knowns;
    usec known_us;
    usec look_us;
    struct write *writes;
    size_t write_count;
};

void replica_init(struct dht *d);
void replica_clear(struct dht *d);
void replica_tick(struct dht *d);
usec replica_deadline(const struct dht *d);

/* Index in ring[] of the member closest to the point; when we are leaving, of the closest other. */
size_t replica_closest_index(const struct dht *d, const struct id *point);
bool replica_closest(const struct dht *d, const struct id *point); /* it is us */
/* Bit i: we are one of the three that hold point i of the key. */
uint8_t replica_points(const struct dht *d, const struct id *key);
bool replica_near(const struct dht *d, const struct id *node);
/* Our range was handed to us: we may grant and deny. */
bool replica_ready(const struct dht *d);

/* A session with it is new, and it may be, too. */
void replica_peer_up(struct dht *d, const struct id *peer);

/* Copies to the neighbours, then answers the asker. A promise is a record that only asks for a
 * grant. */
void replica_write(struct dht *d, const struct record *rec, uint8_t point, uint32_t remaining_s,
                   bool promise, const struct overlay_from *asker, uint64_t request);
/* Tells the neighbours that a promise is over. */
void replica_release(struct dht *d, const struct id *key, const struct id *owner);
/* From now on no point is ours. */
void replica_leave(struct dht *d);

void replica_on_copy(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void replica_on_copied(struct dht *d, const struct overlay_from *from, uint64_t id,
                       struct reader *r);

#endif
