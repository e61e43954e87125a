#include "tests/sim/rush.h"

#include <stdio.h>
#include <string.h>

#include "dht/dht.h"
#include "overlay/core/err.h"

enum {
    BOOTSTRAPS = 8, /* so that every part of a partition knows somebody */
    SPARE = 4,      /* one address in so many is to spare */
    QUESTIONS = 100,
    REST_S = 10, /* from all up to the judge's questions */
};

void rush_config(const struct options *o, struct world_config *c)
{
    unsigned host_bits = 3;
    char range[NET_TEXT_SIZE];

    while ((UINT32_C(1) << host_bits) - 3 < c->nodes + c->nodes / SPARE)
        host_bits++;
    snprintf(range, sizeof(range), "10.0.0.0/%u", 32 - host_bits);
    CHECK(net_parse(&c->range, range));
    c->names = (c->nodes + RUSH_SHARED - 1) / RUSH_SHARED;
    if (o->partition)
        c->bootstraps = BOOTSTRAPS < c->nodes ? BOOTSTRAPS : c->nodes;
}

/* Every second host, and those known to all. */
static bool comes_first(const struct world *w, size_t i)
{
    return i < w->config.bootstraps || i % 2 == 0;
}

static void start_half(struct world *w, bool first, usec spread_us)
{
    struct random r = random_new(w->config.seed, RANDOM_START, first);

    for (size_t i = 0; i < w->host_count; i++)
        if (comes_first(w, i) == first)
            host_start_at(&w->hosts[i], w->now_us + random_below(&r, spread_us + 1), false);
}

static bool all_up(const struct world *w)
{
    return w->on == w->host_count && ring_check_is_closed(w) && world_everybody_up(w);
}

static void run_apart(struct world *w, const struct options *o)
{
    usec spread_us = (usec)(o->start_s * 1e6), at_us = (usec)(o->partition_at_s * 1e6);
    struct fault partition = {.kind = FAULT_PARTITION, .parts = o->parts};

    start_half(w, true, spread_us);
    world_run(w, at_us);
    fault_do(w, &partition);
    start_half(w, false, spread_us);
    world_run(w, at_us + (usec)(o->partition_for_s * 1e6));
}

static void run_together(struct world *w, const struct options *o)
{
    world_start_all(w, (usec)(o->start_s * 1e6), SEC(1));
    if (!world_run_until(w, (usec)(o->minutes * 60e6), all_up))
        return;
    w->all_up_us = w->now_us;
    world_run(w, w->now_us + SEC(REST_S));
}

static void count_host(struct report *r, const struct host *h)
{
    const char *name;
    uint64_t value;

    if (h->up_us > h->view.member_us)
        stats_add(&r->claim_s, (double)(h->up_us - h->view.member_us) / 1e6);
    for (size_t i = 0; dht_counter(node_dht(h->node), i, &name, &value); i++) {
        if (strcmp(name, "claims_taken") == 0)
            r->claims_taken += value;
        else if (strcmp(name, "claims_again") == 0)
            r->claims_again += value;
    }
}

void rush_run(struct report *r)
{
    struct world *w = r->world;

    r->upkeep_bytes_per_s = -1;
    if (r->options->partition)
        run_apart(w, r->options);
    else
        run_together(w, r->options);
    r->claims_apart = w->claims.doubled;
    if (r->options->partition)
        r->faults_end_us = w->now_us;
    liveness_end_faults(w);
    liveness_judge(w, &r->liveness, QUESTIONS, false);
    report_measure(r);
    for (size_t i = 0; i < w->host_count; i++)
        if (w->hosts[i].node != NULL)
            count_host(r, &w->hosts[i]);
}
