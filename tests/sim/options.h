/*
 * options.h - peal-sim's command line.
 */
#ifndef PEAL_SIM_OPTIONS_H
#define PEAL_SIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "overlay/core/env.h"
#include "tests/sim/internet.h"

enum command {
    COMMAND_RUN,
    COMMAND_CHECK,
    COMMAND_SMALL,
    COMMAND_NAT,
    COMMAND_CLAIMS,
    COMMAND_REMOVAL,
    COMMAND_RELAY,
};

enum { OPTIONS_SIZES_MAX = 16 }; /* runs of one command */

enum { EXIT_VIOLATED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 /* 128 and SIGINT */ };

struct options {
    enum command command;
    uint64_t seed;
    uint64_t seeds_first, seeds_last; /* check, nat */
    uint32_t nodes;                   /* 0: not said */
    double minutes;                   /* 0: not said */
    const char *latency;              /* path; NULL: constant */
    double delay_ms, jitter_ms;
    double loss, duplicate, late; /* shares of all packets */
    double late_ms;
    double apart;         /* share of pairs without a direct way */
    enum nat_ports ports; /* nat: how the boxes choose them */
    bool port_search;     /* nat */
    double churn;         /* a minute */
    bool partition;
    double partition_at_s, partition_for_s;
    unsigned parts;
    unsigned cuts;
    double cut_at_s;
    bool crash;
    double crash_at_s, crash_share;
    uint32_t joins;
    bool restart; /* a storm: everybody dies at once and starts again */
    double restart_at_s, restart_within_s;
    uint32_t drift_ppm, skew_s;
    uint32_t sizes[OPTIONS_SIZES_MAX];
    size_t size_count; /* 0: one run of `nodes` */
    const char *plot;  /* path; NULL: no picture */
    double start_s;    /* hosts start within; negative: not said */
    uint32_t bootstraps;
    bool device;
    bool null_crypto;
    bool certified; /* members have certificates; else a pre-exchanged key */
    bool json;
    bool verbose;    /* check: a line for each seed */
    bool keep_going; /* check: past the first violation */
    unsigned jobs;
    enum log_level log_level;
    long log_host;
    const char *follow;
    const char *sequence; /* small */
    bool sites;           /* memory by allocation site */
    int argc;
    char **argv;
    int word; /* which of argv is the command: getopt has moved it behind the options */
};

/* False: *status is the exit status, everything was said. */
bool options_read(struct options *o, int argc, char **argv, int *status);
/* So many nodes; and the times that were not said, which depend on that. */
void options_take_size(struct options *o, uint32_t nodes);
/* Packets are lost, late or come twice. */
bool options_bad_links(const struct options *o);
/* When the last planned fault ends and everybody has started; bad links, cuts and churn last as
 * long as --minutes. */
double options_faults_end_s(const struct options *o);
/* The command has this option. */
bool options_take(const struct options *o, const char *name);
/* The command line again, without --json: what repeats a run. */
void options_print(const struct options *o, char *out, size_t size);

#endif
