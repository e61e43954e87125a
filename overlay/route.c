#include "overlay/route.h"

#include <string.h>

bool route_goes_around(const struct route_header *h)
{
    return h->proto == OVERLAY_PROTO_DHT;
}

struct ring_peer *route_anywhere(const struct ring *ring)
{
    struct ring_peer *any = NULL;
    uint64_t seen = 0;

    for (size_t i = 0; i < ring->count; i++) {
        struct ring_peer *peer = ring->peers[i];

        if (peer->state == OVERLAY_MEMBER && peer->needed && !peer->silent &&
            env_random_below(ring->env, ++seen) == 0)
            any = peer;
    }
    return any;
}

struct route_header route_new(const struct id *source, const struct id *key, enum route_mode mode,
                              uint8_t proto)
{
    struct route_header h = {
        .flags = (uint8_t)mode, .proto = proto, .key = *key, .source = *source};

    memset(h.bound, 0xff, sizeof h.bound);
    return h;
}

void route_write(struct writer *w, const struct route_header *h)
{
    uint8_t flags = h->flags & (uint8_t) ~(ROUTE_FLAG_VIA | ROUTE_FLAG_THROUGH);

    if (!id_is_zero(&h->via))
        flags |= ROUTE_FLAG_VIA;
    if (!id_is_zero(&h->through))
        flags |= ROUTE_FLAG_THROUGH;
    write_u8(w, flags);
    write_u8(w, h->hops);
    write_u8(w, h->proto);
    write_id(w, &h->key);
    write_id(w, &h->source);
    write_bytes(w, h->bound, sizeof h->bound);
    if ((flags & ROUTE_FLAG_VIA) != 0)
        write_id(w, &h->via);
    if ((flags & ROUTE_FLAG_THROUGH) != 0)
        write_id(w, &h->through);
}

bool route_read(struct reader *r, struct route_header *h)
{
    *h = (struct route_header){.flags = read_u8(r)};
    h->hops = read_u8(r);
    h->proto = read_u8(r);
    h->key = read_id(r);
    h->source = read_id(r);
    read_copy(r, h->bound, sizeof h->bound);
    if ((h->flags & ROUTE_FLAG_VIA) != 0)
        h->via = read_id(r);
    if ((h->flags & ROUTE_FLAG_THROUGH) != 0)
        h->through = read_id(r);
    return !r->failed;
}

static const struct id *target_of(const struct route_header *h)
{
    return id_is_zero(&h->through) ? &h->key : &h->through;
}

/* How far a node is from where the message wants to go. */
static struct id metric(const struct route_header *h, const struct id *node)
{
    const struct id *target = target_of(h);

    switch ((enum route_mode)(h->flags & ROUTE_FLAG_MODE)) {
    case ROUTE_RIGHT:
        return id_sub(node, target);
    case ROUTE_LEFT:
        return id_sub(target, node);
    case ROUTE_EXACT:
    case ROUTE_NEAREST:
        break;
    }
    return id_distance(target, node);
}

/*
 * Of all nodes that keep the bound, the one is aimed at that promises the earliest arrival: the
 * round trips to it, and for the rest of the way a constant for each halving of the distance that
 * is left, counted in nodes. The constant is large: few hops go before quick ones (on the PlanetLab
 * latencies 2% more hops than pure greed needs, and 8% less time).
 */
enum {
    HALVING_COST = 250, /* in units of ring_entry.rtt */
    RTT_UNKNOWN_COST = 100,
    LOG_BITS = 8, /* of the fraction of a logarithm */
};

struct choice {
    const struct ring *ring;
    const struct route_header *h;
    const uint8_t *bound;
    uint64_t bound_top, target_top; /* the first 8 bytes: enough to pass over most nodes */
    uint32_t members;
    bool or_equal; /* a peer of exactly this distance is the node that was promised */
    const struct route_way *way;
    const struct id *from; /* knows nobody whom it would not have aimed at itself; or NULL */
    bool around;           /* silent peers */
    struct ring_peer *peer;
    struct id distance;
    uint32_t cost;
};

/* log2(1 + nodes) in 1/256; between powers of two a straight line. */
static uint32_t log_of_nodes(uint64_t nodes_fixed)
{
    uint64_t x = nodes_fixed + (1u << LOG_BITS);
    uint32_t whole = 63u - (uint32_t)__builtin_clzll(x);
    uint64_t rest = x - (UINT64_C(1) << whole);

    return (whole - LOG_BITS) << LOG_BITS | (uint32_t)((rest << LOG_BITS) >> whole);
}

