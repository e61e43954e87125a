/*
 * overlay.h - one node of one overlay: sessions, the Symphony ring, routing, broadcast, crawl. The
 * public header of this folder; dht/ and daemon/node see nothing else of it (and core, crypto).
 *
 * A machine without I/O: it has three doors, overlay_input, overlay_tick, overlay_deadline, and
 * hands out packets and events through struct overlay_host. A group's overlay and the public one
 * are the same code with another configuration.
 *
 * A node starts ALONE, probes its bootstraps and remembered contacts, becomes JOINING when one
 * answers, MEMBER when both ring neighbours have taken it in. When nobody was found within 1 s it
 * is a ring of one: MEMBER, and goes on probing (2 s growing to 60 s), also after it has
 * neighbours, so that rings that formed apart find out and merge.
 */
#ifndef PEAL_OVERLAY_OVERLAY_H
#define PEAL_OVERLAY_OVERLAY_H

#include "overlay/choose.h"
#include "overlay/core/addr.h"
#include "overlay/core/env.h"
#include "overlay/core/meter.h"
#include "overlay/crypto/removed.h"
#include "overlay/crypto/seal.h"
#include "overlay/seen.h"

enum {
    OVERLAY_NEAR = 3, /* near connections on each side */
    OVERLAY_SHORTCUTS_MAX = 32,
    OVERLAY_BODY_MAX =
        1180, /* of a routed or direct upper message: MESSAGE_MAX less the route header */
    OVERLAY_BOOTSTRAPS_MAX = 16,
    OVERLAY_CONTACTS_MAX = 32, /* remembered between runs */
    OVERLAY_TUNNELS_MAX = 16,  /* members found in another overlay */
    OVERLAY_GUESTS_MAX = 512,  /* who are connected only to come in: for two seconds each, so that
                                  it is enough for 250 a second. Some 1.3 KB each. Victim: the
                                  oldest that needs us no more, then that has joined */
    OVERLAY_STANDBYS_MAX =
        3, /* relays beside the one that carries: two, a third while it replaces one */
};

enum overlay_state {
    OVERLAY_ALONE,   /* no peer known yet, and the first second is not over */
    OVERLAY_JOINING, /* somebody answered; not in the ring yet */
    OVERLAY_MEMBER,  /* in the ring, or a ring of one */
    OVERLAY_LEAVING, /* goodbye said; gone when overlay_left() */
};

/* Who the body of an upper message is for. */
enum overlay_proto { OVERLAY_PROTO_DHT = 1, OVERLAY_PROTO_NODE = 2 };

enum overlay_mode {
    OVERLAY_EXACT,   /* delivered at the node with this id, or nowhere */
    OVERLAY_NEAREST, /* delivered at the member whose id is closest to the key */
};

/* Whoever was silent for so long has no session with its neighbours any more: they probe after 10
 * s, and then comes the verdict. */
enum { OVERLAY_GIVEN_UP_S = 15 };

/* Where a message came from, and so where an answer goes. Ids of routed messages are claims of
 * members, not proven. */
struct overlay_from {
    struct id node;
    struct id via; /* not zero: node is no ring member yet; answers go through this one */
    struct id key; /* what it was routed to (our own id, or a key near us) */
    bool direct;   /* came over a session with `node`: the id is authenticated */
    uint8_t hops;
    uint32_t connection; /* token of the session that it came in by; 0: from ourselves */
    uint64_t prefix;     /* of the other end of that: addr_prefix; 0: not known */
};

struct overlay_config {
    struct id overlay;
    struct secret group_key;
    bool psk;
    const struct cert_ca *ca;      /* borrowed; NULL: ids are hashes of keys */
    const struct removed *removed; /* who is no member any more. Borrowed; may be NULL */
    struct sign_public pub;
    struct sign_secret sec;
    struct id node;
    const uint8_t *cert_der; /* borrowed */
    size_t cert_len;
    uint8_t slot;   /* top byte of all our receiver indices */
    uint32_t aeads; /* mask of 1 << enum seal_alg */
    struct seal_worker
        *worker; /* of the calling thread, may be shared by many; borrowed. NULL: one of our own */
    uint32_t sessions_max; /* 0: 1024 */
    bool port_search;      /* try many ports of a peer whose NAT has one for each remote */
    bool relay_refused;    /* we forward for nobody */
    bool trails;           /* data goes along the ring by workers (trail.h); all are members who
                              would pass it on in messages, too */
    uint32_t relay_mbit;   /* at most so much, and half of it for one pair; 0: no cap */
    /* Which relay is the better one; NULL: choose_better. */
    bool (*relay_better)(const struct relay_choice *a, const struct relay_choice *b);
};

