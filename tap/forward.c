#include "tap/forward.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"
#include "overlay/core/heap.h"
#include "overlay/core/limits.h"
#include "overlay/core/table.h"

enum {
    PEERS_MAX = 1 << 20,        /* entries of each array; the next one is refused */
    OWNERS_MAX = 16,            /* peers of one address; the next one is refused */
    SLOTS_MIN = 16,             /* a power of two */
    ROUTE_KEY_LEN = 16 + 2 + 1, /* address, network, family */
    NO_ROUTE = UINT32_MAX,
    LINE_LEN = 64, /* of the processor's cache */
};

/* A peer, and beside it the first address of either family that leads to it: for the source check
 * of most packets nothing else is looked at. All that an IPv4 packet needs is one cache line. */
struct entry {
    _Alignas(LINE_LEN) struct forward_peer peer;
    uint32_t first4;    /* 0: none; no member has 0.0.0.0 */
    struct addr first6; /* family 0: none */
};
_Static_assert(offsetof(struct entry, first6) <= LINE_LEN, "one cache line for IPv4");

/* One peer of one address. The owners of an address form a list in the order they were added. */
struct route {
    _Alignas(32) uint8_t key[ROUTE_KEY_LEN];
    uint32_t peer;
    uint32_t next; /* position of the next owner, or NO_ROUTE */
};

/* Of an address. The hash tells most others apart, so that only its own route is looked at. */
struct head {
    uint32_t hash;  /* what the slot's position does not tell */
    uint32_t first; /* position of its first route plus one; 0: slot is free */
};

struct receiver {
    struct seal_key *rx; /* NULL: slot is free */
    uint32_t index;
    uint32_t peer;
};

/* Arrays grow by doubling while the table is built. Slots are open addressing with linear probing,
 * at most half full. */
struct forward {
    uint8_t hash_key[16];
    struct forward_network networks[NETWORKS_MAX];
    struct entry *peers;
    size_t peer_count, peer_size;
    struct route *routes;
    size_t route_count, route_size;
    struct head *heads;
    size_t head_count, head_size;
    struct receiver *receivers;
    size_t receiver_count, receiver_size;
    struct forward_leg *legs; /* channel 0: slot is free */
    size_t leg_count, leg_size;
};

struct forward_flow *forward_flow_new(uint32_t token)
{
    struct forward_flow *f = calloc(1, sizeof(*f));
    if (f != NULL) {
        f->token = token;
        atomic_init(&f->refs, 1);
    }
    return f;
}

struct forward_flow *forward_flow_ref(struct forward_flow *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void forward_flow_unref(struct forward_flow *f)
{
    if (f != NULL && atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1) {
        free(f);
    }
}

struct forward *forward_new(void)
{
    return calloc(1, sizeof(struct forward));
}

void forward_set_hash_key(struct forward *f, const uint8_t key[16])
{
    CHECK(f->head_count == 0);
    memcpy(f->hash_key, key, sizeof(f->hash_key));
}

void forward_free(struct forward *f)
{
    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < f->peer_count; i++) {
        seal_key_unref(f->peers[i].peer.tx);
        forward_flow_unref(f->peers[i].peer.flow);
    }
    for (size_t i = 0; i < f->receiver_size; i++) {
        seal_key_unref(f->receivers[i].rx);
    }
    for (size_t i = 0; i < f->leg_size; i++) {
        meter_unref(f->legs[i].each);
        meter_unref(f->legs[i].all);
        forward_flow_unref(f->legs[i].flow);
    }
    free(f->legs);
    free(f->peers);
    free(f->routes);
    free(f->heads);
    free(f->receivers);
    free(f);
}

int forward_set_network(struct forward *f, uint16_t number, const struct forward_network *net)
{
    if (number >= NETWORKS_MAX) {
        return -ERR_RANGE;
    }
    f->networks[number] = *net;
    return 0;
}

/* Room for one more in an array of `count` elements, which begins with a cache line. */
static int reserve(void **array, size_t count, size_t *size, size_t element)
{
    if (count < *size) {
        return 0;
    }
    size_t wanted = *size == 0 ? SLOTS_MIN : *size * 2;
    if (wanted > PEERS_MAX) {
        return -ERR_RANGE;
    }
    void *grown = aligned_alloc(LINE_LEN, wanted * element);
    if (grown == NULL) {
        return -ERR_NOMEM;
    }
    if (count > 0) {
        memcpy(grown, *array, count * element);
    }
    free(*array);
    *array = grown;
    *size = wanted;
    return 0;
}

int forward_add_peer(struct forward *f, const struct forward_peer *peer)
{
    CHECK(peer->flow != NULL && (peer->path == FORWARD_NONE || peer->tx != NULL));
    if (peer->network >= NETWORKS_MAX) {
        return -ERR_RANGE;
    }
    int err = reserve((void **)&f->peers, f->peer_count, &f->peer_size, sizeof(*f->peers));
    if (err != 0) {
        return err;
    }
    f->peers[f->peer_count] = (struct entry){.peer = *peer};
    struct forward_peer *mine = &f->peers[f->peer_count].peer;
    forward_flow_ref(mine->flow);
    if (mine->tx != NULL) {
        seal_key_ref(mine->tx);
    }
    return (int)f->peer_count++;
}

