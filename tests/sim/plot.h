/*
 * plot.h - the pictures of --plot: one run (the ring with its shortcuts, hops, latencies, how it
 * went over time), or the cost against the size of several runs.
 */
#ifndef PEAL_SIM_PLOT_H
#define PEAL_SIM_PLOT_H

#include "tests/sim/record.h"
#include "tests/sim/report.h"

/* Such a file can be written, or it was said why not: before a run of hours. */
bool plot_possible(const char *path);

/* One run, while its world is there. False: it was said why. */
bool plot_run(struct report *r, const struct recorder *history);

/* Ordered by size. */
bool plot_sizes(const struct options *o, const struct report_size *v, size_t count);

#endif
