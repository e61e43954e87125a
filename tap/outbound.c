/*
 * outbound.c - from a device to the network: each frame is answered here (ARP, NDP), handed to the
 * control thread (DHCP, the service address, addresses without a usable peer), sealed and sent, or
 * dropped and counted.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "overlay/core/wire.h"
#include "tap/arp.h"
#include "tap/device.h"
#include "tap/icmp.h"
#include "tap/ndp.h"
#include "tap/relay.h"
#include "tap/vlan.h"
#include "tap/worker.h"

enum {
    /* No ordinary frame is longer, so that a sealed one fits into a batch. */
    FRAME_ROOM = BATCH_ROOM - STREAM_HEADER_LEN - RELAY_HEADER_LEN - PACKET_HEADER_LEN -
                 PACKET_TAG_LEN + ETH_HEADER_LEN,
    INNER_MAX = PACKET_MAX - PACKET_HEADER_LEN - PACKET_TAG_LEN,
    DHCP_SERVER_PORT = 67, /* RFC 2131 4.1 */
    /* Of one round: then it is the network's turn. Larger ones keep pings waiting. */
    ROUND_FRAMES_MAX = 64,
    ROUND_BYTES_MAX = 256 * 1024,
};

static const usec too_big_interval_us = MSEC(100);

/* A frame on its way out. */
struct frame {
    uint8_t *bytes;
    bool super;  /* to be cut by `segments`, after ip_out */
    bool undone; /* the kernel left the checksum to us, as `header` says */
    struct virtio_net_hdr header;
    struct vlan_tags tags; /* taken off */
    struct segmenter segments;
    size_t len;
    uint16_t number; /* of the network */
    const struct forward_network *network;
    struct eth_header eth;
    struct ip_packet ip; /* only for IP; then len ends with the IP packet */
};

static void hand_up_bytes(struct worker *w, const struct frame *f, enum plane_item_kind kind,
                          const uint8_t *bytes, size_t len)
{
    worker_upcall(
        w, &(struct plane_item){.kind = kind, .network = f->number, .bytes = bytes, .len = len});
}

/* The control thread knows ordinary frames only. */
static void hand_up_segments(struct worker *w, struct frame *f, enum plane_item_kind kind)
{
    uint8_t *frame = batch_packet(&w->out); /* only lent */
    size_t len = 0;
    if (ETH_HEADER_LEN + segment_max(&f->segments) >= FRAME_ROOM) {
        worker_drop(w, PLANE_DROP_TOO_BIG);
        return;
    }
    memcpy(frame, f->bytes, ETH_HEADER_LEN);
    while ((len = segment_next(&f->segments, frame + ETH_HEADER_LEN, false)) > 0) {
        hand_up_bytes(w, f, kind, frame, ETH_HEADER_LEN + len);
    }
}

static void hand_up(struct worker *w, struct frame *f, enum plane_item_kind kind)
{
    if (f->tags.len > 0) {
        worker_drop(w, PLANE_DROP_TAGGED);
        if (kind == PLANE_FRAME) {
            worker_resolve(w, f->number, &f->ip.dst);
        }
    } else if (f->super) {
        hand_up_segments(w, f, kind);
    } else if (f->undone && !segment_finish(f->bytes, f->len, &f->header)) {
        worker_drop(w, PLANE_DROP_INNER);
    } else {
        hand_up_bytes(w, f, kind, f->bytes, f->len);
    }
}

/* To an address whose peer we cannot send to ourselves; later ones will not overtake it. */
static void hand_up_frame(struct worker *w, struct frame *f)
{
    hand_up(w, f, PLANE_FRAME);
    fence_note(&w->fence, FENCE_OUT, f->number, &f->ip.dst, upcall_written(w->upcall));
}

void worker_flush(struct worker *w)
{
    struct batch_refused refused = batch_send(&w->out, w->udp_fd, w->now_us);
    for (unsigned i = 0; i < refused.too_big; i++) {
        worker_drop(w, PLANE_DROP_TOO_BIG);
    }
    for (unsigned i = 0; i < refused.other; i++) {
        worker_drop(w, PLANE_DROP_SEND);
    }
    for (unsigned i = 0; i < refused.stream; i++) {
        worker_drop(w, PLANE_DROP_TCP_QUEUE);
    }
    for (unsigned i = 0; i < refused.backlog; i++) {
        worker_drop(w, PLANE_DROP_BACKLOG);
    }
    if (refused.plain > 0) {
        atomic_fetch_add_explicit(&w->plain_paths, refused.plain, memory_order_relaxed);
    }
}

