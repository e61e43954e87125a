/*
 * Frames and packets that the data plane leaves to us: those without a usable peer yet, those
 * whose source must be checked first, and those that travel over the ring.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/node/address.h"
#include "daemon/node/internal.h"
#include "overlay/core/err.h"
#include "tap/eth.h"
#include "tap/transport.h"

enum {
    /* A lease that was found is believed so long before its owner is met; once a session with the
     * owner is up, to the lease's end (design 7). */
    TRAFFIC_UNMET_US = 120000000,
    /* An address that nobody owned is asked for again so soon when a member sends from it. */
    TRAFFIC_AGAIN_US = 200000,
    TRAFFIC_YOUNG_US =
        10000000, /* since we are up: others that started with us are about to come */
};

static const struct mac virtual_mac = {{0xfe, 0xfd, 0, 0, 0, 0}};

static void traffic_drop(struct node *n, enum node_drop why)
{
    n->drops[why]++;
}

/* Our part of the forwarding snapshot as it is now; NULL: out of memory. */
static const struct forward *traffic_view(struct node *n)
{
    struct forward *f;

    if (!n->view_stale && n->view)
        return n->view;
    f = forward_new();
    if (f && node_forward(n, f) < 0) {
        forward_free(f);
        f = NULL;
    }
    forward_free(n->view);
    n->view = f;
    n->view_stale = f == NULL;
    return f;
}

/* Seals the IP packet of a frame and sends it by the best path of the session. False: no key yet.
 */
static bool traffic_send(struct node *n, const struct id *peer, const uint8_t *frame, size_t len)
{
    uint8_t pkt[PACKET_HEADER_LEN + 9216 + PACKET_TAG_LEN];
    struct overlay_data data;
    struct ip_packet ip;
    struct flow *flow;
    int pkt_len;

    if (!overlay_data(n->overlay, peer, &data) || !data.tx)
        return false;
    if (!ip_parse(&ip, frame + ETH_HEADER_LEN, len - ETH_HEADER_LEN) ||
        ip.len > sizeof(pkt) - PACKET_HEADER_LEN - PACKET_TAG_LEN) {
        traffic_drop(n, NODE_DROP_INNER);
        return true;
    }
    memcpy(pkt + PACKET_HEADER_LEN, frame + ETH_HEADER_LEN, ip.len);
    pkt_len = seal_packet(n->seal, data.tx, PACKET_DATA, PACKET_FLAG_IP, pkt, ip.len);
    if (pkt_len < 0)
        return false;
    flow = flows_get(&n->flows, peer);
    if (flow) {
        held_add(&n->held, flow->counters);
        atomic_fetch_add_explicit(&flow->counters->tx_packets, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&flow->counters->tx_bytes, ip.len, memory_order_relaxed);
        atomic_store_explicit(&flow->counters->last_tx_us, n->env->now_us, memory_order_relaxed);
    }
    (void)overlay_send_data(n->overlay, peer, pkt, (size_t)pkt_len);
    return true;
}

/* Frames that waited for this address go out, as far as there is a key for its owner. */
static void traffic_flush_out(struct node *n, struct remote *r)
{
    struct overlay_data data;
    struct remote_packet *p;

    if (!r->out.first || !overlay_data(n->overlay, &r->owner, &data) || !data.tx)
        return;
    while ((p = remote_take(&n->remotes, &r->out)) != NULL) {
        (void)traffic_send(n, &r->owner, p->bytes, p->len);
        free(p);
    }
}

/* Writes an inner packet to the device. */
static void traffic_deliver(struct node *n, struct flow *flow, const struct ip_packet *ip,
                            const uint8_t *packet)
{
    uint8_t frame[ETH_HEADER_LEN + 9216];

    if (ip->len > sizeof(frame) - ETH_HEADER_LEN) {
        traffic_drop(n, NODE_DROP_INNER);
        return;
    }
    atomic_fetch_add_explicit(&flow->counters->rx_packets, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&flow->counters->rx_bytes, ip->len, memory_order_relaxed);
    atomic_store_explicit(&flow->counters->last_rx_us, n->env->now_us, memory_order_relaxed);
    eth_put(frame, &n->config.device_mac, &virtual_mac,
            ip->dst.family == 4 ? ETH_TYPE_IPV4 : ETH_TYPE_IPV6);
    memcpy(frame + ETH_HEADER_LEN, packet, ip->len);
    n->host.frame(n->ctx, frame, ETH_HEADER_LEN + ip->len);
}

