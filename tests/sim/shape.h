/*
 * shape.h - what one seed of the swarm is: how many hosts, how they start, which whole kinds of
 * faults are on, how bad, for how long. Mostly small rings: that is where order matters.
 */
#ifndef PEAL_SIM_SHAPE_H
#define PEAL_SIM_SHAPE_H

#include "tests/sim/liveness.h"

enum { SHAPE_FAULTS_MAX = 12, SHAPE_TEXT_SIZE = 512 };

struct shape {
    struct world_config config;
    usec start_spread_us;
    usec safety_us;
    struct internet_faults links;
    struct churn churn; /* mean_us 0: none */
    struct {
        usec at_us;
        struct fault fault;
    } faults[SHAPE_FAULTS_MAX];
    size_t fault_count;
    double return_share;        /* of those that are off when faults end: started again */
    char text[SHAPE_TEXT_SIZE]; /* all of it, for people */
};

/* nodes 0: it chooses. safety_us 0: the same. */
void shape_draw(struct shape *s, uint64_t seed, uint32_t nodes, usec safety_us);
/* Sets everything going in a new world. */
void shape_begin(const struct shape *s, struct world *w);
/* The end of the safety phase: faults end, some come back. */
void shape_end(const struct shape *s, struct world *w);

#endif