static bool is_broadcast(const struct forward_network *n, const struct addr *a)
{
    uint32_t hosts = n->ipv4.prefix == 0 ? 0 : UINT32_MAX >> n->ipv4.prefix;
    uint32_t v4 = addr_to_v4(a);
    return v4 == UINT32_MAX || (net_contains(&n->ipv4, a) && hosts > 1 && (v4 & hosts) == hosts);
}

static bool in_network(const struct forward_network *n, const struct addr *a)
{
    return a->family == 4 ? net_contains(&n->ipv4, a) && !is_broadcast(n, a)
                          : net_contains(&n->ipv6, a);
}

static bool is_own(const struct forward_network *n, const struct addr *a)
{
    return addr_eq(a, &n->own4) || addr_eq(a, &n->own6);
}

/* Whether the virtual MAC is the right answer; then somebody is about to talk to that address. */
static bool answers_for(struct worker *w, const struct frame *f, const struct addr *target)
{
    const struct forward_network *n = f->network;
    if (!in_network(n, target) || is_own(n, target)) {
        return false;
    }
    if (addr_eq(target, &n->service)) {
        return f->tags.len == 0; /* it is in no VLAN */
    }
    if (forward_lookup(w->forward, f->number, target) == NULL) {
        worker_resolve(w, f->number, target);
    }
    return true;
}

/* Of what is given back to the kernel, with the tags of the frame that it answers. */
struct answer {
    uint8_t tags[VLAN_LEN_MAX]; /* room */
    uint8_t frame[ICMP_TOO_BIG_FRAME_MAX];
};

static void answer(struct worker *w, const struct frame *f, struct answer *a, size_t len)
{
    worker_write_frame(w, f->number, vlan_push(&f->tags, a->frame), f->tags.len + len);
}

static void arp_out(struct worker *w, const struct frame *f)
{
    struct arp_packet arp;
    if (!arp_parse(&arp, f->bytes, f->len)) {
        worker_drop(w, PLANE_DROP_INNER);
    } else if (!arp_is_question(&arp) || !answers_for(w, f, &arp.target)) {
        worker_drop(w, PLANE_DROP_NOT_UNICAST);
    } else {
        struct answer a;
        arp_answer(a.frame, &arp, &plane_virtual_mac);
        answer(w, f, &a, ARP_FRAME_LEN);
    }
}

static void ndp_out(struct worker *w, const struct frame *f)
{
    struct ndp_solicitation ns;
    if (!ndp_parse(&ns, f->bytes, f->len) || !ndp_is_question(&ns) ||
        !answers_for(w, f, &ns.target)) {
        worker_drop(w, PLANE_DROP_NOT_UNICAST); /* also what routers and neighbours announce */
    } else {
        struct answer a;
        ndp_answer(a.frame, &ns, &plane_virtual_mac);
        answer(w, f, &a, NDP_ADVERTISEMENT_FRAME_LEN);
    }
}

static void too_big(struct worker *w, const struct frame *f, size_t mtu)
{
    struct answer a;
    const struct addr *from = f->ip.src.family == 4 ? &f->network->service : &f->ip.dst;
    worker_drop(w, PLANE_DROP_TOO_BIG);
    if (!seldom_pass(&w->seldom, SELDOM_TOO_BIG, f->number, &f->ip.dst, w->now_us,
                     too_big_interval_us)) {
        return;
    }
    size_t len = icmp_too_big(a.frame, sizeof(a.frame), f->bytes, f->len, from, (uint16_t)mtu);
    if (len > 0) {
        answer(w, f, &a, len);
    }
}

/* Where and how the packets of one frame go. */
struct way {
    const struct forward_peer *peer;
    struct stream *stream; /* over this connection; NULL: by UDP to `to` */
    size_t ahead;          /* bytes in front of each: its length on a connection, a relay header */
    size_t header_len; /* of the tagged frame's Ethernet header in front of the IP packet, or 0 */
    uint8_t header[ETH_HEADER_LEN + VLAN_LEN_MAX];
    union sockaddr_any to;
    socklen_t to_len;
    uint8_t flags;
    uint64_t packets, bytes; /* sealed */
};