/* Packets that waited for the owner of their source: each is delivered if that is who sent it. */
static void traffic_flush_in(struct node *n, struct remote *r)
{
    struct remote_packet *p;

    while ((p = remote_take(&n->remotes, &r->in)) != NULL) {
        struct flow *flow = flows_by_token(&n->flows, p->token);
        struct ip_packet ip;

        if (flow && id_eq(&flow->peer, &r->owner) && ip_parse(&ip, p->bytes, p->len))
            traffic_deliver(n, flow, &ip, p->bytes);
        else
            traffic_drop(n, NODE_DROP_SOURCE);
        free(p);
    }
}

/* The value under this address's key that counts: IPv4 has one owner; IPv6 the one it derives from.
 */
const struct dht_value *traffic_owner_of(const struct node *n, const struct addr *addr,
                                         const struct dht_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        const struct dht_value *v = &result->values[i];
        struct net own = address_ipv6(&n->config.ipv6, &v->owner);

        if (addr->family == 4 || addr_eq(&own.addr, addr))
            return v;
    }
    return NULL;
}

static void traffic_found(struct node *n, struct remote *r, const struct dht_value *v)
{
    usec until_us = n->env->now_us + SEC(v->remaining_s);

    if (!flows_get(&n->flows, &v->owner))
        until_us = usec_min(until_us, n->env->now_us + TRAFFIC_UNMET_US);
    remote_found(&n->remotes, r, &v->owner, until_us);
    (void)overlay_demand(n->overlay, &v->owner);
    node_set_forward_dirty(n);
    traffic_flush_in(n, r);
    traffic_flush_out(n, r);
}

static void traffic_absent(struct node *n, struct remote *r)
{
    bool young = n->state != NODE_UP || n->env->now_us < n->up_us + TRAFFIC_YOUNG_US;

    remote_absent(&n->remotes, r, young ? REMOTE_ABSENT_YOUNG_US : REMOTE_ABSENT_US);
}

static void on_owner(void *ctx, uint64_t token, const struct dht_result *result)
{
    struct node *n = ctx;
    struct addr addr = n->looks[token].addr;
    struct remote *r = remote_get(&n->remotes, &addr);
    const struct dht_value *v = NULL;

    n->looks[token].used = false;
    if (!r || r->state != REMOTE_LOOKING)
        return;
    if (result->status == DHT_OK)
        v = traffic_owner_of(n, &addr, result);
    if (v && !id_eq(&v->owner, &n->config.overlay.node))
        traffic_found(n, r, v);
    else
        traffic_absent(n, r);
}

static void traffic_look(struct node *n, struct remote *r)
{
    const struct id *group = &n->config.overlay.overlay;
    struct id key =
        r->addr.family == 4 ? own_key_ipv4(group, &r->addr) : own_key_ipv6(group, &r->addr);

    if (!n->looks)
        n->looks = calloc(NODE_LOOKS_MAX, sizeof(*n->looks));
    for (size_t i = 0; n->looks && i < NODE_LOOKS_MAX; i++) {
        if (n->looks[i].used)
            continue;
        if (dht_get(n->dht, &key, DHT_MAJORITY, on_owner, n, i) < 0)
            break;
        n->looks[i].used = true;
        n->looks[i].addr = r->addr;
        return;
    }
    traffic_absent(n, r);
}

/* An address that a member may have, and not ours. */
static bool traffic_is_remote(const struct node *n, const struct addr *addr)
{
    if (addr->family == 4)
        return address_usable(&n->config.ipv4, addr) && !addr_eq(addr, &n->own.facts.ipv4);
    return addr->family == 6 && n->config.ipv6.addr.family == 6 &&
           net_contains(&n->config.ipv6, addr) && !addr_eq(addr, &n->own.ipv6.addr);
}

static struct remote *traffic_remote(struct node *n, const struct addr *addr)
{
    struct remote *r = remote_get(&n->remotes, addr);

    if (r)
        return r;
    r = remote_add(&n->remotes, addr);
    if (r)
        traffic_look(n, r);
    return r;
}

/* The same, but an answer "nobody" that is older than a moment is not taken any more: a member
 * speaks from there. */
static struct remote *traffic_remote_again(struct node *n, const struct addr *addr)
{
    struct remote *r = remote_get(&n->remotes, addr);

    if (r && r->state == REMOTE_ABSENT && n->env->now_us >= r->asked_us + TRAFFIC_AGAIN_US)
        remote_forget(&n->remotes, r);
    return traffic_remote(n, addr);
}

