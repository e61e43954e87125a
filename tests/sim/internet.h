/*
 * internet.h - the Internet between the hosts: addresses, delays from a constant or a measured
 * matrix, jitter, loss, duplicates, late packets, one-way cuts, partitions, NAT boxes.
 *
 * Every host has a /24 and a /56 of its own; its index can be read off its address, so finding a
 * destination costs nothing. A packet is sealed bytes with two endpoints; it is judged when it
 * leaves (is there a way?) and when it arrives (is anybody there?).
 */
#ifndef PEAL_SIM_INTERNET_H
#define PEAL_SIM_INTERNET_H

#include "tests/sim/agenda.h"
#include "tests/sim/latency.h"
#include "tests/sim/nat.h"

enum {
    INTERNET_PORT = 4747,
    INTERNET_CUTS_MAX = 64,
    INTERNET_BOXES_MAX = 256,
    INTERNET_NOBODY = -1,
};

enum internet_family { INTERNET_V4 = 1, INTERNET_V6 = 2 };

/* What goes wrong on every link; zeros: nothing. */
struct internet_faults {
    usec jitter_us; /* uniform on top of the delay, so packets overtake each other */
    double loss;    /* probabilities */
    double duplicate;
    double late; /* held back by up to late_us more */
    usec late_us;
};

struct internet_place {
    uint32_t row; /* of the matrix */
    uint8_t part; /* of the partition; equal parts talk */
    uint8_t families;
    int16_t box; /* behind this NAT box; INTERNET_NOBODY: on the public net */
};

struct internet_cut {
    uint32_t from, to; /* hosts; one way */
};

struct internet {
    usec delay_us; /* one way, when there is no matrix */
    const struct latency *latency;
    struct internet_faults faults;
    struct random random;
    struct internet_place *places; /* by host */
    size_t hosts;
    struct nat boxes[INTERNET_BOXES_MAX];
    size_t box_count;
    struct internet_cut cuts[INTERNET_CUTS_MAX];
    size_t cut_count;
    uint8_t apart_key[16]; /* of the draw which pairs cannot reach each other */
    double apart;          /* their share of all pairs */
    uint32_t apart_from;   /* hosts below that are reached by everybody */
    uint64_t sent, lost;
};

struct packet {
    struct event event;
    struct endpoint from, to; /* as the network sees them */
    uint16_t len;
    uint8_t bytes[];
};

/* places must be filled in before the first packet. */
void internet_init(struct internet *n, size_t hosts, struct random random);
void internet_clear(struct internet *n);
/* Adds a box; behind it hosts have 192.168.0.0/16 addresses. Returns its number. */
int internet_add_box(struct internet *n, const struct nat_kind *kind, struct random random);

/* A host's own endpoints. Returns how many (0..2). */
size_t internet_endpoints(const struct internet *n, uint32_t host, struct endpoint out[2]);
/* Where a host can be reached from outside without having sent anything; family 0: nowhere. */
struct endpoint internet_public_endpoint(const struct internet *n, uint32_t host);
/* Takes the bytes from a host, sets the events of 0 to 2 packets that will arrive. */
void internet_send(struct internet *n, struct agenda *q, usec now_us, uint32_t host,
                   const struct endpoint *to, const uint8_t *bytes, size_t len,
                   void (*arrive)(struct world *w, struct event *e));
/* Who gets an arriving packet: a host's index, or INTERNET_NOBODY. May set a further packet on its
 * way through a box. */
long internet_arrive(struct internet *n, usec now_us, const struct packet *p);
/* One way, undisturbed; for figures. */
usec internet_one_way(const struct internet *n, uint32_t from, uint32_t to);
/* There is a way for packets from one host to the other: no cut, no partition. */
bool internet_connected(const struct internet *n, uint32_t from, uint32_t to);
/* The two can never reach each other directly, whatever heals: a NAT or firewall of the worst kind
 * between them. */
bool internet_apart(const struct internet *n, uint32_t a, uint32_t b);
/* No partition between them. */
bool internet_together(const struct internet *n, uint32_t a, uint32_t b);
void internet_cut(struct internet *n, uint32_t from, uint32_t to);
/* Ends bad links and cuts. */
void internet_heal(struct internet *n);
/* Ends a partition. */
void internet_reunite(struct internet *n);
/* There are bad links or cuts. */
bool internet_is_bad(const struct internet *n);

#endif
