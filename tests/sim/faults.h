/*
 * faults.h - what goes wrong, and when: crashes, hosts that leave and come back, partitions, cuts,
 * bad links. Each can be planned for a time, or goes on until it is stopped.
 */
#ifndef PEAL_SIM_FAULTS_H
#define PEAL_SIM_FAULTS_H

#include "tests/sim/internet.h"

enum fault_kind {
    FAULT_PARTITION, /* into `parts` */
    FAULT_REUNITE,   /* the partition ends */
    FAULT_HEAL,      /* partition, cuts, bad links: all end */
    FAULT_CRASH,     /* a share of those on, at once */
    FAULT_CUT,       /* `parts` random one-way cuts */
    FAULT_LINKS,     /* every link is as bad as `links` says */
    FAULT_RESTART,   /* everybody off starts again within spread_us */
};

struct fault {
    struct event event;
    enum fault_kind kind;
    unsigned parts;
    double share;
    usec spread_us;
    struct internet_faults links;
};

/* Hosts go and come, as long as it is on. */
struct churn {
    struct event event;
    usec mean_us;          /* between two that go; 0: off */
    usec away_us;          /* mean time until they are back */
    double leave_share;    /* of those that go: with a goodbye */
    double stranger_share; /* of those that come back: as somebody else */
    double keep_share;     /* of hosts are on at least */
};

enum { FAULTS_MAX = 64 };

struct faults {
    struct fault v[FAULTS_MAX];
    size_t count;
    struct churn churn;
    struct random random;
};

void faults_init(struct faults *f, struct random random);
/* Copied. */
void faults_plan(struct world *w, usec at_us, const struct fault *fault);
void faults_cancel(struct world *w);                           /* what is planned, and churn */
void faults_churn(struct world *w, const struct churn *churn); /* NULL: stop */
/* Now. */
void fault_do(struct world *w, const struct fault *fault);

#endif