static void traffic_frame(struct node *n, const struct addr *dst, const uint8_t *frame, size_t len)
{
    struct remote *r = traffic_remote(n, dst);

    if (!r || r->state == REMOTE_ABSENT) {
        traffic_drop(n, NODE_DROP_ABSENT);
        return;
    }
    if (r->state == REMOTE_KNOWN) {
        if (!r->out.first && traffic_send(n, &r->owner, frame, len))
            return;
        (void)overlay_demand(n->overlay, &r->owner);
    }
    (void)remote_wait_out(&n->remotes, r, frame, len);
}

void node_frame(struct node *n, const uint8_t *frame, size_t len)
{
    struct ip_packet ip;

    if (len < ETH_HEADER_LEN || !ip_parse(&ip, frame + ETH_HEADER_LEN, len - ETH_HEADER_LEN))
        traffic_drop(n, NODE_DROP_INNER);
    else if (!own_has_address(&n->own) || !traffic_is_remote(n, &ip.dst))
        traffic_drop(n, NODE_DROP_DESTINATION);
    else
        traffic_frame(n, &ip.dst, frame, len);
    node_settle(n);
}

void node_resolve(struct node *n, const struct addr *addr)
{
    if (traffic_is_remote(n, addr))
        (void)traffic_remote(n, addr);
    node_settle(n);
}

/* An opened packet of `flow`: to the device, or into the queue until its source is known. */
static void traffic_inner(struct node *n, struct flow *flow, uint8_t flags, const uint8_t *packet,
                          size_t len)
{
    struct ip_packet ip;
    struct remote *r;

    if ((flags & PACKET_FLAG_KIND_MASK) != PACKET_FLAG_IP || !ip_parse(&ip, packet, len)) {
        traffic_drop(n, NODE_DROP_INNER);
        return;
    }
    if (!addr_eq(&ip.dst, &n->own.facts.ipv4) && !addr_eq(&ip.dst, &n->own.ipv6.addr)) {
        traffic_drop(n, NODE_DROP_DESTINATION);
        return;
    }
    if (!traffic_is_remote(n, &ip.src)) {
        traffic_drop(n, NODE_DROP_SOURCE);
        return;
    }
    r = traffic_remote_again(n, &ip.src);
    if (!r || r->state == REMOTE_ABSENT)
        traffic_drop(n, NODE_DROP_SOURCE);
    else if (r->state == REMOTE_LOOKING)
        (void)remote_wait_in(&n->remotes, r, flow->token, packet, len);
    else if (id_eq(&r->owner, &flow->peer))
        traffic_deliver(n, flow, &ip, packet);
    else
        traffic_drop(n, NODE_DROP_SOURCE);
}

void node_unverified(struct node *n, uint32_t token, uint8_t flags, const uint8_t *packet,
                     size_t len)
{
    struct flow *flow = flows_by_token(&n->flows, token);

    if (flow)
        traffic_inner(n, flow, flags, packet, len);
    node_settle(n);
}

/* The transport checksum that the sender left undone: it vouched for what it covers. */
static void traffic_finish(uint8_t flags, uint8_t *packet, size_t len)
{
    struct transport t;
    struct ip_packet ip;

    if ((flags & PACKET_FLAG_CSUM_UNDONE) && ip_parse(&ip, packet, len) &&
        transport_parse(&t, &ip, packet))
        transport_finish(&t, &ip, packet);
}

void traffic_data_packet(struct node *n, const struct data_way *way, uint8_t *pkt, size_t len)
{
    const struct forward *view = traffic_view(n);
    const struct forward_peer *peer = NULL;
    struct seal_key *key = NULL;
    struct flow *flow;
    int r = -ERR_FORMAT;

    if (view && len >= PACKET_HEADER_LEN)
        key = forward_rx(view, get_u32(pkt + 4), &peer);
    if (key)
        r = open_packet(n->seal, key, pkt, len);
    if (r < 0) {
        traffic_drop(n, NODE_DROP_SEALED);
        return;
    }
    flow = flows_by_token(&n->flows, peer->flow->token);
    if (!flow)
        return;
    if (overlay_data_is_back(n->overlay, &flow->peer, way))
        atomic_store_explicit(&flow->counters->last_back_us, n->env->now_us, memory_order_relaxed);
    traffic_finish(pkt[1], pkt + PACKET_HEADER_LEN, (size_t)r);
    traffic_inner(n, flow, pkt[1], pkt + PACKET_HEADER_LEN, (size_t)r);
}

