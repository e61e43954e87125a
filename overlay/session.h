/*
 * session.h - end-to-end crypto between two nodes, and the paths that its packets take now.
 *
 * A session is keys, counters, windows and the peer's verified identity (design 3). It outlives its
 * paths: it may hold several and sends on the best. Roaming is a path change, not a new session.
 * This header is what the rest of overlay/ sees of it. Behind it: session.c, its life and its one
 * timer; handshake.c with initiator.c and responder.c, which make it (Noise XX / XXpsk3; MAC first,
 * half-open slots, cookies); control.c, the packets of the control plane; datakey.c, the keys of
 * the data plane; path.c, the ways to the peer; probe.c, whether it lives.
 *
 * Follows: Noise rev. 34; WireGuard (Donenfeld 2017) 5.3-5.4 and 6 for MACs, cookies and timers;
 * RFC 9000 8.1, 8.2 for address validation; RFC 6298 for probe timeouts.
 *
 * Invariants: per peer at most one session is up at a time for its user (while two opened at once
 * complete, the one whose initiator has the lower id sends, the other still opens for 10 s, and the
 * user sees a single `up`). A message-1 packet never touches an existing session. Nothing is sent
 * to an address that did not prove itself beyond 3 times what came from it. Replies are never
 * longer than the request.
 *
 * Timers: each of those files names its next deadline; only session_schedule (session.c) sees all:
 * handshake retry, hourly full handshake, probe, idle end, data key renewal, path challenges.
 */
#ifndef PEAL_OVERLAY_SESSION_H
#define PEAL_OVERLAY_SESSION_H

#include "overlay/core/addr.h"
#include "overlay/core/env.h"
#include "overlay/core/limits.h"
#include "overlay/crypto/removed.h"
#include "overlay/crypto/seal.h"
#include "overlay/seen.h"

/* Switches over it have no default. Every path has one: a byte. */
enum path_kind {
    PATH_NONE,
    PATH_UDP,   /* endpoint */
    PATH_RING,  /* hop by hop over the ring to `peer`, if `via` is not zero through that node's leaf
                   connection */
    PATH_TCP,   /* connection `conn` of the host, to or from `ep` */
    PATH_RELAY, /* to `peer` by a channel through `via`, which both ends have a session with */
    PATH_TUNNEL, /* through another overlay, to the node `peer` of that one */
} __attribute__((packed));

/* Where a packet goes to or came from. */
struct path_addr {
    struct endpoint ep;  /* PATH_UDP, PATH_TCP */
    uint32_t conn;       /* PATH_TCP: never 0; with PATH_TCP_ACCEPTED when the peer opened it,
                          and ep is not where it listens */
    struct id peer, via; /* PATH_RING, PATH_RELAY; peer also PATH_TUNNEL */
    enum path_kind kind;
    bool other_way; /* PATH_RING, of one packet: begins with another hop, if there is one */
    bool by_trail;  /* PATH_RING, of one packet: along what trail.h knows */
};
bool path_addr_eq(const struct path_addr *a, const struct path_addr *b);
/* No third node is on the way. */
bool path_addr_is_direct(const struct path_addr *a);

enum session_end {
    SESSION_END_CLOSED,   /* we closed it */
    SESSION_END_GOODBYE,  /* the peer closed it */
    SESSION_END_SILENT,   /* probes went unanswered */
    SESSION_END_TIMEOUT,  /* an attempt of ours got no answer */
    SESSION_END_REFUSED,  /* certificate verdict, wrong id, no common AEAD: see session_refusal */
    SESSION_END_SELF,     /* the endpoint is our own */
    SESSION_END_REPLACED, /* merged into the other of two opened at once, or the peer restarted */
};
const char *session_end_text(enum session_end end);

struct session;
struct sessions; /* all of one overlay */

