/*
 * dht_world.h - some struct dht joined by an overlay in memory: virtual time, delay, loss, members
 * that come, crash and leave, partitions. Nothing sleeps. Defines the overlay_* functions that the
 * DHT uses, so it links peal_dht_alone.
 *
 * Each member sees its near lists change some time after the ring did, not at once: crashes are
 * noticed after world.notice_us, joins after one delay. What is routed meanwhile to a crashed
 * member is lost.
 */
#ifndef PEAL_TESTS_DHT_WORLD_H
#define PEAL_TESTS_DHT_WORLD_H

#include "dht/dht.h"
#include "tests/unit/cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORLD_MAX = 256, WORLD_EVENTS_MAX = 1 << 17, WORLD_ROUTE_HOPS = 3 };

struct world;

struct overlay {
    struct world *world;
    struct id id;
    bool on;      /* runs */
    bool member;  /* is in the ring */
    bool noticed; /* the others know that it is not on any more */
    unsigned part;
    usec gone_us;
    usec look_us; /* when its near lists become up to date; USEC_NEVER: they are */
    struct id left[OVERLAY_NEAR], right[OVERLAY_NEAR];
    size_t lefts, rights;
    struct env env;
    uint64_t random;
    struct dht *dht;
    struct dht_config config;
    uint64_t sent, sent_bytes, got;
    /* What its user saw. */
    unsigned done, lost;
    enum dht_status status;
    struct dht_value value; /* the first of the last result */
    uint8_t bytes[DHT_VALUE_MAX];
    size_t count;
    struct id lost_key, lost_to;
    usec lost_us;
    bool (*bound)(const struct id *key, const struct cert *cert);
};

struct world_event {
    usec at_us;
    uint64_t seq;
    struct overlay *to;
    struct overlay_from from;
    uint8_t *body;
    size_t len;
};

struct world {
    usec now_us;
    uint64_t random, seq;
    usec delay_min_us, delay_max_us, notice_us;
    unsigned loss_percent;
    struct id group;
    struct overlay *nodes[WORLD_MAX];
    size_t count;
    struct world_event *events; /* binary heap */
    size_t event_count;
    uint64_t digest, delivered;
    usec home_us; /* until then what is routed comes back to its sender: routes are not there yet */
    struct overlay *astray; /* or ends here, whatever its key; NULL: it does not */
    int64_t wall_s;         /* at time 0; 0: unknown */
    /* Sees each message before it is sent; false drops it. */
    bool (*hook)(struct world *w, const struct overlay *from, const uint8_t *body, size_t len);
    void (*after_event)(struct world *w);
};

