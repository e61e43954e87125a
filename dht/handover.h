/*
 * handover.h - giving away what is not ours to hold any more, and seeing that the five points of a
 * key do not lose it one by one.
 *
 * entry.pending says for which points we held it and do not any more, entry.check which other
 * points are to be offered it: the holder of point i looks after point i + 1, every
 * HANDOVER_CHECK_US. What goes to the same member is offered in one list; it says what it lacks, is
 * sent that, and acknowledges. Only then the bits are cleared, and an entry without points and
 * without pending bits is dropped. The member is a neighbour of ours when we know it, else whoever
 * is closest to the point. While rings become one an offer may end elsewhere, at a holder of
 * another point, so it says for which points it is: who holds the record, but not for these, does
 * not acknowledge.
 *
 * Bounds: HANDOVERS_MAX lists of HANDOVER_BATCH records at a time, one parcel of copies under way
 * in each. What was not acknowledged in HANDOVER_TRIES tries is tried again after
 * HANDOVER_AGAIN_US.
 */
#ifndef PEAL_DHT_HANDOVER_H
#define PEAL_DHT_HANDOVER_H

#include "dht/parcel.h"

enum { HANDOVERS_MAX = 4, HANDOVER_BATCH = 32, HANDOVER_TRIES = 3 };
#define HANDOVER_TRY_US MSEC(400)     /* at a neighbour; then doubled */
#define HANDOVER_ROUTED_TRY_US SEC(1) /* at who is some hops away: while a ring forms, many */
#define HANDOVER_AGAIN_US SEC(3)
#define HANDOVER_REFUSED_US SEC(30) /* and what was refused: a quota is full there */
#define HANDOVER_CHECK_US SEC(3600)

struct handover;
struct handovers {
    struct handover *v[HANDOVERS_MAX]; /* NULL: free */
    usec next_us;                      /* when to look for more; USEC_NEVER: nothing is pending */
    usec check_us;
};

void handover_init(struct dht *d);
void handover_clear(struct dht *d);
/* Marks what changed hands, to be given away after wait_us; called when the ring around us changed.
 */
void handover_ring_changed(struct dht *d, usec wait_us);
void handover_tick(struct dht *d);
usec handover_deadline(const struct dht *d);
bool handover_over(const struct dht *d); /* nothing is pending */

/* Both: false when the id is none of ours. */
bool handover_wanted(struct dht *d, const struct overlay_from *from, uint64_t id,
                     const uint64_t *versions, size_t n);
bool handover_copied(struct dht *d, uint64_t id, const uint8_t *verdicts, size_t n);

#endif
