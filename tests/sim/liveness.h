/*
 * liveness.h - the second phase of a run: faults end, and everything must converge in bounded time.
 *
 * Within LIVENESS_S: every host that is on is a member with ideal lists, up, and its claims are its
 * own alone. Then, while nothing is broken: every question is answered by the owner, every claim is
 * found by others, and after two repair periods all replicas of every record are there and equal.
 */
#ifndef PEAL_SIM_LIVENESS_H
#define PEAL_SIM_LIVENESS_H

#include "tests/sim/world.h"

enum { LIVENESS_S = 60, LIVENESS_REPLICAS_S = 150 };

struct liveness {
    double ideal_s, settled_s; /* from the end of the faults; < 0: not within bounds */
    size_t records;
};

/* Ends loss, cuts, partitions and churn; hosts that are off stay so. */
void liveness_end_faults(struct world *w);
/* Runs and judges; violations are the world's. `questions` of each kind are asked. */
void liveness_judge(struct world *w, struct liveness *l, size_t questions, bool replicas);
/* Its two halves. True: the ring came right in time, and what was claimed is settled. */
bool liveness_judge_ring(struct world *w, struct liveness *l);
void liveness_judge_answers(struct world *w, struct liveness *l, size_t questions, bool replicas);

#endif
