/*
 * path.h - the ways to one peer: validated paths, candidates being challenged, and the best of
 * them.
 *
 * A path gets into the list of paths only by proof: the handshake went over it, or an 8-byte random
 * challenge sent there came back inside an authenticated packet (RFC 9000 8.2). Everything else is
 * a trial: a few challenges with back-off, then forgotten. Trials come from two sides. Candidates
 * are what the peer named as its own endpoints, or what our user proposed; roamed ones are
 * addresses that an authenticated packet came from. Towards those we send at most 3 times the bytes
 * received.
 *
 * Through two NATs both ends must send before either hears: so the peer checks at the moment when
 * it learns of our candidates, and the first challenges of a trial follow each other fast. A NAT
 * may send from another port than the one that reaches it: then a path has two addresses, and a
 * peer that is heard from a new port of the address of a live path has not moved. Packets from the
 * one say nothing about what is sent to the other (its mapping may have ended): such a path lives
 * by answers alone, and each end asks for itself.
 *
 * The ring is a path like another, and always worth a probe: it needs no address, only the peer's
 * id. Relayed paths are proven like addresses; which there are is relay.c's affair.
 *
 * Never sends data, never judges whether the peer lives (session.c does), owns no timer: it names
 * its deadline.
 */
#ifndef PEAL_OVERLAY_PATH_H
#define PEAL_OVERLAY_PATH_H

#include "overlay/core/wire.h"
#include "overlay/search.h"
#include "overlay/session.h"

enum {
    PATHS_MAX = 6,        /* per session; victim: the one not best that was silent longest */
    PATH_TRIALS_MAX = 12, /* victim: the one that was tried most often */
    PATH_TRIES = 6,       /* challenges per trial: at 0, 100, 200, 400, 800 and 1600 ms. With one
                             packet of five lost each way a hundredth of all trials need the last */
    PATH_PEER_ENDPOINTS_MAX = 8,
    PATH_CHALLENGE_LEN = 8,
    PATH_CHALLENGE_PADDED_LEN =
        100,              /* to an address that the peer has not been heard from: so one
                             that arrives is budget for every try of the answer's trial */
    PATH_STARTS_MAX = 16, /* candidates challenged in PATH_STARTS_S at one peer's word; the rest
                             waits for a round */
    PATH_STARTS_S = 10,
    PATH_ROAMS_MAX = 8,      /* addresses that packets came from, challenged in PATH_STARTS_S */
    PATH_AMPLIFICATION = 3,  /* RFC 9000 8.1 */
    PATH_ROUND_FIRST_S = 15, /* all candidates again while no direct path is there ... */
    PATH_ROUND_LAST_S = 600, /* ... at an interval that doubles up to this */
};

struct path {
    struct path_addr addr;
    struct endpoint comes_from; /* its packets' source when that is not addr: a NAT that has one
                                   mapping for each remote sends from another one. Family 0: addr */
    usec heard_us;              /* last authenticated packet from addr, or answer to a ping there */
    usec pinged_us;             /* our newest MSG_PING that went there; 0: answered or none */
    uint32_t ping_nonce;
    bool chosen;        /* by the peer; we follow when our question there is answered */
    uint32_t rtt_us;    /* smoothed as RFC 6298 2; 0: not measured */
    struct endpoint us; /* our end, as the peer saw it; family 0: it did not say */
};

/* An endpoint that the peer named as its own. */
struct path_named {
    struct endpoint ep;
    uint16_t times; /* trials begun; stays at the highest */
    usec tried_us;  /* the latest of them; 0: none */
};

/*
 * One unvalidated path. Starts with trial_start, ends as a path (its response came) or forgotten
 * after PATH_TRIES.
 */
struct path_trial {
    struct path_addr addr; /* not the ring: there is nothing to prove about it */
    uint8_t challenge[PATH_CHALLENGE_LEN];
    uint8_t tries;
    bool roamed;     /* we know it only because the peer's packet came from there: budget counts */
    bool heard;      /* the peer's packet came from there */
    bool again;      /* its tries were begun anew */
    uint32_t budget; /* bytes that may still be sent there */
    usec started_us, at_us;
};