static void route_key(uint8_t key[ROUTE_KEY_LEN], uint16_t network, const struct addr *addr)
{
    memcpy(key, addr->b, 16);
    memcpy(key + 16, &network, 2);
    key[18] = addr->family;
}

static uint64_t hash_of(const struct forward *f, const uint8_t key[ROUTE_KEY_LEN])
{
    return siphash(f->hash_key, key, ROUTE_KEY_LEN);
}

/* The slot that holds the address, or the free one where it belongs. Slots are never all taken. */
static size_t find_head(const struct forward *f, uint64_t hash, const uint8_t key[ROUTE_KEY_LEN])
{
    size_t mask = f->head_size - 1;
    size_t slot = hash & mask;
    while (f->heads[slot].first != 0 &&
           (f->heads[slot].hash != hash >> 32 ||
            memcmp(f->routes[f->heads[slot].first - 1].key, key, ROUTE_KEY_LEN) != 0)) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

static int grow_heads(struct forward *f)
{
    if (f->head_count * 2 < f->head_size) {
        return 0;
    }
    size_t old_size = f->head_size;
    struct head *old = f->heads;
    size_t size = old_size == 0 ? SLOTS_MIN : old_size * 2;
    struct head *grown = calloc(size, sizeof(*grown));
    if (grown == NULL) {
        return -ERR_NOMEM;
    }
    f->heads = grown;
    f->head_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].first != 0) {
            const uint8_t *key = f->routes[old[i].first - 1].key;
            f->heads[find_head(f, hash_of(f, key), key)] = old[i];
        }
    }
    free(old);
    return 0;
}

/* Appends `peer` to the owners that start at `first`. One owner is there once. */
static int append_owner(struct forward *f, uint32_t first, uint32_t added)
{
    uint32_t last = first;
    for (unsigned owners = 1;; owners++) {
        if (f->routes[last].peer == f->routes[added].peer) {
            return 0;
        }
        if (owners == OWNERS_MAX) {
            return -ERR_RANGE;
        }
        if (f->routes[last].next == NO_ROUTE) {
            break;
        }
        last = f->routes[last].next;
    }
    f->routes[last].next = added;
    f->route_count++;
    return 0;
}

static void remember_first(struct entry *e, const struct addr *addr)
{
    if (addr->family == 4 && e->first4 == 0) {
        e->first4 = addr_to_v4(addr);
    } else if (addr->family == 6 && e->first6.family == 0) {
        e->first6 = *addr;
    }
}

static bool is_first(const struct entry *e, const struct addr *addr)
{
    if (addr->family == 4) {
        return e->first4 != 0 && e->first4 == addr_to_v4(addr);
    }
    return addr->family == 6 && addr_eq(&e->first6, addr);
}

int forward_add_address(struct forward *f, int peer, const struct addr *addr)
{
    CHECK(peer >= 0 && (size_t)peer < f->peer_count);
    if (addr->family != 4 && addr->family != 6) {
        return -ERR_RANGE;
    }
    int err = reserve((void **)&f->routes, f->route_count, &f->route_size, sizeof(*f->routes));
    if (err == 0) {
        err = grow_heads(f);
    }
    if (err != 0) {
        return err;
    }
    uint32_t added = (uint32_t)f->route_count;
    struct route *route = &f->routes[added];
    route_key(route->key, f->peers[peer].peer.network, addr);
    route->peer = (uint32_t)peer;
    route->next = NO_ROUTE;
    uint64_t hash = hash_of(f, route->key);
    struct head *head = &f->heads[find_head(f, hash, route->key)];
    if (head->first != 0) {
        err = append_owner(f, head->first - 1, added);
    } else {
        *head = (struct head){.hash = (uint32_t)(hash >> 32), .first = added + 1};
        f->head_count++;
        f->route_count++;
    }
    if (err == 0) {
        remember_first(&f->peers[peer], addr);
    }
    return err;
}

/* Receiver indexes are our own random numbers: their low bits will do for a hash. */
static size_t find_receiver(const struct forward *f, uint32_t index)
{
    size_t mask = f->receiver_size - 1;
    size_t slot = index & mask;
    while (f->receivers[slot].rx != NULL && f->receivers[slot].index != index) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

static int grow_receivers(struct forward *f)
{
    if (f->receiver_count * 2 < f->receiver_size) {
        return 0;
    }
    size_t old_size = f->receiver_size;
    struct receiver *old = f->receivers;
    size_t size = old_size == 0 ? SLOTS_MIN : old_size * 2;
    struct receiver *grown = size <= PEERS_MAX ? calloc(size, sizeof(*grown)) : NULL;
    if (grown == NULL) {
        return size <= PEERS_MAX ? -ERR_NOMEM : -ERR_RANGE;
    }
    f->receivers = grown;
    f->receiver_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].rx != NULL) {
            f->receivers[find_receiver(f, old[i].index)] = old[i];
        }
    }
    free(old);
    return 0;
}

