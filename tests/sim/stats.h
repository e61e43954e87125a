/*
 * stats.h - a series of measured values and what is said about it.
 */
#ifndef PEAL_SIM_STATS_H
#define PEAL_SIM_STATS_H

#include <stdbool.h>
#include <stddef.h>

struct stats {
    double *v;
    size_t count, size;
    bool sorted;
};

void stats_add(struct stats *s, double value);
void stats_clear(struct stats *s);
double stats_mean(const struct stats *s);                 /* 0 when empty */
double stats_within(const struct stats *s, double value); /* the share of them; 0 when empty */
/* The value that `share` of the values do not exceed. Sorts. */
double stats_quantile(struct stats *s, double share);

#endif
