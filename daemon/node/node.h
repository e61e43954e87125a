/*
 * node.h - one machine's membership of one group: overlay, DHT, addresses, names, DHCP, DNS and the
 * source check behind one env, without I/O. peald hosts it on sockets and a TAP, peal-sim on
 * virtual links; both run this very object.
 *
 * Order of a life: the overlay joins the ring; the node claims an IPv4 address (the one it had,
 * else one derived from its node id) and its host name by DHT `create`; then the state is NODE_UP.
 * Frames to addresses nobody is known for start a lookup, a session and data keys, and wait,
 * bounded, until then.
 *
 * Addresses: own IPv6 is the group's /48, subnet 0, and 64 bits of SHA-256(node id); no lease
 * needed. Source check: a peer shows the signed lease of its address; it is believed after a
 * majority `get` names that owner, until the lease's end. Until then its packets wait (64, 500 ms).
 */
#ifndef PEAL_DAEMON_NODE_H
#define PEAL_DAEMON_NODE_H

#include "overlay/overlay.h"
#include "tap/forward.h"

enum node_state {
    NODE_JOINING, /* looking for the ring, or for an address */
    NODE_UP, /* in the ring and, with a device, an address and a name are ours (address mode dhcp:
                in the ring) */
    NODE_FAILED,  /* nothing changes without a person: `reason` says what (it goes on trying slowly)
                   */
    NODE_REMOVED, /* our certificate was revoked */
    NODE_LEAVING,
};
const char *
node_state_text(enum node_state s); /* as in `peal status`: joining, up, failed, removed, leaving */

enum node_address_mode {
    NODE_ADDRESS_AUTO,  /* the host sets it on the device */
    NODE_ADDRESS_DHCP,  /* a client on the device asks for it */
    NODE_ADDRESS_FIXED, /* config.fixed, or NODE_FAILED while another owns it */
    NODE_ADDRESS_NONE,  /* no device: a node of the overlay only */
};

enum {
    NODE_REASON_SIZE = 160,
    NODE_HOSTNAME_SIZE = 64,
    NODE_DOMAIN_SIZE = 254,
    NODE_NAME_SIZE = 64
};

struct node_config {
    char name[NODE_NAME_SIZE];         /* the group's */
    char domain[NODE_DOMAIN_SIZE];     /* "lab.peal" */
    char hostname[NODE_HOSTNAME_SIZE]; /* wanted; a label */
    struct overlay_config overlay;     /* the borrowed things outlive the node */
    struct removed *removed; /* who was removed; borrowed, and added to. NULL without CA */
    struct net ipv4, ipv6;   /* the group's */
    uint32_t lease_s;
    enum node_address_mode address_mode;
    struct addr fixed; /* NODE_ADDRESS_FIXED */
    struct addr last;  /* the address before the restart; family 0: none */
    struct mac device_mac;
    uint16_t network; /* number in the forwarding snapshot */
    uint16_t mtu;
    bool dns_forward;  /* the host forwards foreign names (host.dns_query) */
    bool rendezvous;   /* the public overlay's node: groups meet there (rendezvous.h, tunnel.h) */
    bool public_relay; /* a group's: its data may go through the public overlay */
};

