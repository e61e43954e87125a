/*
 * choose.h - which of several relays is the best: one small function that can be replaced
 * (overlay_config.relay_better).
 *
 * Knows what was measured and what the relay says of itself, and nothing else; keeps no state.
 */
#ifndef PEAL_OVERLAY_CHOOSE_H
#define PEAL_OVERLAY_CHOOSE_H

#include "overlay/core/env.h"

struct relay_choice {
    usec rtt_us;    /* measured: one end's round trip to it and the other's together */
    uint32_t age_s; /* of the younger of the two connections to it */
    uint8_t spare;  /* capacity, in 1/255; 0: it does not relay (now) */
};

/*
 * a before b, in a strict weak order: the lower sum of round trips, each made longer by half as
 * much as the relay is loaded; where they are the same to the millisecond, the longer connected.
 */
bool choose_better(const struct relay_choice *a, const struct relay_choice *b);

#endif
