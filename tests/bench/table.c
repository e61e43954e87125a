/*
 * table - what a large forward table costs a packet.
 *
 *     table [PEERS]
 *
 * One packet after the other is looked up by its destination, sealed, found by its receiver index,
 * opened, and its source checked, as the workers do it, without system calls: so the difference
 * that a table makes is larger here than it is between devices. A table of one peer and one of
 * PEERS (10,000) take turns; prints the nanoseconds of each, medians, when all packets belong to
 * one peer, and when they go to all peers in turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "overlay/core/err.h"
#include "tap/forward.h"

enum {
    PEERS_DEFAULT = 10000,
    PEERS_LIMIT = 250000,
    TURNS = 15,
    PACKETS = 40000, /* a turn */
    LEN = 1400,
};

struct way {
    struct forward *out, *in; /* the sender's table, and the receiver's */
    unsigned peers;
};

static struct seal_worker *worker;

static struct addr address_of(unsigned i)
{
    return addr_v4(0x0a000001 + i);
}

static struct seal_key *key_of(unsigned i, uint32_t window)
{
    struct secret secret = {{0}};
    memcpy(secret.b, &i, sizeof(i));
    struct seal_key *key =
        seal_key_new(SEAL_AES_256_GCM, &secret, (uint32_t)(i * 2654435761u), window);
    CHECK(key != NULL);
    return key;
}

static void add(struct forward *f, unsigned i, bool sends)
{
    struct seal_key *key = key_of(i, sends ? 0 : SEAL_WINDOW_DATA);
    struct addr address = address_of(i);
    struct forward_peer peer = {.path = sends ? FORWARD_UDP : FORWARD_NONE,
                                .tx = sends ? key : NULL,
                                .flow = forward_flow_new(i + 1)};
    CHECK(peer.flow != NULL);
    int position = forward_add_peer(f, &peer);
    CHECK(position >= 0 && forward_add_address(f, position, &address) == 0);
    CHECK(sends || forward_add_rx(f, position, key) == 0);
    forward_flow_unref(peer.flow);
    seal_key_unref(key);
}

static struct way way_new(unsigned peers)
{
    struct way w = {.out = forward_new(), .in = forward_new(), .peers = peers};
    CHECK(w.out != NULL && w.in != NULL);
    for (unsigned i = 0; i < peers; i++) {
        add(w.out, i, true);
        add(w.in, i, false);
    }
    return w;
}

static void way_free(struct way *w)
{
    forward_free(w->out);
    forward_free(w->in);
}

static void carry(const struct way *w, unsigned i, uint8_t *packet)
{
    struct addr address = address_of(i);
    const struct forward_peer *peer = forward_lookup(w->out, 0, &address);
    int len = seal_packet(worker, peer->tx, PACKET_DATA, PACKET_FLAG_IP, packet, LEN);
    CHECK(len > 0);
    struct seal_key *rx = forward_rx(w->in, seal_key_index(peer->tx), &peer);
    CHECK(rx != NULL && open_packet(worker, rx, packet, (size_t)len) == LEN);
    CHECK(forward_source_ok(w->in, peer, &address));
}

/* Nanoseconds of processor for each packet. */
static double turn(const struct way *w, bool all)
{
    static uint8_t packet[PACKET_HEADER_LEN + LEN + PACKET_TAG_LEN];
    struct timespec begin, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (unsigned n = 0; n < PACKETS; n++) {
        carry(w, all ? n % w->peers : w->peers / 2, packet);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
           PACKETS;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void compare(const struct way *one, const struct way *many, bool all)
{
    double a[TURNS], b[TURNS];
    for (unsigned i = 0; i < TURNS; i++) {
        a[i] = turn(one, false);
        b[i] = turn(many, all);
    }
    qsort(a, TURNS, sizeof(*a), by_size);
    qsort(b, TURNS, sizeof(*b), by_size);
    printf("| %s | %.0f | %.0f | %+.1f%% |\n", all ? "to all in turn" : "to one of them",
           a[TURNS / 2], b[TURNS / 2], 100 * (b[TURNS / 2] / a[TURNS / 2] - 1));
}

int main(int argc, char **argv)
{
    unsigned long peers = argc > 1 ? strtoul(argv[1], NULL, 10) : PEERS_DEFAULT;
    if (argc > 2 || peers < 1 || peers > PEERS_LIMIT || crypto_start() != 0) {
        fprintf(stderr, "usage: table [PEERS]   (1 to %d)\n", PEERS_LIMIT);
        return 2;
    }
    worker = seal_worker_new();
    CHECK(worker != NULL);
    struct way one = way_new(1), many = way_new((unsigned)peers);
    printf("| packets | 1 peer, ns | %lu peers, ns | |\n|---|--:|--:|--:|\n", peers);
    compare(&one, &many, false);
    compare(&one, &many, true);
    way_free(&one);
    way_free(&many);
    seal_worker_free(worker);
    return 0;
}