static inline uint64_t world_mix(uint64_t *s)
{
    uint64_t z = (*s += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint64_t world_below(struct world *w, uint64_t n)
{
    return world_mix(&w->random) % n;
}

static void world_env_random(void *host, void *buf, size_t len)
{
    struct overlay *o = host;
    uint8_t *p = buf;

    while (len-- > 0)
        *p++ = (uint8_t)world_mix(&o->random);
}

static void world_env_log(void *host, enum log_level level, const char *line)
{
}

/* The ring. */

static inline bool world_in_ring(const struct overlay *o, unsigned part)
{
    return o->member && o->part == part && (o->on || !o->noticed);
}

/* Sorted by id: the members that `part` believes in. */
static inline size_t world_ring(const struct world *w, unsigned part,
                                struct overlay *out[WORLD_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < w->count; i++) {
        struct overlay *o = w->nodes[i];
        size_t at = n;

        if (!world_in_ring(o, part))
            continue;
        for (; at > 0 && id_cmp(&out[at - 1]->id, &o->id) > 0; at--)
            out[at] = out[at - 1];
        out[at] = o;
        n++;
    }
    return n;
}

static inline void world_update_near(struct overlay *o)
{
    struct overlay *ring[WORLD_MAX];
    size_t n = world_ring(o->world, o->part, ring);
    size_t self = 0;
    size_t near = n - 1 < OVERLAY_NEAR ? n - 1 : OVERLAY_NEAR;

    while (self < n && ring[self] != o)
        self++;
    CHECK(self < n);
    for (size_t i = 0; i < near; i++) {
        o->right[i] = ring[(self + 1 + i) % n]->id;
        o->left[i] = ring[(self + n - 1 - i) % n]->id;
    }
    o->lefts = o->rights = near;
}

/* Everybody in the part will see the ring as it is now, each a little later. */
static inline void world_changed(struct world *w, unsigned part)
{
    for (size_t i = 0; i < w->count; i++) {
        struct overlay *o = w->nodes[i];

        if (o->on && o->member && o->part == part)
            o->look_us = usec_min(o->look_us, w->now_us + 1 + world_below(w, w->delay_max_us + 1));
    }
}

static inline struct overlay *world_closest(const struct world *w, unsigned part,
                                            const struct id *key)
{
    struct overlay *best = NULL;

    for (size_t i = 0; i < w->count; i++) {
        struct overlay *o = w->nodes[i];

        if (world_in_ring(o, part) && (best == NULL || id_closer(key, &o->id, &best->id)))
            best = o;
    }
    return best;
}

static inline struct overlay *world_find(const struct world *w, const struct id *id)
{
    for (size_t i = w->count; i-- > 0;)
        if (id_eq(&w->nodes[i]->id, id) && w->nodes[i]->on)
            return w->nodes[i];
    return NULL;
}

/* Events. */

static inline bool world_before(const struct world_event *a, const struct world_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static inline void world_push(struct world *w, struct world_event e)
{
    size_t i = w->event_count++;

    CHECK(w->event_count <= WORLD_EVENTS_MAX);
    for (; i > 0 && world_before(&e, &w->events[(i - 1) / 2]); i = (i - 1) / 2)
        w->events[i] = w->events[(i - 1) / 2];
    w->events[i] = e;
}

static inline struct world_event world_pop(struct world *w)
{
    struct world_event top = w->events[0], last = w->events[--w->event_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= w->event_count)
            break;
        if (child + 1 < w->event_count && world_before(&w->events[child + 1], &w->events[child]))
            child++;
        if (!world_before(&w->events[child], &last))
            break;
        w->events[i] = w->events[child];
        i = child;
    }
    w->events[i] = last;
    return top;
}

static inline void world_transmit(struct overlay *from, struct overlay *to, const struct id *key,
                                  bool routed, const void *body, size_t len)
{
    struct world *w = from->world;
    struct world_event e = {.to = to, .len = len, .seq = w->seq++};
    usec hops = routed ? WORLD_ROUTE_HOPS : 1;

    CHECK(len <= OVERLAY_BODY_MAX);
    from->sent++;
    from->sent_bytes += len;
    if (w->hook != NULL && !w->hook(w, from, body, len))
        return;
    if (to == NULL || (from != to && world_below(w, 100) < w->loss_percent))
        return;
    e.from = (struct overlay_from){.node = from->id, .key = *key, .direct = !routed};
    e.at_us = w->now_us;
    if (from != to)
        e.at_us += hops * (w->delay_min_us + world_below(w, w->delay_max_us - w->delay_min_us + 1));
    e.body = malloc(len + 1);
    memcpy(e.body, body, len);
    world_push(w, e);
}

/* What the DHT uses of overlay.h. */

int overlay_route(struct overlay *o, const struct id *key, enum overlay_mode mode, uint8_t proto,
                  const void *body, size_t len)
{
    CHECK(proto == OVERLAY_PROTO_DHT && mode == OVERLAY_NEAREST);
    if (!o->member)
        return -ERR_BAD_STATE;
    if (o->world->now_us < o->world->home_us)
        world_transmit(o, o->world->astray != NULL ? o->world->astray : o, key, true, body, len);
    else
        world_transmit(o, world_closest(o->world, o->part, key), key, true, body, len);
    return 0;
}

int overlay_route_anew(struct overlay *o, const struct id *key, uint8_t proto, const void *body,
                       size_t len)
{
    return overlay_route(o, key, OVERLAY_NEAREST, proto, body, len);
}

int overlay_pass(struct overlay *o, const struct overlay_from *from, const struct id *node,
                 uint8_t proto, const void *body, size_t len)
{
    struct overlay *asker = world_find(o->world, &from->node);
    struct overlay *to = world_find(o->world, node);

    CHECK(proto == OVERLAY_PROTO_DHT);
    if (asker == NULL || !o->member)
        return -ERR_BAD_STATE;
    world_transmit(asker, to != NULL && to->part == o->part ? to : NULL, node, true, body, len);
    return 0;
}

int overlay_send(struct overlay *o, const struct id *node, uint8_t proto, const void *body,
                 size_t len)
{
    struct overlay *to = world_find(o->world, node);

    CHECK(proto == OVERLAY_PROTO_DHT);
    if (!o->member)
        return -ERR_BAD_STATE;
    world_transmit(o, to != NULL && to->part == o->part ? to : NULL, node, false, body, len);
    return 0;
}

int overlay_answer(struct overlay *o, const struct overlay_from *to, uint8_t proto,
                   const void *body, size_t len)
{
    return overlay_send(o, &to->node, proto, body, len);
}

enum overlay_state overlay_state(const struct overlay *o)
{
    return o->member ? OVERLAY_MEMBER : OVERLAY_ALONE;
}

size_t overlay_near_left(const struct overlay *o, struct id out[OVERLAY_NEAR])
{
    memcpy(out, o->left, sizeof(o->left));
    return o->lefts;
}

size_t overlay_near_right(const struct overlay *o, struct id out[OVERLAY_NEAR])
{
    memcpy(out, o->right, sizeof(o->right));
    return o->rights;
}

/* Members. */

static void world_done(void *ctx, uint64_t token, const struct dht_result *r)
{
    struct overlay *o = ctx;

    o->done++;
    o->status = r->status;
    o->count = r->count;
    memset(&o->value, 0, sizeof(o->value));
    if (r->count == 0)
        return;
    o->value = r->values[0];
    memcpy(o->bytes, r->values[0].value, r->values[0].len);
    o->value.value = o->bytes;
}

static void world_lost(void *ctx, const struct id *key, const struct id *winner)
{
    struct overlay *o = ctx;

    o->lost++;
    o->lost_key = *key;
    o->lost_to = *winner;
    o->lost_us = o->world->now_us;
}

static bool world_bound(void *ctx, const struct id *key, const struct cert *cert)
{
    struct overlay *o = ctx;

    return o->bound != NULL && o->bound(key, cert);
}

static const struct dht_host world_host = {.lost = world_lost, .bound = world_bound};

static inline void world_start(struct overlay *o)
{
    o->env.now_us = o->world->now_us;
    if (o->world->wall_s != 0) {
        o->env.wall_known = true;
        o->env.wall_s = o->world->wall_s + (int64_t)(o->world->now_us / SEC(1));
    }
    o->dht = dht_new(&o->config, &o->env, o, &world_host, o);
    CHECK(o->dht != NULL);
}

/* Without a CA; `seed` decides its key and id. Not in the ring yet. */
static inline struct overlay *world_new_node(struct world *w, uint64_t seed)
{
    struct overlay *o = calloc(1, sizeof(*o));
    struct secret secret;

    CHECK(w->count < WORLD_MAX);
    w->nodes[w->count++] = o;
    o->world = w;
    o->random = seed * 7919 + 1;
    o->look_us = USEC_NEVER;
    o->env = (struct env){.host = o, .random = world_env_random, .log = world_env_log};
    world_env_random(o, o->env.hash_key, sizeof(o->env.hash_key));
    world_env_random(o, &secret, sizeof(secret));
    o->config.overlay = w->group;
    sign_keys(&o->config.pub, &o->config.sec, &secret);
    o->config.node = o->id = node_id_self(&o->config.pub);
    o->on = true;
    return o;
}

static inline void world_join(struct overlay *o, unsigned part)
{
    if (o->dht == NULL)
        world_start(o);
    o->member = true;
    o->part = part;
    world_update_near(o);
    dht_ring_changed(o->dht);
    world_changed(o->world, part);
}

static inline struct overlay *world_add(struct world *w)
{
    struct overlay *o = world_new_node(w, w->count + 1 + w->random % 1000 * 1000);

    world_join(o, 0);
    return o;
}

static inline void world_crash(struct overlay *o)
{
    o->on = false;
    o->gone_us = o->world->now_us;
    dht_free(o->dht);
    o->dht = NULL;
}

/* Out of the ring in good order, after dht_left. */
static inline void world_gone(struct overlay *o)
{
    world_crash(o);
    o->noticed = true;
    o->member = false;
    world_changed(o->world, o->part);
}

/* The same key and id again, nothing remembered. */
static inline struct overlay *world_again(struct overlay *o)
{
    struct overlay *n = world_new_node(o->world, 0);

    if (!o->noticed) {
        o->noticed = true;
        o->member = false;
    }
    n->random = o->random;
    n->config = o->config;
    n->id = o->id;
    n->bound = o->bound;
    world_join(n, o->part);
    for (size_t i = 0; i < o->world->count; i++) {
        struct overlay *peer = o->world->nodes[i];

        if (peer->on && peer->dht != NULL && peer != n && peer->part == n->part)
            dht_peer_up(peer->dht, &n->id);
    }
    return n;
}

static inline void world_split(struct world *w, unsigned parts)
{
    for (size_t i = 0; i < w->count; i++)
        w->nodes[i]->part = (unsigned)(i % parts);
    for (unsigned p = 0; p < parts; p++)
        world_changed(w, p);
}

static inline void world_merge(struct world *w)
{
    for (size_t i = 0; i < w->count; i++)
        w->nodes[i]->part = 0;
    world_changed(w, 0);
}

static inline void world_init(struct world *w, uint64_t seed)
{
    CHECK(crypto_start() == 0);
    *w = (struct world){.random = seed, .delay_min_us = MSEC(5), .delay_max_us = MSEC(40)};
    w->notice_us = SEC(4);
    w->now_us = SEC(1000);
    memset(w->group.b, 0x77, ID_LEN);
    w->events = malloc(WORLD_EVENTS_MAX * sizeof(*w->events));
}

static inline void world_clear(struct world *w)
{
    while (w->event_count > 0)
        free(world_pop(w).body);
    for (size_t i = 0; i < w->count; i++) {
        dht_free(w->nodes[i]->dht);
        free(w->nodes[i]);
    }
    free(w->events);
}

/* Time. */

static inline void world_set_time(struct overlay *o)
{
    o->env.now_us = o->world->now_us;
    if (o->env.wall_known)
        o->env.wall_s = o->world->wall_s + (int64_t)(o->world->now_us / SEC(1));
}

static inline void world_deliver(struct world *w)
{
    struct world_event e = world_pop(w);
    struct overlay *o = e.to;

    if (o->on && o->member) {
        world_set_time(o);
        o->got++;
        w->delivered++;
        for (size_t i = 0; i < e.len; i++)
            w->digest = (w->digest ^ e.body[i]) * UINT64_C(0x100000001b3);
        dht_message(o->dht, &e.from, e.body, e.len);
    }
    free(e.body);
}

static inline usec world_node_due(const struct overlay *o)
{
    return o->on && o->dht != NULL ? usec_min(o->look_us, dht_deadline(o->dht)) : USEC_NEVER;
}

static inline void world_look(struct overlay *o)
{
    if (o->look_us > o->world->now_us)
        return;
    o->look_us = USEC_NEVER;
    world_update_near(o);
    dht_ring_changed(o->dht);
}

static inline void world_notice(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        struct overlay *o = w->nodes[i];

        if (o->on || o->noticed || o->gone_us + w->notice_us > w->now_us)
            continue;
        o->noticed = true;
        world_changed(w, o->part);
    }
}

static inline usec world_next(const struct world *w)
{
    usec at = w->event_count > 0 ? w->events[0].at_us : USEC_NEVER;

    for (size_t i = 0; i < w->count; i++) {
        const struct overlay *o = w->nodes[i];

        at = usec_min(at, world_node_due(o));
        if (!o->on && !o->noticed)
            at = usec_min(at, o->gone_us + w->notice_us);
    }
    return at;
}

/* One step of time: everything that is due now. */
static inline void world_step(struct world *w)
{
    world_notice(w);
    if (w->event_count > 0 && w->events[0].at_us <= w->now_us)
        world_deliver(w);
    for (size_t i = 0; i < w->count; i++) {
        struct overlay *o = w->nodes[i];

        if (world_node_due(o) > w->now_us)
            continue;
        world_set_time(o);
        world_look(o);
        dht_tick(o->dht);
    }
    if (w->after_event != NULL)
        w->after_event(w);
}

static inline void world_run(struct world *w, usec for_us)
{
    usec end_us = w->now_us + for_us;
    unsigned still = 0;

    for (;;) {
        usec at = world_next(w);

        if (at > end_us)
            break;
        still = at <= w->now_us ? still + 1 : 0;
        CHECK(still < 100000); /* a deadline that its own tick does not move */
        w->now_us = at > w->now_us ? at : w->now_us;
        world_step(w);
    }
    w->now_us = end_us;
    for (size_t i = 0; i < w->count; i++)
        world_set_time(w->nodes[i]);
}

/* Until the node has heard so many outcomes; false after at_most_us. */
static inline bool world_run_until_done(struct world *w, const struct overlay *o, unsigned done,
                                        usec at_most_us)
{
    usec end_us = w->now_us + at_most_us;

    while (o->done < done && w->now_us < end_us)
        world_run(w, usec_min(MSEC(1), end_us - w->now_us));
    return o->done >= done;
}

static inline void world_grow(struct world *w, size_t n, usec apart_us)
{
    for (size_t i = 0; i < n; i++) {
        world_add(w);
        world_run(w, apart_us);
    }
}

static inline struct id world_key(unsigned n)
{
    struct id group = {{0}};

    return dht_key(&group, "test", &n, sizeof(n));
}

/* What the node holds under the key for anybody, or false. */
static inline bool world_holds(const struct overlay *o, const struct id *key, struct dht_held *out)
{
    size_t i = 0;

    while (dht_held_next(o->dht, &i, out))
        if (id_eq(&out->v.key, key) && !out->tombstone)
            return true;
    return false;
}

/* One of dht_counter's, which must be there. */
static inline uint64_t world_counted(const struct overlay *o, const char *name)
{
    const char *n;
    uint64_t value;

    for (size_t i = 0; dht_counter(o->dht, i, &n, &value); i++)
        if (strcmp(n, name) == 0)
            return value;
    fail();
    return 0;
}

#endif