/* Our lease, signed, to a peer with whom data begins: it can look us up before the first packet. */
static void traffic_show_lease(struct node *n, struct flow *flow)
{
    uint8_t body[1 + DHT_RECORD_MAX] = {NODE_MSG_LEASE_SHOW};
    int len;

    if (flow->lease_shown || !own_has_address(&n->own))
        return;
    len = dht_record_export(n->dht, &n->own.address.key, body + 1, sizeof(body) - 1);
    if (len < 0)
        return;
    flow->lease_shown = true;
    (void)overlay_send(n->overlay, &flow->peer, OVERLAY_PROTO_NODE, body, (size_t)len + 1);
}

void traffic_lease_shown(struct node *n, const struct overlay_from *from, struct reader *r)
{
    struct cert cert;
    bool is_peer = from->direct && overlay_peer_cert(n->overlay, &from->node, &cert);
    size_t len = reader_left(r);
    const uint8_t *bytes = read_bytes(r, len);
    struct dht_value v;
    struct facts facts;
    struct id key;

    if (!is_peer || !bytes || dht_record_check(n->dht, &cert, bytes, len, &v) < 0 ||
        !facts_read(&facts, v.value, v.len) || facts.ipv4.family != 4) {
        traffic_drop(n, NODE_DROP_MESSAGE);
        return;
    }
    key = own_key_ipv4(&n->config.overlay.overlay, &facts.ipv4);
    if (id_eq(&key, &v.key) && id_eq(&v.owner, &from->node) && traffic_is_remote(n, &facts.ipv4))
        (void)traffic_remote_again(n, &facts.ipv4);
}

/* The peer's IPv6 address follows from its id: no lookup is needed. */
static void traffic_add_ipv6(struct node *n, const struct id *peer)
{
    struct net own = address_ipv6(&n->config.ipv6, peer);
    struct remote *r;

    if (own.addr.family != 6)
        return;
    r = remote_get(&n->remotes, &own.addr);
    if (!r)
        r = remote_add(&n->remotes, &own.addr);
    if (r)
        remote_found(&n->remotes, r, peer, USEC_NEVER - 1);
}

/* What is known of this owner may be believed for longer now, and what waited for it goes out. */
static void traffic_owner_up(struct node *n, const struct id *peer)
{
    struct remote *r;

    for (size_t i = 0; (r = table_next(&n->remotes.by_addr, &i)) != NULL;) {
        if (r->state != REMOTE_KNOWN || !id_eq(&r->owner, peer))
            continue;
        traffic_flush_in(n, r);
        traffic_flush_out(n, r);
    }
}

void traffic_data_changed(struct node *n, const struct id *peer)
{
    struct overlay_data data;
    struct flow *flow;

    node_set_forward_dirty(n);
    if (!node_has_device(n) || !overlay_data(n->overlay, peer, &data) || (!data.tx && !data.rx[0]))
        return;
    flow = flows_add(&n->flows, n->env, &data);
    if (!flow)
        return;
    traffic_show_lease(n, flow);
    traffic_add_ipv6(n, peer);
    traffic_owner_up(n, peer);
}

void traffic_show_lease_again(struct node *n)
{
    struct flow *flow;

    for (size_t i = 0; (flow = table_next(&n->flows.by_peer, &i)) != NULL;) {
        flow->lease_shown = false;
        traffic_show_lease(n, flow);
    }
}

void traffic_peer_down(struct node *n, const struct id *peer)
{
    if (flows_get(&n->flows, peer))
        node_set_forward_dirty(n);
    flows_remove(&n->flows, peer);
    remotes_forget_owner(&n->remotes, peer);
}

void traffic_tick(struct node *n)
{
    size_t before = n->remotes.by_addr.count;

    flows_tick(&n->flows, n->env, n->overlay);
    remotes_tick(&n->remotes);
    if (n->remotes.by_addr.count != before)
        node_set_forward_dirty(n);
}

void traffic_clear(struct node *n)
{
    flows_clear(&n->flows);
    remotes_clear(&n->remotes);
    forward_free(n->view);
    held_clear(&n->held);
}

void node_sent(struct node *n)
{
    held_release(&n->held);
}

/* Data through the public overlay leaves as its node at the other end is reached. */
static const struct overlay_data *forward_way(struct node *n, const struct overlay_data *data,
                                              struct overlay_data *tunnel)
{
    if (data->tunnelled && n->config.public_relay && n->host.tunnel_way &&
        n->host.tunnel_way(n->ctx, &data->end, tunnel))
        return tunnel;
    return data;
}

