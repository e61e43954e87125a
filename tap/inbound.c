/*
 * inbound.c - from the network to a device: data packets are opened, checked and written; every
 * other packet of ours goes to the control thread as it came; the rest is dropped and counted.
 */
#include <string.h>

#include "overlay/core/wire.h"
#include "tap/device.h"
#include "tap/ndp.h"
#include "tap/relay.h"
#include "tap/vlan.h"
#include "tap/worker.h"

enum {
    SEALED_MIN = PACKET_HEADER_LEN + PACKET_TAG_LEN,
    STUN_TYPE_MAX = 0x3f,     /* RFC 8489 5: the two top bits are zero */
    STUN_COOKIE = 0x2112a442, /* at offset 4 */
    STUN_HEADER_LEN = 20,
    ERRORS_MAX = 64, /* queued socket errors thrown away in one round */
};

static const usec roamed_interval_us = SEC(1);

/* A datagram on its way in. */
struct datagram {
    uint8_t *packet;
    size_t len;
    struct endpoint from;
    uint32_t conn;  /* it came over this connection; 0: by UDP */
    bool relayed;   /* `from` is the relay's */
    bool tunnelled; /* by a leg of the public overlay */
};

static void hand_up(struct worker *w, const struct datagram *d)
{
    worker_upcall(w, &(struct plane_item){.kind = PLANE_PACKET,
                                          .from = d->from,
                                          .conn = d->conn,
                                          .bytes = d->packet,
                                          .len = d->len});
}

/* It came by the path that ours to this peer leave by. */
static bool is_back(const struct forward_peer *peer, const struct datagram *d)
{
    bool behind_relay = peer->path == FORWARD_RELAY;
    return peer->path != FORWARD_NONE && d->relayed == behind_relay && d->conn == peer->conn &&
           (d->conn != 0 || endpoint_eq(&peer->to, &d->from));
}

/* A packet that authenticated came by another way than ours leave by: straight by UDP, it shows
 * where the peer is. One worker reports it. */
static void note_roaming(struct worker *w, const struct forward_peer *peer,
                         const struct datagram *d)
{
    if (d->relayed || d->conn != 0) {
        return;
    }
    usec before = atomic_load_explicit(&peer->flow->roamed_us, memory_order_relaxed);
    if (before != 0 && w->now_us < before + roamed_interval_us) {
        return;
    }
    if (atomic_compare_exchange_strong(&peer->flow->roamed_us, &before, w->now_us)) {
        worker_upcall(w, &(struct plane_item){.kind = PLANE_ROAMED,
                                              .network = peer->network,
                                              .token = peer->flow->token,
                                              .from = d->from});
    }
}

static void run_end(struct worker *w)
{
    struct run *r = &w->run;
    if (r->peer != NULL) {
        struct forward_flow *flow = r->peer->flow;
        atomic_fetch_add_explicit(&flow->rx_packets, r->packets, memory_order_relaxed);
        atomic_fetch_add_explicit(&flow->rx_bytes, r->bytes, memory_order_relaxed);
        atomic_store_explicit(&flow->last_rx_us, w->now_us, memory_order_relaxed);
        if (r->back) {
            atomic_store_explicit(&flow->last_back_us, w->now_us, memory_order_relaxed);
        }
    }
    *r = (struct run){0};
}

static void count_received(struct worker *w, const struct forward_peer *peer, size_t len)
{
    if (w->run.peer != peer) {
        run_end(w);
        w->run.peer = peer;
    }
    w->run.packets++;
    w->run.bytes += len;
}

/* Of the peer that the run is about. */
static bool source_ok(struct worker *w, const struct addr *source)
{
    struct run *r = &w->run;
    if (r->source.family != 0 && addr_eq(&r->source, source)) {
        return true;
    }
    if (!forward_source_ok(w->forward, r->peer, source)) {
        return false;
    }
    r->source = *source;
    return true;
}

/* An opened packet, the IP packet at `bytes`. */
struct inner {
    uint8_t *bytes;
    size_t len;
    struct vlan_tags tags; /* of the frame that it came in, if it did */
    bool undone;           /* its checksum, which the sender vouches for */
    struct ip_packet ip;
};

static void finish(const struct inner *in)
{
    struct transport t;
    if (in->undone && transport_parse(&t, &in->ip, in->bytes)) {
        transport_finish(&t, &in->ip, in->bytes);
    }
}

/* The IP packet gets its Ethernet header in front, over the tail of ours or the one it came with.
 */
static void deliver(struct worker *w, const struct inner *in, const struct forward_peer *peer,
                    const struct forward_network *network)
{
    struct coalesce_packet p = {.frame = in->bytes - ETH_HEADER_LEN,
                                .tags = in->tags,
                                .ip = in->ip,
                                .network = peer->network,
                                .undone = in->undone,
                                .uso = worker_features(w, peer->network) & DEVICE_USO};
    eth_put(p.frame, &network->device_mac, &plane_virtual_mac,
            in->ip.src.family == 4 ? ETH_TYPE_IPV4 : ETH_TYPE_IPV6);
    if (worker_features(w, peer->network) & DEVICE_TSO) {
        coalesce_add(&w->coalesce, &p);
        return;
    }
    finish(in);
    worker_write_frame(w, peer->network, vlan_push(&p.tags, p.frame),
                       p.tags.len + ETH_HEADER_LEN + in->len);
}

