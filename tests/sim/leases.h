/*
 * leases.h - many died at once: are the leases of those who live still found?
 *
 * Soon after the crash the address of everybody who lives is asked for by somebody else who does.
 * The answer must come, and be right, within DHT_ASK_US; "at first" is an answer to the first
 * question, which the DHT itself repeats for some seconds.
 */
#ifndef PEAL_SIM_LEASES_H
#define PEAL_SIM_LEASES_H

#include "tests/sim/world.h"

struct leases {
    struct event event;
    usec at_us; /* when it asks */
    uint64_t asked, at_first, right;
    struct stats ms;
};

/* Asks at that time; at most DHT_ASKS_MAX questions. */
void leases_plan(struct leases *l, struct world *w, usec at_us);
/* Runs until DHT_ASK_US after that, then takes the figures, and only those, from the world's. */
void leases_take(struct leases *l, struct world *w);
void leases_clear(struct leases *l);

#endif
