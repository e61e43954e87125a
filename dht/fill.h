/*
 * fill.h - being handed our range: each member that is new beside us is asked, page by page, for
 * what it holds of the range that we share with it.
 *
 * Until both sides have answered we are not filled, and neither grant nor deny. A neighbour that is
 * not filled itself is asked again for FILL_WAIT_US at most; a member that was filled before
 * takes its first answer. One page is under way per side, repeated until it comes.
 */
#ifndef PEAL_DHT_FILL_H
#define PEAL_DHT_FILL_H

#include "dht/parcel.h"

#define FILL_TRY_US MSEC(400)
#define FILL_WAIT_US SEC(5)

struct side {
    struct id peer;
    bool present, filled;
    uint64_t id;      /* of the page that was asked for */
    struct id lo, hi; /* the range we share with the peer; lo == hi: all */
    struct id after_key, after_owner;
    usec since_us, due_us;
};
struct fill {
    struct side left, right; /* in a ring of two only left */
    bool ever;               /* both sides were filled once */
};

void fill_ring_changed(struct dht *d);
void fill_tick(struct dht *d);
usec fill_deadline(const struct dht *d);
bool fill_done(const struct dht *d);

void fill_on_ask(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void fill_on_page(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);

/* The point half-way from a clockwise to b. */
struct id range_middle(const struct id *a, const struct id *b);

#endif
