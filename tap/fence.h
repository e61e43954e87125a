/*
 * fence.h - nothing overtakes what a worker handed to the control thread: as long as a frame to an
 * address, or a packet from one, may still be on its way there, later ones take the same way,
 * though the worker could serve them itself by now. So the packets of a flow keep their order when
 * its peer becomes known.
 *
 * What the control thread took and dealt with is told by a position in the worker's ring
 * (upcall_settled). No more than FENCE_LATE_MAX go the long way after the short one is there: a
 * flow that the control thread cannot keep up with loses some instead, until it has.
 *
 * Addresses share slots; a flow is then held for the sake of another. One thread.
 */
#ifndef PEAL_TAP_FENCE_H
#define PEAL_TAP_FENCE_H

#include "overlay/core/addr.h"

#include <stddef.h>

enum { FENCE_SLOTS = 64, FENCE_LATE_MAX = 64 };

enum fence_side { FENCE_OUT, FENCE_IN };

enum fence_verdict {
    FENCE_OPEN, /* nothing is ahead */
    FENCE_HELD, /* takes the same way */
    FENCE_LATE  /* too many did: drop it */
};

/* All zeros: nothing was handed up. */
struct fence {
    bool used; /* since all was settled */
    size_t last;
    struct fence_slot {
        size_t position;
        unsigned late;
    } slots[2 * FENCE_SLOTS];
};

/* Handed up; the ring was written up to `position` then. */
void fence_note(struct fence *f, enum fence_side side, uint16_t network, const struct addr *addr,
                size_t position);
/* The short way is there for one more of that address. */
enum fence_verdict fence_ask(struct fence *f, enum fence_side side, uint16_t network,
                             const struct addr *addr, size_t settled);

#endif