/* Where the next packet is sealed. */
static uint8_t *way_packet(struct worker *w, const struct way *way)
{
    return batch_packet(&w->out) + way->ahead;
}

/* Where its IP packet lies. */
static uint8_t *way_inner(struct worker *w, const struct way *way)
{
    return way_packet(w, way) + PACKET_HEADER_LEN + way->header_len;
}

/* What was sealed goes, with all in front of it. */
static void batch_out(struct worker *w, const struct way *way, size_t len)
{
    uint8_t *first = batch_packet(&w->out);
    if (way->stream != NULL) {
        stream_header_put(first, len - STREAM_HEADER_LEN);
        batch_add_record(&w->out, first, len, way->stream);
    } else {
        batch_add(&w->out, len, &way->to, way->to_len, way->peer->flow, w->now_us);
    }
}

/* Seals the `len` bytes of IP packet that lie in the batch's next buffer. */
static void seal_out(struct worker *w, struct way *way, size_t len)
{
    uint8_t *packet = way_packet(w, way);
    int sealed = -ERR_RANGE;
    if (way->stream != NULL || way->to_len > 0) {
        memcpy(packet + PACKET_HEADER_LEN, way->header, way->header_len);
        sealed = seal_packet(w->seal, way->peer->tx, PACKET_DATA, way->flags, packet,
                             way->header_len + len);
    }
    if (sealed < 0) {
        worker_drop(w, PLANE_DROP_SEND);
        return;
    }
    if (way->peer->path == FORWARD_RELAY) {
        relay_header_put(packet - RELAY_HEADER_LEN, way->peer->channel);
    }
    batch_out(w, way, way->ahead + (size_t)sealed);
    way->packets++;
    way->bytes += len;
}

static void count_sent(const struct worker *w, const struct way *way)
{
    struct forward_flow *flow = way->peer->flow;
    if (way->packets > 0) {
        atomic_fetch_add_explicit(&flow->tx_packets, way->packets, memory_order_relaxed);
        atomic_fetch_add_explicit(&flow->tx_bytes, way->bytes, memory_order_relaxed);
        atomic_store_explicit(&flow->last_tx_us, w->now_us, memory_order_relaxed);
    }
}

static void segments_out(struct worker *w, struct frame *f, struct way *way)
{
    bool undone = f->segments.plain;
    size_t len = 0;
    way->flags |= undone ? PACKET_FLAG_CSUM_UNDONE : 0;
    for (;;) {
        if (batch_full(&w->out)) {
            worker_flush(w);
        }
        len = segment_next(&f->segments, way_inner(w, way), undone);
        if (len == 0) {
            return;
        }
        seal_out(w, way, len);
    }
}

/* The checksum that the kernel left undone can stay so: the far end finds the same field. */
static bool stays_undone(const struct frame *f)
{
    struct transport t;
    return transport_parse(&t, &f->ip, f->bytes + ETH_HEADER_LEN) &&
           f->header.csum_start == ETH_HEADER_LEN + t.start &&
           f->header.csum_offset == t.checksum - t.start;
}

static void packet_out(struct worker *w, struct frame *f, struct way *way)
{
    if (f->undone && stays_undone(f)) {
        way->flags |= PACKET_FLAG_CSUM_UNDONE;
    } else if (f->undone && !segment_finish(f->bytes, f->len, &f->header)) {
        worker_drop(w, PLANE_DROP_INNER);
        return;
    }
    memcpy(way_inner(w, way), f->bytes + ETH_HEADER_LEN, f->ip.len);
    seal_out(w, way, f->ip.len);
}

/* With tags the whole frame travels. */
static void way_tagged(struct way *way, const struct frame *f)
{
    way->flags = PACKET_FLAG_ETHERNET;
    way->header_len = f->tags.len + ETH_HEADER_LEN;
    memcpy(way->header + f->tags.len, f->bytes, ETH_HEADER_LEN);
    vlan_push(&f->tags, way->header + f->tags.len);
}

