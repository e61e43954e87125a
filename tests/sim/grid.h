/*
 * grid.h - the 81 ordered pairs of NAT boxes: every mapping by every filtering behaviour of RFC
 * 4787 on one side, by the same nine on the other, all in one world with a ring of public nodes.
 *
 * A pair that has no session begins one as traffic would; what follows is judged against theory.
 * Filter state belongs to the mapping, and nobody predicts ports: then a pair ends direct exactly
 * when, after both have probed, each can hear the other. That holds for 45 pairs of 81; the others
 * stay on the ring, and every one must be reachable. Where ports can be foretold, or are searched
 * for, more than 45 may end direct; the share is printed.
 *
 * Then things change while pings go: one host after the other awakes after GRID_SLEEP_S; one box
 * after the other restarts and knows nothing any more; one host after the other is in another
 * network with another address; then it is behind the very box that its peer is behind, and they
 * must talk over their LAN. Traffic must be back within 3 s, and direct within 15 s where it was.
 *
 * Times are counted from the traffic's first packet, in round trips of the ring path that carries
 * the signalling, and only for pairs that had nothing to do with each other before.
 */
#ifndef PEAL_SIM_GRID_H
#define PEAL_SIM_GRID_H

#include "tests/sim/nat.h"
#include "tests/sim/report.h"
#include "tests/sim/stats.h"

enum { GRID_KINDS = 9, GRID_PAIRS = GRID_KINDS * GRID_KINDS, GRID_SLEEP_S = 40 };

struct grid_options {
    uint64_t seed;
    double loss;
    enum nat_ports ports; /* of boxes whose mapping is not endpoint-independent */
    bool port_search;
    usec delay_us;
    enum log_level log_level;
    long log_host;
    bool verbose;
};

struct grid_pair {
    uint32_t seeds;   /* judged in so many */
    uint32_t direct;  /* of these it was direct in so many */
    uint32_t reached; /* and reachable */
};

struct grid_result {
    struct grid_pair pairs[GRID_PAIRS];
    struct stats first_rtts;        /* a data key at hand and the packet there, in round trips */
    struct stats direct_ms;         /* from the traffic's first packet */
    struct stats direct_rtts;       /* the same less 100 ms, in round trips */
    struct stats direct_session_ms; /* from the session */
    struct stats relay_ms; /* from the traffic's first packet to a relay that carries both ways */
    struct grid_change {
        struct stats traffic_s; /* from the change to the first round trip, by any path */
        struct stats direct_s;  /* to the first over a direct path, where there was one before */
    } sleep, reboot, move, home;
    uint64_t known; /* hosts that know how their box maps */
    uint64_t known_filtering, known_hairpin;
    struct report_sum sum;
    uint64_t violations;
    char violation[256]; /* the first */
};

/* What theory says of two kinds, 0 .. GRID_KINDS - 1. */
bool grid_expects_direct(int a, int b);
struct nat_kind grid_kind(int kind, enum nat_ports ports);
/* One world; adds to the result. */
void grid_run(const struct grid_options *o, struct grid_result *r);

#endif