static int forward_add_keys(struct node *n, struct forward *f, const struct overlay_data *data,
                            struct flow *flow)
{
    struct forward_peer entry = {.network = n->config.network, .flow = flow->counters};
    struct overlay_data tunnel;
    const struct overlay_data *way = forward_way(n, data, &tunnel);
    int peer, r = 0;

    if (data->tx && (way->udp || way->conn != 0)) {
        entry.path = way->channel != 0 ? FORWARD_RELAY : way->udp ? FORWARD_UDP : FORWARD_TCP;
        entry.channel = way->channel;
        entry.to = way->to;
        entry.conn = way->conn;
        entry.tx = data->tx;
    }
    peer = forward_add_peer(f, &entry);
    for (size_t i = 0; peer >= 0 && r >= 0 && i < ARRAY_LEN(data->rx); i++)
        if (data->rx[i])
            r = forward_add_rx(f, peer, data->rx[i]);
    return r < 0 ? r : peer;
}

/* Peers in the order of the flow table; positions are remembered by owner for the addresses. */
struct forward_position {
    struct id peer;
    int position;
};

static int forward_add_flows(struct node *n, struct forward *f, struct table *positions)
{
    struct flow *flow;

    for (size_t i = 0; (flow = table_next(&n->flows.by_peer, &i)) != NULL;) {
        struct forward_position *at;
        struct overlay_data data;
        int peer;

        if (!overlay_data(n->overlay, &flow->peer, &data))
            continue;
        peer = forward_add_keys(n, f, &data, flow);
        if (peer < 0)
            return peer;
        at = malloc(sizeof(*at));
        if (!at)
            return -ERR_NOMEM;
        *at = (struct forward_position){.peer = flow->peer, .position = peer};
        if (table_put(positions, at) < 0) {
            free(at);
            return -ERR_NOMEM;
        }
    }
    return 0;
}

static int forward_add_addresses(struct node *n, struct forward *f, const struct table *positions)
{
    struct remote *r;
    int result = 0;

    for (size_t i = 0; result >= 0 && (r = table_next(&n->remotes.by_addr, &i)) != NULL;) {
        const struct forward_position *at =
            r->state == REMOTE_KNOWN ? table_get(positions, &r->owner) : NULL;

        if (at)
            result = forward_add_address(f, at->position, &r->addr);
    }
    return result;
}

static int forward_add_all(struct node *n, struct forward *f)
{
    struct table positions;
    struct forward_position *at;
    int r;

    table_init(&positions, offsetof(struct forward_position, peer), ID_LEN,
               n->flows.by_peer.count + 1, n->env->hash_key);
    r = forward_add_flows(n, f, &positions);
    if (r >= 0)
        r = forward_add_addresses(n, f, &positions);
    for (size_t i = 0; (at = table_next(&positions, &i)) != NULL;)
        free(at);
    table_clear(&positions);
    return r < 0 ? r : 0;
}

/* Relay packets, of others and of our own. */
static int forward_add_legs(const struct node *n, struct forward *f)
{
    struct overlay_leg leg;
    int r = 0;

    for (size_t i = 0; r >= 0 && overlay_leg_next(n->overlay, &i, &leg);) {
        struct forward_leg entry = {.channel = leg.channel,
                                    .from = leg.from,
                                    .from_conn = leg.from_conn,
                                    .ends_here = leg.ends_here,
                                    .is_public = n->config.rendezvous,
                                    .to = leg.to,
                                    .to_conn = leg.to_conn,
                                    .onward = leg.onward,
                                    .each = leg.each,
                                    .all = leg.all};

        r = forward_add_leg(f, &entry);
    }
    return r;
}

int node_forward(struct node *n, struct forward *f)
{
    struct forward_network net = {
        .present = true,
        .device_mac = n->config.device_mac,
        .ipv4 = n->config.ipv4,
        .ipv6 = n->config.ipv6,
        .service = n->service,
        .public_relay = n->config.public_relay,
    };
    int r = forward_add_legs(n, f);

    if (r < 0 || !node_has_device(n))
        return r;
    if (own_has_address(&n->own))
        net.own4 = n->own.facts.ipv4;
    net.own6 = n->own.ipv6.addr;
    r = forward_set_network(f, n->config.network, &net);
    return r < 0 ? r : forward_add_all(n, f);
}