struct node_host {
    void (*send)(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len);
    /* As in struct overlay_host; all three NULL: no TCP. */
    uint32_t (*tcp_open)(void *ctx, const struct endpoint *to);
    void (*tcp_send)(void *ctx, uint32_t conn, const uint8_t *pkt, size_t len);
    void (*tcp_close)(void *ctx, uint32_t conn);
    /* An Ethernet frame for the device. */
    void (*frame)(void *ctx, const uint8_t *frame, size_t len);
    /* Our addresses changed: set them on the device (AUTO, FIXED). Family 0: take away. */
    void (*addresses)(void *ctx, const struct net *ipv4, const struct net *ipv6);
    /* node_forward would give something else than before. Called often; hosts coalesce. */
    void (*forward_changed)(void *ctx);
    /* State, reason, address, host name or certificate-related facts changed: save, tell waiters.
     */
    void (*changed)(void *ctx);
    /* config.removed grew: keep it. */
    void (*removed)(void *ctx);
    /* A foreign name's query for config.dns_forward; the answer comes back by node_dns_reply. */
    void (*dns_query)(void *ctx, const uint8_t *query, size_t len);
    /* A group's node, NULL: it has no public one beside it. A packet for node_tunnel_send of that,
     * data for node_tunnel_used, and what node_tunnel_way says; may be called from inside. */
    void (*tunnel_send)(void *ctx, const struct id *to, const uint8_t *pkt, size_t len);
    void (*tunnel_used)(void *ctx, const struct id *to);
    bool (*tunnel_way)(void *ctx, const struct id *to, struct overlay_data *way);
    /* Of the public overlay's node: a packet for some group, from its node `from`; it may be
     * changed; `from` is zero for data. A member of the group with this token is there
     * (overlay_add_tunnel). A peer at `by` sees us as `us`; may be called from inside. None of the
     * three may call back. */
    void (*tunnel_input)(void *ctx, const struct id *from, uint8_t *pkt, size_t len);
    void (*met)(void *ctx, uint32_t token, const struct id *end, const struct id *member);
    void (*observed)(void *ctx, const struct endpoint *by, const struct endpoint *us);
    /* As in struct overlay_host. */
    void (*where)(void *ctx, const struct endpoint *server);
};
/* Callbacks come last; they may call status functions and node_forward, nothing that changes the
 * node. */

struct node;

/* NULL when out of memory. env, host and what config borrows outlive it. */
struct node *node_new(const struct node_config *config, struct env *env,
                      const struct node_host *host, void *ctx);
void node_free(struct node *n);

/* A datagram of our port. True when it was for this node (a first handshake message is offered to
 * each node in turn). */
bool node_input(struct node *n, const struct endpoint *from, uint8_t *pkt, size_t len);
/* The same from a TCP connection, and what becomes of connections: as in overlay.h. */
bool node_tcp_input(struct node *n, uint32_t conn, const struct endpoint *from, uint8_t *pkt,
                    size_t len);
void node_tcp_opened(struct node *n, uint32_t conn);
void node_tcp_closed(struct node *n, uint32_t conn);
void node_tick(struct node *n);
usec node_deadline(const struct node *n);

/* What the data plane hands up (tap/plane.h). */
void node_frame(struct node *n, const uint8_t *frame,
                size_t len); /* to an address without a usable peer */
void node_local(struct node *n, const uint8_t *frame,
                size_t len); /* DHCP, or to the service address */
void node_resolve(struct node *n, const struct addr *addr);
void node_unverified(struct node *n, uint32_t token, uint8_t flags, const uint8_t *packet,
                     size_t len);
void node_roamed(struct node *n, uint32_t token, const struct endpoint *from);
void node_dns_reply(struct node *n, const uint8_t *reply, size_t len);

/* Out of a tunnel, from that node of the public overlay, zero for data. True when it was for this
 * one. */
bool node_tunnel_input(struct node *n, const struct id *from, uint8_t *pkt, size_t len);

/* The rest of these only with config.rendezvous. */
void node_tunnel_send(struct node *n, const struct id *to, const uint8_t *pkt, size_t len);
/* A group's data goes to that node of the public overlay, or comes from it: the session with it is
 * kept. */
void node_tunnel_used(struct node *n, const struct id *to);
/* The way by which data gets there. False: none yet. */
bool node_tunnel_way(struct node *n, const struct id *to, struct overlay_data *way);
/* A group of this daemon whose members are to find each other. token: the caller's; again replaces.
 * 0, -ERR_FULL, -ERR_NOMEM. */
struct node_meeting {
    uint32_t token;
    struct secret group_key;
    struct sign_secret sec; /* ours in the group: nothing but an id is made of it */
    struct id member;       /* our id there */
};
int node_meet(struct node *n, const struct node_meeting *m) MUST_USE;
void node_meet_no_more(struct node *n, uint32_t token);
/* The group has no connection to anybody: they are looked for often. */
void node_meet_lonely(struct node *n, uint32_t token, bool lonely);
/* We are none of those whom others are to find there (node_is_host). */
void node_meet_hidden(struct node *n, uint32_t token, bool hidden);

/* Adds this node's network, peers, addresses and keys. 0 or -ERR_NOMEM. */
int node_forward(struct node *n, struct forward *f);
/* All packets that the node gave to the host so far have left. For hosts with a data plane: it must
 * not send a flow's later packets before. */