struct sessions_config {
    struct id overlay;             /* group id, or the public overlay's; in the prologue */
    struct secret group_key;       /* its HKDFs key the MAC before Noise */
    bool psk;                      /* group_key is also Noise's psk */
    const struct cert_ca *ca;      /* NULL: identities are bare keys, id = SHA-256(key). Borrowed */
    const struct removed *removed; /* may be NULL. Borrowed; sessions_removed when it grew */
    struct sign_public pub;        /* our identity */
    struct sign_secret sec;
    struct id node;
    const uint8_t *cert_der; /* our certificate with ca, else NULL. Borrowed */
    size_t cert_len;
    uint8_t slot;   /* top byte of every receiver index of ours: which overlay of this daemon */
    uint32_t aeads; /* data AEADs that we do well: mask of 1 << enum seal_alg */
    struct seal_worker
        *worker;      /* of the calling thread, shared by many; borrowed. NULL: one of our own */
    bool port_search; /* search.h */
    uint32_t sessions_max; /* victim when full: the oldest without a user's hold; else new ones are
                              refused */
};

enum { SESSION_RIDE_MAX = 8 }; /* bytes of a message that rides in a packet */
struct sessions_host {
    void (*send)(void *ctx, const struct path_addr *to, const uint8_t *pkt, size_t len);
    /* A session is usable (once per session). `user` may be set now. */
    void (*up)(void *ctx, struct session *s);
    /* Gone after this call; also for attempts that never came up. */
    void (*down)(void *ctx, struct session *s, enum session_end why);
    /* A message of a type >= 32 arrived, authenticated, in order of arrival. */
    void (*message)(void *ctx, struct session *s, uint8_t type, const uint8_t *body, size_t len);
    /* Data keys or the best path of s changed: the forwarding snapshot is out of date. */
    void (*data_changed)(void *ctx, struct session *s);
    /* A peer told us how it sees us (reflexive address). */
    void (*observed)(void *ctx, struct session *s, const struct endpoint *us);
    /* A packet is about to go over the best path of s, a probe perhaps: one message of a type >= 32
     * may ride in it, which is not worth a packet of its own. Returns its length; 0: nothing does.
     * NULL: never. */
    size_t (*ride)(void *ctx, struct session *s, uint8_t *type, uint8_t body[SESSION_RIDE_MAX]);
};
/* Callbacks come last in a call, with the object consistent. They may call session_send,
 * session_open, session_close and setters; never sessions_input, sessions_tick, sessions_free.
 * `ride` comes in the midst of a call, and calls nothing of this header that changes anything. */

/* NULL: out of memory, or config.pub is no key. */
struct sessions *sessions_new(const struct sessions_config *config, struct env *env,
                              const struct sessions_host *host, void *ctx);
void sessions_free(struct sessions *ss); /* silently: close first to say goodbye */

/* Handshake, cookie and control packets; pkt is opened in place. Everything bad is counted and
 * dropped. True: meant for this overlay (a handshake whose MAC is right, a cookie or control packet
 * with an index of our slot). */
bool sessions_input(struct sessions *ss, const struct path_addr *from, uint8_t *pkt, size_t len);
void sessions_tick(struct sessions *ss);
usec sessions_deadline(const struct sessions *ss);
/* Sends what session_send coalesced. Input and tick end with it; call it at the end of every other
 * door that sends. Forgotten, the messages wait for the next tick (the deadline is now then). */
void sessions_flush(struct sessions *ss);

/* Our own candidate endpoints, told to peers in handshakes and MSG_ENDPOINTS; at most 8 are kept.
 * False: they are the same as before. */
bool sessions_set_endpoints(struct sessions *ss, const struct endpoint *eps, size_t n);
/* config.removed grew: ends the sessions of those that it lists now, and the attempts to them. */
void sessions_removed(struct sessions *ss);
/* Ends all that are up, as silent: what the peers have for them is gone. */
void sessions_give_up(struct sessions *ss);
/* Somebody who is no peer, at `by`, sees us as `us`. */
void sessions_observed_by(struct sessions *ss, const struct endpoint *by,
                          const struct endpoint *us);
/* What it said counts no more. */
void sessions_unobserved_by(struct sessions *ss, const struct endpoint *by);
struct overlay_nat;
/* By what peers last reported, there is one. */
bool sessions_see_nat(const struct sessions *ss);
/* All that is known of our NAT. */
void sessions_nat(const struct sessions *ss, struct overlay_nat *out);
/* A NAT of ours leaves a silent mapping alone for so long (SESSION_KEEPALIVE_S at least is
 * believed). */