/* What a packet of this kind holds in front of its IP packet: nothing, or the header of a frame
 * with tags. An ordinary frame would be sent without. */
static bool inner_begin(struct inner *in, uint8_t kind)
{
    if (kind == PACKET_FLAG_IP) {
        return true;
    }
    if (kind != PACKET_FLAG_ETHERNET || in->len < ETH_HEADER_LEN) {
        return false;
    }
    vlan_pull(&in->tags, in->bytes, in->len);
    in->bytes += in->tags.len + ETH_HEADER_LEN;
    in->len -= in->tags.len + ETH_HEADER_LEN;
    return in->tags.len > 0;
}

/* Neighbour discovery is answered on the spot and never travels: a peer cannot have meant well. */
static bool inner_ok(struct inner *in, uint8_t flags)
{
    struct transport t;
    in->undone = flags & PACKET_FLAG_CSUM_UNDONE;
    return inner_begin(in, flags & (uint8_t)~PACKET_FLAG_CSUM_UNDONE) &&
           ip_parse(&in->ip, in->bytes, in->len) && in->ip.len == in->len &&
           !ndp_is_message(&in->ip, in->bytes) &&
           (!in->undone || transport_parse(&t, &in->ip, in->bytes));
}

/* The control thread finds out whose source it is, and keeps the packet; one with tags it does not
 * know how to deliver. */
static void hand_up_unverified(struct worker *w, const struct datagram *d,
                               const struct forward_peer *peer, const struct inner *in)
{
    if (in->tags.len > 0) {
        worker_drop(w, PLANE_DROP_TAGGED);
        worker_resolve(w, peer->network, &in->ip.src);
        return;
    }
    finish(in);
    worker_upcall(w, &(struct plane_item){.kind = PLANE_UNVERIFIED,
                                          .network = peer->network,
                                          .flags = PACKET_FLAG_IP,
                                          .token = peer->flow->token,
                                          .from = d->from,
                                          .addr = in->ip.src,
                                          .bytes = in->bytes,
                                          .len = in->len});
    fence_note(&w->fence, FENCE_IN, peer->network, &in->ip.src, upcall_written(w->upcall));
}

/* To the device, unless earlier ones from there are still with the control thread. */
static void known_in(struct worker *w, const struct datagram *d, const struct forward_peer *peer,
                     const struct inner *in, const struct forward_network *network)
{
    enum fence_verdict v = FENCE_OPEN;
    if (in->tags.len == 0) {
        v = fence_ask(&w->fence, FENCE_IN, peer->network, &in->ip.src, upcall_settled(w->upcall));
    }
    switch (v) {
    case FENCE_OPEN:
        deliver(w, in, peer, network);
        return;
    case FENCE_HELD:
        hand_up_unverified(w, d, peer, in);
        return;
    case FENCE_LATE:
        worker_drop(w, PLANE_DROP_RING_FULL);
        return;
    }
}

static void inner_in(struct worker *w, const struct datagram *d, const struct forward_peer *peer,
                     size_t len)
{
    const struct forward_network *network = forward_network(w->forward, peer->network);
    struct inner in = {.bytes = d->packet + PACKET_HEADER_LEN, .len = len};
    if (!inner_ok(&in, d->packet[1])) {
        worker_drop(w, PLANE_DROP_INNER);
    } else if (network == NULL ||
               !(addr_eq(&in.ip.dst, &network->own4) || addr_eq(&in.ip.dst, &network->own6))) {
        worker_drop(w, PLANE_DROP_DESTINATION);
    } else if (!source_ok(w, &in.ip.src)) {
        hand_up_unverified(w, d, peer, &in);
    } else {
        known_in(w, d, peer, &in, network);
    }
}

static bool may_come(const struct worker *w, const struct datagram *d,
                     const struct forward_peer *peer)
{
    if (!d->tunnelled) {
        return true;
    }
    const struct forward_network *network = forward_network(w->forward, peer->network);
    return network != NULL && network->public_relay;
}

static void data_in(struct worker *w, const struct datagram *d)
{
    if (d->len < SEALED_MIN) {
        worker_drop(w, PLANE_DROP_RUNT);
        return;
    }
    const struct forward_peer *peer = NULL;
    struct seal_key *key = forward_rx(w->forward, get_u32(d->packet + 4), &peer);
    if (key == NULL) {
        worker_drop(w, PLANE_DROP_NO_SESSION);
        return;
    }
    int len = open_packet(w->seal, key, d->packet, d->len);
    if (len < 0) {
        worker_drop(w, len == -ERR_RANGE ? PLANE_DROP_REPLAY : PLANE_DROP_FORGED);
        return;
    }
    if (!may_come(w, d, peer)) {
        worker_drop(w, PLANE_DROP_PUBLIC);
        return;
    }
    count_received(w, peer, (size_t)len);
    if (is_back(peer, d)) {
        w->run.back = true;
    } else {
        note_roaming(w, peer, d);
    }
    inner_in(w, d, peer, (size_t)len);
}