struct overlay_host {
    void (*send)(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len);
    /*
     * TCP; all three NULL: there is none. tcp_open asks for a connection and gives its number,
     * never 0 and never used again, or 0 when that is not possible; overlay_tcp_opened or
     * overlay_tcp_closed tells what became of it. tcp_send is best effort, as send is.
     */
    uint32_t (*tcp_open)(void *ctx, const struct endpoint *to);
    void (*tcp_send)(void *ctx, uint32_t conn, const uint8_t *pkt, size_t len);
    void (*tcp_close)(void *ctx, uint32_t conn);
    /* An upper message for us. Not called from within overlay_route and friends: what we send to
     * ourselves comes with the next tick. */
    void (*message)(void *ctx, const struct overlay_from *from, uint8_t proto, const uint8_t *body,
                    size_t len);
    /* A data packet (type 0x83) that came over the ring or a relay; opened by the host with the
     * snapshot's keys. May be changed in place. */
    void (*data)(void *ctx, const struct data_way *way, uint8_t *pkt, size_t len);
    void (*peer_up)(void *ctx, const struct id *peer);
    void (*peer_down)(void *ctx, const struct id *peer);
    /* Data keys or path of this peer changed. */
    void (*data_changed)(void *ctx, const struct id *peer);
    /* The near lists (overlay_near) changed: ranges of keys moved. */
    void (*ring_changed)(void *ctx);
    /* What overlay_leg_next tells changed. */
    void (*legs_changed)(void *ctx);
    /*
     * A packet for the end of a tunnel, that is the node `to` of another overlay. May be called
     * from inside: the other overlay may be told, this one not. NULL: no tunnels.
     */
    void (*tunnel)(void *ctx, const struct id *to, const uint8_t *pkt, size_t len);
    /* Data went to that node, or came from it, in the last second; NULL with the one above. */
    void (*tunnel_used)(void *ctx, const struct id *to);
    /* The peer at `by` sees us as `us`. As above, and may be NULL. */
    void (*observed)(void *ctx, const struct endpoint *by, const struct endpoint *us);
    /* Ask there by STUN where we are; overlay_observed tells. NULL: not possible. */
    void (*where)(void *ctx, const struct endpoint *server);
};
/* Callbacks come last, with the object consistent; they may call any function below but input, tick
 * and free. */

struct overlay *overlay_new(const struct overlay_config *config, struct env *env,
                            const struct overlay_host *host, void *ctx);
void overlay_free(struct overlay *o);

/* A datagram of a type 0x80..0x84 for one of our indices or our MAC. Handshake message 1 is tried
 * against each overlay of the daemon until one takes it: true when this one did. */
bool overlay_input(struct overlay *o, const struct endpoint *from, uint8_t *pkt, size_t len);
/* As overlay_input, from a TCP connection. */
bool overlay_tcp_input(struct overlay *o, uint32_t conn, const struct endpoint *from, uint8_t *pkt,
                       size_t len);
/* As overlay_input, out of a tunnel from that node of the other overlay, who may only claim to be
 * it. */
bool overlay_tunnel_input(struct overlay *o, const struct id *from, uint8_t *pkt, size_t len);
void overlay_tcp_opened(struct overlay *o, uint32_t conn); /* that tcp_open asked for */
void overlay_tcp_closed(struct overlay *o, uint32_t conn); /* any */
/* A session has it as a path: it is somebody's whose identity was proven. */
bool overlay_tcp_used(const struct overlay *o, uint32_t conn);
void overlay_tick(struct overlay *o);
usec overlay_deadline(const struct overlay *o);

/* Endpoints to start from; asked for ever (2 s growing to 42 s, jittered). Own ones are skipped. */
int overlay_add_bootstrap(struct overlay *o, const struct endpoint *ep);
/* Members met before and where they were; tried like bootstraps, a few at a time. */
struct overlay_contact {
    struct id node;
    struct endpoint ep;
};
int overlay_add_contact(struct overlay *o, const struct overlay_contact *c);
/* A member said, unproven, that it is there: tried within a second, unless it is connected already
 * or we have neighbours and tried another such a minute ago. */