static uint32_t rtt_cost(uint8_t code)
{
    return code == 255 ? RTT_UNKNOWN_COST : code;
}

static uint32_t cost_of(const struct choice *c, uint64_t distance_top, uint32_t rtt)
{
    /* distance * members, with LOG_BITS of fraction: 2^64 is the whole circle. */
    uint64_t nodes = (distance_top >> 32) * c->members >> (32 - LOG_BITS);

    return rtt + (HALVING_COST * log_of_nodes(nodes) >> LOG_BITS);
}

static uint64_t distance_top(const struct choice *c, const struct id *node)
{
    uint64_t right = get_u64(node->b) - c->target_top;

    switch ((enum route_mode)(c->h->flags & ROUTE_FLAG_MODE)) {
    case ROUTE_RIGHT:
        return right;
    case ROUTE_LEFT:
        return -right;
    case ROUTE_EXACT:
    case ROUTE_NEAREST:
        break;
    }
    return right < -right ? right : -right;
}

static bool excluded(const struct choice *c, const struct id *node)
{
    return id_eq(node, &c->ring->self) ||
           ((c->h->flags & ROUTE_FLAG_SEEK) != 0 && id_eq(node, &c->h->source));
}

/* The node may be aimed at: it is within the bound. */
static bool within(const struct choice *c, const struct id *d, bool ahead)
{
    int order = memcmp(d->b, c->bound, ROUTE_BOUND_LEN);

    return order < 0 || (order == 0 && !ahead && c->or_equal);
}

static void consider(struct choice *c, struct ring_peer *peer, const struct id *node, uint32_t rtt,
                     bool ahead)
{
    uint64_t top = distance_top(c, node);
    uint32_t cost;
    struct id d;

    /* One unit of slack: the lower bytes may carry. */
    if (top > c->bound_top && top - 1 > c->bound_top)
        return;
    cost = cost_of(c, top, rtt);
    if (c->peer != NULL && cost > c->cost)
        return;
    d = metric(c->h, node);
    if (excluded(c, node) || !within(c, &d, ahead))
        return;
    if (c->peer != NULL && cost == c->cost && id_cmp(&d, &c->distance) >= 0)
        return;
    c->peer = peer;
    c->distance = d;
    c->cost = cost;
}

static bool is_silent(const struct ring *ring, const struct id *node)
{
    const struct ring_peer *peer = ring_find(ring, node);

    return peer != NULL && peer->silent;
}

static void consider_ahead(struct choice *c, struct ring_peer *peer)
{
    const struct ring_said *said = &peer->said;
    size_t n = (size_t)said->counts[RING_LEFT] + said->counts[RING_RIGHT] + said->shortcuts;

    if (excluded(c, &peer->id) || (c->from != NULL && id_eq(&peer->id, c->from)))
        return;
    for (size_t i = 0; i < n; i++) {
        const struct ring_entry *e = &said->entries[i];

        if ((e->flags & RING_ENTRY_JOINING) != 0)
            continue;
        if (c->way->direct && (e->flags & RING_ENTRY_INDIRECT) != 0)
            continue;
        if (c->around && is_silent(c->ring, &e->id))
            continue;
        consider(c, peer, &e->id, rtt_cost(peer->rtt) + rtt_cost(e->rtt), true);
    }
}

static void consider_all(struct choice *c, bool lookahead)
{
    const struct id *target = target_of(c->h);

    c->peer = NULL;
    c->members = (uint32_t)ring_members(c->ring);
    c->target_top = get_u64(target->b);
    c->bound_top = get_u64(c->bound);
    for (size_t i = 0; i < c->ring->count; i++) {
        struct ring_peer *peer = c->ring->peers[i];

        if (peer->state != OVERLAY_MEMBER || !peer->needed || peer == c->way->except ||
            (c->way->direct && peer->indirect))
            continue;
        if (c->around && peer->silent)
            continue;
        consider(c, peer, &peer->id, rtt_cost(peer->rtt), false);
        if (lookahead)
            consider_ahead(c, peer);
    }
}

/* The peer that the message is for, member or not, when we have a session with it. */
static struct ring_peer *at_hand(const struct ring *ring, const struct route_header *h, bool direct)
{
    const struct id *target = target_of(h);
    struct ring_peer *peer;

    if ((h->flags & ROUTE_FLAG_MODE) != ROUTE_EXACT)
        return NULL;
    peer = ring_find(ring, target);
    return peer != NULL && !(direct && peer->indirect) ? peer : NULL;
}

