/*
 * session_world.h - some `sessions` objects joined by a wire in memory: virtual time, delay, jitter
 * (so packets overtake each other), loss, and a hook that sees every packet. Nothing sleeps.
 */
#ifndef PEAL_TESTS_SESSION_WORLD_H
#define PEAL_TESTS_SESSION_WORLD_H

#include "overlay/msg.h"
#include "overlay/session.h"

#include <stdlib.h>
#include <string.h>

enum { WORLD_NODES_MAX = 8, WORLD_PACKETS_MAX = 8192, WORLD_PACKET_SIZE = 1600 };

struct world;

struct world_node {
    struct world *world;
    struct env env;
    struct sessions_config config;
    struct sessions *ss;
    struct endpoint ep;
    bool dead, probe_none;
    unsigned ups, downs, messages, data_changes, observed;
    enum session_end last_down;
    char refusal[96];
    uint8_t last_type;
    uint8_t last_body[MESSAGE_MAX];
    size_t last_len;
    size_t rides; /* bytes of a message that rides in every packet; 0: none */
    struct endpoint observed_as;
    uint64_t sent_packets, sent_bytes; /* on the wire, without IP and UDP headers */
    uint64_t data_sent, data_got, data_refused;
    usec data_tx_us, data_rx_us;
};

struct world_packet {
    usec at_us;
    uint64_t seq;
    struct path_addr from, to;
    size_t len;
    uint8_t bytes[WORLD_PACKET_SIZE];
};

struct world {
    usec now_us;
    uint64_t random, seq;
    usec delay_us, jitter_us;
    unsigned loss_percent;
    bool ring;    /* PATH_RING delivers */
    bool udp_cut; /* PATH_UDP does not */
    struct world_node nodes[WORLD_NODES_MAX];
    size_t count;
    struct world_packet *packets;
    size_t packet_count, packet_size;
    struct seal_worker *worker;
    /* Sees each packet when it is sent; false drops it. */
    bool (*hook)(struct world *w, struct world_node *from, const struct path_addr *to, uint8_t *pkt,
                 size_t *len);
    void *hook_arg;
};

static inline uint64_t world_random(struct world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

static inline void world_env_random(void *host, void *buf, size_t len)
{
    struct world_node *n = host;
    uint8_t *p = buf;

    while (len-- > 0)
        *p++ = (uint8_t)(world_random(n->world) >> 24);
}

static inline void world_env_log(void *host, enum log_level level, const char *line)
{
    if (getenv("PEAL_TEST_LOG") != NULL) {
        struct world_node *n = host;

        fprintf(stderr, "%10.6f node %d: %s\n", (double)n->world->now_us / 1e6,
                (int)(n - n->world->nodes), line);
    }
}

static inline struct world_packet *world_put(struct world *w, const struct path_addr *from,
                                             const struct path_addr *to, const uint8_t *pkt,
                                             size_t len)
{
    CHECK(w->packet_count < WORLD_PACKETS_MAX && len <= WORLD_PACKET_SIZE);
    if (w->packet_count == w->packet_size) {
        w->packet_size = w->packet_size == 0 ? 16 : 2 * w->packet_size;
        w->packets = realloc(w->packets, w->packet_size * sizeof(*w->packets));
        CHECK(w->packets != NULL);
    }
    struct world_packet *p = &w->packets[w->packet_count++];

    p->at_us = w->now_us + w->delay_us + (w->jitter_us > 0 ? world_random(w) % w->jitter_us : 0);
    p->seq = w->seq++;
    p->from = *from;
    p->to = *to;
    p->len = len;
    memcpy(p->bytes, pkt, len);
    return p;
}

static inline struct path_addr world_path(const struct world_node *n)
{
    return (struct path_addr){.kind = PATH_UDP, .ep = n->ep};
}

static inline struct path_addr world_ring_path(const struct world_node *n)
{
    return (struct path_addr){.kind = PATH_RING, .peer = n->config.node};
}

static inline void world_send(void *ctx, const struct path_addr *to, const uint8_t *pkt, size_t len)
{
    struct world_node *n = ctx;
    struct world *w = n->world;
    struct path_addr from = to->kind == PATH_UDP ? world_path(n) : world_ring_path(n);
    uint8_t copy[WORLD_PACKET_SIZE];

    n->sent_packets++;
    n->sent_bytes += len;
    memcpy(copy, pkt, len);
    if (w->hook != NULL && !w->hook(w, n, to, copy, &len))
        return;
    if (world_random(w) % 100 < w->loss_percent)
        return;
    if (to->kind == PATH_RING ? w->ring : !w->udp_cut)
        world_put(w, &from, to, copy, len);
}

static inline void world_up(void *ctx, struct session *s)
{
    struct world_node *n = ctx;

    n->ups++;
    session_set_hold(s, true);
    if (!n->probe_none)
        session_set_probe(s, SEC(10));
}

static inline void world_down(void *ctx, struct session *s, enum session_end why)
{
    struct world_node *n = ctx;

    n->downs++;
    n->last_down = why;
    snprintf(n->refusal, sizeof(n->refusal), "%s", session_refusal(s));
}

static inline void world_message(void *ctx, struct session *s, uint8_t type, const uint8_t *body,
                                 size_t len)
{
    struct world_node *n = ctx;

    n->messages++;
    n->last_type = type;
    n->last_len = len;
    if (len > 0)
        memcpy(n->last_body, body, len);
}

static inline void world_data_changed(void *ctx, struct session *s)
{
    ((struct world_node *)ctx)->data_changes++;
}

static inline void world_observed(void *ctx, struct session *s, const struct endpoint *us)
{
    ((struct world_node *)ctx)->observed++;
    ((struct world_node *)ctx)->observed_as = *us;
}

static inline size_t world_ride(void *ctx, struct session *s, uint8_t *type,
                                uint8_t body[SESSION_RIDE_MAX])
{
    struct world_node *n = ctx;

    *type = MSG_MEMBERS;
    memset(body, 0x33, n->rides);
    return n->rides;
}

static const struct sessions_host world_host = {
    .send = world_send,
    .up = world_up,
    .down = world_down,
    .message = world_message,
    .data_changed = world_data_changed,
    .observed = world_observed,
    .ride = world_ride,
};

static inline struct world *world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));

    CHECK(w != NULL && crypto_start() == 0);
    w->worker = seal_worker_new();
    CHECK(w->worker != NULL);
    w->random = seed * 0x9e3779b97f4a7c15u + 1;
    w->now_us = SEC(1000);
    w->delay_us = MSEC(10);
    return w;
}