void overlay_heard_near(struct overlay *o, const struct overlay_contact *c);
/* One who can seal what the group's members seal says that a member is at the end of a tunnel:
 * tried like a bootstrap. Of such OVERLAY_TUNNELS_MAX are kept, the victim is the oldest. */
void overlay_add_tunnel(struct overlay *o, const struct id *member, const struct id *end);
/* Up to max contacts worth remembering (direct peers, longest up first). Returns how many. */
size_t overlay_contacts(const struct overlay *o, struct overlay_contact *out, size_t max);
/* Where the ring was or is looked for, and what came of it: the next at or after *i. */
enum overlay_entry_kind {
    OVERLAY_ENTRY_BOOTSTRAP,
    OVERLAY_ENTRY_REMEMBERED, /* overlay_add_contact */
    OVERLAY_ENTRY_LOST,       /* a peer that fell silent, or said that it is on our LAN */
    OVERLAY_ENTRY_MET,        /* a peer that we parted from in peace */
    OVERLAY_ENTRY_TUNNEL,     /* overlay_add_tunnel; no endpoint */
};
enum overlay_entry_state {
    OVERLAY_ENTRY_CONNECTED,
    OVERLAY_ENTRY_TRYING,
    OVERLAY_ENTRY_SILENT, /* tried, and nobody answered */
    OVERLAY_ENTRY_WAITING,
};
struct overlay_entry {
    struct endpoint ep;
    enum overlay_entry_kind kind;
    enum overlay_entry_state state;
    unsigned tries; /* in vain since it last answered; at most 255 are counted */
    usec next_us;   /* of the next try; USEC_NEVER: while others are there it needs none */
};
bool overlay_entry_next(const struct overlay *o, size_t *i, struct overlay_entry *out);
/* Our own interface addresses with the UDP port. */
void overlay_set_endpoints(struct overlay *o, const struct endpoint *eps, size_t n);
void overlay_set_cert(struct overlay *o, const uint8_t *der, size_t len);
/* config.removed grew: whoever it lists now is cut off. */
void overlay_removed(struct overlay *o);
/* The highest number that this peer's set had at our last handshake; 0: none, or no session. */
uint64_t overlay_peer_removed(const struct overlay *o, const struct id *peer);
/* The host slept for a moment, or its addresses changed: probe everything now. */
void overlay_network_changed(struct overlay *o);
/* The host slept for OVERLAY_GIVEN_UP_S or more: nothing of the sessions that were would be
 * answered. Whoever was a peer is asked for a new one at once. */
void overlay_awoke(struct overlay *o);

enum overlay_state overlay_state(const struct overlay *o);
const struct id *overlay_id(const struct overlay *o);
/* Says goodbye to everybody. overlay_left() is true once sent and acknowledged or 2 s later. */
void overlay_leave(struct overlay *o);
bool overlay_left(const struct overlay *o);

/* Sending; 0, -ERR_RANGE (too long), -ERR_BAD_STATE (nobody to send to). Best effort: requests need
 * an id and a retry of their own. */
int overlay_route(struct overlay *o, const struct id *key, enum overlay_mode mode, uint8_t proto,
                  const void *body, size_t len);
/* To the closest member, by another way than the one that the ids and round trips suggest: begins
 * with one of our peers at random. For what went unanswered. */
int overlay_route_anew(struct overlay *o, const struct id *key, uint8_t proto, const void *body,
                       size_t len);
/* Passes a message on to that node, as if its sender had sent it there: it gets the answer. */
int overlay_pass(struct overlay *o, const struct overlay_from *from, const struct id *node,
                 uint8_t proto, const void *body, size_t len);
/* To the node that a message came from: over a session if there is one, else routed. */
int overlay_answer(struct overlay *o, const struct overlay_from *to, uint8_t proto,
                   const void *body, size_t len);
/* Over our session with that node if it is up, else routed exactly. */
int overlay_send(struct overlay *o, const struct id *node, uint8_t proto, const void *body,
                 size_t len);
/* To every member once, ourselves included. */
int overlay_broadcast(struct overlay *o, uint8_t proto, const void *body, size_t len);

/* The ring as we see it. */
/* Our near neighbours, closest first, at most OVERLAY_NEAR each; in a small ring the same node may
 * be in both. Returns how many. */