/* Data of ours that came over a relay is opened here; the control thread wants to know by which way
 * the rest came. */
static void relay_packet_in(struct worker *w, const struct datagram *d)
{
    struct datagram inner = {.packet = d->packet + RELAY_HEADER_LEN,
                             .len = d->len - RELAY_HEADER_LEN,
                             .from = d->from,
                             .conn = d->conn,
                             .relayed = true};
    enum relay_verdict v = relay_in(w, &d->from, d->conn, d->packet, d->len);
    switch (v) {
    case RELAY_GONE:
        return;
    case RELAY_UNKNOWN:
        hand_up(w, d);
        return;
    case RELAY_PUBLIC:
    case RELAY_INNER:
        inner.tunnelled = v == RELAY_PUBLIC;
        if (inner.packet[0] == PACKET_DATA) {
            data_in(w, &inner);
        } else {
            hand_up(w, d);
        }
        return;
    }
}

static bool is_stun(const struct datagram *d)
{
    return d->packet[0] <= STUN_TYPE_MAX && d->len >= STUN_HEADER_LEN &&
           get_u32(d->packet + 4) == STUN_COOKIE;
}

static void datagram_in(struct worker *w, const struct datagram *d)
{
    switch (d->packet[0]) {
    case PACKET_DATA:
        data_in(w, d);
        return;
    case PACKET_HANDSHAKE:
    case PACKET_COOKIE:
    case PACKET_CONTROL:
        hand_up(w, d);
        return;
    case PACKET_RELAY:
        relay_packet_in(w, d);
        return;
    default:
        if (is_stun(d)) {
            hand_up(w, d);
        } else {
            worker_drop(w, PLANE_DROP_TYPE);
        }
    }
}

/* The datagrams of one message, each for itself: what is wrong with one concerns no other. */
static void receive_message(struct worker *w, unsigned i)
{
    struct batch_joined m = batch_message(&w->in, i);
    struct datagram d = {0};
    if (m.len == 0 || !sockaddr_get(&d.from, &w->in.names[i])) {
        worker_drop(w, PLANE_DROP_RUNT);
        return;
    }
    for (size_t at = 0; at < m.len; at += d.len) {
        d.packet = m.bytes + at;
        d.len = m.len - at < m.size ? m.len - at : m.size;
        if (m.truncated || d.len > BATCH_ROOM) {
            worker_drop(w, PLANE_DROP_TOO_BIG);
        } else {
            datagram_in(w, &d);
        }
    }
}

/* What only a datagram can be has no place in a stream. */
static bool is_streamed(const uint8_t *packet)
{
    return packet[0] >= PACKET_HANDSHAKE;
}

/* False: what came is no stream of packets. */
static bool receive_stream(struct worker *w, const struct stream *s, struct stream_cut *cut)
{
    struct datagram d = {.from = s->remote, .conn = s->number};
    while ((d.packet = stream_next(cut, &d.len)) != NULL) {
        if (!is_streamed(d.packet)) {
            return false;
        }
        if (d.len > BATCH_ROOM - STREAM_HEADER_LEN) {
            worker_drop(w, PLANE_DROP_TOO_BIG);
        } else {
            datagram_in(w, &d);
        }
    }
    return !cut->garbage;
}

static void end_stream(struct worker *w, struct stream *s, bool garbage)
{
    stream_end(s);
    worker_upcall(
        w, &(struct plane_item){.kind = PLANE_STREAM_ENDED, .flags = garbage, .conn = s->number});
}

void inbound_serve_stream(struct worker *w, struct stream *s)
{
    struct stream_cut cut;
    if (atomic_load_explicit(&s->ended, memory_order_relaxed)) {
        return;
    }
    bool open = stream_read(s, w->stream_room, w->stream_wire, &cut);
    w->forward = snapshot_current(w->snapshot);
    bool sound = receive_stream(w, s, &cut);
    run_end(w);
    coalesce_flush(&w->coalesce);
    worker_flush(w);
    if (open && sound) {
        stream_keep(s, &cut);
    } else {
        end_stream(w, s, !sound);
    }
}

/* Whatever the socket's owner switched on, an unread error queue must not keep us awake. */
static void drop_errors(int fd)
{
    uint8_t byte;
    for (unsigned i = 0; i < ERRORS_MAX; i++) {
        if (recv(fd, &byte, sizeof(byte), MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
            return;
        }
    }
}

void inbound_serve(struct worker *w, bool failing)
{
    unsigned count = batch_receive(&w->in, w->udp_fd);
    /* Only now: a peer may already use a key that was published after this round began. */
    w->forward = snapshot_current(w->snapshot);
    for (unsigned i = 0; i < count; i++) {
        receive_message(w, i);
    }
    run_end(w);
    coalesce_flush(&w->coalesce);
    worker_flush(w);
    if (failing) {
        drop_errors(w->udp_fd);
    }
}