struct paths {
    struct path *v; /* count of them; best is one, or none when count is 0 */
    struct path_trial *trials;
    struct path_named *peer_eps; /* what the peer named, filtered */
    uint8_t count, size, best;
    uint8_t trial_count, peer_ep_count;
    uint8_t starts;    /* candidates tried since starts_us */
    uint8_t roams;     /* addresses that packets came from, tried since starts_us */
    uint8_t rounds;    /* made since the best path is none, or another, that is not direct */
    bool search_waits; /* for its turn */
    /* For people: how the best path came to be the best. */
    uint8_t moved_by;               /* enum overlay_move */
    uint8_t best_kind, before_kind; /* enum path_kind, of the best path and of the one before */
    usec moved_us;
    usec starts_us;
    struct path_search *search; /* under way, or NULL */
    usec round_at_us;           /* the next round; USEC_NEVER while a direct path is there */
};

void paths_init(struct paths *p);
void paths_clear(struct paths *p);
usec paths_deadline(const struct paths *p);
/* NULL when none is left. */
struct path *paths_best(const struct paths *p);

/* An address next to one of ours. */
bool sessions_on_lan(const struct sessions *ss, const struct addr *a);

/* The rest works on the session that the paths belong to. */

/* Proven by the handshake. Becomes best when there is none. NULL: out of memory. */
struct path *path_proven(struct session *s, const struct path_addr *addr);
/* An authenticated packet of len bytes came from there; fresh: with the highest counter so far. */
void path_heard(struct session *s, const struct path_addr *from, size_t len, bool fresh);
/* What a packet from there shows about the best path. */
enum path_shows {
    SHOWS_BEST,  /* it works both ways, or there is none */
    SHOWS_HALF,  /* the peer uses it; whether what we send arrives only an answer can tell */
    SHOWS_OTHER, /* nothing */
};
enum path_shows path_shows(const struct session *s, const struct path_addr *from);
/* An answer of len bytes may go there: it is proven, our own candidate, or has the budget (which is
 * debited). */
bool path_may_answer(struct session *s, const struct path_addr *to, size_t len);
/* Data came from there (len is what the caller knows at least). */
void path_roamed(struct session *s, const struct endpoint *from, size_t len);
/* The user knows another way, asks about one, or knows that one is gone. */
bool path_way(const struct session *s, const struct path_addr *addr, struct session_way *out);
void path_ping_way(struct session *s, const struct path_addr *addr);
void path_drop(struct session *s, const struct path_addr *addr);
void path_try(struct session *s, const struct path_addr *to);
/* It leads nowhere any more. */
void path_drop(struct session *s, const struct path_addr *addr);
bool path_known(const struct session *s, const struct path_addr *addr);
/* The peer named its endpoints. */
void path_set_peer_endpoints(struct session *s, const struct endpoint *eps, size_t n);
/* Challenges every candidate of a better kind than the best path, the best kind first. For when the
 * peer does the same: at the start, and when both have the keys. */
void path_check(struct session *s);
/* The same from both ends at once: the peer is told of our candidates and does it when it hears of
 * them. Again later, while no direct path is there. */
void path_round(struct session *s);
/* The peer does so now; our own next round is put off, so that one end's do for both. */
void path_round_heard(struct session *s);
/* Something changed that may make a direct path possible: a round at once if the ring is the best,
 * and the intervals grow from the start again. */
void path_news(struct session *s);
void path_tick(struct session *s);

/* Handlers of MSG_PATH_CHALLENGE, MSG_PATH_RESPONSE. False: malformed. */
bool path_challenge_input(struct session *s, const struct path_addr *from, struct reader *r);
bool path_response_input(struct session *s, const struct path_addr *from, struct reader *r);

/* A MSG_PING says that this is its sender's best path. The lower id chooses: its peer follows, so
 * that both ends hear each other on one path; but never from a direct one to a relayed one, and
 * to an address that this packet did not come from only when an answer shows that it is reached
 * (RFC 8445 7.3.1.5: the controlled agent's own check must have succeeded, too). */
void path_nominated(struct session *s, const struct path_addr *from);

/* Probing: a MSG_PING over p (NULL: nothing); over every other path and the ring as well. */
void path_ping(struct session *s, struct path *p, uint8_t flags);
void path_ping_others(struct session *s);
/* A MSG_PONG came from there and says that it saw us as `us` (family 0: it does not). True: it
 * answers for the best path. */
bool path_pong(struct session *s, const struct path_addr *from, uint32_t nonce,
               const struct endpoint *us);
/* The best path did not answer since `since_us`: true when another one was heard and took its
 * place. */
bool path_fail_over(struct session *s, usec since_us);
/* How long a probe over the best path may take. */
usec path_timeout_us(const struct session *s);

#endif
