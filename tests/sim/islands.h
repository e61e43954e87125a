/*
 * islands.h - members that sessions join, directly or by way of others: during a partition each
 * island can become a ring and must, while two islands of one part cannot know of each other.
 */
#ifndef PEAL_SIM_ISLANDS_H
#define PEAL_SIM_ISLANDS_H

#include "tests/sim/host.h"

/* Islands now. Of all members: looks at each session. */
size_t islands_count(struct world *w);

#endif
