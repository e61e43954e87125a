/*
 * run.h - the commands: one world of a given size and given faults (run, claims), a swarm
 * (check), all small ones (small), every pair of NAT kinds (nat), somebody removed (removal), pairs
 * without a direct way (relay).
 */
#ifndef PEAL_SIM_RUN_H
#define PEAL_SIM_RUN_H

#include "tests/sim/options.h"

/* Each returns the exit status. */
int run_command(const struct options *o);
int check_command(const struct options *o);
int small_command(const struct options *o);
int nat_command(const struct options *o);
int removal_command(const struct options *o);
int relay_command(const struct options *o);

/* The kind of world that the options ask for. False: the latencies cannot be read; that was said.
 */
struct latency;
struct world_config;
bool run_config(const struct options *o, struct latency *latency, struct world_config *c);

#endif
