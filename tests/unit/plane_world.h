/*
 * plane_world.h - whole planes, with their threads, on loopback UDP sockets and with socket pairs
 * for devices: machines, pairs of them, and a stranger with the right keys. Nothing waits for time:
 * to see that something had no effect, another thing is sent after it that has.
 */
#ifndef PEAL_TESTS_PLANE_WORLD_H
#define PEAL_TESTS_PLANE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "overlay/core/wire.h"
#include "tap/arp.h"
#include "tap/checksum.h"
#include "tap/device.h"
#include "tap/icmp.h"
#include "tap/ndp.h"

/* A socket pair does not know what it can do. */
static unsigned world_features;
unsigned offload_of_world(int fd);
unsigned offload_of_world(int fd)
{
    return world_features;
}
#define device_offload offload_of_world
#include "tap/plane.c"
#undef device_offload

enum { WAIT_MS = 20000, INDEX_A = 0x0a0a0a0a, INDEX_B = 0x0b0b0b0b, TOKEN = 77 };

static const struct mac kernel_mac = {{0x02, 0, 0, 0, 0, 0x77}};
static const struct secret secrets[2] = {{{1}}, {{2}}}; /* of the two directions */

static inline struct addr addr_of(const char *text)
{
    struct addr a = {0};
    if (text != NULL) {
        assert_true(addr_parse(&a, text));
    }
    return a;
}

static inline struct net net_of(const char *text)
{
    struct net n;
    assert_true(net_parse(&n, text));
    return n;
}

/* A machine: a plane, the socket it uses, and the far ends of its devices' queues. */
struct machine {
    struct plane *plane;
    int udp;
    struct endpoint at;
    unsigned workers;
    int device[SNAPSHOT_READERS_MAX]; /* our ends */
    struct forward_network network;
    struct forward_flow *flow; /* of its peer */
};

/* How the planes' sockets are made. */
enum socket_kind { SOCKET_V4, SOCKET_BOTH_USED_BY_V4, SOCKET_BOTH_USED_BY_V6 };

static inline int udp_socket_of(struct endpoint *at, enum socket_kind kind)
{
    union sockaddr_any a;
    socklen_t len = sizeof(a);
    int size = 4 << 20, off = 0, family = kind == SOCKET_V4 ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct endpoint any = {addr_of(kind == SOCKET_V4 ? "127.0.0.1" : "::"), 0};
    if (kind != SOCKET_V4) {
        assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
    }
    assert_int_equal(bind(fd, &a.any, sockaddr_put(&a, &any, kind != SOCKET_V4)), 0);
    assert_int_equal(getsockname(fd, &a.any, &len), 0);
    assert_true(sockaddr_get(at, &a));
    at->addr = addr_of(kind == SOCKET_BOTH_USED_BY_V6 ? "::1" : "127.0.0.1");
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    return fd;
}

static inline int udp_socket(struct endpoint *at)
{
    return udp_socket_of(at, SOCKET_V4);
}

static inline void add_device(struct machine *m, uint16_t network)
{
    struct device_fds ends = {.count = m->workers, .writer = -1};
    for (unsigned i = 0; i < m->workers; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
        m->device[i] = pair[0];
        ends.queues[i] = pair[1];
    }
    assert_int_equal(plane_add_device(m->plane, network, &ends), 0);
}

/* own4 and own6 end with the same number, in 10.77.0.0/16 and fd00:77::/64. */
static inline void machine_start_on(struct machine *m, unsigned number, unsigned workers,
                                    enum socket_kind kind)
{
    char text[ADDR_TEXT_SIZE];
    *m = (struct machine){.workers = workers, .flow = forward_flow_new(TOKEN)};
    m->udp = udp_socket_of(&m->at, kind);
    m->network = (struct forward_network){.present = true,
                                          .device_mac = kernel_mac,
                                          .ipv4 = net_of("10.77.0.0/16"),
                                          .ipv6 = net_of("fd00:77::/64"),
                                          .service = addr_of("10.77.0.1")};
    snprintf(text, sizeof(text), "10.77.0.%u", number);
    m->network.own4 = addr_of(text);
    snprintf(text, sizeof(text), "fd00:77::%u", number);
    m->network.own6 = addr_of(text);
    struct plane_config config = {
        .udp_fd = m->udp, .udp_is_v6 = kind != SOCKET_V4, .workers = workers};
    m->plane = plane_new(&config);
    assert_non_null(m->plane);
    add_device(m, 0);
}

static inline void machine_start(struct machine *m, unsigned number, unsigned workers)
{
    machine_start_on(m, number, workers, SOCKET_V4);
}

