/*
 * latency.h - a measured matrix of round-trip times, read from text (one row a line, milliseconds,
 * plain or gzip).
 */
#ifndef PEAL_SIM_LATENCY_H
#define PEAL_SIM_LATENCY_H

#include "overlay/core/env.h"

enum { LATENCY_ROWS_MAX = 4096 };

struct latency {
    uint32_t rows;
    uint32_t *half_us; /* rows * rows: one way */
};

/* False: *why says what is wrong, static text; line is the one, from 1 (0: the file itself). */
bool latency_read(struct latency *l, const char *path, const char **why, unsigned *line);
void latency_clear(struct latency *l);
/* Two hosts of one row are in one rack. */
usec latency_one_way(const struct latency *l, uint32_t from, uint32_t to);

#endif