size_t overlay_near_right(const struct overlay *o, struct id out[OVERLAY_NEAR]); /* clockwise */
size_t overlay_near_left(const struct overlay *o, struct id out[OVERLAY_NEAR]);
bool overlay_owns(const struct overlay *o,
                  const struct id *key);               /* we are the closest member known to us */
double overlay_size_estimate(const struct overlay *o); /* members, ourselves included */
size_t overlay_shortcuts(const struct overlay *o);
size_t overlay_connections(const struct overlay *o);
/* We have a session with that node, and it does not go hop by hop. */
bool overlay_is_linked(const struct overlay *o, const struct id *node);

/* Sessions wanted for VPN traffic. Starts one when there is none; kept while data flows, dropped
 * when idle. */
int overlay_demand(struct overlay *o, const struct id *peer);

/* The data side of a session, for the forwarding snapshot; pointers borrowed until the next call
 * into o. */
struct overlay_data {
    uint32_t token; /* unique in the daemon while the session lives, never 0; its top byte is
                       config.slot */
    struct id peer;
    bool udp; /* to is set */
    struct endpoint to;
    uint32_t conn;    /* not 0: over this TCP connection. Neither: overlay_send_data */
    uint32_t channel; /* not 0: there is a relay, the packet goes behind a relay header */
    bool tunnelled;   /* through another overlay, as its node `end` is reached */
    struct id end;
    struct seal_key *tx;    /* NULL: none yet */
    struct seal_key *rx[3]; /* NULL when unused */
};
bool overlay_data(const struct overlay *o, const struct id *peer, struct overlay_data *out);
bool overlay_data_next(const struct overlay *o, size_t *i,
                       struct overlay_data *out); /* all with a session up */
void overlay_data_seen(struct overlay *o, uint32_t token, const struct data_seen *seen);
/* Ours to that peer leave by the same way. */
bool overlay_data_is_back(const struct overlay *o, const struct id *peer,
                          const struct data_way *way);
void overlay_data_roamed(struct overlay *o, uint32_t token, const struct endpoint *from);
/* A sealed data packet out by the session's best path of any kind. */
int overlay_send_data(struct overlay *o, const struct id *peer, const uint8_t *pkt, size_t len);

/*
 * Where relay packets go that come from an endpoint, or over a connection (from_conn, to_conn not
 * 0), under a channel id. Borrowed until the next call into o: ref the meters that you keep. A
 * packet is forwarded when both meters take it.
 */
struct overlay_leg {
    struct endpoint from;
    uint32_t from_conn;
    uint32_t channel;
    bool ends_here; /* what is behind the header is for us; else: */
    struct endpoint to;
    uint32_t to_conn;
    uint32_t onward; /* the channel to put in */
    struct meter *each, *all;
};
bool overlay_leg_next(const struct overlay *o, size_t *i, struct overlay_leg *out);

/* The verified identity of a peer with a session up; false: there is none. For a peer without CA
 * only node, key and hash (the key) are set. */
bool overlay_peer_cert(const struct overlay *o, const struct id *peer, struct cert *out);

/* For people. */
enum overlay_role {
    OVERLAY_ROLE_NEAR = 1,
    OVERLAY_ROLE_SHORTCUT = 2,
    OVERLAY_ROLE_DEMAND = 4,
    OVERLAY_ROLE_LEAF = 8,
    OVERLAY_ROLE_RELAY = 16
};
/* Why the path in use took the place of the one before. */
enum overlay_move {
    OVERLAY_MOVE_FIRST,  /* there was none */
    OVERLAY_MOVE_BETTER, /* of a better kind, or quicker */
    OVERLAY_MOVE_SILENT, /* the one before answered no more */
    OVERLAY_MOVE_LOST,   /* the one before was given up: its relay or connection ended */
    OVERLAY_MOVE_ROAMED, /* the peer's packets came from there, and no more by the one before */
    OVERLAY_MOVE_CHOSEN, /* the peer uses it */
};
struct overlay_moved {
    enum overlay_move by;
    usec at_us;
    const char *before; /* the kind of the path before, as path is called; NULL: there was none */
};
const char *overlay_move_text(enum overlay_move m);
struct overlay_peer_info {
    struct id node;
    uint32_t token;
    bool up;
    bool udp, tcp; /* endpoint is set; else the packets go over the ring */
    struct endpoint endpoint;
    struct id relay; /* its packets go through this one; zero: they do not */
    struct id standby[OVERLAY_STANDBYS_MAX];
    usec standby_rtt_us[OVERLAY_STANDBYS_MAX]; /* measured over it; 0: not yet */
    size_t standbys;
    struct overlay_moved moved; /* to the path in use */
    uint32_t roles;             /* ours and theirs together */
    usec rtt_us, up_since_us, last_heard_us;
    enum seal_alg cipher; /* of the data key; 0: none yet */
    char user[CERT_USER_MAX + 1];
    char why[96]; /* one English clause: why this path, or why it is not up */
};
size_t overlay_peers(const struct overlay *o, struct overlay_peer_info *out,
                     size_t max); /* sorted by id */
