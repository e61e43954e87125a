/*
 * world.h - one run: hosts, the Internet between them, virtual time, the judge, and what was
 * measured.
 *
 * Everything happens in events; between two events nothing changes. The digest is over every packet
 * that was delivered (when, to whom, from where, its bytes).
 */
#ifndef PEAL_SIM_WORLD_H
#define PEAL_SIM_WORLD_H

#include <sodium.h>

#include "overlay/core/table.h"
#include "tests/sim/ask.h"
#include "tests/sim/authority.h"
#include "tests/sim/check_dht.h"
#include "tests/sim/check_ring.h"
#include "tests/sim/faults.h"
#include "tests/sim/host.h"
#include "tests/sim/traffic.h"

enum {
    WORLD_VIOLATION_SIZE = 256,
    WORLD_VIOLATIONS_SHOWN = 10, /* printed; all are counted */
    WORLD_BOOTSTRAPS_MAX = 8,
    WORLD_LOOK_HOSTS = 100,
    WORLD_LOOK_SECONDS_MAX = 60,
    WORLD_WALL_START_S = 1800000000, /* Unix time when virtual time begins */
};

/* What kind of world; the same for every host. */
struct world_config {
    uint64_t seed;
    uint32_t nodes;
    const struct latency *latency; /* borrowed; NULL: delay_us everywhere */
    usec delay_us;
    bool device; /* nodes claim addresses and names; without: the overlay alone */
    uint32_t bootstraps;
    struct net range; /* of addresses */
    uint32_t names;   /* that hosts want; 0: each its own */
    uint32_t lease_s;
    int32_t clock_ppm_max;
    int64_t wall_skew_max_s;
    double families6; /* share of hosts that also have IPv6 */
    double apart;     /* share of pairs that cannot reach each other; bootstraps can */
    double boxed;     /* share of hosts behind NAT boxes, hosts_per_box together */
    struct nat_kind box;
    uint32_t hosts_per_box;
    bool port_search;
    bool certified; /* a group with a CA; else with a pre-exchanged key */
    enum log_level log_level;
    long log_host;      /* -1: every one */
    const char *follow; /* the first digits of a key: who holds its records; NULL */
    bool silent;        /* violations are counted and kept, not printed */
    bool stop_at_violation;
};

struct world {
    struct world_config config;
    usec now_us;
    struct agenda agenda;
    struct internet internet;
    struct host *hosts;
    size_t host_count;
    size_t on;          /* hosts not off */
    struct table by_id; /* hosts */
    struct id group;
    struct secret group_key;
    struct sim_authority authority; /* of a certified group */
    struct seal_worker *seal;       /* one thread, one worker */
    struct faults faults;
    uint32_t identities; /* made so far */
    struct ring_check ring;
    struct claims claims;
    struct asks asks;
    struct dht_check dht;
    struct event second; /* the full check */
    usec fault_us;       /* something that hurts happened last */
    usec ways_us;        /* who reaches whom changed last, by a partition, a cut or their end */
    bool faults_on;      /* loss, cuts or a partition are in force */
    unsigned parts;      /* of the partition; 0: there is none */
    bool calm;           /* the liveness phase is over: every answer must be right */
    uint64_t events, delivered;
    struct traffic traffic; /* of all hosts */
    crypto_generichash_state digest;
    uint64_t violations;
    char violation[WORLD_VIOLATION_SIZE];    /* the first */
    usec all_up_us;                          /* when everybody was up first; 0: not yet */
    size_t account_peak;                     /* the most that one node ever held */
    void (*progress)(const struct world *w); /* every virtual second; may be NULL */
    void (*watch)(void *ctx);                /* after every event; may be NULL */
    void *watch_ctx;
};

/* Nobody is on yet. */
struct world *world_new(const struct world_config *config);
void world_free(struct world *w);
/* Runs until nothing is due before until_us, then the clock stands there. */
void world_run(struct world *w, usec until_us);
/* The same, until done(w) says so after some event. True: it did. */
bool world_run_until(struct world *w, usec until_us, bool (*done)(const struct world *w));
void world_violated(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool world_must_stop(const struct world *w); /* at the first violation, if so configured */
void world_hurt(struct world *w);            /* a fault happens now */
void world_digest(const struct world *w, char out[65]);
struct host *world_host(const struct world *w, const struct id *id); /* NULL: nobody's */
/* Some host that is on, but not leaving; NULL: none. */
struct host *world_any(struct world *w, struct random *r);
/* The endpoints to start from. */
size_t world_bootstraps(const struct world *w, struct endpoint out[WORLD_BOOTSTRAPS_MAX]);
/* Starts those that are off, spread evenly over spread_us from now; the bootstraps over known_us,
 * when that is less: where they come late, everybody begins a ring of its own first. */
void world_start_all(struct world *w, usec spread_us, usec known_us);
/* How often the judge looks at what it must walk through all hosts for: every second up to
 * WORLD_LOOK_HOSTS, in larger worlds as much rarer as they are larger, at most every minute. */
unsigned world_look_seconds(const struct world *w);
/* Of those that are on, everybody is up. */
bool world_everybody_up(const struct world *w);

#endif
