#include "daemon/node/flow.h"

#include "overlay/core/err.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    FLOWS_MAX = 65536
}; /* sessions are bounded below that by the overlay; then: no data with that peer */

void flows_init(struct flows *f, const struct env *env)
{
    table_init(&f->by_peer, offsetof(struct flow, peer), ID_LEN, FLOWS_MAX, env->hash_key);
    f->poll_us = USEC_NEVER;
}

static void flow_free(struct flow *flow)
{
    forward_flow_unref(flow->counters);
    free(flow);
}

void flows_clear(struct flows *f)
{
    struct flow *flow;

    for (size_t i = 0; (flow = table_next(&f->by_peer, &i)) != NULL;)
        flow_free(flow);
    table_clear(&f->by_peer);
    f->poll_us = USEC_NEVER;
}

struct flow *flows_get(const struct flows *f, const struct id *peer)
{
    return table_get(&f->by_peer, peer);
}

struct flow *flows_by_token(const struct flows *f, uint32_t token)
{
    struct flow *flow;

    for (size_t i = 0; (flow = table_next(&f->by_peer, &i)) != NULL;)
        if (flow->token == token)
            return flow;
    return NULL;
}

struct flow *flows_add(struct flows *f, const struct env *env, const struct overlay_data *data)
{
    struct flow *flow = flows_get(f, &data->peer);

    if (flow && flow->token == data->token)
        return flow;
    if (flow)
        flows_remove(f, &data->peer);
    flow = calloc(1, sizeof(*flow));
    if (!flow)
        return NULL;
    flow->peer = data->peer;
    flow->token = data->token;
    flow->counters = forward_flow_new(data->token);
    if (!flow->counters) {
        free(flow);
        return NULL;
    }
    if (table_put(&f->by_peer, flow) < 0) {
        flow_free(flow);
        return NULL;
    }
    if (f->poll_us == USEC_NEVER)
        f->poll_us = env->now_us + FLOW_POLL_US;
    return flow;
}

void flows_remove(struct flows *f, const struct id *peer)
{
    struct flow *flow = table_remove(&f->by_peer, peer);

    if (flow)
        flow_free(flow);
    if (f->by_peer.count == 0)
        f->poll_us = USEC_NEVER;
}

static void flow_tell(struct flow *flow, struct overlay *overlay)
{
    struct forward_flow *c = flow->counters;
    uint64_t tx = atomic_load_explicit(&c->tx_packets, memory_order_relaxed);
    uint64_t rx = atomic_load_explicit(&c->rx_packets, memory_order_relaxed);
    struct data_seen seen = {.tx_packets = tx};

    if (tx == flow->told_tx && rx == flow->told_rx)
        return;
    flow->told_tx = tx;
    flow->told_rx = rx;
    seen.tx_us = atomic_load_explicit(&c->last_tx_us, memory_order_relaxed);
    seen.rx_us = atomic_load_explicit(&c->last_rx_us, memory_order_relaxed);
    seen.back_us = atomic_load_explicit(&c->last_back_us, memory_order_relaxed);
    overlay_data_seen(overlay, flow->token, &seen);
}

void flows_tick(struct flows *f, const struct env *env, struct overlay *overlay)
{
    struct flow *flow;

    if (env->now_us < f->poll_us)
        return;
    f->poll_us = env->now_us + FLOW_POLL_US;
    for (size_t i = 0; (flow = table_next(&f->by_peer, &i)) != NULL;)
        flow_tell(flow, overlay);
}

void held_add(struct held *h, struct forward_flow *flow)
{
    if (h->count == HELD_MAX || atomic_load_explicit(&flow->held, memory_order_relaxed))
        return;
    if (!h->flows)
        h->flows = calloc(HELD_MAX, sizeof(struct forward_flow *));
    if (!h->flows)
        return;
    atomic_store_explicit(&flow->held, true, memory_order_relaxed); /* published with the table */
    h->flows[h->count++] = forward_flow_ref(flow);
}

void held_release(struct held *h)
{
    while (h->count > 0) {
        struct forward_flow *flow = h->flows[--h->count];

        atomic_store_explicit(&flow->held, false, memory_order_release);
        forward_flow_unref(flow);
    }
}

void held_clear(struct held *h)
{
    held_release(h);
    free(h->flows);
    h->flows = NULL;
}