static inline void machine_stop(struct machine *m)
{
    plane_free(m->plane);
    for (unsigned i = 0; i < m->workers; i++) {
        close(m->device[i]);
    }
    close(m->udp);
    assert_int_equal(atomic_load(&m->flow->refs), 1); /* no table is left behind */
    forward_flow_unref(m->flow);
}

/* Keys of one direction each; direction 0 is from A to B. */
static inline struct seal_key *tx_key(unsigned direction)
{
    return seal_key_new(SEAL_CHACHA20_POLY1305, &secrets[direction],
                        direction == 0 ? INDEX_B : INDEX_A, 0);
}

static inline struct seal_key *rx_key(unsigned direction)
{
    return seal_key_new(SEAL_CHACHA20_POLY1305, &secrets[direction],
                        direction == 0 ? INDEX_B : INDEX_A, SEAL_WINDOW_DATA);
}

/* A table in which `peer_number` is reached at `to` with tx, and heard with rx; NULL: not yet. */
static inline struct forward *table_of(const struct machine *m, unsigned peer_number,
                                       const struct endpoint *to, struct seal_key *tx,
                                       struct seal_key *rx)
{
    struct forward *f = forward_new();
    struct forward_peer peer = {
        .path = tx == NULL ? FORWARD_NONE : FORWARD_UDP, .tx = tx, .flow = m->flow};
    char text[ADDR_TEXT_SIZE];
    if (to != NULL) {
        peer.to = *to;
    }
    assert_int_equal(forward_set_network(f, 0, &m->network), 0);
    int p = forward_add_peer(f, &peer);
    snprintf(text, sizeof(text), "10.77.0.%u", peer_number);
    struct addr v4 = addr_of(text);
    snprintf(text, sizeof(text), "fd00:77::%u", peer_number);
    struct addr v6 = addr_of(text);
    assert_int_equal(forward_add_address(f, p, &v4), 0);
    assert_int_equal(forward_add_address(f, p, &v6), 0);
    if (rx != NULL) {
        assert_int_equal(forward_add_rx(f, p, rx), 0);
    }
    return f;
}

/* A worker counts what it received at the end of its round, maybe just after the device got it. */
static inline void counts_to(const _Atomic uint64_t *counter, uint64_t wanted)
{
    for (unsigned ms = 0; atomic_load(counter) < wanted && ms < 5000; ms++) {
        poll(NULL, 0, 1);
    }
    assert_int_equal(atomic_load(counter), wanted);
}

static inline bool wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, WAIT_MS) == 1;
}

static inline size_t read_frame(const struct machine *m, uint8_t *frame, size_t size)
{
    assert_true(wait_readable(m->device[0]));
    ssize_t n = read(m->device[0], frame, size);
    assert_true(n > 0);
    return (size_t)n;
}

static inline void next_item(struct machine *m, struct plane_item *item)
{
    while (!plane_next(m->plane, item)) {
        assert_true(wait_readable(plane_event_fd(m->plane)));
    }
}

static inline void push(const struct machine *m, const uint8_t *frame, size_t len)
{
    assert_int_equal(write(m->device[0], frame, len), len);
}

/* A UDP packet in a frame from the kernel of a machine to the virtual MAC. */
static inline size_t put_frame(uint8_t *frame, const char *src, const char *dst, const void *data,
                               size_t len)
{
    struct endpoint s = {addr_of(src), 5000}, d = {addr_of(dst), 6000};
    return udp_frame(frame, 2000, &plane_virtual_mac, &kernel_mac, &s, &d, data, len);
}

/* A frame with data_len bytes of `mark` goes in here and comes out there as it was. */
static inline void carry(struct machine *from, const char *src, struct machine *to, const char *dst,
                         uint8_t mark, size_t data_len)
{
    uint8_t frame[1600], got[1600], data[1400];

    memset(data, mark, sizeof(data));
    size_t len = put_frame(frame, src, dst, data, data_len);
    push(from, frame, len);
    assert_int_equal(read_frame(to, got, sizeof(got)), len);
    assert_memory_equal(got + ETH_HEADER_LEN, frame + ETH_HEADER_LEN, len - ETH_HEADER_LEN);
}

/* "Who has the service address": always answered. */
static inline void push_service_arp(const struct machine *m)
{
    struct arp_packet ask = {.op = ARP_REQUEST,
                             .sender_mac = kernel_mac,
                             .sender = addr_of("10.77.0.1"),
                             .target = addr_of("10.77.9.9")};
    uint8_t frame[ARP_FRAME_LEN];
    arp_answer(frame, &ask, &kernel_mac); /* who is the answer's sender becomes the question's */
    put_u16(frame + 20, ARP_REQUEST);
    push(m, frame, sizeof(frame));
}

