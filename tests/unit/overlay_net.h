/*
 * overlay_net.h - some overlays in one process, on a wire with a constant delay, loss and cuts, in
 * virtual time: for unit tests of overlay/. The same seed gives the same run.
 */
#ifndef PEAL_TESTS_OVERLAY_NET_H
#define PEAL_TESTS_OVERLAY_NET_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"
#include "overlay/overlay.h"
#include "overlay/stun.h"
#include "tests/unit/cm.h"

enum { NET_NODES_MAX = 1024, NET_BODY_MAX = 64, NET_PARTS_MAX = 8 };

struct net_node;

struct net_packet {
    usec at_us;
    uint64_t seq;
    uint32_t to;
    struct endpoint from;
    uint32_t conn; /* TCP: the receiver's connection; its opening when len is 0 */
    size_t len;
    uint8_t bytes[];
};

struct net_node {
    struct overlay_net *net;
    struct overlay *o;
    struct env env;
    struct overlay_config config;
    struct endpoint ep;
    unsigned number, part;
    unsigned deaf_to;    /* number + 1 of a node whose packets never arrive; 0: none */
    bool udp_blocked;    /* both ways */
    bool alive, touched; /* called from outside: its deadline is to be asked again */
    usec due_us;
    size_t place; /* in net.ticks */
    /* what the host was told */
    unsigned messages, ring_changes, ups, downs;
    struct overlay_from last_from;
    uint8_t last[NET_BODY_MAX];
    size_t last_len;
    usec data_us;                      /* data arrived last, */
    struct id data_via;                /* by this relay; zero: none */
    uint64_t sent_packets, sent_bytes; /* IP and UDP headers included */
};

struct overlay_net {
    usec now_us, delay_us;
    usec (*delay_of)(unsigned from, unsigned to); /* NULL: delay_us */
    const struct overlay_host *callbacks;         /* of nodes that start from now on */
    unsigned loss_percent;
    /* Sees every packet that leaves; false drops it. */
    bool (*hook)(struct overlay_net *net, unsigned from, unsigned to, uint8_t *pkt, size_t len);
    uint64_t random, seq, delivered;
    size_t count;
    struct net_node *nodes[NET_NODES_MAX];
    struct net_packet **queue; /* binary heap by (at_us, seq) */
    size_t queued, queue_size;
    struct net_node *ticks[NET_NODES_MAX]; /* binary heap by (due_us, number) */
    struct net_node *touched[NET_NODES_MAX];
    size_t touched_count;
};