/* False: by a connection that the workers do not have, yet or any more. */
static bool way_begin(const struct worker *w, struct way *way)
{
    const struct forward_peer *peer = way->peer;
    way->ahead = peer->path == FORWARD_RELAY ? RELAY_HEADER_LEN : 0;
    if (peer->conn == 0) {
        way->to_len = sockaddr_put(&way->to, &peer->to, w->udp_is_v6);
        return true;
    }
    way->ahead += STREAM_HEADER_LEN;
    way->stream = worker_stream(w, peer->conn);
    return way->stream != NULL;
}

static void peer_out(struct worker *w, struct frame *f, const struct forward_peer *peer)
{
    struct way way = {.peer = peer, .flags = PACKET_FLAG_IP};
    if (!way_begin(w, &way)) {
        hand_up_frame(w, f);
        return;
    }
    if (f->tags.len > 0) {
        way_tagged(&way, f);
    }
    if ((f->super ? segment_max(&f->segments) : f->ip.len) > INNER_MAX - way.header_len) {
        too_big(w, f, INNER_MAX - way.header_len);
    } else if (f->super) {
        segments_out(w, f, &way);
    } else {
        packet_out(w, f, &way);
    }
    count_sent(w, &way);
}

/* Earlier ones may still be with the control thread, which has none with tags. */
static enum fence_verdict ahead(struct worker *w, const struct frame *f,
                                const struct forward_peer *peer)
{
    if (f->tags.len > 0) {
        return FENCE_OPEN;
    }
    enum fence_verdict v =
        fence_ask(&w->fence, FENCE_OUT, f->number, &f->ip.dst, upcall_settled(w->upcall));
    bool held = atomic_load_explicit(&peer->flow->held, memory_order_acquire);
    return v == FENCE_OPEN && held ? FENCE_HELD : v;
}

static void known_out(struct worker *w, struct frame *f, const struct forward_peer *peer)
{
    switch (ahead(w, f, peer)) {
    case FENCE_OPEN:
        peer_out(w, f, peer);
        return;
    case FENCE_HELD:
        hand_up_frame(w, f);
        return;
    case FENCE_LATE:
        worker_drop(w, PLANE_DROP_RING_FULL);
        return;
    }
}

static void unicast_out(struct worker *w, struct frame *f)
{
    if (!is_own(f->network, &f->ip.src)) {
        worker_drop(w, PLANE_DROP_SOURCE);
    } else if (addr_eq(&f->ip.dst, &f->network->service)) {
        hand_up(w, f, PLANE_LOCAL);
    } else if (!in_network(f->network, &f->ip.dst) || is_own(f->network, &f->ip.dst)) {
        worker_drop(w, PLANE_DROP_DESTINATION);
    } else {
        const struct forward_peer *peer = forward_lookup(w->forward, f->number, &f->ip.dst);
        if (peer == NULL || peer->path == FORWARD_NONE) {
            hand_up_frame(w, f);
        } else {
            known_out(w, f, peer);
        }
    }
}

/* To our server: broadcast, or unicast to the service address (RFC 2131 4.1, 4.3.6). Its source may
 * be anything: a client may know its address before we do. */
static bool is_dhcp(const struct frame *f)
{
    const struct ip_packet *ip = &f->ip;
    return ip->proto == IP_PROTO_UDP && !ip->fragment &&
           ip->len >= ip->header_len + UDP_HEADER_LEN &&
           get_u16(f->bytes + ETH_HEADER_LEN + ip->header_len + 2) == DHCP_SERVER_PORT &&
           (addr_to_v4(&ip->dst) == UINT32_MAX || addr_eq(&ip->dst, &f->network->service));
}

static void ipv4_out(struct worker *w, struct frame *f)
{
    if (is_dhcp(f)) {
        hand_up(w, f, PLANE_LOCAL);
    } else if (mac_is_multicast(&f->eth.dst) || addr_is_multicast(&f->ip.dst) ||
               is_broadcast(f->network, &f->ip.dst)) {
        worker_drop(w, PLANE_DROP_NOT_UNICAST);
    } else {
        unicast_out(w, f);
    }
}