/* The same of one. False: there is no session with it, and none is being opened. */
bool overlay_peer(const struct overlay *o, const struct id *peer, struct overlay_peer_info *out);
/* The addresses that a peer named as its own or was heard from, and what came of them. We have one
 * port: so each is one pair of candidates, with that of ours that the peer sees. */
enum overlay_try {
    OVERLAY_TRY_IN_USE,
    OVERLAY_TRY_ANSWERED, /* a path, but not the best */
    OVERLAY_TRY_UNDER_WAY,
    OVERLAY_TRY_SILENT,  /* was tried, and did not answer */
    OVERLAY_TRY_NO_NEED, /* no better than the path in use */
    OVERLAY_TRY_NOT_YET, /* so many at once are not tried */
};
struct overlay_candidate {
    struct endpoint ep;
    struct endpoint us; /* our end of the pair, as the peer saw it; family 0: it saw none */
    enum overlay_try outcome;
    bool named;     /* by the peer as its own; else it was heard from there, or TCP leads there */
    bool tcp;       /* a connection, from or to there */
    uint8_t tries;  /* OVERLAY_TRY_UNDER_WAY: packets of this trial */
    uint16_t times; /* trials so far */
    usec tried_us;  /* the last began; 0: none did */
    usec rtt_us;    /* of a path; 0: not measured */
};
/* What will be tried. */
struct overlay_tries {
    usec next_us;               /* all candidates again; USEC_NEVER: nothing better is looked for */
    usec tcp_us;                /* connections; USEC_NEVER */
    uint16_t ports, ports_sent; /* many ports of the peer's NAT: in all, 0: no; and so far */
};
/* The relays between us and a peer. */
enum overlay_relay_state {
    OVERLAY_RELAY_IN_USE,
    OVERLAY_RELAY_STANDS_BY,
    OVERLAY_RELAY_ASKED, /* for a channel */
    OVERLAY_RELAY_TRIED, /* agreed; does it carry? */
    OVERLAY_RELAY_LEFT,  /* said goodbye */
    OVERLAY_RELAY_FAILED,
};
struct overlay_relay {
    struct id node;
    enum overlay_relay_state state;
    usec rtt_us;      /* from us to the peer over it, measured; 0: not yet */
    usec told_rtt_us; /* both ends' to it together, by which it was chosen; 0: not by us */
    usec until_us;    /* OVERLAY_RELAY_FAILED: left alone so long */
};
const char *overlay_relay_text(enum overlay_relay_state s);
size_t overlay_relays(const struct overlay *o, const struct id *peer, struct overlay_relay *out,
                      size_t max);
const char *overlay_try_text(enum overlay_try t);
/* Up to max of them, and what is tried next. Returns how many; 0 also for whom there is no session
 * with. */
size_t overlay_candidates(const struct overlay *o, const struct id *peer,
                          struct overlay_candidate *out, size_t max, struct overlay_tries *tries);
enum { OVERLAY_ENDPOINTS_MAX = 8 };
/* Our own that peers are told of and try. */
size_t overlay_endpoints(const struct overlay *o, struct endpoint out[OVERLAY_ENDPOINTS_MAX]);
/* What is known of the NAT that we are behind, from what neighbours and STUN servers see:
 * its mapping (RFC 4787 4.1) and its filtering (RFC 4787 5). */
