/*
 * rush.h - everybody takes addresses and names at once: the range is little larger than the group,
 * and RUSH_SHARED hosts each want the same name.
 *
 * With a partition half of the hosts (the known ones among them) are there before it, the others
 * come while the parts know nothing of each other, and much is taken twice. After it every doubly
 * taken address and name has one owner within CLAIMS_SETTLE_US, and who lost it knows.
 */
#ifndef PEAL_SIM_RUSH_H
#define PEAL_SIM_RUSH_H

#include "tests/sim/report.h"

enum { RUSH_SHARED = 4 };

/* What is different about this world. */
void rush_config(const struct options *o, struct world_config *c);
void rush_run(struct report *r);

#endif