static void ipv6_out(struct worker *w, struct frame *f)
{
    if (ndp_is_message(&f->ip, f->bytes + ETH_HEADER_LEN)) {
        ndp_out(w, f);
    } else if (mac_is_multicast(&f->eth.dst) || addr_is_multicast(&f->ip.dst)) {
        worker_drop(w, PLANE_DROP_NOT_UNICAST);
    } else {
        unicast_out(w, f);
    }
}

static void ip_out(struct worker *w, struct frame *f)
{
    if (!ip_parse(&f->ip, f->bytes + ETH_HEADER_LEN, f->len - ETH_HEADER_LEN) ||
        f->ip.src.family != (f->eth.type == ETH_TYPE_IPV4 ? 4 : 6)) {
        worker_drop(w, PLANE_DROP_INNER);
        return;
    }
    if (f->super && !segment_begin(&f->segments, f->bytes + ETH_HEADER_LEN, &f->ip, &f->header)) {
        worker_drop(w, PLANE_DROP_INNER);
        return;
    }
    f->len = ETH_HEADER_LEN + f->ip.len; /* Ethernet's padding ends here */
    if (f->ip.src.family == 4) {
        ipv4_out(w, f);
    } else {
        ipv6_out(w, f);
    }
}

static void untag(struct frame *f)
{
    vlan_pull(&f->tags, f->bytes, f->len);
    f->bytes += f->tags.len;
    f->len -= f->tags.len;
    f->header.csum_start =
        (uint16_t)(f->header.csum_start < f->tags.len ? 0 : f->header.csum_start - f->tags.len);
}

static void frame_out(struct worker *w, struct frame *f)
{
    untag(f);
    if (f->network == NULL) {
        worker_drop(w, PLANE_DROP_DESTINATION);
    } else if (f->len >= FRAME_ROOM && !f->super) {
        worker_drop(w, PLANE_DROP_TOO_BIG);
    } else if (!eth_parse(&f->eth, f->bytes, f->len)) {
        worker_drop(w, PLANE_DROP_RUNT);
    } else if (f->eth.type == ETH_TYPE_IPV4 || f->eth.type == ETH_TYPE_IPV6) {
        ip_out(w, f);
    } else if (f->eth.type == ETH_TYPE_ARP) {
        arp_out(w, f);
    } else {
        worker_drop(w, PLANE_DROP_NOT_UNICAST);
    }
}

/* Reads one frame, behind its header if the device has them. Length of the frame, or <= 0: none. */
static ssize_t read_frame(struct worker *w, int fd, unsigned features, struct frame *f)
{
    f->bytes = w->frame + sizeof(f->header);
    if (!(features & DEVICE_HEADER)) {
        return read(fd, f->bytes, FRAME_MAX);
    }
    ssize_t len = read(fd, w->frame, WORKER_FRAME_ROOM);
    if (len <= (ssize_t)sizeof(f->header)) {
        return len < 0 ? len : 0;
    }
    memcpy(&f->header, w->frame, sizeof(f->header));
    f->super = f->header.gso_type != VIRTIO_NET_HDR_GSO_NONE;
    f->undone = f->header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
    return len - (ssize_t)sizeof(f->header);
}

/* False: there was none. */
static bool serve_frame(struct worker *w, uint16_t network, int fd, size_t *bytes)
{
    struct frame f = {.number = network, .network = forward_network(w->forward, network)};
    ssize_t len = read_frame(w, fd, worker_features(w, network), &f);
    if (len <= 0) {
        return false;
    }
    f.len = (size_t)len;
    *bytes += f.len;
    frame_out(w, &f);
    return true;
}

void outbound_serve(struct worker *w, uint16_t network, bool failing)
{
    int fd = atomic_load_explicit(&w->devices[network], memory_order_relaxed);
    unsigned frames = 0;
    size_t bytes = 0;
    w->forward = snapshot_current(w->snapshot);
    while (fd >= 0 && frames < ROUND_FRAMES_MAX && bytes < ROUND_BYTES_MAX &&
           serve_frame(w, network, fd, &bytes)) {
        frames++;
        if (batch_full(&w->out)) {
            worker_flush(w);
        }
    }
    worker_flush(w);
    if (failing && frames == 0) {
        worker_drop(w, PLANE_DROP_DEVICE);
        worker_lose_device(w, network);
    }
}