static inline struct endpoint world_ep(unsigned host, uint16_t port)
{
    return (struct endpoint){addr_v4(0xc0000200u + host), port}; /* 192.0.2.0/24 */
}

/* (Re)starts a node's sessions object, as a killed daemon would come back. */
static inline void world_start(struct world_node *n)
{
    sessions_free(n->ss);
    n->env.now_us = n->world->now_us;
    n->ss = sessions_new(&n->config, &n->env, &world_host, n);
    CHECK(n->ss != NULL);
    sessions_set_endpoints(n->ss, &n->ep, 1);
    n->dead = false;
}

/* A node without certificate; its config may be changed before world_start. */
static inline struct world_node *world_add(struct world *w, uint8_t key)
{
    CHECK(w->count < WORLD_NODES_MAX);
    struct world_node *n = &w->nodes[w->count++];
    struct secret seed;

    n->world = w;
    n->env = (struct env){
        .now_us = w->now_us,
        .wall_s = 1700000100,
        .wall_known = true,
        .level = LOG_LEVEL_DEBUG,
        .host = n,
        .random = world_env_random,
        .log = world_env_log,
    };
    memset(seed.b, key, sizeof(seed.b));
    sign_keys(&n->config.pub, &n->config.sec, &seed);
    n->config.node = node_id_self(&n->config.pub);
    memset(n->config.overlay.b, 0x11, ID_LEN);
    memset(n->config.group_key.b, 0x22, sizeof(n->config.group_key.b));
    n->config.slot = (uint8_t)w->count;
    n->config.aeads = 1u << SEAL_CHACHA20_POLY1305;
    n->config.sessions_max = 16;
    n->ep = world_ep((unsigned)w->count, (uint16_t)(4000 + w->count));
    return n;
}

static inline void world_free(struct world *w)
{
    for (size_t i = 0; i < w->count; i++)
        sessions_free(w->nodes[i].ss);
    seal_worker_free(w->worker);
    free(w->packets);
    free(w);
}

/* A data packet arrived: is there a key that opens it? */
static inline void world_data_input(struct world_node *n, uint8_t *pkt, size_t len)
{
    struct session *s;

    for (size_t i = 0; (s = sessions_next(n->ss, &i)) != NULL;) {
        struct session_data d;

        session_data(s, &d);
        for (size_t k = 0; k < 3; k++) {
            if (d.rx[k] == NULL || seal_key_index(d.rx[k]) != get_u32(pkt + 4))
                continue;
            if (open_packet(n->world->worker, d.rx[k], pkt, len) >= 0) {
                n->data_got++;
                n->data_rx_us = n->world->now_us;
                return;
            }
        }
    }
    n->data_refused++;
}