static inline uint64_t net_random(struct overlay_net *net)
{
    uint64_t z = (net->random += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void net_fill(void *host, void *buf, size_t len)
{
    uint8_t *p = buf;

    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)net_random(host);
}

static inline void net_log(void *host, enum log_level level, const char *line)
{
}

static inline bool packet_before(const struct net_packet *a, const struct net_packet *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static inline void net_push(struct overlay_net *net, struct net_packet *p)
{
    size_t i = net->queued++;

    if (net->queued > net->queue_size) {
        net->queue_size = 2 * net->queued;
        net->queue = realloc(net->queue, net->queue_size * sizeof *net->queue);
    }
    for (; i > 0 && packet_before(p, net->queue[(i - 1) / 2]); i = (i - 1) / 2)
        net->queue[i] = net->queue[(i - 1) / 2];
    net->queue[i] = p;
}

static inline struct net_packet *net_pop(struct overlay_net *net)
{
    struct net_packet *top = net->queue[0], *last = net->queue[--net->queued];
    size_t i = 0;

    for (size_t child; (child = 2 * i + 1) < net->queued; i = child) {
        if (child + 1 < net->queued && packet_before(net->queue[child + 1], net->queue[child]))
            child++;
        if (!packet_before(net->queue[child], last))
            break;
        net->queue[i] = net->queue[child];
    }
    net->queue[i] = last;
    return top;
}

static inline struct endpoint net_endpoint(unsigned number)
{
    return (struct endpoint){.addr = addr_v4(0x0a000001u + number), .port = 4747};
}

static inline void net_send(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    struct net_node *n = ctx;
    struct overlay_net *net = n->net;
    uint32_t number = addr_to_v4(&to->addr) - 0x0a000001u;
    struct net_packet *p;

    n->sent_packets++;
    n->sent_bytes += len + 28;
    if (number >= net->count || net_random(net) % 100 < net->loss_percent)
        return;
    if (net->nodes[number]->part != n->part || net->nodes[number]->deaf_to == n->number + 1)
        return;
    if (n->udp_blocked || net->nodes[number]->udp_blocked)
        return;
    p = malloc(sizeof *p + len);
    *p = (struct net_packet){
        .at_us = net->now_us + net->delay_us, .seq = net->seq++, .to = number, .len = len};
    if (net->delay_of != NULL)
        p->at_us = net->now_us + net->delay_of(n->number, number);
    p->from = n->ep;
    memcpy(p->bytes, pkt, len);
    if (net->hook != NULL && !net->hook(net, n->number, number, p->bytes, len))
        free(p);
    else
        net_push(net, p);
}

static inline void net_message(void *ctx, const struct overlay_from *from, uint8_t proto,
                               const uint8_t *body, size_t len)
{
    struct net_node *n = ctx;

    n->messages++;
    n->last_from = *from;
    n->last_len = len < NET_BODY_MAX ? len : NET_BODY_MAX;
    memcpy(n->last, body, n->last_len);
}

static inline void net_data(void *ctx, const struct data_way *way, uint8_t *pkt, size_t len)
{
    struct net_node *n = ctx;

    n->messages++;
    n->data_us = n->net->now_us;
    n->data_via = way->relay != NULL ? *way->relay : (struct id){{0}};
    n->last_len = len < NET_BODY_MAX ? len : NET_BODY_MAX;
    memcpy(n->last, pkt, n->last_len);
}

static inline void net_up(void *ctx, const struct id *peer)
{
    ((struct net_node *)ctx)->ups++;
}

static inline void net_down(void *ctx, const struct id *peer)
{
    ((struct net_node *)ctx)->downs++;
}

static inline void net_peer_ignored(void *ctx, const struct id *peer)
{
}

static inline void net_ring_changed(void *ctx)
{
    ((struct net_node *)ctx)->ring_changes++;
}

static inline void net_legs_changed(void *ctx)
{
}

static const struct overlay_host net_callbacks = {
    .send = net_send,
    .message = net_message,
    .data = net_data,
    .peer_up = net_up,
    .peer_down = net_down,
    .data_changed = net_peer_ignored,
    .ring_changed = net_ring_changed,
    .legs_changed = net_legs_changed,
};

static inline struct overlay_net *net_new(uint64_t seed, usec delay_us)
{
    struct overlay_net *net = calloc(1, sizeof *net);

    CHECK(crypto_start() == 0);
    net->random = seed;
    net->callbacks = &net_callbacks;
    net->delay_us = delay_us;
    net->now_us = SEC(1000);
    return net;
}

static inline bool tick_before(const struct net_node *a, const struct net_node *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

static inline void net_place(struct overlay_net *net, struct net_node *n, size_t i)
{
    net->ticks[i] = n;
    n->place = i;
}

/* Puts the node where its deadline belongs. */
static inline void net_reschedule(struct net_node *n)
{
    struct overlay_net *net = n->net;
    size_t i = n->place;

    n->due_us = n->alive ? overlay_deadline(n->o) : USEC_NEVER;
    for (; i > 0 && tick_before(n, net->ticks[(i - 1) / 2]); i = (i - 1) / 2)
        net_place(net, net->ticks[(i - 1) / 2], i);
    for (size_t child; (child = 2 * i + 1) < net->count; i = child) {
        if (child + 1 < net->count && tick_before(net->ticks[child + 1], net->ticks[child]))
            child++;
        if (!tick_before(net->ticks[child], n))
            break;
        net_place(net, net->ticks[child], i);
    }
    net_place(net, n, i);
}

static inline void net_touch(struct net_node *n)
{
    if (!n->touched)
        n->net->touched[n->net->touched_count++] = n;
    n->touched = true;
}

static inline void net_kill(struct net_node *n)
{
    overlay_free(n->o);
    n->o = NULL;
    n->alive = false;
    net_touch(n);
}

static inline void net_free(struct overlay_net *net)
{
    for (size_t i = 0; i < net->count; i++) {
        net_kill(net->nodes[i]);
        free(net->nodes[i]);
    }
    for (size_t i = 0; i < net->queued; i++)
        free(net->queue[i]);
    free(net->queue);
    free(net);
}

/* A node with its identity, switched off. */
static inline struct net_node *net_add(struct overlay_net *net)
{
    struct net_node *n = calloc(1, sizeof *n);
    struct secret seed;

    CHECK(net->count < NET_NODES_MAX);
    n->net = net;
    n->number = (unsigned)net->count;
    n->ep = net_endpoint(n->number);
    n->env =
        (struct env){.level = LOG_LEVEL_ERROR, .host = net, .random = net_fill, .log = net_log};
    net_fill(net, seed.b, sizeof seed.b);
    sign_keys(&n->config.pub, &n->config.sec, &seed);
    n->config.node = node_id_self(&n->config.pub);
    memset(n->config.overlay.b, 7, ID_LEN);
    memset(n->config.group_key.b, 9, sizeof n->config.group_key.b);
    n->config.psk = true;
    n->config.slot = 1;
    n->config.aeads = 1u << SEAL_CHACHA20_POLY1305;
    n->due_us = USEC_NEVER;
    net_place(net, n, net->count);
    net->nodes[net->count++] = n;
    return n;
}

/* Switches it on; contacts: numbers of nodes to start from. */
static inline void net_start(struct net_node *n, const unsigned *bootstraps, size_t count)
{
    n->env.now_us = n->net->now_us;
    n->o = overlay_new(&n->config, &n->env, n->net->callbacks, n);
    CHECK(n->o != NULL);
    n->alive = true;
    for (size_t i = 0; i < count; i++) {
        struct endpoint ep = net_endpoint(bootstraps[i]);

        assert_int_equal(overlay_add_bootstrap(n->o, &ep), 0);
    }
    overlay_set_endpoints(n->o, &n->ep, 1);
    net_touch(n);
}

static inline struct net_node *net_start_new(struct overlay_net *net)
{
    struct net_node *n = net_add(net);
    unsigned first = 0;

    net_start(n, &first, 1);
    return n;
}

/* Set the time before calling into a node from outside. */
static inline struct overlay *net_enter(struct net_node *n)
{
    n->env.now_us = n->net->now_us;
    net_touch(n);
    return n->o;
}

static inline struct net_node *net_next_tick(struct overlay_net *net, usec *at_us)
{
    while (net->touched_count > 0) {
        struct net_node *n = net->touched[--net->touched_count];

        n->touched = false;
        net_reschedule(n);
    }
    *at_us = net->count > 0 ? net->ticks[0]->due_us : USEC_NEVER;
    return *at_us != USEC_NEVER ? net->ticks[0] : NULL;
}

static inline void net_stun(struct net_node *n, const struct net_packet *p)
{
    struct stun_message m;

    if (stun_read(&m, p->bytes, p->len) && m.type == STUN_BINDING_INDICATION)
        overlay_indication(n->o, &p->from, &m.id);
}

static inline void net_deliver(struct overlay_net *net, struct net_packet *p)
{
    struct net_node *n = net->nodes[p->to];

    if (n->alive) {
        net->delivered++;
        n->env.now_us = net->now_us;
        if (p->conn == 0 && p->bytes[0] <= STUN_FIRST_BYTE_MAX)
            net_stun(n, p);
        else if (p->conn == 0)
            (void)overlay_input(n->o, &p->from, p->bytes, p->len);
        else if (p->len > 0)
            (void)overlay_tcp_input(n->o, p->conn, &p->from, p->bytes, p->len);
        else
            overlay_tcp_opened(n->o, p->conn);
        net_reschedule(n);
    }
    free(p);
}

/* One event. False: none before until_us. */
static inline bool net_step(struct overlay_net *net, usec until_us)
{
    usec tick_us;
    struct net_node *n = net_next_tick(net, &tick_us);
    bool packet = net->queued > 0 && net->queue[0]->at_us <= tick_us;
    usec at_us = packet ? net->queue[0]->at_us : tick_us;

    if (at_us > until_us)
        return false;
    if (at_us > net->now_us)
        net->now_us = at_us;
    if (packet) {
        net_deliver(net, net_pop(net));
    } else {
        n->env.now_us = net->now_us;
        overlay_tick(n->o);
        net_reschedule(n);
    }
    return true;
}

static inline void net_run(struct overlay_net *net, usec for_us)
{
    usec until_us = net->now_us + for_us;

    while (net_step(net, until_us))
        ;
    net->now_us = until_us;
}

/* The lists that every living member should have. */

static inline int net_by_id(const void *a, const void *b)
{
    return id_cmp(&(*(struct net_node *const *)a)->config.node,
                  &(*(struct net_node *const *)b)->config.node);
}

static inline size_t net_alive_sorted(const struct overlay_net *net, unsigned part,
                                      struct net_node **out)
{
    size_t n = 0;

    for (size_t i = 0; i < net->count; i++)
        if (net->nodes[i]->alive && net->nodes[i]->part == part)
            out[n++] = net->nodes[i];
    qsort(out, n, sizeof *out, net_by_id);
    return n;
}

static inline bool net_lists_right(struct net_node **all, size_t n, size_t i)
{
    struct id right[OVERLAY_NEAR], left[OVERLAY_NEAR];
    size_t expected = n - 1 < OVERLAY_NEAR ? n - 1 : OVERLAY_NEAR;
    const struct overlay *o = all[i]->o;

    if (overlay_state(o) != OVERLAY_MEMBER || overlay_near_right(o, right) != expected ||
        overlay_near_left(o, left) != expected)
        return false;
    for (size_t k = 0; k < expected; k++)
        if (!id_eq(&right[k], &all[(i + k + 1) % n]->config.node) ||
            !id_eq(&left[k], &all[(i + n - k - 1) % n]->config.node))
            return false;
    return true;
}

/* Every part of the net is one ring of all its living nodes. Says who is wrong when `say`. */
static inline bool net_ideal(const struct overlay_net *net, bool say)
{
    struct net_node *all[NET_NODES_MAX];
    size_t wrong = 0;

    for (unsigned part = 0; part < NET_PARTS_MAX; part++) {
        size_t n = net_alive_sorted(net, part, all);

        for (size_t i = 0; i < n; i++) {
            char text[ID_SHORT_SIZE];

            if (net_lists_right(all, n, i))
                continue;
            wrong++;
            if (say)
                fprintf(stderr, "node %u %s (state %d, %zu connections) has wrong lists\n",
                        all[i]->number, id_short(&all[i]->config.node, text),
                        overlay_state(all[i]->o), overlay_connections(all[i]->o));
        }
    }
    return wrong == 0;
}

/* Runs until the ring is ideal, and returns how long that took. */
static inline usec net_settle(struct overlay_net *net, usec at_most_us)
{
    usec from_us = net->now_us;

    while (!net_ideal(net, false)) {
        if (net->now_us >= from_us + at_most_us) {
            (void)net_ideal(net, true);
            fail_msg("no ideal ring within %.1f s", (double)at_most_us / 1e6);
        }
        net_run(net, MSEC(10));
    }
    return net->now_us - from_us;
}

static inline struct net_node *net_owner(const struct overlay_net *net, const struct id *key)
{
    struct net_node *best = NULL;

    for (size_t i = 0; i < net->count; i++) {
        struct net_node *n = net->nodes[i];

        if (n->alive && (best == NULL || id_closer(key, &n->config.node, &best->config.node)))
            best = n;
    }
    return best;
}

#endif