void sessions_set_keepalive(struct sessions *ss, usec silent_us);
/* Whom a NAT of ours lets in (enum overlay_nat_filtering), to be told to peers. */
void sessions_set_filtering(struct sessions *ss, uint8_t filtering);
/* Our candidates as peers are told of them, own and seen. Returns how many. */
size_t sessions_own_endpoints(const struct sessions *ss, struct endpoint out[8]);
/* An address that may be sent to at a peer's word: unicast, with a port, none of our own, loopback
 * only when we are there ourselves. */
bool sessions_may_try(const struct sessions *ss, const struct endpoint *ep);
/* After a renewal: used from the next handshake on. Borrowed. */
void sessions_set_cert(struct sessions *ss, const uint8_t *der, size_t len);

/* Opens a session over `to`; expect NULL: whoever answers there. With a session or an attempt to
 * `expect` already there, that one is returned (and `to` becomes one more path to try). NULL: full,
 * or `expect` was removed. Retries at 0.25, 0.75, 1.75 s ... (RTT is not known), over the ring
 * sooner; gives up after 5 s with down(TIMEOUT). */
struct session *session_open(struct sessions *ss, const struct path_addr *to,
                             const struct id *expect);
/* Says goodbye (MSG_CLOSE) when it is up; down() is called later, from input or tick, never from
 * here. */
void session_close(struct session *s);

struct session *sessions_find(const struct sessions *ss,
                              const struct id *peer); /* up or being opened */
struct session *sessions_next(const struct sessions *ss,
                              size_t *i); /* no particular order; sort before use */
size_t sessions_count(const struct sessions *ss);

bool session_is_up(const struct session *s);
bool session_initiator(const struct session *s);
const struct id *session_peer(const struct session *s); /* NULL while not known */
/* Without a CA only node, key and hash are set, and hash is the key itself. */
void session_cert(const struct session *s, struct cert *out);
const struct path_addr *
session_path(const struct session *s);     /* the best now; kind PATH_NONE when none is left */
usec session_rtt(const struct session *s); /* smoothed, of the best path; 0: not measured */
usec session_up_since(const struct session *s);
usec session_last_heard(const struct session *s);
/* When the best path last showed that what we send by it arrives. A peer that is heard from
 * elsewhere lives, and may be out of this path's reach. */
usec session_last_reached(const struct session *s);
uint32_t session_token(
    const struct session *s); /* unique in this daemon while it lives: slot and number; never 0 */
struct session *sessions_by_token(const struct sessions *ss, uint32_t token);
uint64_t session_crl_number(
    const struct session *s); /* of the list that the peer held at the last handshake; 0: none */
const char *
session_refusal(const struct session *s); /* why the last handshake was refused, or "" */
/* Endpoints that the peer named as its own. */
size_t session_endpoints(const struct session *s, struct endpoint *out, size_t max);

/* For people. */
struct overlay_candidate;
struct overlay_moved;
/* The same with what came of each, and where else it was heard from; and when they are tried next
 * (USEC_NEVER: not). */
size_t session_candidates(const struct session *s, struct overlay_candidate *out, size_t max,
                          usec *next_us);
/* A search through many ports (search.h) is under way: how many were tried. *of: in all; 0: none
 * is. */
uint16_t session_searched(const struct session *s, uint16_t *of);
/* How the best path came to be the best. */
void session_last_move(const struct session *s, struct overlay_moved *out);
/* The peer's NAT as the peer knows it: sets mapping and filtering. False: it told nothing. */
bool session_peer_nat(const struct session *s, struct overlay_nat *out);

/* The user's own pointer and hold. Without a hold a session that carried nothing for 60 s is
 * closed. */
void session_set_user(struct session *s, void *user);
void *session_user(const struct session *s);
void session_set_hold(struct session *s, bool hold);
/* How long it may stay silent before it is probed (near 10 s, shortcuts 60 s). One probe per pair:
 * the lower id probes, the other side only when that fails to come. Three timeouts (from RTT, at
 * least 250 ms, at most 900 ms each; 2.4 s in all at least) without an answer: SILENT. */