void node_sent(struct node *n);

/* The outside of the machine changed. */
void node_set_endpoints(struct node *n, const struct endpoint *eps, size_t count);
int node_add_bootstrap(struct node *n, const struct endpoint *ep);
void node_network_changed(struct node *n);
void node_awoke(struct node *n); /* as overlay_awoke */
/* Another wanted name, a label: the old one is freed, addresses and sessions stay. */
void node_set_hostname(struct node *n, const char *hostname);
/* After a renewal (same key, same node id): used from the next handshake and record on. Borrowed.
 */
void node_set_cert(struct node *n, const uint8_t *der, size_t len);
void node_set_dns_forward(struct node *n, bool forward);
struct overlay *node_overlay(struct node *n); /* for status, contacts, ping and crawl */
struct dht;
struct dht *node_dht(struct node *n); /* the same, for what is held and questions of one's own */

/* From the group's service, or what was kept of it: one removal, and a CRL (DER; *why is static
 * text when it is REMOVED_BAD). Removals that are news are spread over the ring. */
enum removed_news node_removal(struct node *n, const uint8_t *message, size_t len);
enum removed_news node_crl(struct node *n, const uint8_t *der, size_t len, const char **why);
/* We are one of those that ask the service for removals all the time. */
bool node_watches_removals(const struct node *n);
/* Who looks for the group in the public overlay is to find us: everybody until the first removal,
 * then the few that watch for removals, and who is in no ring. */
bool node_is_host(const struct node *n);

/* Goodbye: lease and name are freed, ranges handed over, neighbours told. node_left: done, at most
 * 3 s later. */
void node_leave(struct node *n);
bool node_left(const struct node *n);

struct node_status {
    enum node_state state;
    char reason[NODE_REASON_SIZE];     /* "" while all is well */
    char hostname[NODE_HOSTNAME_SIZE]; /* ours by the DHT; may differ from the wanted one (alice-2);
                                          "" not yet */
    struct net ipv4, ipv6;             /* family 0: none yet */
    struct addr service;
    size_t dht_records; /* held for others */
    size_t dht_bytes;
};
void node_status(const struct node *n, struct node_status *out);

/* What the DHT says about an address, a name (label or in our domain) or a node id in hex. */
struct node_lookup_result {
    bool found;
    bool timed_out;
    struct id node;
    char hostname[NODE_HOSTNAME_SIZE];
    struct addr ipv4, ipv6;
    uint32_t remaining_s; /* of the lease */
};
/* done is called exactly once, at most 5 s later; 0, -ERR_FORMAT (none of the three), -ERR_FULL. */
int node_lookup(struct node *n, const char *what,
                void (*done)(void *ctx, const struct node_lookup_result *r), void *ctx);

/* Members as met on a crawl, with what each says about itself; `end` once after the last. */
struct node_member {
    struct overlay_crawl_node ring;
    char hostname[NODE_HOSTNAME_SIZE]; /* "" when it did not answer */
    char user[CERT_USER_MAX + 1];
    struct addr ipv4, ipv6;
    uint64_t removed; /* the highest number of a removal that it knows; 0: none */
};
int node_members(struct node *n, void (*member)(void *ctx, const struct node_member *m),
                 void (*end)(void *ctx, uint32_t nodes, uint32_t inconsistent), void *ctx);
void node_members_cancel(struct node *n, void *ctx);

/* What we know of a peer by its session, for `peal peers`: false when nothing; then it is asked,
 * for the next time. */
bool node_peer_facts(struct node *n, const struct id *peer, char hostname[NODE_HOSTNAME_SIZE],
                     struct addr *ipv4);
/* Inner bytes to and from it, by its data session's token; false when none. */
bool node_peer_traffic(const struct node *n, uint32_t token, uint64_t *tx_bytes,
                       uint64_t *rx_bytes);
/* Its path lately refused joined messages: packets go to it one by one. */
bool node_peer_plain(const struct node *n, uint32_t token, usec now_us);

/* Counters of overlay, DHT and node; names are static. False past the last. */
bool node_counter(const struct node *n, size_t i, const char **name, uint64_t *value);

#endif
