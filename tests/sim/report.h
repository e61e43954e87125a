/*
 * report.h - what a run has to say on stdout: figures for people, or one JSON object.
 */
#ifndef PEAL_SIM_REPORT_H
#define PEAL_SIM_REPORT_H

#include <jansson.h>

#include "tests/sim/leases.h"
#include "tests/sim/liveness.h"
#include "tests/sim/options.h"
#include "tests/sim/world.h"

/* What is left of a run for a picture of several. */
struct report_size {
    double nodes;
    double hops_mean, hops_p99, hops_max;
    double overlay_ms, direct_ms; /* means of round trips */
    double links, upkeep;         /* upkeep < 0: not measured */
    double node_bytes;
};

struct report {
    const struct options *options;
    struct world *world;
    double wall_s;
    double upkeep_bytes_per_s; /* per node; < 0: was not measured */
    struct traffic idle;       /* what was sent while it was measured */
    struct traffic forming;    /* and before that: from cold until all has settled */
    uint64_t forming_packets;  /* of these, delivered */
    double forming_core_s;
    double idle_s, idle_core_s; /* virtual; of the processor */
    usec faults_end_us;         /* 0: there were none */
    struct liveness liveness;
    struct stats join_ms;       /* of strangers into a settled ring */
    struct stats join_bound_ms; /* what latencies alone take of that */
    struct leases leases;       /* after a crash */
    struct stats claim_s;       /* from being a member to an address and a name */
    uint64_t claims_taken;      /* that had an owner: the next candidate was tried */
    uint64_t claims_again;      /* that others were claiming at the same time */
    size_t claims_apart;        /* taken twice when a partition ended */
    size_t memory_bytes;        /* of all nodes, records of others not counted */
    size_t record_bytes;        /* of all nodes */
    size_t measured;            /* nodes */
    struct stats size_error;    /* how far each node's estimate of the ring's size is off, in % */
    struct report_size size;    /* by report_sum_up */
};

/* Nothing measured yet. */
struct report report_of_world(const struct options *o);
/* Fills in what can be read off the world now: call before it is freed. */
void report_measure(struct report *r);
void report_print(struct report *r);
/* Fills in size. */
void report_sum_up(struct report *r);
void report_clear(struct report *r);
/* What every command's JSON object has, all that is measured null; then print it. */
json_t *report_json_begin(const struct options *o);
void report_json_end(json_t *j);
/* Of a world: all of a run's figures. */
json_t *report_json(struct report *r);
/* The command and, with a digest, what is repeatable: the first line of every text. */
void report_text_begin(const struct options *o, const char *digest);
/* What many small worlds come to: the digest does not depend on their order. */
struct report_sum {
    uint64_t worlds, events;
    double virtual_s;
    uint8_t digest[32];
};
void report_sum_add(struct report_sum *s, const struct world *w);
void report_sum_add_digest(struct report_sum *s, const char digest[65]);
void report_sum_digest(const struct report_sum *s, char out[65]);
void report_sum_json(json_t *j, const struct report_sum *s);
/* A series as it stands in every report; null when empty. */
json_t *report_stats(struct stats *s);

/* Wall clock and processor time, for progress and speed; the one place that reads them. */
double wall_seconds(void);
double core_seconds(void);
/* A progress line on a terminal. */
void report_progress(const struct world *w);
bool report_progress_due(void); /* for a line of another kind, to stderr, behind "\r\033[K" */
void report_progress_end(void);

#endif