void session_set_probe(struct session *s, uint32_t silent_us);
/* Its best path left a probe unanswered: better not rely on it before data_changed tells that it
 * answers again, or that another took its place. */
bool session_is_doubted(const struct session *s);
/* When the answer to the probe that is under way should have come, by the round trip measured; it
 * is not to be taken for dead then. USEC_NEVER: none is under way. */
usec session_silent_from(const struct session *s);
/* Suspected dead (a neighbour lost it, data gets no answer): probe now. */
void session_probe_now(struct session *s);

/* One message. Buffers may be coalesced into one packet until the end of the current input or tick.
 * -ERR_BAD_STATE, -ERR_RANGE (over MESSAGE_MAX). */
int session_send(struct session *s, uint8_t type, const void *body, size_t len);
/* The same at once, in a packet of its own, there. Nothing when it is not up. */
void session_send_by(struct session *s, const struct path_addr *to, uint8_t type, const void *body,
                     size_t len);
/* Another way to reach this peer: it is probed with a challenge and used once it answers and is
 * better. Better: UDP before TCP before relayed before tunnelled before ring; link-local/LAN/IPv6
 * before others at similar RTT; lower RTT with 20% hysteresis, of two relayed ones with 6%. */
void session_try_path(struct session *s, const struct path_addr *to);
/* How one of the session's validated paths does. */
struct session_way {
    bool best;
    usec heard_us; /* the last authenticated packet that came by it */
    usec rtt_us;   /* smoothed; 0: not measured */
};
/* False: that is none of its paths. */
bool session_way(const struct session *s, const struct path_addr *addr, struct session_way *out);
/* Asks for a sign of life over it. */
void session_ping_way(struct session *s, const struct path_addr *addr);
/* It leads nowhere any more: forgotten, and the best of the others takes over at once. */
void session_drop_way(struct session *s, const struct path_addr *addr);
/* Is that one of the session's validated paths? */
bool session_has_way(const struct session *s, const struct path_addr *addr);

/* The data side. */
struct session_data {
    uint32_t token;
    struct path_addr path;
    struct seal_key *tx;    /* NULL: no key yet. Borrowed, as are the next: ref what you keep */
    struct seal_key *rx[3]; /* newest first; NULL when unused */
};
void session_data(const struct session *s, struct session_data *out);
/* Data is waiting: makes data keys if there are none (one round trip, then data_changed). Said of a
 * session of ours before it is up, the handshake may bring them along. */
void session_want_data(struct session *s);
/* Moves probe, idle and renewal timers. */
void session_data_seen(struct session *s, const struct data_seen *seen);
/* An authenticated data packet came from there: validate and maybe move the path. */
void session_data_roamed(struct session *s, const struct endpoint *from);

/* Counters by reason, for metrics; text is static. */
enum session_count {
    SESSION_COUNT_RUNT,
    SESSION_COUNT_TYPE,
    SESSION_COUNT_MAC, /* message before Noise without the right MAC: a stranger */
    SESSION_COUNT_HALF_OPEN_FULL,
    SESSION_COUNT_COOKIE_SENT,
    SESSION_COUNT_HANDSHAKE_BAD, /* Noise or payload did not verify */
    SESSION_COUNT_CERT_REFUSED,
    SESSION_COUNT_HANDSHAKES, /* completed */
    SESSION_COUNT_NO_SESSION, /* index of nobody */
    SESSION_COUNT_FORGED,
    SESSION_COUNT_REPLAY,
    SESSION_COUNT_MESSAGE_BAD, /* authenticated, but malformed or not allowed in this state */
    SESSION_COUNT_MAX,
};
uint64_t sessions_counted(const struct sessions *ss, enum session_count c);
const char *session_count_text(enum session_count c);
/* The last refusals (peer endpoint or id, verdict, when), newest first, for `peal peers` and the
 * log. At most 16 are kept. */
struct session_refused {
    struct path_addr from;
    struct id peer; /* zero: not known */
    char user[CERT_USER_MAX + 1];
    const char *why;
    usec at_us;
};
size_t sessions_refused(const struct sessions *ss, struct session_refused *out, size_t max);

#endif
