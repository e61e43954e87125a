/*
 * random.h - reproducible random numbers: one generator (xoshiro256**, Blackman and Vigna 2018) per
 * purpose, all split from the run's seed, so that one more draw in one place moves nothing
 * elsewhere.
 *
 * Not for keys of real machines: the simulator hands these bytes to nodes as their randomness.
 */
#ifndef PEAL_SIM_RANDOM_H
#define PEAL_SIM_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum random_purpose {
    RANDOM_SHAPE = 1, /* what a swarm seed chooses: sizes, faults */
    RANDOM_IDENTITY,  /* keys; index: the identity's number */
    RANDOM_NODE,      /* what a node draws; index: the host */
    RANDOM_CLOCK,     /* offsets of clocks */
    RANDOM_PLACE,     /* rows of the latency matrix */
    RANDOM_START,     /* when hosts start */
    RANDOM_LINK,      /* loss, jitter, duplicates */
    RANDOM_NAT,       /* ports that a NAT box picks */
    RANDOM_FAULT,     /* who crashes, leaves, comes back, and when */
    RANDOM_ASK,       /* lookups of the judge */
};

struct random {
    uint64_t s[4];
};

struct random random_new(uint64_t seed, enum random_purpose purpose, uint64_t index);
uint64_t random_u64(struct random *r);
uint64_t random_below(struct random *r, uint64_t below); /* below > 0; unbiased */
double random_unit(struct random *r);                    /* [0, 1) */
bool random_chance(struct random *r, double probability);
void random_bytes(struct random *r, void *out, size_t len);
/* Exponential with this mean: times between independent events. */
double random_exponential(struct random *r, double mean);

#endif