/* Our own distance; the largest there is when we are no place to end up at. */
static void own_bound(const struct ring *ring, const struct route_header *h,
                      uint8_t bound[ROUTE_BOUND_LEN])
{
    enum route_mode mode = (enum route_mode)(h->flags & ROUTE_FLAG_MODE);
    bool seeker = (h->flags & ROUTE_FLAG_SEEK) != 0 && id_eq(&h->source, &ring->self);
    bool centre = (mode == ROUTE_RIGHT || mode == ROUTE_LEFT) && id_eq(&h->key, &ring->self);
    struct id own = metric(h, &ring->self);

    if (ring->state != OVERLAY_MEMBER || seeker || centre)
        memset(bound, 0xff, ROUTE_BOUND_LEN);
    else
        memcpy(bound, own.b, ROUTE_BOUND_LEN);
}

/* Some peer owes an answer, and this message must not wait to see whether it is there. */
static bool goes_around(const struct ring *ring, const struct route_header *h)
{
    bool silent = false;

    for (size_t i = 0; i < ring->count && !silent; i++)
        silent = ring->peers[i]->silent;
    return silent && route_goes_around(h);
}

/* The peer to go on to, or NULL: nobody is better than we are. */
static struct ring_peer *better(const struct ring *ring, struct route_header *h,
                                const struct route_way *way)
{
    bool lookahead = (h->flags & ROUTE_FLAG_PLAIN) == 0;
    struct choice c = {.ring = ring, .h = h, .bound = h->bound, .way = way, .from = way->from};
    uint8_t own[ROUTE_BOUND_LEN];

    c.around = goes_around(ring, h);
    own_bound(ring, h, own);
    c.or_equal = memcmp(own, h->bound, sizeof own) > 0;
    if (!c.or_equal) /* it begins here, or we are who was aimed at */
        c.bound = own;
    consider_all(&c, lookahead);
    if (c.peer == NULL && c.from != NULL && lookahead) { /* after all */
        c.from = NULL;
        consider_all(&c, true);
    }
    if (c.peer == NULL && c.or_equal && lookahead) {
        h->flags |= ROUTE_FLAG_PLAIN;
        c.bound = own;
        c.or_equal = false;
        consider_all(&c, false);
    }
    if (c.peer != NULL)
        memcpy(h->bound, c.distance.b, sizeof h->bound);
    return c.peer;
}

static enum route_verdict forward(struct route_header *h)
{
    if (h->hops >= ROUTE_HOPS_MAX)
        return ROUTE_TOO_FAR;
    h->hops++;
    return ROUTE_FORWARD;
}

/*
 * All that are closer are silent, and the place that it is for is not near us: it begins anew at
 * one of our peers, at random, a few times. From elsewhere another way may lead there.
 */
static struct ring_peer *elsewhere(const struct ring *ring, struct route_header *h)
{
    bool near = (h->flags & ROUTE_FLAG_MODE) == ROUTE_NEAREST && ring_spans(ring, target_of(h));
    struct ring_peer *peer;

    if (!goes_around(ring, h) || near || (h->flags & ROUTE_FLAG_ANEW) == ROUTE_FLAG_ANEW)
        return NULL;
    peer = route_anywhere(ring);
    if (peer == NULL)
        return NULL;
    h->flags = (uint8_t)((h->flags & ~ROUTE_FLAG_PLAIN) + ROUTE_FLAG_ANEW_ONCE);
    memset(h->bound, 0xff, sizeof h->bound);
    return peer;
}

enum route_verdict route_step(const struct ring *ring, struct route_header *h,
                              const struct route_way *way, struct ring_peer **next)
{
    enum route_mode mode = (enum route_mode)(h->flags & ROUTE_FLAG_MODE);

    *next = NULL;
    if (id_eq(&h->through, &ring->self)) { /* a second way begins here */
        h->through = (struct id){{0}};
        h->flags &= (uint8_t)~ROUTE_FLAG_PLAIN;
        memset(h->bound, 0xff, sizeof h->bound);
    }
    if (mode == ROUTE_EXACT && id_is_zero(&h->through) && id_eq(&h->key, &ring->self))
        return ROUTE_DELIVER;
    *next = at_hand(ring, h, way->direct);
    if (*next == NULL || *next == way->except)
        *next = better(ring, h, way);
    if (*next == NULL)
        *next = elsewhere(ring, h);
    if (*next != NULL)
        return forward(h);
    if (mode == ROUTE_EXACT || ring->state == OVERLAY_ALONE || ring->state == OVERLAY_JOINING)
        return ROUTE_NOBODY;
    return (h->flags & ROUTE_FLAG_SEEK) != 0 && id_eq(&h->source, &ring->self) ? ROUTE_NOBODY
                                                                               : ROUTE_DELIVER;
}
