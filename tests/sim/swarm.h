/*
 * swarm.h - many seeds: each draws its own world (shape.h), is judged all the way, and must
 * converge. Workers are processes, so that a seed that ends one by a broken CHECK is told, too.
 */
#ifndef PEAL_SIM_SWARM_H
#define PEAL_SIM_SWARM_H

#include "tests/sim/shape.h"

struct swarm_result {
    uint64_t seed;
    uint64_t violations, events;
    uint32_t nodes;
    double virtual_s, core_s;
    struct liveness liveness;
    double skip_s; /* the longest that a list passed over a live member */
    char violation[WORLD_VIOLATION_SIZE];
    char digest[65];
};

/* Runs one world here and now. */
void swarm_seed(const struct shape *shape, struct swarm_result *result);

#endif