int forward_add_rx(struct forward *f, int peer, struct seal_key *rx)
{
    CHECK(peer >= 0 && (size_t)peer < f->peer_count && rx != NULL);
    int err = grow_receivers(f);
    if (err != 0) {
        return err;
    }
    struct receiver *r = &f->receivers[find_receiver(f, seal_key_index(rx))];
    CHECK(r->rx == NULL); /* whoever draws indexes draws each once */
    *r = (struct receiver){
        .rx = seal_key_ref(rx), .index = seal_key_index(rx), .peer = (uint32_t)peer};
    f->receiver_count++;
    return 0;
}

/* As with receiver indexes: the numbers are our own, and random. */
static size_t find_leg(const struct forward *f, uint32_t channel)
{
    size_t mask = f->leg_size - 1;
    size_t slot = channel & mask;
    while (f->legs[slot].channel != 0 && f->legs[slot].channel != channel) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

static int grow_legs(struct forward *f)
{
    if (f->leg_count * 2 < f->leg_size) {
        return 0;
    }
    size_t old_size = f->leg_size;
    struct forward_leg *old = f->legs;
    size_t size = old_size == 0 ? SLOTS_MIN : old_size * 2;
    struct forward_leg *grown = size <= PEERS_MAX ? calloc(size, sizeof(*grown)) : NULL;
    if (grown == NULL) {
        return size <= PEERS_MAX ? -ERR_NOMEM : -ERR_RANGE;
    }
    f->legs = grown;
    f->leg_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].channel != 0) {
            f->legs[find_leg(f, old[i].channel)] = old[i];
        }
    }
    free(old);
    return 0;
}

int forward_add_leg(struct forward *f, const struct forward_leg *leg)
{
    CHECK(leg->channel != 0 && (leg->ends_here || (leg->each != NULL && leg->all != NULL)));
    struct forward_flow *flow = leg->ends_here ? NULL : forward_flow_new(leg->channel);
    int err = flow == NULL && !leg->ends_here ? -ERR_NOMEM : grow_legs(f);
    if (err != 0) {
        forward_flow_unref(flow);
        return err;
    }
    struct forward_leg *mine = &f->legs[find_leg(f, leg->channel)];
    CHECK(mine->channel == 0);
    *mine = *leg;
    mine->flow = flow;
    if (!leg->ends_here) {
        meter_ref(mine->each);
        meter_ref(mine->all);
    }
    f->leg_count++;
    return 0;
}

const struct forward_network *forward_network(const struct forward *f, uint16_t number)
{
    if (number >= NETWORKS_MAX || !f->networks[number].present) {
        return NULL;
    }
    return &f->networks[number];
}

/* Position of the first route to `addr`, or NO_ROUTE. */
static uint32_t first_route(const struct forward *f, uint16_t network, const struct addr *addr)
{
    if (f->head_size == 0) {
        return NO_ROUTE;
    }
    uint8_t key[ROUTE_KEY_LEN];
    route_key(key, network, addr);
    /* A free slot's 0 comes out as NO_ROUTE. */
    return f->heads[find_head(f, hash_of(f, key), key)].first - 1;
}

const struct forward_peer *forward_lookup(const struct forward *f, uint16_t network,
                                          const struct addr *dst)
{
    const struct forward_peer *any = NULL;
    uint32_t at = first_route(f, network, dst);
    for (; at != NO_ROUTE; at = f->routes[at].next) {
        const struct forward_peer *peer = &f->peers[f->routes[at].peer].peer;
        if (peer->path != FORWARD_NONE) {
            return peer;
        }
        if (any == NULL) {
            any = peer;
        }
    }
    return any;
}

bool forward_source_ok(const struct forward *f, const struct forward_peer *peer,
                       const struct addr *src)
{
    const struct entry *e = CONTAINER_OF(peer, struct entry, peer);
    if (is_first(e, src)) {
        return true;
    }
    uint32_t at = first_route(f, peer->network, src);
    while (at != NO_ROUTE && &f->peers[f->routes[at].peer].peer != peer) {
        at = f->routes[at].next;
    }
    return at != NO_ROUTE;
}

struct seal_key *forward_rx(const struct forward *f, uint32_t index,
                            const struct forward_peer **peer)
{
    *peer = NULL;
    if (f->receiver_size == 0) {
        return NULL;
    }
    const struct receiver *r = &f->receivers[find_receiver(f, index)];
    if (r->rx != NULL) {
        *peer = &f->peers[r->peer].peer;
    }
    return r->rx;
}

const struct forward_leg *forward_leg(const struct forward *f, uint32_t channel)
{
    if (f->leg_size == 0 || channel == 0) {
        return NULL;
    }
    const struct forward_leg *leg = &f->legs[find_leg(f, channel)];
    return leg->channel != 0 ? leg : NULL;
}