enum overlay_nat_mapping {
    OVERLAY_NAT_MAPPING_UNKNOWN,
    OVERLAY_NAT_MAPPING_NONE,        /* others see an address of our own */
    OVERLAY_NAT_MAPPING_INDEPENDENT, /* others agree */
    OVERLAY_NAT_MAPPING_DEPENDENT,   /* they do not; one of the two below */
    OVERLAY_NAT_MAPPING_ADDRESS,
    OVERLAY_NAT_MAPPING_ADDRESS_AND_PORT,
};
enum overlay_nat_filtering {
    OVERLAY_NAT_FILTERING_UNKNOWN,
    OVERLAY_NAT_FILTERING_NONE,        /* there is no NAT */
    OVERLAY_NAT_FILTERING_INDEPENDENT, /* a packet came from where we had not sent to */
    OVERLAY_NAT_FILTERING_DEPENDENT,   /* none came, though asked for */
};
enum overlay_known { OVERLAY_KNOWN_NOT, OVERLAY_KNOWN_NO, OVERLAY_KNOWN_YES };
enum { OVERLAY_REFLEXIVE_MAX = 8 };
struct overlay_nat {
    enum overlay_nat_mapping mapping;
    enum overlay_nat_filtering filtering;
    enum overlay_known keeps_ports; /* outside our port is the same as inside */
    enum overlay_known hairpin;     /* two behind it reach each other by its outer address */
    struct endpoint
        reflexive[OVERLAY_REFLEXIVE_MAX]; /* where others see us; most reporters first */
    size_t reflexive_count;
    usec keepalive_us; /* how long a mapping is left without a packet; 0: none are needed */
    usec lives_us;     /* a mapping was seen to live so long without one; 0: not known */
    usec dies_us;      /* and not to live so long; 0: not known */
};
const char *overlay_nat_mapping_text(enum overlay_nat_mapping m);
const char *overlay_nat_filtering_text(enum overlay_nat_filtering f);
void overlay_nat(const struct overlay *o, struct overlay_nat *out);
/* A peer's, as far as it told: mapping and filtering. False: it told nothing. */
bool overlay_peer_nat(const struct overlay *o, const struct id *peer, struct overlay_nat *out);
/* A STUN Binding indication came by our port: the answer to a question of ours, perhaps. */
struct stun_id;
void overlay_indication(struct overlay *o, const struct endpoint *from, const struct stun_id *id);
/* Another overlay, or STUN, sent there by our port: our NAT lets it in from now on. */
void overlay_sent(struct overlay *o, const struct addr *to);
/* A STUN server outside, or a peer that was asked (host.where), sees us so. */
void overlay_observed(struct overlay *o, const struct endpoint *by, const struct endpoint *us);

/* Handshakes lately refused: endpoint, user or id, verdict. */
struct overlay_refusal {
    struct endpoint from;
    struct id node;
    char user[CERT_USER_MAX + 1];
    const char *why;
    usec at_us;
};
size_t overlay_refusals(const struct overlay *o, struct overlay_refusal *out, size_t max);

/* Overlay round trip to a node or key; the answer comes as ping_done. */
struct overlay_ping_result {
    uint32_t token; /* of the request */
    bool answered;
    struct id node; /* who answered */
    bool direct;    /* over a session of ours; else routed */
    uint8_t hops;   /* there */
    usec rtt_us;
};
/* `done` is called once, at most timeout_us later. 0 or -ERR_FULL (32 at a time). */
int overlay_ping(struct overlay *o, const struct id *key, enum overlay_mode mode, usec timeout_us,
                 uint32_t token, void (*done)(void *ctx, const struct overlay_ping_result *r),
                 void *ctx);

/* A walk round the ring by asking each node for its near lists. One `node` call per node met, then
 * `end`. */
struct overlay_crawl_node {
    struct id node;
    struct id left[OVERLAY_NEAR], right[OVERLAY_NEAR];
    size_t lefts, rights;
    bool answered;
    bool consistent; /* its two nearest on each side are those that the walk met */
};
int overlay_crawl(struct overlay *o, uint32_t nodes_max,
                  void (*node)(void *ctx, const struct overlay_crawl_node *n),
                  void (*end)(void *ctx, uint32_t nodes, uint32_t inconsistent), void *ctx);
void overlay_crawl_cancel(struct overlay *o, void *ctx);

/* Counters: names are "handshakes", "drop_forged", ...; static text. False past the last. */
bool overlay_counter(const struct overlay *o, size_t i, const char **name, uint64_t *value);

#endif