/* False: no key to send with. */
static inline bool world_data_send(struct world_node *n, struct session *s)
{
    uint8_t pkt[PACKET_HEADER_LEN + 8 + PACKET_TAG_LEN] = {0};
    struct session_data d;

    session_data(s, &d);
    if (d.tx == NULL || d.path.kind == PATH_NONE)
        return false;
    int len = seal_packet(n->world->worker, d.tx, PACKET_DATA, PACKET_FLAG_IP, pkt, 8);

    CHECK(len > 0);
    n->data_sent++;
    n->data_tx_us = n->world->now_us;
    world_send(n, &d.path, pkt, (size_t)len);
    return true;
}

static inline void world_deliver(struct world *w, struct world_packet *p)
{
    for (size_t i = 0; i < w->count; i++) {
        struct world_node *n = &w->nodes[i];
        bool here = p->to.kind == PATH_UDP ? endpoint_eq(&p->to.ep, &n->ep)
                                           : id_eq(&p->to.peer, &n->config.node);

        if (!here || n->dead || n->ss == NULL)
            continue;
        n->env.now_us = w->now_us;
        if (p->bytes[0] == PACKET_DATA)
            world_data_input(n, p->bytes, p->len);
        else
            sessions_input(n->ss, &p->from, p->bytes, p->len);
    }
}

static inline struct world_packet *world_earliest(const struct world *w)
{
    struct world_packet *first = NULL;

    for (size_t i = 0; i < w->packet_count; i++) {
        struct world_packet *p = &w->packets[i];

        if (first == NULL || p->at_us < first->at_us ||
            (p->at_us == first->at_us && p->seq < first->seq))
            first = p;
    }
    return first;
}

static inline usec world_deadline(const struct world *w)
{
    usec at_us = USEC_NEVER;

    for (size_t i = 0; i < w->count; i++)
        if (!w->nodes[i].dead && w->nodes[i].ss != NULL)
            at_us = usec_min(at_us, sessions_deadline(w->nodes[i].ss));
    return at_us;
}

static inline void world_tick(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        struct world_node *n = &w->nodes[i];

        n->env.now_us = w->now_us;
        if (!n->dead && n->ss != NULL && sessions_deadline(n->ss) <= w->now_us)
            sessions_tick(n->ss);
    }
}

/* Lets so much time pass. */
static inline void world_run(struct world *w, usec for_us)
{
    const usec until_us = w->now_us + for_us;

    for (;;) {
        struct world_packet *p = world_earliest(w);
        usec at_us = usec_min(world_deadline(w), p != NULL ? p->at_us : USEC_NEVER);

        if (at_us > until_us)
            break;
        w->now_us = at_us > w->now_us ? at_us : w->now_us;
        if (p != NULL && p->at_us <= w->now_us) {
            struct world_packet copy = *p;

            *p = w->packets[--w->packet_count];
            world_deliver(w, &copy);
        } else {
            world_tick(w);
        }
    }
    w->now_us = until_us;
    for (size_t i = 0; i < w->count; i++)
        w->nodes[i].env.now_us = until_us;
}

/* What a data plane reports once a second. */
static inline void world_data_report(struct world_node *n, struct session *s)
{
    const struct data_seen seen = {.tx_us = n->data_tx_us,
                                   .rx_us = n->data_rx_us,
                                   .back_us = n->data_rx_us,
                                   .tx_packets = n->data_sent};

    session_data_seen(s, &seen);
}

/* a's session with b, up or not; NULL. */
static inline struct session *world_session(const struct world_node *a, const struct world_node *b)
{
    return sessions_find(a->ss, &b->config.node);
}

static inline bool world_connected(const struct world_node *a, const struct world_node *b)
{
    const struct session *s = world_session(a, b), *t = world_session(b, a);

    return s != NULL && t != NULL && session_is_up(s) && session_is_up(t);
}

static inline struct session *world_open(struct world_node *a, const struct world_node *b,
                                         bool expect)
{
    struct path_addr to = world_path(b);

    a->env.now_us = a->world->now_us;
    return session_open(a->ss, &to, expect ? &b->config.node : NULL);
}

/* Two nodes, not connected. */
static inline struct world *world_two(uint64_t seed)
{
    struct world *w = world_new(seed);

    world_start(world_add(w, 1));
    world_start(world_add(w, 2));
    return w;
}

/* The first opened. */
static inline struct world *world_two_connected(uint64_t seed)
{
    struct world *w = world_two(seed);

    CHECK(world_open(&w->nodes[0], &w->nodes[1], true) != NULL);
    world_run(w, SEC(1));
    CHECK(world_connected(&w->nodes[0], &w->nodes[1]));
    return w;
}

#endif
