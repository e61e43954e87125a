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
#include "tap/icmp.h"
#include "tap/ndp.h"
#include "tap/worker.h"

enum {
    FRAME_OFFSET = PACKET_HEADER_LEN - ETH_HEADER_LEN, /* so that the IP packet is the payload */
    FRAME_ROOM = BATCH_ROOM - FRAME_OFFSET - PACKET_TAG_LEN,
    INNER_MAX = PACKET_MAX - PACKET_HEADER_LEN - PACKET_TAG_LEN,
    DHCP_SERVER_PORT = 67, /* RFC 2131 4.1 */
};

static const usec resolve_interval_us = SEC(1); /* as often as the kernel repeats an ARP request */
static const usec too_big_interval_us = MSEC(100);

/* A frame on its way out. */
struct frame {
    uint8_t *packet; /* the buffer; bytes = packet + FRAME_OFFSET */
    uint8_t *bytes;
    size_t len;
    uint16_t number; /* of the network */
    const struct forward_network *network;
    struct eth_header eth;
    struct ip_packet ip; /* only for IP; then len ends with the IP packet */
};

static void hand_up(struct worker *w, const struct frame *f, enum plane_item_kind kind)
{
    worker_upcall(w, &(struct plane_item){
                         .kind = kind, .network = f->number, .bytes = f->bytes, .len = f->len});
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
    if (!addr_eq(target, &n->service) && forward_lookup(w->forward, f->number, target) == NULL &&
        seldom_pass(&w->seldom, SELDOM_RESOLVE, f->number, target, w->now_us,
                    resolve_interval_us)) {
        worker_upcall(
            w, &(struct plane_item){.kind = PLANE_RESOLVE, .network = f->number, .addr = *target});
    }
    return true;
}

static void arp_out(struct worker *w, const struct frame *f)
{
    struct arp_packet arp;
    if (!arp_parse(&arp, f->bytes, f->len)) {
        worker_drop(w, PLANE_DROP_INNER);
    } else if (!arp_is_question(&arp) || !answers_for(w, f, &arp.target)) {
        worker_drop(w, PLANE_DROP_NOT_UNICAST);
    } else {
        uint8_t answer[ARP_FRAME_LEN];
        arp_answer(answer, &arp, &plane_virtual_mac);
        worker_write_frame(w, f->number, answer, sizeof(answer));
    }
}

static void ndp_out(struct worker *w, const struct frame *f)
{
    struct ndp_solicitation ns;
    if (!ndp_parse(&ns, f->bytes, f->len) || !ndp_is_question(&ns) ||
        !answers_for(w, f, &ns.target)) {
        worker_drop(w, PLANE_DROP_NOT_UNICAST); /* also what routers and neighbours announce */
    } else {
        uint8_t answer[NDP_ADVERTISEMENT_FRAME_LEN];
        ndp_answer(answer, &ns, &plane_virtual_mac);
        worker_write_frame(w, f->number, answer, sizeof(answer));
    }
}

static void too_big(struct worker *w, const struct frame *f)
{
    uint8_t answer[ICMP_TOO_BIG_FRAME_MAX];
    const struct addr *from = f->ip.src.family == 4 ? &f->network->service : &f->ip.dst;
    worker_drop(w, PLANE_DROP_TOO_BIG);
    if (!seldom_pass(&w->seldom, SELDOM_TOO_BIG, f->number, &f->ip.dst, w->now_us,
                     too_big_interval_us)) {
        return;
    }
    size_t len = icmp_too_big(answer, sizeof(answer), f->bytes, f->len, from, INNER_MAX);
    if (len > 0) {
        worker_write_frame(w, f->number, answer, len);
    }
}

static void seal_out(struct worker *w, const struct frame *f, const struct forward_peer *peer)
{
    union sockaddr_any to;
    socklen_t to_len = sockaddr_put(&to, &peer->to, w->udp_is_v6);
    if (f->ip.len > INNER_MAX) {
        too_big(w, f);
        return;
    }
    int len = to_len == 0 ? -ERR_RANGE
                          : seal_packet(w->seal, peer->tx, PACKET_DATA, PACKET_FLAG_IP, f->packet,
                                        f->ip.len);
    if (len < 0) {
        worker_drop(w, PLANE_DROP_SEND);
        return;
    }
    batch_add(&w->out, (size_t)len, &to, to_len);
    struct forward_flow *flow = peer->flow;
    atomic_fetch_add_explicit(&flow->tx_packets, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&flow->tx_bytes, f->ip.len, memory_order_relaxed);
    atomic_store_explicit(&flow->last_tx_us, w->now_us, memory_order_relaxed);
}

static void unicast_out(struct worker *w, const struct frame *f)
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
            hand_up(w, f, PLANE_FRAME);
        } else {
            seal_out(w, f, peer);
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

static void ipv4_out(struct worker *w, const struct frame *f)
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

static void ipv6_out(struct worker *w, const struct frame *f)
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
    f->len = ETH_HEADER_LEN + f->ip.len; /* Ethernet's padding ends here */
    if (f->ip.src.family == 4) {
        ipv4_out(w, f);
    } else {
        ipv6_out(w, f);
    }
}

static void frame_out(struct worker *w, struct frame *f)
{
    if (f->network == NULL) {
        worker_drop(w, PLANE_DROP_DESTINATION);
    } else if (f->len == FRAME_ROOM) {
        worker_drop(w, PLANE_DROP_TOO_BIG); /* cut off by our own buffer */
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

static void flush(struct worker *w)
{
    struct batch_refused refused = batch_send(&w->out, w->udp_fd);
    for (unsigned i = 0; i < refused.too_big; i++) {
        worker_drop(w, PLANE_DROP_TOO_BIG);
    }
    for (unsigned i = 0; i < refused.other; i++) {
        worker_drop(w, PLANE_DROP_SEND);
    }
}

void outbound_serve(struct worker *w, uint16_t network, bool failing)
{
    int fd = atomic_load_explicit(&w->devices[network], memory_order_relaxed);
    w->forward = snapshot_current(w->snapshot);
    const struct forward_network *n = forward_network(w->forward, network);
    ssize_t len = 0;
    unsigned frames = 0;
    for (; fd >= 0 && frames < BATCH_PACKETS; frames++) {
        uint8_t *packet = batch_packet(&w->out, w->out.count);
        len = read(fd, packet + FRAME_OFFSET, FRAME_ROOM);
        if (len <= 0) {
            break;
        }
        struct frame f = {.packet = packet,
                          .bytes = packet + FRAME_OFFSET,
                          .len = (size_t)len,
                          .number = network,
                          .network = n};
        frame_out(w, &f);
    }
    flush(w);
    if (failing && frames == 0) {
        worker_drop(w, PLANE_DROP_DEVICE);
        worker_lose_device(w, network);
    }
}
