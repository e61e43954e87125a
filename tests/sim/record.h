/*
 * record.h - how a run went over time: a sample of the whole world every quarter of a second, for
 * pictures of a ring that forms, breaks and heals.
 */
#ifndef PEAL_SIM_RECORD_H
#define PEAL_SIM_RECORD_H

#include "tests/sim/world.h"

enum { RECORD_SAMPLES_MAX = 1 << 16 }; /* then no more are taken: four and a half hours */
#define RECORD_EVERY_US MSEC(250)

struct record_sample {
    usec at_us;
    uint32_t on, members, closed; /* hosts; closed: with right neighbours */
};

struct recorder {
    struct event event;
    struct record_sample *v;
    size_t count, size;
};

void recorder_start(struct recorder *r, struct world *w);
void recorder_clear(struct recorder *r);

#endif
