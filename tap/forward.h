/*
 * forward.h - what the data plane knows: an immutable snapshot, built by the control thread,
 * published whole, read by workers without a lock.
 *
 * It maps (network, inner address) to peers, receiver index to (key object, peer), and the channel
 * numbers of relay packets to where they go on. A peer
 * entry says with which key and over which path frames leave. Several addresses may lead to one
 * peer and several peers may own one address (routers of one LAN); the source check of a received
 * packet is the same map: its inner source must lead to the peer that sent it.
 *
 * No I/O and no threads here: the simulator forwards with this very code. What changes with every
 * packet (counters, last time heard) lies in a struct forward_flow, shared by all snapshots of one
 * session and atomic.
 */
#ifndef PEAL_TAP_FORWARD_H
#define PEAL_TAP_FORWARD_H

#include "overlay/core/addr.h"
#include "overlay/core/env.h"
#include "overlay/core/meter.h"
#include "overlay/crypto/seal.h"

/* How packets of a peer leave. */
enum forward_path {
    FORWARD_NONE,  /* no key or no path yet: the frame goes to the control thread */
    FORWARD_UDP,   /* straight to peer.to */
    FORWARD_TCP,   /* over the connection peer.conn */
    FORWARD_RELAY, /* to the relay at peer.to, or over the connection peer.conn unless that is 0,
                      behind a relay header with peer.channel */
};

/* Lives as long as a session or a snapshot refers to it. Workers write it with relaxed atomics. */
struct forward_flow {
    _Atomic uint32_t refs;
    uint32_t token; /* the owner's name for this peer; unique in the daemon, never 0 */
    _Atomic uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes; /* bytes of inner packets */
    _Atomic usec last_tx_us, last_rx_us;                         /* 0: never */
    _Atomic usec last_back_us; /* the last packet in by the path that packets leave by */
    _Atomic usec roamed_us;    /* the plane's: when it last reported a packet from elsewhere */
    _Atomic bool held; /* the node's: packets to this peer are about to leave by its thread; what
                          comes to workers now waits behind them */
    _Atomic usec plain_until_us; /* the plane's: joined messages were refused; 0: never */
};
struct forward_flow *forward_flow_new(uint32_t token);
struct forward_flow *forward_flow_ref(struct forward_flow *f);
void forward_flow_unref(struct forward_flow *f);

struct forward_peer {
    uint16_t network; /* number of the network, 0..NETWORKS_MAX-1 */
    enum forward_path path;
    struct endpoint to;        /* by UDP */
    uint32_t conn;             /* by TCP: the connection's number, else 0 */
    uint32_t channel;          /* FORWARD_RELAY */
    struct seal_key *tx;       /* NULL with FORWARD_NONE; a reference is held */
    struct forward_flow *flow; /* a reference is held */
};

/* Relay packets that come from one endpoint, or over one connection, under one channel number. */
struct forward_leg {
    uint32_t channel;
    struct endpoint from;
    uint32_t from_conn; /* TCP: the connection's number, and `from` says nothing; else 0 */
    bool is_public;     /* the public overlay's */
    bool ends_here;     /* what is behind the header is for us; else it goes on: */
    struct endpoint to;
    uint32_t to_conn;          /* TCP, as above */
    uint32_t onward;           /* under this number, */
    struct meter *each, *all;  /* as far as both let it; references are held */
    struct forward_flow *flow; /* made with the entry: what is known of the path onward */
};

/* One network's side of us. */
struct forward_network {
    bool present;
    struct mac device_mac;  /* of our own TAP: destination of frames that we write to it */
    struct net ipv4;        /* the range; family 0: none */
    struct net ipv6;        /* the group's /48 or /64; family 0: none */
    struct addr own4, own6; /* our addresses; family 0 while we have none */
    struct addr service;    /* the network's own service address: DHCP, DNS, echo */
    bool public_relay;      /* data may come by legs of the public overlay */
};

struct forward; /* opaque, immutable once published */

/* Building: one thread, before publishing. Functions return 0, -ERR_NOMEM or -ERR_RANGE. */
struct forward *forward_new(void);
/* Members choose their addresses: a secret (env.hash_key) keeps them from choosing our worst case.
 * Before the first address; zeros when not called. */
void forward_set_hash_key(struct forward *f, const uint8_t key[16]);
int forward_set_network(struct forward *f, uint16_t number, const struct forward_network *net);
/* Copies the entry, takes references of its own. Returns the peer's position (>= 0) for the two
 * below. */
int forward_add_peer(struct forward *f, const struct forward_peer *peer);
/* Inner packets to `addr` of that peer's network go to it and may come from it. An address has at
 * most 16 peers (-ERR_RANGE), used in the order in which they were added. */
int forward_add_address(struct forward *f, int peer, const struct addr *addr);
/* Packets with this key's receiver index are that peer's; old and new keys while it renews. */
int forward_add_rx(struct forward *f, int peer, struct seal_key *rx);
/* Copies the entry but for `flow`, takes references of its own. */
int forward_add_leg(struct forward *f, const struct forward_leg *leg);
void forward_free(struct forward *f);

/* Reading: any thread. */
const struct forward_network *forward_network(const struct forward *f, uint16_t number);
/* The first usable peer for an inner destination, else any (FORWARD_NONE), else NULL. */
const struct forward_peer *forward_lookup(const struct forward *f, uint16_t network,
                                          const struct addr *dst);
/* The inner source may come from this peer. */
bool forward_source_ok(const struct forward *f, const struct forward_peer *peer,
                       const struct addr *src);
struct seal_key *forward_rx(const struct forward *f, uint32_t index,
                            const struct forward_peer **peer);
/* NULL: no such channel. */
const struct forward_leg *forward_leg(const struct forward *f, uint32_t channel);

#endif
