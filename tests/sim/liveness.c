#include "tests/sim/liveness.h"

#include <stdio.h>

void liveness_end_faults(struct world *w)
{
    faults_cancel(w);
    fault_do(w, &(struct fault){.kind = FAULT_HEAL});
    for (size_t i = 0; i < w->host_count; i++)
        agenda_set(&w->agenda, &w->hosts[i].start, USEC_NEVER);
}

static bool is_ideal(const struct world *w)
{
    if (!ring_check_is_ideal(w))
        return false;
    for (size_t i = 0; i < w->host_count; i++)
        if (w->hosts[i].state == HOST_LEAVING)
            return false;
    return true;
}

static bool is_settled(const struct world *w)
{
    return is_ideal(w) && world_everybody_up(w) && w->claims.doubled == 0;
}

static double since_s(const struct world *w, usec start_us)
{
    return (double)(w->now_us - start_us) / 1e6;
}

static void judge_up(struct world *w)
{
    struct node_status status;

    for (size_t i = 0; i < w->host_count; i++) {
        const struct host *h = &w->hosts[i];

        if (h->node == NULL || h->up)
            continue;
        node_status(h->node, &status);
        world_violated(w, "host %zu is %s %d s after the last fault: no %s%s%s", i,
                       node_state_text(status.state), LIVENESS_S,
                       status.ipv4.addr.family == 0 ? "address" : "name",
                       status.reason[0] ? ", " : "", status.reason);
    }
    if (w->claims.doubled > 0)
        world_violated(w, "%zu claims have two owners %d s after the last fault", w->claims.doubled,
                       LIVENESS_S);
}

bool liveness_judge_ring(struct world *w, struct liveness *l)
{
    usec start_us = w->now_us;

    *l = (struct liveness){.ideal_s = -1, .settled_s = -1};
    if (w->on == 0)
        return false;
    if (!world_run_until(w, start_us + SEC(LIVENESS_S), is_ideal)) {
        world_violated(w,
                       "%d s after the last fault %zu of %zu hosts are members, %zu have right "
                       "neighbours, %zu ideal lists, in %zu rings",
                       LIVENESS_S, w->ring.count, w->on, w->ring.closed, w->ring.ideal,
                       w->ring.rings);
        if (!w->config.silent)
            ring_check_explain(w, 8);
        return false;
    }
    l->ideal_s = since_s(w, start_us);
    if (world_run_until(w, start_us + SEC(LIVENESS_S), is_settled))
        l->settled_s = since_s(w, start_us);
    else
        judge_up(w);
    return l->settled_s >= 0;
}

static void ask_some(struct world *w, size_t questions)
{
    struct random r = random_new(w->config.seed, RANDOM_ASK, 2);

    w->calm = true;
    world_run(w, w->now_us + SEC(ASK_SESSIONS_S) + 1);
    for (size_t i = 0; i < questions; i++) {
        struct host *from = world_any(w, &r), *whose = world_any(w, &r);

        if (from == NULL)
            return;
        (void)ask_now(w, from, i % 2 == 0 ? whose : NULL);
        if (w->config.device)
            (void)dht_check_ask(w, from, whose, i % 4 < 2 ? CLAIM_ADDRESS : CLAIM_NAME, true);
        world_run(w, w->now_us + MSEC(50));
    }
    world_run(w, w->now_us + SEC(10));
    if (dht_check_pending(&w->dht) > 0)
        world_run(w, w->now_us + DHT_ASK_US);
    if (!ring_check_is_ideal(w)) {
        world_violated(w, "lists were ideal and are not any more, with nothing broken");
        if (!w->config.silent)
            ring_check_explain(w, 8);
    }
    w->calm = false;
}

static void judge_replicas(struct world *w, struct liveness *l)
{
    size_t bad;

    world_run(w, w->now_us + SEC(LIVENESS_REPLICAS_S));
    bad = dht_check_replicas(w, &l->records, w->config.silent ? 0 : 5);
    if (bad > 0)
        world_violated(w,
                       "%zu of %zu records lack replicas, or have old ones, after two repair "
                       "periods",
                       bad, l->records);
}

/* For what each of those had who have been off so long that it has expired. */
static void ask_for_outlived(struct world *w)
{
    struct random r = random_new(w->config.seed, RANDOM_ASK, 4);
    struct host *from = world_any(w, &r);

    for (size_t i = 0; i < w->host_count; i++)
        for (enum claim_kind kind = 0; kind < CLAIM_KINDS; kind++)
            dht_check_ask_outlived(w, from, &w->hosts[i], kind);
    if (dht_check_pending(&w->dht) > 0)
        world_run(w, w->now_us + SEC(10));
}

void liveness_judge(struct world *w, struct liveness *l, size_t questions, bool replicas)
{
    if (liveness_judge_ring(w, l) && !world_must_stop(w))
        liveness_judge_answers(w, l, questions, replicas);
}

void liveness_judge_answers(struct world *w, struct liveness *l, size_t questions, bool replicas)
{
    ask_some(w, questions);
    if (replicas && w->config.device && !world_must_stop(w))
        judge_replicas(w, l);
    if (replicas && w->config.device && !world_must_stop(w))
        ask_for_outlived(w);
    asks_look(w);
}