/* So what was pushed before has been seen. */
static inline void sync_device(const struct machine *m)
{
    static const uint8_t service[4] = {10, 77, 0, 1};
    uint8_t answer[64];
    push_service_arp(m);
    assert_int_equal(read_frame(m, answer, sizeof(answer)), ARP_FRAME_LEN);
    assert_memory_equal(answer + 28, service, 4);
}

/* The drop counters, and which one grew. */
struct drops {
    uint64_t n[PLANE_DROP_COUNT];
};

static inline struct drops drops_of(const struct machine *m)
{
    struct drops d;
    for (int i = 0; i < PLANE_DROP_COUNT; i++) {
        d.n[i] = plane_drops(m->plane, (enum plane_drop)i);
    }
    return d;
}

/* Exactly one drop, for this reason; or none at all for PLANE_DROP_COUNT. */
static inline bool grew_by(const struct drops *before, const struct drops *after,
                           enum plane_drop why)
{
    for (int i = 0; i < PLANE_DROP_COUNT; i++) {
        if (after->n[i] - before->n[i] != (i == (int)why)) {
            return false;
        }
    }
    return true;
}

static inline void print_growth(const struct drops *before, const struct drops *after)
{
    for (int i = 0; i < PLANE_DROP_COUNT; i++) {
        if (after->n[i] != before->n[i]) {
            print_message("%s +%u\n", plane_drop_text((enum plane_drop)i),
                          (unsigned)(after->n[i] - before->n[i]));
        }
    }
}

/* Two machines, 10.77.0.2 and 10.77.0.3, that know each other. */
struct pair {
    struct machine a, b;
};

static inline void pair_start_on(struct pair *p, unsigned workers, enum socket_kind kind)
{
    struct seal_key *ab_tx = tx_key(0), *ab_rx = rx_key(0), *ba_tx = tx_key(1), *ba_rx = rx_key(1);
    machine_start_on(&p->a, 2, workers, kind);
    machine_start_on(&p->b, 3, workers, kind);
    plane_publish(p->a.plane, table_of(&p->a, 3, &p->b.at, ab_tx, ba_rx));
    plane_publish(p->b.plane, table_of(&p->b, 2, &p->a.at, ba_tx, ab_rx));
    seal_key_unref(ab_tx);
    seal_key_unref(ab_rx);
    seal_key_unref(ba_tx);
    seal_key_unref(ba_rx);
}

static inline void pair_start(struct pair *p, unsigned workers)
{
    pair_start_on(p, workers, SOCKET_V4);
}

static inline void pair_stop(struct pair *p)
{
    machine_stop(&p->a);
    machine_stop(&p->b);
}

/* A stranger's socket that sends to B, and knows the keys of A. */
struct stranger {
    struct machine b;
    int udp;
    struct endpoint at;
    struct seal_key *tx, *rx; /* of the direction A to B */
    struct seal_worker *w;
};

static inline void stranger_start_against(struct stranger *s, unsigned workers)
{
    s->udp = udp_socket(&s->at);
    s->tx = tx_key(0);
    s->rx = rx_key(0);
    s->w = seal_worker_new();
    struct seal_key *back = tx_key(1);
    machine_start(&s->b, 3, workers);
    plane_publish(s->b.plane, table_of(&s->b, 2, &s->at, back, s->rx));
    seal_key_unref(back);
}

static inline void stranger_start(struct stranger *s)
{
    stranger_start_against(s, 1);
}

static inline void stranger_stop(struct stranger *s)
{
    seal_key_unref(s->tx);
    seal_key_unref(s->rx);
    seal_worker_free(s->w);
    close(s->udp);
    machine_stop(&s->b);
}

static inline void send_to(const struct stranger *s, const uint8_t *packet, size_t len)
{
    union sockaddr_any to;
    socklen_t to_len = sockaddr_put(&to, &s->b.at, false);
    assert_int_equal(sendto(s->udp, packet, len, 0, &to.any, to_len), len);
}

/* A STUN request is always handed up: what was sent before has been seen. */
static inline void sync_socket(struct stranger *s)
{
    static const uint8_t stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 's', 'y', 'n', 'c'};
    struct plane_item item;
    send_to(s, stun, sizeof(stun));
    next_item(&s->b, &item);
    assert_int_equal(item.kind, PLANE_PACKET);
    assert_int_equal(item.len, sizeof(stun));
    assert_memory_equal(item.bytes, stun, sizeof(stun));
}

static inline size_t seal_inner(struct stranger *s, uint8_t *packet, uint8_t flags,
                                const uint8_t *inner, size_t len)
{
    memcpy(packet + PACKET_HEADER_LEN, inner, len);
    int n = seal_packet(s->w, s->tx, PACKET_DATA, flags, packet, len);
    assert_true(n > 0);
    return (size_t)n;
}

#endif
